//! The data keys of tenants: made once, wrapped by the root key, held open while in use.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use base::{Ctx, Tenant, Timestamp};
use ledger::Draft;
use secrets_api::{Error, Result};
use serde_json::json;
use state::{Commit, Precondition, Put, Scan, State};

use crate::{
    Vault,
    record::{self, Keys, WrappedKey},
    root::Root,
    seal::{self, Context, Key},
    vault::limits,
};

/// Open data keys by tenant and id.
#[derive(Debug, Default)]
pub(crate) struct KeyCache(Mutex<HashMap<Tenant, Arc<OpenKeys>>>);

/// The open data keys of one tenant.
#[derive(Debug)]
pub(crate) struct OpenKeys(Vec<(String, Key)>);

impl OpenKeys {
    /// The key that seals what is new.
    pub(crate) fn newest(&self) -> Option<(&str, &Key)> {
        self.0.last().map(|(id, key)| (id.as_str(), key))
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|(known, _)| known == id).map(|(_, key)| key)
    }
}

impl KeyCache {
    fn get(&self, tenant: &Tenant) -> Option<Arc<OpenKeys>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    fn put(&self, tenant: &Tenant, keys: &Arc<OpenKeys>) {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= limits::TENANTS_CACHED_MAX {
            cached.clear();
        }
        cached.insert(tenant.clone(), keys.clone());
    }
}

impl Vault {
    /// The data keys of a tenant; none when it has no secrets yet.
    pub(crate) async fn keys(&self, tenant: &Tenant) -> Result<Option<Arc<OpenKeys>>> {
        if let Some(keys) = self.cache.get(tenant) {
            return Ok(Some(keys));
        }
        let root = self.root.read().await;
        let stored = record::read::<Keys>(&*self.state, record::keys_key(tenant)).await?;
        let Some((stored, _)) = stored else { return Ok(None) };
        let keys = Arc::new(open(&root, tenant, &stored)?);
        self.cache.put(tenant, &keys);
        Ok(Some(keys))
    }

