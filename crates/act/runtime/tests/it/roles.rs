use std::{io::Read, net::TcpStream};

use crate::*;

fn ask(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

fn role(version: &str) -> ReplicaSpec {
    let mut spec = spec([testbed(), "serve", version]);
    spec.restart = Restart::Always;
    spec
}

#[tokio::test]
async fn a_crash_loop_backs_off_and_can_be_stopped() {
    let bench = Bench::new();
    let mut spec = shell("echo run; exit 1");
    spec.restart = Restart::Always;
    let id = bench.start(spec).await;
    let seen = bench.wait(&id, "restarted thrice", |seen| seen.restarts >= 3).await;
    assert!(seen.notes.iter().any(|note| note == "its last run: exited with 1"), "{:?}", seen.notes);
    bench.driver.stop(id.clone()).await.unwrap();
    assert_eq!(bench.exit(&id).await.reason, "exited with 1");
    let lines = bench.lines(&id).await;
    let at: Vec<_> = lines.iter().filter(|line| line.text == "run").map(|line| line.at).collect();
    // None, 100 ms, 200 ms.
    assert!(at[1].since(at[0]) < at[3].since(at[2]));
    assert!(at[2].since(at[1]) >= Duration::from_millis(90), "{at:?}");
    assert!(at[3].since(at[2]) >= Duration::from_millis(190), "{at:?}");
    assert!(lines.iter().any(|line| line.text == "[stead] exited with 1; starting it again"));
}

#[tokio::test]
async fn a_role_whose_program_is_missing_is_tried_again() {
    let bench = Bench::new();
    let mut spec = spec(["./late"]);
    spec.restart = Restart::Always;
    let id = bench.start(spec).await;
    bench.wait(&id, "tried", |seen| seen.notes.iter().any(|n| n.contains("no such file \"./late\""))).await;
    let late = bench.path(&id).join("root/late");
    std::fs::write(late.with_extension("new"), "#!/bin/sh\nexec sleep 1000\n").unwrap();
    std::fs::set_permissions(late.with_extension("new"), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::rename(late.with_extension("new"), &late).unwrap();
    bench.wait(&id, "running", running).await;
    bench.driver.stop(id).await.unwrap();
}

#[tokio::test]
async fn a_listening_socket_survives_a_crash_of_the_role() {
    let bench = Bench::new();
    let id = bench.start(role("one")).await;
    let port: u16 = bench.line(&id, "port").await[5..].parse().unwrap();
    assert_eq!(ask(port), "one");
    let first = pid(&bench.wait(&id, "running", running).await);
    for _ in 0..3 {
        let now = pid(&bench.wait(&id, "running", running).await);
        kill(now, "KILL");
        until("killed", || !alive(now)).await;
        // Connections queue at the socket meanwhile: none is refused.
        assert_eq!(ask(port), "one");
    }
    let seen = bench.wait(&id, "running", |seen| running(seen) && seen.restarts >= 3).await;
    assert_ne!(pid(&seen), first);
    bench.driver.stop(id.clone()).await.unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the store goes with its shim");
}

#[tokio::test]
async fn an_upgrade_hands_over_without_a_gap_and_a_bad_one_changes_nothing() {
    let bench = Bench::new();
    let id = bench.start(role("one")).await;
    let port: u16 = bench.line(&id, "port").await[5..].parse().unwrap();
    let before = pid(&bench.wait(&id, "running", running).await);

    let error = bench.driver.upgrade(id.clone(), "/bin/false".into()).await.unwrap_err();
    assert!(error.to_string().contains("the new program exited with 1"), "{error}");
    let error = bench.driver.upgrade(id.clone(), "/bin/absent".into()).await.unwrap_err();
    assert!(error.to_string().contains("no such file"), "{error}");
    assert_eq!(pid(&bench.wait(&id, "running", running).await), before);
    assert_eq!(ask(port), "one");

    let next = bench.dir.path().join("next");
    std::fs::write(&next, format!("#!/bin/sh\nexec {} serve two\n", testbed())).unwrap();
    std::fs::set_permissions(&next, PermissionsExt::from_mode(0o755)).unwrap();
    bench.driver.upgrade(id.clone(), next).await.unwrap();
    let seen = bench.wait(&id, "running", running).await;
    assert_ne!(pid(&seen), before);
    assert_eq!(seen.restarts, 0);
    until("the old one is gone", || !alive(before)).await;
    assert_eq!(ask(port), "two");
    // After a crash it is the new program that comes back.
    let now = pid(&seen);
    kill(now, "KILL");
    until("killed", || !alive(now)).await;
    assert_eq!(ask(port), "two");
    bench.driver.stop(id.clone()).await.unwrap();

    let id = bench.start(shell("exec sleep 1000")).await;
    let error = bench.driver.upgrade(id.clone(), "/bin/true".into()).await.unwrap_err();
    assert!(error.to_string().contains("only Stead's own roles"), "{error}");
    bench.driver.stop(id).await.unwrap();
}

#[tokio::test]
async fn stopping_a_role_leaves_the_workloads_it_started() {
    // The role is a driver of its own, as control is: here a shell that starts a shim.
    let bench = Bench::new();
    let inner = Bench::new();
    let mut spec = shell("echo up; while :; do sleep 0.05; done");
    spec.restart = Restart::Always;
    let id = bench.start(spec).await;
    bench.line(&id, "up").await;
    let workload = inner.start(shell("exec sleep 1000")).await;
    // A shim's group is that of shims, whoever started it.
    let groups =
        std::fs::read_to_string(format!("/proc/{}/cgroup", shim_pid(&inner.path(&workload)))).unwrap();
    if cgroup_has("memory") {
        assert!(groups.contains("/stead/shims"), "{groups}");
    }
    bench.driver.stop(id).await.unwrap();
    assert!(running(&inner.wait(&workload, "there", |_| true).await));
    inner.driver.stop(workload).await.unwrap();
}

/// A program that says "ready" closes its end of a pipe; a loop that goes on polling it never rests.
#[tokio::test]
async fn a_role_that_said_ready_leaves_its_shim_idle() {
    let bench = Bench::new();
    let id = bench.start(role("one")).await;
    let port: u16 = bench.line(&id, "port").await[5..].parse().unwrap();
    let child = pid(&bench.wait(&id, "running", running).await);
    let field = |pid: u64, at: usize| -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap().split(' ').nth(at).unwrap().parse().unwrap()
    };
    let shim = field(u64::from(child), 1);
    let ticks = || field(shim, 11) + field(shim, 12);
    let (before, begun) = (ticks(), std::time::Instant::now());
    while begun.elapsed() < Duration::from_millis(500) {
        assert_eq!(ask(port), "one");
    }
    // 50 ticks are what a core has in that time.
    assert!(ticks() - before < 20, "the shim used {} ticks", ticks() - before);
    bench.driver.stop(id).await.unwrap();
}
