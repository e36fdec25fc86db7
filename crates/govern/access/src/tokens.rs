//! API tokens: for programs, never more than their owner, always with an end.

use std::time::Duration;

use base::{Actor, Ctx, Tenant, Timestamp};
use serde_json::json;
use state::{Commit, Precondition, Put};

use crate::{
    Access, Error, Grant, Principal, Result, Who,
    credential::{self, Kind, Secret},
    engine::{commit_until, limits},
    people,
    record::{self, PersonId, TokenId, TokenRecord},
};

/// What to make.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub name: String,
    pub grant: Grant,
    /// None for 90 days.
    pub life: Option<Duration>,
}

/// A token, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    /// Its owner; none for the machine.
    pub person: Option<PersonId>,
    /// The one in the file of this machine.
    pub local: bool,
    pub grant: Grant,
    pub created_at: Timestamp,
    pub created_by: Actor,
    pub expires_at: Timestamp,
    /// To the minute.
    pub used_at: Option<Timestamp>,
}

/// A new token; the secret is shown this once.
#[derive(Debug, Clone)]
pub struct CreatedToken {
    pub token: Token,
    pub secret: Secret,
}

impl From<TokenRecord> for Token {
    fn from(record: TokenRecord) -> Self {
        Self {
            id: record.id,
            name: record.name,
            person: record.person,
            local: record.local,
            grant: record.grant,
            created_at: record.created_at,
            created_by: record.created_by,
            expires_at: record.expires_at,
            used_at: record.used_at,
        }
    }
}

impl Access {
    /// Makes a token that belongs to whom `by` is (a person, or the machine).
    ///
    /// # Errors
    /// [`Error::Exceeds`] for scopes, environments or a life beyond those of the token it is made
    /// with; [`Error::Lifetime`], [`Error::NoScopes`], [`Error::Name`], [`Error::Limit`].
    pub async fn create_token(&self, ctx: &Ctx, by: &Principal, new: &NewToken) -> Result<CreatedToken> {
        let name = people::check_name(&new.name)?;
        let life = new.life.unwrap_or(limits::TOKEN_LIFE_DEFAULT);
        if !(limits::TOKEN_LIFE_MIN..=limits::TOKEN_LIFE_MAX).contains(&life) {
            return Err(Error::Lifetime);
        }
        if new.grant.scopes.is_empty() {
            return Err(Error::NoScopes);
        }
        let now = self.now();
        check_within(by, &new.grant, now.plus(life), new.life.is_none())?;
        let ceiling = match &by.who {
            Who::Token { expires_at, .. } => *expires_at,
            Who::Session { .. } => now.plus(life),
        };
        let record = |id: TokenId, digest: String| TokenRecord {
            format: 1,
            id,
            name: name.clone(),
            person: by.person.clone(),
            local: false,
            digest,
            grant: new.grant.clone(),
            created_at: now,
            created_by: by.actor(),
            expires_at: now.plus(life).min(ceiling),
            used_at: None,
        };
        commit_until!(self, self.token_made(ctx, &record, &[]))
    }

