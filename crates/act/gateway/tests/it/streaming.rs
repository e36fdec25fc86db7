//! Bodies both ways, event streams, upgrades.

use std::{io::Write, time::Instant};

use crate::support::*;

#[test]
fn events_come_as_they_happen() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let mut wire = gateway.connect();
    let from = Instant::now();
    wire.write("GET /events/4 HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = wire.head().unwrap();
    assert_eq!(head.fields["content-type"], "text/event-stream");
    assert_eq!(wire.chunk().unwrap(), b"data: 0\n\n");
    assert!(from.elapsed().as_millis() < 140, "the first event waited for the last");
    for at in 1..4 {
        assert_eq!(wire.chunk().unwrap(), format!("data: {at}\n\n").as_bytes());
    }
    assert!(wire.chunk().unwrap().is_empty());
    assert_eq!(wire.get("/name").status, 200);
}

#[test]
fn large_bodies_stream_both_ways() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let data: Vec<u8> = (0..10_000_000u32).map(|at| (at % 251) as u8).collect();
    // /stream echoes while it receives, so both directions run at once.
    let mut wire = gateway.connect();
    let mut writer = wire.stream.try_clone().unwrap();
    let sent = data.clone();
    let sending = std::thread::spawn(move || {
        writer
            .write_all(
                format!("POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", sent.len())
                    .as_bytes(),
            )
            .unwrap();
        writer.write_all(&sent).unwrap();
    });
    let reply = wire.reply();
    sending.join().unwrap();
    assert!(reply.body == data);
    let mut chunked = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in data[..1_000_000].chunks(77_777) {
        chunked.extend_from_slice(format!("{:X};x=y\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\nX-Trailer: gone\r\n\r\n");
    wire.write(&chunked);
    assert!(wire.reply().body == data[..1_000_000]);
    let reply = wire.get("/big/20000000");
    assert_eq!(reply.body.len(), 20_000_000);
}

#[test]
fn a_body_goes_on_while_the_answer_comes() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let mut wire = gateway.connect();
    wire.write("POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    wire.write("4\r\nping\r\n");
    assert_eq!(wire.head().unwrap().status, 200);
    for _ in 0..5 {
        assert_eq!(wire.chunk().unwrap(), b"ping");
        wire.write("4\r\nping\r\n");
    }
    wire.write("0\r\n\r\n");
    assert_eq!(wire.chunk().unwrap(), b"ping");
    assert!(wire.chunk().unwrap().is_empty());
    assert_eq!(wire.get("/name").status, 200);
}

#[test]
fn a_client_that_expects_100_gets_it() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let mut wire = gateway.connect();
    wire.write("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(wire.head().unwrap().status, 100);
    wire.write("hello");
    assert_eq!(wire.reply().text(), "hello");
    // And an answer at once where the body is not wanted.
    wire.write("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 999999999\r\n\r\n");
    assert_eq!(wire.reply().status, 413);
}

#[test]
fn early_hints_pass_and_a_continue_of_the_service_does_not() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let service = RawService::start(answer, false);
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let mut wire = gateway.connect();
    wire.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let hints = wire.head().unwrap();
    assert_eq!((hints.status, hints.fields["link"].as_str()), (103, "</a.css>"));
    assert_eq!(wire.reply().text(), "ok");
    assert_eq!(gateway.get("/").status, 103);
}

#[test]
fn any_upgrade_becomes_a_tunnel() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    for protocol in ["websocket", "my-protocol/7"] {
        let mut wire = gateway.connect();
        // Bytes that follow the request at once belong to the tunnel.
        wire.write(format!(
            "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
        ));
        let head = wire.head().unwrap();
        assert_eq!(head.status, 101);
        assert_eq!(head.fields["upgrade"], protocol);
        assert_eq!(head.fields["connection"], "Upgrade");
        for size in [1, 100, 100_000] {
            let data = vec![7; size];
            wire.write(&data);
            assert!(wire.exactly(size) == data);
        }
        wire.stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(wire.closed());
    }
}

#[test]
fn h2c_is_not_passed_on() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let mut wire = gateway.connect();
    wire.write("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n");
    let reply = wire.reply();
    assert_eq!((reply.status, reply.text().as_str()), (200, "no upgrade"));
}

#[test]
fn a_response_cut_short_is_never_made_whole() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzzz\r\n",
    ] {
        let service = RawService::start(answer, true);
        let gateway = TestGateway::start(vec![route("web", &[service.address])]);
        let mut wire = gateway.connect();
        wire.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(wire.try_reply(false).is_none(), "{answer}");
    }
    let service = RawService::start("HTTP/1.1 200 OK\r\n\r\nuntil the end", true);
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    assert_eq!(gateway.get("/").text(), "until the end");
}

#[test]
fn what_is_not_http_is_a_bad_gateway() {
    for answer in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
    ] {
        let service = RawService::start(answer, false);
        let gateway = TestGateway::start(vec![route("web", &[service.address])]);
        let reply = gateway.get("/");
        assert_eq!((reply.status, reply.code().as_str()), (502, "gateway.bad_response"), "{answer}");
    }
    let service = RawService::start(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(80_000)), false);
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    assert_eq!(gateway.get("/").status, 502);
}

#[test]
fn a_service_that_says_more_than_its_length_is_not_used_again() {
    let service = RawService::start(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        false,
    );
    let gateway = TestGateway::with(vec![route("web", &[service.address])], |options| options.threads = 1);
    let mut wire = gateway.connect();
    for _ in 0..5 {
        assert_eq!(wire.get("/").text(), "ok");
    }
}
