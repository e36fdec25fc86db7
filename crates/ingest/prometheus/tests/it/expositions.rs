//! The three formats, by what comes out of them.

use std::fmt::Write as _;

use prometheus::exposition::{
    ExemplarText, Format, HistogramSample, Options, Said, Sample, Sink, Why, canonical_float, check, read,
    series,
};
use proptest::prelude::*;

use crate::message::Message;

/// Writes down all that is handed over.
#[derive(Default)]
struct Notes(String);

impl Sink for Notes {
    fn said(&mut self, metric: &str, said: Said<'_>) -> Result<(), Why> {
        let _ = writeln!(self.0, "{metric}: {said:?}");
        Ok(())
    }
    fn sample(&mut self, sample: Sample<'_>) -> Result<(), Why> {
        let labels = series::labels(sample.series, series::Dialect::Text, sample.kind)?;
        let _ = write!(self.0, "{labels} {}", canonical_float(sample.value));
        if let Some(time_ms) = sample.time_ms() {
            let _ = write!(self.0, " @{time_ms}");
        }
        if let Some(ExemplarText { labels, value, time_seconds }) = sample.exemplar {
            let _ = write!(self.0, " # {labels} {value} {time_seconds:?}");
        }
        self.0.push('\n');
        Ok(())
    }
    fn histogram(&mut self, sample: HistogramSample<'_>) -> Result<(), Why> {
        let _ = writeln!(self.0, "{} {:?} exemplars {}", sample.series, sample.value, sample.exemplars.len());
        Ok(())
    }
}

pub fn notes(format: Format, body: &[u8]) -> Result<String, String> {
    let mut notes = Notes::default();
    read(format, body, Options { classic_histograms: true }, &mut notes)
        .map_err(|error| error.to_string())?;
    Ok(notes.0)
}

