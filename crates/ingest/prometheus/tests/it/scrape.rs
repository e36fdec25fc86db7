//! The scraper against a real server: samples, markers, limits, discovery, reloads.

use std::{fs, io::Write as _, path::Path, sync::Arc};

use base::{Tenant, time::SystemClock};
use prometheus::{
    Stats,
    config::{Group, parse},
    scrape::{Health, Options, Scraper, TargetSource, Targets},
};
use tasks::Tasks;
use tokio::sync::watch;

use crate::server::{Page, Recorder, Server};

pub struct Bed {
    pub server: Server,
    pub store: Arc<Recorder>,
    pub stats: Arc<Stats>,
    pub scraper: Scraper,
}

impl Bed {
    pub fn new() -> Self {
        Self::with_services(None)
    }

    fn with_services(services: Option<Arc<dyn TargetSource>>) -> Self {
        let (store, stats) = (Arc::<Recorder>::default(), Arc::<Stats>::default());
        let scraper = Scraper::new(Options {
            tenant: Tenant::default(),
            writer: Arc::<Recorder>::clone(&store),
            tasks: Tasks::new(tasks::Limits::default()),
            clock: SystemClock::shared(),
            stats: Arc::clone(&stats),
            services,
        });
        Self { server: Server::start(), store, stats, scraper }
    }

    /// A job `j` with the server as its target and these settings.
    fn apply(&self, settings: &str) {
        let targets =
            format!("static_configs: [{{targets: ['{}'], labels: {{instance: i}}}}]", self.server.address);
        self.apply_jobs(&format!(
            "- {{job_name: j, {targets}{}{settings}}}",
            if settings.is_empty() { "" } else { ", " }
        ));
    }

    pub fn apply_jobs(&self, jobs: &str) {
        let text =
            format!("global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\nscrape_configs:\n{jobs}\n");
        let config = parse(Path::new("/prometheus.yml"), text).unwrap_or_else(|error| panic!("{error}"));
        self.scraper.apply(&config).unwrap();
    }

    /// The one target, once its last error has these words.
    pub async fn until_error(&self, words: &str) -> Targets {
        let holds = |_: &Recorder| {
            let targets = self.scraper.targets();
            targets.active.iter().any(|target| target.last_error.contains(words))
        };
        self.store.until(words, holds).await;
        self.scraper.targets()
    }
}

fn j(name: &str, labels: &str) -> String {
    let own = r#"instance="i", job="j""#;
    if labels.is_empty() { format!("{name}{{{own}}}") } else { format!("{name}{{{labels}, {own}}}") }
}

