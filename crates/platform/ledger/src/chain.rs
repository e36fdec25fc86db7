//! How a draft gets its place in a chain.

use base::Timestamp;

use crate::{
    canonical::{self, Hash},
    entry::{Draft, Entry},
};

/// The end of one tenant's chain: the sequence and hash of its last entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// 0 for an empty chain.
    pub seq: u64,
    /// Zeros for an empty chain.
    pub hash: Hash,
}

impl Head {
    /// The head that `entry` makes; none when its hash is malformed.
    #[must_use]
    pub fn at(entry: &Entry) -> Option<Self> {
        Some(Self { seq: entry.seq, hash: canonical::parse_hash(&entry.hash)? })
    }

    /// Puts `draft` after this head, and moves the head onto it.
    pub fn append(&mut self, at: Timestamp, draft: Draft) -> Entry {
        let mut entry = Entry {
            seq: self.seq + 1,
            at,
            body_digest: canonical::hash_text(&canonical::body_digest(&draft.body)),
            draft,
            prev_hash: canonical::hash_text(&self.hash),
            hash: String::new(),
        };
        // Both hashes were just written by `hash_text`, so the header exists.
        let hash = canonical::entry_hash(&entry).unwrap_or_default();
        entry.hash = canonical::hash_text(&hash);
        *self = Self { seq: entry.seq, hash };
        entry
    }
}

#[cfg(test)]
mod tests {
    use base::{Actor, Cause, Environment, Tenant, id::EventId};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_byte_form_is_frozen() {
        let draft = Draft {
            id: EventId::parse("evt_0193a0b0c0d0e0f00112233445566778").unwrap(),
            tenant: Tenant::default(),
            environment: Environment::default(),
            kind: "stead.release.created.v1".into(),
            subject: "service/checkout".into(),
            actor: Actor::user("ada"),
            cause: Cause { correlation: "c1".into(), causation: None },
            why: "a new commit".into(),
            body: json!({"b": 1, "a": [true, null, 1.5]}),
        };
        let mut head = Head::default();
        let first = head.append(Timestamp::from_nanos(1_700_000_000_000_000_000), draft.clone());
        assert_eq!(first.prev_hash, "0".repeat(64));
        assert_eq!(
            first.body_digest,
            canonical::hash_text(&canonical::body_digest(&json!({"a": [true, null, 1.5], "b": 1})))
        );
        // If one of these changes, old ledgers no longer verify: make a new header version instead.
        assert_eq!(first.hash, "86e2dfb6a5e9ef48643b9689ff3964e34dbfd86964d4d51afda4b34f25510408");
        let mut caused = draft;
        caused.cause.causation = Some(first.draft.id.clone());
        let second = head.append(Timestamp::from_nanos(-1), caused);
        assert_eq!((second.seq, &second.prev_hash), (2, &first.hash));
        assert_eq!(second.hash, "997d5f73010ff5176a31f9aff03e219ea82bd1e63bc51163686b64dfe76d0894");
    }
}
