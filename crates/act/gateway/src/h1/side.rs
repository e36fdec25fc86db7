//! The client's connection, and one request's side of it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::How;
use crate::{
    answer::Answer,
    body::{Decoder, LAST_CHUNK, Step, push_chunk},
    forward::push_field,
    headers::Framing,
    limits::{BODY_RATE_BYTES_PER_S, BODY_RATE_GRACE, IO_BYTES, PIPELINE_BYTES_MAX},
    log::push_number,
    proxy::{Downstream, Failure, slow_body},
    response::Head,
    upstream::poll_fill,
};

pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + 'static> Io for T {}

/// A client's connection with what was read and not used, and what is to be written.
#[derive(Debug)]
pub(crate) struct Client<S> {
    pub(crate) io: S,
    pub(crate) buf: BytesMut,
    pub(crate) out: Vec<u8>,
    out_at: usize,
    unflushed: bool,
}

impl<S: Io> Client<S> {
    pub(crate) fn new(io: S) -> Self {
        Self { io, buf: BytesMut::new(), out: Vec::new(), out_at: 0, unflushed: false }
    }

    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, expected: u64) -> Poll<io::Result<usize>> {
        poll_fill(&mut self.io, &mut self.buf, cx, expected)
    }

    /// Writes all of `out`; `moved` counts what went.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>, moved: &mut usize) -> Poll<io::Result<()>> {
        while self.out_at < self.out.len() {
            match Pin::new(&mut self.io).poll_write(cx, &self.out[self.out_at..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.out_at += count;
                    self.unflushed = true;
                    *moved += count;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.out.clear();
        self.out_at = 0;
        if self.out.capacity() > 2 * IO_BYTES {
            self.out = Vec::new();
        }
        if self.unflushed {
            std::task::ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// How the response's body goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encode {
    Plain,
    Chunked,
}

/// One request on a client's connection.
#[derive(Debug)]
pub(crate) struct Side<'a, S> {
    pub(crate) client: &'a mut Client<S>,
    decoder: Decoder,
    /// The body goes to the service in chunks.
    chunked: bool,
    body_max: u64,
    pub(crate) body_bytes: u64,
    started: Instant,
    /// The client waits for 100 before it sends the body.
    expect: bool,
    http10: bool,
    /// The connection ends with this response.
    pub(crate) close: bool,
    /// The head of the response is out.
    answered: bool,
    encode: Encode,
}

impl<'a, S: Io> Side<'a, S> {
    pub(crate) fn new(client: &'a mut Client<S>, how: &How, body_max: u64) -> Self {
        Self {
            client,
            decoder: Decoder::new(how.framing),
            chunked: how.framing == Framing::Chunked,
            body_max,
            body_bytes: 0,
            started: how.started,
            expect: how.expect,
            http10: how.http10,
            close: how.close,
            answered: false,
            encode: Encode::Plain,
        }
    }

    /// Appends a piece of the response's body.
    pub(crate) fn push(&mut self, data: &[u8]) {
        match self.encode {
            Encode::Plain => self.client.out.extend_from_slice(data),
            Encode::Chunked => push_chunk(&mut self.client.out, data),
        }
    }

    /// The response's body is whole.
    pub(crate) fn end(&mut self) {
        if self.encode == Encode::Chunked {
            self.client.out.extend_from_slice(LAST_CHUNK);
        }
    }

    fn too_slow(&self) -> bool {
        let elapsed = self.started.elapsed();
        elapsed > BODY_RATE_GRACE && self.body_bytes < elapsed.as_secs() * BODY_RATE_BYTES_PER_S
    }

    fn take_body(&mut self, to: &mut Vec<u8>) -> Result<bool, Answer> {
        loop {
            match self.decoder.step(&self.client.buf).map_err(Answer::bad_request)? {
                Step::Data(count) => {
                    self.body_bytes += count as u64;
                    if self.body_bytes > self.body_max {
                        return Err(Answer::body_too_large(self.body_max));
                    }
                    let data = &self.client.buf[..count];
                    if self.chunked {
                        push_chunk(to, data)
                    } else {
                        to.extend_from_slice(data)
                    }
                    self.client.buf.advance(count);
                }
                Step::Skip(count) => self.client.buf.advance(count),
                Step::More => return Ok(false),
                Step::End => {
                    if self.chunked {
                        to.extend_from_slice(LAST_CHUNK);
                    }
                    return Ok(true);
                }
            }
        }
    }
}

impl<S: Io> Downstream for Side<'_, S> {
    fn poll_body(&mut self, cx: &mut Context<'_>, to: &mut Vec<u8>) -> Poll<Result<bool, Failure>> {
        loop {
            let before = to.len();
            let ended = self.take_body(to).map_err(Failure::Answer)?;
            if ended || to.len() > before {
                return Poll::Ready(Ok(ended));
            }
            if std::mem::take(&mut self.expect) && self.client.buf.is_empty() && !self.answered {
                self.client.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            // Only ever the few bytes above: whatever the socket does not take now goes out
            // before the response.
            if matches!(self.client.poll_flush(cx, &mut 0), Poll::Ready(Err(_))) {
                return Poll::Ready(Err(Failure::Gone));
            }
            match self.client.poll_fill(cx, self.decoder.expected()) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    if self.too_slow() {
                        return Poll::Ready(Err(slow_body()));
                    }
                }
                Poll::Ready(_) => return Poll::Ready(Err(Failure::Gone)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.client.buf.len() < PIPELINE_BYTES_MAX {
            match self.client.poll_fill(cx, 0) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }

    fn interim(&mut self, head: &Head<'_>) {
        if !self.http10 {
            write_head(&mut self.client.out, head);
            self.client.out.extend_from_slice(b"\r\n");
        }
    }

    fn head(&mut self, head: &Head<'_>) {
        let out = &mut self.client.out;
        write_head(out, head);
        match head.summary.framing {
            Framing::Length(length) => push_length(out, length),
            Framing::None => {
                if let Some(length) = head.told_length.filter(|_| !matches!(head.summary.status, 101 | 204)) {
                    push_length(out, length);
                }
            }
            Framing::Chunked | Framing::UntilClose if self.http10 => self.close = true,
            Framing::Chunked | Framing::UntilClose => {
                self.encode = Encode::Chunked;
                push_field(out, b"Transfer-Encoding", b"chunked");
            }
        }
        if head.summary.status == 101 {
            out.extend_from_slice(b"Connection: Upgrade\r\n");
            if let Some(protocol) = head.upgrade {
                push_field(out, b"Upgrade", protocol);
            }
        } else if self.close {
            out.extend_from_slice(b"Connection: close\r\n");
        } else if self.http10 {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        out.extend_from_slice(b"\r\n");
        self.answered = true;
    }
}

fn write_head(out: &mut Vec<u8>, head: &Head<'_>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_number(out, u64::from(head.summary.status));
    out.push(b' ');
    out.extend_from_slice(head.reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in head.fields() {
        push_field(out, name.as_bytes(), value);
    }
}

fn push_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    push_number(out, length);
    out.extend_from_slice(b"\r\n");
}
