//! Native histograms: what they share once, each count as a column over time.

use std::sync::Arc;

use metrics_api::{CounterReset, Histogram, STALE_NAN_BITS, Span};

use super::{
    CHUNK_SAMPLES_MAX,
    bytes::{Bytes, put_varint, put_zigzag},
    values::{self, Encoding, ValueEncoder},
};

/// Floats in one chunk of histograms, spans and custom boundaries counted with each.
pub const CHUNK_FLOATS_MAX: usize = 1 << 20;
/// Columns that are no buckets: count, zero count, sum.
const FIXED_COLUMNS: usize = 3;
const SPANS_MAX: usize = 1 << 16;
/// In place of a hint: a marker that ends the series, and nothing else.
const STALE: u8 = 4;

/// Whether two histograms can stand in one chunk, and how many of `values` from the first on can.
pub(crate) fn run_len(values: &[Arc<Histogram>]) -> usize {
    let Some(layout) = values.iter().find(|value| !is_marker(value)) else {
        return values.len().min(CHUNK_SAMPLES_MAX);
    };
    let max = (CHUNK_FLOATS_MAX / weight(layout)).clamp(1, CHUNK_SAMPLES_MAX);
    let same = |value: &&Arc<Histogram>| is_marker(value) || same_layout(layout, value);
    values.iter().take(max).take_while(same).count()
}

/// Whether one histogram fits a chunk at all.
pub(crate) fn fits(value: &Histogram) -> bool {
    weight(value) <= CHUNK_FLOATS_MAX
        && value.positive_spans.len() <= SPANS_MAX
        && value.negative_spans.len() <= SPANS_MAX
}

/// What each histogram of a layout takes, in floats.
fn weight(layout: &Histogram) -> usize {
    FIXED_COLUMNS
        + layout.positive_buckets.len()
        + layout.negative_buckets.len()
        + layout.positive_spans.len()
        + layout.negative_spans.len()
        + layout.custom_values.len()
}

/// A staleness marker without anything else in it.
fn is_marker(value: &Histogram) -> bool {
    value.sum.to_bits() == STALE_NAN_BITS
        && value.counter_reset == CounterReset::Unknown
        && value.schema == 0
        && [value.zero_threshold, value.zero_count, value.count].iter().all(|number| number.to_bits() == 0)
        && value.positive_spans.is_empty()
        && value.negative_spans.is_empty()
        && value.positive_buckets.is_empty()
        && value.negative_buckets.is_empty()
        && value.custom_values.is_empty()
}

fn marker() -> Histogram {
    Histogram { sum: f64::from_bits(STALE_NAN_BITS), ..Histogram::default() }
}

fn same_layout(a: &Histogram, b: &Histogram) -> bool {
    let same_bits =
        |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
    a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.positive_buckets.len() == b.positive_buckets.len()
        && a.negative_buckets.len() == b.negative_buckets.len()
        && same_bits(&a.custom_values, &b.custom_values)
}

