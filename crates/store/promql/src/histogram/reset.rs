//! Whether a counter began anew between two histograms.

use metrics_api::{CounterReset, Histogram, NHCB_SCHEMA};

use super::{Side, bound, reduce_side, remap, shared_bounds, sparse_side, zero_for};

/// Whether `current` is of a counter that was reset after `previous`: it says so, or any of its
/// counts fell, or it became finer, which only a new counter can.
pub(crate) fn detect_reset(current: &Histogram, previous: &Histogram) -> bool {
    match current.counter_reset {
        CounterReset::Reset => return true,
        CounterReset::NotReset => return false,
        CounterReset::Unknown | CounterReset::Gauge => {}
    }
    if current.count < previous.count {
        return true;
    }
    let mut before = sparse_side(&previous.positive_spans, &previous.positive_buckets);
    let mut now = sparse_side(&current.positive_spans, &current.positive_buckets);
    if current.schema == NHCB_SCHEMA {
        if previous.schema != NHCB_SCHEMA {
            return true;
        }
        if current.custom_values != previous.custom_values {
            let shared = shared_bounds(&current.custom_values, &previous.custom_values);
            remap(&mut before, &previous.custom_values, &shared, |into, from| *into += from);
            remap(&mut now, &current.custom_values, &shared, |into, from| *into += from);
        }
        return fell(&now, &before);
    }
    if current.schema > previous.schema || current.zero_threshold < previous.zero_threshold {
        return true;
    }
    let mut before_negative = sparse_side(&previous.negative_spans, &previous.negative_buckets);
    let zero = if current.zero_threshold == previous.zero_threshold {
        previous.zero_count
    } else {
        let (zero, threshold) =
            zero_for(previous.schema, previous.zero_count, &before, &before_negative, current.zero_threshold);
        if threshold != current.zero_threshold {
            return true;
        }
        zero
    };
    if current.zero_count < zero {
        return true;
    }
    let now_negative = sparse_side(&current.negative_spans, &current.negative_buckets);
    for side in [&mut before, &mut before_negative] {
        reduce_side(side, previous.schema, current.schema, |into, from| *into += from);
    }
    let outside = |side: &Side<f64>| {
        side.iter().take_while(|bucket| bound(bucket.0, current.schema) <= current.zero_threshold).count()
    };
    fell(&now[outside(&now)..], &before[outside(&before)..])
        || fell(&now_negative[outside(&now_negative)..], &before_negative[outside(&before_negative)..])
}

fn fell(now: &[(i32, f64)], before: &[(i32, f64)]) -> bool {
    let mut now = now.iter().peekable();
    before.iter().any(|&(index, count)| {
        while now.next_if(|bucket| bucket.0 < index).is_some() {}
        match now.peek() {
            Some(bucket) if bucket.0 == index => bucket.1 < count,
            _ => count != 0.0,
        }
    })
}
