//! Aggregations with one series for each group. Series are taken one at a time; what is held is one
//! number or two for each group and step.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use metrics_api::{Budget, Labels, METRIC_NAME, Reserved};

use crate::{
    ast::{Aggregate, AggregateOp, Place},
    eval::{
        Result,
        annotation::{Annotations, Note},
        labels::label_name,
        node::Evaluator,
        over_time::{HistogramTotal, Mean, quantile},
        row::{Cell, Row, Scalars, Sink, Steps, absent, is_absent},
        text,
    },
    histogram::Sum,
};

/// Which group a series belongs to.
pub(crate) struct Groups<'a> {
    grouping: &'a [String],
    without: bool,
    known: HashMap<Vec<u8>, usize>,
    key: Vec<u8>,
}

impl<'a> Groups<'a> {
    pub fn new(aggregate: &'a Aggregate) -> Self {
        Self {
            grouping: &aggregate.grouping,
            without: aggregate.without,
            known: HashMap::new(),
            key: Vec::new(),
        }
    }

    /// The number of the group, and its labels when it is new.
    pub fn of(&mut self, labels: &Labels) -> (usize, Option<Labels>) {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        if self.without || !self.grouping.is_empty() {
            for label in labels.iter().filter(|label| self.keeps(label.name)) {
                for text in [label.name, label.value] {
                    key.extend_from_slice(text.as_bytes());
                    // No text has this byte.
                    key.push(0xff);
                }
            }
        }
        self.key = key;
        if let Some(known) = self.known.get(&self.key) {
            return (*known, None);
        }
        let next = self.known.len();
        self.known.insert(self.key.clone(), next);
        (next, Some(labels.filter(|label| self.keeps(label.name))))
    }

    fn keeps(&self, name: &str) -> bool {
        let named = self.grouping.iter().any(|wanted| wanted == name);
        if self.without { !named && name != METRIC_NAME } else { named }
    }
}

/// What is held of a group's floats at each step.
enum Floats {
    Sum(Vec<Sum>),
    Mean(Vec<Mean>),
    /// Smallest or largest.
    Extreme(Vec<f64>),
    /// Of `count` and `group`.
    Count(Vec<f64>),
    /// Count, mean, sum of squared distances from it.
    Spread(Vec<[f64; 3]>),
    Values(Vec<Vec<f64>>),
}

/// Histograms of one group at one step.
struct Histograms {
    total: HistogramTotal,
    incompatible: bool,
}

struct Group {
    labels: Labels,
    drop_name: bool,
    floats: Floats,
    histograms: BTreeMap<usize, Histograms>,
    _held: Reserved,
}

struct Accumulator<'a> {
    op: AggregateOp,
    place: Place,
    steps: usize,
    budget: &'a Arc<Budget>,
    annotations: Annotations,
    groups: Vec<Group>,
    values_held: Vec<Reserved>,
}

