//! Leading: holding the lease, and what exists only while it is held.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base::{Scope, Tenant, id::FlowId};
use state::{Lease, Precondition};
use tasks::Shutdown;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Inner, actor::Post, home, load, scheduler, timers};
use crate::{
    Error, Result,
    machine::{Effect, Machine},
};

/// One term of leading.
#[derive(Debug)]
pub(crate) struct Lead {
    pub(super) token: u64,
    pub(super) fence: Precondition,
    /// The lease is lost: drop everything at once.
    pub(super) gone: CancellationToken,
    pub(super) slots: Arc<Semaphore>,
    /// Bounds the tasks of calls, waiting ones included.
    pub(super) room: Arc<Semaphore>,
    pub(super) timers: mpsc::Sender<timers::Request>,
    /// Somebody changed schedules.
    pub(super) schedules_changed: Notify,
    /// The engine stops: finish what runs, begin nothing.
    pub(super) stopping: CancellationToken,
    /// Bounds how many flows are read at once.
    pub(super) loading: Semaphore,
    check_lease: Notify,
    check_flows: Notify,
    flow_left: Notify,
    flows: Mutex<HashMap<(Scope, FlowId), mpsc::Sender<Post>>>,
    tenants: Mutex<HashSet<Tenant>>,
    valid_until: Mutex<Instant>,
}

const LEASE: &str = "flow-engine";
/// Unfinished flows are looked for again this often, as a net under everything else.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Sweeps on request are at least so far apart.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);
/// Flows that are read at once.
const LOADING_MAX: usize = 32;

pub(super) async fn run(inner: &Arc<Inner>, shutdown: Shutdown) -> Result<()> {
    while let Some(lease) = acquire(inner, &shutdown).await? {
        let (timers, requests) = mpsc::channel(timers::REQUESTS_MAX);
        let lead = Arc::new(Lead::new(inner, &lease, timers));
        tracing::info!(token = lease.token, holder = %inner.holder, "the workflow engine leads");
        inner.lead.send_replace(Some(Arc::clone(&lead)));
        let stopping = lead_on(inner, &lead, requests, &shutdown).await;
        inner.lead.send_replace(None);
        lead.gone.cancel();
        lead.emptied().await;
        if stopping {
            let lapse_now = Duration::from_millis(1);
            let (name, holder) = (LEASE.to_owned(), inner.holder.clone());
            let _ = timeout(RELEASE_MAX, inner.state.lease(home(), name, holder, lapse_now)).await;
            return Ok(());
        }
        tracing::warn!(token = lease.token, "the workflow engine lost its lease");
    }
    Ok(())
}

/// Time that giving the lease back may take; without it, it lapses.
const RELEASE_MAX: Duration = Duration::from_secs(1);

/// Leads until the lease is lost (false) or all flows have stopped for shutdown (true).
async fn lead_on(
    inner: &Arc<Inner>,
    lead: &Arc<Lead>,
    requests: mpsc::Receiver<timers::Request>,
    shutdown: &Shutdown,
) -> bool {
    let sweeping = async {
        loop {
            let swept = load::sweep(inner, lead).await;
            if lead.stopping.is_cancelled() {
                std::future::pending::<()>().await; // nothing is taken up any more
            }
            if let Err(error) = swept {
                tracing::warn!(%error, "unfinished flows cannot be read, trying again");
                sleep(inner.limits.lease_ttl / 10).await;
                continue;
            }
            tokio::select! {
                () = lead.check_flows.notified() => sleep(SWEEP_PAUSE).await,
                () = sleep(SWEEP_EVERY) => {}
            }
        }
    };
    let stopped = async {
        shutdown.cancelled().await;
        inner.lead.send_replace(None); // no new flows
        lead.stopping.cancel();
        lead.emptied().await;
    };
    tokio::select! {
        () = renew(inner, lead) => false,
        () = stopped => true,
        () = sweeping => false,
        () = timers::run(Arc::clone(&inner.clock), requests) => false,
        () = scheduler::run(inner, lead) => false,
        () = load::forget_ended(inner, lead) => false,
    }
}

async fn acquire(inner: &Arc<Inner>, shutdown: &Shutdown) -> Result<Option<Lease>> {
    let ttl = inner.limits.lease_ttl;
    loop {
        if shutdown.is_cancelled() {
            return Ok(None);
        }
        match inner.state.lease(home(), LEASE.to_owned(), inner.holder.clone(), ttl).await {
            Ok(lease) => return Ok(Some(lease)),
            Err(state::Error::Closed) => return Err(Error::State(state::Error::Closed)),
            Err(state::Error::Held { .. }) => {}
            Err(error) => tracing::warn!(%error, "the workflow lease cannot be taken, trying again"),
        }
        tokio::select! {
            () = sleep(ttl / 10) => {}
            () = shutdown.cancelled() => return Ok(None),
        }
    }
}

