//! A folder as version 1 of the formats wrote it: log, registry, manifest and what is said beside.
//! Parts have a sample of their own.

use std::path::{Path, PathBuf};

use disk::{Disk, Kind, SimulatedDisk};
use metrics::engine::Settings;
use metrics_api::{
    CounterReset, Exemplar, Histogram, Labels, Metadata, MetricType, Reader, Span, WriteBatch, stale_nan,
};

use crate::harness::{Harness, NOON, batch, every, labels};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen/engine-1")
}

fn copy_in(from: &Path, disk: &SimulatedDisk, to: &Path) {
    disk::create_dirs(disk, to, 0o700).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_in(&entry.path(), disk, &to);
        } else {
            disk::write_atomic(disk, &to, &std::fs::read(entry.path()).unwrap(), 0o600).unwrap();
        }
    }
}

fn copy_out(disk: &SimulatedDisk, from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for listed in disk.list(from).unwrap() {
        let (from, to) = (from.join(&listed.name), to.join(&listed.name));
        if listed.kind == Kind::Dir {
            copy_out(disk, &from, &to);
        } else {
            std::fs::write(to, disk::read(disk, &from, 1 << 20).unwrap()).unwrap();
        }
    }
}

/// Made once; the part of the first flush is deleted and so gone.
async fn make() -> Harness {
    let harness = Harness::new();
    harness.write(batch(&[("up", "a", &[(NOON, 1.0)]), ("up", "b", &[(NOON, 1.0)])])).await.unwrap();
    harness.store.flush().await.unwrap();
    harness.store.delete(&harness.tenant, &every()).await.unwrap();
    while harness.store.compact_once().await.unwrap() {}
    let mut rows = batch(&[("up", "b", &[(NOON + 1, 42.0), (NOON + 2, stale_nan()), (NOON + 15_000, -0.1)])]);
    rows.exemplar(Exemplar { labels: Labels::from_pairs([("trace_id", "7")]), value: 0.5, time_ms: NOON });
    let said = Metadata { kind: MetricType::Gauge, help: "whether it is up".into(), unit: "bool".into() };
    rows.metadata.push(("up".into(), said));
    harness.write(rows).await.unwrap();
    let mut rows = WriteBatch::default();
    rows.row(&labels("latency", "a")).histogram(NOON + 5, histogram());
    harness.write(rows).await.unwrap();
    harness
}

fn histogram() -> Histogram {
    Histogram {
        counter_reset: CounterReset::NotReset,
        schema: 3,
        zero_threshold: 1e-128,
        zero_count: 1.0,
        count: 6.0,
        sum: 18.4,
        positive_spans: vec![Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }],
        positive_buckets: vec![1.0, 2.0, 2.0],
        ..Histogram::default()
    }
}

#[tokio::test]
async fn what_the_first_version_wrote_is_read() {
    if !folder().exists() {
        let made = make().await;
        copy_out(&made.disk, Path::new("tenants/default"), &folder().join("tenants/default"));
        panic!("the sample was not there and is made anew: look at it, and keep it");
    }
    let disk = SimulatedDisk::new();
    copy_in(&folder(), &disk, Path::new(""));
    // Git keeps no empty folder.
    let harness = Harness::on(disk, Settings::default());
    assert_eq!(harness.store.damage(), Vec::<String>::new());
    assert_eq!(harness.content().await, make().await.content().await);
    assert_eq!(harness.store.active_series(), 3);
    let said = harness.store.metadata(&harness.tenant, Some("up")).await.unwrap();
    assert_eq!(said[0].1[0].help, "whether it is up");
    let shown = harness.store.exemplars(&harness.tenant, &every()).await.unwrap();
    assert_eq!(shown[0].exemplars[0].labels.get("trace_id"), "7");
}
