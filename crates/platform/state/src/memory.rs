//! State in memory: the whole port, nothing durable. For tests and for simulation.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base::{Clock, Environment, Tenant, Timestamp};
use futures_util::{FutureExt, future::BoxFuture};
use ledger::{Entry, Head};
use tokio::sync::broadcast;

use crate::{
    cursor, limits,
    port::{
        Change, Commit, Committed, EntryQuery, Error, Key, Lease, Message, Page, Precondition, Put, Record,
        Result, Scan, State,
    },
};

/// State that lives and dies with the process. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct MemoryState {
    inner: Arc<Mutex<Inner>>,
    clock: Arc<dyn Clock>,
    changes: broadcast::Sender<Change>,
}

#[derive(Debug, Default)]
struct Inner {
    records: BTreeMap<Place, Record>,
    tenants: BTreeMap<Tenant, Chain>,
    leases: BTreeMap<(Tenant, String), Granted>,
}

/// Records in the order of a scan.
type Place = (Tenant, String, String, Environment);

#[derive(Debug, Default)]
struct Chain {
    head: Head,
    entries: Vec<Entry>,
    outbox: BTreeMap<u64, Message>,
    outbox_seq: u64,
}

#[derive(Debug, Clone)]
struct Granted {
    lease: Lease,
    ttl: Duration,
}

impl MemoryState {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { inner: Arc::default(), clock, changes: broadcast::Sender::new(limits::WATCH_CHANGES_MAX) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change is checked before it begins, so a panic leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit_now(&self, commit: Commit) -> Result<Committed> {
        limits::check_commit(&commit)?;
        let mut inner = self.inner();
        inner.check(&commit)?;
        let (committed, change) = inner.apply(commit, self.clock.now());
        // Under the lock, so that watchers hear changes in the order of commits.
        let _ = self.changes.send(change); // nobody watching is fine
        Ok(committed)
    }

    fn lease_now(&self, tenant: Tenant, name: String, holder: String, ttl: Duration) -> Result<Lease> {
        limits::within("bytes of a lease's name", name.len(), limits::KEY_BYTES_MAX)?;
        limits::within("bytes of a lease's holder", holder.len(), limits::KEY_BYTES_MAX)?;
        let now = self.clock.now();
        let mut inner = self.inner();
        let slot = inner.leases.entry((tenant, name.clone()));
        let token = match slot {
            std::collections::btree_map::Entry::Vacant(_) => 1,
            std::collections::btree_map::Entry::Occupied(ref held) => {
                let Granted { lease, ttl } = held.get();
                if lease.holder == holder {
                    lease.token
                } else if now < lease.expires_at && lease.expires_at <= now.plus(*ttl) {
                    return Err(Error::Held { name, holder: lease.holder.clone() });
                } else if now < lease.expires_at {
                    // The clock went back: what is left may not exceed what was asked for.
                    let holder = lease.holder.clone();
                    let mut shortened = held.get().clone();
                    shortened.lease.expires_at = now.plus(*ttl);
                    slot.insert_entry(shortened);
                    return Err(Error::Held { name, holder });
                } else {
                    lease.token + 1
                }
            }
        };
        let lease = Lease { name, holder, token, expires_at: now.plus(ttl) };
        slot.insert_entry(Granted { lease: lease.clone(), ttl });
        Ok(lease)
    }

    fn scan_now(&self, scan: &Scan) -> Result<Page<Record>> {
        limits::check_scan(scan)?;
        let inner = self.inner();
        let from = match &scan.after {
            None => Bound::Included((
                scan.tenant.clone(),
                scan.kind.clone(),
                String::new(),
                // Any will do: no id is empty, so nothing ties with this bound.
                Environment::default(),
            )),
            Some(after) => {
                let (environment, id) = cursor::read(after)?;
                Bound::Excluded((scan.tenant.clone(), scan.kind.clone(), id.to_owned(), environment))
            }
        };
        let mut found = inner
            .records
            .range((from, Bound::Unbounded))
            .map(|(_, record)| record)
            .take_while(|r| r.key.scope.tenant == scan.tenant && r.key.kind == scan.kind)
            .filter(|r| scan.environment.as_ref().is_none_or(|e| *e == r.key.scope.environment))
            .filter(|r| scan.term.as_ref().is_none_or(|t| r.index.contains(t)));
        let items: Vec<Record> = found.by_ref().take(scan.limit).cloned().collect();
        let next = if scan.limit == 0 {
            scan.after.clone()
        } else {
            items.last().map(|r| cursor::write(&r.key)).filter(|_| found.next().is_some())
        };
        Ok(Page { items, next })
    }

