use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt},
};

use crate::{
    CLIENTS_MAX, Error, FDS_MAX, check_name,
    wire::{self, Kind},
};

/// Holds descriptors on a thread of its own (64 KiB of stack) until it is dropped.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    held: Arc<Mutex<BTreeMap<String, OwnedFd>>>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    const STACK_BYTES: usize = 64 << 10;
    /// Time that a client may take to read an answer before it is cut off.
    const SEND_TIMEOUT: Duration = Duration::from_secs(1);
    const BACKLOG: i32 = 16;

    /// Listens at `path` (mode 0600) and serves until the store is dropped. A socket file that a
    /// dead store left behind is replaced; a live one is an error.
    ///
    /// # Errors
    /// [`Error::Socket`]: the path is too long (107 bytes), not writable or in use.
    pub fn start(path: &Path) -> Result<Self, Error> {
        Self::start_for(path, None)
    }

    /// As [`Self::start`], for a client that runs as another user and group: the socket is theirs.
    /// Only root can do that.
    ///
    /// # Errors
    /// [`Error::Socket`], also when the socket cannot be given away.
    pub fn start_for(path: &Path, client: Option<(u32, u32)>) -> Result<Self, Error> {
        let at =
            |source: io::Error| Error::Socket { path: path.display().to_string(), action: "opened", source };
        let listener = listen(path, client).map_err(at)?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(|errno| at(errno.into()))?);
        let held = Arc::new(Mutex::new(BTreeMap::new()));
        let user = client.map(|(uid, _)| rustix::process::Uid::from_raw(uid));
        let serving = Serving { listener, user, stop: stop.clone(), held: held.clone(), clients: Vec::new() };
        let thread = std::thread::Builder::new()
            .name("fd-store".into())
            .stack_size(Self::STACK_BYTES)
            .spawn(move || serving.run())
            .map_err(at)?;
        Ok(Self { path: path.to_owned(), held, stop, thread: Some(thread) })
    }

    /// The socket's path, for [`crate::PATH_VARIABLE`].
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names held now, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        lock(&self.held).keys().cloned().collect()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The thread ends on the next turn of its loop; without the wake it would only go with
        // the process, which is no worse.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

fn lock(held: &Mutex<BTreeMap<String, OwnedFd>>) -> MutexGuard<'_, BTreeMap<String, OwnedFd>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(path: &Path, client: Option<(u32, u32)>) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let open = || {
        rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
    };
    if path.exists() {
        if rustix::net::connect(open()?, &address).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let socket = open()?;
    rustix::net::bind(&socket, &address)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    if let Some((uid, gid)) = client {
        std::os::unix::fs::lchown(path, Some(uid), Some(gid))?;
    }
    rustix::net::listen(&socket, Store::BACKLOG)?;
    Ok(socket)
}

struct Serving {
    listener: OwnedFd,
    /// Whose socket it is, when not our own user's.
    user: Option<rustix::process::Uid>,
    stop: Arc<OwnedFd>,
    held: Arc<Mutex<BTreeMap<String, OwnedFd>>>,
    clients: Vec<OwnedFd>,
}

impl Serving {
    fn run(mut self) {
        loop {
            let ready = {
                let fixed = [self.stop.as_fd(), self.listener.as_fd()];
                let fds = fixed.into_iter().chain(self.clients.iter().map(AsFd::as_fd));
                let mut polled: Vec<PollFd<'_>> =
                    fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
                match poll(&mut polled, None) {
                    Err(Errno::INTR) => continue,
                    Err(_) => return,
                    Ok(_) => polled.iter().map(|one| !one.revents().is_empty()).collect::<Vec<_>>(),
                }
            };
            if ready[0] {
                return;
            }
            let mut at = 1;
            let held = &self.held;
            self.clients.retain(|client| {
                at += 1;
                !ready[at] || serve(client, held).unwrap_or(false)
            });
            if ready[1] {
                self.accept();
            }
        }
    }

    fn accept(&mut self) {
        let Ok(client) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) else { return };
        let own = rustix::process::geteuid();
        let trusted = sockopt::socket_peercred(&client)
            .is_ok_and(|peer| peer.uid == own || peer.uid.is_root() || Some(peer.uid) == self.user);
        let timeout = Some(Store::SEND_TIMEOUT);
        let bounded = sockopt::set_socket_timeout(&client, sockopt::Timeout::Send, timeout).is_ok();
        if trusted && bounded && self.clients.len() < CLIENTS_MAX {
            self.clients.push(client);
        }
    }
}

/// Answers one message; false when the client has gone.
fn serve(client: &OwnedFd, held: &Mutex<BTreeMap<String, OwnedFd>>) -> io::Result<bool> {
    let message = match wire::receive(client) {
        Ok(None) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            wire::send(client, Kind::Error, &error.to_string(), None)?;
            return Ok(false);
        }
        other => other?,
    };
    let Some(wire::Message { kind, text: name, fd }) = message else { return Ok(false) };
    let mut held = lock(held);
    match (kind, fd) {
        (Kind::TakeAll, None) => {
            for (name, fd) in held.iter() {
                wire::send(client, Kind::Fd, name, Some(fd.as_fd()))?;
            }
        }
        (Kind::Put | Kind::Remove, _) if check_name(&name).is_err() => {
            wire::send(client, Kind::Error, "not a name", None)?;
            return Ok(true);
        }
        (Kind::Put, Some(_)) if held.len() >= FDS_MAX && !held.contains_key(&name) => {
            wire::send(client, Kind::Error, "full", None)?;
            return Ok(true);
        }
        (Kind::Put, Some(fd)) => drop(held.insert(name, fd)),
        (Kind::Remove, None) => drop(held.remove(&name)),
        _ => {
            wire::send(client, Kind::Error, "not a request", None)?;
            return Ok(true);
        }
    }
    wire::send(client, Kind::Ok, "", None)?;
    Ok(true)
}