impl Evaluator {
    pub fn stream_aggregate(&self, aggregate: &Aggregate, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        match aggregate.op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio => {
                return self.stream_k(aggregate, steps, sink);
            }
            AggregateOp::CountValues => return self.stream_count_values(aggregate, steps, sink),
            _ => {}
        }
        let param = match &aggregate.param {
            Some(param) => self.scalars(param, steps)?,
            None => Scalars::Same(0.0),
        };
        let mut groups = Groups::new(aggregate);
        let mut accumulator = Accumulator {
            op: aggregate.op,
            place: aggregate.expr.place(),
            steps: steps.count,
            budget: &self.budget,
            annotations: Annotations::default(),
            groups: Vec::new(),
            values_held: Vec::new(),
        };
        self.stream(&aggregate.expr, steps, &mut |labels, drop_name, row| {
            let (group, new) = groups.of(labels);
            if let Some(labels) = new {
                accumulator.begin(labels)?;
            }
            accumulator.add(group, labels, drop_name, row)
        })?;
        if aggregate.op == AggregateOp::Quantile && !accumulator.groups.is_empty() {
            let (least, most) = param.min_max();
            let place = aggregate.param.as_ref().map_or(aggregate.place, |param| param.place());
            for q in [least, most] {
                if !(0.0..=1.0).contains(&q) {
                    accumulator.annotations.add(Note::InvalidQuantile(q), place);
                }
            }
        }
        let mut row = Row::default();
        for group in std::mem::take(&mut accumulator.groups) {
            row.reset(steps.count);
            let (labels, drop_name) = accumulator.finish(group, &param, &mut row);
            if !row.is_empty() {
                sink(&labels, drop_name, &mut row)?;
            }
        }
        self.annotations.borrow_mut().merge(accumulator.annotations);
        Ok(())
    }

    fn stream_count_values(&self, aggregate: &Aggregate, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        let label = aggregate.param.as_deref().map_or(Ok(""), label_name)?;
        let mut groups = Groups::new(aggregate);
        let mut names: Vec<Labels> = Vec::new();
        let mut counted: Vec<(Labels, Row)> = Vec::new();
        let mut known: HashMap<Labels, usize> = HashMap::new();
        let mut held = Vec::new();
        self.stream(&aggregate.expr, steps, &mut |labels, _, row| {
            let (group, new) = groups.of(labels);
            names.extend(new);
            for at in 0..steps.count {
                let value = match row.get(at) {
                    Cell::None => continue,
                    Cell::Float(value) => text::plain(value),
                    Cell::Histogram(histogram) => text::histogram(histogram),
                };
                let labels = names[group].with(label, &value);
                let index = match known.get(&labels) {
                    Some(index) => *index,
                    None => {
                        let row = Row::of(steps.count);
                        held.push(self.budget.reserve(row.size_bytes() + labels.as_bytes().len() as u64)?);
                        known.insert(labels.clone(), counted.len());
                        counted.push((labels, row));
                        counted.len() - 1
                    }
                };
                let count = &mut counted[index].1.floats[at];
                *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
            }
            Ok(())
        })?;
        for (labels, mut row) in counted {
            sink(&labels, false, &mut row)?;
        }
        Ok(())
    }
}

