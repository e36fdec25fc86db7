//! `rate`, `increase` and `delta` of floats.
//!
//! The increase within a window is the last value less the first, plus what stood before each reset.
//! It is extrapolated to the edges of the window where a sample is near enough to them
//! (`promql/functions.go`, `extrapolatedRate`). `anchored` and `smoothed` take the values at the
//! edges instead, of the sample before or interpolated.

use metrics_api::Samples;

use crate::eval::{
    range::{Window, Windows},
    row::Row,
};

/// `rate`, `increase` or `delta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateKind {
    /// Values fall only when the counter begins anew.
    pub counter: bool,
    pub per_second: bool,
}

/// An edge counts as near when it is closer than so many average distances of samples.
const NEAR_EDGE: f64 = 1.1;

/// Where a window's samples begin and end, for extrapolation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub first_ms: i64,
    pub last_ms: i64,
    pub samples: usize,
}

/// By how much an increase between the first and last sample grows to that of the whole window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extrapolation {
    to_start: f64,
    to_end: f64,
    sampled: f64,
    seconds: f64,
    per_second: bool,
    /// Without a look at where the counter was zero.
    factor: f64,
}

impl Extrapolation {
    pub fn new(span: Span, start: i64, end: i64, kind: RateKind) -> Self {
        let mut to_start = (span.first_ms - start) as f64 / 1000.0;
        let mut to_end = (end - span.last_ms) as f64 / 1000.0;
        let sampled = (span.last_ms - span.first_ms) as f64 / 1000.0;
        let average = sampled / (span.samples - 1) as f64;
        let threshold = average * NEAR_EDGE;
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if to_end >= threshold {
            to_end = average / 2.0;
        }
        let seconds = (end - start) as f64 / 1000.0;
        let mut found = Self { to_start, to_end, sampled, seconds, per_second: kind.per_second, factor: 0.0 };
        found.factor = found.factor_from(to_start);
        found
    }

    fn factor_from(&self, to_start: f64) -> f64 {
        let factor = (self.sampled + to_start + self.to_end) / self.sampled;
        if self.per_second { factor / self.seconds } else { factor }
    }

    /// The factor for a gauge.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// The factor for a counter that stood at `first` before it grew by `increase`: it is not
    /// extrapolated to before it was zero.
    #[inline]
    pub fn counter_factor(&self, first: f64, increase: f64) -> f64 {
        if increase > 0.0 && first >= 0.0 {
            // Most counters were zero long ago, which shows without a division.
            if self.sampled * first > self.to_start * increase * 1.001 {
                return self.factor;
            }
            let until_zero = self.sampled * (first / increase);
            if until_zero < self.to_start {
                return self.factor_from(until_zero);
            }
        }
        self.factor
    }
}

/// Rows of plain windows over floats: two indexes move forward, resets are found once.
pub(crate) fn rate_row(
    samples: &Samples,
    windows: &Windows,
    kind: RateKind,
    resets: &mut Vec<usize>,
    row: &mut Row,
) {
    let (times, values) = (samples.float_times.as_slice(), samples.floats.as_slice());
    resets.clear();
    if kind.counter {
        resets.extend((1..values.len()).filter(|at| values[*at] < values[at - 1]));
    }
    let nothing = Span { first_ms: 0, last_ms: 1, samples: 2 };
    let mut alike = ((0, 0, 0, 0), Extrapolation::new(nothing, 0, 1, kind));
    let mut next_reset = 0;
    let (mut from, mut to) = (0, 0);
    for step in 0..windows.steps.count {
        let end = windows.end(step);
        let start = end - windows.range_ms;
        while to < times.len() && times[to] <= end {
            to += 1;
        }
        while from < to && times[from] <= start {
            from += 1;
        }
        if to - from < 2 {
            continue;
        }
        let mut increase = values[to - 1] - values[from];
        while next_reset < resets.len() && resets[next_reset] <= from {
            next_reset += 1;
        }
        for at in resets[next_reset..].iter().take_while(|at| **at < to) {
            increase += values[at - 1];
        }
        // With samples and steps at even distances windows are alike, but for their values.
        let shape = (times[from] - start, end - times[to - 1], times[to - 1] - times[from], to - from);
        if shape != alike.0 {
            let span = Span { first_ms: times[from], last_ms: times[to - 1], samples: to - from };
            alike = (shape, Extrapolation::new(span, start, end, kind));
        }
        let factor =
            if kind.counter { alike.1.counter_factor(values[from], increase) } else { alike.1.factor() };
        row.floats[step] = increase * factor;
    }
}

