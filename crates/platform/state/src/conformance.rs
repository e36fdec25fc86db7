//! The suite that every back end of [`State`] passes.
//!
//! ```ignore
//! async fn make(clock: Arc<ManualClock>) -> state::conformance::Fixture { … }
//! state::conformance!(make);
//! ```
//! Each case gets a fresh back end; the crate that calls the macro needs tokio with `macros` and
//! `rt-multi-thread`.

// Cases are tests: they say what they expected by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod cases;

use std::{any::Any, sync::Arc};

use base::{Actor, Cause, Scope, Tenant, id::EventId};
use ledger::Draft;
use serde_json::Value;

use crate::port::{Commit, Key, Put, State};

/// A fresh back end and what must live as long as it (a folder, a server).
#[derive(Debug)]
pub struct Fixture {
    pub state: Arc<dyn State>,
    pub guard: Box<dyn GuardBounds>,
}

/// Anything that can stand in [`Fixture::guard`].
pub trait GuardBounds: Any + Send + std::fmt::Debug {}
impl<T: Any + Send + std::fmt::Debug> GuardBounds for T {}

impl Fixture {
    pub fn new(state: impl State + 'static, guard: impl GuardBounds) -> Self {
        Self { state: Arc::new(state), guard: Box::new(guard) }
    }
}

/// Makes one test per case; `$make` is `async fn(Arc<ManualClock>) -> Fixture`.
#[macro_export]
macro_rules! conformance {
    ($make:path) => {
        $crate::conformance! { @ $make:
            absent_records_are_none
            puts_count_versions
            a_removed_key_begins_again
            preconditions_hold
            a_refused_commit_writes_nothing
            a_commit_puts_one_key_twice
            scans_page_in_order
            scans_find_terms
            scans_filter_environments
            tenants_are_apart
            leases_change_hands
            leases_fence_writes
            leases_survive_a_clock_that_jumps
            watchers_hear_commits_in_order
            entries_chain
            entries_filter_both_ways
            entries_of_a_time
            the_outbox_delivers_until_acknowledged
            concurrent_commits_lose_nothing
            one_winner_per_version
            a_clock_going_back_keeps_the_order
            limits_are_errors
            bodies_come_back_as_they_were
        }
    };
    (@ $make:path: $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::conformance::cases::$case($crate::conformance::fixture_of($make).await).await;
            }
        )*
    };
}

/// A fixture and the clock it runs by. Used by [`crate::conformance!`].
pub async fn fixture_of<F: Future<Output = Fixture>>(
    make: impl Fn(Arc<base::time::ManualClock>) -> F,
) -> (Fixture, Arc<base::time::ManualClock>) {
    let clock = Arc::new(base::time::ManualClock::at(base::Timestamp::from_millis(1_700_000_000_000)));
    (make(Arc::clone(&clock)).await, clock)
}

/// A scope for tests.
#[must_use]
pub fn scope(tenant: &str, environment: &str) -> Scope {
    Scope {
        tenant: Tenant::parse(tenant).unwrap(),
        environment: base::Environment::parse(environment).unwrap(),
    }
}

/// A draft for tests.
#[must_use]
pub fn draft(scope: &Scope, kind: &str, subject: &str, body: Value) -> Draft {
    Draft {
        id: EventId::new(),
        tenant: scope.tenant.clone(),
        environment: scope.environment.clone(),
        kind: kind.into(),
        subject: subject.into(),
        actor: Actor::user("ada"),
        cause: Cause { correlation: "corr".into(), causation: None },
        why: "a test".into(),
        body,
    }
}

/// A commit of one put without index terms.
#[must_use]
pub fn put(key: &Key, body: Value) -> Commit {
    Commit { puts: vec![Put::Put { key: key.clone(), body, index: Vec::new() }], ..Commit::default() }
}
