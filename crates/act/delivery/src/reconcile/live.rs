//! What the reconciler knows of each service and replica while it runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base::{Scope, Timestamp, id::ReplicaId};
use delivery_api::Health;
use ledger::Draft;
use runtime_api::{Exit, Observed, Phase};
use service_file::model::Service;

use crate::{
    decide::{self, Backoff},
    need::Need,
    probe::Probe,
    record::{ReleaseRecord, ServiceRecord},
};

/// Names of the labels that a replica carries.
pub(crate) const LABEL_REVISION: &str = "revision";
pub(crate) const LABEL_JOB: &str = "job";
pub(crate) const LABEL_PORT_PREFIX: &str = "port.";
/// Which version of a need's password the replica was given, so that none loses what it signs in with.
pub(crate) const LABEL_PASSWORD_PREFIX: &str = "password.";
/// Exits that are remembered per service.
pub(crate) const EXITS_KEPT: usize = 10;

/// What a release says, read.
#[derive(Debug, Clone)]
pub(crate) enum Definition {
    Service(Box<Service>),
    Need(Need),
}

/// One service with its replicas.
#[derive(Debug)]
pub(crate) struct Live {
    pub scope: Scope,
    pub record: Arc<ServiceRecord>,
    pub generation: u64,
    pub release: Option<Arc<ReleaseRecord>>,
    pub definition: Option<Definition>,
    pub replicas: BTreeMap<ReplicaId, ReplicaLive>,
    pub backoff: Backoff,
    /// Revision that the backoff and the rollout are about.
    pub revision: Option<String>,
    pub rollout_since: Duration,
    /// All wanted replicas of the revision were ready once.
    pub rolled_out: bool,
    /// Replicas of `OnFailure` and `Never` services that ended for good.
    pub completed: u32,
    pub blocked: Option<String>,
    /// Why the latest start failed before there was a replica.
    pub start_problem: Option<String>,
    pub starting: u32,
    pub exits: Vec<(ReplicaId, Exit)>,
    pub health: Health,
    pub reason: Option<String>,
    pub since: Timestamp,
}

impl Live {
    pub(crate) fn new(scope: Scope, record: ServiceRecord, generation: u64, now: Timestamp) -> Self {
        Self {
            scope,
            record: Arc::new(record),
            generation,
            release: None,
            definition: None,
            replicas: BTreeMap::new(),
            backoff: Backoff::default(),
            revision: None,
            rollout_since: Duration::ZERO,
            rolled_out: false,
            completed: 0,
            blocked: None,
            start_problem: None,
            starting: 0,
            exits: Vec::new(),
            health: Health::Stopped,
            reason: None,
            since: now,
        }
    }

    /// Replicas that should run.
    pub(crate) fn wanted_replicas(&self) -> u32 {
        if self.record.removing || self.record.release.is_none() || self.definition.is_none() || self.is_job()
        {
            return 0;
        }
        self.record.replicas.saturating_sub(self.completed)
    }

    pub(crate) fn is_job(&self) -> bool {
        match &self.definition {
            Some(Definition::Service(service)) => {
                service.run.as_ref().is_none_or(|run| run.kind == service_file::model::Kind::Job)
            }
            _ => false,
        }
    }

    /// Whether its file names the number of a port, which two replicas cannot share.
    pub(crate) fn has_fixed_port(&self) -> bool {
        match &self.definition {
            Some(Definition::Service(service)) => {
                service.run.iter().flat_map(|run| run.ports.values()).any(|port| port.number.is_some())
            }
            Some(Definition::Need(_)) => true,
            None => false,
        }
    }

    /// Replicas of the current revision that take requests.
    pub(crate) fn ready(&self) -> u32 {
        let current = self.revision.as_deref();
        let count = self
            .replicas
            .values()
            .filter(|replica| {
                replica.phase() == decide::Phase::Ready && Some(replica.revision.as_str()) == current
            })
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Replicas of any revision that take requests.
    pub(crate) fn serving(&self) -> u32 {
        let count = self.replicas.values().filter(|replica| replica.phase() == decide::Phase::Ready).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// Why a check is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Startup,
    Readiness,
    Liveness,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        }
    }
}