/// Between two samples; a counter that began anew grew from zero.
pub(crate) fn interpolate(from: (i64, f64), to: (i64, f64), time: i64, counter: bool) -> f64 {
    let start = if counter && to.1 < from.1 { 0.0 } else { from.1 };
    start + (to.1 - start) * (time - from.0) as f64 / (to.0 - from.0) as f64
}

/// Indexes of the samples that stand for the edges of a window: the last at or before its start, and
/// the first at or after its end, or the last that there is. None when there is none within.
pub(crate) fn edges(times: &[i64], window: &Window<'_>, smoothed: bool) -> Option<(usize, usize)> {
    let mut last = times.len().checked_sub(1)?;
    let first = times[..last].partition_point(|time| *time <= window.start).saturating_sub(1);
    if smoothed {
        last = times[..last].partition_point(|time| *time < window.end);
    }
    if times[last] <= window.start || (smoothed && times[first] > window.end) {
        return None;
    }
    Some((first, last))
}

fn left_edge(window: &Window<'_>, first: usize, smoothed: bool, counter: bool) -> f64 {
    let (times, values) = (window.times, window.values);
    if smoothed && times[first] < window.start {
        let (from, to) = ((times[first], values[first]), (times[first + 1], values[first + 1]));
        return interpolate(from, to, window.start, counter);
    }
    values[first]
}

fn right_edge(window: &Window<'_>, last: usize, smoothed: bool, counter: bool) -> f64 {
    let (times, values) = (window.times, window.values);
    if smoothed && last > 0 && times[last] > window.end {
        let (from, to) = ((times[last - 1], values[last - 1]), (times[last], values[last]));
        return interpolate(from, to, window.end, counter);
    }
    values[last]
}

/// `anchored` and `smoothed`.
pub(crate) fn extended_rate(window: &Window<'_>, smoothed: bool, kind: RateKind) -> Option<f64> {
    let (times, values) = (window.times, window.values);
    let (mut first, last) = edges(times, window, smoothed)?;
    let left = left_edge(window, first, smoothed, kind.counter);
    let right = right_edge(window, last, smoothed, kind.counter);
    let mut increase = right - left;
    if kind.counter {
        if times[first] <= window.start {
            first += 1;
        }
        let until = if times[last] >= window.end { last } else { last + 1 };
        let mut before = left;
        for value in values.get(first..until).unwrap_or_default() {
            if *value < before {
                increase += before;
            }
            before = *value;
        }
        if right < before {
            increase += before;
        }
    }
    Some(if kind.per_second { increase / ((window.end - window.start) as f64 / 1000.0) } else { increase })
}

/// The samples of a window with its edges put in.
pub(crate) fn extend_floats(window: &Window<'_>, smoothed: bool, out: &mut Samples) {
    let Some((first, last)) = edges(window.times, window, smoothed) else { return };
    out.push_float(window.start, left_edge(window, first, smoothed, false));
    // The edges stand in the place of samples that lie on or beyond them.
    let from = if window.times[first] <= window.start { first + 1 } else { first };
    let until = if window.times[last] >= window.end { last } else { last + 1 };
    for at in from..until.max(from) {
        out.push_float(window.times[at], window.values[at]);
    }
    out.push_float(window.end, right_edge(window, last, smoothed, false));
}
