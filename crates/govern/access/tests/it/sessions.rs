use std::time::Duration;

use access::{Csrf, limits};
use base::{Fault, Timestamp};

use crate::{Home, client, cookie, ctx, hours, now, reading, tenant};

#[tokio::test]
async fn a_link_signs_in_once() {
    let home = Home::new();
    let link = home.access.bootstrap(&ctx()).await.unwrap().unwrap();
    assert!(!format!("{link:?}").contains(link.token.expose()));
    let session = home.access.redeem(&ctx(), link.token.expose(), &client()).await.unwrap();
    assert_eq!(session.person.id, link.person);
    assert!(home.is_in(&reading(&session)).await);
    let again = home.access.redeem(&ctx(), link.token.expose(), &client()).await.unwrap_err();
    assert_eq!(again.code(), "access.link");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_use_one_link_at_once_one_gets_in() {
    for _ in 0..20 {
        let home = Home::new();
        let link = home.access.bootstrap(&ctx()).await.unwrap().unwrap();
        let mut runs = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let (access, link) = (home.again(), link.clone());
            runs.spawn(async move { access.redeem(&ctx(), link.token.expose(), &client()).await.is_ok() });
        }
        assert_eq!(runs.join_all().await.into_iter().filter(|got_in| *got_in).count(), 1);
    }
}

#[tokio::test]
async fn links_expire_and_the_newest_few_are_kept() {
    let home = Home::new();
    let link = home.access.bootstrap(&ctx()).await.unwrap().unwrap();
    home.pass(hours(24));
    let late = home.access.redeem(&ctx(), link.token.expose(), &client()).await.unwrap_err();
    assert_eq!(late.code(), "access.link");
    let mut links = Vec::new();
    for _ in 0..=limits::LINKS_PER_PERSON_MAX {
        links.push(home.access.sign_in_link(&ctx(), &link.person).await.unwrap());
    }
    let oldest = home.access.redeem(&ctx(), links[0].token.expose(), &client()).await.unwrap_err();
    assert_eq!(oldest.code(), "access.link");
    for link in &links[1..] {
        home.access.redeem(&ctx(), link.token.expose(), &client()).await.unwrap();
    }
}

