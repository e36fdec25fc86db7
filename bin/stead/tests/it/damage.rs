//! A data directory that somebody or something has damaged.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use crate::installation::{Stead, is_alive};

const FILE: &str = "name: worker\nrun: {command: sleep 600, port: none}\n";

#[test]
fn a_damaged_state_is_named_and_nothing_that_runs_is_touched() {
    let stead = Stead::new();
    let project = stead.project("app", &[("stead.yaml", FILE)]);
    stead.up(&project);
    let pid = stead.replica_pids("worker")[0];
    let state = stead.data().join("state/stead.db");
    stead.stop_control();
    let good = fs::read(&state).unwrap();
    for (what, bytes) in [
        ("garbage", vec![0x55u8; 64 << 10]),
        ("truncated", good[..good.len() / 2].to_vec()),
        ("another file", b"hello\n".to_vec()),
    ] {
        fs::write(&state, &bytes).unwrap();
        let done = stead.try_up(&project);
        assert_ne!(done.code, 0, "{what}: {done}");
        assert!(done.err.contains("stead.db") && done.err.contains("hint:"), "{what}: {done}");
        assert_eq!(fs::read(&state).unwrap(), bytes, "{what}: what is left is left as it is");
        assert!(is_alive(pid), "{what}");
    }
    fs::write(&state, &good).unwrap();
    stead.up(&project);
    assert_eq!(stead.replica_pids("worker"), [pid]);
}

#[test]
fn links_planted_in_the_data_directory_are_not_followed() {
    let stead = Stead::new();
    let project = stead.project("app", &[("stead.yaml", FILE)]);
    let outside = stead.path().join("outside");
    fs::create_dir(&outside).unwrap();
    for name in ["state", "replicas", "roles", "trees", "blobs", "gateway", "data", "tls"] {
        let _ = fs::remove_dir_all(stead.data());
        fs::create_dir(stead.data()).unwrap();
        symlink(&outside, stead.data().join(name)).unwrap();
        let done = stead.try_up(&project);
        assert_ne!(done.code, 0, "{name}: {done}");
        assert!(done.err.contains(name) && done.err.contains("hint:"), "{name}: {done}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{name}");
    }
    let _ = fs::remove_dir_all(stead.data());
    fs::create_dir(stead.data()).unwrap();
    let target = outside.join("precious");
    fs::write(&target, "as it was").unwrap();
    for name in ["lock", "token", "secrets.key", "checkpoints.key", "server.json"] {
        let _ = fs::remove_dir_all(stead.data());
        fs::create_dir(stead.data()).unwrap();
        symlink(&target, stead.data().join(name)).unwrap();
        let done = stead.try_up(&project);
        assert_eq!(fs::read_to_string(&target).unwrap(), "as it was", "{name}: {done}");
        let _ = stead.run(&["stop", "--everything"]);
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_a_clear_error() {
    let stead = Stead::new();
    let project = stead.project("app", &[("stead.yaml", FILE)]);
    fs::write(stead.data(), "a file is here").unwrap();
    let done = stead.try_up(&project);
    assert_ne!(done.code, 0, "{done}");
    assert!(done.err.contains("data") && done.err.contains("hint:"), "{done}");
    fs::remove_file(stead.data()).unwrap();
    stead.up(&project);

    // Read-only state: root writes through permissions, so this shows as another user only.
    if rustix::process::geteuid().is_root() {
        println!("SKIP damage::read_only: root writes through permissions");
        return;
    }
    stead.stop_control();
    let state = stead.data().join("state");
    fs::set_permissions(&state, PermissionsExt::from_mode(0o500)).unwrap();
    let done = stead.try_up(&project);
    fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).unwrap();
    assert_ne!(done.code, 0, "{done}");
}
