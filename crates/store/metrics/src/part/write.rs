//! Writing a part from start to end.

use std::{collections::HashMap, io::Write, sync::Arc};

use metrics_api::{Error, Histogram, Labels, METRIC_NAME, Result, Samples, SeriesId};

use super::{
    Aggregates, MAGIC, PartInfo, SERIES_MAX, VERSION,
    block::{ChunkBlockBuilder, NewChunk, SeriesBlockBuilder, TimesBlockBuilder},
    frame::Compressor,
    index::{BlockAt, Directory, Terms},
};
use crate::codec::{
    CHUNK_FLOATS_MAX, CHUNK_SAMPLES_MAX, ValueEncoder,
    bytes::{put_varint, put_zigzag},
    histograms,
};

/// Streams of times that are remembered to be shared; then all are forgotten.
pub const TIMES_REMEMBERED_MAX: usize = 1 << 17;
/// Shorter chunks of floats are read as quickly as their aggregates, which cost 48 bytes.
const AGGREGATES_SAMPLES_MIN: usize = 1_024;

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
        let (mut name, mut job, mut instance) = ("", "", "");
        for label in labels {
            match label.name {
                METRIC_NAME => name = label.value,
                "job" => job = label.value,
                "instance" => instance = label.value,
                _ => {}
            }
        }
        let hash = |value: &str| xxhash_rust::xxh3::xxh3_64(value.as_bytes());
        Self { name: name.into(), job: hash(job), instance: hash(instance), id: labels.id() }
    }
}

/// Writes one part, from start to end, in memory that grows with the number of series (some ten
/// bytes each) and not with that of samples.
#[derive(Debug)]
pub struct PartWriter<W: Write> {
    sink: W,
    offset: u64,
    info: PartInfo,
    last: Option<SortKey>,
    compressor: Compressor,
    encoder: ValueEncoder,
    chunks: ChunkBlockBuilder,
    times: TimesBlockBuilder,
    series: SeriesBlockBuilder,
    terms: Terms,
    known_times: KnownTimes,
    chunks_at: Directory,
    times_at: Directory,
    series_at: Directory,
    frame: Vec<u8>,
    payload: Vec<u8>,
}

/// Which streams of times were written, by their hash.
#[derive(Debug, Default)]
struct KnownTimes {
    ids: HashMap<u128, u32>,
    last: Option<(u128, u32)>,
    next: u32,
    first_of_block: u32,
    bytes: Vec<u8>,
}

impl KnownTimes {
    /// The number of a stream, and whether it is new.
    fn id_of(&mut self, times: &[i64]) -> (u32, bool) {
        self.bytes.clear();
        self.bytes.reserve(times.len() * 8);
        for time in times {
            self.bytes.extend_from_slice(&time.to_le_bytes());
        }
        let hash = xxhash_rust::xxh3::xxh3_128(&self.bytes);
        if let Some((_, id)) = self.last.filter(|last| last.0 == hash) {
            return (id, false);
        }
        let found = self.ids.get(&hash).copied();
        let id = found.unwrap_or(self.next);
        if found.is_none() {
            if self.ids.len() >= TIMES_REMEMBERED_MAX {
                self.ids.clear();
            }
            self.ids.insert(hash, id);
            self.next += 1;
        }
        self.last = Some((hash, id));
        (id, found.is_none())
    }
}

impl<W: Write> PartWriter<W> {
    /// Begins a part. `sink` is empty; it gets writes of some KiB, in order.
    ///
    /// # Errors
    /// [`Error::Storage`] from the sink.
    pub fn new(sink: W) -> Result<Self> {
        let mut writer = Self {
            sink,
            offset: 0,
            info: PartInfo { min_time_ms: i64::MAX, max_time_ms: i64::MIN, ..PartInfo::default() },
            last: None,
            compressor: Compressor::new(),
            encoder: ValueEncoder::default(),
            chunks: ChunkBlockBuilder::default(),
            times: TimesBlockBuilder::default(),
            series: SeriesBlockBuilder::default(),
            terms: Terms::default(),
            known_times: KnownTimes::default(),
            chunks_at: Directory::default(),
            times_at: Directory::default(),
            series_at: Directory::default(),
            frame: Vec::new(),
            payload: Vec::new(),
        };
        put(&mut writer.sink, &mut writer.offset, &MAGIC)?;
        Ok(writer)
    }

