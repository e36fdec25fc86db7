//! Noticing change: one thread that sleeps in epoll on the replicas' directories and on their shims.

use std::{
    collections::BTreeMap,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::Child,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use base::id::ReplicaId;
use rustix::{
    event::{EventfdFlags, Timespec, epoll, eventfd},
    fs::inotify,
    process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid},
};
use tokio::sync::watch;

use super::lock;

/// Change is assumed this often even when nothing was seen, in case the machine's inotify limits are
/// used up by others.
const FALLBACK: Duration = Duration::from_secs(10);
const STACK_BYTES: usize = 128 << 10;
const STOP: u64 = 0;
const FILES: u64 = 1;
const FIRST_SHIM: u64 = 2;
const EVENTS_AT_A_TIME: usize = 64;

#[derive(Debug)]
pub(super) struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    epoll: OwnedFd,
    stop: OwnedFd,
    inotify: Option<OwnedFd>,
    changes: watch::Sender<u64>,
    shims: Mutex<Shims>,
}

#[derive(Debug, Default)]
struct Shims {
    next: u64,
    by_token: BTreeMap<u64, Shim>,
}

#[derive(Debug)]
struct Shim {
    id: ReplicaId,
    handle: OwnedFd,
}

impl Shim {
    /// Takes its exit status when this process started it, so that it does not stay a zombie.
    fn reap(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let _ = waitid(WaitId::PidFd(self.handle.as_fd()), options);
    }
}

impl Watch {
    pub(super) fn start(dir: &Path) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            stop: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            inotify: inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok(),
            changes: watch::Sender::new(0),
            shims: Mutex::new(Shims { next: FIRST_SHIM, by_token: BTreeMap::new() }),
        });
        let data = epoll::EventData::new_u64;
        epoll::add(&shared.epoll, &shared.stop, data(STOP), epoll::EventFlags::IN)?;
        if let Some(files) = &shared.inotify {
            epoll::add(&shared.epoll, files, data(FILES), epoll::EventFlags::IN)?;
            let what =
                inotify::WatchFlags::CREATE | inotify::WatchFlags::DELETE | inotify::WatchFlags::ONLYDIR;
            let _ = inotify::add_watch(files, dir, what);
        }
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("replica-watch".into())
            .stack_size(STACK_BYTES)
            .spawn(move || of_thread.run())?;
        let watch = Self { shared, thread: Some(thread) };
        for entry in std::fs::read_dir(dir)?.flatten() {
            watch.directory(&entry.path());
        }
        Ok(watch)
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Watches a replica's directory for new statuses.
    pub(super) fn directory(&self, dir: &Path) {
        if let Some(files) = &self.shared.inotify {
            let what = inotify::WatchFlags::MOVED_TO
                | inotify::WatchFlags::ONLYDIR
                | inotify::WatchFlags::DONT_FOLLOW;
            let _ = inotify::add_watch(files, dir, what);
        }
    }

    /// Watches a shim that this process just started.
    pub(super) fn child(&self, id: &ReplicaId, child: &Child) {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        // A child of ours keeps its pid until it is reaped, so that the handle is its own.
        if let Some(handle) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) {
            self.shim(id, handle);
        }
        self.shared.changes.send_modify(|count| *count += 1);
    }

    /// Watches a shim, whoever started it.
    pub(super) fn shim(&self, id: &ReplicaId, handle: OwnedFd) {
        let mut shims = lock(&self.shared.shims);
        if shims.by_token.values().any(|shim| shim.id == *id) {
            return;
        }
        let token = shims.next;
        shims.next += 1;
        let data = epoll::EventData::new_u64(token);
        if epoll::add(&self.shared.epoll, &handle, data, epoll::EventFlags::IN).is_ok() {
            shims.by_token.insert(token, Shim { id: id.clone(), handle });
        }
    }

    /// Reaps what has ended, without waiting for the thread to get to it.
    pub(super) fn reap(&self) {
        self.shared.reap();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.shared.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // Shims live on. Those that are our children are reaped by whoever adopts them after us.
    }
}

impl Shared {
    fn run(&self) {
        let timeout =
            Timespec { tv_sec: FALLBACK.as_secs() as i64, tv_nsec: i64::from(FALLBACK.subsec_nanos()) };
        let mut events = Vec::with_capacity(EVENTS_AT_A_TIME);
        loop {
            events.clear();
            let waited =
                epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout));
            match waited {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
            for event in &events {
                let data = event.data;
                match data.u64() {
                    STOP => return,
                    FILES => self.take_file_events(),
                    token => self.shim_ended(token),
                }
            }
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// What the events say does not matter: whoever hears of a change looks at everything.
    fn take_file_events(&self) {
        let Some(files) = &self.inotify else { return };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(files.as_fd(), &mut buffer);
        while reader.next().is_ok() {}
    }

    fn shim_ended(&self, token: u64) {
        let mut shims = lock(&self.shims);
        if let Some(shim) = shims.by_token.remove(&token) {
            let _ = epoll::delete(&self.epoll, &shim.handle);
            shim.reap();
        }
    }

    fn reap(&self) {
        lock(&self.shims).by_token.values().for_each(Shim::reap);
    }
}
