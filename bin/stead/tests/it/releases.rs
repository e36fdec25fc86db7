//! What changes while requests come in: releases, scale, restarts; and releases that are no good.

use std::{fs, path::Path};

use crate::{
    installation::{Stead, wait},
    load::Load,
    workload::{self, APP},
};

/// Delivers the app; gives its folder and the gateway's URL.
fn app(stead: &Stead, replicas: u32) -> (String, String) {
    let file = workload::service("web", replicas, "");
    let project = stead.project("app", &[("stead.yaml", &file), ("app.py", APP), ("content.txt", "first")]);
    let gateway = stead.up(&project)["gateway"].as_str().unwrap().to_owned();
    (project, gateway)
}

fn write(project: &str, file: &str, text: &str) {
    fs::write(Path::new(project).join(file), text).unwrap();
}

fn ready(stead: &Stead, replicas: u64) {
    wait("replicas", || {
        let web = stead.service("web");
        let gone = stead.replica_pids("web").len() as u64 == replicas;
        (web["replicas_ready"] == replicas && web["replicas_wanted"] == replicas && gone).then_some(())
    });
}

#[test]
fn no_change_costs_a_request() {
    if !workload::python("releases::no_change_costs_a_request") {
        return;
    }
    let stead = Stead::new();
    let (project, gateway) = app(&stead, 2);
    let load = Load::start(&gateway, "/", 4);
    assert_eq!(load.last(), "first");

    write(&project, "content.txt", "second");
    stead.up(&project);
    load.more(20);
    assert_eq!(load.last(), "second");
    let web = stead.service("web");
    let states: Vec<_> = web["releases"].as_array().unwrap().iter().map(|one| one["state"].clone()).collect();
    assert_eq!(states, ["active", "superseded"], "{web}");
    assert!(load.failures().is_empty(), "a release: {:?}", load.failures());

    stead.ok(&["scale", "web", "4"]);
    ready(&stead, 4);
    load.more(40);
    stead.ok(&["scale", "web", "1", "--why", "night"]);
    ready(&stead, 1);
    load.more(40);
    assert!(load.failures().is_empty(), "scaling: {:?}", load.failures());

    // What runs is what was released, not what lies in the folder now.
    write(&project, "content.txt", "third");
    let before = stead.replica_pids("web");
    stead.ok(&["restart", "web"]);
    wait("a fresh replica alone", || {
        let now = stead.replica_pids("web");
        (now.len() == 1 && now != before).then_some(())
    });
    load.more(40);
    assert_eq!(load.last(), "second");
    println!("{} requests, none failed", load.end_without_failure());
}

#[test]
fn a_release_that_ends_at_once_does_not_take_over() {
    if !workload::python("releases::ends_at_once") {
        return;
    }
    let stead = Stead::new();
    let (project, gateway) = app(&stead, 1);
    let pids = stead.replica_pids("web");
    let load = Load::start(&gateway, "/", 2);
    write(&project, "app.py", "import sys\nprint('no such table', file=sys.stderr)\nsys.exit(9)\n");
    let done = stead.try_up(&project);
    assert_ne!(done.code, 0, "{done}");
    assert!(done.err.contains("exited with 9") && done.err.contains("hint:"), "{done}");
    load.more(20);
    load.end_without_failure();
    let web = stead.service("web");
    assert_eq!(web["releases"][0]["state"], "failed", "{web}");
    assert!(web["releases"][0]["reason"].as_str().unwrap().contains("exited with 9"), "{web}");
    assert_eq!(
        (&web["releases"][1]["state"], &web["health"]),
        (&"active".into(), &"healthy".into()),
        "{web}"
    );
    assert_eq!(stead.replica_pids("web"), pids, "the old replica was never touched");
}

#[test]
fn a_release_that_never_gets_ready_does_not_take_over() {
    if !workload::python("releases::never_ready") {
        return;
    }
    let stead = Stead::new();
    let (project, gateway) = app(&stead, 1);
    let load = Load::start(&gateway, "/", 2);
    let file = workload::service("web", 1, "")
        .replace("{path: /}, interval: 200ms", "{path: /, status: 204}, interval: 200ms, start_period: 1s");
    write(&project, "stead.yaml", &file);
    write(&project, "content.txt", "bad");
    let done = stead.try_up(&project);
    assert_ne!(done.code, 0, "{done}");
    assert!(done.err.contains("ready") && done.err.contains("200"), "{done}");
    load.more(20);
    assert_eq!(load.last(), "first");
    load.end_without_failure();
    let web = stead.service("web");
    assert_eq!(web["releases"][0]["state"], "failed", "{web}");
    assert_eq!(web["health"], "healthy", "{web}");
}

#[test]
fn a_fixed_port_is_handed_from_one_release_to_the_next() {
    if !workload::python("releases::fixed_port") {
        return;
    }
    let stead = Stead::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file =
        workload::service("web", 1, "").replace("replicas: 1", &format!("replicas: 1\n  port: {port}"));
    let project = stead.project("app", &[("stead.yaml", &file), ("app.py", APP), ("content.txt", "first")]);
    stead.up(&project);
    let address = format!("127.0.0.1:{port}");
    assert_eq!(crate::load::get(&address, "/").unwrap().body, "first");
    write(&project, "content.txt", "second");
    stead.up(&project);
    assert_eq!(crate::load::get(&address, "/").unwrap().body, "second");
}
