use std::time::Duration;

use access::{Action, Credential, Grant, NewToken, Resource, Role, TokenScope, decide, limits};
use base::{Environment, Fault, Scope};

use crate::{Home, bearer, ctx, hours, new_token, scopes, tenant};

#[tokio::test]
async fn a_token_is_good_as_bearer_and_as_password() {
    let (home, owner) = Home::started().await;
    let owner = home.principal(&owner).await;
    let new = new_token("ci", scopes(&[TokenScope::Deploy]));
    let made = home.access.create_token(&ctx(), &owner, &new).await.unwrap();
    assert!(made.secret.expose().starts_with("stead_pat_"));
    assert!(!format!("{made:?}").contains(made.secret.expose()));
    for credential in [bearer(&made.secret), Credential::Basic(made.secret.clone())] {
        let got = home.access.authenticate(&tenant(), &credential).await.unwrap();
        assert_eq!(got.principal.actor().as_str(), format!("token:{}", made.token.id));
        assert_eq!(got.principal.person, owner.person);
        let here = Resource::environment(&Scope::default());
        assert!(decide(&got.principal, Action::Apply, &here).allow);
        assert!(!decide(&got.principal, Action::Exec, &here).allow);
        assert!(got.csrf.is_none());
    }
    let elsewhere = base::Tenant::parse("acme").unwrap();
    assert!(home.access.authenticate(&elsewhere, &bearer(&made.secret)).await.is_err());
}

