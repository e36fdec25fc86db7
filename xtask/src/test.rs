//! The second of the README's two commands, and all that CI runs: every check and every test.
//!
//! A stage that fails does not stop the others, so that one run tells everything; only without the
//! packages or the build there is nothing to go on with.

mod real;
mod skips;

use std::path::Path;

use anyhow::Context as _;

use crate::{
    check, drill,
    install::{self, SHOP, TESTS},
    stage::{
        self, Stages, build_interface, cargo, expect_success, npm, npm_packages, run_and_read, say,
        target_directory, which,
    },
};
use skips::{Skip, Skips};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Install no Debian packages; tests that lack them say so
    #[arg(long)]
    no_install: bool,
    /// After the packages, only the stages with this in their name
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// # Errors
/// A check or test failed, or with `CI=true` one was left out that may not be.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    let mut stages = Stages::new();
    let mut skips = Skips::default();
    say_conditions(is_ci);
    let ready = stages.run("packages", || packages(!args.no_install, &mut skips)).is_some()
        && stages.run("web interface", build_interface).is_some();
    if !ready {
        return stages.finish("test");
    }
    stages.narrow(args.only.clone());
    check::run_all(&mut stages);
    if stages.run("build of the tests in Rust", build).is_none() && args.only.is_none() {
        return stages.finish("test");
    }
    stages.run("tests in Rust", || rust(&mut skips));
    stages.run("tests of the web interface", || web(&mut skips));
    stages.run("tests of the example", || {
        let (status, text) = run_and_read(npm("examples/shop").args(["test", "--silent"]))?;
        skips.of_node(&text);
        expect_success("npm test", status)
    });
    stages.run("drill: orders while parts are killed", || drill::run(&drill::Args::default()));
    if has_chromium() {
        stages.run("the web interface on a real server", || real::run(&mut skips));
    }
    stages.run("tests left out", || skips.judge(is_ci));
    stages.finish("test")
}

/// What the environment asks for, so that a log tells under which conditions it came about.
fn say_conditions(is_ci: bool) {
    let soak = std::env::var("STEAD_SOAK").unwrap_or_else(|_| "1".into());
    say(&format!(
        "repetitions x {soak} (STEAD_SOAK); a test that is left out {}",
        if is_ci {
            "fails the run unless tests/allowed-skips.toml has it"
        } else {
            "is only counted (CI is not set)"
        }
    ));
    match std::env::var("STEAD_CONFORMANCE") {
        Ok(folder) => say(&format!("conformance data: {folder}; no test reads it yet")),
        Err(_) => say("conformance data: none (STEAD_CONFORMANCE is not set); no test reads it yet"),
    }
}

fn packages(allowed: bool, skips: &mut Skips) -> anyhow::Result<()> {
    install::node()?;
    let wanted: Vec<install::Package> = SHOP.iter().chain(TESTS).copied().collect();
    for package in install::ensure(&wanted, allowed) {
        skips.add(Skip::new(
            format!("package {}", package.name),
            format!("not installed; for {}", package.why),
        ));
    }
    npm_packages("ui")?;
    npm_packages("examples/shop")
}

/// Whether the faster runner is there; the standard one does as well.
fn has_nextest() -> bool {
    which("cargo-nextest").is_some()
}

fn build() -> anyhow::Result<()> {
    if has_nextest() {
        return stage::run(cargo().args(["nextest", "run", "--workspace", "--locked", "--no-run"]));
    }
    stage::run(cargo().args(["test", "--workspace", "--locked", "--no-run"]))
}

fn rust(skips: &mut Skips) -> anyhow::Result<()> {
    if has_nextest() {
        let report = target_directory().join("nextest/ci/junit.xml");
        let _ = std::fs::remove_file(&report);
        let outcome =
            stage::run(cargo().args(["nextest", "run", "--workspace", "--locked", "--profile", "ci"]));
        let text = std::fs::read_to_string(&report).with_context(|| report.display().to_string())?;
        skips.of_junit(&text);
        return outcome;
    }
    let mut command = cargo();
    command.args(["test", "--workspace", "--locked", "--no-fail-fast", "--", "--show-output"]);
    let (status, text) = run_and_read(&mut command)?;
    skips.of_rust(&text);
    expect_success("cargo test", status)
}

fn has_chromium() -> bool {
    Path::new("/usr/bin/chromium").exists() || std::env::var_os("STEAD_CHROMIUM").is_some()
}

fn web(skips: &mut Skips) -> anyhow::Result<()> {
    if !has_chromium() {
        skips.add(Skip::new("tests of the web interface", "chromium is not installed"));
        return Ok(());
    }
    let (status, text) = run_and_read(npm("ui").args(["test", "--silent"]))?;
    skips.of_playwright(&text);
    expect_success("npm test", status)
}
