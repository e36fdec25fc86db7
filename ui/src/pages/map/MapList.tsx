import { Anchor, Stack, Title } from "@mantine/core";
import { Link } from "react-router";
import type { MapData, MapEdge, MapNode } from "../../api/client";
import { millis, percent, perSecond } from "../../parts/figures";
import { Health, HEALTH } from "../../parts/Health";
import { INTERNET, kindOf } from "../../parts/kind";
import { List, type Column } from "../../parts/List";

const things: Column<MapNode>[] = [
  { key: "name", title: "Name", value: (node) => node.name, render: (node) => <NameLink name={node.name} /> },
  { key: "kind", title: "Kind", value: (node) => kindOf(node.kind).label, wideOnly: true },
  {
    key: "health",
    title: "Health",
    value: (node) => (node.health ? HEALTH[node.health].rank : 9),
    render: (node) => (node.health ? <Health health={node.health} /> : "–"),
  },
  { key: "ready", title: "Ready", align: "right", wideOnly: true, value: (node) => (node.kind ? `${node.replicas_ready}/${node.replicas_wanted}` : null) },
  { key: "rps", title: "Requests/s", align: "right", value: (node) => node.requests_per_second, render: (node) => perSecond(node.requests_per_second) },
  { key: "errors", title: "Errors", align: "right", value: (node) => node.error_ratio, render: (node) => percent(node.error_ratio) },
  { key: "p99", title: "p99", align: "right", value: (node) => node.p99_ms, render: (node) => millis(node.p99_ms) },
];

const calls: Column<MapEdge>[] = [
  { key: "from", title: "From", value: (edge) => edge.from, render: (edge) => <NameLink name={edge.from} /> },
  { key: "to", title: "To", value: (edge) => edge.to, render: (edge) => <NameLink name={edge.to} /> },
  {
    key: "seen",
    title: "How it is known",
    wideOnly: true,
    value: (edge) => (edge.declared ? (edge.observed ? "declared, seen" : "declared, quiet") : "seen, not declared"),
  },
  { key: "rps", title: "Requests/s", align: "right", value: (edge) => edge.requests_per_second, render: (edge) => perSecond(edge.requests_per_second) },
  { key: "errors", title: "Errors", align: "right", value: (edge) => edge.error_ratio, render: (edge) => percent(edge.error_ratio) },
  { key: "p99", title: "p99", align: "right", value: (edge) => edge.p99_ms, render: (edge) => millis(edge.p99_ms) },
];

function NameLink({ name }: { name: string }) {
  if (name === INTERNET) return <>Internet</>;
  return (
    <Anchor component={Link} to={`/services/${name}`} inherit fw={560}>
      {name}
    </Anchor>
  );
}

/** The map in words, for keyboards, screen readers and narrow windows. */
export function MapList({ map }: { map: MapData }) {
  return (
    <Stack gap="xl">
      <List name="Things on the map" rows={map.nodes.filter((node) => node.name !== INTERNET)} columns={things} id={(node) => node.name} sort="health" noun={["thing", "things"]} empty={null} />
      <div>
        <Title order={2} mb="xs">
          Calls
        </Title>
        <List name="Calls" scope="calls" rows={map.edges} columns={calls} id={(edge) => `${edge.from}>${edge.to}`} sort="-rps" noun={["call", "calls"]} empty="No calls yet." />
      </div>
    </Stack>
  );
}
