//! Platform services: what a service needs and Stead provides from the host's own binaries.
//!
//! Each need is a server of its own: own data directory, own unprivileged user, generated credentials,
//! own port on loopback. It is kept running by the same reconciler as every other workload.

pub mod host;
pub mod postgres;
pub mod redis;

use std::{collections::BTreeMap, path::PathBuf};

use base::{Problem, units::Bytes};
use delivery_api::Kind;
use runtime_api::{EnvValue, Stop, WorkloadFile};
use serde::{Deserialize, Serialize};

/// What was asked for, as it stands in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Need {
    Postgres {
        /// Major version, such as `15`; the newest installed one is pinned when none is named.
        version: String,
        database: String,
    },
    Redis {
        version: String,
        /// Cap on its data; the oldest keys go first past it only when asked.
        memory: Option<Bytes>,
    },
}

impl Need {
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Postgres { .. } => Kind::Postgres,
            Self::Redis { .. } => Kind::Redis,
        }
    }
}

/// Where one need lives.
#[derive(Debug, Clone)]
pub struct Place {
    /// Outlives every replica; deleted only when a person says so.
    pub directory: PathBuf,
    pub port: u16,
    /// User and group it runs as; none when Stead is not root.
    pub user: Option<(u32, u32)>,
}

/// A password of a need, and the version of the secret that holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub version: u64,
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login(version {})", self.version)
    }
}

/// The credentials of a need.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// What the service is given.
    pub current: Login,
    /// Others that are taken as well, while a rotation is under way.
    pub also: Vec<Login>,
    /// Stead's own way in, where the need has one.
    pub superuser: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({:?}, also {:?})", self.current, self.also)
    }
}

impl Credentials {
    /// All that are taken, the current one first.
    pub fn accepted(&self) -> impl Iterator<Item = &Login> {
        std::iter::once(&self.current).chain(&self.also)
    }
}

/// Name of the credential that the service signs in with.
pub const PASSWORD: &str = "password";
/// Name of the credential that only Stead signs in with.
pub const SUPERUSER: &str = "superuser";

/// How to run it.
#[derive(Debug)]
pub struct Workload {
    pub command: Vec<String>,
    pub files: Vec<WorkloadFile>,
    pub stop: Stop,
}

/// Names of the credentials that a need of this kind has.
#[must_use]
pub fn credential_names(need: &Need) -> &'static [&'static str] {
    match need {
        Need::Postgres { .. } => &[PASSWORD, SUPERUSER],
        Need::Redis { .. } => &[PASSWORD],
    }
}

/// Makes the data directory ready. Blocking; safe to repeat after a crash at any point.
///
/// # Errors
/// The software is missing (the message names the package), or its own tool failed.
pub fn prepare(need: &Need, place: &Place, credentials: &Credentials) -> Result<(), Problem> {
    match need {
        Need::Postgres { version, database } => postgres::prepare(version, database, place, credentials),
        Need::Redis { .. } => redis::prepare(place),
    }
}

/// The workload that serves it.
///
/// # Errors
/// The software is missing.
pub fn workload(need: &Need, place: &Place, credentials: &Credentials) -> Result<Workload, Problem> {
    match need {
        Need::Postgres { version, .. } => postgres::workload(version, place),
        Need::Redis { memory, .. } => redis::workload(*memory, place, credentials),
    }
}

/// Makes the running server take what `credentials` accept, and `retired` no more. Blocking; safe to
/// repeat after a crash at any point.
///
/// # Errors
/// The server does not answer yet, or refuses; no message holds a password.
pub fn settle(
    need: &Need,
    place: &Place,
    credentials: &Credentials,
    retired: &[Login],
) -> Result<(), Problem> {
    match need {
        Need::Postgres { version, database } => {
            postgres::settle(version, database, place, credentials, retired)
        }
        Need::Redis { .. } => redis::settle(place, credentials, retired),
    }
}

/// What the service that needs it is given, by logical name: `url`, `host`, `port`, …
#[must_use]
pub fn binding(need: &Need, port: u16, credentials: &Credentials) -> BTreeMap<String, EnvValue> {
    let password = credentials.current.password.clone();
    let plain = |text: &str| EnvValue::Plain(text.to_owned());
    let mut values = BTreeMap::from([
        ("host".to_owned(), plain("127.0.0.1")),
        ("port".to_owned(), plain(&port.to_string())),
        ("password".to_owned(), EnvValue::Secret(password.clone())),
    ]);
    match need {
        Need::Postgres { database, .. } => {
            let user = postgres::login(credentials.current.version);
            values.insert("user".into(), plain(&user));
            values.insert("database".into(), plain(database));
            let url = format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}");
            values.insert("url".into(), EnvValue::Secret(url));
        }
        Need::Redis { .. } => {
            values.insert("url".into(), EnvValue::Secret(format!("redis://:{password}@127.0.0.1:{port}/0")));
        }
    }
    values
}
