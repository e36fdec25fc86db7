//! Changes of routes and listeners while requests are under way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use http_body_util::BodyExt;

use crate::support::*;

const CHANGES: u64 = 1_000;

#[test]
fn a_thousand_changes_fail_no_request() {
    let services: Vec<_> = (0..4).map(|_| Service::start()).collect();
    let mut gateway = TestGateway::start(vec![route("web", &[services[0].address])]);
    let stop = Arc::new(AtomicBool::new(false));
    let (done, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let address = gateway.address;
    let mut clients = Vec::new();
    for at in 0..4 {
        let (stop, done, failed) = (stop.clone(), done.clone(), failed.clone());
        clients.push(std::thread::spawn(move || {
            let count = |status: u16| {
                done.fetch_add(1, SeqCst);
                failed.fetch_add(u64::from(status != 200), SeqCst);
            };
            if at % 2 == 0 {
                let mut wire = Wire::connect(address); // one connection for all of it
                while !stop.load(SeqCst) {
                    count(wire.get("/slow/1").status);
                    wire.write("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
                    count(wire.reply().status);
                }
            } else {
                block_on(async {
                    let (mut sender, _) = crate::h2::connect(address).await;
                    while !stop.load(SeqCst) {
                        let response =
                            sender.send_request(crate::h2::request("POST", "/echo", "hello")).await;
                        let response = response.unwrap();
                        count(response.status().as_u16());
                        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
                    }
                });
            }
        }));
    }
    for turn in 0..CHANGES {
        gateway.snapshot.version += 1;
        // Endpoints, releases, weights, names and other routes change all the time.
        let first = &services[turn as usize % 4];
        let second = &services[(turn as usize + 1) % 4];
        let mut one = route(if turn % 3 == 0 { "web" } else { "site" }, &[first.address]);
        one.targets = vec![target(30, &[first.address]), target(70, &[second.address, first.address])];
        let mut other = route(&format!("other-{turn}"), &[second.address]);
        other.path = format!("/other/{turn}");
        gateway.snapshot.routes = vec![one, other];
        gateway::snapshot::write(&gateway.routes_path(), &gateway.snapshot).unwrap();
        if turn % 50 == 0 {
            let version = gateway.snapshot.version;
            eventually("it is served", || (gateway.status().snapshot_version >= version).then_some(()));
        }
    }
    let version = gateway.snapshot.version;
    eventually("the last is served", || (gateway.status().snapshot_version == version).then_some(()));
    stop.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(failed.load(SeqCst), 0);
    assert!(done.load(SeqCst) > 200, "{done:?}");
}

#[test]
fn a_request_under_way_finishes_on_its_old_endpoint() {
    let (old, new) = (Service::start(), Service::start());
    let mut gateway = TestGateway::start(vec![route("web", &[old.address])]);
    let mut wire = gateway.connect();
    wire.write("GET /slow/700 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is under way", || (old.count() == 1).then_some(()));
    gateway.publish(|snapshot| snapshot.routes = vec![route("web", &[new.address])]);
    eventually("new ones go to the new one", || {
        (gateway.get("/name").text() == new.address.port().to_string()).then_some(())
    });
    assert_eq!(wire.reply().text(), old.address.port().to_string());
    assert_eq!(wire.get("/name").text(), new.address.port().to_string());
}

#[test]
fn listeners_come_go_and_stay_by_name() {
    let service = Service::start();
    let mut gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let mut kept = gateway.connect();
    assert_eq!(kept.get("/name").status, 200);
    gateway.publish(|snapshot| {
        snapshot.listeners.push(listener("second"));
        let mut one = route("two", &[service.address]);
        one.listener = "second".into();
        snapshot.routes.push(one);
    });
    let status = gateway.status();
    assert_eq!(
        status.listeners.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["public", "second"]
    );
    assert_eq!(status.listeners[0].1, gateway.address, "port 0 stays what it became");
    let second = status.listeners[1].1;
    eventually("the second serves", || (Wire::connect(second).get("/name").status == 200).then_some(()));
    gateway.publish(|snapshot| {
        snapshot.listeners.pop();
        snapshot.routes.pop();
    });
    eventually("the second is closed", || std::net::TcpStream::connect(second).is_err().then_some(()));
    assert_eq!(kept.get("/name").status, 200, "connections of other listeners stay");
}

#[test]
fn a_port_in_use_is_told_and_taken_when_it_is_free() {
    let service = Service::start();
    let mut gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    gateway.publish(|snapshot| {
        let mut more = listener("more");
        more.address = address;
        snapshot.listeners.push(more);
    });
    let status = gateway.status();
    assert!(status.problems[0].contains("listener more: cannot listen on"), "{status:?}");
    assert_eq!(gateway.get("/name").status, 200);
    drop(taken);
    eventually("it listens", || (gateway.status().listeners.len() == 2).then_some(()));
    assert!(gateway.status().problems.is_empty());
}

#[test]
fn broken_and_older_snapshots_are_refused_and_the_last_good_one_serves() {
    let service = Service::start();
    let mut gateway = TestGateway::start(vec![route("web", &[service.address])]);
    gateway.publish(|snapshot| snapshot.version = 10);
    let good = std::fs::read(gateway.routes_path()).unwrap();
    let problem = |gateway: &TestGateway, what: &str| {
        eventually(what, || {
            gateway.status().problems.iter().any(|problem| problem.contains(what)).then_some(())
        });
        assert_eq!(gateway.get("/name").status, 200);
        assert_eq!(gateway.status().snapshot_version, 10);
    };
    for (bytes, what) in [
        (&good[..good.len() / 2], "its end is missing"),
        (b"", "has no snapshot in it"),
        (b"{\"format\":1}", "has no snapshot in it"),
        (b"\xff\xfe", "it is not text"),
    ] {
        std::fs::write(gateway.routes_path(), bytes).unwrap();
        problem(&gateway, what);
    }
    let mut older = gateway.snapshot.clone();
    older.version = 9;
    older.routes.clear();
    gateway::snapshot::write(&gateway.routes_path(), &older).unwrap();
    problem(&gateway, "which is older than 10");
    std::fs::remove_file(gateway.routes_path()).unwrap();
    problem(&gateway, "cannot be read");
    gateway.publish(|snapshot| snapshot.version = 11);
    eventually("all is well", || gateway.status().problems.is_empty().then_some(()));
}

#[test]
fn a_gateway_without_a_snapshot_waits_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start();
    let mut options = gateway::Options::new(dir.path().join("routes.json"), dir.path().join("admin.sock"));
    (options.threads, options.fd_store) = (1, None);
    let gateway = gateway::Gateway::start(options).unwrap();
    let admin = gateway::client::Admin::new(dir.path().join("admin.sock"));
    let status = block_on(admin.status()).unwrap();
    assert_eq!((status.snapshot_version, status.listeners.len(), status.problems.len()), (0, 0, 1));
    let snapshot = gateway_api::Snapshot {
        version: 1,
        listeners: vec![listener("public")],
        routes: vec![route("web", &[service.address])],
    };
    gateway::snapshot::write(&dir.path().join("routes.json"), &snapshot).unwrap();
    let address =
        eventually("it listens", || block_on(admin.status()).unwrap().listeners.first().map(|one| one.1));
    eventually("it serves", || (Wire::connect(address).get("/name").status == 200).then_some(()));
    drop(gateway);
}

#[test]
fn weights_share_the_requests() {
    let (stable, canary) = (Service::start(), Service::start());
    let mut one = route("web", &[]);
    one.targets = vec![target(80, &[stable.address]), target(20, &[canary.address])];
    let gateway = TestGateway::start(vec![one]);
    let mut wire = gateway.connect();
    for _ in 0..1_000 {
        wire.get("/name");
    }
    assert!((140..260).contains(&canary.count()), "{}", canary.count());
}

#[test]
fn a_drain_lets_requests_finish() {
    let service = Service::start();
    let mut gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let running = gateway.gateway.take().unwrap();
    let (mut busy, mut idle) = (gateway.connect(), gateway.connect());
    assert_eq!(idle.get("/name").status, 200);
    busy.write("GET /slow/600 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is under way", || (service.count() == 2).then_some(()));
    running.drain();
    eventually("nobody is let in", || std::net::TcpStream::connect(gateway.address).is_err().then_some(()));
    // A request that was on its way to an idle connection is still answered, and told to go.
    let reply = idle.get("/name");
    assert_eq!((reply.status, reply.fields["connection"].as_str()), (200, "close"));
    assert!(idle.closed());
    assert_eq!(busy.reply().status, 200);
    running.join();
    assert!(busy.closed());
}

#[test]
fn the_drain_budget_ends_what_does_not_end() {
    let service = Service::start();
    let mut gateway = TestGateway::limited(vec![route("web", &[service.address])], |limits| {
        limits.drain_budget = Duration::from_millis(300);
    });
    let running = gateway.gateway.take().unwrap();
    let mut wire = gateway.connect();
    wire.write("GET /slow/60000 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is under way", || (service.count() == 1).then_some(()));
    let from = std::time::Instant::now();
    running.drain();
    running.join();
    assert!(from.elapsed() < Duration::from_secs(5), "{:?}", from.elapsed());
}
