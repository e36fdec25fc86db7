//! No bytes make the gateway panic, hang or get out of step.

use std::io::Write;

use proptest::{prelude::*, test_runner::TestRunner};

use crate::support::*;

/// Pieces that requests are made of, so that random sequences come near to valid ones.
const PIECES: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\n",
    b"POST /echo HTTP/1.1\r\n",
    b"HEAD /name HTTP/1.0\r\n",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"hello",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"\xff\x00\x16\x03",
    b": ",
    b" ",
];

#[test]
fn random_bytes_leave_the_gateway_well() {
    let service = Service::start();
    let gateway = TestGateway::limited(vec![route("web", &[service.address])], |limits| {
        limits.head_timeout = std::time::Duration::from_millis(200);
        limits.body_timeout = std::time::Duration::from_millis(200);
    });
    let cases = std::env::var("STEAD_SOAK").ok().and_then(|text| text.parse::<u32>().ok()).unwrap_or(1) * 300;
    let mut runner =
        TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..Default::default() });
    let pieces = prop::collection::vec(prop::sample::select(PIECES), 0..14);
    let strategy =
        (pieces, prop::collection::vec(any::<u8>(), 0..12), 1usize..40, any::<prop::sample::Index>());
    runner
        .run(&strategy, |(pieces, noise, piece, at)| {
            let mut bytes = pieces.concat();
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, noise);
            let mut stream = std::net::TcpStream::connect(gateway.address).unwrap();
            for part in bytes.chunks(piece) {
                if stream.write_all(part).is_err() {
                    break;
                }
            }
            drop(stream);
            Ok(())
        })
        .unwrap();
    let mut wire = gateway.connect();
    assert_eq!(wire.get("/name").status, 200);
    drop(wire);
    eventually("all connections are gone", || (gateway.status().connections == 0).then_some(()));
}

/// Valid requests cut into random pieces are answered one by one, whatever the cuts.
#[test]
fn cuts_do_not_change_the_meaning() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let request = prop_oneof![
        (0usize..3_000).prop_map(|size| (
            format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n{}", "b".repeat(size)),
            size
        )),
        prop::collection::vec(1usize..500, 0..6).prop_map(|chunks| {
            let body: String =
                chunks.iter().map(|size| format!("{size:x}\r\n{}\r\n", "c".repeat(*size))).collect();
            let head = "POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            (format!("{head}{body}0\r\n\r\n"), chunks.iter().sum())
        }),
    ];
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() });
    runner
        .run(&(prop::collection::vec(request, 1..6), 1usize..600), |(requests, piece)| {
            let mut wire = gateway.connect();
            let all: String = requests.iter().map(|(text, _)| text.as_str()).collect();
            all.as_bytes().chunks(piece).for_each(|part| wire.write(part));
            for (_, size) in &requests {
                let reply = wire.reply();
                prop_assert_eq!((reply.status, reply.body.len()), (200, *size));
            }
            Ok(())
        })
        .unwrap();
}
