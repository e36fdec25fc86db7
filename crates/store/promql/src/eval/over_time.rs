//! Functions over a window of samples.

use std::sync::Arc;

use metrics_api::{CounterReset, Histogram, Labels};

use crate::{
    ast::{Extended, Place},
    eval::{
        annotation::{Annotations, Note, Operation},
        pairs,
        range::Window,
        range_histogram,
        rate::{Extrapolation, RateKind, Span, extended_rate},
    },
    histogram::{Sparse, Sum},
};

/// What a function gives for one window.
#[derive(Debug, Clone)]
pub(crate) enum Out {
    None,
    Float(f64),
    Histogram(Arc<Histogram>),
}

/// What a function needs beside its window.
pub(crate) struct Context<'a> {
    pub annotations: &'a mut Annotations,
    /// Of the range vector.
    pub place: Place,
    /// Of the metric.
    pub name: &'a str,
    /// Scalars at this step.
    pub scalars: [f64; 2],
    pub extended: Option<Extended>,
    pub scratch: &'a mut Vec<f64>,
}

impl Context<'_> {
    pub fn note(&mut self, note: Note<'_>) {
        self.annotations.add(note, self.place);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangeFunction {
    Rate(RateKind),
    InstantChange { rate: bool },
    Avg,
    Sum,
    Min,
    Max,
    Count,
    First,
    Last,
    Present,
    Mad,
    Quantile,
    Stddev,
    Stdvar,
    TimeOfFirst,
    TimeOfLast,
    TimeOfMax,
    TimeOfMin,
    Resets,
    Changes,
    Deriv,
    PredictLinear,
    DoubleExponentialSmoothing,
}

impl RangeFunction {
    pub fn named(name: &str) -> Option<Self> {
        let rate = |counter, per_second| Self::Rate(RateKind { counter, per_second });
        Some(match name {
            "rate" => rate(true, true),
            "increase" => rate(true, false),
            "delta" => rate(false, false),
            "irate" => Self::InstantChange { rate: true },
            "idelta" => Self::InstantChange { rate: false },
            "avg_over_time" => Self::Avg,
            "sum_over_time" => Self::Sum,
            "min_over_time" => Self::Min,
            "max_over_time" => Self::Max,
            "count_over_time" => Self::Count,
            "first_over_time" => Self::First,
            "last_over_time" => Self::Last,
            "present_over_time" => Self::Present,
            "mad_over_time" => Self::Mad,
            "quantile_over_time" => Self::Quantile,
            "stddev_over_time" => Self::Stddev,
            "stdvar_over_time" => Self::Stdvar,
            "ts_of_first_over_time" => Self::TimeOfFirst,
            "ts_of_last_over_time" => Self::TimeOfLast,
            "ts_of_max_over_time" => Self::TimeOfMax,
            "ts_of_min_over_time" => Self::TimeOfMin,
            "resets" => Self::Resets,
            "changes" => Self::Changes,
            "deriv" => Self::Deriv,
            "predict_linear" => Self::PredictLinear,
            "double_exponential_smoothing" => Self::DoubleExponentialSmoothing,
            _ => return None,
        })
    }

    /// The series keeps its name.
    pub fn keeps_name(self) -> bool {
        matches!(self, Self::First | Self::Last)
    }

    /// `anchored` or `smoothed` may stand with it.
    pub fn takes(self, extended: Extended) -> bool {
        match self {
            Self::Rate(_) => true,
            Self::Resets | Self::Changes => extended == Extended::Anchored,
            _ => false,
        }
    }

    pub fn apply(self, window: &Window<'_>, context: &mut Context<'_>) -> Out {
        match self {
            Self::Rate(kind) => rate(window, kind, context),
            Self::InstantChange { rate } => pairs::instant_change(window, rate, context),
            Self::Resets => pairs::resets(window, context.extended),
            Self::Changes => pairs::changes(window, context.extended),
            Self::Count => Out::Float((window.values.len() + window.histograms.len()) as f64),
            Self::Present => Out::Float(1.0),
            Self::First | Self::Last | Self::TimeOfFirst | Self::TimeOfLast => self.edge(window),
            Self::Sum | Self::Avg => self.total(window, context),
            _ => self.of_floats(window, context),
        }
    }

    /// The first or last sample, or its time.
    fn edge(self, window: &Window<'_>) -> Out {
        let first = matches!(self, Self::First | Self::TimeOfFirst);
        let (at, h_at) = if first {
            (0, 0)
        } else {
            (window.times.len().wrapping_sub(1), window.h_times.len().wrapping_sub(1))
        };
        let (float, histogram) = (window.times.get(at).copied(), window.h_times.get(h_at).copied());
        let is_float = match (float, histogram) {
            (Some(float), Some(histogram)) => {
                if first {
                    float < histogram
                } else {
                    histogram < float
                }
            }
            (float, _) => float.is_some(),
        };
        if matches!(self, Self::TimeOfFirst | Self::TimeOfLast) {
            let time = if is_float { float } else { histogram };
            return time.map_or(Out::None, |time| Out::Float(time as f64 / 1000.0));
        }
        if is_float {
            Out::Float(window.values[at])
        } else {
            Out::Histogram(Arc::clone(&window.histograms[h_at]))
        }
    }

    /// `sum_over_time` and `avg_over_time`: floats or histograms, not both.
    fn total(self, window: &Window<'_>, context: &mut Context<'_>) -> Out {
        let average = self == Self::Avg;
        if window.histograms.is_empty() {
            return Out::Float(if average { mean(window.values) } else { sum(window.values) });
        }
        if !window.values.is_empty() {
            context.note(Note::MixedFloatsHistograms(context.name));
            return Out::None;
        }
        let mut total = HistogramTotal::new(&window.histograms[0], average);
        for histogram in &window.histograms[1..] {
            if total.add(histogram).is_err() {
                context.note(Note::MixedExponentialCustom(context.name));
                return Out::None;
            }
        }
        total.notes(|note| context.note(note));
        Out::Histogram(Arc::new(total.build()))
    }

    /// Functions that histograms mean nothing to.
    fn of_floats(self, window: &Window<'_>, context: &mut Context<'_>) -> Out {
        let needed = match self {
            Self::Deriv | Self::PredictLinear | Self::DoubleExponentialSmoothing => 2,
            _ => 1,
        };
        if !window.values.is_empty() {
            if self == Self::Quantile && !(0.0..=1.0).contains(&context.scalars[0]) {
                context.note(Note::InvalidQuantile(context.scalars[0]));
            }
            if !window.histograms.is_empty() {
                context.note(Note::IgnoredInMixedRange(context.name));
            }
        }
        if window.values.len() < needed {
            return Out::None;
        }
        let values = window.values;
        Out::Float(match self {
            Self::Max => extreme(values, |value, best| value > best).1,
            Self::Min => extreme(values, |value, best| value < best).1,
            Self::TimeOfMax => seconds(window, extreme(values, |value, best| value >= best).0),
            Self::TimeOfMin => seconds(window, extreme(values, |value, best| value <= best).0),
            Self::Stddev => variance(values).sqrt(),
            Self::Stdvar => variance(values),
            Self::Quantile => {
                context.scratch.clear();
                context.scratch.extend_from_slice(values);
                quantile(context.scalars[0], context.scratch)
            }
            Self::Mad if values.iter().any(|value| value.is_nan()) => f64::NAN,
            Self::Mad => {
                context.scratch.clear();
                context.scratch.extend_from_slice(values);
                let median = quantile(0.5, context.scratch);
                for value in context.scratch.iter_mut() {
                    *value = (*value - median).abs();
                }
                quantile(0.5, context.scratch)
            }
            Self::Deriv => regression(window, window.times[0]).0,
            Self::PredictLinear => {
                let (slope, intercept) = regression(window, window.time);
                slope * context.scalars[0] + intercept
            }
            Self::DoubleExponentialSmoothing => smoothed(values, context.scalars[0], context.scalars[1]),
            _ => return Out::None,
        })
    }
}

fn rate(window: &Window<'_>, kind: RateKind, context: &mut Context<'_>) -> Out {
    if !window.values.is_empty() && !window.histograms.is_empty() {
        context.note(Note::MixedFloatsHistograms(context.name));
        return Out::None;
    }
    if let Some(extended) = context.extended {
        let smoothed = extended == Extended::Smoothed;
        if window.histograms.is_empty() {
            return extended_rate(window, smoothed, kind).map_or(Out::None, Out::Float);
        }
        let change = range_histogram::extended_rate(window, smoothed, kind, context);
        return change.map_or(Out::None, Out::Histogram);
    }
    if window.histograms.len() > 1 {
        return range_histogram::rate(window, kind, context).map_or(Out::None, Out::Histogram);
    }
    let [first, .., last] = window.values else { return Out::None };
    let mut increase = last - first;
    if kind.counter {
        increase +=
            window.values.windows(2).filter(|pair| pair[1] < pair[0]).map(|pair| pair[0]).sum::<f64>();
    }
    let times = window.times;
    let span = Span { first_ms: times[0], last_ms: times[times.len() - 1], samples: times.len() };
    let extrapolation = Extrapolation::new(span, window.start, window.end, kind);
    let factor =
        if kind.counter { extrapolation.counter_factor(*first, increase) } else { extrapolation.factor() };
    Out::Float(increase * factor)
}

fn seconds(window: &Window<'_>, at: usize) -> f64 {
    window.times[at] as f64 / 1000.0
}

/// The value that beats all others, and where; a NaN only when there is nothing else.
fn extreme(values: &[f64], beats: impl Fn(f64, f64) -> bool) -> (usize, f64) {
    let (mut at, mut best) = (0, values[0]);
    for (index, value) in values.iter().enumerate() {
        if beats(*value, best) || best.is_nan() {
            (at, best) = (index, *value);
        }
    }
    (at, best)
}

pub(crate) fn sum(values: &[f64]) -> f64 {
    let mut sum = Sum::default();
    for value in values {
        sum.add(*value);
    }
    sum.total()
}

/// The sum divided, as long as it does not overflow; then the mean is carried along instead.
pub(crate) fn mean(values: &[f64]) -> f64 {
    let mut plain = Sum::new(values[0]);
    for value in &values[1..] {
        plain.add(*value);
    }
    if plain.value.is_finite() {
        let count = values.len() as f64;
        return plain.value / count + plain.lost / count;
    }
    let mut mean = Mean::new(values[0]);
    for value in &values[1..] {
        mean.add(*value);
    }
    mean.value()
}

/// A mean that is added to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mean {
    sum: Sum,
    count: f64,
    incremental: bool,
}

