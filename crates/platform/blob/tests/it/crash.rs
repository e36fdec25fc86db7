//! Power cuts and faults, on the disk that forgets what was not synced.

use std::{path::Path, sync::Arc};

use blob::{Digest, Error, Result, Store};
use disk::{Disk, Kind, SimulatedDisk, simulated::Plan};

const SEEDS: u64 = 40;

fn open(disk: &SimulatedDisk) -> Result<Store> {
    Store::open(Arc::new(disk.clone()), Path::new("blobs"))
}

fn content(n: usize) -> Vec<u8> {
    format!("content of {n}").repeat(n % 3 + 1).into_bytes()
}

/// Puts `count` blobs in one batch. The first batch of a process syncs everything, so that a store
/// that is to show what a later one does is `begun`.
fn put(disk: &SimulatedDisk, count: usize) -> Result<()> {
    put_into(&open(disk)?, count)
}

fn begun(disk: &SimulatedDisk) -> Store {
    let store = open(disk).unwrap();
    store.put(&mut b"the first".as_slice()).unwrap();
    store
}

fn put_into(store: &Store, count: usize) -> Result<()> {
    let mut batch = store.batch();
    for n in 0..count {
        batch.add(&mut content(n).as_slice())?;
    }
    batch.finish()
}

/// What is wrong after a crash: a blob that is there and not whole, or one that was acknowledged
/// and is not there.
fn wrong(disk: &SimulatedDisk, acknowledged: usize) -> Option<String> {
    (0..SEEDS).find_map(|seed| {
        let after = disk.crash(seed);
        let store = open(&after).unwrap();
        for folder in after.list(Path::new("blobs/sha256")).unwrap() {
            let path = Path::new("blobs/sha256").join(&folder.name);
            for blob in after.list(&path).unwrap() {
                assert_eq!(blob.kind, Kind::File);
                let digest: Digest = format!("sha256:{}{}", folder.name, blob.name).parse().unwrap();
                if let Err(e) = store.get(&digest, 1_000) {
                    return Some(format!("seed {seed}: {e}"));
                }
            }
        }
        assert!(after.list(Path::new("blobs/new")).unwrap().is_empty(), "leftovers are swept");
        (0..acknowledged).find_map(|n| {
            let found = store.get(&Digest::of(&content(n)), 1_000);
            found.err().map(|e| format!("seed {seed}, acknowledged {n}: {e}"))
        })
    })
}

/// Stops at every step, with one sync left out, and says what was lost.
fn lost(later: bool, count: usize, skip: Option<u64>) -> Option<String> {
    let run = |stop_at_step| {
        let disk = SimulatedDisk::new();
        let store = if later { begun(&disk) } else { open(&disk).unwrap() };
        disk.plan(Plan { skip_sync: skip, stop_at_step, ..Plan::default() });
        let result = put_into(&store, count);
        (disk, result)
    };
    let (disk, whole) = run(None);
    whole.unwrap();
    if let Some(lost) = wrong(&disk, count) {
        return Some(lost);
    }
    (0..disk.counts().steps).find_map(|step| {
        let (disk, stopped) = run(Some(step));
        stopped.unwrap_err();
        wrong(&disk, 0).map(|lost| format!("stopped at step {step}, {lost}"))
    })
}

#[test]
fn what_is_there_is_whole_and_what_was_acknowledged_is_there() {
    for (later, count) in [(false, 1), (false, 20), (true, 1), (true, 3), (true, 20)] {
        assert_eq!(lost(later, count, None), None, "{count} blobs, later {later}");
    }
}

#[test]
fn leaving_out_any_one_sync_shows() {
    for (later, count) in [(false, 1), (false, 20), (true, 1), (true, 3), (true, 20)] {
        let disk = SimulatedDisk::new();
        let store = if later { begun(&disk) } else { open(&disk).unwrap() };
        disk.plan(Plan::default());
        put_into(&store, count).unwrap();
        let syncs = disk.counts().syncs;
        assert!(syncs >= 2);
        for skip in 0..syncs {
            let found = lost(later, count, Some(skip));
            assert!(found.is_some(), "{count} blobs, later {later}: sync {skip} of {syncs} is not needed");
        }
    }
}

#[test]
fn many_blobs_cost_few_syncs() {
    let disk = SimulatedDisk::new();
    let store = begun(&disk);
    disk.plan(Plan::default());
    put_into(&store, 1_000).unwrap();
    assert_eq!(disk.counts().syncs, 2);
    disk.plan(Plan::default());
    put_into(&store, 1_000).unwrap();
    assert_eq!(disk.counts().syncs, 0, "what is there already costs none");
}

#[test]
fn faults_leave_a_store_that_goes_on() {
    let disk = SimulatedDisk::new();
    open(&disk).unwrap();
    disk.plan(Plan::default());
    put(&disk, 3).unwrap();
    let counts = disk.counts();
    for step in 0..counts.steps {
        let disk = SimulatedDisk::new();
        open(&disk).unwrap();
        disk.plan(Plan { fail_at_step: Some(step), ..Plan::default() });
        // Failing to tidy up is no failure of the put.
        let first = put(&disk, 3);
        disk.plan(Plan::default());
        assert_eq!(wrong(&disk, if first.is_ok() { 3 } else { 0 }), None, "step {step}");
        put(&disk, 3).unwrap();
        assert_eq!(wrong(&disk, 3), None, "step {step}");
    }
    for room in 0..counts.bytes {
        let disk = SimulatedDisk::new();
        open(&disk).unwrap();
        disk.plan(Plan { full_after_bytes: Some(room), ..Plan::default() });
        let full = put(&disk, 3);
        assert!(matches!(full, Err(Error::Disk(disk::Error::Full { .. }))), "{room} bytes: {full:?}");
        assert!(disk.list(Path::new("blobs/new")).unwrap().is_empty(), "nothing is left behind");
    }
}

#[test]
fn a_damaged_blob_is_told_and_replaced() {
    let (store, folder) = crate::store();
    let stored = store.put(&mut b"good".as_slice()).unwrap();
    let hex = stored.digest.hex();
    let path = folder.path().join("blobs/sha256").join(&hex[..2]).join(&hex[2..]);
    std::fs::write(&path, b"evil").unwrap();
    assert_eq!(store.get(&stored.digest, 100), Err(Error::Damaged { digest: stored.digest }));
    store.put(&mut b"good".as_slice()).unwrap();
    assert_eq!(store.get(&stored.digest, 100).unwrap(), b"good");
    assert!(matches!(store.get(&stored.digest, 3), Err(Error::Limit { limit: 3, .. })));
    let absent = Digest::of(b"absent");
    assert_eq!(store.get(&absent, 100), Err(Error::Missing { digest: absent }));
    assert_eq!(store.missing(&[absent, stored.digest]).unwrap(), [absent]);
}

#[test]
fn a_reader_that_fails_keeps_nothing() {
    struct Fails(usize);
    impl std::io::Read for Fails {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| std::io::Error::other("the client went away"))?;
            into.fill(7);
            Ok(into.len())
        }
    }
    let (store, folder) = crate::store();
    let failed = store.put(&mut Fails(3));
    assert!(matches!(&failed, Err(Error::Source { why }) if why.contains("went away")), "{failed:?}");
    let new = folder.path().join("blobs/new");
    assert_eq!(std::fs::read_dir(new).unwrap().count(), 0);
}
