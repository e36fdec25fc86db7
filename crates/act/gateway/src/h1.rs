//! HTTP/1.0 and 1.1 clients: one request after the other on a connection, bodies streamed both
//! ways, upgrades. Its own reader and writer rather than a library's, since it is the hot path
//! and the place of the smuggling defences (ADR 0040).

mod head;
mod side;
mod tunnel;

use std::{
    io,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
pub(crate) use side::Io;
use side::{Client, Side};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    answer::Answer,
    body::Step,
    forward::{admit, push_field},
    headers::Framing,
    limits::HEADERS_MAX,
    log::push_number,
    proxy::{Exchange, Failure, Request, exchange},
    record::Record,
    thread::{Peer, Thread},
    trace::Trace,
    upstream::shrink,
    watchdog::Slot,
};

/// Bytes and time that are granted to a client that still sends while its connection is closed,
/// so that it can read the answer.
const LINGER_BYTES_MAX: usize = 1 << 20;
const LINGER: Duration = Duration::from_secs(2);
/// While draining an idle connection stays open so long, since its next request may be under way.
pub(crate) const DRAIN_IDLE: Duration = Duration::from_secs(1);

/// What comes after a request.
enum Next {
    Again,
    /// All is said; close.
    Close,
    /// Close, but the client may still be sending.
    Linger,
    /// Nobody is there.
    Gone,
    Http2,
}

/// Serves one connection until it ends. Gives it back with the bytes read when the client speaks
/// HTTP/2 without TLS.
pub(crate) async fn serve<S: Io>(io: S, thread: Rc<Thread>, peer: &Peer) -> Option<(S, BytesMut)> {
    let mut connection =
        Connection { client: Client::new(io), slot: thread.watchdog.slot(), thread, peer, served: 0 };
    loop {
        match connection.next().await {
            Next::Again => {}
            Next::Gone => return None,
            Next::Http2 => return Some((connection.client.io, connection.client.buf)),
            Next::Close => {
                connection.slot.within(LINGER, connection.client.io.shutdown()).await;
                return None;
            }
            Next::Linger => {
                connection.linger().await;
                return None;
            }
        }
    }
}

struct Connection<'a, S> {
    client: Client<S>,
    slot: Slot,
    thread: Rc<Thread>,
    peer: &'a Peer,
    served: u32,
}

