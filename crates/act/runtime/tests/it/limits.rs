use base::units::{Bytes, Cpu};

use crate::*;

#[tokio::test]
async fn passing_the_memory_limit_is_named() {
    if !cgroup_has("memory") {
        println!("SKIP passing_the_memory_limit_is_named: no memory controller for us");
        return;
    }
    let bench = Bench::new();
    let mut eats = spec([testbed(), "eat", "200"]);
    eats.limits.memory = Some(Bytes::mib(48));
    let (exit, lines) = bench.run(eats).await;
    assert!(exit.oom, "{exit:?} {lines:?}");
    assert_eq!(exit.reason, "killed by SIGKILL: over its memory limit of 48MiB");

    // The child is killed, the shell above it lives on to tell.
    let mut spec = shell(&format!("{} eat 200; exit 9", testbed()));
    spec.limits.memory = Some(Bytes::mib(48));
    let (exit, _) = bench.run(spec).await;
    assert!(exit.oom && exit.reason.contains("over its memory limit of 48MiB"), "{exit:?}");
}

#[tokio::test]
async fn without_control_groups_data_is_limited_and_said() {
    let bench = Bench::without_cgroups();
    let mut spec = spec([testbed(), "eat", "200"]);
    spec.limits.memory = Some(Bytes::mib(48));
    let id = bench.start(spec).await;
    let exit = bench.exit(&id).await;
    assert_ne!(exit.code, Some(0));
    let seen = bench.wait(&id, "noted", |_| true).await;
    assert!(seen.notes.iter().any(|note| note.contains("RLIMIT_DATA")), "{:?}", seen.notes);
}

#[tokio::test]
async fn the_number_of_processes_is_limited() {
    if !cgroup_has("pids") {
        println!("SKIP the_number_of_processes_is_limited: no pids controller for us");
        return;
    }
    let bench = Bench::new();
    let mut spec = shell("for i in $(seq 30); do sleep 1000 & done; echo all");
    spec.limits.processes = Some(8);
    let (_, lines) = bench.run(spec).await;
    let text: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    assert!(text.iter().any(|line| line.contains("fork")), "{text:?}");
    assert!(!text.contains(&"all"));
}

#[tokio::test]
async fn the_cpu_quota_and_open_files_are_set_and_use_is_seen() {
    let bench = Bench::new();
    let mut spec = shell("ulimit -n; while :; do :; done");
    spec.limits.cpu = Some(Cpu::millis(200));
    spec.limits.open_files = Some(77);
    let id = bench.start(spec).await;
    bench.line(&id, "77").await;
    let seen = bench.wait(&id, "busy", |seen| seen.usage.cpu_us > 20_000).await;
    assert!(seen.usage.memory_bytes > 0 && seen.usage.processes == 1, "{:?}", seen.usage);
    if cgroup_has("cpu") {
        let dirs = status(&bench.path(&id)).unwrap()["cgroups"].as_array().unwrap().clone();
        let quota = dirs.iter().find_map(|dir| {
            let dir = Path::new(dir.as_str().unwrap());
            std::fs::read_to_string(dir.join("cpu.cfs_quota_us"))
                .or_else(|_| std::fs::read_to_string(dir.join("cpu.max")))
                .ok()
        });
        assert!(quota.unwrap().starts_with("20000"));
    }
    bench.driver.stop(id.clone()).await.unwrap();
    let seen = bench.wait(&id, "ended", |_| true).await;
    if cgroup_has("cpuacct") {
        assert!(seen.usage.cpu_us >= 20_000, "the total is kept: {:?}", seen.usage);
    }
    for dir in status(&bench.path(&id)).unwrap()["cgroups"].as_array().unwrap() {
        assert!(!Path::new(dir.as_str().unwrap()).exists(), "{dir} is left");
    }
}

#[tokio::test]
async fn more_open_files_than_there_are_is_noted() {
    let bench = Bench::new();
    let mut spec = shell("exit 0");
    spec.limits.open_files = Some(1 << 40);
    let id = bench.start(spec).await;
    assert_eq!(bench.exit(&id).await.code, Some(0));
    let seen = bench.wait(&id, "noted", |_| true).await;
    assert!(seen.notes.iter().any(|note| note.contains("open files are limited")), "{:?}", seen.notes);
}
