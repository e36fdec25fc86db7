//! Asks a server over HTTP/1.1: one connection that is kept, redirects, gzip, bounds.

use std::{
    io::Read as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tasks::{Kind, Tasks};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::Instant,
};

use super::{BODIES_BYTES_MAX, BODY_BYTES_MAX, REDIRECTS_MAX, tls};
use crate::config::{Auth, HttpClient, SecretSource, Tls};

/// A body from this size on is unpacked away from the threads that serve.
const UNZIP_INLINE_BYTES_MAX: usize = 8 << 10;
/// How long certificates are believed before their files are read again.
const TLS_KEPT: Duration = Duration::from_secs(60);
/// Bytes of one secret's file.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Bytes of bodies that are held at once, by all scrapes.
#[derive(Debug, Default)]
pub(super) struct Held(AtomicUsize);

/// A body and its share of [`Held`].
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    _share: Share,
}

#[derive(Debug)]
struct Share {
    held: Arc<Held>,
    bytes: usize,
}

impl Share {
    fn grow(&mut self, more: usize) -> Result<(), String> {
        self.bytes += more;
        let all = self.held.0.fetch_add(more, Ordering::Relaxed) + more;
        if all > BODIES_BYTES_MAX {
            return Err(format!("all scrapes together hold more than {BODIES_BYTES_MAX} bytes"));
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Asks on behalf of one target or one discovery.
#[derive(Debug)]
pub(super) struct Client {
    tasks: Tasks,
    held: Arc<Held>,
    kept: Option<(String, http1::SendRequest<Empty<Bytes>>)>,
    tls: Option<(Tls, Instant, Arc<rustls::ClientConfig>)>,
}

/// What came.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) body: Body,
    pub(super) content_type: Option<String>,
}

/// What is asked for beside the address.
#[derive(Debug, Default)]
pub(super) struct Ask {
    pub(super) headers: HeaderMap,
    pub(super) gzip: bool,
    /// Bytes after decompression; 0 is the bound of the crate.
    pub(super) body_bytes_max: u64,
}

impl Client {
    pub(super) fn new(tasks: Tasks, held: Arc<Held>) -> Self {
        Self { tasks, held, kept: None, tls: None }
    }

    /// Dropping the future drops the connection.
    ///
    /// # Errors
    /// Why nothing came, in words.
    pub(super) async fn get(&mut self, url: &str, http: &HttpClient, ask: &Ask) -> Result<Fetched, String> {
        let mut uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let first_host = uri.authority().cloned();
        for _ in 0..=REDIRECTS_MAX {
            // Who we are is not for the server that a redirect leads to.
            let trusted = uri.authority() == first_host.as_ref();
            let answer = self.send(&uri, http, ask, trusted).await?;
            let status = answer.status();
            let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            match location {
                Some(location) if status.is_redirection() && http.follow_redirects => {
                    uri = resolve(&uri, location)?;
                }
                _ if status == StatusCode::OK => return self.body(answer, ask).await,
                _ => return Err(format!("server returned HTTP status {status}")),
            }
        }
        Err(format!("more than {REDIRECTS_MAX} redirects"))
    }

    async fn send(
        &mut self,
        uri: &Uri,
        http: &HttpClient,
        ask: &Ask,
        trusted: bool,
    ) -> Result<http::Response<Incoming>, String> {
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::get(path).body(Empty::new()).map_err(|error| error.to_string())?;
        let headers = request.headers_mut();
        headers.extend(ask.headers.clone());
        let host = authority.rsplit('@').next().unwrap_or_default();
        headers.insert(header::HOST, HeaderValue::from_str(host).map_err(|error| error.to_string())?);
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("Stead/", env!("CARGO_PKG_VERSION"))),
        );
        let encoding = if ask.gzip { "gzip" } else { "identity" };
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        for (name, value) in http.headers.iter().filter(|_| trusted) {
            let name = ::http::HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            let mut value = HeaderValue::from_str(&secret(value)?).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        if trusted && let Some(auth) = &http.auth {
            headers.insert(header::AUTHORIZATION, authorization(auth)?);
        }
        let place = format!("{}://{authority}", uri.scheme_str().unwrap_or("http"));
        let kept = self.kept.take().filter(|kept| kept.0 == place).map(|kept| kept.1);
        if let Some(mut sender) = kept
            && sender.ready().await.is_ok()
        {
            // A kept connection may have been closed meanwhile; then a new one is asked.
            if let Ok(answer) = sender.send_request(request.clone()).await {
                self.kept = Some((place, sender));
                return Ok(answer);
            }
        }
        let mut sender = self.connect(uri, http).await?;
        let answer = sender.send_request(request).await.map_err(|error| said(&error))?;
        self.kept = Some((place, sender));
        Ok(answer)
    }

    async fn connect(
        &mut self,
        uri: &Uri,
        http: &HttpClient,
    ) -> Result<http1::SendRequest<Empty<Bytes>>, String> {
        let https = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let stream = TcpStream::connect((host, port))
            .await
            .map_err(|error| format!("connect {host}:{port}: {error}"))?;
        if !https {
            return self.handshake(stream).await;
        }
        let config = self.tls(&http.tls).await?;
        let name = http.tls.server_name.clone().unwrap_or_else(|| host.to_owned());
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await;
        self.handshake(stream.map_err(|error| format!("TLS: {error}"))?).await
    }

    async fn tls(&mut self, wanted: &Tls) -> Result<Arc<rustls::ClientConfig>, String> {
        if let Some((tls, since, config)) = &self.tls
            && tls == wanted
            && since.elapsed() < TLS_KEPT
        {
            return Ok(Arc::clone(config));
        }
        let of_task = wanted.clone();
        let config = self.tasks.blocking("scrape.tls", move || tls::client(&of_task)).await;
        let config = config.map_err(|error| error.to_string())??;
        self.tls = Some((wanted.clone(), Instant::now(), Arc::clone(&config)));
        Ok(config)
    }

    async fn handshake<S>(&self, stream: S) -> Result<http1::SendRequest<Empty<Bytes>>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| said(&error))?;
        // It ends with its sender.
        let drive = move |_| async move { drop(connection.await) };
        self.tasks
            .spawn_once(Kind::AUXILIARY, "scrape.connection", drive)
            .map_err(|error| error.to_string())?;
        Ok(sender)
    }

    async fn body(&mut self, answer: http::Response<Incoming>, ask: &Ask) -> Result<Fetched, String> {
        let limit = match usize::try_from(ask.body_bytes_max) {
            Ok(limit @ 1..BODY_BYTES_MAX) => limit,
            _ => BODY_BYTES_MAX,
        };
        let (head, mut incoming) = answer.into_parts();
        let text = |name| {
            head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned)
        };
        let content_type = text(header::CONTENT_TYPE);
        let mut share = Share { held: Arc::clone(&self.held), bytes: 0 };
        let mut bytes = BytesMut::new();
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| said(&error))?;
            let Some(data) = frame.data_ref() else { continue };
            share.grow(data.len())?;
            if bytes.len() + data.len() > limit {
                // What is left of the body would be in the way of the next request.
                self.kept = None;
                return Err(format!("body size limit exceeded: more than {limit} bytes"));
            }
            bytes.extend_from_slice(data);
        }
        let bytes = match text(header::CONTENT_ENCODING).as_deref() {
            None | Some("" | "identity") => bytes.freeze(),
            Some("gzip") if bytes.len() < UNZIP_INLINE_BYTES_MAX => unzip(&bytes, limit, &mut share)?,
            Some("gzip") => {
                let work = move || unzip(&bytes, limit, &mut share).map(|unzipped| (unzipped, share));
                let done =
                    self.tasks.blocking("scrape.unzip", work).await.map_err(|error| error.to_string())?;
                let (unzipped, share) = done?;
                return Ok(Fetched { body: Body { bytes: unzipped, _share: share }, content_type });
            }
            Some(other) => return Err(format!("the answer is encoded with `{other}`")),
        };
        Ok(Fetched { body: Body { bytes, _share: share }, content_type })
    }
}

