//! One message of the protocol: two bytes of head, a text, and at most one descriptor.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

pub(crate) const VERSION: u8 = b'1';
/// A message that is longer is refused.
const MESSAGE_BYTES_MAX: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Put,
    Remove,
    TakeAll,
    Fd,
    Ok,
    Error,
}

impl Kind {
    const ALL: [(Self, u8); 6] = [
        (Self::Put, b'P'),
        (Self::Remove, b'R'),
        (Self::TakeAll, b'T'),
        (Self::Fd, b'F'),
        (Self::Ok, b'K'),
        (Self::Error, b'E'),
    ];

    fn byte(self) -> u8 {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or(b'?', |(_, byte)| *byte)
    }

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, b)| *b == byte).map(|(kind, _)| *kind)
    }
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) fd: Option<OwnedFd>,
}

pub(crate) fn send(to: impl AsFd, kind: Kind, text: &str, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let head = [VERSION, kind.byte()];
    let parts = [IoSlice::new(&head), IoSlice::new(text.as_bytes())];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    loop {
        match rustix::net::sendmsg(&to, &parts, &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(()),
        }
    }
}

/// The next message; none when the peer has closed.
///
/// Descriptors beyond the one that a message may carry are closed here, so a peer cannot make
/// this process run out of them.
pub(crate) fn receive(from: impl AsFd) -> io::Result<Option<Message>> {
    let mut bytes = [0u8; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(&from, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(received) => break received,
        }
    };
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            fds.extend(some);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(bad("a message longer than the protocol allows"));
    }
    if received.flags.contains(ReturnFlags::CTRUNC) || fds.len() > 1 {
        return Err(bad("a message with more than one descriptor"));
    }
    let (head, text) = bytes[..received.bytes].split_at(received.bytes.min(2));
    let [VERSION, kind] = *head else { return Err(bad("a message of another version")) };
    let kind = Kind::of(kind).ok_or_else(|| bad("a message of an unknown kind"))?;
    let text = std::str::from_utf8(text).map_err(|_| bad("a message that is not text"))?.to_owned();
    Ok(Some(Message { kind, text, fd: fds.pop() }))
}
