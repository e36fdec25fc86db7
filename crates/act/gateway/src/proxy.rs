//! One request to a service: choose an endpoint, send, wait for the head of the response, try
//! again where that is safe. What the client speaks is behind [`Downstream`].
//!
//! When a request is sent again:
//! - the connect failed: always, since nothing was sent;
//! - a reused connection turned out dead before an answer: idempotent ones always; others only when the
//!   service's kernel refused the bytes (reset), which means the service did not read them;
//! - it broke before an answer, or answered 502, 503 or 504: idempotent ones, on another endpoint,
//!   within the route's attempts and budget.
//!
//! And never once a body was streamed that is not kept ([`crate::limits::REPLAY_BYTES_MAX`]).

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Buf;
use tokio::{io::AsyncWrite, net::TcpStream};

use crate::{
    answer::Answer,
    balance,
    body::Decoder,
    headers::Framing,
    limits::{CONNECT_ATTEMPTS_MAX, REPLAY_BYTES_MAX},
    plan::Verdict,
    record::Record,
    response::{self, Head},
    table::{Endpoint, Route},
    thread::Thread,
    upstream::Conn,
    watchdog::Slot,
};

/// The client's side of one request.
pub(crate) trait Downstream {
    /// Appends the next piece of the request's body, framed for the service. True at its end.
    fn poll_body(&mut self, cx: &mut Context<'_>, to: &mut Vec<u8>) -> Poll<Result<bool, Failure>>;
    /// Ready when the client has gone while nothing more is expected from it.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    /// A 1xx response other than 100 and 101.
    fn interim(&mut self, head: &Head<'_>);
    /// The response's head. Called once.
    fn head(&mut self, head: &Head<'_>);
}

/// Why there is no response to pass on.
#[derive(Debug)]
pub(crate) enum Failure {
    Answer(Answer),
    /// The client went away; nobody is left to answer.
    Gone,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) route: Rc<Route>,
    pub(crate) sender: Sender,
    pub(crate) idempotent: bool,
    /// HEAD: the response has no body whatever its fields say.
    pub(crate) head_only: bool,
    pub(crate) upgrade: bool,
    pub(crate) body_max: u64,
    pub(crate) record: Record,
}

/// A response whose head was given to the [`Downstream`]; its body is still to be read.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) conn: Conn,
    endpoint: Rc<Endpoint>,
    pub(crate) decoder: Decoder,
    /// The connection may carry another request after this one.
    keep: bool,
    /// 101: from here on bytes go both ways.
    pub(crate) upgraded: bool,
    /// `text/event-stream`: silence is normal.
    pub(crate) event_stream: bool,
}

impl Exchange {
    /// The response was read to its end.
    pub(crate) fn finish(self, sender: &Sender) {
        if self.keep && sender.done() && self.decoder.ended() {
            self.endpoint.upstream.checkin(self.conn);
        }
    }
}

/// The bytes of the request on their way to the service.
#[derive(Debug)]
pub(crate) struct Sender {
    out: Vec<u8>,
    at: usize,
    /// The end of the body is in `out`.
    ended: bool,
    /// Something was sent that is not in `out` any more.
    streamed: bool,
    /// The service takes no more; it may still answer.
    pub(crate) broken: bool,
}

impl Sender {
    pub(crate) fn new(out: Vec<u8>, ended: bool) -> Self {
        Self { out, at: 0, ended, streamed: false, broken: false }
    }

    pub(crate) fn done(&self) -> bool {
        self.ended && self.at == self.out.len() && !self.broken
    }

    /// Whether the client still has body to send.
    pub(crate) fn wants_body(&self) -> bool {
        !self.ended
    }

    fn rewind(&mut self) {
        self.at = 0;
        self.broken = false;
    }

