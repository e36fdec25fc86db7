//! Calls of functions.

use metrics_api::{Labels, Samples, SeriesReader};

use crate::{
    ast::{Call, Expr, Extended, Place, ValueType},
    eval::{
        Error, Result,
        annotation::{Annotations, Note},
        leaf::Buffers,
        node::Evaluator,
        over_time::{Context, Out, RangeFunction, looks_like_counter},
        range::Windows,
        rate::rate_row,
        row::{Row, Scalars, Sink, Steps, absent, is_absent},
        selector::{drop_stale, mark_resets},
    },
};

impl Evaluator {
    pub fn stream_call(&self, call: &Call, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        let name = call.function.name;
        if let Some(at) = call.args.iter().position(|arg| arg.value_type() == ValueType::Matrix) {
            if name == "absent_over_time" {
                return self.stream_absent(call, steps, sink);
            }
            let Some(function) = RangeFunction::named(name) else {
                return Err(Error::execution(format!("{name} cannot be evaluated")));
            };
            return self.stream_over_time(call, function, at, steps, sink);
        }
        match name {
            "absent" => self.stream_absent(call, steps, sink),
            "info" => self.stream_info(call, steps, sink),
            "label_replace" => self.stream_label_replace(call, steps, sink),
            "label_join" => self.stream_label_join(call, steps, sink),
            _ => self.stream_vector_function(call, steps, sink),
        }
    }

    /// A function of a range vector.
    fn stream_over_time(
        &self,
        call: &Call,
        function: RangeFunction,
        at: usize,
        steps: &Steps,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let mut scalars = Vec::new();
        for arg in call.args.iter().filter(|arg| arg.value_type() == ValueType::Scalar) {
            scalars.push(self.scalars(arg, steps)?);
        }
        check_arguments(call, function, &call.args[at], &scalars, steps)?;
        let row_of = OverTime {
            function,
            scalars,
            place: call.args[at].place(),
            type_labels: self.options.type_and_unit_labels,
        };
        let keeps_name = function.keeps_name();
        if let Expr::Matrix(matrix) = call.args[at].unwrapped() {
            let windows = self.matrix_windows(matrix, steps)?;
            let range = windows.time_range();
            let statistics = self.statistics.contains(&matrix.selector.place);
            let work = |reader: &mut dyn SeriesReader, buffers: &mut Buffers, row: &mut Row| {
                let mut samples = std::mem::take(&mut buffers.samples);
                samples.clear();
                reader.read(range, &mut samples)?;
                if statistics {
                    mark_resets(&mut samples);
                }
                drop_stale(&mut samples);
                row_of.compute(reader.labels(), &samples, &windows, buffers, row);
                buffers.samples = samples;
                Ok(())
            };
            return self.each_row(matrix.selector.place, steps.count, !keeps_name, &work, sink);
        }
        let (mut row, mut buffers) = (Row::default(), Buffers::default());
        self.stream_ranges(&call.args[at], steps, &mut |labels, drop_name, samples, windows| {
            row_of.compute(labels, samples, windows, &mut buffers, &mut row);
            if row.is_empty() { Ok(()) } else { sink(labels, drop_name || !keeps_name, &mut row) }
        })?;
        self.annotations.borrow_mut().merge(buffers.annotations);
        Ok(())
    }
}

/// A function of range vectors with its arguments, without what only one thread may use.
struct OverTime {
    function: RangeFunction,
    scalars: Vec<Scalars>,
    /// Of the range vector.
    place: Place,
    type_labels: bool,
}

