//! What the query language computes of native histograms.
//!
//! [`Sparse`] is a histogram taken apart: buckets by index, every number with what rounding lost of
//! it (Neumaier), so that adding many in a row stays exact. Adding brings both sides to the same
//! resolution and zero bucket first; histograms of custom buckets with differing boundaries meet in
//! the boundaries they share. The rules are those of `prometheus/prometheus`, `model/histogram`.

use metrics_api::{CounterReset, Histogram, NHCB_SCHEMA, Span};

pub use bucket::{Bucket, all_buckets};
pub(crate) use bucket::{bound, equal, side_buckets};
pub(crate) use reset::detect_reset;

mod bucket;
pub(crate) mod classic;
pub(crate) mod quantile;
mod reset;
pub(crate) mod trim;

/// A sum and what rounding lost of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sum {
    pub value: f64,
    pub lost: f64,
}

impl Sum {
    pub fn new(value: f64) -> Self {
        Self { value, lost: 0.0 }
    }

    /// A compensated sum (Neumaier's, with Knuth's branch-free error of an addition).
    #[inline]
    pub fn add(&mut self, value: f64) {
        let total = self.value + value;
        let taken = total - self.value;
        let error = (self.value - (total - taken)) + (value - taken);
        self.lost = if total.is_infinite() { 0.0 } else { self.lost + error };
        self.value = total;
    }

    #[inline]
    pub fn total(self) -> f64 {
        if self.value.is_infinite() { self.value } else { self.value + self.lost }
    }

    fn scale(&mut self, factor: f64) {
        self.value *= factor;
        self.lost *= factor;
    }

    fn divide(&mut self, by: f64) {
        self.value /= by;
        self.lost /= by;
    }
}

/// Buckets by index, ascending.
pub(crate) type Side<T> = Vec<(i32, T)>;

/// One side of a histogram with its bucket indexes.
pub(crate) fn sparse_side(spans: &[Span], buckets: &[f64]) -> Side<f64> {
    let mut side = Vec::with_capacity(buckets.len());
    let mut index = 0i32;
    let mut counts = buckets.iter();
    for span in spans {
        index = index.wrapping_add(span.offset);
        for _ in 0..span.length {
            let Some(count) = counts.next() else { return side };
            side.push((index, *count));
            index = index.wrapping_add(1);
        }
    }
    side
}

fn dense_side(side: impl Iterator<Item = (i32, f64)>) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut buckets = Vec::new();
    let mut next = 0i32;
    for (index, count) in side {
        match spans.last_mut() {
            Some(last) if index == next => last.length += 1,
            _ => spans.push(Span { offset: index - next, length: 1 }),
        }
        buckets.push(count);
        next = index + 1;
    }
    (spans, buckets)
}

/// The index in a coarser schema.
fn coarser(index: i32, from: i8, to: i8) -> i32 {
    ((index - 1) >> (i32::from(from) - i32::from(to))) + 1
}

/// Two histograms that cannot be brought together: exponential and custom buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Incompatible;

/// What happened while histograms were added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    /// One said that its counter was reset, the other that its was not.
    pub collision: bool,
    /// Custom boundaries differed; those of both remain.
    pub reconciled: bool,
}

/// A histogram taken apart for arithmetic.
#[derive(Debug, Clone)]
pub(crate) struct Sparse {
    pub hint: CounterReset,
    schema: i8,
    zero_threshold: f64,
    zero: Sum,
    pub count: Sum,
    sum: Sum,
    positive: Side<Sum>,
    negative: Side<Sum>,
    custom_values: Vec<f64>,
}

impl From<&Histogram> for Sparse {
    fn from(of: &Histogram) -> Self {
        let side = |spans: &[Span], buckets: &[f64]| {
            sparse_side(spans, buckets).into_iter().map(|(index, count)| (index, Sum::new(count))).collect()
        };
        Self {
            hint: of.counter_reset,
            schema: of.schema,
            zero_threshold: of.zero_threshold,
            zero: Sum::new(of.zero_count),
            count: Sum::new(of.count),
            sum: Sum::new(of.sum),
            positive: side(&of.positive_spans, &of.positive_buckets),
            negative: side(&of.negative_spans, &of.negative_buckets),
            custom_values: of.custom_values.clone(),
        }
    }
}

