//! One turn: decide for each service, act, publish routes, publish the world.

use std::{sync::Arc, time::Duration};

use base::{Problem, Scope, id::ReplicaId};
use delivery_api::ReleaseState;
use serde_json::json;
use state::{Commit, Key, Precondition};

use super::{
    Reconciler, Report, WORK_MAX, ends, health,
    live::{Definition, Drain, Role},
    routes,
    start::Start,
};
use crate::{
    books::{draft, put_release},
    decide::{self, Do, Phase, Seen, Wanted},
    probe::{self, Failed},
    record::{self, ReleaseRecord},
};

/// Requests of a leaving replica get so long to end.
const DRAIN_MAX: Duration = Duration::from_secs(15);
/// How long the gateway may take to serve new routes before a replica is stopped all the same.
const ROUTES_MAX: Duration = Duration::from_secs(3);
/// In-flight counts come once a second; an older one says nothing.
const IN_FLIGHT_AGE_MAX: Duration = Duration::from_secs(3);

impl Reconciler {
    pub(super) async fn turn(&mut self) {
        self.restore_routes().await;
        let known = self.reload().await;
        let seen = self.observe().await;
        if !self.looked {
            if !(known && seen && self.restored) {
                return;
            }
            self.looked = true;
            self.observe_at = Duration::ZERO; // Replicas without a record show now.
        }
        if self.shared.is_halted() {
            return;
        }
        self.note_progress().await;
        self.check();
        self.act();
        self.publish_routes().await;
        self.drain();
        self.publish_world();
    }

    /// Starts the checks that are due.
    fn check(&mut self) {
        let now = self.now();
        for live in self.services.values_mut() {
            for (id, replica) in &mut live.replicas {
                if !matches!(replica.phase(), Phase::Starting | Phase::NotReady | Phase::Ready) {
                    continue;
                }
                for index in replica.due(now) {
                    if self.working >= WORK_MAX {
                        return;
                    }
                    let check = &mut replica.checks[index];
                    let (probe, limit) = (check.probe.clone(), check.timeout);
                    let (driver, reports, id) =
                        (Arc::clone(&self.ports.driver), self.reports.clone(), id.clone());
                    let spawned =
                        self.ports.tasks.spawn_once(tasks::Kind::WORK, "health check", move |_| async move {
                            let result = probe::check(&probe, &id, &driver, limit).await;
                            let _ = reports.send(Report::Checked { replica: id, index, result }).await;
                        });
                    if spawned.is_ok() {
                        check.busy = true;
                        self.working += 1;
                    }
                }
            }
        }
    }

    /// Decides for each service and starts what is to do.
    fn act(&mut self) {
        let now = self.now();
        let keys: Vec<(Scope, String)> = self.services.keys().cloned().collect();
        for key in keys {
            let blocked = self.blocked(&key);
            let Some(live) = self.services.get_mut(&key) else { continue };
            live.blocked = blocked;
            let wanted = Wanted {
                revision: live.revision.clone().unwrap_or_default(),
                replicas: live.wanted_replicas(),
                blocked: live.blocked.clone(),
                exclusive: live.has_fixed_port(),
            };
            let mut seen: Vec<Seen> = live
                .replicas
                .iter()
                .filter(|(_, replica)| replica.job().is_none())
                .map(|(id, replica)| Seen {
                    id: id.clone(),
                    revision: replica.revision.clone(),
                    phase: replica.phase(),
                    hopeless: replica.hopeless.is_some(),
                })
                .collect();
            // Starts that are under way count as replicas that start.
            seen.extend((0..live.starting).map(|_| Seen {
                id: ReplicaId::new(),
                revision: wanted.revision.clone(),
                phase: Phase::Starting,
                hopeless: false,
            }));
            for what in decide::decide(&wanted, &seen, &live.backoff, now) {
                self.carry_out(&key, what, now);
            }
        }
    }

