//! The records, format 1, and where they stand.

use std::collections::{BTreeMap, BTreeSet};

use base::{Actor, Environment, Scope, Tenant, Timestamp, id::ReleaseId};
use secrets_api::{Error, Result, SecretName, Summary, VersionSummary};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use state::{Key, Put, Record, State};

use crate::seal::Sealed;

/// What is known of one secret. It is never removed: version numbers must not come again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Secret {
    pub(crate) format: u32,
    pub(crate) name: SecretName,
    pub(crate) latest: u64,
    pub(crate) generated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) removed_at: Option<Timestamp>,
    /// The versions whose value is still there, oldest first.
    pub(crate) versions: Vec<Version>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) version: u64,
    pub(crate) at: Timestamp,
    pub(crate) actor: Actor,
    pub(crate) why: String,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) pins: BTreeSet<ReleaseId>,
}

/// One sealed value.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SealedVersion {
    pub(crate) format: u32,
    /// Id of the data key.
    pub(crate) key: String,
    pub(crate) sealed: Sealed,
}

/// What one release pins.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pins {
    pub(crate) format: u32,
    pub(crate) versions: BTreeMap<SecretName, u64>,
}

/// How many secrets a scope has, so that the limit holds without counting them.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) format: u32,
    /// Not removed.
    pub(crate) live: u64,
    /// All names ever used.
    pub(crate) names: u64,
}

/// The data keys of a tenant, the last one seals what is new.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Keys {
    pub(crate) format: u32,
    pub(crate) keys: Vec<WrappedKey>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WrappedKey {
    pub(crate) id: String,
    /// The root key that it is sealed under.
    pub(crate) root: String,
    pub(crate) sealed: Sealed,
    pub(crate) created_at: Timestamp,
}

impl Secret {
    pub(crate) fn summary(self) -> Summary {
        let versions = self.versions.into_iter().map(|version| VersionSummary {
            version: version.version,
            at: version.at,
            actor: version.actor,
            why: version.why,
            used_by: version.pins.into_iter().collect(),
        });
        Summary {
            name: self.name,
            latest: self.latest,
            generated: self.generated,
            removed_at: self.removed_at,
            versions: versions.collect(),
        }
    }

    pub(crate) fn pins(&self) -> usize {
        self.versions.iter().map(|version| version.pins.len()).sum()
    }

    /// Drops the versions that nothing holds, but for the newest `keep`; gives their numbers.
    pub(crate) fn prune(&mut self, keep: usize) -> Vec<u64> {
        let newest = self.versions.len().saturating_sub(keep);
        let mut dropped = Vec::new();
        let mut index = 0;
        self.versions.retain(|version| {
            let stays = index >= newest || !version.pins.is_empty();
            index += 1;
            if !stays {
                dropped.push(version.version);
            }
            stays
        });
        dropped
    }
}

pub(crate) fn secret_key(scope: &Scope, name: &SecretName) -> Key {
    Key::new(scope, "secret", name.as_str())
}

pub(crate) fn version_key(scope: &Scope, name: &SecretName, version: u64) -> Key {
    // `@` is in no name, so no two pairs share an id.
    Key::new(scope, "secret-version", format!("{name}@{version:010}"))
}

pub(crate) fn pins_key(scope: &Scope, release: &ReleaseId) -> Key {
    Key::new(scope, "secret-pins", release.as_str())
}

pub(crate) fn count_key(scope: &Scope) -> Key {
    Key::new(scope, "secret-count", "count")
}

pub(crate) fn keys_key(tenant: &Tenant) -> Key {
    let scope = Scope { tenant: tenant.clone(), environment: Environment::default() };
    Key::new(&scope, "secret-keys", "keys")
}

/// Tenants with keys are listed in the tenant `default`, which every installation has.
pub(crate) fn tenant_key(tenant: &Tenant) -> Key {
    Key::new(&Scope::default(), "secret-tenant", tenant.as_str())
}

/// Reads a record with its version; none when it is absent.
pub(crate) async fn read<T: DeserializeOwned>(state: &dyn State, key: Key) -> Result<Option<(T, u64)>> {
    match state.get(key).await? {
        None => Ok(None),
        Some(record) => decode(&record).map(|body| Some((body, record.version))),
    }
}

pub(crate) fn decode<T: DeserializeOwned>(record: &Record) -> Result<T> {
    let what = || format!("record {} {}", record.key.kind, record.key.id);
    if record.body.get("format") != Some(&json!(1)) {
        return Err(Error::Internal { why: format!("{} is not of format 1", what()) });
    }
    T::deserialize(&record.body).map_err(|error| Error::Internal { why: format!("{}: {error}", what()) })
}

pub(crate) fn put<T: Serialize>(key: Key, body: &T) -> Result<Put> {
    let body = serde_json::to_value(body).map_err(|error| Error::Internal { why: error.to_string() })?;
    Ok(Put::Put { key, body, index: Vec::new() })
}
