//! TLS: ALPN, reload of the certificate, refusal of what is broken.

use std::{net::SocketAddr, path::Path, sync::Arc};

use gateway_api::{Snapshot, TlsFiles};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls};

use crate::support::*;

/// Writes a fresh self-signed certificate and gives it back.
fn certify(dir: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["shop.test".to_owned()]).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

async fn connect(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = tokio::net::TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("shop.test").unwrap(), stream).await
}

fn start(dir: &Path, service: &Service) -> TestGateway {
    let files = TlsFiles { certificate: dir.join("cert.pem"), key: dir.join("key.pem") };
    let mut public = listener("public");
    public.tls = Some(files);
    let snapshot =
        Snapshot { version: 1, listeners: vec![public], routes: vec![route("web", &[service.address])] };
    TestGateway::build(snapshot, |_| {})
}

async fn get_h1(mut stream: TlsStream<tokio::net::TcpStream>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream.write_all(b"GET /what HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap(); // an unclean end would be an error
    answer
}

#[test]
fn both_protocols_are_negotiated() {
    let dir = tempfile::tempdir().unwrap();
    let trusted = certify(dir.path());
    let service = Service::start();
    let gateway = start(dir.path(), &service);
    block_on(async {
        for protocols in [&[][..], &["http/1.1"]] {
            let stream = connect(gateway.address, &trusted, protocols).await.unwrap();
            let answer = get_h1(stream).await;
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.contains("\"x-forwarded-proto\",\"https\""),
                "{answer}"
            );
        }
        let stream = connect(gateway.address, &trusted, &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
        let running = tokio::task::spawn(connection);
        let response = sender.send_request(crate::h2::request("GET", "/name", "")).await.unwrap();
        assert_eq!(response.status(), 200);
        running.abort();
    });
}

#[test]
fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let first = certify(dir.path());
    let service = Service::start();
    let gateway = start(dir.path(), &service);
    let works = |trusted: &CertificateDer<'static>| {
        block_on(async { connect(gateway.address, trusted, &[]).await.is_ok() })
    };
    assert!(works(&first));
    let second = certify(dir.path());
    eventually("the second certificate is served", || works(&second).then_some(()));
    assert!(!works(&first));
    std::fs::write(dir.path().join("cert.pem"), "nonsense").unwrap();
    let problems = eventually("the broken one is told of", || {
        Some(gateway.status().problems).filter(|problems| !problems.is_empty())
    });
    assert!(problems[0].contains("cert.pem") && problems[0].contains("stays as it was"), "{problems:?}");
    assert!(works(&second));
    let third = certify(dir.path());
    eventually("the third is served", || works(&third).then_some(()));
    eventually("all is well", || gateway.status().problems.is_empty().then_some(()));
}

#[test]
fn without_its_certificate_a_listener_does_not_open_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    certify(dir.path());
    let service = Service::start();
    let mut gateway = start(dir.path(), &service);
    gateway.publish(|snapshot| {
        let mut broken = listener("broken");
        broken.tls =
            Some(TlsFiles { certificate: "/nowhere/cert.pem".into(), key: "/nowhere/key.pem".into() });
        snapshot.listeners.push(broken);
    });
    let status = gateway.status();
    assert_eq!(status.listeners.len(), 1);
    assert!(status.problems[0].contains("/nowhere/cert.pem"), "{status:?}");
}

#[test]
fn plain_bytes_on_a_tls_port_get_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    certify(dir.path());
    let service = Service::start();
    let gateway = start(dir.path(), &service);
    let mut wire = gateway.connect();
    wire.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let reply = std::panic::catch_unwind(move || wire.try_reply(false).is_none());
    assert!(reply.unwrap_or(true));
    assert_eq!(service.count(), 0);
}
