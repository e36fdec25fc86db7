use std::sync::Arc;

use base::{Fault, Scope};
use secrets::{
    Unlock, Vault,
    limits::{
        ATTEMPTS_MAX, NAMES_PER_SCOPE_MAX, PINS_PER_RELEASE_MAX, PINS_PER_SECRET_MAX, SECRETS_PER_SCOPE_MAX,
        VERSIONS_KEPT, WHY_BYTES_MAX,
    },
};
use secrets_api::{Secrets, Value};
use serde_json::json;
use state::{Commit, Error, Key, MemoryState, Put, faulty::FaultyState};

use crate::{Home, ctx, name, pin, scope, set};

async fn count(home: &Home, live: u64, names: u64) {
    let key = Key::new(&Scope::default(), "secret-count", "count");
    let body = json!({ "format": 1, "live": live, "names": names });
    let puts = vec![Put::Put { key, body, index: Vec::new() }];
    home.state.commit(Commit { puts, ..Commit::default() }).await.unwrap();
}

#[tokio::test]
async fn the_number_of_secrets_is_limited_and_removal_makes_room() {
    let home = Home::new().await;
    for n in 0..SECRETS_PER_SCOPE_MAX {
        set(&home.vault, &format!("s{n}"), "v").await;
    }
    let over = home.vault.set(ctx(), name("more"), Value::new("v").unwrap(), "a test".into());
    assert_eq!(over.await.unwrap_err().code(), "secrets.limit");
    // A new version of one that exists is not a new secret, and other scopes are not affected.
    assert_eq!(set(&home.vault, "s0", "v").await, 2);
    let mut elsewhere = ctx();
    elsewhere.scope = scope("default", "staging");
    home.vault.set(elsewhere, name("more"), Value::new("v").unwrap(), "a test".into()).await.unwrap();
    home.vault.remove(ctx(), name("s1"), "room".into()).await.unwrap();
    assert_eq!(set(&home.vault, "more", "v").await, 1);
    assert_eq!(home.vault.list(Scope::default()).await.unwrap().len() as u64, SECRETS_PER_SCOPE_MAX);
}

#[tokio::test]
async fn names_ever_used_are_limited() {
    let home = Home::new().await;
    set(&home.vault, "old", "v").await;
    home.vault.remove(ctx(), name("old"), "room".into()).await.unwrap();
    count(&home, 0, NAMES_PER_SCOPE_MAX).await;
    let over = home.vault.set(ctx(), name("new"), Value::new("v").unwrap(), "a test".into());
    assert_eq!(over.await.unwrap_err().code(), "secrets.limit");
    assert_eq!(set(&home.vault, "old", "v").await, 2);
}

#[tokio::test]
async fn old_versions_are_destroyed() {
    let home = Home::new().await;
    for n in 0..VERSIONS_KEPT as u64 + 5 {
        set(&home.vault, "KEY", &format!("{n}")).await;
    }
    let summary = home.vault.list(Scope::default()).await.unwrap().remove(0);
    let versions: Vec<_> = summary.versions.iter().map(|v| v.version).collect();
    assert_eq!(versions, (6..=VERSIONS_KEPT as u64 + 5).collect::<Vec<_>>());
    let records = home.state.scan(state::Scan::of(&Scope::default(), "secret-version")).await.unwrap();
    assert_eq!(records.items.len(), VERSIONS_KEPT);
}

#[tokio::test]
async fn pins_are_limited() {
    let home = Home::new().await;
    set(&home.vault, "KEY", "v").await;
    for _ in 0..PINS_PER_SECRET_MAX {
        let (release, versions) = pin(&[("KEY", 1)]);
        home.vault.pin(ctx(), release, versions).await.unwrap();
    }
    let (release, versions) = pin(&[("KEY", 1)]);
    assert_eq!(home.vault.pin(ctx(), release, versions).await.unwrap_err().code(), "secrets.limit");

    let mut versions = std::collections::BTreeMap::new();
    for n in 0..=PINS_PER_RELEASE_MAX {
        set(&home.vault, &format!("s{n}"), "v").await;
        versions.insert(name(&format!("s{n}")), 1);
    }
    let (release, _) = pin(&[]);
    let over = home.vault.pin(ctx(), release.clone(), versions.clone()).await.unwrap_err();
    assert_eq!(over.code(), "secrets.limit");
    versions.pop_last();
    home.vault.pin(ctx(), release, versions).await.unwrap();
}

#[tokio::test]
async fn a_reason_is_short() {
    let home = Home::new().await;
    let why = "x".repeat(WHY_BYTES_MAX + 1);
    let over = home.vault.set(ctx(), name("KEY"), Value::new("v").unwrap(), why.clone()).await.unwrap_err();
    assert_eq!(over.code(), "secrets.limit");
    let fits = why[1..].to_owned();
    home.vault.set(ctx(), name("KEY"), Value::new("v").unwrap(), fits).await.unwrap();
}

#[tokio::test]
async fn a_change_that_others_always_beat_gives_up_at_the_limit() {
    let home = Home::new().await;
    let state = FaultyState::new(MemoryState::new(home.clock.clone()));
    let vault = Vault::open(Arc::new(state.clone()), home.clock.clone(), &home.key_path(), Unlock::File)
        .await
        .unwrap();
    set(&vault, "KEY", "one").await;
    let before = state.writes();
    state.fail_from(before, Error::Conflict { what: "on purpose".into() });
    let refused =
        vault.set(ctx(), name("KEY"), Value::new("two").unwrap(), "a test".into()).await.unwrap_err();
    assert_eq!(refused.code(), "secrets.busy");
    assert_eq!(state.writes() - before, ATTEMPTS_MAX as u64);
    state.heal();
    assert_eq!(set(&vault, "KEY", "two").await, 2, "nothing of the tries was kept");
}
