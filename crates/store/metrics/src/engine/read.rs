//! Answers: parts and memory put together, by series and by time.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use metrics_api::{
    Budget, Error, LabelQuery, Labels, Matcher, Reserved, Result, Samples, SeriesId, SeriesReader, TimeRange,
};
use roaring::RoaringBitmap;

use super::{
    Stats,
    head::{Head, StoredPart, Tombstone},
    tenant::{TenantStore, read},
};
use crate::part::Part;

/// Bytes that a series of an answer takes beside its samples, by estimate.
const SERIES_BYTES: u64 = 400;
/// Series between two looks at the budget.
const CHECK_EVERY: usize = 1_024;

/// Series found, and what has to be said beside them.
pub struct Found {
    pub series: Vec<StoredSeries>,
    pub warnings: Vec<String>,
    places: HashMap<SeriesId, usize, BuildHasherDefault<IdHasher>>,
}

/// Ids are hashes already.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }
    fn write_u128(&mut self, id: u128) {
        self.0 = id as u64;
    }
}

/// A series: where its samples are.
#[derive(Debug)]
pub struct StoredSeries {
    labels: Labels,
    /// Oldest first, with the series' number in each.
    parts: Vec<(Arc<StoredPart>, u32)>,
    /// Those that were in memory when it was found, newest of all.
    memory: Samples,
    deletions: Arc<Vec<Tombstone>>,
    keep_from_ms: i64,
    budget: Arc<Budget>,
    stats: Arc<Stats>,
    _held: Reserved,
}

impl TenantStore {
    /// Series that meet the matchers and may have samples in the range.
    pub fn find(&self, matchers: &[Matcher], range: TimeRange, budget: &Arc<Budget>) -> Result<Found> {
        let keep_from_ms = self.keep_from_ms();
        let range = TimeRange::new(range.start_ms.max(keep_from_ms), range.end_ms);
        let mut found = Found { series: Vec::new(), warnings: Vec::new(), places: HashMap::default() };
        if range.start_ms > range.end_ms {
            return Ok(found);
        }
        // One look for both: what leaves memory is in these parts.
        let (parts, deletions) = {
            let head = read(&self.head);
            let deletions = Arc::clone(&head.deletions);
            self.find_in_memory(&head, matchers, range, budget, &mut found, keep_from_ms)?;
            (Arc::clone(&head.parts), deletions)
        };
        for stored in parts.iter().filter(|stored| stored.entry.range().overlaps(&range)) {
            let Some(part) = found.usable(stored) else { continue };
            let numbers = match part.select(matchers, range) {
                Ok(numbers) => numbers,
                Err(error) => {
                    found.warnings.push(note_damage(stored, &self.stats, error)?);
                    continue;
                }
            };
            budget.check()?;
            for number in numbers {
                let labels = match part.labels(number) {
                    Ok(labels) => labels,
                    Err(error) => {
                        found.warnings.push(note_damage(stored, &self.stats, error)?);
                        break;
                    }
                };
                let id = labels.id();
                if let Some(&place) = found.places.get(&id) {
                    found.series[place].parts.push((Arc::clone(stored), number));
                    continue;
                }
                let mut series = self.series(labels, Samples::default(), &deletions, budget, keep_from_ms)?;
                series.parts.push((Arc::clone(stored), number));
                found.places.insert(id, found.series.len());
                found.series.push(series);
            }
        }
        Ok(found)
    }

    fn find_in_memory(
        &self,
        head: &Head,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Arc<Budget>,
        found: &mut Found,
        keep_from_ms: i64,
    ) -> Result<()> {
        let sealed = head.sealed.as_ref().map(|sealed| &*sealed.buffer);
        let buffers: Vec<_> =
            sealed.into_iter().chain([&head.active]).filter(|one| one.range().overlaps(&range)).collect();
        if buffers.is_empty() {
            return Ok(());
        }
        for number in head.registry.select(matchers) {
            if !buffers.iter().any(|buffer| buffer.has(number)) {
                continue;
            }
            let mut memory = Samples::default();
            for buffer in &buffers {
                let mut samples = Samples::default();
                buffer.read(number, range, &mut samples);
                put_newer(&mut memory, 0, 0, samples);
            }
            if memory.is_empty() {
                continue;
            }
            let labels = head.registry.labels(number);
            let series = self.series(labels, memory, &head.deletions, budget, keep_from_ms)?;
            found.places.insert(head.registry.id(number), found.series.len());
            found.series.push(series);
        }
        Ok(())
    }

