//! The records, format 1, and where they stand: all of the tenant, in its environment `default`.

use std::time::Duration;

use base::{Actor, Environment, Scope, Tenant, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use state::{IndexTerm, Key, Put, Record};

use crate::{Error, Result, action::Role, decide::Grant};

base::typed_id!(
    /// A person.
    pub PersonId, "usr"
);
base::typed_id!(
    /// A session of a person.
    pub SessionId, "ses"
);
base::typed_id!(
    /// An API token.
    pub TokenId, "tok"
);
base::typed_id!(
    /// A one-time sign-in link.
    pub LinkId, "lnk"
);

pub(crate) const PERSON: &str = "person";
pub(crate) const LINK: &str = "sign-in-link";
pub(crate) const SESSION: &str = "session";
pub(crate) const TOKEN: &str = "api-token";

/// Index value of tokens that belong to the machine instead of a person.
pub(crate) const MACHINE: &str = "machine";

/// A credential made further ahead of now than this is refused: the clock was wrong when it was made.
pub(crate) const FUTURE_MAX: Duration = Duration::from_secs(24 * 3_600);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PersonRecord {
    pub(crate) format: u32,
    pub(crate) id: PersonId,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) active: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<PasswordHash>,
    pub(crate) created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signed_in_at: Option<Timestamp>,
}

/// argon2id, version 0x13.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct PasswordHash {
    pub(crate) salt: String,
    pub(crate) memory_kib: u32,
    pub(crate) passes: u32,
    pub(crate) hash: String,
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LinkRecord {
    pub(crate) format: u32,
    pub(crate) id: LinkId,
    pub(crate) person: PersonId,
    pub(crate) digest: String,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    pub(crate) format: u32,
    pub(crate) id: SessionId,
    pub(crate) person: PersonId,
    pub(crate) digest: String,
    pub(crate) created_at: Timestamp,
    pub(crate) seen_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// The program it was started from, as it calls itself.
    pub(crate) agent: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TokenRecord {
    pub(crate) format: u32,
    pub(crate) id: TokenId,
    pub(crate) name: String,
    /// None: of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) person: Option<PersonId>,
    /// The one in `DIR/token`.
    pub(crate) local: bool,
    pub(crate) digest: String,
    pub(crate) grant: Grant,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: Actor,
    pub(crate) expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used_at: Option<Timestamp>,
}

/// Whether something made and expiring then is good now.
pub(crate) fn is_live(created_at: Timestamp, expires_at: Timestamp, now: Timestamp) -> bool {
    now < expires_at && created_at <= now.plus(FUTURE_MAX)
}

pub(crate) fn home(tenant: &Tenant) -> Scope {
    Scope { tenant: tenant.clone(), environment: Environment::default() }
}

pub(crate) fn key(tenant: &Tenant, kind: &str, id: &str) -> Key {
    Key::new(&home(tenant), kind, id)
}

pub(crate) fn roster_key(tenant: &Tenant) -> Key {
    key(tenant, "access-roster", "roster")
}

pub(crate) fn term(name: &str, value: &str) -> IndexTerm {
    IndexTerm { name: name.into(), value: value.into() }
}

/// Names are found without regard to case.
pub(crate) fn name_term(name: &str) -> IndexTerm {
    term("name", &name.to_lowercase())
}

pub(crate) fn put_person(tenant: &Tenant, person: &PersonRecord) -> Result<Put> {
    put(key(tenant, PERSON, person.id.as_str()), person, vec![name_term(&person.name)])
}

pub(crate) fn put_link(tenant: &Tenant, link: &LinkRecord) -> Result<Put> {
    put(key(tenant, LINK, link.id.as_str()), link, vec![term("person", link.person.as_str())])
}

pub(crate) fn put_session(tenant: &Tenant, session: &SessionRecord) -> Result<Put> {
    put(key(tenant, SESSION, session.id.as_str()), session, vec![term("person", session.person.as_str())])
}

pub(crate) fn put_token(tenant: &Tenant, token: &TokenRecord) -> Result<Put> {
    let owner = token.person.as_ref().map_or(MACHINE, PersonId::as_str);
    put(key(tenant, TOKEN, token.id.as_str()), token, vec![term("person", owner)])
}

fn put<T: Serialize>(key: Key, body: &T, index: Vec<IndexTerm>) -> Result<Put> {
    let body = serde_json::to_value(body).map_err(|error| Error::Internal { why: error.to_string() })?;
    Ok(Put::Put { key, body, index })
}

pub(crate) fn decode<T: DeserializeOwned>(record: &Record) -> Result<T> {
    let what = || format!("record {} {}", record.key.kind, record.key.id);
    if record.body.get("format") != Some(&json!(1)) {
        return Err(Error::Internal { why: format!("{} is not of format 1", what()) });
    }
    T::deserialize(&record.body).map_err(|error| Error::Internal { why: format!("{}: {error}", what()) })
}
