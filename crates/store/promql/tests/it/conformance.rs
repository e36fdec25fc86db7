use std::{env, fs, path::PathBuf};

use promql::conformance::{Report, run_script};

/// The scripts of upstream, where the folder with them is given.
#[test]
fn scripts_of_upstream_pass() {
    let Some(folder) = env::var_os("STEAD_CONFORMANCE") else {
        println!("left out: STEAD_CONFORMANCE does not name the folder of the scripts");
        return;
    };
    let folder = PathBuf::from(folder).join("promqltest");
    let mut scripts: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    let only = env::var("PROMQLTEST_ONLY").unwrap_or_default();
    let mut all = Report::default();
    for script in scripts.iter().filter(|path| path.extension().is_some_and(|ending| ending == "test")) {
        let name = script.file_name().unwrap().to_string_lossy().into_owned();
        if !name.contains(&only) {
            continue;
        }
        let report = run_script(&fs::read_to_string(script).unwrap(), &name);
        println!("{name}: {} passed, {} failed, 0 skipped", report.passed, report.failed);
        all.merge(report);
    }
    for (case, why) in &all.failures {
        println!("{case}: {why}");
    }
    println!("in all: {} passed, {} failed, 0 skipped", all.passed, all.failed);
    assert_eq!(all.failed, 0);
}
