use base::{Clock, time::SystemClock};

use crate::*;

/// Bytes of a flood; STEAD_SOAK=8 makes it a whole gigabyte.
fn flood_bytes() -> u64 {
    let soak = std::env::var("STEAD_SOAK").ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(1);
    (128 << 20) * soak.clamp(1, 64)
}

fn resident(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn used(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

#[tokio::test]
async fn a_flood_fills_neither_memory_nor_disk() {
    let bench = Bench::new();
    let line = "x".repeat(120);
    let mut spec = shell(&format!("yes {line} | head -c {}; echo; echo done", flood_bytes()));
    spec.log = LogBounds { segment_bytes_max: 1 << 20, segments_max: 3, line_bytes_max: 4096 };
    let id = bench.start(spec).await;
    let path = bench.path(&id);
    let shim = shim_pid(&path);
    let (mut most_memory, mut most_disk) = (0, 0);
    let mut changes = bench.driver.changed();
    loop {
        most_memory = most_memory.max(resident(shim));
        most_disk = most_disk.max(used(&path.join("log")));
        let seen = bench.wait(&id, "there", |_| true).await;
        if !running(&seen) {
            break;
        }
        let _ = tokio::time::timeout(Duration::from_millis(5), changes.next()).await;
    }
    assert_eq!(bench.exit(&id).await.code, Some(0));
    assert_eq!(bench.lines(&id).await.last().unwrap().text, "done", "the workload was not blocked");
    assert!(most_disk <= 3 << 20, "{most_disk} bytes on disk");
    assert!(most_memory > 0 && most_memory < 8 << 20, "{most_memory} bytes in memory");
    println!("flood of {} MiB: shim {} KiB at most", flood_bytes() >> 20, most_memory >> 10);
}

#[tokio::test]
async fn a_flood_without_any_line_end_is_cut() {
    let bench = Bench::new();
    let mut spec = shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/urandom >&2");
    spec.log.line_bytes_max = 1000;
    let (exit, lines) = bench.run(spec).await;
    assert_eq!(exit.code, Some(0));
    let zeros: usize = lines.iter().filter(|l| !l.stderr).map(|l| l.text.matches('\0').count()).sum();
    assert_eq!(zeros, 3_000_000);
    assert!(lines.iter().all(|line| line.text.len() <= 3 * 1000 + 3));
}

#[tokio::test]
async fn text_without_an_end_shows_after_a_pause() {
    let bench = Bench::new();
    let id = bench.start(shell("printf 'password: '; exec sleep 1000")).await;
    assert_eq!(bench.line(&id, "password").await, "password: …");
    bench.driver.stop(id).await.unwrap();
}

#[tokio::test]
async fn lines_are_chosen_by_tail_time_and_text() {
    let bench = Bench::new();
    let before = SystemClock::new().now();
    let id = bench.start(shell("for i in $(seq 100); do echo Line $i; done")).await;
    bench.exit(&id).await;
    let get = |query: LogQuery| async { bench.driver.logs(query).await.unwrap().collect::<Vec<_>>().await };
    let last = get(LogQuery { tail: 2, ..query(&id) }).await;
    assert_eq!(last.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(), ["Line 99", "Line 100"]);
    let with = get(LogQuery { contains: Some("LINE 7".into()), ..query(&id) }).await;
    assert_eq!(with.len(), 11);
    assert_eq!(get(LogQuery { since: Some(before), ..query(&id) }).await.len(), 100);
    let after = SystemClock::new().now().plus(Duration::from_secs(1));
    assert!(get(LogQuery { since: Some(after), ..query(&id) }).await.is_empty());
    assert!(get(LogQuery { tail: 0, ..query(&id) }).await.is_empty());
    let nobody = query(&ReplicaId::new());
    assert!(matches!(bench.driver.logs(nobody).await, Err(runtime_api::Error::NotFound(_))));
}

#[tokio::test]
async fn following_gives_every_line_and_ends_with_the_replica() {
    let bench = Bench::new();
    let mut spec = shell("for i in $(seq 5000); do echo line $i; done");
    spec.log.segment_bytes_max = 50_000;
    spec.log.segments_max = 100;
    spec.log.line_bytes_max = 64;
    let id = bench.start(spec).await;
    let follow = LogQuery { follow: true, ..query(&id) };
    let lines = bench.driver.logs(follow).await.unwrap().collect::<Vec<_>>();
    let lines = tokio::time::timeout(DEADLINE, lines).await.unwrap();
    assert_eq!(lines.len(), 5000);
    assert!(lines.iter().enumerate().all(|(n, line)| line.text == format!("line {}", n + 1)));
}
