//! A wall clock that jumps. The machine's own is never set: Debian's `faketime` lies to one server.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{
    installation::{Stead, up, wait},
    load::Load,
    workload::{self, APP},
};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// A server in the foreground that this test started.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_clock_jumps_and_everything_goes_on() {
    if !Path::new(LIBRARY).exists() {
        println!("SKIP clock::faketime: {LIBRARY} is missing (Debian package faketime)");
        return;
    }
    if !workload::python("clock::faketime") {
        return;
    }
    let stead = Stead::new();
    let now = stead.path().join("now");
    fs::write(&now, "+0d").unwrap();
    let mut serve: Command =
        stead.command(&["serve", "--listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0"]);
    serve
        .env("LD_PRELOAD", LIBRARY)
        .env("FAKETIME_TIMESTAMP_FILE", &now)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _server = Server(serve.spawn().unwrap());
    wait("the server to answer", || stead.answers().then_some(()));

    let hourly = "jobs:\n  tick: {command: echo tick, schedule: 0 * * * *}\n";
    let file = workload::service("web", 1, hourly);
    let project = stead.project("app", &[("stead.yaml", &file), ("app.py", APP), ("content.txt", "0")]);
    let done = stead.run(&up(&project));
    assert_eq!(done.code, 0, "{done}");
    let answer: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    let load = Load::start(answer["gateway"].as_str().unwrap(), "/", 2);
    let pids = stead.replica_pids("web");
    for (index, jump) in ["+200d", "+0d", "-3h", "+3h"].iter().enumerate() {
        fs::write(&now, jump).unwrap();
        load.more(20);
        assert_eq!(stead.service("web")["health"], "healthy", "after {jump}");
        if index == 0 {
            assert_eq!(stead.replica_pids("web"), pids, "a jump alone starts nothing anew");
        }
        let content = (index + 1).to_string();
        fs::write(format!("{project}/content.txt"), &content).unwrap();
        let done = stead.run(&up(&project));
        assert_eq!(done.code, 0, "after {jump}: {done}");
        wait("the new content", || (load.last() == content).then_some(()));
    }
    load.end_without_failure();
    let ticks = wait("a run of the hourly job", || {
        let ends: Vec<_> =
            stead.ledger().into_iter().filter(|one| one["kind"] == "stead.job.ended.v1").collect();
        (!ends.is_empty()).then_some(ends)
    });
    assert!(ticks.iter().all(|one| one["body"]["job"] == "tick" && one["body"]["code"] == 0), "{ticks:?}");
    let verdict = stead.json(&["audit", "verify"]);
    assert_eq!(verdict["intact"], true, "{verdict}");
    let seqs: Vec<u64> = stead.ledger().iter().map(|one| one["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "order is the ledger's, not the clock's");
}
