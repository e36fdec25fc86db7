//! The series of a head: labels as numbers of pairs, and for each pair the series that have it.
//!
//! A series costs its pairs' numbers (four bytes each) and a place in their postings; texts are
//! held once. Series that go make room: their numbers are given again, so memory follows the
//! number of series that live and not of those that ever were.

mod postings;
mod saved;

use std::collections::HashMap;

use hashbrown::HashTable;
use metrics_api::{Labels, METRIC_NAME, SeriesId};
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::xxh3_64;

pub use saved::{load, save};

/// No such number.
pub const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub struct Registry {
    names: Vec<Name>,
    name_numbers: HashMap<Box<str>, u32>,
    pairs: Vec<Pair>,
    free_pairs: Vec<u32>,
    /// Where in `arena` the pairs of a series stand, their count first; [`NONE`] for no series.
    slots: Vec<u32>,
    ids: Vec<SeriesId>,
    keys: Vec<Key>,
    arena: Vec<u32>,
    /// Places in `arena` given back, by count of pairs.
    free_slots: HashMap<u32, Vec<u32>>,
    free: Vec<u32>,
    live: RoaringBitmap,
    /// Series not in the registry's file yet.
    pub unsaved: Vec<u32>,
    /// Series in the order of parts as of the last flush.
    pub order: Vec<u32>,
    text_bytes: usize,
}

#[derive(Debug)]
struct Name {
    text: Box<str>,
    values: HashTable<u32>,
}

#[derive(Debug)]
struct Pair {
    name: u32,
    place: Place,
    value: Box<str>,
    posting: Posting,
}

/// What a pair has to say about the order of series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Metric,
    Job,
    Instance,
    None,
}

/// Pairs that decide where in a part a series stands.
#[derive(Debug, Clone, Copy)]
struct Key {
    metric: u32,
    job: u32,
    instance: u32,
}

/// Which series have a pair, ascending.
#[derive(Debug)]
enum Posting {
    One(u32),
    Many(Box<RoaringBitmap>),
}

impl Posting {
    fn len(&self) -> u64 {
        match self {
            Self::One(series) => u64::from(*series != NONE),
            Self::Many(many) => many.len(),
        }
    }

    fn insert(&mut self, series: u32) {
        match self {
            Self::One(only) if *only == NONE => *only = series,
            Self::One(only) if *only == series => {}
            Self::One(only) => *self = Self::Many(Box::new([*only, series].into_iter().collect())),
            // Mostly the newest is the highest, which is the cheap case.
            Self::Many(many) => {
                if many.try_push(series).is_err() {
                    many.insert(series);
                }
            }
        }
    }

    /// Inserts many, which ascend.
    fn insert_all(&mut self, series: &[u32]) {
        match (&mut *self, series) {
            (_, []) => {}
            (_, [only]) => self.insert(*only),
            (Self::Many(many), _) => **many |= sorted(series),
            (Self::One(only), _) => {
                let mut many = sorted(series);
                if *only != NONE {
                    many.insert(*only);
                }
                *self = if many.len() == 1 { Self::One(series[0]) } else { Self::Many(Box::new(many)) };
            }
        }
    }

    fn remove(&mut self, gone: &RoaringBitmap) {
        match self {
            Self::One(only) if gone.contains(*only) => *only = NONE,
            Self::One(_) => {}
            Self::Many(many) => {
                **many -= gone;
                if many.len() < 2 {
                    *self = Self::One(many.min().unwrap_or(NONE));
                }
            }
        }
    }

    fn to_bitmap(&self) -> RoaringBitmap {
        match self {
            Self::One(NONE) => RoaringBitmap::new(),
            Self::One(only) => RoaringBitmap::from_iter([*only]),
            Self::Many(many) => (**many).clone(),
        }
    }

    fn meets(&self, series: &RoaringBitmap) -> bool {
        match self {
            Self::One(only) => series.contains(*only),
            Self::Many(many) => !many.is_disjoint(series),
        }
    }

    fn add_to(&self, into: &mut RoaringBitmap) {
        match self {
            Self::One(NONE) => {}
            Self::One(only) => {
                into.insert(*only);
            }
            Self::Many(many) => *into |= &**many,
        }
    }

    fn size_bytes(&self) -> usize {
        match self {
            Self::One(_) => 0,
            Self::Many(many) => 24 + many.serialized_size(),
        }
    }
}

