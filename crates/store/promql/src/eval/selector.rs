//! Instant selectors: at each step the last sample within the lookback.

use std::sync::Arc;

use metrics_api::{CounterReset, Samples, SeriesReader, TimeRange, is_stale};

use crate::{
    ast::{Extended, VectorSelector},
    eval::{
        Result,
        annotation::Note,
        leaf::Buffers,
        node::Evaluator,
        range_histogram::interpolate,
        row::{Row, Sink, Steps},
    },
    histogram::detect_reset,
};

/// Where an instant selector looks at each step.
#[derive(Debug, Clone, Copy)]
struct Look {
    steps: Steps,
    at: Option<i64>,
    offset_ms: i64,
    lookback_ms: i64,
    /// The time of the sample instead of its value.
    timestamps: bool,
}

impl Look {
    #[inline]
    fn time(&self, step: usize) -> i64 {
        self.at.unwrap_or_else(|| self.steps.time(step)) - self.offset_ms
    }
}

/// Series between two looks at the clock.
const SERIES_PER_CHECK: usize = 64;

impl Evaluator {
    pub fn stream_selector(
        &self,
        selector: &VectorSelector,
        steps: &Steps,
        timestamps: bool,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let look = Look {
            steps: *steps,
            at: self.frame.at(selector.at),
            offset_ms: self.frame.offset_ms(selector.offset.as_ref(), &self.text)?,
            lookback_ms: self.frame.lookback_ms,
            timestamps,
        };
        let smoothed = selector.extended == Some(Extended::Smoothed);
        let after = if smoothed { look.lookback_ms } else { 0 };
        // Interpolation may take the sample exactly at the edge; plain windows are open on the left.
        let range = TimeRange::new(look.time(0) - look.lookback_ms + 1, look.time(steps.count - 1) + after);
        let statistics = self.statistics.contains(&selector.place);
        if smoothed {
            let (mut samples, mut row) = (Samples::default(), Row::default());
            return self.each_series(selector, &mut |reader| {
                samples.clear();
                reader.read(range, &mut samples)?;
                if statistics {
                    mark_resets(&mut samples);
                }
                row.reset(steps.count);
                self.smooth(&mut samples, &look, reader.labels().metric_name(), selector, &mut row);
                if row.is_empty() { Ok(()) } else { sink(reader.labels(), false, &mut row) }
            });
        }
        let work = |reader: &mut dyn SeriesReader, buffers: &mut Buffers, row: &mut Row| {
            let samples = &mut buffers.samples;
            samples.clear();
            reader.read(range, samples)?;
            if statistics {
                mark_resets(samples);
            }
            row.reset(look.steps.count);
            if samples.histograms.is_empty() {
                latest_floats(samples, &look, row);
            } else {
                latest(samples, &look, row);
            }
            Ok(())
        };
        self.each_row(selector.place, steps.count, false, &work, sink)
    }

    /// Calls `each` with the readers of a selector in turn.
    pub fn each_series(
        &self,
        selector: &VectorSelector,
        each: &mut dyn FnMut(&mut Box<dyn SeriesReader>) -> Result<()>,
    ) -> Result<()> {
        self.each_at(selector.place, each)
    }

    pub fn each_at(
        &self,
        place: crate::ast::Place,
        each: &mut dyn FnMut(&mut Box<dyn SeriesReader>) -> Result<()>,
    ) -> Result<()> {
        let Some(cell) = self.places.get(&place).and_then(|at| self.selected.get(*at)) else { return Ok(()) };
        let mut readers = std::mem::take(&mut *cell.borrow_mut());
        let mut result = Ok(());
        for (at, reader) in readers.iter_mut().enumerate() {
            if at % SERIES_PER_CHECK == 0 {
                self.budget.check()?;
            }
            result = each(reader);
            if result.is_err() {
                break;
            }
        }
        *cell.borrow_mut() = readers;
        result
    }

