//! The port: what a back end of state promises. Every back end passes `conformance`.

use std::{sync::Arc, time::Duration};

use base::{Class, Fault, Scope, Tenant, Timestamp};
use futures_util::future::BoxFuture;
use ledger::{Draft, Entry};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

pub type Result<T> = std::result::Result<T, Error>;

/// Names one record. Records of a whole tenant live in its environment `default`. Kind and id are
/// not empty and at most [`crate::limits::KEY_BYTES_MAX`] long.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    pub scope: Scope,
    /// The kind of record, in the singular: `service`, `release`, `flow-step`.
    pub kind: String,
    pub id: String,
}

impl Key {
    pub fn new(scope: &Scope, kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self { scope: scope.clone(), kind: kind.into(), id: id.into() }
    }
}

/// A declared, indexed column of a record: a name and the value to find it by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexTerm {
    pub name: String,
    pub value: String,
}

/// A stored record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub key: Key,
    /// Counts up by one with every put of this key, from 1. It doubles as the ETag. A key that was
    /// removed begins at 1 again, so a precondition on a version is only as good as the id is fresh.
    pub version: u64,
    pub body: serde_json::Value,
    pub index: Vec<IndexTerm>,
    pub updated_at: Timestamp,
}

/// What must be true at commit, or nothing is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    Absent(Key),
    Version(Key, u64),
    /// The lease is still held with this fencing token (time is not asked: the token decides).
    Fence {
        tenant: Tenant,
        name: String,
        token: u64,
    },
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Put {
    Put {
        key: Key,
        body: serde_json::Value,
        index: Vec<IndexTerm>,
    },
    /// Removing what is absent is no error.
    Remove(Key),
}

/// A message for the outside, kept until acknowledged; delivered at least once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Position in the tenant's outbox; zero in a commit, given by the back end.
    pub seq: u64,
    pub topic: String,
    pub body: serde_json::Value,
}

/// All that changes together.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    pub preconditions: Vec<Precondition>,
    pub puts: Vec<Put>,
    pub entries: Vec<Draft>,
    pub outbox: Vec<(Tenant, Message)>,
}

/// What a commit gave: the new versions in the order of `puts` (0 for a removal) and the entries
/// as they stand in the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    pub versions: Vec<u64>,
    pub entries: Vec<Entry>,
}

/// A scan over one kind, in order of id (by its bytes), then of environment.
#[derive(Debug, Clone)]
pub struct Scan {
    pub tenant: Tenant,
    /// One environment, or all of the tenant.
    pub environment: Option<base::Environment>,
    pub kind: String,
    /// Only records that carry this term.
    pub term: Option<IndexTerm>,
    /// Cursor: continue after this one, from [`Page::next`].
    pub after: Option<String>,
    /// At most [`Scan::LIMIT_MAX`].
    pub limit: usize,
}

impl Scan {
    pub const LIMIT_MAX: usize = 1_000;

    /// All of one kind in one scope, first page.
    pub fn of(scope: &Scope, kind: impl Into<String>) -> Self {
        Self {
            tenant: scope.tenant.clone(),
            environment: Some(scope.environment.clone()),
            kind: kind.into(),
            term: None,
            after: None,
            limit: Self::LIMIT_MAX,
        }
    }
}

/// One page and where the next begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// A query over the ledger of one tenant, in order of sequence.
#[derive(Debug, Clone)]
pub struct EntryQuery {
    pub tenant: Tenant,
    pub environment: Option<base::Environment>,
    pub subject: Option<String>,
    /// Matches the start of the CloudEvents type, such as `stead.release.`.
    pub kind_prefix: Option<String>,
    pub actor: Option<String>,
    pub correlation: Option<String>,
    /// Entries made at this time or later. Order is that of the sequence all the same: a clock may jump.
    pub from: Option<Timestamp>,
    /// Entries made before this time.
    pub to: Option<Timestamp>,
    /// Entries with a sequence above (ascending) or below (descending) this one.
    pub after: Option<u64>,
    pub descending: bool,
    /// At most [`Scan::LIMIT_MAX`].
    pub limit: usize,
}

/// A right to act that others can take once it lapses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub name: String,
    pub holder: String,
    /// Grows with every new holder; writes carry it as [`Precondition::Fence`].
    pub token: u64,
    pub expires_at: Timestamp,
}

