//! Metrics from outside: what is there without set-up, and Prometheus itself as client.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{
    installation::{Stead, wait},
    load::Load,
    workload::{self, APP},
};

fn app(stead: &Stead) -> Value {
    let file = workload::service("web", 1, "");
    let project = stead.project("app", &[("stead.yaml", &file), ("app.py", APP), ("content.txt", "hello")]);
    stead.up(&project)
}

/// The newest values of an expression, as text; empty while there are none.
fn ask(stead: &Stead, expression: &str) -> Vec<String> {
    let answer = stead.json(&["metrics", "query", expression, "--since", "0"]);
    let rows = answer["result"].as_array().cloned().unwrap_or_default();
    rows.iter().map(|row| row["value"][1].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn what_runs_is_measured_without_set_up_and_kept_through_a_kill() {
    if !workload::python("metrics::own") {
        return;
    }
    let stead = Stead::new();
    let gateway = app(&stead)["gateway"].as_str().unwrap().to_owned();
    let load = Load::start(&gateway, "/", 2);
    load.more(50);
    let requests = "sum by (service) (stead_gateway_requests_total{service=\"web\",code=\"2xx\"}) > 0";
    wait("requests of the gateway", || (!ask(&stead, requests).is_empty()).then_some(()));
    wait("memory of the replica", || {
        (!ask(&stead, "stead_replica_memory_bytes{service=\"web\"} > 0").is_empty()).then_some(())
    });
    assert_eq!(ask(&stead, "count(node_load1)"), ["1"]);
    load.end_without_failure();

    let counted: u64 = ask(&stead, "sum(count_over_time(node_load1[1h]))")[0].parse().unwrap();
    let control = stead.role("serve").unwrap();
    stead.kill(control);
    wait("another control", || stead.role("serve").filter(|pid| *pid != control));
    wait("control to answer", || stead.answers().then_some(()));
    let after: u64 = ask(&stead, "sum(count_over_time(node_load1[1h]))")[0].parse().unwrap();
    assert!(after >= counted, "{after} of {counted} samples are left");
}

/// Ends Prometheus with the test.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn prometheus(folder: &Path, stead: &str, token: &str) -> (Prometheus, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let config = format!(
        "global: {{scrape_interval: 1s, external_labels: {{origin: prometheus}}}}\n\
         scrape_configs:\n\
         - job_name: stead\n  metrics_path: /metrics\n  basic_auth: {{username: any, password: {token}}}\n  \
         static_configs: [{{targets: ['{stead}']}}]\n\
         remote_write:\n\
         - url: http://{stead}/prometheus/api/v1/write\n  basic_auth: {{username: any, password: {token}}}\n  \
         queue_config: {{batch_send_deadline: 500ms}}\n"
    );
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("prometheus.yml"), config).unwrap();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("log")).unwrap())
        .spawn()
        .unwrap();
    (Prometheus(child), address)
}

#[test]
fn prometheus_scrapes_stead_and_writes_to_it_and_promtool_queries_it() {
    if !workload::python("metrics::prometheus") {
        return;
    }
    if Command::new("prometheus").arg("--version").output().is_err() {
        println!("SKIP metrics::prometheus: prometheus is missing (Debian package prometheus)");
        return;
    }
    let stead = Stead::new();
    let api = app(&stead)["api"].as_str().unwrap().to_owned();
    let authority = api.split("://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let token = fs::read_to_string(stead.data().join("token")).unwrap().trim().to_owned();
    let (_running, address) = prometheus(&stead.path().join("prom"), &authority, &token);

    // What Prometheus scraped from us came back by remote write, with its own labels.
    let written = "up{job=\"stead\",origin=\"prometheus\"} == 1";
    wait("samples of Prometheus", || (!ask(&stead, written).is_empty()).then_some(()));
    assert!(!ask(&stead, "stead_metrics_samples_in_total{origin=\"prometheus\"} > 0").is_empty());

    // And Stead scrapes Prometheus, told so by Prometheus' own kind of file.
    let file = format!(
        "scrape_configs: [{{job_name: peer, scrape_interval: 1s, static_configs: [{{targets: ['{address}']}}]}}]\n"
    );
    fs::write(stead.data().join("prometheus.yml"), "scrape_configs: [{job: peer}]\n").unwrap();
    let refused = stead.run(&["metrics", "reload"]);
    assert!(refused.code != 0 && refused.err.contains("prometheus.yml:1:"), "{refused}");
    fs::write(stead.data().join("prometheus.yml"), file).unwrap();
    stead.ok(&["metrics", "reload"]);
    wait("our scrape of Prometheus", || {
        (!ask(&stead, "prometheus_build_info{job=\"peer\"}").is_empty()).then_some(())
    });
    assert!(stead.ok(&["metrics", "targets"]).contains("up "), "{}", stead.ok(&["metrics", "targets"]));

    let url = format!("http://any:{token}@{authority}/prometheus");
    for args in [
        vec!["query", "instant", &url, "count(up)"],
        vec!["query", "labels", &url, "job"],
        vec!["query", "series", "--match", "up", &url],
    ] {
        let done = Command::new("promtool").args(&args).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && !said.trim().is_empty(), "promtool {args:?}: {done:?}");
    }
}
