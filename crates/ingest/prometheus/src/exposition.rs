//! How a process shows its metrics: the text format 0.0.4, OpenMetrics 1.0 text, and protobuf.
//!
//! [`read`] walks a body once and hands what it finds to a [`Sink`]. A sample comes with its series
//! as it is written, so that who has met these bytes before need not look into them;
//! [`series::labels`] does, the first time. Nothing is allocated per sample of a text.
//!
//! Two readings of OpenMetrics: [`read`] checks syntax, as Prometheus does when it scrapes, so that
//! what works there works here. [`check`] also holds the rules about families, and is what the
//! conformance cases are judged by.
//!
//! Sources: prometheus.io/docs/instrumenting/exposition_formats, the OpenMetrics 1.0 specification,
//! `io/prometheus/client/metrics.proto`.

pub mod conformance;
pub mod negotiate;
mod openmetrics;
mod proto;
pub mod series;
mod strict;
mod text;

use std::{borrow::Cow, fmt};

use metrics_api::{Histogram, MetricType};

pub(crate) use self::proto::{absolute, span};
pub use self::strict::check;

/// Labels of one series; more is refused.
pub const LABELS_MAX: usize = 512;
/// Code points that names and values of an exemplar's labels may have together (OpenMetrics).
pub const EXEMPLAR_CHARS_MAX: usize = 128;

/// A format of exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text 0.0.4 and 1.0.0.
    Text,
    OpenMetrics,
    /// `io.prometheus.client.MetricFamily`, each with its length before it.
    Protobuf,
}

/// What is wrong with an exposition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// From 1; of protobuf the number of the family.
    pub line: usize,
    pub why: Cow<'static, str>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}
impl std::error::Error for ParseError {}

/// Why one thing is refused, before its place is known.
pub type Why = Cow<'static, str>;

/// What is said of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Said<'a> {
    Kind(MetricType),
    /// Without escapes.
    Help(&'a str),
    Unit(&'a str),
}

/// A float of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// The series as it is written, for [`series::labels`]. The same bytes mean the same series
    /// within one body and kind.
    pub series: &'a str,
    /// The type of the family it stands in.
    pub kind: MetricType,
    pub value: f64,
    /// Seconds, as exact as they were given; see [`Sample::time_ms`].
    pub time_seconds: Option<f64>,
    pub exemplar: Option<ExemplarText<'a>>,
}

impl Sample<'_> {
    #[must_use]
    pub fn time_ms(&self) -> Option<i64> {
        self.time_seconds.map(|seconds| (seconds * 1000.0).round() as i64)
    }
}

/// An exemplar as it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExemplarText<'a> {
    /// With braces.
    pub labels: &'a str,
    pub value: f64,
    pub time_seconds: Option<f64>,
}

/// A native histogram of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSample<'a> {
    pub series: &'a str,
    pub kind: MetricType,
    pub value: Histogram,
    pub time_ms: Option<i64>,
    pub exemplars: Vec<metrics_api::Exemplar>,
}

/// Takes what an exposition holds, in its order.
pub trait Sink {
    /// # Errors
    /// Ends the reading with this reason.
    fn said(&mut self, metric: &str, said: Said<'_>) -> Result<(), Why>;
    /// # Errors
    /// Ends the reading with this reason.
    fn sample(&mut self, sample: Sample<'_>) -> Result<(), Why>;
    /// # Errors
    /// Ends the reading with this reason.
    fn histogram(&mut self, sample: HistogramSample<'_>) -> Result<(), Why>;
}

/// How protobuf is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Also gives the classic series of a histogram that has native buckets.
    pub classic_histograms: bool,
}

/// Walks `body` and hands what it finds to `sink`.
///
/// # Errors
/// The first thing that is wrong. What came before it was handed over.
pub fn read(format: Format, body: &[u8], options: Options, sink: &mut impl Sink) -> Result<(), ParseError> {
    match format {
        Format::Text => text::read(utf8(body)?, sink),
        Format::OpenMetrics => openmetrics::read(utf8(body)?, sink),
        Format::Protobuf => proto::read(body, options, sink),
    }
}

fn utf8(body: &[u8]) -> Result<&str, ParseError> {
    std::str::from_utf8(body).map_err(|error| ParseError {
        line: memchr::memchr_iter(b'\n', &body[..error.valid_up_to()]).count() + 1,
        why: "the text is not UTF-8".into(),
    })
}

/// A number as OpenMetrics writes it; no hexadecimal, no underscores, no sign before NaN.
fn number(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    if !value.is_nan() {
        return Some(value);
    }
    (text.len() == 3).then_some(f64::from_bits(NAN_BITS))
}

/// The NaN that stands for any that is sent in a text, so that none can be a staleness marker.
const NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// A float as Go's `strconv` writes it in the shortest form with `g`, and as OpenMetrics wants it:
/// `1` is `1.0`. What `le` and `quantile` are brought to, so that all formats name the same series.
#[must_use]
pub fn canonical_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}
