//! Journal, head, recovery, compaction and the ports over them.
//!
//! # What is durable
//! [`Writer::write`] returns after the batch's group was written to the log and synced: a crash or
//! power cut at any later moment loses none of it. Groups form by themselves (what comes during a
//! sync is the next group) or, with [`Settings::wal_sync_interval`], gather for that long first.
//!
//! # Two values at one time
//! The same value again is one sample. Another value at the time of a series' last sample is
//! refused. Where it is not known (older samples, or after a restart), the one that came last
//! counts.
//!
//! # How it works
//! A tenant has one pipeline, see [`pipeline`], from a queue of batches to the log to a buffer in
//! memory; a buffer that is full or old becomes a part, and parts are merged. There is one writer
//! for each tenant and no shards: a group's cost is in the log and its sync, both of which want
//! one writer, and hashing and looking up a series takes some hundred nanoseconds.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
    time::Duration,
};

use base::{Clock, Tenant};
use disk::Disk;
use futures_util::future::BoxFuture;
use metrics_api::{
    Appended, Budget, CardinalityReport, Error, LabelQuery, Labels, Metadata, Reader, Result, Select,
    SeriesExemplars, SeriesReader, SeriesSet, WriteBatch, Writer,
};
use tasks::Shutdown;

mod buffer;
mod compact;
mod flush;
mod head;
mod manifest;
mod pipeline;
mod read;
mod recover;
mod registry;
mod report;
mod settings;
mod side;
mod tenant;
mod time;
mod wal;

pub use manifest::PartEntry;
pub use settings::{Settings, Stats};

use crate::part::BlockCache;
use tenant::{Shared, TenantStore, blocking, read, write};

/// How often parts are looked at for something to merge or to remove.
const TIDY_EVERY: Duration = Duration::from_secs(10);
/// How often buffers are looked at for their age.
const FLUSH_LOOK_EVERY: Duration = Duration::from_secs(5);

/// The embedded metrics store. Cheap to clone; clones are the same store.
///
/// One process may open a folder at a time; its owner sees to that.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
    tenants: Arc<RwLock<HashMap<Tenant, Arc<TenantStore>>>>,
    /// One tenant is made at a time.
    making: Arc<tokio::sync::Mutex<()>>,
}

impl Store {
    /// Opens what is on `disk` and reads the logs. Blocks.
    ///
    /// # Errors
    /// The disk cannot be read or written. Damage is no error: see [`Store::damage`].
    pub fn open(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, settings: Settings) -> Result<Self> {
        let shared = Arc::new(Shared {
            cache: BlockCache::new(settings.cache_bytes_max),
            disk,
            clock,
            settings,
            stats: Arc::default(),
            held_bytes: 0.into(),
            wake: tokio::sync::Notify::new(),
            freed: tokio::sync::Notify::new(),
        });
        let mut tenants = HashMap::new();
        for name in recover::tenants(&*shared.disk)? {
            let tenant = recover::open(name.clone(), Arc::clone(&shared))?;
            tenants.insert(name, Arc::new(tenant));
        }
        Ok(Self { shared, tenants: Arc::new(RwLock::new(tenants)), making: Arc::default() })
    }

