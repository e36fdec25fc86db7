//! What Stead itself takes while the example shop runs and nobody uses it: memory, CPU, and how
//! long its control needs to answer after a start.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::{
    figure_of,
    stand::{Stand, program},
};
use crate::stage::{npm_packages, root, say};

const SHOP: &str = "examples/shop";
const MEMORY_GOAL_MB: f64 = 100.0;
const CPU_GOAL_PERCENT: f64 = 1.0;
const START_GOAL_MS: f64 = 1_000.0;
/// From healthy to idle: first readings of checks, files written.
const SETTLE: Duration = Duration::from_secs(10);
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// Runs the measurement and prints it. `quick` looks for a shorter time.
///
/// # Errors
/// The program does not build, the shop does not become healthy, or control does not answer.
pub fn run(named: Option<PathBuf>, quick: bool, json: bool) -> anyhow::Result<()> {
    let program = program(named)?;
    npm_packages(SHOP)?;
    let stand = Stand::new(&program)?;
    say("  delivering the shop with its embedded profile");
    stand.up(&root().join(SHOP), "embedded")?;
    wait(SETTLE);
    let (looks, each, starts) =
        if quick { (3, Duration::from_secs(5), 3) } else { (6, Duration::from_secs(10), 7) };
    let (mut memory_mb, mut cpu_percent) = (Vec::new(), Vec::new());
    for _ in 0..looks {
        cpu_percent.push(cpu_share(&stand, each));
        memory_mb.push(memory(&stand)?);
    }
    let processes = stand.platform().len();
    let mut start_ms = Vec::new();
    for _ in 0..starts {
        start_ms.push(start(&stand)?);
    }
    let figures = [
        figure_of(format!("memory (PSS), {processes} processes"), "MB", &memory_mb, Some(MEMORY_GOAL_MB)),
        figure_of("CPU share, idle".into(), "% of a core", &cpu_percent, Some(CPU_GOAL_PERCENT)),
        figure_of("start to first answer".into(), "ms", &start_ms, Some(START_GOAL_MS)),
    ];
    super::print(&figures, json)
}

/// Proportional set size of the platform's processes in units of a million bytes.
fn memory(stand: &Stand) -> anyhow::Result<f64> {
    let mut sum_kib = 0;
    for pid in stand.platform() {
        // A process that has just ended takes nothing.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")).context("no Pss in smaps_rollup")?;
        sum_kib += kib.trim().parse::<u64>()?;
    }
    Ok(sum_kib as f64 * 1024.0 / 1e6)
}

fn cpu_share(stand: &Stand, span: Duration) -> f64 {
    let (before, began) = (stand.cpu_ns(), Instant::now());
    wait(span);
    let after = stand.cpu_ns();
    let spent: u64 =
        after.iter().map(|(task, spent)| spent.saturating_sub(before.get(task).copied().unwrap_or(0))).sum();
    spent as f64 / began.elapsed().as_nanos() as f64 * 100.0
}

/// Milliseconds from starting control, in place of the one that ran, to its first answer. Gateway
/// and shop go on meanwhile.
fn start(stand: &Stand) -> anyhow::Result<f64> {
    let file = stand.data().join("server.json");
    let stopped = stand.command().arg("stop").stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    anyhow::ensure!(stopped.success(), "`stead stop` ended with {stopped}");
    let began = Instant::now();
    // As `stead up` starts it: under a shim, in the background; asking it is part of the command.
    let mut ask = stand.command();
    ask.arg("plan").arg(stand.folder().join("empty")).args(["--listen", "127.0.0.1:0"]);
    fs::create_dir_all(stand.folder().join("empty"))?;
    fs::write(stand.folder().join("empty/stead.yaml"), "name: nothing-yet\nowner: somebody\n")?;
    let mut asking = ask.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let took = loop {
        if answers(&file) {
            break began.elapsed();
        }
        if began.elapsed() > ANSWERS_WITHIN {
            bail!("control did not answer within {ANSWERS_WITHIN:?}");
        }
        wait(Duration::from_millis(2));
    };
    let status = asking.wait()?;
    anyhow::ensure!(status.success(), "`stead plan` ended with {status}");
    Ok(took.as_secs_f64() * 1e3)
}

/// Whether the server that the file names says that it is ready.
fn answers(file: &std::path::Path) -> bool {
    let asked = || -> Option<String> {
        let about: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
        let address = about["url"].as_str()?.strip_prefix("http://")?.to_owned();
        let mut stream = TcpStream::connect(&address).ok()?;
        stream.set_read_timeout(Some(ANSWERS_WITHIN)).ok()?;
        write!(stream, "GET /api/stead/v1/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    asked().is_some_and(|answer| answer.starts_with("HTTP/1.1 200 "))
}

fn wait(span: Duration) {
    let until = Instant::now() + span;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}
