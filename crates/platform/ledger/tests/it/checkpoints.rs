//! Keys, signatures and the log of checkpoints.

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use base::{Tenant, Timestamp};
use disk::{SimulatedDisk, simulated::Plan};
use ledger::{
    Error, Head,
    checkpoint::{Checkpoint, Keys, LOG_BYTES_MAX, Log, Signer},
    verify::{Finding, Tail, verify},
};

use crate::chain;

fn signer() -> (Signer, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Signer::load_or_create(&folder.path().join("ledger.key")).unwrap(), folder)
}

fn sign(signer: &Signer, seq: u64) -> Checkpoint {
    signer.sign(&Tenant::default(), Head { seq, hash: [seq as u8; 32] }, Timestamp::from_millis(1))
}

#[test]
fn a_key_stays_and_is_private() {
    let (first, folder) = signer();
    let path = folder.path().join("ledger.key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Signer::load_or_create(&path).unwrap().public_key(), first.public_key());
    assert!(!format!("{first:?}").contains(&first.public_key()[..20]));
    for bad in ["", "stead-ledger-key-v1\nshort\n", "stead-ledger-key-v2\n"] {
        std::fs::write(&path, bad).unwrap();
        assert!(matches!(Signer::load_or_create(&path), Err(Error::Key { .. })), "{bad:?}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Signer::load_or_create(&path), Err(Error::Key { .. })));
}

#[test]
fn every_field_is_signed() {
    let (signer, _folder) = signer();
    let keys = Keys::from(&signer);
    let whole = sign(&signer, 5);
    assert_eq!(whole.check(&keys), Ok(()));
    let changes: [fn(&mut Checkpoint); 7] = [
        |c| c.version = 2,
        |c| c.tenant = Tenant::parse("other").unwrap(),
        |c| c.seq += 1,
        |c| c.hash = "0".repeat(64),
        |c| c.at = Timestamp::from_millis(2),
        |c| c.key_id = "0".repeat(16),
        |c| c.signature = "0".repeat(128),
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut changed = whole.clone();
        change(&mut changed);
        assert!(changed.check(&keys).is_err(), "change {at}");
    }
    let mut published = Keys::default();
    assert!(whole.check(&published).is_err());
    published.add(&signer.public_key()).unwrap();
    assert_eq!(whole.check(&published), Ok(()));
    assert!(published.add("nonsense").is_err());
}

#[test]
fn a_forged_or_foreign_checkpoint_proves_nothing_and_is_told() {
    let entries = chain(5);
    let (ours, _one) = signer();
    let (theirs, _two) = signer();
    let forged = sign(&theirs, 5);
    let verdict = verify(Tenant::default(), &entries, &[forged], &Keys::from(&ours));
    assert!(matches!(&verdict.findings[..], [Finding::Checkpoint { seq: 5, .. }]));
    assert_eq!(verdict.tail, Tail::NotProvable);
    let other =
        ours.sign(&Tenant::parse("other").unwrap(), Head { seq: 99, hash: [0; 32] }, Timestamp::default());
    assert!(verify(Tenant::default(), &entries, &[other], &Keys::from(&ours)).intact(), "another tenant's");
    let head = Head::at(&entries[4]).unwrap();
    let good = ours.sign(&Tenant::default(), head, Timestamp::default());
    let lie = ours.sign(&Tenant::default(), Head { hash: [9; 32], ..head }, Timestamp::default());
    let verdict = verify(Tenant::default(), &entries, &[good, lie], &Keys::from(&ours));
    assert!(matches!(&verdict.findings[..], [Finding::Checkpoint { seq: 5, .. }]), "{:?}", verdict.findings);
}

#[test]
fn the_log_gives_back_what_it_took() {
    let (signer, _folder) = signer();
    let log = Log::new(Arc::new(SimulatedDisk::new()), Path::new("checkpoints.jsonl"));
    assert_eq!(log.read().unwrap(), ledger::checkpoint::Found::default());
    let all: Vec<_> = (1..=3).map(|seq| sign(&signer, seq)).collect();
    for checkpoint in &all {
        log.append(checkpoint).unwrap();
    }
    let found = log.read().unwrap();
    assert_eq!((found.checkpoints, found.unreadable_lines), (all, vec![]));
}

#[test]
fn the_frozen_checkpoint_still_checks() {
    let line = include_str!("frozen-checkpoint-1.json");
    let checkpoint: Checkpoint = serde_json::from_str(line).unwrap();
    let mut keys = Keys::default();
    keys.add("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
    assert_eq!(checkpoint.check(&keys), Ok(()));
}

#[test]
fn acknowledged_checkpoints_survive_a_crash_at_any_step() {
    let (signer, _folder) = signer();
    let run = |skip_sync, stop_at_step| {
        let disk = SimulatedDisk::new();
        let log = Log::new(Arc::new(disk.clone()), Path::new("log"));
        let first = log.append(&sign(&signer, 1));
        disk.plan(Plan { skip_sync, stop_at_step, ..Plan::default() });
        let second = log.append(&sign(&signer, 2));
        assert!(first.is_ok());
        (disk, if second.is_ok() { 2 } else { 1 })
    };
    let lost = |disk: &SimulatedDisk, acknowledged: usize| {
        (0..32).any(|seed| {
            let log = Log::new(Arc::new(disk.crash(seed)), Path::new("log"));
            let found = log.read().unwrap();
            // A cut line is told, and the next append goes on behind it.
            log.append(&sign(&signer, 3)).unwrap();
            let after = log.read().unwrap();
            assert_eq!(after.checkpoints.last().unwrap().seq, 3);
            assert_eq!(after.unreadable_lines, found.unreadable_lines);
            found.checkpoints.len() < acknowledged
        })
    };
    let (disk, acknowledged) = run(None, None);
    assert!(!lost(&disk, acknowledged));
    for step in 0..disk.counts().steps {
        let (disk, acknowledged) = run(None, Some(step));
        assert!(!lost(&disk, acknowledged), "stopped at step {step}");
    }
    let (disk, acknowledged) = run(Some(0), None);
    assert!(lost(&disk, acknowledged), "without the sync of the content it shows");
    // The sync of the name is needed for the first one.
    let disk = SimulatedDisk::new();
    disk.plan(Plan { skip_sync: Some(1), ..Plan::default() });
    Log::new(Arc::new(disk.clone()), Path::new("log")).append(&sign(&signer, 1)).unwrap();
    assert!(lost(&disk, 1));
}

#[test]
fn a_log_at_its_limit_refuses() {
    let (signer, folder) = signer();
    let disk = Arc::new(disk::RealDisk::open(folder.path()).unwrap());
    let file = std::fs::File::create(folder.path().join("log")).unwrap();
    file.set_len(LOG_BYTES_MAX - 10).unwrap();
    let Err(Error::Log { why }) = Log::new(disk, Path::new("log")).append(&sign(&signer, 1)) else {
        panic!("it grew over its limit")
    };
    assert!(why.contains("limit"), "{why}");
}
