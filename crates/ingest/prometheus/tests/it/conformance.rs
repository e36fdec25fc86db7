use std::path::PathBuf;

use prometheus::exposition::conformance;

#[test]
fn openmetrics_cases_are_judged_as_their_makers_do() {
    let Some(folder) = std::env::var_os("STEAD_CONFORMANCE") else {
        println!("SKIP openmetrics_cases_are_judged_as_their_makers_do: STEAD_CONFORMANCE is not set");
        return;
    };
    let report = conformance::openmetrics(&PathBuf::from(folder).join("openmetrics")).unwrap();
    assert!(report.passed > 0 && report.failed == 0, "{report:#?}");
}
