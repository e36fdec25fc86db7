//! Frames: how records stand in a file so that what is torn or flipped is found, and nothing else
//! is lost with it.
//!
//! A frame is a marker of four bytes, the payload's length (u32), a checksum (XXH3-64 over sequence,
//! kind and payload), the sequence (u64), the kind (u8) and the payload; numbers are little-endian.
//! The marker lets a reader find the next whole frame behind one whose length cannot be trusted.

use memchr::memmem;
use xxhash_rust::xxh3::xxh3_64;

const MARKER: [u8; 4] = [0xf5, b'S', b't', 0x9d];
const HEADER_BYTES: usize = 25;
/// Where the part that the checksum covers begins.
const COVERED_AT: usize = 16;
/// Payload of one frame.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    pub kind: u8,
    pub seq: u64,
    pub payload: &'a [u8],
}

/// Appends a frame whose payload `fill` writes.
pub fn push(into: &mut Vec<u8>, kind: u8, seq: u64, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = into.len();
    into.extend_from_slice(&MARKER);
    into.extend_from_slice(&[0; COVERED_AT - 4]);
    into.extend_from_slice(&seq.to_le_bytes());
    into.push(kind);
    fill(into);
    let length = (into.len() - at - HEADER_BYTES) as u32;
    let sum = xxh3_64(&into[at + COVERED_AT..]);
    into[at + 4..at + 8].copy_from_slice(&length.to_le_bytes());
    into[at + 8..at + COVERED_AT].copy_from_slice(&sum.to_le_bytes());
}

/// Walks the frames of `bytes`, over what is damaged.
#[derive(Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bytes passed over because no whole frame stood there, with a whole frame behind them.
    pub damaged: Vec<(usize, usize)>,
    /// Where the end is torn: nothing whole follows.
    pub torn_at: Option<usize>,
}

impl<'a> Frames<'a> {
    pub fn new(bytes: &'a [u8], from: usize) -> Self {
        Self { bytes, at: from.min(bytes.len()), damaged: Vec::new(), torn_at: None }
    }

    fn whole(&self, at: usize) -> Option<(Frame<'a>, usize)> {
        let head = self.bytes.get(at..at + HEADER_BYTES)?;
        if head[..4] != MARKER {
            return None;
        }
        let length = u32::from_le_bytes(head[4..8].try_into().ok()?) as usize;
        let end = at.checked_add(HEADER_BYTES)?.checked_add(length)?;
        let covered = self.bytes.get(at + COVERED_AT..end)?;
        if length > PAYLOAD_BYTES_MAX
            || xxh3_64(covered) != u64::from_le_bytes(head[8..COVERED_AT].try_into().ok()?)
        {
            return None;
        }
        let seq = u64::from_le_bytes(covered[..8].try_into().ok()?);
        Some((Frame { kind: covered[8], seq, payload: &covered[9..] }, end))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        if self.at >= self.bytes.len() || self.torn_at.is_some() {
            return None;
        }
        if let Some((frame, end)) = self.whole(self.at) {
            self.at = end;
            return Some(frame);
        }
        let from = self.at;
        for offset in memmem::find_iter(&self.bytes[from + 1..], &MARKER) {
            let at = from + 1 + offset;
            if let Some((frame, end)) = self.whole(at) {
                self.damaged.push((from, at));
                self.at = end;
                return Some(frame);
            }
        }
        self.torn_at = Some(from);
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn three() -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for seq in 1..=3 {
            push(&mut bytes, 2, seq, |into| into.extend_from_slice(&[seq as u8; 40]));
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn seqs(bytes: &[u8]) -> (Vec<u64>, usize, bool) {
        let mut frames = Frames::new(bytes, 0);
        let seqs = frames.by_ref().map(|frame| frame.seq).collect();
        (seqs, frames.damaged.len(), frames.torn_at.is_some())
    }

    #[test]
    fn every_flipped_bit_costs_its_own_frame_and_no_other() {
        let (bytes, ends) = three();
        assert_eq!(seqs(&bytes), (vec![1, 2, 3], 0, false));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            let hit = ends.iter().position(|end| at < *end).unwrap() as u64 + 1;
            let left: Vec<u64> = (1..=3).filter(|seq| *seq != hit).collect();
            let (found, damaged, torn) = seqs(&flipped);
            assert_eq!(found, left, "byte {at}");
            assert_eq!((damaged, torn), if hit == 3 { (0, true) } else { (1, false) }, "byte {at}");
        }
    }

    #[test]
    fn every_cut_keeps_the_frames_before_it() {
        let (bytes, ends) = three();
        for cut in 0..bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count() as u64;
            let (found, damaged, torn) = seqs(&bytes[..cut]);
            assert_eq!(found, (1..=whole).collect::<Vec<_>>());
            assert_eq!((damaged, torn), (0, cut != 0 && !ends.contains(&cut)));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_to_the_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Frames::new(&bytes, 0).count() <= bytes.len());
        }
    }
}
