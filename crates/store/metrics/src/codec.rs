//! Columns of times, values and histograms as bytes: lossless for every bit pattern, small, and
//! quick to read.
//!
//! Enter at [`encode`] and [`decode`]: one chunk that stands for itself. Parts keep the times of
//! chunks apart, so that neighbours share them.

use std::sync::Arc;

use metrics_api::{Error, Histogram, Result, Samples, TimeRange};

/// Samples in one chunk.
pub const CHUNK_SAMPLES_MAX: usize = 8_192;

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
    let _ = (times, values, out);
    Err(not_yet())
}

/// Appends one chunk of histograms, times included, to `out`; bounds as of [`encode`].
///
/// # Errors
/// As [`encode`].
pub fn encode_histograms(times: &[i64], values: &[Arc<Histogram>], out: &mut Vec<u8>) -> Result<ChunkMeta> {
    let _ = (times, values, out);
    Err(not_yet())
}

/// Appends those samples of a chunk (of either kind) that are in `range` to `into`.
///
/// # Errors
/// [`Error::Damaged`] for bytes that no encoder wrote; `into` may hold some of it then.
pub fn decode(chunk: &[u8], range: TimeRange, into: &mut Samples) -> Result<()> {
    let _ = (chunk, range, into);
    Err(not_yet())
}

fn not_yet() -> Error {
    Error::Unavailable { why: "the codec is not written yet".into() }
}
