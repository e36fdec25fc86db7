//! Ten times more data than memory, with queries while it merges. Meant for a control group of
//! 512 MiB: `systemd-run --scope -p MemoryMax=512M cargo run --release -p metrics --example soak`.
//!
//! `soak [SERIES] [MILLIONS_OF_SAMPLES] [DIR]`. It ends with an error when a write is refused, an
//! answer is wrong, or memory passes the budget by more than half.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{path::PathBuf, sync::Arc};

use base::{Clock, Tenant, Timestamp, time::ManualClock};
use metrics::engine::{Settings, Store};
use metrics_api::{Budget, Limits, Matcher, Reader, Samples, Select, TimeRange, WriteBatch, Writer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const START_MS: i64 = 1_800_000_000_000;
const INTERVAL_MS: i64 = 15_000;
const BATCH_ROWS: usize = 2_000;
const MEMORY_BYTES_MAX: u64 = 256 << 20;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Reads one series back from its beginning and checks every sample.
async fn check(store: &Store, series: usize, scrapes: i64) {
    let select = Select { matchers: vec![Matcher::equal("n", series.to_string())], range: TimeRange::ALL };
    let budget = Budget::new(Limits::default());
    let mut found = store.select(&Tenant::default(), &select, &budget).await.unwrap();
    assert_eq!(found.series.len(), 1);
    let mut samples = Samples::default();
    found.series[0].read(TimeRange::ALL, &mut samples).unwrap();
    assert_eq!(samples.len() as i64, scrapes);
    let right = |(at, value): (usize, &f64)| *value == value_of(series, at as i64);
    assert!(samples.floats.iter().enumerate().all(right), "series {series}");
}

fn value_of(series: usize, scrape: i64) -> f64 {
    let random = (series as u64 ^ (scrape as u64) << 20).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50;
    (scrape * 100) as f64 + random as f64 / 100.0
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let series: usize = arguments.next().map_or(20_000, |text| text.parse().unwrap());
    let millions: i64 = arguments.next().map_or(110, |text| text.parse().unwrap());
    let held = tempfile::tempdir().unwrap();
    let dir = arguments.next().map_or_else(|| held.path().to_owned(), PathBuf::from);
    let scrapes = millions * 1_000_000 / series as i64;
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(START_MS)));
    let settings = Settings { memory_bytes_max: MEMORY_BYTES_MAX, ..Settings::default() };
    let disk = Arc::new(disk::RealDisk::open(&dir).unwrap());
    let store = Store::open(disk, Arc::clone(&clock) as Arc<dyn Clock>, settings).unwrap();
    let tasks = tasks::Tasks::new(tasks::Limits::default());
    let running = store.clone();
    tasks.spawn(tasks::Kind::FLUSH, "metrics", move |shutdown| running.clone().run(shutdown)).unwrap();
    let mut peak_kib = 0;
    for scrape in 0..scrapes {
        let time_ms = START_MS + scrape * INTERVAL_MS;
        clock.jump_to(Timestamp::from_millis(time_ms));
        for from in (0..series).step_by(BATCH_ROWS) {
            let mut batch = WriteBatch::default();
            for at in from..series.min(from + BATCH_ROWS) {
                let (n, instance) = (at.to_string(), format!("machine-{:05}", at / 500));
                let pairs = [("__name__", "soak"), ("instance", &instance), ("job", "soak"), ("n", &n)];
                batch.row_sorted(pairs).unwrap().float(time_ms, value_of(at, scrape));
            }
            assert_eq!(store.write(&Tenant::default(), batch).await.unwrap().refused_total(), 0);
        }
        peak_kib = peak_kib.max(resident_kib());
        if scrape % (scrapes / 20).max(1) == 0 {
            check(&store, scrape as usize % series, scrape + 1).await;
            println!(
                "{scrape} of {scrapes}: {} KiB resident, {} bytes counted",
                resident_kib(),
                store.memory_bytes()
            );
        }
    }
    tasks.request_shutdown("done");
    tasks.drain().await;
    for at in (0..series).step_by(series / 10) {
        check(&store, at, scrapes).await;
    }
    println!("{} samples; {peak_kib} KiB resident at most", series as i64 * scrapes);
    assert!(peak_kib * 1_024 < MEMORY_BYTES_MAX * 3 / 2);
}
