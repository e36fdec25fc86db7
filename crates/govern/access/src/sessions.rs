//! Sessions: how they begin (a link, or name and password), and how they end.

use std::{net::IpAddr, time::Duration};

use base::{Actor, Ctx, Tenant, Timestamp};
use serde_json::json;
use state::{Commit, Precondition, Put};

use crate::{
    Access, Error, Result,
    credential::{self, Kind, Secret},
    engine::{commit_until, limits},
    people::Person,
    record::{self, PersonId, PersonRecord, SessionId, SessionRecord},
    throttle::Subject,
};

/// Where a request comes from, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Client {
    pub address: Option<IpAddr>,
    /// `User-Agent`.
    pub agent: String,
}

/// A session that was just begun; the secret goes into the cookie.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub session: Session,
    pub person: Person,
    /// See [`crate::set_cookie`].
    pub secret: Secret,
    /// For the header `X-Stead-Csrf`.
    pub csrf: String,
    /// For `Max-Age`.
    pub lives: Duration,
}

/// A session, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub person: PersonId,
    pub created_at: Timestamp,
    /// To the minute.
    pub seen_at: Timestamp,
    pub expires_at: Timestamp,
    pub agent: String,
    pub address: Option<String>,
}

impl From<SessionRecord> for Session {
    fn from(record: SessionRecord) -> Self {
        Self {
            id: record.id,
            person: record.person,
            created_at: record.created_at,
            seen_at: record.seen_at,
            expires_at: record.expires_at,
            agent: record.agent,
            address: record.address,
        }
    }
}

impl Access {
    /// Redeems a one-time link. Scope and cause of `ctx` are used; the actor is the person.
    ///
    /// # Errors
    /// [`Error::Link`] whatever is wrong with it.
    pub async fn redeem(&self, ctx: &Ctx, link: &str, client: &Client) -> Result<NewSession> {
        commit_until!(self, self.redeemed(ctx, link, client))
    }

    async fn redeemed(&self, ctx: &Ctx, text: &str, client: &Client) -> Result<(Commit, NewSession)> {
        let tenant = &ctx.scope.tenant;
        let mut commit = self.begin(tenant).await?;
        let (link, version) = self.good_link(tenant, text).await?;
        let key = record::key(tenant, record::LINK, link.id.as_str());
        commit.preconditions.push(Precondition::Version(key.clone(), version));
        commit.puts.push(Put::Remove(key));
        let (person, version) =
            self.person_record(tenant, &link.person).await.map_err(|error| match error {
                Error::NotFound { .. } => Error::Link,
                other => other,
            })?;
        if !person.active {
            return Err(Error::Link);
        }
        let session = self.put_new_session(&mut commit, ctx, (person, version), client, "link").await?;
        Ok((commit, session))
    }

    /// Signs in with name and password.
    ///
    /// # Errors
    /// [`Error::Password`] whatever does not match, [`Error::Throttled`] after several failures for
    /// this person or from this address, [`Error::Limit`] when too many are being checked.
    pub async fn sign_in(
        &self,
        ctx: &Ctx,
        name: &str,
        password: &str,
        client: &Client,
    ) -> Result<NewSession> {
        let tenant = &ctx.scope.tenant;
        let person = self.find_by_name(tenant, name).await?;
        let mut subjects = vec![match &person {
            Some((person, _)) => Subject::person(tenant, &person.id),
            None => Subject::Unknown,
        }];
        subjects.extend(client.address.map(Subject::address));
        self.begin_attempt(&subjects)?;
        let stored =
            person.as_ref().filter(|(person, _)| person.active).and_then(|(p, _)| p.password.clone());
        // Without a password to compare with, the same work is done all the same.
        if !self.verify_password(password, stored).await? {
            return Err(Error::Password);
        }
        let id = person.map(|(person, _)| person.id).ok_or(Error::Password)?;
        self.end_attempt(&subjects);
        commit_until!(self, self.signed_in(ctx, &id, client))
    }

    async fn signed_in(&self, ctx: &Ctx, id: &PersonId, client: &Client) -> Result<(Commit, NewSession)> {
        let mut commit = self.begin(&ctx.scope.tenant).await?;
        let (person, version) = self.person_record(&ctx.scope.tenant, id).await?;
        if !person.active {
            return Err(Error::Password);
        }
        let session = self.put_new_session(&mut commit, ctx, (person, version), client, "password").await?;
        Ok((commit, session))
    }

