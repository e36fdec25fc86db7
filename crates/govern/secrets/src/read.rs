//! Reading: summaries without values, and the one place that opens a value.

use std::collections::BTreeMap;

use base::{Ctx, Scope, id::ReleaseId};
use futures_util::{FutureExt, future::BoxFuture};
use secrets_api::{Error, Existing, Kind, Opened, Result, SecretName, Secrets, Summary, Value, Which};
use state::Scan;

use crate::{
    Vault,
    record::{self, SealedVersion, Secret},
    seal, write,
};

impl Vault {
    async fn summaries(&self, scope: &Scope) -> Result<Vec<Summary>> {
        let mut scan = Scan::of(scope, "secret");
        let mut all = Vec::new();
        loop {
            let page = self.state.scan(scan.clone()).await?;
            for record in &page.items {
                let secret: Secret = record::decode(record)?;
                if secret.removed_at.is_none() || !secret.versions.is_empty() {
                    all.push(secret.summary());
                }
            }
            match page.next {
                Some(next) => scan.after = Some(next),
                None => return Ok(all),
            }
        }
    }

    async fn latest_of(&self, scope: &Scope, names: Vec<SecretName>) -> Result<BTreeMap<SecretName, u64>> {
        let mut found = BTreeMap::new();
        for name in names {
            let secret = record::read::<Secret>(&*self.state, record::secret_key(scope, &name)).await?;
            if let Some((secret, _)) = secret
                && secret.removed_at.is_none()
            {
                found.insert(name, secret.latest);
            }
        }
        Ok(found)
    }

    async fn open_version(&self, scope: &Scope, name: &SecretName, which: Which) -> Result<Opened> {
        let absent = || Error::NotFound { name: name.clone(), scope: scope.to_string() };
        let secret = record::read::<Secret>(&*self.state, record::secret_key(scope, name)).await?;
        let (secret, _) = secret.ok_or_else(absent)?;
        let version = match which {
            Which::Latest if secret.removed_at.is_some() => return Err(absent()),
            Which::Latest => secret.latest,
            Which::Version(version) => version,
        };
        let gone = || Error::NoVersion { name: name.clone(), version };
        if !secret.versions.iter().any(|held| held.version == version) {
            return Err(gone());
        }
        let place = record::version_key(scope, name, version);
        let stored = record::read::<SealedVersion>(&*self.state, place).await?;
        // Between the two reads it may have been destroyed; that is not damage.
        let (stored, _) = stored.ok_or_else(gone)?;
        let tampered = || Error::Tampered { name: name.clone(), version };
        let keys = self.keys(&scope.tenant).await?.ok_or_else(tampered)?;
        let key = keys.find(&stored.key).ok_or_else(tampered)?;
        let context = write::value_context(scope, name, version, &stored.key);
        let mut plain = seal::open(key, &context, &stored.sealed).ok_or_else(tampered)?;
        Ok(Opened { version, value: Value::new(std::mem::take(&mut *plain))? })
    }
}

impl Secrets for Vault {
    fn set(&self, ctx: Ctx, name: SecretName, value: Value, why: String) -> BoxFuture<'_, Result<u64>> {
        async move { self.set_version(&ctx, &name, &value, &why).await }.boxed()
    }

    fn list(&self, scope: Scope) -> BoxFuture<'_, Result<Vec<Summary>>> {
        async move { self.summaries(&scope).await }.boxed()
    }

    fn latest(
        &self,
        scope: Scope,
        names: Vec<SecretName>,
    ) -> BoxFuture<'_, Result<BTreeMap<SecretName, u64>>> {
        async move { self.latest_of(&scope, names).await }.boxed()
    }

    fn get(&self, scope: Scope, name: SecretName, which: Which) -> BoxFuture<'_, Result<Opened>> {
        async move { self.open_version(&scope, &name, which).await }.boxed()
    }

    fn remove(&self, ctx: Ctx, name: SecretName, why: String) -> BoxFuture<'_, Result<()>> {
        async move { self.remove_secret(&ctx, &name, &why).await }.boxed()
    }

    fn generate(
        &self,
        ctx: Ctx,
        name: SecretName,
        kind: Kind,
        existing: Existing,
        why: String,
    ) -> BoxFuture<'_, Result<u64>> {
        async move { self.generate_version(&ctx, &name, kind, existing, &why).await }.boxed()
    }

    fn pin(
        &self,
        ctx: Ctx,
        release: ReleaseId,
        versions: BTreeMap<SecretName, u64>,
    ) -> BoxFuture<'_, Result<()>> {
        async move { self.pin_versions(&ctx, &release, &versions).await }.boxed()
    }

    fn unpin(&self, ctx: Ctx, release: ReleaseId) -> BoxFuture<'_, Result<()>> {
        async move { self.unpin_versions(&ctx, &release).await }.boxed()
    }
}
