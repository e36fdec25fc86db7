//! Children that ended, and signals as a descriptor. The only calls here that rustix lacks.

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};

/// What the next ended child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// This one has ended; its pid stays taken until [`reap`].
    Child(Pid),
    /// There are children, all of them alive.
    None,
    /// There are no children at all.
    Childless,
}

/// Looks for an ended child without reaping it, so that its process group can still be signalled
/// with certainty about whose it is.
pub(crate) fn peek() -> Ended {
    // SAFETY: siginfo is plain data, valid when zeroed, and valid for writing.
    let (result, pid) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let result = libc::waitid(libc::P_ALL, 0, &raw mut info, options);
        (result, info.si_pid())
    };
    if result != 0 {
        return Ended::Childless;
    }
    Pid::from_raw(pid).map_or(Ended::None, Ended::Child)
}

pub(crate) fn reap(pid: Pid) -> Option<WaitStatus> {
    waitpid(Some(pid), WaitOptions::NOHANG).ok().flatten().map(|(_, status)| status)
}

/// Blocks SIGCHLD, SIGTERM and SIGINT and gives a descriptor that becomes readable with them.
pub(crate) fn signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset; the new descriptor is owned by nobody else.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT] {
            libc::sigaddset(&raw mut set, signal);
        }
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        // A terminal that goes must not take the shim along.
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Takes all pending signals; true when one of them asks to stop.
pub(crate) fn take_signals(fd: &OwnedFd) -> bool {
    const ONE: usize = size_of::<libc::signalfd_siginfo>();
    let mut stop = false;
    let mut buffer = [0u8; ONE * 8];
    while let Ok(count @ 1..) = rustix::io::read(fd, &mut buffer) {
        for one in buffer[..count].chunks_exact(ONE) {
            // `ssi_signo` is the first field.
            let number = u32::from_ne_bytes([one[0], one[1], one[2], one[3]]);
            stop |= number != libc::SIGCHLD as u32;
        }
    }
    stop
}
