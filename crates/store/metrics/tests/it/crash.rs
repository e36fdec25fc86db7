//! Power cuts and failures at every step of the disk.

use disk::{SimulatedDisk, simulated::Plan};
use metrics_api::{LabelQuery, Matcher, Reader};

use crate::harness::{Content, DAY, Harness, MINUTE, NOON, batch, every, labels};

const SEEDS: u64 = 6;
const ROUNDS: i64 = 8;

/// What a run was promised.
#[derive(Default)]
struct Promised {
    /// Acknowledged samples.
    kept: Vec<(String, i64)>,
    /// Everything that was ever sent.
    sent: Vec<(String, i64)>,
    /// The deletion was acknowledged.
    deleted: bool,
    asked_to_delete: bool,
}

fn doomed(series: &str) -> bool {
    series.contains("doomed")
}

/// Writes, flushes, merges and deletes, going on whatever fails.
async fn run(harness: &Harness) -> Promised {
    let mut promised = Promised::default();
    for round in 0..ROUNDS {
        // New series in each round, an old one, and a sample of the day before.
        let (fresh, time_ms) = (format!("i{round}"), NOON + round * MINUTE);
        let late = NOON - DAY + round * MINUTE;
        let mut rows = vec![
            ("up", fresh.as_str(), vec![(time_ms, 1.0)]),
            ("up", "always", vec![(late, 0.5), (time_ms, round as f64)]),
        ];
        if round < 3 {
            rows.push(("doomed", "a", vec![(time_ms, 1.0)]));
        }
        let refs: Vec<_> = rows.iter().map(|(m, i, s)| (*m, *i, s.as_slice())).collect();
        let keys = rows
            .iter()
            .flat_map(|(m, i, s)| s.iter().map(|sample| (labels(m, i).to_string(), sample.0)))
            .collect::<Vec<_>>();
        promised.sent.extend(keys.clone());
        if let Ok(taken) = harness.write(batch(&refs)).await {
            assert_eq!(taken.refused_total(), 0);
            promised.kept.extend(keys);
        }
        if round % 2 == 1 {
            let _ = harness.store.flush().await;
        }
        if round == 4 {
            let query = LabelQuery { any_of: vec![vec![Matcher::equal("__name__", "doomed")]], ..every() };
            promised.asked_to_delete = true;
            // When it found nothing, a refused sample may still be in the log.
            promised.deleted =
                harness.store.delete(&harness.tenant, &query).await.is_ok_and(|touched| touched > 0);
        }
        if round == 5 {
            let _ = harness.store.compact_all().await;
        }
    }
    promised
}

fn check(content: &Content, promised: &Promised, when: &str) {
    let has = |key: &(String, i64)| {
        content.get(&key.0).is_some_and(|samples| samples.iter().any(|sample| sample.0 == key.1))
    };
    for key in &promised.kept {
        let may_be_gone = doomed(&key.0) && promised.asked_to_delete;
        assert!(has(key) || may_be_gone, "{when}: {key:?} was acknowledged and is missing");
    }
    if promised.deleted {
        assert!(!content.keys().any(|series| doomed(series)), "{when}: what was deleted is back");
    }
    for (series, samples) in content {
        for sample in samples {
            let key = (series.clone(), sample.0);
            assert!(promised.sent.contains(&key), "{when}: {key:?} was never sent");
        }
    }
}

async fn check_crashes(harness: &Harness, promised: &Promised, when: &str) {
    for seed in 0..SEEDS {
        let when = format!("{when}, seed {seed}");
        let mut found = harness.crashed(seed);
        assert_eq!(found.store.damage(), Vec::<String>::new(), "{when}");
        check(&found.content().await, promised, &when);
        // It goes on from there, and numbers of series are not mixed up.
        found
            .write(batch(&[("after", "a", &[(NOON, 1.0)]), ("up", "i0", &[(NOON + DAY / 1000, 1.0)])]))
            .await
            .unwrap();
        found.store.flush().await.unwrap();
        let before = found.content().await;
        found = found.reopened();
        assert_eq!(found.content().await, before, "{when}");
    }
}

#[tokio::test]
async fn stopped_at_any_step_nothing_acknowledged_is_missing_or_doubled() {
    let whole = Harness::new();
    whole.disk.plan(Plan::default());
    let promised = run(&whole).await;
    assert!(promised.deleted && promised.kept.len() == promised.sent.len());
    check(&whole.content().await, &promised, "without a crash");
    let steps = whole.disk.counts().steps;
    assert!(steps > 60, "{steps}");
    for step in 0..steps {
        let disk = SimulatedDisk::new();
        let harness = Harness::on(disk, whole.settings.clone());
        harness.disk.plan(Plan { stop_at_step: Some(step), ..Plan::default() });
        let promised = run(&harness).await;
        check_crashes(&harness, &promised, &format!("stopped at step {step} of {steps}")).await;
    }
}

#[tokio::test]
async fn any_one_failing_step_is_got_over() {
    let whole = Harness::new();
    whole.disk.plan(Plan::default());
    run(&whole).await;
    for step in 0..whole.disk.counts().steps {
        let harness = Harness::new();
        harness.disk.plan(Plan { fail_at_step: Some(step), ..Plan::default() });
        let promised = run(&harness).await;
        let when = format!("step {step} failed");
        check(&harness.content().await, &promised, &when);
        check_crashes(&harness, &promised, &when).await;
    }
}

#[tokio::test]
async fn a_sync_of_the_log_left_out_is_found_by_these_tests() {
    let harness = Harness::new();
    harness.write(batch(&[("up", "a", &[(NOON, 1.0)])])).await.unwrap();
    harness.disk.plan(Plan { skip_sync: Some(0), ..Plan::default() });
    harness.write(batch(&[("up", "a", &[(NOON + 1, 1.0)])])).await.unwrap();
    assert_eq!(harness.crashed(0).content().await.values().next().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let whole = Harness::new();
    whole.disk.plan(Plan::default());
    run(&whole).await;
    let bytes = whole.disk.counts().bytes;
    for room in (0..bytes).step_by(97) {
        let harness = Harness::new();
        harness.disk.plan(Plan { full_after_bytes: Some(room), ..Plan::default() });
        let mut promised = run(&harness).await;
        check(&harness.content().await, &promised, &format!("{room} bytes of room"));
        harness.disk.plan(Plan::default());
        let late = batch(&[("late", "a", &[(NOON, 1.0)])]);
        harness.write(late).await.unwrap();
        promised.kept.push((labels("late", "a").to_string(), NOON));
        promised.sent.push((labels("late", "a").to_string(), NOON));
        harness.store.flush().await.unwrap();
        check(&harness.content().await, &promised, &format!("{room} bytes of room, then more"));
        check_crashes(&harness, &promised, &format!("{room} bytes of room")).await;
    }
}
