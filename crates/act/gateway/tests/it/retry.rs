//! Failing services: retries, ejection, active checks.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use gateway_api::HealthCheck;

use crate::support::*;

/// An address where nothing listens.
fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_refused_connection_costs_no_request_of_any_method() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[nowhere(), service.address, nowhere()])]);
    let mut wire = gateway.connect();
    for _ in 0..50 {
        assert_eq!(wire.get("/name").status, 200);
        wire.write("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(wire.reply().text(), "hello");
    }
}

#[test]
fn when_nobody_listens_the_answer_says_so() {
    let gateway = TestGateway::start(vec![route("web", &[nowhere(), nowhere()])]);
    let reply = gateway.get("/");
    assert_eq!((reply.status, reply.code().as_str()), (502, "gateway.unreachable"));
}

#[test]
fn idempotent_requests_survive_a_service_that_breaks_off_and_others_are_not_repeated() {
    let good = Service::start();
    let bad = RawService::start("", true);
    let mut one = route("web", &[bad.address, good.address]);
    one.policy.retry_budget_percent = 100;
    let gateway = TestGateway::start(vec![one]);
    for _ in 0..30 {
        assert_eq!(gateway.get("/name").status, 200);
    }
    // A POST may have been carried out: it is never sent a second time.
    let bad = RawService::start("", true);
    let gateway = TestGateway::start(vec![route("web", &[bad.address, good.address])]);
    let before = good.count();
    let (mut failed, mut fine) = (0, 0);
    for _ in 0..10 {
        let mut wire = gateway.connect();
        wire.write("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        match wire.reply().status {
            200 => fine += 1,
            502 => failed += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(good.count() - before, fine);
    assert!(failed > 0);
    assert_eq!(bad.text().matches("POST /echo").count(), failed);
}

#[test]
fn a_503_is_tried_elsewhere_within_the_attempts() {
    let (good, bad) = (Service::start(), Service::start());
    bad.answer.store(503, SeqCst);
    let gateway = TestGateway::start(vec![route("web", &[bad.address, good.address])]);
    for _ in 0..20 {
        assert_eq!(gateway.get("/name").text(), good.address.port().to_string());
    }
    let (good, bad) = (Service::start(), Service::start());
    bad.answer.store(503, SeqCst);
    let mut one = route("web", &[bad.address, good.address]);
    one.policy.attempts_max = 1;
    let gateway = TestGateway::start(vec![one]);
    let statuses: Vec<_> = (0..20).map(|_| gateway.get("/name").status).collect();
    assert!(statuses.contains(&503), "{statuses:?}");
}

#[test]
fn the_retry_budget_bounds_what_a_broken_service_costs() {
    let bad = [Service::start(), Service::start()];
    bad.iter().for_each(|service| service.answer.store(503, SeqCst));
    let one = route("web", &[bad[0].address, bad[1].address]);
    let gateway = TestGateway::with(vec![one], |options| options.threads = 1);
    let mut wire = gateway.connect();
    for _ in 0..200 {
        assert_eq!(wire.get("/name").status, 503);
    }
    let sent = bad[0].count() + bad[1].count();
    assert!((205..=250).contains(&sent), "{sent}: 200 requests and at most 20 % retries");
}

#[test]
fn a_service_that_closes_idle_connections_costs_nothing() {
    // Says keep-alive, closes right after its answer: each reuse meets a closing connection.
    let service = RawService::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true);
    let gateway = TestGateway::with(vec![route("web", &[service.address])], |options| options.threads = 1);
    let mut wire = gateway.connect();
    for _ in 0..200 {
        assert_eq!(wire.get("/").status, 200);
    }
}

#[test]
fn an_endpoint_that_fails_is_left_out_and_comes_back() {
    let (good, sick) = (Service::start(), Service::start());
    sick.answer.store(500, SeqCst);
    let gateway = TestGateway::start(vec![route("web", &[good.address, sick.address])]);
    let mut wire = gateway.connect();
    let mut seen = 0;
    while seen < 5 {
        seen += u64::from(wire.get("/name").status == 500);
    }
    let before = sick.count();
    let from = Instant::now();
    let mut asked = 0;
    while from.elapsed() < Duration::from_millis(700) {
        assert_eq!(wire.get("/name").status, 200);
        asked += 1;
    }
    assert!(asked > 20);
    assert_eq!(sick.count(), before, "ejected");
    sick.answer.store(0, SeqCst);
    eventually("it is used again", || {
        wire.get("/name");
        (sick.count() > before).then_some(())
    });
}

#[test]
fn the_only_replica_is_never_left_out() {
    let sick = Service::start();
    sick.answer.store(500, SeqCst);
    let gateway = TestGateway::start(vec![route("web", &[sick.address])]);
    for _ in 0..20 {
        assert_eq!(gateway.get("/name").status, 500);
    }
    sick.answer.store(0, SeqCst);
    assert_eq!(gateway.get("/name").status, 200);
}

#[test]
fn active_checks_take_out_and_bring_back() {
    let (good, sick) = (Service::start(), Service::start());
    sick.answer.store(404, SeqCst); // not a failure to passive eyes
    let mut one = route("web", &[good.address, sick.address]);
    one.policy.health = Some(HealthCheck {
        path: "/health".into(),
        interval_ms: 100,
        timeout_ms: 1_000,
        unhealthy_after: 2,
        healthy_after: 2,
    });
    let gateway = TestGateway::start(vec![one]);
    let all_fine = || (0..30).all(|_| gateway.get("/name").status == 200);
    eventually("the sick one is out", || all_fine().then_some(()));
    sick.answer.store(0, SeqCst);
    eventually("it is back", || {
        (gateway.get("/name").text() == sick.address.port().to_string()).then_some(())
    });
}

#[test]
fn a_service_that_hangs_is_given_up_on() {
    let service = Service::start();
    let mut one = route("web", &[service.address]);
    one.policy.response_timeout_ms = 200;
    let gateway = TestGateway::start(vec![one]);
    let from = Instant::now();
    let reply = gateway.get("/slow/60000");
    assert_eq!((reply.status, reply.code().as_str()), (504, "gateway.response_timeout"));
    assert!((200..2_000).contains(&from.elapsed().as_millis()), "{:?}", from.elapsed());
    // Silence in the middle of a body ends it too.
    let silent = RawService::start("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", false);
    let mut one = route("web", &[silent.address]);
    one.policy.response_timeout_ms = 200;
    let gateway = TestGateway::start(vec![one]);
    let mut wire = gateway.connect();
    wire.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(wire.try_reply(false).is_none());
}

#[test]
fn an_address_that_swallows_connections_is_timed_out() {
    // A listener whose queue is full drops further attempts.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let filling: Vec<_> =
        (0..3).map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200))).collect();
    assert!(filling.last().unwrap().is_err());
    let service = Service::start();
    let mut one = route("web", &[address, service.address]);
    one.policy.connect_timeout_ms = 200;
    let gateway = TestGateway::start(vec![one]);
    for _ in 0..5 {
        assert_eq!(gateway.get("/name").status, 200);
    }
}

