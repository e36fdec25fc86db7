//! The protobuf exposition: `io.prometheus.client.MetricFamily`, each with its length before it.
//!
//! Series are written out as text into one buffer, so that they go the same way as those of the
//! other formats.

use std::fmt::Write as _;

use metrics_api::{CounterReset, Exemplar, Histogram, Labels, MetricType, Span};

use super::{
    ExemplarText, HistogramSample, NAN_BITS, Options, ParseError, Said, Sample, Sink, Why, canonical_float,
    series,
};
use crate::wire::{Field, Reader, WireError};

/// Buckets of one histogram; more is refused.
pub const BUCKETS_MAX: usize = 65_536;

pub(super) fn read(body: &[u8], options: Options, sink: &mut impl Sink) -> Result<(), ParseError> {
    let mut reader = Reader::new(body);
    let mut scratch = Scratch::default();
    let mut family = 0;
    while !reader.is_empty() {
        family += 1;
        let message = reader.delimited().map_err(why);
        message
            .and_then(|message| self::family(message, options, &mut scratch, sink))
            .map_err(|why| ParseError { line: family, why })?;
    }
    Ok(())
}

fn why(error: WireError) -> Why {
    error.to_string().into()
}

#[derive(Default)]
struct Scratch {
    series: String,
    exemplar: String,
}

fn family(message: &[u8], options: Options, scratch: &mut Scratch, sink: &mut impl Sink) -> Result<(), Why> {
    let (mut name, mut help, mut unit, mut kind) = ("", "", "", MetricType::Counter);
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field().map_err(why)? {
        match field.number {
            1 => name = field.text().map_err(why)?,
            2 => help = field.text().map_err(why)?,
            3 => kind = family_kind(field.uint().map_err(why)?)?,
            5 => unit = field.text().map_err(why)?,
            _ => {}
        }
    }
    if name.is_empty() {
        return Err("a family has no name".into());
    }
    sink.said(name, Said::Kind(kind))?;
    if !help.is_empty() {
        sink.said(name, Said::Help(help))?;
    }
    if !unit.is_empty() {
        sink.said(name, Said::Unit(unit))?;
    }
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field().map_err(why)? {
        if field.number == 4 {
            metric(field.bytes().map_err(why)?, Family { name, kind, options }, scratch, sink)?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Family<'a> {
    name: &'a str,
    kind: MetricType,
    options: Options,
}

fn family_kind(number: u64) -> Result<MetricType, Why> {
    Ok(match number {
        0 => MetricType::Counter,
        1 => MetricType::Gauge,
        2 => MetricType::Summary,
        3 => MetricType::Unknown,
        4 => MetricType::Histogram,
        5 => MetricType::GaugeHistogram,
        _ => return Err(format!("{number} is no type of metric").into()),
    })
}

fn metric(
    message: &[u8],
    family: Family<'_>,
    scratch: &mut Scratch,
    sink: &mut impl Sink,
) -> Result<(), Why> {
    let mut labels = Vec::new();
    let mut time_ms = None;
    let mut points = Vec::new();
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field().map_err(why)? {
        match field.number {
            1 => labels.push(pair(field.bytes().map_err(why)?).map_err(why)?),
            6 => time_ms = Some(field.int().map_err(why)?).filter(|time_ms| *time_ms != 0),
            2..=5 | 7 => points.push((field.number, field.bytes().map_err(why)?)),
            _ => {}
        }
        if labels.len() > super::LABELS_MAX {
            return Err(format!("a series has more than {} labels", super::LABELS_MAX).into());
        }
    }
    let mut out = Out { family, labels, time_seconds: time_ms.map(|ms| ms as f64 / 1000.0), scratch };
    for (number, point) in points {
        match number {
            4 => summary(point, &mut out, sink)?,
            7 => histogram(point, time_ms, &mut out, sink)?,
            _ => simple(point, &mut out, sink)?,
        }
    }
    Ok(())
}

fn pair(message: &[u8]) -> Result<(&str, &str), WireError> {
    let (mut name, mut value) = ("", "");
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((name, value))
}

/// Writes samples of one metric.
struct Out<'a, 's> {
    family: Family<'a>,
    labels: Vec<(&'a str, &'a str)>,
    time_seconds: Option<f64>,
    scratch: &'s mut Scratch,
}

impl Out<'_, '_> {
    fn write_series(&mut self, suffix: &str, own: Option<(&str, &str)>) {
        let series = &mut self.scratch.series;
        series.clear();
        series.push('{');
        series::push_quoted(series, self.family.name);
        series.insert_str(series.len() - 1, suffix);
        for (name, value) in self.labels.iter().copied().chain(own) {
            series.push(',');
            series::push_quoted(series, name);
            series.push('=');
            series::push_quoted(series, value);
        }
        series.push('}');
    }

    fn sample(
        &mut self,
        suffix: &str,
        own: Option<(&str, &str)>,
        value: f64,
        exemplar: Option<&Exemplar>,
        sink: &mut impl Sink,
    ) -> Result<(), Why> {
        self.write_series(suffix, own);
        let value = if value.is_nan() { f64::from_bits(NAN_BITS) } else { value };
        let exemplar = exemplar.map(|exemplar| {
            let text = &mut self.scratch.exemplar;
            text.clear();
            text.push('{');
            for (at, label) in exemplar.labels.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                series::push_quoted(text, label.name);
                text.push('=');
                series::push_quoted(text, label.value);
            }
            text.push('}');
            let time_seconds = (exemplar.time_ms != 0).then_some(exemplar.time_ms as f64 / 1000.0);
            ExemplarText { labels: text, value: exemplar.value, time_seconds }
        });
        sink.sample(Sample {
            series: &self.scratch.series,
            kind: self.family.kind,
            value,
            time_seconds: self.time_seconds,
            exemplar,
        })
    }
}

/// Gauge, counter and untyped: a value, and of a counter an exemplar.
fn simple(message: &[u8], out: &mut Out<'_, '_>, sink: &mut impl Sink) -> Result<(), Why> {
    let (mut value, mut exemplar) = (0.0, None);
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field().map_err(why)? {
        match field.number {
            1 => value = field.double().map_err(why)?,
            2 => exemplar = Some(self::exemplar(field).map_err(why)?),
            _ => {}
        }
    }
    out.sample("", None, value, exemplar.as_ref(), sink)
}

fn summary(message: &[u8], out: &mut Out<'_, '_>, sink: &mut impl Sink) -> Result<(), Why> {
    let (mut count, mut sum) = (0, 0.0);
    let mut quantiles = Vec::new();
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field().map_err(why)? {
        match field.number {
            1 => count = field.uint().map_err(why)?,
            2 => sum = field.double().map_err(why)?,
            3 => quantiles.push(two_doubles(field.bytes().map_err(why)?).map_err(why)?),
            _ => {}
        }
    }
    out.sample("_count", None, count as f64, None, sink)?;
    out.sample("_sum", None, sum, None, sink)?;
    for (quantile, value) in quantiles {
        out.sample("", Some(("quantile", &canonical_float(quantile))), value, None, sink)?;
    }
    Ok(())
}

fn two_doubles(message: &[u8]) -> Result<(f64, f64), WireError> {
    let (mut first, mut second) = (0.0, 0.0);
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => first = field.double()?,
            2 => second = field.double()?,
            _ => {}
        }
    }
    Ok((first, second))
}

