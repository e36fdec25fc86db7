//! Exponential histograms as native ones, and adding them up.
//!
//! OpenTelemetry's bucket `i` of scale `s` holds (base^i, base^(i+1)], base = 2^(2^-s); Prometheus'
//! bucket `i` of schema `s` ends where that one begins, so indexes differ by one.

use std::collections::BTreeMap;

use metrics_api::{Histogram, MAX_SCHEMA, MIN_SCHEMA, NHCB_SCHEMA, Span};

use crate::wire::{Fields, Result};

/// Buckets of one side of a histogram, and bounds of a classic one.
pub const BUCKETS_MAX: usize = 4_096;
/// The zero bucket's width when the sender gives none.
const ZERO_THRESHOLD_DEFAULT: f64 = 1e-128;
/// Up to this many empty buckets are written out rather than jumped over by a span.
const GAP_MAX: i64 = 2;

/// An exponential histogram in a form that adds up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exponential {
    pub(crate) schema: i8,
    pub(crate) zero_threshold: f64,
    pub(crate) zero_count: f64,
    pub(crate) count: f64,
    pub(crate) sum: f64,
    /// By Prometheus' index; none is empty.
    pub(crate) positive: BTreeMap<i32, f64>,
    pub(crate) negative: BTreeMap<i32, f64>,
}

impl Exponential {
    pub(crate) fn new(scale: i32, zero_threshold: f64) -> std::result::Result<(Self, u32), &'static str> {
        if scale < i32::from(MIN_SCHEMA) {
            return Err("its scale is below -4, the coarsest that a native histogram has");
        }
        let schema = scale.min(i32::from(MAX_SCHEMA));
        let empty = Self {
            schema: schema as i8,
            zero_threshold: if zero_threshold > 0.0 { zero_threshold } else { ZERO_THRESHOLD_DEFAULT },
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive: BTreeMap::new(),
            negative: BTreeMap::new(),
        };
        // Finer than 31 halvings, all of one sign falls into one bucket.
        Ok((empty, (scale.saturating_sub(schema)).clamp(0, 31) as u32))
    }

    /// What contradicts itself, as Prometheus checks it.
    pub(crate) fn check(&self) -> std::result::Result<(), &'static str> {
        let buckets: f64 =
            self.zero_count + self.positive.values().chain(self.negative.values()).sum::<f64>();
        if (self.sum.is_nan() && buckets > self.count) || (!self.sum.is_nan() && buckets != self.count) {
            return Err("its count is not the sum of its buckets");
        }
        Ok(())
    }

    /// Adds `other`, at the coarser resolution and the wider zero bucket of the two.
    pub(crate) fn add(&mut self, mut other: Self) {
        let schema = self.schema.min(other.schema);
        self.coarsen(schema);
        other.coarsen(schema);
        let threshold = self.zero_threshold.max(other.zero_threshold);
        let threshold = other.widen_zero(self.widen_zero(threshold));
        self.widen_zero(threshold);
        self.zero_count += other.zero_count;
        self.count += other.count;
        self.sum += other.sum;
        for (into, from) in [(&mut self.positive, other.positive), (&mut self.negative, other.negative)] {
            for (index, count) in from {
                *into.entry(index).or_default() += count;
            }
        }
    }

    fn coarsen(&mut self, schema: i8) {
        let shift = (i32::from(self.schema) - i32::from(schema)).max(0) as u32;
        if shift == 0 {
            return;
        }
        for side in [&mut self.positive, &mut self.negative] {
            let mut merged = BTreeMap::new();
            for (index, count) in std::mem::take(side) {
                *merged.entry(((index - 1) >> shift) + 1).or_default() += count;
            }
            *side = merged;
        }
        self.schema = schema;
    }

    /// Moves buckets that begin below `threshold` into the zero bucket; gives the threshold that it
    /// has then, which is at least the end of the last one moved.
    fn widen_zero(&mut self, threshold: f64) -> f64 {
        let mut wanted = threshold.max(self.zero_threshold);
        for side in [&mut self.positive, &mut self.negative] {
            while let Some(first) = side.first_entry() {
                let index = *first.key();
                if upper(self.schema, index - 1) >= wanted {
                    break;
                }
                wanted = wanted.max(upper(self.schema, index));
                self.zero_count += first.remove();
            }
        }
        self.zero_threshold = wanted;
        wanted
    }

    pub(crate) fn to_histogram(&self) -> Histogram {
        let (positive_spans, positive_buckets) = spans(self.positive.iter().map(|(at, count)| (*at, *count)));
        let (negative_spans, negative_buckets) = spans(self.negative.iter().map(|(at, count)| (*at, *count)));
        Histogram {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count,
            count: self.count,
            sum: self.sum,
            positive_spans,
            positive_buckets,
            negative_spans,
            negative_buckets,
            ..Histogram::default()
        }
    }

    pub(crate) fn size_bytes(&self) -> usize {
        size_of::<Self>() + (self.positive.len() + self.negative.len()) * 24
    }
}