/// Renews the lease until it is lost, or might be.
async fn renew(inner: &Arc<Inner>, lead: &Lead) {
    let ttl = inner.limits.lease_ttl;
    let mut wait = ttl / 3;
    loop {
        tokio::select! {
            () = sleep(wait) => {}
            () = lead.check_lease.notified() => {}
        }
        wait = ttl / 3;
        let asked_at = Instant::now();
        let renewing = inner.state.lease(home(), LEASE.to_owned(), inner.holder.clone(), ttl);
        let safe_until = lead.valid_until() - ttl / 6;
        let renewed = tokio::select! {
            renewed = renewing => renewed,
            () = sleep_until(safe_until) => return,
        };
        match renewed {
            Ok(lease) if lease.token == lead.token => {
                *lead.valid_until.lock().unwrap_or_else(PoisonError::into_inner) = asked_at + ttl;
            }
            Ok(_) | Err(state::Error::Held { .. } | state::Error::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, "the workflow lease cannot be renewed, trying again");
                if Instant::now() >= safe_until {
                    return;
                }
                wait = ttl / 30;
            }
        }
    }
}

impl Lead {
    fn new(inner: &Inner, lease: &Lease, timers: mpsc::Sender<timers::Request>) -> Self {
        Self {
            token: lease.token,
            fence: Precondition::Fence { tenant: home(), name: LEASE.to_owned(), token: lease.token },
            gone: CancellationToken::new(),
            slots: Arc::new(Semaphore::new(inner.limits.parallel_steps_max.max(1))),
            room: Arc::new(Semaphore::new(inner.limits.calls_out_max.max(1))),
            timers,
            schedules_changed: Notify::new(),
            stopping: CancellationToken::new(),
            loading: Semaphore::new(LOADING_MAX),
            check_lease: Notify::new(),
            check_flows: Notify::new(),
            flow_left: Notify::new(),
            flows: Mutex::default(),
            tenants: Mutex::default(),
            valid_until: Mutex::new(Instant::now() + inner.limits.lease_ttl),
        }
    }

    fn valid_until(&self) -> Instant {
        *self.valid_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody else can hold the lease now.
    pub(super) fn is_valid(&self) -> bool {
        !self.gone.is_cancelled() && Instant::now() < self.valid_until()
    }

    /// Something points at a lost lease or a flow that nobody drives.
    pub(super) fn look_again(&self) {
        self.check_lease.notify_one();
        self.check_flows.notify_one();
    }

    pub(super) fn find(&self, scope: &Scope, flow: &FlowId) -> Option<mpsc::Sender<Post>> {
        let flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        flows.get(&(scope.clone(), flow.clone())).cloned()
    }

    /// Takes the place of a flow, so that nobody else drives it. None when somebody does.
    pub(super) fn reserve(
        self: &Arc<Self>,
        scope: &Scope,
        flow: &FlowId,
        most: usize,
        posts: mpsc::Sender<Post>,
    ) -> Result<Option<Place>> {
        let mut flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (scope.clone(), flow.clone());
        if self.stopping.is_cancelled() || self.gone.is_cancelled() {
            return Err(Error::NotLeading);
        }
        if flows.contains_key(&key) {
            return Ok(None);
        }
        if flows.len() >= most {
            return Err(Error::Limit { what: "unfinished flows", limit: most as u64 });
        }
        flows.insert(key.clone(), posts);
        Ok(Some(Place { lead: Arc::clone(self), key }))
    }

    /// Waits until no flow is driven.
    async fn emptied(&self) {
        loop {
            let left = self.flow_left.notified();
            if self.flows.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                return;
            }
            left.await;
        }
    }

    pub(super) fn knows_tenant(&self, tenant: &Tenant) -> bool {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).contains(tenant)
    }
    pub(super) fn learn_tenant(&self, tenant: &Tenant) {
        let new = self.tenants.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone());
        if new {
            self.schedules_changed.notify_one(); // it may have some
        }
    }
    pub(super) fn tenants(&self) -> Vec<Tenant> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// The place of one driven flow; dropping it frees it.
#[derive(Debug)]
pub(super) struct Place {
    lead: Arc<Lead>,
    key: (Scope, FlowId),
}

impl Place {
    pub(super) fn lead(&self) -> &Arc<Lead> {
        &self.lead
    }
    pub(super) fn scope(&self) -> &Scope {
        &self.key.0
    }
    pub(super) fn flow(&self) -> &FlowId {
        &self.key.1
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lead.flows.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.lead.flow_left.notify_waiters();
    }
}

/// A flow ready to be driven: begun just now, or still to be loaded.
pub(super) enum Origin {
    Begun { machine: Box<Machine>, effects: Vec<Effect>, permits: Permits },
    Stored,
}

/// Slots taken for steps before they begin, by step.
pub(super) type Permits = HashMap<usize, OwnedSemaphorePermit>;
