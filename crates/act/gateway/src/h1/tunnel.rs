//! After an upgrade: bytes both ways until both ends have closed.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::side::{Client, Io};
use crate::{
    limits::{HEAD_BYTES, IO_BYTES},
    upstream::Conn,
    watchdog::Slot,
};

/// How a tunnel ended, and what it carried.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    pub(crate) up: u64,
    pub(crate) down: u64,
    /// Both ends closed; neither broke nor fell silent for too long.
    pub(crate) whole: bool,
}

/// Runs until both directions have ended, one breaks, or nothing moves for `timeout`.
pub(crate) async fn run<S: Io>(
    client: &mut Client<S>,
    mut conn: Conn,
    slot: &Slot,
    timeout: Duration,
) -> Moved {
    let (mut up, mut down) = (Direction::default(), Direction::default());
    slot.arm(timeout);
    let whole = std::future::poll_fn(|cx| -> Poll<io::Result<()>> {
        let before = up.moved + down.moved;
        if client.poll_flush(cx, &mut 0)?.is_pending() {
            return if slot.expired(cx) {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            } else {
                Poll::Pending
            };
        }
        let above = up.poll(cx, &mut client.buf, &mut client.io, &mut conn.stream)?;
        let below = down.poll(cx, &mut conn.buf, &mut conn.stream, &mut client.io)?;
        if above.is_ready() && below.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if up.moved + down.moved > before {
            slot.arm(timeout);
        }
        if slot.expired(cx) { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    })
    .await
    .is_ok();
    Moved { up: up.moved, down: down.moved, whole }
}

#[derive(Debug, Default)]
struct Direction {
    ended: bool,
    shut: bool,
    moved: u64,
}

impl Direction {
    fn poll<A: AsyncRead + Unpin, B: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
        from: &mut A,
        to: &mut B,
    ) -> Poll<io::Result<()>> {
        loop {
            while !buf.is_empty() {
                let count = std::task::ready!(Pin::new(&mut *to).poll_write(cx, buf))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                buf.advance(count);
                self.moved += count as u64;
            }
            if self.shut {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                std::task::ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.shut = true;
                continue;
            }
            if buf.capacity() < HEAD_BYTES {
                buf.reserve(IO_BYTES / 4);
            }
            match tokio_util::io::poll_read_buf(Pin::new(&mut *from), cx, buf) {
                Poll::Ready(count) => self.ended = count? == 0,
                Poll::Pending => {
                    std::task::ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    return Poll::Pending;
                }
            }
        }
    }
}
