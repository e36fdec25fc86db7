//! Secrets as other domains see them: names, values that do not show themselves, the port to read
//! and change them, and masking of values in text.
//!
//! A secret belongs to a scope (tenant and environment) and has numbered versions. Planning asks for
//! version numbers ([`Secrets::latest`]); only starting a workload asks for values
//! ([`Secrets::get`]). A release pins the versions it runs with, so that it can be run again. This
//! crate seals nothing: the engine `secrets` does.
//!
//! Enter at [`Secrets`] (the port), [`Value`] and [`Redactor`].
#![forbid(unsafe_code)]

mod error;
mod name;
mod redact;
mod value;

use std::collections::BTreeMap;

use base::{Actor, Ctx, Scope, Timestamp, id::ReleaseId};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use error::{Error, Result};
pub use name::SecretName;
pub use redact::{RedactStream, Redactor};
pub use value::Value;

/// Which version of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The newest; there is none once the secret is removed.
    Latest,
    /// This one, as long as it is kept: for the newest ten, and for all that a release pins.
    Version(u64),
}

/// One version, opened.
#[derive(Debug, Clone)]
pub struct Opened {
    pub version: u64,
    pub value: Value,
}

/// A secret without its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub name: SecretName,
    /// The newest version, also when the secret is removed.
    pub latest: u64,
    /// The platform made it up, nobody typed it.
    pub generated: bool,
    /// Removed, but still held for the releases that pin a version.
    pub removed_at: Option<Timestamp>,
    /// The versions that can still be read, oldest first.
    pub versions: Vec<VersionSummary>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionSummary {
    pub version: u64,
    pub at: Timestamp,
    pub actor: Actor,
    pub why: String,
    /// Releases that pin it.
    pub used_by: Vec<ReleaseId>,
}

/// What kind of credential the platform makes up. Lengths are at least 16 and at most 1,024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Letters and digits, so that it needs no quoting in URLs and shells; the length in characters.
    Password { length: usize },
    /// Random bytes as lowercase hexadecimal; the length in bytes.
    Hex { bytes: usize },
    /// Random bytes as base64 for URLs without padding; the length in bytes.
    Base64 { bytes: usize },
}

impl Default for Kind {
    fn default() -> Self {
        Self::Password { length: 32 }
    }
}

/// What [`Secrets::generate`] does with a secret that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Keeps it and gives its version: repeating the call changes nothing.
    Keep,
    /// Makes a new version.
    Rotate,
}

/// The port: secrets of any scope. Changes are durable when the future resolves, and stand on the
/// ledger (name and version, never the value or anything derived from it) with the same commit.
///
/// Dropping a future does not undo what it began: read before trying again.
pub trait Secrets: Send + Sync + std::fmt::Debug {
    /// Stores a new version and gives its number. Concurrent calls get different numbers.
    ///
    /// # Errors
    /// [`Error::Limit`], [`Error::Reserved`] for a name of the platform's own, [`Error::State`].
    fn set(&self, ctx: Ctx, name: SecretName, value: Value, why: String) -> BoxFuture<'_, Result<u64>>;

    /// All secrets of a scope by name, with those that are removed but pinned.
    fn list(&self, scope: Scope) -> BoxFuture<'_, Result<Vec<Summary>>>;

    /// The newest version of each of `names` that exists; what is absent from the answer does not.
    fn latest(
        &self,
        scope: Scope,
        names: Vec<SecretName>,
    ) -> BoxFuture<'_, Result<BTreeMap<SecretName, u64>>>;

    /// Opens one version.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NoVersion`], [`Error::Tampered`], [`Error::WrongRoot`].
    fn get(&self, scope: Scope, name: SecretName, which: Which) -> BoxFuture<'_, Result<Opened>>;

    /// Removes a secret: no new plan finds it. Versions that a release pins are kept until unpinned,
    /// all others are destroyed at once.
    ///
    /// # Errors
    /// [`Error::NotFound`] also when it is removed already.
    fn remove(&self, ctx: Ctx, name: SecretName, why: String) -> BoxFuture<'_, Result<()>>;

    /// Makes up a credential, under any name, and gives its version. Names that start with
    /// `stead.` are the platform's own: [`Secrets::set`] refuses them.
    fn generate(
        &self,
        ctx: Ctx,
        name: SecretName,
        kind: Kind,
        existing: Existing,
        why: String,
    ) -> BoxFuture<'_, Result<u64>>;

    /// Keeps these versions for `release` until [`Secrets::unpin`]. All or nothing; repeating it
    /// changes nothing.
    ///
    /// # Errors
    /// [`Error::NoVersion`] when one is not there any more: plan again.
    fn pin(
        &self,
        ctx: Ctx,
        release: ReleaseId,
        versions: BTreeMap<SecretName, u64>,
    ) -> BoxFuture<'_, Result<()>>;

    /// Gives up all pins of `release` in the scope of `ctx`, and destroys what nothing else holds.
    /// Repeating it changes nothing.
    fn unpin(&self, ctx: Ctx, release: ReleaseId) -> BoxFuture<'_, Result<()>>;
}
