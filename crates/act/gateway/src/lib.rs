//! The HTTP gateway: takes requests in, finds their service by host and path, and passes them to
//! one of its replicas.
//!
//! It runs as a process of its own and needs nothing but a file: the last route [`snapshot`] that
//! control wrote. When control is away it goes on serving; when it is killed itself, its listening
//! sockets wait in the shim's descriptor store ([`handover`]) for the next process.
//!
//! Enter at [`run`] (the process), [`snapshot::write`] and [`client::Admin`] (control's side).
//!
//! # How it works
//! - **Threads share nothing on the hot path.** Each has its own tokio runtime, connections on
//!   both sides, load averages and counters, and accepts from the same sockets. Shared are only
//!   the plan (replaced whole, read when it changes) and each endpoint's health (atomics, written
//!   on failure).
//! - **A request**: `h1` (own reader and writer) or `h2` (hyper) read it, `forward` finds the
//!   route in the thread's `table` and writes the head for the service once, `proxy` chooses an
//!   endpoint (`balance`), sends, retries where that is safe; the response streams back.
//! - **A change**: `apply` reads the snapshot, opens sockets (`listen`) and publishes a plan; each
//!   thread builds its next table, sharing what stayed the same. Requests in flight keep what
//!   they began with, so a change drops none.
//! - **Telling**: cells per thread become one-second samples (`stats`), the access log has a
//!   writer of its own (`log`), both bounded, neither makes a request wait.
//! - **Time**: deadlines are slots that one task per thread looks at (`watchdog`).
//!
//! # What it is not
//! It does not buffer responses, cache, compress, authenticate or rewrite bodies; it speaks
//! HTTP/1.1 to services (no HTTP/2 and so no gRPC upstream yet), and has no HTTP/3.
//!
//! ```no_run
//! # fn main() -> Result<(), gateway::Error> {
//! let options = gateway::Options::new("/data/routes.json", "/data/gateway.sock");
//! gateway::run(options) // until SIGTERM or POST /drain, and all is finished
//! # }
//! ```
#![forbid(unsafe_code)]

mod admin;
mod answer;
mod apply;
mod balance;
mod body;
pub mod client;
mod forward;
mod h1;
mod h2;
mod headers;
mod health;
pub mod limits;
mod listen;
mod log;
mod plan;
mod process;
mod proxy;
mod record;
mod response;
pub mod snapshot;
mod stats;
mod table;
mod thread;
mod tls;
mod trace;
mod upstream;
mod watchdog;
mod worker;

use std::{path::PathBuf, sync::Arc};

use base::Clock;
pub use limits::Limits;
pub use process::{Gateway, run, run_telling};

/// How to run a gateway.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file that control writes routes to. It may be missing at first.
    pub snapshot_path: PathBuf,
    /// Where the admin socket is made.
    pub admin_socket: PathBuf,
    /// The access log's file; rotated ones stand beside it. None writes none.
    pub access_log: Option<PathBuf>,
    /// Threads that serve; 0 means one per core.
    pub threads: usize,
    /// The descriptor store of the supervisor, see [`handover::PATH_VARIABLE`].
    pub fd_store: Option<PathBuf>,
    pub clock: Arc<dyn Clock>,
    pub limits: Limits,
}

impl Options {
    #[must_use]
    pub fn new(snapshot_path: impl Into<PathBuf>, admin_socket: impl Into<PathBuf>) -> Self {
        Self {
            snapshot_path: snapshot_path.into(),
            admin_socket: admin_socket.into(),
            access_log: None,
            threads: 0,
            fd_store: std::env::var_os(handover::PATH_VARIABLE).map(PathBuf::from),
            clock: base::time::SystemClock::shared(),
            limits: Limits::default(),
        }
    }
}

/// Why the gateway cannot start. Once it runs, what goes wrong is in its status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the gateway cannot open {what} at {path}")]
    Open { what: &'static str, path: String, source: std::io::Error },
    #[error("the gateway cannot start a thread")]
    Thread(#[source] std::io::Error),
}

impl base::Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } => "gateway.open",
            Self::Thread(_) => "gateway.thread",
        }
    }

    fn class(&self) -> base::Class {
        base::Class::Unavailable
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Open { .. } => Some("check that the directory exists and belongs to this user".into()),
            Self::Thread(_) => Some("check the limits on processes and memory".into()),
        }
    }
}
