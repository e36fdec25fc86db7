//! What to do next with the replicas of one service: a pure decision from what is wanted and seen.
//!
//! A *revision* is a release plus a restart count: replicas of another revision are old. New ones are
//! started first; for each that is ready one old one may go. A replica that goes is first taken out of
//! the routes (`Drain`) and stopped when its requests have ended. Where a fixed port lets only one run
//! at a time it is the other way round.

use std::time::Duration;

use base::id::ReplicaId;

/// Failures in a row after which a service is said to be in a crash loop.
pub const CRASH_LOOP_AFTER: u32 = 5;
/// Longest wait between two starts.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A replica that was ready for so long clears the failures before it.
pub const STABLE_AFTER: Duration = Duration::from_secs(30);

/// What the records ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub revision: String,
    pub replicas: u32,
    /// Why nothing may start now, such as a need that is not ready. What runs goes on running.
    pub blocked: Option<String>,
    /// Only one may run at a time, because it listens on a fixed port: the old one ends first, and
    /// for that moment nothing serves.
    pub exclusive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Starting,
    NotReady,
    Ready,
    Draining {
        /// Its requests have ended, or have had their time.
        done: bool,
    },
    Stopping,
    Ended,
}

/// What is seen of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub id: ReplicaId,
    pub revision: String,
    pub phase: Phase,
    /// Its liveness check failed too often, or it did not get ready in time.
    pub hopeless: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Do {
    Start {
        count: u32,
    },
    /// Take it out of the routes and let its requests end.
    Drain(ReplicaId),
    Stop(ReplicaId),
    /// It ended and was accounted for.
    Forget(ReplicaId),
}

/// When the next start is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backoff {
    pub failures: u32,
    /// On the monotonic clock.
    pub not_before: Duration,
}

impl Backoff {
    /// A replica ended though it was wanted. The first is replaced at once.
    pub fn failed(&mut self, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + Self::wait(self.failures);
    }

    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    fn wait(failures: u32) -> Duration {
        match failures {
            0 | 1 => Duration::ZERO,
            more => Duration::from_millis(500).saturating_mul(1 << (more - 1).min(16)).min(BACKOFF_MAX),
        }
    }
}

