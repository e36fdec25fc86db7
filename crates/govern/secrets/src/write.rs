//! Setting and removing: each change is one commit, tried again when it loses a race.

use base::Ctx;
use secrets_api::{Error, Existing, Kind, Result, SecretName, Value};
use serde_json::json;
use state::{Commit, Key, Precondition, Put};

use crate::{
    Vault, generate,
    record::{self, Count, SealedVersion, Secret, Version},
    seal::{self, Context},
    vault::limits,
};

/// What one attempt came to.
pub(crate) enum Attempt<T> {
    Done(T),
    /// Commit this; the answer if it holds.
    Commit(Box<Commit>, T),
}

impl Vault {
    pub(crate) async fn set_version(
        &self,
        ctx: &Ctx,
        name: &SecretName,
        value: &Value,
        why: &str,
    ) -> Result<u64> {
        if name.is_reserved() {
            return Err(Error::Reserved { name: name.clone() });
        }
        check_why(why)?;
        if tells(why, value) {
            return Err(Error::WhyTells);
        }
        let keys = self.keys_or_make(ctx).await?;
        let mut attempts = 0;
        loop {
            let (secret, version) = self.secret(ctx, name).await?;
            let attempt = self.added(ctx, &keys, secret, version, value, ("set", false), why).await?;
            if let Some(version) = self.conclude(name.as_str(), &mut attempts, attempt).await? {
                return Ok(version);
            }
        }
    }

    pub(crate) async fn generate_version(
        &self,
        ctx: &Ctx,
        name: &SecretName,
        kind: Kind,
        existing: Existing,
        why: &str,
    ) -> Result<u64> {
        check_why(why)?;
        let value = generate::value(kind)?;
        let keys = self.keys_or_make(ctx).await?;
        let mut attempts = 0;
        loop {
            let (secret, version) = self.secret(ctx, name).await?;
            if existing == Existing::Keep && secret.latest > 0 && secret.removed_at.is_none() {
                return Ok(secret.latest);
            }
            let attempt = self.added(ctx, &keys, secret, version, &value, ("generated", true), why).await?;
            if let Some(version) = self.conclude(name.as_str(), &mut attempts, attempt).await? {
                return Ok(version);
            }
        }
    }

    pub(crate) async fn remove_secret(&self, ctx: &Ctx, name: &SecretName, why: &str) -> Result<()> {
        check_why(why)?;
        let mut attempts = 0;
        loop {
            let attempt = self.removed(ctx, name, why).await?;
            if let Some(()) = self.conclude(name.as_str(), &mut attempts, attempt).await? {
                return Ok(());
            }
        }
    }

    /// The commit that removes `name`.
    async fn removed(&self, ctx: &Ctx, name: &SecretName, why: &str) -> Result<Attempt<()>> {
        let (mut secret, version) = self.secret(ctx, name).await?;
        if secret.latest == 0 || secret.removed_at.is_some() {
            return Err(Error::NotFound { name: name.clone(), scope: ctx.scope.to_string() });
        }
        secret.removed_at = Some(self.clock.now());
        let destroyed = secret.prune(0);
        let mut commit = Commit::default();
        self.count(ctx, &mut commit, |count| {
            count.live = count.live.saturating_sub(1);
            Ok(())
        })
        .await?;
        let kept: Vec<_> = secret.versions.iter().map(|kept| kept.version).collect();
        let about = json!({
            "name": name, "before": { "version": secret.latest }, "after": null,
            "destroyed": destroyed, "kept": kept,
        });
        commit.entries.push(Self::draft(ctx, "removed", subject(name), why, about));
        put_secret(&mut commit, ctx, &secret, version)?;
        destroy(&mut commit, ctx, name, &destroyed);
        Ok(Attempt::Commit(Box::new(commit), ()))
    }

    /// The commit that adds a version with `value` to `secret`.
    #[allow(clippy::too_many_arguments)] // the parts of one change
    async fn added(
        &self,
        ctx: &Ctx,
        keys: &crate::keys::OpenKeys,
        mut secret: Secret,
        record_version: u64,
        value: &Value,
        (verb, generated): (&str, bool),
        why: &str,
    ) -> Result<Attempt<u64>> {
        let name = secret.name.clone();
        let before = (secret.latest > 0 && secret.removed_at.is_none()).then_some(secret.latest);
        let mut commit = Commit::default();
        if before.is_none() {
            let new_name = secret.latest == 0;
            self.count(ctx, &mut commit, |count| count.add(new_name)).await?;
        }
        secret.latest += 1;
        secret.removed_at = None;
        secret.generated = generated;
        secret.versions.push(Version {
            version: secret.latest,
            at: self.clock.now(),
            actor: ctx.actor.clone(),
            why: why.to_owned(),
            pins: Default::default(),
        });
        let destroyed = secret.prune(limits::VERSIONS_KEPT);
        let (key_id, key) =
            keys.newest().ok_or_else(|| Error::KeysTampered { tenant: ctx.scope.tenant.to_string() })?;
        let context = value_context(&ctx.scope, &name, secret.latest, key_id);
        let sealed = SealedVersion {
            format: 1,
            key: key_id.to_owned(),
            sealed: seal::seal(key, &context, value.expose())?,
        };
        let about = json!({
            "name": name, "before": before.map(|version| json!({ "version": version })),
            "after": { "version": secret.latest }, "destroyed": destroyed,
        });
        commit.entries.push(Self::draft(ctx, verb, subject(&name), why, about));
        let place = record::version_key(&ctx.scope, &name, secret.latest);
        commit.preconditions.push(Precondition::Absent(place.clone()));
        commit.puts.push(record::put(place, &sealed)?);
        put_secret(&mut commit, ctx, &secret, record_version)?;
        destroy(&mut commit, ctx, &name, &destroyed);
        Ok(Attempt::Commit(Box::new(commit), secret.latest))
    }

