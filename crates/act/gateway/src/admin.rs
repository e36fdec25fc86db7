//! The admin socket: status, samples and drain over HTTP/1.1 on a unix socket, mode 0600.

use std::{
    convert::Infallible,
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use base::{Class, Problem, Timestamp};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gateway_api::Status;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::UnixListener,
    sync::{Semaphore, broadcast::error::RecvError, watch},
};

use crate::{
    apply::Problems,
    limits::{ADMIN_CONNECTIONS_MAX, SAMPLE_READERS_MAX},
    plan::Plan,
    stats::Samples,
    thread::Shared,
};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What the admin socket tells of.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) plans: watch::Receiver<Arc<Plan>>,
    pub(crate) problems: Arc<Problems>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) samples: Arc<Samples>,
    pub(crate) drain: watch::Sender<bool>,
    pub(crate) since: Timestamp,
    pub(crate) log_dropped: Option<Arc<std::sync::atomic::AtomicU64>>,
    pub(crate) series_overflown: Arc<std::sync::atomic::AtomicU64>,
}

impl Facts {
    pub(crate) fn status(&self) -> Status {
        let plan = self.plans.borrow().clone();
        let mut problems = self.problems.list();
        let mut count = |number: u64, what: &str| {
            if number > 0 {
                problems.push(format!("{number} {what}"));
            }
        };
        count(
            self.log_dropped.as_ref().map_or(0, |dropped| dropped.load(Relaxed)),
            "access log lines were dropped",
        );
        count(
            self.series_overflown.load(Relaxed),
            "rows of counters found no room and are summed up as `other`",
        );
        count(self.shared.refused.load(Relaxed), "connections were turned away at the limit");
        Status {
            snapshot_version: plan.version,
            listeners: plan.listeners.iter().map(|one| (one.config.name.clone(), one.address)).collect(),
            problems,
            connections: self.shared.connections.load(Relaxed),
            since: self.since,
        }
    }
}

/// Opens the socket in the place of one that a dead process left behind. The new file appears
/// under its name with its mode already set.
///
/// # Errors
/// The directory is missing or not writable, or the path is too long.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    let mut temporary = path.to_owned().into_os_string();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = Path::new(&temporary);
    let _ = std::fs::remove_file(temporary);
    let socket = UnixListener::bind(temporary)?;
    std::fs::set_permissions(temporary, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(temporary, path)?;
    Ok(socket)
}

pub(crate) async fn serve(socket: UnixListener, facts: Rc<Facts>) {
    let room = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = socket.accept().await else { continue };
        let facts = facts.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| {
                let answer = answer(&facts, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut builder = hyper::server::conn::http1::Builder::new();
            let served =
                builder.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
            // A client that broke off is no event.
            drop((served, permit));
        });
    }
}

fn answer(facts: &Facts, request: &Request<Incoming>) -> Response<Body> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/status") => json(StatusCode::OK, &facts.status()),
        (&Method::POST, "/drain") => {
            facts.drain.send_replace(true);
            json(StatusCode::ACCEPTED, &facts.status())
        }
        (&Method::GET, "/samples") if facts.samples.readers() >= SAMPLE_READERS_MAX => {
            let what = format!("{SAMPLE_READERS_MAX} readers of samples are connected, which is the most");
            refuse(&Problem::new(Class::Limit, "gateway.readers_max", what).with_hint("close another reader"))
        }
        (&Method::GET, "/samples") => samples(facts),
        (_, path) => {
            let what = format!("the gateway's admin socket has no {} {path}", request.method());
            let hint = "GET /status, GET /samples and POST /drain are what there is";
            refuse(&Problem::new(Class::NotFound, "gateway.no_such_call", what).with_hint(hint))
        }
    }
}

fn samples(facts: &Facts) -> Response<Body> {
    let (past, live) = facts.samples.subscribe();
    let live = stream::unfold(live, async |mut live| {
        loop {
            match live.recv().await {
                Ok(second) => return Some((second, live)),
                Err(RecvError::Lagged(_)) => {} // a reader that is too slow misses seconds
                Err(RecvError::Closed) => return None,
            }
        }
    });
    let lines = stream::iter(past).chain(live).filter(|lines| std::future::ready(!lines.is_empty()));
    let body = StreamBody::new(lines.map(|lines| Ok(Frame::data(lines))));
    let mut response = Response::new(BodyExt::boxed_unsync(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/x-ndjson"));
    response
}

fn refuse(problem: &Problem) -> Response<Body> {
    json(StatusCode::from_u16(problem.class.http_status()).unwrap_or(StatusCode::BAD_REQUEST), problem)
}

fn json<T: serde::Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(BodyExt::boxed_unsync(Full::new(Bytes::from(body))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