    /// Why a service must not start yet: a need of it is not ready. Once up, it is never held back.
    fn blocked(&self, key: &(Scope, String)) -> Option<String> {
        let live = self.services.get(key)?;
        if live.serving() > 0 {
            return None;
        }
        let Some(Definition::Service(service)) = &live.definition else { return None };
        for (need, wish) in &service.needs {
            let name = match &wish.kind {
                service_file::model::NeedKind::Service { service } => service.to_string(),
                _ => crate::planner::need_name(service.name.as_str(), need.as_str()),
            };
            let callee = self.services.get(&(key.0.clone(), name.clone()));
            if callee.is_none_or(|callee| callee.serving() == 0) {
                return Some(format!("waits for `{name}`"));
            }
        }
        None
    }

    fn carry_out(&mut self, key: &(Scope, String), what: Do, now: Duration) {
        match what {
            Do::Start { count } => self.start(key, count),
            Do::Drain(id) => {
                if let Some(replica) = self.services.get_mut(key).and_then(|live| live.replicas.get_mut(&id))
                {
                    replica.drain = Some(Drain { since: now, version: None, left_routes: None, done: false });
                }
            }
            Do::Stop(id) => self.stop(key, id),
            Do::Forget(id) => self.forget(key, id),
        }
    }

    fn start(&mut self, key: &(Scope, String), count: u32) {
        let Some(live) = self.services.get_mut(key) else { return };
        let (Some(release), Some(definition), Some(revision)) =
            (live.release.clone(), live.definition.clone(), live.revision.clone())
        else {
            return;
        };
        let start = Start {
            scope: live.scope.clone(),
            record: (*live.record).clone(),
            release: (*release).clone(),
            definition: Arc::new(definition),
            revision,
            job: None,
        };
        for _ in 0..count {
            let (start, ports, reports) = (start.clone(), self.ports.clone(), self.reports.clone());
            let spawned =
                self.ports.tasks.spawn_once(tasks::Kind::WORK, "start replica", move |_| async move {
                    let problem = start_one(&start, &ports).await.err();
                    let _ = reports
                        .send(Report::Started {
                            scope: start.scope,
                            service: start.record.name,
                            revision: start.revision,
                            count: 1,
                            problem,
                        })
                        .await;
                });
            if spawned.is_ok() {
                live.starting += 1;
            }
        }
    }

    fn stop(&mut self, key: &(Scope, String), id: ReplicaId) {
        let Some(replica) = self.services.get_mut(key).and_then(|live| live.replicas.get_mut(&id)) else {
            return;
        };
        if replica.stopping {
            return;
        }
        let (driver, reports) = (Arc::clone(&self.ports.driver), self.reports.clone());
        let spawned = self.ports.tasks.spawn_once(tasks::Kind::WORK, "stop replica", move |_| async move {
            let problem = driver.stop(id.clone()).await.err().map(|error| Problem::from_fault(&error));
            let _ = reports.send(Report::Stopped { replica: id, problem }).await;
        });
        replica.stopping = spawned.is_ok();
    }

    fn forget(&mut self, key: &(Scope, String), id: ReplicaId) {
        let Some(replica) = self.services.get_mut(key).and_then(|live| live.replicas.get_mut(&id)) else {
            return;
        };
        if !replica.accounted || replica.removing {
            return;
        }
        let (driver, reports) = (Arc::clone(&self.ports.driver), self.reports.clone());
        let (books, scope) = (self.books.clone(), key.0.clone());
        let spawned = self.ports.tasks.spawn_once(tasks::Kind::WORK, "remove replica", move |_| async move {
            // Stopping first ends whatever a lost supervisor left behind.
            let _ = driver.stop(id.clone()).await;
            let done = driver.remove(id.clone()).await.is_ok();
            if done {
                ends::unmark(&books, &scope, &id).await;
            }
            let _ = reports.send(Report::Removed { replica: id, done }).await;
        });
        replica.removing = spawned.is_ok();
    }

