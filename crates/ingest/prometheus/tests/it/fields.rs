//! What becomes of each field: the cases, which are also docs/reference/receivers-prometheus.md.

use metrics_api::{METRIC_NAME, stale_nan};
use prometheus::{
    config,
    exposition::Format,
    remote_write::{Stamp, decode},
};

use crate::{expositions::notes, message::Message};

fn new() -> Message {
    Message::default()
}

fn named(labels: &[(&str, &str)]) -> Message {
    let with_label =
        |series: Message, (name, value): &(&str, &str)| series.message(1, new().text(1, name).text(2, value));
    [(METRIC_NAME, "m")].iter().chain(labels).fold(new(), with_label)
}

fn sample(value: f64) -> Message {
    new().double(1, value).varint(2, 1000)
}

fn histogram() -> Message {
    new().double(3, 2.5).sint(4, 2).double(5, 0.1).message(11, new().sint(1, 0).varint(2, 1)).varint(15, 1000)
}

/// Field of `prometheus.WriteRequest`, what happens, and a series that shows it.
fn write_cases() -> Vec<(&'static str, &'static str, Message)> {
    let exemplar = new().message(1, new().text(1, "trace_id").text(2, "t")).double(2, 0.5).varint(3, 1000);
    vec![
        ("TimeSeries.labels", "kept", named(&[("a", "1")]).message(2, sample(1.0))),
        (
            "labels out of order",
            "kept, sorted",
            new()
                .message(1, new().text(1, "z").text(2, "1"))
                .message(1, new().text(1, METRIC_NAME).text(2, "m"))
                .message(2, sample(1.0)),
        ),
        (
            "label with an empty value",
            "left out: it is no label",
            named(&[("a", "")]).message(2, sample(1.0)),
        ),
        ("label given twice", "refused with 400", named(&[("a", "1"), ("a", "2")]).message(2, sample(1.0))),
        ("label without a name", "refused with 400", named(&[("", "1")]).message(2, sample(1.0))),
        (
            "label that is not UTF-8",
            "refused with 400",
            named(&[]).message(1, new().text(1, "a").bytes(2, &[0xff])).message(2, sample(1.0)),
        ),
        (
            "no `__name__`",
            "refused with 400",
            new().message(1, new().text(1, "a").text(2, "1")).message(2, sample(1.0)),
        ),
        ("name beyond the classic letters", "kept", named(&[("é.ü", "1")]).message(2, sample(1.0))),
        ("TimeSeries.samples", "kept", named(&[]).message(2, sample(f64::INFINITY))),
        (
            "sample with the staleness marker",
            "kept: it ends the series",
            named(&[]).message(2, sample(stale_nan())),
        ),
        ("TimeSeries.exemplars", "kept", named(&[]).message(2, sample(1.0)).message(3, exemplar)),
        (
            "Histogram with whole counts",
            "kept as floats, exact to 2^53",
            named(&[]).message(4, histogram().varint(1, 3).varint(6, 1).sint(12, 2)),
        ),
        (
            "Histogram with float counts",
            "kept",
            named(&[]).message(4, histogram().double(2, 3.5).double(7, 1.5).bytes(13, &2.0f64.to_le_bytes())),
        ),
        (
            "Histogram.reset_hint",
            "kept",
            named(&[]).message(4, histogram().varint(1, 3).varint(6, 1).sint(12, 2).varint(14, 3)),
        ),
        (
            "Histogram.custom_values",
            "kept",
            named(&[]).message(
                4,
                new()
                    .varint(1, 2)
                    .sint(4, -53)
                    .message(11, new().varint(2, 1))
                    .sint(12, 2)
                    .bytes(16, &1.0f64.to_le_bytes())
                    .varint(15, 1000),
            ),
        ),
        (
            "Histogram that contradicts itself",
            "refused with 400",
            named(&[]).message(4, histogram().varint(1, 3)),
        ),
        ("unknown field", "left out", named(&[]).message(2, sample(1.0)).varint(99, 1)),
    ]
}

