//! How a service's processes run.

use std::collections::BTreeMap;

use base::units::{Bytes, Cpu, Span};
use serde::{Deserialize, Serialize};

use super::Command;
use crate::template::Template;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub kind: Kind,
    /// Run one after another in the service's folder before its content is pinned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build: Vec<Command>,
    pub command: Command,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Template>,
    /// Relative to the service's folder; `.` is the folder itself.
    pub working_directory: String,
    /// Name or number; none gives the service a user of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    pub replicas: u32,
    /// By name. The main one is called [`Run::PORT_MAIN`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, Port>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub health: Health,
    pub stop: Stop,
    pub restart: Restart,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

impl Run {
    pub const PORT_MAIN: &'static str = "http";
    pub const REPLICAS_MAX: u32 = 100;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Runs until it is stopped.
    #[default]
    Service,
    /// Runs to its end, when somebody asks or on a schedule.
    Job,
}

/// A port that each replica listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// A fixed number; none lets the platform choose one per replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u16>,
    /// The environment variable that tells the replica.
    pub environment: String,
}

/// Caps for each replica. None means no cap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Decides whether a replica gets requests. With a port and no word on it, a TCP connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// Decides whether a replica is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// Holds back the others until it has succeeded once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    #[serde(flatten)]
    pub check: Check,
    pub interval: Span,
    pub timeout: Span,
    /// Failures do not count until this has passed or it has succeeded once.
    pub start_period: Span,
    /// Failures in a row that make it fail.
    pub threshold: u32,
    /// Successes in a row that make it good again.
    pub success_threshold: u32,
}

impl Probe {
    pub const INTERVAL_DEFAULT: Span = Span::from_secs(2);
    pub const TIMEOUT_DEFAULT: Span = Span::from_secs(1);
    pub const START_PERIOD_DEFAULT: Span = Span::from_secs(30);
    pub const THRESHOLD_DEFAULT: u32 = 3;

    /// A TCP connect to a port with the usual times.
    #[must_use]
    pub fn tcp(port: &str) -> Self {
        Self::of(Check::Tcp { port: port.to_owned() })
    }

    pub(crate) fn of(check: Check) -> Self {
        Self {
            check,
            interval: Self::INTERVAL_DEFAULT,
            timeout: Self::TIMEOUT_DEFAULT,
            start_period: Self::START_PERIOD_DEFAULT,
            threshold: Self::THRESHOLD_DEFAULT,
            success_threshold: 1,
        }
    }
}

/// `port` is the name of one in [`Run::ports`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    Http { path: String, port: String, status: StatusRange },
    Tcp { port: String },
    Exec(Command),
}

/// HTTP statuses from and to, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRange {
    pub from: u16,
    pub to: u16,
}

impl Default for StatusRange {
    fn default() -> Self {
        Self { from: 200, to: 399 }
    }
}

impl StatusRange {
    #[must_use]
    pub fn contains(self, status: u16) -> bool {
        (self.from..=self.to).contains(&status)
    }
}

/// The signal, then after the grace SIGKILL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Without `SIG`, such as `TERM`.
    pub signal: String,
    pub grace: Span,
}

impl Stop {
    pub(crate) const SIGNALS: &'static [&'static str] =
        &["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", "KILL"];
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: "TERM".into(), grace: Span::from_secs(10) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    pub policy: RestartPolicy,
    /// Wait before the second restart; it doubles with each one. The first is at once.
    pub backoff: Span,
    pub backoff_max: Span,
    /// A run of this length starts the count anew.
    pub stable_after: Span,
    /// Restarts in a row after which the service counts as crash-looping.
    pub crash_loop_after: u32,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::Always,
            backoff: Span::from_millis(500),
            backoff_max: Span::from_secs(30),
            stable_after: Span::from_secs(30),
            crash_loop_after: 5,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

/// Wall time in a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Five fields (minute, hour, day of month, month, day of week).
    pub cron: String,
    /// IANA time zone.
    pub zone: String,
}