fn unzip(zipped: &[u8], limit: usize, share: &mut Share) -> Result<Bytes, String> {
    let mut out = Vec::with_capacity(zipped.len().saturating_mul(4).min(limit));
    let mut reader = flate2::read::MultiGzDecoder::new(zipped).take(limit as u64 + 1);
    reader.read_to_end(&mut out).map_err(|error| format!("gzip: {error}"))?;
    if out.len() > limit {
        return Err(format!("body size limit exceeded: more than {limit} bytes"));
    }
    share.grow(out.len())?;
    Ok(out.into())
}

/// The message with what lies below it.
fn said(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn resolve(from: &Uri, location: &str) -> Result<Uri, String> {
    let bad = |error: &dyn std::fmt::Display| format!("redirect to `{location}`: {error}");
    if location.contains("://") {
        let uri: Uri = location.parse().map_err(|error| bad(&error))?;
        return match uri.scheme_str() {
            Some("http" | "https") => Ok(uri),
            _ => Err(bad(&"neither http nor https")),
        };
    }
    let scheme = from.scheme_str().unwrap_or("http");
    let authority = from.authority().map(ToString::to_string).unwrap_or_default();
    let text = if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    text.parse().map_err(|error| bad(&error))
}

fn authorization(auth: &Auth) -> Result<HeaderValue, String> {
    let text = match auth {
        Auth::Basic { username, password } => {
            let password = password.as_ref().map(secret).transpose()?.unwrap_or_default();
            let pair = format!("{}:{password}", secret(username)?);
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
        }
        Auth::Header { scheme, credentials } => format!("{scheme} {}", secret(credentials)?),
    };
    let mut value =
        HeaderValue::from_str(&text).map_err(|_| "the credentials have letters that no header may have")?;
    value.set_sensitive(true);
    Ok(value)
}

fn secret(source: &SecretSource) -> Result<String, String> {
    match source {
        SecretSource::Inline(secret) => Ok(secret.expose().to_owned()),
        SecretSource::File(path) => {
            let said = |error: std::io::Error| format!("{}: {error}", path.display());
            let mut text = String::new();
            let file = std::fs::File::open(path).map_err(said)?;
            file.take(SECRET_BYTES_MAX).read_to_string(&mut text).map_err(said)?;
            Ok(text.trim().to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_say() {
        let from: Uri = "http://a:1/x/y?z".parse().unwrap();
        for (location, want) in [
            ("/m", Some("http://a:1/m")),
            ("m", Some("http://a:1/x/m")),
            ("//b/m", Some("http://b/m")),
            ("https://c/m", Some("https://c/m")),
            ("file://c/m", None),
        ] {
            assert_eq!(
                resolve(&from, location).ok().map(|uri| uri.to_string()).as_deref(),
                want,
                "{location}"
            );
        }
    }

    #[test]
    fn a_body_that_unpacks_to_more_than_the_limit_is_refused() {
        use std::io::Write as _;
        let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        zip.write_all(&vec![b'a'; 1 << 20]).unwrap();
        let zipped = zip.finish().unwrap();
        let held = Arc::new(Held::default());
        let mut share = Share { held: Arc::clone(&held), bytes: 0 };
        assert!(unzip(&zipped, (1 << 20) - 1, &mut share).is_err());
        assert_eq!(unzip(&zipped, 1 << 20, &mut share).unwrap().len(), 1 << 20);
        assert!(share.grow(BODIES_BYTES_MAX).is_err());
        drop(share);
        assert_eq!(held.0.load(Ordering::Relaxed), 0);
    }
}
