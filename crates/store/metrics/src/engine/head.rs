//! What a tenant holds in memory and what answers are made of.

use std::{sync::Arc, time::Duration};

use metrics_api::{Matcher, TimeRange};

use super::{
    buffer::Buffer,
    manifest::{Deletion, PartEntry},
    registry::Registry,
    side::Side,
};
use crate::part::Part;

#[derive(Debug, Default)]
pub struct Head {
    pub registry: Registry,
    pub active: Buffer,
    /// Monotonic time of the first sample in `active`.
    pub active_since: Option<Duration>,
    /// A buffer that becomes a part, and the first segment of the log that is not of it.
    pub sealed: Option<Sealed>,
    /// Oldest first.
    pub parts: Arc<Vec<Arc<StoredPart>>>,
    pub deletions: Arc<Vec<Tombstone>>,
    pub side: Side,
    /// Bytes of postings and of what is said beside, as of the last flush.
    pub slow_bytes: usize,
}

#[derive(Debug, Clone)]
pub struct Sealed {
    pub buffer: Arc<Buffer>,
    pub wal_first: u64,
}

#[derive(Debug)]
pub struct StoredPart {
    pub entry: PartEntry,
    /// Why it cannot be opened, if it cannot.
    pub part: Result<Arc<Part>, String>,
    /// What was found damaged when it was read. The first reader gets an error; those after it a
    /// warning, and what is left.
    pub damaged: std::sync::OnceLock<String>,
}

impl StoredPart {
    pub fn new(entry: PartEntry, part: Result<Arc<Part>, String>) -> Self {
        Self { entry, part, damaged: std::sync::OnceLock::new() }
    }

    pub fn is_whole(&self) -> bool {
        self.part.is_ok() && self.damaged.get().is_none()
    }
}

/// A deletion, ready to be asked.
#[derive(Debug, Clone)]
pub struct Tombstone {
    pub number: u64,
    pub any_of: Vec<Vec<Matcher>>,
    pub range: TimeRange,
}

impl Tombstone {
    /// None when a condition is not one this program knows.
    pub fn from_entry(entry: &Deletion) -> Option<Self> {
        let set = |set: &Vec<super::manifest::Condition>| {
            set.iter().map(|one| one.matcher()).collect::<Option<Vec<_>>>()
        };
        let any_of = entry.any_of.iter().map(set).collect::<Option<Vec<_>>>()?;
        Some(Self { number: entry.number, any_of, range: TimeRange::new(entry.start_ms, entry.end_ms) })
    }

    /// Whether it still has to be carried out in that part.
    pub fn concerns(&self, part: &PartEntry) -> bool {
        self.number > part.deletions_applied && self.range.overlaps(&part.range())
    }

    pub fn meets(&self, labels: &metrics_api::Labels) -> bool {
        self.any_of.is_empty()
            || self.any_of.iter().any(|set| set.iter().all(|matcher| matcher.matches_labels(labels)))
    }
}

impl Head {
    /// Counts what takes a walk to count.
    pub fn count_slow_bytes(&mut self) {
        self.slow_bytes = self.registry.posting_bytes() + self.side.size_bytes();
    }

    /// Bytes held, by estimate.
    pub fn size_bytes(&self) -> usize {
        let sealed = self.sealed.as_ref().map_or(0, |sealed| sealed.buffer.size_bytes());
        self.active.size_bytes() + sealed + self.registry.size_bytes() + self.slow_bytes
    }
}
