import { ActionIcon, Button, Group, Text, Title, UnstyledButton } from "@mantine/core";
import { useHotkeys } from "@mantine/hooks";
import { IconArrowRight, IconFileText, IconX } from "@tabler/icons-react";
import { useEffect, useRef } from "react";
import { Link } from "react-router";
import type { MapData, MapEdge } from "../../api/client";
import { millis, percent, perSecond } from "../../parts/figures";
import { Health } from "../../parts/Health";
import { INTERNET, kindOf } from "../../parts/kind";
import classes from "./Map.module.css";

interface Props {
  map: MapData;
  name: string;
  choose: (name: string | null) => void;
}

export function Side({ map, name, choose }: Props) {
  const head = useRef<HTMLHeadingElement>(null);
  useHotkeys([["Escape", () => choose(null)]]);
  useEffect(() => head.current?.focus({ preventScroll: true }), [name]);
  const thing = map.nodes.find((node) => node.name === name);
  if (!thing) return null;
  const kind = kindOf(thing.kind);
  return (
    <aside className={classes.side} aria-label={`About ${name}`}>
      <Group justify="space-between" wrap="nowrap" align="flex-start">
        <div>
          <Title order={2} ref={head} tabIndex={-1} style={{ outline: "none" }} className="break">
            {name === INTERNET ? "Internet" : name}
          </Title>
          <Text size="sm" c="dimmed">
            {kind.label}
          </Text>
        </div>
        <ActionIcon aria-label="Close the panel" onClick={() => choose(null)}>
          <IconX size={17} />
        </ActionIcon>
      </Group>
      {thing.health && (
        <Group mt="sm" gap="xs">
          <Health health={thing.health} />
          {thing.kind !== "job" && (
            <Text size="sm" className="num">
              {thing.replicas_ready} of {thing.replicas_wanted} ready
            </Text>
          )}
        </Group>
      )}
      {thing.reason && (
        <Text size="sm" mt="xs" className="break">
          {thing.reason}
        </Text>
      )}
      <dl className={`${classes.facts} num`}>
        <Fact name="Requests/s" value={perSecond(thing.requests_per_second)} />
        <Fact name="Errors" value={percent(thing.error_ratio)} />
        <Fact name="p99" value={millis(thing.p99_ms)} />
      </dl>
      <Neighbours title="Called by" edges={map.edges.filter((edge) => edge.to === name)} end="from" choose={choose} />
      <Neighbours title="Calls" edges={map.edges.filter((edge) => edge.from === name)} end="to" choose={choose} />
      {thing.kind && (
        <Group gap="xs" grow>
          <Button component={Link} to={`/services/${name}`} rightSection={<IconArrowRight size={16} />}>
            Open
          </Button>
          <Button component={Link} to={`/services/${name}/logs`} variant="default" leftSection={<IconFileText size={16} />}>
            Logs
          </Button>
        </Group>
      )}
    </aside>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div className={classes.fact}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Neighbours(props: { title: string; edges: MapEdge[]; end: "from" | "to"; choose: (name: string) => void }) {
  if (props.edges.length === 0) return null;
  return (
    <>
      <Title order={3} fz="xs" c="dimmed">
        {props.title}
      </Title>
      <ul className={classes.neighbours}>
        {props.edges.map((edge) => (
          <li key={edge[props.end]}>
            <UnstyledButton className={classes.neighbour} onClick={() => props.choose(edge[props.end])}>
              <span>{edge[props.end]}</span>
              <span className="num dim">{edge.observed ? `${perSecond(edge.requests_per_second)}/s · ${percent(edge.error_ratio)} · ${millis(edge.p99_ms)}` : "quiet"}</span>
            </UnstyledButton>
          </li>
        ))}
      </ul>
    </>
  );
}
