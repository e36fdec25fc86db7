//! Blocks: some neighbours written together. Chunks with one row each, streams of times, labels.

use metrics_api::{Labels, Samples, TimeRange};

use super::{
    Aggregates,
    frame::{self, Compressor, SECTION_BYTES_MAX},
};
use crate::codec::{
    self, Encoding,
    bytes::{Bytes, put_varint, put_zigzag},
    times::{self, TimesEncoder},
};

/// A block of chunks is closed at this size of payload.
const CHUNK_BLOCK_BYTES: usize = 24 << 10;
/// Rows in one block of chunks.
const CHUNK_BLOCK_ROWS: usize = 512;
/// A payload from this size on is compressed alone, so that reading it touches no other.
const OWN_BYTES: usize = 3 << 10;
/// A block of times is closed at so many times, or so many residuals.
const TIMES_BLOCK_SAMPLES: usize = 32 << 10;
const TIMES_BLOCK_RESIDUALS: usize = 8 << 10;
const TIMES_BLOCK_SAMPLES_MAX: usize = TIMES_BLOCK_SAMPLES + codec::CHUNK_SAMPLES_MAX;
const SERIES_BLOCK_ROWS: usize = 128;
const SERIES_BLOCK_BYTES: usize = 32 << 10;

/// The byte that says what a row is: the encoding in the low bits, and these.
const HISTOGRAMS: u8 = 0x80;
const OWN: u8 = 0x40;
const AGGREGATES: u8 = 0x20;
const ENCODING: u8 = 0x0f;
const AGGREGATES_BYTES: usize = 48;

/// A chunk about to be written.
pub(super) struct NewChunk<'a> {
    pub(super) ordinal: u32,
    pub(super) times_id: u32,
    /// None for histograms.
    pub(super) encoding: Option<Encoding>,
    pub(super) payload: &'a [u8],
    pub(super) aggregates: Option<Aggregates>,
}

/// Gathers chunks.
#[derive(Debug, Default)]
pub(super) struct ChunkBlockBuilder {
    rows: usize,
    first: u32,
    ordinals: Vec<u8>,
    kinds: Vec<u8>,
    times: Vec<u8>,
    lens: Vec<u8>,
    before: (u32, u32),
    loose: Vec<u8>,
    tight: Vec<u8>,
    aggregates: Vec<u8>,
}

impl ChunkBlockBuilder {
    /// True when the block is to be closed now.
    pub(super) fn push(&mut self, chunk: &NewChunk<'_>, compressor: &mut Compressor) -> bool {
        if self.rows == 0 {
            self.first = chunk.ordinal;
            self.before = (chunk.ordinal, 0);
        }
        put_varint(&mut self.ordinals, u64::from(chunk.ordinal - self.before.0));
        put_zigzag(&mut self.times, i64::from(chunk.times_id) - i64::from(self.before.1));
        self.before = (chunk.ordinal, chunk.times_id);
        let mut kind = chunk.encoding.map_or(HISTOGRAMS, |encoding| encoding as u8);
        let packed = chunk.encoding.is_some_and(Encoding::is_packed);
        let mut stored = chunk.payload;
        if packed {
            self.tight.extend_from_slice(stored);
        } else if let Some(own) =
            Some(stored).filter(|bytes| bytes.len() >= OWN_BYTES).and_then(|bytes| compressor.compress(bytes))
        {
            kind |= OWN;
            stored = own;
            self.tight.extend_from_slice(stored);
        } else {
            self.loose.extend_from_slice(stored);
        }
        put_varint(&mut self.lens, stored.len() as u64);
        if let Some(known) = &chunk.aggregates {
            kind |= AGGREGATES;
            for number in [known.first, known.last, known.min, known.max, known.sum, known.resets_sum] {
                self.aggregates.extend_from_slice(&number.to_bits().to_le_bytes());
            }
        }
        self.kinds.push(kind);
        self.rows += 1;
        self.rows >= CHUNK_BLOCK_ROWS || self.loose.len() + self.tight.len() >= CHUNK_BLOCK_BYTES
    }

    /// Appends the block to `out` and begins anew; the first ordinal, or None when it is empty.
    pub(super) fn finish(&mut self, compressor: &mut Compressor, out: &mut Vec<u8>) -> Option<u32> {
        if self.rows == 0 {
            return None;
        }
        let mut head = Vec::new();
        put_varint(&mut head, self.rows as u64);
        put_varint(&mut head, u64::from(self.first));
        for column in [&self.ordinals, &self.kinds, &self.times, &self.lens] {
            head.extend_from_slice(column);
        }
        let sections = [(&head, true), (&self.loose, true), (&self.tight, false), (&self.aggregates, true)];
        compressor.frame(&sections.map(|(bytes, compress)| (bytes.as_slice(), compress)), out);
        let first = self.first;
        for column in [
            &mut self.ordinals,
            &mut self.kinds,
            &mut self.times,
            &mut self.lens,
            &mut self.loose,
            &mut self.tight,
            &mut self.aggregates,
        ] {
            column.clear();
        }
        self.rows = 0;
        Some(first)
    }
}

