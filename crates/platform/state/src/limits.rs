//! The named limits of state. Reaching one is [`Error::Limit`] for that caller, never a crash.

use crate::port::{Commit, EntryQuery, Error, IndexTerm, Key, Precondition, Put, Result, Scan};

/// Puts, entries and messages of one commit together.
pub const COMMIT_WRITES_MAX: usize = 10_000;
/// One body (record, entry or message) as JSON text. Larger things go to the blob store.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// All bodies of one commit together.
pub const COMMIT_BYTES_MAX: usize = 32 << 20;
/// A kind, an id, a term's name or value, a subject, an actor, a correlation, each.
pub const KEY_BYTES_MAX: usize = 512;
/// The reason of an entry: a sentence or a few.
pub const REASON_BYTES_MAX: usize = 16 << 10;
/// Index terms of one record.
pub const TERMS_MAX: usize = 16;
/// Unacknowledged messages of one tenant.
pub const OUTBOX_MAX: u64 = 100_000;
/// Changes a watcher may lag behind before it misses some.
pub const WATCH_CHANGES_MAX: usize = 1_024;

/// Checks `commit` against the limits; gives the bytes of its bodies as JSON.
pub(crate) fn check_commit(commit: &Commit) -> Result<usize> {
    let writes = commit.preconditions.len() + commit.puts.len() + commit.entries.len() + commit.outbox.len();
    within("writes of a commit", writes, COMMIT_WRITES_MAX)?;
    let mut bytes = 0;
    let mut add = |what, body: &serde_json::Value| {
        let length = json_length(body);
        bytes += length;
        within(what, length, BODY_BYTES_MAX)
    };
    for put in &commit.puts {
        match put {
            Put::Put { key, body, index } => {
                check_key(key)?;
                within("index terms of a record", index.len(), TERMS_MAX)?;
                for term in index {
                    check_term(term)?;
                }
                add("bytes of a record's body", body)?;
            }
            Put::Remove(key) => check_key(key)?,
        }
    }
    for draft in &commit.entries {
        within("bytes of an entry's subject", draft.subject.len(), KEY_BYTES_MAX)?;
        within("bytes of an entry's kind", draft.kind.len(), KEY_BYTES_MAX)?;
        within("bytes of an entry's actor", draft.actor.as_str().len(), KEY_BYTES_MAX)?;
        within("bytes of an entry's correlation", draft.cause.correlation.len(), KEY_BYTES_MAX)?;
        within("bytes of an entry's reason", draft.why.len(), REASON_BYTES_MAX)?;
        add("bytes of an entry's body", &draft.body)?;
    }
    for (_, message) in &commit.outbox {
        within("bytes of a message's topic", message.topic.len(), KEY_BYTES_MAX)?;
        add("bytes of a message's body", &message.body)?;
    }
    for precondition in &commit.preconditions {
        match precondition {
            Precondition::Absent(key) | Precondition::Version(key, _) => check_key(key)?,
            Precondition::Fence { name, .. } => within("bytes of a lease's name", name.len(), KEY_BYTES_MAX)?,
        }
    }
    within("bytes of a commit", bytes, COMMIT_BYTES_MAX)?;
    Ok(bytes)
}

pub(crate) fn check_scan(scan: &Scan) -> Result<()> {
    within("limit of a scan", scan.limit, Scan::LIMIT_MAX)
}

pub(crate) fn check_query(query: &EntryQuery) -> Result<()> {
    within("limit of a query", query.limit, Scan::LIMIT_MAX)
}

fn check_key(key: &Key) -> Result<()> {
    if key.kind.is_empty() || key.id.is_empty() {
        return Err(Error::Invalid { why: "a key needs a kind and an id".into() });
    }
    within("bytes of a kind", key.kind.len(), KEY_BYTES_MAX)?;
    within("bytes of an id", key.id.len(), KEY_BYTES_MAX)
}

fn check_term(term: &IndexTerm) -> Result<()> {
    within("bytes of a term's name", term.name.len(), KEY_BYTES_MAX)?;
    within("bytes of a term's value", term.value.len(), KEY_BYTES_MAX)
}

pub(crate) fn within(what: &'static str, count: usize, limit: usize) -> Result<()> {
    if count <= limit { Ok(()) } else { Err(Error::Limit { what, limit: limit as u64 }) }
}

/// The length of `value` as JSON, without making the text.
fn json_length(value: &serde_json::Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    let _ = serde_json::to_writer(&mut count, value); // counting cannot fail
    count.0
}