fn sorted(series: &[u32]) -> RoaringBitmap {
    RoaringBitmap::from_sorted_iter(series.iter().copied())
        .unwrap_or_else(|_| series.iter().copied().collect())
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            name_numbers: HashMap::new(),
            pairs: Vec::new(),
            free_pairs: Vec::new(),
            slots: Vec::new(),
            ids: Vec::new(),
            keys: Vec::new(),
            arena: Vec::new(),
            free_slots: HashMap::new(),
            free: Vec::new(),
            live: RoaringBitmap::new(),
            unsaved: Vec::new(),
            order: Vec::new(),
            text_bytes: 0,
        }
    }
}

impl Registry {
    fn reserve(&mut self, series: usize) {
        self.slots.reserve(series);
        self.ids.reserve(series);
        self.keys.reserve(series);
    }

    /// Series that live.
    pub fn len(&self) -> u64 {
        self.live.len()
    }

    /// Numbers given so far, those free again included.
    pub fn numbers(&self) -> usize {
        self.slots.len()
    }

    pub fn live(&self) -> &RoaringBitmap {
        &self.live
    }

    pub fn id(&self, series: u32) -> SeriesId {
        self.ids[series as usize]
    }

    /// Gives a new series a number. The caller knows that it is new.
    pub fn register(&mut self, id: SeriesId, labels: &Labels) -> u32 {
        let series = self.free.pop().unwrap_or(self.slots.len() as u32);
        self.place(series, id, labels);
        series
    }

    /// Makes `series` this one, whatever it was before: what a log says is followed.
    pub fn place(&mut self, series: u32, id: SeriesId, labels: &Labels) {
        let pairs: Vec<u32> = labels.iter().map(|label| self.pair(label.name, label.value)).collect();
        self.place_pairs(series, id, &pairs);
        self.unsaved.push(series);
    }

    fn place_pairs(&mut self, series: u32, id: SeriesId, pairs: &[u32]) {
        self.place_without_postings(series, id, pairs);
        pairs.iter().for_each(|pair| self.pairs[*pair as usize].posting.insert(series));
    }

    /// For who tells the postings of many series at once.
    fn place_without_postings(&mut self, series: u32, id: SeriesId, pairs: &[u32]) {
        let at = series as usize;
        if at >= self.slots.len() {
            self.slots.resize(at + 1, NONE);
            self.ids.resize(at + 1, SeriesId(0));
            self.keys.resize(at + 1, Key { metric: NONE, job: NONE, instance: NONE });
        } else if self.slots[at] != NONE {
            let before: Vec<u32> = self.pairs_of(series).to_vec();
            let gone = RoaringBitmap::from_iter([series]);
            before.iter().for_each(|pair| self.pairs[*pair as usize].posting.remove(&gone));
            self.free_slots.entry(before.len() as u32).or_default().push(self.slots[at]);
        }
        let count = pairs.len() as u32;
        let start = match self.free_slots.get_mut(&count).and_then(Vec::pop) {
            Some(start) => start,
            None => {
                let start = self.arena.len() as u32;
                self.arena.resize(self.arena.len() + 1 + pairs.len(), 0);
                start
            }
        };
        let slot = &mut self.arena[start as usize..start as usize + 1 + pairs.len()];
        slot[0] = count;
        slot[1..].copy_from_slice(pairs);
        let mut key = Key { metric: NONE, job: NONE, instance: NONE };
        for &pair in pairs {
            match self.pairs[pair as usize].place {
                Place::Metric => key.metric = pair,
                Place::Job => key.job = pair,
                Place::Instance => key.instance = pair,
                Place::None => {}
            }
        }
        self.slots[at] = start;
        self.ids[at] = id;
        self.keys[at] = key;
        self.live.insert(series);
    }

    /// After a file and a log were read: what they left out can be given.
    pub fn free_the_rest(&mut self) {
        let free = |series: &u32| self.slots[*series as usize] == NONE;
        self.free = (0..self.slots.len() as u32).filter(free).collect();
        let live = &self.live;
        self.unsaved.retain(|series| live.contains(*series));
        self.unsaved.sort_unstable();
        self.unsaved.dedup();
    }

