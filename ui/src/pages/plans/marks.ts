import {
  IconArrowBackUp,
  IconCircleCheckFilled,
  IconCircleXFilled,
  IconClock,
  IconHandStop,
  IconHistoryOff,
  IconLoader2,
  IconPlayerSkipForward,
  IconProgressCheck,
  IconRefresh,
  type Icon,
} from "@tabler/icons-react";
import type { Schemas } from "../../api/client";
import type { Tone } from "../../parts/Health";

interface Look {
  tone: Tone;
  icon: Icon;
  label: string;
  spin?: boolean;
}

export const PLAN: Record<Schemas["PlanState"], Look> = {
  open: { tone: "busy", icon: IconProgressCheck, label: "Open" },
  applied: { tone: "good", icon: IconCircleCheckFilled, label: "Applied" },
  stale: { tone: "idle", icon: IconHistoryOff, label: "Stale" },
};

export const RUN: Record<Schemas["RunState"], Look> = {
  running: { tone: "busy", icon: IconLoader2, label: "Running", spin: true },
  done: { tone: "good", icon: IconCircleCheckFilled, label: "Done" },
  undone: { tone: "bad", icon: IconArrowBackUp, label: "Failed, undone" },
  parked: { tone: "warn", icon: IconHandStop, label: "Waits for a person" },
  cancelled: { tone: "idle", icon: IconCircleXFilled, label: "Cancelled" },
};

export const STEP: Record<Schemas["StepState"], Look> = {
  waiting: { tone: "idle", icon: IconClock, label: "Waiting" },
  running: { tone: "busy", icon: IconLoader2, label: "Running", spin: true },
  retrying: { tone: "warn", icon: IconRefresh, label: "Trying again" },
  done: { tone: "good", icon: IconCircleCheckFilled, label: "Done" },
  failed: { tone: "bad", icon: IconCircleXFilled, label: "Failed" },
  undone: { tone: "warn", icon: IconArrowBackUp, label: "Undone" },
  skipped: { tone: "idle", icon: IconPlayerSkipForward, label: "Skipped" },
  parked: { tone: "warn", icon: IconHandStop, label: "Waits for a person" },
};

export const ACTION: Record<Schemas["Action"], { sign: string; title: string; tone: Tone }> = {
  create: { sign: "+", title: "Create", tone: "good" },
  change: { sign: "~", title: "Change", tone: "busy" },
  replace: { sign: "±", title: "Replace", tone: "warn" },
  remove: { sign: "−", title: "Remove", tone: "bad" },
  keep: { sign: "=", title: "Keep as it is", tone: "idle" },
};

