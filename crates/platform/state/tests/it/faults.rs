//! What a machine does to a file: full, locked, cut, overwritten, read-only, linked elsewhere.

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use base::{Clock, time::SystemClock};
use rusqlite::Connection;
use serde_json::json;
use state::{
    Error, Key, SqliteState, State,
    conformance::{put, scope},
    sqlite::Options,
};

use crate::file::{fill, open};

fn open_with(path: &Path, options: &Options) -> Result<SqliteState, Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    SqliteState::open(path, options, clock)
}

fn thing(n: usize) -> Key {
    Key::new(&scope("a", "default"), "thing", n.to_string())
}

/// Writes until it fails; gives the count that was acknowledged and the error.
async fn fill_up(state: &SqliteState) -> (usize, Error) {
    let body = json!("x".repeat(20_000));
    for n in 0..1_000 {
        if let Err(e) = state.commit(put(&thing(n), body.clone())).await {
            return (n, e);
        }
    }
    panic!("it never filled up")
}

#[tokio::test]
async fn a_file_at_its_limit_is_a_full_disk_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { size_bytes_max: Some(1 << 20), ..Options::default() };
    let state = open_with(&folder.path().join("state.db"), &options).unwrap();
    let (count, error) = fill_up(&state).await;
    assert!(matches!(error, Error::DiskFull), "{error:?}");
    assert!(count > 10);
    for n in 0..count {
        assert!(state.get(thing(n)).await.unwrap().is_some());
    }
    assert_eq!(state.get(thing(count)).await.unwrap(), None);
    state.commit(put(&thing(0), json!("small"))).await.unwrap();
}

/// A small file system that is unmounted in the end; none where this process may not mount.
struct Mount(tempfile::TempDir);

impl Mount {
    fn tmpfs(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path());
        let mounted = mount.stderr(std::process::Stdio::null()).status();
        mounted.is_ok_and(|s| s.success()).then(|| Self(folder))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_disk_that_is_full_fails_commits_until_there_is_room() {
    let Some(mount) = Mount::tmpfs("size=2m") else {
        eprintln!("skip: state-full-tmpfs (this process may not mount)");
        return;
    };
    let ballast = mount.0.path().join("ballast");
    fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let path = mount.0.path().join("state.db");
    let state = open(&path).unwrap();
    let (count, error) = fill_up(&state).await;
    assert!(matches!(error, Error::DiskFull), "{error:?}");
    for n in 0..count {
        assert!(state.get(thing(n)).await.unwrap().is_some(), "{n} of {count} was acknowledged");
    }
    fs::remove_file(&ballast).unwrap();
    state.commit(put(&thing(count), json!("there is room again"))).await.unwrap();
    drop(state);
    let state = open(&path).unwrap();
    for n in 0..=count {
        assert!(state.get(thing(n)).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_read_only_file_system_is_named() {
    let Some(mount) = Mount::tmpfs("size=4m") else {
        eprintln!("skip: state-read-only (this process may not mount)");
        return;
    };
    let path = mount.0.path().join("state.db");
    fill(&open(&path).unwrap(), 1).await;
    let status = Command::new("mount").args(["-o", "remount,ro"]).arg(mount.0.path()).status().unwrap();
    assert!(status.success());
    let Err(Error::ReadOnly { why }) = open(&path) else { panic!("opened on a read-only file system") };
    assert!(why.contains("state.db"), "{why}");
    let absent = open(&mount.0.path().join("other.db"));
    assert!(matches!(absent, Err(Error::ReadOnly { .. })), "{absent:?}");
}

#[tokio::test]
async fn a_file_locked_by_another_is_named_and_waits_no_longer_than_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let options = Options { busy_timeout: Duration::from_millis(50), ..Options::default() };
    let state = open_with(&path, &options).unwrap();
    fill(&state, 1).await;
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = state.commit(put(&thing(7), json!(7))).await;
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    other.execute_batch("ROLLBACK").unwrap();
    state.commit(put(&thing(7), json!(7))).await.unwrap();
    drop((state, other));
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let refused = open_with(&path, &options);
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
}

#[tokio::test]
async fn damaged_files_are_refused_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.db");
    fill(&open(&whole).unwrap(), 50).await;
    let bytes = fs::read(&whole).unwrap();
    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let cases = [
        ("empty", Vec::new()),
        ("garbage", b"not a database, not at all. ".repeat(1_000)),
        ("a cut header", bytes[..50].to_vec()),
        ("a cut file", bytes[..bytes.len() / 2].to_vec()),
        ("half a page missing", bytes[..bytes.len() - 2_048].to_vec()),
        ("someone else's database", fs::read(&foreign).unwrap()),
    ];
    for (name, content) in cases {
        let path = folder.path().join("damaged.db");
        fs::write(&path, &content).unwrap();
        let opened = open(&path);
        assert!(matches!(opened, Err(Error::Damaged { .. })), "{name}: {opened:?}");
        assert!(fs::read(&path).unwrap() == content, "{name}: it was changed");
        assert!(matches!(SqliteState::check(&path), Err(Error::Damaged { .. })), "{name}");
    }
}

#[tokio::test]
async fn a_missing_file_beside_its_log_is_no_first_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let state = open(&path).unwrap();
    fill(&state, 3).await;
    // As after `kill -9` and a careless hand: the log is there, the file is not.
    let other = folder.path().join("other.db");
    fs::copy(folder.path().join("state.db-wal"), folder.path().join("other.db-wal")).unwrap();
    assert!(matches!(open(&other), Err(Error::Damaged { .. })));
    assert!(!other.exists());
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_log_before_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let state = open(&path).unwrap();
    fill(&state, 5).await;
    // A copy of the files as they are now is what a killed process leaves.
    let copy = folder.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    fs::copy(folder.path().join("state.db-wal"), folder.path().join("copy.db-wal")).unwrap();
    let found = open(&copy).unwrap();
    for n in 0..5 {
        assert!(found.get(thing(n)).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_torn_log_loses_only_what_was_torn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let state = open(&path).unwrap();
    fill(&state, 5).await;
    let log = fs::read(folder.path().join("state.db-wal")).unwrap();
    let file = fs::read(&path).unwrap();
    for cut in [1, 100, 5_000, log.len() - 40] {
        let copy = folder.path().join(format!("copy-{cut}.db"));
        fs::write(&copy, &file).unwrap();
        let torn = folder.path().join(format!("copy-{cut}.db-wal"));
        fs::write(&torn, &log[..log.len() - cut]).unwrap();
        let found = open(&copy).unwrap();
        // A prefix: records are there up to some point, and none after it.
        let mut present = Vec::new();
        for n in 0..5 {
            present.push(found.get(thing(n)).await.unwrap().is_some());
        }
        assert!(present.is_sorted_by(|a, b| a >= b), "cut {cut}: {present:?}");
    }
}

#[tokio::test]
async fn a_planted_link_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim.db");
    fill(&open(&victim).unwrap(), 1).await;
    let before = fs::read(&victim).unwrap();
    let path = folder.path().join("state.db");
    std::os::unix::fs::symlink(&victim, &path).unwrap();
    assert!(matches!(open(&path), Err(Error::Damaged { .. })));
    assert_eq!(fs::read(&victim).unwrap(), before);
    // A folder reached through a link is fine: the operator put it there.
    let linked = tempfile::tempdir().unwrap();
    let alias = folder.path().join("alias");
    std::os::unix::fs::symlink(linked.path(), &alias).unwrap();
    fill(&open(&alias.join("state.db")).unwrap(), 1).await;
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let state = open(&path).unwrap();
    fill(&state, 1).await;
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
}
