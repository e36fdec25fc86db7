//! Rounds on this machine into a store in memory.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use base::{
    Clock, Scope, Tenant, Timestamp,
    id::{ReleaseId, ReplicaId},
    time::ManualClock,
};
use futures_util::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use gateway_api::{Sample, Sketch};
use metrics_api::{
    Appended, Budget, Limits, Matcher, Reader, Samples, Select, TimeRange, WriteBatch, Writer, is_stale,
    memory::MemoryStore,
};
use runtime_api::{
    Driver, Error, ExecOutcome, ExecRequest, Identity, LogLine, LogQuery, Observed, Phase, ReplicaSpec,
    Result, Usage,
};
use vitals::{Options, Ports, Registry, Vitals};

/// A driver that only tells what it was given.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<Observed>>, Mutex<bool>);

impl Driver for Told {
    fn start(&self, spec: ReplicaSpec) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { Err(Error::Exists(spec.id)) })
    }
    fn stop(&self, _: ReplicaId) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
    fn remove(&self, _: ReplicaId) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<Observed>>> {
        Box::pin(async {
            if *self.1.lock().unwrap() {
                return Err(Error::Io { what: "the list".into(), why: "it is away".into() });
            }
            Ok(self.0.lock().unwrap().clone())
        })
    }
    fn changed(&self) -> BoxStream<'static, ()> {
        stream::pending().boxed()
    }
    fn logs(&self, query: LogQuery) -> BoxFuture<'_, Result<BoxStream<'static, LogLine>>> {
        Box::pin(async move { Err(Error::NotFound(query.replica)) })
    }
    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecOutcome>> {
        Box::pin(async move { Err(Error::NotFound(request.replica)) })
    }
}

/// A store that fails while it is told to.
#[derive(Debug, Default)]
struct Store {
    kept: MemoryStore,
    fails: Mutex<bool>,
}

impl Writer for Store {
    fn write<'a>(
        &'a self,
        tenant: &'a Tenant,
        batch: WriteBatch,
    ) -> BoxFuture<'a, metrics_api::Result<Appended>> {
        if *self.fails.lock().unwrap() {
            return Box::pin(async { Err(metrics_api::Error::Unavailable { why: "full".into() }) });
        }
        self.kept.write(tenant, batch)
    }
}

struct World {
    vitals: Arc<Vitals>,
    store: Arc<Store>,
    driver: Arc<Told>,
    clock: Arc<ManualClock>,
    registry: Arc<Registry>,
    tasks: tasks::Tasks,
}

const START_MS: i64 = 1_700_000_000_000 - 1_700_000_000_000 % 15_000;

impl World {
    fn new() -> Self {
        let (store, driver) = (Arc::new(Store::default()), Arc::new(Told::default()));
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(START_MS + 10)));
        let (registry, tasks) = (Registry::new(), tasks::Tasks::new(Default::default()));
        let options =
            Options { every: Options::EVERY_DEFAULT, tenant: Tenant::default(), instance: "host-1".into() };
        let ports = Ports {
            writer: store.clone(),
            clock: clock.clone(),
            tasks: tasks.clone(),
            registry: registry.clone(),
            driver: driver.clone(),
        };
        Self { vitals: Vitals::new(options, ports), store, driver, clock, registry, tasks }
    }

    /// Times and values of the floats of all series of that name, after START; stale ones are NaN.
    async fn read(&self, name: &str) -> Vec<(i64, f64)> {
        let select = Select { matchers: vec![Matcher::equal("__name__", name)], range: TimeRange::ALL };
        let budget = Budget::new(Limits::default());
        let found = self.store.kept.select(&Tenant::default(), &select, &budget).await.unwrap();
        let mut values = Vec::new();
        for mut series in found.series {
            let mut samples = Samples::default();
            series.read(TimeRange::ALL, &mut samples).unwrap();
            values.extend(samples.float_times.into_iter().zip(samples.floats));
            values.extend(samples.histogram_times.iter().zip(&samples.histograms).map(|(at, histogram)| {
                (*at, if histogram.is_stale() { histogram.sum } else { histogram.count })
            }));
        }
        values.into_iter().map(|(at, value)| (at - START_MS, value)).collect()
    }

    async fn later(&self) {
        self.clock.advance(Options::EVERY_DEFAULT);
        self.vitals.round().await.unwrap();
    }
}