/// What a watcher hears. It is a hint to read again: a watcher that lags misses some.
#[derive(Debug, Clone)]
pub struct Change {
    pub keys: Arc<[Key]>,
    pub entries: Arc<[Entry]>,
}

/// State as the platform sees it.
///
/// Reads see every commit that was acknowledged before they began. A commit that is acknowledged is
/// on stable storage. Dropping a returned future does not undo what it began: treat a cancelled
/// commit as unknown and read.
pub trait State: Send + Sync + std::fmt::Debug {
    fn get(&self, key: Key) -> BoxFuture<'_, Result<Option<Record>>>;

    fn scan(&self, scan: Scan) -> BoxFuture<'_, Result<Page<Record>>>;

    /// Atomic and durable; many commits at once share one fsync.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a precondition fails; then nothing is written.
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed>>;

    /// Changes from now on, of all tenants (the watcher filters); bounded, the slow ones lag.
    fn watch(&self) -> broadcast::Receiver<Change>;

    /// Takes or renews the lease `name` for `holder`; a `ttl` of zero gives it up. A holder is one
    /// run of one process: the same holder keeps its token, any other gets the next one.
    ///
    /// Lapse is wall time. When the clock went back, what is left never exceeds the `ttl` that was
    /// asked for; when it jumped ahead, leases lapse early and the token protects what is written.
    ///
    /// # Errors
    /// [`Error::Held`] while another holder's has not lapsed.
    fn lease(
        &self,
        tenant: Tenant,
        name: String,
        holder: String,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<Lease>>;

    fn entries(&self, query: EntryQuery) -> BoxFuture<'_, Result<Page<Entry>>>;

    /// The oldest unacknowledged messages after `after`, at most `limit`.
    fn outbox(&self, tenant: Tenant, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Message>>>;

    /// Forgets messages up to and with `seq`.
    fn acknowledge(&self, tenant: Tenant, seq: u64) -> BoxFuture<'_, Result<()>>;
}

/// Why state could not be read or changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("{what} changed meanwhile")]
    Conflict { what: String },
    #[error("lease {name:?} is held by {holder}")]
    Held { name: String, holder: String },
    #[error("{what} is over the limit of {limit}")]
    Limit { what: &'static str, limit: u64 },
    #[error("{why}")]
    Invalid { why: String },
    #[error("the disk is full, nothing was written")]
    DiskFull,
    #[error("the state file cannot be used: {why}")]
    Damaged { why: String },
    #[error("the state file cannot be written: {why}")]
    ReadOnly { why: String },
    #[error("the state file is locked by another process: {why}")]
    Locked { why: String },
    #[error("this state was written by a newer Stead (format {found}, this one knows {known})")]
    Newer { found: u32, known: u32 },
    #[error("state is shutting down")]
    Closed,
    #[error("state failed: {why}")]
    Failed { why: String },
}

impl Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "state.conflict",
            Self::Held { .. } => "state.lease_held",
            Self::Limit { .. } => "state.limit",
            Self::Invalid { .. } => "state.invalid",
            Self::DiskFull => "state.disk_full",
            Self::Damaged { .. } => "state.damaged",
            Self::ReadOnly { .. } => "state.read_only",
            Self::Locked { .. } => "state.locked",
            Self::Newer { .. } => "state.newer",
            Self::Closed => "state.closed",
            Self::Failed { .. } => "state.failed",
        }
    }
    fn class(&self) -> Class {
        match self {
            Self::Conflict { .. } | Self::Held { .. } => Class::Conflict,
            Self::Limit { .. } => Class::Limit,
            Self::Invalid { .. } => Class::Invalid,
            Self::DiskFull
            | Self::ReadOnly { .. }
            | Self::Locked { .. }
            | Self::Closed
            | Self::Newer { .. } => Class::Unavailable,
            Self::Damaged { .. } | Self::Failed { .. } => Class::Internal,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Conflict { .. } => Some("read it again and retry".into()),
            Self::DiskFull => {
                Some("free space on the volume of the data directory; Stead goes on by itself".into())
            }
            Self::Damaged { .. } => Some("restore the latest backup with `stead restore FILE`".into()),
            Self::Newer { .. } => Some("install the version of Stead that wrote it, or newer".into()),
            Self::Locked { .. } => Some("stop the other process that has the state file open".into()),
            Self::ReadOnly { .. } => {
                Some("make the data directory writable for the user that runs Stead".into())
            }
            _ => None,
        }
    }
}
