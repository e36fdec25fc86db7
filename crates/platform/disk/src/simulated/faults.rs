//! What goes wrong, and when.

use std::path::Path;

use crate::{Error, Result};

/// The faults to come; the default is none. Steps are all calls that change something or sync.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Plan {
    /// This step and all after it fail: the machine stops here.
    pub stop_at_step: Option<u64>,
    /// This one step fails with an input/output error.
    pub fail_at_step: Option<u64>,
    /// This sync says it was done and was not: the line of code is missing.
    pub skip_sync: Option<u64>,
    /// The disk takes this many bytes of content more, and is full.
    pub full_after_bytes: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub steps: u64,
    pub syncs: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    plan: Plan,
    counts: Counts,
}

impl Faults {
    pub(super) fn begin(&mut self, plan: Plan) {
        *self = Self { plan, counts: Counts::default() };
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn step(&mut self, path: &Path) -> Result<()> {
        let step = self.counts.steps;
        self.counts.steps += 1;
        let fail = |why: &str| Err(Error::Io { path: path.to_owned(), why: why.to_owned() });
        if self.plan.stop_at_step.is_some_and(|stop| step >= stop) {
            return fail("the machine stopped");
        }
        if self.plan.fail_at_step == Some(step) {
            return fail("input/output error");
        }
        Ok(())
    }

    /// How many of `count` bytes are taken.
    pub(super) fn write(&mut self, path: &Path, count: usize) -> Result<usize> {
        self.step(path)?;
        let left = self.plan.full_after_bytes.map_or(u64::MAX, |max| max.saturating_sub(self.counts.bytes));
        let taken = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        if taken == 0 && count > 0 {
            return Err(Error::Full { path: path.to_owned() });
        }
        self.counts.bytes += taken as u64;
        Ok(taken)
    }

    /// Whether the sync happens.
    pub(super) fn sync(&mut self, path: &Path) -> Result<bool> {
        self.step(path)?;
        let sync = self.counts.syncs;
        self.counts.syncs += 1;
        Ok(self.plan.skip_sync != Some(sync))
    }
}
