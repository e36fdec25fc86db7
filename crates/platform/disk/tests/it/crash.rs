//! Crashes and faults, on the disk that forgets.

use std::path::Path;

use disk::{Create, Disk, Error, SimulatedDisk, Sync, create_dirs, read, simulated::Plan, write_atomic};

/// The content of two files.
type Pair = [Option<Vec<u8>>; 2];

const SEEDS: u64 = 64;
const OLD: &[u8] = b"the old content";
const NEW: &[u8] = b"the new content, which is longer";

/// A disk with the old file, all synced.
fn begun() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    create_dirs(&disk, Path::new("dir"), 0o700).unwrap();
    write_atomic(&disk, Path::new("dir/file"), OLD, 0o600).unwrap();
    disk.plan(Plan::default());
    disk
}

fn write_new(disk: &SimulatedDisk) -> Result<(), Error> {
    write_atomic(disk, Path::new("dir/file"), NEW, 0o600)
}

/// What is wrong after a crash, if anything is.
fn wrong(disk: &SimulatedDisk, acknowledged: bool) -> Option<String> {
    (0..SEEDS).find_map(|seed| match read(&disk.crash(seed), Path::new("dir/file"), 1_000) {
        Ok(found) if found == NEW || (found == OLD && !acknowledged) => None,
        other => Some(format!("seed {seed}: {other:?}")),
    })
}

/// Stops the machine at every step of `write_new`, with `skip` of its syncs left out, and says what
/// was lost.
fn lost(skip: Option<u64>) -> Option<String> {
    let disk = begun();
    disk.plan(Plan { skip_sync: skip, ..Plan::default() });
    write_new(&disk).unwrap();
    if let Some(lost) = wrong(&disk, true) {
        return Some(lost);
    }
    (0..disk.counts().steps).find_map(|step| {
        let disk = begun();
        disk.plan(Plan { skip_sync: skip, stop_at_step: Some(step), ..Plan::default() });
        assert!(write_new(&disk).is_err());
        wrong(&disk, false).map(|lost| format!("stopped at step {step}, {lost}"))
    })
}

#[test]
fn a_whole_file_is_old_or_new_at_every_step_and_new_once_acknowledged() {
    assert_eq!(lost(None), None);
}

#[test]
fn leaving_out_any_one_sync_of_a_whole_file_shows() {
    let disk = begun();
    write_new(&disk).unwrap();
    let syncs = disk.counts().syncs;
    assert!(syncs >= 2);
    for skip in 0..syncs {
        assert!(lost(Some(skip)).is_some(), "sync {skip} of {syncs} is not needed, or not tested");
    }
}

#[test]
fn leaving_out_any_one_sync_of_folders_shows() {
    let make = |disk: &SimulatedDisk| create_dirs(disk, Path::new("a/b/c"), 0o700).unwrap();
    let disk = SimulatedDisk::new();
    make(&disk);
    let there = |disk: &SimulatedDisk| disk.stat(Path::new("a/b/c")).unwrap().is_some();
    assert!((0..SEEDS).all(|seed| there(&disk.crash(seed))));
    for skip in 0..disk.counts().syncs {
        let disk = SimulatedDisk::new();
        disk.plan(Plan { skip_sync: Some(skip), ..Plan::default() });
        make(&disk);
        assert!(!there(&disk.crash(0)), "sync {skip}");
    }
}

#[test]
fn a_failing_step_or_a_full_disk_leaves_the_old_file() {
    let disk = begun();
    write_new(&disk).unwrap();
    let steps = disk.counts().steps;
    for step in 0..steps {
        let disk = begun();
        disk.plan(Plan { fail_at_step: Some(step), ..Plan::default() });
        assert!(matches!(write_new(&disk), Err(Error::Io { .. })), "step {step}");
        assert_eq!(wrong(&disk, false), None, "step {step}");
        // And it goes on: the next try succeeds.
        write_new(&disk).unwrap();
        assert_eq!(wrong(&disk, true), None, "step {step}");
    }
    for room in 0..NEW.len() as u64 {
        let disk = begun();
        disk.plan(Plan { full_after_bytes: Some(room), ..Plan::default() });
        assert!(matches!(write_new(&disk), Err(Error::Full { .. })), "{room} bytes of room");
        assert_eq!(read(&disk, Path::new("dir/file"), 100).unwrap(), OLD);
        assert_eq!(disk.list(Path::new("dir")).unwrap().len(), 1, "no draft is left");
    }
}

#[test]
fn the_double_tears_drops_and_reorders() {
    let disk = SimulatedDisk::new();
    for name in ["a", "b"] {
        let mut sink = disk.create(Path::new(name), Create::PRIVATE).unwrap();
        sink.write_all(b"first").unwrap();
        sink.write_all(b"second").unwrap();
    }
    let found: Vec<_> = (0..SEEDS)
        .map(|seed| {
            let after = disk.crash(seed);
            ["a", "b"].map(|name| read(&after, Path::new(name), 100).ok())
        })
        .collect();
    let has = |what: &dyn Fn(&Pair) -> bool| found.iter().any(what);
    assert!(has(&|f| f[0].is_none() && f[1].is_some()), "a later name without the earlier one");
    assert!(has(&|f| f[0].as_deref() == Some(b"\0\0\0\0\0second")), "a later write without the earlier");
    assert!(has(&|f| f[0].as_ref().is_some_and(|f| f.len() > 5 && f.len() < 11)), "a torn write");
    assert_eq!(found[0], [None, None], "seed 0 loses all that was not synced");
    assert!(found[1][0].as_deref() == Some(b"firstsecond"), "seed 1 loses nothing");
    disk.sync(Sync::All).unwrap();
    assert_eq!(read(&disk.crash(0), Path::new("a"), 100).unwrap(), b"firstsecond");
}

#[test]
fn a_rename_across_folders_is_one_step() {
    for synced in ["from", "to"] {
        let disk = SimulatedDisk::new();
        create_dirs(&disk, Path::new("from"), 0o700).unwrap();
        create_dirs(&disk, Path::new("to"), 0o700).unwrap();
        write_atomic(&disk, Path::new("from/x"), b"x", 0o600).unwrap();
        disk.rename(Path::new("from/x"), Path::new("to/x")).unwrap();
        let places =
            |disk: &SimulatedDisk| ["from/x", "to/x"].map(|p| disk.stat(Path::new(p)).unwrap().is_some());
        for seed in 0..SEEDS {
            let [old, new] = places(&disk.crash(seed));
            assert!(old != new, "seed {seed}: in exactly one place");
        }
        disk.sync(Sync::Dir(Path::new(synced))).unwrap();
        assert!((0..SEEDS).all(|seed| places(&disk.crash(seed)) == [false, true]), "{synced}");
    }
}
