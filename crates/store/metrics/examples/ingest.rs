//! What taking in costs: CPU per million samples, memory per series, bytes per sample, time from
//! start to the first right answer.
//!
//! `cargo run --release -p metrics --example ingest -- [SERIES] [SCRAPES] [DIR]`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use base::{Clock, Tenant, Timestamp, time::ManualClock};
use metrics::engine::{Settings, Store};
use metrics_api::{Budget, Limits, Matcher, Reader, Samples, Select, TimeRange, WriteBatch, Writer};
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const START_MS: i64 = 1_800_000_000_000;
const INTERVAL_MS: i64 = 15_000;
/// As Prometheus sends them.
const BATCH_ROWS: usize = 2_000;
/// Series of one machine.
const MACHINE_SERIES: usize = 500;

fn cpu(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Encoded rows of all series, made once: receivers have them so from the wire.
struct Load {
    texts: Vec<[(String, String); 6]>,
    values: Vec<f64>,
    state: u64,
}

impl Load {
    fn new(series: usize) -> Self {
        let texts = (0..series).map(|at| {
            let (machine, of) = (at / MACHINE_SERIES, at % MACHINE_SERIES);
            let pair = |name: &str, value: String| (name.to_owned(), value);
            [
                pair("__name__", format!("node_metric_{:03}_total", of / 8)),
                pair("cpu", (of % 8).to_string()),
                pair("environment", "production".into()),
                pair("instance", format!("machine-{machine:05}.example.internal:9100")),
                pair("job", "node".into()),
                pair("mode", ["idle", "user", "system", "iowait"][of % 4].into()),
            ]
        });
        Self { texts: texts.collect(), values: vec![0.0; series], state: 1 }
    }

    fn batch(&mut self, from: usize, time_ms: i64) -> WriteBatch {
        let mut batch = WriteBatch::default();
        for at in from..self.texts.len().min(from + BATCH_ROWS) {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let random = self.state >> 40;
            // A third does not move, a third counts whole numbers, a third is a measure.
            match at % 3 {
                0 => {}
                1 => self.values[at] += (random % 100) as f64,
                _ => self.values[at] = (random % 10_000) as f64 / 100.0,
            }
            let pairs = self.texts[at].iter().map(|(name, value)| (name.as_str(), value.as_str()));
            batch.row_sorted(pairs).unwrap().float(time_ms, self.values[at]);
        }
        batch
    }
}

fn open(dir: &Path, clock: &Arc<ManualClock>) -> Store {
    let disk = disk::RealDisk::open(dir).unwrap();
    Store::open(Arc::new(disk), Arc::clone(clock) as Arc<dyn Clock>, Settings::default()).unwrap()
}

fn size(dir: &Path) -> u64 {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                size(&entry.path())
            } else {
                entry.metadata().unwrap().len()
            }
        })
        .sum()
}

async fn instant(store: &Store, time_ms: i64) -> usize {
    let matchers = vec![Matcher::equal("__name__", "node_metric_007_total"), Matcher::equal("cpu", "3")];
    let select = Select { matchers, range: TimeRange::new(time_ms - 300_000, time_ms) };
    let budget = Budget::new(Limits::default());
    let mut found = store.select(&Tenant::default(), &select, &budget).await.unwrap();
    let mut samples = Samples::default();
    found.series.iter_mut().for_each(|series| series.read(select.range, &mut samples).unwrap());
    samples.len()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let series: usize = arguments.next().map_or(100_000, |text| text.parse().unwrap());
    let scrapes: i64 = arguments.next().map_or(120, |text| text.parse().unwrap());
    let held = tempfile::tempdir().unwrap();
    let dir = arguments.next().map_or_else(|| held.path().to_owned(), PathBuf::from);
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(START_MS)));
    let first = runtime();
    first.block_on(take_in(&dir, &clock, series, scrapes));
    drop(first); // the store ends without a word: what is in the log stays there
    runtime().block_on(start_again(&dir, &clock, series, scrapes));
}

