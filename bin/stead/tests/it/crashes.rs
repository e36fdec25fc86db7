//! `kill -9` of each process while requests come in.

use std::time::{Duration, Instant};

use crate::{
    installation::{Stead, is_alive, wait, wait_at_most},
    load::{Load, address, get},
    workload::{self, APP},
};

fn app(stead: &Stead, replicas: u32) -> String {
    let file = workload::service("web", replicas, "");
    let project = stead.project("app", &[("stead.yaml", &file), ("app.py", APP), ("content.txt", "hello")]);
    stead.up(&project)["gateway"].as_str().unwrap().to_owned()
}

#[test]
fn control_is_killed_and_no_request_fails() {
    if !workload::python("crashes::control") {
        return;
    }
    let stead = Stead::new();
    let gateway = app(&stead, 2);
    let pids = stead.replica_pids("web");
    let load = Load::start(&gateway, "/", 4);
    let control = stead.role("serve").unwrap();
    let killed_at = Instant::now();
    stead.kill(control);
    wait("another control", || stead.role("serve").filter(|pid| *pid != control));
    wait("control to answer", || stead.answers().then_some(()));
    println!("control was back after {:?}", killed_at.elapsed());
    load.more(50);
    load.end_without_failure();
    assert_eq!(stead.replica_pids("web"), pids, "the replicas are adopted");
    assert_eq!(stead.service("web")["health"], "healthy");
    assert_eq!(stead.json(&["audit", "verify"])["intact"], true);
}

#[test]
fn an_exit_without_control_is_known_afterwards() {
    if !workload::python("crashes::exit_meanwhile") {
        return;
    }
    let stead = Stead::new();
    let gateway = address(&app(&stead, 1));
    stead.stop_control();
    let pid = get(&gateway, "/pid").unwrap().body.parse().unwrap();
    let _ = get(&gateway, "/exit?code=3");
    wait("the replica to end", || (!is_alive(pid)).then_some(()));
    let project = stead.path().join("app").display().to_string();
    stead.up(&project);
    let ends: Vec<_> =
        stead.ledger().into_iter().filter(|entry| entry.to_string().contains("\"code\":3")).collect();
    assert_eq!(ends.len(), 1, "{:?}", stead.ledger());
    assert_eq!(get(&gateway, "/").unwrap().body, "hello");
}

#[test]
fn the_gateway_is_killed_and_only_requests_it_held_fail() {
    if !workload::python("crashes::gateway") {
        return;
    }
    let stead = Stead::new();
    let clients = 4;
    let gateway = app(&stead, 2);
    let pids = stead.replica_pids("web");
    let load = Load::start(&gateway, "/", clients);
    let before = stead.role("gateway").unwrap();
    let killed_at = Instant::now();
    stead.kill(before);
    // Answered by the next one: whoever connects meanwhile waits in the listener's queue.
    wait_at_most(Duration::from_secs(20), "an answer", || {
        get(&address(&gateway), "/").ok().filter(|answer| answer.status == 200)
    });
    println!("the gateway answered again after {:?}", killed_at.elapsed());
    load.more(50);
    let (asked, failures) = load.end();
    assert!(failures.len() <= clients, "{} of {asked} failed: {failures:?}", failures.len());
    for (at, why) in &failures {
        assert!(
            at.duration_since(killed_at) < Duration::from_secs(2),
            "{why} after {:?}",
            at.duration_since(killed_at)
        );
        assert!(!why.starts_with("connect"), "nobody is turned away: {why}");
    }
    assert_ne!(stead.role("gateway").unwrap(), before);
    assert_eq!(stead.replica_pids("web"), pids);
}

#[test]
fn the_only_replica_is_killed_and_errors_end_unaided() {
    if !workload::python("crashes::replica") {
        return;
    }
    let stead = Stead::new();
    let gateway = app(&stead, 1);
    let load = Load::start(&gateway, "/", 2);
    let pid = stead.replica_pids("web")[0];
    let killed_at = Instant::now();
    stead.kill(pid);
    wait("another replica", || stead.replica_pids("web").into_iter().find(|other| *other != pid));
    load.more(20);
    wait("an end of errors", || {
        let last = load.failures().last().map(|(at, _)| *at);
        last.is_none_or(|at| at.elapsed() > Duration::from_millis(500)).then_some(())
    });
    let (asked, failures) = load.end();
    let lasted = failures.last().map(|(at, _)| at.duration_since(killed_at)).unwrap_or_default();
    println!("errors for {lasted:?}, {} of {asked} requests", failures.len());
    assert!(lasted < Duration::from_secs(5), "errors for {lasted:?}: {:?}", failures.last());
    let ended = stead.ledger();
    assert!(ended.iter().any(|entry| entry.to_string().contains("\"signal\":9")), "{ended:?}");
}
