//! Queries: rows to the types of the port.

use base::{Actor, Cause, Environment, Scope, Tenant, Timestamp, id::EventId};
use ledger::{Draft, Entry};
use rusqlite::{Connection, OptionalExtension, Row, params, types::ToSql};
use serde::de::IntoDeserializer;

use super::fault::{damaged, from_sql};
use crate::{
    cursor, limits,
    port::{EntryQuery, IndexTerm, Key, Message, Page, Record, Result, Scan},
};

pub(super) fn get(connection: &Connection, key: Key) -> Result<Option<Record>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT version, updated_at, terms, body FROM record
             WHERE tenant = ?1 AND kind = ?2 AND id = ?3 AND environment = ?4",
        )
        .map_err(from_sql)?;
    let scope = &key.scope;
    let found = statement
        .query_row(params![scope.tenant.as_str(), key.kind, key.id, scope.environment.as_str()], Stored::at)
        .optional()
        .map_err(from_sql)?;
    found.map(|stored| stored.record(key)).transpose()
}

/// The columns of a record beside its key, at the start of a row.
struct Stored {
    version: u64,
    updated_at: i64,
    terms: String,
    body: String,
}

impl Stored {
    fn at(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { version: row.get(0)?, updated_at: row.get(1)?, terms: row.get(2)?, body: row.get(3)? })
    }

    fn record(self, key: Key) -> Result<Record> {
        Ok(Record {
            version: self.version,
            body: serde_json::from_str(&self.body)
                .map_err(|e| damaged(format!("the body of {} {:?}: {e}", key.kind, key.id)))?,
            index: terms_from_text(&self.terms)?,
            updated_at: Timestamp::from_nanos(self.updated_at),
            key,
        })
    }
}

pub(super) fn terms_from_text(text: &str) -> Result<Vec<IndexTerm>> {
    let pairs: Vec<(String, String)> = serde_json::from_str(text).map_err(damaged)?;
    Ok(pairs.into_iter().map(|(name, value)| IndexTerm { name, value }).collect())
}

pub(super) fn terms_to_text(terms: &[IndexTerm]) -> String {
    let pairs: Vec<_> = terms.iter().map(|t| (&t.name, &t.value)).collect();
    serde_json::to_string(&pairs).unwrap_or_default() // pairs of strings always are JSON
}

pub(super) fn scan(connection: &Connection, scan: &Scan) -> Result<Page<Record>> {
    limits::check_scan(scan)?;
    if scan.limit == 0 {
        return Ok(Page { items: Vec::new(), next: scan.after.clone() });
    }
    let after = scan.after.as_deref().map(cursor::read).transpose()?;
    let (environment_after, id_after) =
        after.map_or((String::new(), ""), |(environment, id)| (environment.to_string(), id));
    let environment = scan.environment.as_ref().map(Environment::as_str);
    let limit = scan.limit as i64 + 1;
    let (sql, term) = match &scan.term {
        None => (SCAN_ALL, None),
        Some(term) => (SCAN_TERM, Some(term)),
    };
    let mut statement = connection.prepare_cached(sql).map_err(from_sql)?;
    let mut values: Vec<&dyn ToSql> = Vec::with_capacity(8);
    let tenant = scan.tenant.as_str();
    values.extend([&tenant as &dyn ToSql, &scan.kind, &id_after, &environment_after, &environment, &limit]);
    if let Some(term) = term {
        values.extend([&term.name as &dyn ToSql, &term.value]);
    }
    let mut rows = statement.query(values.as_slice()).map_err(from_sql)?;
    let mut items: Vec<Record> = Vec::new();
    while let Some(row) = rows.next().map_err(from_sql)? {
        if items.len() == scan.limit {
            let next = items.last().map(|r| cursor::write(&r.key));
            return Ok(Page { items, next });
        }
        let (id, environment): (String, String) =
            row.get(4).and_then(|id| Ok((id, row.get(5)?))).map_err(from_sql)?;
        let environment = Environment::parse(&environment).map_err(damaged)?;
        let scope = Scope { tenant: scan.tenant.clone(), environment };
        let key = Key { scope, kind: scan.kind.clone(), id };
        items.push(Stored::at(row).map_err(from_sql)?.record(key)?);
    }
    Ok(Page { items, next: None })
}

const SCAN_ALL: &str = "SELECT version, updated_at, terms, body, id, environment FROM record
    WHERE tenant = ?1 AND kind = ?2 AND (id, environment) > (?3, ?4)
      AND (?5 IS NULL OR environment = ?5)
    ORDER BY id, environment LIMIT ?6";
const SCAN_TERM: &str = "SELECT r.version, r.updated_at, r.terms, r.body, t.id, t.environment
    FROM term t JOIN record r ON r.tenant = t.tenant AND r.kind = t.kind AND r.id = t.id
      AND r.environment = t.environment
    WHERE t.tenant = ?1 AND t.kind = ?2 AND t.name = ?7 AND t.value = ?8
      AND (t.id, t.environment) > (?3, ?4) AND (?5 IS NULL OR t.environment = ?5)
    ORDER BY t.id, t.environment LIMIT ?6";

