//! What an operator may set, and what the store tells of itself.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use metrics_api::RefusalKind;

/// Settings of a [`Store`](super::Store).
#[derive(Debug, Clone)]
pub struct Settings {
    /// Memory for samples not in parts yet, batches waiting, the registries of series and the cache
    /// of blocks. Taking in waits, and then is refused, rather than pass it.
    pub memory_bytes_max: u64,
    /// Part of it for blocks read from parts.
    pub cache_bytes_max: usize,
    /// Samples in memory that make a part, in bytes.
    pub flush_bytes: usize,
    /// Age of samples in memory that makes a part.
    pub flush_after: Duration,
    /// A segment of the log is ended when it is as large.
    pub wal_segment_bytes: u64,
    /// How long a group of batches may gather before it is written and synced. Zero: whatever came
    /// during the sync before. What was acknowledged is durable in either case.
    pub wal_sync_interval: Duration,
    /// Samples older than this are refused and removed.
    pub retention: Duration,
    /// How much older than the newest sample of its series one may be.
    pub out_of_order_window: Duration,
    /// How far ahead of the clock a sample may be.
    pub future_max: Duration,
    /// Series of one tenant that are held in memory because they got samples of late.
    pub series_max: u64,
    /// The same of one metric.
    pub metric_series_max: u64,
    /// A series without samples for so long is no longer held in memory.
    pub series_idle_after: Duration,
    pub labels_max: usize,
    pub label_name_bytes_max: usize,
    pub label_value_bytes_max: usize,
    /// Exemplars kept of one tenant; the oldest go.
    pub exemplars_max: usize,
    /// Metrics of one tenant that something was said of.
    pub metadata_max: usize,
    /// Tenants of this store.
    pub tenants_max: usize,
    /// How long taking in waits for memory before it is refused.
    pub wait_max: Duration,
    /// How far the wall clock may differ from the time that passed before retention does not
    /// believe it.
    pub clock_jump_max: Duration,
    /// How long retention waits before it believes a clock that jumped.
    pub clock_hold: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            memory_bytes_max: 512 << 20,
            cache_bytes_max: 64 << 20,
            flush_bytes: 64 << 20,
            flush_after: Duration::from_secs(15 * 60),
            wal_segment_bytes: 64 << 20,
            wal_sync_interval: Duration::ZERO,
            retention: 30 * DAY,
            out_of_order_window: DAY,
            future_max: Duration::from_secs(600),
            series_max: 2_000_000,
            metric_series_max: 500_000,
            series_idle_after: Duration::from_secs(3_600),
            labels_max: 64,
            label_name_bytes_max: 256,
            label_value_bytes_max: 4_096,
            exemplars_max: 50_000,
            metadata_max: 50_000,
            tenants_max: 1_000,
            wait_max: Duration::from_secs(10),
            clock_jump_max: Duration::from_secs(3_600),
            clock_hold: DAY,
        }
    }
}

impl Settings {
    /// Samples in memory that make a part: as set, but never more than a sixth of the memory, as
    /// one buffer fills while another is written, and writing takes some too.
    pub(crate) fn flush_bytes(&self) -> usize {
        self.flush_bytes.min(usize::try_from(self.memory_bytes_max / 6).unwrap_or(usize::MAX)).max(1)
    }

    /// Bytes of batches that may wait for the log.
    pub(crate) fn queue_bytes_max(&self) -> usize {
        usize::try_from(self.memory_bytes_max / 8).unwrap_or(usize::MAX).clamp(1 << 20, 1 << 30)
    }
}

/// Counters since the store was opened, and a few sizes of now.
#[derive(Debug, Default)]
pub struct Stats {
    pub samples_in: AtomicU64,
    pub duplicates: AtomicU64,
    refused: [AtomicU64; REFUSALS.len()],
    /// Groups of batches that could not be logged, and so were refused as a whole.
    pub writes_failed: AtomicU64,
    pub series_registered: AtomicU64,
    pub series_forgotten: AtomicU64,
    pub wal_fsyncs: AtomicU64,
    pub wal_bytes: AtomicU64,
    pub wal_damaged: AtomicU64,
    pub flushes: AtomicU64,
    pub flush_failures: AtomicU64,
    pub parts_written: AtomicU64,
    pub part_bytes_written: AtomicU64,
    pub parts_damaged: AtomicU64,
    pub compactions: AtomicU64,
    pub compaction_failures: AtomicU64,
    pub parts_expired: AtomicU64,
    pub deletions: AtomicU64,
    pub clock_jumps: AtomicU64,
    pub exemplars_dropped: AtomicU64,
    pub waits_for_memory: AtomicU64,
}

const REFUSALS: [RefusalKind; 8] = [
    RefusalKind::Labels,
    RefusalKind::TooOld,
    RefusalKind::InFuture,
    RefusalKind::Conflict,
    RefusalKind::SeriesLimit,
    RefusalKind::MetricLimit,
    RefusalKind::Histogram,
    RefusalKind::Exemplar,
];

impl Stats {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn refuse(&self, kind: RefusalKind, samples: u64) {
        if let Some(at) = REFUSALS.iter().position(|known| *known == kind) {
            Self::add(&self.refused[at], samples);
        }
    }

    /// Samples refused, by kind.
    pub fn refused(&self) -> impl Iterator<Item = (RefusalKind, u64)> {
        REFUSALS.iter().zip(&self.refused).map(|(kind, count)| (*kind, count.load(Ordering::Relaxed)))
    }

    /// Every other counter with its name, for whoever exports them.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let all: [(&'static str, &AtomicU64); 20] = [
            ("samples_in", &self.samples_in),
            ("duplicates", &self.duplicates),
            ("writes_failed", &self.writes_failed),
            ("series_registered", &self.series_registered),
            ("series_forgotten", &self.series_forgotten),
            ("wal_fsyncs", &self.wal_fsyncs),
            ("wal_bytes", &self.wal_bytes),
            ("wal_damaged", &self.wal_damaged),
            ("flushes", &self.flushes),
            ("flush_failures", &self.flush_failures),
            ("parts_written", &self.parts_written),
            ("part_bytes_written", &self.part_bytes_written),
            ("parts_damaged", &self.parts_damaged),
            ("compactions", &self.compactions),
            ("compaction_failures", &self.compaction_failures),
            ("parts_expired", &self.parts_expired),
            ("deletions", &self.deletions),
            ("clock_jumps", &self.clock_jumps),
            ("exemplars_dropped", &self.exemplars_dropped),
            ("waits_for_memory", &self.waits_for_memory),
        ];
        all.iter().map(|(name, counter)| (*name, counter.load(Ordering::Relaxed))).collect()
    }
}