fn replica() -> Observed {
    let identity = Identity { boot_id: String::new(), pid: u32::MAX, start_ticks: 0 };
    Observed {
        id: ReplicaId::new(),
        scope: Scope { tenant: Tenant::default(), environment: Default::default() },
        service: "cart".into(),
        release: ReleaseId::new(),
        labels: Default::default(),
        phase: Phase::Running { identity, since: Timestamp::from_millis(START_MS) },
        usage: Usage { cpu_us: 2_000_000, memory_bytes: 1 << 20, processes: 1 },
        restarts: 0,
        notes: Vec::new(),
    }
}

fn second(at_ms: i64) -> Sample {
    let mut latency = Sketch::default();
    latency.record(1_000);
    Sample {
        at: Timestamp::from_millis(at_ms),
        route: "cart".into(),
        scope: Scope { tenant: Tenant::default(), environment: Default::default() },
        service: "cart".into(),
        caller: None,
        release: None,
        replica: None,
        status: [0, 1, 0, 0, 0],
        aborted: 0,
        retries: 0,
        in_flight: 0,
        bytes_in: 1,
        bytes_out: 1,
        latency,
    }
}

#[tokio::test]
async fn a_round_has_the_host_the_replicas_the_gateway_and_stead() {
    let world = World::new();
    world.driver.0.lock().unwrap().push(replica());
    world.registry.counter("stead_test_total", "", &[]).add(7);
    world.vitals.add(&[second(START_MS - 500), second(START_MS + 500)]);
    world.vitals.round().await.unwrap();
    assert_eq!(world.read("stead_replica_cpu_seconds_total").await, [(0, 2.0)]);
    assert_eq!(world.read("stead_test_total").await, [(0, 7.0)]);
    assert_eq!(world.read("stead_gateway_request_duration_microseconds").await, [(0, 2.0)]);
    assert_eq!(world.read("node_load1").await.len(), 1);
    assert_eq!(world.read("process_open_fds").await.len(), 1);
    // A second round in the same interval is the same one.
    world.vitals.round().await.unwrap();
    assert_eq!(world.read("stead_test_total").await.len(), 1);
    let text = world.vitals.text().await.unwrap();
    assert!(text.contains("\nstead_test_total 7\n") && text.contains("process_cpu_seconds_total "), "{text}");
}

#[tokio::test]
async fn a_series_that_ends_is_marked_once() {
    let world = World::new();
    world.driver.0.lock().unwrap().push(replica());
    world.vitals.round().await.unwrap();
    world.driver.0.lock().unwrap().clear();
    world.later().await;
    world.later().await;
    let values = world.read("stead_replica_memory_bytes").await;
    assert_eq!(values.len(), 2, "{values:?}");
    assert!(values[1].0 == 15_000 && is_stale(values[1].1), "{values:?}");
    assert_eq!(world.read("node_load1").await.len(), 3);
}

#[tokio::test]
async fn replicas_of_a_driver_that_is_away_do_not_end() {
    let world = World::new();
    world.driver.0.lock().unwrap().push(replica());
    world.vitals.round().await.unwrap();
    *world.driver.1.lock().unwrap() = true;
    world.later().await;
    assert_eq!(world.read("stead_replica_memory_bytes").await.len(), 1);
    *world.driver.1.lock().unwrap() = false;
    world.driver.0.lock().unwrap().clear();
    world.later().await;
    let values = world.read("stead_replica_memory_bytes").await;
    assert!(values.len() == 2 && values[1].0 == 30_000 && is_stale(values[1].1), "{values:?}");
}

