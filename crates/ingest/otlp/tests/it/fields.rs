//! What becomes of each field: the cases, which are also docs/reference/receivers-otlp.md.

use otlp::{Limits, RefusedReason, Settings, Strategy};

use crate::world::{World, request};

/// Field, what happens, and a metric in JSON that shows it. `T` stands for a time, `A` for an attribute.
const METRICS: &[(&str, &str, &str)] = &[
    (
        "Metric.name",
        "kept; unit and type are appended",
        r#"{"name":"http.load","unit":"1","gauge":{"dataPoints":[{T,"asDouble":0.5}]}}"#,
    ),
    (
        "Metric.unit",
        "mapped to a word at the end of the name",
        r#"{"name":"size","unit":"By","gauge":{"dataPoints":[{T,"asInt":"7"}]}}"#,
    ),
    ("Gauge", "kept", r#"{"name":"g","gauge":{"dataPoints":[{T,"asDouble":1.5,A}]}}"#),
    (
        "Sum, monotonic, cumulative",
        "mapped to a counter",
        r#"{"name":"hits","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{T,"asInt":"3"}]}}"#,
    ),
    (
        "Sum, not monotonic",
        "mapped to a gauge",
        r#"{"name":"open","sum":{"aggregationTemporality":2,"dataPoints":[{T,"asInt":"3"}]}}"#,
    ),
    (
        "Sum, delta",
        "mapped: summed up",
        r#"{"name":"hits","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{T,"asInt":"3"},{T1,"asInt":"4"}]}}"#,
    ),
    (
        "Sum, delta, older than the last",
        "refused",
        r#"{"name":"hits","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{T1,"asInt":"3"},{T,"asInt":"4"}]}}"#,
    ),
    (
        "Sum, delta, monotonic and negative",
        "refused",
        r#"{"name":"hits","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{T,"asInt":"-3"}]}}"#,
    ),
    (
        "aggregation_temporality unspecified",
        "refused",
        r#"{"name":"hits","sum":{"isMonotonic":true,"dataPoints":[{T,"asInt":"3"}]}}"#,
    ),
    ("NumberDataPoint without a value", "refused", r#"{"name":"g","gauge":{"dataPoints":[{T}]}}"#),
    ("NumberDataPoint without a time", "refused", r#"{"name":"g","gauge":{"dataPoints":[{"asInt":1}]}}"#),
    (
        "NumberDataPoint.flags no_recorded_value",
        "mapped to a staleness marker",
        r#"{"name":"g","gauge":{"dataPoints":[{T,"flags":1}]}}"#,
    ),
    (
        "NumberDataPoint.start_time_unix_nano",
        "not kept: a reset is seen by its falling value",
        r#"{"name":"hits","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{T,"startTimeUnixNano":"1700000000000000000","asInt":"3"}]}}"#,
    ),
    (
        "NumberDataPoint.exemplars of a sum",
        "kept",
        r#"{"name":"hits","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{T,"asInt":"3","exemplars":[{T,"asDouble":1,"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708","filteredAttributes":[{"key":"user","value":{"stringValue":"u"}}]}]}]}}"#,
    ),
    (
        "NumberDataPoint.exemplars of a gauge",
        "dropped and counted",
        r#"{"name":"g","gauge":{"dataPoints":[{T,"asInt":"3","exemplars":[{T,"asDouble":1}]}]}}"#,
    ),
    (
        "Exemplar.filtered_attributes over 128 letters",
        "dropped and counted; trace and span stay",
        r#"{"name":"hits","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{T,"asInt":"3","exemplars":[{T,"asInt":"1","spanId":"0102030405060708","filteredAttributes":[{"key":"long","value":{"stringValue":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}}]}]}]}}"#,
    ),
    (
        "Histogram",
        "mapped to classic buckets, a sum and a count",
        r#"{"name":"took","unit":"s","histogram":{"aggregationTemporality":2,"dataPoints":[{T,"count":"6","sum":4.5,"bucketCounts":["1","2","3"],"explicitBounds":[0.5,1],"exemplars":[{T,"asDouble":0.7,"spanId":"0102030405060708"}]}]}}"#,
    ),
    (
        "Histogram, delta",
        "mapped: summed up",
        r#"{"name":"took","histogram":{"aggregationTemporality":1,"dataPoints":[{T,"count":"3","sum":2,"bucketCounts":["1","2"],"explicitBounds":[1]},{T1,"count":"1","sum":5,"bucketCounts":["0","1"],"explicitBounds":[1]}]}}"#,
    ),
    (
        "HistogramDataPoint without sum",
        "the sum is left out",
        r#"{"name":"took","histogram":{"aggregationTemporality":2,"dataPoints":[{T,"count":"2","bucketCounts":["2"]}]}}"#,
    ),
    (
        "HistogramDataPoint.min, max",
        "not kept: Prometheus has no place for them",
        r#"{"name":"took","histogram":{"aggregationTemporality":2,"dataPoints":[{T,"count":"1","sum":1,"min":1,"max":1}]}}"#,
    ),
    (
        "HistogramDataPoint.flags no_recorded_value",
        "mapped to staleness markers",
        r#"{"name":"took","histogram":{"aggregationTemporality":2,"dataPoints":[{T,"flags":1,"sum":0,"bucketCounts":["0","0"],"explicitBounds":[1]}]}}"#,
    ),
    (
        "ExponentialHistogram",
        "mapped to a native histogram",
        r#"{"name":"took","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{T,"count":"7","sum":9,"scale":3,"zeroCount":"1","zeroThreshold":0.001,"positive":{"offset":-1,"bucketCounts":["1","2"]},"negative":{"offset":4,"bucketCounts":["3"]}}]}}"#,
    ),
    (
        "ExponentialHistogramDataPoint.scale above 8",
        "mapped to scale 8, buckets merged",
        r#"{"name":"took","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{T,"count":"6","sum":9,"scale":9,"positive":{"offset":0,"bucketCounts":["1","2","3"]}}]}}"#,
    ),
    (
        "ExponentialHistogramDataPoint.scale below -4",
        "refused",
        r#"{"name":"took","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{T,"count":"0","scale":-5}]}}"#,
    ),
    (
        "ExponentialHistogramDataPoint.zero_threshold unset",
        "1e-128",
        r#"{"name":"took","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{T,"count":"1","zeroCount":"1","sum":0}]}}"#,
    ),
    (
        "ExponentialHistogramDataPoint.count unlike its buckets",
        "refused",
        r#"{"name":"took","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{T,"count":"5","zeroCount":"1"}]}}"#,
    ),
    (
        "ExponentialHistogram, delta",
        "mapped: summed up at the coarser scale",
        r#"{"name":"took","exponentialHistogram":{"aggregationTemporality":1,"dataPoints":[{T,"count":"2","sum":2,"scale":1,"positive":{"offset":0,"bucketCounts":["1","1"]}},{T1,"count":"1","sum":1,"scale":0,"positive":{"offset":0,"bucketCounts":["1"]}}]}}"#,
    ),
    (
        "ExponentialHistogramDataPoint.flags no_recorded_value",
        "mapped to a staleness marker",
        r#"{"name":"took","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{T,"flags":1}]}}"#,
    ),
    (
        "Summary",
        "mapped to quantiles, a sum and a count",
        r#"{"name":"took","summary":{"dataPoints":[{T,"count":"2","sum":3,"quantileValues":[{"quantile":0.5,"value":1},{"quantile":0.99,"value":2}]}]}}"#,
    ),
    (
        "attributes of other types",
        "mapped to text",
        r#"{"name":"g","gauge":{"dataPoints":[{T,"asInt":1,"attributes":[{"key":"flag","value":{"boolValue":true}},{"key":"n","value":{"intValue":"5"}},{"key":"x","value":{"doubleValue":0.5}},{"key":"list","value":{"arrayValue":{"values":[{"stringValue":"a"},{"intValue":"1"}]}}},{"key":"map","value":{"kvlistValue":{"values":[{"key":"b","value":{"stringValue":"c"}}]}}},{"key":"raw","value":{"bytesValue":"aGk="}}]}]}}"#,
    ),
    (
        "attribute without a value",
        "left out: an empty label is no label",
        r#"{"name":"g","gauge":{"dataPoints":[{T,"asInt":1,"attributes":[{"key":"empty","value":{}}]}]}}"#,
    ),
    (
        "attribute `__name__`",
        "dropped and counted",
        r#"{"name":"g","gauge":{"dataPoints":[{T,"asInt":1,"attributes":[{"key":"__name__","value":{"stringValue":"other"}}]}]}}"#,
    ),
    (
        "attribute of a stamped name",
        "kept as `exported_…`",
        r#"{"name":"g","gauge":{"dataPoints":[{T,"asInt":1,"attributes":[{"key":"service","value":{"stringValue":"forged"}}]}]}}"#,
    ),
    ("Metric without a name", "refused", r#"{"gauge":{"dataPoints":[{T,"asInt":1}]}}"#),
    ("Metric without data", "nothing to keep", r#"{"name":"g"}"#),
];

/// The same by a whole request.
const REQUESTS: &[(&str, &str, &str)] = &[
    (
        "Resource.attributes service.namespace, service.name, service.instance.id",
        "mapped to `job` and `instance`",
        r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.namespace","value":{"stringValue":"shop"}},{"key":"service.name","value":{"stringValue":"cart"}},{"key":"service.instance.id","value":{"stringValue":"i1"}}]},"scopeMetrics":[{"metrics":[{"name":"g","gauge":{"dataPoints":[{T,"asInt":1}]}}]}]}]}"#,
    ),
    (
        "Resource.attributes, others",
        "mapped to `target_info`",
        r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}},{"key":"host.name","value":{"stringValue":"h"}}]},"scopeMetrics":[{"metrics":[{"name":"g","gauge":{"dataPoints":[{T,"asInt":1}]}}]}]}]}"#,
    ),
    (
        "Resource.attributes without service.name and service.instance.id",
        "not kept: nothing would join them",
        r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"host.name","value":{"stringValue":"h"}}]},"scopeMetrics":[{"metrics":[{"name":"g","gauge":{"dataPoints":[{T,"asInt":1}]}}]}]}]}"#,
    ),
    (
        "InstrumentationScope",
        "not kept, unless `promote_scope_metadata`",
        r#"{"resourceMetrics":[{"scopeMetrics":[{"scope":{"name":"lib","version":"2"},"metrics":[{"name":"g","gauge":{"dataPoints":[{T,"asInt":1}]}}]}]}]}"#,
    ),
    (
        "unknown fields",
        "ignored",
        r#"{"resourceMetrics":[{"new":{"a":[1]},"scopeMetrics":[{"metrics":[{"name":"g","newer":1,"gauge":{"dataPoints":[{T,"asInt":1}]}}]}]}]}"#,
    ),
    ("an empty request", "taken", "{}"),
    ("a request that is none", "refused", r#"{"resourceMetrics":"#),
];

