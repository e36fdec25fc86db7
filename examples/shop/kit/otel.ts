/** The OpenTelemetry SDK behind `Telemetry`: OTLP over HTTP, addressed by the standard variables. */

import { type Context, defaultTextMapGetter, defaultTextMapSetter, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import type { Counter, Histogram, Span as OtelSpan } from "@opentelemetry/api";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import { AggregationType, MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { currentSpan, type Headers, type Span, type Telemetry } from "./telemetry.ts";
import { wholeNumber } from "./settings.ts";

/** Spans waiting for export; beyond it the newest are dropped rather than memory grown. */
const SPANS_QUEUED_MAX = 2_048;
const CLOSE_BUDGET_MS = 1_500;

/** Seconds, as the semantic conventions advise for request durations. */
const DURATION_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

const CONTEXT = Symbol("otel context");
type Recorded = Span & { [CONTEXT]: Context };

export function exporting(service: string, release: string): Telemetry {
  const everyMs = wholeNumber(process.env, "OTEL_METRIC_EXPORT_INTERVAL", 10_000, 100, 3_600_000);
  const resource = resourceFromAttributes({
    "service.name": service,
    "service.namespace": "shop",
    "service.version": release,
    "telemetry.sdk.language": "nodejs",
  }).merge(detectResources({ detectors: [envDetector] }));
  const tracers = new BasicTracerProvider({
    resource,
    spanProcessors: [
      new BatchSpanProcessor(new OTLPTraceExporter(), { maxQueueSize: SPANS_QUEUED_MAX, scheduledDelayMillis: 1_000 }),
    ],
  });
  const meters = new MeterProvider({
    resource,
    views: [
      {
        instrumentName: "*.duration",
        aggregation: { type: AggregationType.EXPLICIT_BUCKET_HISTOGRAM, options: { boundaries: DURATION_BOUNDS } },
      },
    ],
    readers: [
      new PeriodicExportingMetricReader({
        exporter: new OTLPMetricExporter(),
        exportIntervalMillis: everyMs,
        // The SDK refuses a timeout above the interval.
        exportTimeoutMillis: Math.min(5_000, everyMs),
      }),
    ],
  });
  const tracer = tracers.getTracer("shop");
  const meter = meters.getMeter("shop");
  const w3c = new W3CTraceContextPropagator();
  const counters = new Map<string, Counter>();
  const histograms = new Map<string, Histogram>();

  const wrap = (inner: OtelSpan, parent: Context): Recorded => {
    const context = trace.setSpan(parent, inner);
    const { traceId, spanId } = inner.spanContext();
    return {
      traceId,
      spanId,
      [CONTEXT]: context,
      set: (attributes) => void inner.setAttributes(attributes),
      fail(error) {
        const message = error instanceof Error ? error.message : String(error);
        inner.setStatus({ code: SpanStatusCode.ERROR, message });
        if (error instanceof Error) inner.recordException(error);
      },
      end: () => inner.end(),
      headers() {
        const carried: Headers = {};
        w3c.inject(context, carried, defaultTextMapSetter);
        return carried;
      },
    };
  };
  const kept = <T>(all: Map<string, T>, name: string, make: () => T): T => {
    let one = all.get(name);
    if (!one) all.set(name, (one = make()));
    return one;
  };

  return {
    server(name, headers, attributes) {
      const parent = w3c.extract(ROOT_CONTEXT, headers, defaultTextMapGetter);
      return wrap(tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parent), parent);
    },
    child(kind, name, attributes) {
      const parent = (currentSpan() as Recorded | undefined)?.[CONTEXT] ?? ROOT_CONTEXT;
      const spanKind = kind === "client" ? SpanKind.CLIENT : SpanKind.INTERNAL;
      return wrap(tracer.startSpan(name, { kind: spanKind, attributes }, parent), parent);
    },
    count: (name, by, attributes) => kept(counters, name, () => meter.createCounter(name)).add(by, attributes),
    duration: (name, seconds, attributes) =>
      kept(histograms, name, () => meter.createHistogram(name, { unit: "s" })).record(seconds, attributes),
    gauge(name, unit, read) {
      meter.createObservableGauge(name, { unit }).addCallback((result) => result.observe(read()));
    },
    async close() {
      // A collector that is gone must not hold up the shutdown.
      const late = new Promise((done) => setTimeout(done, CLOSE_BUDGET_MS).unref());
      await Promise.race([Promise.allSettled([tracers.shutdown(), meters.shutdown()]), late]);
    },
  };
}
