import "@xyflow/react/dist/base.css";

import {
  Background,
  BackgroundVariant,
  BaseEdge,
  EdgeLabelRenderer,
  getStraightPath,
  Handle,
  MarkerType,
  Panel,
  Position,
  ReactFlow,
  ReactFlowProvider,
  useReactFlow,
  type Edge,
  type EdgeProps,
  type Node,
  type NodeProps,
} from "@xyflow/react";
import { ActionIcon, Tooltip, useComputedColorScheme } from "@mantine/core";
import { IconFocusCentered, IconMinus, IconPlus } from "@tabler/icons-react";
import { useEffect, useMemo } from "react";
import type { MapData, MapEdge, MapNode } from "../../api/client";
import { ERROR_RATIO_BAD, ERROR_RATIO_NOTABLE, millis, percent, perSecond } from "../../parts/figures";
import { HealthSign } from "../../parts/Health";
import { INTERNET, kindOf } from "../../parts/kind";
import classes from "./Map.module.css";
import { curve, heightOf, isNeed, NODE_WIDTH, place, shapeOf, type Point } from "./layout";

type ThingNode = Node<{ thing: MapNode; chosen: boolean; faded: boolean; vertical: boolean; rate: number }, "thing">;
type CallEdge = Edge<{ call: MapEdge; chosen: boolean; faded: boolean; bends: Point[]; label: Point | null; vertical: boolean }, "call">;

const tone = (ratio: number): string => (ratio >= ERROR_RATIO_BAD ? "bad" : ratio >= ERROR_RATIO_NOTABLE ? "warn" : "good");

function Thing({ data }: NodeProps<ThingNode>) {
  const { thing, vertical, rate } = data;
  const kind = kindOf(thing.kind);
  const need = isNeed(thing);
  return (
    <div className={classes.thing} data-kind={thing.kind ?? "internet"} data-chosen={data.chosen || undefined} data-faded={data.faded || undefined} data-health={thing.health ?? undefined}>
      <Handle id="in" type="target" position={vertical ? Position.Top : Position.Left} isConnectable={false} className={classes.port ?? ""} />
      {need && <Handle id="owner" type="target" position={Position.Top} isConnectable={false} className={classes.port ?? ""} />}
      <div className={classes.name}>
        <kind.icon size={16} stroke={1.7} aria-hidden />
        <span>{thing.name === INTERNET ? "Internet" : thing.name}</span>
        {thing.health && <HealthSign health={thing.health} />}
      </div>
      <div className={`${classes.sub} num`}>
        {kind.label}
        {thing.kind && thing.kind !== "job" && !need && ` · ${thing.replicas_ready}/${thing.replicas_wanted} ready`}
      </div>
      {!need && (
        <div className={`${classes.figures} num`}>
          {rate === 0 ? (
            <span className="dim">{thing.kind === "job" ? "not due" : "no traffic"}</span>
          ) : (
            <>
              <span>
                {perSecond(rate)}
                <small>/s</small>
              </span>
              {thing.kind && (
                <span data-tone={tone(thing.error_ratio)}>
                  {percent(thing.error_ratio)}
                  <small> err</small>
                </span>
              )}
              {thing.p99_ms != null && (
                <span>
                  {millis(thing.p99_ms)}
                  <small> p99</small>
                </span>
              )}
            </>
          )}
        </div>
      )}
      <Handle id="out" type="source" position={vertical ? Position.Bottom : Position.Right} isConnectable={false} className={classes.port ?? ""} />
      {!need && <Handle id="needs" type="source" position={Position.Bottom} isConnectable={false} className={classes.port ?? ""} />}
    </div>
  );
}

function Call({ data, markerEnd, sourceX, sourceY, targetX, targetY }: EdgeProps<CallEdge>) {
  if (!data) return null;
  const { call, bends, label } = data;
  const ends = { sourceX, sourceY, targetX, targetY };
  const path =
    bends.length > 0
      ? curve([{ x: sourceX, y: sourceY }, ...bends, { x: targetX, y: targetY }], data.vertical ? "TB" : "LR")
      : getStraightPath(ends)[0];
  const level = call.observed ? tone(call.error_ratio) : "idle";
  return (
    <>
      <BaseEdge
        path={path}
        markerEnd={markerEnd}
        className={classes.call ?? ""}
        data-tone={level}
        data-observed={call.observed || undefined}
        data-faded={data.faded || undefined}
        data-chosen={data.chosen || undefined}
        strokeWidth={call.observed ? 1.4 + Math.min(2.6, Math.log10(1 + call.requests_per_second)) : 1.25}
      />
      {label && call.observed && call.requests_per_second > 0 && (
        <EdgeLabelRenderer>
          <div
            className={`${classes.label} num`}
            data-faded={data.faded || undefined}
            style={{ transform: `translate(-50%, -50%) translate(${label.x}px, ${label.y}px)` }}
          >
            <span>{perSecond(call.requests_per_second)}/s</span>
            {call.error_ratio >= ERROR_RATIO_NOTABLE ? (
              <span data-tone={level}>{percent(call.error_ratio)} err</span>
            ) : (
              call.p99_ms != null && <span className="dim">{millis(call.p99_ms)}</span>
            )}
          </div>
        </EdgeLabelRenderer>
      )}
    </>
  );
}

const nodeTypes = { thing: Thing };
const edgeTypes = { call: Call };

