//! Measurements, some against the products that a team would use instead, and the form they are
//! printed in.
//!
//! Each compares CPU time in one run, in alternating rounds, and says median and spread.

pub mod footprint;
pub mod gateway;
pub mod metrics;
pub mod plan;
mod stand;

use std::path::PathBuf;

use serde::Serialize;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to measure: gateway, plan, footprint, metrics
    name: String,
    /// Fewer and shorter rounds
    #[arg(long)]
    quick: bool,
    /// `json`, or a table
    #[arg(long, default_value = "table")]
    output: String,
    /// plan, footprint, metrics: measure this program instead of building it
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Runs the measurement that is named.
///
/// # Errors
/// There is none of this name, or it fails.
pub fn run(args: Args) -> anyhow::Result<()> {
    let json = args.output == "json";
    match args.name.as_str() {
        "gateway" => gateway::run(args.quick, json),
        "plan" => plan::run(args.program, args.quick, json),
        "metrics" => metrics::run(args.program, args.quick, json),
        "footprint" => footprint::run(args.program, args.quick, json),
        name => anyhow::bail!("there is no bench {name:?}; there are: gateway, plan, footprint, metrics"),
    }
}

/// A figure of our own, without a peer, where less is better.
fn figure_of(name: String, unit: &'static str, values: &[f64], goal: Option<f64>) -> Figure {
    let ours = median(values);
    Figure {
        name,
        unit,
        better: "lower",
        ours,
        peer: None,
        peer_name: None,
        peer_version: None,
        ratio: None,
        spread: [
            values.iter().copied().fold(f64::INFINITY, f64::min),
            values.iter().copied().fold(0.0, f64::max),
        ],
        runs: values.len(),
        goal,
        met: goal.map(|goal| ours <= goal),
    }
}

/// One measured figure, in the form that scripts rely on.
#[derive(Debug, Serialize)]
pub struct Figure {
    pub name: String,
    pub unit: &'static str,
    pub better: &'static str,
    pub ours: f64,
    pub peer: Option<f64>,
    pub peer_name: Option<String>,
    pub peer_version: Option<String>,
    /// Ours divided by the peer's.
    pub ratio: Option<f64>,
    /// Lowest and highest of our rounds.
    pub spread: [f64; 2],
    pub runs: usize,
    pub goal: Option<f64>,
    pub met: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    figures: &'a [Figure],
}

/// Prints figures as JSON or as a table.
///
/// # Errors
/// The output cannot be written.
pub fn print(figures: &[Figure], json: bool) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&Report { figures })?)?;
        return Ok(());
    }
    writeln!(out, "{:<34} {:>10} {:>21} {:>10} {:>7}  goal", "figure", "ours", "spread", "peer", "ratio")?;
    for figure in figures {
        let spread = format!("{:.2}..{:.2}", figure.spread[0], figure.spread[1]);
        let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.2}"));
        let met = match figure.met {
            None => "",
            Some(true) => " met",
            Some(false) => " NOT MET",
        };
        let goal = figure.goal.map_or_else(String::new, |goal| format!("<= {goal:.2}{met}"));
        let name = format!("{} ({})", figure.name, figure.unit);
        let (ours, peer) = (number(Some(figure.ours)), number(figure.peer));
        writeln!(out, "{name:<34} {ours:>10} {spread:>21} {peer:>10} {:>7}  {goal}", number(figure.ratio))?;
    }
    Ok(())
}

/// The middle value; the mean of the two middle ones of an even number.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}
