//! A disk that is full, and then is not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    installation::{Stead, wait},
    load::Load,
    workload::{self, APP},
};

/// A small file system of its own over the data directory.
struct Small(PathBuf);

impl Small {
    fn over(path: &Path, mib: u32) -> Option<Self> {
        fs::create_dir(path).unwrap();
        let size = format!("size={mib}m,mode=0711");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "stead-test"]).arg(path).output();
        mounted.is_ok_and(|done| done.status.success()).then(|| Self(path.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_said_and_got_over() {
    if !workload::python("disk::full") {
        return;
    }
    let stead = Stead::new();
    let Some(small) = Small::over(&stead.data(), 48) else {
        println!("SKIP disk::full: a tmpfs cannot be mounted here");
        return;
    };
    let file = workload::service("web", 1, "");
    let project = stead.project("app", &[("stead.yaml", &file), ("app.py", APP), ("content.txt", "hello")]);
    let gateway = stead.up(&project)["gateway"].as_str().unwrap().to_owned();
    let pids = stead.replica_pids("web");
    let load = Load::start(&gateway, "/", 2);

    let filler = stead.data().join("filler");
    fill(&filler);
    fs::write(format!("{project}/content.txt"), "x".repeat(300_000)).unwrap();
    let done = stead.try_up(&project);
    assert_ne!(done.code, 0, "{done}");
    assert!(
        ["space", "full", "storage"].iter().any(|word| done.err.to_lowercase().contains(word)),
        "it says why: {done}"
    );
    load.more(20);
    assert!(load.failures().is_empty(), "what runs goes on: {:?}", load.failures());
    assert_eq!(stead.replica_pids("web"), pids);

    fs::remove_file(&filler).unwrap();
    fs::write(format!("{project}/content.txt"), "after").unwrap();
    stead.up(&project);
    wait("the new content", || (load.last() == "after").then_some(()));
    load.end_without_failure();
    assert_eq!(stead.json(&["audit", "verify"])["intact"], true);
    drop(stead);
    drop(small);
}

/// Writes until nothing fits any more.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).unwrap();
    for size in [1 << 20, 4 << 10, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}