interface Props {
  map: MapData;
  chosen: string | null;
  choose: (name: string | null) => void;
  vertical: boolean;
}

export function Graph(props: Props) {
  return (
    <ReactFlowProvider>
      <Drawn {...props} />
    </ReactFlowProvider>
  );
}

function Drawn({ map, chosen, choose, vertical }: Props) {
  const scheme = useComputedColorScheme("light");
  const flow = useReactFlow();
  const shape = shapeOf(map);
  // eslint-disable-next-line react-hooks/exhaustive-deps -- only a change of shape moves things
  const layout = useMemo(() => place(map, vertical ? "TB" : "LR"), [shape, vertical]);

  useEffect(() => {
    const frame = requestAnimationFrame(() => void flow.fitView({ padding: 0.06, maxZoom: 1.15 }));
    return () => cancelAnimationFrame(frame);
  }, [layout, flow]);

  const near = useMemo(() => {
    if (!chosen) return null;
    const names = new Set([chosen]);
    for (const edge of map.edges) {
      if (edge.from === chosen) names.add(edge.to);
      if (edge.to === chosen) names.add(edge.from);
    }
    return names;
  }, [map, chosen]);

  const nodes: ThingNode[] = map.nodes.map((thing) => ({
    id: thing.name,
    type: "thing",
    position: layout.nodes.get(thing.name) ?? { x: 0, y: 0 },
    width: NODE_WIDTH,
    height: heightOf(thing),
    data: { thing, chosen: thing.name === chosen, faded: near !== null && !near.has(thing.name), vertical, rate: rateOf(thing, map) },
    ariaLabel: describe(thing),
    draggable: false,
    connectable: false,
    selectable: true,
    selected: thing.name === chosen,
  }));
  const needs = new Set(map.nodes.filter(isNeed).map((node) => node.name));
  const edges: CallEdge[] = map.edges.map((call) => {
    const id = `${call.from}>${call.to}`;
    const drawn = layout.calls.get(id);
    const below = needs.has(call.to) && layout.nodes.get(call.from)?.x === layout.nodes.get(call.to)?.x;
    return {
      id,
      type: "call",
      source: call.from,
      target: call.to,
      sourceHandle: below ? "needs" : "out",
      targetHandle: below ? "owner" : "in",
      focusable: false,
      data: {
        call,
        chosen: call.from === chosen || call.to === chosen,
        faded: chosen !== null && call.from !== chosen && call.to !== chosen,
        bends: drawn?.bends ?? [],
        label: drawn?.label ?? null,
        vertical,
      },
      ...(below ? {} : { markerEnd: { type: MarkerType.ArrowClosed, width: 13, height: 13, color: "var(--edge)" } }),
    };
  });

  return (
    <ReactFlow
      className={classes.flow ?? ""}
      colorMode={scheme}
      nodes={nodes}
      edges={edges}
      nodeTypes={nodeTypes}
      edgeTypes={edgeTypes}
      onNodesChange={(changes) => {
        // Enter and Space on a node with the focus arrive here.
        for (const change of changes) if (change.type === "select" && change.selected) choose(change.id);
      }}
      onPaneClick={() => choose(null)}
      nodesFocusable
      edgesFocusable={false}
      elevateNodesOnSelect={false}
      deleteKeyCode={null}
      minZoom={0.2}
      maxZoom={2}
      fitView
      fitViewOptions={{ padding: 0.06, maxZoom: 1.15 }}
      proOptions={{ hideAttribution: true }}
      aria-label="Map of services and the calls between them"
    >
      <Background variant={BackgroundVariant.Dots} gap={22} size={1.2} color="var(--grid-dot)" bgColor="transparent" />
      <Panel position="bottom-left" className={classes.controls ?? ""}>
        <Control label="Closer" icon={IconPlus} act={() => void flow.zoomIn({ duration: 150 })} />
        <Control label="Further away" icon={IconMinus} act={() => void flow.zoomOut({ duration: 150 })} />
        <Control label="Show all" icon={IconFocusCentered} act={() => void flow.fitView({ padding: 0.06, maxZoom: 1.15, duration: 200 })} />
      </Panel>
    </ReactFlow>
  );
}

function Control({ label, icon: Sign, act }: { label: string; icon: typeof IconPlus; act: () => void }) {
  return (
    <Tooltip label={label} position="right">
      <ActionIcon variant="default" size={32} aria-label={label} onClick={act}>
        <Sign size={16} />
      </ActionIcon>
    </Tooltip>
  );
}

/** Clients outside take nothing in: what they send out is what counts. */
function rateOf(thing: MapNode, map: MapData): number {
  if (thing.name !== INTERNET) return thing.requests_per_second;
  return map.edges.filter((edge) => edge.from === INTERNET).reduce((sum, edge) => sum + edge.requests_per_second, 0);
}

/** What somebody hears who does not see the map. */
function describe(thing: MapNode): string {
  const parts = [thing.name, kindOf(thing.kind).label];
  if (thing.health) parts.push(thing.health.replace("_", " "));
  if (thing.kind && thing.kind !== "job") parts.push(`${thing.replicas_ready} of ${thing.replicas_wanted} ready`);
  parts.push(`${perSecond(thing.requests_per_second)} requests per second, ${percent(thing.error_ratio)} errors`);
  return parts.join(", ");
}
