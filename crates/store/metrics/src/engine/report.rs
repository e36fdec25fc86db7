//! What makes the number of series, and deletions.

use std::{collections::BTreeMap, sync::Arc};

use metrics_api::{Budget, CardinalityEntry, CardinalityReport, LabelQuery, Limits, Result};

use super::{
    Stats,
    manifest::{Condition, Deletion},
    tenant::{TenantStore, blocking, read, write},
};

impl TenantStore {
    /// Of the series that are active; times of all samples.
    pub fn cardinality(&self, top: usize) -> CardinalityReport {
        let head = read(&self.head);
        let mut report = CardinalityReport { series: head.registry.len(), ..CardinalityReport::default() };
        let (mut by_metric, mut by_pair) = (Vec::new(), Vec::new());
        let (mut values, mut bytes) = (BTreeMap::<&str, u64>::new(), BTreeMap::<&str, u64>::new());
        head.registry.each_pair(|name, value, series| {
            report.label_pairs += 1;
            *values.entry(name).or_default() += 1;
            *bytes.entry(name).or_default() += value.len() as u64;
            if name == metrics_api::METRIC_NAME {
                by_metric.push((value, series));
            }
            by_pair.push(((name, value), series));
        });
        report.series_by_metric = largest(by_metric, top, str::to_owned);
        report.values_by_label = largest(values.into_iter().collect(), top, str::to_owned);
        report.memory_bytes_by_label = largest(bytes.into_iter().collect(), top, str::to_owned);
        report.series_by_label_pair = largest(by_pair, top, |(name, value)| format!("{name}={value}"));
        let sealed = head.sealed.as_ref().map(|sealed| sealed.buffer.range());
        let memory =
            sealed.into_iter().chain([head.active.range()]).filter(|range| range.start_ms <= range.end_ms);
        let ranges: Vec<_> = memory.chain(head.parts.iter().map(|part| part.entry.range())).collect();
        report.min_time_ms = ranges.iter().map(|range| range.start_ms).min().unwrap_or_default();
        report.max_time_ms = ranges.iter().map(|range| range.end_ms).max().unwrap_or_default();
        report
    }

    /// Deletes samples that are there now; durable on return. Says how many series it touched.
    ///
    /// What is in memory becomes a part first, so that a deletion is about parts alone.
    pub async fn delete(self: &Arc<Self>, query: &LabelQuery) -> Result<u64> {
        let store = Arc::clone(self);
        let query = query.clone();
        // A person asked, and the answer is a number: no bound of a query.
        let limits = Limits {
            series_max: u64::MAX,
            samples_max: u64::MAX,
            memory_bytes_max: u64::MAX,
            ..Limits::default()
        };
        let budget = Budget::new(limits);
        let mut flushing = Arc::clone(&self.flushing).lock_owned().await;
        let mut pipeline = Arc::clone(&self.pipeline).lock_owned().await;
        blocking(move || {
            store.run_groups(&mut pipeline);
            store.write_sealed(&mut flushing)?;
            let touched = store.matching(&query, &budget)?;
            if touched.is_empty() {
                return Ok(0);
            }
            store.seal(&mut write(&store.head), &mut pipeline);
            store.write_sealed(&mut flushing)?;
            let any_of = query.any_of.iter().map(|set| set.iter().map(Condition::from).collect()).collect();
            store.publish(Vec::new(), &[], |manifest| {
                manifest.last_deletion += 1;
                manifest.deletions.push(Deletion {
                    number: manifest.last_deletion,
                    any_of,
                    start_ms: query.range.start_ms,
                    end_ms: query.range.end_ms,
                });
            })?;
            // The same sample sent again is a new one.
            let sets = if query.any_of.is_empty() { vec![Vec::new()] } else { query.any_of };
            let head = read(&store.head);
            for set in &sets {
                head.registry.select(set).iter().for_each(|series| pipeline.forget_last(series));
            }
            Stats::add(&store.stats.deletions, 1);
            Ok(touched.len() as u64)
        })
        .await?
    }
}

fn largest<N>(mut all: Vec<(N, u64)>, top: usize, name: impl Fn(N) -> String) -> Vec<CardinalityEntry>
where
    N: Ord + Copy,
{
    all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(top);
    all.into_iter().map(|(of, value)| CardinalityEntry { name: name(of), value }).collect()
}