/// Set `STEAD_BLESS` to write the page anew.
#[tokio::test]
async fn the_page_lists_what_is_written() {
    let world = World::new();
    let me = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let start_ticks = stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().parse().unwrap();
    let mut own = replica();
    let identity = Identity { boot_id: String::new(), pid: me, start_ticks };
    own.phase = Phase::Running { identity, since: Timestamp::from_millis(START_MS) };
    world.driver.0.lock().unwrap().push(own);
    world.vitals.add(&[second(START_MS)]);
    world.vitals.round().await.unwrap();
    let mut page = String::from(HEAD);
    for (name, said) in world.store.kept.metadata(&Tenant::default(), None).await.unwrap() {
        // What a host has of the rest depends on its kernel.
        if name.starts_with("stead_") || name.starts_with("process_") {
            let kind = format!("{:?}", said[0].kind).to_lowercase();
            page.push_str(&format!("| `{name}` | {kind} | {} |\n", said[0].help));
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/reference/metrics-own.md");
    if std::env::var_os("STEAD_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == page, "docs/reference/metrics-own.md differs: run the test with STEAD_BLESS=1");
}

const HEAD: &str = "# Metrics without set-up

Stead writes these every 15 seconds. The page is written by the tests of `vitals`.

- **The host**, `job=\"node\"`, `instance` the host's name, under the names of Prometheus' node_exporter:
  `node_cpu_seconds_total`, `node_memory_…_bytes`, `node_load1`, `node_disk_…`, `node_network_…`,
  `node_filesystem_…`, `node_pressure_…_seconds_total`, `node_vmstat_…`, `node_filefd_…`, `node_uname_info`. What
  the kernel does not tell is not there. File systems of other machines are not asked.
- **Replicas**, `stead_replica_…`, with `tenant`, `environment`, `service`, `release`, `replica`. Disk is there where
  Stead may look into the processes. Replicas share the host's network: what they send by themselves is not told
  apart, what goes through the gateway is.
- **The gateway**, `stead_gateway_…`, the same labels and `route` and `caller`; `code` is the class of the status.
  Durations are in microseconds, because the gateway's buckets are powers of two of these: so each count is exact.
- **Stead**, `job=\"stead\"`: `process_…` and what its parts count.

A series that ends gets a staleness marker at the next round.

| metric | kind | |
|---|---|---|
";

/// A source that answers once its other end is gone, from then on at once.
#[derive(Debug)]
struct Stuck(std::sync::mpsc::SyncSender<()>, Mutex<std::sync::mpsc::Receiver<()>>);

impl vitals::Source for Stuck {
    fn collect(&self, _: &mut vitals::Set) {
        let _ = self.0.try_send(());
        let _ = self.1.lock().unwrap().recv();
    }
}

#[tokio::test]
async fn a_machine_that_does_not_answer_holds_one_thread_only() {
    let world = World::new();
    let (begun, has_begun) = std::sync::mpsc::sync_channel(1);
    let (held, is_let) = std::sync::mpsc::sync_channel(1);
    world.registry.register(Arc::new(Stuck(begun, Mutex::new(is_let))));
    let mut first = Box::pin(world.vitals.round());
    while has_begun.try_recv().is_err() {
        assert!(futures_util::poll!(&mut first).is_pending());
        tokio::task::yield_now().await;
    }
    drop(first);
    world.clock.advance(Options::EVERY_DEFAULT);
    let refused = world.vitals.round().await.unwrap_err().to_string();
    assert!(refused.contains("still under way"), "{refused}");
    drop(held);
    let mut again = world.vitals.round().await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while again.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "{again:?}");
        tokio::task::yield_now().await;
        again = world.vitals.round().await;
    }
}

#[tokio::test]
async fn a_round_that_fails_is_counted_and_totals_lose_nothing() {
    let world = World::new();
    world.vitals.add(&[second(START_MS)]);
    *world.store.fails.lock().unwrap() = true;
    assert!(world.vitals.round().await.is_err());
    *world.store.fails.lock().unwrap() = false;
    world.vitals.add(&[second(START_MS + 1_000)]);
    world.later().await;
    assert_eq!(world.read("stead_gateway_request_duration_microseconds").await, [(15_000, 2.0)]);
}

#[tokio::test]
async fn it_runs_at_multiples_of_its_interval_until_told_to_stop() {
    let world = World::new();
    // Just before the next multiple, so that the test does not wait for it.
    world.clock.jump_to(Timestamp::from_millis(START_MS + 14_999));
    let seconds = stream::iter([vec![second(START_MS)]]).chain(stream::pending()).boxed();
    let vitals = world.vitals.clone();
    world
        .tasks
        .spawn_once(tasks::Kind::LOOP, "vitals", move |shutdown| vitals.run(shutdown, seconds))
        .unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    // The first round is at once, the next when its time has come.
    for (rounds, step) in [(1, Duration::ZERO), (2, Options::EVERY_DEFAULT)] {
        world.clock.advance(step);
        while world.read("node_load1").await.len() < rounds {
            assert!(tokio::time::Instant::now() < deadline, "no round");
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(world.read("node_load1").await.iter().map(|at| at.0).collect::<Vec<_>>(), [0, 15_000]);
    assert!(!world.read("stead_gateway_request_duration_microseconds").await.is_empty());
    world.tasks.request_shutdown("done");
    assert!(world.tasks.drain().await.is_clean());
    assert_eq!(world.clock.now().millis(), START_MS + 29_999);
}