    fn pair(&mut self, name: &str, value: &str) -> u32 {
        let name_number = match self.name_numbers.get(name) {
            Some(number) => *number,
            None => {
                let number = self.names.len() as u32;
                self.names.push(Name { text: name.into(), values: HashTable::new() });
                self.name_numbers.insert(name.into(), number);
                self.text_bytes += 2 * name.len();
                number
            }
        };
        let hash = xxh3_64(value.as_bytes());
        let pairs = &self.pairs;
        let values = &mut self.names[name_number as usize].values;
        if let Some(found) = values.find(hash, |pair| *pairs[*pair as usize].value == *value) {
            return *found;
        }
        let place = match name {
            METRIC_NAME => Place::Metric,
            "job" => Place::Job,
            "instance" => Place::Instance,
            _ => Place::None,
        };
        let pair = Pair { name: name_number, place, value: value.into(), posting: Posting::One(NONE) };
        self.text_bytes += value.len();
        let number = match self.free_pairs.pop() {
            Some(number) => {
                self.pairs[number as usize] = pair;
                number
            }
            None => {
                self.pairs.push(pair);
                self.pairs.len() as u32 - 1
            }
        };
        let pairs = &self.pairs;
        self.names[name_number as usize]
            .values
            .insert_unique(hash, number, |pair| xxh3_64(pairs[*pair as usize].value.as_bytes()));
        number
    }

    fn find_pair(&self, name: &str, value: &str) -> Option<u32> {
        let name = &self.names[*self.name_numbers.get(name)? as usize];
        name.values
            .find(xxh3_64(value.as_bytes()), |pair| *self.pairs[*pair as usize].value == *value)
            .copied()
    }

    fn pairs_of(&self, series: u32) -> &[u32] {
        match self.slots.get(series as usize) {
            Some(&start) if start != NONE => {
                let count = self.arena[start as usize] as usize;
                &self.arena[start as usize + 1..start as usize + 1 + count]
            }
            _ => &[],
        }
    }

    /// Names and values of a series, in order of name.
    pub fn labels_of(&self, series: u32) -> impl Iterator<Item = (&str, &str)> {
        self.pairs_of(series).iter().map(|pair| {
            let pair = &self.pairs[*pair as usize];
            (&*self.names[pair.name as usize].text, &*pair.value)
        })
    }

    pub fn labels(&self, series: u32) -> Labels {
        let mut bytes = Vec::with_capacity(256);
        for (name, value) in self.labels_of(series) {
            super::wal::record::put_bytes(&mut bytes, name.as_bytes());
            super::wal::record::put_bytes(&mut bytes, value.as_bytes());
        }
        Labels::from_bytes(&bytes).unwrap_or_default()
    }

    /// Series of one metric.
    pub fn metric_len(&self, name: &str) -> u64 {
        self.find_pair(METRIC_NAME, name).map_or(0, |pair| self.pairs[pair as usize].posting.len())
    }

    /// The label of a metric that has the most values, and how many, by a look at some of its
    /// series.
    pub fn widest_label(&self, metric: &str, look_at: usize) -> Option<(String, usize)> {
        let posting = &self.pairs[self.find_pair(METRIC_NAME, metric)? as usize].posting;
        let mut values: HashMap<u32, std::collections::HashSet<u32>> = HashMap::new();
        for series in posting.to_bitmap().iter().take(look_at) {
            for &pair in self.pairs_of(series) {
                values.entry(self.pairs[pair as usize].name).or_default().insert(pair);
            }
        }
        let (name, seen) =
            values.into_iter().max_by_key(|(name, seen)| (seen.len(), std::cmp::Reverse(*name)))?;
        Some((self.names[name as usize].text.to_string(), seen.len()))
    }

    /// Forgets series; their numbers are given again. No sample of theirs is in a buffer or the log.
    pub fn remove(&mut self, gone: &RoaringBitmap) {
        let mut touched = RoaringBitmap::new();
        for series in gone {
            touched.extend(self.pairs_of(series).iter().copied());
            let start = std::mem::replace(&mut self.slots[series as usize], NONE);
            if start != NONE {
                let count = self.arena[start as usize];
                self.free_slots.entry(count).or_default().push(start);
                self.free.push(series);
            }
        }
        for number in touched {
            let pair = &mut self.pairs[number as usize];
            pair.posting.remove(gone);
            if pair.posting.len() == 0 {
                let hash = xxh3_64(pair.value.as_bytes());
                self.text_bytes -= pair.value.len();
                pair.value = "".into();
                let values = &mut self.names[pair.name as usize].values;
                if let Ok(entry) = values.find_entry(hash, |found| *found == number) {
                    entry.remove();
                }
                self.free_pairs.push(number);
            }
        }
        self.live -= gone;
        self.order.retain(|series| !gone.contains(*series));
        self.unsaved.retain(|series| !gone.contains(*series));
    }

