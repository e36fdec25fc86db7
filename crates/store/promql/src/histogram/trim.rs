//! `</` and `>/`: the observations of a histogram on one side of a value.
//!
//! Buckets on the kept side stay, that with the value in it is split, the sum is estimated anew from
//! the middles of what stays. Of a bucket without end nothing is known, so it goes as a whole.

use metrics_api::Histogram;

use super::{Bucket, compact, side_buckets};

/// Keeps what is below `at`, or what is above.
pub(crate) fn trim(of: &Histogram, at: f64, keep_below: bool) -> Histogram {
    let mut kept = of.clone();
    let linear = of.uses_custom_buckets();
    let (mut count, mut sum, mut changed) = (0.0, 0.0, false);
    let mut filled = [false; 2];
    for negative in [false, true] {
        let counts = if negative { &mut kept.negative_buckets } else { &mut kept.positive_buckets };
        for (bucket, stored) in side_buckets(of, negative).into_iter().zip(counts) {
            if bucket.count == 0.0 {
                continue;
            }
            filled[usize::from(negative)] = true;
            let whole = if keep_below { bucket.upper <= at } else { bucket.lower >= at };
            let part = if keep_below { bucket.lower < at } else { bucket.upper > at };
            let (stays, middle) = if whole {
                (bucket.count, middle(bucket.lower, bucket.upper, negative, linear))
            } else if part {
                split(bucket, at, keep_below, negative, linear)
            } else {
                (0.0, 0.0)
            };
            count += stays;
            sum += middle * stays;
            if *stored != stays {
                *stored = stays;
                changed = true;
            }
        }
    }
    if of.zero_count > 0.0 {
        let (stays, middle) = split_zero(of, at, keep_below, filled);
        if kept.zero_count != stays {
            kept.zero_count = stays;
            changed = true;
        }
        count += stays;
        sum += middle * stays;
    }
    if changed {
        kept.count = count;
        kept.sum = sum;
        kept = compact(kept);
    }
    kept
}

/// How many stay of the bucket that the value is in, and their middle.
fn split(bucket: Bucket, at: f64, keep_below: bool, negative: bool, linear: bool) -> (f64, f64) {
    if bucket.lower == f64::NEG_INFINITY || bucket.upper == f64::INFINITY {
        return split_endless(bucket, at, keep_below);
    }
    let below = if at <= bucket.lower {
        0.0
    } else if at >= bucket.upper {
        bucket.count
    } else if linear {
        bucket.count * ((at - bucket.lower) / (bucket.upper - bucket.lower))
    } else {
        let (low, high) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
        let log = at.abs().log2();
        bucket.count * if negative { 1.0 - (log - high) / (low - high) } else { (log - low) / (high - low) }
    };
    if keep_below {
        (below, middle(bucket.lower, at, negative, linear))
    } else {
        (bucket.count - below, middle(at, bucket.upper, negative, linear))
    }
}

fn split_endless(bucket: Bucket, at: f64, keep_below: bool) -> (f64, f64) {
    let finite = |value: f64| if value.is_infinite() { 0.0 } else { value };
    if bucket.lower == f64::NEG_INFINITY {
        let bounded = bucket.upper != f64::INFINITY;
        if keep_below {
            if at >= bucket.upper {
                return (bucket.count, 0.0);
            }
            if at > 0.0 && bucket.upper > 0.0 && bounded {
                return (bucket.count * at / bucket.upper, at / 2.0);
            }
            if bucket.upper <= 0.0 {
                return (bucket.count, at);
            }
        } else {
            if at <= bucket.lower {
                return (bucket.count, 0.0);
            }
            if at >= 0.0 && bucket.upper > at && bounded {
                return (bucket.count * (1.0 - at / bucket.upper), f64::midpoint(at, bucket.upper));
            }
        }
        return (0.0, finite(bucket.upper));
    }
    if !keep_below && at >= bucket.lower {
        return (bucket.count, at);
    }
    (0.0, finite(bucket.lower))
}

/// The zero bucket is on both sides of zero only when the histogram has observations on both.
fn split_zero(of: &Histogram, at: f64, keep_below: bool, filled: [bool; 2]) -> (f64, f64) {
    let [positive, negative] = filled;
    let lower = if positive && !negative { 0.0 } else { -of.zero_threshold };
    let upper = if negative && !positive { 0.0 } else { of.zero_threshold };
    let all = (of.zero_count, f64::midpoint(lower, upper));
    match (keep_below, at <= lower, at >= upper) {
        (true, true, _) | (false, false, true) => (0.0, 0.0),
        (true, false, true) | (false, true, _) => all,
        (true, false, false) => (of.zero_count * ((at - lower) / (upper - lower)), f64::midpoint(lower, at)),
        (false, false, false) => (of.zero_count * ((upper - at) / (upper - lower)), f64::midpoint(at, upper)),
    }
}

fn middle(lower: f64, upper: f64, negative: bool, linear: bool) -> f64 {
    if lower.is_infinite() {
        return match upper {
            upper if upper.is_infinite() => 0.0,
            upper if upper > 0.0 => upper / 2.0,
            upper => upper,
        };
    }
    if upper.is_infinite() {
        return lower;
    }
    if linear {
        return f64::midpoint(lower, upper);
    }
    let middle = (lower * upper).abs().sqrt();
    if negative { -middle } else { middle }
}
