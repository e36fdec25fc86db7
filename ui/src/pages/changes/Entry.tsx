import { Anchor, Collapse, UnstyledButton } from "@mantine/core";
import {
  IconArrowBackUp,
  IconChevronRight,
  IconCircleMinus,
  IconCirclePlus,
  IconPencil,
  IconPlayerPlay,
  IconPointFilled,
  IconShieldX,
  type Icon,
} from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef } from "react";
import { Link } from "react-router";
import type { Event } from "../../api/client";
import * as q from "../../api/queries";
import { Diff } from "../../parts/Diff";
import { Time } from "../../parts/Time";
import { Actor, Subject, useNames } from "../../parts/names";
import { yaml } from "../../parts/yaml";
import classes from "./Changes.module.css";
import { verbOf, words } from "./words";

const SIGNS: [RegExp, Icon, string][] = [
  [/(fail|exit|crash|lost|undone|restored|degraded)/, IconArrowBackUp, "warn"],
  [/(denied|refused)/, IconShieldX, "bad"],
  [/(created|made|added|provided|invited|start|activated|done)/, IconCirclePlus, "good"],
  [/(remov|deleted|stopped|revoked|ended)/, IconCircleMinus, "bad"],
  [/(applied|run|restarted)/, IconPlayerPlay, "busy"],
  [/(set|changed|updated|scaled)/, IconPencil, "busy"],
];

interface Props {
  event: Event;
  open: boolean;
  toggle: () => void;
  /** What is read already, to follow a cause without asking. */
  known: Event[];
}

export function Entry({ event, open, toggle, known }: Props) {
  const row = useRef<HTMLLIElement>(null);
  const first = useRef(open);
  useEffect(() => {
    if (first.current) row.current?.scrollIntoView({ block: "center" });
  }, []);
  const verb = verbOf(event.kind);
  const names = useNames();
  const subject = names.subject(event.subject);
  const actor = names.actor(event.actor);
  const [, Sign, tone] = SIGNS.find(([pattern]) => pattern.test(verb)) ?? [null, IconPointFilled, "idle"];
  return (
    <li ref={row} className={classes.entry} data-open={open || undefined}>
      <UnstyledButton className={classes.row} onClick={toggle} aria-expanded={open} aria-label={`${words(event.kind)}, ${subject.label}, by ${actor.label}`}>
        <IconChevronRight size={15} className={classes.chevron} aria-hidden />
        <Sign size={17} stroke={1.8} data-tone={tone} className={classes.sign} aria-hidden />
        <span className={classes.what}>
          <b>{words(event.kind)}</b> <span className={classes.subject}>{subject.label}</span>
          <span className={classes.why}>{event.why}</span>
        </span>
        <span className={classes.who}>{actor.label}</span>
        <span className={classes.when}>
          <Time at={event.at} />
        </span>
      </UnstyledButton>
      <Collapse expanded={open}>{open && <Details event={event} known={known} />}</Collapse>
    </li>
  );
}

function Details({ event, known }: { event: Event; known: Event[] }) {
  const body = (event.body ?? {}) as Record<string, unknown>;
  const { before, after, ...rest } = body;
  const names = useNames();
  const subject = names.subject(event.subject);
  return (
    <div className={classes.details}>
      <Causes event={event} known={known} />
      {(before !== undefined || after !== undefined) && (
        <section>
          <h3>What changed</h3>
          <Diff before={before} after={after} label={`Before and after of ${subject.label}`} />
        </section>
      )}
      {Object.keys(rest).length > 0 && (
        <section>
          <h3>On what evidence</h3>
          <pre className={classes.evidence}>{yaml(rest)}</pre>
        </section>
      )}
      <dl className={classes.facts}>
        <Fact name="Subject">
          <Subject of={event.subject} /> ·{" "}
          <Anchor component={Link} to={`/changes?subject=${encodeURIComponent(event.subject)}`} inherit>
            its other changes
          </Anchor>
        </Fact>
        <Fact name="By">
          <Actor of={event.actor} /> ·{" "}
          <Anchor component={Link} to={`/changes?actor=${encodeURIComponent(event.actor)}`} inherit>
            what else they changed
          </Anchor>
        </Fact>
        <Fact name="When">
          <Time at={event.at} form="short" />
        </Fact>
        <Fact name="Kind">
          <span className="mono">{event.kind}</span>
        </Fact>
        <Fact name="Entry">
          <span className="num">{event.seq}</span> <span className="mono dim break">{event.id}</span>
        </Fact>
        <Fact name="Hash">
          <span className="mono dim break">{event.hash}</span>
        </Fact>
      </dl>
    </div>
  );
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

/** At most this many causes are followed back. */
const CAUSES_MAX = 12;
const CHAIN_MAX = 200;

/** The chain that led here, first cause first; and what this one led to, as far as it is read. */
function Causes({ event, known }: { event: Event; known: Event[] }) {
  // What follows from one request shares its correlation.
  const filter = useMemo(() => ({ correlation: event.correlation, all: true, limit: CHAIN_MAX }), [event.correlation]);
  const chained = useQuery({ ...q.events(event.environment, filter), enabled: event.correlation !== "" });
  const near = [...(chained.data?.items ?? []), ...known];
  const all = new Map(near.map((each) => [each.id, each]));
  const chain: Event[] = [];
  for (let at: Event | undefined = event; at?.causation && chain.length < CAUSES_MAX; ) {
    at = all.get(at.causation);
    if (at) chain.unshift(at);
  }
  const effects = [...all.values()].filter((each) => each.causation === event.id);
  if (chain.length === 0 && effects.length === 0 && !event.causation) return null;
  return (
    <section>
      <h3>How it came about</h3>
      <ol className={classes.chain}>
        {event.causation && chain.length === 0 && !chained.isFetching && (
          <li className="dim">
            caused by <span className="mono">{event.causation}</span>, which is further back
          </li>
        )}
        {chain.map((cause) => (
          <ChainLink key={cause.id} event={cause} />
        ))}
        <li aria-current="true">
          <b>{words(event.kind)}</b> <Subject of={event.subject} />
        </li>
        {effects.map((effect) => (
          <ChainLink key={effect.id} event={effect} />
        ))}
      </ol>
    </section>
  );
}

function ChainLink({ event }: { event: Event }) {
  return (
    <li>
      <Anchor component={Link} to={`/changes?open=${event.id}`} inherit>
        {words(event.kind)}
      </Anchor>{" "}
      <Subject of={event.subject} />{" "}
      <span className="dim">
        by <Actor of={event.actor} />,
      </span>{" "}
      <Time at={event.at} />
    </li>
  );
}
