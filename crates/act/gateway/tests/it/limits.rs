//! Clients that are slow, large or many.

use std::time::{Duration, Instant};

use crate::support::*;

#[test]
fn a_trickled_head_is_cut_off_however_it_trickles() {
    let service = Service::start();
    let gateway = TestGateway::limited(vec![route("web", &[service.address])], |limits| {
        limits.head_timeout = Duration::from_millis(400);
    });
    let mut wire = gateway.connect();
    let from = Instant::now();
    wire.write("GET / HTTP/1.1\r\n");
    let mut writer = wire.stream.try_clone().unwrap();
    let trickle = std::thread::spawn(move || {
        while std::io::Write::write_all(&mut writer, b"X: 1\r\n").is_ok() {
            std::thread::park_timeout(Duration::from_millis(50));
        }
    });
    let reply = wire.reply();
    assert_eq!((reply.status, reply.code().as_str()), (408, "gateway.head_timeout"));
    assert!((400..3_000).contains(&from.elapsed().as_millis()), "{:?}", from.elapsed());
    drop(wire);
    trickle.join().unwrap();
}

#[test]
fn a_body_that_stops_is_cut_off() {
    let service = Service::start();
    let gateway = TestGateway::limited(vec![route("web", &[service.address])], |limits| {
        limits.body_timeout = Duration::from_millis(300);
    });
    let mut wire = gateway.connect();
    wire.write("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nonly this");
    let reply = wire.reply();
    assert_eq!((reply.status, reply.code().as_str()), (408, "gateway.body_timeout"));
    assert!(wire.closed());
}

#[test]
fn idle_connections_are_closed_without_a_word() {
    let service = Service::start();
    let gateway = TestGateway::limited(vec![route("web", &[service.address])], |limits| {
        limits.idle_timeout = Duration::from_millis(200);
    });
    let mut fresh = gateway.connect();
    let mut used = gateway.connect();
    assert_eq!(used.get("/name").status, 200);
    assert!(fresh.closed() && used.closed());
}

#[test]
fn a_client_that_does_not_read_is_let_go() {
    let service = Service::start();
    let gateway = TestGateway::limited(vec![route("web", &[service.address])], |limits| {
        limits.write_timeout = Duration::from_millis(300);
    });
    let mut wire = gateway.connect();
    wire.write("GET /big/50000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the gateway lets go", || (gateway.status().connections == 0).then_some(()));
    let log = gateway.log();
    assert_eq!(log[0]["aborted"], true);
}

#[test]
fn bodies_above_the_routes_limit_are_refused() {
    let service = Service::start();
    let mut one = route("web", &[service.address]);
    one.policy.request_body_bytes_max = 100_000;
    let gateway = TestGateway::start(vec![one]);
    let mut wire = gateway.connect();
    wire.write("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n");
    let reply = wire.reply();
    assert_eq!((reply.status, reply.code().as_str()), (413, "gateway.body_too_large"));
    assert!(wire.closed());
    let mut wire = gateway.connect();
    wire.write("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    wire.write(format!("186A0\r\n{}\r\n", "x".repeat(100_000)));
    wire.write("1\r\nx\r\n");
    assert_eq!(wire.reply().status, 413);
    let mut wire = gateway.connect();
    wire.write(format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{}",
        "x".repeat(100_000)
    ));
    assert_eq!(wire.reply().body.len(), 100_000);
}

#[test]
fn heads_above_the_limits_are_refused() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(40_000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(101)), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(17_000)), 414),
    ] {
        let mut wire = gateway.connect();
        wire.write(request);
        assert_eq!(wire.reply().status, status);
    }
    let mut wire = gateway.connect();
    wire.write(format!("GET /name HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(80)));
    assert_eq!(wire.reply().status, 200);
}

#[test]
fn above_the_connection_limit_idle_ones_make_room_and_busy_ones_do_not() {
    let service = Service::start();
    let gateway = TestGateway::with(vec![route("web", &[service.address])], |options| {
        options.threads = 1;
        options.limits.connections_max = 4;
    });
    let mut idle: Vec<_> = (0..4).map(|_| gateway.connect()).collect();
    assert!(idle.iter_mut().all(|wire| wire.get("/name").status == 200));
    let mut busy: Vec<_> = (0..4).map(|_| gateway.connect()).collect();
    for wire in &mut busy {
        wire.write("GET /slow/1500 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    assert!(idle.iter_mut().all(Wire::closed), "the idle ones made room");
    eventually("all are busy", || (service.count() == 8).then_some(()));
    let mut extra = gateway.connect();
    let reply = extra.reply();
    assert_eq!((reply.status, reply.code().as_str()), (503, "gateway.connections_max"));
    assert!(busy.iter_mut().all(|wire| wire.reply().status == 200));
    let status = gateway.status();
    assert!(status.problems.iter().any(|problem| problem.contains("turned away")), "{status:?}");
}

#[test]
fn connect_and_strange_versions_are_refused() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    for (request, status) in [
        ("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n", 501),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    ] {
        let mut wire = gateway.connect();
        wire.write(request);
        assert_eq!(wire.reply().status, status, "{request}");
    }
}
