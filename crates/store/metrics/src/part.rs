//! Immutable parts: the samples of many series in one file, with the index that finds them.
//!
//! Write one with [`PartWriter`], series by series in the order of [`SortKey`]; read it with
//! [`Part::open`]; put several together with [`merge`]. A part knows nothing of other parts, of the
//! manifest that names it, or of time: who owns it publishes and removes it.

use std::{io::Write, sync::Arc};

use metrics_api::{CardinalityReport, Error, Labels, Matcher, Result, Samples, SeriesId, TimeRange};
use roaring::RoaringBitmap;

/// Bytes of decoded blocks that a [`BlockCache`] holds unless told otherwise.
pub const CACHE_BYTES_DEFAULT: usize = 64 << 20;
/// Series in one part.
pub const SERIES_MAX: u32 = 50_000_000;

/// The order of series in a part: metric name, then hashes of `job` and `instance`, so that series
/// of one scrape stand together, then the id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SortKey {
    name: Box<str>,
    job: u64,
    instance: u64,
    id: SeriesId,
}

impl SortKey {
    #[must_use]
    pub fn of(labels: &Labels) -> Self {
        let hash = |name: &str| xxhash_rust::xxh3::xxh3_64(labels.get(name).as_bytes());
        Self {
            name: labels.metric_name().into(),
            job: hash("job"),
            instance: hash("instance"),
            id: labels.id(),
        }
    }
}

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

/// Writes one part, from start to end, in memory that grows with the number of series (some ten
/// bytes each) and not with that of samples.
#[derive(Debug)]
pub struct PartWriter<W: Write> {
    sink: W,
}

impl<W: Write> PartWriter<W> {
    /// Begins a part. `sink` is empty; it gets writes of some KiB, in order.
    ///
    /// # Errors
    /// [`Error::Storage`] from the sink.
    pub fn new(sink: W) -> Result<Self> {
        Ok(Self { sink })
    }

    /// Adds a series: samples in order of time, as many as there are. One without samples is left
    /// out.
    ///
    /// # Errors
    /// [`Error::Storage`] from the sink; [`Error::Unavailable`] for a series out of order or given
    /// twice; [`Error::Limit`] over [`SERIES_MAX`]. The part is good for nothing then.
    pub fn push_series(&mut self, labels: &Labels, samples: &Samples) -> Result<()> {
        let _ = (labels, samples);
        Ok(())
    }

    /// Writes the index and gives the sink back, for its owner to sync and publish. Without
    /// series there may be nothing to publish: look at [`PartInfo::series`].
    ///
    /// # Errors
    /// [`Error::Storage`] from the sink.
    pub fn finish(self) -> Result<(W, PartInfo)> {
        Ok((self.sink, PartInfo::default()))
    }
}

/// Decoded blocks of all parts, at most so many bytes; the least used go first. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BlockCache {
    bytes_max: usize,
}

impl BlockCache {
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max }
    }
    /// Bytes held now.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes_max.min(0)
    }
}

/// Numbers of series in a part.
pub type Ordinals = RoaringBitmap;

/// What is known of a stored chunk without decoding its values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChunkInfo {
    pub samples: u32,
    pub min_time_ms: i64,
    pub max_time_ms: i64,
    pub histograms: bool,
    /// Only of long chunks of floats without staleness markers; of constant ones always.
    pub aggregates: Option<Aggregates>,
}

/// Computed once, when the chunk was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aggregates {
    pub first: f64,
    pub last: f64,
    pub min: f64,
    pub max: f64,
    /// Added up in order, with Kahan-Neumaier compensation.
    pub sum: f64,
    /// What counter resets took away: the sum of the values just before each fall.
    pub resets_sum: f64,
}

/// A part to read. Reads block and take CPU: not for an async thread. Its footer, term index and
/// block directory are in memory; the rest is read in blocks through the cache.
#[derive(Debug)]
pub struct Part {
    info: PartInfo,
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
        let _ = (name, source, size_bytes, cache);
        Ok(Self { info: PartInfo::default() })
    }

    /// A part in memory, such as one that is not on disk yet.
    ///
    /// # Errors
    /// As [`Part::open`].
    pub fn from_bytes(name: &str, bytes: Arc<[u8]>, cache: &BlockCache) -> Result<Self> {
        let _ = (name, bytes, cache);
        Ok(Self { info: PartInfo::default() })
    }

    #[must_use]
    pub fn info(&self) -> &PartInfo {
        &self.info
    }

    /// Bytes that stay in memory while the part is open.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        0
    }

    /// Numbers of the series that meet all matchers; none when the part does not touch `range`.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Storage`].
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Ordinals> {
        let _ = (matchers, range);
        Ok(Ordinals::new())
    }

    /// The number of exactly this series.
    ///
    /// # Errors
    /// As [`Part::select`].
    pub fn find(&self, labels: &Labels) -> Result<Option<u32>> {
        let _ = labels;
        Ok(None)
    }

    /// Labels of a series. Asking in order of number is cheapest.
    ///
    /// # Errors
    /// As [`Part::select`]; a number that is not in the part is [`Error::Damaged`].
    pub fn labels(&self, ordinal: u32) -> Result<Labels> {
        let _ = ordinal;
        Ok(Labels::empty())
    }

    /// Chunks of a series that touch `range`, in order of time; floats and histograms each apart.
    ///
    /// # Errors
    /// As [`Part::labels`].
    pub fn chunks(&self, ordinal: u32, range: TimeRange) -> Result<Vec<ChunkInfo>> {
        let _ = (ordinal, range);
        Ok(Vec::new())
    }

    /// Appends the samples of a series in `range` to `into`, in order of time.
    ///
    /// # Errors
    /// As [`Part::labels`].
    pub fn read(&self, ordinal: u32, range: TimeRange, into: &mut Samples) -> Result<()> {
        let _ = (ordinal, range, into);
        Ok(())
    }

    /// Names of labels in order, of all series or of those.
    ///
    /// # Errors
    /// As [`Part::select`].
    pub fn label_names(&self, of: Option<&Ordinals>) -> Result<Vec<String>> {
        let _ = of;
        Ok(Vec::new())
    }

    /// Values of a label in order, of all series or of those.
    ///
    /// # Errors
    /// As [`Part::select`].
    pub fn label_values(&self, name: &str, of: Option<&Ordinals>) -> Result<Vec<String>> {
        let _ = (name, of);
        Ok(Vec::new())
    }

    /// What makes the number of series, the `top` largest of each kind.
    ///
    /// # Errors
    /// As [`Part::select`].
    pub fn cardinality(&self, top: usize) -> Result<CardinalityReport> {
        let _ = top;
        Ok(CardinalityReport::default())
    }
}

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
/// [`Error::Damaged`] when a part does not read back: then nothing is lost, the parts stay;
/// [`Error::Storage`].
pub fn merge<W: Write>(parts: &[Arc<Part>], cuts: &Cuts, writer: &mut PartWriter<W>) -> Result<Merged> {
    let _ = (parts, cuts, writer);
    Err(Error::Unavailable { why: "merging is not written yet".into() })
}
