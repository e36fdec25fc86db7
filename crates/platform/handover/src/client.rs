use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::{
    Error, check_name,
    wire::{self, Kind},
};

/// The supervised process's side. Calls block for at most five seconds each.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
}

impl Client {
    /// Time that one answer of the store may take.
    pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

    /// # Errors
    /// [`Error::Socket`] when nothing listens at `path`.
    pub fn connect(path: &Path) -> Result<Self, Error> {
        let at = |source: rustix::io::Errno| Error::Socket {
            path: path.display().to_string(),
            action: "reached",
            source: source.into(),
        };
        let address = SocketAddrUnix::new(path).map_err(at)?;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(at)?;
        for which in [sockopt::Timeout::Recv, sockopt::Timeout::Send] {
            sockopt::set_socket_timeout(&socket, which, Some(Self::ANSWER_TIMEOUT)).map_err(at)?;
        }
        rustix::net::connect(&socket, &address).map_err(at)?;
        Ok(Self { socket })
    }

    /// Gives the store a duplicate of `fd` under `name`; an earlier one of that name is closed.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Name`], or [`Error::Broken`] when the store is gone.
    pub fn put(&self, name: &str, fd: BorrowedFd<'_>) -> Result<(), Error> {
        check_name(name)?;
        self.ask(Kind::Put, name, Some(fd))?;
        self.done()
    }

    /// Duplicates of all descriptors, in order of name; the store keeps its own.
    ///
    /// # Errors
    /// [`Error::Broken`] when the store is gone.
    pub fn take_all(&self) -> Result<Vec<(String, OwnedFd)>, Error> {
        self.ask(Kind::TakeAll, "", None)?;
        let mut all = Vec::new();
        loop {
            match self.answer()? {
                wire::Message { kind: Kind::Fd, text, fd: Some(fd) } => all.push((text, fd)),
                wire::Message { kind: Kind::Ok, .. } => return Ok(all),
                other => return Err(refused(other)),
            }
        }
    }

    /// Lets the store close its descriptor of this name; an unknown name is no error.
    ///
    /// # Errors
    /// [`Error::Broken`] when the store is gone.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        self.ask(Kind::Remove, name, None)?;
        self.done()
    }

    fn ask(&self, kind: Kind, name: &str, fd: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        wire::send(&self.socket, kind, name, fd).map_err(Error::Broken)
    }

    fn answer(&self) -> Result<wire::Message, Error> {
        wire::receive(&self.socket)
            .and_then(|message| message.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
            .map_err(Error::Broken)
    }

    fn done(&self) -> Result<(), Error> {
        match self.answer()? {
            wire::Message { kind: Kind::Ok, .. } => Ok(()),
            other => Err(refused(other)),
        }
    }
}

fn refused(message: wire::Message) -> Error {
    match message.text.as_str() {
        "full" => Error::Full,
        text => Error::Refused(text.to_owned()),
    }
}
