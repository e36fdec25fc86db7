//! Quantiles and fractions of classic histograms: cumulative counts by upper boundary.

/// Differences between neighbouring counts that are taken for rounding.
const SMALL_DELTA_TOLERANCE: f64 = 1e-12;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ClassicBucket {
    pub upper: f64,
    pub count: f64,
}

/// A bucket's count fell below that of a lower one, and was raised.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Forced {
    pub any: bool,
    pub lowest: f64,
    pub highest: f64,
    pub largest_difference: f64,
}

/// Sorts the buckets and joins those of the same boundary.
fn sort(buckets: &mut Vec<ClassicBucket>) {
    if !buckets.is_sorted_by(|a, b| a.upper < b.upper) {
        buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
        buckets.dedup_by(|later, kept| {
            let same = later.upper == kept.upper;
            if same {
                kept.count += later.count;
            }
            same
        });
    }
}

/// The quantile by linear interpolation within the bucket that holds it.
pub(crate) fn quantile(q: f64, buckets: &mut Vec<ClassicBucket>) -> (f64, Forced) {
    let none = Forced::default();
    if q.is_nan() {
        return (f64::NAN, none);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, none);
    }
    if q > 1.0 {
        return (f64::INFINITY, none);
    }
    sort(buckets);
    if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
        return (f64::NAN, none);
    }
    let forced = make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, forced_if(false, forced));
    }
    let mut rank = q * observations;
    let at = buckets[..last].partition_point(|bucket| bucket.count < rank || bucket.count.is_nan());
    if at == last {
        return (buckets[last - 1].upper, forced);
    }
    if at == 0 && buckets[0].upper <= 0.0 {
        return (buckets[0].upper, forced);
    }
    let (mut start, end, mut count) = (0.0, buckets[at].upper, buckets[at].count);
    if at > 0 {
        start = buckets[at - 1].upper;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (start + (end - start) * (rank / count), forced)
}

fn forced_if(keep: bool, forced: Forced) -> Forced {
    if keep { forced } else { Forced::default() }
}

/// Takes rounding out of the counts, and raises what falls.
fn make_monotonic(buckets: &mut [ClassicBucket]) -> Forced {
    let mut forced = Forced::default();
    let mut before = buckets[0].count;
    for bucket in &mut buckets[1..] {
        let count = bucket.count;
        if count == before {
            continue;
        }
        if almost_equal(before, count, SMALL_DELTA_TOLERANCE) {
            bucket.count = before;
        } else if count < before {
            if !forced.any {
                forced = Forced { any: true, lowest: bucket.upper, ..forced };
            }
            forced.highest = bucket.upper;
            forced.largest_difference = forced.largest_difference.max(before - count);
            bucket.count = before;
        } else {
            before = count;
        }
    }
    forced
}

/// Relative comparison, absolute near zero, as upstream's tests and bucket repair use it.
pub(crate) fn almost_equal(a: f64, b: f64, epsilon: f64) -> bool {
    if metrics_api::is_stale(a) || metrics_api::is_stale(b) {
        return metrics_api::is_stale(a) && metrics_api::is_stale(b);
    }
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < epsilon * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < epsilon
}

/// The share of observations between two values.
pub(crate) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<ClassicBucket>) -> f64 {
    sort(buckets);
    let Some(last) = buckets.last().filter(|last| last.upper == f64::INFINITY) else { return f64::NAN };
    let count = last.count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank_of = |value: f64| rank_below(buckets, value).unwrap_or(count).min(count);
    (rank_of(upper) - rank_of(lower)) / count
}

fn rank_below(buckets: &[ClassicBucket], value: f64) -> Option<f64> {
    let (mut start, mut rank) = (f64::NEG_INFINITY, 0.0);
    for (at, bucket) in buckets.iter().enumerate() {
        if at == 0 && bucket.upper > 0.0 {
            start = 0.0;
        }
        if start >= value {
            return Some(rank);
        }
        if bucket.upper > value {
            if bucket.upper == f64::INFINITY {
                return Some(rank);
            }
            if start == f64::NEG_INFINITY {
                return Some(bucket.count);
            }
            return Some(rank + (bucket.count - rank) * (value - start) / (bucket.upper - start));
        }
        (start, rank) = (bucket.upper, bucket.count);
    }
    None
}