    /// Takes in what is there of the body already, so that it can be sent again.
    fn fill<D: Downstream>(&mut self, cx: &mut Context<'_>, down: &mut D) -> Result<(), Failure> {
        while !self.ended && self.out.len() < REPLAY_BYTES_MAX {
            match down.poll_body(cx, &mut self.out) {
                Poll::Ready(ended) => self.ended = ended?,
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Sends until all is sent (ready) or one side is not (pending). Bytes moved are added to
    /// `moved`. A service that takes no more sets `broken` and is no failure yet.
    pub(crate) fn poll<D: Downstream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        down: &mut D,
        moved: &mut usize,
    ) -> Poll<Result<(), Failure>> {
        loop {
            while self.at < self.out.len() && !self.broken {
                match Pin::new(&mut *stream).poll_write(cx, &self.out[self.at..]) {
                    Poll::Ready(Ok(count)) if count > 0 => {
                        self.at += count;
                        *moved += count;
                    }
                    Poll::Ready(_) => self.broken = true,
                    Poll::Pending => return Poll::Pending,
                }
            }
            if self.ended || self.broken {
                return Poll::Ready(Ok(()));
            }
            self.streamed = true;
            self.out.clear();
            self.at = 0;
            match down.poll_body(cx, &mut self.out) {
                Poll::Ready(Ok(ended)) => self.ended = ended,
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn waits_for_client(&self) -> bool {
        !self.ended && !self.broken && self.at == self.out.len()
    }

    /// Not one byte has left.
    fn untouched(&self) -> bool {
        self.at == 0 && !self.streamed
    }
}

/// How one attempt ended without a response.
enum Broke {
    /// Not a failure of the service.
    Client(Failure),
    Died {
        answered: bool,
        reset: bool,
    },
    Slow,
    Bad(&'static str),
    /// It answered with a status that another endpoint may better.
    Retry,
}

/// # Errors
/// [`Failure`]; the record then says what was tried.
///
/// Cancel-safe in that dropping it closes the connection to the service.
pub(crate) async fn exchange<D: Downstream>(
    thread: &Thread,
    request: &mut Request,
    down: &mut D,
    slot: &Slot,
) -> Result<Exchange, Failure> {
    let route = request.route.clone();
    let policy = &route.planned.route.policy;
    route.budget.request(thread.now_ms());
    if request.sender.wants_body() {
        std::future::poll_fn(|cx| Poll::Ready(request.sender.fill(cx, down))).await?;
    }
    let mut tries = Tries {
        thread,
        slot,
        route: &route,
        tried: Vec::new(),
        attempts: 0,
        fresh_only: false,
        answer: no_endpoint(&route.planned.route.service),
    };
    loop {
        let (endpoint, conn) = tries.open(request).await.map_err(Failure::Answer)?;
        let reused = conn.reused;
        let attempt = Attempt {
            thread,
            timeout: Duration::from_millis(policy.response_timeout_ms),
            began: Instant::now(),
            slot,
            may_retry: tries.another(request),
        };
        match attempt.run(conn, &endpoint, request, down).await {
            Ok(exchange) => return Ok(exchange),
            Err(broke) => tries.again(broke, reused, request)?,
        }
    }
}

/// What was tried of one request so far.
struct Tries<'a> {
    thread: &'a Thread,
    slot: &'a Slot,
    route: &'a Route,
    tried: Vec<Rc<Endpoint>>,
    /// Attempts that had a connection.
    attempts: u32,
    /// Connections that wait in the pool are not to be trusted any more.
    fresh_only: bool,
    /// What the client is told if nothing else works.
    answer: Answer,
}

impl Tries<'_> {
    /// A connection to an endpoint that was not tried yet. Connects that fail are no attempts:
    /// nothing was sent.
    async fn open(&mut self, request: &mut Request) -> Result<(Rc<Endpoint>, Conn), Answer> {
        let planned = &self.route.planned.route;
        while let Some(endpoint) = self.choose() {
            request.record.attempt(&endpoint);
            self.tried.push(endpoint.clone());
            let waiting = if self.fresh_only { None } else { endpoint.upstream.checkout(Instant::now()) };
            let timeout = Duration::from_millis(planned.policy.connect_timeout_ms);
            let connected = match waiting {
                Some(conn) => Ok(conn),
                None => endpoint.upstream.connect(timeout, self.slot).await,
            };
            match connected {
                Ok(conn) => {
                    self.attempts += 1;
                    return Ok((endpoint, conn));
                }
                Err(error) => {
                    request.record.judge(Verdict::Unreachable);
                    self.answer = unreachable(&planned.service, &error);
                    if self.tried.len() >= CONNECT_ATTEMPTS_MAX {
                        break;
                    }
                    request.record.retries += u64::from(self.choose().is_some());
                }
            }
        }
        Err(self.answer.clone())
    }

    fn choose(&self) -> Option<Rc<Endpoint>> {
        balance::choose(self.route, &self.tried, &self.thread.random, self.thread.now_ms())
    }

    /// Whether the request may go to another endpoint after this one has seen it.
    fn another(&self, request: &Request) -> bool {
        request.idempotent
            && !request.sender.streamed
            && self.attempts < self.route.planned.route.policy.attempts_max
            && self.choose().is_some()
    }

    /// Makes the request ready to be sent again, if that is safe.
    fn again(&mut self, broke: Broke, reused: bool, request: &mut Request) -> Result<(), Failure> {
        let planned = &self.route.planned.route;
        self.answer = match broke {
            Broke::Client(failure) => return Err(failure),
            Broke::Died { answered: false, reset }
                if reused && !request.sender.streamed && (request.idempotent || reset) =>
            {
                // The service closed it while it was idle. Once, on a fresh connection, to any
                // endpoint; this says nothing about the service's health.
                self.fresh_only = true;
                self.attempts -= 1;
                self.tried.pop();
                repeat(request);
                return Ok(());
            }
            Broke::Retry => {
                request.record.status = 0;
                repeat(request);
                return Ok(());
            }
            Broke::Died { .. } => broke_off(&planned.service),
            Broke::Bad(what) => Answer::bad_response(format!("the response is not HTTP: {what}")),
            Broke::Slow => {
                request.record.judge(Verdict::Failed);
                return Err(Failure::Answer(too_slow(&planned.service, planned.policy.response_timeout_ms)));
            }
        };
        request.record.judge(Verdict::Failed);
        let percent = planned.policy.retry_budget_percent;
        if !(self.another(request) && self.route.budget.retry(percent, self.thread.now_ms())) {
            return Err(Failure::Answer(self.answer.clone()));
        }
        repeat(request);
        Ok(())
    }
}

fn repeat(request: &mut Request) {
    request.sender.rewind();
    request.record.retries += 1;
}

fn no_endpoint(service: &str) -> Answer {
    let message = format!("no replica of {service} is ready");
    Answer::new(503, "gateway.no_replica", message, "look at the service's status and logs")
}

fn unreachable(service: &str, error: &io::Error) -> Answer {
    let message = format!("no replica of {service} takes connections: {}", error.kind());
    Answer::new(502, "gateway.unreachable", message, "look at the service's status and logs")
}

fn broke_off(service: &str) -> Answer {
    let message = format!("{service} closed the connection before it answered");
    Answer::new(
        502,
        "gateway.broke_off",
        message,
        "look at the service's logs for a crash; send again if that is safe",
    )
}

fn too_slow(service: &str, timeout_ms: u64) -> Answer {
    let message = format!("{service} did not answer within {timeout_ms} ms");
    Answer::new(
        504,
        "gateway.response_timeout",
        message,
        "look for what it waits for, or raise the route's response timeout",
    )
}

struct Attempt<'a> {
    thread: &'a Thread,
    timeout: Duration,
    began: Instant,
    slot: &'a Slot,
    may_retry: bool,
}

impl Attempt<'_> {
    /// Sends the request and reads up to the end of the response's head.
    async fn run<D: Downstream>(
        &self,
        mut conn: Conn,
        endpoint: &Rc<Endpoint>,
        request: &mut Request,
        down: &mut D,
    ) -> Result<Exchange, Broke> {
        let mut waits_for_client = request.sender.waits_for_client();
        self.arm(waits_for_client);
        let head = std::future::poll_fn(|cx| {
            let mut moved = 0;
            if let Poll::Ready(Err(failure)) = request.sender.poll(cx, &mut conn.stream, down, &mut moved) {
                return Poll::Ready(Err(Broke::Client(failure)));
            }
            let parsed = self.poll_head(cx, &mut conn, request, down);
            if parsed.is_ready() {
                return parsed;
            }
            if request.sender.done() && down.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Broke::Client(Failure::Gone)));
            }
            let waits = request.sender.waits_for_client();
            if moved > 0 || waits != waits_for_client {
                waits_for_client = waits;
                self.arm(waits);
            }
            if self.slot.expired(cx) {
                return Poll::Ready(Err(if waits { Broke::Client(slow_body()) } else { Broke::Slow }));
            }
            Poll::Pending
        })
        .await?;
        Ok(Exchange {
            conn,
            endpoint: endpoint.clone(),
            decoder: Decoder::new(head.framing),
            keep: head.keep_alive && head.framing != Framing::UntilClose,
            upgraded: head.status == 101,
            event_stream: head.event_stream,
        })
    }

