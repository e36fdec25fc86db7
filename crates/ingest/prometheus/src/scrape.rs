//! The scraper: finds targets, asks them at their times, and hands what they show to a store.
//!
//! [`Scraper::apply`] takes a [`Config`]; from then on each job has a task that watches its
//! discoveries, and each target one that scrapes. A new configuration changes what differs and lets
//! the rest run: no series ends because of a reload.
//!
//! As Prometheus does: a series that is not shown any more, a scrape that fails and a target that is
//! removed get staleness markers; a sample without a time of its own has that of the scrape; scrapes
//! of all targets are spread over the interval by a hash of who they are. Beside its samples a scrape
//! gives `up`, `scrape_duration_seconds`, `scrape_samples_scraped`,
//! `scrape_samples_post_metric_relabeling` and `scrape_series_added`.

mod append;
mod discover;
mod dns;
mod fetch;
mod job;
mod nhcb;
mod run;
mod target;
mod tls;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base::{Clock, Tenant, Timestamp};
use metrics_api::{Labels, Writer};
use serde::{Serialize, Serializer};
use tasks::{Kind, Tasks};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use self::{fetch::Held, run::Running};
use crate::{
    Stats,
    config::{Config, Group, values},
    relabel::LabelMap,
};

/// Targets of one job; further ones are left out and counted.
pub const TARGETS_MAX: usize = 10_000;
/// Targets dropped by relabelling that a job shows.
pub const DROPPED_TARGETS_MAX: usize = 1_000;
/// Scrapes that wait for an answer at once.
pub const SCRAPES_AT_ONCE_MAX: usize = 512;
/// Bytes of one body after decompression, where a job says nothing or more.
pub const BODY_BYTES_MAX: usize = 128 << 20;
/// Bytes of all bodies that are held at once.
pub const BODIES_BYTES_MAX: usize = 512 << 20;
/// Redirects that are followed for one scrape.
pub const REDIRECTS_MAX: usize = 10;
/// Metrics of one target of which help, type and unit are kept.
pub const METADATA_PER_TARGET_MAX: usize = 20_000;

/// Targets that somebody else knows of: Stead's own services.
pub trait TargetSource: Send + Sync + fmt::Debug {
    /// The groups as they are now, and each time they change. A group's targets have at least
    /// `__address__`; labels that begin with `__meta_stead_` say what they are, for relabelling.
    fn watch(&self) -> watch::Receiver<Arc<[Group]>>;
}

/// What a scraper works with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whose samples they are.
    pub tenant: Tenant,
    pub writer: Arc<dyn Writer>,
    pub tasks: Tasks,
    pub clock: Arc<dyn Clock>,
    pub stats: Arc<Stats>,
    /// What `stead_sd_configs` finds.
    pub services: Option<Arc<dyn TargetSource>>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    options: Options,
    held: Arc<Held>,
    places: Semaphore,
    dns_servers: Vec<SocketAddr>,
}

/// Cheap to clone; all clones are the same one. It stops with its [`Tasks`].
#[derive(Debug, Clone)]
pub struct Scraper {
    shared: Arc<Shared>,
    jobs: Arc<Mutex<BTreeMap<String, job::Handle>>>,
}

impl Scraper {
    #[must_use]
    pub fn new(options: Options) -> Self {
        let shared = Shared {
            options,
            held: Arc::default(),
            places: Semaphore::new(SCRAPES_AT_ONCE_MAX),
            dns_servers: dns::system_servers(),
        };
        Self { shared: Arc::new(shared), jobs: Arc::default() }
    }