    /// The data keys of the tenant of `ctx`, made if there are none.
    pub(crate) async fn keys_or_make(&self, ctx: &Ctx) -> Result<Arc<OpenKeys>> {
        let tenant = &ctx.scope.tenant;
        for _ in 0..limits::ATTEMPTS_MAX {
            if let Some(keys) = self.keys(tenant).await? {
                return Ok(keys);
            }
            // Held over the commit: see `Vault::root`.
            let root = self.root.read().await;
            match self.state.commit(first_key(&root, ctx, self.clock.now())?).await {
                Ok(_) | Err(state::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Busy { name: format!("(the data keys of {tenant})") })
    }
}

fn first_key(root: &Root, ctx: &Ctx, now: Timestamp) -> Result<Commit> {
    let tenant = &ctx.scope.tenant;
    let id = base::id::fresh("dek");
    let wrapped = wrap(root, tenant, id.clone(), &Key::random()?, now)?;
    let body = Keys { format: 1, keys: vec![wrapped] };
    Ok(Commit {
        preconditions: vec![Precondition::Absent(record::keys_key(tenant))],
        puts: vec![
            record::put(record::keys_key(tenant), &body)?,
            Put::Put { key: record::tenant_key(tenant), body: json!({ "format": 1 }), index: Vec::new() },
        ],
        entries: vec![key_draft(ctx, tenant, "created", "the first secret of the tenant", root.id(), &[id])],
        outbox: Vec::new(),
    })
}

/// Whether any tenant has keys.
pub(crate) async fn any(state: &dyn State) -> Result<bool> {
    Ok(!tenants(state, None, 1).await?.0.is_empty())
}

/// Whether the keys of all tenants open with `root`; of many, the first page is looked at, as the
/// others are when they are used.
pub(crate) async fn check(state: &dyn State, root: &Root) -> Result<()> {
    for tenant in tenants(state, None, Scan::LIMIT_MAX).await?.0 {
        if let Some((stored, _)) = record::read::<Keys>(state, record::keys_key(&tenant)).await? {
            open(root, &tenant, &stored)?;
        }
    }
    Ok(())
}

/// Wraps the keys of all tenants under the active root key; gives the number of tenants.
pub(crate) async fn wrap_all_anew(state: &dyn State, root: &Root, ctx: &Ctx) -> Result<usize> {
    let (mut after, mut count) = (None, 0);
    loop {
        let (page, next) = tenants(state, after, Scan::LIMIT_MAX).await?;
        for tenant in &page {
            wrap_anew(state, root, ctx, tenant).await?;
            count += 1;
        }
        match next {
            Some(next) => after = Some(next),
            None => return Ok(count),
        }
    }
}

async fn wrap_anew(state: &dyn State, root: &Root, ctx: &Ctx, tenant: &Tenant) -> Result<()> {
    for _ in 0..limits::ATTEMPTS_MAX {
        let key = record::keys_key(tenant);
        let Some((stored, version)) = record::read::<Keys>(state, key.clone()).await? else { return Ok(()) };
        if stored.keys.iter().all(|wrapped| wrapped.root == root.id()) {
            return Ok(());
        }
        let mut anew = Vec::new();
        for old in &stored.keys {
            let data_key = unwrap(root, tenant, old)?;
            anew.push(wrap(root, tenant, old.id.clone(), &data_key, old.created_at)?);
        }
        let ids: Vec<_> = anew.iter().map(|wrapped| wrapped.id.clone()).collect();
        let commit = Commit {
            preconditions: vec![Precondition::Version(key.clone(), version)],
            puts: vec![record::put(key, &Keys { format: 1, keys: anew })?],
            entries: vec![key_draft(ctx, tenant, "wrapped", "the root key was changed", root.id(), &ids)],
            outbox: Vec::new(),
        };
        match state.commit(commit).await {
            Ok(_) => return Ok(()),
            Err(state::Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Busy { name: format!("(the data keys of {tenant})") })
}

async fn tenants(
    state: &dyn State,
    after: Option<String>,
    limit: usize,
) -> Result<(Vec<Tenant>, Option<String>)> {
    let home = base::Scope::default();
    let page = state.scan(Scan { after, limit, ..Scan::of(&home, "secret-tenant") }).await?;
    let tenants = page.items.iter().map(|record| Tenant::parse(&record.key.id));
    let tenants = tenants.collect::<std::result::Result<_, _>>();
    Ok((tenants.map_err(|error| Error::Internal { why: error.to_string() })?, page.next))
}

fn open(root: &Root, tenant: &Tenant, stored: &Keys) -> Result<OpenKeys> {
    let keys = stored.keys.iter().map(|wrapped| Ok((wrapped.id.clone(), unwrap(root, tenant, wrapped)?)));
    keys.collect::<Result<_>>().map(OpenKeys)
}

fn wrap(root: &Root, tenant: &Tenant, id: String, key: &Key, created_at: Timestamp) -> Result<WrappedKey> {
    let sealed = seal::seal(root.key(), &context(tenant, &id, root.id()), key.bytes())?;
    Ok(WrappedKey { id, root: root.id().to_owned(), sealed, created_at })
}

fn unwrap(root: &Root, tenant: &Tenant, wrapped: &WrappedKey) -> Result<Key> {
    let root_key = root.find(&wrapped.root).ok_or_else(|| Error::WrongRoot {
        tenant: tenant.to_string(),
        sealed_under: wrapped.root.clone(),
        have: root.id().to_owned(),
    })?;
    seal::open(root_key, &context(tenant, &wrapped.id, &wrapped.root), &wrapped.sealed)
        .and_then(|bytes| Key::from_slice(&bytes))
        .ok_or_else(|| Error::KeysTampered { tenant: tenant.to_string() })
}

fn context(tenant: &Tenant, id: &str, root: &str) -> Context {
    Context::new("stead data key", &[tenant.as_str(), id, root])
}

fn key_draft(ctx: &Ctx, tenant: &Tenant, verb: &str, why: &str, root: &str, keys: &[String]) -> Draft {
    let mut draft = Vault::draft(ctx, verb, "secret-keys".into(), why, json!({ "keys": keys, "root": root }));
    draft.kind = format!("stead.secret-key.{verb}.v1");
    draft.tenant = tenant.clone();
    draft
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded() {
        let cache = KeyCache::default();
        for n in 0..=limits::TENANTS_CACHED_MAX {
            let tenant = Tenant::parse(&format!("t{n}")).unwrap();
            cache.put(&tenant, &Arc::new(OpenKeys(Vec::new())));
            assert!(cache.get(&tenant).is_some());
            assert!(cache.0.lock().unwrap().len() <= limits::TENANTS_CACHED_MAX);
        }
    }
}