impl OverTime {
    fn compute(
        &self,
        labels: &Labels,
        samples: &Samples,
        windows: &Windows,
        buffers: &mut Buffers,
        row: &mut Row,
    ) {
        row.reset(windows.steps.count);
        let Buffers { scratch, resets, annotations, .. } = buffers;
        match self.function {
            RangeFunction::Rate(kind) if is_plain(samples, windows) => {
                rate_row(samples, windows, kind, resets, row);
            }
            RangeFunction::Min | RangeFunction::Max if is_plain(samples, windows) => {
                extreme_row(samples, windows, self.function == RangeFunction::Max, row);
            }
            function => {
                let named = !is_plain(samples, windows);
                let mut context = Context {
                    annotations,
                    place: self.place,
                    name: if named { labels.metric_name() } else { "" },
                    scalars: [0.0; 2],
                    extended: windows.extended,
                    scratch,
                };
                apply(function, samples, windows, &self.scalars, &mut context, row);
            }
        }
        let counter = matches!(self.function, RangeFunction::Rate(kind) if kind.counter);
        if counter && row.floats.iter().any(|value| !is_absent(*value)) {
            self.note_counter(labels, annotations);
        }
    }

    fn note_counter(&self, labels: &Labels, annotations: &mut Annotations) {
        let (name, place) = (labels.metric_name(), self.place);
        if self.type_labels {
            let kind = labels.get("__type__");
            if !name.is_empty() && kind != "counter" && kind != "histogram" {
                annotations.add(Note::PossibleNonCounterLabel(name, kind), place);
            }
        } else if !looks_like_counter(labels) {
            annotations.add(Note::PossibleNonCounter(name), place);
        }
    }
}

fn is_plain(samples: &Samples, windows: &Windows) -> bool {
    samples.histograms.is_empty() && windows.extended.is_none()
}

fn apply(
    function: RangeFunction,
    samples: &Samples,
    windows: &Windows,
    scalars: &[Scalars],
    context: &mut Context<'_>,
    row: &mut Row,
) {
    windows.walk(samples, |step, window| {
        for (into, scalar) in context.scalars.iter_mut().zip(scalars) {
            *into = scalar.get(step);
        }
        match function.apply(&window, context) {
            Out::None => {}
            Out::Float(value) => row.floats[step] = value,
            Out::Histogram(histogram) => row.set_histogram(step, histogram),
        }
    });
}

/// Largest or smallest of each window: candidates wait in a queue, in order, each gone when a better
/// one comes after it.
fn extreme_row(samples: &Samples, windows: &Windows, largest: bool, row: &mut Row) {
    let mut queue: std::collections::VecDeque<usize> = std::collections::VecDeque::new();
    let values = samples.floats.as_slice();
    let mut next = 0;
    windows.walk(samples, |step, window| {
        let to = window.from + window.values.len();
        next = next.max(window.from);
        while next < to {
            let value = values[next];
            if !value.is_nan() {
                while queue
                    .back()
                    .is_some_and(|last| if largest { values[*last] < value } else { values[*last] > value })
                {
                    queue.pop_back();
                }
                queue.push_back(next);
            }
            next += 1;
        }
        while queue.front().is_some_and(|first| *first < window.from) {
            queue.pop_front();
        }
        row.floats[step] =
            queue.front().map_or(window.values.first().copied().unwrap_or(absent()), |at| values[*at]);
    });
}

fn check_arguments(
    call: &Call,
    function: RangeFunction,
    range: &Expr,
    scalars: &[Scalars],
    steps: &Steps,
) -> Result<()> {
    if let Expr::Matrix(matrix) = range.unwrapped()
        && let Some(extended) = matrix.selector.extended
        && !function.takes(extended)
    {
        let (word, names) = match extended {
            Extended::Anchored => ("anchored", "changes, delta, increase, rate, resets"),
            Extended::Smoothed => ("smoothed", "delta, increase, rate"),
        };
        return Err(Error::execution(format!(
            "{word} modifier can only be used with: {names} - not with {}",
            call.function.name
        )));
    }
    if function == RangeFunction::DoubleExponentialSmoothing {
        for (scalar, (what, letter)) in scalars.iter().zip([("smoothing", "sf"), ("trend", "tf")]) {
            for step in 0..steps.count {
                let value = scalar.get(step);
                if value <= 0.0 || value >= 1.0 {
                    return Err(Error::execution(format!(
                        "invalid {what} factor. Expected: 0 < {letter} < 1, got: {value:.6}"
                    )));
                }
            }
        }
    }
    Ok(())
}