impl<S: Io> Connection<'_, S> {
    async fn next(&mut self) -> Next {
        let length = match self.read_head().await {
            Ok(Some(length)) => length,
            Ok(None) => return Next::Gone,
            Err(answer) => return self.refuse(&answer).await,
        };
        if self.served == 0 && &self.client.buf[..length] == head::H2_PREFACE_HEAD {
            return Next::Http2;
        }
        self.served += 1;
        self.request(length).await
    }

    /// The length of the next head; none when the client has closed or was idle for too long.
    async fn read_head(&mut self) -> Result<Option<usize>, Answer> {
        shrink(&mut self.client.buf);
        let draining = self.thread.draining();
        if self.client.buf.is_empty() {
            self.slot.arm_idle(if draining { DRAIN_IDLE } else { self.thread.limits.idle_timeout });
        } else {
            self.slot.arm(self.thread.limits.head_timeout);
        }
        let mut scan = head::Scan::default();
        let mut blank_allowed = self.served > 0;
        std::future::poll_fn(|cx| {
            loop {
                if blank_allowed && self.client.buf.starts_with(b"\r\n") {
                    // One blank line after a body (RFC 9112, 2.2).
                    self.client.buf.advance(2);
                    (blank_allowed, scan) = (false, head::Scan::default());
                }
                let only_blank = blank_allowed && self.client.buf[..] == *b"\r";
                if !only_blank && let Some(length) = scan.find(&self.client.buf)? {
                    return Poll::Ready(Ok(Some(length)));
                }
                let first = self.client.buf.is_empty();
                match self.client.poll_fill(cx, 0) {
                    Poll::Ready(Ok(count)) if count > 0 => {}
                    Poll::Ready(_) => return Poll::Ready(Ok(None)),
                    Poll::Pending if !self.slot.expired(cx) => return Poll::Pending,
                    Poll::Pending if first => return Poll::Ready(Ok(None)),
                    Poll::Pending => return Poll::Ready(Err(slow_head())),
                }
                if first {
                    self.slot.arm(self.thread.limits.head_timeout);
                }
            }
        })
        .await
    }

    async fn request(&mut self, length: usize) -> Next {
        let admitted = self.admit(length);
        self.client.buf.advance(length);
        let (admitted, how) = match admitted {
            Ok(admitted) => admitted,
            Err(answer) => return self.refuse(&answer).await,
        };
        match admitted {
            Ok(request) => {
                let side = Side::new(&mut self.client, &how, request.body_max);
                Turn { thread: &self.thread, slot: &self.slot, side, request }.run().await
            }
            Err(refused) => {
                let (record, answer) = *refused;
                // The body that follows is not read, so the connection cannot go on after one.
                let body = how.framing != Framing::None;
                let close = how.close || body || answer.status == 400;
                write_answer(&mut self.client.out, &answer, record, close, how.head_only);
                match self.flush().await {
                    Next::Close if body || answer.status == 400 => Next::Linger,
                    Next::Close if !close => Next::Again,
                    next => next,
                }
            }
        }
    }

    /// Reads the head and makes the request that goes on, or the answer.
    #[allow(clippy::type_complexity)]
    fn admit(&self, length: usize) -> Result<(Result<Request, Box<(Record, Answer)>>, How), Answer> {
        let started = Instant::now();
        let mut room = [const { std::mem::MaybeUninit::uninit() }; HEADERS_MAX];
        let (parsed, fields) = head::parse(&self.client.buf[..length], &mut room)?;
        let keep = if parsed.http10 { parsed.facts.keep_alive } else { !parsed.facts.close };
        let how = How {
            framing: parsed.framing,
            http10: parsed.http10,
            expect: parsed.facts.expect && !parsed.http10,
            close: !keep
                || self.thread.draining()
                || self.served >= self.thread.limits.connection_requests_max,
            head_only: parsed.method == b"HEAD",
            started,
        };
        let fields = || fields.iter().map(|field| (field.name.as_bytes(), field.value));
        Ok((admit(&self.thread, self.peer, &parsed.incoming(started), fields), how))
    }

    /// Answers what is not a request, and ends the connection.
    async fn refuse(&mut self, answer: &Answer) -> Next {
        let trace = Trace::new(None, &self.thread.random);
        let nothing: (&[u8], &[u8], &[u8]) = (b"", b"", b"");
        let series = &self.thread.stats.unmatched;
        let record = Record::new(&self.thread, series, self.peer.ip(), nothing, trace, Instant::now());
        write_answer(&mut self.client.out, answer, record, true, false);
        match self.flush().await {
            Next::Close => Next::Linger,
            next => next,
        }
    }

    async fn flush(&mut self) -> Next {
        let client = &mut self.client;
        let flushed = std::future::poll_fn(|cx| client.poll_flush(cx, &mut 0));
        match self.slot.within(self.thread.limits.write_timeout, flushed).await {
            Some(Ok(())) => Next::Close,
            _ => Next::Gone,
        }
    }

    async fn linger(&mut self) {
        let io = &mut self.client.io;
        let sink = async {
            let mut sink = vec![0; 16 << 10];
            let mut left = LINGER_BYTES_MAX;
            let _ = io.shutdown().await;
            while let Ok(count) = io.read(&mut sink).await {
                left = left.saturating_sub(count);
                if count == 0 || left == 0 {
                    break;
                }
            }
        };
        self.slot.within(LINGER, sink).await;
    }
}

fn slow_head() -> Answer {
    Answer::new(408, "gateway.head_timeout", "the request's head came too slowly", "send it without pauses")
}

