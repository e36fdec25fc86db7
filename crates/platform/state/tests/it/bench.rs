//! Commits per second, printed on request: `STATE_BENCH=1 cargo nextest run -p state bench --no-capture`.

use std::{sync::Arc, time::Instant};

use base::{Clock, time::SystemClock};
use futures_util::future::join_all;
use serde_json::json;
use state::{
    Key, SqliteState, State,
    conformance::{draft, put, scope},
    sqlite::Options,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bench_commits() {
    // Without the request it runs small, so that it cannot rot.
    let rounds = if std::env::var_os("STATE_BENCH").is_some() { 2_000 } else { 10 };
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let memory_before = anonymous_kib();
    let state = SqliteState::open(&folder.path().join("state.db"), &Options::default(), clock).unwrap();
    let scope = scope("a", "default");
    let commit = |n: usize| {
        let mut commit = put(&Key::new(&scope, "thing", format!("{:05}", n % 10_000)), json!({ "n": n }));
        commit.entries.push(draft(&scope, "stead.thing.made.v1", "thing", json!({ "n": n })));
        state.commit(commit)
    };
    let began = Instant::now();
    for n in 0..rounds {
        commit(n).await.unwrap();
    }
    report("alone", rounds, began, 0, &state);
    let before = state.stats().transactions;
    let began = Instant::now();
    for round in 0..rounds / 10 {
        for result in join_all((0..100).map(|n| commit(round * 100 + n))).await {
            result.unwrap();
        }
    }
    report("100 at once", rounds * 10, began, before, &state);
    let began = Instant::now();
    for n in 0..rounds {
        state.get(Key::new(&scope, "thing", format!("{:05}", n % 10_000))).await.unwrap();
    }
    println!("get: {:.0}/s", rounds as f64 / began.elapsed().as_secs_f64());
    println!("memory: {} KiB more than before it was opened", anonymous_kib() - memory_before);
}

fn report(name: &str, commits: usize, began: Instant, before: u64, state: &SqliteState) {
    let seconds = began.elapsed().as_secs_f64();
    let per_commit = (state.stats().transactions - before) as f64 / commits as f64;
    println!("{name}: {:.0} commits/s, {per_commit:.3} fsyncs per commit", commits as f64 / seconds);
}

/// Memory of this process that is not of files.
fn anonymous_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("RssAnon:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}
