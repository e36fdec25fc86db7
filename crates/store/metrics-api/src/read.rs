//! What a store answers.

use std::{fmt, sync::Arc};

use base::Tenant;
use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::{Budget, Labels, Matcher, Metadata, Result, Samples};

/// Milliseconds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeRange {
    pub start_ms: i64,
    pub end_ms: i64,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { start_ms: i64::MIN, end_ms: i64::MAX };

    #[must_use]
    pub fn new(start_ms: i64, end_ms: i64) -> Self {
        Self { start_ms, end_ms }
    }
    #[must_use]
    pub fn contains(&self, time_ms: i64) -> bool {
        self.start_ms <= time_ms && time_ms <= self.end_ms
    }
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start_ms <= other.end_ms && other.start_ms <= self.end_ms
    }
}

/// What is wanted: series that meet all matchers and have samples in the range.
#[derive(Debug, Clone)]
pub struct Select {
    pub matchers: Vec<Matcher>,
    pub range: TimeRange,
}

/// What a port answers, later.
pub type Answer<'a, T> = BoxFuture<'a, Result<T>>;

/// Answers questions about what was taken in.
pub trait Reader: Send + Sync + fmt::Debug {
    /// The series of `select`, in no order, each once. Samples are read later, one series at a time,
    /// and are those of the moment of this call or newer. Series that turn out to have no samples in
    /// the range may be among them.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// A bound of `budget`; storage that fails.
    fn select<'a>(
        &'a self,
        tenant: &'a Tenant,
        select: &'a Select,
        budget: &'a Arc<Budget>,
    ) -> Answer<'a, SeriesSet>;

    /// Names of labels in order, of series that meet any of the matcher sets (no set: all series).
    fn label_names<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a LabelQuery,
        budget: &'a Arc<Budget>,
    ) -> Answer<'a, Vec<String>>;

    /// Values of one label in order, otherwise as [`Reader::label_names`].
    fn label_values<'a>(
        &'a self,
        tenant: &'a Tenant,
        name: &'a str,
        query: &'a LabelQuery,
        budget: &'a Arc<Budget>,
    ) -> Answer<'a, Vec<String>>;

    /// Labels of series that meet any of the matcher sets and have samples in the range, in order.
    fn series<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a LabelQuery,
        budget: &'a Arc<Budget>,
    ) -> Answer<'a, Vec<Labels>>;

    /// What was said of metrics, by name in order; of one metric when `metric` is given.
    fn metadata<'a>(
        &'a self,
        tenant: &'a Tenant,
        metric: Option<&'a str>,
    ) -> Answer<'a, Vec<(String, Vec<Metadata>)>>;

    /// Exemplars of the series that meet any of the matcher sets, each series' in order of time.
    fn exemplars<'a>(&'a self, tenant: &'a Tenant, query: &'a LabelQuery)
    -> Answer<'a, Vec<SeriesExemplars>>;

    /// What makes the number of series, the `top` largest of each kind.
    fn cardinality<'a>(&'a self, tenant: &'a Tenant, top: usize) -> Answer<'a, CardinalityReport>;

    /// Marks the samples of the series that meet any of the matcher sets in the range as deleted;
    /// they are gone from answers when this returns. Says how many series were touched.
    fn delete<'a>(&'a self, tenant: &'a Tenant, query: &'a LabelQuery) -> Answer<'a, u64>;
}

/// Which series a question about labels is about.
#[derive(Debug, Clone)]
pub struct LabelQuery {
    /// A series has to meet all matchers of at least one set; without a set every series counts.
    pub any_of: Vec<Vec<Matcher>>,
    pub range: TimeRange,
    /// Answers at most; 0 is no bound beyond the budget's.
    pub limit: usize,
}

/// Series found, and what the reader should be told beside them (a part that is damaged and was left
/// out).
#[derive(Debug, Default)]
pub struct SeriesSet {
    pub series: Vec<Box<dyn SeriesReader>>,
    pub warnings: Vec<String>,
}

/// One series found. Reading may touch the disk and takes CPU: not for an async thread.
pub trait SeriesReader: Send + fmt::Debug {
    fn labels(&self) -> &Labels;

    /// Appends the samples in `range` to `into`, in order of time, staleness markers included.
    /// May be called again with another range.
    ///
    /// # Errors
    /// Storage that fails or is damaged; a bound of the query's budget, which counts what is read.
    fn read(&mut self, range: TimeRange, into: &mut Samples) -> Result<()>;
}

/// A sample that points at a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// Labels of the exemplar, such as `trace_id`.
    pub labels: Labels,
    pub value: f64,
    pub time_ms: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SeriesExemplars {
    pub series: Labels,
    pub exemplars: Vec<Exemplar>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CardinalityEntry {
    pub name: String,
    pub value: u64,
}

/// As `/api/v1/status/tsdb` of Prometheus shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CardinalityReport {
    pub series: u64,
    pub label_pairs: u64,
    pub min_time_ms: i64,
    pub max_time_ms: i64,
    pub series_by_metric: Vec<CardinalityEntry>,
    pub values_by_label: Vec<CardinalityEntry>,
    pub memory_bytes_by_label: Vec<CardinalityEntry>,
    pub series_by_label_pair: Vec<CardinalityEntry>,
}
