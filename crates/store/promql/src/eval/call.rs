//! Calls of functions.

use metrics_api::Samples;

use crate::{
    ast::{Call, Expr, Extended, ValueType},
    eval::{
        Error, Result,
        annotation::{Annotations, Note},
        node::Evaluator,
        over_time::{Context, Out, RangeFunction, looks_like_counter},
        range::Windows,
        rate::rate_row,
        row::{Row, Scalars, Sink, Steps, absent, is_absent},
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
        let place = call.args[at].place();
        let counter = matches!(function, RangeFunction::Rate(kind) if kind.counter);
        let (mut row, mut scratch, mut resets) = (Row::default(), Vec::new(), Vec::new());
        let mut annotations = Annotations::default();
        self.stream_ranges(&call.args[at], steps, &mut |labels, drop_name, samples, windows| {
            row.reset(steps.count);
            let mut context = Context {
                annotations: &mut annotations,
                place,
                name: "",
                scalars: [0.0; 2],
                extended: windows.extended,
                scratch: &mut scratch,
            };
            if !samples.histograms.is_empty() || windows.extended.is_some() {
                context.name = labels.metric_name();
            }
            match function {
                RangeFunction::Rate(kind) if is_plain(samples, windows) => {
                    rate_row(samples, windows, kind, &mut resets, &mut row);
                }
                RangeFunction::Min | RangeFunction::Max if is_plain(samples, windows) => {
                    extreme_row(samples, windows, function == RangeFunction::Max, &mut row);
                }
                _ => apply(function, samples, windows, &scalars, &mut context, &mut row),
            }
            if row.is_empty() {
                return Ok(());
            }
            if counter && row.floats.iter().any(|value| !is_absent(*value)) {
                self.note_counter(labels, place, &mut annotations);
            }
            sink(labels, drop_name || !function.keeps_name(), &mut row)
        })?;
        self.annotations.borrow_mut().merge(annotations);
        Ok(())
    }

    fn note_counter(
        &self,
        labels: &metrics_api::Labels,
        place: crate::ast::Place,
        annotations: &mut Annotations,
    ) {
        let name = labels.metric_name();
        if self.options.type_and_unit_labels {
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
