import "uplot/dist/uPlot.min.css";

import { UnstyledButton, useComputedColorScheme } from "@mantine/core";
import { useEffect, useMemo, useRef, useState } from "react";
import uPlot from "uplot";
import { figure, stacked, type Drawn } from "./series";
import classes from "./Explore.module.css";

/** Something that happened, marked on the graph. */
export interface Moment {
  /** Seconds since the Unix epoch. */
  at: number;
  words: string;
  kind: "release" | "configuration" | "other";
}

/** A sample that points at a trace. */
export interface Spot {
  at: number;
  value: number;
  words: string;
}

interface Props {
  title: string;
  /** Seconds since the Unix epoch, evenly apart. */
  at: number[];
  lines: Drawn[];
  stack: boolean;
  moments: Moment[];
  spots: Spot[];
  /** A stretch was marked with the mouse. */
  zoom?: (start: number, end: number) => void;
  height?: number;
}

const HEIGHT_PX = 320;
const AXIS_PX = 64;
const LEGEND_MAX = 20;
const DAY = 86_400;

/** Lines over time, to zoom into by dragging. A click on a name in the legend shows that line alone. */
export function Graph(props: Props) {
  const scheme = useComputedColorScheme("light");
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const [cursor, setCursor] = useState<number | null>(null);
  const [only, setOnly] = useState<string | null>(null);
  const { height = HEIGHT_PX, stack } = props;

  const shown = useMemo(() => {
    const kept = only && props.lines.some((line) => line.label === only) ? props.lines.filter((line) => line.label === only) : props.lines;
    return stack ? stacked(kept) : kept;
  }, [props.lines, stack, only]);
  const looks = shown.map((line) => line.label + line.color + (line.dash ? "-" : "")).join() + String(stack) + JSON.stringify(props.moments) + JSON.stringify(props.spots);

  useEffect(() => {
    const host = box.current;
    if (!host) return;
    const drawn = new uPlot(options(host, shown, latest.current, height, setCursor), table(latest.current.at, shown), host);
    plot.current = drawn;
    const resize = new ResizeObserver(() => drawn.setSize({ width: host.clientWidth, height }));
    resize.observe(host);
    return () => {
      resize.disconnect();
      drawn.destroy();
      plot.current = null;
    };
    // Colours are read when it is drawn: another scheme draws it anew.
  }, [scheme, looks, height]); // eslint-disable-line react-hooks/exhaustive-deps

  useEffect(() => plot.current?.setData(table(props.at, shown)), [props.at, shown]);

  const index = cursor ?? props.at.length - 1;
  const moment = props.at[index];
  return (
    <figure className={classes.graph}>
      <div ref={box} role="img" aria-label={describe(props)} style={{ height }} className={classes.plot} />
      <figcaption className={classes.legend}>
        <span className={`${classes.when} num`}>{moment === undefined ? "" : long.format(moment * 1000)}</span>
        {props.lines.slice(0, LEGEND_MAX).map((line) => {
          const value = line.values[index];
          return (
            <UnstyledButton
              key={line.label + line.color}
              className={classes.entry ?? ""}
              data-off={only !== null && only !== line.label ? true : undefined}
              aria-pressed={only === line.label}
              title="Show this line alone"
              onClick={() => setOnly(only === line.label ? null : line.label)}
            >
              <svg width="14" height="4" aria-hidden>
                <path d="M0 2h14" stroke={`var(${line.color})`} strokeWidth="2.5" strokeDasharray={line.dash?.join(" ")} />
              </svg>
              <span className={classes.entryName}>{line.label}</span>
              <b className="num">{value === null || value === undefined ? "–" : figure(value)}</b>
            </UnstyledButton>
          );
        })}
        {props.lines.length > LEGEND_MAX && <span className="dim">and {props.lines.length - LEGEND_MAX} more in the table</span>}
      </figcaption>
      {props.moments.length > 0 && (
        <ul className={classes.moments} aria-label="What changed in this time">
          {props.moments.map((each) => (
            <li key={`${each.at}${each.words}`} data-kind={each.kind}>
              <time className="num dim">{short.format(each.at * 1000)}</time> {each.words}
            </li>
          ))}
        </ul>
      )}
    </figure>
  );
}

