//! Runs every `*.test` of a folder of upstream's test scripts; `cargo xtask conformance promql`.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a command-line tool

use std::{path::PathBuf, process::ExitCode};

use promql::conformance::{Report, run_script};

fn main() -> ExitCode {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or_default());
    let mut files: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(found) => found.flatten().map(|entry| entry.path()).collect(),
        Err(error) => {
            eprintln!("error: {}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    };
    files.retain(|path| path.extension().is_some_and(|end| end == "test"));
    files.sort();
    let mut all = Report::default();
    for path in &files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match std::fs::read_to_string(path) {
            Ok(text) => all.merge(run_script(&text, &name)),
            Err(error) => {
                all.failed += 1;
                all.failures.push((name, error.to_string()));
            }
        }
    }
    let failures: Vec<_> =
        all.failures.iter().map(|(case, why)| serde_json::json!({"case": case, "why": why})).collect();
    let (passed, failed) = (all.passed, all.failed);
    println!(
        "{}",
        serde_json::json!({"passed": passed, "failed": failed, "skipped": 0, "failures": failures})
    );
    ExitCode::SUCCESS
}