    /// Brings `order` up to date: all series that live, in the order of parts.
    pub fn sort(&mut self) {
        let known: RoaringBitmap = self.order.iter().copied().collect();
        let fresh = &self.live - &known;
        if fresh.is_empty() {
            return;
        }
        self.order.extend(fresh.iter());
        let mut metrics: Vec<u32> = match self.name_numbers.get(METRIC_NAME) {
            Some(name) => self.names[*name as usize].values.iter().copied().collect(),
            None => Vec::new(),
        };
        metrics.sort_unstable_by(|a, b| self.pairs[*a as usize].value.cmp(&self.pairs[*b as usize].value));
        let ranks: HashMap<u32, u32> =
            metrics.iter().enumerate().map(|(at, pair)| (*pair, at as u32 + 1)).collect();
        let mut hashes: HashMap<u32, u64> = HashMap::from([(NONE, xxh3_64(b""))]);
        let mut hash = |pair: u32, pairs: &[Pair]| {
            *hashes.entry(pair).or_insert_with(|| xxh3_64(pairs[pair as usize].value.as_bytes()))
        };
        let mut keyed: Vec<(u32, u64, u64, SeriesId, u32)> = Vec::with_capacity(self.order.len());
        for &series in &self.order {
            let key = self.keys[series as usize];
            let rank = ranks.get(&key.metric).copied().unwrap_or_default();
            let (job, instance) = (hash(key.job, &self.pairs), hash(key.instance, &self.pairs));
            keyed.push((rank, job, instance, self.ids[series as usize], series));
        }
        // A stable sort takes the part that is in order already as one run.
        keyed.sort();
        self.order.clear();
        self.order.extend(keyed.iter().map(|keyed| keyed.4));
    }

    /// Bytes in use, by estimate.
    pub fn size_bytes(&self) -> usize {
        let fixed = self.slots.capacity() * 4
            + self.ids.capacity() * size_of::<SeriesId>()
            + self.keys.capacity() * size_of::<Key>()
            + self.arena.capacity() * 4
            + (self.order.capacity() + self.free.capacity() + self.unsaved.capacity()) * 4;
        // A value's own allocation and its place in the table of its name.
        fixed + self.pairs.capacity() * (size_of::<Pair>() + 24) + self.text_bytes
    }

    /// What makes the number of series.
    pub fn posting_bytes(&self) -> usize {
        self.pairs.iter().map(|pair| pair.posting.size_bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pod: usize) -> Labels {
        Labels::from_pairs([("__name__", "up"), ("job", "x"), ("pod", &format!("pod-{pod}"))])
    }

    #[test]
    fn series_that_come_and_go_leave_memory_flat() {
        let mut registry = Registry::default();
        let mut sizes = Vec::new();
        for round in 0..20 {
            let fresh: RoaringBitmap = (0..1_000)
                .map(|at| {
                    let labels = labels(round * 1_000 + at);
                    registry.register(labels.id(), &labels)
                })
                .collect();
            assert_eq!((registry.len(), registry.metric_len("up")), (1_000, 1_000));
            registry.sort();
            registry.unsaved.clear();
            assert_eq!(registry.labels(fresh.min().unwrap()).metric_name(), "up");
            registry.remove(&fresh);
            sizes.push(registry.size_bytes() + registry.posting_bytes());
        }
        assert!(sizes[19] <= sizes[1] + 1_000, "{sizes:?}");
        assert_eq!(registry.numbers(), 1_000);
    }

    #[test]
    fn the_order_is_that_of_parts() {
        let mut registry = Registry::default();
        for at in [3, 1, 2] {
            let labels = labels(at);
            registry.register(labels.id(), &labels);
            registry.sort();
        }
        let other = Labels::from_pairs([("__name__", "a"), ("instance", "i")]);
        registry.register(other.id(), &other);
        let none = Labels::from_pairs([("x", "y")]);
        registry.register(none.id(), &none);
        registry.sort();
        let keys: Vec<_> =
            registry.order.iter().map(|series| crate::part::SortKey::of(&registry.labels(*series))).collect();
        assert_eq!(keys.len(), 5);
        assert!(keys.is_sorted());
    }

    #[test]
    fn the_label_at_fault_is_the_one_with_the_most_values() {
        let mut registry = Registry::default();
        for at in 0..50 {
            let labels = labels(at);
            registry.register(labels.id(), &labels);
        }
        assert_eq!(registry.widest_label("up", 100), Some(("pod".into(), 50)));
    }
}
