//! Sending requests: one connection each, with a deadline, errors as the server said them.

use std::{sync::Arc, time::Duration};

use api_types::Problem;
use base::{Class, Fault};
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use http::{Method, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::TcpStream;

mod tls;

/// Largest answer that is read whole.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Longest line of a stream.
const LINE_BYTES_MAX: usize = 1 << 20;

pub type Result<T> = std::result::Result<T, Error>;
type Body = BoxBody<Bytes, std::io::Error>;

/// Where the server is and how to prove oneself.
#[derive(Clone)]
pub struct Endpoint {
    /// `http://127.0.0.1:7070`, without a path.
    pub url: String,
    pub token: String,
    /// SHA-256 of the server's certificate, when it is self-signed.
    pub fingerprint: Option<String>,
    pub environment: String,
    /// Send the token without TLS beyond this machine too.
    pub insecure_plaintext: bool,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({}, {})", self.url, self.environment)
    }
}

/// A client. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Arc<Endpoint>,
    timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused, in its own words.
    #[error("{}", .0.message)]
    Refused(Problem),
    #[error("cannot reach {url}: {why}")]
    Unreachable { url: String, why: String },
    #[error("no answer from {url} within {after:?}")]
    Timeout { url: String, after: Duration },
    #[error("the answer of {url} cannot be read: {why}")]
    Answer { url: String, why: String },
    #[error("{url} is not an address")]
    Address { url: String },
    #[error("the token is not sent to {url} without TLS: anybody on the way could take it")]
    Plaintext { url: String },
}

impl Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Refused(_) => "client.refused",
            Self::Unreachable { .. } => "client.unreachable",
            Self::Timeout { .. } => "client.timeout",
            Self::Answer { .. } => "client.answer",
            Self::Address { .. } => "client.address",
            Self::Plaintext { .. } => "client.plaintext",
        }
    }
    fn class(&self) -> Class {
        match self {
            Self::Refused(problem) => class_of(problem.status),
            Self::Unreachable { .. } => Class::Unavailable,
            Self::Timeout { .. } => Class::Timeout,
            Self::Answer { .. } => Class::Internal,
            Self::Address { .. } | Self::Plaintext { .. } => Class::Invalid,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(problem) => problem.hint.clone(),
            Self::Unreachable { .. } => {
                Some("`stead up PATH` starts a server; `stead doctor` says what is wrong".into())
            }
            Self::Plaintext { .. } => Some(
                "use https://, a tunnel to a loopback address, or `--insecure-plaintext` where the way is safe"
                    .into(),
            ),
            _ => None,
        }
    }
}

fn class_of(status: u16) -> Class {
    match status {
        401 => Class::Unauthenticated,
        403 => Class::Denied,
        404 => Class::NotFound,
        409 | 412 => Class::Conflict,
        429 => Class::Limit,
        503 => Class::Unavailable,
        504 => Class::Timeout,
        400..=499 => Class::Invalid,
        _ => Class::Internal,
    }
}

