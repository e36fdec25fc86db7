//! Aggregations that choose among the series of a group: `topk`, `bottomk`, `limitk`, `limit_ratio`.

use std::collections::HashMap;

use metrics_api::Labels;
use xxhash_rust::xxh64::xxh64;

use crate::{
    ast::{Aggregate, AggregateOp},
    eval::{
        Error, Result,
        aggregate::Groups,
        annotation::Note,
        node::Evaluator,
        row::{Matrix, Row, Scalars, Series, Sink, Steps, is_absent},
        text::percent_g,
    },
};

/// Values with the number of their series, the first to go in front, as Go's `container/heap` orders
/// them: which of equal values stays depends on it.
#[derive(Debug, Clone, Default)]
struct Heap(Vec<(f64, usize)>);

impl Heap {
    fn less(a: f64, b: f64, largest: bool) -> bool {
        a.is_nan() || if largest { a < b } else { a > b }
    }

    fn offer(&mut self, value: f64, series: usize, limit: usize, largest: bool) {
        if self.0.len() < limit {
            self.0.push((value, series));
            let mut at = self.0.len() - 1;
            while at > 0 {
                let parent = (at - 1) / 2;
                if !Self::less(self.0[at].0, self.0[parent].0, largest) {
                    break;
                }
                self.0.swap(at, parent);
                at = parent;
            }
            return;
        }
        let worst = self.0[0].0;
        let better = if largest { worst < value } else { worst > value };
        if better || (worst.is_nan() && !value.is_nan()) {
            self.0[0] = (value, series);
            self.sink_first(largest);
        }
    }

    fn sink_first(&mut self, largest: bool) {
        let mut at = 0;
        loop {
            let mut child = 2 * at + 1;
            if child >= self.0.len() {
                return;
            }
            if child + 1 < self.0.len() && Self::less(self.0[child + 1].0, self.0[child].0, largest) {
                child += 1;
            }
            if !Self::less(self.0[child].0, self.0[at].0, largest) {
                return;
            }
            self.0.swap(at, child);
            at = child;
        }
    }

    /// Best first, NaN last.
    fn sorted(mut self, largest: bool) -> Vec<(f64, usize)> {
        self.0.sort_by(|a, b| match (a.0.is_nan(), b.0.is_nan()) {
            (false, false) if largest => b.0.total_cmp(&a.0),
            (false, false) => a.0.total_cmp(&b.0),
            (a, b) => a.cmp(&b),
        });
        self.0
    }
}

impl Evaluator {
    pub fn stream_k(&self, aggregate: &Aggregate, steps: &Steps, sink: &mut Sink<'_>) -> Result<()> {
        let param = match &aggregate.param {
            Some(param) => self.scalars(param, steps)?,
            None => Scalars::Same(0.0),
        };
        let (least, most) = param.min_max();
        if aggregate.op == AggregateOp::LimitRatio {
            if least == 0.0 && most == 0.0 {
                return Ok(());
            }
            return self.stream_ratio(aggregate, &param, (least, most), steps, sink);
        }
        if most < 1.0 {
            return Ok(());
        }
        if most.is_nan() {
            return Err(Error::execution("Parameter value is NaN"));
        }
        if least <= i64::MIN as f64 {
            return Err(Error::execution(format!("Scalar value {} underflows int64", percent_g(least))));
        }
        if most >= i64::MAX as f64 {
            return Err(Error::execution(format!("Scalar value {} overflows int64", percent_g(most))));
        }
        if aggregate.op == AggregateOp::Limitk {
            return self.stream_limit(aggregate, &param, steps, sink);
        }
        self.stream_best(aggregate, &param, steps, sink)
    }