/// The upper end of bucket `index`.
fn upper(schema: i8, index: i32) -> f64 {
    (f64::from(index) * (-f64::from(schema)).exp2()).exp2()
}

/// Reads a `Buckets` message, `shift` halvings coarser. None when it holds more than [`BUCKETS_MAX`]
/// buckets, or indexes that cannot be.
pub(crate) fn read_buckets(
    message: &[u8],
    shift: u32,
    scratch: &mut Vec<u64>,
) -> Result<Option<BTreeMap<i32, f64>>> {
    scratch.clear();
    let mut offset = 0i64;
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => offset = i64::from(value.sint32()?),
            2 => value.push_varints(scratch)?,
            _ => {}
        }
        if scratch.len() > BUCKETS_MAX {
            return Ok(None);
        }
    }
    let mut buckets: BTreeMap<i32, f64> = BTreeMap::new();
    for (at, count) in scratch.iter().enumerate().filter(|bucket| *bucket.1 > 0) {
        let Ok(index) = i32::try_from(((offset + at as i64) >> shift) + 1) else { return Ok(None) };
        *buckets.entry(index).or_default() += *count as f64;
    }
    Ok(Some(buckets))
}

/// A classic histogram as a native one with custom boundaries. None when it has no boundaries that
/// fit its counts.
pub(crate) fn custom(bounds: &[f64], counts: &[f64], count: f64, sum: f64) -> Option<Histogram> {
    if counts.len() != bounds.len() + 1 && !(counts.is_empty() && bounds.is_empty()) {
        return None;
    }
    // Without buckets the count stands in the last one, above all boundaries.
    let whole = [count];
    let counts = if counts.is_empty() { &whole } else { counts };
    let filled = counts.iter().enumerate().filter(|bucket| *bucket.1 > 0.0);
    let (positive_spans, positive_buckets) = spans(filled.map(|(at, count)| (at as i32, *count)));
    Some(Histogram {
        schema: NHCB_SCHEMA,
        count,
        sum,
        positive_spans,
        positive_buckets,
        custom_values: bounds.to_vec(),
        ..Histogram::default()
    })
}

