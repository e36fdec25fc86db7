//! HTTP/2: with prior knowledge, many streams, limits, drain.

use std::{
    net::SocketAddr,
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::*;

pub(crate) type Sender = SendRequest<Full<Bytes>>;

pub(crate) async fn connect(address: SocketAddr) -> (Sender, tokio::task::JoinHandle<hyper::Result<()>>) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (sender, tokio::task::spawn(connection))
}

pub(crate) fn request(method: &str, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(format!("http://shop.test{path}"))
        .body(Full::new(body.into()))
        .unwrap()
}

async fn ask(sender: &mut Sender, request: Request<Full<Bytes>>) -> (u16, Bytes) {
    let response = sender.send_request(request).await.unwrap();
    (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes())
}

#[test]
fn requests_go_on_as_http1_with_the_same_meaning() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    block_on(async {
        let (mut sender, _) = connect(gateway.address).await;
        let mut given = request("POST", "/what?q=1", "hello");
        for crumb in ["a=1", "__Host-stead_session=x", "stead_session=y", "b=2"] {
            given.headers_mut().append("cookie", crumb.parse().unwrap());
        }
        let (status, body) = ask(&mut sender, given).await;
        assert_eq!(status, 200);
        let seen: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&seen["method"], &seen["target"], &seen["body"]),
            (&"POST".into(), &"/what?q=1".into(), &"hello".into())
        );
        let fields: Vec<(String, String)> = serde_json::from_value(seen["fields"].clone()).unwrap();
        let field = |name: &str| fields.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str());
        assert_eq!(field("host"), Some("shop.test"));
        assert_eq!(field("cookie"), Some("a=1; b=2"));
        assert_eq!(field("content-length"), Some("5"));
        assert_eq!(field("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(field("traceparent").map(str::len), Some(55));
        for (path, expected) in [("/status/204", 204), ("/status/404", 404), ("/status/500", 500)] {
            assert_eq!(ask(&mut sender, request("GET", path, "")).await.0, expected);
        }
        let response = sender.send_request(request("HEAD", "/big/700", "")).await.unwrap();
        assert_eq!(response.headers()["content-length"], "700");
        assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    });
}

#[test]
fn streams_do_not_wait_for_each_other() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    block_on(async {
        let (sender, _) = connect(gateway.address).await;
        let from = Instant::now();
        let all = (0..100).map(|at| {
            let mut sender = sender.clone();
            async move { ask(&mut sender, request("GET", &format!("/slow/{}", 200 + at % 7), "")).await.0 }
        });
        let statuses = futures_util::future::join_all(all).await;
        assert!(statuses.iter().all(|status| *status == 200));
        assert!(from.elapsed() < Duration::from_secs(5), "{:?}", from.elapsed());
        let data: Vec<u8> = (0..5_000_000u32).map(|at| (at % 253) as u8).collect();
        let mut sender = sender;
        let (_, echoed) = ask(&mut sender, request("POST", "/stream", data.clone())).await;
        assert!(echoed == data);
        assert_eq!(ask(&mut sender, request("GET", "/big/3000000", "")).await.1.len(), 3_000_000);
    });
}

#[test]
fn events_come_as_they_happen() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    block_on(async {
        let (mut sender, _) = connect(gateway.address).await;
        let mut body = sender.send_request(request("GET", "/events/3", "")).await.unwrap().into_body();
        let mut times = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.unwrap().into_data()
                && !data.is_empty()
            {
                times.push(Instant::now());
            }
        }
        assert_eq!(times.len(), 3);
        assert!(times[2] - times[0] > Duration::from_millis(80));
    });
}

#[test]
fn the_gateways_own_answers_look_the_same() {
    let service = Service::start();
    let mut one = route("web", &[service.address]);
    one.path = "/here".into();
    one.policy.request_body_bytes_max = 10;
    let gateway = TestGateway::start(vec![one]);
    block_on(async {
        let (mut sender, _) = connect(gateway.address).await;
        for (path, body, expected) in
            [("/", "", 404), ("/here", "much too long", 413), ("/here/x", "short", 200)]
        {
            let (status, body) = ask(&mut sender, request("POST", path, body)).await;
            assert_eq!(status, expected);
            if status != 200 {
                let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert!(problem["code"].as_str().unwrap().starts_with("gateway."));
            }
        }
    });
}