#[tokio::test]
async fn sessions_end_when_idle_and_at_last_in_any_case() {
    let (home, session) = Home::started().await;
    for _ in 0..15 {
        home.pass(hours(11));
        assert!(home.is_in(&reading(&session)).await, "used within the idle time");
    }
    home.pass(hours(4));
    assert!(!home.is_in(&reading(&session)).await, "over its life of a week");

    let (home, session) = Home::started().await;
    home.pass(hours(12));
    assert!(!home.is_in(&reading(&session)).await, "idle");
    assert!(home.access.sessions(&tenant(), &session.person.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_clock_that_is_set_back_revives_nothing() {
    let (home, session) = Home::started().await;
    let start = now(&home);
    home.pass(hours(13));
    assert!(!home.is_in(&reading(&session)).await);
    home.clock.jump_to(start);
    assert!(!home.is_in(&reading(&session)).await, "what expired stays so");
    // What begins after the jump lives as long as anything else.
    let link = home.access.sign_in_link(&ctx(), &session.person.id).await.unwrap();
    let session = home.access.redeem(&ctx(), link.token.expose(), &client()).await.unwrap();
    home.pass(hours(11));
    assert!(home.is_in(&reading(&session)).await);
    home.pass(hours(12));
    assert!(!home.is_in(&reading(&session)).await);
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_and_comes_back_costs_nobody_the_session() {
    let (home, session) = Home::started().await;
    let start = now(&home);
    home.clock.jump_to(start.plus(hours(24 * 365)));
    assert!(!home.is_in(&reading(&session)).await, "as long as it is wrong");
    home.clock.jump_to(start);
    assert!(home.is_in(&reading(&session)).await);
}

#[tokio::test]
async fn what_was_made_in_the_future_is_refused_after_a_restart() {
    let home = Home::new();
    let right = now(&home);
    home.clock.jump_to(right.plus(hours(24 * 1_000)));
    let link = home.access.bootstrap(&ctx()).await.unwrap().unwrap();
    let session = home.access.redeem(&ctx(), link.token.expose(), &client()).await.unwrap();
    home.clock.jump_to(right);
    let access = home.again();
    assert!(access.authenticate(&tenant(), &reading(&session)).await.is_err());
    // A new link, made with the right time, signs in.
    let link = access.sign_in_link(&ctx(), &session.person.id).await.unwrap();
    let session = access.redeem(&ctx(), link.token.expose(), &client()).await.unwrap();
    assert!(access.authenticate(&tenant(), &reading(&session)).await.is_ok());
}

#[tokio::test]
async fn ending_a_session_counts_at_once_everywhere() {
    let (home, session) = Home::started().await;
    let other = home.again();
    assert!(home.is_in(&reading(&session)).await);
    assert!(other.authenticate(&tenant(), &reading(&session)).await.is_ok());
    let listed = home.access.sessions(&tenant(), &session.person.id).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].agent, "a test");
    home.access.end_session(&ctx(), &listed[0].id).await.unwrap();
    assert!(!home.is_in(&reading(&session)).await);
    assert!(other.authenticate(&tenant(), &reading(&session)).await.is_err());
    let twice = home.access.end_session(&ctx(), &listed[0].id).await.unwrap_err();
    assert_eq!(twice.code(), "access.not_found");
}

#[tokio::test]
async fn over_the_limit_the_session_not_seen_for_longest_ends() {
    let (home, first) = Home::started().await;
    let mut sessions = vec![first];
    for _ in 1..limits::SESSIONS_PER_PERSON_MAX {
        home.pass(Duration::from_secs(61));
        let link = home.access.sign_in_link(&ctx(), &sessions[0].person.id).await.unwrap();
        sessions.push(home.access.redeem(&ctx(), link.token.expose(), &client()).await.unwrap());
    }
    home.pass(Duration::from_secs(61));
    assert!(home.is_in(&reading(&sessions[0])).await, "seen just now");
    let link = home.access.sign_in_link(&ctx(), &sessions[0].person.id).await.unwrap();
    home.access.redeem(&ctx(), link.token.expose(), &client()).await.unwrap();
    assert!(home.is_in(&reading(&sessions[0])).await);
    assert!(!home.is_in(&reading(&sessions[1])).await);
    assert!(home.is_in(&reading(&sessions[2])).await);
    let listed = home.access.sessions(&tenant(), &sessions[0].person.id).await.unwrap();
    assert_eq!(listed.len(), limits::SESSIONS_PER_PERSON_MAX);
}

#[tokio::test]
async fn a_change_by_cookie_needs_the_header() {
    let (home, session) = Home::started().await;
    let other = home.signed_in("bob", access::Role::Admin).await;
    let ask = async |csrf| home.access.authenticate(&tenant(), &cookie(&session, csrf)).await;
    let good = ask(Csrf::Header(Some(session.csrf.clone()))).await.unwrap();
    assert_eq!(good.csrf.as_deref(), Some(session.csrf.as_str()));
    assert!(ask(Csrf::SafeMethod).await.is_ok());
    for bad in [None, Some(String::new()), Some(other.csrf.clone()), Some(session.csrf[1..].to_owned())] {
        assert_eq!(ask(Csrf::Header(bad)).await.unwrap_err().code(), "access.csrf");
    }
}

#[tokio::test]
async fn last_seen_is_written_at_most_once_a_minute() {
    let (home, session) = Home::started().await;
    let mut heard = home.state.watch();
    for _ in 0..50 {
        assert!(home.is_in(&reading(&session)).await);
        home.pass(Duration::from_secs(2));
    }
    let writes = std::iter::from_fn(|| heard.try_recv().ok()).count();
    assert_eq!(writes, 1, "in 100 s");
    let seen = home.access.sessions(&tenant(), &session.person.id).await.unwrap()[0].seen_at;
    assert!(seen > session.session.seen_at && seen != Timestamp::default());
    assert!(!home.entries().await.iter().any(|entry| entry.draft.kind.contains("seen")));
}
