//! Bodies: read and unpacked in steps, each counted against the caps before it is held.

use std::{
    io::Read,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::body::Body;
use http_body_util::BodyExt;

use crate::fault::Error;

/// How much is unpacked before others get their turn.
const STEP_BYTES: usize = 64 << 10;
/// A zstd frame may ask for a window of 2^24 bytes, twice what its standard asks decoders to take.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Plain,
    Gzip,
    Deflate,
    Zstd,
}

impl Encoding {
    pub(crate) fn of(name: &str) -> Result<Self, Error> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Plain),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            "zstd" => Ok(Self::Zstd),
            _ => Err(Error::Encoding { sent: name.chars().take(64).collect() }),
        }
    }
}

/// Bytes that all requests together may hold.
#[derive(Debug)]
pub(crate) struct Memory {
    free: AtomicUsize,
}

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { free: AtomicUsize::new(bytes) }
    }

    pub(crate) fn hold(&self) -> Held<'_> {
        Held { memory: self, bytes: 0 }
    }
}

/// What one request holds; dropping gives it back.
#[derive(Debug)]
pub(crate) struct Held<'m> {
    memory: &'m Memory,
    bytes: usize,
}

impl Held<'_> {
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let take = |free: usize| free.checked_sub(bytes);
        self.memory.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map_err(|_| Error::Busy)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.memory.free.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read(mut body: Body, limit: usize, held: &mut Held<'_>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Error::Malformed { why: format!("its body broke off: {error}") })?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(Error::TooLarge { what: "as sent", limit });
        }
        held.grow(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Unpacks `packed` to at most `limit` bytes.
pub(crate) async fn unpack(
    encoding: Encoding,
    packed: Vec<u8>,
    limit: usize,
    held: &mut Held<'_>,
) -> Result<Vec<u8>, Error> {
    let broken = |error: std::io::Error| Error::Malformed { why: format!("it does not unpack: {error}") };
    let mut from: Box<dyn Read + Send + '_> = match encoding {
        Encoding::Plain if packed.len() > limit => return Err(Error::TooLarge { what: "unpacked", limit }),
        Encoding::Plain => return Ok(packed),
        Encoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed.as_slice())),
        Encoding::Deflate => Box::new(flate2::read::ZlibDecoder::new(packed.as_slice())),
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed.as_slice()).map_err(broken)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(broken)?;
            Box::new(decoder)
        }
    };
    let mut bytes = Vec::new();
    loop {
        held.grow(STEP_BYTES)?;
        let read = from.as_mut().take(STEP_BYTES as u64).read_to_end(&mut bytes).map_err(broken)?;
        if bytes.len() > limit {
            return Err(Error::TooLarge { what: "unpacked", limit });
        }
        if read < STEP_BYTES {
            return Ok(bytes);
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(encoding: Encoding, plain: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Plain => plain.to_vec(),
            Encoding::Gzip => {
                let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                to.write_all(plain).unwrap();
                to.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut to = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                to.write_all(plain).unwrap();
                to.finish().unwrap()
            }
            Encoding::Zstd => zstd::encode_all(plain, 1).unwrap(),
        }
    }

    #[tokio::test]
    async fn every_encoding_unpacks_up_to_the_cap() {
        let plain: Vec<u8> = (0..200_000u32).map(|at| at as u8).collect();
        for encoding in [Encoding::Plain, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
            let memory = Memory::new(1 << 20);
            let sent = packed(encoding, &plain);
            let got = unpack(encoding, sent.clone(), plain.len(), &mut memory.hold()).await;
            assert_eq!(got.as_deref(), Ok(plain.as_slice()), "{encoding:?}");
            let got = unpack(encoding, sent.clone(), plain.len() - 1, &mut memory.hold()).await;
            assert!(matches!(got, Err(Error::TooLarge { .. })), "{encoding:?}");
            if encoding != Encoding::Plain {
                let cut = sent[..sent.len() / 2].to_vec();
                let got = unpack(encoding, cut, plain.len(), &mut memory.hold()).await;
                assert!(matches!(got, Err(Error::Malformed { .. })), "{encoding:?}: {got:?}");
            }
        }
    }

    #[tokio::test]
    async fn all_requests_together_hold_no_more_than_the_memory() {
        let memory = Memory::new(100 << 10);
        let zeros = packed(Encoding::Gzip, &vec![0; 1 << 20]);
        let got = unpack(Encoding::Gzip, zeros, usize::MAX, &mut memory.hold()).await;
        assert_eq!(got, Err(Error::Busy));
        assert!(memory.hold().grow(100 << 10).is_ok(), "what was held came back");
    }
}
