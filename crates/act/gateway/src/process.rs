//! Starting, draining and ending the whole gateway.

use std::{
    os::fd::OwnedFd,
    path::Path,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use base::Clock;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};

use crate::{
    Error, Options, admin,
    apply::{Applier, Problems},
    health,
    limits::LOG_FILE_BYTES_MAX,
    log::{LogBuffer, LogWriter},
    plan::Plan,
    stats::{Handed, Samples},
    thread::Shared,
    worker,
};

/// Time that threads have to hand over a second's counters.
const COLLECT_TIMEOUT: Duration = Duration::from_millis(300);
const WORKER_STACK_BYTES: usize = 1 << 20;

/// Runs a gateway until it is told to drain (SIGTERM, SIGINT or `POST /drain`) and has finished.
///
/// # Errors
/// [`Error`] when it cannot start.
pub fn run(options: Options) -> Result<(), Error> {
    run_telling(options, || {})
}

/// As [`run`], and calls `ready` once the listeners of the snapshot are open and signals are heard.
///
/// # Errors
/// As [`run`].
pub fn run_telling(options: Options, ready: impl FnOnce()) -> Result<(), Error> {
    let gateway = Gateway::start_with(options, true)?;
    ready();
    gateway.join();
    Ok(())
}

/// A running gateway. Dropping it drains it and waits.
#[derive(Debug)]
pub struct Gateway {
    drain: watch::Sender<bool>,
    /// Readable once the applier has to end.
    stop: Arc<OwnedFd>,
    applier: Option<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
    main: Option<JoinHandle<()>>,
    log: Option<LogWriter>,
}

impl Gateway {
    /// Starts all threads. When it returns, the listeners of the snapshot are open. It leaves signals
    /// alone: a process that is nothing but a gateway calls [`run`].
    ///
    /// # Errors
    /// [`Error`]: the admin socket, the access log or a thread.
    pub fn start(options: Options) -> Result<Self, Error> {
        Self::start_with(options, false)
    }

    fn start_with(options: Options, signals: bool) -> Result<Self, Error> {
        let open = |what, path: &Path| {
            let path = path.display().to_string();
            move |source| Error::Open { what, path, source }
        };
        let log = match &options.access_log {
            None => None,
            Some(path) => {
                Some(LogWriter::start(path, LOG_FILE_BYTES_MAX).map_err(open("the access log", path))?)
            }
        };
        let stop = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC);
        let stop = Arc::new(stop.map_err(|errno| Error::Thread(errno.into()))?);
        let (plans, _) = watch::channel(Arc::new(Plan::default()));
        let (drain, _) = watch::channel(false);
        let (collect, _) = watch::channel(0);
        let threads = threads(options.threads);
        let (handed, received) = mpsc::channel(threads * 4);
        let (shared, problems) = (Arc::new(Shared::default()), Arc::new(Problems::default()));
        let mut gateway = Self {
            drain: drain.clone(),
            stop: stop.clone(),
            applier: None,
            workers: Vec::new(),
            main: None,
            log,
        };
        let mut applier =
            Applier::new(options.snapshot_path, options.fd_store, plans.clone(), problems.clone());
        applier.turn();
        for at in 0..threads {
            let setup = worker::Setup {
                clock: options.clock.clone(),
                limits: options.limits.clone(),
                connections_max: options.limits.connections_max.div_ceil(threads),
                shared: shared.clone(),
                plans: plans.subscribe(),
                drain: drain.subscribe(),
                collect: collect.subscribe(),
                handed: handed.clone(),
                log: gateway.log.as_ref().map_or_else(LogBuffer::none, LogWriter::buffer),
            };
            let run = move || drop(worker::run(setup));
            gateway.workers.push(spawn(format!("gateway-{at}"), WORKER_STACK_BYTES, run)?);
        }
        let facts = admin::Facts {
            plans: plans.subscribe(),
            problems,
            shared,
            samples: Arc::new(Samples::new()),
            drain: drain.clone(),
            since: options.clock.now(),
            log_dropped: gateway.log.as_ref().map(|log| log.dropped.clone()),
            series_overflown: Arc::new(AtomicU64::new(0)),
        };
        let path = options.admin_socket;
        let (ready, readied) = std::sync::mpsc::sync_channel(1);
        let main =
            Main { facts, clock: options.clock, collect, received, threads, signals, stop: stop.clone() };
        let socket_path = path.clone();
        let main = move || main.run(&socket_path, &ready);
        gateway.main = Some(spawn("gateway-main".into(), WORKER_STACK_BYTES, main)?);
        let opened = readied.recv().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()));
        opened.map_err(open("the admin socket", &path))?;
        gateway.applier =
            Some(spawn("gateway-apply".into(), WORKER_STACK_BYTES, move || applier.run(&stop))?);
        Ok(gateway)
    }

    /// Stops accepting; requests in flight have [`crate::Limits::drain_budget`] to finish.
    pub fn drain(&self) {
        self.drain.send_replace(true);
    }

    /// Waits until the gateway was drained and has finished.
    pub fn join(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        // A worker that could not run at all must not leave the rest waiting.
        self.drain();
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        for thread in [self.applier.take(), self.main.take()].into_iter().flatten() {
            let _ = thread.join();
        }
        if let Some(log) = self.log.take() {
            log.finish();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.drain();
        self.finish();
    }
}

