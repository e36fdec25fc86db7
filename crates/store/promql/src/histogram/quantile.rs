//! Quantiles and fractions of native histograms, and their spread.
//!
//! Within a bucket, exponential buckets interpolate on a logarithmic scale; custom buckets and the
//! zero bucket linearly.

use metrics_api::Histogram;

use super::{Bucket, Sum, all_buckets};

/// What observations of NaN did to a quantile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NanEffect {
    None,
    /// The quantile is among them.
    Result,
    /// They count as the highest.
    Skew,
}

pub(crate) fn quantile(q: f64, of: &Histogram) -> (f64, NanEffect) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, NanEffect::None);
    }
    if q > 1.0 {
        return (f64::INFINITY, NanEffect::None);
    }
    if of.count == 0.0 || q.is_nan() {
        return (f64::NAN, NanEffect::None);
    }
    let has_nan = of.sum.is_nan();
    let forward = has_nan || q < 0.5;
    let mut rank = if forward { q * of.count } else { (1.0 - q) * of.count };
    let mut buckets = all_buckets(of);
    if !forward {
        buckets.reverse();
    }
    let mut bucket = Bucket { lower: 0.0, upper: 0.0, count: 0.0 };
    let mut count = 0.0;
    for candidate in buckets.into_iter().filter(|bucket| bucket.count != 0.0) {
        bucket = candidate;
        count += bucket.count;
        if count >= rank {
            break;
        }
    }
    let effect = if !has_nan {
        NanEffect::None
    } else if count < rank {
        NanEffect::Result
    } else {
        NanEffect::Skew
    };
    if effect == NanEffect::Result {
        return (f64::NAN, effect);
    }
    let custom = of.uses_custom_buckets();
    if custom {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, effect);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, effect);
        }
    } else {
        natural_zero(of, &mut bucket);
    }
    count = count.min(of.count);
    if count < rank {
        return (bucket.upper, effect);
    }
    rank = if forward { rank - (count - bucket.count) } else { count - rank };
    let fraction = rank / bucket.count;
    let value = if custom || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        bucket.lower + (bucket.upper - bucket.lower) * fraction
    } else {
        let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
        if bucket.lower > 0.0 {
            (lower + (upper - lower) * fraction).exp2()
        } else {
            -(upper + (lower - upper) * (1.0 - fraction)).exp2()
        }
    };
    (value, effect)
}

/// A histogram with buckets on one side of zero only has a zero bucket on that side only.
fn natural_zero(of: &Histogram, bucket: &mut Bucket) {
    if bucket.lower < 0.0 && bucket.upper > 0.0 {
        if of.negative_buckets.is_empty() && !of.positive_buckets.is_empty() {
            bucket.lower = 0.0;
        } else if of.positive_buckets.is_empty() && !of.negative_buckets.is_empty() {
            bucket.upper = 0.0;
        }
    }
}

/// The share of observations between two values; of observations that are NaN none is.
pub(crate) fn fraction(lower: f64, upper: f64, of: &Histogram) -> f64 {
    if of.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let buckets = all_buckets(of);
    let observed =
        if of.sum.is_nan() { buckets.iter().map(|bucket| bucket.count).sum::<f64>() } else { of.count };
    let rank_of = |value: f64| rank_below(of, &buckets, value).unwrap_or(observed).min(observed);
    (rank_of(upper) - rank_of(lower)) / of.count
}

/// How many observations are below `value`; None above all buckets.
fn rank_below(of: &Histogram, buckets: &[Bucket], value: f64) -> Option<f64> {
    let custom = of.uses_custom_buckets();
    let mut rank = 0.0;
    for bucket in buckets {
        let mut bucket = *bucket;
        let zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if zero && !custom {
            natural_zero(of, &mut bucket);
        }
        if custom && bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 {
            bucket.lower = 0.0;
        }
        if bucket.lower >= value {
            return Some(rank);
        }
        if bucket.upper > value {
            if custom && (bucket.upper == f64::INFINITY || bucket.lower == f64::NEG_INFINITY) {
                return Some(if bucket.upper == f64::INFINITY { rank } else { rank + bucket.count });
            }
            let share = if custom || zero {
                (value - bucket.lower) / (bucket.upper - bucket.lower)
            } else {
                let (low, high) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
                let at = value.abs().log2();
                if value > 0.0 { (at - low) / (high - low) } else { 1.0 - (at - high) / (low - high) }
            };
            return Some(rank + bucket.count * share);
        }
        rank += bucket.count;
    }
    None
}

/// The estimated variance: each bucket counts with its middle.
pub(crate) fn variance(of: &Histogram) -> f64 {
    let mean = of.sum / of.count;
    let mut variance = Sum::default();
    for bucket in all_buckets(of).into_iter().filter(|bucket| bucket.count != 0.0) {
        let middle = if of.uses_custom_buckets() {
            f64::midpoint(bucket.upper, bucket.lower)
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let middle = (bucket.upper * bucket.lower).sqrt();
            if bucket.upper < 0.0 { -middle } else { middle }
        };
        let delta = middle - mean;
        variance.add(bucket.count * delta * delta);
    }
    (variance.value + variance.lost) / of.count
}
