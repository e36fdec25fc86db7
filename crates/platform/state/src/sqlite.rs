//! State on SQLite: one file, one writer thread that commits in groups, few readers.
//!
//! Commits that arrive while the disk is busy share the next transaction and so its one fsync; each
//! runs in its own savepoint, so one that fails takes nothing with it. The file is in WAL mode with
//! `synchronous=FULL`: what was acknowledged survives a power cut.

mod apply;
mod backup;
mod fault;
mod read;
mod schema;
mod writer;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base::{Clock, Tenant};
use futures_util::{FutureExt, future::BoxFuture};
use ledger::{Draft, Entry};
use rusqlite::Connection;
use tokio::sync::{Semaphore, broadcast, oneshot};

use crate::{
    limits,
    port::{
        Change, Commit, Committed, EntryQuery, Error, Key, Lease, Message, Page, Record, Result, Scan, State,
    },
};
pub use backup::Contents;
pub use schema::FORMAT;
use writer::{Request, Writer};

/// Commits and other writes that may wait for the writer.
pub const WRITES_WAITING_MAX: usize = 4_096;
/// Bytes of bodies that may wait for the writer.
pub const WRITES_WAITING_BYTES_MAX: usize = 64 << 20;
/// Reads that may wait for a reader.
pub const READS_WAITING_MAX: usize = 4_096;
/// Writes that share one transaction at most.
pub const GROUP_WRITES_MAX: usize = 256;

/// How state uses the machine. The defaults keep it within about 6 MB.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections that read, and so reads at once.
    pub readers: usize,
    pub writer_cache_bytes: u32,
    pub reader_cache_bytes: u32,
    /// How long to wait for another process that holds the file before [`Error::Locked`].
    pub busy_timeout: Duration,
    /// The file grows to this and then answers [`Error::DiskFull`]; none for as far as the disk goes.
    pub size_bytes_max: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            readers: 2,
            writer_cache_bytes: 2 << 20,
            reader_cache_bytes: 1 << 20,
            busy_timeout: Duration::from_secs(5),
            size_bytes_max: None,
        }
    }
}

/// Counters since the file was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Writes that were acknowledged as done (commits, leases, acknowledgements).
    pub writes: u64,
    /// Transactions that changed something. Each costs one fsync of the write-ahead log.
    pub transactions: u64,
    /// Writes that were refused or failed.
    pub refused: u64,
}

/// State in one SQLite file. Cheap to clone; clones share it. When the last clone goes, what
/// waits is written and the file is closed.
#[derive(Clone)]
pub struct SqliteState {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    writer: Writer,
    readers: Mutex<Vec<Connection>>,
    free_readers: Arc<Semaphore>,
    reads_waiting: AtomicUsize,
    changes: broadcast::Sender<Change>,
}

impl SqliteState {
    /// Opens the file at `path`, or makes it where there is none yet (its folder must exist), and
    /// brings an older format up to [`FORMAT`]. Blocks: call it before the runtime is busy.
    ///
    /// # Errors
    /// [`Error::Damaged`] for what is no whole state file, [`Error::Newer`], [`Error::Locked`],
    /// [`Error::ReadOnly`], [`Error::DiskFull`].
    pub fn open(path: &Path, options: &Options, clock: Arc<dyn Clock>) -> Result<Self> {
        let path = schema::prepare(path)?;
        let mut writing = schema::connect(&path, options, options.writer_cache_bytes)?;
        schema::migrate(&mut writing)?;
        let readers = (0..options.readers.max(1))
            .map(|_| schema::connect_reader(&path, options))
            .collect::<Result<Vec<_>>>()?;
        let changes = broadcast::Sender::new(limits::WATCH_CHANGES_MAX);
        let free_readers = Arc::new(Semaphore::new(readers.len()));
        let writer = Writer::start(writing, clock, changes.clone())?;
        let reads_waiting = AtomicUsize::new(0);
        let readers = Mutex::new(readers);
        Ok(Self { shared: Arc::new(Shared { path, writer, readers, free_readers, reads_waiting, changes }) })
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.writer.stats()
    }