    /// Adds a series: samples in order of time, as many as there are. One without samples is left
    /// out.
    ///
    /// # Errors
    /// [`Error::Storage`] from the sink; [`Error::Unavailable`] for a series out of order or given
    /// twice; [`Error::Limit`] over [`SERIES_MAX`]. The part is good for nothing then.
    pub fn push_series(&mut self, labels: &Labels, samples: &Samples) -> Result<()> {
        if samples.is_empty() {
            return Ok(());
        }
        if self.info.series >= SERIES_MAX {
            return Err(Error::Limit { what: "series in one part", limit: u64::from(SERIES_MAX) });
        }
        let ordered = |times: &[i64]| times.is_sorted_by(|a, b| a < b);
        if !ordered(&samples.float_times) || !ordered(&samples.histogram_times) {
            return Err(Error::Unavailable {
                why: format!("the samples of {labels} are not in order of time"),
            });
        }
        let key = SortKey::of(labels);
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(Error::Unavailable { why: format!("the series {labels} comes out of order") });
        }
        self.last = Some(key);
        let ordinal = self.info.series;
        self.info.series += 1;
        for label in labels {
            self.terms.push(ordinal, label.name, label.value);
        }
        if self.series.push(labels) {
            self.close_series()?;
        }
        let times = samples.float_times.chunks(CHUNK_SAMPLES_MAX);
        for (times, values) in times.zip(samples.floats.chunks(CHUNK_SAMPLES_MAX)) {
            self.push_floats(ordinal, times, values)?;
        }
        self.push_histograms(ordinal, &samples.histogram_times, &samples.histograms)
    }

    fn push_floats(&mut self, ordinal: u32, times: &[i64], values: &[f64]) -> Result<()> {
        let times_id = self.times_id(times)?;
        self.payload.clear();
        let encoding = self.encoder.encode(values, &mut self.payload);
        let long = values.len() >= AGGREGATES_SAMPLES_MIN && encoding != crate::codec::Encoding::Constant;
        let aggregates = if long { Aggregates::of(values) } else { None };
        let chunk =
            NewChunk { ordinal, times_id, encoding: Some(encoding), payload: &self.payload, aggregates };
        if self.chunks.push(&chunk, &mut self.compressor) {
            self.close_chunks()?;
        }
        Ok(())
    }

    fn push_histograms(
        &mut self,
        ordinal: u32,
        mut times: &[i64],
        mut values: &[Arc<Histogram>],
    ) -> Result<()> {
        if !values.iter().all(|value| histograms::fits(value)) {
            return Err(Error::Limit { what: "buckets of a histogram", limit: CHUNK_FLOATS_MAX as u64 });
        }
        while !values.is_empty() {
            let run = histograms::run_len(values);
            let times_id = self.times_id(&times[..run])?;
            self.payload.clear();
            histograms::encode(&values[..run], &mut self.encoder, &mut self.payload);
            let chunk =
                NewChunk { ordinal, times_id, encoding: None, payload: &self.payload, aggregates: None };
            if self.chunks.push(&chunk, &mut self.compressor) {
                self.close_chunks()?;
            }
            (times, values) = (&times[run..], &values[run..]);
        }
        Ok(())
    }

    /// Counts a chunk's samples and gives the number of its times.
    fn times_id(&mut self, times: &[i64]) -> Result<u32> {
        self.info.chunks += 1;
        self.info.samples += times.len() as u64;
        if let (Some(first), Some(last)) = (times.first(), times.last()) {
            self.info.min_time_ms = self.info.min_time_ms.min(*first);
            self.info.max_time_ms = self.info.max_time_ms.max(*last);
        }
        let (id, new) = self.known_times.id_of(times);
        if new && self.times.push(times) {
            self.close_times()?;
        }
        Ok(id)
    }

    fn close_chunks(&mut self) -> Result<()> {
        self.frame.clear();
        match self.chunks.finish(&mut self.compressor, &mut self.frame) {
            Some(first) => place(&mut self.sink, &mut self.offset, &self.frame, first, &mut self.chunks_at),
            None => Ok(()),
        }
    }

    fn close_times(&mut self) -> Result<()> {
        self.frame.clear();
        let Some(streams) = self.times.finish(&mut self.compressor, &mut self.frame) else { return Ok(()) };
        let first = self.known_times.first_of_block;
        self.known_times.first_of_block += streams;
        place(&mut self.sink, &mut self.offset, &self.frame, first, &mut self.times_at)
    }

    fn close_series(&mut self) -> Result<()> {
        self.frame.clear();
        let Some(rows) = self.series.finish(&mut self.compressor, &mut self.frame) else { return Ok(()) };
        let first = self.info.series - rows;
        place(&mut self.sink, &mut self.offset, &self.frame, first, &mut self.series_at)
    }

    /// Writes the index and gives the sink back, for its owner to sync and publish. Without
    /// series there may be nothing to publish: look at [`PartInfo::series`].
    ///
    /// # Errors
    /// [`Error::Storage`] from the sink.
    pub fn finish(mut self) -> Result<(W, PartInfo)> {
        self.close_chunks()?;
        self.close_times()?;
        self.close_series()?;
        let (sink, offset) = (&mut self.sink, &mut self.offset);
        let mut postings_at = Directory::default();
        let mut number = 0;
        let (index, stats) = self.terms.finish(&mut self.compressor, |block| {
            number += 1;
            place(sink, offset, block, number - 1, &mut postings_at)
        })?;
        self.frame.clear();
        self.compressor.frame(&[(&index, true)], &mut self.frame);
        let index_at = (*offset, self.frame.len() as u64);
        put(sink, offset, &self.frame)?;

        let mut head = Vec::new();
        put_varint(&mut head, u64::from(self.info.series));
        put_varint(&mut head, self.info.chunks);
        put_varint(&mut head, self.info.samples);
        put_zigzag(&mut head, self.info.min_time_ms);
        put_zigzag(&mut head, self.info.max_time_ms);
        put_varint(&mut head, index_at.0);
        put_varint(&mut head, index_at.1);
        for directory in [&self.chunks_at, &self.times_at, &self.series_at, &postings_at] {
            directory.write(&mut head);
        }
        let mut counts = Vec::new();
        stats.write(&mut counts);
        self.frame.clear();
        self.compressor.frame(&[(&head, true), (&counts, true)], &mut self.frame);
        let footer_at = *offset;
        let footer_len = self.frame.len() as u64;
        self.frame.extend_from_slice(&footer_at.to_le_bytes());
        self.frame.extend_from_slice(&footer_len.to_le_bytes());
        self.frame.extend_from_slice(&VERSION.to_le_bytes());
        self.frame.extend_from_slice(&MAGIC);
        put(sink, offset, &self.frame)?;
        sink.flush().map_err(storage)?;
        self.info.size_bytes = *offset;
        Ok((self.sink, self.info))
    }
}

