//! Supervised tasks: everything that runs in the background is spawned here.
//!
//! Each task declares by its [`Kind`] what happens when it fails (shut the process down, restart
//! with backoff, or log) and when the process stops (wait for it within a budget, or drop it).
//! A panic counts as a failure. At shutdown the [`Stage`]s stop in order: intake, drain, flush,
//! close, each with a budget of its own.
//!
//! It is no actor framework and has no global state: `bin` makes one [`Tasks`] and hands it on.
//! Messages between tasks are the business of whoever owns the channel.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use tasks::{Kind, Tasks};
//! let tasks = Tasks::new(tasks::Limits::default());
//! tasks.spawn(Kind::LOOP, "tidy", |shutdown| async move { shutdown.cancelled().await }).unwrap();
//! tasks.request_shutdown("asked to");
//! let reason = tasks.shutdown_requested().await;
//! assert!(tasks.drain().await.is_clean());
//! # let _ = reason; }
//! ```

#![forbid(unsafe_code)]

mod board;
mod kind;
mod shutdown;
mod supervise;

use std::{future::Future, sync::Arc};

use base::{Class, Fault};
use tokio::{runtime::Handle, sync::Semaphore};

use crate::board::Board;
pub use crate::{
    board::{TaskId, TaskInfo, TaskState},
    kind::{Backoff, Kind, OnCancel, OnError, Stage},
    shutdown::{Budgets, Drained, Reason, Shutdown, StageReport},
    supervise::{End, Outcome, Task},
};

/// How much a [`Tasks`] takes on at once, and how long it takes to stop.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Tasks alive at once, blocking ones included.
    pub tasks_max: usize,
    /// Blocking closures that run at once; more wait in line.
    pub blocking_max: usize,
    pub budgets: Budgets,
}

impl Limits {
    pub const TASKS_MAX_DEFAULT: usize = 20_000;
    pub const BLOCKING_MAX_DEFAULT: usize = 64;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tasks_max: Self::TASKS_MAX_DEFAULT,
            blocking_max: Self::BLOCKING_MAX_DEFAULT,
            budgets: Budgets::default(),
        }
    }
}

/// Why a task could not be started or did not give its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("task {name:?} was not started: {limit} tasks run already")]
    TooMany { name: String, limit: usize },
    #[error("task {name:?} was not started: shutting down")]
    ShuttingDown { name: String },
    #[error("task {name:?} panicked: {message}")]
    Panicked { name: String, message: String },
}

impl Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::TooMany { .. } => "tasks.too_many",
            Self::ShuttingDown { .. } => "tasks.shutting_down",
            Self::Panicked { .. } => "tasks.panicked",
        }
    }
    fn class(&self) -> Class {
        match self {
            Self::TooMany { .. } => Class::Limit,
            Self::ShuttingDown { .. } => Class::Unavailable,
            Self::Panicked { .. } => Class::Internal,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::TooMany { .. } => {
                Some("`stead doctor` lists what runs; try again when less is going on".into())
            }
            _ => None,
        }
    }
}

/// The supervisor. Cheap to clone; all clones are the same one.
#[derive(Debug, Clone)]
pub struct Tasks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) runtime: Handle,
    pub(crate) limits: Limits,
    pub(crate) board: Arc<Board>,
    pub(crate) stages: shutdown::Stages,
    blocking: Arc<Semaphore>,
}

impl Tasks {
    /// A supervisor on the runtime that this is called in.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let blocking = Arc::new(Semaphore::new(limits.blocking_max.max(1)));
        let board = Arc::new(Board::new(limits.tasks_max));
        let stages = shutdown::Stages::new();
        Self { inner: Arc::new(Inner { runtime: Handle::current(), limits, board, stages, blocking }) }
    }

    /// Starts a task. `make` is called once per start, so a restarted task begins afresh.
    ///
    /// Dropping the returned [`Task`] leaves the task running.
    ///
    /// # Errors
    /// [`Error::TooMany`] at the limit, [`Error::ShuttingDown`] once the kind's stage has stopped.
    pub fn spawn<M, F>(&self, kind: Kind, name: impl Into<String>, make: M) -> Result<Task, Error>
    where
        M: FnMut(Shutdown) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: Outcome,
    {
        supervise::start(&self.inner, kind, name.into(), make)
    }

    /// Starts a task that can run only once, so that it may own what it moves in. A kind that
    /// restarts on error only logs here.
    ///
    /// # Errors
    /// As [`Tasks::spawn`].
    pub fn spawn_once<M, F>(&self, kind: Kind, name: impl Into<String>, make: M) -> Result<Task, Error>
    where
        M: FnOnce(Shutdown) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: Outcome,
    {
        supervise::start_once(&self.inner, kind, name.into(), make)
    }

    /// Runs a closure that computes for long or blocks, on the pool for that. Past
    /// [`Limits::blocking_max`] it waits in line; dropping the future takes it out of the line, but
    /// what has begun runs to its end.
    ///
    /// # Errors
    /// [`Error::Panicked`], [`Error::TooMany`], or [`Error::ShuttingDown`] once all stages stopped.
    pub async fn blocking<T, W>(&self, name: impl Into<String>, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let name = name.into();
        let stage = &self.inner.stages;
        if stage.has_stopped(Stage::Close) {
            return Err(Error::ShuttingDown { name });
        }
        let seat = self.inner.board.seat(&name, "blocking", Stage::Close)?;
        let permit = Arc::clone(&self.inner.blocking).acquire_owned().await;
        let tracked = stage.track(Stage::Close);
        let done = self.inner.runtime.spawn_blocking(move || {
            let _held = (permit, tracked, seat);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        });
        match done.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(panic)) => {
                Err(Error::Panicked { name, message: supervise::panic_message(panic.as_ref()) })
            }
            Err(_) => Err(Error::ShuttingDown { name }),
        }
    }

    /// What runs now, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<TaskInfo> {
        self.inner.board.list()
    }

    /// Asks for the process to stop. The first reason counts.
    pub fn request_shutdown(&self, reason: impl Into<String>) {
        self.inner.stages.request(Reason::Asked(reason.into()));
    }

    /// Waits until somebody asked to stop, or a task failed whose kind says so.
    pub async fn shutdown_requested(&self) -> Reason {
        self.inner.stages.requested().await
    }

    /// Stops all tasks, stage by stage, each within its budget, and says how it went. Tasks that are
    /// over their budget are dropped; those that even then do not end (they block their thread) are
    /// named and left behind. Calling it again waits for what is left.
    pub async fn drain(&self) -> Drained {
        self.inner.stages.drain(&self.inner.board, &self.inner.limits.budgets).await
    }
}
