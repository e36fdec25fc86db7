//! What one write does, inside the savepoint that the writer opened for it.

use std::time::Duration;

use base::{Tenant, Timestamp};
use ledger::{Draft, Entry, Head, canonical};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    fault::{damaged, from_sql},
    read,
};
use crate::{
    limits,
    memory::describe,
    port::{Change, Commit, Committed, Error, IndexTerm, Key, Lease, Message, Precondition, Put, Result},
};

pub(super) fn commit(connection: &Connection, commit: Commit, now: Timestamp) -> Result<(Committed, Change)> {
    for precondition in &commit.preconditions {
        check(connection, precondition)?;
    }
    let mut versions = Vec::with_capacity(commit.puts.len());
    let mut keys = Vec::with_capacity(commit.puts.len());
    for write in commit.puts {
        match write {
            Put::Put { key, body, index } => {
                versions.push(put(connection, &key, &body, &index, now)?);
                keys.push(key);
            }
            Put::Remove(key) => {
                remove(connection, &key)?;
                versions.push(0);
                keys.push(key);
            }
        }
    }
    let mut entries = Vec::with_capacity(commit.entries.len());
    for draft in commit.entries {
        entries.push(append(connection, draft, now)?);
    }
    for (tenant, message) in &commit.outbox {
        send(connection, tenant, message)?;
    }
    let change = Change { keys: keys.into(), entries: entries.clone().into() };
    Ok((Committed { versions, entries }, change))
}

fn check(connection: &Connection, precondition: &Precondition) -> Result<()> {
    let (met, what) = match precondition {
        Precondition::Absent(key) => (version_and_terms(connection, key)?.is_none(), describe(key)),
        Precondition::Version(key, version) => {
            (version_and_terms(connection, key)?.is_some_and(|(found, _)| found == *version), describe(key))
        }
        Precondition::Fence { tenant, name, token } => {
            let held = granted(connection, tenant, name)?;
            (held.is_some_and(|held| held.token == *token), format!("lease {name:?}"))
        }
    };
    if met { Ok(()) } else { Err(Error::Conflict { what }) }
}