fn filled(json: &str) -> String {
    json.replace("{T1", r#"{"timeUnixNano":"1700000002000000000""#)
        .replace("{T", r#"{"timeUnixNano":"1700000001000000000""#)
        .replace(",A}", r#","attributes":[{"key":"http.method","value":{"stringValue":"GET"}}]}"#)
}

/// Every answer of the receiver and what was stored.
async fn outcome(json: &str, settings: Settings) -> String {
    let mut world = World::new(settings, Limits::default());
    if json.contains("forged") {
        world.stamp.labels = vec![("service".into(), "cart".into()), ("replica".into(), "r1".into())];
    }
    let answer = world.json(json).await;
    let mut lines = Vec::new();
    if answer.status != 200 || answer.text() != "{}" {
        lines.push(format!("{} {}", answer.status, answer.text()));
    }
    lines.extend(world.stored().await);
    lines.join("\n")
}

/// Set `STEAD_BLESS` to write the page anew.
#[tokio::test]
async fn the_page_is_what_happens() {
    let mut page = String::from(HEAD);
    for (part, cases) in [("Metrics", METRICS), ("Requests", REQUESTS)] {
        page.push_str(&format!(
            "\n## {part}\n\n| field | what becomes of it | shown by a request |\n|---|---|---|\n"
        ));
        for (field, fate, json) in cases {
            let json = filled(json);
            let json = if part == "Metrics" { request("", &json) } else { json };
            let got = outcome(&json, Settings::default()).await;
            assert_eq!(
                *fate == "refused",
                got.contains("errorMessage") || got.starts_with("400"),
                "{field}: {got}"
            );
            let got = got.replace('|', "\\|").replace('\n', "`<br>`");
            let got = if got.is_empty() { "nothing is stored".into() } else { format!("`{got}`") };
            page.push_str(&format!("| {field} | {fate} | {got} |\n"));
        }
    }
    page.push_str(SETTINGS);
    for strategy in [
        Strategy::NoUTF8EscapingWithSuffixes,
        Strategy::UnderscoreEscapingWithSuffixes,
        Strategy::UnderscoreEscapingWithoutSuffixes,
        Strategy::NoTranslation,
    ] {
        let settings = Settings { translation_strategy: strategy, ..Settings::default() };
        let json = filled(
            r#"{"name":"http.requests","unit":"By","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{T,"asInt":1,A}]}}"#,
        );
        let got = outcome(&request("", &json), settings).await;
        page.push_str(&format!("| `{strategy:?}` | `{got}` |\n"));
    }
    page.push_str("\n## Why a point is refused\n\nCounted by `stead_otlp_points_refused_total{reason=…}`: ");
    let reasons: Vec<_> = RefusedReason::ALL.iter().map(|reason| format!("`{}`", reason.as_str())).collect();
    page.push_str(&format!("{}.\n", reasons.join(", ")));

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reference/receivers-otlp.md");
    if std::env::var_os("STEAD_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == page, "docs/reference/receivers-otlp.md differs: run the test with STEAD_BLESS=1");
}

const HEAD: &str = "# OpenTelemetry metrics

What becomes of each field of an OTLP metrics export. The page is written by the receiver's tests: the third
column is what a request with that field left in the store, times in seconds after the first.

| way | where | forms |
|---|---|---|
| HTTP | `/otlp/v1/metrics`, `/v1/metrics` | `application/x-protobuf`, `application/json`; plain, gzip, deflate, zstd |
| gRPC | `opentelemetry.proto.collector.metrics.v1.MetricsService/Export` | plain, gzip, deflate, zstd |

Traces, logs and profiles are answered with 501 (gRPC: `UNIMPLEMENTED`). 429 and 503 (gRPC: `UNAVAILABLE`) say
when to send the same again; every other refusal is final. Refused points are counted in `partialSuccess`; what
a store refuses of a histogram is counted by sample.
";

const SETTINGS: &str = "
## Names

| `translation_strategy` | a counter `http.requests` of unit `By` with the attribute `http.method` |
|---|---|
";

#[tokio::test]
async fn settings_change_the_mapping() {
    let gauge = filled(r#"{"name":"g","gauge":{"dataPoints":[{T,"asInt":1}]}}"#);
    let attributes = r#"{"key":"service.name","value":{"stringValue":"cart"}},{"key":"host.name","value":{"stringValue":"h"}}"#;
    let body = request(attributes, &gauge);
    let settings = Settings {
        promote_resource_attributes: vec!["host.name".into()],
        promote_scope_metadata: true,
        keep_identifying_resource_attributes: true,
        ..Settings::default()
    };
    let got = outcome(&body, settings).await;
    assert_eq!(
        got,
        "g{\"host.name\"=\"h\", job=\"cart\", otel_scope_name=\"lib\", otel_scope_version=\"1\"} 1 @1\n\
         target_info{\"host.name\"=\"h\", job=\"cart\", \"service.name\"=\"cart\"} 1 @1"
    );
    let none = outcome(&body, Settings { target_info: false, ..Settings::default() }).await;
    assert_eq!(none, "g{job=\"cart\"} 1 @1");

    let histogram = filled(
        r#"{"name":"took","histogram":{"aggregationTemporality":2,"dataPoints":[{T,"count":"6","sum":4.5,"bucketCounts":["1","2","3"],"explicitBounds":[0.5,1]}]}}"#,
    );
    let settings = Settings { convert_histograms_to_nhcb: true, ..Settings::default() };
    let got = outcome(&request("", &histogram), settings).await;
    assert_eq!(got, "took {schema:-53 count:6 sum:4.5 bounds:[0.5, 1.0] +[0:1 1:2 2:3]} @1");
}

#[tokio::test]
async fn deltas_go_on_over_requests_and_a_repeated_one_counts_once() {
    let world = World::plain();
    let delta = |second: u32, value: u32| {
        format!(
            r#"{{"name":"hits","sum":{{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[
                {{"timeUnixNano":"17000000{second:02}000000000","asInt":"{value}"}}]}}}}"#
        )
    };
    for (second, value) in [(1, 3), (2, 4), (2, 4)] {
        assert_eq!(world.metrics(&delta(second, value)).await.text(), "{}");
    }
    assert_eq!(world.receiver.delta_series(), 1);
    let late = world.metrics(&delta(1, 3)).await.text();
    assert!(late.contains("\"rejectedDataPoints\":\"1\"") && late.contains("older"), "{late}");
    assert_eq!(world.stored().await, ["hits_total{job=\"shop\"} 3 @1", "hits_total{job=\"shop\"} 7 @2"]);
}

#[tokio::test]
async fn metadata_is_kept() {
    use metrics_api::Reader;
    let world = World::plain();
    let metric = filled(
        r#"{"name":"size","description":"How large","unit":"By","gauge":{"dataPoints":[{T,"asInt":"7"}]}}"#,
    );
    world.metrics(&metric).await;
    let kept = world.store.metadata(&base::Tenant::default(), None).await.unwrap();
    let text = format!("{kept:?}");
    assert!(text.contains("size_bytes") && text.contains("How large") && text.contains("Gauge"), "{text}");
    assert!(text.contains("\"bytes\""), "{text}");
}
