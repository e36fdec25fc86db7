use crate::*;

#[tokio::test]
async fn the_end_is_known_though_nobody_watched() {
    let bench = Bench::new();
    // The workload waits for a file that appears after the driver is gone.
    let other = shell("while [ ! -e /proc/self/cwd/go ]; do sleep 0.02; done; echo went; exit 3");
    let waiting = bench.start(other).await;
    let dir = bench.drop_driver();
    let go = dir.path().join("replicas").join(waiting.as_str()).join("root/go");
    std::fs::write(&go, "").unwrap();
    let again = driver(dir.path(), |_| {});
    let exit = exit(&again, &waiting).await;
    assert_eq!((exit.code, exit.reason.as_str()), (Some(3), "exited with 3"));
    let lines: Vec<_> = again.logs(query(&waiting)).await.unwrap().collect().await;
    assert_eq!(lines[0].text, "went");
}

#[tokio::test]
async fn what_still_runs_is_adopted_and_can_be_stopped() {
    let bench = Bench::new();
    let id = bench.start(shell("echo up; exec sleep 1000")).await;
    let before = bench.wait(&id, "running", running).await;
    let dir = bench.drop_driver();
    let again = driver(dir.path(), |_| {});
    let seen = wait(&again, &id, "running", running).await;
    assert_eq!(pid(&seen), pid(&before));
    let mut changes = again.changed();
    again.stop(id.clone()).await.unwrap();
    tokio::time::timeout(DEADLINE, changes.next()).await.unwrap().unwrap();
    assert_eq!(exit(&again, &id).await.reason, "stopped by SIGTERM");
}

#[tokio::test]
async fn a_recycled_pid_is_never_trusted() {
    let bench = Bench::new();
    let id = bench.start(shell("exec sleep 1000")).await;
    bench.wait(&id, "running", running).await;
    let path = bench.path(&id);
    let shim = shim_pid(&path);
    // Somebody else's process: ours, under the recorded pid but started at another time.
    let mut innocent = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let mut recorded = status(&path).unwrap();
    recorded["shim"]["pid"] = innocent.id().into();
    // They may have started within the same tick of a hundredth of a second.
    recorded["shim"]["start_ticks"] = (recorded["shim"]["start_ticks"].as_u64().unwrap() - 100).into();
    let real = std::fs::read(path.join("status.json")).unwrap();
    std::fs::write(path.join("status.json"), recorded.to_string()).unwrap();
    let seen = bench.wait(&id, "lost", |seen| matches!(seen.phase, Phase::Lost { .. })).await;
    assert!(matches!(&seen.phase, Phase::Lost { why } if why.contains("is another one now")), "{seen:?}");
    assert!(innocent.try_wait().unwrap().is_none(), "the innocent process lives");
    innocent.kill().unwrap();
    innocent.wait().unwrap();
    until("the shim noticed that its workload was ended", || !alive(shim)).await;
    drop(real);

    let id = bench.start(shell("exec sleep 1000")).await;
    let path = bench.path(&id);
    let shim = shim_pid(&path);
    let mut recorded = status(&path).unwrap();
    recorded["shim"]["boot_id"] = "another".into();
    std::fs::write(path.join("status.json"), recorded.to_string()).unwrap();
    let seen = bench.wait(&id, "lost", |seen| matches!(seen.phase, Phase::Lost { .. })).await;
    assert!(matches!(&seen.phase, Phase::Lost { why } if why.contains("restarted")), "{seen:?}");
    kill(shim, "TERM");
    until("stopped", || !alive(shim)).await;
}

#[tokio::test]
async fn a_killed_shim_makes_it_lost_and_its_orphans_end() {
    for bench in [Bench::new(), Bench::without_cgroups()] {
        let mut spec = shell(
            "trap '' TERM; (setsid sh -c 'echo daemon $$; exec sleep 1000' &); echo main $$; \
             while :; do sleep 0.05; done",
        );
        spec.files = vec![runtime_api::WorkloadFile {
            path: "key".into(),
            content: b"secret".to_vec(),
            secret: true,
            linked: false,
            mode: 0o400,
        }];
        let id = bench.start(spec).await;
        let daemon: u32 = bench.line(&id, "daemon").await[7..].parse().unwrap();
        let main: u32 = bench.line(&id, "main").await[5..].parse().unwrap();
        let path = bench.path(&id);
        let secrets = status(&path).unwrap()["secrets_dir"].as_str().unwrap().to_owned();
        let groups = status(&path).unwrap()["cgroups"].as_array().unwrap().clone();
        kill(shim_pid(&path), "KILL");
        let seen = bench.wait(&id, "lost", |seen| matches!(seen.phase, Phase::Lost { .. })).await;
        assert!(matches!(&seen.phase, Phase::Lost { why } if why.contains("supervisor is gone")), "{seen:?}");
        until("orphans gone", || !alive(daemon) && !alive(main)).await;
        assert!(!Path::new(&secrets).exists());
        assert!(groups.iter().all(|dir| !Path::new(dir.as_str().unwrap()).exists()));
        // It stays lost for the next driver, and can be stopped and removed.
        let again = driver(bench.dir.path(), |_| {});
        wait(&again, &id, "lost", |now| now.phase == seen.phase).await;
        again.stop(id.clone()).await.unwrap();
        again.remove(id).await.unwrap();
    }
}

#[tokio::test]
async fn sigterm_to_the_shim_is_a_stop() {
    let bench = Bench::new();
    let id = bench.start(shell("trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done")).await;
    bench.line(&id, "up").await;
    kill(shim_pid(&bench.path(&id)), "TERM");
    assert_eq!(bench.exit(&id).await.reason, "exited with 5");
}

#[tokio::test]
async fn a_replica_that_was_never_started_is_lost_and_damage_is_shown() {
    let bench = Bench::new();
    let id = bench.start(shell("exit 0")).await;
    bench.exit(&id).await;
    std::fs::remove_file(bench.path(&id).join("status.json")).unwrap();
    let old = std::fs::File::open(bench.path(&id)).unwrap();
    old.set_modified(std::time::UNIX_EPOCH).unwrap();
    let seen = bench.wait(&id, "lost", |seen| matches!(seen.phase, Phase::Lost { .. })).await;
    assert!(matches!(&seen.phase, Phase::Lost { why } if why.contains("never started")));

    for broken in ["", "{", "{\"version\":99}", "[]"] {
        std::fs::write(bench.path(&id).join("status.json"), broken).unwrap();
        assert!(matches!(bench.driver.list().await.unwrap()[0].phase, Phase::Lost { .. }));
    }
    std::fs::write(bench.path(&id).join("spec.json"), "{").unwrap();
    let again = driver(bench.dir.path(), |_| {});
    assert!(again.list().await.unwrap().is_empty());
    assert_eq!(again.damaged().await.unwrap().len(), 1);
    again.remove(id).await.unwrap();
    assert!(again.damaged().await.unwrap().is_empty());
}