    fn stream_ratio(
        &self,
        aggregate: &Aggregate,
        param: &Scalars,
        (least, most): (f64, f64),
        steps: &Steps,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        if most.is_nan() {
            return Err(Error::execution("Ratio value is NaN"));
        }
        let place = aggregate.param.as_ref().map_or(aggregate.place, |param| param.place());
        if most > 1.0 {
            self.note(Note::InvalidRatio(most, 1.0), place);
        }
        if least < -1.0 {
            self.note(Note::InvalidRatio(least, -1.0), place);
        }
        self.stream(&aggregate.expr, steps, &mut |labels, drop_name, row| {
            let offset = offset_of(labels);
            for at in 0..steps.count {
                let ratio = param.get(at).clamp(-1.0, 1.0);
                let keep = if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio };
                if !keep {
                    row.clear(at);
                }
            }
            if row.is_empty() { Ok(()) } else { sink(labels, drop_name, row) }
        })
    }

    /// The first `k` of each group.
    fn stream_limit(
        &self,
        aggregate: &Aggregate,
        param: &Scalars,
        steps: &Steps,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let mut groups = Groups::new(aggregate);
        let mut taken: Vec<Vec<u64>> = Vec::new();
        let mut held = Vec::new();
        self.stream(&aggregate.expr, steps, &mut |labels, drop_name, row| {
            let (group, new) = groups.of(labels);
            if new.is_some() {
                held.push(self.budget.reserve(steps.count as u64 * 8)?);
                taken.push(vec![0; steps.count]);
            }
            for (at, taken) in taken[group].iter_mut().enumerate() {
                if !row.has(at) {
                    continue;
                }
                if (*taken as f64) < param.get(at).trunc() {
                    *taken += 1;
                } else {
                    row.clear(at);
                }
            }
            if row.is_empty() { Ok(()) } else { sink(labels, drop_name, row) }
        })
    }

    /// The `k` largest or smallest of each group: a heap for each group and step.
    fn stream_best(
        &self,
        aggregate: &Aggregate,
        param: &Scalars,
        steps: &Steps,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let largest = aggregate.op == AggregateOp::Topk;
        let place = aggregate.expr.place();
        let mut groups = Groups::new(aggregate);
        let mut heaps: Vec<Vec<Heap>> = Vec::new();
        let mut series: Vec<(Labels, bool)> = Vec::new();
        let mut held = Vec::new();
        self.stream(&aggregate.expr, steps, &mut |labels, drop_name, row| {
            if row.has_histograms() {
                self.note(Note::IgnoredInAggregation(aggregate.op.as_str()), place);
            }
            let (group, new) = groups.of(labels);
            if new.is_some() {
                held.push(self.budget.reserve(steps.count as u64 * size_of::<Heap>() as u64)?);
                heaps.push(vec![Heap::default(); steps.count]);
            }
            let (number, mut grown) = (series.len(), 0);
            series.push((labels.clone(), drop_name));
            for (at, value) in row.floats.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
                let limit = param.get(at);
                if limit >= 1.0 {
                    let heap = &mut heaps[group][at];
                    let before = heap.0.len();
                    heap.offer(*value, number, limit as usize, largest);
                    grown += (heap.0.len() - before) as u64 * 16;
                }
            }
            held.push(self.budget.reserve(grown + labels.as_bytes().len() as u64)?);
            Ok(())
        })?;
        let mut matrix = Matrix::default();
        let mut known: HashMap<usize, usize> = HashMap::new();
        for group in heaps {
            for (at, heap) in group.into_iter().enumerate() {
                for (value, number) in heap.sorted(largest) {
                    let index = match known.get(&number) {
                        Some(index) => *index,
                        None => {
                            let (labels, drop_name) = series[number].clone();
                            known.insert(number, matrix.series.len());
                            let row = Row::of(steps.count);
                            matrix.push(Series { labels, drop_name, row }, &self.budget)?;
                            matrix.series.len() - 1
                        }
                    };
                    matrix.series[index].row.floats[at] = value;
                }
            }
        }
        crate::eval::labels::give(matrix, sink)
    }
}

/// Where between 0 and 1 a series stands, by its labels: XXH64 of their encoded form, in which
/// lengths take one byte, or four from 255 on (upstream's `stringlabels`).
fn offset_of(labels: &Labels) -> f64 {
    let mut bytes = Vec::with_capacity(labels.as_bytes().len() + 8);
    for text in labels.iter().flat_map(|label| [label.name, label.value]) {
        if text.len() < 255 {
            bytes.push(text.len() as u8);
        } else {
            let len = text.len() as u32;
            bytes.extend_from_slice(&[255, len as u8, (len >> 8) as u8, (len >> 16) as u8]);
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    xxh64(&bytes, 0) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_keeps_the_best_and_nan_only_for_want_of_others() {
        let mut heap = Heap::default();
        for (series, value) in [f64::NAN, 1.0, 5.0, 3.0].into_iter().enumerate() {
            heap.offer(value, series, 2, true);
        }
        assert_eq!(heap.sorted(true), [(5.0, 2), (3.0, 3)]);
    }

    #[test]
    fn a_ratio_and_its_complement_share_no_series() {
        let offset = offset_of(&Labels::from_pairs([("a", "1")]));
        assert!((0.0..=1.0).contains(&offset));
        assert_ne!(offset, offset_of(&Labels::from_pairs([("a", "2")])));
    }
}
