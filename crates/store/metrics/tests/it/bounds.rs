//! Every bound is hit.

use std::time::Duration;

use disk::simulated::Plan;
use metrics::engine::Settings;
use metrics_api::{Error, Labels, RefusalKind, WriteBatch};

use crate::harness::{Harness, NOON, batch, labels};

fn one(labels: &Labels) -> WriteBatch {
    let mut batch = WriteBatch::default();
    batch.row(labels).float(NOON, 1.0);
    batch
}

#[tokio::test]
async fn labels_have_bounds() {
    let harness = Harness::with(Settings {
        labels_max: 3,
        label_name_bytes_max: 10,
        label_value_bytes_max: 10,
        ..Settings::default()
    });
    let refused = [
        Labels::from_pairs([("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]),
        Labels::from_pairs([("a".repeat(11), "1")]),
        Labels::from_pairs([("a", "1".repeat(11))]),
        Labels::empty(),
    ];
    for labels in refused {
        let taken = harness.write(one(&labels)).await.unwrap();
        assert_eq!((taken.samples, taken.refused), (0, vec![(RefusalKind::Labels, 1)]), "{labels}");
    }
    let good = Labels::from_pairs([("a", "1"), ("b", "1"), ("cccccccccc", "1111111111")]);
    assert_eq!(harness.write(one(&good)).await.unwrap().samples, 1);
}

#[tokio::test]
async fn a_metric_and_a_tenant_have_as_many_series_as_they_may() {
    let harness = Harness::with(Settings { metric_series_max: 5, series_max: 8, ..Settings::default() });
    let mut batch = WriteBatch::default();
    for at in 0..7 {
        batch.row(&labels("up", &format!("i{at}"))).float(NOON, 1.0);
    }
    let taken = harness.write(batch).await.unwrap();
    assert_eq!((taken.samples, &*taken.refused), (5, &[(RefusalKind::MetricLimit, 2)][..]));
    assert!(
        taken.refusals[0].why.contains(r#"label "instance" has the most values"#),
        "{:?}",
        taken.refusals
    );
    for at in 0..4 {
        let taken = harness.write(one(&labels(&format!("m{at}"), "a"))).await.unwrap();
        let refused = if at < 3 { vec![] } else { vec![(RefusalKind::SeriesLimit, 1)] };
        assert_eq!(taken.refused, refused);
    }
    // Series that are there go on, and room comes back when others are idle.
    assert_eq!(harness.write(one(&labels("up", "i0"))).await.unwrap().duplicates, 1);
    harness.clock.advance(harness.settings.series_idle_after + Duration::from_secs(60));
    harness.store.flush().await.unwrap();
    assert_eq!(harness.store.active_series(), 0);
    assert_eq!(harness.write(one(&labels("m4", "a"))).await.unwrap().samples, 1);
    assert_eq!(harness.content().await.len(), 9, "what they had is still there");
    assert_eq!(harness.crashed(0).content().await.len(), 9);
}

#[tokio::test]
async fn series_that_come_and_go_do_not_add_up() {
    let harness = Harness::new();
    let mut sizes = Vec::new();
    for round in 0..12i64 {
        let mut batch = WriteBatch::default();
        for at in 0..500 {
            batch.row(&labels("up", &format!("r{round}-{at}"))).float(NOON + round, 1.0);
        }
        harness.write(batch).await.unwrap();
        harness.store.flush().await.unwrap();
        harness.clock.advance(harness.settings.series_idle_after + Duration::from_secs(120));
        harness.write(one(&labels("other", "a"))).await.unwrap();
        harness.store.flush().await.unwrap();
        sizes.push(harness.store.memory_bytes());
    }
    assert!(harness.store.active_series() < 1_100);
    let cache = harness.settings.cache_bytes_max as u64;
    assert!(sizes[11] <= sizes[3] + sizes[3] / 5 + cache, "{sizes:?}");
    assert_eq!(harness.content().await.len(), 12 * 500 + 1);
    assert_eq!(harness.crashed(0).content().await.len(), 12 * 500 + 1);
}

#[tokio::test]
async fn ten_times_the_memory_goes_through_with_memory_flat() {
    let memory_bytes_max = 4 << 20;
    let harness =
        Harness::with(Settings { memory_bytes_max, cache_bytes_max: 1 << 20, ..Settings::default() });
    let mut most = 0;
    let (series, rounds) = (500, 3_600i64);
    for round in 0..rounds {
        let mut batch = WriteBatch::default();
        for at in 0..series {
            batch.row(&labels("up", &format!("i{at}"))).float(NOON - 80_000_000 + round * 1_000, at as f64);
        }
        harness.write(batch).await.unwrap();
        most = most.max(harness.store.memory_bytes());
        if round % 500 == 0 {
            harness.store.compact_once().await.unwrap();
        }
    }
    assert!(series as i64 * rounds * 24 > 10 * memory_bytes_max as i64);
    assert!(most <= memory_bytes_max, "{most} bytes");
    assert!(harness.store.stats().counters().iter().any(|one| one.0 == "flushes" && one.1 > 10));
    let found = harness.content().await;
    assert_eq!(found.values().map(Vec::len).sum::<usize>() as i64, series as i64 * rounds);
}

#[tokio::test]
async fn memory_that_cannot_be_given_back_refuses_and_later_takes() {
    let settings = Settings { memory_bytes_max: 3 << 20, ..Settings::default() };
    let harness = Harness::with(settings);
    let rows = |round: i64| {
        let mut batch = WriteBatch::default();
        for at in 0..1_000 {
            // Values that do not get smaller.
            let bits = (at as u64)
                .wrapping_add((round as u64).wrapping_mul(7_919))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                >> 2;
            batch.row(&labels("up", &format!("i{at}"))).float(NOON - 1_000_000 + round, f64::from_bits(bits));
        }
        batch
    };
    harness.write(rows(-1)).await.unwrap();
    // The log has room for a batch, but not the disk for a part.
    let mut refused = None;
    for round in 0..1_000 {
        let room = Plan { full_after_bytes: Some(30_000), ..Plan::default() };
        harness.disk.plan(room);
        if let Err(error) = harness.write(rows(round)).await {
            refused = Some(error);
            break;
        }
    }
    assert!(matches!(refused, Some(Error::Unavailable { .. })), "{refused:?}");
    let before = harness.content().await;
    harness.disk.plan(Plan::default());
    harness.write(rows(5_000)).await.unwrap();
    assert!(
        harness.content().await.values().map(Vec::len).sum::<usize>()
            >= before.values().map(Vec::len).sum::<usize>() + 1_000
    );
}

#[tokio::test]
async fn there_are_as_many_tenants_as_there_may_be() {
    let harness = Harness::with(Settings { tenants_max: 1, ..Settings::default() });
    harness.write(batch(&[("up", "a", &[(NOON, 1.0)])])).await.unwrap();
    let other = base::Tenant::parse("other").unwrap();
    let refused =
        metrics_api::Writer::write(&harness.store, &other, batch(&[("up", "a", &[(NOON, 1.0)])])).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })));
}
