// Sends one of each instrument with the OpenTelemetry SDK for JavaScript.
//
// usage: node sdk.mjs proto|json|grpc ENDPOINT delta|cumulative gzip|none

import { MeterProvider, PeriodicExportingMetricReader, AggregationType, AggregationTemporality } from '@opentelemetry/sdk-metrics';
import { resourceFromAttributes } from '@opentelemetry/resources';

const [way, url, temporality, compression] = process.argv.slice(2);
const module = await import(`@opentelemetry/exporter-metrics-otlp-${{ proto: 'proto', json: 'http', grpc: 'grpc' }[way]}`);
const exporter = new module.OTLPMetricExporter({
  url,
  compression,
  temporalityPreference: temporality === 'delta' ? AggregationTemporality.DELTA : AggregationTemporality.CUMULATIVE,
});

const results = [];
const send = exporter.export.bind(exporter);
exporter.export = (metrics, done) => send(metrics, (result) => { results.push(result); done(result); });

const provider = new MeterProvider({
  resource: resourceFromAttributes({ 'service.name': 'sdk-js', 'service.namespace': 'shop', 'service.instance.id': '1', 'deployment.environment.name': 'test' }),
  views: [{ instrumentName: 'exact', aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } }],
  readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })],
});
const meter = provider.getMeter('test', '1.0');
const hits = meter.createCounter('hits', { unit: '1', description: 'What came' });
hits.add(3, { 'http.method': 'GET' });
meter.createUpDownCounter('open').add(2);
meter.createGauge('load').record(0.5);
meter.createHistogram('took', { unit: 's' }).record(0.3);
meter.createHistogram('exact', { unit: 's' }).record(0.3);
await provider.forceFlush();
hits.add(4, { 'http.method': 'GET' });
await provider.forceFlush();
await provider.shutdown();
const failed = results.filter((result) => result.code !== 0);
console.log(`${results.length} exports, ${failed.length} failed`, ...failed.map((result) => String(result.error)));
process.exit(failed.length > 0 || results.length < 2 ? 1 : 0);
