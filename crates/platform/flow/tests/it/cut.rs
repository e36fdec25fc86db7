//! A state whose process dies at the nth commit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use base::Tenant;
use futures_util::{FutureExt, future::BoxFuture};
use ledger::Entry;
use state::{
    Change, Commit, Committed, EntryQuery, Error, Key, Lease, Message, Page, Record, Result, Scan, State,
};
use tokio::sync::broadcast;

/// What happens to the commit that the crash hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// It is lost.
    Before,
    /// It is durable and nobody heard.
    After,
}

#[derive(Debug)]
pub struct Cut {
    under: Arc<dyn State>,
    left: AtomicI64,
    at: At,
    dead: AtomicBool,
    /// Commits fail for want of space while it is set.
    pub full: AtomicBool,
    pub commits: AtomicI64,
}

impl Cut {
    /// Dies at commit `nth`, from 1.
    pub fn new(under: Arc<dyn State>, nth: i64, at: At) -> Arc<Self> {
        let (left, commits) = (AtomicI64::new(nth), AtomicI64::new(0));
        Arc::new(Self {
            under,
            left,
            at,
            dead: AtomicBool::new(false),
            full: AtomicBool::new(false),
            commits,
        })
    }
    pub fn never(under: Arc<dyn State>) -> Arc<Self> {
        Self::new(under, i64::MAX, At::Before)
    }
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }
    pub fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }
    fn alive(&self) -> Result<()> {
        if self.is_dead() { Err(Error::Closed) } else { Ok(()) }
    }
}

impl State for Cut {
    fn get(&self, key: Key) -> BoxFuture<'_, Result<Option<Record>>> {
        async move {
            self.alive()?;
            self.under.get(key).await
        }
        .boxed()
    }
    fn scan(&self, scan: Scan) -> BoxFuture<'_, Result<Page<Record>>> {
        async move {
            self.alive()?;
            self.under.scan(scan).await
        }
        .boxed()
    }
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed>> {
        async move {
            // as a disk would, so that other things happen meanwhile
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.alive()?;
            if self.full.load(Ordering::SeqCst) {
                return Err(Error::DiskFull);
            }
            self.commits.fetch_add(1, Ordering::SeqCst);
            if self.left.fetch_sub(1, Ordering::SeqCst) != 1 {
                return self.under.commit(commit).await;
            }
            self.kill();
            if self.at == At::After {
                let _ = self.under.commit(commit).await;
            }
            Err(Error::Closed)
        }
        .boxed()
    }
    fn watch(&self) -> broadcast::Receiver<Change> {
        self.under.watch()
    }
    fn lease(
        &self,
        tenant: Tenant,
        name: String,
        holder: String,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<Lease>> {
        async move {
            self.alive()?;
            if self.full.load(Ordering::SeqCst) {
                return Err(Error::DiskFull);
            }
            self.under.lease(tenant, name, holder, ttl).await
        }
        .boxed()
    }
    fn entries(&self, query: EntryQuery) -> BoxFuture<'_, Result<Page<Entry>>> {
        self.under.entries(query)
    }
    fn outbox(&self, tenant: Tenant, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Message>>> {
        self.under.outbox(tenant, after, limit)
    }
    fn acknowledge(&self, tenant: Tenant, seq: u64) -> BoxFuture<'_, Result<()>> {
        self.under.acknowledge(tenant, seq)
    }
}
