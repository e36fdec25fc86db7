//! HTTP/2 clients, by way of hyper; the same proxy behind it. Requests go on as HTTP/1.1.
//!
//! Not served: extended CONNECT (WebSocket over HTTP/2), trailers, server push.

use std::{
    cell::Cell,
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming as Received, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    answer::Answer,
    body::{Decoder, LAST_CHUNK, Step, push_chunk},
    forward::{Incoming, admit},
    h1::{DRAIN_IDLE, Io},
    headers::{Facts, Framing},
    limits::{BODY_RATE_BYTES_PER_S, BODY_RATE_GRACE, H2_STREAMS_MAX, REQUEST_HEAD_BYTES_MAX},
    proxy::{Downstream, Exchange, Failure, Request, exchange, slow_body},
    record::Record,
    response::Head,
    thread::{Peer, Thread},
    trace::Trace,
    watchdog::Slot,
};

const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes buffered per stream when the client takes them slowly.
const SEND_BUFFER_BYTES: usize = 256 << 10;
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves one connection until it ends. `start` was read from it before.
pub(crate) async fn serve<S: Io>(io: S, start: BytesMut, thread: Rc<Thread>, peer: Rc<Peer>) {
    let streams = Rc::new(Streams::default());
    let service = {
        let (thread, peer, streams) = (thread.clone(), peer, streams.clone());
        service_fn(move |request| {
            let stream = Stream::begin(&streams);
            let (thread, peer) = (thread.clone(), peer.clone());
            async move { Ok::<_, Infallible>(handle(thread, &peer, request, stream).await) }
        })
    };
    let mut builder = hyper::server::conn::http2::Builder::new(Local);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(REQUEST_HEAD_BYTES_MAX as u32)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .auto_date_header(false);
    let connection = builder.serve_connection(TokioIo::new(Prefixed { start, io }), service);
    let mut connection = std::pin::pin!(connection);
    let mut drain = thread.drain.clone();
    let mut drained = std::pin::pin!(drain.wait_for(|draining| *draining));
    let (mut closing, mut before) = (false, (0, 0));
    let slot = thread.watchdog.slot();
    slot.arm(thread.limits.head_timeout);
    let period = thread.limits.idle_timeout.min(thread.limits.write_timeout);
    std::future::poll_fn(|cx| {
        if !closing && drained.as_mut().poll(cx).is_ready() {
            closing = true;
            connection.as_mut().graceful_shutdown();
            slot.arm(DRAIN_IDLE.max(period));
        }
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while slot.expired(cx) {
            let now = (streams.begun.get(), streams.moved.get());
            let active = streams.active.get();
            if active == 0 && now.0 == before.0 {
                // Idle. A second time means that the client does not even close.
                if closing {
                    return Poll::Ready(());
                }
                closing = true;
                connection.as_mut().graceful_shutdown();
            } else if active > 0 && now == before && streams.waiting.get() == 0 {
                return Poll::Ready(()); // the client takes nothing of what it asked for
            }
            before = now;
            if active == 0 { slot.arm_idle(period) } else { slot.arm(period) }
        }
        Poll::Pending
    })
    .await;
}

/// What one connection's streams tell it.
#[derive(Debug, Default)]
struct Streams {
    active: Cell<u32>,
    begun: Cell<u64>,
    /// Grows with every piece of a body.
    moved: Cell<u64>,
    /// Streams that wait for the service and not for the client.
    waiting: Cell<u32>,
}

#[derive(Debug)]
struct Stream {
    streams: Rc<Streams>,
    waiting: bool,
}

impl Stream {
    fn begin(streams: &Rc<Streams>) -> Self {
        streams.active.set(streams.active.get() + 1);
        streams.begun.set(streams.begun.get() + 1);
        Self { streams: streams.clone(), waiting: false }
    }

    fn wait(&mut self, waiting: bool) {
        let count = &self.streams.waiting;
        match (self.waiting, waiting) {
            (false, true) => count.set(count.get() + 1),
            (true, false) => count.set(count.get() - 1),
            _ => {}
        }
        self.waiting = waiting;
    }

    fn moved(&self) {
        self.streams.moved.set(self.streams.moved.get() + 1);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.wait(false);
        self.streams.active.set(self.streams.active.get() - 1);
    }
}

