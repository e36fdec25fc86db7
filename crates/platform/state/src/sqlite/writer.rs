//! The writer: one thread, one connection, many writes per transaction.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use base::{Clock, Tenant};
use ledger::{Draft, Entry};
use rusqlite::Connection;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{
    GROUP_WRITES_MAX, Stats, WRITES_WAITING_BYTES_MAX, WRITES_WAITING_MAX,
    apply::{self, Asked},
    fault::from_sql,
};
use crate::port::{Change, Commit, Committed, Error, Lease, Result};

type Reply<T> = oneshot::Sender<Result<T>>;

/// What the writer is asked to do.
pub(super) enum Request {
    Commit { commit: Commit, reply: Reply<Committed> },
    Lease { tenant: Tenant, name: String, holder: String, ttl: Duration, reply: Reply<Lease> },
    Acknowledge { tenant: Tenant, seq: u64, reply: Reply<()> },
    Erase { tenant: Tenant, seq: u64, draft: Box<Draft>, reply: Reply<Entry> },
}

/// The handle of the writer's thread. Dropping it lets the thread finish what waits.
pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<(usize, Request)>>>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    waiting_bytes: AtomicUsize,
    writes: AtomicU64,
    transactions: AtomicU64,
    refused: AtomicU64,
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        clock: Arc<dyn Clock>,
        changes: broadcast::Sender<Change>,
    ) -> Result<Self> {
        let (sender, queue) = mpsc::channel(WRITES_WAITING_MAX);
        let shared = Arc::new(Shared::default());
        let work = Work { connection, clock, changes, shared: Arc::clone(&shared) };
        let thread = thread::Builder::new()
            .name("state-writer".into())
            .spawn(move || work.run(queue))
            .map_err(|e| Error::Failed { why: format!("no thread for the writer: {e}") })?;
        Ok(Self { queue: Mutex::new(Some(sender)), shared, thread: Mutex::new(Some(thread)) })
    }

    /// Puts `request` into the queue; `bytes` is the size of its bodies.
    pub(super) fn send(&self, bytes: usize, request: Request) -> Result<()> {
        let waiting = &self.shared.waiting_bytes;
        if waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > WRITES_WAITING_BYTES_MAX {
            waiting.fetch_sub(bytes, Ordering::Relaxed);
            let limit = WRITES_WAITING_BYTES_MAX as u64;
            return Err(Error::Limit { what: "bytes of waiting writes", limit });
        }
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = match queue.as_ref() {
            None => Err(Error::Closed),
            Some(sender) => sender.try_send((bytes, request)).map_err(|e| match e {
                mpsc::error::TrySendError::Full(_) => {
                    Error::Limit { what: "waiting writes", limit: WRITES_WAITING_MAX as u64 }
                }
                mpsc::error::TrySendError::Closed(_) => Error::Closed,
            }),
        };
        if sent.is_err() {
            waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        sent
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            writes: self.shared.writes.load(Ordering::Relaxed),
            transactions: self.shared.transactions.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic there was already reported by the panic hook; callers got `Closed`.
            let _ = thread.join();
        }
    }
}

struct Work {
    connection: Connection,
    clock: Arc<dyn Clock>,
    changes: broadcast::Sender<Change>,
    shared: Arc<Shared>,
}

/// A write that ran in its savepoint and waits for the transaction to be on disk.
enum Ran {
    Commit(Reply<Committed>, Result<(Committed, Change)>),
    Lease(Reply<Lease>, Result<Asked>),
    Acknowledge(Reply<()>, Result<()>),
    Erase(Reply<Entry>, Result<Box<(Entry, Change)>>),
}

impl Work {
    fn run(self, mut queue: mpsc::Receiver<(usize, Request)>) {
        while let Some(first) = queue.blocking_recv() {
            self.group(first, &mut queue);
        }
        // Folds the log into the file; what cannot be folded now is folded at the next start.
        let _ = self.connection.close();
    }

