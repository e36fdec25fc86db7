//! The round: read everything, write it, mark what ended.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base::{Clock, Tenant};
use futures_util::{StreamExt, stream::BoxStream};
use gateway_api::Sample;
use metrics_api::{Histogram, Labels, WriteBatch, Writer, stale_nan};
use runtime_api::{Driver, Observed};
use tasks::{Shutdown, Tasks};

use crate::{Registry, Set, gateway::Totals, host, process, replicas};

/// How long one round may wait for the driver or the store.
const WAIT_MAX: Duration = Duration::from_secs(10);
const JOB_HOST: &str = "node";
const JOB_SELF: &str = "stead";

#[derive(Debug, Clone)]
pub struct Options {
    /// Rounds happen at multiples of this.
    pub every: Duration,
    /// Whose the figures of the host and of Stead are.
    pub tenant: Tenant,
    /// The `instance` of the host and of Stead: the host's name.
    pub instance: String,
}

impl Options {
    pub const EVERY_DEFAULT: Duration = Duration::from_secs(15);

    /// The defaults, with the name of this host.
    #[must_use]
    pub fn of_this_host(tenant: Tenant) -> Self {
        let instance = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { every: Self::EVERY_DEFAULT, tenant, instance }
    }
}

/// What it reads from and writes to.
#[derive(Debug, Clone)]
pub struct Ports {
    pub writer: Arc<dyn Writer>,
    pub clock: Arc<dyn Clock>,
    pub tasks: Tasks,
    pub registry: Arc<Registry>,
    /// Tells what runs.
    pub driver: Arc<dyn Driver>,
}

/// See the crate.
#[derive(Debug)]
pub struct Vitals {
    options: Options,
    ports: Ports,
    gateway: Mutex<Totals>,
    round: tokio::sync::Mutex<Round>,
    /// A reading of the machine is under way; it may outlive its round when a disk does not answer.
    reading: Arc<AtomicBool>,
    rounds_failed: crate::Counter,
    samples_refused: crate::Counter,
    series_left_out: crate::Counter,
}

/// What is kept from one round to the next.
#[derive(Debug, Default)]
struct Round {
    disk: replicas::Disk,
    /// Series of the last round, and whether each is a native histogram.
    seen: HashMap<Tenant, HashMap<Labels, bool>>,
    last_ms: i64,
}

impl Vitals {
    #[must_use]
    pub fn new(options: Options, ports: Ports) -> Arc<Self> {
        let registry = &ports.registry;
        let rounds_failed = registry.counter(
            "stead_vitals_rounds_failed_total",
            "Rounds of Stead's own metrics that were not written.",
            &[],
        );
        let samples_refused = registry.counter(
            "stead_vitals_samples_refused_total",
            "Samples of Stead's own metrics that the store refused.",
            &[],
        );
        let series_left_out = registry.counter(
            "stead_vitals_series_left_out_total",
            "Series of Stead's own metrics beyond what one round may write.",
            &[],
        );
        let (gateway, round, reading) = Default::default();
        Arc::new(Self {
            options,
            ports,
            gateway,
            round,
            reading,
            rounds_failed,
            samples_refused,
            series_left_out,
        })
    }

    /// Counts what the gateway told of one second.
    pub fn add(&self, samples: &[Sample]) {
        let mut gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().for_each(|sample| gateway.add(sample));
    }

