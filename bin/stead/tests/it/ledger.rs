//! The ledger proves that it is as it was written; the state can be backed up and put back.

use std::{fs, path::Path, process::Command};

use crate::{
    installation::{Done, Stead, wait},
    workload,
};

const FILE: &str = "name: worker\nrun: {command: sleep 600, port: none}\n";

/// Changes the stopped state with Python's SQLite.
fn sql(stead: &Stead, statement: &str) {
    let state = stead.data().join("state/stead.db");
    let program =
        "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute(sys.argv[2])\nc.commit()\n";
    let done =
        Command::new("/usr/bin/python3").args(["-c", program]).arg(state).arg(statement).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Starts a server again and asks it for its verdict.
fn verdict(stead: &Stead) -> Done {
    start(stead);
    stead.run(&["audit", "verify", "--output", "json"])
}

fn start(stead: &Stead) {
    let known = stead.path().join("known");
    let project = if known.exists() {
        known.display().to_string()
    } else {
        stead.project("known", &[("stead.yaml", FILE)])
    };
    stead.up(&project);
}

#[test]
fn edits_and_cuts_of_the_ledger_are_found() {
    if !workload::python("ledger::edits") {
        return;
    }
    let stead = Stead::new();
    start(&stead);
    assert_eq!(verdict(&stead).code, 0);
    for (what, statement, undo) in [
        (
            "edit",
            "UPDATE entry SET why = why || ' ' WHERE seq = 5",
            "UPDATE entry SET why = rtrim(why) WHERE seq = 5",
        ),
        ("reorder", "UPDATE entry SET seq = CASE seq WHEN 3 THEN -4 ELSE -3 END WHERE seq IN (3, 4)", ""),
    ] {
        stead.stop_control();
        sql(&stead, statement);
        if what == "reorder" {
            sql(&stead, "UPDATE entry SET seq = -seq WHERE seq < 0");
        }
        let done = verdict(&stead);
        assert_eq!(done.code, 1, "{what}: {done}");
        let place = if what == "edit" { "5" } else { "3" };
        assert!(done.out.contains("\"intact\":false") && done.out.contains(place), "{what}: {done}");
        stead.stop_control();
        if undo.is_empty() {
            sql(&stead, statement);
            sql(&stead, "UPDATE entry SET seq = -seq WHERE seq < 0");
        } else {
            sql(&stead, undo);
        }
        let done = verdict(&stead);
        assert_eq!(done.code, 0, "{what} undone: {done}");
    }
    stead.stop_control();
    sql(&stead, "DELETE FROM entry WHERE seq = 6");
    assert_eq!(verdict(&stead).code, 1, "a cut");
}

#[test]
fn an_older_copy_is_found_by_the_checkpoints() {
    if !workload::python("ledger::older_copy") {
        return;
    }
    let stead = Stead::new();
    start(&stead);
    stead.stop_control();
    let state = stead.data().join("state");
    let copy = stead.path().join("copy");
    copy_files(&state, &copy);
    start(&stead);
    stead.ok(&["restart", "worker", "--why", "something that is to be forgotten"]);
    stead.stop_control(); // Signs the end.
    assert!(fs::read_dir(stead.checkpoints()).unwrap().count() > 0, "checkpoints lie outside the data");
    fs::remove_dir_all(&state).unwrap();
    copy_files(&copy, &state);
    let done = verdict(&stead);
    assert_eq!(done.code, 1, "{done}{}", stead.said());
    assert!(done.out.contains("checkpoint"), "{done}");
}

#[test]
fn a_backup_is_put_back() {
    let stead = Stead::new();
    start(&stead);
    stead.run_with_input(&["secret", "set", "KEPT"], b"value");
    let file = stead.ok(&["backup"]).trim().to_owned();
    assert!(Path::new(&file).exists(), "{file}");
    let pids = stead.replica_pids("worker");
    let busy = stead.run(&["restore", &file]);
    assert_eq!(busy.code, 1, "not under a running server: {busy}");
    stead.ok(&["secret", "remove", "KEPT"]);
    stead.stop_control();
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(stead.data().join(format!("state/stead.db{end}")));
    }
    stead.ok(&["restore", &file]);
    start(&stead);
    assert_eq!(stead.json(&["audit", "verify"])["intact"], true, "an owner may put back a copy");
    let mut logs = fs::read_dir(stead.checkpoints()).unwrap().flatten().map(|one| one.file_name());
    assert!(logs.any(|name| name.to_string_lossy().contains("-until-")));
    let secrets = stead.json(&["secret", "list"]);
    assert_eq!(secrets[0]["name"], "KEPT", "{secrets}");
    wait("the replica to be known again", || (stead.replica_pids("worker") == pids).then_some(()));
    let broken = stead.path().join("broken.db");
    fs::write(&broken, "not a database").unwrap();
    stead.stop_control();
    let refused = stead.run(&["restore", broken.to_str().unwrap()]);
    assert_ne!(refused.code, 0, "{refused}");
    start(&stead);
    assert_eq!(stead.json(&["secret", "list"])[0]["name"], "KEPT", "a bad backup replaces nothing");
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
