//! Listening sockets: opened once, kept by name, handed over through the descriptor store.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener},
    os::fd::AsFd,
    path::PathBuf,
    sync::Arc,
};

use gateway_api::Listener;
use socket2::{Domain, Protocol, Socket, Type};

use crate::tls::Tls;

/// Connections that the kernel queues per listener; what is above waits in its clients.
const BACKLOG: i32 = 4_096;
/// Prefix of our names in the descriptor store.
const PREFIX: &str = "listener:";

#[derive(Debug)]
pub(crate) struct OpenListener {
    pub(crate) config: Listener,
    pub(crate) socket: Arc<TcpListener>,
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<Tls>>,
}

/// All sockets of this gateway.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    store_path: Option<PathBuf>,
    store: Option<handover::Client>,
    open: HashMap<String, Arc<TcpListener>>,
    tls: HashMap<String, Arc<Tls>>,
}

impl Sockets {
    /// Takes over what an earlier process left in the store.
    pub(crate) fn new(store_path: Option<PathBuf>, problems: &mut Vec<String>) -> Self {
        let mut sockets = Self { store_path, ..Self::default() };
        if sockets.store_path.is_none() {
            return sockets;
        }
        match sockets.with_store(handover::Client::take_all) {
            Ok(all) => {
                for (name, fd) in all {
                    if let Some(name) = name.strip_prefix(PREFIX) {
                        sockets.open.insert(name.to_owned(), Arc::new(fd.into()));
                    }
                }
            }
            Err(error) => {
                problems.push(format!("listeners of an earlier process are not taken over: {error}"))
            }
        }
        sockets
    }

    /// Opens what is missing, closes what is not wanted any more and says what did not work.
    pub(crate) fn apply(
        &mut self,
        wanted: &[Listener],
        problems: &mut Vec<String>,
    ) -> Vec<Arc<OpenListener>> {
        let unwanted: Vec<String> =
            self.open.keys().filter(|name| !wanted.iter().any(|one| one.name == **name)).cloned().collect();
        for name in unwanted {
            self.open.remove(&name);
            self.tls.remove(&name);
            self.forget(&name, problems);
        }
        let mut open: Vec<Arc<OpenListener>> = Vec::new();
        for listener in wanted {
            if open.iter().any(|one| one.config.name == listener.name) {
                problems.push(format!("listener {}: the name is used twice", listener.name));
                continue;
            }
            match self.open_one(listener, problems) {
                Ok(one) => open.push(Arc::new(one)),
                Err(what) => problems.push(format!("listener {}: {what}", listener.name)),
            }
        }
        open
    }

    fn open_one(&mut self, listener: &Listener, problems: &mut Vec<String>) -> Result<OpenListener, String> {
        // Never a plain listener in the place of one with TLS.
        let tls = listener.tls.as_ref().map(|files| match self.tls.get(&listener.name) {
            Some(same) if same.serves(files) => Ok(same.clone()),
            _ => Tls::load(files).map(Arc::new),
        });
        let tls = tls.transpose()?;
        match &tls {
            Some(tls) => self.tls.insert(listener.name.clone(), tls.clone()),
            None => self.tls.remove(&listener.name),
        };
        let socket = match self.open.get(&listener.name) {
            Some(socket) if fits(socket, listener.address) => socket.clone(),
            former => match bind(listener.address) {
                Ok(socket) => {
                    let socket = Arc::new(socket);
                    let name = format!("{PREFIX}{}", listener.name);
                    if let Err(error) = self.with_store(|store| store.put(&name, socket.as_fd())) {
                        problems.push(format!(
                            "listener {}: it would not survive a crash: {error}",
                            listener.name
                        ));
                    }
                    self.open.insert(listener.name.clone(), socket.clone());
                    socket
                }
                Err(error) => {
                    let what = format!("cannot listen on {}: {error}", listener.address);
                    let Some(former) = former.cloned() else { return Err(what) };
                    problems.push(format!("listener {}: {what}; the former address stays", listener.name));
                    former
                }
            },
        };
        let address = socket.local_addr().map_err(|error| error.to_string())?;
        socket.set_nonblocking(true).map_err(|error| error.to_string())?;
        Ok(OpenListener { config: listener.clone(), socket, address, tls })
    }

    fn forget(&mut self, name: &str, problems: &mut Vec<String>) {
        let name = format!("{PREFIX}{name}");
        if let Err(error) = self.with_store(|store| store.remove(&name)) {
            problems.push(format!("{name} stays in the descriptor store: {error}"));
        }
    }

    /// Calls the store, connecting anew once when it has gone. Without a store it is no error.
    fn with_store<T: Default>(
        &mut self,
        call: impl Fn(&handover::Client) -> Result<T, handover::Error>,
    ) -> Result<T, handover::Error> {
        let Some(path) = &self.store_path else { return Ok(T::default()) };
        if let Some(store) = &self.store {
            match call(store) {
                Err(handover::Error::Broken(_)) => self.store = None,
                done => return done,
            }
        }
        let store = handover::Client::connect(path)?;
        let done = call(&store);
        self.store = Some(store);
        done
    }

    /// Looks at the certificates again.
    pub(crate) fn refresh_tls(&self, problems: &mut Vec<String>) {
        for (name, tls) in &self.tls {
            if let Err(what) = tls.refresh() {
                problems.push(format!("listener {name}: the certificate stays as it was: {what}"));
            }
        }
    }
}

/// Whether an open socket is what is asked for; port 0 takes any port.
fn fits(socket: &TcpListener, wanted: SocketAddr) -> bool {
    socket.local_addr().is_ok_and(|address| {
        address.ip() == wanted.ip() && (wanted.port() == 0 || address.port() == wanted.port())
    })
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
