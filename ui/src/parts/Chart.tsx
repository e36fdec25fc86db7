import "uplot/dist/uPlot.min.css";

import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import uPlot from "uplot";
import classes from "./Chart.module.css";

export interface Line {
  label: string;
  /** Name of a colour of the theme, such as `--chart-1`. */
  color: string;
  values: (number | null)[];
  dash?: number[];
  fill?: boolean;
}

interface Props {
  title: string;
  /** Seconds since the Unix epoch. */
  at: number[];
  lines: Line[];
  show: (value: number) => string;
  /** Charts of one page share their crosshair. */
  sync?: string;
  height?: number;
}

const HEIGHT_PX = 156;
const AXIS_PX = 58;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

/** Lines over time. What the crosshair is on stands in words above, next to the names of the lines. */
export function Chart(props: Props) {
  const scheme = useComputedColorScheme("light");
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const [at, setAt] = useState<number | null>(null);
  const { lines, height = HEIGHT_PX, sync } = props;
  const looks = lines.map((line) => line.label + line.color).join();

  useEffect(() => {
    const host = box.current;
    if (!host) return;
    const drawn = new uPlot(
      options(host, latest.current.lines, height, sync, (value) => latest.current.show(value), setAt),
      data(latest.current),
      host,
    );
    plot.current = drawn;
    const resize = new ResizeObserver(() => drawn.setSize({ width: host.clientWidth, height }));
    resize.observe(host);
    return () => {
      resize.disconnect();
      drawn.destroy();
      plot.current = null;
    };
    // Colours are read when it is drawn: another scheme draws it anew.
  }, [scheme, looks, height, sync]);

  useEffect(() => plot.current?.setData(data(props)), [props.at, lines]); // eslint-disable-line react-hooks/exhaustive-deps

  const index = at ?? lastKnown(lines);
  const moment = props.at[index];
  return (
    <figure className={`card ${classes.chart}`}>
      <figcaption className={classes.head}>
        <span className={classes.title}>{props.title}</span>
        <span className={`${classes.when} num`}>{at !== null && moment !== undefined ? clock.format(moment * 1000) : "now"}</span>
        <span className={classes.legend}>
          {lines.map((line) => {
            const value = line.values[index];
            return (
              <span key={line.label} className={classes.entry}>
                <svg width="14" height="4" aria-hidden>
                  <path d="M0 2h14" stroke={`var(${line.color})`} strokeWidth="2.5" strokeDasharray={line.dash?.join(" ")} />
                </svg>
                {line.label} <b className="num">{value === null || value === undefined ? "–" : props.show(value)}</b>
              </span>
            );
          })}
        </span>
      </figcaption>
      <div ref={box} className={classes.plot} role="img" aria-label={describe(props)} style={{ height }} />
    </figure>
  );
}

const data = (props: Props): uPlot.AlignedData => [props.at, ...props.lines.map((line) => line.values)] as uPlot.AlignedData;

function options(
  host: HTMLElement,
  lines: Line[],
  height: number,
  sync: string | undefined,
  show: (value: number) => string,
  moved: (at: number | null) => void,
): uPlot.Options {
  const style = getComputedStyle(host);
  const color = (name: string): string => style.getPropertyValue(name).trim();
  const axis: uPlot.Axis = {
    stroke: color("--mantine-color-dimmed"),
    font: `11px ${style.fontFamily}`,
    grid: { stroke: color("--grid"), width: 1 },
    ticks: { show: false },
  };
  return {
    width: host.clientWidth,
    height,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false }, ...(sync ? { sync: { key: sync, setSeries: false } } : {}) },
    scales: { x: { time: true }, y: { range: (_plot, _min, max) => [0, max > 0 ? max * 1.12 : 1] } },
    axes: [
      { ...axis, size: 24, gap: 4, space: 70, values: (_plot, splits) => splits.map((split) => clock.format(split * 1000).slice(0, 5)) },
      { ...axis, size: AXIS_PX, space: 34, gap: 6, values: (_plot, splits) => splits.map((split) => show(split)) },
    ],
    series: [
      {},
      ...lines.map(
        (line): uPlot.Series => ({
          label: line.label,
          stroke: color(line.color),
          width: 1.6,
          points: { show: false },
          spanGaps: false,
          ...(line.dash ? { dash: line.dash } : {}),
          ...(line.fill ? { fill: `color-mix(in srgb, ${color(line.color)} 13%, transparent)` } : {}),
        }),
      ),
    ],
    hooks: { setCursor: [(plot) => moved(plot.cursor.idx ?? null)] },
  };
}

function lastKnown(lines: Line[]): number {
  const values = lines[0]?.values ?? [];
  for (let at = values.length - 1; at >= 0; at -= 1) if (values[at] !== null) return at;
  return 0;
}

function describe(props: Props): string {
  const words = props.lines.map((line) => {
    const known = line.values.filter((value): value is number => value !== null);
    if (known.length === 0) return `${line.label}: nothing`;
    return `${line.label}: now ${props.show(known.at(-1) ?? 0)}, at most ${props.show(Math.max(...known))}`;
  });
  return `${props.title}. ${words.join(". ")}`;
}
