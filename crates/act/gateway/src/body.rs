//! The end of a body: fixed length, chunks, or the end of the connection. Strict: what two
//! parsers could read in two ways is an error.

use crate::{headers::Framing, limits::CHUNK_LINE_BYTES_MAX};

/// Trailer bytes of one message; they are read and not passed on.
const TRAILER_BYTES_MAX: usize = 8 << 10;

/// Finds the data in the bytes of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decoder {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chunked {
    /// Before a chunk's size.
    Size,
    Data(u64),
    /// Before the line end that follows a chunk's data.
    DataEnd,
    /// After the last chunk; so many bytes of trailers have gone by.
    Trailer(usize),
    Done,
}

/// What [`Decoder::step`] found at the start of the bytes it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes are data.
    Data(usize),
    /// So many bytes are framing; ask again after them.
    Skip(usize),
    /// More bytes are needed.
    More,
    /// The message has ended; what follows is not part of it.
    End,
}

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked::Size),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Looks at `bytes`; the caller consumes what a [`Step`] says before it asks again.
    ///
    /// # Errors
    /// Bytes that are no chunk.
    pub(crate) fn step(&mut self, bytes: &[u8]) -> Result<Step, &'static str> {
        match self {
            Self::Length(0) => Ok(Step::End),
            Self::Length(left) => Ok(data(left, bytes)),
            Self::UntilClose if bytes.is_empty() => Ok(Step::More),
            Self::UntilClose => Ok(Step::Data(bytes.len())),
            Self::Chunked(state) => state.step(bytes),
        }
    }

    pub(crate) fn ended(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunked::Done))
    }

    /// Data bytes that are known to come without another size, for sizing reads.
    pub(crate) fn expected(&self) -> u64 {
        match self {
            Self::Length(left) | Self::Chunked(Chunked::Data(left)) => *left,
            _ => 0,
        }
    }
}

fn data(left: &mut u64, bytes: &[u8]) -> Step {
    if bytes.is_empty() {
        return Step::More;
    }
    let taken = (*left).min(bytes.len() as u64);
    *left -= taken;
    Step::Data(taken as usize)
}

impl Chunked {
    fn step(&mut self, bytes: &[u8]) -> Result<Step, &'static str> {
        match self {
            Self::Done => Ok(Step::End),
            Self::Data(left) => {
                let step = data(left, bytes);
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                Ok(step)
            }
            Self::DataEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    *self = Self::Size;
                    Ok(Step::Skip(2))
                }
                [] | [b'\r'] => Ok(Step::More),
                _ => Err("a chunk is longer than its size"),
            },
            Self::Size => {
                let Some(line) = line(bytes, CHUNK_LINE_BYTES_MAX)? else { return Ok(Step::More) };
                *self = match parse_size(line)? {
                    0 => Self::Trailer(0),
                    size => Self::Data(size),
                };
                Ok(Step::Skip(line.len() + 2))
            }
            Self::Trailer(seen) => {
                let Some(line) = line(bytes, TRAILER_BYTES_MAX.saturating_sub(*seen))? else {
                    return Ok(Step::More);
                };
                if line.is_empty() {
                    *self = Self::Done;
                } else if line[0].is_ascii_whitespace() || !line.contains(&b':') {
                    return Err("a trailer is not a field");
                } else {
                    *seen += line.len() + 2;
                }
                Ok(Step::Skip(line.len() + 2))
            }
        }
    }
}

/// The first line without its end; none when it is not all there yet.
fn line(bytes: &[u8], max: usize) -> Result<Option<&[u8]>, &'static str> {
    let window = &bytes[..bytes.len().min(max)];
    match memchr::memchr2(b'\n', b'\r', window) {
        None if window.len() == max => Err("a line of chunk framing is too long"),
        None => Ok(None),
        Some(at) if window[at] == b'\n' => Err("a line of chunk framing ends without a carriage return"),
        Some(at) => match bytes.get(at + 1) {
            None => Ok(None),
            Some(b'\n') => Ok(Some(&bytes[..at])),
            Some(_) => Err("a line of chunk framing has a bare carriage return"),
        },
    }
}

