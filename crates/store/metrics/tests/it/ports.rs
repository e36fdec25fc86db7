//! What the ports promise, where the model says little.

use metrics_api::{
    Budget, Exemplar, Histogram, LabelQuery, Labels, Limits, Matcher, Metadata, MetricType, Reader,
    RefusalKind, Samples, Select, TimeRange, WriteBatch, Writer,
};

use crate::harness::{DAY, Harness, MINUTE, NOON, batch, budget, every, labels};

#[tokio::test]
async fn the_same_value_again_is_one_sample_and_another_is_refused() {
    let harness = Harness::new();
    let first = harness.write(batch(&[("up", "a", &[(NOON, 1.0)])])).await.unwrap();
    assert_eq!((first.samples, first.duplicates), (1, 0));
    let again = harness.write(batch(&[("up", "a", &[(NOON, 1.0), (NOON, 2.0)])])).await.unwrap();
    assert_eq!((again.samples, again.duplicates), (1, 1));
    assert_eq!(again.refused, [(RefusalKind::Conflict, 1)]);
    // The refused value was not logged: it is not there after a crash either.
    let crashed = harness.crashed(1);
    assert_eq!(crashed.content().await, harness.content().await);
    let again = crashed.write(batch(&[("up", "a", &[(NOON, 1.0), (NOON, 2.0)])])).await.unwrap();
    assert_eq!((again.duplicates, again.refused_total()), (1, 1));
}

#[tokio::test]
async fn of_two_values_that_were_not_seen_together_the_newer_counts() {
    let harness = Harness::new();
    harness.write(batch(&[("up", "a", &[(NOON - 1, 1.0), (NOON, 1.0)])])).await.unwrap();
    harness.store.flush().await.unwrap();
    harness.write(batch(&[("up", "a", &[(NOON - 1, 2.0)])])).await.unwrap();
    let wanted = vec![(NOON - 1, 2f64.to_bits()), (NOON, 1f64.to_bits())];
    assert_eq!(harness.content().await.values().next(), Some(&wanted));
    harness.store.flush().await.unwrap();
    assert_eq!(harness.content().await.values().next(), Some(&wanted));
    harness.store.compact_all().await.unwrap();
    assert_eq!(harness.content().await.values().next(), Some(&wanted));
    assert_eq!(harness.store.parts(&harness.tenant).len(), 1);
}

#[tokio::test]
async fn histograms_are_kept_like_floats() {
    let harness = Harness::new();
    let histogram = |count: f64| Histogram { count, ..Histogram::default() };
    let mut rows = WriteBatch::default();
    rows.row(&labels("h", "a")).histogram(NOON - 1, histogram(1.0)).histogram(NOON, histogram(2.0));
    rows.row(&labels("bad", "a")).histogram(NOON, Histogram { count: -1.0, ..Histogram::default() });
    let taken = harness.write(rows.clone()).await.unwrap();
    assert_eq!((taken.samples, taken.refused), (2, vec![(RefusalKind::Histogram, 1)]));
    let mut again = WriteBatch::default();
    again
        .row(&labels("h", "a"))
        .histogram(NOON, histogram(2.0))
        .histogram(NOON, histogram(3.0))
        .float(NOON, 1.0);
    let taken = harness.write(again).await.unwrap();
    assert_eq!((taken.samples, taken.duplicates), (1, 1));
    assert_eq!(taken.refused, [(RefusalKind::Conflict, 2)]);
    let before = harness.content().await;
    assert_eq!(before.len(), 1);
    assert_eq!(harness.crashed(1).content().await, before);
    harness.store.flush().await.unwrap();
    assert_eq!(harness.content().await, before);
}

#[tokio::test]
async fn what_is_said_beside_samples_outlives_crash_and_flush() {
    let harness = Harness::new();
    let said = Metadata { kind: MetricType::Counter, help: "how many".into(), unit: String::new() };
    let exemplar = Exemplar { labels: Labels::from_pairs([("trace_id", "1")]), value: 1.0, time_ms: NOON };
    let mut rows = batch(&[("up", "a", &[(NOON, 1.0)])]);
    rows.exemplar(exemplar.clone());
    let long = Labels::from_pairs([("trace_id", "x".repeat(200))]);
    rows.exemplar(Exemplar { labels: long, ..exemplar.clone() });
    rows.metadata.push(("up".into(), said.clone()));
    let taken = harness.write(rows).await.unwrap();
    assert_eq!((taken.exemplars, taken.refused), (1, vec![(RefusalKind::Exemplar, 1)]));
    let check = async |harness: &Harness| {
        let found = harness.store.metadata(&harness.tenant, Some("up")).await.unwrap();
        assert_eq!(found, [("up".to_owned(), vec![said.clone()])]);
        let found = harness.store.exemplars(&harness.tenant, &every()).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].exemplars, std::slice::from_ref(&exemplar));
    };
    check(&harness).await;
    check(&harness.crashed(0)).await;
    harness.store.flush().await.unwrap();
    check(&harness.crashed(0)).await;
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let harness = Harness::new();
    let other = base::Tenant::parse("other").unwrap();
    harness.write(batch(&[("up", "a", &[(NOON, 1.0)])])).await.unwrap();
    assert!(harness.store.series(&other, &every(), &budget()).await.unwrap().is_empty());
    harness.store.write(&other, batch(&[("down", "a", &[(NOON, 1.0)])])).await.unwrap();
    let names =
        async |tenant| harness.store.label_values(tenant, "__name__", &every(), &budget()).await.unwrap();
    assert_eq!((names(&other).await, names(&harness.tenant).await), (vec!["down".into()], vec!["up".into()]));
}

