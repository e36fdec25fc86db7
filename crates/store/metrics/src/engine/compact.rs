//! Fewer and larger parts, and the end of old ones.
//!
//! A part holds samples of one day (UTC). Within a day, neighbours in order are merged when there
//! are [`RUN_MIN`] of them and the largest is no larger than the others together, so that a
//! sample is written a number of times that grows with the logarithm of the day; a day that is over
//! and got nothing of late is merged into one. Only neighbours are merged, as of two values at
//! one time the newer counts.

use std::{collections::BTreeMap, sync::Arc};

use metrics_api::{Error, Result};

use super::{
    Stats,
    flush::{DAY_MS, Draft},
    head::{StoredPart, Tombstone},
    manifest::PartEntry,
    tenant::{TenantStore, blocking, lock, read},
};
use crate::part::{self, Cuts, Part};

/// Parts that are worth a merge.
const RUN_MIN: usize = 6;
/// Parts of one merge.
const RUN_MAX: usize = 24;
/// A merge that would be larger is not made: it would take long and gain little.
const MERGED_BYTES_MAX: u64 = 8 << 30;
/// A day that is over is merged into one part when its newest part is as old.
const QUIET_MS: i64 = 30 * 60_000;

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// Whole parts that are out of retention.
    Expire(Vec<u64>),
    /// Parts, by file, in order.
    Merge(Vec<u64>),
}

impl TenantStore {
    /// Takes one step of tidying: true when there was one to take.
    ///
    /// # Errors
    /// Everything is as it was.
    pub async fn compact_once(self: &Arc<Self>) -> Result<bool> {
        self.compact(false).await
    }

    /// Merges each day into one part, and carries out all deletions.
    ///
    /// # Errors
    /// As [`TenantStore::compact_once`].
    pub async fn compact_all(self: &Arc<Self>) -> Result<()> {
        while self.compact(true).await? {}
        Ok(())
    }

    async fn compact(self: &Arc<Self>, whole: bool) -> Result<bool> {
        let held = Arc::clone(&self.compacting).lock_owned().await;
        let store = Arc::clone(self);
        blocking(move || {
            let _held = held;
            let done = store.compact_now(whole);
            if let Err(error) = &done {
                Stats::add(&store.stats.compaction_failures, 1);
                tracing::warn!(tenant = %store.name, %error, "parts could not be merged; they stay as they are");
            }
            done
        })
        .await?
    }

    fn compact_now(&self, whole: bool) -> Result<bool> {
        let keep_from_ms = self.keep_from_ms();
        let (parts, deletions) = {
            let head = read(&self.head);
            (Arc::clone(&head.parts), Arc::clone(&head.deletions))
        };
        let now_ms = self.believed_ms();
        match plan(&parts, &deletions, keep_from_ms, now_ms, whole) {
            None => Ok(false),
            Some(Plan::Expire(files)) => {
                self.publish(Vec::new(), &files, |_| {})?;
                Stats::add(&self.stats.parts_expired, files.len() as u64);
                Ok(true)
            }
            Some(Plan::Merge(files)) => {
                let inputs: Vec<_> =
                    parts.iter().filter(|part| files.contains(&part.entry.file)).cloned().collect();
                self.merge(&inputs, &deletions, keep_from_ms)?;
                Ok(true)
            }
        }
    }

    fn merge(&self, inputs: &[Arc<StoredPart>], deletions: &[Tombstone], keep_from_ms: i64) -> Result<()> {
        let sources: Vec<Arc<Part>> = inputs.iter().filter_map(|input| input.part.clone().ok()).collect();
        let tombstones =
            deletions.iter().filter(|one| inputs.iter().any(|input| one.concerns(&input.entry))).map(|one| {
                // No set is every series; for a merge that is a set without conditions.
                let any_of = if one.any_of.is_empty() { vec![Vec::new()] } else { one.any_of.clone() };
                part::Tombstone { any_of, range: one.range }
            });
        let cuts = Cuts { keep_from_ms: Some(keep_from_ms), tombstones: tombstones.collect() };
        let order = inputs.iter().map(|input| input.entry.order).max();
        // Those known when this began; later ones are asked when it is read.
        let applied = deletions.iter().map(|one| one.number).max().unwrap_or_default();
        let applied = inputs.iter().map(|input| input.entry.deletions_applied).fold(applied, u64::max);
        let mut draft = Draft::begin(self)?;
        draft.deletions_applied = applied;
        if let Err(error) = part::merge(&sources, &cuts, &mut draft.writer) {
            draft.discard(self);
            self.blame(inputs, &error);
            return Err(error);
        }
        let merged = draft.finish(self, order)?;
        let bytes = merged.as_ref().map_or(0, |part| part.entry.size_bytes);
        let removed: Vec<u64> = inputs.iter().map(|input| input.entry.file).collect();
        self.publish(merged.into_iter().collect(), &removed, |_| {})?;
        Stats::add(&self.stats.compactions, 1);
        Stats::add(&self.stats.part_bytes_written, bytes);
        Ok(())
    }

