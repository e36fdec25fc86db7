//! `info`: labels of info metrics added to the series of the same target.

use std::collections::{BTreeMap, HashMap, HashSet};

use metrics_api::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher, Samples, TimeRange, is_stale};

use crate::{
    ast::{Call, Expr},
    eval::{
        Error, Result,
        labels::give,
        node::Evaluator,
        prepare::Frame,
        row::{Matrix, Row, Series, Sink, Steps},
    },
};

/// The info metric when none is named.
pub(crate) const TARGET_INFO: &str = "target_info";
/// Labels that say which target a series is of.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// Whether a condition says which info metrics are meant, rather than which are not.
fn is_positive_name(matcher: &Matcher) -> bool {
    matcher.name == METRIC_NAME && matches!(matcher.op, MatchOp::Equal | MatchOp::Regex)
}

/// What the store is asked for: without a name `target_info`, and where names are only excluded
/// those that end as info metrics do.
pub(crate) fn selecting_matchers(call: &Call) -> Result<Vec<Matcher>> {
    let mut matchers = match call.args.get(1).map(Expr::unwrapped) {
        Some(Expr::Vector(selector)) => selector.matchers.clone(),
        _ => Vec::new(),
    };
    if !matchers.iter().any(|matcher| matcher.name == METRIC_NAME) {
        matchers.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
    } else if !matchers.iter().any(is_positive_name) {
        matchers.push(Matcher::new(METRIC_NAME, MatchOp::Regex, ".+_info")?);
    }
    Ok(matchers)
}

/// The time of which info series are looked up: that of the first selector of the argument.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reference {
    at: Option<i64>,
    offset_ms: i64,
}

impl Reference {
    pub fn of(expr: &Expr, frame: &Frame, text: &str) -> Result<Self> {
        let mut found = Self { at: None, offset_ms: 0 };
        found.descend(expr, frame, text)?;
        Ok(found)
    }

    pub fn time(&self, evaluated_at: i64) -> i64 {
        self.at.unwrap_or(evaluated_at) - self.offset_ms
    }

    /// Goes down to the first selector; whether there is one.
    fn descend(&mut self, expr: &Expr, frame: &Frame, text: &str) -> Result<bool> {
        let (at, offset, inner) = match expr {
            Expr::Vector(selector) => (selector.at, selector.offset.as_ref(), None),
            Expr::Matrix(matrix) => (matrix.selector.at, matrix.selector.offset.as_ref(), None),
            Expr::Subquery(subquery) => (subquery.at, subquery.offset.as_ref(), Some(&*subquery.expr)),
            other => {
                for child in other.children() {
                    if self.descend(child, frame, text)? {
                        return Ok(true);
                    }
                }
                return Ok(false);
            }
        };
        let before = *self;
        if let Some(at) = frame.at(at) {
            *self = Self { at: Some(at), offset_ms: 0 };
        }
        self.offset_ms += frame.offset_ms(offset, text)?;
        let found = match inner {
            Some(inner) => self.descend(inner, frame, text)?,
            None => true,
        };
        if !found {
            *self = before;
        }
        Ok(found)
    }
}

/// An info series with the time of its sample at each step.
struct InfoSeries {
    labels: Labels,
    times: Vec<Option<i64>>,
}

impl Evaluator {
    pub fn stream_info(&self, call: &Call, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        let base = self.collect(&call.args[0], steps)?;
        let matchers: Vec<Matcher> = match call.args.get(1).map(Expr::unwrapped) {
            Some(Expr::Vector(selector)) => selector.matchers.clone(),
            _ => vec![Matcher::equal(METRIC_NAME, TARGET_INFO)],
        };
        let positive = matchers.iter().any(is_positive_name);
        let (names, data): (Vec<_>, Vec<_>) =
            matchers.iter().partition(|matcher| matcher.name == METRIC_NAME);
        let is_info =
            |labels: &Labels| positive && names.iter().all(|matcher| matcher.matches(labels.metric_name()));
        let wanted: Vec<HashSet<&str>> = IDENTIFYING
            .iter()
            .map(|name| {
                let plain = base.series.iter().filter(|series| !is_info(&series.labels));
                plain.map(|series| series.labels.get(name)).filter(|value| !value.is_empty()).collect()
            })
            .collect();
        let infos = if wanted.iter().all(HashSet::is_empty) {
            Vec::new()
        } else {
            self.info_series(call, steps, &wanted)?
        };
        let mut enriched =
            Enriched { data: &data, budget: self, matrix: Matrix::default(), known: HashMap::new() };
        for at in 0..steps.count {
            self.budget.check()?;
            let newest = newest(&infos, at)?;
            for series in base.series.iter().filter(|series| series.row.has(at)) {
                if is_info(&series.labels) {
                    enriched.push(series.labels.clone(), series, at, steps)?;
                } else if let Some(labels) = enriched.labels(&series.labels, &newest)? {
                    enriched.push(labels, series, at, steps)?;
                }
            }
        }
        give(enriched.matrix, sink)
    }