pub(super) fn entries(connection: &Connection, query: &EntryQuery) -> Result<Page<Entry>> {
    limits::check_query(query)?;
    if query.limit == 0 {
        return Ok(Page { items: Vec::new(), next: query.after.map(|a| a.to_string()) });
    }
    let mut sql = format!("SELECT {ENTRY_COLUMNS} FROM entry WHERE tenant = ?");
    let mut values: Vec<&dyn ToSql> = Vec::new();
    let tenant = query.tenant.as_str();
    values.push(&tenant);
    let environment = query.environment.as_ref().map(Environment::as_str);
    let from = query.from.map(|at| at.nanos());
    let to = query.to.map(|at| at.nanos());
    let filters: [(&str, Option<&dyn ToSql>); 7] = [
        (" AND environment = ?", environment.as_ref().map(|v| v as &dyn ToSql)),
        (" AND subject = ?", query.subject.as_ref().map(|v| v as &dyn ToSql)),
        (" AND actor = ?", query.actor.as_ref().map(|v| v as &dyn ToSql)),
        (" AND correlation = ?", query.correlation.as_ref().map(|v| v as &dyn ToSql)),
        (" AND instr(kind, ?) = 1", query.kind_prefix.as_ref().map(|v| v as &dyn ToSql)),
        (" AND at >= ?", from.as_ref().map(|v| v as &dyn ToSql)),
        (" AND at < ?", to.as_ref().map(|v| v as &dyn ToSql)),
    ];
    for (clause, value) in filters {
        if let Some(value) = value {
            sql.push_str(clause);
            values.push(value);
        }
    }
    // Sequences stay far below i64's end; a cursor beyond it is beyond all of them.
    let after = query.after.map(|a| i64::try_from(a).unwrap_or(i64::MAX));
    if let Some(after) = &after {
        sql.push_str(if query.descending { " AND seq < ?" } else { " AND seq > ?" });
        values.push(after);
    }
    sql.push_str(if query.descending { " ORDER BY seq DESC LIMIT ?" } else { " ORDER BY seq LIMIT ?" });
    let limit = query.limit as i64 + 1;
    values.push(&limit);
    let mut statement = connection.prepare_cached(&sql).map_err(from_sql)?;
    let mut rows = statement.query(values.as_slice()).map_err(from_sql)?;
    let mut items: Vec<Entry> = Vec::new();
    while let Some(row) = rows.next().map_err(from_sql)? {
        if items.len() == query.limit {
            let next = items.last().map(|e| e.seq.to_string());
            return Ok(Page { items, next });
        }
        items.push(entry(row, &query.tenant)?);
    }
    Ok(Page { items, next: None })
}

const ENTRY_COLUMNS: &str = "seq, at, environment, id, kind, subject, actor, correlation, causation, why,
    body, body_digest, prev_hash, hash";

fn entry(row: &Row<'_>, tenant: &Tenant) -> Result<Entry> {
    let text = |at: usize| row.get::<_, String>(at).map_err(from_sql);
    let seq: u64 = row.get(0).map_err(from_sql)?;
    let wrong = |what: &str| damaged(format!("entry {seq} of tenant {tenant}: {what}"));
    let causation: Option<String> = row.get(8).map_err(from_sql)?;
    let draft = Draft {
        id: EventId::parse(&text(3)?).map_err(|e| wrong(&e.to_string()))?,
        tenant: tenant.clone(),
        environment: Environment::parse(&text(2)?).map_err(|e| wrong(&e.to_string()))?,
        kind: text(4)?,
        subject: text(5)?,
        actor: actor(text(6)?)?,
        cause: Cause {
            correlation: text(7)?,
            causation: causation
                .map(|c| EventId::parse(&c))
                .transpose()
                .map_err(|e| wrong(&e.to_string()))?,
        },
        why: text(9)?,
        body: serde_json::from_str(&text(10)?).map_err(|e| wrong(&e.to_string()))?,
    };
    Ok(Entry {
        seq,
        at: Timestamp::from_nanos(row.get(1).map_err(from_sql)?),
        draft,
        body_digest: text(11)?,
        prev_hash: text(12)?,
        hash: text(13)?,
    })
}

fn actor(text: String) -> Result<Actor> {
    let read = <Actor as serde::Deserialize>::deserialize(text.into_deserializer());
    read.map_err(|e: serde::de::value::Error| damaged(e))
}

pub(super) fn outbox(
    connection: &Connection,
    tenant: &Tenant,
    after: u64,
    limit: usize,
) -> Result<Vec<Message>> {
    limits::within("limit of an outbox read", limit, Scan::LIMIT_MAX)?;
    let mut statement = connection
        .prepare_cached(
            "SELECT seq, topic, body FROM message WHERE tenant = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
        )
        .map_err(from_sql)?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![tenant.as_str(), after, limit as i64]).map_err(from_sql)?;
    let mut messages = Vec::new();
    while let Some(row) = rows.next().map_err(from_sql)? {
        let body: String = row.get(2).map_err(from_sql)?;
        messages.push(Message {
            seq: row.get(0).map_err(from_sql)?,
            topic: row.get(1).map_err(from_sql)?,
            body: serde_json::from_str(&body).map_err(damaged)?,
        });
    }
    Ok(messages)
}
