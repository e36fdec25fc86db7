//! Immutable parts: the samples of many series in one file, with the index that finds them.
//!
//! Write one with [`PartWriter`], series by series in the order of [`SortKey`]; read it with
//! [`Part::open`]; put several together with [`merge`]. A part knows nothing of other parts, of the
//! manifest that names it, or of time: who owns it publishes and removes it.

use std::{fmt, sync::Arc};

use metrics_api::{Error, Labels, Result, Samples, TimeRange};

mod aggregates;
mod block;
mod cache;
mod frame;
mod index;
mod merge;
mod select;
mod write;

pub use aggregates::Aggregates;
pub use cache::BlockCache;
pub use merge::{Cuts, Merged, Tombstone, merge};
pub use select::Ordinals;
pub use write::{PartWriter, SortKey, TIMES_REMEMBERED_MAX};

use crate::codec::{Encoding, bytes::Bytes};
use block::{ChunkBlock, Row};
use cache::{Block, BlockKind};
use index::{Directory, Stats};

/// Bytes of decoded blocks that a [`BlockCache`] holds unless told otherwise.
pub const CACHE_BYTES_DEFAULT: usize = 64 << 20;
/// Series in one part.
pub const SERIES_MAX: u32 = 50_000_000;

/// At both ends of the file.
const MAGIC: [u8; 8] = *b"SteadMP1";
const VERSION: u32 = 1;
const TRAILER_BYTES: usize = 28;

/// What a part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartInfo {
    pub series: u32,
    pub chunks: u64,
    pub samples: u64,
    /// Of the whole file.
    pub size_bytes: u64,
    /// Meaningless without samples.
    pub min_time_ms: i64,
    pub max_time_ms: i64,
}

/// What is known of a stored chunk without decoding its values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChunkInfo {
    pub samples: u32,
    pub min_time_ms: i64,
    pub max_time_ms: i64,
    pub histograms: bool,
    /// Of chunks of floats that are constant, or long and without staleness markers or other NaNs.
    pub aggregates: Option<Aggregates>,
}

/// A part to read. Reads block and take CPU: not for an async thread. Its footer, term index and
/// block directory are in memory; the rest is read in blocks through the cache.
pub struct Part {
    name: String,
    source: Content,
    info: PartInfo,
    number: u64,
    cache: BlockCache,
    terms: fst::Map<Vec<u8>>,
    directories: [Directory; 4],
    stats: Stats,
}

enum Content {
    File(Box<dyn disk::Source>),
    Memory(Arc<[u8]>),
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("name", &self.name).field("info", &self.info).finish_non_exhaustive()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.cache.forget(self.number);
    }
}

impl Part {
    /// Reads footer and index of the file `source` of `size_bytes`. `name` is for messages.
    ///
    /// # Errors
    /// [`Error::Damaged`] for what is cut short, of another version, or fails its checksum;
    /// [`Error::Storage`].
    pub fn open(
        name: &str,
        source: Box<dyn disk::Source>,
        size_bytes: u64,
        cache: &BlockCache,
    ) -> Result<Self> {
        Self::read_index(name, Content::File(source), size_bytes, cache)
    }

    /// A part in memory, such as one that is not on disk yet.
    ///
    /// # Errors
    /// As [`Part::open`].
    pub fn from_bytes(name: &str, bytes: Arc<[u8]>, cache: &BlockCache) -> Result<Self> {
        let size_bytes = bytes.len() as u64;
        Self::read_index(name, Content::Memory(bytes), size_bytes, cache)
    }

    fn read_index(name: &str, source: Content, size_bytes: u64, cache: &BlockCache) -> Result<Self> {
        let damaged = |what: &str, why: &str| damaged(name, what, why);
        let trailer_at = size_bytes
            .checked_sub((TRAILER_BYTES + MAGIC.len()) as u64)
            .ok_or_else(|| damaged("its end", "the file is cut short"))?
            + MAGIC.len() as u64;
        if source.read(name, 0, MAGIC.len() as u64)? != MAGIC {
            return Err(damaged("its start", "it is no part of metrics"));
        }
        let trailer = source.read(name, trailer_at, TRAILER_BYTES as u64)?;
        let mut bytes = Bytes::new(&trailer);
        let place = bytes.u64().zip(bytes.u64()).unwrap_or_default();
        if bytes.u32() != Some(VERSION) || bytes.rest() != MAGIC {
            return Err(damaged("its end", "the file is cut short, or of another version"));
        }
        if place.0.checked_add(place.1) != Some(trailer_at) {
            return Err(damaged("its footer", "its place is wrong"));
        }
        let footer = source.read(name, place.0, place.1)?;
        let [head, counts] =
            frame::open(&footer, frame::INDEX_BYTES_MAX).map_err(|why| damaged("its footer", why))?;
        let footer = Footer::read(&head, size_bytes);
        let footer = footer.ok_or_else(|| damaged("its footer", "it does not decode"))?;
        let stats = Stats::read(&mut Bytes::new(&counts));
        let index = source.read(name, footer.index.0, footer.index.1)?;
        let [terms] = frame::open(&index, frame::INDEX_BYTES_MAX).map_err(|why| damaged("its index", why))?;
        let terms = fst::Map::new(terms).map_err(|_| damaged("its index", "its terms do not decode"))?;
        Ok(Self {
            name: name.to_owned(),
            source,
            info: footer.info,
            number: cache.next_part(),
            cache: cache.clone(),
            terms,
            directories: footer.directories,
            stats: stats.ok_or_else(|| damaged("its footer", "its counts do not decode"))?,
        })
    }

