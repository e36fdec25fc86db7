//! Runs the parser cases of the OpenMetrics project: folders of `metrics` and `test.json`.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use super::check;

/// Cases that one run takes.
pub const CASES_MAX: usize = 10_000;

/// How a run went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    pub failures: Vec<Failure>,
}

/// A case that did not go as it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    pub case: String,
    pub why: String,
}

#[derive(Deserialize)]
struct Case {
    #[serde(rename = "type")]
    kind: String,
    file: String,
    #[serde(rename = "shouldParse")]
    should_parse: bool,
}

/// Judges every folder in `cases` that has a `test.json`.
///
/// # Errors
/// The folder cannot be listed. A case that cannot be read has failed.
pub fn openmetrics(cases: &Path) -> io::Result<Report> {
    let mut folders: Vec<_> = std::fs::read_dir(cases)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.join("test.json").is_file())
        .take(CASES_MAX)
        .collect();
    folders.sort();
    let mut report = Report::default();
    for folder in folders {
        let case = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match judge(&folder) {
            Ok(true) => report.passed += 1,
            Ok(false) => report.skipped += 1,
            Err(why) => {
                report.failed += 1;
                report.failures.push(Failure { case, why });
            }
        }
    }
    Ok(report)
}

/// Whether it was run; some other kind of case is not.
fn judge(folder: &Path) -> Result<bool, String> {
    let text = std::fs::read(folder.join("test.json")).map_err(|error| format!("test.json: {error}"))?;
    let case: Case = serde_json::from_slice(&text).map_err(|error| format!("test.json: {error}"))?;
    if case.kind != "text" {
        return Ok(false);
    }
    let body = std::fs::read(folder.join(&case.file)).map_err(|error| format!("{}: {error}", case.file))?;
    match (check(&body), case.should_parse) {
        (Ok(()), true) => Ok(true),
        (Err(error), false) if !error.why.is_empty() => Ok(true),
        (Err(error), false) => Err(format!("refused without a reason on line {}", error.line)),
        (Ok(()), false) => Err("should be refused and is not".into()),
        (Err(error), true) => Err(error.to_string()),
    }
}
