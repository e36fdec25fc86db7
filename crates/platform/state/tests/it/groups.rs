//! Group commit, as the counters show it.

use std::{sync::Arc, task::Poll, time::Duration};

use base::{Clock, time::SystemClock};
use futures_util::future::join_all;
use rusqlite::Connection;
use serde_json::json;
use state::{
    Commit, Error, Key, Precondition, SqliteState, State,
    conformance::{put, scope},
    limits,
    sqlite::{Options, WRITES_WAITING_MAX},
};

fn open(folder: &tempfile::TempDir) -> SqliteState {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    // A test that locks the file takes its time on a busy machine.
    let options = Options { busy_timeout: Duration::from_secs(60), ..Options::default() };
    SqliteState::open(&folder.path().join("state.db"), &options, clock).unwrap()
}

#[tokio::test]
async fn alone_a_commit_costs_one_fsync_and_in_company_a_tenth_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(&folder);
    let key = |n: usize| Key::new(&scope("a", "default"), "thing", n.to_string());
    for n in 0..50 {
        state.commit(put(&key(n), json!(n))).await.unwrap();
    }
    let alone = state.stats();
    assert_eq!((alone.writes, alone.transactions), (50, 50));
    for _ in 0..10 {
        let all = join_all((0..100).map(|n| state.commit(put(&key(n), json!(n))))).await;
        assert!(all.iter().all(Result::is_ok));
    }
    let company = state.stats();
    assert_eq!(company.writes, 1_050);
    let transactions = company.transactions - alone.transactions;
    assert!(transactions <= 100, "{transactions} transactions for 1,000 commits, 100 at once");
}

#[tokio::test]
async fn a_failing_commit_takes_no_other_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(&folder);
    let key = |n: usize| Key::new(&scope("a", "default"), "thing", format!("{n:03}"));
    let results = join_all((0..100).map(|n| {
        let mut commit = put(&key(n), json!(n));
        if n % 3 == 0 {
            // Written before the precondition of the same commit fails? Never: all or nothing.
            commit.preconditions.push(Precondition::Version(key(n), 9));
        }
        state.commit(commit)
    }))
    .await;
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result.is_ok(), n % 3 != 0, "{n}: {result:?}");
        assert_eq!(state.get(key(n)).await.unwrap().is_some(), n % 3 != 0);
    }
    assert_eq!(state.stats().refused, 34);
}

#[tokio::test]
async fn what_only_reads_or_fails_costs_no_fsync() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(&folder);
    let key = Key::new(&scope("a", "default"), "thing", "1");
    for _ in 0..10 {
        let preconditions = vec![Precondition::Version(key.clone(), 1)];
        state.commit(Commit { preconditions, ..Commit::default() }).await.unwrap_err();
        state.commit(Commit::default()).await.unwrap();
        state.get(key.clone()).await.unwrap();
    }
    assert_eq!(state.stats().transactions, 0);
}

#[tokio::test]
async fn a_full_queue_is_an_error_and_not_memory() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(&folder);
    let key = |n: usize| Key::new(&scope("a", "default"), "thing", n.to_string());
    let big = json!("x".repeat(limits::BODY_BYTES_MAX - 2));
    for (count, body, limited) in
        [(WRITES_WAITING_MAX + 100, json!(1), "waiting writes"), (24, big, "bytes of waiting writes")]
    {
        // The writer waits for the lock of another process, so that what comes meanwhile queues up.
        let other = Connection::open(state.path()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut waiting = Vec::new();
        let mut refused = 0;
        for n in 0..count {
            // Refused once its turn comes, so that the disk has nothing to do.
            let mut commit = put(&key(n), body.clone());
            commit.preconditions.push(Precondition::Version(key(n), 99));
            let mut commit = state.commit(commit);
            match futures_util::poll!(&mut commit) {
                Poll::Pending => waiting.push(commit),
                Poll::Ready(Err(Error::Limit { what, .. })) if what == limited => refused += 1,
                Poll::Ready(other) => panic!("{other:?}"),
            }
        }
        assert!(refused > 0 && refused < count, "{refused} of {count} were refused");
        other.execute_batch("ROLLBACK").unwrap();
        let turned = join_all(waiting).await;
        assert!(turned.iter().all(|r| matches!(r, Err(Error::Conflict { .. }))));
        state.commit(put(&key(0), json!("goes on"))).await.unwrap();
    }
}

#[tokio::test]
async fn dropping_state_writes_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(&folder);
    let key = |n: usize| Key::new(&scope("a", "default"), "thing", n.to_string());
    for n in 0..50 {
        // Polled once, so that it is queued, and then cancelled.
        let mut commit = state.commit(put(&key(n), json!(n)));
        let _ = futures_util::poll!(&mut commit);
    }
    drop(state);
    let state = open(&folder);
    assert!(state.get(key(49)).await.unwrap().is_some());
}
