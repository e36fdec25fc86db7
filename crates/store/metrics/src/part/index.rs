//! Where blocks stand, and which series have a label.

use std::collections::HashMap;

use roaring::RoaringBitmap;

use super::{
    SERIES_MAX,
    frame::{Compressor, SECTION_BYTES_MAX},
};
use crate::codec::bytes::{Bytes, put_varint};

/// Between name and value in a term; never a byte of UTF-8.
pub(super) const TERM_SEPARATOR: u8 = 0xff;
/// A term's number is then that of its only series.
const SINGLE: u64 = 1 << 63;
/// Otherwise the place in a block of lists, below these bits the number of the block.
const PLACE_BITS: u32 = 24;
const POSTINGS_BLOCK_BYTES: usize = 64 << 10;
/// Metrics and label pairs of a part that are kept as the largest.
const TOP_MAX: usize = 100;

const GAPS: u8 = 0;
const RUNS: u8 = 1;

/// A block's place in the file, and the number of the first it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockAt {
    pub(super) first: u32,
    pub(super) len: u32,
    pub(super) offset: u64,
}

/// All blocks of one kind in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Directory(pub(super) Vec<BlockAt>);

impl Directory {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_varint(out, self.0.len() as u64);
        let mut before = BlockAt { first: 0, len: 0, offset: 0 };
        for at in &self.0 {
            put_varint(out, u64::from(at.first - before.first));
            put_varint(out, u64::from(at.len));
            put_varint(out, at.offset - before.offset - u64::from(before.len));
            before = *at;
        }
    }

    pub(super) fn read(bytes: &mut Bytes<'_>, file_bytes: u64) -> Option<Self> {
        let count = bytes.len(bytes.rest().len() / 3)?;
        let mut all = Vec::with_capacity(count);
        let (mut first, mut end) = (0u32, 0u64);
        for _ in 0..count {
            first = first.checked_add(u32::try_from(bytes.varint()?).ok()?)?;
            let len = u32::try_from(bytes.varint()?).ok()?;
            let offset = end.checked_add(bytes.varint()?)?;
            end = offset.checked_add(u64::from(len)).filter(|end| *end <= file_bytes)?;
            all.push(BlockAt { first, len, offset });
        }
        Some(Self(all))
    }

    /// The block that holds `number`, if blocks follow one another without gaps.
    pub(super) fn holding(&self, number: u32) -> Option<usize> {
        self.0.partition_point(|at| at.first <= number).checked_sub(1)
    }

    /// The blocks that may hold chunks of `ordinal`.
    pub(super) fn touching(&self, ordinal: u32) -> std::ops::Range<usize> {
        let from = self.0.partition_point(|at| at.first < ordinal).saturating_sub(1);
        from..self.0.partition_point(|at| at.first <= ordinal)
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.0.capacity() * size_of::<BlockAt>()
    }
}

/// What is known of one label name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameStats {
    pub(super) name: String,
    pub(super) values: u64,
    pub(super) series: u64,
    /// Of its values, each once.
    pub(super) bytes: u64,
}

/// Counts for the cardinality report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stats {
    pub(super) names: Vec<NameStats>,
    /// The largest metrics by series.
    pub(super) metrics: Vec<(String, u64)>,
    /// The largest label pairs by series, as `name=value`.
    pub(super) pairs: Vec<(String, u64)>,
}

impl Stats {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_varint(out, self.names.len() as u64);
        for stats in &self.names {
            put_text(out, &stats.name);
            for number in [stats.values, stats.series, stats.bytes] {
                put_varint(out, number);
            }
        }
        for top in [&self.metrics, &self.pairs] {
            put_varint(out, top.len() as u64);
            for (name, series) in top {
                put_text(out, name);
                put_varint(out, *series);
            }
        }
    }

    pub(super) fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        let mut stats = Self::default();
        for _ in 0..bytes.len(bytes.rest().len())? {
            let name = text(bytes)?;
            let (values, series) = (bytes.varint()?, bytes.varint()?);
            stats.names.push(NameStats { name, values, series, bytes: bytes.varint()? });
        }
        for top in [&mut stats.metrics, &mut stats.pairs] {
            for _ in 0..bytes.len(TOP_MAX)? {
                top.push((text(bytes)?, bytes.varint()?));
            }
        }
        Some(stats)
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn text(bytes: &mut Bytes<'_>) -> Option<String> {
    let len = bytes.len(bytes.rest().len())?;
    String::from_utf8(bytes.take(len)?.to_vec()).ok()
}

