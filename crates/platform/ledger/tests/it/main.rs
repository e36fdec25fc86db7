//! The ledger from outside: what tampering looks like, and what checkpoints add.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod checkpoints;
mod tampering;

use base::{Actor, Cause, Environment, Tenant, Timestamp, id::EventId};
use ledger::{Draft, Entry, Head};
use serde_json::json;

pub(crate) fn draft(n: usize) -> Draft {
    Draft {
        id: EventId::new(),
        tenant: Tenant::default(),
        environment: Environment::default(),
        kind: "stead.service.changed.v1".into(),
        subject: format!("service/{n}"),
        actor: Actor::user("ada"),
        cause: Cause { correlation: format!("c{n}"), causation: None },
        why: format!("change {n}"),
        body: json!({ "before": { "n": n }, "after": { "n": n + 1 } }),
    }
}

pub(crate) fn chain(length: usize) -> Vec<Entry> {
    let mut head = Head::default();
    (0..length).map(|n| head.append(Timestamp::from_millis(n as i64), draft(n))).collect()
}

/// All hashes of `entries` computed anew, as one who can write everything would.
pub(crate) fn recompute(entries: &[Entry]) -> Vec<Entry> {
    let mut head = Head::default();
    entries.iter().map(|e| head.append(e.at, e.draft.clone())).collect()
}
