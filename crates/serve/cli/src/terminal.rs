//! Reading from a terminal without showing what is typed.

use std::{io, os::fd::AsFd};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// While this lives, the terminal shows nothing of what is typed.
#[derive(Debug)]
pub(crate) struct Unseen<F: AsFd> {
    terminal: F,
    before: Termios,
}

impl<F: AsFd> Unseen<F> {
    /// # Errors
    /// It is no terminal.
    pub(crate) fn on(terminal: F) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        // What was typed before belongs to somebody else.
        tcsetattr(&terminal, OptionalActions::Flush, &unseen)?;
        Ok(Self { terminal, before })
    }
}

impl<F: AsFd> Drop for Unseen<F> {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

    use super::*;

    fn echoes(terminal: &impl AsFd) -> bool {
        tcgetattr(terminal).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    #[test]
    fn typing_is_not_shown_and_is_again_afterwards() {
        let host = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&host).unwrap();
        unlockpt(&host).unwrap();
        let terminal = ioctl_tiocgptpeer(&host, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        assert!(echoes(&terminal));
        let unseen = Unseen::on(&terminal).unwrap();
        assert!(!echoes(&terminal));
        drop(unseen);
        assert!(echoes(&terminal));
    }

    #[test]
    fn what_is_no_terminal_is_an_error() {
        assert!(Unseen::on(std::fs::File::open("/dev/null").unwrap()).is_err());
    }
}