fn put(sink: &mut impl Write, offset: &mut u64, bytes: &[u8]) -> Result<()> {
    sink.write_all(bytes).map_err(storage)?;
    *offset += bytes.len() as u64;
    Ok(())
}

fn place(
    sink: &mut impl Write,
    offset: &mut u64,
    frame: &[u8],
    first: u32,
    directory: &mut Directory,
) -> Result<()> {
    let len = u32::try_from(frame.len());
    let len = len.map_err(|_| Error::Limit { what: "bytes of a block", limit: u64::from(u32::MAX) })?;
    directory.0.push(BlockAt { first, len, offset: *offset });
    put(sink, offset, frame)
}

fn storage(error: std::io::Error) -> Error {
    Error::Storage { place: "the part that is being written".into(), source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shared_until_too_many_are_remembered() {
        let mut known = KnownTimes::default();
        assert_eq!(known.id_of(&[-1]), (0, true));
        assert_eq!(known.id_of(&[-1]), (0, false));
        for at in 1..TIMES_REMEMBERED_MAX as i64 {
            assert_eq!(known.id_of(&[at]), (at as u32, true));
        }
        assert_eq!(known.id_of(&[-1]), (0, false));
        assert_eq!(known.id_of(&[-2]), (TIMES_REMEMBERED_MAX as u32, true));
        assert_eq!(known.id_of(&[-1]), (TIMES_REMEMBERED_MAX as u32 + 1, true), "written once more");
        assert!(known.ids.len() <= TIMES_REMEMBERED_MAX);
    }

    #[test]
    fn series_over_the_limit_are_refused() {
        let mut writer = PartWriter::new(Vec::new()).unwrap();
        writer.info.series = SERIES_MAX;
        let mut samples = Samples::default();
        samples.push_float(1, 1.0);
        let refused = writer.push_series(&Labels::empty(), &samples);
        assert!(matches!(refused, Err(Error::Limit { .. })), "{refused:?}");
    }
}
