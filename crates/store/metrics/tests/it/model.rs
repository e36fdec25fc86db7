//! The engine beside the store in memory: the same questions have the same answers, whatever is
//! flushed, merged, deleted or opened again in between.

use std::time::Duration;

use metrics::engine::Settings;
use metrics_api::{
    Histogram, LabelQuery, Labels, MatchOp, Matcher, Reader, Samples, Select, TimeRange, WriteBatch,
    memory::MemoryStore, stale_nan,
};
use proptest::prelude::*;

use crate::harness::{DAY, Harness, NOON, budget, content_of, every};

#[derive(Debug, Clone)]
enum Step {
    /// Series and times, in any order.
    Write(Vec<(u8, i64)>),
    Flush,
    CompactOnce,
    CompactAll,
    Reopen,
    Delete(u8, i64, i64),
}

fn time() -> impl Strategy<Value = i64> {
    // Around a midnight and around now, so that parts of several days come about.
    prop_oneof![
        (-40i64..40).prop_map(|at| NOON - DAY / 2 - DAY + at * 1_000),
        (-60i64..0).prop_map(|at| NOON + at * 1_000)
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::collection::vec((0u8..12, time()), 1..30).prop_map(Step::Write),
        2 => Just(Step::Flush),
        1 => Just(Step::CompactOnce),
        1 => Just(Step::CompactAll),
        2 => Just(Step::Reopen),
        1 => (0u8..4, time(), 0i64..2 * DAY).prop_map(|(set, from, length)| Step::Delete(set, from, from + length)),
    ]
}

fn labels(series: u8) -> Labels {
    Labels::from_pairs([
        ("__name__", if series < 6 { "up" } else { "h" }.to_owned()),
        ("instance", format!("i{}", series % 3)),
        ("odd", if series % 2 == 1 { "yes".into() } else { String::new() }),
        ("n", series.to_string()),
    ])
}

/// The value follows from series and time, so that a sample sent twice is the same.
fn write(rows: &[(u8, i64)]) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for &(series, time_ms) in rows {
        let value = (time_ms % 7_001) as f64 * f64::from(series + 1) * 0.1;
        batch.row(&labels(series));
        if series >= 10 {
            batch.histogram(time_ms, Histogram { count: value, ..Histogram::default() });
        } else if time_ms % 11 == 0 {
            batch.float(time_ms, stale_nan());
        } else {
            batch.float(time_ms, value);
        }
    }
    batch
}

fn set(number: u8) -> Vec<Vec<Matcher>> {
    match number {
        0 => Vec::new(),
        1 => vec![vec![Matcher::equal("instance", "i1")]],
        2 => vec![vec![Matcher::equal("odd", ""), Matcher::new("n", MatchOp::NotRegex, "4|8").unwrap()]],
        _ => vec![vec![Matcher::equal("__name__", "h")], vec![Matcher::equal("n", "2")]],
    }
}

async fn compare(harness: &Harness, model: &MemoryStore) {
    let (found, _) = content_of(&harness.store, &harness.tenant).await.unwrap();
    let (wanted, _) = content_of(model, &harness.tenant).await.unwrap();
    assert_eq!(found, wanted);
    for number in 0..4 {
        for range in [TimeRange::ALL, TimeRange::new(NOON - DAY - DAY / 2, NOON - 30_000)] {
            let query = LabelQuery { any_of: set(number), range, limit: 0 };
            assert_eq!(
                harness.store.series(&harness.tenant, &query, &budget()).await.unwrap(),
                model.series(&harness.tenant, &query, &budget()).await.unwrap()
            );
            let Some(matchers) = query.any_of.first() else { continue };
            let select = Select { matchers: matchers.clone(), range };
            assert_eq!(answer(&harness.store, harness, &select).await, answer(model, harness, &select).await);
        }
        let query = LabelQuery { any_of: set(number), ..every() };
        assert_eq!(
            harness.store.label_names(&harness.tenant, &query, &budget()).await.unwrap(),
            model.label_names(&harness.tenant, &query, &budget()).await.unwrap()
        );
        assert_eq!(
            harness.store.label_values(&harness.tenant, "n", &query, &budget()).await.unwrap(),
            model.label_values(&harness.tenant, "n", &query, &budget()).await.unwrap()
        );
    }
}

async fn answer(
    store: &dyn Reader,
    harness: &Harness,
    select: &Select,
) -> Vec<(String, Vec<i64>, Vec<u64>, usize)> {
    let mut found = Vec::new();
    for mut series in store.select(&harness.tenant, select, &budget()).await.unwrap().series {
        let mut samples = Samples::default();
        series.read(select.range, &mut samples).unwrap();
        if !samples.is_empty() {
            let bits = samples.floats.iter().map(|value| value.to_bits()).collect();
            found.push((series.labels().to_string(), samples.float_times, bits, samples.histograms.len()));
        }
    }
    found.sort();
    found
}

async fn run(steps: Vec<Step>) {
    // The model knows no window.
    let settings = Settings { out_of_order_window: Duration::from_secs(30 * 86_400), ..Settings::default() };
    let (mut harness, model) = (Harness::with(settings), MemoryStore::new());
    for step in steps {
        match step {
            Step::Write(rows) => {
                let taken = harness.write(write(&rows)).await.unwrap();
                let wanted = model.write_now(&harness.tenant, &write(&rows)).unwrap();
                assert_eq!((taken.samples, taken.refused), (wanted.samples, wanted.refused));
            }
            Step::Flush => harness.store.flush().await.unwrap(),
            Step::CompactOnce => drop(harness.store.compact_once().await.unwrap()),
            Step::CompactAll => harness.store.compact_all().await.unwrap(),
            Step::Reopen => harness = harness.reopened(),
            Step::Delete(number, from, to) => {
                let query = LabelQuery { any_of: set(number), range: TimeRange::new(from, to), limit: 0 };
                let touched = harness.store.delete(&harness.tenant, &query).await.unwrap();
                assert_eq!(touched, model.delete(&harness.tenant, &query).await.unwrap());
            }
        }
    }
    compare(&harness, &model).await;
    let crashed = harness.crashed(0);
    compare(&crashed, &model).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn the_engine_answers_as_the_model_does(steps in proptest::collection::vec(step(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(steps));
    }
}
