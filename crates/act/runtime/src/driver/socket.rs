//! Talking to a shim over its control socket.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use base::id::ReplicaId;
use runtime_api::{Error, Result};
use rustix::{
    io::IoSlice,
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
        SocketType, connect, sendmsg, socket_with,
    },
};

use super::{Inner, io_error};
use crate::{
    files,
    wire::{CONTROL, Reply, Request},
};

/// How long a shim may take to answer what it answers at once.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// An upgrade waits at most a second for the new program; the rest is a busy machine.
const UPGRADE_DEADLINE: Duration = Duration::from_secs(15);
const REPLY_BYTES_MAX: u64 = 1 << 20;

/// Connects and sends a request with `descriptors`.
pub(super) fn open(dir: &Path, request: &Request, descriptors: &[BorrowedFd<'_>]) -> io::Result<UnixStream> {
    // Through the open directory: its own path may be longer than a socket's may, and what it is
    // cannot change between looking and connecting.
    let dir = files::open_dir(dir)?;
    let path = format!("/proc/self/fd/{}/{CONTROL}", dir.as_raw_fd());
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors"));
    }
    let sent = sendmsg(&socket, &[IoSlice::new(&line)], &mut ancillary, SendFlags::NOSIGNAL)?;
    let mut stream = UnixStream::from(socket);
    stream.write_all(line.get(sent..).unwrap_or_default())?;
    Ok(stream)
}

/// One request and its answer.
pub(super) fn ask(dir: &Path, request: &Request, within: Duration) -> io::Result<Reply> {
    let stream = open(dir, request, &[])?;
    stream.set_read_timeout(Some(within))?;
    let mut line = String::new();
    BufReader::new(stream.take(REPLY_BYTES_MAX)).read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}

impl Inner {
    pub(super) fn upgrade(&self, id: &ReplicaId, program: &Path) -> Result<()> {
        let path = self.path(id);
        let seen = self.see(id).map_err(|e| io_error(&path, &e))?;
        if seen.ok_or_else(|| Error::NotFound(id.clone()))?.shim.is_none() {
            return Err(Error::NotRunning(id.clone()));
        }
        let request = Request::Upgrade { program: program.display().to_string() };
        match ask(&path, &request, UPGRADE_DEADLINE) {
            Ok(Reply { error: None, .. }) => Ok(()),
            Ok(Reply { error: Some(why), .. }) => {
                Err(Error::Start { what: format!("{} as the new program of {id}", program.display()), why })
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err(Error::Deadline { what: format!("the upgrade of {id}"), after: UPGRADE_DEADLINE })
            }
            Err(error) => Err(io_error(&path, &error)),
        }
    }
}