    /// One transaction: `first` and whatever waits behind it.
    fn group(&self, first: (usize, Request), queue: &mut mpsc::Receiver<(usize, Request)>) {
        let mut ran = Vec::new();
        let changed_before = self.connection.total_changes();
        let mut broken = self.connection.execute_batch("BEGIN IMMEDIATE").err().map(from_sql);
        let mut next = Some(first);
        while let Some((bytes, request)) = next {
            self.shared.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            ran.push(self.perform(request, &mut broken));
            next = if ran.len() < GROUP_WRITES_MAX { queue.try_recv().ok() } else { None };
        }
        if broken.is_none()
            && let Err(e) = self.connection.execute_batch("COMMIT")
        {
            broken = Some(from_sql(e));
        }
        if broken.is_some() && !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK"); // the next BEGIN would tell
        }
        if broken.is_none() && self.connection.total_changes() != changed_before {
            self.shared.transactions.fetch_add(1, Ordering::Relaxed);
        }
        for ran in ran {
            self.answer(ran, broken.as_ref());
        }
    }

    fn perform(&self, request: Request, broken: &mut Option<Error>) -> Ran {
        let connection = &self.connection;
        let now = self.clock.now();
        match request {
            Request::Commit { commit, reply } => {
                Ran::Commit(reply, self.savepoint(broken, || apply::commit(connection, commit, now)))
            }
            Request::Lease { tenant, name, holder, ttl, reply } => {
                let ask = || apply::lease(connection, &tenant, name, holder, ttl, now);
                Ran::Lease(reply, self.savepoint(broken, ask))
            }
            Request::Acknowledge { tenant, seq, reply } => {
                let forget = || apply::acknowledge(connection, &tenant, seq);
                Ran::Acknowledge(reply, self.savepoint(broken, forget))
            }
            Request::Erase { tenant, seq, draft, reply } => {
                let erase = || apply::erase(connection, &tenant, seq, *draft, now).map(Box::new);
                Ran::Erase(reply, self.savepoint(broken, erase))
            }
        }
    }

    /// Runs `write` so that its failure undoes only itself. Where SQLite gave up the whole
    /// transaction (a full disk, a failing disk), `broken` says so and the group fails together.
    fn savepoint<T>(&self, broken: &mut Option<Error>, write: impl FnOnce() -> Result<T>) -> Result<T> {
        if let Some(error) = broken {
            return Err(error.clone());
        }
        let opened = self.connection.execute_batch("SAVEPOINT one").map_err(from_sql);
        let result = opened.and_then(|()| write());
        let closed = self.connection.execute_batch(match &result {
            Ok(_) => "RELEASE one",
            Err(_) => "ROLLBACK TO one; RELEASE one",
        });
        if let Err(e) = closed {
            let error = match &result {
                Err(first) => first.clone(),
                Ok(_) => from_sql(e),
            };
            *broken = Some(error.clone());
            return Err(error);
        }
        result
    }

    fn answer(&self, ran: Ran, broken: Option<&Error>) {
        let failed = || broken.cloned().map_or(Ok(()), Err);
        match ran {
            Ran::Commit(reply, result) => {
                let result = result.and_then(|done| failed().map(|()| done));
                self.reply(reply, result.map(|(committed, change)| self.tell(committed, change)));
            }
            Ran::Erase(reply, result) => {
                let result = result.and_then(|done| failed().map(|()| done));
                self.reply(reply, result.map(|done| self.tell(done.0, done.1)));
            }
            Ran::Lease(reply, result) => {
                let result = result.and_then(|asked| match asked {
                    Asked::Granted(lease) => failed().map(|()| lease),
                    Asked::Refused(error) => Err(error),
                });
                self.reply(reply, result);
            }
            Ran::Acknowledge(reply, result) => self.reply(reply, result.and_then(|()| failed())),
        }
    }

    fn tell<T>(&self, done: T, change: Change) -> T {
        let _ = self.changes.send(change); // nobody watching is fine
        done
    }

    fn reply<T>(&self, reply: Reply<T>, result: Result<T>) {
        let count = if result.is_ok() { &self.shared.writes } else { &self.shared.refused };
        count.fetch_add(1, Ordering::Relaxed);
        let _ = reply.send(result); // the caller may have gone
    }
}
