//! The token of this machine's own command line, in a file that only the platform's user may read.

use std::{path::Path, time::Duration};

use base::Ctx;
use zeroize::Zeroizing;

use crate::{
    Access, Error, Grant, Result,
    credential::{self, Kind},
    engine::{commit_until, limits},
    record::{self, TokenId, TokenRecord},
};

/// It is made anew when it has less left.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);
/// How often it is looked at while Stead runs.
const LOOK_EVERY: Duration = Duration::from_secs(6 * 3_600);

impl Access {
    /// Sees to it that `path` holds a good token of the machine: keeps the one that is there, or
    /// makes another and revokes the ones before. Call it at each start.
    ///
    /// # Errors
    /// [`Error::KeyFile`] when the file is not private; it is not overwritten then.
    pub async fn local_token(&self, ctx: &Ctx, path: &Path) -> Result<()> {
        let held = {
            let path = path.to_owned();
            blocking(move || Ok(keyfile::read(&path)?)).await?
        };
        if let Some(text) = held.as_deref().and_then(|content| std::str::from_utf8(content).ok())
            && self.is_good_local(ctx, text.trim()).await?
        {
            return Ok(());
        }
        let tokens = self.tokens(&ctx.scope.tenant, Some(None)).await?;
        let before: Vec<_> = tokens.into_iter().filter(|token| token.local).map(|token| token.id).collect();
        let now = self.now();
        let record = |id: TokenId, digest: String| TokenRecord {
            format: 1,
            id,
            name: "this machine".into(),
            person: None,
            local: true,
            digest,
            grant: Grant::all(),
            created_at: now,
            created_by: ctx.actor.clone(),
            expires_at: now.plus(limits::TOKEN_LIFE_MAX),
            used_at: None,
        };
        let created = commit_until!(self, self.token_made(ctx, &record, &before))?;
        let (path, content) = (path.to_owned(), Zeroizing::new(format!("{}\n", created.secret.expose())));
        blocking(move || Ok(keyfile::replace(&path, content.as_bytes())?)).await
    }

    /// Renews the token in `path` while Stead runs, until `stopped`; `failed` hears of each look that
    /// failed, after which comes another. Ages are by the clock port, the pauses monotonic.
    pub async fn keep_local_token(
        &self,
        ctx: &Ctx,
        path: &Path,
        stopped: impl Future<Output = ()>,
        failed: impl Fn(&Error),
    ) {
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                () = &mut stopped => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if let Err(error) = self.local_token(ctx, path).await {
                failed(&error);
            }
        }
    }

    async fn is_good_local(&self, ctx: &Ctx, text: &str) -> Result<bool> {
        let Some(parsed) = credential::parse(Kind::Token, text) else { return Ok(false) };
        let id = format!("{}_{}", TokenId::PREFIX, parsed.id);
        let found = self.read::<TokenRecord>(&ctx.scope.tenant, record::TOKEN, &id).await?;
        let now = self.now();
        Ok(found.is_some_and(|(token, _)| {
            token.local
                && credential::matches(&parsed, &token.digest)
                && record::is_live(token.created_at, token.expires_at, now)
                && token.expires_at.since(now) >= RENEW_BEFORE
        }))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Internal { why: error.to_string() }),
    }
}
