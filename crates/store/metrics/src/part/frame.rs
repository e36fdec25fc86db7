//! What everything in a part is wrapped in: some sections, compressed or not, and a checksum.

use crate::codec::bytes::{Bytes, put_varint};

/// Bytes of one section of a block after decompression. Writers close blocks far below; what claims
/// more is damaged.
pub(super) const SECTION_BYTES_MAX: usize = 32 << 20;
/// The same for footer and term index, which grow with the number of series.
pub(super) const INDEX_BYTES_MAX: usize = 2 << 30;
/// Sections of one frame.
const SECTIONS_MAX: usize = 8;
const STORED: u8 = 0;
const ZSTD: u8 = 1;
/// Below this compression gains nothing.
const COMPRESS_MIN: usize = 48;
/// Of zstd; higher levels cost more than they save on numbers.
const LEVEL: i32 = 1;

thread_local! {
    /// A context takes 100 KiB and some microseconds to make.
    static DECOMPRESSOR: std::cell::RefCell<Option<zstd::bulk::Decompressor<'static>>> =
        std::cell::RefCell::new(zstd::bulk::Decompressor::new().ok());
}

pub(super) struct Compressor {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl Compressor {
    pub(super) fn new() -> Self {
        Self { zstd: zstd::bulk::Compressor::new(LEVEL).ok(), buffer: Vec::new() }
    }

    /// `bytes` in less space, or None where there is nothing to gain.
    pub(super) fn compress(&mut self, bytes: &[u8]) -> Option<&[u8]> {
        if bytes.len() < COMPRESS_MIN {
            return None;
        }
        self.buffer.clear();
        self.buffer.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        let len = self.zstd.as_mut()?.compress_to_buffer(bytes, &mut self.buffer).ok()?;
        (len < bytes.len()).then_some(self.buffer.as_slice())
    }

    /// Appends a frame of `sections`; those that are marked may be compressed.
    pub(super) fn frame(&mut self, sections: &[(&[u8], bool)], out: &mut Vec<u8>) {
        let start = out.len();
        out.push(sections.len() as u8);
        let mut stored = Vec::new();
        for (bytes, may_compress) in sections {
            let compressed = if *may_compress { self.compress(bytes) } else { None };
            out.push(if compressed.is_some() { ZSTD } else { STORED });
            put_varint(out, bytes.len() as u64);
            let kept = compressed.unwrap_or(bytes);
            put_varint(out, kept.len() as u64);
            stored.extend_from_slice(kept);
        }
        out.extend_from_slice(&stored);
        let sum = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&sum.to_le_bytes());
    }
}

/// The sections of a frame, `N` of them, each of `bytes_max` at most.
pub(super) fn open<const N: usize>(frame: &[u8], bytes_max: usize) -> Result<[Vec<u8>; N], &'static str> {
    let (body, sum) = frame.split_last_chunk::<4>().ok_or("it is cut short")?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
        return Err("its checksum does not match");
    }
    sections(body, bytes_max).ok_or("its sections do not decode")
}

fn sections<const N: usize>(body: &[u8], bytes_max: usize) -> Option<[Vec<u8>; N]> {
    let mut bytes = Bytes::new(body);
    let count = bytes.len(SECTIONS_MAX)?;
    if count != N {
        return None;
    }
    let mut shapes = [(0, 0, 0); N];
    for shape in &mut shapes {
        *shape = (bytes.u8()?, bytes.len(bytes_max)?, bytes.len(bytes_max)?);
    }
    let mut all = [const { Vec::new() }; N];
    for (section, (method, raw_len, stored_len)) in all.iter_mut().zip(shapes) {
        *section = expand(method, bytes.take(stored_len)?, raw_len)?;
    }
    bytes.is_empty().then_some(all)
}

fn expand(method: u8, stored: &[u8], raw_len: usize) -> Option<Vec<u8>> {
    match method {
        STORED => (stored.len() == raw_len).then(|| stored.to_vec()),
        ZSTD => decompress(stored, raw_len),
        _ => None,
    }
}

/// As [`decompress`], of a frame that alone says how long it is, up to `bytes_max`.
pub(super) fn decompress_own(stored: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let said = zstd::zstd_safe::get_frame_content_size(stored).ok()??;
    let said = usize::try_from(said).ok().filter(|said| *said <= bytes_max)?;
    decompress(stored, said)
}

/// Exactly `raw_len` bytes out of a zstd frame that says so itself, so that little can't claim much.
pub(super) fn decompress(stored: &[u8], raw_len: usize) -> Option<Vec<u8>> {
    let said = zstd::zstd_safe::get_frame_content_size(stored).ok()??;
    if said != raw_len as u64 {
        return None;
    }
    let mut raw = Vec::with_capacity(raw_len);
    DECOMPRESSOR.with_borrow_mut(|zstd| zstd.as_mut()?.decompress_to_buffer(stored, &mut raw).ok())?;
    (raw.len() == raw_len).then_some(raw)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_frame_reads_back_and_any_flipped_bit_is_seen(
            a in proptest::collection::vec(any::<u8>(), 0..300),
            b in proptest::collection::vec(0u8..3, 0..3000),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut frame = Vec::new();
            Compressor::new().frame(&[(&a, false), (&b, true)], &mut frame);
            prop_assert_eq!(open::<2>(&frame, 3000), Ok([a, b]));
            prop_assert!(open::<1>(&frame, 3000).is_err());
            let at = at.index(frame.len());
            frame[at] ^= 1 << bit;
            prop_assert!(open::<2>(&frame, 3000).is_err());
            prop_assert!(open::<2>(&frame[..at], 3000).is_err());
        }

        #[test]
        fn other_bytes_do_no_harm(body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = sections::<2>(&body, 1000);
            let _ = expand(ZSTD, &body, 1000);
        }
    }

    #[test]
    fn little_that_claims_much_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 1 << 20], 1).unwrap();
        assert_eq!(expand(ZSTD, &bomb, 1000), None);
        assert_eq!(decompress_own(&bomb, 1000), None);
        let mut frame = Vec::new();
        Compressor::new().frame(&[(&vec![0; 1 << 20], true)], &mut frame);
        assert!(frame.len() < 200 && open::<1>(&frame, (1 << 20) - 1).is_err());
        assert!(open::<1>(&frame, 1 << 20).is_ok());
        assert_eq!(expand(ZSTD, &bomb, 1 << 20).map(|raw| raw.len()), Some(1 << 20));
    }
}
