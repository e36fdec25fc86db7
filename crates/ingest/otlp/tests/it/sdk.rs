//! The OpenTelemetry SDKs for Python and JavaScript, as they are published, against a real socket.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::process::Command;

use crate::world::World;

/// For one run of an SDK.
const RUN_MAX: Duration = Duration::from_secs(60);

fn scripts() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/foreign/otlp"))
}

/// Where the SDK is installed; none, with a word about it, when its registry is out of reach.
async fn installed(language: &str) -> Option<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("otlp-sdk-{language}"));
    let done =
        Command::new("sh").arg(scripts().join("install.sh")).arg(language).arg(&dir).output().await.unwrap();
    if !done.status.success() {
        println!("SKIP sdk::{language}: it cannot be installed: {}", String::from_utf8_lossy(&done.stderr));
        return None;
    }
    Some(dir)
}

/// Serves a receiver and runs the SDK on it with each way of sending; what was stored is the same.
async fn check(mut command: impl FnMut(&str) -> Command, ways: &[(&str, &str)], job: &str) {
    for (way, path) in ways {
        for (temporality, compression) in [("cumulative", "gzip"), ("delta", "none")] {
            let world = World::plain();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = format!("http://{}{path}", listener.local_addr().unwrap());
            let router = world.router();
            let server = tokio::spawn(async move { axum::serve(listener, router).await });
            let mut run = command(way);
            run.args([way, endpoint.as_str(), temporality, compression])
                .stdin(Stdio::null())
                .kill_on_drop(true);
            let done = tokio::time::timeout(RUN_MAX, run.output()).await.expect("the SDK ends").unwrap();
            server.abort();
            let said =
                format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            assert!(done.status.success(), "{way} {temporality} {compression}: {said}");
            let stored = world.stored().await;
            let place = format!("{way} {temporality} {compression}: {said}{stored:#?}");
            let has = |series: &str, value: &str| {
                let series = series.replace("JOB", job);
                stored.iter().any(|line| {
                    line.strip_prefix(series.as_str())
                        .is_some_and(|rest| rest.starts_with(&format!(" {value} @")))
                })
            };
            let identity = "instance=\"1\", job=\"JOB\"";
            for total in ["3", "7"] {
                let hits = format!("hits_total{{\"http.method\"=\"GET\", {identity}}}");
                assert!(has(&hits, total), "hits {total}: {place}");
            }
            assert!(has(&format!("open{{{identity}}}"), "2"), "open: {place}");
            assert!(has(&format!("load{{{identity}}}"), "0.5"), "load: {place}");
            assert!(has(&format!("took_seconds_count{{{identity}}}"), "1"), "took: {place}");
            assert!(has(&format!("took_seconds_sum{{{identity}}}"), "0.3"), "took: {place}");
            let native = format!("exact_seconds{{{identity}}} {{schema:").replace("JOB", job);
            assert!(
                stored.iter().any(|line| line.starts_with(&native) && line.contains("count:1 sum:0.3")),
                "{place}"
            );
            assert!(stored.iter().any(|line| line.starts_with("target_info{")), "{place}");
        }
    }
}

#[tokio::test]
async fn python() {
    let Some(dir) = installed("python").await else { return };
    let command = |_: &str| {
        let mut command = Command::new(dir.join("venv/bin/python"));
        command.arg(scripts().join("sdk.py"));
        command
    };
    check(command, &[("http", "/v1/metrics"), ("grpc", "")], "shop/sdk-python").await;
}

#[tokio::test]
async fn javascript() {
    let Some(dir) = installed("js").await else { return };
    // Modules are looked for beside the script.
    std::fs::copy(scripts().join("sdk.mjs"), dir.join("sdk.mjs")).unwrap();
    let command = |_: &str| {
        let mut command = Command::new("node");
        command.arg(dir.join("sdk.mjs"));
        command
    };
    let ways = [("proto", "/v1/metrics"), ("json", "/otlp/v1/metrics"), ("grpc", "")];
    check(command, &ways, "shop/sdk-js").await;
}