/// The series of one term, as it grows: about a byte for each.
#[derive(Debug, Default)]
struct List {
    gaps: Vec<u8>,
    next: u32,
    count: u32,
    runs: u32,
}

impl List {
    fn push(&mut self, ordinal: u32) {
        if ordinal != self.next || self.count == 0 {
            self.runs += 1;
        }
        put_varint(&mut self.gaps, u64::from(ordinal - self.next));
        self.next = ordinal + 1;
        self.count += 1;
    }

    fn write(&self, out: &mut Vec<u8>) {
        if self.runs > self.count / 2 {
            out.push(GAPS);
            put_varint(out, u64::from(self.count));
            out.extend_from_slice(&self.gaps);
            return;
        }
        out.push(RUNS);
        put_varint(out, u64::from(self.runs));
        let mut gaps = Bytes::new(&self.gaps);
        let mut run: Option<u64> = None;
        while let Some(gap) = gaps.varint() {
            match &mut run {
                Some(more) if gap == 0 => *more += 1,
                run => {
                    if let Some(more) = run.replace(0) {
                        put_varint(out, more);
                    }
                    put_varint(out, gap);
                }
            }
        }
        put_varint(out, run.unwrap_or(0));
    }
}

/// The series in a list that [`List::write`] wrote; None for other bytes.
pub(super) fn read_list(bytes: &[u8]) -> Option<RoaringBitmap> {
    let mut bytes = Bytes::new(bytes);
    let kind = bytes.u8()?;
    let count = bytes.len(SERIES_MAX as usize)?;
    let mut all = RoaringBitmap::new();
    let mut next = 0u64;
    let mut gaps = Vec::new();
    for _ in 0..count {
        next += u64::from(u32::try_from(bytes.varint()?).ok()?);
        if next >= u64::from(SERIES_MAX) {
            return None;
        }
        if kind == RUNS {
            let end = next + u64::from(u32::try_from(bytes.varint()?).ok()?);
            if end >= u64::from(SERIES_MAX) {
                return None;
            }
            all.insert_range(next as u32..=end as u32);
            next = end + 1;
        } else {
            gaps.push(next as u32);
            next += 1;
        }
    }
    match kind {
        GAPS => RoaringBitmap::from_sorted_iter(gaps).ok(),
        RUNS => Some(all),
        _ => None,
    }
}

/// What a term's number means.
pub(super) enum Posting {
    Single(u32),
    /// Place in the block of this number.
    List {
        block: usize,
        place: usize,
    },
}

impl Posting {
    pub(super) fn of(number: u64) -> Option<Self> {
        if number & SINGLE != 0 {
            return u32::try_from(number & !SINGLE).ok().map(Self::Single);
        }
        let block = usize::try_from(number >> PLACE_BITS).ok()?;
        Some(Self::List { block, place: (number & ((1 << PLACE_BITS) - 1)) as usize })
    }
}

/// Gathers which series have which label.
#[derive(Debug, Default)]
pub(super) struct Terms {
    lists: HashMap<Box<[u8]>, List>,
    key: Vec<u8>,
}

impl Terms {
    pub(super) fn push(&mut self, ordinal: u32, name: &str, value: &str) {
        self.key.clear();
        self.key.extend_from_slice(name.as_bytes());
        self.key.push(TERM_SEPARATOR);
        self.key.extend_from_slice(value.as_bytes());
        match self.lists.get_mut(self.key.as_slice()) {
            Some(list) => list.push(ordinal),
            None => {
                let mut list = List::default();
                list.push(ordinal);
                self.lists.insert(self.key.as_slice().into(), list);
            }
        }
    }