/// Appends histograms of one layout (see [`run_len`]) to `out`.
pub(crate) fn encode(values: &[Arc<Histogram>], encoder: &mut ValueEncoder, out: &mut Vec<u8>) {
    let empty = Arc::new(Histogram::default());
    let layout = values.iter().find(|value| !is_marker(value)).unwrap_or(&empty);
    out.push(layout.schema as u8);
    out.extend_from_slice(&layout.zero_threshold.to_bits().to_le_bytes());
    put_spans(out, &layout.positive_spans);
    put_spans(out, &layout.negative_spans);
    put_varint(out, layout.positive_buckets.len() as u64);
    put_varint(out, layout.negative_buckets.len() as u64);
    put_varint(out, layout.custom_values.len() as u64);
    for value in &layout.custom_values {
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
    put_hints(out, values);
    let mut column = Vec::with_capacity(values.len());
    let mut bytes = Vec::new();
    let mut put = |number: &dyn Fn(&Histogram) -> f64| {
        column.clear();
        let mut before = number(layout);
        for value in values {
            if !is_marker(value) {
                before = number(value);
            }
            column.push(before);
        }
        bytes.clear();
        out.push(encoder.encode(&column, &mut bytes) as u8);
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(&bytes);
    };
    put(&|value| value.count);
    put(&|value| value.zero_count);
    put(&|value| value.sum);
    for at in 0..layout.positive_buckets.len() {
        put(&|value| value.positive_buckets[at]);
    }
    for at in 0..layout.negative_buckets.len() {
        put(&|value| value.negative_buckets[at]);
    }
}

fn put_spans(out: &mut Vec<u8>, spans: &[Span]) {
    put_varint(out, spans.len() as u64);
    for span in spans {
        put_zigzag(out, i64::from(span.offset));
        put_varint(out, u64::from(span.length));
    }
}

fn hint(value: &Histogram) -> u8 {
    match value.counter_reset {
        _ if is_marker(value) => STALE,
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    }
}

fn put_hints(out: &mut Vec<u8>, values: &[Arc<Histogram>]) {
    for run in values.chunk_by(|a, b| hint(a) == hint(b)) {
        out.push(hint(&run[0]));
        put_varint(out, run.len() as u64);
    }
}

/// The `count` histograms that [`encode`] wrote; None for other bytes.
pub(crate) fn decode(bytes: &[u8], count: usize) -> Option<Vec<Arc<Histogram>>> {
    if count == 0 || count > CHUNK_SAMPLES_MAX {
        return None;
    }
    let mut bytes = Bytes::new(bytes);
    let schema = bytes.u8()? as i8;
    let zero_threshold = bytes.f64()?;
    let positive_spans = spans(&mut bytes)?;
    let negative_spans = spans(&mut bytes)?;
    let positive = bytes.len(CHUNK_FLOATS_MAX)?;
    let negative = bytes.len(CHUNK_FLOATS_MAX)?;
    let custom = bytes.len(bytes.rest().len() / 8)?;
    let custom_values = (0..custom).map(|_| bytes.f64()).collect::<Option<Vec<_>>>()?;
    let columns = FIXED_COLUMNS + positive + negative;
    // Each column takes two bytes at least: what claims more is refused before it gets memory.
    let weight = columns + positive_spans.len() + negative_spans.len() + custom_values.len();
    if weight.checked_mul(count)? > CHUNK_FLOATS_MAX || columns > bytes.rest().len() / 2 {
        return None;
    }
    let hints = hints(&mut bytes, count)?;
    let layout = Histogram {
        schema,
        zero_threshold,
        positive_spans,
        negative_spans,
        positive_buckets: vec![0.0; positive],
        negative_buckets: vec![0.0; negative],
        custom_values,
        ..Histogram::default()
    };
    let mut all = vec![layout; count];
    let mut column = Vec::with_capacity(count);
    for at in 0..columns {
        let encoding = Encoding::from_byte(bytes.u8()?)?;
        let len = bytes.len(bytes.rest().len())?;
        column.clear();
        values::decode(encoding, bytes.take(len)?, count, &mut column)?;
        for (histogram, &number) in all.iter_mut().zip(&column) {
            *match at {
                0 => &mut histogram.count,
                1 => &mut histogram.zero_count,
                2 => &mut histogram.sum,
                at if at - FIXED_COLUMNS < positive => &mut histogram.positive_buckets[at - FIXED_COLUMNS],
                at => &mut histogram.negative_buckets[at - FIXED_COLUMNS - positive],
            } = number;
        }
    }
    let finished = all.into_iter().zip(hints).map(|(mut histogram, hint)| {
        histogram.counter_reset = match hint {
            0 => CounterReset::Unknown,
            1 => CounterReset::Reset,
            2 => CounterReset::NotReset,
            3 => CounterReset::Gauge,
            _ => return Arc::new(marker()),
        };
        Arc::new(histogram)
    });
    bytes.is_empty().then(|| finished.collect())
}

fn spans(bytes: &mut Bytes<'_>) -> Option<Vec<Span>> {
    let count = bytes.len(SPANS_MAX)?;
    let span = |bytes: &mut Bytes<'_>| {
        let offset = i32::try_from(bytes.zigzag()?).ok()?;
        Some(Span { offset, length: u32::try_from(bytes.varint()?).ok()? })
    };
    (0..count).map(|_| span(bytes)).collect()
}

fn hints(bytes: &mut Bytes<'_>, count: usize) -> Option<Vec<u8>> {
    let mut hints = Vec::with_capacity(count);
    while hints.len() < count {
        let hint = bytes.u8()?;
        let run = bytes.len(count - hints.len())?;
        if hint > STALE || run == 0 {
            return None;
        }
        hints.resize(hints.len() + run, hint);
    }
    Some(hints)
}