    fn arm(&self, waits_for_client: bool) {
        self.slot.arm(if waits_for_client { self.thread.limits.body_timeout } else { self.timeout });
    }

    fn poll_head<D: Downstream>(
        &self,
        cx: &mut Context<'_>,
        conn: &mut Conn,
        request: &mut Request,
        down: &mut D,
    ) -> Poll<Result<response::Summary, Broke>> {
        loop {
            if !conn.buf.is_empty() {
                let read = response::read(&conn.buf, request, |head| {
                    if head.summary.status < 200 && head.summary.status != 101 {
                        if head.summary.status != 100 {
                            down.interim(head);
                        }
                    } else if self.may_retry
                        && matches!(head.summary.status, 502..=504)
                        && request.route.budget.retry(
                            request.route.planned.route.policy.retry_budget_percent,
                            self.thread.now_ms(),
                        )
                    {
                        return false;
                    } else {
                        down.head(head);
                    }
                    true
                });
                match read {
                    Err(what) => return Poll::Ready(Err(Broke::Bad(what))),
                    Ok(None) => {}
                    Ok(Some((summary, taken))) => {
                        if summary.status >= 200 || summary.status == 101 {
                            request.record.head(summary.status, self.began);
                        }
                        if !taken {
                            return Poll::Ready(Err(Broke::Retry));
                        }
                        conn.buf.advance(summary.head_bytes);
                        if summary.status >= 200 || summary.status == 101 {
                            return Poll::Ready(Ok(summary));
                        }
                        continue;
                    }
                }
            }
            match conn.poll_fill(cx, 0) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(end) => {
                    let reset = matches!(&end, Err(error) if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
                    ));
                    let reset = reset || request.sender.untouched();
                    return Poll::Ready(Err(Broke::Died { answered: !conn.buf.is_empty(), reset }));
                }
            }
        }
    }
}

pub(crate) fn slow_body() -> Failure {
    Failure::Answer(Answer::new(
        408,
        "gateway.body_timeout",
        "the request body came too slowly",
        "send it without pauses",
    ))
}