    /// The secret and its record's version; version 0 and no values when there is none.
    pub(crate) async fn secret(&self, ctx: &Ctx, name: &SecretName) -> Result<(Secret, u64)> {
        let found = record::read(&*self.state, record::secret_key(&ctx.scope, name)).await?;
        let none = || Secret {
            format: 1,
            name: name.clone(),
            latest: 0,
            generated: false,
            removed_at: None,
            versions: Vec::new(),
        };
        Ok(found.unwrap_or_else(|| (none(), 0)))
    }

    /// Changes the count of the scope with `commit`.
    async fn count(
        &self,
        ctx: &Ctx,
        commit: &mut Commit,
        change: impl FnOnce(&mut Count) -> Result<()>,
    ) -> Result<()> {
        let key = record::count_key(&ctx.scope);
        let found = record::read::<Count>(&*self.state, key.clone()).await?;
        let (mut count, version) = found.unwrap_or((Count { format: 1, live: 0, names: 0 }, 0));
        change(&mut count)?;
        commit.preconditions.push(unchanged(key.clone(), version));
        commit.puts.push(record::put(key, &count)?);
        Ok(())
    }

    /// Ends an attempt: its answer, or none when another change came between and it must be made
    /// again from fresh reads. Fails when that happened too often.
    pub(crate) async fn conclude<T>(
        &self,
        name: &str,
        attempts: &mut usize,
        attempt: Attempt<T>,
    ) -> Result<Option<T>> {
        let (commit, answer) = match attempt {
            Attempt::Done(answer) => return Ok(Some(answer)),
            Attempt::Commit(commit, answer) => (commit, answer),
        };
        match self.state.commit(*commit).await {
            Ok(_) => Ok(Some(answer)),
            Err(state::Error::Conflict { .. }) if *attempts + 1 < limits::ATTEMPTS_MAX => {
                *attempts += 1;
                tokio::task::yield_now().await;
                Ok(None)
            }
            Err(state::Error::Conflict { .. }) => Err(Error::Busy { name: name.to_owned() }),
            Err(error) => Err(error.into()),
        }
    }
}

impl Count {
    fn add(&mut self, new_name: bool) -> Result<()> {
        if self.live >= limits::SECRETS_PER_SCOPE_MAX {
            return Err(Error::Limit {
                what: "secrets of an environment",
                limit: limits::SECRETS_PER_SCOPE_MAX,
            });
        }
        if new_name && self.names >= limits::NAMES_PER_SCOPE_MAX {
            return Err(Error::Limit {
                what: "names of secrets ever used in an environment",
                limit: limits::NAMES_PER_SCOPE_MAX,
            });
        }
        self.live += 1;
        self.names += u64::from(new_name);
        Ok(())
    }
}

pub(crate) fn subject(name: &SecretName) -> String {
    format!("secret/{name}")
}

pub(crate) fn value_context(scope: &base::Scope, name: &SecretName, version: u64, key_id: &str) -> Context {
    let parts =
        [scope.tenant.as_str(), scope.environment.as_str(), name.as_str(), &version.to_string(), key_id];
    Context::new("stead secret", &parts)
}

pub(crate) fn put_secret(commit: &mut Commit, ctx: &Ctx, secret: &Secret, version: u64) -> Result<()> {
    let key = record::secret_key(&ctx.scope, &secret.name);
    commit.preconditions.push(unchanged(key.clone(), version));
    commit.puts.push(record::put(key, secret)?);
    Ok(())
}

pub(crate) fn destroy(commit: &mut Commit, ctx: &Ctx, name: &SecretName, versions: &[u64]) {
    let keys = versions.iter().map(|version| record::version_key(&ctx.scope, name, *version));
    commit.puts.extend(keys.map(Put::Remove));
}

pub(crate) fn unchanged(key: Key, version: u64) -> Precondition {
    if version == 0 { Precondition::Absent(key) } else { Precondition::Version(key, version) }
}

fn check_why(why: &str) -> Result<()> {
    if why.len() <= limits::WHY_BYTES_MAX {
        return Ok(());
    }
    Err(Error::Limit { what: "bytes of a reason", limit: limits::WHY_BYTES_MAX as u64 })
}

/// Whether the reason gives the value away. Very short values stand in any text by chance.
fn tells(why: &str, value: &Value) -> bool {
    value.expose_str().is_ok_and(|text| text.trim().len() >= 6 && why.contains(text.trim()))
}
