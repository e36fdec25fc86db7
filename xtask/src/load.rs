//! `cargo xtask load`: an open-loop load on the example shop.
//!
//! Requests are sent when they are due, whether or not earlier ones have been answered, and each
//! latency counts from when its request was due. A slow server therefore gets no less load, and its
//! slowness shows in full. What can't be sent because `--in-flight-max` requests are waiting counts
//! as failed, because a customer would have seen nothing.
//!
//! Enter at [`run`]; the schedule is in `schedule`, what customers do in `journey`.

mod journey;
mod orders;
mod random;
mod schedule;
mod shop;
mod tally;
mod target;

use std::{
    collections::HashMap,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use self::{
    journey::{Due, Plan},
    orders::{Acknowledged, Book, Verdict},
    schedule::{Arrivals, Profile},
    shop::Visit,
    tally::{Outcome, Tally},
};
pub(crate) use self::{tally::Report, target::Target};

/// Customers have stable ids and come back; a visit ends long before its customer's next one.
const USERS_MAX: u64 = 10_000;
/// Requests that are due and not yet picked up. It fills only when this program itself is stuck.
const DUE_MAX: usize = 8_192;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The shop's address; only loopback is allowed
    #[arg(long)]
    url: String,
    /// Requests per second, on average
    #[arg(long, default_value_t = 50.0, value_parser = positive)]
    rate: f64,
    /// How long, such as 30s or 5m
    #[arg(long, default_value = "30s", value_parser = duration)]
    duration: Duration,
    #[arg(long, value_enum, default_value_t = Profile::Steady)]
    profile: Profile,
    /// The same seed makes the same customers do the same at the same times
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// After this a customer gives up
    #[arg(long, default_value = "10s", value_parser = duration)]
    timeout: Duration,
    /// Requests that may wait at once; more count as failed
    #[arg(long, default_value_t = 1_000)]
    in_flight_max: usize,
    /// Write acknowledged orders here, one JSON object per line
    #[arg(long)]
    orders: Option<PathBuf>,
    /// Ask for every acknowledged order afterwards; exit status 1 if one is lost
    #[arg(long)]
    verify: bool,
    /// Send no load, only ask for the orders in the file given with --orders
    #[arg(long, requires = "orders", conflicts_with = "verify")]
    verify_only: bool,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Debug, Serialize)]
struct Summary {
    #[serde(flatten)]
    load: Option<Report>,
    orders_acknowledged: usize,
    verified: Option<Verdict>,
}

/// Fails when the shop can't be put under load or has lost an order; failed requests are only told.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let target = Arc::new(Target::parse(&args.url)?);
    let summary = runtime()?.block_on(async {
        let (load, book) = if args.verify_only {
            let path = args.orders.as_deref().context("--verify-only needs --orders")?;
            (None, Book::read(path)?)
        } else {
            let (report, book) = load(&args, &target).await?;
            (Some(report), book)
        };
        let verified = match args.verify || args.verify_only {
            true => Some(orders::verify(&target, &book.orders).await),
            false => None,
        };
        anyhow::Ok(Summary { load, orders_acknowledged: book.orders.len(), verified })
    })?;
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string(&summary)?)?,
        Output::Text => write_text(&mut out, &summary)?,
    }
    match &summary.verified {
        Some(verdict) if verdict.kept < verdict.asked => {
            bail!("{} of {} acknowledged orders are not there", verdict.asked - verdict.kept, verdict.asked)
        }
        _ => Ok(()),
    }
}

/// A load of another task on the shop, steady.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phase {
    pub(crate) rate: f64,
    pub(crate) duration: Duration,
    pub(crate) seed: u64,
}

impl Phase {
    /// Gives what was seen and the orders that were acknowledged, which also stand in `file`.
    pub(crate) fn run(
        self,
        target: &Arc<Target>,
        file: &Path,
    ) -> anyhow::Result<(Report, Vec<Acknowledged>)> {
        let args = Args {
            url: String::new(),
            rate: self.rate,
            duration: self.duration,
            profile: Profile::Steady,
            seed: self.seed,
            timeout: Duration::from_secs(10),
            in_flight_max: 1_000,
            orders: Some(file.to_owned()),
            verify: false,
            verify_only: false,
            output: Output::Text,
        };
        let (report, book) = runtime()?.block_on(async {
            target.forget();
            load(&args, target).await
        })?;
        Ok((report, book.orders))
    }
}

/// Asks the shop for each order.
pub(crate) fn verify(target: &Arc<Target>, orders: &[Acknowledged]) -> anyhow::Result<Verdict> {
    Ok(runtime()?.block_on(async {
        target.forget();
        orders::verify(target, orders).await
    }))
}

/// One thread is plenty for some thousand requests a second, and leaves the machine to the shop.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// What all requests of a run share.
struct Run {
    target: Arc<Target>,
    skus: Vec<String>,
    timeout: Duration,
    tally: Mutex<Tally>,
    book: Mutex<Book>,
}