    /// Follows `samples` and writes a round at once and then at each multiple of [`Options::every`] until told to stop.
    /// A round that fails is counted, and the next one comes: totals lose nothing by it.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown, mut samples: BoxStream<'static, Vec<Sample>>) {
        let mut more = true;
        let mut next = Box::pin(tokio::time::sleep(Duration::ZERO));
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                said = samples.next(), if more => match said {
                    Some(said) => self.add(&said),
                    None => more = false,
                },
                () = &mut next => {
                    if let Err(error) = self.round().await {
                        self.rounds_failed.add(1);
                        tracing::warn!(%error, "Stead's own metrics were not written");
                    }
                    next.set(tokio::time::sleep(self.until_next()));
                }
            }
        }
    }

    fn every_ms(&self) -> i64 {
        i64::try_from(self.options.every.as_millis()).unwrap_or(i64::MAX).max(1)
    }

    fn until_next(&self) -> Duration {
        let past = self.ports.clock.now().millis().rem_euclid(self.every_ms());
        Duration::from_millis((self.every_ms() - past) as u64)
    }

    /// Reads everything and writes it, once, under the time of the multiple just passed. Two rounds in
    /// one multiple are one. Not cancel-safe: dropped, the round may be written in part.
    ///
    /// # Errors
    /// The store cannot write, or the machine's figures were not read in time.
    pub async fn round(&self) -> metrics_api::Result<()> {
        let mut round = self.round.lock().await;
        let now_ms = self.ports.clock.now().millis();
        let time_ms = now_ms - now_ms.rem_euclid(self.every_ms());
        if time_ms == round.last_ms {
            return Ok(());
        }
        let observed = self.observed().await;
        let told = observed.is_some();
        let (mut sets, disk) =
            self.read_machine(std::mem::take(&mut round.disk), observed.clone(), now_ms).await?;
        round.disk = disk;
        replicas::collect(&observed.unwrap_or_default(), &round.disk, &mut sets);
        self.gateway.lock().unwrap_or_else(PoisonError::into_inner).collect(now_ms, &mut sets);
        round.last_ms = time_ms;
        self.write(&mut round.seen, sets, told, time_ms).await
    }

    /// What runs. None when the driver does not say so: its replicas are left as they were.
    async fn observed(&self) -> Option<Vec<Observed>> {
        match tokio::time::timeout(WAIT_MAX, self.ports.driver.list()).await {
            Ok(Ok(observed)) => return Some(observed),
            Ok(Err(error)) => tracing::warn!(%error, "replicas are not measured in this round"),
            Err(_) => tracing::warn!("replicas are not measured in this round: their driver does not answer"),
        }
        None
    }

    async fn read_machine(
        &self,
        mut disk: replicas::Disk,
        observed: Option<Vec<Observed>>,
        now_ms: i64,
    ) -> metrics_api::Result<(HashMap<Tenant, Set>, replicas::Disk)> {
        let unavailable = |why: String| metrics_api::Error::Unavailable { why };
        // Else every round would leave one more thread waiting for the same disk.
        if self.reading.swap(true, Ordering::AcqRel) {
            return Err(unavailable("the last reading of the machine is still under way".into()));
        }
        let under_way = UnderWay(Arc::clone(&self.reading));
        let instance = self.options.instance.clone();
        let registry = Arc::clone(&self.ports.registry);
        let read = move || {
            let _under_way = under_way;
            if let Some(observed) = observed {
                disk.observe(&observed);
            }
            let mut node = Set::with(&[("job", JOB_HOST), ("instance", &instance)]);
            host::collect(&mut node, now_ms);
            let own = own(&registry, &instance);
            (node, own, disk)
        };
        let (node, own, disk) = tokio::time::timeout(WAIT_MAX, self.ports.tasks.blocking("vitals", read))
            .await
            .map_err(|_| unavailable("the machine's figures were not read in time".into()))?
            .map_err(|error| unavailable(error.to_string()))?;
        // One set for each tenant; those of the host and of Stead have their own common labels.
        let mut sets = HashMap::new();
        let mut all = Set::default();
        all.absorb(node);
        all.absorb(own);
        sets.insert(self.options.tenant.clone(), all);
        Ok((sets, disk))
    }

    async fn write(
        &self,
        seen: &mut HashMap<Tenant, HashMap<Labels, bool>>,
        sets: HashMap<Tenant, Set>,
        replicas_told: bool,
        time_ms: i64,
    ) -> metrics_api::Result<()> {
        let ended = |labels: &Labels| replicas_told || !labels.metric_name().starts_with(replicas::PREFIX);
        let mut before = std::mem::take(seen);
        let mut failed = None;
        for (tenant, set) in &sets {
            self.series_left_out.add(set.left_out);
            let mut batch = WriteBatch::default();
            let mut now = HashMap::new();
            set.write(&mut batch, &mut now, time_ms);
            end_series(&mut batch, before.remove(tenant).unwrap_or_default(), &mut now, (&ended, time_ms));
            seen.insert(tenant.clone(), now);
            failed = self.send(tenant, batch).await.err().or(failed);
        }
        for (tenant, gone) in before {
            let (mut batch, mut now) = <(WriteBatch, HashMap<_, _>)>::default();
            end_series(&mut batch, gone, &mut now, (&ended, time_ms));
            if !now.is_empty() {
                seen.insert(tenant.clone(), now);
            }
            failed = self.send(&tenant, batch).await.err().or(failed);
        }
        failed.map_or(Ok(()), Err)
    }

    async fn send(&self, tenant: &Tenant, batch: WriteBatch) -> metrics_api::Result<()> {
        let late = || metrics_api::Error::Timeout { after: WAIT_MAX };
        let written = tokio::time::timeout(WAIT_MAX, self.ports.writer.write(tenant, batch)).await;
        let appended = written.unwrap_or_else(|_| Err(late()))?;
        self.samples_refused.add(appended.refused_total());
        Ok(())
    }

    /// Stead's own metrics in Prometheus' text format, for `/metrics`; see [`crate::TEXT_CONTENT_TYPE`].
    ///
    /// # Errors
    /// Shutting down, or too much else is being computed.
    pub async fn text(&self) -> Result<String, tasks::Error> {
        let registry = Arc::clone(&self.ports.registry);
        let read = move || {
            let mut set = Set::default();
            process::collect(&mut set);
            registry.collect(&mut set);
            set.text()
        };
        self.ports.tasks.blocking("metrics text", read).await
    }
}

/// Ends what [`Vitals::reading`] says, however the reading ends.
struct UnderWay(Arc<AtomicBool>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn own(registry: &Registry, instance: &str) -> Set {
    let mut own = Set::with(&[("job", JOB_SELF), ("instance", instance)]);
    process::collect(&mut own);
    registry.collect(&mut own);
    own
}

/// A staleness marker for each series that was in `before` and is not in `now`; one of which it is not
/// known whether it ended stays in `now`.
fn end_series(
    batch: &mut WriteBatch,
    before: HashMap<Labels, bool>,
    now: &mut HashMap<Labels, bool>,
    (ended, time_ms): (&dyn Fn(&Labels) -> bool, i64),
) {
    for (labels, native) in before {
        if now.contains_key(&labels) {
            continue;
        }
        if !ended(&labels) {
            now.insert(labels, native);
            continue;
        }
        let row = batch.row(&labels);
        if native {
            row.histogram(time_ms, Histogram { sum: stale_nan(), ..Histogram::default() });
        } else {
            row.float(time_ms, stale_nan());
        }
    }
}
