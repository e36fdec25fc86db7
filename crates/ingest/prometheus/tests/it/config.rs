//! Prometheus' configuration: what is read, what is let pass, what is refused and where.

use std::{fs, path::Path, time::Duration};

use prometheus::{
    config::{Auth, Config, Discovery, DnsKind, load, parse},
    exposition::negotiate::Protocol,
};
use proptest::prelude::*;

fn read(text: &str) -> Result<Config, String> {
    parse(Path::new("prometheus.yml"), text.to_owned()).map_err(|found| found.to_string())
}

#[test]
fn a_whole_file_is_read() {
    let config = read(
        r#"
global:
  scrape_interval: 15s
  external_labels: {cluster: a}
rule_files: [rules.yml]
alerting: {alertmanagers: []}
scrape_configs:
- job_name: node
  scrape_timeout: 5s
  scrape_protocols: [PrometheusProto, PrometheusText0.0.4]
  metrics_path: /m
  scheme: https
  params: {module: [a, b]}
  honor_labels: true
  basic_auth: {username: me, password: "hunter2"}
  tls_config: {insecure_skip_verify: true, ca_file: ca.pem}
  sample_limit: 100
  body_size_limit: 10MB
  static_configs:
  - targets: ["a:9100", "b:9100"]
    labels: {env: prod}
  file_sd_configs: [{files: ["targets/*.json"], refresh_interval: 1m}]
  http_sd_configs: [{url: "http://sd/targets", authorization: {credentials_file: token}}]
  dns_sd_configs: [{names: [_x._tcp.example.com]}, {names: [x], type: A, port: 80}]
  stead_sd_configs: [{}]
  relabel_configs:
  - {source_labels: [__address__], regex: "(.*):.*", target_label: host}
  - {action: labeldrop, regex: tmp_.*}
- job_name: other
  scrape_native_histograms: true
"#,
    )
    .unwrap();
    let job = &config.jobs[0];
    assert_eq!((job.interval, job.timeout), (Duration::from_secs(15), Duration::from_secs(5)));
    assert_eq!((job.limits.samples, job.limits.body_size_bytes), (100, 10 << 20));
    assert!(matches!(&job.discoveries[0], Discovery::Static(groups) if groups[0].targets.len() == 2));
    assert!(
        matches!(&job.discoveries[1], Discovery::File { files, .. } if files[0] == Path::new("targets/*.json"))
    );
    assert!(matches!(&job.discoveries[4], Discovery::Dns { kind: DnsKind::A, port: Some(80), .. }));
    assert!(matches!(&job.http.auth, Some(Auth::Basic { .. })));
    assert!(job.http.tls.insecure_skip_verify && job.honor_labels);
    assert_eq!(config.jobs[1].timeout, Duration::from_secs(10));
    assert_eq!(config.jobs[1].protocols[0], Protocol::PrometheusProto);
    let notes: Vec<String> = config.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "prometheus.yml:5:1: `rule_files` does nothing here: rules are not evaluated yet",
            "prometheus.yml:6:1: `alerting` does nothing here: alerts are not sent yet",
            "prometheus.yml:4:20: external labels are for what is sent elsewhere; samples are stored without them",
        ]
    );
    assert!(!format!("{config:?}").contains("hunter2") && !config.text.contains("hunter2"));
    assert!(config.text.contains("password: <secret>"), "{}", config.text);
}

#[test]
fn every_mistake_is_said_with_its_place() {
    for (text, wants) in [
        (
            "scrape_config: []",
            &["unknown key `scrape_config`", "prometheus.yml:1:1", "did you mean `scrape_configs`?"][..],
        ),
        (
            "scrape_configs:\n- job_nam: x",
            &["unknown key `job_nam`", ":2:3", "did you mean `job_name`?", "a job has no `job_name`"],
        ),
        ("scrape_configs:\n- {job_name: x, scrape_interval: 5}", &["`5` is no duration", ":2:34"]),
        (
            "scrape_configs:\n- {job_name: x, scrape_interval: 5s, scrape_timeout: 6s}",
            &["longer than `scrape_interval`"],
        ),
        ("scrape_configs:\n- job_name: x\n- job_name: x", &["two jobs have the name `x`", ":3:13"]),
        (
            "scrape_configs: [{job_name: x, kubernetes_sd_configs: []}]",
            &["`kubernetes_sd_configs` in `scrape_configs` is not available yet"],
        ),
        (
            "scrape_configs: [{job_name: x, relabel_configs: [{action: replac}]}]",
            &["`replac` is no `action`", "did you mean `replace`?"],
        ),
        (
            "scrape_configs: [{job_name: x, relabel_configs: [{regex: '(', target_label: a}]}]",
            &["is not a regular expression"],
        ),
        ("scrape_configs: [{job_name: x, basic_auth: {}, bearer_token: x}]", &["only one of them can hold"]),
        (
            "scrape_configs: [{job_name: x, static_configs: [{targets: ['http://a/']}]}]",
            &["is no address of a target"],
        ),
        ("scrape_configs: [{job_name: x, dns_sd_configs: [{names: [a], type: A}]}]", &["need `port`"]),
        ("scrape_configs: [{job_name: x, file_sd_configs: [{files: [a.txt]}]}]", &["ends with `.json`"]),
        ("scrape_configs: [{job_name: x, sample_limit: -1}]", &["must be a whole number"]),
        ("scrape_configs: [{job_name: x, scrape_protocols: [Text]}]", &["`Text` is no `scrape_protocols`"]),
        ("scrape_configs: [{job_name: x, http_headers: {Host: {values: [a]}}}]", &["`Host` cannot be set"]),
        ("a: b: c", &["prometheus.yml:1"]),
        ("[]", &["a configuration must be a map"]),
    ] {
        let error = read(text).unwrap_err();
        for want in wants {
            assert!(error.contains(want), "{text}\n{error}\nlacks {want}");
        }
    }
}

#[test]
fn jobs_of_other_files_are_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("jobs")).unwrap();
    fs::write(at("prometheus.yml"), "scrape_configs: [{job_name: a}]\nscrape_config_files: [jobs/*.yml]")
        .unwrap();
    fs::write(at("jobs/b.yml"), "scrape_configs: [{job_name: b}]").unwrap();
    fs::write(at("jobs/c.yml"), "scrape_configs: [{job_name: c}]").unwrap();
    let config = load(&at("prometheus.yml")).unwrap();
    let names: Vec<&str> = config.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    fs::write(at("jobs/c.yml"), "scrape_configs: [{job_name: a, x: 1}]").unwrap();
    let error = load(&at("prometheus.yml")).unwrap_err().to_string();
    assert!(error.contains("c.yml:1:32") && error.contains("two jobs have the name `a`"), "{error}");
    assert!(load(&at("absent.yml")).unwrap_err().to_string().contains("cannot be read"));
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(at in 0usize..300, letter in "\\PC", cut in 0usize..300) {
        let good = "global: {scrape_interval: 15s}\nscrape_configs:\n- job_name: x\n  basic_auth: {password: é}\n  relabel_configs: [{regex: a, target_label: b}]\n  static_configs: [{targets: [a], labels: {b: c}}]\n";
        let mut text: Vec<char> = good.chars().collect();
        let len = text.len();
        text[at % len] = letter.chars().next().unwrap();
        text.truncate(len - cut % len);
        let _ = read(&text.into_iter().collect::<String>());
    }
}
