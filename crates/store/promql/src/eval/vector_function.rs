//! Functions of instant vectors.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use metrics_api::{Histogram, Labels};

use crate::{
    ast::{Call, Expr, Place},
    eval::{
        Error, Result,
        annotation::{ForcedDetail, Note},
        date,
        labels::{give, text_of},
        node::Evaluator,
        row::{Cell, Matrix, Row, Scalars, Series, Sink, Steps, absent, is_absent},
        text::open_metrics,
    },
    histogram::{
        classic::{self, ClassicBucket},
        quantile::{self, NanEffect},
    },
};

/// The function of one float of this name.
fn of_float(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "acos" => f64::acos,
        "acosh" => f64::acosh,
        "asin" => f64::asin,
        "asinh" => f64::asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "ceil" => f64::ceil,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        "deg" => |value| value * 180.0 / std::f64::consts::PI,
        "exp" => f64::exp,
        "floor" => f64::floor,
        "ln" => f64::ln,
        "log10" => f64::log10,
        "log2" => f64::log2,
        "rad" => |value| value * std::f64::consts::PI / 180.0,
        "sgn" => |value| {
            if value > 0.0 {
                1.0
            } else if value < 0.0 {
                -1.0
            } else {
                value
            }
        },
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "sqrt" => f64::sqrt,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        _ => return None,
    })
}

/// The function of one histogram of this name.
fn of_histogram(name: &str) -> Option<fn(&Histogram) -> f64> {
    Some(match name {
        "histogram_count" => |of| of.count,
        "histogram_sum" => |of| of.sum,
        "histogram_avg" => |of| of.sum / of.count,
        "histogram_stddev" => |of| quantile::variance(of).sqrt(),
        "histogram_stdvar" => quantile::variance,
        _ => return None,
    })
}

/// The larger one; NaN when either is.
pub(crate) fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

pub(crate) fn min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

impl Evaluator {
    pub fn stream_vector_function(&self, call: &Call, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        let name = call.function.name;
        if let Some(function) = of_float(name) {
            return self.stream_floats(&call.args[0], steps, sink, &|_, value| function(value));
        }
        if let Some(function) = of_histogram(name) {
            return self.stream_histograms(&call.args[0], steps, sink, function);
        }
        match name {
            "clamp" | "clamp_min" | "clamp_max" => self.stream_clamp(call, steps, sink),
            "round" => {
                let nearest = match call.args.get(1) {
                    Some(arg) => self.scalars(arg, steps)?,
                    None => Scalars::Same(1.0),
                };
                self.stream_floats(&call.args[0], steps, sink, &|at, value| {
                    let inverse = 1.0 / nearest.get(at);
                    (value * inverse + 0.5).floor() / inverse
                })
            }
            "vector" => {
                let scalars = self.scalars(&call.args[0], steps)?;
                let floats = (0..steps.count).map(|at| scalars.get(at)).collect();
                sink(&Labels::empty(), false, &mut Row { floats, histograms: Vec::new() })
            }
            "timestamp" => self.stream_timestamps(&call.args[0], steps, sink),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => {
                self.stream_sorted(call, steps, sink)
            }
            "histogram_quantile" => {
                let q = self.scalars(&call.args[0], steps)?;
                let families = Families::of(self, &call.args[1], steps)?;
                self.stream_quantile(&families, &q, call, [0, 1], None, steps, sink)
            }
            "histogram_quantiles" => self.stream_quantiles(call, steps, sink),
            "histogram_fraction" => self.stream_fraction(call, steps, sink),
            _ if date::part(name, 0.0).is_some() => self.stream_date(call, steps, sink),
            _ => Err(Error::execution(format!("{name} cannot be evaluated"))),
        }
    }

    fn stream_floats(
        &self,
        arg: &Expr,
        steps: &Steps,
        sink: &mut Sink<'_>,
        function: &dyn Fn(usize, f64) -> f64,
    ) -> Result<()> {
        self.stream(arg, steps, &mut |labels, _, row| {
            row.histograms.clear();
            for (at, value) in row.floats.iter_mut().enumerate() {
                if !is_absent(*value) {
                    *value = function(at, *value);
                }
            }
            if row.is_empty() { Ok(()) } else { sink(labels, true, row) }
        })
    }

    fn stream_histograms(
        &self,
        arg: &Expr,
        steps: &Steps,
        sink: &mut Sink<'_>,
        function: fn(&Histogram) -> f64,
    ) -> Result<()> {
        self.stream(arg, steps, &mut |labels, _, row| {
            if row.histograms.is_empty() {
                return Ok(());
            }
            for at in 0..row.floats.len() {
                let value = match row.get(at) {
                    Cell::Histogram(histogram) => function(histogram),
                    _ => absent(),
                };
                row.floats[at] = value;
            }
            row.histograms.clear();
            if row.is_empty() { Ok(()) } else { sink(labels, true, row) }
        })
    }