#[tokio::test]
async fn a_query_over_its_budget_fails_and_taking_in_goes_on() {
    let harness = Harness::new();
    for minute in 0..50 {
        let at = NOON - DAY + minute * MINUTE;
        harness.write(batch(&[("up", "a", &[(at, 1.0)]), ("up", "b", &[(at, 1.0)])])).await.unwrap();
        if minute == 25 {
            harness.store.flush().await.unwrap();
        }
    }
    let select = Select { matchers: vec![Matcher::equal("__name__", "up")], range: TimeRange::ALL };
    let narrow = [
        Limits { series_max: 1, ..Limits::default() },
        Limits { memory_bytes_max: 500, ..Limits::default() },
        Limits { time_max: std::time::Duration::ZERO, ..Limits::default() },
    ];
    for limits in narrow {
        let refused = harness.store.select(&harness.tenant, &select, &Budget::new(limits)).await;
        assert!(refused.is_err(), "{limits:?}");
    }
    let limited = Budget::new(Limits { samples_max: 60, ..Limits::default() });
    let mut found = harness.store.select(&harness.tenant, &select, &limited).await.unwrap();
    let mut samples = Samples::default();
    found.series[0].read(TimeRange::ALL, &mut samples).unwrap();
    assert_eq!(samples.len(), 50);
    assert!(found.series[1].read(TimeRange::ALL, &mut samples).is_err());
    harness.write(batch(&[("up", "a", &[(NOON, 1.0)])])).await.unwrap();
}

#[tokio::test]
async fn a_reader_keeps_what_it_found_while_parts_come_and_go() {
    let harness = Harness::new();
    for minute in 0..4 {
        harness.write(batch(&[("up", "a", &[(NOON + minute, minute as f64)])])).await.unwrap();
        if minute % 2 == 1 {
            harness.store.flush().await.unwrap();
        }
    }
    let select = Select { matchers: Vec::new(), range: TimeRange::ALL };
    let mut found = harness.store.select(&harness.tenant, &select, &budget()).await.unwrap();
    harness.store.compact_all().await.unwrap();
    harness.store.delete(&harness.tenant, &every()).await.unwrap();
    while harness.store.compact_once().await.unwrap() {}
    assert!(harness.store.parts(&harness.tenant).is_empty(), "nothing is left to keep");
    let mut samples = Samples::default();
    found.series[0].read(TimeRange::new(NOON + 1, NOON + 2), &mut samples).unwrap();
    assert_eq!(samples.float_times, [NOON + 1, NOON + 2]);
}

#[tokio::test]
async fn what_was_deleted_can_be_sent_again() {
    let harness = Harness::new();
    let rows = || batch(&[("up", "a", &[(NOON - 5, 1.0), (NOON, 2.0)]), ("up", "b", &[(NOON, 1.0)])]);
    harness.write(rows()).await.unwrap();
    let of_a = LabelQuery { any_of: vec![vec![Matcher::equal("instance", "a")]], ..every() };
    assert_eq!(harness.store.delete(&harness.tenant, &of_a).await.unwrap(), 1);
    assert_eq!(harness.store.delete(&harness.tenant, &of_a).await.unwrap(), 0, "nothing is left of it");
    assert_eq!(harness.content().await.len(), 1);
    assert_eq!(harness.crashed(0).content().await.len(), 1);
    let again = harness.write(batch(&[("up", "a", &[(NOON, 2.0)])])).await.unwrap();
    assert_eq!(again.duplicates, 0);
    for _ in 0..2 {
        let content = harness.content().await;
        assert_eq!(content.len(), 2);
        assert_eq!(content.values().map(Vec::len).sum::<usize>(), 2);
        harness.store.flush().await.unwrap();
        harness.store.compact_all().await.unwrap();
    }
    assert_eq!(harness.crashed(0).content().await, harness.content().await);
}

#[tokio::test]
async fn many_writers_share_groups_and_all_are_answered() {
    let harness = Harness::new();
    let writes = (0..200i64).map(|at| {
        let harness = &harness;
        async move {
            let rows = batch(&[("up", &format!("i{}", at % 10), &[(NOON - 1_000 + at, 1.0)])]);
            harness.write(rows).await.unwrap().samples
        }
    });
    let taken: u64 = futures_util::future::join_all(writes).await.into_iter().sum();
    assert_eq!(taken, 200);
    let syncs = harness.store.stats().counters().into_iter().find(|one| one.0 == "wal_fsyncs").unwrap().1;
    assert!(syncs < 100, "{syncs} syncs for 200 batches");
    let content = harness.content().await;
    assert_eq!(content.values().map(Vec::len).sum::<usize>(), 200);
    assert_eq!(harness.crashed(0).content().await, content);
}
