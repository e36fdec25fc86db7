//! The life of one task: run, catch, restart, stop.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{Backoff, Error, Inner, Kind, OnCancel, OnError, Reason, Shutdown, TaskId, board::Seat};

/// What a task may return: nothing, or a result.
pub trait Outcome: Send + 'static {
    fn failure(self) -> Option<String>;
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: std::fmt::Display + Send + 'static> Outcome for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// How a task ended for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It returned.
    Done,
    /// It failed or panicked, and its kind doesn't restart it.
    Failed(String),
    /// It was dropped: at once by its kind, or over the budget of its stage.
    Dropped,
}

/// A handle on a running task. Dropping it leaves the task running.
#[derive(Debug)]
pub struct Task {
    id: TaskId,
    stop: CancellationToken,
    end: JoinHandle<End>,
}

impl Task {
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.id
    }
    /// Tells this one task to end, as shutdown would.
    pub fn stop(&self) {
        self.stop.cancel();
    }
    /// Waits for its end. Dropping the future leaves the task running.
    pub async fn join(self) -> End {
        self.end.await.unwrap_or(End::Dropped)
    }
}

pub(crate) fn start<M, F>(inner: &Arc<Inner>, kind: Kind, name: String, mut make: M) -> Result<Task, Error>
where
    M: FnMut(Shutdown) -> F + Send + 'static,
    F: Future + Send + 'static,
    F::Output: Outcome,
{
    let watch = Watch::new(inner, kind, name)?;
    let (id, stop) = (watch.seat.id, watch.stop.clone());
    let tracked = inner.stages.track(kind.stage);
    let end = inner.runtime.spawn(async move {
        let _tracked = tracked;
        let mut failures = 0u32;
        loop {
            let began_at = Instant::now();
            let end = watch.one_run(&mut make).await;
            let (End::Failed(error), OnError::Restart(backoff)) = (&end, kind.on_error) else {
                return end;
            };
            failures = if began_at.elapsed() > HEALTHY_AFTER { 1 } else { failures.saturating_add(1) };
            if !watch.back_off(error, backoff, failures).await {
                return end;
            }
        }
    });
    Ok(Task { id, stop, end })
}

pub(crate) fn start_once<M, F>(inner: &Arc<Inner>, kind: Kind, name: String, make: M) -> Result<Task, Error>
where
    M: FnOnce(Shutdown) -> F + Send + 'static,
    F: Future + Send + 'static,
    F::Output: Outcome,
{
    let watch = Watch::new(inner, kind, name)?;
    let (id, stop) = (watch.seat.id, watch.stop.clone());
    let tracked = inner.stages.track(kind.stage);
    let end = inner.runtime.spawn(async move {
        let _tracked = tracked;
        watch.one_run(make).await
    });
    Ok(Task { id, stop, end })
}

/// A task that ran this long counts as healthy; its next failure is the first in a row.
const HEALTHY_AFTER: std::time::Duration = std::time::Duration::from_secs(60);

/// What the supervisor holds of one task.
struct Watch {
    inner: Arc<Inner>,
    kind: Kind,
    name: String,
    seat: Seat,
    stop: CancellationToken,
    drop_now: CancellationToken,
}

impl Watch {
    fn new(inner: &Arc<Inner>, kind: Kind, name: String) -> Result<Self, Error> {
        if inner.stages.has_stopped(kind.stage) {
            return Err(Error::ShuttingDown { name });
        }
        let seat = inner.board.seat(&name, kind.name, kind.stage)?;
        let stop = inner.stages.stop_token(kind.stage);
        let drop_now = inner.stages.drop_token(kind.stage);
        Ok(Self { inner: Arc::clone(inner), kind, name, seat, stop, drop_now })
    }

    /// Runs it once to an end, a failure or a drop. A panic in `make` is caught like one in the task.
    async fn one_run<M, F>(&self, make: M) -> End
    where
        M: FnOnce(Shutdown) -> F,
        F: Future,
        F::Output: Outcome,
    {
        let shutdown = Shutdown { token: self.stop.clone() };
        let run = AssertUnwindSafe(async move { make(shutdown).await.failure() }).catch_unwind();
        let result = tokio::select! {
            result = run => result,
            () = self.dropped() => return End::Dropped,
        };
        let error = match result {
            Ok(None) => return End::Done,
            Ok(Some(error)) => error,
            Err(panic) => format!("panicked: {}", panic_message(panic.as_ref())),
        };
        tracing::warn!(task = %self.name, kind = self.kind.name, %error, "a task failed");
        if self.kind.on_error == OnError::ShutDown && !self.stop.is_cancelled() {
            self.inner.stages.request(Reason::TaskFailed { name: self.name.clone(), error: error.clone() });
        }
        End::Failed(error)
    }

    /// Completes when the task has to be dropped.
    async fn dropped(&self) {
        match self.kind.on_cancel {
            OnCancel::Abort => self.stop.cancelled().await,
            OnCancel::Wait => {
                tokio::select! {
                    () = self.drop_now.cancelled() => {}
                    () = async { self.stop.cancelled().await; self.seat.stopping(); std::future::pending().await } => {}
                }
            }
        }
    }

    /// Waits before the next start; false when the task should stop instead.
    async fn back_off(&self, error: &str, backoff: Backoff, failures: u32) -> bool {
        let wait = backoff.wait(failures);
        self.seat.backing_off(error, wait);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.stop.cancelled() => return false,
        }
        self.seat.restarted();
        true
    }
}

/// The text of a panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
