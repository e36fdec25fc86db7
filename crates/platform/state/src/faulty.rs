//! A test double that fails on purpose: any back end, with faults in front of its writes.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base::Tenant;
use futures_util::{FutureExt, future::BoxFuture};
use ledger::Entry;
use tokio::sync::broadcast;

use crate::port::{
    Change, Commit, Committed, EntryQuery, Error, Key, Lease, Message, Page, Record, Result, Scan, State,
};

/// How a write fails.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing is written.
    Before(Error),
    /// All is written, and the answer is lost: what a crash after the commit looks like.
    After(Error),
}

/// A back end whose writes (commits, leases, acknowledgements) fail as planned. Clones share it.
#[derive(Debug, Clone)]
pub struct FaultyState {
    inner: Arc<dyn State>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    writes: AtomicU64,
    plan: Mutex<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    /// Faults by the number of the write, from 0.
    at: Vec<(u64, Fault)>,
    /// From this write on every one fails: the process is gone.
    from: Option<(u64, Error)>,
}

impl FaultyState {
    #[must_use]
    pub fn new(inner: impl State + 'static) -> Self {
        Self { inner: Arc::new(inner), shared: Arc::default() }
    }

    /// Write `number`, counted from 0 and from the beginning, fails.
    pub fn fail(&self, number: u64, fault: Fault) {
        self.plan(|plan| plan.at.push((number, fault)));
    }

    /// Write `number` and all after it fail, until [`FaultyState::heal`].
    pub fn fail_from(&self, number: u64, error: Error) {
        self.plan(|plan| plan.from = Some((number, error)));
    }

    /// No faults any more.
    pub fn heal(&self) {
        self.plan(|plan| *plan = Plan::default());
    }

    /// Writes that were asked for.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.shared.writes.load(Ordering::SeqCst)
    }

    fn plan<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
        change(&mut self.shared.plan.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn write<T>(&self, write: impl Future<Output = Result<T>>) -> Result<T> {
        let number = self.shared.writes.fetch_add(1, Ordering::SeqCst);
        let fault = self.plan(|plan| match &plan.from {
            Some((from, error)) if number >= *from => Some(Fault::Before(error.clone())),
            _ => plan.at.iter().find(|(at, _)| *at == number).map(|(_, fault)| fault.clone()),
        });
        match fault {
            None => write.await,
            Some(Fault::Before(error)) => Err(error),
            Some(Fault::After(error)) => write.await.and(Err(error)),
        }
    }
}

impl State for FaultyState {
    fn get(&self, key: Key) -> BoxFuture<'_, Result<Option<Record>>> {
        self.inner.get(key)
    }
    fn scan(&self, scan: Scan) -> BoxFuture<'_, Result<Page<Record>>> {
        self.inner.scan(scan)
    }
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed>> {
        self.write(self.inner.commit(commit)).boxed()
    }
    fn watch(&self) -> broadcast::Receiver<Change> {
        self.inner.watch()
    }
    fn lease(
        &self,
        tenant: Tenant,
        name: String,
        holder: String,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<Lease>> {
        self.write(self.inner.lease(tenant, name, holder, ttl)).boxed()
    }
    fn entries(&self, query: EntryQuery) -> BoxFuture<'_, Result<Page<Entry>>> {
        self.inner.entries(query)
    }
    fn outbox(&self, tenant: Tenant, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Message>>> {
        self.inner.outbox(tenant, after, limit)
    }
    fn acknowledge(&self, tenant: Tenant, seq: u64) -> BoxFuture<'_, Result<()>> {
        self.write(self.inner.acknowledge(tenant, seq)).boxed()
    }
}
