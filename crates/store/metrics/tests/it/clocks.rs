//! Clocks that jump, retention, and late samples.

use std::time::Duration;

use base::Timestamp;
use metrics::engine::Settings;
use metrics_api::RefusalKind;

use crate::harness::{DAY, Harness, MINUTE, NOON, batch};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn old_parts_go_and_a_clock_that_jumps_takes_none_with_it() {
    let harness = Harness::new();
    harness
        .write(batch(&[("old", "a", &[(NOON - 29 * DAY, 1.0)]), ("up", "a", &[(NOON, 1.0)])]))
        .await
        .unwrap();
    harness.store.flush().await.unwrap();
    assert_eq!(harness.store.parts(&harness.tenant).len(), 2);
    // A year ahead: held back, in this process and the next.
    harness.clock.jump_to(Timestamp::from_millis(NOON + 365 * DAY));
    while harness.store.compact_once().await.unwrap() {}
    assert_eq!(harness.content().await.len(), 2);
    let harness = harness.reopened();
    harness.clock.advance(HOUR);
    while harness.store.compact_once().await.unwrap() {}
    assert_eq!(harness.content().await.len(), 2);
    // Samples of the real time, sent by machines whose clock is right, are taken.
    assert_eq!(
        harness.write(batch(&[("up", "a", &[(NOON + MINUTE, 1.0)])])).await.unwrap().refused_total(),
        0
    );
    // Back again, and two days pass.
    harness.clock.jump_to(Timestamp::from_millis(NOON + 3_600_000));
    for _ in 0..48 {
        harness.clock.advance(HOUR);
        while harness.store.compact_once().await.unwrap() {}
    }
    let content = harness.content().await;
    assert_eq!(content.keys().filter(|series| series.starts_with("old")).count(), 0, "{content:?}");
    assert_eq!(harness.store.parts(&harness.tenant).len(), 1);
    assert!(harness.store.stats().counters().contains(&("parts_expired", 1)));
}

#[tokio::test]
async fn a_clock_that_jumps_back_keeps_all_and_takes_in() {
    let harness = Harness::new();
    harness.write(batch(&[("up", "a", &[(NOON, 1.0)])])).await.unwrap();
    harness.clock.jump_to(Timestamp::from_millis(NOON - 2 * 3_600_000));
    let late = harness.write(batch(&[("up", "a", &[(NOON - 2 * 3_600_000, 1.0)])])).await.unwrap();
    assert_eq!(late.refused_total(), 0);
    harness.store.flush().await.unwrap();
    while harness.store.compact_once().await.unwrap() {}
    assert_eq!(harness.content().await.values().map(Vec::len).sum::<usize>(), 2);
}

#[tokio::test]
async fn samples_too_old_or_ahead_of_the_clock_are_refused_and_counted() {
    let settings = Settings { out_of_order_window: HOUR, ..Settings::default() };
    let harness = Harness::with(settings);
    let rows = batch(&[(
        "up",
        "a",
        &[
            (NOON + 11 * MINUTE, 1.0),
            (NOON - 31 * DAY, 1.0),
            (NOON, 1.0),
            (NOON - 59 * MINUTE, 2.0),
            (NOON - 61 * MINUTE, 3.0),
        ],
    )]);
    let taken = harness.write(rows).await.unwrap();
    assert_eq!(taken.samples, 2);
    assert_eq!(taken.refused, [(RefusalKind::InFuture, 1), (RefusalKind::TooOld, 2)]);
    let refused: Vec<_> = harness.store.stats().refused().filter(|one| one.1 > 0).collect();
    assert_eq!(refused, [(RefusalKind::TooOld, 2), (RefusalKind::InFuture, 1)]);
    assert_eq!(harness.content().await.values().next().unwrap().len(), 2);
}

#[tokio::test]
async fn retention_cuts_within_a_part_too() {
    let harness =
        Harness::with(Settings { retention: Duration::from_secs(2 * 86_400), ..Settings::default() });
    harness
        .write(batch(&[("up", "a", &[(NOON - 47 * 3_600_000, 1.0), (NOON - 37 * 3_600_000, 1.0)])]))
        .await
        .unwrap();
    harness.store.flush().await.unwrap();
    for _ in 0..2 {
        harness.clock.advance(HOUR);
        while harness.store.compact_once().await.unwrap() {}
    }
    assert_eq!(harness.content().await.values().next().unwrap().len(), 1);
}