    /// The commit that adds a token and takes `away` others.
    pub(crate) async fn token_made(
        &self,
        ctx: &Ctx,
        record: &(dyn Fn(TokenId, String) -> TokenRecord + Sync),
        away: &[TokenId],
    ) -> Result<(Commit, CreatedToken)> {
        let (tenant, now) = (&ctx.scope.tenant, self.now());
        let mut commit = self.begin(tenant).await?;
        let id = TokenId::new();
        let (secret, digest) = credential::make(Kind::Token, id.as_str())?;
        let token = record(id, digest);
        if let Some(owner) = &token.person {
            let (person, _) = self.person_record(tenant, owner).await?;
            if !person.active {
                return Err(Error::Inactive { name: person.name });
            }
        }
        let all = self.read_all::<TokenRecord>(tenant, record::TOKEN, None).await?;
        let (gone, kept): (Vec<_>, Vec<_>) = all
            .iter()
            .map(|(token, _)| token)
            .partition(|token| away.contains(&token.id) || now > token.expires_at.plus(limits::EXPIRED_KEPT));
        let remove =
            |token: &&TokenRecord| Put::Remove(record::key(tenant, record::TOKEN, token.id.as_str()));
        commit.puts.extend(gone.iter().map(remove));
        if kept.len() >= limits::TOKENS_PER_TENANT_MAX {
            return Err(Error::Limit { what: "tokens of a tenant", limit: limits::TOKENS_PER_TENANT_MAX });
        }
        if kept.iter().filter(|other| other.person == token.person).count() >= limits::TOKENS_PER_PERSON_MAX {
            return Err(Error::Limit { what: "tokens of one person", limit: limits::TOKENS_PER_PERSON_MAX });
        }
        commit.puts.push(record::put_token(tenant, &token)?);
        let body = json!({
            "before": null,
            "after": {
                "name": token.name, "person": token.person, "grant": token.grant,
                "expires_at": token.expires_at, "local": token.local,
            },
        });
        commit.entries.push(Self::draft(ctx, "token.created", token.id.as_str(), "a token was made", body));
        Ok((commit, CreatedToken { token: token.into(), secret }))
    }

    /// All tokens of a tenant, or those of one owner (a person, or with `Some(None)` the machine).
    pub async fn tokens(&self, tenant: &Tenant, owner: Option<Option<&PersonId>>) -> Result<Vec<Token>> {
        let term = owner
            .map(|owner| record::term("person", owner.map_or(record::MACHINE, |person| person.as_str())));
        let tokens = self.read_all::<TokenRecord>(tenant, record::TOKEN, term).await?;
        Ok(tokens.into_iter().map(|(token, _)| token.into()).collect())
    }

    /// One token, to ask whose it is before it is revoked.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn token(&self, tenant: &Tenant, id: &TokenId) -> Result<Token> {
        self.token_record(tenant, id).await.map(|(token, _)| token.into())
    }

    /// Revokes a token at once.
    ///
    /// # Errors
    /// [`Error::NotFound`] also when it was revoked already.
    pub async fn revoke_token(&self, ctx: &Ctx, id: &TokenId, why: &str) -> Result<()> {
        commit_until!(self, async {
            let tenant = &ctx.scope.tenant;
            let (token, version) = self.token_record(tenant, id).await?;
            let key = record::key(tenant, record::TOKEN, id.as_str());
            let body = json!({ "before": { "name": token.name, "person": token.person }, "after": null });
            let commit = Commit {
                preconditions: vec![Precondition::Version(key.clone(), version)],
                puts: vec![Put::Remove(key)],
                entries: vec![Self::draft(ctx, "token.revoked", id.as_str(), why, body)],
                outbox: Vec::new(),
            };
            Ok::<_, Error>((commit, ()))
        })
    }

    async fn token_record(&self, tenant: &Tenant, id: &TokenId) -> Result<(TokenRecord, u64)> {
        let found = self.read::<TokenRecord>(tenant, record::TOKEN, id.as_str()).await?;
        found.ok_or_else(|| Error::NotFound { what: "token", id: id.to_string() })
    }
}

/// What is made with a token stays within it. A life that nobody asked for is cut instead.
fn check_within(by: &Principal, grant: &Grant, expires_at: Timestamp, cut: bool) -> Result<()> {
    let Who::Token { grant: own, expires_at: own_end, .. } = &by.who else { return Ok(()) };
    let exceeds = |why: String| Err(Error::Exceeds { why });
    if let Some(scope) = grant.scopes.difference(&own.scopes).next() {
        return exceeds(format!("scope {scope}"));
    }
    match (&own.environments, &grant.environments) {
        (None, _) => {}
        (Some(_), None) => return exceeds("all environments".into()),
        (Some(own), Some(asked)) => {
            if let Some(environment) = asked.difference(own).next() {
                return exceeds(format!("environment {environment}"));
            }
        }
    }
    if expires_at > *own_end && !cut {
        return exceeds("a longer life".into());
    }
    Ok(())
}
