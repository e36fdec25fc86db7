use std::sync::Arc;

use access::{Access, ChangePerson, Options, Role, limits};
use base::Fault;
use state::MemoryState;

use crate::{Home, client, ctx, hours, reading, tenant};

fn role(role: Role) -> ChangePerson {
    ChangePerson { role: Some(role), ..Default::default() }
}

fn active(active: bool) -> ChangePerson {
    ChangePerson { active: Some(active), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_owner_is_made_once() {
    let home = Home::new();
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let access = home.again();
        starts.spawn(async move { access.bootstrap(&ctx()).await.unwrap().is_some() });
    }
    assert_eq!(starts.join_all().await.into_iter().filter(|made| *made).count(), 1);
    let people = home.access.people(&tenant()).await.unwrap();
    assert_eq!(people.len(), 1);
    assert_eq!((people[0].name.as_str(), people[0].role), ("owner", Role::Admin));
    // Not even when the owner is renamed, and long after.
    let change = ChangePerson { name: Some("Ada".into()), ..Default::default() };
    home.access.change_person(&ctx(), &people[0].id, change).await.unwrap();
    home.pass(hours(10_000));
    assert!(home.again().bootstrap(&ctx()).await.unwrap().is_none());
    assert_eq!(home.access.owner(&tenant()).await.unwrap().name, "Ada");
}

#[tokio::test]
async fn the_last_admin_stays() {
    let (home, owner) = Home::started().await;
    let id = &owner.person.id;
    for change in [role(Role::Operator), active(false)] {
        let error = home.access.change_person(&ctx(), id, change).await.unwrap_err();
        assert_eq!(error.code(), "access.last_admin");
    }
    let other = home.invite("bob", Role::Admin).await.person;
    home.access.change_person(&ctx(), id, role(Role::Viewer)).await.unwrap();
    let error = home.access.change_person(&ctx(), &other.id, active(false)).await.unwrap_err();
    assert_eq!(error.code(), "access.last_admin");
    // An admin who is not active does not count.
    home.access.change_person(&ctx(), id, role(Role::Admin)).await.unwrap();
    home.access.change_person(&ctx(), &other.id, active(false)).await.unwrap();
    let error = home.access.change_person(&ctx(), id, role(Role::Viewer)).await.unwrap_err();
    assert_eq!(error.code(), "access.last_admin");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_admins_who_demote_each_other_at_once() {
    for _ in 0..100 {
        let (home, owner) = Home::started().await;
        let other = home.invite("bob", Role::Admin).await.person;
        let demote = |access: std::sync::Arc<access::Access>, id| {
            tokio::task::spawn(async move { access.change_person(&ctx(), &id, role(Role::Viewer)).await })
        };
        let a = demote(home.access.clone(), other.id);
        let b = demote(home.again(), owner.person.id);
        let (a, b) = (a.await.unwrap(), b.await.unwrap());
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
        let people = home.access.people(&tenant()).await.unwrap();
        assert_eq!(people.iter().filter(|p| p.active && p.role == Role::Admin).count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_invitations_to_one_name_one_holds() {
    let (home, _) = Home::started().await;
    let mut runs = tokio::task::JoinSet::new();
    for name in ["Bob", "bob", " BOB "] {
        let access = home.again();
        runs.spawn(async move { access.invite(&ctx(), name, Role::Viewer).await.map(drop) });
    }
    let results = runs.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().filter_map(|r| r.as_ref().err()).all(|e| e.code() == "access.name_taken"));
}

#[tokio::test]
async fn names_are_checked() {
    let (home, owner) = Home::started().await;
    let long = "x".repeat(limits::NAME_CHARS_MAX + 1);
    for bad in ["", "  ", "a\nb", "a\u{202e}b", "a\u{200b}b", long.as_str()] {
        assert_eq!(home.access.invite(&ctx(), bad, Role::Viewer).await.unwrap_err().code(), "access.name");
        let change = ChangePerson { name: Some(bad.into()), ..Default::default() };
        let error = home.access.change_person(&ctx(), &owner.person.id, change).await.unwrap_err();
        assert_eq!(error.code(), "access.name");
    }
    home.invite("Łukasz 李 O'Neil", Role::Viewer).await;
}

#[tokio::test]
async fn who_is_deactivated_is_out_at_once_and_comes_back_with_a_link_only() {
    let (home, _) = Home::started().await;
    let bob = home.signed_in("bob", Role::Operator).await;
    let spare = home.access.sign_in_link(&ctx(), &bob.person.id).await.unwrap();
    assert!(home.is_in(&reading(&bob)).await);
    home.access.change_person(&ctx(), &bob.person.id, active(false)).await.unwrap();
    assert!(!home.is_in(&reading(&bob)).await);
    let error = home.access.redeem(&ctx(), spare.token.expose(), &client()).await.unwrap_err();
    assert_eq!(error.code(), "access.link");
    let error = home.access.sign_in_link(&ctx(), &bob.person.id).await.unwrap_err();
    assert_eq!(error.code(), "access.inactive");

    home.access.change_person(&ctx(), &bob.person.id, active(true)).await.unwrap();
    assert!(!home.is_in(&reading(&bob)).await);
    let link = home.access.sign_in_link(&ctx(), &bob.person.id).await.unwrap();
    home.access.redeem(&ctx(), link.token.expose(), &client()).await.unwrap();
}

#[tokio::test]
async fn a_new_role_counts_from_the_next_request() {
    let (home, _) = Home::started().await;
    let bob = home.signed_in("bob", Role::Operator).await;
    assert_eq!(home.principal(&bob).await.role, Role::Operator);
    home.access.change_person(&ctx(), &bob.person.id, role(Role::Viewer)).await.unwrap();
    assert_eq!(home.principal(&bob).await.role, Role::Viewer);
    // Also when another engine made the change.
    home.again().change_person(&ctx(), &bob.person.id, role(Role::Admin)).await.unwrap();
    assert_eq!(home.principal(&bob).await.role, Role::Admin);
}

#[tokio::test]
async fn people_are_limited_and_deactivation_makes_room() {
    let (home, _) = Home::started().await;
    let mut first = None;
    for n in 1..limits::PEOPLE_ACTIVE_MAX {
        first = Some(home.invite(&format!("p{n}"), Role::Viewer).await.person.id);
    }
    let error = home.access.invite(&ctx(), "more", Role::Viewer).await.unwrap_err();
    assert_eq!(error.code(), "access.limit");
    let gone = first.unwrap();
    home.access.change_person(&ctx(), &gone, active(false)).await.unwrap();
    home.invite("more", Role::Viewer).await;
    let error = home.access.change_person(&ctx(), &gone, active(true)).await.unwrap_err();
    assert_eq!(error.code(), "access.limit");
}

#[tokio::test]
async fn people_who_left_are_limited_too() {
    let (home, _) = Home::started().await;
    let person = home.invite("bob", Role::Viewer).await.person;
    home.access.change_person(&ctx(), &person.id, active(false)).await.unwrap();
    let rename = |body: &mut serde_json::Value, id: String| {
        body["name"] = id.clone().into();
        body["id"] = id.into();
    };
    home.multiply("person", limits::PEOPLE_MAX - 3, rename).await;
    home.invite("one more", Role::Viewer).await;
    let error = home.access.invite(&ctx(), "more", Role::Viewer).await.unwrap_err();
    assert_eq!(error.code(), "access.limit");
}

#[tokio::test]
async fn the_ledger_says_who_did_what_to_whom() {
    let (home, owner) = Home::started().await;
    let mut ctx = ctx();
    ctx.actor = home.principal(&owner).await.actor();
    let bob = home.access.invite(&ctx, "bob", Role::Viewer).await.unwrap().person;
    home.access.change_person(&ctx, &bob.id, role(Role::Operator)).await.unwrap();
    home.access.change_person(&ctx, &bob.id, active(false)).await.unwrap();
    let entries = home.entries().await;
    let kinds: Vec<_> = entries.iter().map(|entry| entry.draft.kind.as_str()).collect();
    let expected = [
        "stead.person.invited.v1",
        "stead.session.started.v1",
        "stead.person.invited.v1",
        "stead.person.changed.v1",
        "stead.person.deactivated.v1",
    ];
    assert_eq!(kinds, expected);
    let changed = &entries[3].draft;
    assert_eq!(changed.subject, bob.id.as_str());
    assert_eq!(changed.actor.as_str(), format!("user:{}", owner.person.id));
    assert_eq!(changed.body["before"]["role"], "viewer");
    assert_eq!(changed.body["after"]["role"], "operator");
}

#[tokio::test]
async fn a_change_that_others_always_beat_gives_up_at_the_limit() {
    let home = Home::new();
    let state = state::faulty::FaultyState::new(MemoryState::new(home.clock.clone()));
    let access = Access::new(Arc::new(state.clone()), home.clock.clone(), Options::default());
    access.bootstrap(&ctx()).await.unwrap();
    let before = state.writes();
    state.fail_from(before, state::Error::Conflict { what: "on purpose".into() });
    let refused = access.invite(&ctx(), "Grace", Role::Viewer).await.unwrap_err();
    assert_eq!(refused.code(), "access.busy");
    assert_eq!(state.writes() - before, limits::ATTEMPTS_MAX as u64);
    state.heal();
    access.invite(&ctx(), "Grace", Role::Viewer).await.unwrap();
}
