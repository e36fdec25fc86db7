//! Shutdown: the token that tasks watch, the stages and their budgets.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{Stage, board::Board};

/// Tells a task to end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    pub(crate) token: CancellationToken,
}

impl Shutdown {
    /// Waits until the task should end. Cancel-safe.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }
    /// One that follows a token of the caller's own, for work with a life of its own.
    #[must_use]
    pub fn from_token(token: CancellationToken) -> Self {
        Self { token }
    }
    /// One that nobody triggers, for running a component outside a supervisor in a test.
    #[must_use]
    pub fn never() -> Self {
        Self { token: CancellationToken::new() }
    }
}

/// Time each stage has before what is left of it is dropped.
#[derive(Debug, Clone)]
pub struct Budgets {
    pub intake: Duration,
    pub drain: Duration,
    pub flush: Duration,
    pub close: Duration,
}

impl Budgets {
    fn of(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Intake => self.intake,
            Stage::Drain => self.drain,
            Stage::Flush => self.flush,
            Stage::Close => self.close,
        }
    }
}

impl Default for Budgets {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { intake: seconds(2), drain: seconds(10), flush: seconds(5), close: seconds(3) }
    }
}

/// Why the process stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    Asked(String),
    /// A task failed that the process cannot do without.
    TaskFailed {
        name: String,
        error: String,
    },
}

/// How a drain went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drained {
    pub stages: Vec<StageReport>,
}

/// How one stage went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageReport {
    pub stage: Stage,
    pub took: Duration,
    /// Tasks over the budget; they were dropped at their next await.
    pub dropped: Vec<String>,
    /// Tasks that did not even end then.
    pub left_behind: Vec<String>,
}

impl Drained {
    /// Every task ended by itself within its budget.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.stages.iter().all(|stage| stage.dropped.is_empty() && stage.left_behind.is_empty())
    }
}

/// The token, the hard stop and the tracker of each stage.
#[derive(Debug)]
pub(crate) struct Stages {
    slots: [Slot; 4],
    reason: watch::Sender<Option<Reason>>,
}

#[derive(Debug, Default)]
struct Slot {
    stop: CancellationToken,
    drop_now: CancellationToken,
    tracker: TaskTracker,
}

/// After the hard stop, tasks get this long to reach an await.
const DROP_GRACE: Duration = Duration::from_millis(200);

impl Stages {
    pub(crate) fn new() -> Self {
        Self { slots: Default::default(), reason: watch::Sender::new(None) }
    }

    fn slot(&self, stage: Stage) -> &Slot {
        &self.slots[stage.position()]
    }
    pub(crate) fn has_stopped(&self, stage: Stage) -> bool {
        self.slot(stage).stop.is_cancelled()
    }
    pub(crate) fn track(&self, stage: Stage) -> TaskTrackerToken {
        self.slot(stage).tracker.token()
    }
    pub(crate) fn stop_token(&self, stage: Stage) -> CancellationToken {
        self.slot(stage).stop.child_token()
    }
    pub(crate) fn drop_token(&self, stage: Stage) -> CancellationToken {
        self.slot(stage).drop_now.clone()
    }

    pub(crate) fn request(&self, reason: Reason) {
        self.reason.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(reason);
            }
            first
        });
    }

    pub(crate) async fn requested(&self) -> Reason {
        let mut heard = self.reason.subscribe();
        loop {
            if let Some(reason) = heard.borrow_and_update().clone() {
                return reason;
            }
            if heard.changed().await.is_err() {
                std::future::pending::<()>().await; // the sender lives in self
            }
        }
    }

    pub(crate) async fn drain(&self, board: &Board, budgets: &Budgets) -> Drained {
        self.request(Reason::Asked("drain".into()));
        let mut drained = Drained::default();
        for stage in Stage::ALL {
            drained.stages.push(self.drain_stage(stage, board, budgets.of(stage)).await);
        }
        drained
    }

    async fn drain_stage(&self, stage: Stage, board: &Board, budget: Duration) -> StageReport {
        let started = tokio::time::Instant::now();
        let slot = self.slot(stage);
        board.mark_stopping(stage);
        slot.stop.cancel();
        slot.tracker.close();
        let mut report =
            StageReport { stage, took: Duration::ZERO, dropped: Vec::new(), left_behind: Vec::new() };
        if timeout(budget, slot.tracker.wait()).await.is_err() {
            report.dropped = board.names_in(stage);
            tracing::warn!(
                stage = stage.name(),
                tasks = ?report.dropped,
                "tasks are over the budget of their stage and are dropped"
            );
            slot.drop_now.cancel();
            if timeout(DROP_GRACE, slot.tracker.wait()).await.is_err() {
                report.left_behind = board.names_in(stage);
                tracing::error!(stage = stage.name(), tasks = ?report.left_behind, "tasks do not end");
            }
        }
        report.took = started.elapsed();
        report
    }
}