async fn handle(
    thread: Rc<Thread>,
    peer: &Peer,
    received: http::Request<Received>,
    mut stream: Stream,
) -> http::Response<Outgoing> {
    let started = Instant::now();
    let (mut parts, body) = received.into_parts();
    join_cookies(&mut parts.headers);
    let mut facts = Facts::default();
    for (name, value) in &parts.headers {
        if let Err(what) = facts.take(name.as_str().as_bytes(), value.as_bytes()) {
            let nothing: (&[u8], &[u8], &[u8]) = (parts.method.as_str().as_bytes(), b"", b"");
            let trace = Trace::new(None, &thread.random);
            let record = Record::new(&thread, &thread.stats.unmatched, peer.ip(), nothing, trace, started);
            return own(&Answer::bad_request(what), record);
        }
    }
    let framing = match facts.content_length {
        _ if body.is_end_stream() => Framing::None,
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    };
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let incoming = Incoming {
        method: parts.method.as_str().as_bytes(),
        target: parts.uri.path_and_query().map_or("/", |target| target.as_str()).as_bytes(),
        host: authority.or(facts.host).unwrap_or_default(),
        framing,
        facts: &facts,
        started,
    };
    let fields = || parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let mut request = match admit(&thread, peer, &incoming, fields) {
        Ok(request) => request,
        Err(refused) => return own(&refused.1, refused.0),
    };
    // An upgrade cannot be asked for here, whatever fields say.
    request.upgrade = false;
    let mut side = Side::new(body, framing, request.body_max, started);
    let slot = thread.watchdog.slot();
    stream.wait(true);
    let exchanged = exchange(&thread, &mut request, &mut side, &slot).await;
    stream.wait(false);
    request.record.bytes_in = side.bytes;
    match exchanged {
        Ok(exchange) => {
            let mut response = http::Response::new(Outgoing::Own(None));
            *response.status_mut() =
                StatusCode::from_u16(request.record.status).unwrap_or(StatusCode::BAD_GATEWAY);
            *response.headers_mut() = std::mem::take(&mut side.fields);
            request.record.open_ended = exchange.event_stream;
            let relay = Relay { thread, slot, stream, side, request, exchange: Some(exchange), armed: false };
            *response.body_mut() = Outgoing::Relay(Box::new(relay));
            response
        }
        // The answer to somebody who has gone is not sent anywhere.
        Err(Failure::Gone) => http::Response::new(Outgoing::Own(None)),
        Err(Failure::Answer(answer)) => own(&answer, request.record),
    }
}

/// HTTP/2 clients may send a cookie field in pieces, which HTTP/1.1 knows only as one.
fn join_cookies(fields: &mut HeaderMap) {
    let all: Vec<&[u8]> = fields.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if all.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..]))
    {
        fields.insert(header::COOKIE, joined);
    }
}