/// One check of one replica.
#[derive(Debug)]
pub(crate) struct CheckLive {
    pub role: Role,
    pub probe: Probe,
    pub interval: Duration,
    pub timeout: Duration,
    pub start_period: Duration,
    pub threshold: u32,
    pub success_threshold: u32,
    pub failures: u32,
    pub successes: u32,
    pub ok: bool,
    pub ever_ok: bool,
    /// Why it fails, in Stead's words: it goes into reasons, and so on record.
    pub message: Option<String>,
    /// What its command printed, for those who look now.
    pub said: Option<String>,
    pub next_at: Duration,
    pub busy: bool,
}

/// One replica.
#[derive(Debug)]
pub(crate) struct ReplicaLive {
    pub observed: Observed,
    pub revision: String,
    pub first_seen: Duration,
    pub checks: Vec<CheckLive>,
    pub drain: Option<Drain>,
    pub stopping: bool,
    pub hopeless: Option<String>,
    /// Its end was taken in.
    pub counted: bool,
    /// What the ledger has still to be told of its end.
    pub end: Option<Draft>,
    /// Its end is on the ledger, or belongs to none: it may be forgotten.
    pub accounted: bool,
    pub removing: bool,
    pub ready_since: Option<Duration>,
    pub cpu_cores: f64,
    pub cpu_seen: Option<(u64, Duration)>,
}

/// A replica on its way out of the routes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drain {
    pub since: Duration,
    /// The first snapshot without it; none while it is not published yet.
    pub version: Option<u64>,
    /// When the gateway was seen to serve that snapshot.
    pub left_routes: Option<Duration>,
    pub done: bool,
}

impl ReplicaLive {
    pub(crate) fn new(observed: Observed, now: Duration) -> Self {
        let revision = observed.labels.get(LABEL_REVISION).cloned().unwrap_or_default();
        Self {
            observed,
            revision,
            first_seen: now,
            checks: Vec::new(),
            drain: None,
            stopping: false,
            hopeless: None,
            counted: false,
            end: None,
            accounted: false,
            removing: false,
            ready_since: None,
            cpu_cores: 0.0,
            cpu_seen: None,
        }
    }

    pub(crate) fn port(&self, name: &str) -> Option<u16> {
        self.observed.labels.get(&format!("{LABEL_PORT_PREFIX}{name}"))?.parse().ok()
    }

    pub(crate) fn job(&self) -> Option<&str> {
        self.observed.labels.get(LABEL_JOB).map(String::as_str)
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.observed.phase, Phase::Running { .. })
            && self.checks.iter().filter(|check| check.role != Role::Liveness).all(|check| check.ok)
    }

    pub(crate) fn phase(&self) -> decide::Phase {
        if self.removing {
            return decide::Phase::Stopping;
        }
        match &self.observed.phase {
            Phase::Exited { .. } | Phase::Lost { .. } => decide::Phase::Ended,
            Phase::Stopping { .. } => decide::Phase::Stopping,
            _ if self.stopping => decide::Phase::Stopping,
            Phase::Starting => decide::Phase::Starting,
            Phase::Running { .. } => match self.drain {
                Some(drain) => decide::Phase::Draining { done: drain.done },
                None if self.is_ready() => decide::Phase::Ready,
                None if self.checks.iter().any(|check| check.role != Role::Liveness && check.ever_ok) => {
                    decide::Phase::NotReady
                }
                None => decide::Phase::Starting,
            },
        }
    }

    pub(crate) fn see(&mut self, observed: Observed, now: Duration) {
        let cpu_us = observed.usage.cpu_us;
        if let Some((before_us, before_at)) = self.cpu_seen {
            let passed = now.saturating_sub(before_at).as_secs_f64();
            if passed > 0.5 {
                self.cpu_cores = cpu_us.saturating_sub(before_us) as f64 / 1e6 / passed;
                self.cpu_seen = Some((cpu_us, now));
            }
        } else {
            self.cpu_seen = Some((cpu_us, now));
        }
        self.observed = observed;
        match (self.is_ready(), self.ready_since) {
            (true, None) => self.ready_since = Some(now),
            (false, Some(_)) => self.ready_since = None,
            _ => {}
        }
    }
}
