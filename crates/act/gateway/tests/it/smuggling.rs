//! The corpus in `tests/cases/smuggling`: what is refused never reaches the service as more than
//! one request and ends the connection; what passes leaves the connection in step.

use std::{fs, path::PathBuf};

use crate::support::*;

fn cases(kind: &str) -> Vec<(String, Vec<u8>)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/smuggling").join(kind);
    let mut cases: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    cases.sort();
    assert!(cases.len() > 5);
    cases
}

#[test]
fn ambiguous_requests_are_refused_and_the_connection_is_closed() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    for (name, bytes) in cases("refused") {
        // In one piece, and in pieces that split every line end.
        for piece in [bytes.len(), 1, 7] {
            let before = service.count();
            let mut wire = gateway.connect();
            let mut writer = wire.stream.try_clone().unwrap();
            for part in bytes.chunks(piece) {
                if std::io::Write::write_all(&mut writer, part).is_err() {
                    break;
                }
            }
            let _ = std::io::Write::write_all(&mut writer, b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n");
            let reply = wire.try_reply(false).unwrap_or_else(|| panic!("{name}: no answer"));
            assert!([400, 505].contains(&reply.status), "{name} in pieces of {piece}: {reply:?}");
            assert_eq!(reply.fields["connection"], "close", "{name}");
            assert!(wire.closed(), "{name}: something follows the refusal");
            // A body that turns bad midway may have begun to reach the service; nothing after it.
            assert!(service.count() <= before + 1, "{name}");
        }
    }
}

#[test]
fn what_passes_leaves_the_connection_in_step() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    for (name, bytes) in cases("passed") {
        for piece in [bytes.len(), 1, 7] {
            let before = service.count();
            let mut wire = gateway.connect();
            bytes.chunks(piece).for_each(|part| wire.write(part));
            let first = wire.reply();
            assert_eq!(first.status, 200, "{name}: {first:?}");
            assert!(!first.text().contains("/admin HTTP") || first.json()["target"] == "/", "{name}");
            assert_eq!(wire.get("/name").text(), service.address.port().to_string(), "{name}");
            assert_eq!(service.count(), before + 2, "{name}");
        }
    }
}

#[test]
fn what_the_service_gets_is_unambiguous() {
    for (name, bytes) in cases("passed") {
        let service =
            RawService::start("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", true);
        let gateway = TestGateway::start(vec![route("web", &[service.address])]);
        let mut wire = gateway.connect();
        wire.write(&bytes);
        wire.reply();
        let seen = service.text().to_lowercase();
        let head = seen.split("\r\n\r\n").next().unwrap();
        let count = |field: &str| head.matches(&format!("\r\n{field}:")).count();
        assert_eq!(count("host"), 1, "{name}: {head}");
        assert!(count("content-length") + count("transfer-encoding") <= 1, "{name}: {head}");
        assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "{name}: {head}");
    }
}