    fn stream_clamp(&self, call: &Call, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        let (mut lowest, mut highest) = (Scalars::Same(f64::NEG_INFINITY), Scalars::Same(f64::INFINITY));
        match call.function.name {
            "clamp_min" => lowest = self.scalars(&call.args[1], steps)?,
            "clamp_max" => highest = self.scalars(&call.args[1], steps)?,
            _ => {
                lowest = self.scalars(&call.args[1], steps)?;
                highest = self.scalars(&call.args[2], steps)?;
            }
        }
        self.stream_floats(&call.args[0], steps, sink, &|at, value| {
            let (low, high) = (lowest.get(at), highest.get(at));
            if high < low { absent() } else { max(low, min(high, value)) }
        })
    }

    fn stream_timestamps(&self, arg: &Expr, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        if let Expr::Vector(selector) = arg.unwrapped() {
            return self
                .stream_selector(selector, steps, true, &mut |labels, _, row| sink(labels, true, row));
        }
        self.stream(arg, steps, &mut |labels, _, row| {
            for at in 0..steps.count {
                if row.has(at) {
                    row.floats[at] = steps.time(at) as f64 / 1000.0;
                }
            }
            row.histograms.clear();
            sink(labels, true, row)
        })
    }

    fn stream_date(&self, call: &Call, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        let part = |seconds: f64| date::part(call.function.name, seconds).unwrap_or(f64::NAN);
        if let Some(arg) = call.args.first() {
            return self.stream_floats(arg, steps, sink, &|_, value| part(value));
        }
        let floats = (0..steps.count).map(|at| part((steps.time(at) / 1000) as f64)).collect();
        sink(&Labels::empty(), false, &mut Row { floats, histograms: Vec::new() })
    }

    fn stream_sorted(&self, call: &Call, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        let name = call.function.name;
        let mut matrix = self.collect(&call.args[0], steps)?;
        if steps.count > 1 {
            self.note(Note::SortInRange, call.place);
        } else if let Some(by_label) = name.strip_prefix("sort_by_label") {
            let names = call.args[1..].iter().map(text_of).collect::<Result<Vec<_>>>()?;
            let order = |a: &Series, b: &Series| {
                let by_names = names
                    .iter()
                    .map(|name| natural(a.labels.get(name), b.labels.get(name)))
                    .find(|order| order.is_ne());
                by_names.unwrap_or_else(|| a.labels.cmp(&b.labels))
            };
            matrix.series.sort_by(|a, b| if by_label.is_empty() { order(a, b) } else { order(b, a) });
        } else {
            matrix.series.retain(|series| !is_absent(series.row.floats[0]));
            let descending = name == "sort_desc";
            matrix.series.sort_by(|a, b| {
                let (a, b) = (a.row.floats[0], b.row.floats[0]);
                let order = a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
                if descending && !a.is_nan() && !b.is_nan() { order.reverse() } else { order }
            });
        }
        give(matrix, sink)
    }

    /// Quantiles of classic and native histograms, `places` being the arguments that notes name.
    #[allow(clippy::too_many_arguments)]
    fn stream_quantile(
        &self,
        families: &Families,
        q: &Scalars,
        call: &Call,
        places: [usize; 2],
        label: Option<&str>,
        steps: &Steps,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let [q_place, forced_place] = places.map(|at| call.args[at].place());
        for at in 0..steps.count {
            if !(0.0..=1.0).contains(&q.get(at)) {
                self.note(Note::InvalidQuantile(q.get(at)), q_place);
            }
        }
        families.stream(
            self,
            steps,
            sink,
            &|labels| match label {
                None => labels.clone(),
                Some(label) => labels.with(label, &open_metrics(q.get(0))),
            },
            &|at, found, name| match found {
                Found::Native(histogram) => {
                    let (value, effect) = quantile::quantile(q.get(at), histogram);
                    let place = call.args[usize::from(label.is_none())].place();
                    match effect {
                        NanEffect::None => {}
                        NanEffect::Result => self.note(Note::NanResult(name), place),
                        NanEffect::Skew => self.note(Note::NanSkew(name), place),
                    }
                    value
                }
                Found::Classic(buckets) => {
                    let (value, forced) = classic::quantile(q.get(at), buckets);
                    if forced.any {
                        let time = steps.time(at);
                        let detail = ForcedDetail {
                            first_ms: time,
                            last_ms: time,
                            samples: 1,
                            lowest: forced.lowest,
                            highest: forced.highest,
                            largest_difference: forced.largest_difference,
                        };
                        self.annotations.borrow_mut().add_forced(name, forced_place, detail);
                    }
                    value
                }
            },
        )
    }

    fn stream_quantiles(&self, call: &Call, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        let label = text_of(&call.args[1])?;
        let families = Families::of(self, &call.args[0], steps)?;
        for at in 2..call.args.len() {
            let q = self.scalars(&call.args[at], steps)?;
            self.stream_quantile(&families, &q, call, [at, 1], Some(label), steps, sink)?;
        }
        Ok(())
    }