impl Accumulator<'_> {
    fn begin(&mut self, labels: Labels) -> Result<()> {
        let steps = self.steps;
        let (floats, bytes) = match self.op {
            AggregateOp::Sum => (Floats::Sum(vec![Sum::new(absent()); steps]), size_of::<Sum>()),
            AggregateOp::Avg => (Floats::Mean(vec![Mean::default(); steps]), size_of::<Mean>()),
            AggregateOp::Min | AggregateOp::Max => (Floats::Extreme(vec![absent(); steps]), 8),
            AggregateOp::Stddev | AggregateOp::Stdvar => (Floats::Spread(vec![[0.0; 3]; steps]), 24),
            AggregateOp::Quantile => (Floats::Values(vec![Vec::new(); steps]), size_of::<Vec<f64>>()),
            _ => (Floats::Count(vec![0.0; steps]), 8),
        };
        let _held = self.budget.reserve((steps * bytes + labels.as_bytes().len()) as u64)?;
        self.groups.push(Group { labels, drop_name: false, floats, histograms: BTreeMap::new(), _held });
        Ok(())
    }

    fn add(&mut self, index: usize, labels: &Labels, drop_name: bool, row: &Row) -> Result<()> {
        let group = &mut self.groups[index];
        group.drop_name |= drop_name;
        let present = || row.floats.iter().enumerate().filter(|(_, value)| !is_absent(**value));
        match &mut group.floats {
            Floats::Sum(sums) => {
                for (sum, value) in sums.iter_mut().zip(&row.floats) {
                    if !is_absent(*value) {
                        if is_absent(sum.value) { *sum = Sum::new(*value) } else { sum.add(*value) }
                    }
                }
            }
            Floats::Mean(means) => {
                for (at, value) in present() {
                    if means[at].is_empty() { means[at] = Mean::new(*value) } else { means[at].add(*value) }
                }
            }
            Floats::Extreme(best) => {
                let largest = self.op == AggregateOp::Max;
                for (best, value) in best.iter_mut().zip(&row.floats) {
                    let beats = if largest { *best < *value } else { *best > *value };
                    if !is_absent(*value) && (beats || best.is_nan()) {
                        *best = *value;
                    }
                }
            }
            Floats::Count(counts) => {
                for (at, count) in counts.iter_mut().enumerate() {
                    if row.has(at) {
                        *count += 1.0;
                    }
                }
            }
            Floats::Spread(spreads) => {
                for (at, value) in present() {
                    let [count, mean, squares] = &mut spreads[at];
                    *count += 1.0;
                    if *count == 1.0 {
                        *mean = *value;
                        *squares = if value.is_finite() { 0.0 } else { f64::NAN };
                    } else {
                        let delta = value - *mean;
                        *mean += delta / *count;
                        *squares += delta * (value - *mean);
                    }
                }
            }
            Floats::Values(values) => {
                let mut added = 0;
                for (at, value) in present() {
                    values[at].push(*value);
                    added += 8;
                }
                self.values_held.push(self.budget.reserve(added)?);
            }
        }
        if row.has_histograms() {
            self.add_histograms(index, labels, row)?;
        }
        Ok(())
    }

    fn add_histograms(&mut self, index: usize, labels: &Labels, row: &Row) -> Result<()> {
        let group = &mut self.groups[index];
        let average = self.op == AggregateOp::Avg;
        for (at, histogram) in row.histograms.iter().enumerate() {
            let Some(histogram) = histogram else { continue };
            match self.op {
                AggregateOp::Count | AggregateOp::Group => return Ok(()),
                AggregateOp::Sum | AggregateOp::Avg => {
                    let Some(known) = group.histograms.get_mut(&at) else {
                        // Every number of a sum is held with what rounding lost of it.
                        self.values_held.push(self.budget.reserve(2 * histogram.size_bytes() as u64)?);
                        let total = HistogramTotal::new(histogram, average);
                        group.histograms.insert(at, Histograms { total, incompatible: false });
                        continue;
                    };
                    if !known.incompatible && known.total.add(histogram).is_err() {
                        known.incompatible = true;
                        let note = Note::MixedExponentialCustom(labels.metric_name());
                        self.annotations.add(note, self.place);
                    }
                }
                op => self.annotations.add(Note::IgnoredInAggregation(op.as_str()), self.place),
            }
        }
        Ok(())
    }

    /// The group's row.
    fn finish(&mut self, group: Group, param: &Scalars, row: &mut Row) -> (Labels, bool) {
        let op = self.op;
        match group.floats {
            Floats::Sum(sums) => {
                for (value, sum) in row.floats.iter_mut().zip(sums) {
                    if !is_absent(sum.value) {
                        *value = sum.total();
                    }
                }
            }
            Floats::Mean(means) => {
                for (value, mean) in row.floats.iter_mut().zip(means) {
                    if !mean.is_empty() {
                        *value = mean.value();
                    }
                }
            }
            Floats::Extreme(best) => row.floats = best,
            Floats::Count(counts) => {
                for (value, count) in row.floats.iter_mut().zip(counts) {
                    if count > 0.0 {
                        *value = if op == AggregateOp::Group { 1.0 } else { count };
                    }
                }
            }
            Floats::Spread(spreads) => {
                for (value, [count, _, squares]) in row.floats.iter_mut().zip(spreads) {
                    if count > 0.0 {
                        let variance = squares / count;
                        *value = if op == AggregateOp::Stddev { variance.sqrt() } else { variance };
                    }
                }
            }
            Floats::Values(values) => {
                for (at, mut values) in values.into_iter().enumerate() {
                    if !values.is_empty() {
                        row.floats[at] = quantile(param.get(at), &mut values);
                    }
                }
            }
        }
        for (at, histograms) in group.histograms {
            let has_float = !is_absent(row.floats[at]);
            row.floats[at] = absent();
            if has_float {
                self.annotations.add(Note::MixedFloatsHistogramsAggregation, self.place);
            } else if !histograms.incompatible {
                let place = self.place;
                histograms.total.notes(|note| self.annotations.add(note, place));
                row.set_histogram(at, Arc::new(histograms.total.build()));
            }
        }
        (group.labels, group.drop_name)
    }
}
