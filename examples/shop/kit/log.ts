/** One JSON object per line on stdout, each with the trace it belongs to. */

import { currentSpan } from "./telemetry.ts";

const LEVELS = { debug: 10, info: 20, warn: 30, error: 40 } as const;
type Level = keyof typeof LEVELS;

const LEAST: number = LEVELS[(process.env["LOG_LEVEL"] ?? "info") as Level] ?? LEVELS.info;

let service = "shop";

export function nameLogs(name: string): void {
  service = name;
}

type Fields = Record<string, unknown>;

export const log = {
  debug: (message: string, fields?: Fields) => write("debug", message, fields),
  info: (message: string, fields?: Fields) => write("info", message, fields),
  warn: (message: string, fields?: Fields) => write("warn", message, fields),
  error: (message: string, fields?: Fields) => write("error", message, fields),
};

function write(level: Level, message: string, fields: Fields = {}): void {
  if (LEVELS[level] < LEAST) return;
  const span = currentSpan();
  const line: Fields = { time: new Date().toISOString(), level, service, message };
  if (span) {
    line["trace_id"] = span.traceId;
    line["span_id"] = span.spanId;
  }
  for (const [key, value] of Object.entries(fields)) line[key] = value instanceof Error ? reason(value) : value;
  process.stdout.write(JSON.stringify(line) + "\n");
}

/** An error with what caused it, in one line. */
export function reason(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error, depth = 0; at && depth < 5; depth++) {
    if (!(at instanceof Error)) {
      parts.push(String(at));
      break;
    }
    const inner = at instanceof AggregateError ? at.errors[0] : at.cause;
    parts.push(at.message || at.name);
    at = inner;
  }
  return parts.join(": ");
}