    fn series(
        &self,
        labels: Labels,
        memory: Samples,
        deletions: &Arc<Vec<Tombstone>>,
        budget: &Arc<Budget>,
        keep_from_ms: i64,
    ) -> Result<StoredSeries> {
        budget.series(1)?;
        let held = budget.reserve(SERIES_BYTES + memory.size_bytes() as u64)?;
        let (deletions, budget, stats) = (Arc::clone(deletions), Arc::clone(budget), Arc::clone(&self.stats));
        Ok(StoredSeries {
            labels,
            parts: Vec::new(),
            memory,
            deletions,
            keep_from_ms,
            budget,
            stats,
            _held: held,
        })
    }

    /// Labels of series that meet any of the sets and have samples in the range.
    pub fn matching(&self, query: &LabelQuery, budget: &Arc<Budget>) -> Result<BTreeSet<Labels>> {
        let every = [Vec::new()];
        let sets: &[Vec<Matcher>] = if query.any_of.is_empty() { &every } else { &query.any_of };
        let mut labels = BTreeSet::new();
        for set in sets {
            for (at, series) in self.find(set, query.range, budget)?.series.into_iter().enumerate() {
                if at % CHECK_EVERY == 0 {
                    budget.check()?;
                }
                if !labels.contains(&series.labels) && series.has_samples(query.range)? {
                    labels.insert(series.labels);
                }
            }
        }
        Ok(labels)
    }

    /// Names of labels, or values of one, of series that meet any of the sets. Without deletions
    /// that are still to be carried out, indexes answer; what is in a part that touches the range
    /// counts as in the range.
    pub fn texts(
        &self,
        name: Option<&str>,
        query: &LabelQuery,
        budget: &Arc<Budget>,
    ) -> Result<BTreeSet<String>> {
        let (parts, open) = {
            let head = read(&self.head);
            (Arc::clone(&head.parts), !head.deletions.is_empty())
        };
        let mut found = BTreeSet::new();
        if open {
            for labels in self.matching(query, budget)? {
                let wanted = labels.iter().filter(|label| name.is_none_or(|name| name == label.name));
                found.extend(
                    wanted.map(|label| if name.is_some() { label.value } else { label.name }.to_owned()),
                );
            }
            return Ok(found);
        }
        let range = TimeRange::new(query.range.start_ms.max(self.keep_from_ms()), query.range.end_ms);
        let every = [Vec::new()];
        let sets: &[Vec<Matcher>] = if query.any_of.is_empty() { &every } else { &query.any_of };
        for set in sets {
            {
                let head = read(&self.head);
                let among = head.in_memory(head.registry.select(set), range);
                head.registry.texts(name, &among, &mut found);
            }
            for stored in
                parts.iter().filter(|stored| stored.is_whole() && stored.entry.range().overlaps(&range))
            {
                let Ok(part) = &stored.part else { continue };
                budget.check()?;
                let texts = texts_of(part, name, set, range);
                match texts {
                    Ok(texts) => found.extend(texts),
                    Err(error) => drop(note_damage(stored, &self.stats, error)?),
                }
            }
        }
        Ok(found)
    }
}

fn texts_of(part: &Part, name: Option<&str>, set: &[Matcher], range: TimeRange) -> Result<Vec<String>> {
    let of = if set.is_empty() { None } else { Some(part.select(set, range)?) };
    match name {
        Some(name) => part.label_values(name, of.as_ref()),
        None => part.label_names(of.as_ref()),
    }
}

