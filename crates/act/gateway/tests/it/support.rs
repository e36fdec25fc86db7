//! A gateway, services and clients for tests.

use std::{
    collections::HashMap,
    convert::Infallible,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use base::{
    Scope,
    id::{ReleaseId, ReplicaId},
};
use bytes::Bytes;
use gateway::{Gateway, Limits, Options, client::Admin};
use gateway_api::{Endpoint, Listener, Policy, Route, Snapshot, Status, Target};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `ready` gives something.
pub(crate) fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

pub(crate) struct TestGateway {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) snapshot: Snapshot,
    pub(crate) address: SocketAddr,
    pub(crate) gateway: Option<Gateway>,
}

impl TestGateway {
    pub(crate) fn start(routes: Vec<Route>) -> Self {
        Self::with(routes, |_| {})
    }

    pub(crate) fn limited(routes: Vec<Route>, change: impl FnOnce(&mut Limits)) -> Self {
        Self::with(routes, |options| change(&mut options.limits))
    }

    pub(crate) fn with(routes: Vec<Route>, change: impl FnOnce(&mut Options)) -> Self {
        Self::build(Snapshot { version: 1, listeners: vec![listener("public")], routes }, change)
    }

    pub(crate) fn build(snapshot: Snapshot, change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        gateway::snapshot::write(&dir.path().join("routes.json"), &snapshot).unwrap();
        let mut options = Options::new(dir.path().join("routes.json"), dir.path().join("admin.sock"));
        options.threads = 2;
        options.fd_store = None;
        options.access_log = Some(dir.path().join("access.log"));
        change(&mut options);
        let gateway = Some(Gateway::start(options).unwrap());
        let mut this = Self { dir, snapshot, address: ([0, 0, 0, 0], 0).into(), gateway };
        let status = this.status();
        assert!(status.problems.is_empty(), "{status:?}");
        this.address = status.listeners[0].1;
        this
    }

    pub(crate) fn routes_path(&self) -> PathBuf {
        self.dir.path().join("routes.json")
    }

    pub(crate) fn admin(&self) -> Admin {
        Admin::new(self.dir.path().join("admin.sock"))
    }

    pub(crate) fn status(&self) -> Status {
        let admin = self.admin();
        block_on(async move { admin.status().await }).unwrap()
    }

