//! Payloads of the log: series, floats, histograms, and what was said beside them.
//!
//! Floats take a byte that says what follows, then as little as it takes: most samples of a scrape
//! have the time of the one before, the series after it, and a value whose low bytes are zero.

use std::sync::Arc;

use metrics_api::{CounterReset, Exemplar, Histogram, Labels, Metadata, MetricType, Span};

/// What a frame of the log holds.
pub const KIND_SERIES: u8 = 1;
pub const KIND_FLOATS: u8 = 2;
pub const KIND_HISTOGRAMS: u8 = 3;
pub const KIND_METADATA: u8 = 4;
pub const KIND_EXEMPLARS: u8 = 5;

/// A float of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Float {
    pub time_ms: i64,
    pub value: f64,
    pub series: u32,
}

const VALUE_BYTES: u8 = 0x0f;
const SERIES_NEXT: u8 = 0x10;
const SERIES_FAR: u8 = 0x20;
const TIME_OTHER: u8 = 0x40;

pub fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

pub fn put_zigzag(into: &mut Vec<u8>, value: i64) {
    put_varint(into, ((value << 1) ^ (value >> 63)) as u64);
}

pub fn put_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

/// Reads a payload; every answer is none at the first byte that does not fit.
#[derive(Debug, Clone)]
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub fn zigzag(&mut self) -> Option<i64> {
        let raw = self.varint()?;
        Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    pub fn float(&mut self) -> Option<f64> {
        Some(f64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub fn u32(&mut self) -> Option<u32> {
        u32::try_from(self.varint()?).ok()
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.take(length)
    }

    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

pub fn put_series(into: &mut Vec<u8>, series: u32, labels: &[u8]) {
    put_varint(into, u64::from(series));
    put_bytes(into, labels);
}

pub fn each_series(payload: &[u8], mut each: impl FnMut(u32, Labels)) -> Option<()> {
    let mut from = Cursor(payload);
    while !from.is_empty() {
        let series = from.u32()?;
        each(series, Labels::from_bytes(from.bytes()?)?);
    }
    Some(())
}

pub fn put_floats(into: &mut Vec<u8>, floats: &[Float]) {
    let (mut series, mut time_ms) = (0u32, 0i64);
    into.reserve(floats.len() * 8);
    for float in floats {
        let mut control = 0;
        let step = float.series.wrapping_sub(series);
        control |= match step {
            0 => 0,
            1 => SERIES_NEXT,
            _ => SERIES_FAR,
        };
        if float.time_ms != time_ms {
            control |= TIME_OTHER;
        }
        let bits = float.value.to_bits();
        let kept = 8 - (bits.trailing_zeros() / 8).min(8) as usize;
        into.push(control | kept as u8);
        if control & SERIES_FAR != 0 {
            put_zigzag(into, i64::from(float.series) - i64::from(series));
        }
        if control & TIME_OTHER != 0 {
            put_zigzag(into, float.time_ms.wrapping_sub(time_ms));
        }
        into.extend_from_slice(&bits.to_be_bytes()[..kept]);
        (series, time_ms) = (float.series, float.time_ms);
    }
}

pub fn each_float(payload: &[u8], mut each: impl FnMut(Float)) -> Option<()> {
    let mut from = Cursor(payload);
    let (mut series, mut time_ms) = (0u32, 0i64);
    while !from.is_empty() {
        let control = from.byte()?;
        if control & SERIES_FAR != 0 {
            series = u32::try_from(i64::from(series).checked_add(from.zigzag()?)?).ok()?;
        } else if control & SERIES_NEXT != 0 {
            series = series.wrapping_add(1);
        }
        if control & TIME_OTHER != 0 {
            time_ms = time_ms.wrapping_add(from.zigzag()?);
        }
        let kept = usize::from(control & VALUE_BYTES);
        let mut bits = [0; 8];
        bits.get_mut(..kept)?.copy_from_slice(from.take(kept)?);
        each(Float { time_ms, value: f64::from_be_bytes(bits), series });
    }
    Some(())
}

pub type HistogramSample = (u32, i64, Arc<Histogram>);

pub fn put_histograms(into: &mut Vec<u8>, samples: &[HistogramSample]) {
    for (series, time_ms, histogram) in samples {
        put_varint(into, u64::from(*series));
        put_zigzag(into, *time_ms);
        put_histogram(into, histogram);
    }
}

pub fn each_histogram(payload: &[u8], mut each: impl FnMut(HistogramSample)) -> Option<()> {
    let mut from = Cursor(payload);
    while !from.is_empty() {
        let (series, time_ms) = (from.u32()?, from.zigzag()?);
        each((series, time_ms, Arc::new(take_histogram(&mut from)?)));
    }
    Some(())
}

fn put_histogram(into: &mut Vec<u8>, histogram: &Histogram) {
    into.push(match histogram.counter_reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    });
    into.push(histogram.schema as u8);
    for value in [histogram.zero_threshold, histogram.zero_count, histogram.count, histogram.sum] {
        into.extend_from_slice(&value.to_le_bytes());
    }
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        put_varint(into, spans.len() as u64);
        for span in spans {
            put_zigzag(into, i64::from(span.offset));
            put_varint(into, u64::from(span.length));
        }
    }
    for values in [&histogram.positive_buckets, &histogram.negative_buckets, &histogram.custom_values] {
        put_varint(into, values.len() as u64);
        for value in values {
            into.extend_from_slice(&value.to_le_bytes());
        }
    }
}

fn take_histogram(from: &mut Cursor<'_>) -> Option<Histogram> {
    let counter_reset = match from.byte()? {
        0 => CounterReset::Unknown,
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        3 => CounterReset::Gauge,
        _ => return None,
    };
    let schema = from.byte()? as i8;
    let [zero_threshold, zero_count, count, sum] =
        [from.float()?, from.float()?, from.float()?, from.float()?];
    let spans = |from: &mut Cursor<'_>| -> Option<Vec<Span>> {
        let count = from.varint()?;
        (0..count)
            .map(|_| Some(Span { offset: i32::try_from(from.zigzag()?).ok()?, length: from.u32()? }))
            .collect()
    };
    let floats = |from: &mut Cursor<'_>| -> Option<Vec<f64>> {
        let count = from.varint()?;
        (0..count).map(|_| from.float()).collect()
    };
    let (positive_spans, negative_spans) = (spans(from)?, spans(from)?);
    let (positive_buckets, negative_buckets, custom_values) = (floats(from)?, floats(from)?, floats(from)?);
    Some(Histogram {
        counter_reset,
        schema,
        zero_threshold,
        zero_count,
        count,
        sum,
        positive_spans,
        positive_buckets,
        negative_spans,
        negative_buckets,
        custom_values,
    })
}

