//! The API's listener: kept in the shim's descriptor store, so that a crash of control refuses
//! nobody, and TLS off loopback.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use base::{Class, Problem};
use handover::Client as Store;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use tasks::{Shutdown, Tasks};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// Connections to the API at once.
const CONNECTIONS_MAX: usize = 1_024;
/// A client has so long for the TLS handshake and for the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// Time that open requests get at shutdown.
const DRAIN_TIME: Duration = Duration::from_secs(3);
const STORED: &str = "api";

/// Where the API listens and how.
#[derive(Debug, Clone)]
pub(crate) struct Secured {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) fingerprint: String,
}

/// The listening socket: the one that the shim kept, else a new one.
///
/// # Errors
/// The address is in use, or is none.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, Problem> {
    let store =
        std::env::var_os(handover::PATH_VARIABLE).and_then(|path| Store::connect(Path::new(&path)).ok());
    if let Some(store) = &store {
        let kept = store.take_all().unwrap_or_default();
        for (name, descriptor) in kept {
            if name == STORED {
                let listener = TcpListener::from(descriptor);
                let same = listener.local_addr().is_ok_and(|bound| {
                    bound.ip() == address.ip() && (address.port() == 0 || bound.port() == address.port())
                });
                if same {
                    return Ok(listener);
                }
            }
        }
    }
    let listener = TcpListener::bind(address).map_err(|error| {
        Problem::new(Class::Unavailable, "bin.listen", format!("cannot listen on {address}: {error}"))
            .with_hint("choose another address with `--listen`, such as 127.0.0.1:0 for any free port")
    })?;
    if let Some(store) = &store {
        let _ = store.put(STORED, listener.as_fd());
    }
    Ok(listener)
}

/// Says so when something else listens on `address` already.
///
/// # Errors
/// The address is in use, or is none of this machine's.
pub(crate) fn free(address: SocketAddr, flag: &str) -> Result<(), Problem> {
    TcpListener::bind(address).map(drop).map_err(|error| {
        Problem::new(Class::Unavailable, "bin.listen", format!("cannot listen on {address}: {error}"))
            .with_hint(format!("choose another address with `{flag}`, such as 127.0.0.1:0 for any free port"))
    })
}

/// The certificate to use for `address`: the given one, one of our own off loopback, or none.
///
/// # Errors
/// The files cannot be read or made.
pub(crate) fn secure(
    address: SocketAddr,
    given: Option<(PathBuf, PathBuf)>,
    plaintext: bool,
    folder: &Path,
) -> Result<Option<Secured>, Problem> {
    let (certificate, key) = match given {
        Some(files) => files,
        None if address.ip().is_loopback() || plaintext => return Ok(None),
        None => own_certificate(address, folder)?,
    };
    let first = CertificateDer::from_pem_file(&certificate)
        .map_err(|error| tls_problem(&certificate, &error.to_string()))?;
    let fingerprint = format!("{:x}", Sha256::digest(&first));
    Ok(Some(Secured { certificate, key, fingerprint }))
}

/// Names of this machine under which others reach it; none where nobody else can.
pub(crate) fn host_names(bound: SocketAddr) -> Vec<String> {
    if bound.ip().is_loopback() {
        return Vec::new();
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().to_ascii_lowercase();
    if name.is_empty() { Vec::new() } else { vec![name.clone(), format!("{name}.local")] }
}

fn tls_problem(path: &Path, why: &str) -> Problem {
    Problem::new(Class::Invalid, "bin.tls", format!("{}: {why}", path.display()))
        .with_hint("give a certificate and its key as PEM files")
}

/// A self-signed certificate, made once.
fn own_certificate(address: SocketAddr, folder: &Path) -> Result<(PathBuf, PathBuf), Problem> {
    let (certificate, key) = (folder.join("own.pem"), folder.join("own.key"));
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    if !address.ip().is_unspecified() {
        names.push(address.ip().to_string());
    }
    if let Ok(host) = std::fs::read_to_string("/etc/hostname") {
        names.push(host.trim().to_owned());
    }
    let made = rcgen::generate_simple_self_signed(names)
        .map_err(|error| tls_problem(&certificate, &error.to_string()))?;
    write_private(&key, made.signing_key.serialize_pem().as_bytes())?;
    write_private(&certificate, made.cert.pem().as_bytes())?;
    Ok((certificate, key))
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let draft = path.with_extension("new");
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&draft, path))
        .map_err(|error| crate::layout::io(path, &error))
}

fn acceptor(secured: &Secured) -> Result<TlsAcceptor, Problem> {
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&secured.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| tls_problem(&secured.certificate, &error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&secured.key)
        .map_err(|error| tls_problem(&secured.key, &error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| tls_problem(&secured.certificate, &error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|error| tls_problem(&secured.certificate, &error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until shutdown.
///
/// # Errors
/// The socket cannot be used, or the certificate cannot be read.
pub(crate) async fn serve(
    listener: TcpListener,
    secured: Option<Secured>,
    router: Router,
    tasks: Tasks,
    shutdown: Shutdown,
) -> Result<(), Problem> {
    let failed = |error: std::io::Error| Problem::new(Class::Unavailable, "bin.listen", error.to_string());
    listener.set_nonblocking(true).map_err(failed)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
    let acceptor = secured.as_ref().map(acceptor).transpose()?;
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return Ok(()) };
        let (stream, peer) = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let (router, acceptor) = (router.clone(), acceptor.clone());
        let connection = move |shutdown: Shutdown| async move {
            let _seat = seat;
            let service =
                router.map_request(move |mut request: axum::http::Request<hyper::body::Incoming>| {
                    request.extensions_mut().insert(ConnectInfo(peer));
                    request.map(axum::body::Body::new)
                });
            match acceptor {
                Some(acceptor) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HEAD_TIME, acceptor.accept(stream)).await {
                        drive(TokioIo::new(stream), service, shutdown).await;
                    }
                }
                None => drive(TokioIo::new(stream), service, shutdown).await,
            }
        };
        if let Err(error) = tasks.spawn_once(tasks::Kind::WORK, "api connection", connection) {
            tracing::warn!(%error, "a connection could not be served");
        }
    }
}

async fn drive<I, S>(io: I, service: S, shutdown: Shutdown)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    S: tower::Service<
            axum::http::Request<hyper::body::Incoming>,
            Response = axum::response::Response,
            Error = std::convert::Infallible,
        > + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(64 << 10);
    builder.http2().timer(hyper_util::rt::TokioTimer::new()).max_concurrent_streams(128);
    let connection = builder.serve_connection_with_upgrades(io, TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(DRAIN_TIME, connection).await;
}