async fn take_in(dir: &Path, clock: &Arc<ManualClock>, series: usize, scrapes: i64) {
    let mut load = Load::new(series);
    let before_kib = resident_kib();
    let store = open(dir, clock);
    let tenant = Tenant::default();
    let tasks = tasks::Tasks::new(tasks::Limits::default());
    let running = store.clone();
    tasks.spawn(tasks::Kind::FLUSH, "metrics", move |shutdown| running.clone().run(shutdown)).unwrap();
    let (started, mut made, begun) = (Instant::now(), 0.0, cpu(ClockId::ProcessCPUTime));
    let (mut peak_kib, mut first) = (0, 0.0);
    for scrape in 0..scrapes {
        clock.jump_to(Timestamp::from_millis(START_MS + scrape * INTERVAL_MS));
        for from in (0..series).step_by(BATCH_ROWS) {
            let making = cpu(ClockId::ThreadCPUTime);
            let batch = load.batch(from, START_MS + scrape * INTERVAL_MS);
            made += cpu(ClockId::ThreadCPUTime) - making;
            let taken = store.write(&tenant, batch).await.unwrap();
            assert_eq!(taken.refused_total(), 0);
        }
        peak_kib = peak_kib.max(resident_kib());
        if scrape == 0 {
            first = cpu(ClockId::ProcessCPUTime) - begun - made;
        }
    }
    let samples = series as f64 * scrapes as f64;
    let used = cpu(ClockId::ProcessCPUTime) - begun - made;
    let taken_in = started.elapsed();
    println!("{series} series, {scrapes} scrapes, {samples} samples in {:.1} s", taken_in.as_secs_f64());
    println!("registering: {:.2} us of CPU per series", first * 1e6 / series as f64);
    println!(
        "taking in (flushes included): {:.3} s of CPU per million samples",
        (used - first) * 1e6 / (samples - series as f64).max(1.0)
    );
    println!(
        "memory: {} KiB at most, {} bytes per series; by the store's count {} bytes per series",
        peak_kib,
        (peak_kib - before_kib) * 1_024 / series as u64,
        store.memory_bytes() / series as u64
    );
    println!("instant query: {} samples", instant(&store, START_MS + (scrapes - 1) * INTERVAL_MS).await);
    let asked = Instant::now();
    for _ in 0..20 {
        instant(&store, START_MS + (scrapes - 1) * INTERVAL_MS).await;
    }
    println!("instant query: {:?}", asked.elapsed() / 20);
    println!("{:?}", store.stats().counters().into_iter().filter(|one| one.1 > 0).collect::<Vec<_>>());
}

async fn start_again(dir: &Path, clock: &Arc<ManualClock>, series: usize, scrapes: i64) {
    let samples = series as f64 * scrapes as f64;
    let opening = Instant::now();
    let store = open(dir, clock);
    let opened = opening.elapsed();
    let found = instant(&store, START_MS + (scrapes - 1) * INTERVAL_MS).await;
    println!(
        "start with a log to read: {opened:?}, first answer ({found} samples) after {:?}",
        opening.elapsed()
    );
    let merging = cpu(ClockId::ProcessCPUTime);
    store.flush().await.unwrap();
    while store.compact_once().await.unwrap() {}
    store.compact_all().await.unwrap();
    let merged = cpu(ClockId::ProcessCPUTime) - merging;
    println!(
        "last flush and merging all into one: {:.3} s of CPU per million samples",
        merged * 1e6 / samples
    );
    println!("whole folder: {:.3} bytes per sample", size(dir) as f64 / samples);
    println!(
        "parts alone: {:.3} bytes per sample",
        size(&dir.join("tenants/default/parts")) as f64 / samples
    );
    let asked = Instant::now();
    for _ in 0..20 {
        instant(&store, START_MS + (scrapes - 1) * INTERVAL_MS).await;
    }
    println!("instant query from parts: {:?}", asked.elapsed() / 20);
    drop(store);
    let opening = Instant::now();
    let store = open(dir, clock);
    let found = instant(&store, START_MS + (scrapes - 1) * INTERVAL_MS).await;
    println!("start without a log: first answer ({found} samples) after {:?}", opening.elapsed());
}