    /// Adds a session of `person` to `commit`; expired ones and the oldest over the limit go.
    async fn put_new_session(
        &self,
        commit: &mut Commit,
        ctx: &Ctx,
        (mut person, version): (PersonRecord, u64),
        client: &Client,
        by: &str,
    ) -> Result<NewSession> {
        let (tenant, now) = (&ctx.scope.tenant, self.now());
        let term = record::term("person", person.id.as_str());
        let mut sessions = self.read_all::<SessionRecord>(tenant, record::SESSION, Some(term)).await?;
        sessions.sort_by_key(|(session, _)| (self.session_is_live(session, now), session.seen_at));
        let dead = sessions.iter().filter(|(session, _)| !self.session_is_live(session, now)).count();
        let over = (sessions.len() + 1).saturating_sub(limits::SESSIONS_PER_PERSON_MAX).max(dead);
        for (session, _) in sessions.iter().take(over) {
            commit.puts.push(Put::Remove(record::key(tenant, record::SESSION, session.id.as_str())));
        }
        let id = SessionId::new();
        let (secret, digest) = credential::make(Kind::Session, id.as_str())?;
        let session = SessionRecord {
            format: 1,
            id,
            person: person.id.clone(),
            digest,
            created_at: now,
            seen_at: now,
            expires_at: now.plus(self.options.session_life),
            agent: client.agent.chars().filter(|c| !c.is_control()).take(limits::AGENT_CHARS_MAX).collect(),
            address: client.address.map(|address| address.to_string()),
        };
        commit.puts.push(record::put_session(tenant, &session)?);
        person.signed_in_at = Some(now);
        let key = record::key(tenant, record::PERSON, person.id.as_str());
        commit.preconditions.push(Precondition::Version(key, version));
        commit.puts.push(record::put_person(tenant, &person)?);
        let ctx = Ctx { actor: Actor::user(person.id.as_str()), ..ctx.clone() };
        let body =
            json!({ "session": session.id, "by": by, "address": session.address, "agent": session.agent });
        commit.entries.push(Self::draft(&ctx, "session.started", person.id.as_str(), "signed in", body));
        Ok(NewSession {
            csrf: credential::csrf(secret.expose())?,
            session: session.into(),
            person: person.into(),
            secret,
            lives: self.options.session_life,
        })
    }

    /// The sessions of one person that are alive, oldest first.
    pub async fn sessions(&self, tenant: &Tenant, person: &PersonId) -> Result<Vec<Session>> {
        let now = self.now();
        let term = record::term("person", person.as_str());
        let sessions = self.read_all::<SessionRecord>(tenant, record::SESSION, Some(term)).await?;
        let live = sessions.into_iter().filter(|(session, _)| self.session_is_live(session, now));
        Ok(live.map(|(session, _)| session.into()).collect())
    }

    /// One session, to ask whose it is before it is ended.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn session(&self, tenant: &Tenant, id: &SessionId) -> Result<Session> {
        let found = self.read::<SessionRecord>(tenant, record::SESSION, id.as_str()).await?;
        let absent = || Error::NotFound { what: "session", id: id.to_string() };
        found.map(|(session, _)| session.into()).ok_or_else(absent)
    }

    /// Ends a session at once: signing out, or somebody else's.
    ///
    /// # Errors
    /// [`Error::NotFound`] also when it has ended already.
    pub async fn end_session(&self, ctx: &Ctx, id: &SessionId) -> Result<()> {
        commit_until!(self, async {
            let tenant = &ctx.scope.tenant;
            let found = self.read::<SessionRecord>(tenant, record::SESSION, id.as_str()).await?;
            let absent = || Error::NotFound { what: "session", id: id.to_string() };
            let (session, version) = found.ok_or_else(absent)?;
            let key = record::key(tenant, record::SESSION, id.as_str());
            let body = json!({ "session": id });
            let entry = Self::draft(ctx, "session.ended", session.person.as_str(), "signed out", body);
            let commit = Commit {
                preconditions: vec![Precondition::Version(key.clone(), version)],
                puts: vec![Put::Remove(key)],
                entries: vec![entry],
                outbox: Vec::new(),
            };
            Ok::<_, Error>((commit, ()))
        })
    }

    pub(crate) fn session_is_live(&self, session: &SessionRecord, now: Timestamp) -> bool {
        let idle_at = session.seen_at.plus(self.options.session_idle);
        record::is_live(session.created_at, session.expires_at.min(idle_at), now)
    }

    async fn find_by_name(&self, tenant: &Tenant, name: &str) -> Result<Option<(PersonRecord, u64)>> {
        if name.chars().count() > limits::NAME_CHARS_MAX {
            return Ok(None);
        }
        let term = record::name_term(name.trim());
        let found = self.read_all::<PersonRecord>(tenant, record::PERSON, Some(term)).await?;
        Ok(found.into_iter().next())
    }
}