fn version_and_terms(connection: &Connection, key: &Key) -> Result<Option<(u64, String)>> {
    connection
        .prepare_cached(
            "SELECT version, terms FROM record
             WHERE tenant = ?1 AND kind = ?2 AND id = ?3 AND environment = ?4",
        )
        .and_then(|mut s| s.query_row(place(key), |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(from_sql)
}

fn place(key: &Key) -> (&str, &str, &str, &str) {
    (key.scope.tenant.as_str(), &key.kind, &key.id, key.scope.environment.as_str())
}

fn put(
    connection: &Connection,
    key: &Key,
    body: &serde_json::Value,
    index: &[IndexTerm],
    now: Timestamp,
) -> Result<u64> {
    let before = version_and_terms(connection, key)?;
    let terms = read::terms_to_text(index);
    let version = before.as_ref().map_or(1, |(version, _)| version + 1);
    let (tenant, kind, id, environment) = place(key);
    connection
        .prepare_cached(
            "INSERT INTO record (tenant, kind, id, environment, version, updated_at, terms, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (tenant, kind, id, environment) DO UPDATE
             SET version = ?5, updated_at = ?6, terms = ?7, body = ?8",
        )
        .and_then(|mut s| {
            let body = body.to_string();
            s.execute(params![tenant, kind, id, environment, version, now.nanos(), terms, body])
        })
        .map_err(from_sql)?;
    match before {
        Some((_, old)) if old == terms => {}
        Some((_, old)) => {
            remove_terms(connection, key, &old)?;
            add_terms(connection, key, index)?;
        }
        None => add_terms(connection, key, index)?,
    }
    Ok(version)
}

fn add_terms(connection: &Connection, key: &Key, index: &[IndexTerm]) -> Result<()> {
    let (tenant, kind, id, environment) = place(key);
    for IndexTerm { name, value } in index {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO term (tenant, kind, name, value, id, environment)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .and_then(|mut s| s.execute((tenant, kind, name, value, id, environment)))
            .map_err(from_sql)?;
    }
    Ok(())
}

fn remove_terms(connection: &Connection, key: &Key, terms: &str) -> Result<()> {
    let (tenant, kind, id, environment) = place(key);
    for IndexTerm { name, value } in read::terms_from_text(terms)? {
        connection
            .prepare_cached(
                "DELETE FROM term WHERE tenant = ?1 AND kind = ?2 AND name = ?3 AND value = ?4
                 AND id = ?5 AND environment = ?6",
            )
            .and_then(|mut s| s.execute((tenant, kind, name, value, id, environment)))
            .map_err(from_sql)?;
    }
    Ok(())
}

fn remove(connection: &Connection, key: &Key) -> Result<()> {
    let Some((_, terms)) = version_and_terms(connection, key)? else { return Ok(()) };
    remove_terms(connection, key, &terms)?;
    connection
        .prepare_cached("DELETE FROM record WHERE tenant = ?1 AND kind = ?2 AND id = ?3 AND environment = ?4")
        .and_then(|mut s| s.execute(place(key)))
        .map(drop)
        .map_err(from_sql)
}

fn append(connection: &Connection, draft: Draft, now: Timestamp) -> Result<Entry> {
    let mut head = head(connection, &draft.tenant)?;
    let entry = head.append(now, draft);
    let draft = &entry.draft;
    connection
        .prepare_cached(
            "INSERT INTO entry (tenant, seq, at, environment, id, kind, subject, actor, correlation,
                 causation, why, body, body_digest, prev_hash, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )
        .and_then(|mut s| {
            s.execute(params![
                draft.tenant.as_str(),
                entry.seq,
                entry.at.nanos(),
                draft.environment.as_str(),
                draft.id.as_str(),
                draft.kind,
                draft.subject,
                draft.actor.as_str(),
                draft.cause.correlation,
                draft.cause.causation.as_ref().map(|c| c.as_str()),
                draft.why,
                draft.body.to_string(),
                entry.body_digest,
                entry.prev_hash,
                entry.hash,
            ])
        })
        .map_err(from_sql)?;
    Ok(entry)
}

fn head(connection: &Connection, tenant: &Tenant) -> Result<Head> {
    let last: Option<(u64, String)> = connection
        .prepare_cached("SELECT seq, hash FROM entry WHERE tenant = ?1 ORDER BY seq DESC LIMIT 1")
        .and_then(|mut s| s.query_row([tenant.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(from_sql)?;
    let Some((seq, hash)) = last else { return Ok(Head::default()) };
    let hash = canonical::parse_hash(&hash)
        .ok_or_else(|| damaged(format!("entry {seq} of tenant {tenant} has no proper hash")))?;
    Ok(Head { seq, hash })
}

/// Replaces the body of entry `seq` and records that it did.
pub(super) fn erase(
    connection: &Connection,
    tenant: &Tenant,
    seq: u64,
    draft: Draft,
    now: Timestamp,
) -> Result<(Entry, Change)> {
    if draft.tenant != *tenant
        || draft.kind != ledger::ERASED_KIND
        || draft.subject != ledger::erased_subject(seq)
    {
        let why = format!(
            "the record of an erasure is of kind {} about {} in the same tenant",
            ledger::ERASED_KIND,
            ledger::erased_subject(seq)
        );
        return Err(Error::Invalid { why });
    }
    let body = ledger::erased_body(&draft.id).to_string();
    let changed = connection
        .execute(
            "UPDATE entry SET body = ?1 WHERE tenant = ?2 AND seq = ?3",
            params![body, tenant.as_str(), seq],
        )
        .map_err(from_sql)?;
    if changed == 0 {
        return Err(Error::Invalid { why: format!("tenant {tenant} has no entry {seq}") });
    }
    let entry = append(connection, draft, now)?;
    let change = Change { keys: [].into(), entries: [entry.clone()].into() };
    Ok((entry, change))
}

fn send(connection: &Connection, tenant: &Tenant, message: &Message) -> Result<()> {
    let (seq, waiting): (u64, u64) = connection
        .prepare_cached(
            "INSERT INTO outbox (tenant, seq, waiting) VALUES (?1, 1, 1)
             ON CONFLICT (tenant) DO UPDATE SET seq = seq + 1, waiting = waiting + 1
             RETURNING seq, waiting",
        )
        .and_then(|mut s| s.query_row([tenant.as_str()], |row| Ok((row.get(0)?, row.get(1)?))))
        .map_err(from_sql)?;
    if waiting > limits::OUTBOX_MAX {
        return Err(Error::Limit { what: "unacknowledged messages of a tenant", limit: limits::OUTBOX_MAX });
    }
    connection
        .prepare_cached("INSERT INTO message (tenant, seq, topic, body) VALUES (?1, ?2, ?3, ?4)")
        .and_then(|mut s| s.execute(params![tenant.as_str(), seq, message.topic, message.body.to_string()]))
        .map(drop)
        .map_err(from_sql)
}

pub(super) fn acknowledge(connection: &Connection, tenant: &Tenant, seq: u64) -> Result<()> {
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    let forgotten = connection
        .prepare_cached("DELETE FROM message WHERE tenant = ?1 AND seq <= ?2")
        .and_then(|mut s| s.execute(params![tenant.as_str(), seq]))
        .map_err(from_sql)?;
    if forgotten > 0 {
        connection
            .prepare_cached("UPDATE outbox SET waiting = waiting - ?2 WHERE tenant = ?1")
            .and_then(|mut s| s.execute(params![tenant.as_str(), forgotten as i64]))
            .map_err(from_sql)?;
    }
    Ok(())
}

struct Granted {
    holder: String,
    token: u64,
    expires_at: Timestamp,
    ttl: Duration,
}

fn granted(connection: &Connection, tenant: &Tenant, name: &str) -> Result<Option<Granted>> {
    connection
        .prepare_cached(
            "SELECT holder, token, expires_at, ttl_nanos FROM lease WHERE tenant = ?1 AND name = ?2",
        )
        .and_then(|mut s| {
            s.query_row((tenant.as_str(), name), |row| {
                Ok(Granted {
                    holder: row.get(0)?,
                    token: row.get(1)?,
                    expires_at: Timestamp::from_nanos(row.get(2)?),
                    ttl: Duration::from_nanos(row.get(3)?),
                })
            })
            .optional()
        })
        .map_err(from_sql)
}

/// What asking for a lease gave. A refusal can write too: see [`Asked::Refused`].
pub(super) enum Asked {
    Granted(Lease),
    /// Held by another. What is left was cut to the holder's own ttl if the clock went back.
    Refused(Error),
}

pub(super) fn lease(
    connection: &Connection,
    tenant: &Tenant,
    name: String,
    holder: String,
    ttl: Duration,
    now: Timestamp,
) -> Result<Asked> {
    let token = match granted(connection, tenant, &name)? {
        None => 1,
        Some(held) if held.holder == holder => held.token,
        Some(held) if held.expires_at <= now => held.token + 1,
        Some(held) => {
            let left_at_most = now.plus(held.ttl);
            if held.expires_at > left_at_most {
                connection
                    .execute(
                        "UPDATE lease SET expires_at = ?3 WHERE tenant = ?1 AND name = ?2",
                        params![tenant.as_str(), name, left_at_most.nanos()],
                    )
                    .map_err(from_sql)?;
            }
            return Ok(Asked::Refused(Error::Held { name, holder: held.holder }));
        }
    };
    let expires_at = now.plus(ttl);
    let ttl_nanos = i64::try_from(ttl.as_nanos()).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT INTO lease (tenant, name, holder, token, expires_at, ttl_nanos)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (tenant, name) DO UPDATE
             SET holder = ?3, token = ?4, expires_at = ?5, ttl_nanos = ?6",
        )
        .and_then(|mut s| {
            s.execute(params![tenant.as_str(), name, holder, token, expires_at.nanos(), ttl_nanos])
        })
        .map_err(from_sql)?;
    Ok(Asked::Granted(Lease { name, holder, token, expires_at }))
}