fn exemplar(field: Field<'_>) -> Result<Exemplar, WireError> {
    let mut labels = Vec::new();
    let (mut value, mut time_ms) = (0.0, 0);
    let mut reader = Reader::new(field.bytes()?);
    while let Some(field) = reader.field()? {
        match field.number {
            1 if labels.len() < super::LABELS_MAX => labels.push(pair(field.bytes()?)?),
            2 => value = field.double()?,
            3 => {
                let mut time = Reader::new(field.bytes()?);
                while let Some(field) = time.field()? {
                    match field.number {
                        1 => time_ms = field.int()?.saturating_mul(1000).saturating_add(time_ms),
                        2 => time_ms = time_ms.saturating_add(field.int()? / 1_000_000),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(Exemplar { labels: Labels::from_pairs(labels), value, time_ms })
}

/// A histogram as it lies on the wire.
#[derive(Default)]
struct RawHistogram {
    count: u64,
    count_float: f64,
    sum: f64,
    schema: i64,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: f64,
    spans: [Vec<Span>; 2],
    deltas: [Vec<i64>; 2],
    counts: [Vec<f64>; 2],
    classic: Vec<Bucket>,
    exemplars: Vec<Exemplar>,
}

#[derive(Default)]
struct Bucket {
    count: f64,
    bound: f64,
    exemplar: Option<Exemplar>,
}

impl RawHistogram {
    fn read(message: &[u8]) -> Result<Self, WireError> {
        let mut raw = Self::default();
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => raw.count = field.uint()?,
                4 => raw.count_float = field.double()?,
                2 => raw.sum = field.double()?,
                3 => raw.classic.push(bucket(field.bytes()?)?),
                5 => raw.schema = field.sint()?,
                6 => raw.zero_threshold = field.double()?,
                7 => raw.zero_count = field.uint()?,
                8 => raw.zero_count_float = field.double()?,
                9 | 12 => raw.spans[usize::from(field.number == 9)].push(span(field.bytes()?)?),
                10 | 13 => field.sints(&mut raw.deltas[usize::from(field.number == 10)])?,
                11 | 14 => field.doubles(&mut raw.counts[usize::from(field.number == 11)])?,
                16 => raw.exemplars.push(exemplar(field)?),
                _ => {}
            }
        }
        Ok(raw)
    }

    fn is_native(&self) -> bool {
        self.spans.iter().any(|spans| !spans.is_empty())
            || self.zero_threshold > 0.0
            || self.zero_count > 0
            || self.zero_count_float > 0.0
    }

    fn is_float(&self) -> bool {
        self.count_float > 0.0
            || self.zero_count_float > 0.0
            || self.counts.iter().any(|counts| !counts.is_empty())
    }

    fn count(&self) -> f64 {
        if self.count_float > 0.0 { self.count_float } else { self.count as f64 }
    }

    fn native(&mut self, gauge: bool) -> Result<Histogram, Why> {
        let float = self.is_float();
        let mut buckets = |side: usize| {
            if float { std::mem::take(&mut self.counts[side]) } else { absolute(&self.deltas[side]) }
        };
        let (positive_buckets, negative_buckets) = (buckets(0), buckets(1));
        let [positive_spans, negative_spans] = std::mem::take(&mut self.spans);
        let histogram = Histogram {
            counter_reset: if gauge { CounterReset::Gauge } else { CounterReset::Unknown },
            schema: i8::try_from(self.schema).map_err(|_| "the schema is out of range")?,
            zero_threshold: self.zero_threshold,
            zero_count: if float { self.zero_count_float } else { self.zero_count as f64 },
            count: self.count(),
            sum: self.sum,
            positive_spans,
            positive_buckets,
            negative_spans,
            negative_buckets,
            custom_values: Vec::new(),
        };
        histogram.check()?;
        Ok(histogram)
    }
}

/// Deltas to counts: each is the difference to the bucket before.
pub(crate) fn absolute(deltas: &[i64]) -> Vec<f64> {
    let sums = deltas.iter().scan(0i64, |sum, delta| {
        *sum = sum.wrapping_add(*delta);
        Some(*sum as f64)
    });
    sums.collect()
}

fn bucket(message: &[u8]) -> Result<Bucket, WireError> {
    let mut bucket = Bucket::default();
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 if bucket.count == 0.0 => bucket.count = field.uint()? as f64,
            2 => bucket.bound = field.double()?,
            3 => bucket.exemplar = Some(exemplar(field)?),
            4 => bucket.count = field.double()?,
            _ => {}
        }
    }
    Ok(bucket)
}

/// A run of buckets: offset and length.
pub(crate) fn span(message: &[u8]) -> Result<Span, WireError> {
    let mut span = Span::default();
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => span.offset = i32::try_from(field.sint()?).map_err(|_| WireError::WrongType(1))?,
            2 => span.length = u32::try_from(field.uint()?).map_err(|_| WireError::WrongType(2))?,
            _ => {}
        }
    }
    Ok(span)
}

