//! Access over state: who gets in, who stays out, and what holds under races and clock jumps.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers of tests are tests too

mod credentials;
mod local;
mod passwords;
mod people;
mod property;
mod sessions;
mod tokens;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use access::{
    Access, Client, Credential, Csrf, Error, Grant, Invited, NewSession, NewToken, Options, Principal,
    RequestHeaders, Role, TokenScope,
};
use base::{Clock, Ctx, Scope, Tenant, Timestamp, time::ManualClock};
use ledger::Entry;
use state::{EntryQuery, MemoryState, State};

struct Home {
    clock: Arc<ManualClock>,
    state: Arc<dyn State>,
    access: Arc<Access>,
}

impl Home {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let state: Arc<dyn State> = Arc::new(MemoryState::new(clock.clone()));
        let access = Arc::new(Access::new(state.clone(), clock.clone(), Options::default()));
        Self { clock, state, access }
    }

    /// With the owner signed in.
    async fn started() -> (Self, NewSession) {
        let home = Self::new();
        let link = home.access.bootstrap(&ctx()).await.unwrap().unwrap();
        let session = home.access.redeem(&ctx(), link.token.expose(), &client()).await.unwrap();
        (home, session)
    }

    /// As after a restart, or in another process.
    fn again(&self) -> Arc<Access> {
        Arc::new(Access::new(self.state.clone(), self.clock.clone(), Options::default()))
    }

    async fn invite(&self, name: &str, role: Role) -> Invited {
        self.access.invite(&ctx(), name, role).await.unwrap()
    }

    /// Somebody invited who signed in.
    async fn signed_in(&self, name: &str, role: Role) -> NewSession {
        let invited = self.invite(name, role).await;
        self.access.redeem(&ctx(), invited.link.token.expose(), &client()).await.unwrap()
    }

    async fn principal(&self, session: &NewSession) -> Principal {
        self.access.authenticate(&tenant(), &reading(session)).await.unwrap().principal
    }

    async fn is_in(&self, credential: &Credential) -> bool {
        match self.access.authenticate(&tenant(), credential).await {
            Ok(_) => true,
            Err(Error::Unauthenticated) => false,
            Err(other) => panic!("{other:?}"),
        }
    }

    async fn entries(&self) -> Vec<Entry> {
        let query = EntryQuery {
            tenant: tenant(),
            environment: None,
            subject: None,
            kind_prefix: None,
            actor: None,
            correlation: None,
            from: None,
            to: None,
            after: None,
            descending: false,
            limit: 1_000,
        };
        self.state.entries(query).await.unwrap().items
    }

    /// Copies of the newest record of a kind, each under an id of its own, `changed` as told.
    async fn multiply(&self, kind: &str, count: usize, changed: impl Fn(&mut serde_json::Value, String)) {
        let page = self.state.scan(state::Scan::of(&Scope::default(), kind)).await.unwrap();
        let original = page.items.last().unwrap();
        let prefix = original.key.id.split('_').next().unwrap();
        let copies = (0..count).map(|_| {
            let id = base::id::fresh(prefix);
            let mut body = original.body.clone();
            changed(&mut body, id.clone());
            let key = state::Key::new(&Scope::default(), kind, id);
            state::Put::Put { key, body, index: original.index.clone() }
        });
        let commit = state::Commit { puts: copies.collect(), ..Default::default() };
        self.state.commit(commit).await.unwrap();
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

fn ctx() -> Ctx {
    Ctx::system("test", Scope::default())
}

fn tenant() -> Tenant {
    Tenant::default()
}

fn client() -> Client {
    Client { address: Some("192.0.2.7".parse().unwrap()), agent: "a test".into() }
}

/// The credential of a request that changes nothing.
fn reading(session: &NewSession) -> Credential {
    let cookie = format!("stead_session={}", session.secret.expose());
    let headers = RequestHeaders { cookie: Some(&cookie), safe_method: true, ..Default::default() };
    headers.credential().unwrap().unwrap()
}

fn bearer(secret: &access::Secret) -> Credential {
    Credential::Bearer(secret.clone())
}

fn scopes(of: &[TokenScope]) -> Grant {
    Grant { scopes: of.iter().copied().collect::<BTreeSet<_>>(), environments: None }
}

fn new_token(name: &str, grant: Grant) -> NewToken {
    NewToken { name: name.into(), grant, life: None }
}

fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 3_600)
}

fn cookie(session: &NewSession, csrf: Csrf) -> Credential {
    Credential::Cookie { value: session.secret.clone(), csrf }
}

fn now(home: &Home) -> Timestamp {
    home.clock.now()
}
