/**
 * Traces and metrics. Every request gets W3C ids whether or not anybody collects them, so that logs
 * of the five services can be joined. The OpenTelemetry SDK is loaded only when an endpoint is given.
 */

import { AsyncLocalStorage } from "node:async_hooks";
import { randomBytes } from "node:crypto";

export type Attributes = Record<string, string | number | boolean>;
export type Headers = Record<string, string>;

export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  set(attributes: Attributes): void;
  fail(error: unknown): void;
  end(): void;
  /** What a request to another service carries, so that its spans become children of this one. */
  headers(): Headers;
}

export interface Telemetry {
  /** A request that came in; continues the caller's trace where its headers name one. */
  server(name: string, headers: NodeJS.Dict<string | string[]>, attributes: Attributes): Span;
  /** A piece of work inside the current request, such as a call to another service. */
  child(kind: "client" | "internal", name: string, attributes: Attributes): Span;
  count(name: string, by: number, attributes?: Attributes): void;
  /** Seconds, into a histogram. */
  duration(name: string, seconds: number, attributes?: Attributes): void;
  gauge(name: string, unit: string, read: () => number): void;
  close(): Promise<void>;
}

const spans = new AsyncLocalStorage<Span>();

export const currentSpan = (): Span | undefined => spans.getStore();

export let telemetry: Telemetry = silent();

export async function startTelemetry(service: string, release: string): Promise<void> {
  const env = process.env;
  const wanted =
    env["OTEL_EXPORTER_OTLP_ENDPOINT"] ||
    env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] ||
    env["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"];
  if (!wanted || env["OTEL_SDK_DISABLED"] === "true") return;
  const { exporting } = await import("./otel.ts");
  telemetry = exporting(service, release);
}

/** Runs `work` inside `span` and ends it; a thrown error marks it as failed. */
export async function within<T>(span: Span, work: () => Promise<T>): Promise<T> {
  try {
    return await spans.run(span, work);
  } catch (error) {
    span.fail(error);
    throw error;
  } finally {
    span.end();
  }
}

/** Like `within` for a span whose end is decided elsewhere. */
export const inside = <T>(span: Span, work: () => T): T => spans.run(span, work);

/** `00-<trace>-<parent>-<flags>`; anything else starts a trace of its own, as the standard asks. */
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/;

function silent(): Telemetry {
  const open = (traceId: string, flags: string, state: string | undefined): Span & { flags: string } => {
    const spanId = randomBytes(8).toString("hex");
    return {
      traceId,
      spanId,
      flags,
      set() {},
      fail() {},
      end() {},
      headers: () => ({
        traceparent: `00-${traceId}-${spanId}-${flags}`,
        ...(state ? { tracestate: state } : {}),
      }),
    };
  };
  return {
    server(_name, headers) {
      const given = TRACEPARENT.exec(String(headers["traceparent"] ?? ""));
      const state = headers["tracestate"];
      if (given) return open(given[1]!, given[3]!, typeof state === "string" ? state : undefined);
      return open(randomBytes(16).toString("hex"), "00", undefined);
    },
    child() {
      const parent = currentSpan();
      const carried = parent?.headers() ?? {};
      const flags = carried["traceparent"]?.slice(-2) ?? "00";
      return open(parent?.traceId ?? randomBytes(16).toString("hex"), flags, carried["tracestate"]);
    },
    count() {},
    duration() {},
    gauge() {},
    close: async () => {},
  };
}