    /// Hands each block of lists to `put` and gives the term index and the counts.
    pub(super) fn finish<E>(
        self,
        compressor: &mut Compressor,
        mut put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(Vec<u8>, Stats), E> {
        let mut sorted: Vec<_> = self.lists.into_iter().collect();
        sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut numbers = Vec::with_capacity(sorted.len());
        let (mut block, mut frame, mut blocks) = (Vec::new(), Vec::new(), 0u64);
        for (_, list) in &sorted {
            if list.count == 1 {
                let only = Bytes::new(&list.gaps).varint().unwrap_or_default();
                numbers.push(SINGLE | only);
                continue;
            }
            numbers.push(blocks << PLACE_BITS | block.len() as u64);
            list.write(&mut block);
            if block.len() >= POSTINGS_BLOCK_BYTES {
                frame.clear();
                compressor.frame(&[(&block, true)], &mut frame);
                put(&frame)?;
                block.clear();
                blocks += 1;
            }
        }
        if !block.is_empty() {
            frame.clear();
            compressor.frame(&[(&block, true)], &mut frame);
            put(&frame)?;
        }
        let stats = stats(sorted.iter().map(|(key, list)| (key.as_ref(), u64::from(list.count))));
        let mut index = fst::MapBuilder::memory();
        for ((key, _), number) in sorted.iter().zip(numbers) {
            // Keys are sorted and each is there once: what the builder refuses cannot be.
            let _ = index.insert(key, number);
        }
        Ok((index.into_inner().unwrap_or_default(), stats))
    }
}

fn stats<'a>(terms: impl Iterator<Item = (&'a [u8], u64)>) -> Stats {
    let mut stats = Stats::default();
    for (key, series) in terms {
        let (name, value) = split_term(key);
        match stats.names.last_mut().filter(|last| last.name == name) {
            Some(last) => {
                last.values += 1;
                last.series += series;
                last.bytes += value.len() as u64;
            }
            None => stats.names.push(NameStats {
                name: name.to_owned(),
                values: 1,
                series,
                bytes: value.len() as u64,
            }),
        }
        if name == metrics_api::METRIC_NAME {
            stats.metrics.push((value.to_owned(), series));
        }
        keep_largest(&mut stats.metrics, 10 * TOP_MAX);
        stats.pairs.push((format!("{name}={value}"), series));
        keep_largest(&mut stats.pairs, 10 * TOP_MAX);
    }
    keep_largest(&mut stats.metrics, 0);
    keep_largest(&mut stats.pairs, 0);
    stats
}

/// Cuts a list back to the largest once it is longer than `slack` allows.
fn keep_largest(top: &mut Vec<(String, u64)>, slack: usize) {
    if top.len() > slack {
        top.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        top.truncate(TOP_MAX);
    }
}

/// Name and value of a term.
pub(super) fn split_term(key: &[u8]) -> (&str, &str) {
    let at = key.iter().position(|byte| *byte == TERM_SEPARATOR).unwrap_or(key.len());
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    (text(&key[..at]), text(key.get(at + 1..).unwrap_or_default()))
}

/// A list in a block of lists.
pub(super) fn list_at(block: &[u8], place: usize) -> Option<RoaringBitmap> {
    read_list(block.get(place..)?)
}

/// The lists of a block.
pub(super) fn read_postings(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    let [lists] = super::frame::open(bytes, SECTION_BYTES_MAX)?;
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lists_read_back(set in proptest::collection::btree_set(0u32..5_000, 1..800)) {
            let mut list = List::default();
            for ordinal in &set {
                list.push(*ordinal);
            }
            let mut bytes = Vec::new();
            list.write(&mut bytes);
            let back = read_list(&bytes).unwrap();
            prop_assert_eq!(back.iter().collect::<Vec<_>>(), set.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn other_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_list(&bytes);
            let _ = Directory::read(&mut Bytes::new(&bytes), 1 << 40);
            let _ = Stats::read(&mut Bytes::new(&bytes));
        }

        #[test]
        fn directories_read_back(steps in proptest::collection::vec((0u32..1000, 0u32..100_000, 0u64..100_000), 0..50)) {
            let (mut first, mut end) = (0, 0);
            let all = steps.into_iter().map(|(more, len, gap)| {
                first += more;
                let at = BlockAt { first, len, offset: end + gap };
                end = at.offset + u64::from(len);
                at
            }).collect();
            let directory = Directory(all);
            let mut bytes = Vec::new();
            directory.write(&mut bytes);
            prop_assert_eq!(Directory::read(&mut Bytes::new(&bytes), end), Some(directory));
        }
    }

    #[test]
    fn a_run_is_short() {
        let mut list = List::default();
        (500..100_000).for_each(|ordinal| list.push(ordinal));
        let mut bytes = Vec::new();
        list.write(&mut bytes);
        assert!(bytes.len() < 10);
        assert_eq!(read_list(&bytes).unwrap().len(), 99_500);
    }
}
