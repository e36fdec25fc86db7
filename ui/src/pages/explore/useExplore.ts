import { useCallback, useMemo } from "react";
import { useSearchParams } from "react-router";
import { useNow } from "../../parts/Time";
import { niceStep, secondsOf } from "./series";

export const SPANS = ["5m", "15m", "1h", "6h", "1d", "7d"];
const SPAN_DEFAULT = "1h";
/** Expressions on one page at most. */
export const EXPRESSIONS_MAX = 5;
/** Points of a line: about one for three pixels. */
const POINTS = 300;
/** Prometheus refuses more. */
const POINTS_MAX = 11_000;
export const VIEWS = ["graph", "table"] as const;
export type View = (typeof VIEWS)[number];

export interface Window {
  start: number;
  end: number;
  step: number;
}

/** What is asked, all of it in the address, so that a link shows the same to somebody else. */
export function useExplore() {
  const [params, setParams] = useSearchParams();
  const now = Math.floor(useNow() / 1000);
  const expressions = useMemo(() => {
    const given = params.getAll("q").slice(0, EXPRESSIONS_MAX);
    return given.length > 0 ? given : [""];
  }, [params]);
  const span = params.get("span") ?? SPAN_DEFAULT;
  const seconds = secondsOf(span) ?? 3600;
  const fixed = Number(params.get("end")) || null;
  const given = secondsOf(params.get("step") ?? "");
  const step = Math.max(given ?? niceStep(seconds, POINTS), Math.ceil(seconds / (POINTS_MAX - 1)));
  // On whole steps, so that asking again a moment later shows the same points.
  const end = Math.floor((fixed ?? now) / step) * step;
  const window = useMemo<Window>(() => ({ start: end - seconds, end, step }), [end, seconds, step]);
  const view = (VIEWS as readonly string[]).includes(params.get("view") ?? "") ? (params.get("view") as View) : "graph";

  const change = useCallback(
    (to: Record<string, string | string[] | null>, replace = false) =>
      setParams(
        (before) => {
          for (const [name, value] of Object.entries(to)) {
            before.delete(name);
            if (Array.isArray(value)) for (const each of value) before.append(name, each);
            else if (value !== null && value !== "") before.set(name, value);
          }
          return before;
        },
        { replace, preventScrollReset: true },
      ),
    [setParams],
  );
  const setExpressions = useCallback((all: string[]) => change({ q: all.length === 1 && all[0] === "" ? [] : all }), [change]);
  const zoom = useCallback((start: number, to: number) => change({ span: `${Math.max(1, Math.round(to - start))}s`, end: String(Math.round(to)), step: null }), [change]);

  return {
    expressions,
    window,
    span,
    isLive: fixed === null,
    fixedStep: given !== null ? (params.get("step") ?? "") : "",
    stack: params.get("stack") === "1",
    compare: params.get("compare"),
    view,
    change,
    setExpressions,
    zoom,
  };
}
