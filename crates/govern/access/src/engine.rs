//! The engine: what it holds, its time, and how a change becomes one commit.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use base::{Clock, Ctx, Environment, Tenant, Timestamp, id::EventId};
use ledger::Draft;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use state::{Commit, IndexTerm, Precondition, Put, Scan, State};
use tokio::sync::Semaphore;

use crate::{Error, Result, cache::Cache, record, throttle::Throttle};

/// The named limits of access.
pub mod limits {
    use std::time::Duration;

    /// Active people of one tenant.
    pub const PEOPLE_ACTIVE_MAX: usize = 500;
    /// People of one tenant, with those that are not active any more.
    pub const PEOPLE_MAX: usize = 1_000;
    /// Links of one person that were not used; the oldest gives way.
    pub const LINKS_PER_PERSON_MAX: usize = 3;
    /// Sessions of one person; the one not seen for longest gives way.
    pub const SESSIONS_PER_PERSON_MAX: usize = 20;
    /// Tokens of one person, or of the machine.
    pub const TOKENS_PER_PERSON_MAX: usize = 50;
    /// Tokens of one tenant.
    pub const TOKENS_PER_TENANT_MAX: usize = 1_000;
    /// A name, in characters.
    pub const NAME_CHARS_MAX: usize = 64;
    /// What is kept of how a client calls itself, in characters.
    pub const AGENT_CHARS_MAX: usize = 200;
    /// Life of a token.
    pub const TOKEN_LIFE_MIN: Duration = Duration::from_secs(60);
    pub const TOKEN_LIFE_DEFAULT: Duration = Duration::from_secs(90 * 86_400);
    pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(366 * 86_400);
    /// Expired tokens are shown for this long, then forgotten when another is made.
    pub const EXPIRED_KEPT: Duration = Duration::from_secs(7 * 86_400);
    /// "Last used" and "last seen" are written at most this often.
    pub const TOUCH_EVERY: Duration = Duration::from_secs(60);
    /// Credentials whose principal is remembered.
    pub const CACHED_MAX: usize = 1_024;
    /// A principal is remembered for at most this long; what changes in state is noticed at once.
    pub const CACHED_FOR: Duration = Duration::from_secs(30);
    /// Passwords stretched at once, 19 MiB each.
    pub const HASHING_AT_ONCE: usize = 2;
    /// Passwords waiting for that; more are turned away.
    pub const HASHING_WAITING_MAX: usize = 16;
    /// People and addresses whose attempts are counted, each.
    pub const THROTTLED_MAX: usize = 4_096;
    /// Times a change is tried when others change the same records.
    pub const ATTEMPTS_MAX: usize = 64;
}

/// Lives of what is given out.
#[derive(Debug, Clone)]
pub struct Options {
    /// Of a one-time link.
    pub link_life: Duration,
    /// Of a session that is not used.
    pub session_idle: Duration,
    /// Of a session however much it is used.
    pub session_life: Duration,
    /// After signing in, a password can be set for so long without giving the current one.
    pub session_fresh: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            link_life: Duration::from_secs(24 * 3_600),
            session_idle: Duration::from_secs(12 * 3_600),
            session_life: Duration::from_secs(7 * 86_400),
            session_fresh: Duration::from_secs(10 * 60),
        }
    }
}

/// People, sessions and tokens of all tenants. Share it in an [`Arc`].
#[derive(Debug)]
pub struct Access {
    pub(crate) state: Arc<dyn State>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    pub(crate) cache: Cache,
    pub(crate) throttle: Mutex<Throttle>,
    pub(crate) hashing: Semaphore,
    pub(crate) hashing_waiting: Semaphore,
    /// Wall and monotonic time at the start.
    started: (Timestamp, Duration),
}

/// Makes the commit anew from fresh reads until it holds: `commit_until!(self, self.changed(…))`,
/// where `changed` gives the commit and the answer.
macro_rules! commit_until {
    ($self:ident, $attempt:expr) => {{
        let mut attempts = 0;
        loop {
            let (commit, answer) = $attempt.await?;
            if $self.committed(commit, &mut attempts).await? {
                break Ok::<_, $crate::Error>(answer);
            }
        }
    }};
}
pub(crate) use commit_until;

impl Access {
    #[must_use]
    pub fn new(state: Arc<dyn State>, clock: Arc<dyn Clock>, options: Options) -> Self {
        Self {
            cache: Cache::new(state.watch()),
            started: (clock.now(), clock.monotonic()),
            throttle: Mutex::new(Throttle::default()),
            hashing: Semaphore::new(limits::HASHING_AT_ONCE),
            hashing_waiting: Semaphore::new(limits::HASHING_AT_ONCE + limits::HASHING_WAITING_MAX),
            state,
            clock,
            options,
        }
    }

    /// Wall time, but never less than the start plus the time since: what expired stays expired
    /// when the clock is set back.
    pub(crate) fn now(&self) -> Timestamp {
        let (wall, monotonic) = self.started;
        self.clock.now().max(wall.plus(self.clock.monotonic().saturating_sub(monotonic)))
    }

    /// A commit that holds only if nobody was added or altered since now. Read after this what the
    /// change depends on.
    pub(crate) async fn begin(&self, tenant: &Tenant) -> Result<Commit> {
        let key = record::roster_key(tenant);
        let precondition = match self.state.get(key.clone()).await? {
            None => Precondition::Absent(key.clone()),
            Some(record) => Precondition::Version(key.clone(), record.version),
        };
        let put = Put::Put { key, body: json!({ "format": 1 }), index: Vec::new() };
        Ok(Commit { preconditions: vec![precondition], puts: vec![put], ..Commit::default() })
    }

    /// False when another change came between and it must be made again.
    pub(crate) async fn committed(&self, commit: Commit, attempts: &mut usize) -> Result<bool> {
        let result = self.state.commit(commit).await;
        // Also after an error: the outcome of a failed commit can be unknown.
        self.cache.forget_all();
        match result {
            Ok(_) => Ok(true),
            Err(state::Error::Conflict { .. }) if *attempts + 1 < limits::ATTEMPTS_MAX => {
                *attempts += 1;
                tokio::task::yield_now().await;
                Ok(false)
            }
            Err(state::Error::Conflict { .. }) => Err(Error::Busy),
            Err(error) => Err(error.into()),
        }
    }

    /// A record and its version.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        tenant: &Tenant,
        kind: &str,
        id: &str,
    ) -> Result<Option<(T, u64)>> {
        match self.state.get(record::key(tenant, kind, id)).await? {
            None => Ok(None),
            Some(record) => Ok(Some((record::decode(&record)?, record.version))),
        }
    }

    /// All records of a kind, of which there are at most as many as fit one page; oldest first.
    pub(crate) async fn read_all<T: DeserializeOwned>(
        &self,
        tenant: &Tenant,
        kind: &str,
        term: Option<IndexTerm>,
    ) -> Result<Vec<(T, u64)>> {
        let scan = Scan { term, ..Scan::of(&record::home(tenant), kind) };
        let page = self.state.scan(scan).await?;
        page.items.iter().map(|record| Ok((record::decode(record)?, record.version))).collect()
    }

    pub(crate) fn draft(ctx: &Ctx, kind: &str, subject: &str, why: &str, body: Json) -> Draft {
        Draft {
            id: EventId::new(),
            tenant: ctx.scope.tenant.clone(),
            environment: Environment::default(),
            kind: format!("stead.{kind}.v1"),
            subject: subject.to_owned(),
            actor: ctx.actor.clone(),
            cause: ctx.cause.clone(),
            why: why.to_owned(),
            body,
        }
    }
}
