//! From a credential to a principal: the way of every request.

use base::{Tenant, Timestamp};
use state::{Commit, Precondition, Put};

use crate::{
    Access, Credential, Csrf, Error, Grant, Principal, Result, Role, Who,
    action::TokenScope,
    cache::Known,
    credential::{self, Kind, Parsed},
    engine::limits,
    record::{self, PersonRecord, SessionId, SessionRecord, TokenId, TokenRecord},
};

/// A principal, and what belongs to the way it came in.
#[derive(Debug, Clone)]
pub struct Authenticated {
    pub principal: Principal,
    /// For the header `X-Stead-Csrf`; none for a token.
    pub csrf: Option<String>,
    pub expires_at: Timestamp,
}

impl Access {
    /// Who it is. A revoked, ended or expired credential is never good, and neither is one of a
    /// person who is not active; for a cookie, a request that may change something also has to prove
    /// where it comes from.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] whatever is wrong with the credential, [`Error::Csrf`],
    /// [`Error::State`].
    pub async fn authenticate(&self, tenant: &Tenant, credential: &Credential) -> Result<Authenticated> {
        match credential {
            Credential::Bearer(text) | Credential::Basic(text) => {
                let known = self.known(tenant, Kind::Token, text.expose()).await?;
                Ok(Authenticated { principal: known.principal, csrf: None, expires_at: known.expires_at })
            }
            Credential::Cookie { value, csrf } => {
                let known = self.known(tenant, Kind::Session, value.expose()).await?;
                let expected = credential::csrf(value.expose())?;
                match csrf {
                    Csrf::SafeMethod => {}
                    Csrf::Header(Some(given)) if credential::equal(given, &expected) => {}
                    Csrf::Header(_) => return Err(Error::Csrf),
                }
                let expires_at = known.expires_at;
                Ok(Authenticated { principal: known.principal, csrf: Some(expected), expires_at })
            }
        }
    }

    async fn known(&self, tenant: &Tenant, kind: Kind, text: &str) -> Result<Known> {
        let parsed = credential::parse(kind, text).ok_or(Error::Unauthenticated)?;
        let digest = (tenant.clone(), parsed.digest);
        let (now, monotonic) = (self.now(), self.clock.monotonic());
        let (known, count) = self.cache.get(&digest, monotonic);
        if let Some(known) = known
            && now.since(known.touched_at) < limits::TOUCH_EVERY
        {
            let live = record::is_live(known.created_at, known.expires_at, now);
            return if live { Ok(known) } else { Err(Error::Unauthenticated) };
        }
        let known = match kind {
            Kind::Session => self.load_session(tenant, &parsed, now).await?,
            _ => self.load_token(tenant, &parsed, now).await?,
        };
        self.cache.put(digest, known.clone(), monotonic, count);
        Ok(known)
    }

    async fn load_session(&self, tenant: &Tenant, parsed: &Parsed, now: Timestamp) -> Result<Known> {
        let id = format!("{}_{}", SessionId::PREFIX, parsed.id);
        let found = self.read::<SessionRecord>(tenant, record::SESSION, &id).await?;
        let (mut session, version) = found.ok_or(Error::Unauthenticated)?;
        if !credential::matches(parsed, &session.digest) || !self.session_is_live(&session, now) {
            return Err(Error::Unauthenticated);
        }
        let person = self.read::<PersonRecord>(tenant, record::PERSON, session.person.as_str()).await?;
        let (person, _) = person.filter(|(person, _)| person.active).ok_or(Error::Unauthenticated)?;
        if now.since(session.seen_at) >= limits::TOUCH_EVERY {
            session.seen_at = now;
            self.touch(version, record::put_session(tenant, &session)?).await;
        }
        let idle_at = session.seen_at.plus(self.options.session_idle);
        Ok(Known {
            credential: id,
            created_at: session.created_at,
            expires_at: session.expires_at.min(idle_at),
            touched_at: session.seen_at,
            principal: Principal {
                tenant: tenant.clone(),
                who: Who::Session { session: session.id },
                person: Some(person.id),
                name: person.name,
                role: person.role,
            },
        })
    }

    async fn load_token(&self, tenant: &Tenant, parsed: &Parsed, now: Timestamp) -> Result<Known> {
        let id = format!("{}_{}", TokenId::PREFIX, parsed.id);
        let found = self.read::<TokenRecord>(tenant, record::TOKEN, &id).await?;
        let (mut token, version) = found.ok_or(Error::Unauthenticated)?;
        let live = record::is_live(token.created_at, token.expires_at, now);
        if !credential::matches(parsed, &token.digest) || !live {
            return Err(Error::Unauthenticated);
        }
        let role = match &token.person {
            // Of the machine; what it may is up to its scopes.
            None => Role::Admin,
            Some(owner) => {
                let person = self.read::<PersonRecord>(tenant, record::PERSON, owner.as_str()).await?;
                let person = person.filter(|(person, _)| person.active);
                person.ok_or(Error::Unauthenticated)?.0.role
            }
        };
        if token.used_at.is_none_or(|used_at| now.since(used_at) >= limits::TOUCH_EVERY) {
            token.used_at = Some(now);
            self.touch(version, record::put_token(tenant, &token)?).await;
        }
        Ok(Known {
            credential: id,
            created_at: token.created_at,
            expires_at: token.expires_at,
            touched_at: token.used_at.unwrap_or(now),
            principal: Principal {
                tenant: tenant.clone(),
                who: Who::Token { token: token.id, grant: token.grant, expires_at: token.expires_at },
                person: token.person,
                name: token.name,
                role,
            },
        })
    }

    /// Writes "last used", if nobody changed the record. That it fails, on a full disk say, keeps
    /// nobody out.
    async fn touch(&self, version: u64, put: Put) {
        let Put::Put { key, .. } = &put else { return };
        let preconditions = vec![Precondition::Version(key.clone(), version)];
        let _ = self.state.commit(Commit { preconditions, puts: vec![put], ..Commit::default() }).await;
    }
}

impl Grant {
    /// Everything, everywhere: what this machine's own token has.
    #[must_use]
    pub fn all() -> Self {
        Self { scopes: TokenScope::ALL.iter().copied().collect(), environments: None }
    }
}
