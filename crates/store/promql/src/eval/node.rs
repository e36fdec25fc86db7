//! Walks the tree: each node hands its series on, one at a time.

use std::{cell::RefCell, collections::HashSet, sync::Arc};

use metrics_api::{Budget, Histogram, Labels, SeriesReader};

use crate::{
    ast::{Expr, Place, Unary, UnaryOp, ValueType},
    eval::{
        Answer, Error, InstantSample, Options, Places, Points, Prepared, Result, Sample, Stats, Value, When,
        annotation::{Annotations, Note},
        labels::finish_names,
        prepare::Frame,
        row::{Cell, Matrix, Row, Scalars, Series, Sink, Steps, is_absent},
        vector_function::{max, min},
    },
    histogram,
};

pub(crate) struct Evaluator {
    pub frame: Frame,
    pub options: Options,
    pub budget: Arc<Budget>,
    pub text: Arc<str>,
    pub places: Places,
    /// Readers by selector; taken out while they are read.
    pub selected: Vec<RefCell<Vec<Box<dyn SeriesReader>>>>,
    pub annotations: RefCell<Annotations>,
    /// Selectors of histograms of which only counts and sums are wanted in the end.
    pub statistics: HashSet<Place>,
}

impl Evaluator {
    pub fn run(prepared: Prepared) -> Result<Answer> {
        let Prepared { query, options, frame, budget, places, selected, warnings } = prepared;
        let evaluator = Self {
            frame,
            options,
            budget,
            text: Arc::clone(&query.text),
            places,
            selected: selected.into_iter().map(RefCell::new).collect(),
            annotations: RefCell::default(),
            statistics: statistics_of(&query.expr),
        };
        let steps = match query.when {
            When::Instant(time_ms) => Steps { start_ms: time_ms, interval_ms: 1, count: 1 },
            When::Range { start_ms, end_ms, step_ms } => {
                let count = ((end_ms - start_ms) / step_ms + 1) as usize;
                Steps { start_ms, interval_ms: step_ms, count }
            }
        };
        let value = evaluator.value(&query.expr, &steps, matches!(query.when, When::Instant(_)))?;
        let (mut all_warnings, infos) = evaluator.annotations.into_inner().finish(&query.text);
        all_warnings.splice(0..0, warnings);
        let stats = Stats {
            series: evaluator.budget.series_touched(),
            samples: evaluator.budget.samples_read(),
            memory_bytes_peak: evaluator.budget.memory_bytes_peak(),
        };
        Ok(Answer { value, warnings: all_warnings, infos, stats })
    }

    fn value(&self, expr: &Expr, steps: &Steps, instant: bool) -> Result<Value> {
        let time_ms = steps.start_ms;
        match expr.value_type() {
            ValueType::String => {
                let Expr::String(text) = expr.unwrapped() else {
                    return Err(Error::execution("a string expression has to be a literal"));
                };
                Ok(Value::String { time_ms, value: text.value.clone() })
            }
            ValueType::Scalar if instant => {
                Ok(Value::Scalar { time_ms, value: self.scalars(expr, steps)?.get(0) })
            }
            ValueType::Matrix if instant => self.raw_ranges(expr.unwrapped(), steps).map(Value::Matrix),
            ValueType::Matrix => Err(Error::BadQuery(
                "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"
                    .into(),
            )),
            ValueType::Vector | ValueType::Scalar => {
                let matrix = finish_names(self.collect(expr, steps)?, &self.budget)?;
                Ok(if instant { Value::Vector(instants(matrix, time_ms)) } else { ranges(matrix, steps) })
            }
        }
    }

    pub fn note(&self, note: Note<'_>, place: Place) {
        self.annotations.borrow_mut().add(note, place);
    }

    /// All series of an expression at once.
    pub fn collect(&self, expr: &Expr, steps: &Steps) -> Result<Matrix> {
        let mut matrix = Matrix::default();
        self.stream(expr, steps, &mut |labels, drop_name, row| {
            let row = std::mem::take(row);
            matrix.push(Series { labels: labels.clone(), drop_name, row }, &self.budget)
        })?;
        Ok(matrix)
    }

