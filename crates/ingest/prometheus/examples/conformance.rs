//! Runs the cases of a folder of OpenMetrics tests; `cargo xtask conformance openmetrics`.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a command-line tool

use std::{path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or_default());
    match prometheus::exposition::conformance::openmetrics(&folder) {
        Ok(report) => {
            println!("{}", serde_json::json!(report));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}