impl Head {
    /// Those of the series that have samples in memory in the range.
    pub fn in_memory(&self, series: RoaringBitmap, range: TimeRange) -> RoaringBitmap {
        let sealed = self.sealed.as_ref().map(|sealed| &*sealed.buffer);
        let buffers: Vec<_> =
            sealed.into_iter().chain([&self.active]).filter(|one| one.range().overlaps(&range)).collect();
        let inside =
            buffers.iter().all(|one| range.start_ms <= one.min_time_ms && one.max_time_ms <= range.end_ms);
        let has = |number: &u32| {
            buffers.iter().any(|buffer| buffer.has(*number) && (inside || buffer.has_in(*number, range)))
        };
        series.iter().filter(has).collect()
    }
}

impl Found {
    /// The part when it can be read; says it when it cannot, or not all of it.
    fn usable<'s>(&mut self, stored: &'s StoredPart) -> Option<&'s Part> {
        let file = super::manifest::part_name(stored.entry.file);
        match &stored.part {
            Ok(part) => {
                if let Some(why) = stored.damaged.get() {
                    self.warnings.push(format!("part {file} is damaged and answers in part: {why}"));
                }
                Some(part)
            }
            Err(why) => {
                let samples = stored.entry.samples;
                self.warnings
                    .push(format!("part {file} is damaged, its {samples} samples are left out: {why}"));
                None
            }
        }
    }
}

/// Remembers that a part does not read back, and gives the words for it; any other error is given on.
fn note_damage(stored: &StoredPart, stats: &Stats, error: Error) -> Result<String> {
    let Error::Damaged { place, why } = error else { return Err(error) };
    let said = format!("{place}: {why}");
    if stored.damaged.set(said.clone()).is_ok() {
        Stats::add(&stats.parts_damaged, 1);
        tracing::warn!(damage = said, "a part of the stored metrics is damaged");
    }
    Ok(said)
}

impl StoredSeries {
    fn is_deleted_in(&self, part: &StoredPart) -> impl Iterator<Item = &Tombstone> {
        self.deletions.iter().filter(|one| one.concerns(&part.entry) && one.meets(&self.labels))
    }