    fn entries_now(&self, query: &EntryQuery) -> Result<Page<Entry>> {
        limits::check_query(query)?;
        let inner = self.inner();
        let Some(chain) = inner.tenants.get(&query.tenant) else {
            return Ok(Page { items: Vec::new(), next: None });
        };
        let all: Box<dyn Iterator<Item = &Entry>> = if query.descending {
            Box::new(chain.entries.iter().rev().filter(|e| query.after.is_none_or(|after| e.seq < after)))
        } else {
            Box::new(chain.entries.iter().filter(|e| query.after.is_none_or(|after| e.seq > after)))
        };
        let mut found = all.filter(|e| {
            let draft = &e.draft;
            query.environment.as_ref().is_none_or(|w| *w == draft.environment)
                && query.subject.as_ref().is_none_or(|w| *w == draft.subject)
                && query.kind_prefix.as_ref().is_none_or(|w| draft.kind.starts_with(w.as_str()))
                && query.actor.as_ref().is_none_or(|w| *w == draft.actor.as_str())
                && query.correlation.as_ref().is_none_or(|w| *w == draft.cause.correlation)
                && query.from.is_none_or(|from| e.at >= from)
                && query.to.is_none_or(|to| e.at < to)
        });
        let items: Vec<Entry> = found.by_ref().take(query.limit).cloned().collect();
        let next = if query.limit == 0 {
            query.after.map(|after| after.to_string())
        } else {
            items.last().map(|e| e.seq.to_string()).filter(|_| found.next().is_some())
        };
        Ok(Page { items, next })
    }
}

impl Inner {
    /// Everything that can refuse `commit`.
    fn check(&self, commit: &Commit) -> Result<()> {
        for precondition in &commit.preconditions {
            let (met, what) = match precondition {
                Precondition::Absent(key) => (!self.records.contains_key(&place(key)), describe(key)),
                Precondition::Version(key, version) => {
                    (self.records.get(&place(key)).is_some_and(|r| r.version == *version), describe(key))
                }
                Precondition::Fence { tenant, name, token } => (
                    self.leases.get(&(tenant.clone(), name.clone())).is_some_and(|g| g.lease.token == *token),
                    format!("lease {name:?}"),
                ),
            };
            if !met {
                return Err(Error::Conflict { what });
            }
        }
        let mut added: BTreeMap<&Tenant, u64> = BTreeMap::new();
        for (tenant, _) in &commit.outbox {
            let count = added.entry(tenant).or_default();
            *count += 1;
            let waiting = self.tenants.get(tenant).map_or(0, |c| c.outbox.len() as u64);
            if waiting + *count > limits::OUTBOX_MAX {
                return Err(Error::Limit {
                    what: "unacknowledged messages of a tenant",
                    limit: limits::OUTBOX_MAX,
                });
            }
        }
        Ok(())
    }

    /// Cannot fail: [`Inner::check`] came before.
    fn apply(&mut self, commit: Commit, now: Timestamp) -> (Committed, Change) {
        let mut versions = Vec::with_capacity(commit.puts.len());
        let mut keys = Vec::with_capacity(commit.puts.len());
        for put in commit.puts {
            match put {
                Put::Put { key, body, index } => {
                    let version = self.records.get(&place(&key)).map_or(1, |r| r.version + 1);
                    versions.push(version);
                    keys.push(key.clone());
                    let record = Record { key, version, body, index, updated_at: now };
                    self.records.insert(place(&record.key), record);
                }
                Put::Remove(key) => {
                    self.records.remove(&place(&key));
                    versions.push(0);
                    keys.push(key);
                }
            }
        }
        let mut entries = Vec::with_capacity(commit.entries.len());
        for draft in commit.entries {
            let chain = self.tenants.entry(draft.tenant.clone()).or_default();
            let entry = chain.head.append(now, draft);
            chain.entries.push(entry.clone());
            entries.push(entry);
        }
        for (tenant, mut message) in commit.outbox {
            let chain = self.tenants.entry(tenant).or_default();
            chain.outbox_seq += 1;
            message.seq = chain.outbox_seq;
            chain.outbox.insert(message.seq, message);
        }
        let change = Change { keys: keys.into(), entries: entries.clone().into() };
        (Committed { versions, entries }, change)
    }
}

fn place(key: &Key) -> Place {
    (key.scope.tenant.clone(), key.kind.clone(), key.id.clone(), key.scope.environment.clone())
}

pub(crate) fn describe(key: &Key) -> String {
    format!("{} {:?}", key.kind, key.id)
}

impl State for MemoryState {
    fn get(&self, key: Key) -> BoxFuture<'_, Result<Option<Record>>> {
        async move { Ok(self.inner().records.get(&place(&key)).cloned()) }.boxed()
    }

    fn scan(&self, scan: Scan) -> BoxFuture<'_, Result<Page<Record>>> {
        async move { self.scan_now(&scan) }.boxed()
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed>> {
        async move { self.commit_now(commit) }.boxed()
    }

    fn watch(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn lease(
        &self,
        tenant: Tenant,
        name: String,
        holder: String,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<Lease>> {
        async move { self.lease_now(tenant, name, holder, ttl) }.boxed()
    }

    fn entries(&self, query: EntryQuery) -> BoxFuture<'_, Result<Page<Entry>>> {
        async move { self.entries_now(&query) }.boxed()
    }

    fn outbox(&self, tenant: Tenant, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Message>>> {
        async move {
            limits::within("limit of an outbox read", limit, Scan::LIMIT_MAX)?;
            let inner = self.inner();
            let Some(chain) = inner.tenants.get(&tenant) else { return Ok(Vec::new()) };
            let beyond = (Bound::Excluded(after), Bound::Unbounded);
            Ok(chain.outbox.range(beyond).take(limit).map(|(_, m)| m.clone()).collect())
        }
        .boxed()
    }

    fn acknowledge(&self, tenant: Tenant, seq: u64) -> BoxFuture<'_, Result<()>> {
        async move {
            if let Some(chain) = self.inner().tenants.get_mut(&tenant) {
                chain.outbox = chain.outbox.split_off(&seq.saturating_add(1));
            }
            Ok(())
        }
        .boxed()
    }
}
