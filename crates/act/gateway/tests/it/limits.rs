//! Clients that are slow, large or many.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use gateway::limits::{ADMIN_CONNECTIONS_MAX, SNAPSHOT_BYTES_MAX};

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

#[test]
fn requests_in_flight_are_bounded_and_one_that_ends_makes_room() {
    let service = Service::start();
    let gateway = TestGateway::with(vec![route("web", &[service.address])], |options| {
        options.threads = 1;
        options.limits.requests_in_flight_max = 2;
    });
    // Requests whose bodies do not end, and that the service has begun.
    let mut held: Vec<Wire> = Vec::new();
    for count in 1..=2 {
        let mut wire = gateway.connect();
        wire.write("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx");
        held.push(wire);
        eventually("the service has it", || (service.count() == count).then_some(()));
    }
    let refused = gateway.get("/name");
    assert_eq!((refused.status, refused.code().as_str()), (503, "gateway.overloaded"));
    held[0].write("y");
    assert_eq!(held[0].reply().text(), "xy");
    assert_eq!(gateway.get("/name").status, 200);
    held[1].write("z");
    assert_eq!(held[1].reply().text(), "xz");
}

#[test]
fn a_connection_serves_so_many_requests_and_is_closed() {
    let service = Service::start();
    let gateway = TestGateway::limited(vec![route("web", &[service.address])], |limits| {
        limits.connection_requests_max = 3;
    });
    let mut wire = gateway.connect();
    let closes: Vec<bool> = (0..3)
        .map(|_| {
            let reply = wire.get("/name");
            assert_eq!(reply.status, 200);
            reply.fields.get("connection").is_some_and(|value| value == "close")
        })
        .collect();
    assert_eq!(closes, [false, false, true]);
    assert!(wire.closed());
}

#[test]
fn a_snapshot_that_is_too_large_is_refused_by_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.json");
    let file = std::fs::File::create(&path).unwrap();
    let why = |length| {
        file.set_len(length).unwrap();
        gateway::snapshot::read(&path).unwrap_err().to_string()
    };
    let too_large = format!("larger than {SNAPSHOT_BYTES_MAX} bytes");
    assert!(why(SNAPSHOT_BYTES_MAX + 1).contains(&too_large));
    assert!(!why(SNAPSHOT_BYTES_MAX).contains(&too_large), "it is read, and is no snapshot");
}

#[test]
fn one_more_admin_connection_than_the_limit_waits_for_another_to_end() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let path = gateway.dir.path().join("admin.sock");
    let connect = || {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let ask = |stream: &mut UnixStream| {
        stream.write_all(b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    };
    // `TestGateway::start` has asked already; its connection may still be on its way out.
    let mut held: Vec<UnixStream> = Vec::new();
    for _ in 0..ADMIN_CONNECTIONS_MAX {
        let mut stream = connect();
        ask(&mut stream);
        held.push(stream);
    }
    let mut waits = connect();
    waits.write_all(b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    // Whoever is served is served on; the one too many is not.
    let mut other = held.pop().unwrap();
    let mut rest = vec![0; 64 << 10];
    let _ = other.read(&mut rest).unwrap();
    ask(&mut other);
    waits.set_nonblocking(true).unwrap();
    assert_eq!(waits.read(&mut [0; 12]).unwrap_err().kind(), ErrorKind::WouldBlock);
    waits.set_nonblocking(false).unwrap();
    drop(other);
    let mut answer = [0; 12];
    waits.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}
