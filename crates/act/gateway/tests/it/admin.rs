//! Status, samples, access log.

use std::os::unix::fs::PermissionsExt;

use gateway_api::Sample;

use crate::support::*;

#[test]
fn samples_tell_what_happened_by_route_and_replica() {
    let (one, two) = (Service::start(), Service::start());
    let mut routes = vec![route("web", &[one.address]), route("api", &[two.address])];
    routes[1].path = "/slow".into();
    routes[1].caller = Some("web".into());
    let gateway = TestGateway::start(routes);
    let mut wire = gateway.connect();
    for _ in 0..30 {
        wire.get("/name");
    }
    wire.get("/status/503");
    wire.get("/slow/100");
    wire.write("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    wire.reply();
    let mut samples = gateway.admin().samples();
    let mut all: Vec<Sample> = Vec::new();
    block_on(async {
        let done = |all: &[Sample]| all.iter().map(|row| row.status.iter().sum::<u64>()).sum::<u64>() == 33;
        while !done(&all) {
            all.push(tokio::time::timeout(PATIENCE, samples.next()).await.unwrap());
        }
    });
    let of = |route: &str| all.iter().filter(|row| row.route == route).cloned().collect::<Vec<_>>();
    let sum = |rows: &[Sample], pick: fn(&Sample) -> u64| rows.iter().map(pick).sum::<u64>();
    let web = of("web");
    assert_eq!(sum(&web, |row| row.status[1]), 31);
    assert_eq!(sum(&web, |row| row.status[4]), 1);
    assert_eq!(sum(&web, |row| row.bytes_in), 5);
    assert!(web.iter().all(|row| row.replica.is_some() && row.release.is_some()));
    let api = of("api");
    let mut latency = gateway_api::Sketch::default();
    api.iter().for_each(|row| latency.merge(&row.latency));
    assert!((90_000..500_000).contains(&latency.quantile(0.5).unwrap()), "{latency:?}");
    assert_eq!(api[0].caller.as_deref(), Some("web"));
}

#[test]
fn readers_find_the_gateway_again_after_a_restart() {
    let service = Service::start();
    let mut first = TestGateway::start(vec![route("web", &[service.address])]);
    let admin = first.admin();
    let mut samples = admin.samples();
    first.get("/name");
    block_on(async {
        let one = tokio::time::timeout(PATIENCE, samples.next()).await.unwrap();
        drop(first.gateway.take()); // gone
        let mut options = gateway::Options::new(first.routes_path(), first.dir.path().join("admin.sock"));
        (options.threads, options.fd_store) = (1, None);
        let _second = gateway::Gateway::start(options).unwrap();
        let address = admin.status().await.unwrap().listeners[0].1;
        tokio::task::spawn_blocking(move || Wire::connect(address).get("/name")).await.unwrap();
        let other = tokio::time::timeout(PATIENCE, samples.next()).await.unwrap();
        assert!(other.at > one.at);
        tokio::task::spawn_blocking(move || drop(_second)).await.unwrap();
    });
}

#[test]
fn the_admin_socket_is_private_and_answers_what_it_knows() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let path = gateway.dir.path().join("admin.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let ask = |request: &str| {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        answer
    };
    let answer = ask("GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("gateway.no_such_call"), "{answer}");
    let wire = gateway.connect();
    eventually("the connection is counted", || (gateway.status().connections == 1).then_some(()));
    drop(wire);
    let admin = gateway.admin();
    block_on(admin.drain()).unwrap();
    eventually("it has gone", || block_on(admin.status()).is_err().then_some(()));
}

#[test]
fn too_many_readers_of_samples_are_refused() {
    let gateway = TestGateway::start(vec![]);
    let path = gateway.dir.path().join("admin.sock");
    let open = || {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        std::io::Write::write_all(&mut stream, b"GET /samples HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut start = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut start).unwrap();
        (stream, String::from_utf8(start.to_vec()).unwrap())
    };
    let readers: Vec<_> = (0..gateway::limits::SAMPLE_READERS_MAX).map(|_| open()).collect();
    assert!(readers.iter().all(|(_, start)| start == "HTTP/1.1 200"));
    assert_eq!(open().1, "HTTP/1.1 429");
}

#[test]
fn the_access_log_says_all_but_the_query() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let mut wire = gateway.connect();
    wire.write("GET /name?token=secret HTTP/1.1\r\nHost: shop.test\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n");
    let reply = wire.reply();
    wire.write("nonsense\r\n\r\n");
    wire.reply();
    let replica = gateway.snapshot.routes[0].targets[0].endpoints[0].replica.to_string();
    let log = gateway.log();
    let line = &log[0];
    for (name, expected) in [
        ("route", "web"),
        ("service", "web"),
        ("method", "GET"),
        ("host", "shop.test"),
        ("path", "/name"),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("client", "127.0.0.1"),
        ("replica", &replica),
    ] {
        assert_eq!(line[name], expected, "{line}");
    }
    assert_eq!((line["status"].as_u64(), line["bytes"].as_u64()), (Some(200), Some(reply.body.len() as u64)));
    assert!(line["duration_us"].as_u64() >= line["upstream_us"].as_u64());
    assert_eq!((log[1]["status"].as_u64(), log[1]["route"].as_str()), (Some(400), Some("unmatched")));
    assert!(!log.iter().any(|line| line.to_string().contains("secret")));
}