const TYPES: [MetricType; 8] = [
    MetricType::Unknown,
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::GaugeHistogram,
    MetricType::Summary,
    MetricType::Info,
    MetricType::StateSet,
];

pub fn put_metadata(into: &mut Vec<u8>, name: &str, said: &Metadata) {
    put_bytes(into, name.as_bytes());
    into.push(TYPES.iter().position(|kind| *kind == said.kind).unwrap_or_default() as u8);
    put_bytes(into, said.help.as_bytes());
    put_bytes(into, said.unit.as_bytes());
}

pub fn each_metadata(payload: &[u8], mut each: impl FnMut(&str, Metadata)) -> Option<()> {
    let mut from = Cursor(payload);
    while !from.is_empty() {
        let name = from.text()?;
        let kind = *TYPES.get(usize::from(from.byte()?))?;
        let (help, unit) = (from.text()?.to_owned(), from.text()?.to_owned());
        each(name, Metadata { kind, help, unit });
    }
    Some(())
}

/// An exemplar and the labels of its series.
pub fn put_exemplar(into: &mut Vec<u8>, series: &Labels, exemplar: &Exemplar) {
    put_bytes(into, series.as_bytes());
    put_bytes(into, exemplar.labels.as_bytes());
    into.extend_from_slice(&exemplar.value.to_le_bytes());
    put_zigzag(into, exemplar.time_ms);
}

pub fn each_exemplar(payload: &[u8], mut each: impl FnMut(Labels, Exemplar)) -> Option<()> {
    let mut from = Cursor(payload);
    while !from.is_empty() {
        let series = Labels::from_bytes(from.bytes()?)?;
        let labels = Labels::from_bytes(from.bytes()?)?;
        let (value, time_ms) = (from.float()?, from.zigzag()?);
        each(series, Exemplar { labels, value, time_ms });
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn floats_read_back(floats in proptest::collection::vec((any::<u32>(), any::<i64>(), any::<u64>()), 0..60)) {
            let floats: Vec<Float> = floats
                .into_iter()
                .map(|(series, time_ms, bits)| Float { series, time_ms, value: f64::from_bits(bits) })
                .collect();
            let (mut bytes, mut back) = (Vec::new(), Vec::new());
            put_floats(&mut bytes, &floats);
            prop_assert_eq!(each_float(&bytes, |float| back.push(float)), Some(()));
            let bits = |floats: &[Float]| {
                floats.iter().map(|f| (f.series, f.time_ms, f.value.to_bits())).collect::<Vec<_>>()
            };
            prop_assert_eq!(bits(&back), bits(&floats));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = each_float(&bytes, |_| ());
            let _ = each_series(&bytes, |_, _| ());
            let _ = each_histogram(&bytes, |_| ());
            let _ = each_metadata(&bytes, |_, _| ());
            let _ = each_exemplar(&bytes, |_, _| ());
        }
    }

    #[test]
    fn a_scrape_of_small_numbers_takes_few_bytes() {
        let floats: Vec<Float> =
            (0..1_000).map(|series| Float { series, time_ms: 1_700_000_000_000, value: 42.0 }).collect();
        let mut bytes = Vec::new();
        put_floats(&mut bytes, &floats);
        assert!(bytes.len() < 3_100, "{} bytes", bytes.len());
    }

    #[test]
    fn histograms_and_what_is_said_read_back() {
        let histogram = Histogram {
            counter_reset: CounterReset::NotReset,
            schema: -4,
            positive_spans: vec![Span { offset: -3, length: 2 }],
            positive_buckets: vec![1.5, 2.0],
            count: 3.5,
            ..Histogram::default()
        };
        let mut bytes = Vec::new();
        put_histograms(&mut bytes, &[(7, -5, Arc::new(histogram.clone()))]);
        let mut back = Vec::new();
        each_histogram(&bytes, |sample| back.push(sample)).unwrap();
        assert_eq!(back, [(7, -5, Arc::new(histogram))]);

        let said = Metadata { kind: MetricType::StateSet, help: "h".into(), unit: "s".into() };
        let mut bytes = Vec::new();
        put_metadata(&mut bytes, "up", &said);
        each_metadata(&bytes, |name, found| assert_eq!((name, &found), ("up", &said))).unwrap();
    }
}