fn histogram(
    message: &[u8],
    time_ms: Option<i64>,
    out: &mut Out<'_, '_>,
    sink: &mut impl Sink,
) -> Result<(), Why> {
    let mut raw = RawHistogram::read(message).map_err(why)?;
    let sizes = raw.deltas.iter().map(Vec::len).chain(raw.counts.iter().map(Vec::len));
    if sizes.chain([raw.classic.len()]).any(|len| len > BUCKETS_MAX) {
        return Err(format!("a histogram has more than {BUCKETS_MAX} buckets").into());
    }
    let gauge = out.family.kind == MetricType::GaugeHistogram;
    let native = raw.is_native();
    if !native || out.family.options.classic_histograms {
        classic(&raw, out, sink)?;
    }
    if !native {
        return Ok(());
    }
    let of_buckets = raw.classic.iter().filter_map(|bucket| bucket.exemplar.clone());
    let exemplars =
        if raw.exemplars.is_empty() { of_buckets.collect() } else { std::mem::take(&mut raw.exemplars) };
    let value = raw.native(gauge)?;
    out.write_series("", None);
    sink.histogram(HistogramSample {
        series: &out.scratch.series,
        kind: out.family.kind,
        value,
        time_ms,
        exemplars,
    })
}

fn classic(raw: &RawHistogram, out: &mut Out<'_, '_>, sink: &mut impl Sink) -> Result<(), Why> {
    out.sample("_count", None, raw.count(), None, sink)?;
    out.sample("_sum", None, raw.sum, None, sink)?;
    let mut bound = String::new();
    let mut has_last = false;
    for bucket in &raw.classic {
        bound.clear();
        let _ = write!(bound, "{}", canonical_float(bucket.bound));
        has_last |= bucket.bound == f64::INFINITY;
        out.sample("_bucket", Some(("le", &bound)), bucket.count, bucket.exemplar.as_ref(), sink)?;
    }
    if has_last { Ok(()) } else { out.sample("_bucket", Some(("le", "+Inf")), raw.count(), None, sink) }
}