    #[must_use]
    pub fn info(&self) -> &PartInfo {
        &self.info
    }

    /// As it was given to [`Part::open`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it may have samples in `range`.
    #[must_use]
    pub fn overlaps(&self, range: TimeRange) -> bool {
        self.info.samples > 0 && range.overlaps(&TimeRange::new(self.info.min_time_ms, self.info.max_time_ms))
    }

    /// Bytes that stay in memory while the part is open.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        let memory = if let Content::Memory(bytes) = &self.source { bytes.len() } else { 0 };
        size_of::<Self>()
            + memory
            + self.terms.as_fst().size()
            + self.directories.iter().map(Directory::size_bytes).sum::<usize>()
            + self.stats.size_bytes()
    }

    /// Labels of a series. Asking in order of number is cheapest.
    ///
    /// # Errors
    /// As [`Part::select`]; a number that is not in the part is [`Error::Damaged`].
    pub fn labels(&self, ordinal: u32) -> Result<Labels> {
        let directory = self.directory(BlockKind::Series);
        let block = directory.holding(ordinal).ok_or_else(|| self.no_series(ordinal))?;
        let within = (ordinal - directory.0[block].first) as usize;
        match &*self.block(BlockKind::Series, block)? {
            Block::Series(all) => all.get(within).cloned().ok_or_else(|| self.no_series(ordinal)),
            _ => Err(self.no_series(ordinal)),
        }
    }

    /// Chunks of a series that touch `range`, in order of time; floats and histograms each apart.
    ///
    /// # Errors
    /// As [`Part::labels`].
    pub fn chunks(&self, ordinal: u32, range: TimeRange) -> Result<Vec<ChunkInfo>> {
        let mut all = Vec::new();
        self.each_chunk(ordinal, range, |block, row, times| {
            let aggregates = block.aggregates(row);
            all.push(ChunkInfo {
                samples: times.len() as u32,
                min_time_ms: times[0],
                max_time_ms: times[times.len() - 1],
                histograms: row.is_histograms(),
                aggregates: if ChunkBlock::is_constant(row) {
                    aggregates.map(|once| once.repeated(times.len()))
                } else {
                    aggregates
                },
            });
            Ok(())
        })?;
        Ok(all)
    }

    /// Appends the samples of a series in `range` to `into`, in order of time.
    ///
    /// # Errors
    /// As [`Part::labels`].
    pub fn read(&self, ordinal: u32, range: TimeRange, into: &mut Samples) -> Result<()> {
        self.each_chunk(ordinal, range, |block, row, times| {
            block
                .append(row, times, range, into)
                .ok_or_else(|| self.damaged(&format!("a chunk of series {ordinal}"), "it does not decode"))
        })
    }

    fn each_chunk(
        &self,
        ordinal: u32,
        range: TimeRange,
        mut each: impl FnMut(&ChunkBlock, &Row, &[i64]) -> Result<()>,
    ) -> Result<()> {
        let lost = || self.damaged(&format!("the times of series {ordinal}"), "they are not there");
        let mut held: Option<(usize, Arc<Block>)> = None;
        for number in self.directory(BlockKind::Chunks).touching(ordinal) {
            let block = self.block(BlockKind::Chunks, number)?;
            let Block::Chunks(chunks) = &*block else { continue };
            for row in chunks.rows_of(ordinal) {
                let directory = self.directory(BlockKind::Times);
                let at = directory.holding(row.times_id).ok_or_else(lost)?;
                if held.as_ref().is_none_or(|held| held.0 != at) {
                    held = Some((at, self.block(BlockKind::Times, at)?));
                }
                let Some((_, Block::Times(streams))) = held.as_ref().map(|held| (held.0, &*held.1)) else {
                    continue;
                };
                let within = (row.times_id - directory.0[at].first) as usize;
                let times = streams.get(within).filter(|times| !times.is_empty()).ok_or_else(lost)?;
                if range.overlaps(&TimeRange::new(times[0], times[times.len() - 1])) {
                    each(chunks, row, times)?;
                }
            }
        }
        Ok(())
    }

    /// How many chunks, samples and bytes each encoding has (None: histograms), and the bytes of
    /// chunks, times, series and postings in the file; for figures.
    ///
    /// # Errors
    /// As [`Part::select`].
    pub fn shapes(&self) -> Result<(Vec<Shape>, [u64; 4])> {
        let mut all: Vec<Shape> = Encoding::ALL.into_iter().map(Some).chain([None]).map(Shape::new).collect();
        for number in 0..self.directory(BlockKind::Chunks).0.len() {
            let block = self.block(BlockKind::Chunks, number)?;
            let Block::Chunks(chunks) = &*block else { continue };
            for (encoding, times_id, bytes) in chunks.shapes() {
                let directory = self.directory(BlockKind::Times);
                let Some(at) = directory.holding(times_id) else { continue };
                let times = self.block(BlockKind::Times, at)?;
                let Block::Times(streams) = &*times else { continue };
                let samples = streams.get((times_id - directory.0[at].first) as usize).map_or(0, Vec::len);
                if let Some(shape) = all.iter_mut().find(|shape| shape.encoding == encoding) {
                    shape.chunks += 1;
                    shape.samples += samples as u64;
                    shape.bytes += bytes as u64;
                }
            }
        }
        let bytes =
            [0, 1, 2, 3].map(|at: usize| self.directories[at].0.iter().map(|at| u64::from(at.len)).sum());
        Ok((all, bytes))
    }

    fn directory(&self, kind: BlockKind) -> &Directory {
        &self.directories[kind as usize]
    }

    /// A block, out of the cache or read now.
    fn block(&self, kind: BlockKind, number: usize) -> Result<Arc<Block>> {
        let key = (self.number, kind, number as u32);
        if let Some(block) = self.cache.get(key) {
            return Ok(block);
        }
        let what = format!("block {number} of {}", kind.name());
        let at = self.directory(kind).0.get(number).ok_or_else(|| self.damaged(&what, "it is not there"))?;
        let bytes = self.source.read(&self.name, at.offset, u64::from(at.len))?;
        let block = match kind {
            BlockKind::Chunks => ChunkBlock::read(&bytes).map(Block::Chunks),
            BlockKind::Times => block::read_times(&bytes).map(Block::Times),
            BlockKind::Series => block::read_series(&bytes).map(Block::Series),
            BlockKind::Postings => index::read_postings(&bytes).map(Block::Postings),
        };
        let block = Arc::new(block.map_err(|why| self.damaged(&what, why))?);
        self.cache.put(key, &block);
        Ok(block)
    }

    fn damaged(&self, what: &str, why: &str) -> Error {
        damaged(&self.name, what, why)
    }

    fn no_series(&self, ordinal: u32) -> Error {
        self.damaged(&format!("series {ordinal}"), "it is not there")
    }
}