    fn has_samples(&self, range: TimeRange) -> Result<bool> {
        let range = TimeRange::new(range.start_ms.max(self.keep_from_ms), range.end_ms);
        let in_memory = |times: &[i64]| times.iter().any(|time_ms| range.contains(*time_ms));
        if in_memory(&self.memory.float_times) || in_memory(&self.memory.histogram_times) {
            return Ok(true);
        }
        let mut samples = Samples::default();
        for (stored, number) in &self.parts {
            let Ok(part) = &stored.part else { continue };
            let chunks = match part.chunks(*number, range) {
                Ok(chunks) => chunks,
                Err(error) => {
                    note_damage(stored, &self.stats, error)?;
                    continue;
                }
            };
            let whole =
                chunks.iter().any(|one| range.start_ms <= one.min_time_ms && one.max_time_ms <= range.end_ms);
            if whole && self.is_deleted_in(stored).next().is_none() {
                return Ok(true);
            }
            if !chunks.is_empty() {
                samples.clear();
                self.read_part(stored, *number, range, &mut samples)?;
                if !samples.is_empty() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Appends what the part has, less what was deleted. The first to meet damage is told by an
    /// error; after that the part gives what it can.
    fn read_part(
        &self,
        stored: &StoredPart,
        number: u32,
        range: TimeRange,
        into: &mut Samples,
    ) -> Result<()> {
        let Ok(part) = &stored.part else { return Ok(()) };
        let (floats, histograms) = (into.floats.len(), into.histograms.len());
        if let Err(error) = part.read(number, range, into) {
            truncate(into, floats, histograms);
            if stored.damaged.get().is_none() {
                let said = note_damage(stored, &self.stats, error)?;
                let why = "ask again for what is left without it".to_owned();
                return Err(Error::Damaged { place: said, why });
            }
            return Ok(());
        }
        for deletion in self.is_deleted_in(stored) {
            cut(into, floats, histograms, deletion.range);
        }
        Ok(())
    }
}

impl SeriesReader for StoredSeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn read(&mut self, range: TimeRange, into: &mut Samples) -> Result<()> {
        let range = TimeRange::new(range.start_ms.max(self.keep_from_ms), range.end_ms);
        if range.start_ms > range.end_ms {
            return Ok(());
        }
        let (floats, histograms) = (into.floats.len(), into.histograms.len());
        let mut samples = Samples::default();
        for (stored, number) in &self.parts {
            if !stored.entry.range().overlaps(&range) {
                continue;
            }
            if into.floats.len() == floats && into.histograms.len() == histograms {
                self.read_part(stored, *number, range, into)?;
                continue;
            }
            samples.clear();
            self.read_part(stored, *number, range, &mut samples)?;
            put_newer(into, floats, histograms, std::mem::take(&mut samples));
        }
        if !self.memory.is_empty() {
            put_newer(into, floats, histograms, within(&self.memory, range));
        }
        self.budget.samples((into.floats.len() - floats + into.histograms.len() - histograms) as u64)
    }
}

fn within(samples: &Samples, range: TimeRange) -> Samples {
    let bounds = |times: &[i64]| {
        let from = times.partition_point(|time_ms| *time_ms < range.start_ms);
        from..times.partition_point(|time_ms| *time_ms <= range.end_ms).max(from)
    };
    let (floats, histograms) = (bounds(&samples.float_times), bounds(&samples.histogram_times));
    Samples {
        float_times: samples.float_times[floats.clone()].to_vec(),
        floats: samples.floats[floats].to_vec(),
        histogram_times: samples.histogram_times[histograms.clone()].to_vec(),
        histograms: samples.histograms[histograms].to_vec(),
    }
}

fn truncate(samples: &mut Samples, floats: usize, histograms: usize) {
    samples.float_times.truncate(floats);
    samples.floats.truncate(floats);
    samples.histogram_times.truncate(histograms);
    samples.histograms.truncate(histograms);
}

/// Puts newer samples beside those from the given places on, in order of time; at the same time the
/// newer stays.
fn put_newer(into: &mut Samples, floats: usize, histograms: usize, newer: Samples) {
    put_column(&mut into.float_times, &mut into.floats, floats, newer.float_times, newer.floats);
    put_column(
        &mut into.histogram_times,
        &mut into.histograms,
        histograms,
        newer.histogram_times,
        newer.histograms,
    );
}

fn put_column<T>(
    times: &mut Vec<i64>,
    values: &mut Vec<T>,
    from: usize,
    new_times: Vec<i64>,
    new_values: Vec<T>,
) {
    let Some(&first) = new_times.first() else { return };
    if times.len() == from || times.last().is_some_and(|last| *last < first) {
        times.extend(new_times);
        values.extend(new_values);
        return;
    }
    let mut old = times.split_off(from).into_iter().zip(values.split_off(from)).peekable();
    for (time_ms, value) in new_times.into_iter().zip(new_values) {
        while let Some((old_ms, old_value)) = old.next_if(|old| old.0 < time_ms) {
            times.push(old_ms);
            values.push(old_value);
        }
        old.next_if(|old| old.0 == time_ms);
        times.push(time_ms);
        values.push(value);
    }
    for (time_ms, value) in old {
        times.push(time_ms);
        values.push(value);
    }
}

/// Takes the samples of the range out, from the given places on.
fn cut(samples: &mut Samples, floats: usize, histograms: usize, range: TimeRange) {
    cut_column(&mut samples.float_times, &mut samples.floats, floats, range);
    cut_column(&mut samples.histogram_times, &mut samples.histograms, histograms, range);
}

fn cut_column<T>(times: &mut Vec<i64>, values: &mut Vec<T>, from: usize, range: TimeRange) {
    let start = from + times[from..].partition_point(|time_ms| *time_ms < range.start_ms);
    let end = from + times[from..].partition_point(|time_ms| *time_ms <= range.end_ms);
    if start < end {
        times.drain(start..end);
        values.drain(start..end);
    }
}
