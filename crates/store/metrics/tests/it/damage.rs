//! Bytes that changed on the disk: found, said, and contained.

use std::path::{Path, PathBuf};

use disk::{Disk, Kind, SimulatedDisk};

use crate::harness::{Content, DAY, Harness, MINUTE, NOON, batch, content_of, labels};

fn files(disk: &SimulatedDisk, dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for listed in disk.list(dir).unwrap() {
        let path = dir.join(&listed.name);
        if listed.kind == Kind::Dir { found.extend(files(disk, &path)) } else { found.push(path) }
    }
    found
}

fn flip(disk: &SimulatedDisk, path: &Path, at: usize) {
    let mut bytes = disk::read(disk, path, 1 << 30).unwrap();
    bytes[at] ^= 0x40;
    disk::write_atomic(disk, path, &bytes, 0o600).unwrap();
}

/// Two parts of two days, and a log with three batches of two series, one of them new.
async fn filled() -> Harness {
    let harness = Harness::new();
    for round in 0..3i64 {
        let samples = [(NOON - DAY + round * MINUTE, round as f64), (NOON + round, 1.0)];
        harness.write(batch(&[("up", "a", &samples), ("up", "b", &samples)])).await.unwrap();
    }
    harness.store.flush().await.unwrap();
    for round in 10..13i64 {
        harness
            .write(batch(&[("up", "a", &[(NOON + round, 1.0)]), ("new", "c", &[(NOON + round, 1.0)])]))
            .await
            .unwrap();
    }
    harness
}

/// Samples that are in neither.
fn is_within(found: &Content, whole: &Content) -> bool {
    found.iter().all(|(series, samples)| {
        whole.get(series).is_some_and(|known| samples.iter().all(|sample| known.contains(sample)))
    })
}

fn len(content: &Content) -> usize {
    content.values().map(Vec::len).sum()
}

#[tokio::test]
async fn a_flipped_bit_in_the_log_costs_one_batch_and_is_said() {
    let harness = filled().await;
    let whole = harness.content().await;
    let folder = Path::new("tenants/default/wal");
    let log = files(&harness.disk, folder);
    let length = disk::read(&harness.disk, &log[0], 1 << 20).unwrap().len();
    for at in 0..length {
        let disk = harness.disk.crash(0);
        flip(&disk, &log[0], at);
        let found = Harness::on(disk, harness.settings.clone());
        let content = found.content().await;
        assert!(is_within(&content, &whole), "byte {at}");
        // The record of the new series names it in all three batches; any other is one batch.
        let lost = len(&whole) - len(&content);
        assert!(lost <= 3, "byte {at}: {lost} samples are lost");
        // The end of the log looks like one torn by a crash, of which nothing was promised.
        let last = lost > 0 && found.store.damage().is_empty();
        assert!(!last || at > length / 2, "byte {at}: {lost} samples are lost and nothing is said");
        assert!(lost > 0 || !found.store.damage().is_empty() || at < 32, "byte {at}");
        // It is said once: what is left is in a part, and the log is left behind.
        let again = found.reopened();
        assert_eq!(again.content().await, content, "byte {at}");
        assert_eq!(again.store.damage(), Vec::<String>::new(), "byte {at}");
    }
}

#[tokio::test]
async fn a_cut_log_keeps_what_stands_before_the_cut() {
    let harness = filled().await;
    let whole = harness.content().await;
    let log = files(&harness.disk, Path::new("tenants/default/wal")).remove(0);
    let bytes = disk::read(&harness.disk, &log, 1 << 20).unwrap();
    let mut least = usize::MAX;
    for cut in (0..bytes.len()).rev() {
        let disk = harness.disk.crash(0);
        disk::write_atomic(&disk, &log, &bytes[..cut], 0o600).unwrap();
        let found = Harness::on(disk, harness.settings.clone());
        let content = found.content().await;
        assert!(is_within(&content, &whole) && len(&content) <= least, "cut at {cut}");
        least = len(&content);
        found.write(batch(&[("new", "c", &[(NOON + 99, 1.0)])])).await.unwrap();
        let before = found.content().await;
        assert_eq!(found.crashed(0).content().await, before, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_else_is_found_and_contained() {
    let harness = filled().await;
    harness.store.flush().await.unwrap();
    let whole = harness.content().await;
    for path in files(&harness.disk, Path::new("tenants")) {
        let length = disk::read(&harness.disk, &path, 1 << 30).unwrap().len();
        for at in (0..length).step_by((length / 150).max(1)) {
            let when = format!("{} byte {at}", path.display());
            let disk = harness.disk.crash(0);
            flip(&disk, &path, at);
            let found = Harness::on(disk, harness.settings.clone());
            // The first who meets damage in a part may get an error, everyone after it an answer.
            let first = content_of(&found.store, &found.tenant).await;
            let failed = first.is_err();
            let (content, warnings) = match first {
                Ok(answer) => answer,
                Err(_) => {
                    let mut answer = content_of(&found.store, &found.tenant).await;
                    while answer.is_err() {
                        answer = content_of(&found.store, &found.tenant).await;
                    }
                    answer.unwrap()
                }
            };
            assert!(is_within(&content, &whole), "{when}");
            let said = failed || !warnings.is_empty() || !found.store.damage().is_empty();
            assert!(content == whole || said, "{when}: samples are missing and nothing is said");
            // Taking in, flushing and tidying go on.
            found.write(batch(&[("up", "a", &[(NOON + 99, 1.0)])])).await.unwrap();
            found.store.flush().await.unwrap();
            while found.store.compact_once().await.unwrap_or(false) {}
            let (content, _) = content_of(&found.store, &found.tenant).await.unwrap();
            assert!(
                content[&labels("up", "a").to_string()].iter().any(|sample| sample.0 == NOON + 99),
                "{when}"
            );
        }
    }
}
