//! Columns of times, values and histograms as bytes: lossless for every bit pattern, small, and
//! quick to read.
//!
//! Enter at [`encode`] and [`decode`]: one chunk that stands for itself. Parts keep the times of
//! chunks apart, so that neighbours share them.

use std::sync::Arc;

use metrics_api::{Error, Histogram, Result, Samples, TimeRange};

pub(crate) mod bytes;
mod decimal;
pub(crate) mod histograms;
mod packed;
pub(crate) mod times;
pub(crate) mod values;

use bytes::{Bytes, put_varint};
pub use histograms::CHUNK_FLOATS_MAX;
use times::TimesEncoder;
pub use values::{Encoding, ValueEncoder};

/// Samples in one chunk.
pub const CHUNK_SAMPLES_MAX: usize = 8_192;

/// In place of an [`Encoding`]: the chunk holds histograms.
const HISTOGRAMS: u8 = 0x80;

/// What is known of a chunk without reading it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChunkMeta {
    pub samples: usize,
    pub min_time_ms: i64,
    pub max_time_ms: i64,
    pub size_bytes: usize,
}

/// Appends one chunk of floats, times included, to `out`. `times` ascend strictly, are as many as
/// `values`, at least one and at most [`CHUNK_SAMPLES_MAX`].
///
/// # Errors
/// [`Error::Limit`] for none or too many samples.
pub fn encode(times: &[i64], values: &[f64], out: &mut Vec<u8>) -> Result<ChunkMeta> {
    let start = out.len();
    check_count(times.len(), values.len())?;
    let mut payload = Vec::new();
    let encoding = ValueEncoder::default().encode(values, &mut payload);
    put_chunk(encoding as u8, times, &payload, out);
    Ok(meta(times, out.len() - start))
}

/// Appends one chunk of histograms, times included, to `out`; bounds as of [`encode`]. Those at the
/// front that share schema and spans go in: fewer than were given may, and the answer says how many.
///
/// # Errors
/// As [`encode`]; a histogram of more than [`CHUNK_FLOATS_MAX`] buckets.
pub fn encode_histograms(times: &[i64], values: &[Arc<Histogram>], out: &mut Vec<u8>) -> Result<ChunkMeta> {
    let start = out.len();
    check_count(times.len(), values.len())?;
    if !values.iter().all(|value| histograms::fits(value)) {
        return Err(Error::Limit { what: "buckets of a histogram", limit: CHUNK_FLOATS_MAX as u64 });
    }
    let count = histograms::run_len(values);
    let mut payload = Vec::new();
    histograms::encode(&values[..count], &mut ValueEncoder::default(), &mut payload);
    put_chunk(HISTOGRAMS, &times[..count], &payload, out);
    Ok(meta(&times[..count], out.len() - start))
}

fn check_count(times: usize, values: usize) -> Result<()> {
    if times == 0 || times != values || times > CHUNK_SAMPLES_MAX {
        return Err(Error::Limit { what: "samples of a chunk, or none", limit: CHUNK_SAMPLES_MAX as u64 });
    }
    Ok(())
}

fn meta(times: &[i64], size_bytes: usize) -> ChunkMeta {
    let ends = times.first().zip(times.last()).map_or((0, 0), |(a, b)| (*a, *b));
    ChunkMeta { samples: times.len(), min_time_ms: ends.0, max_time_ms: ends.1, size_bytes }
}

fn put_chunk(kind: u8, times: &[i64], payload: &[u8], out: &mut Vec<u8>) {
    let mut encoder = TimesEncoder::default();
    encoder.push(times);
    let (mut head, mut residuals) = (Vec::new(), Vec::new());
    encoder.finish(&mut head, &mut residuals);
    out.push(kind);
    put_varint(out, head.len() as u64);
    out.extend_from_slice(&head);
    put_varint(out, residuals.len() as u64);
    out.extend_from_slice(&residuals);
    put_varint(out, payload.len() as u64);
    out.extend_from_slice(payload);
}

/// Appends those samples of a chunk (of either kind) that are in `range` to `into`. Bytes after the
/// chunk are not looked at.
///
/// # Errors
/// [`Error::Damaged`] for bytes that no encoder wrote; `into` may hold some of it then.
pub fn decode(chunk: &[u8], range: TimeRange, into: &mut Samples) -> Result<()> {
    decode_or_none(chunk, range, into).ok_or_else(|| Error::Damaged {
        place: "a chunk of samples".into(),
        why: "it does not decode".into(),
    })
}

fn decode_or_none(chunk: &[u8], range: TimeRange, into: &mut Samples) -> Option<()> {
    let mut bytes = Bytes::new(chunk);
    let kind = bytes.u8()?;
    let mut section = || {
        let len = bytes.len(bytes.rest().len())?;
        bytes.take(len)
    };
    let (head, residuals, payload) = (section()?, section()?, section()?);
    let times = times::decode(head, residuals, 1, CHUNK_SAMPLES_MAX)?.pop()?;
    append(kind & HISTOGRAMS != 0, kind & !HISTOGRAMS, payload, &times, range, into)
}

/// Appends the `count` values of a column that a [`ValueEncoder`] wrote as `encoding`.
///
/// # Errors
/// As [`decode`].
pub fn decode_values(encoding: Encoding, bytes: &[u8], count: usize, into: &mut Vec<f64>) -> Result<()> {
    values::decode(encoding, bytes, count, into).ok_or_else(|| Error::Damaged {
        place: "a column of values".into(),
        why: "it does not decode".into(),
    })
}