    pub(super) fn take(&mut self, report: Report) {
        let now = self.now();
        match report {
            Report::Checked { replica, index, result } => self.checked(&replica, index, result, now),
            Report::Started { scope, service, revision, count, problem } => {
                self.observe_at = Duration::ZERO;
                let Some(live) = self.services.get_mut(&(scope, service)) else { return };
                live.starting = live.starting.saturating_sub(count);
                if live.revision.as_deref() != Some(revision.as_str()) {
                    return;
                }
                live.start_problem = problem.map(|problem| match problem.hint {
                    Some(hint) => format!("{} ({hint})", problem.message),
                    None => problem.message,
                });
                if live.start_problem.is_some() {
                    live.backoff.failed(now);
                }
            }
            Report::Stopped { replica, problem } => {
                self.observe_at = Duration::ZERO;
                if let Some(problem) = problem {
                    tracing::warn!(%replica, %problem, "replica could not be stopped");
                    if let Some(replica) = self.replica(&replica) {
                        replica.stopping = false;
                    }
                }
            }
            Report::Removed { replica, done } => {
                self.observe_at = Duration::ZERO;
                if let (false, Some(replica)) = (done, self.replica(&replica)) {
                    replica.removing = false;
                }
            }
            Report::Samples(samples) => self.sampled(&samples),
            Report::GatewayVersion(version) => {
                self.gateway_asked = false;
                self.gateway_version = version;
            }
        }
    }

    fn replica(&mut self, id: &ReplicaId) -> Option<&mut super::live::ReplicaLive> {
        let key = self.owners.get(id)?;
        self.services.get_mut(key)?.replicas.get_mut(id)
    }

    fn checked(&mut self, id: &ReplicaId, index: usize, result: Result<(), Failed>, now: Duration) {
        self.working = self.working.saturating_sub(1);
        let Some(replica) = self.replica(id) else { return };
        let age = now.saturating_sub(replica.first_seen);
        let Some(check) = replica.checks.get_mut(index) else { return };
        check.take(result, age, now);
        if check.is_hopeless() && replica.hopeless.is_none() {
            let message = check.message.clone().unwrap_or_default();
            let name = check.role.name();
            replica.hopeless = Some(match check.role {
                Role::Liveness => format!("its {name} check failed {} times: {message}", check.failures),
                _ => format!("it did not become ready: {name} check: {message}"),
            });
        }
        match (replica.is_ready(), replica.ready_since) {
            (true, None) => replica.ready_since = Some(now),
            (false, Some(_)) => replica.ready_since = None,
            _ => {}
        }
    }

    fn sampled(&mut self, samples: &[gateway_api::Sample]) {
        let tenant = self.tenant().clone();
        if let Ok(mut window) = self.shared.window.lock() {
            for sample in samples.iter().filter(|sample| sample.scope.tenant == tenant) {
                window.add(sample);
            }
        }
        for sample in samples {
            if let Some(replica) = &sample.replica
                && self.owners.contains_key(replica)
            {
                self.in_flight.insert(replica.clone(), (sample.in_flight, sample.at));
            }
        }
        self.in_flight.retain(|replica, _| self.owners.contains_key(replica));
    }

