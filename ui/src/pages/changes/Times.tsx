import { Select, TextInput } from "@mantine/core";
import { useMemo } from "react";
import { useSearchParams } from "react-router";
import classes from "./Changes.module.css";

const HOUR_MS = 3_600_000;
const SPANS = [
  { value: "1h", label: "Last hour", ms: HOUR_MS },
  { value: "24h", label: "Last 24 hours", ms: 24 * HOUR_MS },
  { value: "7d", label: "Last 7 days", ms: 7 * 24 * HOUR_MS },
  { value: "30d", label: "Last 30 days", ms: 30 * 24 * HOUR_MS },
] as const;
const BETWEEN = "between";

export interface Between {
  from?: string;
  to?: string;
}

/** What the address says of time: a span before now, or two times. `within` counts from when it was chosen. */
export function useTimes(): Between {
  const [params] = useSearchParams();
  const [within, from, to] = [params.get("within"), params.get("from"), params.get("to")];
  return useMemo(() => {
    const span = SPANS.find((each) => each.value === within);
    if (span) return { from: new Date(Date.now() - span.ms).toISOString() };
    return { ...moment("from", from), ...moment("to", to) };
  }, [within, from, to]);
}

const moment = (key: keyof Between, text: string | null): Between => {
  const at = text ? new Date(text) : null;
  return at && !Number.isNaN(at.getTime()) ? { [key]: at.toISOString() } : {};
};

export function Times() {
  const [params, setParams] = useSearchParams();
  const chosen = params.get("within");
  const set = (change: (params: URLSearchParams) => void) =>
    setParams((before) => (change(before), before), { replace: true, preventScrollReset: true });
  const choose = (value: string | null) =>
    set((next) => {
      if (value) next.set("within", value);
      else next.delete("within");
      if (value !== BETWEEN) ["from", "to"].forEach((key) => next.delete(key));
    });
  const isBetween = chosen === BETWEEN || (!chosen && (params.has("from") || params.has("to")));
  return (
    <>
      <Select
        className={classes.when}
        aria-label="When"
        placeholder="Any time"
        clearable
        data={[...SPANS.map(({ value, label }) => ({ value, label })), { value: BETWEEN, label: "Between…" }]}
        value={isBetween ? BETWEEN : chosen}
        onChange={choose}
      />
      {isBetween &&
        (["from", "to"] as const).map((key) => (
          <TextInput
            key={key}
            type="datetime-local"
            aria-label={key === "from" ? "From" : "Until"}
            value={local(params.get(key))}
            onChange={(event) => {
              const at = new Date(event.currentTarget.value);
              const text = Number.isNaN(at.getTime()) ? "" : at.toISOString();
              set((next) => (text ? next.set(key, text) : next.delete(key)));
            }}
          />
        ))}
    </>
  );
}

/** A time of the address as the field wants it, in the viewer's zone. */
function local(text: string | null): string {
  const at = text ? new Date(text) : null;
  if (!at || Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
