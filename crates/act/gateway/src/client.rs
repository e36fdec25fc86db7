//! Control's side of the admin socket.

use std::{collections::VecDeque, io, path::PathBuf, time::Duration};

use base::Timestamp;
use bytes::{Bytes, BytesMut};
use gateway_api::{Sample, Status};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// Time that one call may take.
const TIMEOUT: Duration = Duration::from_secs(5);
const STATUS_BYTES_MAX: usize = 16 << 20;
/// A line of samples that is longer ends the connection.
const LINE_BYTES_MAX: usize = 1 << 20;
const RECONNECT_MIN: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// Why the gateway could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the gateway at {path} cannot be reached")]
    Unreachable { path: String, source: io::Error },
    #[error("the gateway does not answer as it should: {0}")]
    Answer(String),
    #[error("the gateway did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
}

impl base::Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "gateway.admin_unreachable",
            Self::Answer(_) => "gateway.admin_answer",
            Self::Timeout => "gateway.admin_timeout",
        }
    }

    fn class(&self) -> base::Class {
        match self {
            Self::Unreachable { .. } => base::Class::Unavailable,
            Self::Answer(_) => base::Class::Internal,
            Self::Timeout => base::Class::Timeout,
        }
    }

    fn hint(&self) -> Option<String> {
        Some("check that the gateway process runs".into())
    }
}

/// The gateway behind an admin socket. Cheap to clone; connects for each call.
#[derive(Debug, Clone)]
pub struct Admin {
    socket: PathBuf,
}

impl Admin {
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// # Errors
    /// [`Error`]; it takes at most five seconds. Cancel-safe.
    pub async fn status(&self) -> Result<Status, Error> {
        self.call(Method::GET, "/status").await
    }

    /// Tells the gateway to stop accepting, finish what is in flight and exit.
    ///
    /// # Errors
    /// [`Error`]; it takes at most five seconds. Cancel-safe.
    pub async fn drain(&self) -> Result<Status, Error> {
        self.call(Method::POST, "/drain").await
    }

    /// The samples of the last minute and then of each second, across restarts of the gateway.
    #[must_use]
    pub fn samples(&self) -> Samples {
        Samples { admin: self.clone(), body: None, buf: BytesMut::new(), ready: VecDeque::new(), last: None }
    }

    async fn call(&self, method: Method, path: &str) -> Result<Status, Error> {
        let call = async {
            let response = self.send(method, path).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), STATUS_BYTES_MAX).collect().await;
            let body = body.map_err(|error| Error::Answer(error.to_string()))?.to_bytes();
            if !status.is_success() {
                return Err(Error::Answer(String::from_utf8_lossy(&body).into_owned()));
            }
            serde_json::from_slice(&body).map_err(|error| Error::Answer(error.to_string()))
        };
        tokio::time::timeout(TIMEOUT, call).await.unwrap_or(Err(Error::Timeout))
    }

    async fn send(&self, method: Method, path: &str) -> Result<Response<Incoming>, Error> {
        let unreachable = |source| Error::Unreachable { path: self.socket.display().to_string(), source };
        let stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        let broke = |error: hyper::Error| Error::Answer(error.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
        // It ends when the response's body is dropped, and has nothing to report.
        #[allow(clippy::disallowed_methods)]
        tokio::spawn(async move { drop(connection.await) });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, "gateway")
            .body(Empty::<Bytes>::new())
            .map_err(|error| Error::Answer(error.to_string()))?;
        sender.send_request(request).await.map_err(broke)
    }
}

/// See [`Admin::samples`].
#[derive(Debug)]
pub struct Samples {
    admin: Admin,
    body: Option<Incoming>,
    buf: BytesMut,
    ready: VecDeque<Sample>,
    /// The newest second seen before the last connect; the replay does not go behind it.
    last: Option<(Timestamp, bool)>,
}

impl Samples {
    /// The next sample. It never ends: while the gateway is away it waits and connects again.
    /// Cancel-safe. A sample is given once, unless the gateway's clock was set back meanwhile.
    pub async fn next(&mut self) -> Sample {
        let mut pause = RECONNECT_MIN;
        loop {
            if let Some(sample) = self.ready.pop_front() {
                if let Some((last, true)) = self.last
                    && sample.at <= last
                {
                    continue;
                }
                self.last = Some((sample.at, false));
                return sample;
            }
            let Some(body) = &mut self.body else {
                match self.admin.send(Method::GET, "/samples").await {
                    Ok(response) if response.status().is_success() => {
                        self.buf.clear();
                        self.last = self.last.map(|(at, _)| (at, true));
                        self.body = Some(response.into_body());
                    }
                    _ => {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(RECONNECT_MAX);
                    }
                }
                continue;
            };
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buf.extend_from_slice(&data);
                    }
                    self.split();
                }
                Some(Err(_)) | None => self.body = None,
            }
        }
    }

    fn split(&mut self) {
        while let Some(at) = memchr::memchr(b'\n', &self.buf) {
            let line = self.buf.split_to(at + 1);
            // A line of a newer gateway that cannot be read is passed over.
            self.ready.extend(serde_json::from_slice::<Sample>(&line).ok());
        }
        if self.buf.len() > LINE_BYTES_MAX {
            self.body = None;
        }
    }
}
