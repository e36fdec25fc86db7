use base::{Fault, Scope};
use secrets_api::{Existing, Kind, Secrets, Value, Which};

use crate::{Home, ctx, get, name, scope, set};

#[tokio::test]
async fn versions_count_up_and_all_can_be_read() {
    let home = Home::new().await;
    assert_eq!(set(&home.vault, "KEY", "one").await, 1);
    assert_eq!(set(&home.vault, "KEY", "two").await, 2);
    assert_eq!(get(&home.vault, "KEY", Which::Latest).await.unwrap(), "two");
    assert_eq!(get(&home.vault, "KEY", Which::Version(1)).await.unwrap(), "one");
    for absent in [0, 3] {
        let error = get(&home.vault, "KEY", Which::Version(absent)).await.unwrap_err();
        assert_eq!(error.code(), "secrets.no_version");
    }
    assert_eq!(get(&home.vault, "OTHER", Which::Latest).await.unwrap_err().code(), "secrets.not_found");
}

#[tokio::test]
async fn a_removed_secret_is_gone_and_its_numbers_go_on() {
    let home = Home::new().await;
    set(&home.vault, "KEY", "one").await;
    home.vault.remove(ctx(), name("KEY"), "not needed".into()).await.unwrap();
    assert_eq!(get(&home.vault, "KEY", Which::Latest).await.unwrap_err().code(), "secrets.not_found");
    assert_eq!(get(&home.vault, "KEY", Which::Version(1)).await.unwrap_err().code(), "secrets.no_version");
    assert!(home.vault.list(Scope::default()).await.unwrap().is_empty());
    assert!(home.vault.latest(Scope::default(), vec![name("KEY")]).await.unwrap().is_empty());
    let again = home.vault.remove(ctx(), name("KEY"), "twice".into()).await.unwrap_err();
    assert_eq!(again.code(), "secrets.not_found");
    assert_eq!(set(&home.vault, "KEY", "back").await, 2);
    assert_eq!(get(&home.vault, "KEY", Which::Latest).await.unwrap(), "back");
}

#[tokio::test]
async fn scopes_do_not_see_each_other() {
    let home = Home::new().await;
    for (tenant, environment) in [("default", "staging"), ("default", "prod"), ("acme", "prod")] {
        let mut ctx = ctx();
        ctx.scope = scope(tenant, environment);
        let value = Value::new(format!("{tenant} {environment}")).unwrap();
        assert_eq!(home.vault.set(ctx, name("KEY"), value, "a test".into()).await.unwrap(), 1);
    }
    let opened = home.vault.get(scope("acme", "prod"), name("KEY"), Which::Latest).await.unwrap();
    assert_eq!(opened.value.expose(), b"acme prod");
    let error = home.vault.get(scope("acme", "staging"), name("KEY"), Which::Latest).await.unwrap_err();
    assert_eq!(error.code(), "secrets.not_found");
}

#[tokio::test]
async fn generated_once_or_rotated() {
    let home = Home::new().await;
    let make = async |existing| {
        let generated =
            home.vault.generate(ctx(), name("stead.db"), Kind::default(), existing, "for db".into()).await;
        generated.unwrap()
    };
    assert_eq!(make(Existing::Keep).await, 1);
    let first = get(&home.vault, "stead.db", Which::Latest).await.unwrap();
    assert_eq!(make(Existing::Keep).await, 1);
    assert_eq!(make(Existing::Rotate).await, 2);
    assert_ne!(get(&home.vault, "stead.db", Which::Latest).await.unwrap(), first);
    assert_eq!(get(&home.vault, "stead.db", Which::Version(1)).await.unwrap(), first);
    let value = Value::new("mine").unwrap();
    let error = home.vault.set(ctx(), name("stead.db"), value, "a test".into()).await.unwrap_err();
    assert_eq!(error.code(), "secrets.reserved");
}

#[tokio::test]
async fn the_ledger_has_every_change_and_no_value() {
    let home = Home::new().await;
    set(&home.vault, "KEY", "canary-one").await;
    set(&home.vault, "KEY", "canary-two").await;
    home.vault.remove(ctx(), name("KEY"), "not needed".into()).await.unwrap();
    let entries = home.entries().await;
    let kinds: Vec<_> = entries.iter().map(|entry| entry.draft.kind.as_str()).collect();
    let expected = [
        "stead.secret-key.created.v1",
        "stead.secret.set.v1",
        "stead.secret.set.v1",
        "stead.secret.removed.v1",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(entries[2].draft.subject, "secret/KEY");
    assert_eq!(entries[2].draft.body["before"]["version"], 1);
    assert_eq!(entries[2].draft.body["after"]["version"], 2);
    assert!(!serde_json::to_string(&entries).unwrap().contains("canary"));
}

#[tokio::test]
async fn a_reason_that_tells_the_value_is_refused() {
    let home = Home::new().await;
    let value = Value::new("hunter2!\n").unwrap();
    let why = "the new one is hunter2! as agreed".to_owned();
    let error = home.vault.set(ctx(), name("KEY"), value, why).await.unwrap_err();
    assert_eq!(error.code(), "secrets.why_tells");
    assert!(home.vault.list(Scope::default()).await.unwrap().is_empty());
}

/// Two engines over one state, as two processes would be: every change gets its own number.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_at_once_all_hold() {
    const EACH: usize = 12;
    let home = Home::new().await;
    let other = home.reopen(secrets::Unlock::File).await.unwrap();
    let mut runs = tokio::task::JoinSet::new();
    for n in 0..EACH {
        for (which, vault) in [home.vault.clone(), other.clone()].into_iter().enumerate() {
            runs.spawn(async move { set(&vault, "KEY", &format!("value-{which}-{n}")).await });
        }
    }
    let mut versions = runs.join_all().await;
    versions.sort_unstable();
    assert_eq!(versions, (1..=2 * EACH as u64).collect::<Vec<_>>());
    let summary = home.vault.list(Scope::default()).await.unwrap().remove(0);
    assert_eq!(summary.latest, 2 * EACH as u64);
    for version in summary.versions {
        assert!(get(&other, "KEY", Which::Version(version.version)).await.unwrap().starts_with("value-"));
    }
    let keys = home.entries().await.iter().filter(|e| e.draft.kind.starts_with("stead.secret-key")).count();
    assert_eq!(keys, 1, "one data key, whoever came first");
}
