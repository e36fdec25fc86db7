import type { Labels, Point, RangeSeries } from "../../api/prometheus";

/** Series drawn at most: more lines than that tell nothing, and the table has them all. */
export const DRAWN_MAX = 50;
export const COLORS = Array.from({ length: 8 }, (_, at) => `--chart-${at + 1}`);

export interface Drawn {
  label: string;
  metric: Labels;
  color: string;
  values: (number | null)[];
  dash?: number[];
}

/** `name{label="value"}`, as Prometheus writes a series. */
export function nameOf(metric: Labels): string {
  const { __name__: name = "", ...rest } = metric;
  const labels = Object.entries(rest).map(([label, value]) => `${label}=${JSON.stringify(value)}`);
  if (labels.length === 0) return name || "{}";
  return `${name}{${labels.join(", ")}}`;
}

/** Of series that share labels only those that tell them apart; all when there is one. */
export function shortNames(all: Labels[]): string[] {
  if (all.length < 2) return all.map(nameOf);
  const names = new Set(all.flatMap((metric) => Object.keys(metric)));
  const apart = [...names].filter((name) => new Set(all.map((metric) => metric[name] ?? "")).size > 1);
  return all.map((metric) => {
    const words = apart.filter((name) => metric[name] !== undefined).map((name) => (name === "__name__" ? metric[name]! : `${name}=${JSON.stringify(metric[name])}`));
    return words.join(" ") || nameOf(metric);
  });
}

/** The times of a range query, in seconds. */
export function times(start: number, end: number, step: number): number[] {
  return Array.from({ length: Math.floor((end - start) / step + 1e-9) + 1 }, (_, at) => start + at * step);
}

/** Values on the grid of times; what is missing, and what cannot be drawn, is a gap. */
export function onGrid(points: Point[], start: number, step: number, length: number): (number | null)[] {
  const values: (number | null)[] = new Array<number | null>(length).fill(null);
  for (const [at, text] of points) {
    const index = Math.round((at - start) / step);
    const value = number(text);
    if (index >= 0 && index < length && Number.isFinite(value)) values[index] = value;
  }
  return values;
}

/** `+Inf`, `-Inf` and `NaN` have no reading of their own in JavaScript. */
export const number = (text: string): number => (text === "+Inf" ? Number.POSITIVE_INFINITY : text === "-Inf" ? Number.NEGATIVE_INFINITY : Number(text));

/** A histogram is drawn as the mean of its observations. */
export function pointsOf(series: RangeSeries): Point[] {
  if (series.values) return series.values;
  return (series.histograms ?? []).map(([at, histogram]) => [at, String(Number(histogram.sum) / Number(histogram.count))]);
}

export function draw(all: RangeSeries[], grid: { start: number; step: number; length: number }, first = 0, dash?: number[]): Drawn[] {
  const shown = all.slice(0, DRAWN_MAX);
  const names = shortNames(shown.map((series) => series.metric));
  return shown.map((series, at) => ({
    label: names[at] ?? "",
    metric: series.metric,
    color: COLORS[(first + at) % COLORS.length] ?? "--chart-1",
    values: onGrid(pointsOf(series), grid.start, grid.step, grid.length),
    ...(dash ? { dash } : {}),
  }));
}

/** Each line stands on those before it; a gap counts as nothing. */
export function stacked(lines: Drawn[]): Drawn[] {
  const sum = new Array<number>(lines[0]?.values.length ?? 0).fill(0);
  return lines.map((line) => ({
    ...line,
    values: line.values.map((value, at) => {
      sum[at] = (sum[at] ?? 0) + (value ?? 0);
      return value === null ? null : (sum[at] ?? null);
    }),
  }));
}

/** A step that gives about `points` points, on a round number of seconds. */
export function niceStep(seconds: number, points: number): number {
  const rough = Math.max(1, seconds / points);
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400];
  return steps.find((step) => step >= rough) ?? Math.ceil(rough / 86_400) * 86_400;
}

const UNITS: [string, number][] = [
  ["w", 604_800],
  ["d", 86_400],
  ["h", 3600],
  ["m", 60],
  ["s", 1],
];

/** Seconds of `1h30m`; none when it is no duration. */
export function secondsOf(text: string): number | null {
  if (!/^(\d+(\.\d+)?[wdhms])+$/.test(text)) return null;
  let seconds = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)([wdhms])/g)) seconds += Number(amount) * (UNITS.find(([name]) => name === unit)?.[1] ?? 0);
  return seconds > 0 ? seconds : null;
}

/** A number in few letters. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
  const size = Math.abs(value);
  if (size !== 0 && size < 0.001) return value.toExponential(2);
  return new Intl.NumberFormat(undefined, { notation: size >= 10_000 ? "compact" : "standard", maximumSignificantDigits: 4 }).format(value);
}
