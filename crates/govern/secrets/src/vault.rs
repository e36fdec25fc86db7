//! The engine: what it holds, how it starts, how its root key is changed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use base::{Clock, Ctx};
use ledger::Draft;
use secrets_api::{Error, Result};
use serde_json::json;
use state::State;
use tokio::sync::RwLock;

use crate::{
    keys::{self, KeyCache},
    root::{Root, Unlock},
};

/// The named limits of secrets.
pub mod limits {
    /// Secrets of one scope that are not removed.
    pub const SECRETS_PER_SCOPE_MAX: u64 = 1_000;
    /// Names of one scope ever used; a removed secret keeps its name, so that its numbers go on.
    pub const NAMES_PER_SCOPE_MAX: u64 = 4_000;
    /// Versions of one secret that are kept though nothing pins them; older ones are destroyed.
    pub const VERSIONS_KEPT: usize = 10;
    /// Pins on the versions of one secret.
    pub const PINS_PER_SECRET_MAX: usize = 1_000;
    /// Secrets that one release pins.
    pub const PINS_PER_RELEASE_MAX: usize = 256;
    /// The reason of a change, in bytes.
    pub const WHY_BYTES_MAX: usize = 2_048;
    /// Tenants whose data keys are held open; the others are opened when needed.
    pub const TENANTS_CACHED_MAX: usize = 256;
    /// Times a change is tried when others change the same record.
    pub const ATTEMPTS_MAX: usize = 64;
}

/// Secrets sealed in state. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Vault {
    pub(crate) state: Arc<dyn State>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Read while a data key is sealed or opened; written for the whole change of the root key, so
    /// that no data key is sealed under a key that is about to go.
    pub(crate) root: Arc<RwLock<Root>>,
    pub(crate) cache: Arc<KeyCache>,
}

impl Vault {
    /// Opens the secrets of `state` with the root key at `path`; at the first start it makes one.
    /// A change of the root key that a crash interrupted is carried to its end.
    ///
    /// # Errors
    /// [`Error::RootMissing`] when there are secrets but no key, [`Error::WrongRoot`] when the key is
    /// not theirs, [`Error::WrongPassphrase`], [`Error::KeyFile`] when the file is not private.
    pub async fn open(
        state: Arc<dyn State>,
        clock: Arc<dyn Clock>,
        path: &Path,
        unlock: Unlock,
    ) -> Result<Self> {
        let root = match blocking({
            let (path, unlock) = (path.to_owned(), unlock.clone());
            move || Root::read(&path, &unlock)
        })
        .await?
        {
            Some(root) => root,
            None if keys::any(&*state).await? => {
                return Err(Error::RootMissing { path: path.display().to_string() });
            }
            None => create(path.to_owned(), unlock).await?,
        };
        let vault = Self { state, clock, root: Arc::new(RwLock::new(root)), cache: Arc::default() };
        vault.check_or_settle().await?;
        Ok(vault)
    }

    /// Makes a new root key, wraps the data keys of all tenants under it and forgets the old one;
    /// no value is touched. It is also how a passphrase is set, changed or taken away. Gives the
    /// number of tenants. A crash anywhere leaves all secrets readable and the next start goes on.
    ///
    /// Backups of state made before need the old key: keep it as long as them.
    ///
    /// # Errors
    /// The key file or state cannot be written.
    pub async fn rotate_root(&self, ctx: &Ctx, unlock: Unlock) -> Result<usize> {
        let mut root = self.root.write().await;
        let old = root.clone();
        let new = blocking(move || {
            let new = Root::fresh(&old.path, &unlock, Some(&old))?;
            new.replace()?;
            Ok(new)
        })
        .await?;
        *root = new;
        self.settle(&mut root, ctx).await
    }

    /// At start: goes on with an interrupted change, else looks whether the key is the right one.
    async fn check_or_settle(&self) -> Result<()> {
        let mut root = self.root.write().await;
        if root.is_settled() {
            return keys::check(&*self.state, &root).await;
        }
        let ctx = Ctx::system("secrets", base::Scope::default());
        self.settle(&mut root, &ctx).await.map(drop)
    }

    async fn settle(&self, root: &mut Root, ctx: &Ctx) -> Result<usize> {
        let tenants = keys::wrap_all_anew(&*self.state, root, ctx).await?;
        let settled = root.settled();
        *root = blocking(move || settled.replace().map(|()| settled)).await?;
        Ok(tenants)
    }

    /// A ledger entry; `about` has names and versions, never a value or what is derived from one.
    pub(crate) fn draft(
        ctx: &Ctx,
        verb: &str,
        subject: String,
        why: &str,
        about: serde_json::Value,
    ) -> Draft {
        Draft {
            id: base::id::EventId::new(),
            tenant: ctx.scope.tenant.clone(),
            environment: ctx.scope.environment.clone(),
            kind: format!("stead.secret.{verb}.v1"),
            subject,
            actor: ctx.actor.clone(),
            cause: ctx.cause.clone(),
            why: why.to_owned(),
            body: json!(about),
        }
    }
}

async fn create(path: PathBuf, unlock: Unlock) -> Result<Root> {
    blocking(move || {
        let fresh = Root::fresh(&path, &unlock, None)?;
        if fresh.create()? {
            return Ok(fresh);
        }
        let missing = || Error::RootMissing { path: path.display().to_string() };
        Root::read(&path, &unlock)?.ok_or_else(missing)
    })
    .await
}

/// Files and stretching of passphrases take milliseconds and more: not on the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Internal { why: error.to_string() }),
    }
}
