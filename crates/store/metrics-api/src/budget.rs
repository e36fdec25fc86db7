//! What one query may use, and how much it has used.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{Error, Result};

/// Bounds of one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Samples read in all.
    pub samples_max: u64,
    /// Series touched in all.
    pub series_max: u64,
    /// Bytes held at once, answer included.
    pub memory_bytes_max: u64,
    /// Time from start to answer.
    pub time_max: Duration,
    /// Points of a series in an answer (steps of a range query).
    pub points_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            samples_max: 100_000_000,
            series_max: 1_000_000,
            memory_bytes_max: 1 << 30,
            time_max: Duration::from_secs(120),
            points_max: 11_000,
        }
    }
}

/// Counts what a query uses and refuses what is over its [`Limits`]. Shared by all that work for it.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    started_at: Instant,
    cancelled: AtomicBool,
    samples: AtomicU64,
    series: AtomicU64,
    memory_bytes: AtomicU64,
    memory_bytes_peak: AtomicU64,
}

impl Budget {
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            started_at: Instant::now(),
            cancelled: AtomicBool::new(false),
            samples: AtomicU64::new(0),
            series: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            memory_bytes_peak: AtomicU64::new(0),
        })
    }

    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Counts samples read.
    ///
    /// # Errors
    /// [`Error::Limit`] over `samples_max`; [`Error::Timeout`] and [`Error::Cancelled`] as
    /// [`Budget::check`].
    pub fn samples(&self, read: u64) -> Result<()> {
        let total = self.samples.fetch_add(read, Ordering::Relaxed) + read;
        if total > self.limits.samples_max {
            return Err(Error::Limit { what: "samples read by one query", limit: self.limits.samples_max });
        }
        self.check()
    }

    /// Counts series touched.
    ///
    /// # Errors
    /// [`Error::Limit`] over `series_max`; otherwise as [`Budget::check`].
    pub fn series(&self, touched: u64) -> Result<()> {
        let total = self.series.fetch_add(touched, Ordering::Relaxed) + touched;
        if total > self.limits.series_max {
            return Err(Error::Limit { what: "series touched by one query", limit: self.limits.series_max });
        }
        self.check()
    }

    /// Takes bytes until the answer is dropped.
    ///
    /// # Errors
    /// [`Error::Limit`] over `memory_bytes_max`; nothing is taken then.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reserved> {
        let total = self.memory_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if total > self.limits.memory_bytes_max {
            self.memory_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::Limit {
                what: "bytes held by one query",
                limit: self.limits.memory_bytes_max,
            });
        }
        self.memory_bytes_peak.fetch_max(total, Ordering::Relaxed);
        Ok(Reserved { budget: Arc::clone(self), bytes })
    }

    /// Whether to go on. Cheap enough to ask once for each series or some thousand samples.
    ///
    /// # Errors
    /// [`Error::Timeout`] after `time_max`; [`Error::Cancelled`] after [`Budget::cancel`].
    pub fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        if self.started_at.elapsed() > self.limits.time_max {
            return Err(Error::Timeout { after: self.limits.time_max });
        }
        Ok(())
    }

    /// Ends the query at its next [`Budget::check`]; for a client that went away.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    #[must_use]
    pub fn samples_read(&self) -> u64 {
        self.samples.load(Ordering::Relaxed)
    }
    #[must_use]
    pub fn series_touched(&self) -> u64 {
        self.series.load(Ordering::Relaxed)
    }
    #[must_use]
    pub fn memory_bytes_peak(&self) -> u64 {
        self.memory_bytes_peak.load(Ordering::Relaxed)
    }
}

/// Bytes taken from a [`Budget`]; dropping gives them back.
#[derive(Debug)]
pub struct Reserved {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.memory_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_hit() {
        let budget = Budget::new(Limits {
            samples_max: 10,
            series_max: 2,
            memory_bytes_max: 100,
            ..Limits::default()
        });
        assert!(budget.samples(10).is_ok() && budget.samples(1).is_err());
        assert!(budget.series(2).is_ok() && budget.series(1).is_err());
        let held = budget.reserve(100).unwrap();
        assert!(budget.reserve(1).is_err());
        drop(held);
        assert!(budget.reserve(100).is_ok());
        assert_eq!(budget.memory_bytes_peak(), 100);
        budget.cancel();
        assert!(matches!(budget.check(), Err(Error::Cancelled)));
        let late = Budget::new(Limits { time_max: Duration::ZERO, ..Limits::default() });
        while late.started_at.elapsed().is_zero() {}
        assert!(matches!(late.check(), Err(Error::Timeout { .. })));
    }
}