impl Mean {
    pub fn new(first: f64) -> Self {
        Self { sum: Sum::new(first), count: 1.0, incremental: false }
    }

    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let mut sum = self.sum;
            sum.add(value);
            if !sum.value.is_infinite() {
                self.sum = sum;
                return;
            }
            self.incremental = true;
            self.sum.value /= self.count - 1.0;
            self.sum.lost /= self.count - 1.0;
        }
        let share = (self.count - 1.0) / self.count;
        self.sum.value *= share;
        self.sum.lost *= share;
        self.sum.add(value / self.count);
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0.0
    }

    pub fn value(&self) -> f64 {
        if self.incremental {
            self.sum.value + self.sum.lost
        } else {
            self.sum.value / self.count + self.sum.lost / self.count
        }
    }
}

/// Welford's variance, compensated.
fn variance(values: &[f64]) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, Sum::default(), Sum::default());
    for value in values {
        count += 1.0;
        let delta = value - (mean.value + mean.lost);
        mean.add(delta / count);
        squares.add(delta * (value - (mean.value + mean.lost)));
    }
    (squares.value + squares.lost) / count
}

/// The quantile of values, which it sorts; NaN stands first.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (false, false) => a.total_cmp(b),
        (a, b) => b.cmp(&a),
    });
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min((values.len() - 1) as f64);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

