//! Steps, and what a series has at each of them.

use std::sync::Arc;

use metrics_api::{Budget, Histogram, Labels, Reserved, is_stale, stale_nan};

use crate::eval::Result;

/// The times at which something is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Steps {
    pub start_ms: i64,
    pub interval_ms: i64,
    pub count: usize,
}

impl Steps {
    #[inline]
    pub fn time(&self, at: usize) -> i64 {
        self.start_ms + at as i64 * self.interval_ms
    }
    pub fn end_ms(&self) -> i64 {
        self.time(self.count.saturating_sub(1))
    }
    pub fn first(&self) -> Self {
        Self { count: 1, ..*self }
    }
}

/// No float at this step. Series end with this very NaN, so that no value is ever it.
#[inline]
pub(crate) fn absent() -> f64 {
    stale_nan()
}

#[inline]
pub(crate) fn is_absent(value: f64) -> bool {
    is_stale(value)
}

/// What a series has at one step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cell<'a> {
    None,
    Float(f64),
    Histogram(&'a Arc<Histogram>),
}

/// A series' values, one place for each step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub floats: Vec<f64>,
    /// As long as `floats`, or empty when there is no histogram.
    pub histograms: Vec<Option<Arc<Histogram>>>,
}

impl Row {
    /// Empty of values, for this many steps.
    pub fn reset(&mut self, steps: usize) {
        self.floats.clear();
        self.floats.resize(steps, absent());
        self.histograms.clear();
    }

    pub fn of(steps: usize) -> Self {
        Self { floats: vec![absent(); steps], histograms: Vec::new() }
    }

    #[inline]
    pub fn get(&self, at: usize) -> Cell<'_> {
        let float = self.floats[at];
        if !is_absent(float) {
            return Cell::Float(float);
        }
        match self.histograms.get(at) {
            Some(Some(histogram)) => Cell::Histogram(histogram),
            _ => Cell::None,
        }
    }

    pub fn has(&self, at: usize) -> bool {
        !matches!(self.get(at), Cell::None)
    }

    pub fn set_histogram(&mut self, at: usize, histogram: Arc<Histogram>) {
        if self.histograms.is_empty() {
            self.histograms.resize(self.floats.len(), None);
        }
        self.histograms[at] = Some(histogram);
    }

    /// Takes the value of one step out.
    pub fn clear(&mut self, at: usize) {
        self.floats[at] = absent();
        if let Some(histogram) = self.histograms.get_mut(at) {
            *histogram = None;
        }
    }

    pub fn copy_from(&mut self, at: usize, other: &Self, from: usize) {
        match other.get(from) {
            Cell::None => {}
            Cell::Float(value) => self.floats[at] = value,
            Cell::Histogram(histogram) => self.set_histogram(at, Arc::clone(histogram)),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.histograms.iter().all(Option::is_none) && self.floats.iter().all(|value| is_absent(*value))
    }

    pub fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    pub fn size_bytes(&self) -> u64 {
        let mut histograms = self.histograms.len() * 8;
        let mut before: Option<&Arc<Histogram>> = None;
        for histogram in self.histograms.iter().flatten() {
            // A sample that is seen at several steps is there once.
            if before.is_none_or(|before| !Arc::ptr_eq(before, histogram)) {
                histograms += histogram.size_bytes();
            }
            before = Some(histogram);
        }
        (self.floats.len() * 8 + histograms) as u64
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub labels: Labels,
    /// The metric's name goes at the end of the query.
    pub drop_name: bool,
    pub row: Row,
}

/// All series of an expression, held against the query's budget.
#[derive(Debug, Default)]
pub(crate) struct Matrix {
    pub series: Vec<Series>,
    held: Vec<Reserved>,
}

/// Bytes a series takes beside its row and labels, in round numbers.
const SERIES_BYTES: u64 = 128;

impl Matrix {
    pub fn push(&mut self, series: Series, budget: &Arc<Budget>) -> Result<()> {
        let bytes = series.row.size_bytes() + series.labels.as_bytes().len() as u64 + SERIES_BYTES;
        self.held.push(budget.reserve(bytes)?);
        self.series.push(series);
        Ok(())
    }
}

/// A number at each step.
#[derive(Debug, Clone)]
pub(crate) enum Scalars {
    Same(f64),
    Each(Vec<f64>),
}

impl Scalars {
    #[inline]
    pub fn get(&self, at: usize) -> f64 {
        match self {
            Self::Same(value) => *value,
            Self::Each(values) => values[at],
        }
    }

    /// Smallest and largest, which are NaN when any is.
    pub fn min_max(&self) -> (f64, f64) {
        let values = match self {
            Self::Same(value) => std::slice::from_ref(value),
            Self::Each(values) => values,
        };
        if values.iter().any(|value| value.is_nan()) {
            return (f64::NAN, f64::NAN);
        }
        let min = values.iter().copied().fold(f64::MAX, f64::min);
        (min, values.iter().copied().fold(f64::MIN, f64::max))
    }
}

/// Takes a series: its labels, whether its name goes, and its row, which it may keep.
pub(crate) type Sink<'s> = dyn FnMut(&Labels, bool, &mut Row) -> Result<()> + 's;