#[test]
fn a_client_that_leaves_lets_its_request_go() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = TestGateway::start(vec![route("web", &[listener.local_addr().unwrap()])]);
    let mut wire = gateway.connect();
    wire.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut upstream, _) = listener.accept().unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buf = [0; 4096];
    assert!(upstream.read(&mut buf).unwrap() > 0);
    drop(wire);
    assert!(matches!(upstream.read(&mut buf), Ok(0) | Err(_)), "the gateway hangs up too");
    let log = gateway.log();
    assert_eq!((log[0]["aborted"].as_bool(), log[0]["status"].as_u64()), (Some(true), Some(0)));
}

#[test]
fn a_replica_killed_under_load_costs_no_idempotent_request() {
    let (stays, dies) = (Service::start(), Service::start());
    let mut one = route("web", &[stays.address, dies.address]);
    one.policy.retry_budget_percent = 100;
    let gateway = TestGateway::start(vec![one]);
    let stop = Arc::new(AtomicBool::new(false));
    let (done, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut wire = gateway.connect();
            let (stop, done, failed) = (stop.clone(), done.clone(), failed.clone());
            std::thread::spawn(move || {
                while !stop.load(SeqCst) {
                    let status = wire.get("/slow/2").status;
                    done.fetch_add(1, SeqCst);
                    failed.fetch_add(u64::from(status != 200), SeqCst);
                }
            })
        })
        .collect();
    eventually("load runs", || (dies.count() > 100).then_some(()));
    dies.kill();
    let seen = done.load(SeqCst);
    eventually("load goes on", || (done.load(SeqCst) > seen + 500).then_some(()));
    stop.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(failed.load(SeqCst), 0);
}

#[test]
fn an_answer_before_the_body_is_read_reaches_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream
                .write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
            std::mem::forget(stream); // open, and nothing more is read
        }
    });
    let gateway = TestGateway::start(vec![route("web", &[address])]);
    let mut wire = gateway.connect();
    wire.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n");
    wire.write(vec![0; 100_000]);
    let reply = wire.reply();
    assert_eq!((reply.status, reply.text().as_str()), (401, "no"));
}