/// Decides. `now` is monotonic.
#[must_use]
pub fn decide(wanted: &Wanted, seen: &[Seen], backoff: &Backoff, now: Duration) -> Vec<Do> {
    let mut todo = Vec::new();
    let mut current: Vec<&Seen> = Vec::new();
    let mut old: Vec<&Seen> = Vec::new();
    for replica in seen {
        match replica.phase {
            Phase::Ended => todo.push(Do::Forget(replica.id.clone())),
            Phase::Draining { done: true } => todo.push(Do::Stop(replica.id.clone())),
            Phase::Draining { done: false } | Phase::Stopping => {}
            _ if replica.hopeless => todo.push(Do::Stop(replica.id.clone())),
            _ if replica.revision == wanted.revision => current.push(replica),
            _ => old.push(replica),
        }
    }
    // The least useful come first: not ready before ready, then the youngest.
    current.sort_by_key(|replica| (replica.phase, std::cmp::Reverse(replica.id.clone())));
    old.sort_by_key(|replica| (replica.phase, replica.id.clone()));

    let replicas = wanted.replicas as usize;
    let surplus = current.len().saturating_sub(replicas);
    todo.extend(current.iter().take(surplus).map(|replica| Do::Drain(replica.id.clone())));
    let kept = &current[surplus.min(current.len())..];

    let ready = kept.iter().filter(|replica| replica.phase == Phase::Ready).count();
    let may_start = wanted.blocked.is_none() && now >= backoff.not_before;
    let may_stay = if wanted.exclusive && may_start { 0 } else { replicas.saturating_sub(ready) };
    let leaving = old.len().saturating_sub(may_stay);
    todo.extend(old.iter().take(leaving).map(|replica| Do::Drain(replica.id.clone())));

    let missing = replicas.saturating_sub(kept.len());
    let alive = seen.iter().filter(|replica| replica.phase != Phase::Ended).count();
    let free = !wanted.exclusive || alive == kept.len();
    if missing > 0 && may_start && free {
        todo.push(Do::Start { count: u32::try_from(missing).unwrap_or(u32::MAX) });
    }
    todo
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wanted(revision: &str, replicas: u32) -> Wanted {
        Wanted { revision: revision.into(), replicas, blocked: None, exclusive: false }
    }

    fn seen(revision: &str, phase: Phase) -> Seen {
        Seen { id: ReplicaId::new(), revision: revision.into(), phase, hopeless: false }
    }

    #[test]
    fn nothing_runs_so_all_start() {
        let todo = decide(&wanted("a", 3), &[], &Backoff::default(), Duration::ZERO);
        assert_eq!(todo, [Do::Start { count: 3 }]);
    }

    #[test]
    fn old_ones_serve_until_new_ones_are_ready() {
        let old = [seen("a", Phase::Ready), seen("a", Phase::Ready)];
        let mut all = old.to_vec();
        let todo = decide(&wanted("b", 2), &all, &Backoff::default(), Duration::ZERO);
        assert_eq!(todo, [Do::Start { count: 2 }]);
        all.push(seen("b", Phase::Ready));
        all.push(seen("b", Phase::Starting));
        let todo = decide(&wanted("b", 2), &all, &Backoff::default(), Duration::ZERO);
        assert_eq!(todo, [Do::Drain(old[0].id.clone())]);
    }

    #[test]
    fn a_failed_start_waits_longer_each_time() {
        let mut backoff = Backoff::default();
        backoff.failed(Duration::ZERO);
        assert_eq!(backoff.not_before, Duration::ZERO);
        let mut last = Duration::ZERO;
        for _ in 0..20 {
            backoff.failed(Duration::ZERO);
            assert!(backoff.not_before >= last && backoff.not_before <= BACKOFF_MAX);
            last = backoff.not_before;
        }
        assert_eq!(last, BACKOFF_MAX);
        assert_eq!(decide(&wanted("a", 1), &[], &backoff, Duration::from_secs(59)), []);
        assert_eq!(decide(&wanted("a", 1), &[], &backoff, Duration::from_secs(60)), [Do::Start { count: 1 }]);
    }

    #[test]
    fn where_only_one_may_run_the_old_one_ends_first() {
        let wanted = Wanted { exclusive: true, ..wanted("b", 1) };
        let mut old = seen("a", Phase::Ready);
        let decide = |seen: &[Seen]| decide(&wanted, seen, &Backoff::default(), Duration::ZERO);
        assert_eq!(decide(&[old.clone()]), [Do::Drain(old.id.clone())]);
        old.phase = Phase::Draining { done: false };
        assert_eq!(decide(&[old.clone()]), []);
        old.phase = Phase::Stopping;
        assert_eq!(decide(&[old.clone()]), []);
        old.phase = Phase::Ended;
        assert_eq!(decide(&[old.clone()]), [Do::Forget(old.id.clone()), Do::Start { count: 1 }]);
    }

    #[test]
    fn a_blocked_service_keeps_what_runs_and_starts_nothing() {
        let mut wanted = wanted("b", 1);
        wanted.blocked = Some("db is not ready".into());
        let all = [seen("a", Phase::Ready)];
        assert_eq!(decide(&wanted, &all, &Backoff::default(), Duration::ZERO), []);
    }

    fn phases() -> impl Strategy<Value = Phase> {
        prop_oneof![
            Just(Phase::Starting),
            Just(Phase::NotReady),
            Just(Phase::Ready),
            Just(Phase::Draining { done: false }),
            Just(Phase::Draining { done: true }),
            Just(Phase::Stopping),
            Just(Phase::Ended),
        ]
    }

    proptest! {
        /// Whatever is seen, a decision never takes ready replicas below what is wanted.
        #[test]
        fn serving_never_drops_below_wanted(
            replicas in 0u32..6,
            phases in prop::collection::vec((phases(), any::<bool>()), 0..12),
        ) {
            let all: Vec<_> = phases.iter().map(|(phase, new)| seen(if *new { "b" } else { "a" }, *phase)).collect();
            let todo = decide(&wanted("b", replicas), &all, &Backoff::default(), Duration::ZERO);
            let serving = |replica: &&Seen| replica.phase == Phase::Ready;
            let before = all.iter().filter(serving).count();
            let drained = todo.iter().filter(|what| match what {
                Do::Drain(id) => all.iter().any(|replica| replica.id == *id && replica.phase == Phase::Ready),
                _ => false,
            }).count();
            prop_assert!(before - drained >= before.min(replicas as usize));
        }

        /// Carried out again and again, decisions come to rest with exactly what is wanted.
        #[test]
        fn decisions_come_to_rest(replicas in 0u32..6, exclusive in any::<bool>(), phases in prop::collection::vec((phases(), any::<bool>()), 0..12)) {
            let mut all: Vec<_> = phases.iter().map(|(phase, new)| seen(if *new { "b" } else { "a" }, *phase)).collect();
            for _ in 0..60 {
                for what in decide(&Wanted { exclusive, ..wanted("b", replicas) }, &all, &Backoff::default(), Duration::ZERO) {
                    match what {
                        Do::Start { count } => (0..count).for_each(|_| all.push(seen("b", Phase::Starting))),
                        Do::Drain(id) => all.iter_mut().filter(|r| r.id == id).for_each(|r| r.phase = Phase::Draining { done: false }),
                        Do::Stop(id) => all.iter_mut().filter(|r| r.id == id).for_each(|r| r.phase = Phase::Stopping),
                        Do::Forget(id) => all.retain(|r| r.id != id),
                    }
                }
                for replica in &mut all {
                    replica.phase = match replica.phase {
                        Phase::Starting | Phase::NotReady | Phase::Ready => Phase::Ready,
                        Phase::Draining { .. } => Phase::Draining { done: true },
                        Phase::Stopping | Phase::Ended => Phase::Ended,
                    };
                }
            }
            prop_assert_eq!(all.len(), replicas as usize);
            prop_assert!(all.iter().all(|r| r.revision == "b" && r.phase == Phase::Ready));
        }
    }
}
