//! Values are planted and every byte that was written is searched for them, also in other forms.

use std::{path::Path, sync::Arc};

use base::{Clock, Ctx, Fault, Scope, time::SystemClock};
use secrets::{Unlock, Vault};
use secrets_api::{Existing, Kind, Redactor, Secrets, Value, Which};
use state::{SqliteState, State, sqlite};

use crate::{ctx, name, pin};

/// All files below `dir`, whole.
fn every_byte(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(every_byte(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

fn search(dir: &Path, values: &[Value]) {
    let files = every_byte(dir);
    assert!(files.iter().any(|(path, bytes)| path.contains("state") && !bytes.is_empty()));
    // The redactor knows hexadecimal, base64, percent-encoding, JSON and single lines too.
    let redactor = Redactor::new(values);
    for (path, bytes) in files {
        let mut stream = redactor.stream();
        let mut masked = stream.push(&bytes);
        masked.extend(stream.finish());
        assert!(masked == bytes, "{path} holds a canary");
    }
}

#[tokio::test]
async fn no_value_reaches_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = SystemClock::shared();
    let open = || {
        let options = sqlite::Options::default();
        SqliteState::open(&dir.path().join("state.db"), &options, clock.clone()).unwrap()
    };
    let state: Arc<dyn State> = Arc::new(open());
    let key_path = dir.path().join("root.key");
    let vault = Vault::open(state.clone(), clock.clone(), &key_path, Unlock::File).await.unwrap();

    let canaries: Vec<_> = [
        "canary-4f9d1c".to_owned(),
        "canary \"quoted\" ü\n5e21".to_owned(),
        format!("-----BEGIN CANARY-----\n{}\n-----END CANARY-----", "Q2FuYXJ5".repeat(12)),
        "canary-".repeat(Value::SIZE_BYTES_MAX / 8),
    ]
    .map(|text| Value::new(text).unwrap())
    .into();
    let mut all = canaries.clone();
    for canary in &canaries {
        vault.set(ctx(), name("CANARY"), canary.clone(), "a canary is planted".into()).await.unwrap();
    }
    for _ in 0..12 {
        let why = "for the aviary".to_owned();
        vault.generate(ctx(), name("stead.cage"), Kind::default(), Existing::Rotate, why).await.unwrap();
        let made = vault.get(Scope::default(), name("stead.cage"), Which::Latest).await.unwrap();
        all.push(made.value);
    }
    let (release, versions) = pin(&[("CANARY", 1)]);
    vault.pin(ctx(), release.clone(), versions).await.unwrap();
    vault.rotate_root(&ctx(), Unlock::File).await.unwrap();
    search(dir.path(), &all); // with the write-ahead log still there
    vault.remove(ctx(), name("CANARY"), "flown".into()).await.unwrap();
    let pinned = vault.get(Scope::default(), name("CANARY"), Which::Version(1)).await.unwrap();
    assert_eq!(pinned.value.expose(), canaries[0].expose());
    vault.unpin(ctx(), release).await.unwrap();
    drop((vault, state));
    search(dir.path(), &all);

    // And all of it is readable after a restart.
    let state: Arc<dyn State> = Arc::new(open());
    let vault = Vault::open(state, clock.clone(), &key_path, Unlock::File).await.unwrap();
    let made = vault.get(Scope::default(), name("stead.cage"), Which::Latest).await.unwrap();
    assert_eq!(made.value.expose(), all.last().unwrap().expose());
}

/// The search itself finds what is there.
#[tokio::test]
#[should_panic(expected = "holds a canary")]
async fn the_search_finds_a_value_in_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = SystemClock::shared();
    let options = sqlite::Options::default();
    let state = SqliteState::open(&dir.path().join("state.db"), &options, clock.clone()).unwrap();
    let path = dir.path().join("root.key");
    let vault = Vault::open(Arc::new(state), clock, &path, Unlock::File).await.unwrap();
    let leaky: Ctx = ctx();
    let value = Value::new("canary-4f9d1c").unwrap();
    // Refused for the value itself, so another secret's reason is made to tell it.
    let why = "it was canary-4f9d1c".to_owned();
    let refused = vault.set(leaky.clone(), name("A"), value.clone(), why.clone()).await.unwrap_err();
    assert_eq!(refused.code(), "secrets.why_tells");
    vault.set(leaky, name("A"), Value::new("something else").unwrap(), why).await.unwrap();
    search(dir.path(), &[value]);
}
