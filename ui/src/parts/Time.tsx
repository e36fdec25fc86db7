import { Tooltip } from "@mantine/core";
import { useSyncExternalStore } from "react";

const TICK_MS = 5_000;

// One clock for all times on the page.
let now = Date.now();
const watchers = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function watch(watcher: () => void): () => void {
  watchers.add(watcher);
  timer ??= setInterval(() => {
    now = Date.now();
    for (const each of watchers) each();
  }, TICK_MS);
  return () => {
    watchers.delete(watcher);
    if (watchers.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

export function useNow(): number {
  return useSyncExternalStore(watch, () => now);
}

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "always", style: "short" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const short = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false });

const STEPS: [number, Intl.RelativeTimeFormatUnit][] = [
  [60, "second"],
  [60, "minute"],
  [24, "hour"],
  [7, "day"],
  [4.35, "week"],
  [12, "month"],
  [Number.POSITIVE_INFINITY, "year"],
];

export function ago(at: string | number, from: number): string {
  let amount = (new Date(at).getTime() - from) / 1000;
  if (Number.isNaN(amount)) return String(at);
  if (Math.abs(amount) < 8) return amount > 0 ? "in a moment" : "just now";
  for (const [size, unit] of STEPS) {
    if (Math.abs(amount) < size) return relative.format(Math.trunc(amount), unit);
    amount /= size;
  }
  return "";
}

/** A time in the viewer's zone: how long ago, with the exact one on hover and focus. */
export function Time({ at, form = "relative" }: { at: string; form?: "relative" | "short" }) {
  const from = useNow();
  const date = new Date(at);
  const words = Number.isNaN(date.getTime()) ? at : exact.format(date);
  return (
    <Tooltip label={words}>
      <time dateTime={at} className="num" style={{ whiteSpace: "nowrap" }}>
        {form === "short" ? short.format(date) : ago(at, from)}
      </time>
    </Tooltip>
  );
}

export const clockTime = (at: string): string => {
  const date = new Date(at);
  return `${clock.format(date)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
};

export const exactTime = (at: string): string => exact.format(new Date(at));

/** How long since, as `3 d 4 h`. */
export function lasting(sinceMs: number): string {
  const s = Math.max(0, Math.floor(sinceMs / 1000));
  const parts: [number, string][] = [
    [Math.floor(s / 86_400), "d"],
    [Math.floor(s / 3600) % 24, "h"],
    [Math.floor(s / 60) % 60, "min"],
    [s % 60, "s"],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  if (first < 0) return "0 s";
  // Seconds tell nothing any more after some minutes.
  const most = first === 2 && (parts[2]?.[0] ?? 0) >= 5 ? 1 : 2;
  return parts
    .slice(first, first + most)
    .filter(([n]) => n > 0)
    .map(([n, unit]) => `${n} ${unit}`)
    .join(" ");
}

export function Uptime({ since }: { since: string }) {
  const from = useNow();
  return (
    <Tooltip label={exact.format(new Date(since))}>
      <time dateTime={since} className="num" style={{ whiteSpace: "nowrap" }}>
        {lasting(from - new Date(since).getTime())}
      </time>
    </Tooltip>
  );
}
