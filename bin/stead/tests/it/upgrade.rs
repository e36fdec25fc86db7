//! Going over to another program while requests come in.

use std::fs;

use crate::{
    installation::{Stead, wait},
    load::Load,
    workload::{self, APP},
};

#[test]
fn an_upgrade_in_place_costs_no_request() {
    if !workload::python("upgrade::in_place") {
        return;
    }
    let stead = Stead::new();
    let file = workload::service("web", 2, "");
    let project = stead.project("app", &[("stead.yaml", &file), ("app.py", APP), ("content.txt", "hello")]);
    let gateway = stead.up(&project)["gateway"].as_str().unwrap().to_owned();
    let pids = stead.replica_pids("web");
    let new = stead.path().join("stead-next");
    fs::copy(env!("CARGO_BIN_EXE_stead"), &new).unwrap();
    let load = Load::start(&gateway, "/", 4);
    stead.ok(&["upgrade", new.to_str().unwrap()]);
    let runs_new = |role: &str| {
        let pid = stead.role(role)?;
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        (program == new).then_some(pid)
    };
    wait("the gateway to go over", || runs_new("gateway"));
    wait("control to go over", || runs_new("serve"));
    wait("one of each", || {
        let count = |role: &str| {
            stead.processes().iter().filter(|one| one.argv.get(1).is_some_and(|first| first == role)).count()
        };
        (count("serve") == 1 && count("gateway") == 1).then_some(())
    });
    wait("control to answer", || stead.answers().then_some(()));
    load.more(60);
    let (asked, failures) = load.end();
    assert!(failures.is_empty(), "of {asked} failed {failures:?}\n{}", stead.said());
    println!("{asked} requests, none failed");
    assert_eq!(stead.replica_pids("web"), pids, "workloads are untouched");

    // It is what runs from now on, after a crash too.
    stead.kill(stead.role("serve").unwrap());
    wait("control to be the new one again", || runs_new("serve"));
    wait("control to answer", || stead.answers().then_some(()));

    // What is no such program is refused, and everything goes on.
    let wrong = stead.path().join("wrong");
    fs::write(&wrong, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&wrong, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let done = stead.run(&["upgrade", wrong.to_str().unwrap()]);
    assert_ne!(done.code, 0, "{done}");
    assert!(stead.answers());
    assert!(runs_new("gateway").is_some());
}
