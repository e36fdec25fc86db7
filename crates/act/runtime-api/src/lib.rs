//! What runs: the specification of a replica, what is observed of it, and the driver port.
//!
//! A replica is one run of one process tree. It never comes back: a restart is a new replica. The
//! reconciler in `delivery` decides what should run; a driver only starts, stops and reports.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use base::{
    Class, Fault, Scope, Timestamp,
    id::{ReleaseId, ReplicaId},
    units::{Bytes, Cpu},
};
use futures_util::{future::BoxFuture, stream::BoxStream};
use serde::{Deserialize, Serialize};

pub type Result<T> = std::result::Result<T, Error>;

/// A value of a workload's environment. Secret ones never reach a disk, a log or an argument list.
#[derive(Clone, PartialEq, Eq)]
pub enum EnvValue {
    Plain(String),
    Secret(String),
}

impl std::fmt::Debug for EnvValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(text) => write!(f, "{text:?}"),
            Self::Secret(_) => f.write_str("<secret>"),
        }
    }
}

/// A file given to a workload. Secret ones live on memory-backed storage only.
#[derive(Clone, PartialEq, Eq)]
pub struct WorkloadFile {
    /// Relative to the replica's root, or for secrets to its secret directory (`STEAD_SECRETS_DIR`).
    pub path: PathBuf,
    pub content: Vec<u8>,
    pub secret: bool,
    /// A secret that is also looked for at its path in the root: a link there leads to it.
    pub linked: bool,
    /// Unix permission bits, such as 0o400.
    pub mode: u32,
}

impl std::fmt::Debug for WorkloadFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes, secret: {})", self.path.display(), self.content.len(), self.secret)
    }
}

/// Caps on what a replica may use. None means no cap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub memory: Option<Bytes>,
    pub cpu: Option<Cpu>,
    pub processes: Option<u32>,
    pub open_files: Option<u64>,
}

/// How a replica is asked to stop: the signal, then after the grace SIGKILL to all that is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Signal name as in `kill -l`, such as `TERM`, `INT`, `QUIT`.
    pub signal: String,
    #[serde(with = "duration_ms")]
    pub grace: Duration,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: "TERM".into(), grace: Duration::from_secs(10) }
    }
}

/// Bounds on kept output: at most `segments_max` files of `segment_bytes_max` bytes each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogBounds {
    pub segment_bytes_max: u64,
    pub segments_max: u32,
    /// A longer line is split, the parts marked.
    pub line_bytes_max: u32,
}

impl Default for LogBounds {
    fn default() -> Self {
        Self { segment_bytes_max: 8 << 20, segments_max: 4, line_bytes_max: 16 << 10 }
    }
}

/// Whether the shim itself starts the process again when it ends. Workloads use `Never`: their
/// reconciler makes a new replica. Stead's own roles use `Always`, so that they need no one above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    Never,
    /// At once the first time, then with exponential backoff to at most 5 s; a run of 10 s resets it.
    Always,
}

/// All that a driver needs to start one replica. Immutable.
#[derive(Debug, Clone)]
pub struct ReplicaSpec {
    pub id: ReplicaId,
    pub scope: Scope,
    /// Name of the service, need or job.
    pub service: String,
    pub release: ReleaseId,
    /// Program and arguments; the program is looked up in PATH of `environment` unless it has a `/`.
    pub command: Vec<String>,
    /// Tree to copy as the replica's own writable root, thrown away with it; none for none.
    pub source: Option<PathBuf>,
    /// Working directory: absolute, or relative to the replica's root.
    pub working_directory: PathBuf,
    /// The whole environment; nothing of the platform's own is inherited.
    pub environment: BTreeMap<String, EnvValue>,
    pub files: Vec<WorkloadFile>,
    /// Unprivileged user and group to run as; none keeps the platform's own. As root, none is only for
    /// [`Restart::Always`]: a workload without a user is refused.
    pub user: Option<(u32, u32)>,
    pub limits: Limits,
    pub stop: Stop,
    pub log: LogBounds,
    pub restart: Restart,
    /// Directories that must exist and belong to `user`; they outlive the replica.
    pub data_directories: Vec<PathBuf>,
    /// Labels kept with the replica and given back by `list`, such as the port it was given.
    pub labels: BTreeMap<String, String>,
}

/// Which process it is, so that a restarted control adopts and never guesses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: clock ticks after boot.
    pub start_ticks: u64,
}