fn written(series: Message) -> String {
    let body = snap::raw::Encoder::new().compress_vec(&new().message(1, series).0).unwrap();
    let decoded = match decode(&body, None, Some("application/x-protobuf"), &Stamp::default()) {
        Ok(decoded) => decoded,
        Err(error) => return format!("{} {error}", error.status().as_u16()),
    };
    let mut lines = Vec::new();
    for row in decoded.batch.rows() {
        let labels = metrics_api::Labels::from_bytes(row.labels).unwrap();
        for (time_ms, value) in row.floats {
            let value = if metrics_api::is_stale(*value) { "stale".to_owned() } else { value.to_string() };
            lines.push(format!("{labels} {value} @{time_ms}"));
        }
        for (time_ms, value) in row.histograms {
            lines.push(format!(
                "{labels} {{schema:{} count:{} sum:{} zero:{} buckets:{:?} custom:{:?} reset:{:?}}} @{time_ms}",
                value.schema, value.count, value.sum, value.zero_count, value.positive_buckets, value.custom_values, value.counter_reset
            ));
        }
        lines.extend(
            row.exemplars
                .iter()
                .map(|one| format!("{labels} # {} {} @{}", one.labels, one.value, one.time_ms)),
        );
    }
    lines.extend(
        decoded
            .refused
            .refusals
            .iter()
            .map(|refusal| format!("400 {}: {}", refusal.kind.as_str(), refusal.why)),
    );
    lines.join("\n")
}

/// What stands in a text, what happens, the format, the text.
const TEXTS: &[(&str, &str, Format, &str)] = &[
    ("`# TYPE`, `# HELP`", "kept as metadata", Format::Text, "# TYPE a counter\n# HELP a say\\nso\n"),
    ("`# UNIT`", "kept as metadata", Format::OpenMetrics, "# UNIT a_s s\n# EOF\n"),
    ("other comments", "left out", Format::Text, "# so\n"),
    ("other comments", "refused", Format::OpenMetrics, "# so\n# EOF\n"),
    ("time", "kept, in milliseconds", Format::Text, "a 1 1500\n"),
    ("time", "kept, in seconds", Format::OpenMetrics, "a 1 1.5\n# EOF\n"),
    ("exemplar", "kept", Format::OpenMetrics, "# TYPE a counter\na_total 1 # {t=\"x\"} 1 2\n# EOF\n"),
    (
        "exemplar of more than 128 letters",
        "dropped and counted by the scraper",
        Format::OpenMetrics,
        "a_total 1 # {t=\"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\"} 1\n# EOF\n",
    ),
    ("NaN", "kept, never as the staleness marker", Format::Text, "a NaN\n"),
    ("quoted names", "kept", Format::Text, "{\"a.b\",\"c d\"=\"1\"} 1\n"),
    (
        "`le` of a histogram, `quantile` of a summary",
        "brought to one form",
        Format::Text,
        "# TYPE a histogram\na_bucket{le=\"1\"} 2\n",
    ),
    ("`_created`", "kept as a series", Format::OpenMetrics, "# TYPE a counter\na_created 5\n# EOF\n"),
    ("no `# EOF`", "refused", Format::OpenMetrics, "a 1\n"),
    ("a label twice", "refused", Format::Text, "a{b=\"1\",b=\"2\"} 1\n"),
    ("a number that is none", "refused", Format::Text, "a 0x1p3\n"),
];

/// Part of a configuration, and the file.
const SETTINGS: &[(&str, &str)] = &[
    ("rule_files", "rule_files: [a.yml]"),
    ("alerting", "alerting: {}"),
    ("remote_write", "remote_write: []"),
    ("remote_read", "remote_read: []"),
    ("storage", "storage: {}"),
    ("tracing", "tracing: {}"),
    ("otlp", "otlp: {}"),
    ("global.external_labels", "global: {external_labels: {a: b}}"),
    ("global.query_log_file", "global: {query_log_file: x}"),
    (
        "kubernetes_sd_configs and the other providers",
        "scrape_configs: [{job_name: x, kubernetes_sd_configs: []}]",
    ),
    ("proxy_url", "scrape_configs: [{job_name: x, proxy_url: x}]"),
    ("oauth2", "scrape_configs: [{job_name: x, oauth2: {}}]"),
    (
        "native_histogram_min_bucket_factor",
        "scrape_configs: [{job_name: x, native_histogram_min_bucket_factor: 1}]",
    ),
    ("metric_name_validation_scheme: legacy", "global: {metric_name_validation_scheme: legacy}"),
    ("a key that is none", "scrape_config: []"),
];

fn setting(text: &str) -> (&'static str, String) {
    match config::parse(std::path::Path::new("p.yml"), text.to_owned()) {
        Ok(config) => ("let pass", config.notes.first().map(|note| note.message.clone()).unwrap_or_default()),
        Err(found) => {
            let first = &found.items[0];
            let hint = first.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            ("refused", format!("{}{hint}", first.message))
        }
    }
}

