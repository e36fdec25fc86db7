//! The file: made, reopened, migrated, backed up, erased from.

use std::{path::Path, sync::Arc};

use base::{Clock, time::SystemClock};
use ledger::{ERASED_KIND, canonical, erased_by, erased_subject};
use rusqlite::Connection;
use serde_json::json;
use state::{
    Commit, EntryQuery, Error, Key, Scan, SqliteState, State,
    conformance::{draft, put, scope},
    sqlite::{FORMAT, Options},
};

pub(crate) fn open(path: &Path) -> Result<SqliteState, Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    SqliteState::open(path, &Options::default(), clock)
}

pub(crate) async fn fill(state: &SqliteState, count: usize) {
    let scope = scope("a", "default");
    for n in 0..count {
        let mut commit = put(&Key::new(&scope, "thing", n.to_string()), json!({ "n": n }));
        commit.entries.push(draft(&scope, "stead.thing.made.v1", &format!("thing/{n}"), json!({ "n": n })));
        state.commit(commit).await.unwrap();
    }
}

fn everything(tenant: &str) -> EntryQuery {
    EntryQuery {
        tenant: scope(tenant, "default").tenant,
        environment: None,
        subject: None,
        kind_prefix: None,
        actor: None,
        correlation: None,
        from: None,
        to: None,
        after: None,
        descending: false,
        limit: Scan::LIMIT_MAX,
    }
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    fill(&open(&path).unwrap(), 10).await;
    let state = open(&path).unwrap();
    assert_eq!(state.scan(Scan::of(&scope("a", "default"), "thing")).await.unwrap().items.len(), 10);
    fill(&state, 1).await;
    let entries = state.entries(everything("a")).await.unwrap().items;
    assert_eq!(entries.last().unwrap().seq, 11, "the chain goes on where it ended");
    assert_eq!(entries[10].prev_hash, entries[9].hash);
}

#[tokio::test]
async fn the_frozen_first_format_still_opens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let sample = Connection::open(&path).unwrap();
    sample.execute_batch(include_str!("frozen/format-1.sql")).unwrap();
    sample.close().unwrap();
    let state = open(&path).unwrap();
    let key = Key::new(&scope("acme", "production"), "service", "checkout");
    let record = state.get(key).await.unwrap().unwrap();
    assert_eq!((record.version, record.body), (3, json!({"tier": "critical", "weight": 0.1})));
    assert_eq!(record.index[0].name, "owner");
    let entries = state.entries(everything("acme")).await.unwrap().items;
    assert_eq!(entries.len(), 2);
    for entry in &entries {
        assert_eq!(
            canonical::entry_hash(entry).map(|h| canonical::hash_text(&h)).as_ref(),
            Some(&entry.hash)
        );
        assert_eq!(canonical::hash_text(&canonical::body_digest(&entry.draft.body)), entry.body_digest);
    }
    let messages = state.outbox(scope("acme", "production").tenant, 0, 10).await.unwrap();
    assert_eq!((messages.len(), messages[0].seq), (1, 5));
    drop(state);
    assert_eq!(SqliteState::check(&path).unwrap().format, FORMAT);
}

#[tokio::test]
async fn a_newer_format_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    fill(&open(&path).unwrap(), 1).await;
    Connection::open(&path).unwrap().pragma_update(None, "user_version", FORMAT + 1).unwrap();
    let Err(Error::Newer { found, known }) = open(&path) else { panic!("opened a newer format") };
    assert_eq!((found, known), (FORMAT + 1, FORMAT));
    let version: u32 =
        Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap();
    assert_eq!(version, FORMAT + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_under_writes_is_whole_and_restores() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let state = open(&path).unwrap();
    fill(&state, 20).await;
    let copy = folder.path().join("copy.db");
    let (backup, ()) = tokio::join!(state.backup_to(&copy), fill(&state, 50));
    let contents = backup.unwrap();
    assert!((20..=70).contains(&contents.entries), "{contents:?}");
    assert_eq!(SqliteState::check(&copy).unwrap(), contents);
    assert!(matches!(state.backup_to(&copy).await, Err(Error::Invalid { .. })), "never over a file");
    let restored = folder.path().join("restored.db");
    assert_eq!(SqliteState::restore(&copy, &restored).unwrap().entries, contents.entries);
    let again = open(&restored).unwrap();
    assert_eq!(again.entries(everything("a")).await.unwrap().items.len() as u64, contents.entries);
    assert!(matches!(SqliteState::restore(&copy, &path), Err(Error::Invalid { .. })), "never over state");
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|n| n.to_string_lossy().contains(".new")), "{names:?}");
}

#[tokio::test]
async fn a_backup_with_one_byte_flipped_is_refused_or_equal() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(&folder.path().join("state.db")).unwrap();
    fill(&state, 20).await;
    let copy = folder.path().join("copy.db");
    state.backup_to(&copy).await.unwrap();
    let mut bytes = std::fs::read(&copy).unwrap();
    bytes.truncate(bytes.len() - 4_096);
    std::fs::write(&copy, &bytes).unwrap();
    assert!(matches!(SqliteState::check(&copy), Err(Error::Damaged { .. })));
    let target = folder.path().join("t.db");
    assert!(matches!(SqliteState::restore(&copy, &target), Err(Error::Damaged { .. })));
    assert!(!target.exists());
}

#[tokio::test]
async fn an_erased_body_is_gone_and_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let state = open(&path).unwrap();
    let scope = scope("a", "default");
    let secret = json!({"email": "ada@example.com"});
    let entries = vec![draft(&scope, "stead.person.invited.v1", "person/ada", secret)];
    state.commit(Commit { entries, ..Commit::default() }).await.unwrap();
    let record = draft(&scope, ERASED_KIND, &erased_subject(1), json!({}));
    let id = record.id.clone();
    let wrong = draft(&scope, "stead.other.v1", &erased_subject(1), json!({}));
    assert!(matches!(state.erase_body(scope.tenant.clone(), 1, wrong).await, Err(Error::Invalid { .. })));
    let absent = draft(&scope, ERASED_KIND, &erased_subject(9), json!({}));
    assert!(matches!(state.erase_body(scope.tenant.clone(), 9, absent).await, Err(Error::Invalid { .. })));
    assert_eq!(state.erase_body(scope.tenant.clone(), 1, record).await.unwrap().seq, 2);
    let entries = state.entries(everything("a")).await.unwrap().items;
    assert_eq!(erased_by(&entries[0].draft.body), Some(id));
    assert_eq!(entries.len(), 2);
    drop(state);
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(15).any(|w| w == b"ada@example.com"), "closed, the file holds it no more");
}