impl Run {
    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn load(args: &Args, target: &Arc<Target>) -> anyhow::Result<(Report, Book)> {
    let run = Arc::new(Run {
        target: target.clone(),
        skus: shop::stock(target).await?,
        timeout: args.timeout,
        tally: Mutex::default(),
        book: Mutex::new(Book::create(args.orders.as_deref())?),
    });
    // A second run with the same seed is the same customers again, but not the same orders.
    let run_id = uuid::Uuid::now_v7().simple().to_string();
    let plan = Plan::new(Arrivals::new(args.profile, args.rate, args.duration, args.seed), args.seed);
    let (start, mut due_now) = pace(plan)?;
    let places = Arc::new(Semaphore::new(args.in_flight_max));
    let mut visits: HashMap<u64, Arc<tokio::sync::Mutex<Visit>>> = HashMap::new();
    let mut sending = JoinSet::new();

    while let Some(due) = due_now.recv().await {
        let visit = visits.entry(due.visit).or_insert_with(|| {
            let user = format!("load-{:05}", due.visit % USERS_MAX);
            let key = format!("{run_id}-{}", due.visit);
            Arc::new(tokio::sync::Mutex::new(Visit { user, key, ..Visit::default() }))
        });
        let visit = visit.clone();
        if due.is_last {
            visits.remove(&due.visit);
        }
        let Ok(place) = places.clone().try_acquire_owned() else {
            run.tally().record(due.step.name(), due.at, Duration::ZERO, &Outcome::Overflow);
            continue;
        };
        let run = run.clone();
        sending.spawn(async move {
            let outcome = run.step(due, start + due.at, &visit).await;
            run.tally().record(due.step.name(), due.at, (start + due.at).elapsed(), &outcome);
            drop(place);
        });
        while sending.try_join_next().is_some() {}
    }
    while sending.join_next().await.is_some() {}

    let report = run.tally().report();
    let mut book = std::mem::take(&mut *run.book.lock().unwrap_or_else(PoisonError::into_inner));
    book.flush()?;
    Ok((report, book))
}

impl Run {
    async fn step(&self, due: Due, due_at: Instant, visit: &tokio::sync::Mutex<Visit>) -> Outcome {
        let deadline = tokio::time::Instant::from_std(due_at + self.timeout);
        tokio::time::timeout_at(deadline, self.send(due, due_at, visit)).await.unwrap_or(Outcome::Timeout)
    }

    async fn send(&self, due: Due, due_at: Instant, visit: &tokio::sync::Mutex<Visit>) -> Outcome {
        let lag = due_at.elapsed();
        // Nobody clicks on a page that isn't there yet: steps of one visit wait for each other, and
        // the wait is part of their latency.
        let mut visit = visit.lock().await;
        self.tally().lag(lag);
        let request = match shop::request(due.step, &visit, &self.skus) {
            Ok(Some(request)) => request,
            Ok(None) => return Outcome::Skipped,
            Err(_) => return Outcome::Broken,
        };
        let answer = match self.target.send(request).await {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        if let Some(id) = shop::learn(due.step, &mut visit, &answer) {
            let order = Acknowledged { user: visit.user.clone(), id };
            let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = book.add(order) {
                let _ = writeln!(std::io::stderr(), "error: an order could not be written down: {error:#}");
            }
        }
        if answer.status < 400 { Outcome::Ok } else { Outcome::Status(answer.status) }
    }
}

/// Hands out what is due from a thread of its own, because the runtime's timers are a millisecond
/// coarse and late when it is busy. Returns the moment that offsets count from.
fn pace(plan: Plan) -> anyhow::Result<(Instant, mpsc::Receiver<Due>)> {
    let (sender, receiver) = mpsc::channel(DUE_MAX);
    let start = Instant::now() + Duration::from_millis(5);
    let hand_out = move || {
        for due in plan {
            loop {
                let left = (start + due.at).saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                std::thread::park_timeout(left);
            }
            if sender.blocking_send(due).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("pace".into()).spawn(hand_out).context("cannot start a thread")?;
    Ok((start, receiver))
}

fn write_text(out: &mut impl Write, summary: &Summary) -> std::io::Result<()> {
    if let Some(load) = &summary.load {
        let (ms, lag) = (&load.latency_ms, &load.send_lag_ms);
        writeln!(
            out,
            "requests  {} sent, {} ok, {} failed ({:.3} %)",
            load.requests,
            load.ok,
            load.failed,
            load.failed_share * 100.0
        )?;
        for (status, n) in &load.statuses {
            writeln!(out, "          {n} × status {status}")?;
        }
        for (kind, n) in load.errors.iter().filter(|(_, n)| **n > 0) {
            writeln!(out, "          {n} × {kind}")?;
        }
        if let Some(first_ms) = load.first_failure_ms {
            writeln!(
                out,
                "          first failure after {first_ms} ms, last one {} ms later",
                load.failing_span_ms
            )?;
        }
        if load.skipped > 0 {
            writeln!(out, "skipped   {} steps that failed ones left nothing to do for", load.skipped)?;
        }
        writeln!(
            out,
            "latency   p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            ms.p50, ms.p90, ms.p99, ms.max
        )?;
        writeln!(out, "send lag  p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", lag.p50, lag.p99, lag.max)?;
    }
    writeln!(out, "orders    {} acknowledged", summary.orders_acknowledged)?;
    if let Some(verdict) = &summary.verified {
        let (lost, unknown) = (verdict.lost.len(), verdict.unknown.len());
        writeln!(out, "verified  {} kept, {lost} lost, {unknown} without an answer", verdict.kept)?;
        for order in verdict.lost.iter().chain(&verdict.unknown) {
            writeln!(out, "          {} of {}", order.id, order.user)?;
        }
    }
    Ok(())
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 100_000.0 => Ok(rate),
        _ => Err("expected a number above 0 and up to 100000".into()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("expected a duration such as 500ms, 30s, 5m or 1h".into()),
    };
    match number.parse::<f64>() {
        Ok(n) if n > 0.0 && n * seconds <= 86_400.0 => Ok(Duration::from_secs_f64(n * seconds)),
        _ => Err("expected a duration above 0 and up to 24h".into()),
    }
}

#[cfg(test)]
mod tests;
