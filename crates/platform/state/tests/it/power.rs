//! Power that goes at any moment: the file and its write-ahead log as a disk may hold them then.
//!
//! SQLite writes its files itself, so they cannot lie on the storage double. Instead the bytes between
//! two acknowledged commits are taken apart by sectors: each that was not yet synced is there or is
//! not, cut off at every place or missing in the middle, and what is found must open, hold every
//! acknowledged commit once, at most the one that was under way besides, and go on.

use std::{fs, path::Path};

use ledger::{checkpoint::Keys, verify::Verdict};
use rusqlite::Connection;
use serde_json::json;
use state::{
    EntryQuery, Key, Message, Scan, SqliteState, State, audit,
    conformance::{draft, put, scope},
};

use crate::file::open;

const SECTOR_BYTES: usize = 512;
/// Sizes of the commits' bodies: within a page, over several, over many.
const BODIES: [usize; 4] = [10, 9_000, 300, 40_000];
/// Ways in which sectors are lost, for each commit.
const LOSSES: u64 = 24;

/// The two files as the disk holds them.
#[derive(Clone, Default)]
struct Files {
    data: Vec<u8>,
    log: Vec<u8>,
}

impl Files {
    fn of(path: &Path) -> Self {
        Self { data: fs::read(path).unwrap(), log: fs::read(log_of(path)).unwrap_or_default() }
    }

    fn lay_down(&self, path: &Path) {
        for old in ["state.db", "state.db-wal", "state.db-shm"] {
            let _ = fs::remove_file(path.with_file_name(old));
        }
        fs::write(path, &self.data).unwrap();
        if !self.log.is_empty() {
            fs::write(log_of(path), &self.log).unwrap();
        }
    }
}

fn log_of(path: &Path) -> std::path::PathBuf {
    path.with_file_name("state.db-wal")
}

/// Where syncing costs nothing: power that goes is played here, not waited for.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// `before` with some of the sectors in which `after` differs. The others are as they were, and
/// zeroes where nothing was.
fn torn(before: &[u8], after: &[u8], arrived: impl Fn(usize) -> bool) -> Vec<u8> {
    let length = before.len().max(after.len());
    let mut found = before.to_vec();
    found.resize(length, 0);
    for (number, new) in after.chunks(SECTOR_BYTES).enumerate() {
        if arrived(number) {
            let at = number * SECTOR_BYTES;
            found[at..at + new.len()].copy_from_slice(new);
        }
    }
    found
}

