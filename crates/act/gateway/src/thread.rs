//! What the connections of one thread share. Nothing in here is shared between threads except
//! through [`Shared`], which the hot path only counts connections in.

use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use base::Clock;
use tokio::sync::watch;

use crate::{
    balance::Random, limits::Limits, log::LogBuffer, plan::millis, stats::ThreadStats, table::Table,
    watchdog::Watchdog,
};

/// What all threads count together.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) connections: AtomicU64,
    /// Connections that were answered 503 because of the limit.
    pub(crate) refused: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    /// This thread's share of [`Limits::connections_max`].
    pub(crate) connections_max: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) table: RefCell<Rc<Table>>,
    pub(crate) stats: ThreadStats,
    pub(crate) log: LogBuffer,
    pub(crate) random: Random,
    pub(crate) watchdog: Rc<Watchdog>,
    pub(crate) in_flight: Cell<u64>,
    pub(crate) connections: Cell<usize>,
    /// True once the gateway drains.
    pub(crate) drain: watch::Receiver<bool>,
    pub(crate) origin: Instant,
}

impl Thread {
    pub(crate) fn draining(&self) -> bool {
        *self.drain.borrow()
    }

    /// Monotonic milliseconds, the same on all threads.
    pub(crate) fn now_ms(&self) -> u64 {
        millis(self.clock.monotonic())
    }

    /// Microseconds of this thread's own origin.
    pub(crate) fn since_us(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.origin).as_micros()).unwrap_or(u64::MAX)
    }
}

/// The listener as connections see it.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) name: String,
    pub(crate) trust_forwarded: bool,
}

/// Who is on the other side of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) door: Rc<Door>,
    pub(crate) tls: bool,
}

impl Peer {
    /// The address, IPv4 also when it came over an IPv6 socket.
    pub(crate) fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }
}
