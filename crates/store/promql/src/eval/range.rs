//! Windows over the samples of a series, whether of a selector or of a subquery.

use std::sync::Arc;

use metrics_api::{CounterReset, Histogram, Labels, Samples, TimeRange};

use crate::{
    ast::{Expr, Extended, MatrixSelector, Subquery},
    eval::{
        Error, Points, Result,
        labels::finish_names,
        node::Evaluator,
        row::{Cell, Row, Steps, is_absent},
        selector::{drop_stale, mark_resets},
    },
};

/// The windows of a range vector, one for each step: open on the left, closed on the right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    pub steps: Steps,
    pub at: Option<i64>,
    pub offset_ms: i64,
    pub range_ms: i64,
    /// How much more of the past is handed over, for what is at the left edge.
    pub before_ms: i64,
    /// How much more of the future.
    pub after_ms: i64,
    pub extended: Option<Extended>,
}

impl Windows {
    #[inline]
    pub fn end(&self, step: usize) -> i64 {
        self.at.unwrap_or_else(|| self.steps.time(step)) - self.offset_ms
    }

    /// All that the windows reach.
    pub fn time_range(&self) -> TimeRange {
        let first = self.end(0) - self.range_ms - self.before_ms + 1;
        TimeRange::new(first, self.end(self.steps.count - 1) + self.after_ms)
    }

    /// Calls `each` with every step that has samples.
    pub fn walk<'s>(&self, samples: &'s Samples, mut each: impl FnMut(usize, Window<'s>)) {
        let (times, h_times) = (samples.float_times.as_slice(), samples.histogram_times.as_slice());
        let (mut from, mut to, mut h_from, mut h_to) = (0, 0, 0, 0);
        for step in 0..self.steps.count {
            let end = self.end(step);
            let start = end - self.range_ms;
            let (first, last) = (start - self.before_ms, end + self.after_ms);
            forward(times, &mut from, &mut to, first, last);
            forward(h_times, &mut h_from, &mut h_to, first, last);
            if from == to && h_from == h_to {
                continue;
            }
            let window = Window {
                times: &times[from..to],
                values: &samples.floats[from..to],
                h_times: &h_times[h_from..h_to],
                histograms: &samples.histograms[h_from..h_to],
                from,
                start,
                end,
                time: self.steps.time(step),
            };
            each(step, window);
        }
    }
}

#[inline]
fn forward(times: &[i64], from: &mut usize, to: &mut usize, first: i64, last: i64) {
    while *to < times.len() && times[*to] <= last {
        *to += 1;
    }
    while *from < *to && times[*from] <= first {
        *from += 1;
    }
}

/// The samples of one series within one window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'s> {
    pub times: &'s [i64],
    pub values: &'s [f64],
    pub h_times: &'s [i64],
    pub histograms: &'s [Arc<Histogram>],
    /// Index of the first float within the series.
    pub from: usize,
    /// Not within the window.
    pub start: i64,
    pub end: i64,
    /// The time of evaluation.
    pub time: i64,
}

/// Takes a series with its windows: labels, whether its name goes, samples without markers.
type RangeSink<'s> = dyn FnMut(&Labels, bool, &Samples, &Windows) -> Result<()> + 's;

impl Evaluator {
    /// Hands on the series of a range vector.
    pub fn stream_ranges(&self, expr: &Expr, steps: &Steps, sink: &mut RangeSink<'_>) -> Result<()> {
        match expr.unwrapped() {
            Expr::Matrix(matrix) => self.matrix_ranges(matrix, steps, sink),
            Expr::Subquery(subquery) => self.subquery_ranges(subquery, steps, sink),
            _ => Err(Error::execution("an instant vector stands where a range vector has to")),
        }
    }

    /// The windows of a selector.
    pub fn matrix_windows(&self, matrix: &MatrixSelector, steps: &Steps) -> Result<Windows> {
        let selector = &matrix.selector;
        let lookback = self.frame.lookback_ms;
        Ok(Windows {
            steps: *steps,
            at: self.frame.at(selector.at),
            offset_ms: self.frame.offset_ms(selector.offset.as_ref(), &self.text)?,
            range_ms: self.frame.duration_ms(&matrix.range, &self.text)?,
            before_ms: if selector.extended.is_some() { lookback } else { 0 },
            after_ms: if selector.extended == Some(Extended::Smoothed) { lookback } else { 0 },
            extended: selector.extended,
        })
    }

    fn matrix_ranges(&self, matrix: &MatrixSelector, steps: &Steps, sink: &mut RangeSink<'_>) -> Result<()> {
        let selector = &matrix.selector;
        let windows = self.matrix_windows(matrix, steps)?;
        let range = windows.time_range();
        let mut samples = Samples::default();
        let statistics = self.statistics.contains(&selector.place);
        self.each_series(selector, &mut |reader| {
            samples.clear();
            reader.read(range, &mut samples)?;
            if statistics {
                mark_resets(&mut samples);
            }
            drop_stale(&mut samples);
            if samples.is_empty() { Ok(()) } else { sink(reader.labels(), false, &samples, &windows) }
        })
    }

