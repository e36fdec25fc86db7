//! Samples as they are read: columns of times and values.

use std::sync::Arc;

use crate::Histogram;

/// The NaN that ends a series until its next sample (Prometheus' staleness marker).
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The staleness marker as a float.
#[must_use]
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether `value` is the staleness marker; any other NaN is a value.
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// Samples of one series in order of time, floats and histograms apart, no two at the same time.
/// A series seldom has both; who cares about their order merges the two by time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Milliseconds, ascending.
    pub float_times: Vec<i64>,
    pub floats: Vec<f64>,
    /// Milliseconds, ascending.
    pub histogram_times: Vec<i64>,
    pub histograms: Vec<Arc<Histogram>>,
}

impl Samples {
    /// Empties it and keeps its memory for the next series.
    pub fn clear(&mut self) {
        self.float_times.clear();
        self.floats.clear();
        self.histogram_times.clear();
        self.histograms.clear();
    }

    pub fn push_float(&mut self, time_ms: i64, value: f64) {
        self.float_times.push(time_ms);
        self.floats.push(value);
    }

    pub fn push_histogram(&mut self, time_ms: i64, value: Arc<Histogram>) {
        self.histogram_times.push(time_ms);
        self.histograms.push(value);
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty()
    }

    /// Bytes in use, for budgets.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.floats.len() * 16
            + self.histograms.iter().map(|histogram| 16 + histogram.size_bytes()).sum::<usize>()
    }
}