/// Appends what of a chunk's payload is in `range`.
pub(crate) fn append(
    histograms: bool,
    encoding: u8,
    payload: &[u8],
    times: &[i64],
    range: TimeRange,
    into: &mut Samples,
) -> Option<()> {
    let from = times.partition_point(|time| *time < range.start_ms);
    let to = times.partition_point(|time| *time <= range.end_ms).max(from);
    if histograms {
        let all = histograms::decode(payload, times.len())?;
        into.histogram_times.extend_from_slice(&times[from..to]);
        into.histograms.extend(all.into_iter().skip(from).take(to - from));
        return Some(());
    }
    let start = into.floats.len();
    values::decode(Encoding::from_byte(encoding)?, payload, times.len(), &mut into.floats)?;
    into.floats.truncate(start + to);
    into.floats.drain(start..start + from);
    into.float_times.extend_from_slice(&times[from..to]);
    Some(())
}

#[cfg(test)]
mod tests {
    use metrics_api::{CounterReset, Span, stale_nan};
    use proptest::prelude::*;

    use super::*;

    fn histogram(at: f64, buckets: usize) -> Arc<Histogram> {
        Arc::new(Histogram {
            count: at * buckets as f64,
            sum: at * 1.25,
            zero_count: at,
            schema: 3,
            positive_spans: vec![Span { offset: -2, length: buckets as u32 }],
            positive_buckets: (0..buckets).map(|bucket| at + bucket as f64).collect(),
            counter_reset: if at == 3.0 { CounterReset::Reset } else { CounterReset::NotReset },
            ..Histogram::default()
        })
    }

    #[test]
    fn a_chunk_is_cut_to_the_range() {
        let times: Vec<i64> = (0..100).map(|at| at * 1_000).collect();
        let values: Vec<f64> = (0..100).map(|at| f64::from(at * at)).collect();
        let mut chunk = Vec::new();
        let meta = encode(&times, &values, &mut chunk).unwrap();
        assert_eq!((meta.samples, meta.max_time_ms, meta.size_bytes), (100, 99_000, chunk.len()));
        let mut into = Samples::default();
        into.push_float(-1, 0.0);
        decode(&chunk, TimeRange::new(10_000, 12_500), &mut into).unwrap();
        assert_eq!(into.float_times, [-1, 10_000, 11_000, 12_000]);
        assert_eq!(into.floats, [0.0, 100.0, 121.0, 144.0]);
        decode(&chunk, TimeRange::new(200_000, 300_000), &mut into).unwrap();
        decode(&chunk, TimeRange::new(5, 4), &mut into).unwrap();
        assert_eq!(into.len(), 4);
        assert!(encode(&[], &[], &mut chunk).is_err());
        assert!(
            encode(&vec![0; CHUNK_SAMPLES_MAX + 1], &vec![0.0; CHUNK_SAMPLES_MAX + 1], &mut chunk).is_err()
        );
    }

    #[test]
    fn histograms_come_back_up_to_the_next_layout() {
        let mut values: Vec<_> = (0..50).map(|at| histogram(f64::from(at), 8)).collect();
        values.push(Arc::new(Histogram { sum: stale_nan(), ..Histogram::default() }));
        values.push(histogram(60.0, 8));
        values.push(histogram(61.0, 9));
        let times: Vec<i64> = (0..values.len() as i64).collect();
        let mut chunk = Vec::new();
        let meta = encode_histograms(&times, &values, &mut chunk).unwrap();
        assert_eq!(meta.samples, 52);
        let mut into = Samples::default();
        decode(&chunk, TimeRange::ALL, &mut into).unwrap();
        assert!(into.histograms[50].is_stale() && into.histograms[50].positive_buckets.is_empty());
        assert_eq!(into.histograms[..50], values[..50]);
        assert_eq!(into.histograms[51], values[51]);
        assert!(chunk.len() < 1_000, "{}", chunk.len());
    }

    proptest! {
        #[test]
        fn flipped_chunks_do_no_harm(
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
            count in 1usize..900,
        ) {
            let times: Vec<i64> = (0..count as i64).map(|at| at * 15_000 + at * 7919 % 13).collect();
            let floats: Vec<f64> = (0..count).map(|at| (at * 7919 % 1009) as f64 / 8.0).collect();
            let some: Vec<_> = (0..count.min(20)).map(|at| histogram(at as f64, 5)).collect();
            let (mut a, mut b) = (Vec::new(), Vec::new());
            encode(&times, &floats, &mut a).unwrap();
            encode_histograms(&times[..some.len()], &some, &mut b).unwrap();
            for mut chunk in [a, b] {
                for (at, with) in &flips {
                    let at = at.index(chunk.len());
                    chunk[at] ^= with;
                }
                let _ = decode(&chunk, TimeRange::ALL, &mut Samples::default());
                chunk.truncate(cut.index(chunk.len()));
                let _ = decode(&chunk, TimeRange::ALL, &mut Samples::default());
            }
        }

        #[test]
        fn other_bytes_do_no_harm(chunk in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&chunk, TimeRange::ALL, &mut Samples::default());
        }
    }
}