const short = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
const long = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

const table = (at: number[], lines: Drawn[]): uPlot.AlignedData => [at, ...lines.map((line) => line.values)] as uPlot.AlignedData;

function options(host: HTMLElement, lines: Drawn[], props: Props, height: number, moved: (at: number | null) => void): uPlot.Options {
  const style = getComputedStyle(host);
  const color = (name: string): string => style.getPropertyValue(name).trim();
  const axis: uPlot.Axis = {
    stroke: color("--mantine-color-dimmed"),
    font: `11px ${style.fontFamily}`,
    grid: { stroke: color("--grid"), width: 1 },
    ticks: { show: false },
  };
  const time = (split: number, wide: boolean): string => (wide ? day : short).format(split * 1000);
  return {
    width: host.clientWidth,
    height,
    padding: [10, 10, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, drag: { x: true, y: false, setScale: false } },
    scales: { x: { time: true }, y: props.stack ? { range: (_plot, low, high) => [Math.min(0, low), high > 0 ? high * 1.06 : 1] } : {} },
    axes: [
      { ...axis, size: 26, gap: 5, space: 80, values: (_plot, splits) => splits.map((split) => time(split, (splits.at(-1) ?? 0) - (splits[0] ?? 0) > 3 * DAY)) },
      { ...axis, size: AXIS_PX, space: 36, gap: 6, values: (_plot, splits) => splits.map((split) => figure(split)) },
    ],
    series: [
      {},
      ...lines.map(
        (line): uPlot.Series => ({
          label: line.label,
          stroke: color(line.color),
          width: 1.5,
          points: { show: lonely(line.values), size: 4 },
          spanGaps: false,
          ...(line.dash ? { dash: line.dash } : {}),
          ...(props.stack ? { fill: `color-mix(in srgb, ${color(line.color)} 22%, transparent)` } : {}),
        }),
      ),
    ],
    // Each line fills down to the one below it, not to the bottom.
    ...(props.stack ? { bands: lines.slice(1).map((_, at): uPlot.Band => ({ series: [at + 2, at + 1] })) } : {}),
    hooks: {
      setCursor: [(plot) => moved(plot.cursor.idx ?? null)],
      setSelect: [
        (plot) => {
          const { left, width } = plot.select;
          if (width > 4) props.zoom?.(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
      draw: [(plot) => marks(plot, props, color)],
    },
  };
}

/** A point between two gaps would not be seen without a dot. */
const lonely = (values: (number | null)[]): boolean => values.filter((value) => value !== null).length < 3;

function marks(plot: uPlot, props: Props, color: (name: string) => string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.lineWidth = devicePixelRatio;
  for (const moment of props.moments) {
    const x = plot.valToPos(moment.at, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = color(moment.kind === "release" ? "--busy" : "--warn");
    ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.setLineDash([]);
  ctx.fillStyle = color("--chart-4");
  for (const spot of props.spots) {
    const [x, y] = [plot.valToPos(spot.at, "x", true), plot.valToPos(spot.value, "y", true)];
    if (x < bbox.left || x > bbox.left + bbox.width || y < bbox.top || y > bbox.top + bbox.height) continue;
    ctx.beginPath();
    ctx.rect(x - 3 * devicePixelRatio, y - 3 * devicePixelRatio, 6 * devicePixelRatio, 6 * devicePixelRatio);
    ctx.fill();
  }
  ctx.restore();
}

function describe(props: Props): string {
  const words = props.lines.slice(0, LEGEND_MAX).map((line) => {
    const known = line.values.filter((value): value is number => value !== null);
    if (known.length === 0) return `${line.label}: nothing`;
    return `${line.label}: last ${figure(known.at(-1) ?? 0)}, between ${figure(Math.min(...known))} and ${figure(Math.max(...known))}`;
  });
  return `${props.title}. ${words.join(". ")}`;
}
