//! Runs the product against other projects' test data and says what passes.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::stage::cargo;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which set: promql, openmetrics
    name: String,
    /// Its folder; the one of the set below STEAD_CONFORMANCE unless told
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// `json`, or a table
    #[arg(long, default_value = "table")]
    output: String,
}

/// A set: where it lies, and the crate whose example `conformance` runs it.
struct Set {
    name: &'static str,
    folder: &'static str,
    package: &'static str,
    features: &'static str,
}

const SETS: [Set; 2] = [
    Set { name: "promql", folder: "promqltest", package: "promql", features: "conformance" },
    Set { name: "openmetrics", folder: "openmetrics", package: "prometheus", features: "" },
];
/// Failures that a table shows.
const SHOWN_MAX: usize = 50;

#[derive(Deserialize)]
struct Report {
    passed: usize,
    failed: usize,
    skipped: usize,
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    case: String,
    why: String,
}

/// # Errors
/// There is no such set, its folder is not known, or a case fails.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let Some(set) = SETS.iter().find(|set| set.name == args.name) else {
        let names: Vec<&str> = SETS.iter().map(|set| set.name).collect();
        bail!("there is no conformance set {:?}; there are: {}", args.name, names.join(", "));
    };
    let folder = match &args.path {
        Some(path) => path.clone(),
        None => {
            let all = std::env::var_os("STEAD_CONFORMANCE")
                .context("say where the data is: --path, or STEAD_CONFORMANCE")?;
            PathBuf::from(all).join(set.folder)
        }
    };
    let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
    let mut command = cargo();
    command.args(["run", "--quiet", "--locked", "--package", set.package, "--example", "conformance"]);
    command.args(["--features", set.features, "--"]).arg(&folder);
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the cases of {} could not be run", set.name);
    let text = String::from_utf8(output.stdout)?;
    let report: Report = serde_json::from_str(&text).context("the report cannot be read")?;
    if args.output == "json" {
        print!("{text}");
    } else {
        for failure in report.failures.iter().take(SHOWN_MAX) {
            println!("FAILED {}: {}", failure.case, failure.why);
        }
        println!(
            "{}: {} passed, {} failed, {} skipped",
            set.name, report.passed, report.failed, report.skipped
        );
    }
    ensure!(report.failed == 0 || args.output == "json", "{} cases of {} fail", report.failed, set.name);
    Ok(())
}