/// A chunk in a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) ordinal: u32,
    pub(super) times_id: u32,
    kind: u8,
    start: u32,
    len: u32,
    aggregates: u32,
}

/// Chunks as they were read.
#[derive(Debug)]
pub(super) struct ChunkBlock {
    rows: Vec<Row>,
    loose: Vec<u8>,
    tight: Vec<u8>,
    aggregates: Vec<u8>,
}

impl ChunkBlock {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let [head, loose, tight, aggregates] = frame::open(bytes, SECTION_BYTES_MAX)?;
        let rows = Self::rows(&head, loose.len(), tight.len(), aggregates.len());
        let rows = rows.ok_or("its rows do not decode")?;
        Ok(Self { rows, loose, tight, aggregates })
    }

    fn rows(head: &[u8], loose: usize, tight: usize, aggregates: usize) -> Option<Vec<Row>> {
        let mut head = Bytes::new(head);
        let count = head.len(CHUNK_BLOCK_ROWS)?;
        let mut ordinal = u32::try_from(head.varint()?).ok()?;
        let row = Row { ordinal, times_id: 0, kind: 0, start: 0, len: 0, aggregates: 0 };
        let mut rows = vec![row; count];
        for row in &mut rows {
            ordinal = ordinal.checked_add(u32::try_from(head.varint()?).ok()?)?;
            row.ordinal = ordinal;
        }
        for row in &mut rows {
            row.kind = head.u8()?;
        }
        let mut times_id = 0i64;
        for row in &mut rows {
            times_id = times_id.checked_add(head.zigzag()?)?;
            row.times_id = u32::try_from(times_id).ok()?;
        }
        let (mut loose_at, mut tight_at, mut aggregates_at) = (0usize, 0usize, 0usize);
        for row in &mut rows {
            let len = head.len(SECTION_BYTES_MAX)?;
            let at = if row.is_tight() { &mut tight_at } else { &mut loose_at };
            (row.start, row.len) = (u32::try_from(*at).ok()?, len as u32);
            *at += len;
            if row.kind & AGGREGATES != 0 {
                row.aggregates = aggregates_at as u32;
                aggregates_at += AGGREGATES_BYTES;
            }
        }
        let whole = loose_at == loose && tight_at == tight && aggregates_at == aggregates;
        (whole && head.is_empty()).then_some(rows)
    }

    pub(super) fn rows_of(&self, ordinal: u32) -> &[Row] {
        let from = self.rows.partition_point(|row| row.ordinal < ordinal);
        let to = self.rows.partition_point(|row| row.ordinal <= ordinal);
        &self.rows[from..to]
    }

    fn stored(&self, row: &Row) -> &[u8] {
        let bytes = if row.is_tight() { &self.tight } else { &self.loose };
        &bytes[row.start as usize..(row.start + row.len) as usize]
    }

    /// Appends what of a chunk is in `range`.
    pub(super) fn append(
        &self,
        row: &Row,
        times: &[i64],
        range: TimeRange,
        into: &mut Samples,
    ) -> Option<()> {
        let own;
        let payload = if row.kind & OWN == 0 {
            self.stored(row)
        } else {
            own = frame::decompress_own(self.stored(row), SECTION_BYTES_MAX)?;
            &own
        };
        codec::append(row.is_histograms(), row.kind & ENCODING, payload, times, range, into)
    }

    pub(super) fn aggregates(&self, row: &Row) -> Option<Aggregates> {
        if row.kind & AGGREGATES == 0 {
            let constant = row.kind == Encoding::Constant as u8;
            let value = if constant { codec::values::constant(self.stored(row)) } else { None };
            return value.filter(|value| value.is_finite()).map(Aggregates::constant_once);
        }
        let mut bytes = Bytes::new(self.aggregates.get(row.aggregates as usize..)?);
        Some(Aggregates {
            first: bytes.f64()?,
            last: bytes.f64()?,
            min: bytes.f64()?,
            max: bytes.f64()?,
            sum: bytes.f64()?,
            resets_sum: bytes.f64()?,
        })
    }

    pub(super) fn is_constant(row: &Row) -> bool {
        row.kind == Encoding::Constant as u8
    }

    /// The encodings of its chunks and the bytes each takes, for figures; None for histograms.
    pub(super) fn shapes(&self) -> impl Iterator<Item = (Option<Encoding>, u32, usize)> {
        self.rows.iter().map(|row| {
            let encoding = if row.is_histograms() { None } else { Encoding::from_byte(row.kind & ENCODING) };
            (encoding, row.times_id, row.len as usize)
        })
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.rows.len() * size_of::<Row>() + self.loose.len() + self.tight.len() + self.aggregates.len()
    }
}

