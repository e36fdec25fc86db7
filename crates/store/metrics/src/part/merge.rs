//! Several parts into one.

use std::{cmp::Reverse, collections::BinaryHeap, io::Write, sync::Arc};

use metrics_api::{Histogram, Labels, Matcher, Result, Samples, TimeRange};

use super::{Part, PartWriter, SortKey};

/// What a merge leaves out.
#[derive(Debug, Clone, Default)]
pub struct Cuts {
    /// Samples before this time are gone.
    pub keep_from_ms: Option<i64>,
    pub tombstones: Vec<Tombstone>,
}

/// Samples that somebody deleted: of series that meet any of the matcher sets, in the range.
#[derive(Debug, Clone)]
pub struct Tombstone {
    pub any_of: Vec<Vec<Matcher>>,
    pub range: TimeRange,
}

impl Tombstone {
    /// Whether samples of this series are meant.
    #[must_use]
    pub fn is_for(&self, labels: &Labels) -> bool {
        self.any_of.iter().any(|set| set.iter().all(|matcher| matcher.matches_labels(labels)))
    }
}

impl Cuts {
    /// Removes what is cut of a series' samples; how many.
    pub fn apply(&self, labels: &Labels, samples: &mut Samples) -> usize {
        let before = samples.len();
        if let Some(keep_from_ms) = self.keep_from_ms.filter(|from| *from > i64::MIN) {
            remove(samples, TimeRange::new(i64::MIN, keep_from_ms - 1));
        }
        for tombstone in self.tombstones.iter().filter(|tombstone| tombstone.is_for(labels)) {
            remove(samples, tombstone.range);
        }
        before - samples.len()
    }
}

fn remove(samples: &mut Samples, range: TimeRange) {
    let cut = |times: &[i64]| {
        let from = times.partition_point(|time| *time < range.start_ms);
        from..times.partition_point(|time| *time <= range.end_ms).max(from)
    };
    let floats = cut(&samples.float_times);
    samples.float_times.drain(floats.clone());
    samples.floats.drain(floats);
    let histograms = cut(&samples.histogram_times);
    samples.histogram_times.drain(histograms.clone());
    samples.histograms.drain(histograms);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Merged {
    pub samples_in: u64,
    /// Samples of the same series and time as a newer one.
    pub duplicates: u64,
    /// Samples cut away.
    pub cut: u64,
}

/// Writes all series of `parts` (oldest first: of samples of the same series and time the last
/// part's stays) to `writer`, one series in memory at a time.
///
/// # Errors
/// [`metrics_api::Error::Damaged`] when a part does not read back: then nothing is lost, the parts
/// stay; [`metrics_api::Error::Storage`].
pub fn merge<W: Write>(parts: &[Arc<Part>], cuts: &Cuts, writer: &mut PartWriter<W>) -> Result<Merged> {
    let mut merged = Merged::default();
    let mut heads = BinaryHeap::new();
    for number in 0..parts.len() {
        push_head(parts, number, 0, &mut heads)?;
    }
    let mut samples = Samples::default();
    while let Some(Reverse((key, number, ordinal))) = heads.pop() {
        samples.clear();
        parts[number].read(ordinal, TimeRange::ALL, &mut samples)?;
        let labels = parts[number].labels(ordinal)?;
        push_head(parts, number, ordinal + 1, &mut heads)?;
        // The heap gives equal series in order of the parts, so later samples are newer.
        while heads.peek().is_some_and(|Reverse((next, ..))| *next == key) {
            let Some(Reverse((_, number, ordinal))) = heads.pop() else { break };
            parts[number].read(ordinal, TimeRange::ALL, &mut samples)?;
            push_head(parts, number, ordinal + 1, &mut heads)?;
        }
        let read = samples.len();
        merged.samples_in += read as u64;
        sort_newest(&mut samples);
        merged.duplicates += (read - samples.len()) as u64;
        merged.cut += cuts.apply(&labels, &mut samples) as u64;
        writer.push_series(&labels, &samples)?;
    }
    Ok(merged)
}

type Heads = BinaryHeap<Reverse<(SortKey, usize, u32)>>;

fn push_head(parts: &[Arc<Part>], number: usize, ordinal: u32, heads: &mut Heads) -> Result<()> {
    if ordinal < parts[number].info().series {
        heads.push(Reverse((SortKey::of(&parts[number].labels(ordinal)?), number, ordinal)));
    }
    Ok(())
}

/// Puts samples in order of time; of those at one time the last given of its kind stays, and a float
/// goes before a histogram.
pub(crate) fn sort_newest(samples: &mut Samples) {
    sort_column(&mut samples.float_times, &mut samples.floats);
    sort_column(&mut samples.histogram_times, &mut samples.histograms);
    if samples.floats.is_empty() || samples.histograms.is_empty() {
        return;
    }
    let float_times = &samples.float_times;
    let alone: Vec<bool> =
        samples.histogram_times.iter().map(|time| float_times.binary_search(time).is_err()).collect();
    let mut kept = alone.iter().copied();
    samples.histogram_times.retain(|_| kept.next().unwrap_or(true));
    let mut kept = alone.iter().copied();
    samples.histograms.retain(|_: &Arc<Histogram>| kept.next().unwrap_or(true));
}

fn sort_column<T: Clone>(times: &mut Vec<i64>, values: &mut Vec<T>) {
    if times.is_sorted_by(|a, b| a < b) {
        return;
    }
    let mut order: Vec<(i64, usize)> = times.iter().copied().zip(0..).collect();
    order.sort_unstable();
    let mut sorted: Vec<T> = Vec::with_capacity(values.len());
    times.clear();
    for (at, &(time, from)) in order.iter().enumerate() {
        if order.get(at + 1).is_none_or(|next| next.0 != time) {
            times.push(time);
            sorted.push(values[from].clone());
        }
    }
    *values = sorted;
}