    fn subquery_ranges(&self, subquery: &Subquery, steps: &Steps, sink: &mut RangeSink<'_>) -> Result<()> {
        let (windows, inner) = self.subquery_steps(subquery, steps)?;
        if inner.count == 0 {
            return Ok(());
        }
        let mut samples = Samples::default();
        self.stream(&subquery.expr, &inner, &mut |labels, drop_name, row| {
            samples.clear();
            row_to_samples(row, &inner, &mut samples);
            self.budget.samples(samples.len() as u64)?;
            sink(labels, drop_name, &samples, &windows)
        })
    }

    fn subquery_steps(&self, subquery: &Subquery, steps: &Steps) -> Result<(Windows, Steps)> {
        let windows = Windows {
            steps: *steps,
            at: self.frame.at(subquery.at),
            offset_ms: self.frame.offset_ms(subquery.offset.as_ref(), &self.text)?,
            range_ms: self.frame.duration_ms(&subquery.range, &self.text)?,
            before_ms: 0,
            after_ms: 0,
            extended: None,
        };
        let interval_ms = self.subquery_interval_ms(subquery)?;
        let open = windows.end(0) - windows.range_ms;
        // Multiples of the step, so that moving the query does not move the samples; or counted back
        // from the end.
        let mut start_ms = interval_ms * (open / interval_ms);
        if subquery.aligned {
            start_ms = windows.end(0) - interval_ms * ((windows.range_ms - 1) / interval_ms);
        } else if start_ms <= open {
            start_ms += interval_ms;
        }
        let end = windows.end(steps.count - 1);
        let count = if end < start_ms { 0 } else { ((end - start_ms) / interval_ms + 1) as usize };
        let _held = self.budget.reserve(count as u64 * 24)?;
        Ok((windows, Steps { start_ms, interval_ms, count }))
    }

    pub fn subquery_interval_ms(&self, subquery: &Subquery) -> Result<i64> {
        match &subquery.step {
            Some(step) => self.frame.duration_ms(step, &self.text),
            None => Ok(self.frame.subquery_step_ms),
        }
    }

    /// A range vector as the answer itself.
    pub fn raw_ranges(&self, expr: &Expr, steps: &Steps) -> Result<Vec<Points>> {
        let mut all = Vec::new();
        match expr {
            Expr::Subquery(subquery) => {
                let (_, inner) = self.subquery_steps(subquery, steps)?;
                if inner.count == 0 {
                    return Ok(all);
                }
                let matrix = finish_names(self.collect(&subquery.expr, &inner)?, &self.budget)?;
                for series in matrix.series {
                    let mut samples = Samples::default();
                    row_to_samples(&series.row, &inner, &mut samples);
                    all.push(points(&series.labels, &samples));
                }
            }
            _ => self.stream_ranges(expr, steps, &mut |labels, _, samples, windows| {
                let mut bounded = Vec::new();
                windows.walk(samples, |_, window| bounded.push(self.raw_window(&window, windows)));
                for samples in bounded.into_iter().filter(|samples| !samples.is_empty()) {
                    let _held = self.budget.reserve(samples.size_bytes() as u64)?;
                    all.push(points(labels, &samples));
                }
                Ok(())
            })?,
        }
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(all)
    }

    fn raw_window(&self, window: &Window<'_>, windows: &Windows) -> Samples {
        let mut out = Samples::default();
        match windows.extended {
            None => {
                for (time, value) in window.times.iter().zip(window.values) {
                    out.push_float(*time, *value);
                }
                for (time, value) in window.h_times.iter().zip(window.histograms) {
                    out.push_histogram(*time, Arc::clone(value));
                }
            }
            Some(extended) if !window.times.is_empty() => {
                let smoothed = extended == Extended::Smoothed;
                crate::eval::rate::extend_floats(window, smoothed, &mut out);
            }
            Some(_) => {}
        }
        out
    }
}

fn row_to_samples(row: &Row, steps: &Steps, into: &mut Samples) {
    if !row.has_histograms() {
        for (at, value) in row.floats.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
            into.push_float(steps.time(at), *value);
        }
        return;
    }
    for at in 0..row.floats.len() {
        match row.get(at) {
            Cell::None => {}
            Cell::Float(value) => into.push_float(steps.time(at), value),
            Cell::Histogram(histogram) => into.push_histogram(steps.time(at), without_hint(histogram)),
        }
    }
}

/// What a sample says of the one before it in the store does not hold for the one before it here.
fn without_hint(histogram: &Arc<Histogram>) -> Arc<Histogram> {
    match histogram.counter_reset {
        CounterReset::Unknown | CounterReset::Gauge => Arc::clone(histogram),
        CounterReset::Reset | CounterReset::NotReset => {
            Arc::new(Histogram { counter_reset: CounterReset::Unknown, ..Histogram::clone(histogram) })
        }
    }
}

fn points(labels: &Labels, samples: &Samples) -> Points {
    Points {
        labels: labels.clone(),
        floats: samples.float_times.iter().copied().zip(samples.floats.iter().copied()).collect(),
        histograms: samples.histogram_times.iter().copied().zip(samples.histograms.iter().cloned()).collect(),
    }
}
