//! `cargo xtask drill`: the example shop takes orders while its parts are killed.
//!
//! Control, the gateway and the only replica of the service that takes orders are each ended with
//! `kill -9` in the middle of an open-loop load. Afterwards the shop is asked for every order that it
//! acknowledged, and the ledger is verified. What must hold fails the drill; times are printed, since
//! they say as much of the machine as of Stead.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::{
    delivered::Server,
    install::{self, SHOP},
    load::{self, Phase},
    stage::{self, npm_packages, say, target_directory},
};

/// Whoever is killed has so long to be back.
const BACK_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The service that takes orders; it has one replica.
const TAKES_ORDERS: &str = "checkout";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Environment of the shop: `default` wants PostgreSQL and Redis [default: both, as the machine allows]
    #[arg(long, value_parser = ["default", "embedded"])]
    environment: Option<String>,
    /// The build of Stead that delivers [default: the debug build, which is made]
    #[arg(long)]
    program: Option<PathBuf>,
    /// Requests per second
    #[arg(long, default_value_t = 80.0)]
    rate: f64,
    /// Seconds of load around each kill
    #[arg(long, default_value_t = 12)]
    seconds: u64,
}

impl Default for Args {
    fn default() -> Self {
        Self { environment: None, program: None, rate: 80.0, seconds: 12 }
    }
}

/// # Errors
/// An acknowledged order is lost, the ledger does not verify, a kill of control cost a request, or
/// something did not come back.
pub fn run(args: &Args) -> anyhow::Result<()> {
    npm_packages("examples/shop")?;
    let program = match &args.program {
        Some(program) => std::path::absolute(program)?,
        None => {
            stage::run(stage::cargo().args(["build", "--locked", "--package", "stead"]))?;
            target_directory().join("debug/stead")
        }
    };
    let lacks = !install::missing(SHOP).is_empty();
    let environments: &[&'static str] = match args.environment.as_deref() {
        Some("embedded") => &["embedded"],
        Some(_) => &["default"],
        None if lacks => &["embedded"],
        None => &["embedded", "default"],
    };
    for environment in environments {
        drill(args, program.clone(), environment)?;
    }
    Ok(())
}

/// One kill: whom, and how it is seen to be back.
struct Kill {
    what: &'static str,
    find: fn(&Server) -> Option<u32>,
    /// Whether requests may fail.
    may_cost: bool,
}

const KILLS: [Kill; 3] = [
    Kill { what: "control", find: |server| role(server, "serve"), may_cost: false },
    Kill { what: "gateway", find: |server| role(server, "gateway"), may_cost: true },
    Kill { what: "only replica of checkout", find: replica, may_cost: true },
];

fn drill(args: &Args, program: PathBuf, environment: &'static str) -> anyhow::Result<()> {
    let server = Server::new(program, environment)?;
    server.while_it_runs(|server| {
        let delivered = server.deliver()?;
        let shop = Arc::new(load::Target::parse(delivered.shop()?)?);
        let file = server.folder().join("orders");
        let mut orders = Vec::new();
        let mut rows = Vec::new();
        for (index, kill) in KILLS.iter().enumerate() {
            let length = Duration::from_secs(args.seconds);
            let phase = Phase { rate: args.rate, duration: length, seed: index as u64 + 1 };
            let killing = || {
                // Well within the load, with as much of it after as before.
                std::thread::park_timeout(length / 4);
                kill_and_wait(server, kill)
            };
            let (back, (report, acknowledged)) = std::thread::scope(|scope| {
                let killing = scope.spawn(killing);
                let loaded = phase.run(&shop, &file);
                let back = killing.join().map_err(|_| anyhow::anyhow!("the one who kills panicked"))??;
                anyhow::Ok((back, loaded?))
            })?;
            rows.push((kill.what, back, report, acknowledged.len()));
            orders.extend(acknowledged);
        }
        let verdict = load::verify(&shop, &orders)?;
        let audit: Value = serde_json::from_str(&stage::read(
            server.command().args(["--output", "json", "audit", "verify"]),
        )?)?;
        say(&format!("\nshop under load, environment `{environment}`, {} requests/s", args.rate));
        say("  killed                      back after  requests  failed  failing for  orders");
        for (what, back, report, taken) in &rows {
            say(&format!(
                "  {what:<26} {:>8.2} s  {:>8}  {:>6}  {:>8} ms  {taken:>6}",
                back.as_secs_f64(),
                report.requests,
                report.failed,
                report.failing_span_ms,
            ));
            if let Some(first_ms) = report.first_failure_ms {
                let (statuses, steps) = (&report.statuses, &report.failed_steps);
                let errors: Vec<_> = report.errors.iter().filter(|(_, count)| **count > 0).collect();
                say(&format!(
                    "    first after {first_ms} ms: statuses {statuses:?}, {errors:?}, of {steps:?}"
                ));
            }
        }
        say(&format!(
            "  {} orders acknowledged: {} kept, {} lost, {} without an answer; ledger {}, {} entries",
            orders.len(),
            verdict.kept,
            verdict.lost.len(),
            verdict.unknown.len(),
            if audit["intact"] == true { "intact" } else { "NOT INTACT" },
            audit["entries"],
        ));
        ensure!(!orders.is_empty(), "no order was taken: the load is too small to prove anything");
        ensure!(
            verdict.kept == orders.len(),
            "{} acknowledged orders are not there",
            orders.len() - verdict.kept
        );
        ensure!(audit["intact"] == true, "the ledger is not as it was written: {audit}");
        for (kill, (_, _, report, _)) in KILLS.iter().zip(&rows) {
            ensure!(
                kill.may_cost || report.failed == 0,
                "{} requests failed though only {} was killed",
                report.failed,
                kill.what
            );
        }
        Ok(())
    })
}

/// Kills a process and waits until another one is in its place.
fn kill_and_wait(server: &Server, kill: &Kill) -> anyhow::Result<Duration> {
    let pid = (kill.find)(server).with_context(|| format!("no process: {}", kill.what))?;
    let killed_at = Instant::now();
    stage::run(Command::new("/bin/sh").args(["-c", &format!("kill -9 {pid}")]))?;
    while killed_at.elapsed() < BACK_WITHIN {
        if (kill.find)(server).is_some_and(|found| found != pid) {
            return Ok(killed_at.elapsed());
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    bail!("{} was not back within {} s", kill.what, BACK_WITHIN.as_secs())
}

/// The process of a role on this data directory.
fn role(server: &Server, role: &str) -> Option<u32> {
    let data = server.data().display().to_string();
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let bytes = fs::read(entry.path().join("cmdline")).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let mut words = text.split('\0').skip(1);
        (words.next() == Some(role) && words.any(|word| word.starts_with(&data))).then_some(pid)
    })
}

/// The one replica of the service that takes orders, once it is ready.
fn replica(server: &Server) -> Option<u32> {
    let mut status = server.command();
    let output = status.args(["--output", "json", "status", TAKES_ORDERS]).output().ok()?;
    let detail: Value = serde_json::from_slice(&output.stdout).ok()?;
    let ready = detail["replicas"].as_array()?.iter().find(|replica| replica["state"] == "ready")?;
    ready["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
}