/// Slope and value at `at_ms` of the line of least squares.
fn regression(window: &Window<'_>, at_ms: i64) -> (f64, f64) {
    let first = window.values[0];
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) =
        (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    let mut constant = true;
    for (time, y) in window.times.iter().zip(window.values) {
        constant &= *y == first;
        let x = (time - at_ms) as f64 / 1000.0;
        x_sum.add(x);
        y_sum.add(*y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    if constant {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let n = window.values.len() as f64;
    let all = |sum: Sum| sum.value + sum.lost;
    let (x, y) = (all(x_sum), all(y_sum));
    let slope = (all(xy_sum) - x * y / n) / (all(xx_sum) - x * x / n);
    (slope, y / n - slope * x / n)
}

/// Holt's linear method.
fn smoothed(values: &[f64], smoothing: f64, trend_factor: f64) -> f64 {
    let (mut before, mut level) = (0.0, values[0]);
    let mut trend = values[1] - values[0];
    for (at, value) in values[1..].iter().enumerate() {
        if at > 0 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + trend);
        (before, level) = (level, next);
    }
    level
}

/// Histograms added up, for a sum or a mean.
#[derive(Debug, Clone)]
pub(crate) struct HistogramTotal {
    sum: Sparse,
    count: f64,
    average: bool,
    incremental: bool,
    hints: [bool; 2],
    reconciled: bool,
}

impl HistogramTotal {
    pub fn new(first: &Histogram, average: bool) -> Self {
        let mut total = Self {
            sum: Sparse::from(first),
            count: 1.0,
            average,
            incremental: false,
            hints: [false; 2],
            reconciled: false,
        };
        total.see(first);
        total
    }

    fn see(&mut self, histogram: &Histogram) {
        match histogram.counter_reset {
            CounterReset::Reset => self.hints[0] = true,
            CounterReset::NotReset => self.hints[1] = true,
            CounterReset::Unknown | CounterReset::Gauge => {}
        }
    }

    pub fn add(&mut self, histogram: &Histogram) -> Result<(), crate::histogram::Incompatible> {
        self.see(histogram);
        self.count += 1.0;
        if !self.average {
            self.reconciled |= self.sum.add(histogram, false)?.reconciled;
            return Ok(());
        }
        if !self.incremental {
            let mut sum = self.sum.clone();
            self.reconciled |= sum.add(histogram, false)?.reconciled;
            if !sum.overflows() {
                self.sum = sum;
                return Ok(());
            }
            self.incremental = true;
            self.sum.divide(self.count - 1.0);
        }
        self.sum.scale((self.count - 1.0) / self.count);
        let mut share = histogram.clone();
        crate::histogram::divide(&mut share, self.count);
        self.reconciled |= self.sum.add(&share, false)?.reconciled;
        Ok(())
    }

    pub fn notes(&self, mut note: impl FnMut(Note<'static>)) {
        if self.hints == [true; 2] {
            note(Note::Collision(Operation::Aggregation));
        }
        if self.reconciled {
            note(Note::Reconciled(Operation::Aggregation));
        }
    }

    pub fn build(mut self) -> Histogram {
        if self.average && !self.incremental {
            self.sum.divide(self.count);
        }
        self.sum.build()
    }
}

/// The name of the metric, with a hint whether it looks like a counter's.
pub(crate) fn looks_like_counter(labels: &Labels) -> bool {
    let name = labels.metric_name();
    name.is_empty() || ["_total", "_sum", "_count", "_bucket"].iter().any(|end| name.ends_with(end))
}
