//! Keeps file descriptors for a process that may die or be replaced.
//!
//! The supervisor of a process (its shim) runs a [`Store`]; the process itself is a [`Client`].
//! The client puts its listening sockets in by name when it opens them, and takes duplicates out
//! when it starts. While it is dead the kernel goes on queueing connections on the sockets, so a
//! `kill -9` and a restart lose no connection that was not yet accepted, and during an upgrade old
//! and new process accept from the same socket.
//!
//! It is not a general message channel, knows nothing of what a descriptor is, and keeps nothing
//! on disk: when the supervisor goes, its descriptors go.
//!
//! The wire: a `SOCK_SEQPACKET` unix socket, mode 0600, whose peer must have the store's own uid.
//! One request message, one or more reply messages:
//!
//! | request | with | reply |
//! |---|---|---|
//! | `1P` name | one descriptor | `1K` or `1E` code text |
//! | `1R` name | | `1K` or `1E` |
//! | `1T` | | `1F` name with a descriptor, for each; then `1K` |
//!
//! The process learns the socket's path from the environment variable [`PATH_VARIABLE`].
//!
//! ```no_run
//! # fn main() -> Result<(), handover::Error> {
//! let store = handover::Store::start("/run/stead/gateway.fds".as_ref())?;
//! // in the other process
//! let client = handover::Client::connect("/run/stead/gateway.fds".as_ref())?;
//! for (name, descriptor) in client.take_all()? { /* listen on it */ }
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod client;
mod store;
mod wire;

pub use client::Client;
pub use store::Store;

/// Environment variable that names the socket of the store to the supervised process.
pub const PATH_VARIABLE: &str = "STEAD_FD_STORE";

/// Descriptors that one store keeps at most.
pub const FDS_MAX: usize = 512;
/// Bytes of a name at most.
pub const NAME_BYTES_MAX: usize = 128;
/// Clients connected at the same time at most; a further one is closed at once.
pub const CLIENTS_MAX: usize = 8;

/// What can go wrong between a store and its client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the descriptor store at {path} cannot be {action}")]
    Socket { path: String, action: &'static str, source: std::io::Error },
    #[error("the descriptor store stopped answering")]
    Broken(#[source] std::io::Error),
    #[error("the descriptor store holds {FDS_MAX} descriptors, which is the most it keeps")]
    Full,
    #[error("{0:?} is not a descriptor's name: 1 to {NAME_BYTES_MAX} bytes without control characters")]
    Name(String),
    #[error("the descriptor store refused: {0}")]
    Refused(String),
}

impl base::Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Socket { .. } => "handover.socket",
            Self::Broken(_) => "handover.broken",
            Self::Full => "handover.full",
            Self::Name(_) => "handover.name",
            Self::Refused(_) => "handover.refused",
        }
    }

    fn class(&self) -> base::Class {
        match self {
            Self::Socket { .. } | Self::Broken(_) => base::Class::Unavailable,
            Self::Full => base::Class::Limit,
            Self::Name(_) => base::Class::Invalid,
            Self::Refused(_) => base::Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Socket { .. } => {
                Some("check that the supervisor runs, and that both run as the same user".into())
            }
            Self::Full => Some("remove descriptors that are no longer used".into()),
            _ => None,
        }
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let ok = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    if ok { Ok(()) } else { Err(Error::Name(name.chars().take(NAME_BYTES_MAX).collect())) }
}