    /// Hands the series of a vector on as rows of these steps.
    pub fn stream(&self, expr: &Expr, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        if steps.count > 1 && is_invariant(expr) {
            return self.stream_once(expr, steps, sink);
        }
        if self.needs_each_step(expr, steps)? {
            return self.stream_each_step(expr, steps, sink);
        }
        match expr {
            Expr::Paren(paren) => self.stream(&paren.expr, steps, sink),
            Expr::Vector(selector) => self.stream_selector(selector, steps, false, sink),
            Expr::Call(call) if call.function.returns == ValueType::Vector => {
                self.stream_call(call, steps, sink)
            }
            Expr::Unary(unary) if unary.expr.value_type() == ValueType::Vector => {
                self.stream_unary(unary, steps, sink)
            }
            Expr::Binary(binary) if expr.value_type() == ValueType::Vector => {
                self.stream_binary(binary, steps, sink)
            }
            Expr::Aggregate(aggregate) => self.stream_aggregate(aggregate, steps, sink),
            _ if expr.value_type() == ValueType::Scalar => {
                let scalars = self.scalars(expr, steps)?;
                let floats = (0..steps.count).map(|at| scalars.get(at)).collect();
                sink(&Labels::empty(), false, &mut Row { floats, histograms: Vec::new() })
            }
            _ => Err(Error::execution("a range vector stands where an instant vector has to")),
        }
    }

    /// What is the same at every step is computed at the first.
    fn stream_once(&self, expr: &Expr, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        let mut wide = Row::default();
        self.stream(expr, &steps.first(), &mut |labels, drop_name, row| {
            wide.reset(steps.count);
            match row.get(0) {
                Cell::None => return Ok(()),
                Cell::Float(value) => wide.floats.fill(value),
                Cell::Histogram(histogram) => {
                    wide.histograms.resize(steps.count, Some(Arc::clone(histogram)));
                }
            }
            sink(labels, drop_name, &mut wide)
        })
    }

    fn stream_unary(&self, unary: &Unary, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        if unary.op == UnaryOp::Plus {
            return self.stream(&unary.expr, steps, sink);
        }
        self.stream(&unary.expr, steps, &mut |labels, _, row| {
            for value in &mut row.floats {
                if !is_absent(*value) {
                    *value = -*value;
                }
            }
            for histogram in row.histograms.iter_mut().flatten() {
                let mut negated = Histogram::clone(histogram);
                histogram::scale(&mut negated, -1.0);
                *histogram = Arc::new(negated);
            }
            sink(labels, true, row)
        })
    }

    /// A scalar at each step.
    pub fn scalars(&self, expr: &Expr, steps: &Steps) -> Result<Scalars> {
        let each = |value: &dyn Fn(usize) -> f64| Scalars::Each((0..steps.count).map(value).collect());
        Ok(match expr {
            Expr::Number(number) => Scalars::Same(number.value),
            Expr::Paren(paren) => self.scalars(&paren.expr, steps)?,
            Expr::Unary(unary) => {
                let inner = self.scalars(&unary.expr, steps)?;
                match (unary.op, inner) {
                    (UnaryOp::Plus, inner) => inner,
                    (UnaryOp::Minus, Scalars::Same(value)) => Scalars::Same(-value),
                    (UnaryOp::Minus, inner) => each(&|at| -inner.get(at)),
                }
            }
            Expr::Binary(binary) => {
                let left = self.scalars(&binary.left, steps)?;
                let right = self.scalars(&binary.right, steps)?;
                let apply = |l: f64, r: f64| crate::eval::binary::scalar_binop(binary.op, l, r);
                match (&left, &right) {
                    (Scalars::Same(l), Scalars::Same(r)) => Scalars::Same(apply(*l, *r)),
                    _ => each(&|at| apply(left.get(at), right.get(at))),
                }
            }
            Expr::Call(call) => match call.function.name {
                "time" => each(&|at| steps.time(at) as f64 / 1000.0),
                "pi" => Scalars::Same(std::f64::consts::PI),
                "start" => Scalars::Same(self.frame.start_ms as f64 / 1000.0),
                "end" => Scalars::Same(self.frame.end_ms as f64 / 1000.0),
                "step" => Scalars::Same(self.frame.step_ms as f64 / 1000.0),
                "range" => Scalars::Same((self.frame.end_ms - self.frame.start_ms) as f64 / 1000.0),
                "scalar" => self.scalar_of_vector(&call.args[0], steps)?,
                "min_of" | "max_of" => {
                    let left = self.scalars(&call.args[0], steps)?;
                    let right = self.scalars(&call.args[1], steps)?;
                    let choose = if call.function.name == "min_of" { min } else { max };
                    each(&|at| choose(left.get(at), right.get(at)))
                }
                other => return Err(Error::execution(format!("{other} gives no scalar"))),
            },
            _ => return Err(Error::execution("a vector stands where a scalar has to")),
        })
    }