impl Sparse {
    /// Adds `other`, or subtracts it.
    pub fn add(&mut self, other: &Histogram, negative: bool) -> Result<Merged, Incompatible> {
        if (self.schema == NHCB_SCHEMA) != other.uses_custom_buckets() {
            return Err(Incompatible);
        }
        let mut merged = Merged { collision: self.meet_hint(other.counter_reset), reconciled: false };
        let sign = if negative { -1.0 } else { 1.0 };
        let mut positive = sparse_side(&other.positive_spans, &other.positive_buckets);
        if self.schema == NHCB_SCHEMA {
            if self.custom_values != other.custom_values {
                merged.reconciled = true;
                let shared = shared_bounds(&self.custom_values, &other.custom_values);
                remap(&mut positive, &other.custom_values, &shared, |into, from| *into += from);
                remap(&mut self.positive, &self.custom_values, &shared, |into: &mut Sum, from| {
                    into.add(from.value);
                    into.lost += from.lost;
                });
                self.custom_values = shared;
            }
            add_side(&mut self.positive, &positive, sign);
        } else {
            let mut negatives = sparse_side(&other.negative_spans, &other.negative_buckets);
            // The zero buckets first, at each one's own resolution.
            let other_zero =
                self.meet_zero(other.schema, other.zero_threshold, other.zero_count, &positive, &negatives);
            self.zero.add(sign * other_zero);
            if other.schema < self.schema {
                self.reduce(other.schema);
            } else if other.schema > self.schema {
                reduce_side(&mut positive, other.schema, self.schema, |into, from| *into += from);
                reduce_side(&mut negatives, other.schema, self.schema, |into, from| *into += from);
            }
            for (side, theirs) in [(&mut self.positive, &mut positive), (&mut self.negative, &mut negatives)]
            {
                let inside = theirs
                    .iter()
                    .take_while(|bucket| bound(bucket.0, self.schema) <= self.zero_threshold)
                    .count();
                add_side(side, &theirs[inside..], sign);
            }
        }
        self.count.add(sign * other.count);
        self.sum.add(sign * other.sum);
        Ok(merged)
    }

    /// Says whether both contradict each other.
    fn meet_hint(&mut self, other: CounterReset) -> bool {
        use CounterReset::{Gauge, Unknown};
        if self.hint == other || self.hint == Gauge {
            return false;
        }
        if other == Gauge {
            self.hint = Gauge;
            return false;
        }
        let collision = self.hint != Unknown && other != Unknown;
        self.hint = Unknown;
        collision
    }

    /// Widens the zero bucket until it ends at a bucket boundary of both, and says how much of the
    /// other falls into it.
    fn meet_zero(
        &mut self,
        schema: i8,
        mut threshold: f64,
        count: f64,
        positive: &Side<f64>,
        negative: &Side<f64>,
    ) -> f64 {
        let mut zero = count;
        let own_threshold = threshold;
        while threshold != self.zero_threshold {
            if self.zero_threshold > threshold {
                (zero, threshold) = zero_for(schema, count, positive, negative, self.zero_threshold);
                if self.zero_threshold == own_threshold {
                    break;
                }
            }
            if threshold > self.zero_threshold {
                let plain = |side: &Side<Sum>| side.iter().map(|b| (b.0, b.1.total())).collect::<Side<f64>>();
                let (positives, negatives) = (plain(&self.positive), plain(&self.negative));
                let (_, wider) = zero_for(self.schema, 0.0, &positives, &negatives, threshold);
                self.widen_zero(wider);
            }
        }
        zero
    }

    fn widen_zero(&mut self, threshold: f64) {
        for side in [&mut self.positive, &mut self.negative] {
            let inside =
                side.iter().take_while(|bucket| lower_bound(bucket.0, self.schema) < threshold).count();
            for (_, count) in side.drain(..inside) {
                self.zero.add(count.value);
                self.zero.lost += count.lost;
            }
        }
        self.zero_threshold = threshold;
    }

    /// Brings it to a coarser resolution.
    pub fn reduce(&mut self, schema: i8) {
        if schema >= self.schema || self.schema == NHCB_SCHEMA || schema == NHCB_SCHEMA {
            return;
        }
        let join = |into: &mut Sum, from: Sum| {
            into.add(from.value);
            into.lost += from.lost;
        };
        reduce_side(&mut self.positive, self.schema, schema, join);
        reduce_side(&mut self.negative, self.schema, schema, join);
        self.schema = schema;
    }

    fn sums(&mut self) -> impl Iterator<Item = &mut Sum> {
        [&mut self.zero, &mut self.count, &mut self.sum]
            .into_iter()
            .chain(self.positive.iter_mut().map(|bucket| &mut bucket.1))
            .chain(self.negative.iter_mut().map(|bucket| &mut bucket.1))
    }

    pub fn scale(&mut self, factor: f64) {
        self.sums().for_each(|sum| sum.scale(factor));
    }

    pub fn divide(&mut self, by: f64) {
        self.sums().for_each(|sum| sum.divide(by));
    }

    /// Some number of it is beyond what a float holds.
    pub fn overflows(&mut self) -> bool {
        self.sums().any(|sum| sum.value.is_infinite())
    }

    /// Back to a histogram, without empty buckets.
    pub fn build(self) -> Histogram {
        let filled = |side: Side<Sum>| {
            dense_side(side.into_iter().map(|b| (b.0, b.1.total())).filter(|bucket| bucket.1 != 0.0))
        };
        let (positive_spans, positive_buckets) = filled(self.positive);
        let (negative_spans, negative_buckets) = filled(self.negative);
        Histogram {
            counter_reset: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero.total(),
            count: self.count.total(),
            sum: self.sum.total(),
            positive_spans,
            positive_buckets,
            negative_spans,
            negative_buckets,
            custom_values: self.custom_values,
        }
    }
}