#[test]
fn a_reset_stream_lets_its_request_go() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    block_on(async {
        let (mut sender, _) = connect(gateway.address).await;
        let slow = sender.send_request(request("GET", "/slow/60000", ""));
        assert!(tokio::time::timeout(Duration::from_millis(300), slow).await.is_err());
        assert_eq!(ask(&mut sender, request("GET", "/name", "")).await.0, 200);
    });
    let log = gateway.log();
    assert!(log.iter().any(|line| line["aborted"] == true && line["path"] == "/slow/60000"), "{log:?}");
}

#[test]
fn a_drain_lets_streams_finish_and_says_goodbye() {
    let service = Service::start();
    let mut gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let running = gateway.gateway.take().unwrap();
    block_on(async {
        let (mut sender, connection) = connect(gateway.address).await;
        let mut other = sender.clone();
        let slow =
            tokio::task::spawn(async move { ask(&mut other, request("GET", "/slow/500", "")).await.0 });
        let deadline = Instant::now() + PATIENCE;
        while service.requests.load(SeqCst) == 0 {
            assert!(Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
        running.drain();
        assert_eq!(slow.await.unwrap(), 200);
        tokio::time::timeout(PATIENCE, connection).await.unwrap().unwrap().unwrap();
        assert!(sender.ready().await.is_err());
    });
    running.join();
}

#[test]
fn idle_and_silent_connections_do_not_stay() {
    let service = Service::start();
    let gateway = TestGateway::limited(vec![route("web", &[service.address])], |limits| {
        limits.idle_timeout = Duration::from_millis(300);
        limits.head_timeout = Duration::from_millis(300);
    });
    block_on(async {
        let (mut sender, used) = connect(gateway.address).await;
        assert_eq!(ask(&mut sender, request("GET", "/name", "")).await.0, 200);
        let (_sender, unused) = connect(gateway.address).await;
        for connection in [used, unused] {
            tokio::time::timeout(PATIENCE, connection).await.unwrap().unwrap().unwrap();
        }
    });
}

#[test]
fn a_client_that_opens_no_window_is_let_go() {
    let service = Service::start();
    let gateway = TestGateway::limited(vec![route("web", &[service.address])], |limits| {
        limits.write_timeout = Duration::from_millis(400);
        limits.head_timeout = Duration::from_millis(400);
    });
    block_on(async {
        let (mut sender, connection) = connect(gateway.address).await;
        // The body is held and not read, so its window stays shut.
        let held = sender.send_request(request("GET", "/big/5000000", "")).await.unwrap();
        let _ = tokio::time::timeout(PATIENCE, connection).await.expect("the gateway closes");
        drop(held);
    });
}

/// The fixed part of a frame: length, kind, flags, stream.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

#[test]
fn one_stream_more_than_the_limit_is_refused_and_the_others_go_on() {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const REFUSED_STREAM: [u8; 4] = 7u32.to_be_bytes();
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let mut wire = gateway.connect();
    wire.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    wire.write(frame(SETTINGS, 0, 0, &[]));
    // POST http://a/echo, as HPACK writes it without a table of its own; the body does not end.
    let head = [&[0x83, 0x86, 0x01, 1, b'a', 0x04, 5][..], b"/echo"].concat();
    let last = 2 * gateway::limits::H2_STREAMS_MAX + 1;
    for stream in (1..=last).step_by(2) {
        wire.write(frame(HEADERS, 0x4, stream, &head));
    }
    let refused = loop {
        let head = wire.exactly(9);
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = wire.exactly(length);
        if head[3] == RST_STREAM {
            break (u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload);
        }
    };
    assert_eq!(refused, (last, REFUSED_STREAM.to_vec()));
    let others = u64::from(gateway::limits::H2_STREAMS_MAX);
    eventually("all others are at the service", || (service.count() == others).then_some(()));
}
