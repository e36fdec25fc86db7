//! Pins: the versions that a release runs with are kept for it.

use std::collections::BTreeMap;

use base::{Ctx, id::ReleaseId};
use secrets_api::{Error, Result, SecretName};
use serde_json::json;
use state::{Commit, Put};

use crate::{
    Vault,
    record::{self, Pins},
    vault::limits,
    write::{self, Attempt},
};

impl Vault {
    pub(crate) async fn pin_versions(
        &self,
        ctx: &Ctx,
        release: &ReleaseId,
        versions: &BTreeMap<SecretName, u64>,
    ) -> Result<()> {
        let mut attempts = 0;
        loop {
            let attempt = self.pinned(ctx, release, versions).await?;
            if let Some(()) = self.conclude(release.as_str(), &mut attempts, attempt).await? {
                return Ok(());
            }
        }
    }

    /// The commit that pins.
    async fn pinned(
        &self,
        ctx: &Ctx,
        release: &ReleaseId,
        versions: &BTreeMap<SecretName, u64>,
    ) -> Result<Attempt<()>> {
        let key = record::pins_key(&ctx.scope, release);
        let found = record::read::<Pins>(&*self.state, key.clone()).await?;
        let (mut pins, pins_version) = found.unwrap_or((Pins { format: 1, ..Pins::default() }, 0));
        let mut commit = Commit::default();
        for (name, version) in versions {
            match pins.versions.get(name) {
                Some(pinned) if pinned == version => continue,
                // A release is immutable: it runs with one version of a secret, for ever.
                Some(pinned) => return Err(Error::PinnedOther { name: name.clone(), pinned: *pinned }),
                None => {}
            }
            self.pin_one(ctx, &mut commit, release, name, *version).await?;
            pins.versions.insert(name.clone(), *version);
        }
        if commit.puts.is_empty() {
            return Ok(Attempt::Done(()));
        }
        if pins.versions.len() > limits::PINS_PER_RELEASE_MAX {
            let limit = limits::PINS_PER_RELEASE_MAX as u64;
            return Err(Error::Limit { what: "secrets pinned by a release", limit });
        }
        commit.preconditions.push(write::unchanged(key.clone(), pins_version));
        commit.puts.push(record::put(key, &pins)?);
        let about = json!({ "pinned": versions });
        commit.entries.push(Self::draft(
            ctx,
            "pinned",
            release.to_string(),
            "a release runs with them",
            about,
        ));
        Ok(Attempt::Commit(Box::new(commit), ()))
    }

    async fn pin_one(
        &self,
        ctx: &Ctx,
        commit: &mut Commit,
        release: &ReleaseId,
        name: &SecretName,
        version: u64,
    ) -> Result<()> {
        let (mut secret, record_version) = self.secret(ctx, name).await?;
        if secret.pins() >= limits::PINS_PER_SECRET_MAX {
            let limit = limits::PINS_PER_SECRET_MAX as u64;
            return Err(Error::Limit { what: "pins on a secret", limit });
        }
        let held = secret.versions.iter_mut().find(|held| held.version == version);
        let held = held.ok_or_else(|| Error::NoVersion { name: name.clone(), version })?;
        held.pins.insert(release.clone());
        write::put_secret(commit, ctx, &secret, record_version)
    }

    pub(crate) async fn unpin_versions(&self, ctx: &Ctx, release: &ReleaseId) -> Result<()> {
        let mut attempts = 0;
        loop {
            let attempt = self.unpinned(ctx, release).await?;
            if let Some(()) = self.conclude(release.as_str(), &mut attempts, attempt).await? {
                return Ok(());
            }
        }
    }

    /// The commit that unpins.
    async fn unpinned(&self, ctx: &Ctx, release: &ReleaseId) -> Result<Attempt<()>> {
        let key = record::pins_key(&ctx.scope, release);
        let Some((pins, pins_version)) = record::read::<Pins>(&*self.state, key.clone()).await? else {
            return Ok(Attempt::Done(()));
        };
        let mut commit = Commit::default();
        let mut all_destroyed = BTreeMap::new();
        for name in pins.versions.keys() {
            let (mut secret, record_version) = self.secret(ctx, name).await?;
            for version in &mut secret.versions {
                version.pins.remove(release);
            }
            let keep = if secret.removed_at.is_some() { 0 } else { limits::VERSIONS_KEPT };
            let destroyed = secret.prune(keep);
            write::put_secret(&mut commit, ctx, &secret, record_version)?;
            write::destroy(&mut commit, ctx, name, &destroyed);
            if !destroyed.is_empty() {
                all_destroyed.insert(name, destroyed);
            }
        }
        let about = json!({ "unpinned": pins.versions, "destroyed": all_destroyed });
        commit.entries.push(Self::draft(
            ctx,
            "unpinned",
            release.to_string(),
            "the release is not kept any more",
            about,
        ));
        commit.preconditions.push(write::unchanged(key.clone(), pins_version));
        commit.puts.push(Put::Remove(key));
        Ok(Attempt::Commit(Box::new(commit), ()))
    }
}