/// Writes the gateway's own answer and ends the request's record with it.
fn write_answer(out: &mut Vec<u8>, answer: &Answer, mut record: Record, close: bool, head_only: bool) {
    let body = answer.body(Some(&record.trace.id));
    out.extend_from_slice(b"HTTP/1.1 ");
    push_number(out, u64::from(answer.status));
    out.push(b' ');
    out.extend_from_slice(answer.reason().as_bytes());
    out.extend_from_slice(b"\r\n");
    push_field(out, b"Content-Type", b"application/problem+json");
    push_field(out, b"Cache-Control", b"no-store");
    out.extend_from_slice(b"Content-Length: ");
    push_number(out, body.len() as u64);
    out.extend_from_slice(b"\r\n");
    if close {
        push_field(out, b"Connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
    if !head_only {
        out.extend_from_slice(&body);
        record.bytes_out = body.len() as u64;
    }
    record.status = answer.status;
    record.complete = true;
}

/// How a request wants to be treated, apart from where it goes.
#[derive(Debug)]
struct How {
    framing: Framing,
    http10: bool,
    /// The client waits for 100 before it sends the body.
    expect: bool,
    close: bool,
    head_only: bool,
    started: Instant,
}

/// One request on its way through.
struct Turn<'a, 'b, S> {
    thread: &'a Rc<Thread>,
    slot: &'a Slot,
    side: Side<'b, S>,
    request: Request,
}

impl<S: Io> Turn<'_, '_, S> {
    async fn run(mut self) -> Next {
        let exchanged = exchange(self.thread, &mut self.request, &mut self.side, self.slot).await;
        self.request.record.bytes_in = self.side.body_bytes;
        match exchanged {
            Ok(exchange) if exchange.upgraded => self.upgraded(exchange).await,
            Ok(exchange) => self.relay(exchange).await,
            Err(Failure::Gone) => Next::Gone,
            Err(Failure::Answer(answer)) => self.answer(answer).await,
        }
    }

    async fn answer(self, answer: Answer) -> Next {
        let unread = self.request.sender.wants_body();
        let close = self.side.close || unread;
        let client = self.side.client;
        write_answer(&mut client.out, &answer, self.request.record, close, self.request.head_only);
        let flushed = std::future::poll_fn(|cx| client.poll_flush(cx, &mut 0));
        match self.slot.within(self.thread.limits.write_timeout, flushed).await {
            Some(Ok(())) if unread => Next::Linger,
            Some(Ok(())) if close => Next::Close,
            Some(Ok(())) => Next::Again,
            _ => Next::Gone,
        }
    }

    /// Passes the response's body on, and what is left of the request's.
    async fn relay(mut self, mut exchange: Exchange) -> Next {
        self.request.record.open_ended = exchange.event_stream;
        let mut blocked = Blocked::None;
        let whole = std::future::poll_fn(|cx| self.poll_relay(cx, &mut exchange, &mut blocked)).await;
        let record = &mut self.request.record;
        record.bytes_in = self.side.body_bytes;
        record.complete = whole;
        if !whole {
            return Next::Gone;
        }
        exchange.finish(&self.request.sender);
        if self.request.sender.wants_body() {
            Next::Linger
        } else if self.side.close {
            Next::Close
        } else {
            Next::Again
        }
    }

    /// True when the whole response is with the client, false when either side broke off.
    fn poll_relay(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange,
        blocked: &mut Blocked,
    ) -> Poll<bool> {
        let mut moved = 0;
        if !self.request.sender.done() {
            let sent = self.request.sender.poll(cx, &mut exchange.conn.stream, &mut self.side, &mut moved);
            if matches!(sent, Poll::Ready(Err(_))) {
                return Poll::Ready(false);
            }
        }
        let now = loop {
            let ended = match self.take_response(exchange) {
                Ok(ended) => ended,
                Err(_) => return Poll::Ready(false),
            };
            match self.side.client.poll_flush(cx, &mut moved) {
                Poll::Ready(Ok(())) if ended => return Poll::Ready(true),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => break Blocked::Client,
            }
            match exchange.conn.poll_fill(cx, exchange.decoder.expected()) {
                Poll::Ready(Ok(count)) if count > 0 => moved += count,
                Poll::Ready(Ok(_)) if exchange.decoder == crate::body::Decoder::UntilClose => {
                    self.side.end();
                    exchange.decoder = crate::body::Decoder::new(Framing::None);
                }
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending => break Blocked::Service,
            }
        };
        if moved > 0 || now != *blocked {
            *blocked = now;
            let policy = &self.request.route.planned.route.policy;
            self.slot.arm(match now {
                Blocked::Client => self.thread.limits.write_timeout,
                _ if exchange.event_stream => self.thread.limits.tunnel_timeout,
                _ => Duration::from_millis(policy.response_timeout_ms),
            });
        }
        // A client that leaves while the service is silent would otherwise go unnoticed.
        let sent = self.request.sender.done();
        if sent && crate::proxy::Downstream::poll_gone(&mut self.side, cx).is_ready() {
            return Poll::Ready(false);
        }
        if self.slot.expired(cx) { Poll::Ready(false) } else { Poll::Pending }
    }

    /// Moves what was read from the service to the client's buffer. True at the end of the body.
    fn take_response(&mut self, exchange: &mut Exchange) -> Result<bool, &'static str> {
        if exchange.decoder == crate::body::Decoder::new(Framing::None) {
            return Ok(true);
        }
        loop {
            let buf = &mut exchange.conn.buf;
            match exchange.decoder.step(buf)? {
                Step::Data(count) => {
                    self.side.push(&buf[..count]);
                    self.request.record.bytes_out += count as u64;
                    buf.advance(count);
                    if exchange.decoder.ended() {
                        self.side.end();
                        return Ok(true);
                    }
                }
                Step::Skip(count) => {
                    buf.advance(count);
                    if exchange.decoder.ended() {
                        self.side.end();
                        return Ok(true);
                    }
                }
                Step::More => return Ok(false),
                Step::End => return Ok(true),
            }
        }
    }

    async fn upgraded(mut self, exchange: Exchange) -> Next {
        self.request.record.open_ended = true;
        let (limits, slot) = (&self.thread.limits, self.slot);
        let moved = tunnel::run(self.side.client, exchange.conn, slot, limits.tunnel_timeout).await;
        self.request.record.bytes_in += moved.up;
        self.request.record.bytes_out += moved.down;
        self.request.record.complete = moved.whole;
        Next::Close
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocked {
    None,
    /// The client does not take what is sent to it.
    Client,
    Service,
}

/// Answers one connection too many.
pub(crate) async fn turn_away<S: Io>(mut io: S, connections_max: usize) -> io::Result<()> {
    let message =
        format!("the gateway has {connections_max} connections per thread, which is the most it takes");
    let answer = Answer::new(503, "gateway.connections_max", message, "try again later, or raise the limit");
    let body = answer.body(None);
    let head = format!(
        "HTTP/1.1 503 {}\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.reason(),
        body.len()
    );
    io.write_all(&[head.as_bytes(), &body].concat()).await?;
    io.shutdown().await
}