    /// Remembers which part does not read back, so that it is not tried again and again.
    fn blame(&self, inputs: &[Arc<StoredPart>], error: &Error) {
        let Error::Damaged { place, why } = error else { return };
        let named = |input: &&Arc<StoredPart>| {
            place.contains(&super::manifest::part_name(input.entry.file)) || inputs.len() == 1
        };
        for input in inputs.iter().filter(named) {
            if input.damaged.set(format!("{place}: {why}")).is_ok() {
                Stats::add(&self.stats.parts_damaged, 1);
            }
        }
    }

    /// Tombstones and parts as they are now, for tests and reports.
    pub fn part_entries(&self) -> Vec<PartEntry> {
        lock(&self.manifest).parts.clone()
    }
}

fn day(entry: &PartEntry) -> i64 {
    entry.max_time_ms.div_euclid(DAY_MS)
}

fn plan(
    parts: &[Arc<StoredPart>],
    deletions: &[Tombstone],
    keep_from_ms: i64,
    now_ms: i64,
    whole: bool,
) -> Option<Plan> {
    let expired: Vec<u64> = parts
        .iter()
        .filter(|part| part.entry.max_time_ms < keep_from_ms)
        .map(|part| part.entry.file)
        .collect();
    if !expired.is_empty() {
        return Some(Plan::Expire(expired));
    }
    let whole_parts: Vec<&PartEntry> =
        parts.iter().filter(|part| part.is_whole()).map(|part| &part.entry).collect();
    // Alone, as a newer part beside it may have samples that came after the deletion.
    let to_cut = whole_parts.iter().find(|entry| deletions.iter().any(|one| one.concerns(entry)));
    if let Some(entry) = to_cut {
        return Some(Plan::Merge(vec![entry.file]));
    }
    let mut days: BTreeMap<i64, Vec<&PartEntry>> = BTreeMap::new();
    // A damaged part in between keeps those before and after it apart.
    for part in parts {
        let entries = days.entry(day(&part.entry)).or_default();
        if part.is_whole() { entries.push(&part.entry) } else { entries.clear() }
    }
    for (day, entries) in days {
        if let Some(run) = run_of(&entries, whole || is_over(day, &entries, now_ms)) {
            return Some(Plan::Merge(run.iter().map(|entry| entry.file).collect()));
        }
    }
    None
}

fn is_over(day: i64, entries: &[&PartEntry], now_ms: i64) -> bool {
    let newest = entries.iter().map(|entry| entry.written_ms).max().unwrap_or_default();
    day < now_ms.div_euclid(DAY_MS) && now_ms.saturating_sub(newest) >= QUIET_MS
}

/// Which neighbours to merge.
fn run_of<'e>(entries: &[&'e PartEntry], all: bool) -> Option<Vec<&'e PartEntry>> {
    let fits = |run: &[&PartEntry]| run.iter().map(|entry| entry.size_bytes).sum::<u64>() <= MERGED_BYTES_MAX;
    if all && entries.len() > 1 {
        let run = &entries[..entries.len().min(RUN_MAX)];
        if fits(run) {
            return Some(run.to_vec());
        }
    }
    for from in 0..entries.len() {
        let run = &entries[from..entries.len().min(from + RUN_MAX)];
        if run.len() < RUN_MIN {
            break;
        }
        let largest = run.iter().map(|entry| entry.size_bytes).max().unwrap_or_default();
        let total: u64 = run.iter().map(|entry| entry.size_bytes).sum();
        if largest <= total - largest && fits(run) {
            return Some(run.to_vec());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(file: u64, size_bytes: u64) -> PartEntry {
        PartEntry {
            file,
            order: file,
            min_time_ms: 0,
            max_time_ms: 1,
            samples: 1,
            series: 1,
            size_bytes,
            written_ms: 0,
            deletions_applied: 0,
        }
    }

    #[test]
    fn a_sample_is_merged_a_number_of_times_that_grows_slowly() {
        let (mut parts, mut merged_bytes, mut most) = (Vec::new(), 0, 0);
        for file in 0..1_000 {
            parts.push(entry(file, 100));
            let refs: Vec<&PartEntry> = parts.iter().collect();
            if let Some(run) = run_of(&refs, false) {
                let size = run.iter().map(|entry| entry.size_bytes).sum();
                let files: Vec<u64> = run.iter().map(|entry| entry.file).collect();
                merged_bytes += size;
                let at = parts.iter().position(|entry| entry.file == files[0]).unwrap();
                parts.drain(at..at + files.len());
                parts.insert(at, entry(files[0], size));
            }
            most = most.max(parts.len());
        }
        assert!(merged_bytes < 100_000 * 7, "{merged_bytes} bytes written for 100000");
        assert!(most < 30, "{most} parts");
    }

    #[test]
    fn a_day_that_is_over_becomes_one_part_unless_it_gets_samples() {
        let entries = [entry(1, 10), entry(2, 1)];
        let refs: Vec<&PartEntry> = entries.iter().collect();
        assert!(
            !is_over(0, &refs, DAY_MS - 1) && !is_over(0, &refs, QUIET_MS - 1) && is_over(0, &refs, DAY_MS)
        );
        assert_eq!(run_of(&refs, true).unwrap().len(), 2);
        assert!(run_of(&refs, false).is_none() && run_of(&refs[..1], true).is_none());
    }
}