/// How a replica ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub at: Timestamp,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// The kernel killed it for passing its memory limit.
    pub oom: bool,
    /// One readable sentence: `exited with 3`, `killed by SIGKILL: over its memory limit of 48MiB`,
    /// `could not start: no such file "serve"`.
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    Starting,
    Running {
        identity: Identity,
        since: Timestamp,
    },
    Stopping {
        identity: Identity,
        since: Timestamp,
    },
    Exited {
        exit: Exit,
    },
    /// The shim is gone without a word (the machine was restarted, or somebody killed it).
    Lost {
        why: String,
    },
}

/// Use of resources, from the cgroup where there is one, else from `/proc`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time since the start, in microseconds.
    pub cpu_us: u64,
    pub memory_bytes: u64,
    pub processes: u32,
}

/// What a driver sees of one replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    pub id: ReplicaId,
    pub scope: Scope,
    pub service: String,
    pub release: ReleaseId,
    pub labels: BTreeMap<String, String>,
    pub phase: Phase,
    pub usage: Usage,
    /// How many times the shim started it again (only with [`Restart::Always`]).
    pub restarts: u32,
    /// What could not be enforced on this machine, in words, such as a missing cgroup controller.
    pub notes: Vec<String>,
}

/// One line of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub at: Timestamp,
    pub replica: ReplicaId,
    /// True for standard error.
    pub stderr: bool,
    pub text: String,
}

/// Which lines to read.
#[derive(Debug, Clone)]
pub struct LogQuery {
    pub replica: ReplicaId,
    /// Only lines at or after this time.
    pub since: Option<Timestamp>,
    /// At most this many, the latest (before following).
    pub tail: usize,
    /// Only lines that contain this text, compared without case.
    pub contains: Option<String>,
    /// Stay and give new lines until the replica ends or the stream is dropped.
    pub follow: bool,
}

/// A command run beside a replica, as its user, in its working directory and environment.
#[derive(Debug, Clone)]
pub struct ExecRequest {
    pub replica: ReplicaId,
    pub command: Vec<String>,
    pub deadline: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOutcome {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// At most [`ExecOutcome::OUTPUT_BYTES_MAX`] each, the rest cut with a mark.
    pub stdout: String,
    pub stderr: String,
}

impl ExecOutcome {
    pub const OUTPUT_BYTES_MAX: usize = 1 << 20;
}

/// A driver runs replicas of one kind: processes today, containers next.
pub trait Driver: Send + Sync + std::fmt::Debug {
    /// Starts a replica and returns once its supervisor has taken it over (not when it is ready).
    /// Starting the same id twice is an error; what fails later is reported as [`Phase::Exited`].
    /// Dropping the future does not take the request back.
    fn start(&self, spec: ReplicaSpec) -> BoxFuture<'_, Result<()>>;

    /// Asks it to stop and returns once it and all its children are gone. Idempotent. Dropping the
    /// future does not take the request back.
    fn stop(&self, id: ReplicaId) -> BoxFuture<'_, Result<()>>;

    /// Forgets a replica that ended, with its root and its output; an error while it still runs.
    fn remove(&self, id: ReplicaId) -> BoxFuture<'_, Result<()>>;

    /// All replicas that were started and not removed, whoever started them.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Observed>>>;

    /// Fires when some replica changed phase; a hint to `list`. Many changes may come as one.
    fn changed(&self) -> BoxStream<'static, ()>;

    fn logs(&self, query: LogQuery) -> BoxFuture<'_, Result<BoxStream<'static, LogLine>>>;

    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecOutcome>>;
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("replica {0} does not exist")]
    NotFound(ReplicaId),
    #[error("replica {0} exists already")]
    Exists(ReplicaId),
    #[error("replica {0} is not running")]
    NotRunning(ReplicaId),
    #[error("replica {0} still runs, stop it first")]
    StillRunning(ReplicaId),
    #[error("cannot start {what}: {why}")]
    Start { what: String, why: String },
    #[error("{what} did not end within {after:?}")]
    Deadline { what: String, after: Duration },
    #[error("{what}: {why}")]
    Io { what: String, why: String },
}

impl Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "runtime.not_found",
            Self::Exists(_) => "runtime.exists",
            Self::NotRunning(_) => "runtime.not_running",
            Self::StillRunning(_) => "runtime.still_running",
            Self::Start { .. } => "runtime.start",
            Self::Deadline { .. } => "runtime.deadline",
            Self::Io { .. } => "runtime.io",
        }
    }
    fn class(&self) -> Class {
        match self {
            Self::NotFound(_) => Class::NotFound,
            Self::Exists(_) | Self::NotRunning(_) | Self::StillRunning(_) => Class::Conflict,
            Self::Start { .. } => Class::Invalid,
            Self::Deadline { .. } => Class::Timeout,
            Self::Io { .. } => Class::Internal,
        }
    }
}

mod duration_ms {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
