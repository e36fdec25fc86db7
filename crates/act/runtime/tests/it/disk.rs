use std::process::Command;

use crate::*;

/// A small tmpfs, unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k,mode=0711", "tmpfs"])
            .arg(at)
            .output()
            .is_ok_and(|out| out.status.success());
        done.then(|| Self(at.into()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test]
async fn a_full_disk_costs_output_but_not_the_workload() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let Some(small) = Small::mount(&dir.path().join("replicas")) else {
        println!("SKIP a_full_disk_costs_output_but_not_the_workload: cannot mount a tmpfs");
        return;
    };
    let driver = driver(dir.path(), |_| {});
    let line = "y".repeat(100);
    let mut spec = shell(&format!("yes {line} | head -c 4000000; exit 4"));
    spec.log = LogBounds { segment_bytes_max: 8 << 20, segments_max: 4, line_bytes_max: 1024 };
    spec.working_directory = "/tmp".into();
    let id = spec.id.clone();
    driver.start(spec).await.unwrap();
    let exit = exit(&driver, &id).await;
    assert_eq!(exit.code, Some(4));
    let seen = wait(&driver, &id, "noted", |_| true).await;
    assert!(
        seen.notes.iter().any(|note| note.contains("lines of its output were lost: No space left")),
        "{:?}",
        seen.notes
    );
    // What was written before is whole and readable.
    let lines: Vec<_> = driver.logs(query(&id)).await.unwrap().collect().await;
    let known = |text: &str| line.starts_with(text) || text.starts_with("[stead] ");
    assert!(lines.len() > 100 && lines.iter().all(|l| known(&l.text)));
    driver.remove(id).await.unwrap();
    drop(small);
}

#[tokio::test]
async fn an_end_that_the_disk_refuses_is_recorded_when_it_takes_it_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let Some(small) = Small::mount(&dir.path().join("replicas")) else {
        println!(
            "SKIP an_end_that_the_disk_refuses_is_recorded_when_it_takes_it_again: cannot mount a tmpfs"
        );
        return;
    };
    let remount = |how: &str| {
        let how = format!("remount,{how}");
        Command::new("mount").args(["-o", &how]).arg(&small.0).output().unwrap().status.success()
    };
    let driver = driver(dir.path(), |_| {});
    let spec = shell("exec sleep 1000");
    let id = spec.id.clone();
    driver.start(spec).await.unwrap();
    let main = pid(&wait(&driver, &id, "running", running).await);
    assert!(remount("ro"));
    kill(main, "KILL");
    until("ended", || !alive(main)).await;
    // The shim says so itself while the disk does not.
    let replica = small.0.join(id.as_str());
    assert_eq!(exit(&driver, &id).await.reason, "killed by SIGKILL");
    assert_eq!(status(&replica).unwrap()["phase"]["phase"], "running");
    assert!(remount("rw"));
    until("the shim is gone", || !alive(shim_pid(&replica))).await;
    assert_eq!(status(&replica).unwrap()["phase"]["phase"], "exited");
    assert_eq!(exit(&driver, &id).await.reason, "killed by SIGKILL");
}

#[tokio::test]
async fn planted_symlinks_are_refused() {
    let bench = Bench::new();
    let outside = tempfile::tempdir().unwrap();
    // In the place of a replica that is to start.
    let spec = shell("true");
    std::os::unix::fs::symlink(outside.path(), bench.path(&spec.id)).unwrap();
    let planted = spec.id.clone();
    assert!(matches!(bench.driver.start(spec).await, Err(runtime_api::Error::Exists(_))));
    assert!(bench.driver.list().await.unwrap().is_empty());
    let damaged = bench.driver.damaged().await.unwrap();
    assert!(damaged[0].why.contains("symbolic link"), "{damaged:?}");
    bench.driver.remove(planted.clone()).await.unwrap();
    assert!(!bench.path(&planted).is_symlink() && outside.path().exists());

    // In the place of a status.
    let id = bench.start(shell("exit 0")).await;
    bench.exit(&id).await;
    let status = bench.path(&id).join("status.json");
    std::fs::rename(&status, outside.path().join("status.json")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("status.json"), &status).unwrap();
    let seen = bench.driver.list().await.unwrap();
    assert!(matches!(&seen[0].phase, Phase::Lost { why } if why.contains("symbolic link")), "{seen:?}");

    // In a release: a file of the platform's would be written through it.
    let source = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), source.path().join("conf")).unwrap();
    let mut spec = shell("true");
    spec.source = Some(source.path().into());
    spec.files = vec![runtime_api::WorkloadFile {
        path: "conf/planted".into(),
        content: b"x".to_vec(),
        secret: false,
        linked: false,
        mode: 0o600,
    }];
    let error = bench.driver.start(spec).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(!outside.path().join("planted").exists());
    // The place of all replicas.
    let link = outside.path().join("link");
    std::os::unix::fs::symlink(bench.replicas(), &link).unwrap();
    assert!(ProcessDriver::new(Options::new(link, "/bin/true")).is_err());
}