/// Set `STEAD_BLESS` to write the page anew.
#[test]
fn the_page_is_what_happens() {
    let cell = |text: &str| match text {
        "" => "nothing is stored".to_owned(),
        text => {
            // Code that holds a backtick stands between two of them.
            let tick = if text.contains('`') { "``" } else { "`" };
            let lines = text.trim_end().replace('|', "\\|").replace('\n', &format!("{tick}<br>{tick}"));
            format!("{tick}{lines}{tick}")
        }
    };
    let mut page = String::from(HEAD);
    for (field, fate, series) in write_cases() {
        let got = written(series);
        assert_eq!(fate.starts_with("refused"), got.contains("400 "), "{field}: {got}");
        page.push_str(&format!("| {field} | {fate} | {} |\n", cell(&got)));
    }
    page.push_str(STATUSES);
    for (what, fate, format, text) in TEXTS {
        let (got, refused) = match notes(*format, text.as_bytes()) {
            Ok(got) => (got, false),
            Err(why) => (why, true),
        };
        assert_eq!(*fate == "refused", refused, "{what}: {got}");
        page.push_str(&format!("| {what} | {format:?} | {fate} | {} |\n", cell(&got)));
    }
    page.push_str(SCRAPES);
    for (what, text) in SETTINGS {
        let (fate, why) = setting(text);
        page.push_str(&format!("| {what} | {fate} | {} |\n", why.replace('|', "\\|")));
    }
    page.push_str("\n## Counters\n\nNothing is dropped without one of these:\n\n");
    for (name, _) in prometheus::Stats::default().snapshot() {
        page.push_str(&format!("- `{name}`\n"));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reference/receivers-prometheus.md");
    if std::env::var_os("STEAD_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == page, "docs/reference/receivers-prometheus.md differs: run the test with STEAD_BLESS=1");
}

const HEAD: &str = "# Prometheus: remote write and scraping

What becomes of each field. The page is written by the receivers' tests: the last column of the first two tables
is what came of an example, times in milliseconds.

## Remote write 1.0

`POST /prometheus/api/v1/write`, `application/x-protobuf`, snappy in block format. A series that is refused does
not cost the others: they are kept, and the answer is 400 with the reasons.

| field | what becomes of it | shown by a request |
|---|---|---|
";

const STATUSES: &str = "
Metadata is kept: type, help and unit by the metric's name. Labels that say who a workload is (service, release,
replica, environment) are put on by Stead; what a payload says under these names is kept as `exported_…`.

| status | when | send again |
|---|---|---|
| 204 | all was taken; refused exemplars are only counted | |
| 400 | some samples were refused (too old, in the future, another value at the same time, labels, limits of series), or the body is no message | no |
| 401 | nobody whose samples they could be | no |
| 413 | more bytes, series, samples or buckets than one request may have | no, in smaller pieces |
| 415 | another type or encoding; `proto=io.prometheus.write.v2.Request` | no, by version 1 |
| 429 | the store's memory is in use | yes, after `Retry-After` |
| 503 | the store takes nothing in, or too many requests are under way | yes, after `Retry-After` |

The headers `X-Prometheus-Remote-Write-Samples-Written`, `…-Histograms-Written` and `…-Exemplars-Written` say how
many were kept.

## Expositions

What is scraped is read as Prometheus reads it: by its syntax. The further rules of OpenMetrics (grouping, names
that clash, counters below zero) are held by `cargo xtask conformance openmetrics`.

| what | format | what becomes of it | shown by an exposition |
|---|---|---|---|
";

const SCRAPES: &str = "
Protobuf (`io.prometheus.client.MetricFamily`): all types, native histograms and exemplars are kept; created
timestamps are left out. Of a histogram with native buckets the classic series are kept where
`always_scrape_classic_histograms` says so.

## Configuration

`global`, `scrape_configs` and `scrape_config_files` are read as Prometheus reads them, with all of `static_configs`,
`file_sd_configs`, `http_sd_configs`, `dns_sd_configs` (A, AAAA, SRV), `relabel_configs`, `metric_relabel_configs` and
the limits; `stead_sd_configs: [{}]` finds Stead's own services. Beyond that:

| key | what becomes of it | what is said |
|---|---|---|
";
