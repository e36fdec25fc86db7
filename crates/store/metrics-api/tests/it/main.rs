//! The ports as the store in memory serves them; what any store has to do too.

use std::sync::Arc;

use base::Tenant;
use metrics_api::{
    Budget, LabelQuery, Labels, Limits, Matcher, Reader, RefusalKind, Samples, Select, TimeRange, WriteBatch,
    Writer, memory::MemoryStore,
};

fn batch(rows: &[(&str, &[(i64, f64)])]) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for (instance, samples) in rows {
        batch.row(&Labels::from_pairs([("__name__", "up"), ("instance", instance)]));
        for &(time_ms, value) in *samples {
            batch.float(time_ms, value);
        }
    }
    batch
}

fn every(range: TimeRange) -> LabelQuery {
    LabelQuery { any_of: Vec::new(), range, limit: 0 }
}

#[tokio::test]
async fn what_was_written_is_read_by_matcher_and_time() {
    let (store, tenant, budget) = (MemoryStore::new(), Tenant::default(), Budget::new(Limits::default()));
    let taken =
        store.write(&tenant, batch(&[("a", &[(1, 1.0), (5, 0.0)]), ("b", &[(3, 1.0)])])).await.unwrap();
    assert_eq!(taken.samples, 3);
    let select = Select { matchers: vec![Matcher::equal("instance", "a")], range: TimeRange::new(2, 9) };
    let mut found = store.select(&tenant, &select, &budget).await.unwrap().series;
    let mut samples = Samples::default();
    found[0].read(TimeRange::new(2, 9), &mut samples).unwrap();
    assert_eq!((found.len(), samples.float_times, samples.floats), (1, vec![5], vec![0.0]));
    assert_eq!(store.series(&tenant, &every(TimeRange::new(2, 4)), &budget).await.unwrap().len(), 1);
    let values = store.label_values(&tenant, "instance", &every(TimeRange::ALL), &budget).await.unwrap();
    assert_eq!(values, ["a", "b"]);
    let other = Tenant::parse("other").unwrap();
    assert!(store.series(&other, &every(TimeRange::ALL), &budget).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_same_sample_twice_is_one_and_another_value_is_refused() {
    let (store, tenant) = (MemoryStore::new(), Tenant::default());
    store.write(&tenant, batch(&[("a", &[(1, 1.0)])])).await.unwrap();
    let again = store.write(&tenant, batch(&[("a", &[(1, 1.0), (1, 2.0)])])).await.unwrap();
    assert_eq!((again.samples, again.duplicates), (1, 1));
    assert_eq!(again.refused, [(RefusalKind::Conflict, 1)]);
}

#[tokio::test]
async fn deleting_takes_samples_out_of_answers() {
    let (store, tenant, budget) =
        (Arc::new(MemoryStore::new()), Tenant::default(), Budget::new(Limits::default()));
    store.write(&tenant, batch(&[("a", &[(1, 1.0)]), ("b", &[(1, 1.0), (7, 1.0)])])).await.unwrap();
    assert_eq!(store.delete(&tenant, &every(TimeRange::new(0, 5))).await.unwrap(), 2);
    let left = store.series(&tenant, &every(TimeRange::ALL), &budget).await.unwrap();
    assert_eq!(left.iter().map(|labels| labels.get("instance")).collect::<Vec<_>>(), ["b"]);
    assert_eq!(store.cardinality(&tenant, 10).await.unwrap().series, 1);
}
