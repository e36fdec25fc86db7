#![allow(clippy::unwrap_used)] // helpers of tests are not seen as tests

mod bounds;
mod cases;
mod example;
mod init;
mod json_schema;
mod reference;
mod workspace;

use std::path::{Path, PathBuf};

pub(crate) fn cases_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// Compares with the expected text of a case; `STEAD_BLESS=1` writes it instead.
#[track_caller]
pub(crate) fn check(expected: &Path, actual: &str) {
    if std::env::var_os("STEAD_BLESS").is_some() {
        std::fs::write(expected, actual).unwrap();
        return;
    }
    let wanted = std::fs::read_to_string(expected).unwrap_or_default();
    if wanted != actual {
        let diff = similar::TextDiff::from_lines(wanted.as_str(), actual);
        panic!("{}\n{}", expected.display(), diff.unified_diff().header("expected", "actual"));
    }
}

/// The processor time that this thread takes for something; unlike the clock on the wall it says
/// the same on a busy machine.
pub(crate) fn processor_time<T>(work: impl FnOnce() -> T) -> (T, std::time::Duration) {
    let now = || {
        let at = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        std::time::Duration::new(at.tv_sec as u64, at.tv_nsec as u32)
    };
    let before = now();
    let outcome = work();
    (outcome, now() - before)
}

/// The files of a folder with an ending, in order.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == ending))
        .collect();
    all.sort();
    assert!(!all.is_empty(), "no cases in {}", folder.display());
    all
}