/// A yes or no for each sector, the same for the same seed.
fn chance(seed: u64) -> impl Fn(usize) -> bool {
    move |number| {
        let mut mixed = (seed << 32 | number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed ^= mixed >> 29;
        mixed.wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 63 == 1
    }
}

/// Commit number `number`: a record, an entry and a message that belong together.
async fn commit(state: &SqliteState, number: usize, body_bytes: usize) -> Result<(), state::Error> {
    let scope = scope("a", "default");
    let body = json!({ "n": number, "text": "x".repeat(body_bytes) });
    let mut commit = put(&Key::new(&scope, "thing", format!("{number:04}")), body);
    commit.entries.push(draft(&scope, "stead.thing.made.v1", &format!("thing/{number}"), json!(number)));
    commit.outbox.push((scope.tenant, Message { seq: 0, topic: "made".into(), body: json!(number) }));
    state.commit(commit).await.map(drop)
}

/// How many commits are there, each whole and once, with a chain that verifies; then one more is made.
async fn found(path: &Path, case: &str) -> usize {
    let state = open(path).unwrap_or_else(|error| panic!("{case}: {error}"));
    let tenant = scope("a", "default").tenant;
    let records = state.scan(Scan::of(&scope("a", "default"), "thing")).await.unwrap().items;
    let query = EntryQuery {
        tenant: tenant.clone(),
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
    };
    let entries = state.entries(query).await.unwrap().items;
    let messages = state.outbox(tenant.clone(), 0, 100).await.unwrap();
    let count = records.len();
    assert_eq!((entries.len(), messages.len()), (count, count), "{case}: half a commit");
    for (number, ((record, entry), message)) in records.iter().zip(&entries).zip(&messages).enumerate() {
        let bytes = record.body["text"].as_str().unwrap().len();
        assert_eq!((record.version, bytes), (1, BODIES[number % BODIES.len()]), "{case}");
        let place = number as u64 + 1;
        assert_eq!((entry.seq, message.seq, &message.body), (place, place, &json!(number)), "{case}");
    }
    let verdict: Verdict = audit::verify(&state, &tenant, &[], &Keys::default()).await.unwrap();
    assert!(verdict.intact(), "{case}: {verdict:?}");
    commit(&state, count, BODIES[count % BODIES.len()])
        .await
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    count
}

async fn assert_found(files: &Files, path: &Path, acknowledged: usize, case: &str) {
    files.lay_down(path);
    let count = found(path, case).await;
    assert!(
        count == acknowledged || count == acknowledged + 1,
        "{case}: {count} commits where {acknowledged} were acknowledged"
    );
}

#[tokio::test]
async fn power_that_goes_within_a_commit_loses_nothing_that_was_acknowledged() {
    let (live, dead) = (folder(), folder());
    let (path, crashed) = (live.path().join("state.db"), dead.path().join("state.db"));
    let state = open(&path).unwrap();
    let mut before = Files::of(&path);
    for (number, body_bytes) in BODIES.into_iter().enumerate() {
        commit(&state, number, body_bytes).await.unwrap();
        let after = Files::of(&path);
        assert_eq!(after.data, before.data, "a commit writes to the log alone");
        assert!(after.log.len() > before.log.len());
        after.lay_down(&crashed);
        assert_eq!(found(&crashed, "all arrived").await, number + 1);
        // Cut off at every sector.
        let mut cut = before.log.len();
        while cut < after.log.len() {
            let log = after.log[..cut].to_vec();
            let case = format!("commit {number}, log cut at {cut}");
            assert_found(&Files { data: after.data.clone(), log }, &crashed, number, &case).await;
            cut = (cut / SECTOR_BYTES + 1) * SECTOR_BYTES;
        }
        for seed in 0..LOSSES {
            let log = torn(&before.log, &after.log, chance(seed));
            let case = format!("commit {number}, sectors lost by seed {seed}");
            assert_found(&Files { data: after.data.clone(), log }, &crashed, number, &case).await;
        }
        before = after;
    }
}

#[tokio::test]
async fn power_that_goes_while_the_log_is_copied_into_the_file_loses_nothing() {
    let (live, dead) = (folder(), folder());
    let (path, crashed) = (live.path().join("state.db"), dead.path().join("state.db"));
    let state = open(&path).unwrap();
    for (number, body_bytes) in BODIES.into_iter().enumerate() {
        commit(&state, number, body_bytes).await.unwrap();
    }
    let before = Files::of(&path);
    let other = Connection::open(&path).unwrap();
    let (busy, in_log, copied): (i64, i64, i64) = other
        .query_row("PRAGMA wal_checkpoint(FULL)", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap();
    assert!(busy == 0 && in_log > 0 && in_log == copied);
    let after = Files::of(&path);
    assert!(after.data != before.data && after.log == before.log, "the log stays until the file is synced");
    for seed in 0..4 * LOSSES {
        let data = torn(&before.data, &after.data, chance(seed));
        let case = format!("copying, sectors lost by seed {seed}");
        let files = Files { data, log: before.log.clone() };
        files.lay_down(&crashed);
        assert_eq!(found(&crashed, &case).await, BODIES.len(), "{case}");
    }
    // The next commit begins the log anew, over the old one.
    commit(&state, BODIES.len(), BODIES[0]).await.unwrap();
    let anew = Files::of(&path);
    assert_eq!(anew.data, after.data);
    assert_ne!(anew.log[..SECTOR_BYTES], after.log[..SECTOR_BYTES], "it begins at its start");
    for seed in 0..4 * LOSSES {
        let log = torn(&after.log, &anew.log, chance(seed));
        let case = format!("a log begun anew, sectors lost by seed {seed}");
        assert_found(&Files { data: after.data.clone(), log }, &crashed, BODIES.len(), &case).await;
    }
    anew.lay_down(&crashed);
    assert_eq!(found(&crashed, "all arrived").await, BODIES.len() + 1);
}
