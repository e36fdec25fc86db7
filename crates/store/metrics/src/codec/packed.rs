//! The crate `pco` behind two functions: numbers of one kind, entropy-coded in bins.

use pco::{
    ChunkConfig, DeltaSpec, ModeSpec,
    data_types::Number,
    wrapped::{FileCompressor, FileDecompressor},
};

/// How many bins `pco` may tell apart: more take longer and gain little on what a chunk holds.
const LEVEL: usize = 6;

/// Appends `numbers`, after `order` rounds of differences, to `out`. False when it cannot.
pub(super) fn pack<T: Number>(numbers: &[T], order: usize, mode: ModeSpec, out: &mut Vec<u8>) -> bool {
    let delta = if order == 0 { DeltaSpec::NoOp } else { DeltaSpec::TryConsecutive(order) };
    let config =
        ChunkConfig::default().with_compression_level(LEVEL).with_mode_spec(mode).with_delta_spec(delta);
    let compressor = FileCompressor::default();
    let Ok(mut chunk) = compressor.chunk_compressor(numbers, &config) else { return false };
    compressor.write_header(&mut *out).is_ok()
        && chunk.write_meta(&mut *out).is_ok()
        && chunk.write_page(0, &mut *out).is_ok()
}

/// Fills `into` with what [`pack`] wrote of as many numbers. None for other bytes.
pub(super) fn unpack<T: Number>(bytes: &[u8], into: &mut [T]) -> Option<()> {
    let (file, rest) = FileDecompressor::new(bytes).ok()?;
    let (mut chunk, rest) = file.chunk_decompressor::<T, _>(rest).ok()?;
    let mut page = chunk.page_decompressor(rest, into.len()).ok()?;
    let progress = page.read(into).ok()?;
    (progress.n_processed == into.len()).then_some(())
}
