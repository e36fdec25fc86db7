//! Labels of what functions give: names that go, `label_replace`, `label_join`, `absent`.

use std::{collections::HashMap, sync::Arc};

use metrics_api::{Budget, Labels, LabelsBuilder, METRIC_NAME, MatchOp};
use regex::RegexBuilder;

use crate::{
    ast::{Call, Expr, VectorSelector},
    eval::{
        Error, Result,
        node::Evaluator,
        row::{Matrix, Row, Series, Sink, Steps},
    },
    literal::quote,
};

/// Labels that say what a metric is, and no longer hold once it was computed with.
pub(crate) const METADATA_LABELS: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// Removes the names of series that were computed with, and joins those that are then the same.
pub(crate) fn finish_names(mut matrix: Matrix, budget: &Arc<Budget>) -> Result<Matrix> {
    for series in matrix.series.iter_mut().filter(|series| series.drop_name) {
        series.labels = series.labels.without(&METADATA_LABELS);
        series.drop_name = false;
    }
    join_same(matrix, budget)
}

/// Joins series of the same labels; no two may have a value at the same step.
pub(crate) fn join_same(mut matrix: Matrix, budget: &Arc<Budget>) -> Result<Matrix> {
    let mut known: HashMap<Labels, usize> = HashMap::with_capacity(matrix.series.len());
    let doubled = matrix.series.iter().any(|series| {
        let at = known.len();
        known.insert(series.labels.clone(), at).is_some()
    });
    if !doubled {
        return Ok(matrix);
    }
    known.clear();
    let mut joined = Matrix::default();
    for series in matrix.series.drain(..) {
        match known.get(&series.labels) {
            Some(at) => join_row(&mut joined.series[*at].row, &series.row)?,
            None => {
                known.insert(series.labels.clone(), joined.series.len());
                joined.push(series, budget)?;
            }
        }
    }
    Ok(joined)
}

pub(crate) fn join_row(into: &mut Row, from: &Row) -> Result<()> {
    for at in 0..from.floats.len() {
        if from.has(at) {
            if into.has(at) {
                return Err(Error::same_labels());
            }
            into.copy_from(at, from, at);
        }
    }
    Ok(())
}

/// A label's name may be any text that is not empty.
fn check_name(expr: &Expr, which: &str, function: &str) -> Result<()> {
    let name = text_of(expr)?;
    if name.is_empty() || !is_utf8(expr) {
        return Err(Error::execution(format!("invalid {which} label name in {function}(): {name}")));
    }
    Ok(())
}

fn is_utf8(expr: &Expr) -> bool {
    !matches!(expr.unwrapped(), Expr::String(text) if text.not_utf8.is_some())
}

/// The name of a label that an aggregation gives.
pub(crate) fn label_name(expr: &Expr) -> Result<&str> {
    let Expr::String(text) = expr.unwrapped() else { return text_of(expr) };
    let bytes = text.not_utf8.as_deref().unwrap_or(text.value.as_bytes());
    if bytes.is_empty() || text.not_utf8.is_some() {
        return Err(Error::execution(format!("invalid label name {}", quote(bytes))));
    }
    Ok(&text.value)
}

pub(crate) fn text_of(expr: &Expr) -> Result<&str> {
    match expr.unwrapped() {
        Expr::String(text) => Ok(&text.value),
        _ => Err(Error::execution("a string has to be a literal")),
    }
}

impl Evaluator {
    pub fn stream_label_replace(&self, call: &Call, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        let (target, replacement) = (text_of(&call.args[1])?, text_of(&call.args[2])?);
        let (source, pattern) = (text_of(&call.args[3])?, text_of(&call.args[4])?);
        let regex = RegexBuilder::new(&format!("^(?s:{})$", metrics_api::from_re2(pattern)))
            .size_limit(metrics_api::REGEX_SIZE_BYTES_MAX)
            .build()
            .map_err(|_| {
                Error::execution(format!("invalid regular expression in label_replace(): {pattern}"))
            })?;
        check_name(&call.args[1], "destination", "label_replace")?;
        self.stream_relabelled(call, steps, sink, |labels, drop_name| {
            let captures = regex.captures(labels.get(source))?;
            let mut value = String::new();
            captures.expand(replacement, &mut value);
            Some((labels.with(target, &value), drop_name && target != METRIC_NAME))
        })
    }

    pub fn stream_label_join(&self, call: &Call, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        let (target, separator) = (text_of(&call.args[1])?, text_of(&call.args[2])?);
        let sources = call.args[3..].iter().map(text_of).collect::<Result<Vec<_>>>()?;
        for source in &call.args[3..] {
            check_name(source, "source", "label_join")?;
        }
        check_name(&call.args[1], "destination", "label_join")?;
        self.stream_relabelled(call, steps, sink, |labels, drop_name| {
            let values: Vec<&str> = sources.iter().map(|source| labels.get(source)).collect();
            Some((labels.with(target, &values.join(separator)), drop_name && target != METRIC_NAME))
        })
    }

    fn stream_relabelled(
        &self,
        call: &Call,
        steps: &Steps,
        sink: &mut Sink<'_>,
        change: impl Fn(&Labels, bool) -> Option<(Labels, bool)>,
    ) -> Result<()> {
        let mut matrix = Matrix::default();
        self.stream(&call.args[0], steps, &mut |labels, drop_name, row| {
            let (labels, drop_name) =
                change(labels, drop_name).unwrap_or_else(|| (labels.clone(), drop_name));
            matrix.push(Series { labels, drop_name, row: std::mem::take(row) }, &self.budget)
        })?;
        give(join_same(matrix, &self.budget)?, sink)
    }

    /// `absent` and `absent_over_time`: 1 where no series has a value.
    pub fn stream_absent(&self, call: &Call, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        let arg = &call.args[0];
        let mut row = Row { floats: vec![1.0; steps.count], histograms: Vec::new() };
        if call.function.name == "absent" {
            self.stream(arg, steps, &mut |_, _, found| {
                for at in 0..steps.count {
                    if found.has(at) {
                        row.floats[at] = crate::eval::row::absent();
                    }
                }
                Ok(())
            })?;
        } else {
            self.stream_ranges(arg, steps, &mut |_, _, samples, windows| {
                windows.walk(samples, |at, _| row.floats[at] = crate::eval::row::absent());
                Ok(())
            })?;
        }
        if row.is_empty() { Ok(()) } else { sink(&labels_of_absent(arg), false, &mut row) }
    }
}

pub(crate) fn give(matrix: Matrix, sink: &mut Sink<'_>) -> Result<()> {
    for mut series in matrix.series {
        sink(&series.labels, series.drop_name, &mut series.row)?;
    }
    Ok(())
}

/// What is known of a series that is not there: the labels its selector wants to be equal.
fn labels_of_absent(arg: &Expr) -> Labels {
    let selector: &VectorSelector = match arg {
        Expr::Vector(selector) => selector,
        Expr::Matrix(matrix) => &matrix.selector,
        _ => return Labels::empty(),
    };
    let mut builder = LabelsBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in selector.matchers.iter().filter(|matcher| matcher.name != METRIC_NAME) {
        if matcher.op == MatchOp::Equal && !seen.contains(&matcher.name.as_str()) {
            builder.set(&matcher.name, &matcher.value);
            seen.push(&matcher.name);
        } else {
            builder.remove(&matcher.name);
        }
    }
    builder.build()
}
