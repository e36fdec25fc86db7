//! An entry: a CloudEvent (1.0) that a chain holds in place.

use base::{Actor, Environment, Tenant, Timestamp, id::EventId, scope::Cause};
use serde::{Deserialize, Serialize};

/// What a caller wants on record. The chain adds sequence, time and hashes at commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    pub id: EventId,
    pub tenant: Tenant,
    pub environment: Environment,
    /// CloudEvents type: `stead.<noun>.<verb>.v1`.
    pub kind: String,
    /// The entity the change is about: an entity id, or `kind/name` where it has none.
    pub subject: String,
    pub actor: Actor,
    #[serde(flatten)]
    pub cause: Cause,
    /// Why, in a sentence a person can read.
    pub why: String,
    /// `before` and `after` where something changed, and the evidence of a decision.
    pub body: serde_json::Value,
}

/// A draft with its place in the chain of its tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Position in the tenant's chain, from 1, without gaps. Order is this, never time.
    pub seq: u64,
    pub at: Timestamp,
    #[serde(flatten)]
    pub draft: Draft,
    /// SHA-256 of the canonical body; the body itself can be erased and the chain still proves.
    pub body_digest: String,
    /// Hash of the entry before; 64 zeros for the first.
    pub prev_hash: String,
    /// SHA-256 over the canonical header, which includes `body_digest` and `prev_hash`.
    pub hash: String,
}

/// The kind of the entry that records the erasure of a body.
pub const ERASED_KIND: &str = "stead.entry.erased.v1";

/// The subject of the entry that records the erasure of the body of entry `seq`.
#[must_use]
pub fn erased_subject(seq: u64) -> String {
    format!("entry/{seq}")
}

/// What stands in place of an erased body; `by` is the entry that records the erasure.
#[must_use]
pub fn erased_body(by: &EventId) -> serde_json::Value {
    serde_json::json!({ "$erased": by })
}

/// The entry that erased this body, where one did.
#[must_use]
pub fn erased_by(body: &serde_json::Value) -> Option<EventId> {
    let fields = body.as_object().filter(|fields| fields.len() == 1)?;
    EventId::parse(fields.get("$erased")?.as_str()?).ok()
}