impl Client {
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint: Arc::new(endpoint), timeout: Duration::from_secs(30) }
    }

    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends JSON and reads JSON.
    pub(crate) async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, Option<String>)],
        body: Option<&B>,
    ) -> Result<T> {
        let bytes = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| self.answer(&error))?,
            None => Vec::new(),
        };
        let kind = body.map(|_| "application/json");
        let body = Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed();
        let sent = async {
            let response = self.send(method, path, query, kind, body).await?;
            self.read_whole(response).await
        };
        let bytes = self.in_time(sent).await?;
        let bytes = if bytes.is_empty() { Bytes::from_static(b"null") } else { bytes };
        serde_json::from_slice(&bytes).map_err(|error| self.answer(&error))
    }

    /// Sends a stream of bytes and reads JSON. Without a deadline: it takes as long as it takes.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: BoxStream<'static, std::io::Result<Bytes>>,
    ) -> Result<T> {
        let frames = body.map(|part| part.map(Frame::data));
        let body = BodyExt::boxed(StreamBody::new(SyncStream(std::sync::Mutex::new(frames.boxed()))));
        let response = self.send(method, path, &[], Some(kind), body).await?;
        let bytes = self.read_whole(response).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.answer(&error))
    }

    /// Follows server-sent events of JSON values until the server ends or the stream is dropped.
    pub(crate) async fn events<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> Result<BoxStream<'static, Result<T>>> {
        let lines = self.lines(path, query).await?;
        let url = self.endpoint.url.clone();
        Ok(lines
            .filter_map(move |line| {
                let item = match line {
                    Ok(line) => line.strip_prefix("data:").map(|data| {
                        serde_json::from_str(data.trim())
                            .map_err(|error| Error::Answer { url: url.clone(), why: error.to_string() })
                    }),
                    Err(error) => Some(Err(error)),
                };
                async move { item }
            })
            .boxed())
    }

    /// Reads an answer line by line.
    pub(crate) async fn lines(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> Result<BoxStream<'static, Result<String>>> {
        let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed();
        let sent = self.send(Method::GET, path, query, None, body);
        let response = self.in_time(sent).await?;
        let response = self.check(response).await?;
        let url = self.endpoint.url.clone();
        let start = (response.into_body(), Vec::<u8>::new(), url);
        Ok(futures_util::stream::try_unfold(start, |(mut body, mut rest, url)| async move {
            loop {
                if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                    return Ok(Some((line, (body, rest, url))));
                }
                if rest.len() > LINE_BYTES_MAX {
                    return Err(Error::Answer { url, why: "a line is too long".into() });
                }
                match body.frame().await {
                    Some(Ok(frame)) => {
                        if let Some(data) = frame.data_ref() {
                            rest.extend_from_slice(data);
                        }
                    }
                    Some(Err(error)) => return Err(Error::Answer { url, why: error.to_string() }),
                    None => return Ok(None),
                }
            }
        })
        .boxed())
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, Option<String>)],
        kind: Option<&str>,
        body: Body,
    ) -> Result<Response<Incoming>> {
        let url = &self.endpoint.url;
        let uri: Uri = url.parse().map_err(|_| Error::Address { url: url.clone() })?;
        let authority = uri.authority().ok_or_else(|| Error::Address { url: url.clone() })?.clone();
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = uri.scheme_str() == Some("https");
        if !tls && !self.endpoint.insecure_plaintext && !is_loopback(&host) {
            return Err(Error::Plaintext { url: url.clone() });
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let unreachable = |why: String| Error::Unreachable { url: url.clone(), why };
        let stream = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let _ = stream.set_nodelay(true);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{path}{}", self.query(query)))
            .header(header::HOST, authority.as_str())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.endpoint.token))
            .header(header::USER_AGENT, concat!("stead/", env!("CARGO_PKG_VERSION")));
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let request = request.body(body).map_err(|error| self.answer(&error))?;
        let sent = if tls {
            let stream = tls::connect(stream, &host, self.endpoint.fingerprint.as_deref())
                .await
                .map_err(unreachable)?;
            exchange(TokioIo::new(stream), request).await
        } else {
            exchange(TokioIo::new(stream), request).await
        };
        sent.map_err(|error| unreachable(error.to_string()))
    }

    fn query(&self, pairs: &[(&str, Option<String>)]) -> String {
        let mut text = format!("?environment={}", encode(&self.endpoint.environment));
        for (name, value) in pairs {
            if let Some(value) = value {
                text.push_str(&format!("&{name}={}", encode(value)));
            }
        }
        text
    }

    /// Waits for `sent` as long as this client waits.
    pub(crate) async fn in_time<T>(&self, sent: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout(self.timeout, sent)
            .await
            .map_err(|_| Error::Timeout { url: self.endpoint.url.clone(), after: self.timeout })?
    }

    async fn check(&self, response: Response<Incoming>) -> Result<Response<Incoming>> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let bytes = self.collect(response).await?;
        Err(Error::Refused(serde_json::from_slice(&bytes).unwrap_or_else(|_| Problem {
            code: "http".into(),
            status,
            message: format!(
                "the server answered {status}: {}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(300)])
            ),
            hint: None,
        })))
    }

    async fn read_whole(&self, response: Response<Incoming>) -> Result<Bytes> {
        let response = self.check(response).await?;
        self.collect(response).await
    }

    pub(crate) async fn collect(&self, response: Response<Incoming>) -> Result<Bytes> {
        let limited = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let collected = limited
            .collect()
            .await
            .map_err(|error| Error::Answer { url: self.endpoint.url.clone(), why: error.to_string() })?;
        Ok(collected.to_bytes())
    }

    pub(crate) fn answer(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Answer { url: self.endpoint.url.clone(), why: error.to_string() }
    }
}

/// Whether what is sent to `host` stays on this machine.
fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

async fn exchange<I>(io: I, request: Request<Body>) -> hyper::Result<Response<Incoming>>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    // The connection ends with its one exchange; there is nobody to supervise it for.
    #[allow(clippy::disallowed_methods)]
    tokio::spawn(connection);
    sender.send_request(request).await
}

/// Percent-encodes all but unreserved characters (RFC 3986).
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A stream that is only ever polled by one, for a body that has to be `Sync`.
struct SyncStream(std::sync::Mutex<BoxStream<'static, std::io::Result<Frame<Bytes>>>>);

impl futures_util::Stream for SyncStream {
    type Item = std::io::Result<Frame<Bytes>>;
    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        match self.get_mut().0.get_mut() {
            Ok(stream) => stream.poll_next_unpin(cx),
            Err(_) => std::task::Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str, insecure_plaintext: bool) -> Client {
        Client::new(Endpoint {
            url: url.into(),
            token: "canary".into(),
            fingerprint: None,
            environment: "default".into(),
            insecure_plaintext,
        })
        .with_timeout(Duration::from_millis(200))
    }

    #[tokio::test]
    async fn the_token_does_not_leave_the_machine_without_tls() {
        // Nothing is sent, so no address has to answer.
        for url in [
            "http://192.0.2.1:7070",
            "http://stead.example",
            "HTTP://stead.example",
            "http://[2001:db8::1]:7070",
            "http://localhost.example:7070",
            "http://127.0.0.1.example",
            "http://user@stead.example",
        ] {
            let refused = client(url, false).get_services().await.unwrap_err();
            assert!(matches!(refused, Error::Plaintext { .. }), "{url} {refused}");
            assert_eq!(refused.class(), Class::Invalid);
            assert!(!format!("{refused:?} {refused}").contains("canary"));
        }
        for (url, insecure) in [
            ("http://127.0.0.1:1", false),
            ("http://127.9.9.9:1", false),
            ("http://[::1]:1", false),
            ("http://localhost:1", false),
            ("https://192.0.2.1:1", false),
            ("http://192.0.2.1:1", true),
        ] {
            let tried = client(url, insecure).get_services().await.unwrap_err();
            assert!(!matches!(tried, Error::Plaintext { .. }), "{url}");
        }
    }
}