impl Row {
    fn is_tight(&self) -> bool {
        self.kind & OWN != 0
            || (!self.is_histograms()
                && Encoding::from_byte(self.kind & ENCODING).is_some_and(Encoding::is_packed))
    }

    pub(super) fn is_histograms(&self) -> bool {
        self.kind & HISTOGRAMS != 0
    }
}

/// Gathers streams of times.
#[derive(Debug, Default)]
pub(super) struct TimesBlockBuilder {
    encoder: TimesEncoder,
    streams: u32,
    samples: usize,
}

impl TimesBlockBuilder {
    /// True when the block is to be closed now.
    pub(super) fn push(&mut self, times: &[i64]) -> bool {
        self.encoder.push(times);
        self.streams += 1;
        self.samples += times.len();
        self.samples >= TIMES_BLOCK_SAMPLES || self.encoder.residuals_len() >= TIMES_BLOCK_RESIDUALS
    }

    /// Appends the block to `out` and begins anew; how many streams it holds, or None.
    pub(super) fn finish(&mut self, compressor: &mut Compressor, out: &mut Vec<u8>) -> Option<u32> {
        if self.streams == 0 {
            return None;
        }
        let (mut head, mut residuals) = (Vec::new(), Vec::new());
        put_varint(&mut head, u64::from(self.streams));
        self.encoder.finish(&mut head, &mut residuals);
        compressor.frame(&[(&head, true), (&residuals, false)], out);
        self.samples = 0;
        Some(std::mem::take(&mut self.streams))
    }
}

/// The streams of a block of times.
pub(super) fn read_times(bytes: &[u8]) -> Result<Vec<Vec<i64>>, &'static str> {
    let [head, residuals] = frame::open(bytes, SECTION_BYTES_MAX)?;
    let mut head = Bytes::new(&head);
    let streams = head.len(TIMES_BLOCK_SAMPLES_MAX);
    streams
        .and_then(|streams| times::decode(head.rest(), &residuals, streams, TIMES_BLOCK_SAMPLES_MAX))
        .ok_or("its times do not decode")
}

/// Gathers labels of series.
#[derive(Debug, Default)]
pub(super) struct SeriesBlockBuilder {
    rows: usize,
    shapes: Vec<u8>,
    bytes: Vec<u8>,
    before: Vec<u8>,
}

impl SeriesBlockBuilder {
    /// True when the block is to be closed now.
    pub(super) fn push(&mut self, labels: &Labels) -> bool {
        let own = labels.as_bytes();
        let shared = own.iter().zip(&self.before).take_while(|(a, b)| a == b).count();
        put_varint(&mut self.shapes, shared as u64);
        put_varint(&mut self.shapes, (own.len() - shared) as u64);
        self.bytes.extend_from_slice(&own[shared..]);
        self.before.clear();
        self.before.extend_from_slice(own);
        self.rows += 1;
        self.rows >= SERIES_BLOCK_ROWS || self.bytes.len() >= SERIES_BLOCK_BYTES
    }

    /// Appends the block to `out` and begins anew; how many series it holds, or None.
    pub(super) fn finish(&mut self, compressor: &mut Compressor, out: &mut Vec<u8>) -> Option<u32> {
        if self.rows == 0 {
            return None;
        }
        let mut head = Vec::new();
        put_varint(&mut head, self.rows as u64);
        head.append(&mut self.shapes);
        compressor.frame(&[(&head, true), (&self.bytes, true)], out);
        self.bytes.clear();
        self.before.clear();
        Some(std::mem::take(&mut self.rows) as u32)
    }
}

/// The labels of a block of series.
pub(super) fn read_series(bytes: &[u8]) -> Result<Vec<Labels>, &'static str> {
    let [head, bytes] = frame::open(bytes, SECTION_BYTES_MAX)?;
    series(&head, &bytes).ok_or("its labels do not decode")
}

