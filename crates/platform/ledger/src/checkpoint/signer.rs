//! The key that signs.

use std::{fmt, path::Path};

use base::{Tenant, Timestamp};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::{Checkpoint, VERSION, key_id};
use crate::{Error, Head, canonical};

/// The first line of a key file; the second is the seed in 64 hexadecimal digits.
const MAGIC: &str = "stead-ledger-key-v1";

/// Signs checkpoints. Its key is a file that only its owner reads.
pub struct Signer(SigningKey);

impl Signer {
    /// Reads the key at `path`, or makes one there.
    ///
    /// # Errors
    /// [`Error::Key`] when the file is not private, malformed, or cannot be read or made.
    pub fn load_or_create(path: &Path) -> Result<Self, Error> {
        let failed = |e: keyfile::Error| Error::Key { why: e.to_string() };
        if keyfile::read(path).map_err(failed)?.is_none() {
            let mut seed = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *seed).map_err(|e| Error::Key { why: format!("no random numbers: {e}") })?;
            let text = Zeroizing::new(format!("{MAGIC}\n{}\n", *Zeroizing::new(hex::encode(*seed))));
            keyfile::create(path, text.as_bytes()).map_err(failed)?; // of two first starts one wins
        }
        let content = keyfile::read(path).map_err(failed)?;
        content
            .and_then(|content| parse(&content))
            .ok_or_else(|| Error::Key { why: format!("{} is no key of a ledger", path.display()) })
    }

    /// States that the chain of `tenant` had come to `head` at `at`.
    #[must_use]
    pub fn sign(&self, tenant: &Tenant, head: Head, at: Timestamp) -> Checkpoint {
        let mut checkpoint = Checkpoint {
            version: VERSION,
            tenant: tenant.clone(),
            seq: head.seq,
            hash: canonical::hash_text(&head.hash),
            at,
            key_id: key_id(&self.key()),
            signature: String::new(),
        };
        // The hash was just written, and a tenant's name is short: the bytes exist.
        let bytes = checkpoint.signed_bytes().unwrap_or_default();
        checkpoint.signature = hex::encode(self.0.sign(&bytes).to_bytes());
        checkpoint
    }

    /// What others need to check its checkpoints: 64 hexadecimal digits.
    #[must_use]
    pub fn public_key(&self) -> String {
        hex::encode(self.key().as_bytes())
    }

    pub(super) fn key(&self) -> VerifyingKey {
        self.0.verifying_key()
    }
}

fn parse(content: &[u8]) -> Option<Signer> {
    let text = std::str::from_utf8(content).ok()?;
    let seed = Zeroizing::new(canonical::parse_hash(text.strip_prefix(MAGIC)?.trim())?);
    Some(Signer(SigningKey::from_bytes(&seed)))
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&key_id(&self.key())).finish()
    }
}