fn threads(wanted: usize) -> usize {
    match wanted {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        some => some,
    }
}

fn spawn(
    name: String,
    stack_bytes: usize,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new().name(name).stack_size(stack_bytes).spawn(run).map_err(Error::Thread)
}

/// The main thread: admin socket, seconds, health checks, signals.
struct Main {
    facts: admin::Facts,
    clock: Arc<dyn Clock>,
    collect: watch::Sender<u64>,
    received: mpsc::Receiver<Handed>,
    threads: usize,
    signals: bool,
    /// Ends the applier, and with it the listeners.
    stop: Arc<OwnedFd>,
}

impl Main {
    fn run(self, socket: &Path, ready: &std::sync::mpsc::SyncSender<std::io::Result<()>>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(error))),
        };
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let listener = match admin::listen(socket) {
                Ok(listener) => listener,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let _ = ready.send(Ok(()));
            self.serve(listener).await;
            // A successor may have put its own socket there already.
            tokio::task::yield_now().await;
        });
    }

    async fn serve(self, listener: tokio::net::UnixListener) {
        let Self { facts, clock, collect, received, threads, signals, stop } = self;
        let (samples, overflown) = (facts.samples.clone(), facts.series_overflown.clone());
        let (drain, plans) = (facts.drain.clone(), facts.plans.clone());
        tokio::task::spawn_local(admin::serve(listener, Rc::new(facts)));
        tokio::task::spawn_local(health::run(plans));
        let mut drained = drain.subscribe();
        tokio::task::spawn_local(async move {
            if drained.wait_for(|draining| *draining).await.is_ok() {
                let _ = rustix::io::write(&*stop, &1u64.to_ne_bytes());
            }
        });
        if signals {
            tokio::task::spawn_local(drain_on_signal(drain));
        }
        seconds(&*clock, &collect, received, threads, &samples, &overflown).await;
    }
}

async fn drain_on_signal(drain: watch::Sender<bool>) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    drain.send_replace(true);
}

/// Collects each second's counters at its end, until all workers have gone.
async fn seconds(
    clock: &dyn Clock,
    collect: &watch::Sender<u64>,
    mut received: mpsc::Receiver<Handed>,
    threads: usize,
    samples: &Samples,
    overflown: &AtomicU64,
) {
    let mut lost = 0;
    loop {
        let now = clock.now();
        let into_second = u64::try_from(now.nanos().rem_euclid(1_000_000_000)).unwrap_or(0);
        let at = base::Timestamp::from_nanos(now.nanos().div_euclid(1_000_000_000) * 1_000_000_000);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_nanos(1_000_000_000 - into_second)) => {}
            () = collect.closed() => {}
        }
        collect.send_modify(|turn| *turn += 1);
        let all = async {
            for _ in 0..threads {
                let Some(handed) = received.recv().await else { return false };
                lost += handed.overflown;
                samples.add(&handed);
            }
            true
        };
        let alive = tokio::time::timeout(COLLECT_TIMEOUT, all).await.unwrap_or(true);
        overflown.store(std::mem::take(&mut lost), Relaxed);
        samples.close_second(at);
        if !alive {
            return;
        }
    }
}
