//! What is published for others to read: an immutable picture, swapped as a whole.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base::{Scope, id::ReplicaId};
use delivery_api::{Check, Exit, Health, Replica, ReplicaState};
use gateway_api::Snapshot;
use runtime_api::Phase as Seen;

use super::live::{Live, ReplicaLive};
use crate::{
    decide::Phase,
    record::{ReleaseRecord, ServiceRecord},
};

/// Failures before it was ever ready that end a rollout.
const ROLLOUT_FAILURES_MAX: u32 = 3;
/// A rollout that takes longer has failed.
const ROLLOUT_TIME_MAX: Duration = Duration::from_secs(300);

/// How the change to the current revision goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    pub revision: Option<String>,
    /// All wanted replicas are ready and no old one is left.
    pub done: bool,
    /// It will not succeed, and why.
    pub failed: Option<String>,
}

/// One service as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceNow {
    pub record: Arc<ServiceRecord>,
    pub generation: u64,
    pub release: Option<Arc<ReleaseRecord>>,
    pub health: Health,
    pub reason: Option<String>,
    pub since: base::Timestamp,
    pub ready: u32,
    pub wanted: u32,
    pub replicas: Vec<Replica>,
    /// Replicas by id, with the job they run.
    pub ids: Vec<(ReplicaId, Option<String>)>,
    pub rollout: Rollout,
}

/// All services.
#[derive(Debug, Default, PartialEq)]
pub struct World {
    pub services: BTreeMap<(Scope, String), ServiceNow>,
    pub snapshot: Option<Snapshot>,
}

impl World {
    pub(crate) fn of<'a>(
        services: impl Iterator<Item = &'a Live>,
        snapshot: Option<&Snapshot>,
        now: Duration,
    ) -> Self {
        let services = services
            .map(|live| ((live.scope.clone(), live.record.name.clone()), now_of(live, now)))
            .collect();
        Self { services, snapshot: snapshot.cloned() }
    }

    #[must_use]
    pub fn service(&self, scope: &Scope, name: &str) -> Option<&ServiceNow> {
        self.services.get(&(scope.clone(), name.to_owned()))
    }
}

fn now_of(live: &Live, now: Duration) -> ServiceNow {
    ServiceNow {
        record: Arc::clone(&live.record),
        generation: live.generation,
        release: live.release.clone(),
        health: live.health,
        reason: live.reason.clone(),
        since: live.since,
        ready: live.serving(),
        wanted: live.wanted_replicas(),
        replicas: live.replicas.values().map(|replica| view(live, replica)).collect(),
        ids: live
            .replicas
            .iter()
            .map(|(id, replica)| (id.clone(), replica.job().map(str::to_owned)))
            .collect(),
        rollout: rollout(live, now),
    }
}

fn rollout(live: &Live, now: Duration) -> Rollout {
    let wanted = live.wanted_replicas();
    let revision = live.revision.clone();
    let old_left = live.replicas.values().any(|replica| {
        replica.job().is_none()
            && Some(&replica.revision) != revision.as_ref()
            && replica.phase() != Phase::Ended
    });
    let done = live.rolled_out && live.ready() >= wanted && !old_left;
    let failed = if live.rolled_out || live.blocked.is_some() {
        None
    } else if live.backoff.failures >= ROLLOUT_FAILURES_MAX {
        let last = live
            .start_problem
            .clone()
            .or_else(|| live.exits.last().map(|(_, exit)| format!("replica {}", exit.reason)));
        Some(last.unwrap_or_else(|| "its replicas end again and again".into()))
    } else if now.saturating_sub(live.rollout_since) > ROLLOUT_TIME_MAX {
        Some(format!(
            "not ready after {}s: {}",
            ROLLOUT_TIME_MAX.as_secs(),
            live.reason.clone().unwrap_or_default()
        ))
    } else {
        None
    };
    Rollout { revision, done, failed }
}

fn view(live: &Live, replica: &ReplicaLive) -> Replica {
    let state = match replica.phase() {
        Phase::Starting => ReplicaState::Starting,
        Phase::NotReady => ReplicaState::NotReady,
        Phase::Ready => ReplicaState::Ready,
        Phase::Draining { .. } | Phase::Stopping => ReplicaState::Stopping,
        Phase::Ended => match replica.observed.phase {
            Seen::Lost { .. } => ReplicaState::Lost,
            _ => ReplicaState::Exited,
        },
    };
    let (pid, since) = match &replica.observed.phase {
        Seen::Running { identity, since } | Seen::Stopping { identity, since } => {
            (Some(identity.pid), Some(*since))
        }
        Seen::Exited { exit } => (None, Some(exit.at)),
        _ => (None, None),
    };
    let exit = match &replica.observed.phase {
        Seen::Exited { exit } => Some(Exit {
            at: exit.at.to_string(),
            code: exit.code,
            signal: exit.signal,
            oom: exit.oom,
            reason: exit.reason.clone(),
        }),
        _ => None,
    };
    let memory_bytes_max = match &live.definition {
        Some(super::live::Definition::Service(service)) => {
            service.run.as_ref().and_then(|run| run.limits.memory).map(base::units::Bytes::get)
        }
        _ => None,
    };
    Replica {
        id: replica.observed.id.to_string(),
        release: replica.observed.release.to_string(),
        state,
        since: since.unwrap_or(live.since).to_string(),
        pid,
        port: replica.port(service_file::model::Run::PORT_MAIN),
        cpu_cores: (replica.cpu_cores * 1_000.0).round() / 1_000.0,
        memory_bytes: replica.observed.usage.memory_bytes,
        memory_bytes_max,
        processes: replica.observed.usage.processes,
        checks: replica
            .checks
            .iter()
            .map(|check| Check {
                name: check.role.name().to_owned(),
                ok: check.ok,
                failures: check.failures,
                message: check.message.as_ref().map(|why| match &check.said {
                    Some(said) => format!("{why}: {said}"),
                    None => why.clone(),
                }),
            })
            .collect(),
        exit,
        notes: replica.observed.notes.clone(),
    }
}
