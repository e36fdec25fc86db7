"""Sends one of each instrument with the OpenTelemetry SDK for Python.

usage: sdk.py http|grpc ENDPOINT delta|cumulative gzip|none
"""

import sys

from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

way, endpoint, temporality, compression = sys.argv[1:]
kinds = {}
if temporality == "delta":
    kinds = {Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA}
if way == "grpc":
    from grpc import Compression
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    packed = Compression.Gzip if compression == "gzip" else Compression.NoCompression
    exporter = OTLPMetricExporter(endpoint=endpoint, insecure=True, compression=packed, preferred_temporality=kinds)
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    packed = Compression.Gzip if compression == "gzip" else Compression.NoCompression
    exporter = OTLPMetricExporter(endpoint=endpoint, compression=packed, preferred_temporality=kinds)

results = []
send = exporter.export
exporter.export = lambda *given, **named: results.append(send(*given, **named)) or results[-1]

reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
provider = MeterProvider(
    metric_readers=[reader],
    resource=Resource.create({"service.name": "sdk-python", "service.namespace": "shop", "service.instance.id": "1"}),
    views=[View(instrument_name="exact", aggregation=ExponentialBucketHistogramAggregation())],
)
meter = provider.get_meter("test", "1.0")
hits = meter.create_counter("hits", unit="1", description="What came")
hits.add(3, {"http.method": "GET"})
meter.create_up_down_counter("open").add(2)
meter.create_gauge("load").set(0.5)
meter.create_histogram("took", unit="s").record(0.3)
meter.create_histogram("exact", unit="s").record(0.3)
provider.force_flush()
hits.add(4, {"http.method": "GET"})
provider.force_flush()
provider.shutdown()
failed = [result for result in results if result is not MetricExportResult.SUCCESS]
print(f"{len(results)} exports, {len(failed)} failed")
sys.exit(1 if failed or len(results) < 2 else 0)