    /// Publishes new routes and waits until they are served.
    pub(crate) fn publish(&mut self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshot.version += 1;
        change(&mut self.snapshot);
        gateway::snapshot::write(&self.routes_path(), &self.snapshot).unwrap();
        let version = self.snapshot.version;
        eventually("the new snapshot is served", || {
            (self.status().snapshot_version == version).then_some(())
        });
    }

    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// One request on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Reply {
        self.connect().get(path)
    }

    /// Drains and gives the access log.
    pub(crate) fn log(mut self) -> Vec<serde_json::Value> {
        self.gateway.take().unwrap().drain();
        let text = eventually("the log is there", || {
            std::fs::read_to_string(self.dir.path().join("access.log")).ok().filter(|text| !text.is_empty())
        });
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub(crate) fn block_on<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

pub(crate) fn listener(name: &str) -> Listener {
    Listener { name: name.into(), address: ([127, 0, 0, 1], 0).into(), tls: None, trust_forwarded: false }
}

/// A route for all paths to one release with these endpoints.
pub(crate) fn route(name: &str, endpoints: &[SocketAddr]) -> Route {
    Route {
        name: name.into(),
        scope: Scope::default(),
        service: name.into(),
        caller: None,
        listener: "public".into(),
        host: None,
        path: "/".into(),
        strip_prefix: false,
        policy: Policy::default(),
        targets: vec![target(100, endpoints)],
    }
}

pub(crate) fn target(weight: u32, endpoints: &[SocketAddr]) -> Target {
    let endpoints =
        endpoints.iter().map(|&address| Endpoint { replica: ReplicaId::new(), address }).collect();
    Target { release: ReleaseId::new(), weight, endpoints }
}

/// A client that writes what it is told.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    rest: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap().to_owned()
    }
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, rest: Vec::new() }
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn get(&mut self, path: &str) -> Reply {
        self.write(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.reply()
    }

    pub(crate) fn reply(&mut self) -> Reply {
        self.try_reply(false)
            .unwrap_or_else(|| panic!("closed; read {:?}", String::from_utf8_lossy(&self.rest)))
    }

    /// More bytes from the gateway; false at the end of the connection.
    fn more(&mut self) -> bool {
        let mut buf = [0; 16 << 10];
        match self.stream.read(&mut buf) {
            Ok(0) => false,
            Ok(count) => {
                self.rest.extend_from_slice(&buf[..count]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}; read {:?}", String::from_utf8_lossy(&self.rest)),
        }
    }

    pub(crate) fn head(&mut self) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more() {
                return None;
            }
        };
        let head = String::from_utf8(self.rest.drain(..end).collect()).unwrap();
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let fields = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let status = head[9..12].parse().unwrap();
        Some(Reply { status, fields, body: Vec::new() })
    }

    /// A whole response; none when the connection ends before.
    pub(crate) fn try_reply(&mut self, to_head: bool) -> Option<Reply> {
        let mut reply = self.head()?;
        if to_head || reply.status < 200 || matches!(reply.status, 204 | 304) {
            return Some(reply);
        }
        if reply.fields.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            loop {
                let chunk = self.chunk()?;
                if chunk.is_empty() {
                    return Some(reply);
                }
                reply.body.extend(chunk);
            }
        }
        match reply.fields.get("content-length").map(|length| length.parse::<usize>().unwrap()) {
            Some(length) => {
                while self.rest.len() < length {
                    if !self.more() {
                        return None;
                    }
                }
                reply.body = self.rest.drain(..length).collect();
            }
            None => {
                while self.more() {}
                reply.body = std::mem::take(&mut self.rest);
            }
        }
        Some(reply)
    }

    /// The next chunk as it comes; empty at the end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.rest.windows(2).position(|two| two == b"\r\n") {
                let size = usize::from_str_radix(std::str::from_utf8(&self.rest[..at]).unwrap(), 16).unwrap();
                if self.rest.len() >= at + 2 + size + 2 {
                    let chunk = self.rest[at + 2..at + 2 + size].to_vec();
                    self.rest.drain(..at + 2 + size + 2);
                    return Some(chunk);
                }
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// Whether the gateway closes the connection without another byte.
    pub(crate) fn closed(&mut self) -> bool {
        !self.more() && self.rest.is_empty()
    }

    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.rest.len() < count {
            assert!(self.more(), "closed early");
        }
        self.rest.drain(..count).collect()
    }
}

type Body = BoxBody<Bytes, Infallible>;

/// A service: hyper on a thread of its own.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<AtomicU64>,
    pub(crate) connections: Arc<AtomicU64>,
    /// Status that it answers everything with, 0 for its own.
    pub(crate) answer: Arc<AtomicU64>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Service {
    pub(crate) fn start() -> Self {
        Self::at(([127, 0, 0, 1], 0).into())
    }

    pub(crate) fn at(address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(1024).unwrap();
        let listener: std::net::TcpListener = socket.into();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, connections) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let answer = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let counts = (requests.clone(), connections.clone(), answer.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            let name = address.port().to_string();
            local.block_on(&runtime, async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve(listener, name, counts) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, requests, connections, answer, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn count(&self) -> u64 {
        self.requests.load(SeqCst)
    }

    /// Ends at once, with all its connections.
    pub(crate) fn kill(mut self) -> SocketAddr {
        self.end();
        self.address
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
    }
}

type Counts = (Arc<AtomicU64>, Arc<AtomicU64>, Arc<AtomicU64>);

async fn serve(listener: tokio::net::TcpListener, name: String, counts: Counts) {
    let (requests, connections, answer) = counts;
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.fetch_add(1, SeqCst);
        let (requests, answer, name) = (requests.clone(), answer.clone(), name.clone());
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| {
                requests.fetch_add(1, SeqCst);
                let forced = answer.load(SeqCst) as u16;
                let name = name.clone();
                async move {
                    if forced != 0 {
                        let mut response = full(name);
                        *response.status_mut() = http::StatusCode::from_u16(forced).unwrap();
                        return Ok::<_, Infallible>(response);
                    }
                    Ok(respond(request, name).await)
                }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
                .await;
            drop(served);
        });
    }
}

