//! The root key: in a file of its own, or made from a passphrase. It is never stored in state.

use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, Mac};
use secrets_api::{Error, Result, Value};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::seal::{self, Context, Key, Sealed};

/// Shortest passphrase, in characters.
const PASSPHRASE_MIN: usize = 12;
/// Cost of a guess: 64 MiB and three passes, about 150 ms.
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
/// Costs over these were not written by Stead; believing them would hang the start.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 64;

/// How the root key is kept.
#[derive(Debug, Clone)]
pub enum Unlock {
    /// In the clear, in a file that only its owner may read.
    File,
    /// Derived from this passphrase; the file holds salt and cost only.
    Passphrase(Value),
}

/// An open root key, and older ones whose data keys are still being wrapped anew.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) path: PathBuf,
    active: Named,
    retiring: Vec<Named>,
    lock: Lock,
}

#[derive(Debug, Clone)]
struct Named {
    id: String,
    key: Key,
}

#[derive(Debug, Clone)]
enum Lock {
    None,
    Passphrase { salt: String, memory_kib: u32, passes: u32 },
}

/// The file, format 1.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    /// Tells keys apart without telling anything about them.
    id: String,
    /// Hexadecimal; only without a passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passphrase: Option<StoredCost>,
    /// Older keys, sealed under this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retiring: Vec<StoredRetiring>,
}

#[derive(Serialize, Deserialize)]
struct StoredCost {
    salt: String,
    memory_kib: u32,
    passes: u32,
}

