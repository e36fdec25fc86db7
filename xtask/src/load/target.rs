//! The shop under load: where it is, and connections to it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, Uri,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::tally::Outcome;

/// Connections kept for the next request; more than that are closed after use.
const IDLE_MAX: usize = 256;
/// A page of the shop has about 30 KB.
const ANSWER_BYTES_MAX: usize = 4 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

pub(crate) struct Target {
    address: SocketAddr,
    host: HeaderValue,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Target {
    /// Refuses everything but this machine: a load on somebody else's is an attack.
    pub(crate) fn parse(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is not an address"))?;
        let Some(host) = uri.host() else { bail!("{url:?} names no host: expected http://127.0.0.1:PORT") };
        if uri.scheme_str() != Some("http") {
            bail!("{url:?} is not a plain http address: expected http://127.0.0.1:PORT");
        }
        let ip = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) => ip,
            // Names below `localhost` are this machine's by definition (RFC 6761), whatever DNS says.
            Err(_) if host == "localhost" || host.ends_with(".localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Err(_) => bail!("{host:?} is not this machine: only loopback addresses may be put under load"),
        };
        if !ip.is_loopback() {
            bail!("{ip} is not this machine: only loopback addresses may be put under load");
        }
        let port = uri.port_u16().unwrap_or(80);
        let host = HeaderValue::from_str(&format!("{host}:{port}"))?;
        Ok(Self { address: SocketAddr::new(ip, port), host, idle: Mutex::new(Vec::new()) })
    }

    /// Gives up kept connections: they end with the runtime that they were made on.
    pub(crate) fn forget(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Sends a request and reads its whole answer. Dropping the future closes the connection.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, Outcome> {
        let (mut parts, body) = request.into_parts();
        parts.headers.insert(HOST, self.host.clone());
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let is_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) if sender.is_ready() => sender,
                Some(_) => continue,
                None => self.connect().await?,
            };
            let request = Request::from_parts(parts.clone(), body.clone());
            match sender.send_request(request).await {
                Ok(response) => return self.read(sender, response).await,
                // The server had closed the kept connection and nothing was sent, so any client
                // would take another one and its user see nothing of it.
                Err(error) if is_kept && error.is_canceled() => {}
                Err(_) => return Err(Outcome::Broken),
            }
        }
    }

    async fn read(
        &self,
        mut sender: SendRequest<Full<Bytes>>,
        response: Response<Incoming>,
    ) -> Result<Answer, Outcome> {
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| Outcome::Broken)?.to_bytes();
        if sender.ready().await.is_ok() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_MAX {
                idle.push(sender);
            }
        }
        Ok(Answer { status, body })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Outcome> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address));
        let stream = connecting.await.map_err(|_| Outcome::Connect)?.map_err(|_| Outcome::Connect)?;
        stream.set_nodelay(true).map_err(|_| Outcome::Connect)?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|_| Outcome::Connect)?;
        // It ends with its sender, and a failure of it is a failure of the request on it.
        #[allow(
            clippy::disallowed_methods,
            reason = "nothing here outlives the run; there is no supervisor"
        )]
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_be_put_under_load() {
        for url in [
            "http://127.0.0.1:80",
            "http://127.9.9.9/",
            "http://[::1]:4000",
            "http://localhost:1",
            "http://shop.localhost:8080",
        ] {
            assert!(Target::parse(url).is_ok(), "{url}");
        }
        for url in [
            "http://example.com",
            "http://10.0.0.1",
            "http://0.0.0.0:80",
            "http://localhost.example.com",
            "https://127.0.0.1",
            "127.0.0.1:80",
            "http://notlocalhost",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
