use std::time::Duration;

use access::{ChangePerson, Client, Grant, NewSession, Role};
use base::Fault;

use crate::{Home, bearer, client, ctx, hours, new_token, reading, tenant};

const PASSWORD: &str = "a good long one";

async fn with_password() -> (Home, NewSession) {
    let (home, session) = Home::started().await;
    let owner = home.principal(&session).await;
    home.access.set_password(&ctx(), &owner, None, Some(PASSWORD)).await.unwrap();
    (home, session)
}

#[tokio::test]
async fn who_has_a_password_comes_back_without_a_link() {
    let (home, _) = with_password().await;
    home.pass(hours(24 * 30));
    let session = home.access.sign_in(&ctx(), " OWNER", PASSWORD, &client()).await.unwrap();
    assert!(home.is_in(&reading(&session)).await);
    for (name, password) in [("owner", "a good long two"), ("nobody", PASSWORD), ("", ""), ("owner", "")] {
        let error = home.access.sign_in(&ctx(), name, password, &Client::default()).await.unwrap_err();
        assert_eq!(error.code(), "access.password", "{name}");
    }
    // Somebody without a password, and somebody who left.
    let bob = home.signed_in("bob", Role::Viewer).await;
    let error = home.access.sign_in(&ctx(), "bob", PASSWORD, &Client::default()).await.unwrap_err();
    assert_eq!(error.code(), "access.password");
    let principal = home.principal(&bob).await;
    home.access.set_password(&ctx(), &principal, None, Some(PASSWORD)).await.unwrap();
    let out = ChangePerson { active: Some(false), ..Default::default() };
    home.access.change_person(&ctx(), &bob.person.id, out).await.unwrap();
    let error = home.access.sign_in(&ctx(), "bob", PASSWORD, &Client::default()).await.unwrap_err();
    assert_eq!(error.code(), "access.password");
}

#[tokio::test]
async fn guessing_slows_down_by_person_whatever_the_address() {
    let (home, _) = with_password().await;
    let from = |n: u8| Client { address: Some([198, 51, 100, n].into()), agent: String::new() };
    let guess =
        async |n| home.access.sign_in(&ctx(), "owner", "a wrong long one", &from(n)).await.unwrap_err();
    for n in 0..5 {
        assert_eq!(guess(n).await.code(), "access.password");
    }
    assert_eq!(guess(9).await.code(), "access.throttled");
    // The right one has to wait too, but never long.
    let early = home.access.sign_in(&ctx(), "owner", PASSWORD, &from(10)).await.unwrap_err();
    assert_eq!(early.code(), "access.throttled");
    home.pass(Duration::from_secs(30));
    home.access.sign_in(&ctx(), "owner", PASSWORD, &from(10)).await.unwrap();
    assert_eq!(guess(11).await.code(), "access.password", "counted anew");
}

#[tokio::test]
async fn guessing_slows_down_by_address_whatever_the_name() {
    let (home, _) = with_password().await;
    for n in 0..5 {
        let name = format!("somebody {n}");
        let error = home.access.sign_in(&ctx(), &name, PASSWORD, &client()).await.unwrap_err();
        assert_eq!(error.code(), "access.password");
    }
    let error = home.access.sign_in(&ctx(), "owner", PASSWORD, &client()).await.unwrap_err();
    assert_eq!(error.code(), "access.throttled");
    let elsewhere = Client { address: Some([203, 0, 113, 1].into()), agent: String::new() };
    home.access.sign_in(&ctx(), "owner", PASSWORD, &elsewhere).await.unwrap();
}

/// Setting the wall clock does not shorten a wait.
#[tokio::test]
async fn a_jump_of_the_clock_buys_no_guesses() {
    let (home, _) = with_password().await;
    for _ in 0..5 {
        let _ = home.access.sign_in(&ctx(), "owner", "a wrong long one", &client()).await;
    }
    home.clock.jump_to(crate::now(&home).plus(hours(100)));
    let error = home.access.sign_in(&ctx(), "owner", PASSWORD, &client()).await.unwrap_err();
    assert_eq!(error.code(), "access.throttled");
}

#[tokio::test]
async fn changing_it_needs_the_current_one_or_a_fresh_session_and_ends_the_others() {
    let (home, session) = with_password().await;
    let other = home.access.sign_in(&ctx(), "owner", PASSWORD, &client()).await.unwrap();
    home.pass(Duration::from_secs(601));
    let owner = home.principal(&session).await;
    let change = async |current: Option<&'static str>, new| {
        home.access.set_password(&ctx(), &owner, current, Some(new)).await
    };
    assert_eq!(change(None, "another long one").await.unwrap_err().code(), "access.current_password");
    assert_eq!(change(Some("not this"), "another long one").await.unwrap_err().code(), "access.password");
    assert_eq!(change(Some(PASSWORD), "short").await.unwrap_err().code(), "access.weak_password");
    assert!(home.is_in(&reading(&other)).await);
    change(Some(PASSWORD), "another long one").await.unwrap();
    assert!(!home.is_in(&reading(&other)).await);
    assert!(home.is_in(&reading(&session)).await);
    assert!(home.access.sign_in(&ctx(), "owner", PASSWORD, &Client::default()).await.is_err());
    home.access.sign_in(&ctx(), "owner", "another long one", &Client::default()).await.unwrap();
    home.access.set_password(&ctx(), &owner, Some("another long one"), None).await.unwrap();
    assert!(!home.access.person(&tenant(), &session.person.id).await.unwrap().password);
}

#[tokio::test]
async fn a_token_sets_no_password() {
    let (home, session) = Home::started().await;
    let owner = home.principal(&session).await;
    let token = home.access.create_token(&ctx(), &owner, &new_token("ci", Grant::all())).await.unwrap();
    let by = home.access.authenticate(&tenant(), &bearer(&token.secret)).await.unwrap().principal;
    let error = home.access.set_password(&ctx(), &by, None, Some(PASSWORD)).await.unwrap_err();
    assert_eq!(error.code(), "access.no_session");
}

/// Memory for stretching is bounded: of a flood, some are turned away and the rest are answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_turned_away() {
    let (home, _) = with_password().await;
    let mut runs = tokio::task::JoinSet::new();
    for n in 0..60u8 {
        let access = home.access.clone();
        let from = Client { address: Some([192, 0, 2, n].into()), agent: String::new() };
        // Unknown names count together, so a few get through to stretching; known ones do too.
        let who = format!("p{n}");
        let invited = access.invite(&ctx(), &who, Role::Viewer).await.unwrap();
        assert!(invited.person.active);
        runs.spawn(async move { access.sign_in(&ctx(), &who, PASSWORD, &from).await.unwrap_err() });
    }
    let codes: Vec<_> = runs.join_all().await.iter().map(Fault::code).collect();
    assert!(codes.iter().all(|code| ["access.password", "access.limit"].contains(code)), "{codes:?}");
    assert!(codes.contains(&"access.password"));
    home.access.sign_in(&ctx(), "owner", PASSWORD, &Client::default()).await.unwrap();
}