fn add_side(side: &mut Side<Sum>, other: &[(i32, f64)], sign: f64) {
    if side.len() == other.len() && side.iter().zip(other).all(|(a, b)| a.0 == b.0) {
        for (own, theirs) in side.iter_mut().zip(other) {
            own.1.add(sign * theirs.1);
        }
        return;
    }
    let mut merged = Vec::with_capacity(side.len() + other.len());
    let mut own = side.iter().copied().peekable();
    for &(index, count) in other {
        while let Some(before) = own.next_if(|bucket| bucket.0 < index) {
            merged.push(before);
        }
        let mut sum = own.next_if(|bucket| bucket.0 == index).map_or(Sum::default(), |bucket| bucket.1);
        sum.add(sign * count);
        merged.push((index, sum));
    }
    merged.extend(own);
    *side = merged;
}

pub(crate) fn reduce_side<T: Copy>(side: &mut Side<T>, from: i8, to: i8, join: impl Fn(&mut T, T)) {
    join_by(side, |index| coarser(index, from, to), join);
}

fn join_by<T: Copy>(side: &mut Side<T>, target: impl Fn(i32) -> i32, join: impl Fn(&mut T, T)) {
    let mut joined: Side<T> = Vec::with_capacity(side.len());
    for &(index, count) in side.iter() {
        let index = target(index);
        match joined.last_mut() {
            Some(last) if last.0 == index => join(&mut last.1, count),
            _ => joined.push((index, count)),
        }
    }
    *side = joined;
}

/// Boundaries that both have.
fn shared_bounds(left: &[f64], right: &[f64]) -> Vec<f64> {
    left.iter().copied().filter(|bound| right.contains(bound)).collect()
}

/// Moves custom buckets to fewer boundaries.
fn remap<T: Copy>(side: &mut Side<T>, bounds: &[f64], shared: &[f64], join: impl Fn(&mut T, T)) {
    let target = |index: i32| {
        let bound = usize::try_from(index).ok().and_then(|index| bounds.get(index));
        bound.map_or(shared.len(), |bound| shared.partition_point(|shared| shared < bound)) as i32
    };
    join_by(side, target, join);
}

fn lower_bound(index: i32, schema: i8) -> f64 {
    bound(index - 1, schema)
}

/// What the zero count would be with a larger threshold, which moves up when it falls into a bucket
/// that is not empty.
fn zero_for(
    schema: i8,
    zero: f64,
    positive: &[(i32, f64)],
    negative: &[(i32, f64)],
    mut threshold: f64,
) -> (f64, f64) {
    'again: loop {
        let mut count = zero;
        for (at, side) in [positive, negative].into_iter().enumerate() {
            for &(index, inside) in side {
                if lower_bound(index, schema) >= threshold {
                    break;
                }
                count += inside;
                let upper = bound(index, schema);
                if upper > threshold {
                    if inside != 0.0 {
                        threshold = upper;
                        if at == 1 {
                            continue 'again;
                        }
                    }
                    break;
                }
            }
        }
        return (count, threshold);
    }
}

/// Multiplies in place; a negative factor makes it a gauge.
pub(crate) fn scale(of: &mut Histogram, factor: f64) {
    each_number(of, |number| *number *= factor);
    if factor < 0.0 {
        of.counter_reset = CounterReset::Gauge;
    }
}

/// Divides in place; by zero leaves no buckets, and by less makes it a gauge.
pub(crate) fn divide(of: &mut Histogram, by: f64) {
    each_number(of, |number| *number /= by);
    if by == 0.0 {
        of.positive_buckets.clear();
        of.positive_spans.clear();
        of.negative_buckets.clear();
        of.negative_spans.clear();
    } else if by < 0.0 {
        of.counter_reset = CounterReset::Gauge;
    }
}

fn each_number(of: &mut Histogram, change: impl Fn(&mut f64)) {
    [&mut of.zero_count, &mut of.count, &mut of.sum]
        .into_iter()
        .chain(&mut of.positive_buckets)
        .chain(&mut of.negative_buckets)
        .for_each(change);
}

/// Leaves out empty buckets.
#[must_use]
pub fn compact(mut of: Histogram) -> Histogram {
    let filled = |spans: &[Span], buckets: &[f64]| {
        dense_side(sparse_side(spans, buckets).into_iter().filter(|bucket| bucket.1 != 0.0))
    };
    if of.positive_buckets.contains(&0.0) {
        (of.positive_spans, of.positive_buckets) = filled(&of.positive_spans, &of.positive_buckets);
    }
    if of.negative_buckets.contains(&0.0) {
        (of.negative_spans, of.negative_buckets) = filled(&of.negative_spans, &of.negative_buckets);
    }
    of
}

/// `left + right`, or `left - right`.
pub(crate) fn combine(
    left: &Histogram,
    right: &Histogram,
    subtract: bool,
) -> Result<(Histogram, Merged), Incompatible> {
    let mut sparse = Sparse::from(left);
    let merged = sparse.add(right, subtract)?;
    Ok((sparse.build(), merged))
}

#[cfg(test)]
mod tests;
