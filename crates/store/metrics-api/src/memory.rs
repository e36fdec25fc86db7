//! Both ports in plain collections: for tests, and for small sets of samples of short life.
//! It keeps everything until it is dropped and is bounded by [`SAMPLES_MAX`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base::Tenant;
use futures_util::future::BoxFuture;

use crate::{
    Appended, Budget, CardinalityEntry, CardinalityReport, Error, Exemplar, Histogram, LabelQuery, Labels,
    Matcher, Metadata, Reader, RefusalKind, Result, Samples, Select, SeriesExemplars, SeriesReader,
    SeriesSet, TimeRange, WriteBatch, Writer,
};

/// Samples kept for all tenants together.
pub const SAMPLES_MAX: u64 = 50_000_000;

#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tenants: BTreeMap<Tenant, TenantState>,
    samples: u64,
}

#[derive(Debug, Default)]
struct TenantState {
    series: BTreeMap<Labels, Series>,
    metadata: BTreeMap<String, Vec<Metadata>>,
}

#[derive(Debug, Default)]
struct Series {
    points: Arc<BTreeMap<i64, Point>>,
    exemplars: Vec<Exemplar>,
}

#[derive(Debug, Clone)]
enum Point {
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl Point {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Histogram(a), Self::Histogram(b)) => a == b,
            _ => false,
        }
    }
}

