import { ActionIcon, Menu, Skeleton, Tooltip } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { IconAlertTriangle, IconDownload, IconInfoCircle } from "@tabler/icons-react";
import { useMemo } from "react";
import { ask, type Answered, type Exemplars, type RangeSeries, type Result } from "../../api/prometheus";
import { count } from "../../parts/figures";
import { saveCsv, saveJson } from "../../parts/save";
import { Failure } from "../../parts/States";
import classes from "./Explore.module.css";
import { Graph, type Spot } from "./Graph";
import { draw, DRAWN_MAX, nameOf, number, times, type Drawn } from "./series";
import { Table } from "./Table";
import { useMoments } from "./useMoments";
import type { View, Window } from "./useExplore";

interface Props {
  expression: string;
  window: Window;
  view: View;
  stack: boolean;
  /** Seconds before, to compare with. */
  compare: number | null;
  isLive: boolean;
  /** Counts up when somebody asks again. */
  asked: number;
  zoom: (start: number, end: number) => void;
}

const SPOTS_MAX = 300;

/** What one expression comes to. */
export function Answer(props: Props) {
  return props.view === "graph" ? <Lines {...props} /> : <Rows {...props} />;
}

const range = (expression: string, window: Window, asked: number) => ({
  queryKey: ["prometheus", "range", expression, window, asked],
  queryFn: ({ signal }: { signal: AbortSignal }) =>
    ask<Extract<Result, { resultType: "matrix" }>>("/query_range", { query: expression, ...window }, { post: true, signal }),
  placeholderData: keepPreviousData<Answered<Extract<Result, { resultType: "matrix" }>>>,
  retry: false,
});

function Lines({ expression, window, stack, compare, asked, zoom }: Props) {
  const found = useQuery(range(expression, window, asked));
  const before = useMemo(() => ({ ...window, start: window.start - (compare ?? 0), end: window.end - (compare ?? 0) }), [window, compare]);
  const earlier = useQuery({ ...range(expression, before, asked), enabled: compare !== null });
  const exemplars = useQuery({
    queryKey: ["prometheus", "exemplars", expression, window, asked],
    queryFn: ({ signal }) => ask<Exemplars[]>("/query_exemplars", { query: expression, start: window.start, end: window.end }, { post: true, signal }),
    placeholderData: keepPreviousData,
    retry: false,
  });
  const moments = useMoments(window);
  const grid = useMemo(() => times(window.start, window.end, window.step), [window]);
  const lines = useMemo(() => {
    if (!found.data) return [];
    const now = draw(found.data.data.result, { start: window.start, step: window.step, length: grid.length });
    if (compare === null || !earlier.data) return now;
    return [...now, ...compared(earlier.data.data.result, now, before, grid.length)];
  }, [found.data, earlier.data, compare, window, before, grid.length]);
  const spots = useMemo(() => spotsOf(exemplars.data?.data ?? []), [exemplars.data]);

  if (found.isPending) return <Skeleton h={340} m="sm" aria-busy="true" aria-label="Asking" />;
  if (found.error && !found.isPlaceholderData) return <Failure problem={found.error} compact />;
  const all = found.data?.data.result ?? [];
  return (
    <>
      <Remarks answered={found.data} />
      {all.length === 0 ? (
        <Nothing />
      ) : (
        <>
          <Graph title={expression} at={grid} lines={lines} stack={stack && compare === null} moments={moments} spots={spots} zoom={zoom} />
          <Foot all={all} step={window.step} name={expression} />
        </>
      )}
    </>
  );
}

/** An earlier time is drawn dashed, in the colour of the same series now. */
function compared(all: RangeSeries[], now: Drawn[], window: Window, length: number): Drawn[] {
  const colors = new Map(now.map((line) => [nameOf(line.metric), line.color]));
  return draw(all, { start: window.start, step: window.step, length }, 0, [5, 4]).map((line) => ({
    ...line,
    label: `${line.label} before`,
    color: colors.get(nameOf(line.metric)) ?? "--idle",
  }));
}

function spotsOf(found: Exemplars[]): Spot[] {
  const spots = found.flatMap((series) =>
    series.exemplars.map((each) => ({ at: each.timestamp, value: number(each.value), words: nameOf(each.labels) })),
  );
  return spots.filter((spot) => Number.isFinite(spot.value)).slice(0, SPOTS_MAX);
}

function Rows({ expression, window, isLive, asked }: Props) {
  const found = useQuery({
    queryKey: ["prometheus", "instant", expression, window.end, asked],
    queryFn: ({ signal }) => ask<Result>("/query", { query: expression, ...(isLive ? {} : { time: window.end }) }, { post: true, signal }),
    placeholderData: keepPreviousData,
    retry: false,
  });
  if (found.isPending) return <Skeleton h={160} m="sm" aria-busy="true" aria-label="Asking" />;
  if (found.error && !found.isPlaceholderData) return <Failure problem={found.error} compact />;
  return (
    <>
      <Remarks answered={found.data} />
      {found.data && <Table data={found.data.data} nothing={<Nothing />} />}
    </>
  );
}

/** What the server remarks beside the answer. */
function Remarks({ answered }: { answered: Answered<unknown> | undefined }) {
  if (!answered || answered.warnings.length + answered.infos.length === 0) return null;
  return (
    <ul className={classes.remarks}>
      {answered.warnings.map((text) => (
        <li key={text} data-kind="warning">
          <IconAlertTriangle size={15} aria-label="Warning" /> {text}
        </li>
      ))}
      {answered.infos.map((text) => (
        <li key={text}>
          <IconInfoCircle size={15} aria-label="Note" /> {text}
        </li>
      ))}
    </ul>
  );
}

function Nothing() {
  return (
    <p className={classes.nothing}>
      No series in this time. Check the name and the labels: the completion lists what is stored (<kbd>Ctrl</kbd> <kbd>Space</kbd>).
    </p>
  );
}

function Foot({ all, step, name }: { all: RangeSeries[]; step: number; name: string }) {
  const rows = () => all.flatMap((series) => (series.values ?? []).map(([at, value]) => [new Date(at * 1000).toISOString(), nameOf(series.metric), value]));
  return (
    <div className={classes.foot}>
      {count(all.length, "series", "series")}, a point every {step} s
      {all.length > DRAWN_MAX && `; the first ${DRAWN_MAX} are drawn`}
      <Menu position="bottom-end">
        <Menu.Target>
          <Tooltip label="Export">
            <ActionIcon aria-label="Export" size="sm" ml="auto">
              <IconDownload size={15} />
            </ActionIcon>
          </Tooltip>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item onClick={() => saveCsv(name, ["time", "series", "value"], rows())}>As CSV</Menu.Item>
          <Menu.Item onClick={() => saveJson(name, all)}>As JSON</Menu.Item>
        </Menu.Dropdown>
      </Menu>
    </div>
  );
}
