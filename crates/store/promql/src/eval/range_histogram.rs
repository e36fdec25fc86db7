//! `rate`, `increase` and `delta` of histograms.

use std::sync::Arc;

use metrics_api::{CounterReset, Histogram};

use crate::{
    ast::Place,
    eval::{
        annotation::{Annotations, Note, Operation},
        over_time::Context,
        range::Window,
        rate::{Extrapolation, RateKind, Span, edges},
    },
    histogram::{self, Incompatible, Sparse, detect_reset},
};

/// Plain windows: the difference of the last and the first, plus what stood before resets,
/// extrapolated as that of floats.
pub(crate) fn rate(window: &Window<'_>, kind: RateKind, context: &mut Context<'_>) -> Option<Arc<Histogram>> {
    let all = window.histograms;
    let [first, _, ..] = all else { return None };
    let mut change = difference(all, kind, context)?;
    let span =
        Span { first_ms: window.h_times[0], last_ms: window.h_times[all.len() - 1], samples: all.len() };
    let extrapolation = Extrapolation::new(span, window.start, window.end, kind);
    let factor = if kind.counter {
        extrapolation.counter_factor(first.count, change.count)
    } else {
        extrapolation.factor()
    };
    histogram::scale(&mut change, factor);
    Some(Arc::new(change))
}

fn difference(all: &[Arc<Histogram>], kind: RateKind, context: &mut Context<'_>) -> Option<Histogram> {
    let (first, second, last) = (&*all[0], &*all[1], &*all[all.len() - 1]);
    let is_gauge = |of: &Histogram| of.counter_reset == CounterReset::Gauge;
    if kind.counter && (is_gauge(first) || is_gauge(last)) {
        context.note(Note::NotCounter(context.name));
    }
    // What stands before a reset is not looked at, so its layout does not matter.
    let empty;
    let mut before = first;
    if kind.counter && detect_reset(second, first) {
        empty = Histogram {
            schema: second.schema,
            custom_values: second.custom_values.clone(),
            ..Histogram::default()
        };
        before = &empty;
    }
    let custom = before.uses_custom_buckets();
    if last.uses_custom_buckets() != custom {
        context.note(Note::MixedExponentialCustom(context.name));
        return None;
    }
    let mut schema = last.schema.min(before.schema);
    if kind.counter {
        for current in &all[1..all.len() - 1] {
            if is_gauge(current) {
                context.note(Note::NotCounter(context.name));
            }
            schema = schema.min(current.schema);
            if current.uses_custom_buckets() != custom {
                context.note(Note::MixedExponentialCustom(context.name));
                return None;
            }
        }
    }
    let mut sum = Sparse::from(last);
    sum.reduce(schema);
    add(&mut sum, before, true, context)?;
    if kind.counter {
        for current in &all[1..] {
            if detect_reset(current, before) {
                add(&mut sum, before, false, context)?;
            }
            before = current;
        }
    } else if !is_gauge(first) || !is_gauge(last) {
        context.note(Note::NotGauge(context.name));
    }
    sum.hint = CounterReset::Gauge;
    Some(sum.build())
}

/// Adds or subtracts, and notes what does not fit.
fn add(sum: &mut Sparse, other: &Histogram, subtract: bool, context: &mut Context<'_>) -> Option<()> {
    let during = if subtract { Operation::Subtraction } else { Operation::Addition };
    match sum.add(other, subtract) {
        Ok(merged) => {
            if merged.reconciled {
                context.note(Note::Reconciled(during));
            }
            Some(())
        }
        Err(Incompatible) => {
            context.note(Note::MixedExponentialCustom(context.name));
            None
        }
    }
}

/// Between two histograms; a counter that began anew grew from zero.
pub(crate) fn interpolate(
    from: (i64, &Histogram),
    to: (i64, &Histogram),
    time: i64,
    counter: bool,
    annotations: &mut Annotations,
    place: Place,
) -> Result<Histogram, Incompatible> {
    if time == from.0 {
        return Ok(from.1.clone());
    }
    if time == to.0 {
        return Ok(to.1.clone());
    }
    let fraction = (time - from.0) as f64 / (to.0 - from.0) as f64;
    if counter && detect_reset(to.1, from.1) {
        let mut grown = to.1.clone();
        histogram::scale(&mut grown, fraction);
        return Ok(grown);
    }
    let (mut between, merged) = histogram::combine(to.1, from.1, true)?;
    if merged.reconciled {
        annotations.add(Note::Reconciled(Operation::Subtraction), place);
    }
    histogram::scale(&mut between, fraction);
    let (between, merged) = histogram::combine(&between, from.1, false)?;
    if merged.reconciled {
        annotations.add(Note::Reconciled(Operation::Addition), place);
    }
    Ok(between)
}

/// `anchored` and `smoothed`.
pub(crate) fn extended_rate(
    window: &Window<'_>,
    smoothed: bool,
    kind: RateKind,
    context: &mut Context<'_>,
) -> Option<Arc<Histogram>> {
    let (times, all) = (window.h_times, window.histograms);
    let (first, last) = edges(times, window, smoothed)?;
    let within = &all[first..=last];
    for current in within {
        if current.uses_custom_buckets() != within[0].uses_custom_buckets() {
            context.note(Note::MixedExponentialCustom(context.name));
            return None;
        }
        if kind.counter && current.counter_reset == CounterReset::Gauge {
            context.note(Note::NotCounter(context.name));
        }
    }
    let between = |from: usize, time: i64, context: &mut Context<'_>| {
        let (a, b) = ((times[from], &*all[from]), (times[from + 1], &*all[from + 1]));
        let found = interpolate(a, b, time, kind.counter, context.annotations, context.place);
        if found.is_err() {
            context.note(Note::MixedExponentialCustom(context.name));
        }
        found.ok()
    };
    let interpolated = smoothed && times[first] < window.start;
    let left =
        if interpolated { between(first, window.start, context)? } else { Histogram::clone(&all[first]) };
    let right = if smoothed && last > 0 && times[last] > window.end {
        between(last - 1, window.end, context)?
    } else {
        Histogram::clone(&all[last])
    };
    let gauge = |of: &Histogram| of.counter_reset == CounterReset::Gauge;
    if !kind.counter && (!gauge(&left) || !gauge(&right)) {
        context.note(Note::NotGauge(context.name));
    }
    let mut sum = Sparse::from(&right);
    add(&mut sum, &left, true, context)?;
    if kind.counter {
        let mut from = first + 1;
        let mut before = &left;
        if interpolated && detect_reset(&all[first + 1], &all[first]) {
            // The left edge lies after this reset already.
            before = &all[first + 1];
            from += 1;
        }
        if from <= last {
            for current in &all[from..last] {
                if detect_reset(current, before) {
                    add(&mut sum, before, false, context)?;
                }
                before = current;
            }
            if detect_reset(&right, before) {
                add(&mut sum, before, false, context)?;
            }
        }
    }
    sum.hint = CounterReset::Gauge;
    let mut change = sum.build();
    if kind.per_second {
        histogram::divide(&mut change, (window.end - window.start) as f64 / 1000.0);
    }
    Some(Arc::new(change))
}