#[derive(Serialize, Deserialize)]
struct StoredRetiring {
    id: String,
    sealed: Sealed,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Root {
    /// Reads the root key; none when there is no file.
    pub(crate) fn read(path: &Path, unlock: &Unlock) -> Result<Option<Self>> {
        let Some(content) = keyfile::read(path)? else { return Ok(None) };
        let damaged = |why: &str| Error::RootDamaged { path: path.display().to_string(), why: why.into() };
        // The text of a serde error could quote the key.
        let stored: Stored =
            serde_json::from_slice(&content).map_err(|_| damaged("it is not a root key of format 1"))?;
        if stored.format != 1 {
            return Err(damaged(&format!("format {} is not known to this version", stored.format)));
        }
        let (key, lock) = match (&stored.key, &stored.passphrase, unlock) {
            (Some(text), None, Unlock::File) => {
                let bytes =
                    Zeroizing::new(hex::decode(text).map_err(|_| damaged("the key is not hexadecimal"))?);
                (Key::from_slice(&bytes).ok_or_else(|| damaged("the key has the wrong length"))?, Lock::None)
            }
            (None, Some(cost), Unlock::Passphrase(passphrase)) => {
                let lock = Lock::Passphrase {
                    salt: cost.salt.clone(),
                    memory_kib: cost.memory_kib,
                    passes: cost.passes,
                };
                (derive(passphrase, cost).map_err(|why| damaged(&why))?, lock)
            }
            (Some(_), None, Unlock::Passphrase(_)) => {
                return Err(Error::NotLocked { path: path.display().to_string() });
            }
            (None, Some(_), Unlock::File) => {
                return Err(Error::PassphraseNeeded { path: path.display().to_string() });
            }
            _ => return Err(damaged("it needs either a key or a passphrase")),
        };
        let active = Named::new(key)?;
        if active.id != stored.id {
            return Err(match lock {
                Lock::None => damaged("the key does not match its id"),
                Lock::Passphrase { .. } => Error::WrongPassphrase { path: path.display().to_string() },
            });
        }
        let retiring = stored.retiring.iter().map(|old| {
            let context = Context::new("stead root key", &[&old.id, &active.id]);
            let bytes = seal::open(&active.key, &context, &old.sealed);
            let key = bytes.and_then(|bytes| Key::from_slice(&bytes));
            key.map(|key| Named { id: old.id.clone(), key })
                .ok_or_else(|| damaged("an older key does not open"))
        });
        let retiring = retiring.collect::<Result<Vec<_>>>()?;
        Ok(Some(Self { path: path.into(), active, retiring, lock }))
    }

    /// A new root key, not yet on disk, that still knows the keys of `old`.
    pub(crate) fn fresh(path: &Path, unlock: &Unlock, old: Option<&Self>) -> Result<Self> {
        let (key, lock) = match unlock {
            Unlock::File => (Key::random()?, Lock::None),
            Unlock::Passphrase(passphrase) => {
                let long = passphrase.expose_str().is_ok_and(|text| text.chars().count() >= PASSPHRASE_MIN);
                if !long {
                    return Err(Error::PassphraseShort);
                }
                let mut salt = [0; 16];
                seal::fill_random(&mut salt)?;
                let cost = StoredCost { salt: hex::encode(salt), memory_kib: MEMORY_KIB, passes: PASSES };
                let key = derive(passphrase, &cost).map_err(|why| Error::Internal { why })?;
                (key, Lock::Passphrase { salt: cost.salt, memory_kib: MEMORY_KIB, passes: PASSES })
            }
        };
        let retiring = old.map(|old| std::iter::once(&old.active).chain(&old.retiring).cloned().collect());
        Ok(Self { path: path.into(), active: Named::new(key)?, retiring: retiring.unwrap_or_default(), lock })
    }

    /// This key without the older ones.
    pub(crate) fn settled(&self) -> Self {
        Self { retiring: Vec::new(), ..self.clone() }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.retiring.is_empty()
    }

    pub(crate) fn id(&self) -> &str {
        &self.active.id
    }

    pub(crate) fn key(&self) -> &Key {
        &self.active.key
    }

    /// The active or a retiring key by its id.
    pub(crate) fn find(&self, id: &str) -> Option<&Key> {
        let mut all = std::iter::once(&self.active).chain(&self.retiring);
        all.find(|named| named.id == id).map(|named| &named.key)
    }

    /// Writes it where there is none yet; false when somebody was faster.
    pub(crate) fn create(&self) -> Result<bool> {
        Ok(keyfile::create(&self.path, &self.encode()?)?)
    }

    pub(crate) fn replace(&self) -> Result<()> {
        Ok(keyfile::replace(&self.path, &self.encode()?)?)
    }

    fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        let (key, passphrase) = match &self.lock {
            Lock::None => (Some(hex::encode(self.active.key.bytes())), None),
            Lock::Passphrase { salt, memory_kib, passes } => {
                let cost = StoredCost { salt: salt.clone(), memory_kib: *memory_kib, passes: *passes };
                (None, Some(cost))
            }
        };
        let retiring = self.retiring.iter().map(|old| {
            let context = Context::new("stead root key", &[&old.id, &self.active.id]);
            let sealed = seal::seal(&self.active.key, &context, old.key.bytes())?;
            Ok(StoredRetiring { id: old.id.clone(), sealed })
        });
        let retiring = retiring.collect::<Result<Vec<_>>>()?;
        let stored = Stored { format: 1, id: self.active.id.clone(), key, passphrase, retiring };
        // Enough from the start: growing would leave copies of the key behind.
        let mut out = Zeroizing::new(Vec::with_capacity(keyfile::SIZE_BYTES_MAX));
        serde_json::to_writer(&mut *out, &stored)
            .map_err(|error| Error::Internal { why: error.to_string() })?;
        out.push(b'\n');
        Ok(out)
    }
}

impl Named {
    fn new(key: Key) -> Result<Self> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes())
            .map_err(|error| Error::Internal { why: error.to_string() })?;
        mac.update(b"stead root key id");
        let id = format!("root_{}", hex::encode(&mac.finalize().into_bytes()[..8]));
        Ok(Self { id, key })
    }
}

fn derive(passphrase: &Value, cost: &StoredCost) -> std::result::Result<Key, String> {
    if cost.memory_kib > MEMORY_KIB_MAX || cost.passes > PASSES_MAX {
        return Err("its cost is beyond what Stead writes".into());
    }
    let salt = hex::decode(&cost.salt).map_err(|_| "the salt is not hexadecimal".to_owned())?;
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(seal::KEY_BYTES))
        .map_err(|error| format!("the cost is not usable: {error}"))?;
    let mut key = Zeroizing::new([0; seal::KEY_BYTES]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.expose(), &salt, key.as_mut_slice())
        .map_err(|error| format!("the passphrase cannot be stretched: {error}"))?;
    Key::from_slice(key.as_slice()).ok_or_else(|| "the key has the wrong length".to_owned())
}