fn series(head: &[u8], bytes: &[u8]) -> Option<Vec<Labels>> {
    let (mut head, mut bytes) = (Bytes::new(head), Bytes::new(bytes));
    let mut own: Vec<u8> = Vec::new();
    let mut all = Vec::new();
    for _ in 0..head.len(SERIES_BLOCK_ROWS)? {
        own.truncate(head.len(own.len())?);
        let suffix = head.len(bytes.rest().len())?;
        own.extend_from_slice(bytes.take(suffix)?);
        all.push(Labels::from_bytes(&own)?);
    }
    (head.is_empty() && bytes.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of each kind, with rows of several encodings.
    fn blocks() -> [Vec<u8>; 3] {
        let mut compressor = Compressor::new();
        let (mut chunks, mut times) = (ChunkBlockBuilder::default(), TimesBlockBuilder::default());
        let mut series = SeriesBlockBuilder::default();
        let mut encoder = codec::ValueEncoder::default();
        for ordinal in 0..6u32 {
            let count = 40 << (2 * (ordinal % 4));
            let value = |at: usize| match ordinal {
                0 => 1.0,
                1 => (at * at * 7919 % 1009) as f64,
                2 => (at as f64).sqrt(),
                3 => (at * at * 7919 % 1_000_003) as f64,
                _ => at as f64,
            };
            let values: Vec<f64> = (0..count).map(value).collect();
            let stream: Vec<i64> = (0..count as i64).map(|at| at * 1000 + at * 31 % 7).collect();
            times.push(&stream);
            let mut payload = Vec::new();
            let encoding = Some(encoder.encode(&values, &mut payload));
            let aggregates = Aggregates::of(&values).filter(|_| ordinal == 3);
            let chunk = NewChunk { ordinal, times_id: ordinal, encoding, payload: &payload, aggregates };
            chunks.push(&chunk, &mut compressor);
            series.push(&Labels::from_pairs([("a", "same"), ("b", &ordinal.to_string())]));
        }
        let mut all = [const { Vec::new() }; 3];
        chunks.finish(&mut compressor, &mut all[0]);
        times.finish(&mut compressor, &mut all[1]);
        series.finish(&mut compressor, &mut all[2]);
        all
    }

    /// Changes some bytes below the checksum, so that what comes after it is asked.
    fn mutated<const N: usize>(frame: &[u8], random: &mut impl FnMut() -> usize) -> Vec<u8> {
        let mut sections = frame::open::<N>(frame, SECTION_BYTES_MAX).unwrap();
        for _ in 0..1 + random() % 4 {
            let section = &mut sections[random() % N];
            if random().is_multiple_of(8) {
                section.truncate(random() % (section.len() + 1));
            } else if !section.is_empty() {
                let at = random() % section.len();
                section[at] ^= 1 << (random() % 8);
            }
        }
        let mut out = Vec::new();
        let parts: Vec<(&[u8], bool)> = sections.iter().map(|section| (section.as_slice(), true)).collect();
        Compressor::new().frame(&parts, &mut out);
        out
    }

    #[test]
    fn damage_that_the_checksum_does_not_see_does_no_harm() {
        let soak = std::env::var("STEAD_SOAK").ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or(1.0);
        let [chunks, times, series] = blocks();
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as usize
        };
        let stream: Vec<i64> = (0..2560).collect();
        for _ in 0..(1_000.0 * soak) as usize {
            if let Ok(block) = ChunkBlock::read(&mutated::<4>(&chunks, &mut random)) {
                for row in &block.rows {
                    let times = &stream[..1 + random() % stream.len()];
                    let _ = block.append(row, times, TimeRange::ALL, &mut Samples::default());
                    let _ = block.aggregates(row);
                }
            }
            let _ = read_times(&mutated::<2>(&times, &mut random));
            let _ = read_series(&mutated::<2>(&series, &mut random));
        }
    }

    #[test]
    fn a_block_is_closed_at_its_bounds() {
        let mut compressor = Compressor::new();
        let mut push = |chunks: &mut ChunkBlockBuilder, ordinal: u32, payload: &[u8]| {
            let encoding = Some(Encoding::PackedFloat);
            let chunk = NewChunk { ordinal, times_id: 0, encoding, payload, aggregates: None };
            chunks.push(&chunk, &mut compressor)
        };
        let mut chunks = ChunkBlockBuilder::default();
        assert!((1..CHUNK_BLOCK_ROWS as u32).all(|ordinal| !push(&mut chunks, ordinal, &[0; 10])));
        assert!(push(&mut chunks, 1000, &[0; 10]));
        assert!(push(&mut ChunkBlockBuilder::default(), 0, &[0; CHUNK_BLOCK_BYTES]));
        let mut times = TimesBlockBuilder::default();
        let stream: Vec<i64> = (0..codec::CHUNK_SAMPLES_MAX as i64).collect();
        let pushed: Vec<bool> = (0..4).map(|_| times.push(&stream)).collect();
        assert_eq!(pushed, [false, false, false, true]);
    }
}
