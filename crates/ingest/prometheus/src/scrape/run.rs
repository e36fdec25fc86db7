//! The life of one target: scrape at its times, write, end its series when it goes.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use metrics_api::{Labels, WriteBatch, stale_nan};
use tasks::Shutdown;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Health, Shared,
    append::{Cache, Outcome},
    fetch::{Ask, Body, Client},
    target::{Target, first_wait},
};
use crate::{
    config::Job,
    exposition::{Format, negotiate},
};

/// A body from this size on is read away from the threads that serve.
const READ_INLINE_BYTES_MAX: usize = 16 << 10;
/// A scrape that begins this much late still has the time it was due at: even distances compress.
const LATE_MAX: Duration = Duration::from_millis(2);
/// How long a batch may wait for the store.
const WRITE_TIME_MAX: Duration = Duration::from_secs(30);

/// What the job's task tells all its targets.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    pub(super) job: Arc<Job>,
    /// Why no target of the job is scraped.
    pub(super) forbidden: Option<String>,
}

/// How the last scrape went.
#[derive(Debug, Clone, Default)]
pub(super) struct Last {
    pub(super) health: Health,
    pub(super) error: String,
    pub(super) at: Option<Timestamp>,
    pub(super) took: Duration,
}

/// A target that is scraped.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) target: Target,
    pub(super) removed: CancellationToken,
    /// Another takes its place, at other times: its series go on.
    pub(super) replaced: AtomicBool,
    last: Mutex<Last>,
    /// Here while no scrape uses them, so that a task that begins afresh finds them.
    cache: Mutex<Cache>,
}