impl MemoryStore {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Writer::write`], at once.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it is full; nothing was taken.
    pub fn write_now(&self, tenant: &Tenant, batch: &WriteBatch) -> Result<Appended> {
        let mut state = self.state();
        if state.samples + batch.samples_len() as u64 > SAMPLES_MAX {
            return Err(Error::Unavailable {
                why: format!("the store in memory holds {SAMPLES_MAX} samples at most"),
            });
        }
        let kept = state.tenants.entry(tenant.clone()).or_default();
        let mut appended = Appended::default();
        let mut added = 0;
        for row in batch.rows() {
            let samples = (row.floats.len() + row.histograms.len()) as u64;
            let Some(labels) = Labels::from_bytes(row.labels) else {
                appended.refuse(RefusalKind::Labels, samples, || "labels out of order".into());
                continue;
            };
            let series = kept.series.entry(labels.clone()).or_default();
            let floats = row.floats.iter().map(|&(time, value)| (time, Point::Float(value)));
            let histograms =
                row.histograms.iter().map(|(time, h)| (*time, Point::Histogram(Arc::new(h.clone()))));
            let points = Arc::make_mut(&mut series.points);
            for (time_ms, point) in floats.chain(histograms) {
                match points.get(&time_ms) {
                    Some(known) if known.same(&point) => {
                        appended.samples += 1;
                        appended.duplicates += 1;
                    }
                    Some(_) => appended.refuse(RefusalKind::Conflict, 1, || format!("{labels} at {time_ms}")),
                    None => {
                        points.insert(time_ms, point);
                        appended.samples += 1;
                        added += 1;
                    }
                }
            }
            appended.exemplars += row.exemplars.len() as u64;
            series.exemplars.extend_from_slice(row.exemplars);
            series.exemplars.sort_by_key(|exemplar| exemplar.time_ms);
        }
        for (name, said) in &batch.metadata {
            let known = kept.metadata.entry(name.clone()).or_default();
            if !known.contains(said) {
                known.push(said.clone());
            }
        }
        state.samples += added;
        Ok(appended)
    }

    fn matching<T>(
        &self,
        tenant: &Tenant,
        query: &LabelQuery,
        mut each: impl FnMut(&Labels, &Series) -> T,
    ) -> Vec<T> {
        let state = self.state();
        let Some(kept) = state.tenants.get(tenant) else { return Vec::new() };
        let wanted = |labels: &Labels, series: &Series| {
            let meets = |set: &Vec<Matcher>| set.iter().all(|matcher| matcher.matches_labels(labels));
            (query.any_of.is_empty() || query.any_of.iter().any(meets)) && in_range(series, query.range)
        };
        kept.series
            .iter()
            .filter(|(labels, series)| wanted(labels, series))
            .map(|(l, s)| each(l, s))
            .collect()
    }

    fn texts(
        &self,
        tenant: &Tenant,
        query: &LabelQuery,
        each: impl Fn(&Labels, &mut BTreeSet<String>),
    ) -> Vec<String> {
        let mut found = BTreeSet::new();
        self.matching(tenant, query, |labels, _| each(labels, &mut found));
        let limit = if query.limit == 0 { usize::MAX } else { query.limit };
        found.into_iter().take(limit).collect()
    }
}

fn in_range(series: &Series, range: TimeRange) -> bool {
    range.start_ms <= range.end_ms && series.points.range(range.start_ms..=range.end_ms).next().is_some()
}

impl Writer for MemoryStore {
    fn write<'a>(&'a self, tenant: &'a Tenant, batch: WriteBatch) -> BoxFuture<'a, Result<Appended>> {
        Box::pin(async move { self.write_now(tenant, &batch) })
    }
}

impl Reader for MemoryStore {
    fn select<'a>(
        &'a self,
        tenant: &'a Tenant,
        select: &'a Select,
        budget: &'a Arc<Budget>,
    ) -> BoxFuture<'a, Result<SeriesSet>> {
        Box::pin(async move {
            let query = LabelQuery { any_of: vec![select.matchers.clone()], range: select.range, limit: 0 };
            let series = self.matching(tenant, &query, |labels, series| {
                let (labels, points) = (labels.clone(), Arc::clone(&series.points));
                Box::new(MemorySeries { labels, points, budget: Arc::clone(budget) }) as Box<dyn SeriesReader>
            });
            budget.series(series.len() as u64)?;
            Ok(SeriesSet { series, warnings: Vec::new() })
        })
    }

    fn label_names<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a LabelQuery,
        _budget: &'a Arc<Budget>,
    ) -> BoxFuture<'a, Result<Vec<String>>> {
        Box::pin(async move {
            Ok(self.texts(tenant, query, |labels, found| {
                found.extend(labels.iter().map(|label| label.name.to_owned()));
            }))
        })
    }

    fn label_values<'a>(
        &'a self,
        tenant: &'a Tenant,
        name: &'a str,
        query: &'a LabelQuery,
        _budget: &'a Arc<Budget>,
    ) -> BoxFuture<'a, Result<Vec<String>>> {
        Box::pin(async move {
            Ok(self.texts(tenant, query, |labels, found| {
                found.extend(
                    labels.iter().filter(|label| label.name == name).map(|label| label.value.to_owned()),
                );
            }))
        })
    }

    fn series<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a LabelQuery,
        budget: &'a Arc<Budget>,
    ) -> BoxFuture<'a, Result<Vec<Labels>>> {
        Box::pin(async move {
            let mut found = self.matching(tenant, query, |labels, _| labels.clone());
            budget.series(found.len() as u64)?;
            if query.limit > 0 {
                found.truncate(query.limit);
            }
            Ok(found)
        })
    }

    fn metadata<'a>(
        &'a self,
        tenant: &'a Tenant,
        metric: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<(String, Vec<Metadata>)>>> {
        Box::pin(async move {
            let state = self.state();
            let Some(kept) = state.tenants.get(tenant) else { return Ok(Vec::new()) };
            let wanted = |name: &String| metric.is_none_or(|metric| metric == name);
            Ok(kept
                .metadata
                .iter()
                .filter(|(name, _)| wanted(name))
                .map(|(n, s)| (n.clone(), s.clone()))
                .collect())
        })
    }

    fn exemplars<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a LabelQuery,
    ) -> BoxFuture<'a, Result<Vec<SeriesExemplars>>> {
        Box::pin(async move {
            let all = LabelQuery { range: TimeRange::ALL, ..query.clone() };
            let found = self.matching(tenant, &all, |labels, series| SeriesExemplars {
                series: labels.clone(),
                exemplars: series
                    .exemplars
                    .iter()
                    .filter(|e| query.range.contains(e.time_ms))
                    .cloned()
                    .collect(),
            });
            Ok(found.into_iter().filter(|series| !series.exemplars.is_empty()).collect())
        })
    }

    fn cardinality<'a>(&'a self, tenant: &'a Tenant, top: usize) -> BoxFuture<'a, Result<CardinalityReport>> {
        Box::pin(async move {
            let state = self.state();
            let Some(kept) = state.tenants.get(tenant) else { return Ok(CardinalityReport::default()) };
            Ok(report(kept, top))
        })
    }

    fn delete<'a>(&'a self, tenant: &'a Tenant, query: &'a LabelQuery) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let touched = self.matching(tenant, query, |labels, _| labels.clone());
            let mut state = self.state();
            let mut removed = 0;
            if let Some(kept) = state.tenants.get_mut(tenant) {
                for labels in &touched {
                    if let Some(series) = kept.series.get_mut(labels) {
                        let points = Arc::make_mut(&mut series.points);
                        let before = points.len();
                        points.retain(|time_ms, _| !query.range.contains(*time_ms));
                        removed += (before - points.len()) as u64;
                    }
                }
                kept.series.retain(|_, series| !series.points.is_empty());
            }
            state.samples -= removed;
            Ok(touched.len() as u64)
        })
    }
}

fn report(kept: &TenantState, top: usize) -> CardinalityReport {
    let mut by_metric = BTreeMap::<String, u64>::new();
    let mut by_pair = BTreeMap::<(String, String), u64>::new();
    for labels in kept.series.keys() {
        *by_metric.entry(labels.metric_name().to_owned()).or_default() += 1;
        for label in labels {
            *by_pair.entry((label.name.to_owned(), label.value.to_owned())).or_default() += 1;
        }
    }
    let (mut values, mut memory) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
    for (name, value) in by_pair.keys() {
        *values.entry(name.clone()).or_default() += 1;
        *memory.entry(name.clone()).or_default() += value.len() as u64;
    }
    let times = || kept.series.values().flat_map(|series| series.points.keys().copied());
    let label_pairs = by_pair.len() as u64;
    let by_pair = by_pair.into_iter().map(|((name, value), series)| (format!("{name}={value}"), series));
    CardinalityReport {
        series: kept.series.len() as u64,
        label_pairs,
        min_time_ms: times().min().unwrap_or_default(),
        max_time_ms: times().max().unwrap_or_default(),
        series_by_metric: largest(by_metric, top),
        values_by_label: largest(values, top),
        memory_bytes_by_label: largest(memory, top),
        series_by_label_pair: largest(by_pair, top),
    }
}

fn largest(entries: impl IntoIterator<Item = (String, u64)>, top: usize) -> Vec<CardinalityEntry> {
    let mut all: Vec<_> = entries.into_iter().map(|(name, value)| CardinalityEntry { name, value }).collect();
    all.sort_by(|a, b| b.value.cmp(&a.value).then_with(|| a.name.cmp(&b.name)));
    all.truncate(top);
    all
}

#[derive(Debug)]
struct MemorySeries {
    labels: Labels,
    points: Arc<BTreeMap<i64, Point>>,
    budget: Arc<Budget>,
}

impl SeriesReader for MemorySeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn read(&mut self, range: TimeRange, into: &mut Samples) -> Result<()> {
        if range.start_ms > range.end_ms {
            return Ok(());
        }
        let before = into.len();
        for (&time_ms, point) in self.points.range(range.start_ms..=range.end_ms) {
            match point {
                Point::Float(value) => into.push_float(time_ms, *value),
                Point::Histogram(value) => into.push_histogram(time_ms, Arc::clone(value)),
            }
        }
        self.budget.samples((into.len() - before) as u64)
    }
}