    fn stream_fraction(&self, call: &Call, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        let lower = self.scalars(&call.args[0], steps)?;
        let upper = self.scalars(&call.args[1], steps)?;
        let families = Families::of(self, &call.args[2], steps)?;
        families.stream(self, steps, sink, &Labels::clone, &|at, found, name| match found {
            Found::Native(histogram) => {
                if histogram.sum.is_nan() && histogram.count != 0.0 {
                    self.note(Note::NanFraction(name), call.args[2].place());
                }
                quantile::fraction(lower.get(at), upper.get(at), histogram)
            }
            Found::Classic(buckets) => classic::fraction(lower.get(at), upper.get(at), buckets),
        })
    }
}

/// Digits compare as numbers, all else as text.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (Some(first), Some(second)) = (a.chars().next(), b.chars().next()) else {
            return a.len().cmp(&b.len());
        };
        if first.is_ascii_digit() && second.is_ascii_digit() {
            let split = |text: &'_ str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let ((x, rest_a), (y, rest_b)) = (a.split_at(split(a)), b.split_at(split(b)));
            let (x, y) = (x.trim_start_matches('0'), y.trim_start_matches('0'));
            let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
            if order.is_ne() {
                return order;
            }
            (a, b) = (rest_a, rest_b);
        } else if first != second {
            return first.cmp(&second);
        } else {
            (a, b) = (&a[first.len_utf8()..], &b[second.len_utf8()..]);
        }
    }
}

/// What one histogram has at one step.
enum Found<'a> {
    Native(&'a Histogram),
    Classic(&'a mut Vec<ClassicBucket>),
}

/// Series that belong to the same histogram: native, classic buckets, or both.
#[derive(Debug)]
struct Family {
    labels: Labels,
    native: Vec<usize>,
    /// Upper boundary and series.
    classic: Vec<(f64, usize)>,
}

#[derive(Debug)]
struct Families {
    matrix: Matrix,
    families: Vec<Family>,
    place: Place,
}

/// The family of these labels, begun when it is new.
fn family(known: &mut HashMap<Labels, usize>, families: &mut Vec<Family>, labels: Labels) -> usize {
    *known.entry(labels.clone()).or_insert_with(|| {
        families.push(Family { labels, native: Vec::new(), classic: Vec::new() });
        families.len() - 1
    })
}

impl Families {
    fn of(evaluator: &Evaluator, arg: &Expr, steps: &Steps) -> Result<Self> {
        let (matrix, place) = (evaluator.collect(arg, steps)?, arg.place());
        let mut known: HashMap<Labels, usize> = HashMap::new();
        let mut families: Vec<Family> = Vec::new();
        for (at, series) in matrix.series.iter().enumerate() {
            if series.row.floats.iter().any(|value| !is_absent(*value)) {
                let le = series.labels.get("le");
                match le.parse::<f64>() {
                    Ok(upper) => {
                        let of = family(&mut known, &mut families, series.labels.without(&["le"]));
                        families[of].classic.push((upper, at));
                    }
                    Err(_) => {
                        evaluator.note(Note::BadBucketLabel(series.labels.metric_name(), le), place);
                    }
                }
            }
            if series.row.has_histograms() {
                let of = family(&mut known, &mut families, series.labels.clone());
                families[of].native.push(at);
            }
        }
        for family in &mut families {
            family.classic.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        Ok(Self { matrix, families, place })
    }

    fn stream(
        &self,
        evaluator: &Evaluator,
        steps: &Steps,
        sink: &mut Sink<'_>,
        name_it: &dyn Fn(&Labels) -> Labels,
        function: &dyn Fn(usize, Found<'_>, &str) -> f64,
    ) -> Result<()> {
        let (mut buckets, mut row) = (Vec::new(), Row::default());
        for family in &self.families {
            evaluator.budget.check()?;
            row.reset(steps.count);
            let name = family.labels.metric_name();
            for at in 0..steps.count {
                buckets.clear();
                for (upper, series) in &family.classic {
                    let count = self.matrix.series[*series].row.floats[at];
                    if !is_absent(count) {
                        buckets.push(ClassicBucket { upper: *upper, count });
                    }
                }
                let native =
                    family.native.iter().find_map(|series| match self.matrix.series[*series].row.get(at) {
                        Cell::Histogram(histogram) => Some(Arc::clone(histogram)),
                        _ => None,
                    });
                row.floats[at] = match native {
                    Some(_) if !buckets.is_empty() => {
                        evaluator.note(Note::MixedClassicNative(name), self.place);
                        continue;
                    }
                    Some(histogram) => function(at, Found::Native(&histogram), name),
                    None if buckets.is_empty() => continue,
                    None => function(at, Found::Classic(&mut buckets), name),
                };
            }
            if !row.is_empty() {
                sink(&name_it(&family.labels), true, &mut row)?;
            }
        }
        Ok(())
    }
}