fn damaged(name: &str, what: &str, why: &str) -> Error {
    Error::Damaged { place: format!("{name}, {what}"), why: why.to_owned() }
}

impl BlockKind {
    fn name(self) -> &'static str {
        match self {
            Self::Chunks => "chunks",
            Self::Times => "times",
            Self::Series => "series",
            Self::Postings => "postings",
        }
    }
}

/// Totals of one encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// None: histograms.
    pub encoding: Option<Encoding>,
    pub chunks: u64,
    pub samples: u64,
    /// Before chunks are compressed together.
    pub bytes: u64,
}

impl Shape {
    fn new(encoding: Option<Encoding>) -> Self {
        Self { encoding, chunks: 0, samples: 0, bytes: 0 }
    }
}

struct Footer {
    info: PartInfo,
    index: (u64, u64),
    directories: [Directory; 4],
}

impl Footer {
    fn read(head: &[u8], size_bytes: u64) -> Option<Self> {
        let mut bytes = Bytes::new(head);
        let info = PartInfo {
            series: u32::try_from(bytes.varint()?).ok()?,
            chunks: bytes.varint()?,
            samples: bytes.varint()?,
            size_bytes,
            min_time_ms: bytes.zigzag()?,
            max_time_ms: bytes.zigzag()?,
        };
        let index = (bytes.varint()?, bytes.varint()?);
        let mut directory = || Directory::read(&mut bytes, size_bytes);
        let directories = [directory()?, directory()?, directory()?, directory()?];
        bytes.is_empty().then_some(Self { info, index, directories })
    }
}

impl Content {
    fn read(&self, name: &str, offset: u64, len: u64) -> Result<Vec<u8>> {
        let short = || damaged(name, &format!("{len} bytes at {offset}"), "the file is cut short");
        match self {
            Self::Memory(bytes) => {
                let from = usize::try_from(offset).map_err(|_| short())?;
                let to = usize::try_from(len).ok().and_then(|len| from.checked_add(len)).ok_or_else(short)?;
                bytes.get(from..to).map(<[u8]>::to_vec).ok_or_else(short)
            }
            Self::File(source) => {
                if len > frame::INDEX_BYTES_MAX as u64 {
                    return Err(short());
                }
                let mut bytes = vec![0; len as usize];
                let mut filled = 0;
                while filled < bytes.len() {
                    let read = source.read_at(&mut bytes[filled..], offset + filled as u64);
                    match read {
                        Ok(0) => return Err(short()),
                        Ok(more) => filled += more,
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(error) => {
                            return Err(Error::Storage { place: name.to_owned(), source: Box::new(error) });
                        }
                    }
                }
                Ok(bytes)
            }
        }
    }
}
