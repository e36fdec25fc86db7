//! The engine of secrets over state: what holds for whoever uses the port.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers of tests are tests too

mod canary;
mod limits;
mod pins;
mod root;
mod tamper;
mod versions;

use std::{path::PathBuf, sync::Arc};

use base::{Clock, Ctx, Environment, Scope, Tenant, Timestamp, id::ReleaseId, time::ManualClock};
use ledger::Entry;
use secrets::{Unlock, Vault};
use secrets_api::{SecretName, Secrets, Value, Which};
use state::{EntryQuery, MemoryState, State};

/// A data directory with state and a vault.
struct Home {
    dir: tempfile::TempDir,
    clock: Arc<dyn Clock>,
    state: Arc<dyn State>,
    vault: Vault,
}

impl Home {
    async fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::from_millis(1_000_000)));
        let state: Arc<dyn State> = Arc::new(MemoryState::new(clock.clone()));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let vault = Vault::open(state.clone(), clock.clone(), &path, Unlock::File).await.unwrap();
        Self { dir, clock, state, vault }
    }

    fn key_path(&self) -> PathBuf {
        self.dir.path().join("root.key")
    }

    /// As after a restart.
    async fn reopen(&self, unlock: Unlock) -> secrets_api::Result<Vault> {
        Vault::open(self.state.clone(), self.clock.clone(), &self.key_path(), unlock).await
    }

    async fn entries(&self) -> Vec<Entry> {
        let query = EntryQuery {
            tenant: Tenant::default(),
            environment: None,
            subject: None,
            kind_prefix: None,
            actor: None,
            correlation: None,
            from: None,
            to: None,
            after: None,
            descending: false,
            limit: 1_000,
        };
        self.state.entries(query).await.unwrap().items
    }
}

fn ctx() -> Ctx {
    Ctx::system("test", Scope::default())
}

fn scope(tenant: &str, environment: &str) -> Scope {
    Scope { tenant: Tenant::parse(tenant).unwrap(), environment: Environment::parse(environment).unwrap() }
}

fn name(text: &str) -> SecretName {
    SecretName::parse(text).unwrap()
}

async fn set(vault: &Vault, to: &str, value: &str) -> u64 {
    vault.set(ctx(), name(to), Value::new(value).unwrap(), "a test".into()).await.unwrap()
}

async fn get(vault: &Vault, from: &str, which: Which) -> secrets_api::Result<String> {
    let opened = vault.get(Scope::default(), name(from), which).await?;
    Ok(opened.value.expose_str().unwrap().to_owned())
}

fn pin(versions: &[(&str, u64)]) -> (ReleaseId, std::collections::BTreeMap<SecretName, u64>) {
    (ReleaseId::new(), versions.iter().map(|(n, v)| (name(n), *v)).collect())
}
