//! Functions that compare neighbouring samples: `irate`, `idelta`, `resets`, `changes`.

use std::sync::Arc;

use metrics_api::{CounterReset, Histogram};

use crate::{
    ast::Extended,
    eval::{
        annotation::{Note, Operation},
        over_time::{Context, Out},
        range::Window,
    },
    histogram::{self, detect_reset, equal},
};

#[derive(Debug, Clone, Copy)]
enum Item<'s> {
    Float(f64),
    Histogram(&'s Arc<Histogram>),
}

/// Floats and histograms of a window in order of time.
fn items<'s>(window: &Window<'s>) -> impl Iterator<Item = (i64, Item<'s>)> {
    let (window, mut float, mut histogram) = (*window, 0, 0);
    std::iter::from_fn(move || {
        let (f, h) = (window.times.get(float), window.h_times.get(histogram));
        match (f, h) {
            (Some(f), h) if h.is_none_or(|h| f < h) => {
                float += 1;
                Some((*f, Item::Float(window.values[float - 1])))
            }
            (_, Some(h)) => {
                histogram += 1;
                Some((*h, Item::Histogram(&window.histograms[histogram - 1])))
            }
            _ => None,
        }
    })
}

/// The last two samples.
fn last_two<'s>(window: &Window<'s>) -> Option<[(i64, Item<'s>); 2]> {
    if window.h_times.is_empty() {
        let n = window.times.len().checked_sub(2)?;
        let at = |at: usize| (window.times[at], Item::Float(window.values[at]));
        return Some([at(n), at(n + 1)]);
    }
    let tail = Window {
        times: &window.times[window.times.len().saturating_sub(2)..],
        values: &window.values[window.values.len().saturating_sub(2)..],
        h_times: &window.h_times[window.h_times.len().saturating_sub(2)..],
        histograms: &window.histograms[window.histograms.len().saturating_sub(2)..],
        ..*window
    };
    let mut found = [None, None];
    for item in items(&tail) {
        found = [found[1], Some(item)];
    }
    Some([found[0]?, found[1]?])
}

/// `irate` and `idelta`: the change between the last two samples.
pub(crate) fn instant_change(window: &Window<'_>, rate: bool, context: &mut Context<'_>) -> Out {
    let Some([(before_ms, before), (last_ms, last)]) = last_two(window) else { return Out::None };
    let interval = (last_ms - before_ms) as f64 / 1000.0;
    if last_ms == before_ms {
        return Out::None;
    }
    match (before, last) {
        (Item::Float(before), Item::Float(last)) => {
            let change = if rate && last < before { last } else { last - before };
            Out::Float(if rate { change / interval } else { change })
        }
        (Item::Histogram(before), Item::Histogram(last)) => {
            let gauges = [before, last].map(|of| of.counter_reset == CounterReset::Gauge);
            if rate && gauges.contains(&true) {
                context.note(Note::NotCounter(context.name));
            }
            if !rate && gauges.contains(&false) {
                context.note(Note::NotGauge(context.name));
            }
            let mut change = if rate && detect_reset(last, before) {
                histogram::compact(Histogram::clone(last))
            } else {
                match histogram::combine(last, before, true) {
                    Ok((change, merged)) => {
                        if merged.reconciled {
                            context.note(Note::Reconciled(Operation::Subtraction));
                        }
                        change
                    }
                    Err(_) => {
                        context.note(Note::MixedExponentialCustom(context.name));
                        return Out::None;
                    }
                }
            };
            change.counter_reset = CounterReset::Gauge;
            if rate {
                histogram::divide(&mut change, interval);
            }
            Out::Histogram(Arc::new(change))
        }
        _ => {
            context.note(Note::MixedFloatsHistograms(context.name));
            Out::None
        }
    }
}

/// `resets` and `changes`: how often neighbours meet `differ`.
fn count_neighbours(
    window: &Window<'_>,
    extended: Option<Extended>,
    differ: impl Fn(Item<'_>, Item<'_>) -> bool,
) -> Out {
    let mut before: Option<(i64, Item<'_>)> = None;
    let (mut count, mut within) = (0u64, extended.is_none());
    for (time, item) in items(window) {
        if extended.is_some() && time <= window.start {
            // The last one at or before the edge stands for it.
            before = Some((time, item));
            continue;
        }
        within = true;
        if before.is_some_and(|(_, before)| differ(before, item)) {
            count += 1;
        }
        before = Some((time, item));
    }
    if within && before.is_some() { Out::Float(count as f64) } else { Out::None }
}

pub(crate) fn resets(window: &Window<'_>, extended: Option<Extended>) -> Out {
    count_neighbours(window, extended, |before, now| match (before, now) {
        (Item::Float(before), Item::Float(now)) => now < before,
        (Item::Histogram(before), Item::Histogram(now)) => detect_reset(now, before),
        _ => true,
    })
}

pub(crate) fn changes(window: &Window<'_>, extended: Option<Extended>) -> Out {
    count_neighbours(window, extended, |before, now| match (before, now) {
        (Item::Float(before), Item::Float(now)) => now != before && !(now.is_nan() && before.is_nan()),
        (Item::Histogram(before), Item::Histogram(now)) => !equal(now, before),
        _ => true,
    })
}