#[test]
fn text_is_read_as_prometheus_does() {
    let body = "# HELP a some\\nhelp \\\\ \\\" x\n# TYPE a histogram\n\n# a comment\n  a_bucket { le = \"1\" , } 3 1000\n\
                a_bucket{le=\"+Inf\"}\t4\n{\"b.c\",d=\"é\"} NaN\n# TYPE s summary\ns{quantile=\"0.50\"} 1e6";
    insta(
        &notes(Format::Text, body.as_bytes()).unwrap(),
        "a: Help(\"some\\nhelp \\\\ \\\\\\\" x\")
a: Kind(Histogram)
a_bucket{le=\"1.0\"} 3.0 @1000
a_bucket{le=\"+Inf\"} 4.0
{\"b.c\", d=\"é\"} NaN
s: Kind(Summary)
s{quantile=\"0.5\"} 1e+06
",
    );
}

fn insta(got: &str, want: &str) {
    assert_eq!(got, want, "\n{got}");
}

#[test]
fn a_bad_line_is_named() {
    for (format, body, want) in [
        (Format::Text, "a 1\nb\n", "line 2: the value is missing"),
        (Format::Text, "a 1\nb x\n", "line 2: `x` is no number"),
        (Format::Text, "a 1 1.5\n", "line 1: `1.5` is no time in milliseconds"),
        (Format::Text, "# TYPE a wrong\n", "line 1: `wrong` is no type of metric"),
        (Format::OpenMetrics, "a 1\n", "line 2: `# EOF` is missing at the end"),
        (Format::OpenMetrics, "a 1\n\n# EOF", "line 2: blank lines are not allowed"),
        (Format::OpenMetrics, "# EOF\na 1", "line 2: something stands after `# EOF`"),
    ] {
        assert_eq!(notes(format, body.as_bytes()).unwrap_err(), want);
    }
    assert_eq!(notes(Format::Text, b"a 1\nb{c=\"\xff\"} 1\n").unwrap_err(), "line 2: the text is not UTF-8");
}

#[test]
fn the_staleness_marker_cannot_be_sent_as_text() {
    struct Values(Vec<f64>);
    impl Sink for Values {
        fn said(&mut self, _: &str, _: Said<'_>) -> Result<(), Why> {
            Ok(())
        }
        fn sample(&mut self, sample: Sample<'_>) -> Result<(), Why> {
            self.0.push(sample.value);
            Ok(())
        }
        fn histogram(&mut self, _: HistogramSample<'_>) -> Result<(), Why> {
            Ok(())
        }
    }
    let mut values = Values(Vec::new());
    read(Format::Text, b"a NaN\nb nan\n", Options::default(), &mut values).unwrap();
    assert_eq!(values.0.len(), 2);
    assert!(values.0.iter().all(|value| value.is_nan() && !metrics_api::is_stale(*value)));
}

#[test]
fn numbers_are_written_as_go_does() {
    for (value, want) in [
        (0.0, "0.0"),
        (1.0, "1.0"),
        (-1.0, "-1.0"),
        (0.1, "0.1"),
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (123456.0, "123456.0"),
        (1e6, "1e+06"),
        (1.5e21, "1.5e+21"),
        (f64::INFINITY, "+Inf"),
        (0.25, "0.25"),
    ] {
        assert_eq!(canonical_float(value), want);
    }
}

fn label(name: &str, value: &str) -> Message {
    Message::default().text(1, name).text(2, value)
}

#[test]
fn protobuf_is_read_with_native_histograms() {
    let span = Message::default().sint(1, -2).varint(2, 2);
    let exemplar = Message::default().message(1, label("trace_id", "x")).double(2, 0.5);
    let histogram = Message::default()
        .varint(1, 7)
        .double(2, 1.5)
        .message(3, Message::default().varint(1, 7).double(2, 1.0).message(3, exemplar))
        .sint(5, 3)
        .double(6, 0.001)
        .varint(7, 1)
        .message(12, span)
        .sint(13, 4)
        .sint(13, -2);
    let family = Message::default()
        .text(1, "h")
        .text(2, "help")
        .varint(3, 4)
        .message(4, Message::default().message(1, label("a", "1\"")).message(7, histogram));
    let counter = Message::default()
        .text(1, "c_total")
        .varint(3, 0)
        .message(4, Message::default().message(3, Message::default().double(1, f64::NAN)).varint(6, 1234));
    let summary = Message::default().text(1, "s").varint(3, 2).message(
        4,
        Message::default().message(
            4,
            Message::default()
                .varint(1, 2)
                .double(2, 3.0)
                .message(3, Message::default().double(1, 0.5).double(2, 9.0)),
        ),
    );
    let body = [family.delimited(), counter.delimited(), summary.delimited()].concat();
    let got = notes(Format::Protobuf, &body).unwrap();
    insta(&got, "h: Kind(Histogram)
h: Help(\"help\")
h_count{a=\"1\\\"\"} 7.0
h_sum{a=\"1\\\"\"} 1.5
h_bucket{a=\"1\\\"\", le=\"1.0\"} 7.0 # {\"trace_id\"=\"x\"} 0.5 None
h_bucket{a=\"1\\\"\", le=\"+Inf\"} 7.0
{\"h\",\"a\"=\"1\\\"\"} Histogram { counter_reset: Unknown, schema: 3, zero_threshold: 0.001, zero_count: 1.0, count: 7.0, sum: 1.5, positive_spans: [Span { offset: -2, length: 2 }], positive_buckets: [4.0, 2.0], negative_spans: [], negative_buckets: [], custom_values: [] } exemplars 1
c_total: Kind(Counter)
c_total NaN @1234
s: Kind(Summary)
s_count 2.0
s_sum 3.0
s{quantile=\"0.5\"} 9.0
");
    for cut in 1..body.len() {
        let _ = notes(Format::Protobuf, &body[..cut]);
    }
}

#[test]
fn a_time_beyond_all_times_breaks_nothing() {
    let time = Message::default().varint(1, i64::MAX as u64).varint(2, i64::MAX as u64);
    let exemplar = Message::default().message(1, label("t", "x")).message(3, time);
    let counter = Message::default().double(1, 1.0).message(2, exemplar);
    let family = Message::default()
        .text(1, "c_total")
        .message(4, Message::default().message(3, counter).varint(6, i64::MIN as u64));
    assert!(notes(Format::Protobuf, &family.delimited()).unwrap().contains("c_total 1.0"));
}

proptest! {
    /// What is written comes back.
    #[test]
    fn text_round_trips(
        names in proptest::collection::btree_map("[a-z_][a-z0-9_]{0,6}", "\\PC*[\n\"\\\\]?", 0..4),
        value in proptest::num::f64::ANY, time_ms in -1_000_000i64..4_000_000_000_000,
    ) {
        let labels = metrics_api::Labels::from_pairs(names.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([("__name__", "m")]));
        let line = format!("{} {} {time_ms}\n", labels.to_string().replace("\", ", "\","), canonical_float(value));
        let again = notes(Format::Text, line.as_bytes()).unwrap();
        prop_assert_eq!(again, format!("{labels} {} @{time_ms}\n", canonical_float(value)));
    }

    /// Whatever the bytes are, no reader panics.
    #[test]
    fn no_bytes_break_a_reader(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
            let _ = notes(format, &body);
        }
        let _ = check(&body);
    }

    /// Protobuf with one byte changed neither.
    #[test]
    fn mutations_break_no_protobuf(at in 0usize..400, byte in any::<u8>()) {
        let exemplar = Message::default().message(1, label("t", "x")).double(2, 0.5).message(3, Message::default().varint(1, 5));
        let histogram = Message::default().varint(1, 7).double(2, 1.5).sint(5, 3).double(6, 0.001).varint(7, 1)
            .message(3, Message::default().varint(1, 7).double(2, 1.0).message(3, exemplar))
            .message(12, Message::default().sint(1, -2).varint(2, 2)).sint(13, 4).sint(13, -2);
        let family = Message::default().text(1, "h").varint(3, 4).message(4, Message::default().message(1, label("a", "b")).message(7, histogram));
        let mut body = family.delimited();
        let len = body.len();
        body[at % len] = byte;
        let _ = notes(Format::Protobuf, &body);
    }

    /// Nor do bytes that are nearly right.
    #[test]
    fn mutations_break_no_reader(at in 0usize..400, byte in any::<u8>(), cut in 0usize..400) {
        let good = b"# TYPE a histogram\n# UNIT a_s s\n# HELP a x\\n\na_bucket{le=\"1\",b=\"\\\"\"} 1 1.5 # {t=\"x\"} 1 2\na_bucket{le=\"+Inf\"} 1\n{\"a.b\",c=\"d\"} 1\n# EOF\n";
        let mut body = good.to_vec();
        let len = body.len();
        body[at % len] = byte;
        body.truncate(len - cut % len);
        let _ = notes(Format::Text, &body);
        let _ = notes(Format::OpenMetrics, &body);
        let _ = check(&body);
    }
}
