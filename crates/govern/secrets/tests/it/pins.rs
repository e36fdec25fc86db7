use base::{Fault, Scope};
use secrets_api::{Secrets, Which};

use crate::{Home, ctx, get, name, pin, set};

#[tokio::test]
async fn a_pinned_version_outlives_rotation_and_removal() {
    let home = Home::new().await;
    set(&home.vault, "KEY", "first").await;
    let (release, versions) = pin(&[("KEY", 1)]);
    home.vault.pin(ctx(), release.clone(), versions.clone()).await.unwrap();
    home.vault.pin(ctx(), release.clone(), versions).await.unwrap();
    for n in 0..20 {
        set(&home.vault, "KEY", &format!("later {n}")).await;
    }
    assert_eq!(get(&home.vault, "KEY", Which::Version(2)).await.unwrap_err().code(), "secrets.no_version");
    home.vault.remove(ctx(), name("KEY"), "not needed".into()).await.unwrap();

    assert_eq!(get(&home.vault, "KEY", Which::Version(1)).await.unwrap(), "first");
    let summary = home.vault.list(Scope::default()).await.unwrap().remove(0);
    assert!(summary.removed_at.is_some());
    assert_eq!(summary.versions.len(), 1);
    assert_eq!(summary.versions[0].used_by, std::slice::from_ref(&release));

    home.vault.unpin(ctx(), release.clone()).await.unwrap();
    home.vault.unpin(ctx(), release).await.unwrap();
    assert_eq!(get(&home.vault, "KEY", Which::Version(1)).await.unwrap_err().code(), "secrets.no_version");
    assert!(home.vault.list(Scope::default()).await.unwrap().is_empty());
    let last = home.entries().await.pop().unwrap().draft;
    assert_eq!(last.kind, "stead.secret.unpinned.v1");
    assert_eq!(last.body["destroyed"]["KEY"][0], 1);
}

#[tokio::test]
async fn pinning_is_all_or_nothing() {
    let home = Home::new().await;
    set(&home.vault, "A", "a").await;
    let (release, versions) = pin(&[("A", 1), ("B", 1)]);
    let error = home.vault.pin(ctx(), release, versions).await.unwrap_err();
    assert_eq!(error.code(), "secrets.no_version");
    let summary = home.vault.list(Scope::default()).await.unwrap().remove(0);
    assert!(summary.versions[0].used_by.is_empty());
}

#[tokio::test]
async fn a_release_does_not_change_its_mind() {
    let home = Home::new().await;
    set(&home.vault, "A", "1").await;
    set(&home.vault, "A", "2").await;
    let (release, versions) = pin(&[("A", 1)]);
    home.vault.pin(ctx(), release.clone(), versions).await.unwrap();
    let (_, versions) = pin(&[("A", 2)]);
    let error = home.vault.pin(ctx(), release, versions).await.unwrap_err();
    assert_eq!(error.code(), "secrets.pinned_other");
}

/// Whoever wins, what is pinned can be read, and what is not pinned is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pinning_and_removing_at_once() {
    for _ in 0..50 {
        let home = Home::new().await;
        set(&home.vault, "A", "a").await;
        let (release, versions) = pin(&[("A", 1)]);
        let pinned = tokio::task::spawn({
            let vault = home.vault.clone();
            async move { vault.pin(ctx(), release, versions).await }
        });
        home.vault.remove(ctx(), name("A"), "not needed".into()).await.unwrap();
        let pinned = pinned.await.unwrap().is_ok();
        assert_eq!(get(&home.vault, "A", Which::Version(1)).await.is_ok(), pinned);
    }
}