/// `1a` or `1A;name=value`. Extensions are dropped.
fn parse_size(line: &[u8]) -> Result<u64, &'static str> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits == 0 || digits > 15 {
        return Err("a chunk has no size");
    }
    let size = line[..digits]
        .iter()
        .fold(0, |sum, digit| sum * 16 + u64::from((*digit as char).to_digit(16).unwrap_or(0)));
    let visible = |byte: &u8| (b' '..=b'~').contains(byte) || *byte == b'\t';
    match line.get(digits) {
        None => Ok(size),
        Some(b';') if line[digits..].iter().all(visible) => Ok(size),
        Some(_) => Err("a chunk's size is not a number"),
    }
}

/// Appends `data` as one chunk; nothing when it is empty, since that would be the end.
pub(crate) fn push_chunk(to: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    push_chunk_size(to, data.len());
    to.extend_from_slice(data);
    to.extend_from_slice(b"\r\n");
}

fn push_chunk_size(to: &mut Vec<u8>, size: usize) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4);
    for at in (0..digits).rev() {
        to.push(b"0123456789abcdef"[(size >> (at * 4)) & 15]);
    }
    to.extend_from_slice(b"\r\n");
}

pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Decoded = Option<(Vec<u8>, Vec<u8>)>;

    /// Feeds `bytes` in pieces of `piece`; the data, and what is left over after the end.
    fn decode(framing: Framing, bytes: &[u8], piece: usize) -> Result<Decoded, &'static str> {
        let (mut decoder, mut seen, mut out) = (Decoder::new(framing), Vec::new(), Vec::new());
        let mut pieces = bytes.chunks(piece.max(1));
        loop {
            match decoder.step(&seen)? {
                Step::Data(count) => out.extend(seen.drain(..count)),
                Step::Skip(count) => drop(seen.drain(..count)),
                Step::End => {
                    pieces.for_each(|piece| seen.extend_from_slice(piece));
                    return Ok(Some((out, seen)));
                }
                Step::More => match pieces.next() {
                    Some(piece) => seen.extend_from_slice(piece),
                    None => return Ok(None),
                },
            }
        }
    }

    #[test]
    fn chunks_end_where_they_say() {
        let (data, rest) = decode(Framing::Chunked, b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nA: b\r\n\r\nGET", 3)
            .unwrap()
            .unwrap();
        assert_eq!((&data[..], &rest[..]), (&b"hello!"[..], &b"GET"[..]));
        let (data, rest) = decode(Framing::Length(3), b"abcdef", 2).unwrap().unwrap();
        assert_eq!((&data[..], &rest[..]), (&b"abc"[..], &b"def"[..]));
    }

    #[test]
    fn weird_chunks_are_refused() {
        let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(CHUNK_LINE_BYTES_MAX));
        for bad in [
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhelloo\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "-1\r\nhello\r\n0\r\n\r\n",
            "\r\nhello\r\n0\r\n\r\n",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
            "5;a\u{1}\r\nhello\r\n0\r\n\r\n",
            "10000000000000000\r\nhello\r\n0\r\n\r\n",
            "0\r\n\n",
            "0\r\nnonsense\r\n\r\n",
            "0\r\n folded: x\r\n\r\n",
            &long,
        ] {
            for piece in [1, 7, 1_000] {
                assert!(decode(Framing::Chunked, bad.as_bytes(), piece).is_err(), "{bad:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8), piece in 1usize..50) {
            let mut bytes = Vec::new();
            chunks.iter().for_each(|chunk| push_chunk(&mut bytes, chunk));
            bytes.extend_from_slice(LAST_CHUNK);
            bytes.extend_from_slice(b"next");
            let (data, rest) = decode(Framing::Chunked, &bytes, piece).unwrap().unwrap();
            prop_assert_eq!(data, chunks.concat());
            prop_assert_eq!(rest, b"next");
        }

        #[test]
        fn no_bytes_panic_and_pieces_do_not_matter(bytes in prop::collection::vec(prop::sample::select(&b"0123abF;\r\n x:"[..]), 0..60), piece in 1usize..9) {
            let whole = decode(Framing::Chunked, &bytes, bytes.len());
            let pieces = decode(Framing::Chunked, &bytes, piece);
            prop_assert_eq!(whole, pieces);
        }
    }
}