    /// Publishes routes when they differ from the last ones.
    async fn publish_routes(&mut self) {
        let mut next = routes::snapshot(&self.ports, self.services.values(), &self.bindings);
        let last = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.version);
        next.version = last;
        if self.snapshot.as_ref() == Some(&next) {
            return;
        }
        next.version = last + 1;
        match self.ports.gateway.publish(next.clone()).await {
            Ok(()) => self.snapshot = Some(next),
            Err(problem) => tracing::warn!(%problem, "routes could not be published"),
        }
    }

    /// Moves leaving replicas on: out of the routes, then idle, then they may be stopped.
    fn drain(&mut self) {
        let now = self.now();
        let wall = self.ports.clock.now();
        let version = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.version);
        let serving = self.gateway_version;
        let mut waiting = false;
        for live in self.services.values_mut() {
            for (id, replica) in &mut live.replicas {
                let Some(drain) = &mut replica.drain else { continue };
                if drain.done {
                    continue;
                }
                let left_at_version = *drain.version.get_or_insert(version);
                let waited = now.saturating_sub(drain.since);
                if drain.left_routes.is_none() {
                    if serving >= left_at_version || waited >= ROUTES_MAX {
                        drain.left_routes = Some(now);
                    } else {
                        waiting = true;
                    }
                }
                if let Some(left) = drain.left_routes {
                    let busy = self
                        .in_flight
                        .get(id)
                        .is_some_and(|(count, at)| *count > 0 && wall.since(*at) < IN_FLIGHT_AGE_MAX);
                    // A request that was under way when the routes changed shows in the next second.
                    let settled = now.saturating_sub(left) >= Duration::from_millis(1_200);
                    drain.done = (settled && !busy) || waited >= DRAIN_MAX;
                }
            }
        }
        if waiting {
            self.ask_gateway();
        }
    }

    /// Marks the release of a finished rollout active, and the one before superseded.
    async fn note_progress(&mut self) {
        let mut finished = Vec::new();
        for (key, live) in &mut self.services {
            let wanted = live.wanted_replicas();
            let complete = live.revision.is_some() && live.ready() >= wanted && !live.record.removing;
            if complete && !live.rolled_out && (wanted > 0 || live.is_job() || live.record.replicas == 0) {
                live.rolled_out = true;
                if live.release.as_ref().is_some_and(|release| release.state == ReleaseState::Rolling) {
                    finished.push(key.clone());
                }
            }
            let now = self.ports.clock.monotonic();
            let stable = live.replicas.values().all(|replica| {
                replica.ready_since.is_some_and(|since| now.saturating_sub(since) >= decide::STABLE_AFTER)
            });
            if stable && live.backoff.failures > 0 && live.ready() >= wanted {
                live.backoff.succeeded();
            }
        }
        for key in finished {
            if let Err(problem) = self.activate(&key).await {
                tracing::warn!(service = key.1, %problem, "release could not be marked active");
                if let Some(live) = self.services.get_mut(&key) {
                    live.rolled_out = false;
                }
            }
        }
    }

    async fn activate(&mut self, key: &(Scope, String)) -> Result<(), Problem> {
        let Some(live) = self.services.get(key) else { return Ok(()) };
        let Some(current) = live.release.clone() else { return Ok(()) };
        let others = self.books.releases(&key.0, &key.1).await?;
        let mut commit = Commit::default();
        for before in
            others.iter().filter(|other| other.state == ReleaseState::Active && other.id != current.id)
        {
            let found = self.books.get::<ReleaseRecord>(&key.0, record::RELEASE, before.id.as_str()).await?;
            if let Some(found) = found {
                let record_key = Key::new(&key.0, record::RELEASE, before.id.as_str());
                commit.preconditions.push(Precondition::Version(record_key, found.version));
                commit.puts.push(put_release(
                    &key.0,
                    &ReleaseRecord { state: ReleaseState::Superseded, ..found.body },
                ));
            }
        }
        let active = ReleaseRecord { state: ReleaseState::Active, reason: None, ..(*current).clone() };
        commit.puts.push(put_release(&key.0, &active));
        commit.entries.push(draft(
            &self.ctx(live),
            "release.activated",
            live.record.entity.as_str(),
            format!("release {} of `{}` serves", active.number, active.service),
            json!({"release": active.id, "number": active.number, "replicas": live.record.replicas}),
        ));
        self.books.commit(commit).await?;
        if let Some(live) = self.services.get_mut(key) {
            live.release = Some(Arc::new(active));
        }
        Ok(())
    }

    fn publish_world(&mut self) {
        let (now, wall) = (self.now(), self.ports.clock.now());
        for live in self.services.values_mut() {
            health::judge(live, now, wall);
        }
        let world = super::World::of(self.services.values(), self.snapshot.as_ref(), now);
        if *self.shared.world.load_full() != world {
            self.shared.world.store(Arc::new(world));
            self.shared.changed.send_modify(|count| *count += 1);
        }
    }
}

/// Makes the specification and hands it to the driver.
pub(crate) async fn start_one(start: &Start, ports: &crate::ports::Ports) -> Result<ReplicaId, Problem> {
    let specification = start.specification(ports).await?;
    let id = specification.id.clone();
    ports.driver.start(specification).await.map_err(|error| Problem::from_fault(&error))?;
    Ok(id)
}
