//! Named limits that no other test hits.

use std::{fs, path::Path};

use metrics_api::METRIC_NAME;
use prometheus::{
    config::{CONFIG_FILES_MAX, JOBS_MAX, STATIC_TARGETS_MAX, groups_from_text, load, parse},
    exposition::Format,
    remote_write::{BUCKETS_MAX, SERIES_MAX, Stamp, decode},
    scrape::{DROPPED_TARGETS_MAX, METADATA_PER_TARGET_MAX, TARGETS_MAX},
};

use crate::{expositions::notes, message::Message, scrape::Bed, server::Page};

fn refused(message: &Message) -> String {
    let body = snap::raw::Encoder::new().compress_vec(&message.0).unwrap();
    decode(&body, None, Some("application/x-protobuf"), &Stamp::default()).unwrap_err().to_string()
}

#[test]
fn a_request_has_only_so_many_series_and_buckets() {
    let many = Message([0x0a, 0x00].repeat(SERIES_MAX + 1));
    assert_eq!(refused(&many), format!("the request has more than {SERIES_MAX} series"));
    let histogram = Message::default().bytes(12, &vec![0; BUCKETS_MAX + 1]);
    let series = Message::default()
        .message(1, Message::default().text(1, METRIC_NAME).text(2, "m"))
        .message(4, histogram);
    let want = format!("the request has more than {BUCKETS_MAX} buckets in a histogram");
    assert_eq!(refused(&Message::default().message(1, series)), want);
}

#[test]
fn a_scraped_histogram_has_only_so_many_buckets() {
    let histogram = Message::default().bytes(13, &vec![0; BUCKETS_MAX + 1]);
    let family =
        Message::default().text(1, "h").varint(3, 4).message(4, Message::default().message(7, histogram));
    let error = notes(Format::Protobuf, &family.delimited()).unwrap_err();
    assert_eq!(error, format!("line 1: a histogram has more than {BUCKETS_MAX} buckets"));
}

#[test]
fn a_configuration_has_only_so_many_jobs_targets_and_files() {
    let said = |text: String| parse(Path::new("p.yml"), text).unwrap_err().to_string();
    let jobs: String = (0..=JOBS_MAX).map(|at| format!("- {{job_name: j{at}}}\n")).collect();
    let want = format!("`scrape_configs` has {} entries, at most {JOBS_MAX} are read", JOBS_MAX + 1);
    assert!(said(format!("scrape_configs:\n{jobs}")).contains(&want));
    // The reader of YAML ends before the number of targets does; both say so.
    let many = "a,".repeat(STATIC_TARGETS_MAX + 1);
    assert!(groups_from_text("t.yml", format!("[{{targets: [{many}]}}]")).is_err());
    let folder = tempfile::tempdir().unwrap();
    for at in 0..=CONFIG_FILES_MAX {
        fs::write(folder.path().join(format!("{at}.yml")), "").unwrap();
    }
    fs::write(folder.path().join("p.yaml"), "scrape_config_files: ['*.yml']").unwrap();
    let error = load(&folder.path().join("p.yaml")).unwrap_err().to_string();
    assert!(error.contains(&format!("at most {CONFIG_FILES_MAX} are read")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_has_only_so_many_targets_and_shows_so_many_dropped() {
    let folder = tempfile::tempdir().unwrap();
    // Files have their own bounds, so the targets stand in several.
    for part in 0..2 {
        let address = |at: usize| format!("\"10.{part}.{}.{}:1\"", at / 250, at % 250);
        let targets: Vec<String> = (0..TARGETS_MAX / 2 + 1).map(address).collect();
        let text = format!("[{{\"targets\": [{}]}}]", targets.join(","));
        fs::write(folder.path().join(format!("{part}.json")), text).unwrap();
    }
    let files = format!("file_sd_configs: [{{files: ['{}/*.json']}}]", folder.path().display());
    let kept = Bed::new();
    kept.apply_jobs(&format!("- {{job_name: j, scrape_interval: 1d, {files}}}"));
    kept.store.until_quietly("targets", || kept.stats.dropped_targets.get() == 2).await;
    kept.store.until_quietly("tasks", || kept.scraper.targets().active.len() == TARGETS_MAX).await;
    let dropped = Bed::new();
    dropped.apply_jobs(&format!("- {{job_name: d, {files}, relabel_configs: [{{action: drop}}]}}"));
    let counts = || dropped.scraper.targets().dropped_counts;
    dropped.store.until_quietly("dropped", || counts().get("d") == Some(&(TARGETS_MAX + 2))).await;
    assert_eq!(dropped.scraper.targets().dropped.len(), DROPPED_TARGETS_MAX);
}

#[tokio::test]
async fn a_target_has_metadata_of_only_so_many_metrics() {
    let bed = Bed::new();
    let page: String = (0..METADATA_PER_TARGET_MAX + 3).map(|at| format!("# TYPE m{at} gauge\n")).collect();
    bed.server.show("/metrics", Page::text(&format!("{page}a{{b=\"c\"}} 1\n")));
    bed.apply_jobs(&format!(
        "- {{job_name: j, scrape_interval: 5s, scrape_timeout: 5s, static_configs: [{{targets: ['{}']}}]}}",
        bed.server.address
    ));
    bed.store.until("scrape", |_| bed.stats.samples.get() > 0).await;
    assert_eq!(bed.stats.dropped_metadata.get(), 3);
}
