//! What a task declares about itself.

use std::time::Duration;

/// What happens on error and on cancel, and when in the shutdown its turn comes.
///
/// Make one `const` per sort of task; the constants here are the common ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Names the sort in lists and logs.
    pub name: &'static str,
    pub on_error: OnError,
    pub on_cancel: OnCancel,
    pub stage: Stage,
}

impl Kind {
    /// Takes work from outside: a listener, a watcher of files. The process is useless without it.
    pub const INTAKE: Self =
        Self { name: "intake", on_error: OnError::ShutDown, on_cancel: OnCancel::Wait, stage: Stage::Intake };
    /// Goes on for the life of the process and can begin afresh: a reconciler, a poller.
    pub const LOOP: Self = Self {
        name: "loop",
        on_error: OnError::Restart(Backoff::DEFAULT),
        on_cancel: OnCancel::Wait,
        stage: Stage::Drain,
    };
    /// One piece of work that should come to its end: a request, a job.
    pub const WORK: Self =
        Self { name: "work", on_error: OnError::Log, on_cancel: OnCancel::Wait, stage: Stage::Drain };
    /// Nice to have and safe to drop anywhere: a progress reporter, a cache refresh.
    pub const AUXILIARY: Self = Self {
        name: "auxiliary",
        on_error: OnError::Restart(Backoff::DEFAULT),
        on_cancel: OnCancel::Abort,
        stage: Stage::Drain,
    };
    /// Carries what the others produce to its place: writers, exporters.
    pub const FLUSH: Self = Self {
        name: "flush",
        on_error: OnError::Restart(Backoff::DEFAULT),
        on_cancel: OnCancel::Wait,
        stage: Stage::Flush,
    };
    /// Owns a resource that all others need to the end: the writer of the state file.
    pub const CLOSE: Self =
        Self { name: "close", on_error: OnError::ShutDown, on_cancel: OnCancel::Wait, stage: Stage::Close };
}

/// What to do when a task returns an error or panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The process cannot do its job without it: ask for shutdown.
    ShutDown,
    /// Log and begin afresh after a wait.
    Restart(Backoff),
    /// Log; it was one piece of work.
    Log,
}

/// What to do with a task when its stage stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCancel {
    /// It sees its `Shutdown` and ends by itself; over the stage's budget it is dropped.
    Wait,
    /// It is dropped at its next await.
    Abort,
}

/// The order of shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Stop taking work.
    Intake,
    /// Finish or park what is under way.
    Drain,
    /// Bring buffers to their place.
    Flush,
    /// Close files and connections.
    Close,
}

impl Stage {
    pub const ALL: [Self; 4] = [Self::Intake, Self::Drain, Self::Flush, Self::Close];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Drain => "drain",
            Self::Flush => "flush",
            Self::Close => "close",
        }
    }
    pub(crate) fn position(self) -> usize {
        self as usize
    }
}

/// Exponential wait between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub max: Duration,
}

impl Backoff {
    /// 100 ms, doubling up to 30 s.
    pub const DEFAULT: Self = Self { first: Duration::from_millis(100), max: Duration::from_secs(30) };

    /// The wait before attempt `failures + 1`, after `failures` failures in a row (from 1).
    #[must_use]
    pub fn wait(&self, failures: u32) -> Duration {
        let doubled =
            self.first.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        doubled.min(self.max)
    }
}