impl Running {
    pub(super) fn new(target: Target) -> Arc<Self> {
        let (last, cache, replaced) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { target, removed: CancellationToken::new(), replaced, last, cache })
    }

    pub(super) fn last(&self) -> Last {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Scrapes until the target is removed, which ends its series, or the process stops, which does not.
pub(super) async fn run(
    running: Arc<Running>,
    mut orders: watch::Receiver<Orders>,
    shared: Arc<Shared>,
    shutdown: Shutdown,
) {
    let mut client = Client::new(shared.options.tasks.clone(), Arc::clone(&shared.held));
    let interval = running.target.interval;
    let now = shared.options.clock.now();
    let wait = first_wait(running.target.hash, interval, now.nanos());
    let (mut due, mut due_at) = (Instant::now() + wait, now.plus(wait));
    loop {
        tokio::select! {
            () = sleep_until(due) => {}
            () = running.removed.cancelled() => return end(&running, &shared).await,
            () = shutdown.cancelled() => return,
        }
        let now = orders.borrow_and_update().clone();
        let at = scrape_time(shared.options.clock.now(), due_at);
        tokio::select! {
            () = scrape(&running, &now, at, &mut client, &shared) => {}
            // What is under way may be given up; it was not acknowledged to anybody.
            () = running.removed.cancelled() => return end(&running, &shared).await,
            () = shutdown.cancelled() => return,
        }
        // A scrape that took longer than the interval leaves out what it missed.
        let missed = due.elapsed().as_nanos() / interval.as_nanos().max(1);
        let steps = u32::try_from(missed).unwrap_or(u32::MAX - 1).saturating_add(1);
        (due, due_at) = (due + interval * steps, due_at.plus(interval * steps));
    }
}

/// The time that was due when the clock agrees within [`LATE_MAX`], else that of the clock.
fn scrape_time(now: Timestamp, due: Timestamp) -> i64 {
    let late = now.since(due).max(due.since(now));
    if late <= LATE_MAX { due.millis() } else { now.millis() }
}

async fn scrape(
    running: &Arc<Running>,
    orders: &Orders,
    at_ms: i64,
    client: &mut Client,
    shared: &Arc<Shared>,
) {
    let stats = &shared.options.stats;
    stats.scrapes.add(1);
    let started = shared.options.clock.monotonic();
    let fetched = match &orders.forbidden {
        Some(why) => Err(why.clone()),
        None => fetch(running, &orders.job, client, shared).await,
    };
    let outcome = match fetched {
        Ok((body, format)) => read(running, &orders.job, body, format, at_ms, shared).await,
        Err(why) => Err(why),
    };
    let took = shared.options.clock.monotonic().saturating_sub(started);
    let error = outcome.as_ref().err().cloned().unwrap_or_default();
    let outcome = outcome.unwrap_or_else(|_| {
        stats.scrapes_failed.add(1);
        Outcome { batch: running.cache().end_all(at_ms), ..Outcome::default() }
    });
    let (exemplars_dropped, histograms_dropped) = (outcome.exemplars_dropped, outcome.histograms_dropped);
    let Outcome { mut batch, scraped, kept, added, repeated, metadata_dropped, .. } = outcome;
    stats.dropped_exemplar.add(exemplars_dropped);
    stats.dropped_histogram.add(histograms_dropped);
    stats.dropped_repeated.add(repeated);
    stats.dropped_by_relabelling.add(scraped - kept - repeated);
    stats.dropped_metadata.add(metadata_dropped);
    let up = if error.is_empty() { 1.0 } else { 0.0 };
    let values = [up, took.as_secs_f64(), scraped as f64, kept as f64, added as f64];
    report(&mut batch, &running.target.labels, at_ms, values);
    let health = if error.is_empty() { Health::Up } else { Health::Down };
    *running.last.lock().unwrap_or_else(PoisonError::into_inner) =
        Last { health, error, at: Some(Timestamp::from_millis(at_ms)), took };
    write(batch, shared).await;
}

async fn fetch(
    running: &Running,
    job: &Job,
    client: &mut Client,
    shared: &Shared,
) -> Result<(Body, Format), String> {
    let target = &running.target;
    let mut headers = HeaderMap::new();
    let value = |text: String| HeaderValue::from_str(&text).map_err(|error| error.to_string());
    headers.insert(header::ACCEPT, value(negotiate::accept(&job.protocols))?);
    headers.insert(
        HeaderName::from_static("x-prometheus-scrape-timeout-seconds"),
        value(target.timeout.as_secs_f64().to_string())?,
    );
    let ask = Ask { headers, gzip: job.compression, body_bytes_max: job.limits.body_size_bytes };
    let all = async {
        let _place = shared.places.acquire().await.map_err(|error| error.to_string())?;
        client.get(&target.url, &job.http, &ask).await
    };
    let fetched = timeout(target.timeout, all)
        .await
        .map_err(|_| format!("no answer within the timeout of {:?}", target.timeout))??;
    let format = negotiate::format(fetched.content_type.as_deref(), job.fallback_protocol)?;
    Ok((fetched.body, format))
}

async fn read(
    running: &Arc<Running>,
    job: &Arc<Job>,
    body: Body,
    format: Format,
    at_ms: i64,
    shared: &Shared,
) -> Result<Outcome, String> {
    let inline = body.bytes.len() < READ_INLINE_BYTES_MAX;
    let (running, job) = (Arc::clone(running), Arc::clone(job));
    let work = move || {
        let mut cache = running.cache();
        cache.rules_are(&job);
        cache.scrape(&body.bytes, format, &job, &running.target.labels, at_ms)
    };
    if inline {
        return work();
    }
    shared.options.tasks.blocking("scrape.read", work).await.map_err(|error| error.to_string())?
}

const REPORTS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

/// The series that tell of the scrape itself.
fn report(batch: &mut WriteBatch, target: &Labels, at_ms: i64, values: [f64; 5]) {
    for (name, value) in REPORTS.iter().zip(values) {
        batch.row(&target.with(metrics_api::METRIC_NAME, name)).float(at_ms, value);
    }
}

async fn end(running: &Running, shared: &Arc<Shared>) {
    if running.replaced.load(Ordering::Relaxed) {
        return;
    }
    let now_ms = shared.options.clock.now().millis();
    let mut batch = running.cache().end_all(now_ms);
    if running.last().at.is_some() {
        report(&mut batch, &running.target.labels, now_ms, [stale_nan(); 5]);
    }
    write(batch, shared).await;
}

async fn write(batch: WriteBatch, shared: &Shared) {
    let options = &shared.options;
    let samples = batch.samples_len() as u64;
    if batch.is_empty() {
        return;
    }
    let lost = |why: String| {
        options.stats.dropped_with_scrape.add(samples);
        tracing::warn!(why, samples, "samples of a scrape are lost");
    };
    match timeout(WRITE_TIME_MAX, options.writer.write(&options.tenant, batch)).await {
        Ok(Ok(appended)) => options.stats.appended(&appended),
        Ok(Err(error)) => lost(base::Problem::from_fault(&error).message),
        Err(_) => lost(format!("the store took longer than {WRITE_TIME_MAX:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_delays_do_not_move_a_sample() {
        let due = Timestamp::from_millis(60_000);
        let after = |ms| due.plus(Duration::from_millis(ms));
        assert_eq!(scrape_time(after(2), due), 60_000);
        assert_eq!(scrape_time(due, after(1)), 60_001);
        assert_eq!(scrape_time(after(3), due), 60_003);
    }
}
