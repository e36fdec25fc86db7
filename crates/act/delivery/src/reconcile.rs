//! The reconciler: keeps what runs and what is routed as the records ask for it.
//!
//! One task owns everything it knows. It wakes by signals (state changed, a replica changed phase, a
//! check has an answer) and by a timer, none of which carries input: each turn reads, decides, acts.
//! So a restarted control takes the same path as a running one, and drift is put back by itself.
//! Slow work (starting, stopping, checking) runs in tasks that report back through one channel.

pub(crate) mod checks;
mod ends;
mod health;
pub(crate) mod live;
mod observe;
pub(crate) mod routes;
pub(crate) mod start;
mod turn;
mod user;
mod world;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use base::{Ctx, Problem, Scope, Tenant, Timestamp, id::ReplicaId};
use futures_util::StreamExt;
use gateway_api::{Sample, Snapshot};
use tasks::Shutdown;
use tokio::sync::{
    Notify,
    broadcast::error::{RecvError, TryRecvError},
    mpsc, watch,
};

pub use routes::PUBLIC;
pub(crate) use turn::start_one;
pub use world::{Rollout, ServiceNow, World};

use crate::{
    books::Books,
    ports::Ports,
    probe::Failed,
    record::{self, BindingRecord},
    traffic::Window,
};
use live::Live;

/// Longest pause between two turns.
const TURN_MAX: Duration = Duration::from_secs(1);
/// How often use of resources is read while nothing changes.
const OBSERVE_EVERY: Duration = Duration::from_secs(3);
/// How often the records are read anew though nobody said that they changed.
const RELOAD_EVERY: Duration = Duration::from_secs(30);
/// Messages from tasks that wait for the loop; a task that reports waits when it is full.
const REPORTS_MAX: usize = 1_024;
/// Words of running steps that are kept.
const NOTES_MAX: usize = 2_000;
/// Checks and starts that are under way at once.
const WORK_MAX: usize = 128;

/// What a task reports back.
#[derive(Debug)]
pub(crate) enum Report {
    Checked { replica: ReplicaId, index: usize, result: Result<(), Failed> },
    Started { scope: Scope, service: String, revision: String, count: u32, problem: Option<Problem> },
    Stopped { replica: ReplicaId, problem: Option<Problem> },
    Removed { replica: ReplicaId, done: bool },
    Samples(Vec<Sample>),
    GatewayVersion(u64),
}

/// Releases to read anew.
#[derive(Debug)]
enum Stale {
    All,
    Some(std::collections::BTreeSet<String>),
}

impl Stale {
    /// More than these are as good as all.
    const NOTED_MAX: usize = 10_000;

    fn note(&mut self, release: &str) {
        if let Self::Some(noted) = self {
            noted.insert(release.to_owned());
            if noted.len() > Self::NOTED_MAX {
                *self = Self::All;
            }
        }
    }

    fn has(&self, release: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(noted) => noted.contains(release),
        }
    }
}

/// What others share with the loop.
#[derive(Debug, Clone)]
pub struct Shared {
    world: Arc<ArcSwap<World>>,
    pub(crate) window: Arc<std::sync::Mutex<Window>>,
    changed: watch::Sender<u64>,
    wake: Arc<Notify>,
    notes: Arc<std::sync::Mutex<BTreeMap<(String, String), String>>>,
    halted: Arc<std::sync::atomic::AtomicBool>,
}

impl Shared {
    #[must_use]
    pub fn new() -> Self {
        Self {
            world: Arc::new(ArcSwap::from_pointee(World::default())),
            window: Arc::default(),
            changed: watch::Sender::new(0),
            wake: Arc::new(Notify::new()),
            notes: Arc::default(),
            halted: Arc::default(),
        }
    }