    /// Erases the body of one ledger entry for good and puts `draft` on record as the reason, both
    /// or neither. The chain still proves: it holds the body's digest. The text may remain in
    /// backups, and in the write-ahead log until that is folded into the file and written anew.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such entry; otherwise as [`State::commit`].
    pub async fn erase_body(&self, tenant: Tenant, seq: u64, draft: Draft) -> Result<Entry> {
        let draft = Box::new(draft);
        self.write(0, |reply| Request::Erase { tenant, seq, draft, reply }).await
    }

    /// Writes a consistent copy of everything committed to a new file at `to`, while work goes on.
    /// The copy appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `to` exists; [`Error::DiskFull`], [`Error::ReadOnly`].
    pub async fn backup_to(&self, to: &Path) -> Result<Contents> {
        let to = to.to_owned();
        self.read(move |connection| backup::write(connection, &to)).await
    }

    /// Reads all of the file at `path` (a backup, or state that no server has open) and says what
    /// it holds. Blocks for as long as reading it takes.
    ///
    /// # Errors
    /// As [`SqliteState::open`]; any inconsistency is [`Error::Damaged`].
    pub fn check(path: &Path) -> Result<Contents> {
        backup::check(path)
    }

    /// Checks `backup` and puts a copy of it at `path`, where no state may be yet.
    ///
    /// # Errors
    /// As [`SqliteState::check`]; [`Error::Invalid`] when `path` exists.
    pub fn restore(backup: &Path, path: &Path) -> Result<Contents> {
        backup::restore(backup, path)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Hands a request to the writer and waits for its answer.
    async fn write<T>(
        &self,
        bytes: usize,
        request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.shared.writer.send(bytes, request(reply))?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Runs `query` on a reader, on the blocking pool.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        let _waiting = Waiting::enter(&self.shared.reads_waiting)?;
        let Ok(permit) = Arc::clone(&shared.free_readers).acquire_owned().await else {
            return Err(Error::Closed);
        };
        let run = move || {
            let taken = shared.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            // A permit stands for a connection, so there is one.
            let Some(connection) = taken else { return Err(Error::Closed) };
            let result = query(&connection);
            shared.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            result
        };
        match tokio::task::spawn_blocking(run).await {
            Ok(result) => result,
            Err(_) => Err(Error::Closed),
        }
    }
}

/// One place among the reads that may wait.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Result<Self> {
        if count.fetch_add(1, Ordering::Relaxed) >= READS_WAITING_MAX {
            count.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::Limit { what: "waiting reads", limit: READS_WAITING_MAX as u64 });
        }
        Ok(Self(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for SqliteState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteState").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

impl State for SqliteState {
    fn get(&self, key: Key) -> BoxFuture<'_, Result<Option<Record>>> {
        self.read(move |connection| read::get(connection, key)).boxed()
    }

    fn scan(&self, scan: Scan) -> BoxFuture<'_, Result<Page<Record>>> {
        self.read(move |connection| read::scan(connection, &scan)).boxed()
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed>> {
        async move {
            let bytes = limits::check_commit(&commit)?;
            self.write(bytes, |reply| Request::Commit { commit, reply }).await
        }
        .boxed()
    }

    fn watch(&self) -> broadcast::Receiver<Change> {
        self.shared.changes.subscribe()
    }

    fn lease(
        &self,
        tenant: Tenant,
        name: String,
        holder: String,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<Lease>> {
        async move {
            limits::within("bytes of a lease's name", name.len(), limits::KEY_BYTES_MAX)?;
            limits::within("bytes of a lease's holder", holder.len(), limits::KEY_BYTES_MAX)?;
            self.write(0, |reply| Request::Lease { tenant, name, holder, ttl, reply }).await
        }
        .boxed()
    }

    fn entries(&self, query: EntryQuery) -> BoxFuture<'_, Result<Page<Entry>>> {
        self.read(move |connection| read::entries(connection, &query)).boxed()
    }

    fn outbox(&self, tenant: Tenant, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Message>>> {
        self.read(move |connection| read::outbox(connection, &tenant, after, limit)).boxed()
    }

    fn acknowledge(&self, tenant: Tenant, seq: u64) -> BoxFuture<'_, Result<()>> {
        self.write(0, move |reply| Request::Acknowledge { tenant, seq, reply }).boxed()
    }
}