    /// From now on scrapes what `config` says. Jobs that are the same go on untouched; the series of
    /// targets that are gone end.
    ///
    /// # Errors
    /// A task could not be started; the other jobs run.
    pub fn apply(&self, config: &Config) -> Result<(), tasks::Error> {
        let mut jobs = self.jobs();
        jobs.retain(|name, handle| {
            let stays = config.jobs.iter().any(|job| job.name == *name);
            if !stays {
                handle.removed.cancel();
            }
            stays
        });
        let mut outcome = Ok(());
        for job in &config.jobs {
            if let Some(handle) = jobs.get(&job.name) {
                handle.job.send_if_modified(|now| {
                    let changed = **now != *job;
                    if changed {
                        *now = Arc::new(job.clone());
                    }
                    changed
                });
                continue;
            }
            let (sender, receiver) = watch::channel(Arc::new(job.clone()));
            let (removed, pool) = (CancellationToken::new(), Arc::<Pool>::default());
            let handle = job::Handle { job: sender, removed: removed.clone(), pool: Arc::clone(&pool) };
            let shared = Arc::clone(&self.shared);
            let run = move |shutdown| {
                job::run(receiver.clone(), Arc::clone(&pool), removed.clone(), Arc::clone(&shared), shutdown)
            };
            match self.shared.options.tasks.spawn(Kind::LOOP, format!("scrape.job {}", job.name), run) {
                Ok(_) => drop(jobs.insert(job.name.clone(), handle)),
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// What is scraped and what is not, as `/api/v1/targets` shows it.
    #[must_use]
    pub fn targets(&self) -> Targets {
        let mut targets = Targets::default();
        for (name, handle) in &*self.jobs() {
            let running = handle.pool.running();
            targets.active.extend(running.values().map(|running| status(name, running)));
            let dropped = handle.pool.dropped();
            targets.dropped.extend(dropped.0.iter().map(|labels| DroppedTarget {
                discovered_labels: labels.clone(),
                scrape_pool: name.clone(),
            }));
            if dropped.1 > 0 {
                targets.dropped_counts.insert(name.clone(), dropped.1);
            }
        }
        targets
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<String, job::Handle>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The targets of one job.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    running: Mutex<BTreeMap<u64, Arc<Running>>>,
    dropped: Mutex<(Vec<LabelMap>, usize)>,
}

impl Pool {
    fn running(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn dropped(&self) -> MutexGuard<'_, (Vec<LabelMap>, usize)> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn set_dropped(&self, kept: Vec<LabelMap>, count: usize) {
        *self.dropped() = (kept, count);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Up,
    Down,
    /// Not scraped yet.
    #[default]
    Unknown,
}

/// The answer of `/api/v1/targets`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Targets {
    #[serde(rename = "activeTargets")]
    pub active: Vec<TargetStatus>,
    #[serde(rename = "droppedTargets")]
    pub dropped: Vec<DroppedTarget>,
    #[serde(rename = "droppedTargetCounts")]
    pub dropped_counts: BTreeMap<String, usize>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    pub discovered_labels: LabelMap,
    pub labels: Labels,
    pub scrape_pool: String,
    pub scrape_url: String,
    pub global_url: String,
    /// Empty when the last scrape went well.
    pub last_error: String,
    #[serde(serialize_with = "time")]
    pub last_scrape: Option<Timestamp>,
    /// Seconds.
    pub last_scrape_duration: f64,
    pub health: Health,
    pub scrape_interval: String,
    pub scrape_timeout: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedTarget {
    pub discovered_labels: LabelMap,
    pub scrape_pool: String,
}

fn status(pool: &str, running: &Running) -> TargetStatus {
    let (target, last) = (&running.target, running.last());
    TargetStatus {
        discovered_labels: target.discovered.clone(),
        labels: target.labels.clone(),
        scrape_pool: pool.to_owned(),
        scrape_url: target.url.clone(),
        global_url: target.url.clone(),
        last_error: last.error,
        last_scrape: last.at,
        last_scrape_duration: last.took.as_secs_f64(),
        health: last.health,
        scrape_interval: values::duration_text(target.interval),
        scrape_timeout: values::duration_text(target.timeout),
    }
}

/// RFC 3339; Go's zero time when there is none.
fn time<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => to.collect_str(time),
        None => to.serialize_str("0001-01-01T00:00:00Z"),
    }
}
