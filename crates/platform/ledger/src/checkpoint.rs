//! Signed statements of how far a chain had come, kept where who can change the chain cannot.
//!
//! A chain proves its order and its middle, not its end: whoever can write all of it can cut its
//! tail, put back an older copy or compute every hash anew. A [`Checkpoint`] outside of the data
//! directory shows all three, up to the entry that it names.
//!
//! # Bytes that are signed, version 1
//! `stead-checkpoint`, `u8` 1, then tenant and key id (each `u32` big-endian length and UTF-8),
//! `u64` big-endian sequence, `i64` big-endian nanoseconds, 32 bytes of hash.

mod log;
mod signer;

use base::{Tenant, Timestamp};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use log::{Found, LOG_BYTES_MAX, Log};
pub use signer::Signer;

use crate::{Head, canonical};

const VERSION: u8 = 1;

/// The chain of `tenant` ended with entry `seq`, which had this hash, at this time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub version: u8,
    pub tenant: Tenant,
    pub seq: u64,
    /// 64 hexadecimal digits.
    pub hash: String,
    pub at: Timestamp,
    /// Which key signed, see [`key_id`].
    pub key_id: String,
    /// Ed25519, 128 hexadecimal digits.
    pub signature: String,
}

impl Checkpoint {
    fn signed_bytes(&self) -> Option<Vec<u8>> {
        let mut out = b"stead-checkpoint".to_vec();
        out.push(VERSION);
        for text in [self.tenant.as_str(), &self.key_id] {
            out.extend_from_slice(&u32::try_from(text.len()).ok()?.to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.at.nanos().to_be_bytes());
        out.extend_from_slice(&canonical::parse_hash(&self.hash)?);
        Some(out)
    }

    /// The head that it states.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        Some(Head { seq: self.seq, hash: canonical::parse_hash(&self.hash)? })
    }

    /// Whether one of `keys` signed it; if not, why not.
    ///
    /// # Errors
    /// Says in words what is wrong with it.
    pub fn check(&self, keys: &Keys) -> Result<(), &'static str> {
        if self.version != VERSION {
            return Err("it is of a version that this Stead does not know");
        }
        let key = keys.0.iter().find(|key| key_id(key) == self.key_id);
        let key = key.ok_or("its key is not one of those trusted")?;
        let bytes = self.signed_bytes().ok_or("its hash is malformed")?;
        let mut signature = [0; 64];
        hex::decode_to_slice(&self.signature, &mut signature).map_err(|_| "its signature is malformed")?;
        key.verify_strict(&bytes, &Signature::from_bytes(&signature))
            .map_err(|_| "its signature does not fit")
    }
}

/// The first 16 hexadecimal digits of the SHA-256 of a public key.
#[must_use]
pub fn key_id(key: &VerifyingKey) -> String {
    hex::encode(Sha256::digest(key.as_bytes()).get(..8).unwrap_or_default())
}

/// The public keys whose checkpoints count.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<VerifyingKey>);

impl Keys {
    /// Adds a public key of 64 hexadecimal digits, as [`Signer::public_key`] gives it.
    ///
    /// # Errors
    /// Says in words what is wrong with it.
    pub fn add(&mut self, hex: &str) -> Result<(), &'static str> {
        let bytes = canonical::parse_hash(hex).ok_or("a public key is 64 hexadecimal digits")?;
        self.0.push(VerifyingKey::from_bytes(&bytes).map_err(|_| "this is no public key")?);
        Ok(())
    }
}

impl From<&Signer> for Keys {
    fn from(signer: &Signer) -> Self {
        Self(vec![signer.key()])
    }
}