fn full(text: impl Into<Bytes>) -> Response<Body> {
    Response::new(BodyExt::boxed(Full::new(text.into())))
}

async fn respond(request: Request<Incoming>, name: String) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let argument = path.rsplit('/').next().and_then(|last| last.parse::<u64>().ok()).unwrap_or(0);
    match path.split('/').nth(1).unwrap_or_default() {
        "name" => full(name),
        "status" => {
            let mut response = full(name);
            *response.status_mut() = http::StatusCode::from_u16(argument as u16).unwrap();
            response
        }
        "slow" => {
            tokio::time::sleep(Duration::from_millis(argument)).await;
            full(name)
        }
        "big" => full(vec![b'x'; argument as usize]),
        "echo" => full(request.into_body().collect().await.unwrap().to_bytes()),
        "stream" => Response::new(BodyExt::boxed(request.into_body().map_err(|error| panic!("{error}")))),
        "events" => {
            let events = futures_util::stream::unfold(0, move |at| async move {
                if at == argument {
                    return None;
                }
                if at > 0 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Some((Ok(http_body::Frame::data(Bytes::from(format!("data: {at}\n\n")))), at + 1))
            });
            let mut response = Response::new(BodyExt::boxed(StreamBody::new(events)));
            response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
            response
        }
        "upgrade" => upgrade(request),
        _ => describe(request).await,
    }
}

/// Echoes bytes after 101.
fn upgrade(mut request: Request<Incoming>) -> Response<Body> {
    let protocol = request.headers().get("upgrade").cloned();
    let Some(protocol) = protocol else { return full("no upgrade") };
    let upgrading = hyper::upgrade::on(&mut request);
    tokio::task::spawn_local(async move {
        let mut io = TokioIo::new(upgrading.await.unwrap());
        let (mut from, mut to) = tokio::io::split(&mut io);
        tokio::io::copy(&mut from, &mut to).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut to).await.unwrap();
    });
    let mut response = full("");
    *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert("connection", "upgrade".parse().unwrap());
    response.headers_mut().insert("upgrade", protocol);
    response
}

/// What the service saw, as JSON.
async fn describe(request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let fields: Vec<_> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let seen = serde_json::json!({
        "method": parts.method.as_str(),
        "target": parts.uri.to_string(),
        "fields": fields,
        "body": String::from_utf8_lossy(&body),
    });
    let mut response = full(seen.to_string());
    response.headers_mut().insert("x-one", "1".parse().unwrap());
    response.headers_mut().insert("keep-alive", "timeout=5".parse().unwrap());
    response
}

/// A service that answers with given bytes, and keeps what it was sent.
pub(crate) struct RawService {
    pub(crate) address: SocketAddr,
    pub(crate) received: Arc<Mutex<Vec<u8>>>,
}

impl RawService {
    /// After each request head it writes `answer` and, if `close`, ends the connection.
    pub(crate) fn start(answer: impl Into<Vec<u8>>, close: bool) -> Self {
        let answer = answer.into();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let seen = received.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, seen, answer) = (stream.unwrap(), seen.clone(), answer.clone());
                std::thread::spawn(move || {
                    let mut buf = [0; 4096];
                    let mut pending = Vec::new();
                    while let Ok(count @ 1..) = stream.read(&mut buf) {
                        seen.lock().unwrap().extend_from_slice(&buf[..count]);
                        pending.extend_from_slice(&buf[..count]);
                        while let Some(at) = pending.windows(4).position(|four| four == b"\r\n\r\n") {
                            pending.drain(..at + 4);
                            if stream.write_all(&answer).is_err() || close {
                                return;
                            }
                        }
                    }
                });
            }
        });
        Self { address, received }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap()).into_owned()
    }
}
