use std::os::unix::fs::PermissionsExt;

use access::{Action, Credential, RequestHeaders, Resource, Role, decide};
use base::Fault;

use crate::{Home, ctx, hours, tenant};

fn read(path: &std::path::Path) -> Credential {
    let text = std::fs::read_to_string(path).unwrap();
    let header = format!("Bearer {}", text.trim());
    RequestHeaders { authorization: Some(&header), ..Default::default() }.credential().unwrap().unwrap()
}

#[tokio::test]
async fn the_machine_has_a_token_in_a_private_file() {
    let (home, _) = Home::started().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    home.access.local_token(&ctx(), &path).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let first = read(&path);
    let principal = home.access.authenticate(&tenant(), &first).await.unwrap().principal;
    assert_eq!(principal.role, Role::Admin);
    for action in Action::ALL {
        assert!(decide(&principal, *action, &Resource::tenant(&tenant())).allow, "{action:?}");
    }
    // A restart keeps it.
    home.again().local_token(&ctx(), &path).await.unwrap();
    assert!(home.is_in(&read(&path)).await && home.is_in(&first).await);
    assert_eq!(home.access.tokens(&tenant(), Some(None)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn it_is_made_anew_when_lost_spoilt_revoked_or_old() {
    let (home, _) = Home::started().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    home.access.local_token(&ctx(), &path).await.unwrap();
    let mut before = read(&path);
    for case in 0..4 {
        match case {
            0 => std::fs::remove_file(&path).unwrap(),
            1 => std::fs::write(&path, "stead_pat_nonsense").unwrap(),
            2 => {
                let id = home.access.tokens(&tenant(), Some(None)).await.unwrap()[0].id.clone();
                home.access.revoke_token(&ctx(), &id, "leaked").await.unwrap();
            }
            _ => home.pass(hours(24 * 340)),
        }
        home.access.local_token(&ctx(), &path).await.unwrap();
        assert!(home.is_in(&read(&path)).await, "case {case}");
        assert!(!home.is_in(&before).await, "case {case}: the one before is revoked");
        assert_eq!(home.access.tokens(&tenant(), Some(None)).await.unwrap().len(), 1);
        before = read(&path);
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_while_stead_runs() {
    let (home, _) = Home::started().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    home.access.local_token(&ctx(), &path).await.unwrap();
    let first = read(&path);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (access, kept) = (home.access.clone(), path.clone());
    let keeping = tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        access.keep_local_token(&ctx(), &kept, stopped, |error| panic!("{error}")).await;
    });
    let day = std::time::Duration::from_secs(86_400);
    tokio::time::sleep(day).await;
    assert!(home.is_in(&read(&path)).await && home.is_in(&first).await, "a good one is kept");
    home.pass(hours(24 * 340));
    // Paused time goes on while all wait, which the file's own threads do not count among.
    for _ in 0..100 {
        tokio::time::sleep(day).await;
        if !home.is_in(&first).await {
            break;
        }
    }
    assert!(!home.is_in(&first).await && home.is_in(&read(&path)).await);
    drop(stop);
    keeping.await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_not_private_is_refused() {
    let (home, _) = Home::started().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    home.access.local_token(&ctx(), &path).await.unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = home.access.local_token(&ctx(), &path).await.unwrap_err();
    assert_eq!(error.code(), "keyfile.permissions");
    assert!(error.hint().unwrap().contains("chmod 600"));
}
