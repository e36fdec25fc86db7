//! Jobs: before a release, when asked, on a schedule.

use std::fs;

use crate::{
    installation::{Stead, wait},
    load::{address, get},
    workload::{self, APP},
};

#[test]
fn jobs_run_before_a_release_and_when_asked() {
    if !workload::python("jobs::before_release") {
        return;
    }
    let stead = Stead::new();
    let more = "jobs:\n  migrate: {command: /bin/sh migrate.sh, when: before_release}\n\
                \x20 report: echo all is well\n  broken: {command: /bin/sh -c 'echo oh no; exit 4'}\n";
    let file = workload::service("web", 1, more);
    let project = stead.project(
        "app",
        &[
            ("stead.yaml", &file),
            ("app.py", APP),
            ("content.txt", "first"),
            ("migrate.sh", "echo migrated; echo 1 >> $STEAD_DATA_DIR/schema"),
        ],
    );
    let gateway = address(stead.up(&project)["gateway"].as_str().unwrap());
    assert_eq!(get(&gateway, "/file?path=$STEAD_DATA_DIR/schema").unwrap().body, "1\n");

    // A failing one keeps the release from taking over.
    fs::write(format!("{project}/migrate.sh"), "echo 'column exists'; exit 7\n").unwrap();
    fs::write(format!("{project}/content.txt"), "second").unwrap();
    let done = stead.try_up(&project);
    assert_ne!(done.code, 0, "{done}");
    assert!(done.err.contains("`migrate` exited with 7"), "{done}");
    assert!(done.err.contains("stead logs web --job migrate"), "{done}");
    let lines = stead.lines(&["logs", "web", "--job", "migrate"]);
    assert!(lines.iter().any(|line| line["text"] == "column exists"), "{lines:?}");
    assert!(!stead.ok(&["events", "--export"]).contains("column exists"), "output is not for the ledger");
    assert_eq!(get(&gateway, "/").unwrap().body, "first");
    assert_eq!(stead.service("web")["health"], "healthy");

    stead.ok(&["job", "web", "report"]);
    stead.ok(&["job", "web", "broken"]);
    let ended = |name: &str, code: i64| {
        wait("a job's end on the ledger", || {
            stead.ledger().into_iter().find(|one| {
                one["kind"] == "stead.job.ended.v1"
                    && one["body"]["job"] == name
                    && one["body"]["code"] == code
            })
        })
    };
    ended("report", 0);
    ended("broken", 4);
    let lines = stead.lines(&["logs", "web", "--job", "report"]);
    assert_eq!(lines[0]["text"], "all is well", "{lines:?}");
    let unknown = stead.run(&["job", "web", "repotr"]);
    assert_ne!(unknown.code, 0, "{unknown}");
    assert!(unknown.err.contains("repotr"), "{unknown}");
}