fn own(answer: &Answer, mut record: Record) -> http::Response<Outgoing> {
    let body = Bytes::from(answer.body(Some(&record.trace.id)));
    record.status = answer.status;
    record.bytes_out = body.len() as u64;
    record.complete = true;
    let mut response = http::Response::new(Outgoing::Own(Some(body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// One request's side of the client.
#[derive(Debug)]
struct Side {
    body: Received,
    framing: Framing,
    max: u64,
    bytes: u64,
    started: Instant,
    fields: HeaderMap,
}

impl Side {
    fn new(body: Received, framing: Framing, max: u64, started: Instant) -> Self {
        Self { body, framing, max, bytes: 0, started, fields: HeaderMap::new() }
    }

    fn check(&self) -> Result<(), Failure> {
        if self.bytes > self.max {
            return Err(Failure::Answer(Answer::body_too_large(self.max)));
        }
        if matches!(self.framing, Framing::Length(length) if self.bytes > length) {
            return Err(Failure::Answer(Answer::bad_request("its body is longer than its Content-Length")));
        }
        let elapsed = self.started.elapsed();
        if elapsed > BODY_RATE_GRACE && self.bytes < elapsed.as_secs() * BODY_RATE_BYTES_PER_S {
            return Err(slow_body());
        }
        Ok(())
    }
}

impl Downstream for Side {
    fn poll_body(&mut self, cx: &mut Context<'_>, to: &mut Vec<u8>) -> Poll<Result<bool, Failure>> {
        loop {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    self.bytes += data.len() as u64;
                    self.check()?;
                    if self.framing == Framing::Chunked {
                        push_chunk(to, &data)
                    } else {
                        to.extend_from_slice(&data)
                    }
                    return Poll::Ready(Ok(false));
                }
                Some(Err(_)) => return Poll::Ready(Err(Failure::Gone)),
                None if matches!(self.framing, Framing::Length(length) if self.bytes < length) => {
                    return Poll::Ready(Err(Failure::Gone));
                }
                None => {
                    if self.framing == Framing::Chunked {
                        to.extend_from_slice(LAST_CHUNK);
                    }
                    return Poll::Ready(Ok(true));
                }
            }
        }
    }

    /// hyper drops the whole request when the client resets it.
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn interim(&mut self, _: &Head<'_>) {}

    fn head(&mut self, head: &Head<'_>) {
        for (name, value) in head.fields() {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value))
            {
                self.fields.append(name, value);
            }
        }
        let told = match head.summary.framing {
            Framing::Length(length) => Some(length),
            Framing::None if head.summary.status != 204 => head.told_length,
            _ => None,
        };
        if let Some(length) = told {
            self.fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
}

enum Outgoing {
    Own(Option<Bytes>),
    Relay(Box<Relay>),
}

/// A response's body on its way to the client.
struct Relay {
    thread: Rc<Thread>,
    slot: Slot,
    stream: Stream,
    side: Side,
    request: Request,
    exchange: Option<Exchange>,
    armed: bool,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Own(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Relay(relay) => {
                let piece = relay.poll_piece(cx);
                relay.stream.wait(piece.is_pending());
                piece.map(|piece| piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_none(),
            Self::Relay(relay) => relay.exchange.as_ref().is_none_or(|exchange| exchange.decoder.ended()),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Self::Relay(_) => SizeHint::default(),
        }
    }
}

impl Relay {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Bytes>>> {
        let broke = |kind: std::io::ErrorKind| Poll::Ready(Some(Err(kind.into())));
        let Some(exchange) = &mut self.exchange else { return Poll::Ready(None) };
        let mut moved = 0;
        if !self.request.sender.done() {
            let sent = self.request.sender.poll(cx, &mut exchange.conn.stream, &mut self.side, &mut moved);
            if matches!(sent, Poll::Ready(Err(_))) {
                return broke(std::io::ErrorKind::ConnectionAborted);
            }
        }
        loop {
            match exchange.decoder.step(&exchange.conn.buf) {
                Ok(Step::Data(count)) => {
                    self.request.record.bytes_out += count as u64;
                    self.stream.moved();
                    self.armed = false;
                    return Poll::Ready(Some(Ok(exchange.conn.buf.split_to(count).freeze())));
                }
                Ok(Step::Skip(count)) => {
                    exchange.conn.buf.advance(count);
                    continue;
                }
                Ok(Step::End) => return Poll::Ready(None),
                Ok(Step::More) => {}
                Err(_) => return broke(std::io::ErrorKind::InvalidData),
            }
            match exchange.conn.poll_fill(cx, exchange.decoder.expected()) {
                Poll::Ready(Ok(count)) if count > 0 => moved += count,
                Poll::Ready(Ok(_)) if exchange.decoder == Decoder::UntilClose => {
                    exchange.decoder = Decoder::new(Framing::None);
                    return Poll::Ready(None);
                }
                Poll::Ready(_) => return broke(std::io::ErrorKind::UnexpectedEof),
                Poll::Pending => break,
            }
        }
        if moved > 0 || !self.armed {
            self.armed = true;
            let policy = &self.request.route.planned.route.policy;
            self.slot.arm(if exchange.event_stream {
                self.thread.limits.tunnel_timeout
            } else {
                Duration::from_millis(policy.response_timeout_ms)
            });
        }
        if self.slot.expired(cx) { broke(std::io::ErrorKind::TimedOut) } else { Poll::Pending }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.request.record.bytes_in = self.side.bytes;
        if let Some(exchange) = self.exchange.take()
            && exchange.decoder.ended()
        {
            self.request.record.complete = true;
            exchange.finish(&self.request.sender);
        }
    }
}

/// Runs what hyper spawns on this thread.
#[derive(Debug, Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// A connection of which some bytes were read already.
struct Prefixed<S> {
    start: BytesMut,
    io: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.start.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, to);
        }
        let count = self.start.len().min(to.remaining());
        to.put_slice(&self.start.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
