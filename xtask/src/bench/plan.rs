//! `stead plan` of a thousand services: the first one, one that changes nothing, one that changes
//! one service. CPU of command and server, and the wall clock on whatever machine this is.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{
    Figure, figure_of,
    stand::{Stand, Took, program},
};
use crate::stage;

const SERVICES: usize = 1_000;
const GOAL_MS: f64 = 200.0;

/// Runs the measurement and prints it. `quick` makes fewer rounds.
///
/// # Errors
/// The program does not build, or a plan is not what it should be.
pub fn run(named: Option<PathBuf>, quick: bool, json: bool) -> anyhow::Result<()> {
    let program = program(named)?;
    let (firsts, rounds) = if quick { (3, 5) } else { (7, 15) };
    let mut first = Vec::new();
    let mut stand = started(&program)?;
    for round in 0..firsts {
        // A server that never saw these services.
        if round > 0 {
            stand = started(&program)?;
        }
        first.push(stand.time(&["plan", "many"])?);
    }
    check(&stand, "create", SERVICES)?;
    stand.up(&stand.folder().join("many"), "default")?;
    check(&stand, "keep", SERVICES)?;
    let (mut unchanged, mut changed) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        unchanged.push(stand.time(&["plan", "many"])?);
        let owner = format!("team-of-round-{round}");
        let before = fs::read_to_string(stand.folder().join("many/s500/stead.yaml"))?;
        write_service(stand.folder(), 500, &owner, &format!("#!/bin/sh\n# {round}\n"))?;
        changed.push(stand.time(&["plan", "many"])?);
        if round == 0 {
            check(&stand, "change", 1)?;
        }
        fs::write(stand.folder().join("many/s500/stead.yaml"), before)?;
        fs::write(stand.folder().join("many/s500/serve"), source(500))?;
    }
    let mut figures = Vec::new();
    for (name, took) in [("first", &first), ("unchanged", &unchanged), ("one changed", &changed)] {
        figures.extend(figures_of(name, took));
    }
    super::print(&figures, json)
}

fn figures_of(name: &str, took: &[Took]) -> [Figure; 4] {
    let figure = |what: &str, goal: Option<f64>, of: &dyn Fn(&Took) -> f64| {
        let values: Vec<f64> = took.iter().map(of).collect();
        figure_of(format!("plan 1000, {name}, {what}"), "ms", &values, goal)
    };
    [
        figure("wall", Some(GOAL_MS), &|took| took.wall_ms),
        figure("CPU", Some(GOAL_MS), &|took| took.client_ms + took.server_ms),
        figure("CPU server", None, &|took| took.server_ms),
        figure("CPU client", None, &|took| took.client_ms),
    ]
}

/// A server with one small service, and a thousand more to be planned.
fn started(program: &Path) -> anyhow::Result<Stand> {
    let stand = Stand::new(program)?;
    for index in 0..SERVICES {
        write_service(stand.folder(), index, &format!("team-{}", index % 7), &source(index))?;
    }
    let known = stand.folder().join("known");
    fs::create_dir(&known)?;
    fs::write(known.join("stead.yaml"), "name: known\nowner: somebody\n")?;
    stand.up(&known, "default")?;
    Ok(stand)
}

fn source(index: usize) -> String {
    format!("#!/bin/sh\n# service {index}\n")
}

/// As people write them, with three files each. They ask for no replicas, so that delivering them
/// starts nothing.
fn write_service(folder: &Path, index: usize, owner: &str, source: &str) -> anyhow::Result<()> {
    let folder = folder.join(format!("many/s{index}"));
    fs::create_dir_all(&folder)?;
    let mut text = format!(
        "name: s{index}\ndescription: Service number {index}\nowner: {owner}\nrun:\n  command: ./serve --n {index}\n  \
         replicas: 0\n  limits: {{memory: 64MiB}}\n  health:\n    readiness: {{http: {{path: /ready}}}}\n\
         expose: /s{index}\n"
    );
    if index % 10 == 9 {
        let _ = writeln!(text, "needs: {{before: {{service: s{}}}}}", index - 1);
    }
    fs::write(folder.join("stead.yaml"), text)?;
    fs::write(folder.join("serve"), source)?;
    fs::write(folder.join("README.md"), format!("# Service {index}\n"))?;
    Ok(())
}

/// The plan has this many steps of this kind.
fn check(stand: &Stand, kind: &str, count: usize) -> anyhow::Result<()> {
    let text = stage::read(stand.command().args(["plan", "many", "--output", "json"]))?;
    let plan: Value = serde_json::from_str(&text).context("stead plan")?;
    let seen = plan["summary"][kind].as_u64().context("no summary")?;
    ensure!(seen == count as u64, "the plan has {seen} steps of kind {kind}, not {count}");
    Ok(())
}
