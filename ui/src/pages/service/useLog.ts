import { useCallback, useEffect, useRef, useState } from "react";
import { BASE, type LogLine } from "../../api/client";

/** Older lines than these are let go of; the download has them all. */
export const LINES_MAX = 4_000;
const TAIL = 400;
const WAIT_MS_FIRST = 500;
const WAIT_MS_MAX = 10_000;

export interface Numbered extends LogLine {
  /** Counts up, so that a line keeps its place. */
  key: number;
}

export interface LogWish {
  environment: string;
  name: string;
  contains: string;
  replica: string | null;
  /** Runs of this job instead of the service's own replicas. */
  job: string | null;
}

export type LogState = "connecting" | "live" | "reconnecting";

/** Follows the log. Lines arrive in bundles, once per frame, however fast they are written. */
export function useLog({ environment, name, contains, replica, job }: LogWish, paused: boolean) {
  const [lines, setLines] = useState<Numbered[]>([]);
  const [waiting, setWaiting] = useState(0);
  const [state, setState] = useState<LogState>("connecting");
  const held = useRef<Numbered[]>([]);
  const isPaused = useRef(paused);
  isPaused.current = paused;

  const flush = useCallback(() => {
    const fresh = held.current;
    if (fresh.length === 0) return;
    held.current = [];
    setWaiting(0);
    setLines((before) => [...before, ...fresh].slice(-LINES_MAX));
  }, []);

  useEffect(() => {
    let source: EventSource | null = null;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let frame = 0;
    let key = 0;
    let waitMs = WAIT_MS_FIRST;
    // After a break the stream begins again with its tail; lines that are known are left out.
    let last = "";
    const atLast = new Set<string>();
    held.current = [];
    setLines([]);
    setWaiting(0);
    setState("connecting");

    const drain = () => {
      frame = 0;
      if (isPaused.current) setWaiting(held.current.length);
      else flush();
    };
    const open = () => {
      const query = new URLSearchParams({ environment, tail: String(TAIL) });
      if (contains) query.set("contains", contains);
      if (replica) query.set("replica", replica);
      if (job) query.set("job", job);
      source = new EventSource(`${BASE}/services/${encodeURIComponent(name)}/logs/stream?${query}`);
      source.addEventListener("open", () => {
        waitMs = WAIT_MS_FIRST;
        setState("live");
      });
      source.addEventListener("message", (message: MessageEvent<string>) => {
        const line = JSON.parse(message.data) as LogLine;
        const print = `${line.replica} ${line.text}`;
        if (line.at < last || (line.at === last && atLast.has(print))) return;
        if (line.at > last) atLast.clear();
        last = line.at;
        atLast.add(print);
        key += 1;
        held.current.push({ ...line, key });
        if (held.current.length > LINES_MAX) held.current.splice(0, held.current.length - LINES_MAX);
        frame ||= requestAnimationFrame(drain);
      });
      source.addEventListener("error", () => {
        source?.close();
        setState("reconnecting");
        timer = setTimeout(open, waitMs);
        waitMs = Math.min(waitMs * 2, WAIT_MS_MAX);
      });
    };
    open();
    return () => {
      source?.close();
      clearTimeout(timer);
      cancelAnimationFrame(frame);
    };
  }, [environment, name, contains, replica, job, flush]);

  useEffect(() => {
    if (!paused) flush();
  }, [paused, flush]);

  return { lines, waiting, state };
}