    fn smooth(
        &self,
        samples: &mut Samples,
        look: &Look,
        name: &str,
        selector: &VectorSelector,
        row: &mut Row,
    ) {
        drop_stale(samples);
        for step in 0..look.steps.count {
            let time = look.time(step);
            let (first, last) = (time - look.lookback_ms, time + look.lookback_ms);
            let within = |times: &[i64]| {
                let from = times.partition_point(|t| *t <= first);
                (from, from + times[from..].partition_point(|t| *t <= last))
            };
            let (f0, f1) = within(&samples.float_times);
            let (h0, h1) = within(&samples.histogram_times);
            if f1 > f0 && h1 > h0 {
                self.note(Note::MixedFloatsHistograms(name), selector.place);
                continue;
            }
            if f1 > f0 {
                let (times, values) = (&samples.float_times[f0..f1], &samples.floats[f0..f1]);
                let value = match around(times, time) {
                    (_, Some(next), true) => values[next],
                    (Some(before), Some(next), _) => crate::eval::rate::interpolate(
                        (times[before], values[before]),
                        (times[next], values[next]),
                        time,
                        false,
                    ),
                    (Some(before), None, _) => values[before],
                    _ => continue,
                };
                row.floats[step] = value;
            } else if h1 > h0 {
                let (times, values) = (&samples.histogram_times[h0..h1], &samples.histograms[h0..h1]);
                let value = match around(times, time) {
                    (_, Some(next), true) => Arc::clone(&values[next]),
                    (Some(before), Some(next), _)
                        if values[before].uses_custom_buckets() != values[next].uses_custom_buckets() =>
                    {
                        self.note(Note::MixedExponentialCustom(name), selector.place);
                        continue;
                    }
                    (Some(before), Some(next), _) => {
                        let counter = values[before].counter_reset != metrics_api::CounterReset::Gauge;
                        let (from, to) = ((times[before], &*values[before]), (times[next], &*values[next]));
                        let mut annotations = self.annotations.borrow_mut();
                        let between = interpolate(from, to, time, counter, &mut annotations, selector.place);
                        match between {
                            Ok(between) => Arc::new(between),
                            Err(_) => {
                                annotations.add(Note::MixedExponentialCustom(name), selector.place);
                                continue;
                            }
                        }
                    }
                    (Some(before), None, _) => Arc::clone(&values[before]),
                    _ => continue,
                };
                row.set_histogram(step, value);
            }
        }
    }
}

/// The samples before and after a time, and whether the latter is right at it.
fn around(times: &[i64], time: i64) -> (Option<usize>, Option<usize>, bool) {
    let next = times.partition_point(|t| *t < time);
    (next.checked_sub(1), (next < times.len()).then_some(next), times.get(next) == Some(&time))
}

/// Says of each histogram whether it begins its counter anew, where the series before it tells.
pub(crate) fn mark_resets(samples: &mut Samples) {
    for at in 1..samples.histograms.len() {
        let (before, from) = samples.histograms.split_at_mut(at);
        let (before, current) = (&before[at - 1], &mut from[0]);
        if current.counter_reset == CounterReset::Unknown && !before.is_stale() && !current.is_stale() {
            let reset = detect_reset(current, before);
            Arc::make_mut(current).counter_reset =
                if reset { CounterReset::Reset } else { CounterReset::NotReset };
        }
    }
}

/// Takes staleness markers out.
pub(crate) fn drop_stale(samples: &mut Samples) {
    if samples.floats.iter().any(|value| is_stale(*value)) {
        let mut kept = 0;
        for at in 0..samples.floats.len() {
            if !is_stale(samples.floats[at]) {
                samples.floats[kept] = samples.floats[at];
                samples.float_times[kept] = samples.float_times[at];
                kept += 1;
            }
        }
        samples.floats.truncate(kept);
        samples.float_times.truncate(kept);
    }
    if samples.histograms.iter().any(|histogram| histogram.is_stale()) {
        let mut keep =
            samples.histograms.iter().map(|histogram| !histogram.is_stale()).collect::<Vec<_>>().into_iter();
        samples.histogram_times.retain(|_| keep.next().unwrap_or(true));
        samples.histograms.retain(|histogram| !histogram.is_stale());
    }
}

fn latest_floats(samples: &Samples, look: &Look, row: &mut Row) {
    let (times, values) = (samples.float_times.as_slice(), samples.floats.as_slice());
    let mut next = 0;
    for step in 0..look.steps.count {
        let time = look.time(step);
        while next < times.len() && times[next] <= time {
            next += 1;
        }
        // A marker has the bits that an absent value has.
        if next > 0 && times[next - 1] > time - look.lookback_ms {
            let value = values[next - 1];
            row.floats[step] =
                if look.timestamps && !is_stale(value) { times[next - 1] as f64 / 1000.0 } else { value };
        }
    }
}

fn latest(samples: &Samples, look: &Look, row: &mut Row) {
    let (mut next, mut next_histogram) = (0, 0);
    for step in 0..look.steps.count {
        let time = look.time(step);
        while next < samples.float_times.len() && samples.float_times[next] <= time {
            next += 1;
        }
        while next_histogram < samples.histogram_times.len()
            && samples.histogram_times[next_histogram] <= time
        {
            next_histogram += 1;
        }
        let oldest = time - look.lookback_ms;
        let float = next.checked_sub(1).filter(|at| samples.float_times[*at] > oldest);
        let histogram = next_histogram.checked_sub(1).filter(|at| samples.histogram_times[*at] > oldest);
        let float_time = float.map_or(i64::MIN, |at| samples.float_times[at]);
        match (float, histogram) {
            (_, Some(at)) if samples.histogram_times[at] > float_time => {
                let found = &samples.histograms[at];
                if found.is_stale() {
                } else if look.timestamps {
                    row.floats[step] = samples.histogram_times[at] as f64 / 1000.0;
                } else {
                    row.set_histogram(step, Arc::clone(found));
                }
            }
            (Some(at), _) => {
                let value = samples.floats[at];
                row.floats[step] =
                    if look.timestamps && !is_stale(value) { float_time as f64 / 1000.0 } else { value };
            }
            _ => {}
        }
    }
}