#[tokio::test]
async fn samples_get_the_labels_of_their_target_and_a_report() {
    let bed = Bed::new();
    bed.server.show(
        "/metrics",
        Page::text("# HELP a help\n# TYPE a gauge\na{job=\"own\",x=\"1\"} 5\nb 6 123000\nc 7\nc 8\n"),
    );
    bed.apply("");
    bed.store.until_value(r#"a{exported_job="own", instance="i", job="j", x="1"}"#, "5").await;
    bed.store.until_value(&j("scrape_samples_scraped", ""), "4").await;
    let b = j("b", "");
    assert_eq!((bed.store.values(&b)[0].as_str(), bed.store.values(&j("c", ""))[0].as_str()), ("6", "7"));
    assert_eq!(bed.store.times(&b)[0], 123_000);
    assert_eq!(bed.store.values(&j("up", ""))[0], "1");
    assert_eq!(bed.store.values(&j("scrape_series_added", ""))[0], "3");
    assert_eq!(bed.store.values(&j("scrape_samples_post_metric_relabeling", ""))[0], "3");
    assert!(bed.stats.dropped_repeated.get() > 0);
    let batches = bed.store.batches.lock().unwrap();
    assert_eq!((batches[0].metadata[0].0.as_str(), batches[0].metadata[0].1.help.as_str()), ("a", "help"));
    drop(batches);
    let targets = bed.scraper.targets();
    assert_eq!((targets.active[0].health, targets.active[0].last_error.as_str()), (Health::Up, ""));
    let shown = serde_json::to_value(&targets).unwrap();
    assert_eq!(shown["activeTargets"][0]["scrapePool"], "j");
    assert_eq!(shown["activeTargets"][0]["discoveredLabels"]["__address__"], bed.server.address);
    let asked = bed.server.asked("/metrics");
    assert!(asked.contains("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8"), "{asked}");
    assert!(asked.contains("x-prometheus-scrape-timeout-seconds: 0.25"), "{asked}");
}

#[tokio::test]
async fn what_is_gone_gets_a_marker_once() {
    let bed = Bed::new();
    bed.server.show("/metrics", Page::text("a 1\nb 1\n"));
    bed.apply("");
    bed.store.until_value(&j("b", ""), "1").await;
    bed.server.show("/metrics", Page::text("a 2\n"));
    bed.store.until_value(&j("b", ""), "stale").await;
    bed.store.until_value(&j("a", ""), "2").await;
    bed.server.show("/metrics", Page::status(500, ""));
    bed.store.until_value(&j("a", ""), "stale").await;
    let targets = bed.until_error("server returned HTTP status 500").await;
    assert_eq!(targets.active[0].health, Health::Down);
    bed.server.show("/metrics", Page::text("a 3\nbroken\n"));
    bed.until_error("line 2: the value is missing").await;
    bed.server.show("/metrics", Page::text("a 4\n"));
    bed.store.until_value(&j("a", ""), "4").await;
    assert!(!bed.store.values(&j("a", "")).contains(&"3".to_owned()), "a scrape is kept whole or not at all");
    bed.apply_jobs("");
    bed.store.until_value(&j("up", ""), "stale").await;
    let stale =
        |series: &str| bed.store.values(&j(series, "")).iter().filter(|value| *value == "stale").count();
    assert_eq!((stale("a"), stale("b"), stale("up")), (2, 1, 1));
    assert!(bed.scraper.targets().active.is_empty());
}

#[tokio::test]
async fn every_limit_fails_the_scrape_and_says_so() {
    for (settings, page, want) in [
        ("sample_limit: 1", "a 1\nb 1\n", "sample limit exceeded"),
        ("label_limit: 2", "a{x=\"1\",y=\"2\"} 1\n", "label_limit exceeded"),
        ("label_name_length_limit: 8", "a{long_long=\"1\"} 1\n", "label_name_length_limit exceeded"),
        ("label_value_length_limit: 3", "a{x=\"1234\"} 1\n", "label_value_length_limit exceeded"),
        ("body_size_limit: 9B", "abcdefg 1\n", "body size limit exceeded"),
        ("target_limit: 1, http_sd_configs: [{url: 'http://SERVER/sd'}]", "a 1\n", "target_limit exceeded"),
    ] {
        let bed = Bed::new();
        bed.server.show("/metrics", Page::text(page));
        bed.server.show("/sd", Page::of("application/json", r#"[{"targets": ["other:1"]}]"#));
        bed.apply(&settings.replace("SERVER", &bed.server.address));
        bed.until_error(want).await;
        bed.store.until_value(&j("up", ""), "0").await;
        if !want.starts_with("target") {
            assert!(bed.store.values(&j("a", "")).is_empty(), "{settings}");
        }
    }
}

#[tokio::test]
async fn settings_of_a_job_are_obeyed() {
    let bed = Bed::new();
    bed.server.show("/from", Page::status(302, "Location: /to\r\n"));
    let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zip.write_all(b"# TYPE c counter\nc_total{job=\"own\"} 5 123 # {trace_id=\"t\"} 1\n# EOF\n").unwrap();
    let mut page = Page::of("application/openmetrics-text; version=1.0.0", zip.finish().unwrap());
    page.headers.push_str("Content-Encoding: gzip\r\n");
    bed.server.show("/to", page);
    bed.apply("metrics_path: /from, honor_labels: true, honor_timestamps: false, basic_auth: {username: me, password: pw}, http_headers: {X-Org: {values: [a], secrets: [b]}}");
    let series = r#"c_total{instance="i", job="own"}"#;
    bed.store.until_value(series, "5").await;
    assert!(bed.store.times(series)[0] > 1_000_000_000_000, "not the time that was sent");
    let asked = bed.server.asked("/to");
    for header in ["authorization: Basic bWU6cHc=", "x-org: a", "x-org: b"] {
        assert!(asked.contains(header), "{asked}");
    }
    let exemplar = {
        let batches = bed.store.batches.lock().unwrap();
        let row = batches[0].rows().next().unwrap();
        row.exemplars[0].labels.to_string()
    };
    assert_eq!(exemplar, r#"{trace_id="t"}"#);
    let other = Bed::new();
    other.server.show("/metrics", Page::status(302, "Location: /metrics\r\n"));
    other.apply("");
    other.until_error("more than 10 redirects").await;
    other.apply("follow_redirects: false");
    other.until_error("HTTP status 302").await;
    other.server.show("/metrics", Page::of("text/html", "x"));
    other.until_error("is no format of metrics").await;
    other.apply("scheme: https, tls_config: {insecure_skip_verify: true}");
    other.until_error("TLS").await;
}

#[tokio::test]
async fn a_reload_ends_only_what_the_new_rules_drop() {
    let bed = Bed::new();
    bed.server.show("/metrics", Page::text("a 1\nb 1\n"));
    bed.apply("");
    bed.store.until_value(&j("b", ""), "1").await;
    bed.apply("metric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]");
    bed.store.until_value(&j("b", ""), "stale").await;
    bed.store.until_value(&j("scrape_samples_post_metric_relabeling", ""), "1").await;
    let a = bed.store.values(&j("a", ""));
    assert!(a.iter().all(|value| value == "1"), "{a:?}");
    assert!(bed.stats.dropped_by_relabelling.get() > 0);
}

#[tokio::test]
async fn classic_histograms_are_converted_where_a_job_says_so() {
    let bed = Bed::new();
    let page = |more: &str| {
        Page::text(&format!(
            "# TYPE h histogram\nh_bucket{{le=\"1\"}} 2\nh_bucket{{le=\"+Inf\"}} 5\nh_sum 7\nh_count 5\n# TYPE g gauge\ng_count 1\n{more}"
        ))
    };
    bed.server.show("/metrics", page(""));
    bed.apply("convert_classic_histograms_to_nhcb: true");
    bed.store.until_value(&j("h", ""), "h5").await;
    bed.store.until_value(&j("g_count", ""), "1").await;
    assert!(bed.store.values(&j("h_count", "")).is_empty());
    bed.apply("convert_classic_histograms_to_nhcb: true, always_scrape_classic_histograms: true");
    bed.store.until_value(&j("h_count", ""), "5").await;
    bed.server.show("/metrics", Page::text("g_count 2\n"));
    bed.store.until_value(&j("h", ""), "stale").await;
    bed.store.until_value(&j("h_sum", ""), "stale").await;
    bed.server.show("/metrics", page("# TYPE h histogram\nh_bucket{le=\"0.5\"} 9\n"));
    bed.store.until("count", |_| bed.stats.dropped_histogram.get() > 0).await;
}

#[derive(Debug)]
struct Services(watch::Sender<Arc<[Group]>>);

impl TargetSource for Services {
    fn watch(&self) -> watch::Receiver<Arc<[Group]>> {
        self.0.subscribe()
    }
}

#[tokio::test]
async fn targets_come_from_files_servers_and_services() {
    let services = Arc::new(Services(watch::channel(Arc::from([])).0));
    let bed = Bed::with_services(Some(Arc::<Services>::clone(&services)));
    bed.server.show("/metrics", Page::text("a 1\n"));
    let address = &bed.server.address;
    bed.server.show(
        "/sd",
        Page::of(
            "application/json",
            format!(r#"[{{"targets": ["{address}"], "labels": {{"instance": "http"}}}}]"#),
        ),
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.yml");
    fs::write(&file, format!("- targets: ['{address}']\n  labels: {{instance: file}}\n")).unwrap();
    let port = address.rsplit(':').next().unwrap();
    bed.apply_jobs(&format!(
        "- {{job_name: f, file_sd_configs: [{{files: ['{}/*.yml'], refresh_interval: 50ms}}]}}\n\
         - {{job_name: h, http_sd_configs: [{{url: 'http://{address}/sd', refresh_interval: 50ms}}]}}\n\
         - {{job_name: n, dns_sd_configs: [{{names: [localhost], type: A, port: {port}}}]}}\n\
         - {{job_name: s, stead_sd_configs: [{{}}], relabel_configs: [{{source_labels: [__meta_stead_service], target_label: instance}}, {{source_labels: [__meta_stead_service], regex: no, action: drop}}]}}",
        folder.path().display()
    ));
    bed.store.until_value(r#"a{instance="file", job="f"}"#, "1").await;
    bed.store.until_value(r#"a{instance="http", job="h"}"#, "1").await;
    bed.store.until_value(&format!("a{{instance=\"{address}\", job=\"n\"}}"), "1").await;
    let group = |service: &str| Group {
        source: service.to_owned(),
        targets: vec![[("__address__".to_owned(), address.clone())].into()],
        labels: [("__meta_stead_service".to_owned(), service.to_owned())].into(),
    };
    services.0.send_replace(Arc::from([group("shop"), group("no")]));
    bed.store.until_value(r#"a{instance="shop", job="s"}"#, "1").await;
    let targets = bed.scraper.targets();
    assert_eq!(targets.dropped_counts["s"], 1);
    assert_eq!(targets.dropped[0].discovered_labels["__meta_stead_service"], "no");
    // A file that cannot be read leaves the targets; one that names others replaces them.
    fs::write(&file, "- targets: 5").unwrap();
    let before = bed.store.values(r#"a{instance="file", job="f"}"#).len();
    bed.store.until("more", |all| all.values(r#"a{instance="file", job="f"}"#).len() > before + 3).await;
    fs::write(&file, format!("- targets: ['{address}']\n  labels: {{instance: other}}\n")).unwrap();
    bed.store.until_value(r#"a{instance="other", job="f"}"#, "1").await;
    bed.store.until_value(r#"a{instance="file", job="f"}"#, "stale").await;
    services.0.send_replace(Arc::from([]));
    bed.store.until_value(r#"a{instance="shop", job="s"}"#, "stale").await;
    assert!(bed.store.names().iter().all(|name| !name.contains("instance=\"no\"")));
}
