//! Connections to endpoints, and those of them that wait to be used again.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::{io::AsyncRead, net::TcpStream};

use crate::{
    balance::Upstream,
    limits::{HEAD_BYTES, IO_BYTES, UPSTREAM_IDLE, UPSTREAM_IDLE_MAX},
    watchdog::Slot,
};

#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) stream: TcpStream,
    pub(crate) buf: BytesMut,
    /// It has carried a request before.
    pub(crate) reused: bool,
}

/// A connection that nobody uses.
#[derive(Debug)]
pub(crate) struct Idle {
    conn: Conn,
    since: Instant,
}

impl Upstream {
    /// The connection used last among those that still seem open.
    pub(crate) fn checkout(&self, now: Instant) -> Option<Conn> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { mut conn, since }) = idle.pop() {
            // Answered from the readiness that the last poll has brought: costs no system call.
            let quiet = matches!(conn.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            if quiet && now.saturating_duration_since(since) < UPSTREAM_IDLE {
                conn.reused = true;
                return Some(conn);
            }
        }
        None
    }

    pub(crate) fn checkin(&self, mut conn: Conn) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < UPSTREAM_IDLE_MAX && conn.buf.is_empty() {
            shrink(&mut conn.buf);
            idle.push(Idle { conn, since: Instant::now() });
        }
    }

    /// Closes what has waited for too long.
    pub(crate) fn sweep(&self, now: Instant) {
        self.idle.borrow_mut().retain(|idle| now.saturating_duration_since(idle.since) < UPSTREAM_IDLE);
    }

    /// # Errors
    /// The system's error, or `TimedOut`.
    pub(crate) async fn connect(&self, timeout: Duration, slot: &Slot) -> io::Result<Conn> {
        let connected = slot.within(timeout, TcpStream::connect(self.address)).await;
        let stream = connected.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
        stream.set_nodelay(true)?;
        Ok(Conn { stream, buf: BytesMut::new(), reused: false })
    }
}

impl Conn {
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, expected: u64) -> Poll<io::Result<usize>> {
        poll_fill(&mut self.stream, &mut self.buf, cx, expected)
    }
}

/// Reads once into `buf`, which gets room for what is expected within bounds. 0 is the end.
pub(crate) fn poll_fill<R: AsyncRead + Unpin>(
    from: &mut R,
    buf: &mut BytesMut,
    cx: &mut Context<'_>,
    expected: u64,
) -> Poll<io::Result<usize>> {
    if buf.capacity() - buf.len() < HEAD_BYTES / 2 {
        let room = usize::try_from(expected).unwrap_or(IO_BYTES).clamp(HEAD_BYTES, IO_BYTES);
        buf.reserve(room);
    }
    tokio_util::io::poll_read_buf(Pin::new(from), cx, buf)
}

/// Gives a large empty buffer back, so that an idle connection costs little.
pub(crate) fn shrink(buf: &mut BytesMut) {
    if buf.is_empty() && buf.capacity() > 2 * HEAD_BYTES {
        *buf = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::id::ReplicaId;

    use super::*;
    use crate::plan::Health;

    #[tokio::test]
    async fn no_more_unused_connections_are_kept_than_the_limit() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Upstream::new(ReplicaId::new(), address, Arc::new(Health::default()));
        let mut other_ends = Vec::new();
        for _ in 0..UPSTREAM_IDLE_MAX + 3 {
            let stream = TcpStream::connect(address).await.unwrap();
            other_ends.push(listener.accept().await.unwrap().0);
            upstream.checkin(Conn { stream, buf: BytesMut::new(), reused: false });
        }
        assert_eq!(upstream.idle.borrow().len(), UPSTREAM_IDLE_MAX);
        // The ones beyond were closed at once: their other ends read the end.
        for end in other_ends.drain(UPSTREAM_IDLE_MAX..) {
            end.readable().await.unwrap();
            assert_eq!(end.try_read(&mut [0]).unwrap(), 0);
        }
        assert!(upstream.checkout(Instant::now()).is_some());
        assert_eq!(upstream.idle.borrow().len(), UPSTREAM_IDLE_MAX - 1);
    }
}
