//! One thread: its own runtime, its own connections on both sides.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use base::Clock;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc, watch},
    task::AbortHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    balance::Random,
    h1, h2,
    limits::Limits,
    listen::OpenListener,
    log::LogBuffer,
    plan::Plan,
    stats::{Handed, ThreadStats},
    thread::{Door, Peer, Shared, Thread},
    watchdog::Watchdog,
};

/// Pause after the system refused a connection (out of descriptors or memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections being told that there is no room; further ones are closed without a word.
const TURNED_AWAY_MAX: usize = 256;
const TURN_AWAY_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) connections_max: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) plans: watch::Receiver<Arc<Plan>>,
    pub(crate) drain: watch::Receiver<bool>,
    /// Each change asks for what was counted.
    pub(crate) collect: watch::Receiver<u64>,
    pub(crate) handed: mpsc::Sender<Handed>,
    pub(crate) log: LogBuffer,
}

/// Serves until drained.
///
/// # Errors
/// The runtime cannot be set up.
pub(crate) fn run(setup: Setup) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, serve(setup));
    Ok(())
}

async fn serve(setup: Setup) {
    let Setup { clock, limits, connections_max, shared, mut plans, drain, collect, handed, log } = setup;
    let mut drained = drain.clone();
    let thread = Rc::new(Thread {
        clock,
        connections_max,
        shared,
        table: RefCell::default(),
        stats: ThreadStats::default(),
        log,
        random: Random::new(),
        watchdog: Watchdog::new(),
        in_flight: Cell::new(0),
        connections: Cell::new(0),
        drain,
        origin: Instant::now(),
        limits,
    });
    let closed = Rc::new(Notify::new());
    tokio::task::spawn_local(thread.watchdog.clone().run());
    let collecting = tokio::task::spawn_local(collect_each_second(thread.clone(), collect, handed.clone()));
    let mut doors = Doors { thread: thread.clone(), closed: closed.clone(), open: HashMap::new() };
    loop {
        let plan = plans.borrow_and_update().clone();
        let next = thread.table.borrow().next(&plan, &thread.stats);
        *thread.table.borrow_mut() = Rc::new(next);
        doors.apply(&plan.listeners);
        tokio::select! {
            changed = plans.changed() => if changed.is_err() { break },
            _ = drained.wait_for(|draining| *draining) => break,
        }
    }
    doors.open.clear();
    thread.watchdog.hurry_idle(h1::DRAIN_IDLE);
    let quiet = async {
        while thread.connections.get() > 0 {
            closed.notified().await;
        }
    };
    let _ = tokio::time::timeout(thread.limits.drain_budget, quiet).await;
    collecting.abort();
    let _ = handed.try_send(thread.stats.take());
    thread.log.flush();
}

async fn collect_each_second(
    thread: Rc<Thread>,
    mut collect: watch::Receiver<u64>,
    handed: mpsc::Sender<Handed>,
) {
    while collect.changed().await.is_ok() {
        // Without room the counters stay in their cells until the next second.
        if let Ok(permit) = handed.try_reserve() {
            permit.send(thread.stats.take());
        }
        thread.log.flush();
        let now = Instant::now();
        let table = thread.table.borrow().clone();
        table.upstreams().for_each(|upstream| upstream.sweep(now));
    }
}

/// The listeners this thread accepts from.
struct Doors {
    thread: Rc<Thread>,
    closed: Rc<Notify>,
    open: HashMap<String, (Arc<OpenListener>, Accepting)>,
}

struct Accepting(AbortHandle);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Doors {
    fn apply(&mut self, listeners: &[Arc<OpenListener>]) {
        self.open.retain(|name, _| listeners.iter().any(|one| one.config.name == *name));
        for listener in listeners {
            let name = &listener.config.name;
            if self.open.get(name).is_some_and(|(known, _)| same(known, listener)) {
                continue;
            }
            let socket = listener.socket.try_clone().and_then(TcpListener::from_std);
            // The clone only fails when descriptors have run out; the next plan tries again.
            let Ok(socket) = socket else { continue };
            let door = Rc::new(Door { name: name.clone(), trust_forwarded: listener.config.trust_forwarded });
            let tls = listener.tls.as_ref().map(|tls| TlsAcceptor::from(tls.config.clone()));
            let accepting = accept(socket, door, tls, self.thread.clone(), self.closed.clone());
            let task = tokio::task::spawn_local(accepting);
            self.open.insert(name.clone(), (listener.clone(), Accepting(task.abort_handle())));
        }
    }
}

fn same(one: &OpenListener, other: &OpenListener) -> bool {
    let tls = match (&one.tls, &other.tls) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    };
    tls && Arc::ptr_eq(&one.socket, &other.socket)
        && one.config.trust_forwarded == other.config.trust_forwarded
}

async fn accept(
    socket: TcpListener,
    door: Rc<Door>,
    tls: Option<TlsAcceptor>,
    thread: Rc<Thread>,
    closed: Rc<Notify>,
) {
    let turned_away = Rc::new(Cell::new(0));
    loop {
        let Ok((stream, address)) = socket.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        if thread.connections.get() >= thread.connections_max && !thread.watchdog.reclaim_idle() {
            thread.shared.refused.fetch_add(1, Relaxed);
            if tls.is_none() && turned_away.get() < TURNED_AWAY_MAX {
                turn_away(stream, &thread, &turned_away);
            }
            continue;
        }
        let peer = Rc::new(Peer { address, door: door.clone(), tls: tls.is_some() });
        let open = Open::count(&thread, &closed);
        let (thread, tls) = (thread.clone(), tls.clone());
        tokio::task::spawn_local(async move {
            connection(stream, peer, tls, thread).await;
            drop(open);
        });
    }
}

fn turn_away(stream: TcpStream, thread: &Thread, count: &Rc<Cell<usize>>) {
    count.set(count.get() + 1);
    let (count, most) = (count.clone(), thread.connections_max);
    tokio::task::spawn_local(async move {
        let _ = tokio::time::timeout(TURN_AWAY_TIMEOUT, h1::turn_away(stream, most)).await;
        count.set(count.get() - 1);
    });
}

async fn connection(stream: TcpStream, peer: Rc<Peer>, tls: Option<TlsAcceptor>, thread: Rc<Thread>) {
    let Some(tls) = tls else {
        if let Some((stream, start)) = h1::serve(stream, thread.clone(), &peer).await {
            h2::serve(stream, start, thread, peer).await;
        }
        return;
    };
    let slot = thread.watchdog.slot();
    let Some(Ok(stream)) = slot.within(thread.limits.head_timeout, tls.accept(stream)).await else { return };
    drop(slot);
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        h2::serve(stream, bytes::BytesMut::new(), thread, peer).await;
    } else {
        // Without ALPN nothing but HTTP/1 is expected; a preface is a bad request there.
        h1::serve(stream, thread, &peer).await;
    }
}

/// Counts a connection while it is open.
struct Open {
    thread: Rc<Thread>,
    closed: Rc<Notify>,
}

impl Open {
    fn count(thread: &Rc<Thread>, closed: &Rc<Notify>) -> Self {
        thread.connections.set(thread.connections.get() + 1);
        thread.shared.connections.fetch_add(1, Relaxed);
        Self { thread: thread.clone(), closed: closed.clone() }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.thread.connections.set(self.thread.connections.get() - 1);
        self.thread.shared.connections.fetch_sub(1, Relaxed);
        self.closed.notify_one();
    }
}
