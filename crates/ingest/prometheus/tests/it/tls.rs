//! Targets over TLS: whom we trust and who we must be told to.

use std::{io::Write as _, net::TcpListener, sync::Arc};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::scrape::Bed;

const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/cert.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/key.pem");

/// Answers every request with one sample.
fn serve() -> String {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(CERTIFICATE).unwrap().collect();
    let key = PrivateKeyDer::from_pem_file(KEY).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.unwrap(), key)
            .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || {
                let mut connection = rustls::ServerConnection::new(config).unwrap();
                let mut tls = rustls::Stream::new(&mut connection, &mut stream);
                let mut asked = [0; 4096];
                while std::io::Read::read(&mut tls, &mut asked).is_ok_and(|len| len > 0) {
                    let answer =
                        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\na 1\n";
                    if tls.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn certificates_are_held_against_what_the_job_says() {
    let address = serve();
    let bed = Bed::new();
    let apply = |tls: &str| {
        bed.apply_jobs(&format!(
            "- {{job_name: j, scheme: https, scrape_interval: 300ms, scrape_timeout: 300ms, tls_config: {{{tls}}}, \
             static_configs: [{{targets: ['{address}'], labels: {{instance: i}}}}]}}"
        ));
    };
    apply(&format!("ca_file: '{CERTIFICATE}'"));
    bed.until_error("TLS").await;
    apply(&format!("ca_file: '{KEY}'"));
    bed.until_error("no certificate is in the PEM").await;
    apply("ca_file: /absent.pem");
    bed.until_error("/absent.pem").await;
    apply(&format!("ca_file: '{CERTIFICATE}', server_name: other.test"));
    bed.until_error("TLS").await;
    assert!(bed.store.values(r#"a{instance="i", job="j"}"#).is_empty());
    apply(&format!("ca_file: '{CERTIFICATE}', server_name: target.test"));
    bed.store.until_value(r#"a{instance="i", job="j"}"#, "1").await;
    let bed = Bed::new();
    bed.apply_jobs(&format!(
        "- {{job_name: j, scheme: https, scrape_interval: 300ms, scrape_timeout: 300ms, tls_config: {{insecure_skip_verify: true}}, \
         static_configs: [{{targets: ['{address}'], labels: {{instance: i}}}}]}}"
    ));
    bed.store.until_value(r#"a{instance="i", job="j"}"#, "1").await;
}
