//! Buckets with their boundaries.

use metrics_api::{Histogram, NHCB_SCHEMA};

use super::sparse_side;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    pub lower: f64,
    pub upper: f64,
    pub count: f64,
}

/// The absolute upper boundary of an exponential bucket.
pub(crate) fn bound(index: i32, schema: i8) -> f64 {
    let (whole, fraction) = if schema <= 0 {
        (i64::from(index) << -i32::from(schema).min(31), 0.0)
    } else {
        let parts = 1i32 << schema;
        (i64::from(index >> schema), f64::from(index & (parts - 1)) / f64::from(parts))
    };
    if whole >= 1024 {
        // The highest bucket holds all that is finite; beyond it there is only infinity.
        return if whole == 1024 && fraction == 0.0 { f64::MAX } else { f64::INFINITY };
    }
    let whole = whole as i32;
    if whole < -1022 { (fraction + f64::from(whole)).exp2() } else { 2f64.powi(whole) * fraction.exp2() }
}

/// The boundaries of a bucket by index; `negative` mirrors it.
pub(crate) fn bounds_of(of: &Histogram, index: i32, negative: bool) -> (f64, f64) {
    if of.schema == NHCB_SCHEMA {
        let at = |index: i32| match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(index) => of.custom_values.get(index).copied().unwrap_or(f64::INFINITY),
        };
        return (at(index - 1), at(index));
    }
    let (lower, upper) = (bound(index - 1, of.schema), bound(index, of.schema));
    if negative { (-upper, -lower) } else { (lower, upper) }
}

/// Buckets of one side as they are stored, outwards from zero.
pub(crate) fn side_buckets(of: &Histogram, negative: bool) -> Vec<Bucket> {
    let side = if negative {
        sparse_side(&of.negative_spans, &of.negative_buckets)
    } else {
        sparse_side(&of.positive_spans, &of.positive_buckets)
    };
    side.into_iter()
        .map(|(index, count)| {
            let (lower, upper) = bounds_of(of, index, negative);
            Bucket { lower, upper, count }
        })
        .collect()
}

/// All buckets, ascending. Those that reach into the zero bucket end at it.
pub fn all_buckets(of: &Histogram) -> Vec<Bucket> {
    let mut all = side_buckets(of, true);
    all.reverse();
    let zero = of.zero_threshold;
    for bucket in &mut all {
        if bucket.upper < 0.0 && bucket.upper > -zero {
            bucket.upper = -zero;
        }
    }
    if of.zero_count > 0.0 {
        all.push(Bucket { lower: -zero, upper: zero, count: of.zero_count });
    }
    let before = all.len();
    all.extend(side_buckets(of, false));
    for bucket in &mut all[before..] {
        if bucket.lower > 0.0 && bucket.lower < zero {
            bucket.lower = zero;
        }
    }
    all
}

/// The same data: numbers by their bits, layouts by their buckets, empty ones included.
pub(crate) fn equal(left: &Histogram, right: &Histogram) -> bool {
    let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
    let same_side = |a: Vec<(i32, f64)>, b: Vec<(i32, f64)>| {
        a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.0 == b.0 && same(a.1, b.1))
    };
    left.schema == right.schema
        && same(left.count, right.count)
        && same(left.sum, right.sum)
        && left.custom_values == right.custom_values
        && left.zero_threshold == right.zero_threshold
        && same(left.zero_count, right.zero_count)
        && same_side(
            sparse_side(&left.positive_spans, &left.positive_buckets),
            sparse_side(&right.positive_spans, &right.positive_buckets),
        )
        && same_side(
            sparse_side(&left.negative_spans, &left.negative_buckets),
            sparse_side(&right.negative_spans, &right.negative_buckets),
        )
}
