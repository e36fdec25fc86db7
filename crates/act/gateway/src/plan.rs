//! A snapshot made ready for the threads: checked, with open sockets and the shared health of
//! endpoints. Immutable; a change makes a new plan that shares what stayed the same.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use base::id::ReplicaId;
use gateway_api::{Endpoint, Route, Snapshot};

use crate::{
    limits::{EJECT_AFTER, EJECT_BASE, EJECT_CONNECT_WEIGHT, EJECT_MAX},
    listen::OpenListener,
};

#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) version: u64,
    pub(crate) listeners: Vec<Arc<OpenListener>>,
    pub(crate) routes: Vec<Arc<PlannedRoute>>,
}

#[derive(Debug)]
pub(crate) struct PlannedRoute {
    pub(crate) route: Route,
    /// In the order of the route's targets and their endpoints.
    pub(crate) health: Vec<Vec<Arc<Health>>>,
}

/// What all threads know of one endpoint. Written when something fails, read on every request.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failures: AtomicU32,
    ejections: AtomicU32,
    out_until_ms: AtomicU64,
    /// What the active check says.
    down: AtomicBool,
}

/// How a request to an endpoint went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    /// It answered 5xx, or broke off.
    Failed,
    /// There was no connection.
    Unreachable,
}

impl Health {
    pub(crate) fn available(&self, now_ms: u64) -> bool {
        !self.down.load(Relaxed) && self.out_until_ms.load(Relaxed) <= now_ms
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Relaxed);
    }

    /// Counts a result. Success forgives at once; an endpoint that comes back from ejection and
    /// fails again is out at once, for twice as long.
    pub(crate) fn note(&self, verdict: Verdict, now_ms: u64) {
        let weight = match verdict {
            Verdict::Good => {
                if self.failures.load(Relaxed) != 0 {
                    self.failures.store(0, Relaxed);
                    self.ejections.store(0, Relaxed);
                }
                return;
            }
            Verdict::Failed => 1,
            Verdict::Unreachable => EJECT_CONNECT_WEIGHT,
        };
        let failures = self.failures.fetch_add(weight, Relaxed).saturating_add(weight);
        if failures < EJECT_AFTER || self.out_until_ms.load(Relaxed) > now_ms {
            return;
        }
        let times = self.ejections.fetch_add(1, Relaxed);
        let out = EJECT_BASE.saturating_mul(1 << times.min(16)).min(EJECT_MAX);
        self.out_until_ms.store(now_ms + millis(out), Relaxed);
        self.failures.store(EJECT_AFTER - 1, Relaxed);
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Health by endpoint, kept from plan to plan.
pub(crate) type HealthMap = HashMap<(ReplicaId, SocketAddr), Arc<Health>>;

/// The routes of a snapshot; what is wrong with one is told in `problems`, and it is left out.
pub(crate) fn routes(
    snapshot: &Snapshot,
    before: &Plan,
    known: &mut HealthMap,
    problems: &mut Vec<String>,
) -> Vec<Arc<PlannedRoute>> {
    let listeners: HashSet<&str> = snapshot.listeners.iter().map(|listener| &*listener.name).collect();
    let old: HashMap<&str, &Arc<PlannedRoute>> =
        before.routes.iter().map(|planned| (&*planned.route.name, planned)).collect();
    let mut matches = HashSet::new();
    let mut planned = Vec::with_capacity(snapshot.routes.len());
    for route in &snapshot.routes {
        let host = route.host.as_ref().map(|host| host.to_ascii_lowercase());
        if !listeners.contains(&*route.listener) {
            problems.push(format!("route {}: there is no listener {:?}", route.name, route.listener));
        } else if !route.path.starts_with('/') {
            problems.push(format!("route {}: the path {:?} does not start with /", route.name, route.path));
        } else if !matches.insert((&route.listener, host, route.path.trim_end_matches('/'))) {
            problems.push(format!("route {}: an earlier route has the same host and path", route.name));
        } else {
            match old.get(&*route.name) {
                Some(same) if same.route == *route => planned.push(Arc::clone(same)),
                _ => planned.push(Arc::new(plan_route(route, known))),
            }
        }
    }
    let live: HashSet<*const Health> =
        planned.iter().flat_map(|planned| planned.health.iter().flatten().map(Arc::as_ptr)).collect();
    known.retain(|_, health| live.contains(&Arc::as_ptr(health)));
    planned
}

fn plan_route(route: &Route, known: &mut HealthMap) -> PlannedRoute {
    let mut of =
        |endpoint: &Endpoint| known.entry((endpoint.replica.clone(), endpoint.address)).or_default().clone();
    let health = route.targets.iter().map(|target| target.endpoints.iter().map(&mut of).collect()).collect();
    PlannedRoute { route: route.clone(), health }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ejection_needs_failures_in_a_row() {
        let health = Health::default();
        for _ in 0..10 {
            for _ in 1..EJECT_AFTER {
                health.note(Verdict::Failed, 0);
            }
            health.note(Verdict::Good, 0);
        }
        assert!(health.available(0));
        for _ in 0..EJECT_AFTER {
            health.note(Verdict::Failed, 0);
        }
        assert!(!health.available(0));
    }

    #[test]
    fn the_time_out_doubles_to_its_maximum_and_success_resets_it() {
        let health = Health::default();
        let mut now_ms = 0;
        let mut outs = Vec::new();
        for _ in 0..8 {
            while health.available(now_ms) {
                health.note(Verdict::Unreachable, now_ms);
            }
            let from = now_ms;
            while !health.available(now_ms) {
                now_ms += 100;
            }
            outs.push((now_ms - from) / 1_000);
        }
        assert_eq!(outs, [1, 2, 4, 8, 16, 30, 30, 30]);
        health.note(Verdict::Good, now_ms);
        for _ in 0..2 {
            health.note(Verdict::Unreachable, now_ms);
        }
        assert!(health.available(now_ms + 1_000));
    }

    #[test]
    fn failures_while_out_do_not_lengthen_it() {
        let health = Health::default();
        for _ in 0..100 {
            health.note(Verdict::Failed, 0);
        }
        assert!(health.available(1_000));
    }
}