    fn info_series(&self, call: &Call, steps: &Steps, wanted: &[HashSet<&str>]) -> Result<Vec<InfoSeries>> {
        let reference = Reference::of(&call.args[0], &self.frame, &self.text)?;
        let lookback = self.frame.lookback_ms;
        let (first, last) = (reference.time(steps.start_ms), reference.time(steps.end_ms()));
        let range = TimeRange::new(first - lookback + 1, last);
        let (mut samples, mut found) = (Samples::default(), Vec::new());
        self.each_at(call.place, &mut |reader| {
            let of_target = IDENTIFYING
                .iter()
                .zip(wanted)
                .all(|(name, wanted)| wanted.is_empty() || wanted.contains(reader.labels().get(name)));
            if !of_target {
                return Ok(());
            }
            samples.clear();
            reader.read(range, &mut samples)?;
            if !samples.histograms.is_empty() {
                return Err(Error::execution(format!(
                    "this should be an info metric, with float samples: {}",
                    reader.labels()
                )));
            }
            let at = |step: usize| {
                let time = reference.time(steps.time(step));
                let last = samples.float_times.partition_point(|t| *t <= time).checked_sub(1)?;
                let fresh = samples.float_times[last] > time - lookback && !is_stale(samples.floats[last]);
                fresh.then(|| samples.float_times[last])
            };
            let times: Vec<_> = (0..steps.count).map(at).collect();
            if times.iter().any(Option::is_some) {
                found.push(InfoSeries { labels: reader.labels().clone(), times });
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// The newest info series by the target and their name.
type Newest<'a> = HashMap<[&'a str; 2], BTreeMap<&'a str, (&'a Labels, i64)>>;

fn newest(infos: &[InfoSeries], at: usize) -> Result<Newest<'_>> {
    let mut newest: Newest<'_> = HashMap::new();
    for info in infos {
        let Some(time) = info.times[at] else { continue };
        let target = IDENTIFYING.map(|name| info.labels.get(name));
        let of_target = newest.entry(target).or_default();
        match of_target.get(info.labels.metric_name()) {
            Some((known, known_time)) if *known_time == time => {
                return Err(Error::execution(format!(
                    "found duplicate series for info metric: existing {known} @ {known_time}, new {} @ {time}",
                    info.labels
                )));
            }
            Some((_, known_time)) if *known_time > time => {}
            _ => {
                of_target.insert(info.labels.metric_name(), (&info.labels, time));
            }
        }
    }
    Ok(newest)
}

struct Enriched<'a> {
    data: &'a [&'a Matcher],
    budget: &'a Evaluator,
    matrix: Matrix,
    known: HashMap<Labels, usize>,
}

impl Enriched<'_> {
    /// The labels of a series with those of its info series; None when it needs some that are not
    /// there.
    fn labels(&self, base: &Labels, newest: &Newest<'_>) -> Result<Option<Labels>> {
        let target = IDENTIFYING.map(|name| base.get(name));
        let Some(infos) = newest.get(&target).filter(|infos| !infos.is_empty()) else {
            return Ok(self.data.iter().all(|matcher| matcher.matches_empty()).then(|| base.clone()));
        };
        let mut added = LabelsBuilder::default();
        for (info, _) in infos.values() {
            for label in info.iter().filter(|label| label.name != METRIC_NAME) {
                let chosen = self.data.is_empty() || self.data.iter().any(|m| m.name == label.name);
                if !chosen {
                    continue;
                }
                let known = added.get(label.name);
                if !known.is_empty() && known != label.value {
                    return Err(Error::execution(format!("conflicting label: {}", label.name)));
                }
                if !base.has(label.name) {
                    added.set(label.name, label.value);
                }
            }
        }
        let mut labels = LabelsBuilder::from(base);
        for (name, value) in added.iter() {
            labels.set(name, value);
        }
        Ok(Some(labels.build()))
    }

    fn push(&mut self, labels: Labels, from: &Series, at: usize, steps: &Steps) -> Result<()> {
        let index = match self.known.get(&labels) {
            Some(index) => *index,
            None => {
                self.known.insert(labels.clone(), self.matrix.series.len());
                let row = Row::of(steps.count);
                self.matrix.push(Series { labels, drop_name: from.drop_name, row }, &self.budget.budget)?;
                self.matrix.series.len() - 1
            }
        };
        let row = &mut self.matrix.series[index].row;
        if row.has(at) {
            return Err(Error::same_labels());
        }
        row.copy_from(at, &from.row, at);
        Ok(())
    }
}