#[tokio::test]
async fn tokens_expire_and_are_revoked_at_once() {
    let (home, owner) = Home::started().await;
    let owner = home.principal(&owner).await;
    let new = new_token("ci", scopes(&[TokenScope::Read]));
    let (a, b) = (
        home.access.create_token(&ctx(), &owner, &new).await.unwrap(),
        home.access.create_token(&ctx(), &owner, &new).await.unwrap(),
    );
    assert!(home.is_in(&bearer(&a.secret)).await);
    home.again().revoke_token(&ctx(), &a.token.id, "leaked").await.unwrap();
    assert!(!home.is_in(&bearer(&a.secret)).await);
    assert!(home.is_in(&bearer(&b.secret)).await);
    home.pass(hours(24 * 90) - Duration::from_secs(1));
    assert!(home.is_in(&bearer(&b.secret)).await);
    home.pass(Duration::from_secs(1));
    assert!(!home.is_in(&bearer(&b.secret)).await);
    assert_eq!(home.access.tokens(&tenant(), None).await.unwrap().len(), 1, "shown for a while");
    home.pass(limits::EXPIRED_KEPT + Duration::from_secs(1));
    home.access.create_token(&ctx(), &owner, &new).await.unwrap();
    assert_eq!(home.access.tokens(&tenant(), None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn lives_and_scopes_are_checked() {
    let (home, owner) = Home::started().await;
    let owner = home.principal(&owner).await;
    for life in [Duration::from_secs(59), limits::TOKEN_LIFE_MAX + Duration::from_secs(1), Duration::ZERO] {
        let new = NewToken { life: Some(life), ..new_token("ci", scopes(&[TokenScope::Read])) };
        let error = home.access.create_token(&ctx(), &owner, &new).await.unwrap_err();
        assert_eq!(error.code(), "access.lifetime");
    }
    let error = home.access.create_token(&ctx(), &owner, &new_token("ci", scopes(&[]))).await.unwrap_err();
    assert_eq!(error.code(), "access.no_scopes");
    let error = "deploi".parse::<TokenScope>().unwrap_err();
    assert!(error.hint().unwrap().contains("deploy"));
}

#[tokio::test]
async fn a_token_makes_no_greater_token() {
    let (home, owner) = Home::started().await;
    let owner = home.principal(&owner).await;
    let prod =
        |environments: &[&str]| Some(environments.iter().map(|e| Environment::parse(e).unwrap()).collect());
    let grant = Grant {
        scopes: [TokenScope::Access, TokenScope::Read].into(),
        environments: prod(&["prod", "staging"]),
    };
    let made = home.access.create_token(&ctx(), &owner, &new_token("parent", grant.clone())).await.unwrap();
    let parent = home.access.authenticate(&tenant(), &bearer(&made.secret)).await.unwrap().principal;
    let refused = [
        Grant { scopes: [TokenScope::Deploy].into(), ..grant.clone() },
        Grant { environments: None, ..grant.clone() },
        Grant { environments: prod(&["prod", "dev"]), ..grant.clone() },
    ];
    for grant in refused {
        let error = home.access.create_token(&ctx(), &parent, &new_token("child", grant)).await.unwrap_err();
        assert_eq!(error.code(), "access.exceeds");
    }
    let long = NewToken { life: Some(hours(24 * 91)), ..new_token("child", grant.clone()) };
    let error = home.access.create_token(&ctx(), &parent, &long).await.unwrap_err();
    assert_eq!(error.code(), "access.exceeds");
    home.pass(hours(24 * 30));
    let within = Grant { environments: prod(&["prod"]), ..grant };
    let child = home.access.create_token(&ctx(), &parent, &new_token("child", within)).await.unwrap();
    assert_eq!(child.token.expires_at, made.token.expires_at, "no longer than its parent");
    assert_eq!(child.token.person, owner.person);
}

#[tokio::test]
async fn a_token_follows_its_owner() {
    let (home, _) = Home::started().await;
    let bob = home.signed_in("bob", Role::Admin).await;
    let principal = home.principal(&bob).await;
    let new = new_token("ci", Grant::all());
    let made = home.access.create_token(&ctx(), &principal, &new).await.unwrap();
    let role = async || {
        home.access.authenticate(&tenant(), &bearer(&made.secret)).await.map(|got| got.principal.role)
    };
    assert_eq!(role().await.unwrap(), Role::Admin);
    let down = access::ChangePerson { role: Some(Role::Viewer), ..Default::default() };
    home.access.change_person(&ctx(), &bob.person.id, down).await.unwrap();
    assert_eq!(role().await.unwrap(), Role::Viewer);
    let out = access::ChangePerson { active: Some(false), ..Default::default() };
    home.access.change_person(&ctx(), &bob.person.id, out).await.unwrap();
    assert!(role().await.is_err());
    assert!(home.access.tokens(&tenant(), None).await.unwrap().is_empty());
    let error = home.access.create_token(&ctx(), &principal, &new).await.unwrap_err();
    assert_eq!(error.code(), "access.inactive");
}

#[tokio::test]
async fn tokens_are_limited_per_person_and_per_tenant() {
    let (home, owner) = Home::started().await;
    let owner = home.principal(&owner).await;
    let new = new_token("ci", scopes(&[TokenScope::Read]));
    let mut last = None;
    for _ in 0..limits::TOKENS_PER_PERSON_MAX {
        last = Some(home.access.create_token(&ctx(), &owner, &new).await.unwrap());
    }
    let error = home.access.create_token(&ctx(), &owner, &new).await.unwrap_err();
    assert_eq!(error.code(), "access.limit");
    home.access.revoke_token(&ctx(), &last.unwrap().token.id, "room").await.unwrap();
    home.access.create_token(&ctx(), &owner, &new).await.unwrap();

    let of_others = |body: &mut serde_json::Value, id: String| {
        body["person"] = access::PersonId::new().as_str().into();
        body["id"] = id.into();
    };
    home.multiply("api-token", limits::TOKENS_PER_TENANT_MAX - limits::TOKENS_PER_PERSON_MAX - 1, of_others)
        .await;
    let session = home.signed_in("somebody", Role::Viewer).await;
    let principal = home.principal(&session).await;
    home.access.create_token(&ctx(), &principal, &new).await.unwrap();
    let error = home.access.create_token(&ctx(), &principal, &new).await.unwrap_err();
    assert!(error.to_string().contains("tenant"), "{error}");
}

#[tokio::test]
async fn last_used_is_coarse() {
    let (home, owner) = Home::started().await;
    let owner = home.principal(&owner).await;
    let made = home.access.create_token(&ctx(), &owner, &new_token("ci", Grant::all())).await.unwrap();
    let mut heard = home.state.watch();
    for _ in 0..90 {
        assert!(home.is_in(&bearer(&made.secret)).await);
        home.pass(Duration::from_secs(1));
    }
    assert_eq!(std::iter::from_fn(|| heard.try_recv().ok()).count(), 2, "at 0 s and 60 s");
    assert!(home.access.token(&tenant(), &made.token.id).await.unwrap().used_at.is_some());
}