    /// From now on nothing is started or stopped: everything is about to be stopped by other hands,
    /// and a replica that ends must not be replaced. It holds until the process ends.
    pub fn halt(&self) {
        self.halted.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.halted.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Keeps what a step says of itself, for those who look at its run.
    pub(crate) fn note(&self, flow: &str, step: &str, message: &str) {
        if let Ok(mut notes) = self.notes.lock() {
            if notes.len() >= NOTES_MAX {
                notes.pop_first(); // The oldest: ids of flows sort by creation.
            }
            notes.insert((flow.to_owned(), step.to_owned()), message.to_owned());
        }
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn note_of(&self, flow: &str, step: &str) -> Option<String> {
        self.notes.lock().ok()?.get(&(flow.to_owned(), step.to_owned())).cloned()
    }

    /// What is seen now.
    #[must_use]
    pub fn world(&self) -> Arc<World> {
        self.world.load_full()
    }

    /// Counts up with each new world.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Asks for a turn now.
    pub fn wake(&self) {
        self.wake.notify_one();
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::new()
    }
}

/// The loop and all that it owns.
#[derive(Debug)]
pub struct Reconciler {
    pub(crate) ports: Ports,
    pub(crate) books: Books,
    shared: Shared,
    pub(crate) services: BTreeMap<(Scope, String), Live>,
    pub(crate) bindings: BTreeMap<Scope, Vec<BindingRecord>>,
    /// Where each replica belongs.
    pub(crate) owners: HashMap<ReplicaId, (Scope, String)>,
    pub(crate) snapshot: Option<Snapshot>,
    /// Replicas that an earlier control had in its routes.
    adopted_ready: std::collections::BTreeSet<String>,
    gateway_version: u64,
    gateway_asked: bool,
    pub(crate) in_flight: HashMap<ReplicaId, (u64, Timestamp)>,
    reports: mpsc::Sender<Report>,
    inbox: Option<mpsc::Receiver<Report>>,
    working: usize,
    dirty: bool,
    /// Releases that changed since they were read.
    stale: Stale,
    observe_at: Duration,
    reload_at: Duration,
    /// Nothing is stopped or started before the first full look at records and replicas.
    looked: bool,
    restored: bool,
}

impl Reconciler {
    #[must_use]
    pub fn new(ports: Ports, shared: Shared) -> Self {
        let (reports, inbox) = mpsc::channel(REPORTS_MAX);
        let books = Books { state: Arc::clone(&ports.state) };
        Self {
            ports,
            books,
            shared,
            services: BTreeMap::new(),
            bindings: BTreeMap::new(),
            owners: HashMap::new(),
            snapshot: None,
            adopted_ready: std::collections::BTreeSet::new(),
            gateway_version: 0,
            gateway_asked: false,
            in_flight: HashMap::new(),
            reports,
            inbox: Some(inbox),
            working: 0,
            dirty: true,
            stale: Stale::All,
            observe_at: Duration::ZERO,
            reload_at: Duration::ZERO,
            looked: false,
            restored: false,
        }
    }

    /// Runs until shutdown. Workloads go on running after it.
    pub async fn run(mut self, shutdown: Shutdown) {
        let Some(mut inbox) = self.inbox.take() else { return };
        if self.ports.root
            && let Err(problem) = self.books.give_users(&self.ports.tenant).await
        {
            tracing::warn!(%problem, "what was delivered without root has no user and does not start");
        }
        let mut phases = self.ports.driver.changed();
        let mut records = self.ports.state.watch();
        let mut samples = self.ports.gateway.samples();
        loop {
            self.turn().await;
            let pause = self.pause();
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(report) = inbox.recv() => {
                    self.take(report);
                    while let Ok(report) = inbox.try_recv() {
                        self.take(report);
                    }
                }
                Some(()) = phases.next() => self.observe_at = Duration::ZERO,
                changed = records.recv() => {
                    self.hear(changed);
                    // One turn for all of them: while many services are delivered they come by the thousand.
                    loop {
                        match records.try_recv() {
                            Ok(change) => self.hear(Ok(change)),
                            Err(TryRecvError::Lagged(count)) => self.hear(Err(RecvError::Lagged(count))),
                            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                        }
                    }
                }
                Some(batch) = samples.next() => self.take(Report::Samples(batch)),
                () = self.shared.wake.notified() => self.dirty = true,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn hear(&mut self, changed: Result<state::Change, RecvError>) {
        match changed {
            Ok(change) => {
                for key in change.keys.iter().filter(|key| key.scope.tenant == self.ports.tenant) {
                    match key.kind.as_str() {
                        record::SERVICE | record::BINDING => self.dirty = true,
                        record::RELEASE => {
                            self.dirty = true;
                            self.stale.note(&key.id);
                        }
                        _ => {}
                    }
                }
            }
            // It lagged: something was missed, so everything is read.
            Err(_) => {
                self.dirty = true;
                self.stale = Stale::All;
            }
        }
    }

    fn pause(&self) -> Duration {
        let now = self.ports.clock.monotonic();
        let due = self
            .services
            .values()
            .flat_map(|live| live.replicas.values())
            .flat_map(|replica| &replica.checks)
            .filter(|check| !check.busy)
            .map(|check| check.next_at)
            .min()
            .unwrap_or(Duration::MAX);
        let wait = due.min(self.observe_at).saturating_sub(now);
        wait.clamp(Duration::from_millis(10), TURN_MAX)
    }

    fn now(&self) -> Duration {
        self.ports.clock.monotonic()
    }

    pub(crate) fn tenant(&self) -> &Tenant {
        &self.ports.tenant
    }

    /// Who the reconciler is on the ledger, caused by the latest change of the service.
    pub(crate) fn ctx(&self, live: &Live) -> Ctx {
        let mut ctx = Ctx::system("reconciler", live.scope.clone());
        ctx.cause.causation.clone_from(&live.record.changed_by);
        ctx
    }
}
