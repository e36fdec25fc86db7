import {
  IconAlertTriangleFilled,
  IconCircleCheckFilled,
  IconCircleDashed,
  IconCircleXFilled,
  IconPlayerStopFilled,
  IconRotateClockwise2,
  type Icon,
} from "@tabler/icons-react";
import type { Health as HealthWord } from "../api/client";
import classes from "./Mark.module.css";

export type Tone = "good" | "warn" | "bad" | "busy" | "idle";

/** A word with its own sign and colour: never the colour alone. */
export function Mark(props: { tone: Tone; icon: Icon; label: string; spin?: boolean; plain?: boolean }) {
  return (
    <span className={classes.mark} data-tone={props.tone} data-plain={props.plain || undefined}>
      <props.icon size={14} stroke={2} aria-hidden className={props.spin ? classes.spin : undefined} />
      {props.label}
    </span>
  );
}

interface Look {
  tone: Tone;
  icon: Icon;
  label: string;
  spin?: boolean;
  /** Worst first. */
  rank: number;
}

export const HEALTH: Record<HealthWord, Look> = {
  down: { tone: "bad", icon: IconCircleXFilled, label: "Down", rank: 0 },
  crash_loop: { tone: "bad", icon: IconRotateClockwise2, label: "Crash loop", rank: 1 },
  degraded: { tone: "warn", icon: IconAlertTriangleFilled, label: "Degraded", rank: 2 },
  starting: { tone: "busy", icon: IconCircleDashed, label: "Starting", spin: true, rank: 3 },
  healthy: { tone: "good", icon: IconCircleCheckFilled, label: "Healthy", rank: 4 },
  stopped: { tone: "idle", icon: IconPlayerStopFilled, label: "Stopped", rank: 5 },
};

export function Health({ health, plain }: { health: HealthWord; plain?: boolean }) {
  const look = HEALTH[health];
  return <Mark tone={look.tone} icon={look.icon} label={look.label} spin={look.spin} plain={plain} />;
}

/** Only the sign; the word is there for those who do not see it. */
export function HealthSign({ health, size = 16 }: { health: HealthWord; size?: number }) {
  const look = HEALTH[health];
  return (
    <span className={classes.sign} data-tone={look.tone} title={look.label}>
      <look.icon size={size} aria-hidden className={look.spin ? classes.spin : undefined} />
      <span className="sr">{look.label}</span>
    </span>
  );
}
