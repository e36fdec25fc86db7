use std::os::unix::fs::PermissionsExt;

use base::Fault;
use secrets::Unlock;
use secrets_api::{Value, Which};

use crate::{Home, ctx, get, set};

fn passphrase(text: &str) -> Unlock {
    Unlock::Passphrase(Value::new(text).unwrap())
}

#[tokio::test]
async fn secrets_outlive_a_restart() {
    let home = Home::new().await;
    set(&home.vault, "KEY", "value").await;
    let again = home.reopen(Unlock::File).await.unwrap();
    assert_eq!(get(&again, "KEY", Which::Latest).await.unwrap(), "value");
    assert!(!format!("{again:?}").contains(&std::fs::read_to_string(home.key_path()).unwrap()));
}

#[tokio::test]
async fn a_lost_key_is_said_and_not_replaced() {
    let home = Home::new().await;
    set(&home.vault, "KEY", "value").await;
    std::fs::remove_file(home.key_path()).unwrap();
    let error = home.reopen(Unlock::File).await.unwrap_err();
    assert_eq!(error.code(), "secrets.root_missing");
    assert!(error.hint().unwrap().contains("put "));
    assert!(!home.key_path().exists());
}

#[tokio::test]
async fn the_key_of_another_directory_is_noticed_at_start() {
    let (home, other) = (Home::new().await, Home::new().await);
    set(&home.vault, "KEY", "value").await;
    std::fs::copy(other.key_path(), home.key_path()).unwrap();
    assert_eq!(home.reopen(Unlock::File).await.unwrap_err().code(), "secrets.wrong_root");
}

#[tokio::test]
async fn a_key_file_that_is_not_private_or_damaged_is_refused() {
    let home = Home::new().await;
    let good = std::fs::read(home.key_path()).unwrap();
    let mode = |mode| {
        std::fs::set_permissions(home.key_path(), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o644);
    assert_eq!(home.reopen(Unlock::File).await.unwrap_err().code(), "keyfile.permissions");
    mode(0o600);
    let text = String::from_utf8(good.clone()).unwrap();
    let other_digit = if text.contains("\"key\":\"0") { "\"key\":\"1" } else { "\"key\":\"0" };
    let at = text.find("\"key\":\"").unwrap();
    let flipped = format!("{}{other_digit}{}", &text[..at], &text[at + 8..]);
    let cases = [
        &good[..good.len() / 2],
        b"".as_slice(),
        b"{}",
        b"{\"format\":2,\"id\":\"x\"}",
        b"{\"format\":1,\"id\":\"x\"}",
        flipped.as_bytes(),
    ];
    for bad in cases {
        std::fs::write(home.key_path(), bad).unwrap();
        let error = home.reopen(Unlock::File).await.unwrap_err();
        assert_eq!(error.code(), "secrets.root_damaged", "{}", String::from_utf8_lossy(bad));
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(&text[at + 20..at + 40]), "the key shows in {shown}");
    }
    std::fs::remove_file(home.key_path()).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", home.key_path()).unwrap();
    assert_eq!(home.reopen(Unlock::File).await.unwrap_err().code(), "keyfile.not_regular");
}

#[tokio::test]
async fn a_passphrase_locks_it_and_only_that_one_opens() {
    let home = Home::new().await;
    set(&home.vault, "KEY", "value").await;
    let error = home.vault.rotate_root(&ctx(), passphrase("short")).await.unwrap_err();
    assert_eq!(error.code(), "secrets.passphrase_short");
    let words = "correct horse battery";
    assert_eq!(home.vault.rotate_root(&ctx(), passphrase(words)).await.unwrap(), 1);
    let file = std::fs::read_to_string(home.key_path()).unwrap();
    assert!(!file.contains(words) && !file.contains("\"key\""), "{file}");

    assert_eq!(home.reopen(Unlock::File).await.unwrap_err().code(), "secrets.passphrase_needed");
    let wrong = home.reopen(passphrase("correct horse batterz")).await.unwrap_err();
    assert_eq!(wrong.code(), "secrets.wrong_passphrase");
    let again = home.reopen(passphrase(words)).await.unwrap();
    assert_eq!(get(&again, "KEY", Which::Latest).await.unwrap(), "value");

    again.rotate_root(&ctx(), Unlock::File).await.unwrap();
    assert_eq!(home.reopen(passphrase(words)).await.unwrap_err().code(), "secrets.not_locked");
    let open = home.reopen(Unlock::File).await.unwrap();
    assert_eq!(get(&open, "KEY", Which::Latest).await.unwrap(), "value");
}

#[tokio::test]
async fn rotation_retires_the_old_key() {
    let home = Home::new().await;
    set(&home.vault, "KEY", "value").await;
    let old = std::fs::read(home.key_path()).unwrap();
    home.vault.rotate_root(&ctx(), Unlock::File).await.unwrap();
    set(&home.vault, "KEY", "after").await;
    let again = home.reopen(Unlock::File).await.unwrap();
    assert_eq!(get(&again, "KEY", Which::Version(1)).await.unwrap(), "value");
    assert_eq!(get(&again, "KEY", Which::Latest).await.unwrap(), "after");
    assert!(!std::fs::read_to_string(home.key_path()).unwrap().contains("retiring"));
    assert!(home.entries().await.iter().any(|e| e.draft.kind == "stead.secret-key.wrapped.v1"));
    std::fs::write(home.key_path(), old).unwrap();
    assert_eq!(home.reopen(Unlock::File).await.unwrap_err().code(), "secrets.wrong_root");
}

/// A crash after the new key is on disk and before the data keys are wrapped under it.
#[tokio::test]
async fn an_interrupted_rotation_goes_on_at_the_next_start() {
    use state::{Commit, Key, Put};
    let home = Home::new().await;
    set(&home.vault, "KEY", "value").await;
    let place = Key::new(&base::Scope::default(), "secret-keys", "keys");
    let before = home.state.get(place.clone()).await.unwrap().unwrap().body;
    let key_before = std::fs::read_to_string(home.key_path()).unwrap();
    // The file as it stands in the middle of a rotation cannot be had from outside, so the data
    // keys fail to be wrapped: the record is damaged while it rotates, and put right afterwards.
    let mut damaged = before.clone();
    damaged["keys"][0]["sealed"]["body"] = "AAAA".into();
    let put = |body| {
        let puts = vec![Put::Put { key: place.clone(), body, index: Vec::new() }];
        home.state.commit(Commit { puts, ..Commit::default() })
    };
    put(damaged).await.unwrap();
    let error = home.vault.rotate_root(&ctx(), Unlock::File).await.unwrap_err();
    assert_eq!(error.code(), "secrets.keys_tampered");
    put(before).await.unwrap();
    let middle = std::fs::read_to_string(home.key_path()).unwrap();
    assert!(middle.contains("retiring") && middle != key_before);

    let again = home.reopen(Unlock::File).await.unwrap();
    assert_eq!(get(&again, "KEY", Which::Latest).await.unwrap(), "value");
    assert!(!std::fs::read_to_string(home.key_path()).unwrap().contains("retiring"));
    let third = home.reopen(Unlock::File).await.unwrap();
    assert_eq!(get(&third, "KEY", Which::Latest).await.unwrap(), "value");
}
