//! Metrics: Stead beside Debian's Prometheus and VictoriaMetrics, on the same bytes in one run.
//!
//! The input is a capture of Debian's node_exporter, replicated to many hosts ([`feed`]) and sent to
//! each as remote write 1.0. Measured are CPU seconds a million samples in, resident memory, the
//! whole data directory a sample after every peer's compaction, and CPU and time of eight shapes of
//! queries ([`queries`]), compared only where the answers are equal. CPU is user and system time of
//! the server's process from `/proc/PID/stat`.

mod capture;
mod feed;
mod http;
mod peers;
mod queries;

use std::path::PathBuf;

use anyhow::Context;

use self::{
    feed::Shape,
    peers::{Kind, Server},
    queries::Answers,
};
use super::{Figure, median, stand};

/// Bytes a sample on disk, at most.
const GOAL_DISK_BYTES: f64 = 0.6;
/// CPU and latency beside VictoriaMetrics, at most.
const GOAL_RATIO: f64 = 1.0;
/// Resident bytes a series, at most.
const GOAL_SERIES_BYTES: f64 = 1024.0;

const FULL: [Shape; 3] = [
    Shape { name: "1h x 100k", series: 100_000, seconds: 3_600, interval: 15 },
    Shape { name: "24h x 10k", series: 10_000, seconds: 86_400, interval: 15 },
    Shape { name: "7d x 2k", series: 2_000, seconds: 604_800, interval: 15 },
];
const QUICK: [Shape; 1] = [Shape { name: "1h x 5k", series: 5_000, seconds: 3_600, interval: 15 }];

/// Runs the comparison and prints it.
///
/// # Errors
/// A peer is missing and cannot be fetched, a server does not start, or refuses samples.
pub fn run(program: Option<PathBuf>, quick: bool, json: bool) -> anyhow::Result<()> {
    let cache = cache()?;
    let stead = stand::program(program)?;
    let servers = peers::find(&cache, &stead)?;
    let capture = capture::get(&cache, quick)?;
    let mut figures = Vec::new();
    let shapes: &[Shape] = if quick { &QUICK } else { &FULL };
    for shape in shapes {
        eprintln!("{}", shape.name);
        let feed = feed::get(&cache, &capture, shape)?;
        let mut runs = Vec::new();
        for server in &servers {
            runs.push(
                one(server, shape, &feed, quick)
                    .with_context(|| format!("{} on {}", server.name, shape.name))?,
            );
        }
        figures.extend(compare(shape, &runs));
    }
    super::print(&figures, json)
}

/// Where fetched programs and generated input are kept between runs: outside of the checkout.
fn cache() -> anyhow::Result<PathBuf> {
    let folder = match std::env::var_os("STEAD_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache/stead"),
    };
    let folder = folder.join("bench-metrics");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// What one server did with one input.
struct Run {
    kind: Kind,
    name: &'static str,
    version: String,
    cpu_seconds_per_million: f64,
    resident_bytes: f64,
    disk_bytes_per_sample: f64,
    queries: Vec<Answers>,
}

fn one(server: &Server, shape: &Shape, feed: &feed::Feed, quick: bool) -> anyhow::Result<Run> {
    let folder = tempfile::tempdir()?;
    let mut running = server.start(folder.path())?;
    let before = running.cpu_seconds()?;
    let samples = feed.send(&running)?;
    running.settle()?;
    let cpu = running.cpu_seconds()? - before;
    let resident = running.resident_bytes()?;
    running.compact()?;
    let disk = running.disk_bytes()?;
    let queries = queries::run(&mut running, shape, feed.end_ms, if quick { 5 } else { 9 })?;
    eprintln!(
        "  {:16} {:.2} CPU s/M samples, {:.0} MiB, {:.3} bytes/sample",
        server.name,
        cpu / samples as f64 * 1e6,
        resident / 1048576.0,
        disk / samples as f64
    );
    Ok(Run {
        kind: server.kind,
        name: server.name,
        version: server.version.clone(),
        cpu_seconds_per_million: cpu / samples as f64 * 1e6,
        resident_bytes: resident,
        disk_bytes_per_sample: disk / samples as f64,
        queries,
    })
}

fn compare(shape: &Shape, runs: &[Run]) -> Vec<Figure> {
    let Some(ours) = runs.iter().find(|run| run.kind == Kind::Stead) else { return Vec::new() };
    let mut figures = Vec::new();
    for peer in runs.iter().filter(|run| run.kind != Kind::Stead) {
        let is_goal = peer.kind == Kind::VictoriaMetrics;
        let mut add = |name: &str, unit, ours: f64, theirs: f64, goal: Option<f64>, met: Option<bool>| {
            figures.push(Figure {
                name: format!("{} {name}", shape.name),
                unit,
                better: "lower",
                ours,
                peer: Some(theirs),
                peer_name: Some(peer.name.into()),
                peer_version: Some(peer.version.clone()),
                ratio: Some(ours / theirs),
                spread: [ours, ours],
                runs: 1,
                goal,
                met,
            });
        };
        let ratio = |ours: f64, theirs: f64| is_goal.then_some(ours <= theirs * GOAL_RATIO);
        let (cpu, their_cpu) = (ours.cpu_seconds_per_million, peer.cpu_seconds_per_million);
        add("CPU in", "s/M samples", cpu, their_cpu, is_goal.then_some(their_cpu), ratio(cpu, their_cpu));
        let bytes = ours.resident_bytes / shape.series as f64;
        let theirs = peer.resident_bytes / shape.series as f64;
        // A small number of series says what the process takes, not what a series does.
        let counts = shape.series >= 100_000;
        let met = counts.then_some(bytes <= GOAL_SERIES_BYTES);
        add("memory", "bytes/series", bytes, theirs, counts.then_some(GOAL_SERIES_BYTES), met);
        let disk = ours.disk_bytes_per_sample;
        add(
            "disk",
            "bytes/sample",
            disk,
            peer.disk_bytes_per_sample,
            Some(GOAL_DISK_BYTES),
            Some(disk <= GOAL_DISK_BYTES),
        );
        for (mine, theirs) in ours.queries.iter().zip(&peer.queries) {
            if !mine.equals(theirs) {
                eprintln!("  {} differs from {}: not compared", mine.name, peer.name);
                continue;
            }
            let (cpu, their_cpu) = (median(&mine.cpu_ms), median(&theirs.cpu_ms));
            add(
                &format!("{} CPU", mine.name),
                "ms",
                cpu,
                their_cpu,
                is_goal.then_some(their_cpu),
                ratio(cpu, their_cpu),
            );
            let (wall, their_wall) = (median(&mine.wall_ms), median(&theirs.wall_ms));
            add(
                &format!("{} time", mine.name),
                "ms",
                wall,
                their_wall,
                is_goal.then_some(their_wall),
                ratio(wall, their_wall),
            );
        }
    }
    figures
}
