use base::{Fault, Scope};
use secrets_api::{SecretName, Secrets, Value, Which};
use serde_json::Value as Json;
use state::{Commit, Key, Put};

use crate::{Home, ctx, get, scope, set};

async fn body(home: &Home, key: &Key) -> Json {
    home.state.get(key.clone()).await.unwrap().unwrap().body
}

async fn write(home: &Home, key: Key, body: Json) {
    let puts = vec![Put::Put { key, body, index: Vec::new() }];
    home.state.commit(Commit { puts, ..Commit::default() }).await.unwrap();
}

fn version(scope: &Scope, id: &str) -> Key {
    Key::new(scope, "secret-version", id)
}

#[tokio::test]
async fn a_sealed_body_opens_only_where_it_belongs() {
    let home = Home::new().await;
    set(&home.vault, "CHEAP", "mine").await;
    set(&home.vault, "CHEAP", "mine too").await;
    set(&home.vault, "DEAR", "not for me").await;
    let mut staging = ctx();
    staging.scope = scope("default", "staging");
    let dear = SecretName::parse("DEAR").unwrap();
    home.vault.set(staging, dear.clone(), Value::new("x").unwrap(), "a test".into()).await.unwrap();

    let here = Scope::default();
    let sealed = body(&home, &version(&here, "DEAR@0000000001")).await;
    // Into another name, another version, another environment.
    write(&home, version(&here, "CHEAP@0000000001"), sealed.clone()).await;
    assert_eq!(get(&home.vault, "CHEAP", Which::Version(1)).await.unwrap_err().code(), "secrets.tampered");
    let first = body(&home, &version(&here, "CHEAP@0000000002")).await;
    write(&home, version(&here, "CHEAP@0000000001"), first).await;
    assert_eq!(get(&home.vault, "CHEAP", Which::Version(1)).await.unwrap_err().code(), "secrets.tampered");
    write(&home, version(&scope("default", "staging"), "DEAR@0000000001"), sealed.clone()).await;
    let error = home.vault.get(scope("default", "staging"), dear, Which::Latest).await.unwrap_err();
    assert_eq!(error.code(), "secrets.tampered");
    // The original still opens.
    assert_eq!(get(&home.vault, "DEAR", Which::Latest).await.unwrap(), "not for me");
}

#[tokio::test]
async fn changed_or_cut_bodies_do_not_open() {
    let home = Home::new().await;
    set(&home.vault, "KEY", "value").await;
    let place = version(&Scope::default(), "KEY@0000000001");
    let good = body(&home, &place).await;
    for field in ["nonce", "body"] {
        let text = good["sealed"][field].as_str().unwrap().to_owned();
        let flipped = if text.starts_with('A') { "B" } else { "A" }.to_owned() + &text[1..];
        for bad in [flipped, text[..text.len() - 4].to_owned(), String::new(), "***".into()] {
            let mut changed = good.clone();
            changed["sealed"][field] = bad.clone().into();
            write(&home, place.clone(), changed).await;
            let error = get(&home.vault, "KEY", Which::Latest).await.unwrap_err();
            assert_eq!(error.code(), "secrets.tampered", "{field} {bad}");
            assert!(error.hint().is_some());
        }
    }
    let mut changed = good.clone();
    changed["key"] = "dek_of_somebody".into();
    write(&home, place.clone(), changed).await;
    assert_eq!(get(&home.vault, "KEY", Which::Latest).await.unwrap_err().code(), "secrets.tampered");
    write(&home, place, good).await;
    assert_eq!(get(&home.vault, "KEY", Which::Latest).await.unwrap(), "value");
}

#[tokio::test]
async fn data_keys_of_another_tenant_do_not_open() {
    let home = Home::new().await;
    set(&home.vault, "KEY", "value").await;
    let mut acme = ctx();
    acme.scope = scope("acme", "default");
    let key = SecretName::parse("KEY").unwrap();
    home.vault.set(acme.clone(), key.clone(), Value::new("x").unwrap(), "a test".into()).await.unwrap();
    let keys = body(&home, &Key::new(&Scope::default(), "secret-keys", "keys")).await;
    write(&home, Key::new(&acme.scope, "secret-keys", "keys"), keys).await;
    // A vault that has no key in memory; it notices at start.
    let error = home.reopen(secrets::Unlock::File).await.unwrap_err();
    assert_eq!(error.code(), "secrets.keys_tampered");
}