    /// The one float of each step, NaN when there is none or more than one.
    fn scalar_of_vector(&self, expr: &Expr, steps: &Steps) -> Result<Scalars> {
        let mut values = vec![f64::NAN; steps.count];
        let mut found = vec![0u8; steps.count];
        self.stream(expr, steps, &mut |_, _, row| {
            for (at, value) in row.floats.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
                found[at] = found[at].saturating_add(1);
                values[at] = if found[at] == 1 { *value } else { f64::NAN };
            }
            Ok(())
        })?;
        Ok(Scalars::Each(values))
    }
}

/// Functions whose value depends on the time of evaluation, whatever their arguments.
const DEPENDS_ON_TIME: &[&str] = &[
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "time",
    "timestamp",
    "year",
];

/// Whether an expression has the same value at every step: all its selectors have `@`.
pub(crate) fn is_invariant(expr: &Expr) -> bool {
    match expr {
        Expr::Number(_) | Expr::String(_) => true,
        Expr::Vector(selector) => selector.at.is_some(),
        Expr::Matrix(matrix) => matrix.selector.at.is_some(),
        Expr::Subquery(subquery) => subquery.at.is_some(),
        Expr::Call(call) => {
            !DEPENDS_ON_TIME.contains(&call.function.name)
                && match call.function.name {
                    "info" => is_invariant(&call.args[0]),
                    _ => call.args.iter().all(is_invariant),
                }
        }
        other => other.children().into_iter().all(is_invariant),
    }
}

/// Selectors under `histogram_count` and its like. Upstream reads those without buckets, and works out
/// on the way which sample begins a counter anew, which shows in warnings about it.
fn statistics_of(expr: &Expr) -> HashSet<Place> {
    fn walk(expr: &Expr, statistics: bool, found: &mut HashSet<Place>) {
        let within = match expr {
            Expr::Call(call) => match call.function.name {
                "histogram_count" | "histogram_sum" | "histogram_avg" => true,
                "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => false,
                _ => statistics,
            },
            Expr::Subquery(_) => false,
            Expr::Vector(selector) => {
                found.extend(statistics.then_some(selector.place));
                return;
            }
            Expr::Matrix(matrix) => {
                found.extend(statistics.then_some(matrix.selector.place));
                return;
            }
            _ => statistics,
        };
        expr.children().into_iter().for_each(|child| walk(child, within, found));
    }
    let mut found = HashSet::new();
    walk(expr, false, &mut found);
    found
}

fn instants(matrix: Matrix, time_ms: i64) -> Vec<InstantSample> {
    let sample = |series: Series| {
        let value = match series.row.get(0) {
            Cell::None => return None,
            Cell::Float(value) => Sample::Float(value),
            Cell::Histogram(histogram) => Sample::Histogram(Arc::clone(histogram)),
        };
        Some(InstantSample { labels: series.labels, time_ms, value })
    };
    matrix.series.into_iter().filter_map(sample).collect()
}

fn ranges(matrix: Matrix, steps: &Steps) -> Value {
    let mut all: Vec<Points> = matrix
        .series
        .into_iter()
        .map(|series| {
            let mut points = Points { labels: series.labels, ..Points::default() };
            let values = series.row.floats.iter().enumerate().filter(|(_, value)| !is_absent(**value));
            points.floats = values.map(|(at, value)| (steps.time(at), *value)).collect();
            for (at, histogram) in series.row.histograms.into_iter().enumerate() {
                if let Some(histogram) = histogram {
                    points.histograms.push((steps.time(at), histogram));
                }
            }
            points
        })
        .filter(|points| !points.floats.is_empty() || !points.histograms.is_empty())
        .collect();
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    Value::Matrix(all)
}
