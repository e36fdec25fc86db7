//! Whatever is done in whatever order: there is an active admin, and a credential is good exactly as
//! long as it should be.

use std::time::Duration;

use access::{ChangePerson, CreatedToken, NewSession, Options, PersonId, Role, TokenScope};
use proptest::prelude::*;

use crate::{Home, bearer, client, ctx, new_token, reading, scopes, tenant};

#[derive(Debug, Clone)]
enum Step {
    Invite(u8),
    Role(usize, u8),
    Active(usize, bool),
    SignIn(usize),
    SignOut(usize),
    MakeToken(usize),
    Revoke(usize),
    Pass(u64),
    Restart,
    Use,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0usize..8;
    prop_oneof![
        (0u8..3).prop_map(Step::Invite),
        (who.clone(), 0u8..3).prop_map(|(who, role)| Step::Role(who, role)),
        (who.clone(), any::<bool>()).prop_map(|(who, active)| Step::Active(who, active)),
        who.clone().prop_map(Step::SignIn),
        who.clone().prop_map(Step::SignOut),
        who.clone().prop_map(Step::MakeToken),
        who.prop_map(Step::Revoke),
        prop_oneof![0u64..200, 0u64..200_000].prop_map(Step::Pass),
        Just(Step::Restart),
        Just(Step::Use),
    ]
}

/// What should hold of a credential.
struct Expected<C> {
    credential: C,
    person: PersonId,
    ended: bool,
    /// In seconds of the test's own time.
    expires_s: u64,
    /// When it was last seen, as far as that is written: to the minute. None for a token.
    seen_s: Option<u64>,
}

impl<C> Expected<C> {
    fn should_be_in(&self, now_s: u64) -> bool {
        let idle_s = Options::default().session_idle.as_secs();
        !self.ended && now_s < self.expires_s && self.seen_s.is_none_or(|seen_s| now_s < seen_s + idle_s)
    }

    fn seen(&mut self, now_s: u64) {
        self.seen_s = self.seen_s.map(|seen_s| if now_s - seen_s >= 60 { now_s } else { seen_s });
    }
}

struct Run {
    home: Home,
    now_s: u64,
    sessions: Vec<Expected<NewSession>>,
    tokens: Vec<Expected<CreatedToken>>,
}

const ROLES: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

impl Run {
    async fn person(&self, at: usize) -> PersonId {
        let people = self.home.access.people(&tenant()).await.unwrap();
        people[at % people.len()].id.clone()
    }

    async fn take(&mut self, step: Step, count: usize) {
        let access = self.home.access.clone();
        match step {
            Step::Invite(role) => {
                access.invite(&ctx(), &format!("p{count}"), ROLES[usize::from(role)]).await.unwrap();
            }
            Step::Role(who, role) => {
                let change = ChangePerson { role: Some(ROLES[usize::from(role)]), ..Default::default() };
                let _ = access.change_person(&ctx(), &self.person(who).await, change).await;
            }
            Step::Active(who, active) => {
                let person = self.person(who).await;
                let change = ChangePerson { active: Some(active), ..Default::default() };
                if access.change_person(&ctx(), &person, change).await.is_ok() && !active {
                    let sessions = self.sessions.iter_mut().filter(|s| s.person == person);
                    sessions.for_each(|session| session.ended = true);
                    let tokens = self.tokens.iter_mut().filter(|t| t.person == person);
                    tokens.for_each(|token| token.ended = true);
                }
            }
            Step::SignIn(who) => self.sign_in(who).await,
            Step::SignOut(which) if !self.sessions.is_empty() => {
                let at = which % self.sessions.len();
                let session = &mut self.sessions[at];
                let _ = access.end_session(&ctx(), &session.credential.session.id).await;
                session.ended = true;
            }
            Step::MakeToken(which) => self.make_token(which).await,
            Step::Revoke(which) if !self.tokens.is_empty() => {
                let at = which % self.tokens.len();
                let token = &mut self.tokens[at];
                let _ = access.revoke_token(&ctx(), &token.credential.token.id, "a test").await;
                token.ended = true;
            }
            Step::Pass(seconds) => {
                self.home.pass(Duration::from_secs(seconds));
                self.now_s += seconds;
            }
            Step::Restart => self.home.access = self.home.again(),
            Step::SignOut(_) | Step::Revoke(_) | Step::Use => {}
        }
    }

    async fn sign_in(&mut self, who: usize) {
        let (access, person) = (&self.home.access, self.person(who).await);
        let Ok(link) = access.sign_in_link(&ctx(), &person).await else { return };
        let credential = access.redeem(&ctx(), link.token.expose(), &client()).await.unwrap();
        let options = Options::default();
        self.sessions.push(Expected {
            credential,
            person,
            ended: false,
            expires_s: self.now_s + options.session_life.as_secs(),
            seen_s: Some(self.now_s),
        });
    }

    async fn make_token(&mut self, which: usize) {
        let now_s = self.now_s;
        let mut live: Vec<_> = self.sessions.iter_mut().filter(|s| s.should_be_in(now_s)).collect();
        if live.is_empty() {
            return;
        }
        let at = which % live.len();
        let session = &mut live[at];
        session.seen(now_s);
        let by = self.home.principal(&session.credential).await;
        let life = Duration::from_secs(100_000);
        let new = access::NewToken { life: Some(life), ..new_token("t", scopes(&[TokenScope::Read])) };
        let credential = self.home.access.create_token(&ctx(), &by, &new).await.unwrap();
        let expires_s = self.now_s + life.as_secs();
        let person = session.person.clone();
        self.tokens.push(Expected { credential, person, ended: false, expires_s, seen_s: None });
    }

    async fn check(&mut self, used: bool) {
        let people = self.home.access.people(&tenant()).await.unwrap();
        assert!(people.iter().any(|person| person.active && person.role == Role::Admin), "no admin");
        for at in 0..self.tokens.len() {
            let token = &self.tokens[at];
            let is_in = self.home.is_in(&bearer(&token.credential.secret)).await;
            assert_eq!(is_in, token.should_be_in(self.now_s), "token {at}");
        }
        for at in 0..self.sessions.len() {
            let session = &self.sessions[at];
            let should = session.should_be_in(self.now_s);
            // Looking keeps a session alive, so the living are looked at only when told to.
            if used || !should {
                let is_in = self.home.is_in(&reading(&session.credential)).await;
                assert_eq!(is_in, should, "session {at}");
                if is_in {
                    self.sessions[at].seen(self.now_s);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn admins_remain_and_credentials_are_good_as_long_as_they_should(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let home = Home::new();
            home.access.bootstrap(&ctx()).await.unwrap();
            let mut run = Run { home, now_s: 0, sessions: Vec::new(), tokens: Vec::new() };
            for (count, step) in steps.into_iter().enumerate() {
                let used = matches!(step, Step::Use);
                run.take(step, count).await;
                run.check(used).await;
            }
        });
    }
}
