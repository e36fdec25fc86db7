import dagre from "@dagrejs/dagre";
import type { MapData, MapNode } from "../../api/client";

export const NODE_WIDTH = 204;
export const NODE_HEIGHT = 88;
export const NEED_HEIGHT = 60;
const NEED_GAP = 14;
const LABEL = { width: 72, height: 34 };

export interface Point {
  x: number;
  y: number;
}

export interface Layout {
  nodes: Map<string, Point>;
  /** Where the curve of a call bends, and the middle of its label. By `from>to`. */
  calls: Map<string, { bends: Point[]; label: Point }>;
  width: number;
  height: number;
}

/** What decides where things stand. Traffic does not: nodes must not jump while one watches. */
export function shapeOf(map: MapData): string {
  const nodes = map.nodes.map((node) => node.name).sort();
  const edges = map.edges.map((edge) => `${edge.from}>${edge.to}`).sort();
  return JSON.stringify([nodes, edges]);
}

export const isNeed = (node: MapNode): boolean => node.kind === "postgres" || node.kind === "redis";
export const heightOf = (node: MapNode): number => (isNeed(node) ? NEED_HEIGHT : NODE_HEIGHT);

/**
 * Layers: who calls stands before who is called. A platform service hangs below the one it belongs to
 * (`checkout.db` below `checkout`), which keeps the map to the depth of the calls between services.
 */
export function place(map: MapData, direction: "LR" | "TB"): Layout {
  const names = new Set(map.nodes.map((node) => node.name));
  const owned = new Map<string, MapNode[]>();
  for (const node of map.nodes) {
    const owner = ownerOf(node, map, names);
    if (owner) owned.set(owner, [...(owned.get(owner) ?? []), node]);
  }
  const hanging = new Map([...owned].flatMap(([owner, needs]) => needs.map((need) => [need.name, owner])));

  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: direction, ranksep: 34, nodesep: 34, edgesep: 14, marginx: 8, marginy: 8 });
  for (const node of [...map.nodes].sort((a, b) => a.name.localeCompare(b.name))) {
    if (hanging.has(node.name)) continue;
    const needs = owned.get(node.name) ?? [];
    graph.setNode(node.name, { width: NODE_WIDTH, height: heightOf(node) + needs.length * (NEED_HEIGHT + NEED_GAP) });
  }
  for (const edge of [...map.edges].sort((a, b) => a.from.localeCompare(b.from) || a.to.localeCompare(b.to))) {
    // A call to a hanging one by somebody else still keeps the two near each other.
    const to = hanging.get(edge.to) ?? edge.to;
    if (edge.from !== to && names.has(edge.from) && names.has(to)) graph.setEdge(edge.from, to, { ...LABEL, labelpos: "c" });
  }
  dagre.layout(graph);

  const nodes = new Map<string, Point>();
  for (const name of graph.nodes()) {
    const box = graph.node(name) as Point & { width: number; height: number };
    const top = box.y - box.height / 2;
    const left = box.x - NODE_WIDTH / 2;
    nodes.set(name, { x: left, y: top });
    const own = map.nodes.find((node) => node.name === name);
    let y = top + (own ? heightOf(own) : NODE_HEIGHT) + NEED_GAP;
    for (const need of owned.get(name) ?? []) {
      nodes.set(need.name, { x: left, y });
      y += NEED_HEIGHT + NEED_GAP;
    }
  }
  const calls: Layout["calls"] = new Map();
  for (const { v, w } of graph.edges()) {
    const edge = graph.edge(v, w) as { points: Point[]; x: number; y: number };
    calls.set(`${v}>${w}`, { bends: edge.points.slice(1, -1), label: { x: edge.x, y: edge.y } });
  }
  const size = graph.graph() as { width?: number; height?: number };
  return { nodes, calls, width: size.width ?? 0, height: size.height ?? 0 };
}

/** Of the name `checkout.db` it is `checkout`; without such a name, its only caller. */
function ownerOf(node: MapNode, map: MapData, names: Set<string>): string | null {
  if (!isNeed(node)) return null;
  const prefix = node.name.slice(0, node.name.lastIndexOf("."));
  if (prefix && names.has(prefix)) return prefix;
  const callers = map.edges.filter((edge) => edge.to === node.name).map((edge) => edge.from);
  return callers.length === 1 ? (callers[0] ?? null) : null;
}

/** A smooth curve through all points (Catmull-Rom as Bézier pieces), flat where it leaves and arrives. */
export function curve(points: Point[], direction: "LR" | "TB"): string {
  const [first, ...rest] = points;
  if (!first) return "";
  const tangent = (at: number): Point => {
    const before = points[at - 1];
    const after = points[at + 1];
    if (before && after) return { x: (after.x - before.x) / 6, y: (after.y - before.y) / 6 };
    const next = (after ?? before) as Point;
    const here = points[at] as Point;
    return direction === "LR" ? { x: Math.abs(next.x - here.x) / 3, y: 0 } : { x: 0, y: Math.abs(next.y - here.y) / 3 };
  };
  return rest.reduce((path, to, at) => {
    const from = points[at] as Point;
    const out = tangent(at);
    const into = tangent(at + 1);
    return `${path} C${from.x + out.x},${from.y + out.y} ${to.x - into.x},${to.y - into.y} ${to.x},${to.y}`;
  }, `M${first.x},${first.y}`);
}
