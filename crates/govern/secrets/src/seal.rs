//! The one place that encrypts: XChaCha20-Poly1305 with a random nonce and bound context.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use chacha20poly1305::{AeadInPlace, KeyInit, XChaCha20Poly1305, XNonce};
use secrets_api::Error;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub(crate) const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// A symmetric key; overwritten when dropped.
#[derive(Clone)]
pub(crate) struct Key(Zeroizing<[u8; KEY_BYTES]>);

impl Key {
    pub(crate) fn random() -> Result<Self, Error> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        fill_random(bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self(key))
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.0.as_slice().into())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

/// A sealed body as it is stored: base64 of nonce, and of ciphertext with tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sealed {
    pub(crate) nonce: String,
    pub(crate) body: String,
}

/// What a seal belongs to: a domain and its parts, each with its length, so that no two lists of
/// parts read alike.
pub(crate) struct Context(Vec<u8>);

impl Context {
    pub(crate) fn new(domain: &str, parts: &[&str]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        for part in std::iter::once(&domain).chain(parts) {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Self(bytes)
    }
}

pub(crate) fn seal(key: &Key, context: &Context, plain: &[u8]) -> Result<Sealed, Error> {
    let mut nonce = [0; NONCE_BYTES];
    fill_random(&mut nonce)?;
    // Room for the tag: growing the vector would leave a copy of the value behind.
    let mut body = Zeroizing::new(Vec::with_capacity(plain.len() + 16));
    body.extend_from_slice(plain);
    key.cipher()
        .encrypt_in_place(XNonce::from_slice(&nonce), &context.0, &mut *body)
        .map_err(|_| Error::Internal { why: "sealing failed".into() })?;
    Ok(Sealed { nonce: STANDARD_NO_PAD.encode(nonce), body: STANDARD_NO_PAD.encode(body.as_slice()) })
}

/// None when the body was changed, cut, sealed with another key or belongs to another context.
pub(crate) fn open(key: &Key, context: &Context, sealed: &Sealed) -> Option<Zeroizing<Vec<u8>>> {
    let nonce = STANDARD_NO_PAD.decode(&sealed.nonce).ok()?;
    if nonce.len() != NONCE_BYTES {
        return None;
    }
    let mut body = Zeroizing::new(STANDARD_NO_PAD.decode(&sealed.body).ok()?);
    key.cipher().decrypt_in_place(XNonce::from_slice(&nonce), &context.0, &mut *body).ok()?;
    Some(body)
}

pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|error| Error::Internal { why: format!("no random bytes: {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (key, context) = (Key::random().unwrap(), Context::new("d", &["a", "b"]));
        let sealed = seal(&key, &context, b"value").unwrap();
        assert_eq!(open(&key, &context, &sealed).unwrap().as_slice(), b"value");
        let body = STANDARD_NO_PAD.decode(&sealed.body).unwrap();
        for bit in 0..body.len() * 8 {
            let mut changed = body.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let changed = Sealed { body: STANDARD_NO_PAD.encode(changed), ..sealed.clone() };
            assert!(open(&key, &context, &changed).is_none(), "bit {bit}");
        }
        for length in 0..body.len() {
            let cut = Sealed { body: STANDARD_NO_PAD.encode(&body[..length]), ..sealed.clone() };
            assert!(open(&key, &context, &cut).is_none(), "length {length}");
        }
    }

    #[test]
    fn parts_cannot_run_into_each_other() {
        let key = Key::random().unwrap();
        let sealed = seal(&key, &Context::new("d", &["ab", "c"]), b"value").unwrap();
        for other in [
            Context::new("d", &["a", "bc"]),
            Context::new("d", &["abc"]),
            Context::new("dab", &["c"]),
            Context::new("d", &["ab", "c", ""]),
        ] {
            assert!(open(&key, &other, &sealed).is_none());
        }
        assert!(open(&Key::random().unwrap(), &Context::new("d", &["ab", "c"]), &sealed).is_none());
    }
}
