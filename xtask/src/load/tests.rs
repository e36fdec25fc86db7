//! The generator against a small stand-in for the shop's front that can be slow, broken or forgetful.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;

#[derive(Default)]
struct Front {
    slow: Duration,
    /// Every so many requests fails with 503; 0 for none.
    fail_every: u64,
    forgets: bool,
    requests: AtomicU64,
}

impl Front {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let n = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let path = request.uri().path().to_string();
        let wants_json = request.headers()["accept"] == "application/json";
        if path == "/browse" && wants_json {
            return Ok(reply(200, r#"{"products":[{"sku":"fog-mug"}]}"#));
        }
        tokio::time::sleep(self.slow).await;
        let is_order = path.starts_with("/orders/") && wants_json;
        Ok(match path.as_str() {
            _ if is_order && self.forgets => reply(404, "{}"),
            _ if is_order => reply(200, r#"{"order":{"state":"paid"}}"#),
            _ if self.fail_every > 0 && n.is_multiple_of(self.fail_every) => reply(503, "{}"),
            "/checkout" if wants_json => reply(201, &format!(r#"{{"order":{{"id":"el{n}"}}}}"#)),
            _ => reply(200, "{}"),
        })
    }

    /// Serves until the runtime of the test ends.
    async fn serve(self) -> (SocketAddr, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let front = Arc::new(self);
        let served = front.clone();
        #[allow(clippy::disallowed_methods, reason = "it ends with the test")]
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let front = served.clone();
                let service = service_fn(move |request| front.clone().answer(request));
                connections.spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        (address, front)
    }
}

fn reply(status: u16, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
    response
}

fn args(address: SocketAddr, more: &[&str]) -> Args {
    #[derive(clap::Parser)]
    #[command(args_override_self = true)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    let url = format!("http://{address}");
    let line = ["load", "--url", &url, "--rate", "300", "--duration", "2s"];
    <Line as clap::Parser>::parse_from(line.iter().chain(more)).args
}

async fn put_under_load(address: SocketAddr, more: &[&str]) -> (Report, Book, Arc<Target>) {
    let args = args(address, more);
    let target = Arc::new(Target::parse(&args.url).unwrap());
    let (report, book) = load(&args, &target).await.unwrap();
    (report, book, target)
}

#[tokio::test]
async fn all_that_is_due_is_sent_and_answered() {
    let (address, front) = Front::default().serve().await;
    let (report, book, target) = put_under_load(address, &["--duration", "8s"]).await;
    let due = Arrivals::new(Profile::Steady, 300.0, Duration::from_secs(8), 1).count() as u64;
    assert_eq!((report.ok, report.failed, report.skipped), (due, 0, 0));
    assert_eq!(front.requests.load(Ordering::Relaxed), due + 1, "and the one look at the stock");
    assert!(!book.orders.is_empty());
    let verdict = orders::verify(&target, &book.orders).await;
    assert_eq!((verdict.kept, verdict.lost.len()), (book.orders.len(), 0));
}

#[tokio::test]
async fn a_slow_server_gets_no_less_load_and_its_slowness_shows() {
    let (address, _) = Front { slow: Duration::from_millis(400), ..Front::default() }.serve().await;
    let (report, ..) = put_under_load(address, &[]).await;
    let due = Arrivals::new(Profile::Steady, 300.0, Duration::from_secs(2), 1).count() as u64;
    assert_eq!(report.requests, due);
    assert!(report.latency_ms.p50 >= 400.0, "{:?}", report.latency_ms);
}

#[tokio::test]
async fn what_finds_no_place_counts_as_failed() {
    let (address, _) = Front { slow: Duration::from_secs(1), ..Front::default() }.serve().await;
    let (report, ..) = put_under_load(address, &["--in-flight-max", "20"]).await;
    assert!(report.errors["overflow"] > 400, "{:?}", report.errors);
    assert_eq!(report.failed, report.errors["overflow"]);
}

#[tokio::test]
async fn who_gets_no_answer_in_time_has_a_timeout() {
    let (address, _) = Front { slow: Duration::from_secs(20), ..Front::default() }.serve().await;
    let (report, ..) = put_under_load(address, &["--timeout", "200ms", "--duration", "1s"]).await;
    assert_eq!((report.ok, report.errors["timeout"]), (0, report.requests));
    assert!((200.0..1_000.0).contains(&report.latency_ms.p50), "{:?}", report.latency_ms);
}

#[tokio::test]
async fn errors_are_told_by_status_and_time() {
    let (address, _) = Front { fail_every: 10, ..Front::default() }.serve().await;
    let (report, ..) = put_under_load(address, &[]).await;
    assert_eq!(report.statuses.keys().collect::<Vec<_>>(), ["503"]);
    assert!((0.07..0.13).contains(&report.failed_share), "{}", report.failed_share);
    assert!(report.first_failure_ms.is_some() && report.failing_span_ms > 1_000);
}

#[tokio::test]
async fn a_forgotten_order_is_found_out() {
    let (address, _) = Front { forgets: true, ..Front::default() }.serve().await;
    let target = Arc::new(Target::parse(&format!("http://{address}")).unwrap());
    let orders: Vec<_> = (0..40).map(|n| Acknowledged { user: "u-1".into(), id: format!("el{n}") }).collect();
    let verdict = orders::verify(&target, &orders).await;
    assert_eq!((verdict.asked, verdict.kept, verdict.lost.len()), (40, 0, 40));
}

#[tokio::test]
async fn nobody_there_is_said_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let args = args(listener.local_addr().unwrap(), &[]);
    drop(listener);
    let target = Arc::new(Target::parse(&args.url).unwrap());
    let error = load(&args, &target).await.unwrap_err().to_string();
    assert!(error.contains("Connect"), "{error}");
}

#[test]
fn durations_and_rates_are_read_with_their_bounds() {
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
    for text in ["", "30", "s", "-1s", "0s", "25h", "1d", "infs", "NaNs"] {
        assert!(duration(text).is_err(), "{text}");
    }
    for text in ["0", "-1", "NaN", "inf", "fast", "1e9"] {
        assert!(positive(text).is_err(), "{text}");
    }
}