    /// Flushes and merges until `shutdown`, then makes parts of what is in memory, so that the next
    /// start has no log to read.
    pub async fn run(self, shutdown: Shutdown) {
        let tidy = async {
            loop {
                tokio::time::sleep(TIDY_EVERY).await;
                for tenant in self.all() {
                    // Failures are counted and said where they happen; the next round tries again.
                    while tenant.compact_once().await.unwrap_or(false) {}
                }
            }
        };
        let flush = async {
            loop {
                let _ = tokio::time::timeout(FLUSH_LOOK_EVERY, self.shared.wake.notified()).await;
                for tenant in self.all() {
                    if tenant.is_due() {
                        let _ = tenant.flush().await;
                    }
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = async { tokio::join!(tidy, flush); } => {}
        }
        let _ = self.flush().await;
    }

    /// Makes parts of all that is in memory.
    ///
    /// # Errors
    /// The first; what could not be written stays in memory and in the log.
    pub async fn flush(&self) -> Result<()> {
        let mut result = Ok(());
        for tenant in self.all() {
            result = result.and(tenant.flush_all().await);
        }
        result
    }

    /// Takes one step of tidying for each tenant: a merge, deletions, or what is out of retention.
    /// True when there was one to take.
    ///
    /// # Errors
    /// The first; nothing of that step was done.
    pub async fn compact_once(&self) -> Result<bool> {
        let mut any = false;
        for tenant in self.all() {
            any |= tenant.compact_once().await?;
        }
        Ok(any)
    }

    /// Merges the parts of each day into one and carries out all deletions.
    ///
    /// # Errors
    /// As [`Store::compact_once`].
    pub async fn compact_all(&self) -> Result<()> {
        for tenant in self.all() {
            tenant.compact_all().await?;
        }
        Ok(())
    }

    /// What was found damaged when the store was opened, in words.
    #[must_use]
    pub fn damage(&self) -> Vec<String> {
        let said = |tenant: &Arc<TenantStore>| {
            let name = tenant.name.clone();
            tenant.damage.iter().map(move |damage| format!("{name}: {damage}")).collect::<Vec<_>>()
        };
        self.all().iter().flat_map(said).collect()
    }

    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Bytes that count against [`Settings::memory_bytes_max`] now.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.shared.used_bytes()
    }

    /// Series of all tenants that are held in memory.
    #[must_use]
    pub fn active_series(&self) -> u64 {
        self.all().iter().map(|tenant| read(&tenant.head).registry.len()).sum()
    }

    /// The parts of a tenant, oldest first.
    #[must_use]
    pub fn parts(&self, tenant: &Tenant) -> Vec<PartEntry> {
        self.tenant(tenant).map(|tenant| tenant.part_entries()).unwrap_or_default()
    }

    fn all(&self) -> Vec<Arc<TenantStore>> {
        read(&self.tenants).values().cloned().collect()
    }

    fn tenant(&self, name: &Tenant) -> Option<Arc<TenantStore>> {
        read(&self.tenants).get(name).cloned()
    }

    async fn make_tenant(&self, name: &Tenant) -> Result<Arc<TenantStore>> {
        let _held = self.making.lock().await;
        if let Some(tenant) = self.tenant(name) {
            return Ok(tenant);
        }
        let limit = self.shared.settings.tenants_max;
        if read(&self.tenants).len() >= limit {
            return Err(Error::Unavailable { why: format!("there are {limit} tenants already") });
        }
        let (shared, named) = (Arc::clone(&self.shared), name.clone());
        let tenant = Arc::new(blocking(move || recover::open(named, shared)).await??);
        write(&self.tenants).insert(name.clone(), Arc::clone(&tenant));
        Ok(tenant)
    }

    /// Runs a question about one tenant off the async threads; a tenant that is not known has the
    /// empty answer.
    async fn ask<T: Default + Send + 'static>(
        &self,
        tenant: &Tenant,
        question: impl FnOnce(&Arc<TenantStore>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match self.tenant(tenant) {
            Some(tenant) => blocking(move || question(&tenant)).await?,
            None => Ok(T::default()),
        }
    }
}

fn limited<T>(found: impl IntoIterator<Item = T>, limit: usize) -> Vec<T> {
    found.into_iter().take(if limit == 0 { usize::MAX } else { limit }).collect()
}

impl Writer for Store {
    fn write<'a>(&'a self, tenant: &'a Tenant, batch: WriteBatch) -> BoxFuture<'a, Result<Appended>> {
        Box::pin(async move {
            let store = match self.tenant(tenant) {
                Some(store) => store,
                None => self.make_tenant(tenant).await?,
            };
            store.write(batch).await
        })
    }
}

impl Reader for Store {
    fn select<'a>(
        &'a self,
        tenant: &'a Tenant,
        select: &'a Select,
        budget: &'a Arc<Budget>,
    ) -> BoxFuture<'a, Result<SeriesSet>> {
        let (select, budget) = (select.clone(), Arc::clone(budget));
        Box::pin(self.ask(tenant, move |store| {
            let found = store.find(&select.matchers, select.range, &budget)?;
            let series = found.series.into_iter().map(|series| Box::new(series) as Box<dyn SeriesReader>);
            Ok(SeriesSet { series: series.collect(), warnings: found.warnings })
        }))
    }

    fn label_names<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a LabelQuery,
        budget: &'a Arc<Budget>,
    ) -> BoxFuture<'a, Result<Vec<String>>> {
        let (query, budget) = (query.clone(), Arc::clone(budget));
        Box::pin(self.ask(tenant, move |store| Ok(limited(store.texts(None, &query, &budget)?, query.limit))))
    }

    fn label_values<'a>(
        &'a self,
        tenant: &'a Tenant,
        name: &'a str,
        query: &'a LabelQuery,
        budget: &'a Arc<Budget>,
    ) -> BoxFuture<'a, Result<Vec<String>>> {
        let (name, query, budget) = (name.to_owned(), query.clone(), Arc::clone(budget));
        Box::pin(
            self.ask(tenant, move |store| {
                Ok(limited(store.texts(Some(&name), &query, &budget)?, query.limit))
            }),
        )
    }

    fn series<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a LabelQuery,
        budget: &'a Arc<Budget>,
    ) -> BoxFuture<'a, Result<Vec<Labels>>> {
        let (query, budget) = (query.clone(), Arc::clone(budget));
        Box::pin(self.ask(tenant, move |store| Ok(limited(store.matching(&query, &budget)?, query.limit))))
    }

    fn metadata<'a>(
        &'a self,
        tenant: &'a Tenant,
        metric: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<(String, Vec<Metadata>)>>> {
        let metric = metric.map(str::to_owned);
        Box::pin(self.ask(tenant, move |store| Ok(read(&store.head).side.metadata(metric.as_deref()))))
    }

    fn exemplars<'a>(
        &'a self,
        tenant: &'a Tenant,
        query: &'a LabelQuery,
    ) -> BoxFuture<'a, Result<Vec<SeriesExemplars>>> {
        let query = query.clone();
        Box::pin(self.ask(tenant, move |store| Ok(read(&store.head).side.exemplars(&query))))
    }

    fn cardinality<'a>(&'a self, tenant: &'a Tenant, top: usize) -> BoxFuture<'a, Result<CardinalityReport>> {
        Box::pin(self.ask(tenant, move |store| Ok(store.cardinality(top))))
    }

    fn delete<'a>(&'a self, tenant: &'a Tenant, query: &'a LabelQuery) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            match self.tenant(tenant) {
                Some(store) => store.delete(query).await,
                None => Ok(0),
            }
        })
    }
}
