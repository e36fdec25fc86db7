//! The control socket: requests of the driver, a line each, with descriptors where a request has some.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, CWD, unlinkat},
    io::{Errno, IoSliceMut},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix,
        SocketFlags, SocketType, accept_with, bind, listen, recvmsg, send, socket_with, sockopt,
    },
    process::Pid,
};

use crate::wire::{CONTROL, REQUEST_BYTES_MAX, Reply, Request};

/// Connections at a time; a further one is closed at once.
pub(crate) const CONNECTIONS_MAX: usize = 16;
/// How long a connection may take to send its request.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
const BACKLOG: i32 = 16;
/// Output and errors of a command.
const DESCRIPTORS_MAX: usize = 2;

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    Reading,
    /// A command runs for it, at most until the deadline.
    Exec {
        pid: Pid,
        deadline: Instant,
    },
    Upgrade,
    Done,
}

#[derive(Debug)]
pub(crate) struct Connection {
    stream: OwnedFd,
    received: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
    opened: Instant,
    pub(crate) doing: Doing,
}

/// What came over a connection.
pub(crate) enum Incoming {
    Nothing,
    Request(Request),
    Gone,
}

#[derive(Debug)]
pub(crate) struct Control {
    listener: OwnedFd,
    pub(crate) connections: Vec<Connection>,
}

impl Control {
    /// Listens in the working directory, whose path may be longer than a socket's may.
    pub(crate) fn listen() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        bind(&listener, &SocketAddrUnix::new(CONTROL)?)?;
        listen(&listener, BACKLOG)?;
        Ok(Self { listener, connections: Vec::new() })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    pub(crate) fn accept(&mut self) {
        let own = rustix::process::geteuid();
        while let Ok(stream) = accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            let peer = sockopt::socket_peercred(&stream);
            let trusted = peer.is_ok_and(|peer| peer.uid == own || peer.uid.is_root());
            if trusted && self.connections.len() < CONNECTIONS_MAX {
                self.connections.push(Connection {
                    stream,
                    received: Vec::new(),
                    descriptors: Vec::new(),
                    opened: Instant::now(),
                    doing: Doing::Reading,
                });
            }
        }
    }

    /// When the next connection runs out of time.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.connections.iter().filter_map(Connection::deadline).min()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = unlinkat(CWD, CONTROL, AtFlags::empty());
    }
}

impl Connection {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.doing {
            Doing::Reading => Some(self.opened + REQUEST_DEADLINE),
            Doing::Exec { deadline, .. } => Some(deadline),
            Doing::Upgrade | Doing::Done => None,
        }
    }

    pub(crate) fn receive(&mut self) -> Incoming {
        let mut chunk = [0u8; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let count = match recvmsg(&self.stream, &mut [IoSliceMut::new(&mut chunk)], &mut ancillary, flags) {
            Err(Errno::AGAIN | Errno::INTR) => return Incoming::Nothing,
            Err(_) => return Incoming::Gone,
            Ok(message) => message.bytes,
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(sent) = message {
                self.descriptors.extend(sent);
            }
        }
        if count == 0 || self.descriptors.len() > DESCRIPTORS_MAX {
            return Incoming::Gone;
        }
        if self.doing != Doing::Reading {
            return Incoming::Nothing;
        }
        self.received.extend_from_slice(&chunk[..count]);
        if self.received.len() > REQUEST_BYTES_MAX {
            self.answer(&Reply::error("the request is too long"));
            return Incoming::Nothing;
        }
        if self.received.last() != Some(&b'\n') {
            return Incoming::Nothing;
        }
        match serde_json::from_slice(&std::mem::take(&mut self.received)) {
            Ok(request) => Incoming::Request(request),
            Err(error) => {
                self.answer(&Reply::error(format!("not a request: {error}")));
                Incoming::Nothing
            }
        }
    }

    /// Answers and is done. A peer that does not read loses the answer, not our time.
    pub(crate) fn answer(&mut self, reply: &Reply) {
        self.doing = Doing::Done;
        self.descriptors.clear();
        let mut line = serde_json::to_vec(reply).unwrap_or_default();
        line.push(b'\n');
        let mut rest = line.as_slice();
        while let Ok(count @ 1..) = send(&self.stream, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            rest = rest.get(count..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
        }
    }
}