/// Spans over buckets in order of index.
pub(crate) fn spans(buckets: impl Iterator<Item = (i32, f64)>) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut counts) = (Vec::<Span>::new(), Vec::new());
    let mut end = 0i64;
    for (index, count) in buckets {
        let gap = i64::from(index) - end;
        match spans.last_mut() {
            Some(span) if gap <= GAP_MAX => {
                counts.extend((0..gap).map(|_| 0.0));
                span.length += gap as u32 + 1;
            }
            // Indexes ascend, so a gap fits unless it spans more than half of all; such a one is cut.
            _ => spans.push(Span { offset: i32::try_from(gap).unwrap_or(i32::MAX), length: 1 }),
        }
        counts.push(count);
        end = i64::from(index) + 1;
    }
    (spans, counts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{put_bytes, put_key, put_varint};

    fn buckets(offset: i32, counts: &[u64]) -> Vec<u8> {
        let mut message = Vec::new();
        put_key(&mut message, 1, 0);
        put_varint(&mut message, u64::from(((offset << 1) ^ (offset >> 31)) as u32));
        let mut packed = Vec::new();
        counts.iter().for_each(|count| put_varint(&mut packed, *count));
        put_bytes(&mut message, 2, &packed);
        message
    }

    #[test]
    fn indexes_move_by_one_and_merge_when_coarser() {
        let mut scratch = Vec::new();
        let read = |shift, scratch: &mut Vec<u64>| {
            read_buckets(&buckets(-2, &[1, 2, 3, 4]), shift, scratch).unwrap().unwrap()
        };
        assert_eq!(read(0, &mut scratch), [(-1, 1.0), (0, 2.0), (1, 3.0), (2, 4.0)].into());
        assert_eq!(read(1, &mut scratch), [(0, 3.0), (1, 7.0)].into());
        assert!(read_buckets(&buckets(0, &[0; BUCKETS_MAX + 1]), 0, &mut scratch).unwrap().is_none());
        assert!(read_buckets(&buckets(i32::MAX, &[1, 1]), 0, &mut scratch).unwrap().is_none());
    }

    #[test]
    fn small_gaps_are_filled_and_large_ones_are_spans() {
        let (spans, counts) = spans([(3, 1.0), (5, 2.0), (9, 4.0)].into_iter());
        assert_eq!(spans, [Span { offset: 3, length: 3 }, Span { offset: 3, length: 1 }]);
        assert_eq!(counts, [1.0, 0.0, 2.0, 4.0]);
    }

    #[test]
    fn a_scale_above_eight_is_made_coarser_and_one_below_minus_four_refused() {
        assert_eq!(Exponential::new(10, 0.0).map(|(h, shift)| (h.schema, shift)), Ok((8, 2)));
        assert!(Exponential::new(-5, 0.0).is_err());
    }

    #[test]
    fn a_wider_zero_bucket_swallows_what_lies_in_it() {
        let (mut fine, _) = Exponential::new(0, 0.0).unwrap();
        fine.positive = [(1, 3.0), (3, 1.0)].into();
        fine.count = 4.0;
        let (mut wide, _) = Exponential::new(1, 1.5).unwrap();
        wide.zero_count = 2.0;
        wide.count = 2.0;
        fine.add(wide);
        assert_eq!((fine.schema, fine.zero_threshold, fine.zero_count), (0, 2.0, 5.0));
        assert_eq!(fine.positive, [(3, 1.0)].into());
        assert_eq!(fine.check(), Ok(()));
    }

    proptest! {
        #[test]
        fn adding_keeps_every_observation(
            a in proptest::collection::btree_map(-40i32..40, 1u32..9, 0..20),
            b in proptest::collection::btree_map(-40i32..40, 1u32..9, 0..20),
            scales in (-4i32..9, -4i32..9), thresholds in (0.0f64..4.0, 0.0f64..4.0),
        ) {
            let make = |counts: &BTreeMap<i32, u32>, scale, threshold| {
                let (mut made, _) = Exponential::new(scale, threshold).unwrap();
                made.positive = counts.iter().map(|(at, count)| (*at, f64::from(*count))).collect();
                made.negative = made.positive.clone();
                made.count = made.positive.values().sum::<f64>() * 2.0;
                made
            };
            let mut sum = make(&a, scales.0, thresholds.0);
            sum.add(make(&b, scales.1, thresholds.1));
            prop_assert_eq!(sum.check(), Ok(()));
            prop_assert_eq!(sum.to_histogram().check(), Ok(()));
        }
    }
}
