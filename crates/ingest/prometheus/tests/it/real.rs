//! Prometheus itself as the client: it scrapes what we show, writes it to our receiver, and is
//! scraped by us.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use base::Scope;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use prometheus::{Stats, remote_write::Receiver};
use tasks::{Kind, Tasks};

use crate::{
    message::Message,
    scrape::Bed,
    server::{Page, Recorder, Server},
};

const NAME: &str = "prometheus_itself_writes_and_is_scraped";

/// Ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> Option<String> {
    let named = std::env::var("STEAD_PROMETHEUS").ok();
    let program = named.unwrap_or_else(|| "prometheus".to_owned());
    let runs = Command::new(&program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    runs.is_ok_and(|status| status.success()).then_some(program)
}

/// The receiver on a port of its own.
async fn receive(receiver: Receiver, tasks: &Tasks) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let spawner = tasks.clone();
    let accept = move |_| async move {
        while let Ok((stream, _)) = listener.accept().await {
            let receiver = receiver.clone();
            let serve = move |_| async move {
                let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
                    request.extensions_mut().insert(Scope::default());
                    let receiver = receiver.clone();
                    async move { Ok::<_, std::convert::Infallible>(receiver.serve(request).await) }
                });
                drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            };
            drop(spawner.spawn_once(Kind::AUXILIARY, "test.connection", serve));
        }
    };
    tasks.spawn_once(Kind::AUXILIARY, "test.listener", accept).unwrap();
    address
}

fn page(with_histogram: bool) -> Page {
    let exemplar =
        Message::default().message(1, Message::default().text(1, "trace_id").text(2, "t1")).double(2, 0.5);
    let counter = Message::default()
        .text(1, "c_total")
        .text(2, "counts")
        .varint(3, 0)
        .message(4, Message::default().message(3, Message::default().double(1, 3.0).message(2, exemplar)));
    let histogram = Message::default()
        .varint(1, 6)
        .double(2, 2.5)
        .sint(5, 2)
        .double(6, 0.1)
        .varint(7, 1)
        .message(12, Message::default().sint(1, -1).varint(2, 2))
        .sint(13, 2)
        .sint(13, 1);
    let histogram =
        Message::default().text(1, "h").varint(3, 4).message(4, Message::default().message(7, histogram));
    let mut body = counter.delimited();
    if with_histogram {
        body.extend(histogram.delimited());
    }
    Page::of(
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
        body,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_itself_writes_and_is_scraped() {
    let Some(program) = program() else {
        println!("SKIP {NAME}: prometheus is not installed");
        return;
    };
    let (store, stats, tasks) =
        (Arc::<Recorder>::default(), Arc::<Stats>::default(), Tasks::new(tasks::Limits::default()));
    let receiver = Receiver::new(Arc::<Recorder>::clone(&store), tasks.clone(), Arc::clone(&stats));
    let address = receive(receiver, &tasks).await;
    let shown = Server::start();
    shown.show("/metrics", page(true));
    let own = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
- {{job_name: x, static_configs: [{{targets: ['{}'], labels: {{instance: i}}}}]}}
remote_write:
- url: http://{address}/prometheus/api/v1/write
  send_exemplars: true
  send_native_histograms: true
  queue_config: {{batch_send_deadline: 100ms}}
  metadata_config: {{send_interval: 200ms}}
",
        shown.address
    );
    std::fs::write(&config, text).unwrap();
    let child = Command::new(program)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={own}"))
        .arg("--enable-feature=native-histograms,exemplar-storage")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _process = Process(child);
    store.until_value(r#"c_total{instance="i", job="x"}"#, "3").await;
    store.until_value(r#"h{instance="i", job="x"}"#, "h6").await;
    let has = |what: fn(&metrics_api::WriteBatch) -> bool| {
        move |store: &Recorder| store.batches.lock().unwrap().iter().any(what)
    };
    store
        .until(
            "exemplar",
            has(|batch| {
                batch.rows().any(|row| row.exemplars.iter().any(|one| one.labels.get("trace_id") == "t1"))
            }),
        )
        .await;
    store
        .until(
            "metadata",
            has(|batch| batch.metadata.iter().any(|(name, said)| name == "c_total" && said.help == "counts")),
        )
        .await;
    shown.show("/metrics", page(false));
    store.until_value(r#"h{instance="i", job="x"}"#, "hstale").await;
    assert_eq!((stats.requests_refused.get(), stats.requests_put_off.get()), (0, 0));
    let bed = Bed::new();
    bed.apply_jobs(&format!("- {{job_name: p, scrape_interval: 300ms, scrape_timeout: 300ms, static_configs: [{{targets: ['{own}'], labels: {{instance: p}}}}]}}"));
    bed.store.until_value(r#"up{instance="p", job="p"}"#, "1").await;
    let names = bed.store.names();
    assert!(names.iter().any(|name| name.starts_with("prometheus_build_info{")), "{names:?}");
    assert!(names.len() > 300, "{} series", names.len());
}
