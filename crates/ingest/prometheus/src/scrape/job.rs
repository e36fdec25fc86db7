//! One job: watches its discoveries and keeps one task for each of its targets.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use futures_util::future::join_all;
use tasks::{Kind, Shutdown};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Pool, Shared, TARGETS_MAX, discover,
    run::{self, Orders, Running},
    target::{Prepared, prepare},
};
use crate::{
    config::{Group, Job},
    relabel::LabelMap,
};

/// Updates of discovery that wait.
const UPDATES_MAX: usize = 16;

/// A job that runs.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) job: watch::Sender<Arc<Job>>,
    pub(super) removed: CancellationToken,
    pub(super) pool: Arc<Pool>,
}

/// Watches until the job is removed or the process stops.
pub(super) async fn run(
    mut jobs: watch::Receiver<Arc<Job>>,
    pool: Arc<Pool>,
    removed: CancellationToken,
    shared: Arc<Shared>,
    shutdown: Shutdown,
) {
    let first = Arc::clone(&jobs.borrow_and_update());
    let (orders, _) = watch::channel(Orders { job: first, forbidden: None });
    let mut watched = Watched { orders, pool, shared, groups: Vec::new() };
    loop {
        let job = Arc::clone(&jobs.borrow_and_update());
        watched.take_job(Arc::clone(&job));
        let (found, mut updates) = mpsc::channel(UPDATES_MAX);
        let watching = job.discoveries.iter().enumerate().map(|(at, discovery)| {
            discover::watch(at, discovery.clone(), Arc::clone(&watched.shared), found.clone())
        });
        let watching = join_all(watching);
        // What is found for good needs no watching; then only orders are waited for.
        let watching = async {
            watching.await;
            std::future::pending::<()>().await;
        };
        tokio::pin!(watching);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = removed.cancelled() => return watched.end(),
                changed = jobs.changed() => match changed {
                    Ok(()) => break,
                    // Whoever removes a job drops its sender as well, and either may be seen first.
                    Err(_) if removed.is_cancelled() => return watched.end(),
                    Err(_) => return,
                },
                Some((at, groups)) = updates.recv() => watched.update(at, groups),
                () = &mut watching => {}
            }
        }
    }
}

struct Watched {
    orders: watch::Sender<Orders>,
    pool: Arc<Pool>,
    shared: Arc<Shared>,
    /// Of each discovery, once it has answered.
    groups: Vec<Option<Vec<Group>>>,
}

impl Watched {
    /// A new version of the job. What a discovery that is the same has found stays.
    fn take_job(&mut self, job: Arc<Job>) {
        let before = Arc::clone(&self.orders.borrow().job);
        let mut known: Vec<_> = before.discoveries.iter().zip(std::mem::take(&mut self.groups)).collect();
        self.groups = job
            .discoveries
            .iter()
            .map(|discovery| {
                let at = known.iter().position(|(other, _)| *other == discovery)?;
                known.swap_remove(at).1
            })
            .collect();
        self.orders.send_modify(|orders| orders.job = job);
        if self.groups.iter().any(Option::is_some) || self.groups.is_empty() {
            self.sync();
        }
    }

    fn update(&mut self, at: usize, groups: Vec<Group>) {
        if let Some(slot) = self.groups.get_mut(at) {
            *slot = Some(groups);
            self.sync();
        }
    }

    /// Makes what runs what should run.
    fn sync(&mut self) {
        let job = Arc::clone(&self.orders.borrow().job);
        let mut wanted = BTreeMap::new();
        let mut dropped = Dropped { most: job.keep_dropped_targets, ..Dropped::default() };
        let mut over = 0u64;
        for group in self.groups.iter().flatten().flatten() {
            for labels in &group.targets {
                match prepare(&job, group, labels) {
                    Prepared::Target(target) if wanted.len() < TARGETS_MAX => {
                        wanted.entry(target.hash).or_insert(target);
                    }
                    Prepared::Target(_) => over += 1,
                    Prepared::Dropped(labels) => dropped.add(labels),
                    Prepared::Bad(labels, why) => {
                        tracing::warn!(job = job.name, why, "a target is left out");
                        self.shared.options.stats.dropped_targets.add(1);
                        dropped.add(labels);
                    }
                }
            }
        }
        if over > 0 {
            self.shared.options.stats.dropped_targets.add(over);
            tracing::warn!(
                job = job.name,
                over,
                "a job has more than {TARGETS_MAX} targets; the rest is left out"
            );
        }
        let limit = job.limits.targets;
        let forbidden = (limit > 0 && wanted.len() as u64 > limit)
            .then(|| format!("target_limit exceeded: {} targets, at most {limit}", wanted.len()));
        self.orders.send_if_modified(|orders| {
            let changed = orders.forbidden != forbidden;
            orders.forbidden = forbidden;
            changed
        });
        let mut running = self.pool.running();
        running.retain(|hash, running| {
            let stays = wanted.get(hash).is_some_and(|target| {
                target.interval == running.target.interval && target.timeout == running.target.timeout
            });
            if !stays {
                running.replaced.store(wanted.contains_key(hash), Ordering::Relaxed);
                running.removed.cancel();
            }
            stays
        });
        for (hash, target) in wanted {
            if let std::collections::btree_map::Entry::Vacant(vacant) = running.entry(hash) {
                vacant.insert(self.start(*target));
            }
        }
        drop(running);
        self.pool.set_dropped(dropped.kept, dropped.count);
    }

    fn start(&self, target: super::target::Target) -> Arc<Running> {
        let running = Running::new(target);
        let (of_task, orders, shared) =
            (Arc::clone(&running), self.orders.subscribe(), Arc::clone(&self.shared));
        let spawned = shared.options.tasks.clone().spawn(Kind::LOOP, "scrape.target", move |shutdown| {
            run::run(Arc::clone(&of_task), orders.clone(), Arc::clone(&shared), shutdown)
        });
        if let Err(error) = spawned {
            self.shared.options.stats.dropped_targets.add(1);
            tracing::warn!(url = running.target.url, %error, "a target is not scraped");
        }
        running
    }

    /// The job is gone: so are its targets.
    fn end(&self) {
        let mut running = self.pool.running();
        running.values().for_each(|running| running.removed.cancel());
        running.clear();
    }
}

/// Targets that relabelling dropped, for people to see why one is missing.
#[derive(Default)]
struct Dropped {
    most: usize,
    kept: Vec<LabelMap>,
    count: usize,
}

impl Dropped {
    fn add(&mut self, labels: LabelMap) {
        self.count += 1;
        let most = if self.most == 0 {
            super::DROPPED_TARGETS_MAX
        } else {
            self.most.min(super::DROPPED_TARGETS_MAX)
        };
        if self.kept.len() < most {
            self.kept.push(labels);
        }
    }
}
