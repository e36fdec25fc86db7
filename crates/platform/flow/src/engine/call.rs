//! One call of a handler: delay, slot, deadline, stop, panic.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use base::Ctx;
use futures_util::FutureExt;
use tasks::{Kind, OnCancel, OnError, Stage};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};

use super::{Inner, actor::Post, lead::Lead};
use crate::{
    Mode, StepCall, StepError,
    definition::Call,
    machine::{CallResult, Event},
};

/// The kind of a call's task. It sees the engine's stop through its own token.
pub(super) const CALL: Kind =
    Kind { name: "flow-step", on_error: OnError::Log, on_cancel: OnCancel::Wait, stage: Stage::Drain };

/// Everything one call needs.
pub(super) struct Job {
    pub(super) inner: Arc<Inner>,
    pub(super) lead: Arc<Lead>,
    pub(super) step: usize,
    pub(super) undo: bool,
    pub(super) delay: Duration,
    pub(super) call: Call,
    pub(super) mode: Mode,
    /// Everything but ctx, deadline and stop, which are set when it begins.
    pub(super) args: Box<dyn FnOnce(Ctx, Instant, tasks::Shutdown) -> StepCall + Send>,
    pub(super) ctx: Ctx,
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// Asks the call to end.
    pub(super) stop: CancellationToken,
    /// Drops the call at once: the lease is lost, or the flow is taken up anew.
    pub(super) cut: CancellationToken,
    pub(super) posts: mpsc::Sender<Post>,
    /// Counts it as out until its task ends.
    pub(super) held: Arc<(TaskTrackerToken, OwnedSemaphorePermit)>,
}

impl Job {
    pub(super) async fn run(self) {
        let cut = self.cut.clone();
        let (step, undo, posts) = (self.step, self.undo, self.posts.clone());
        let _held = Arc::clone(&self.held);
        tokio::select! {
            biased;
            () = cut.cancelled() => {}
            result = self.outcome() => {
                // Room is kept for one post per step.
                let _ = posts.try_send(Post::Event(Event::Ended { step, undo, result }));
            }
        }
    }

    async fn outcome(mut self) -> CallResult {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return CallResult::NotBegun,
            () = sleep(self.delay), if !self.delay.is_zero() => {}
            () = std::future::ready(()), if self.delay.is_zero() => {}
        }
        let _permit = match self.permit.take() {
            Some(permit) => permit,
            None => tokio::select! {
                biased;
                () = self.stop.cancelled() => return CallResult::NotBegun,
                permit = Arc::clone(&self.lead.slots).acquire_owned() => match permit {
                    Ok(permit) => permit,
                    Err(_) => return CallResult::NotBegun,
                },
            },
        };
        let handler = self.inner.handlers.get(&self.call.handler, self.call.version);
        let (Some(handler), true) = (handler, self.lead.is_valid()) else { return CallResult::NotBegun };
        let budget = Duration::from_millis(self.call.timeout_ms);
        let ctx = Ctx { budget, ..self.ctx };
        let stop = tasks::Shutdown::from_token(self.stop.clone());
        let args = (self.args)(ctx, Instant::now() + budget, stop);
        let check_first = self.mode == Mode::CheckFirst && !self.undo;
        let work = async move {
            if check_first && let Some(done) = handler.check(args.clone()).await? {
                return Ok(done);
            }
            handler.call(args).await
        };
        let grace = self.inner.limits.stop_grace;
        let over = async {
            self.stop.cancelled().await;
            sleep(grace).await;
        };
        let ended = tokio::select! {
            ended = AssertUnwindSafe(work).catch_unwind() => ended,
            () = sleep(budget) => {
                let message = format!("timed out after {} ms", self.call.timeout_ms);
                return CallResult::Unknown { message, stopped: false };
            }
            () = over => {
                return CallResult::Unknown { message: "did not stop when told to".into(), stopped: true };
            }
        };
        match ended {
            Ok(Ok(output)) => bounded(output, self.inner.limits.output_bytes_max),
            Ok(Err(error)) => CallResult::Failed(error),
            Err(panic) => {
                let message = format!("panicked: {}", panic_text(panic.as_ref()));
                CallResult::Unknown { message, stopped: false }
            }
        }
    }
}

/// The output, unless it is too large to keep.
fn bounded(output: serde_json::Value, bytes_max: usize) -> CallResult {
    let bytes = serde_json::to_vec(&output).map_or(usize::MAX, |text| text.len());
    if bytes <= bytes_max {
        return CallResult::Done(output);
    }
    let message = format!("the output of {bytes} bytes is over the limit of {bytes_max}");
    let hint = "put large results into the blob store and return their digest";
    CallResult::Failed(StepError::fatal(message).with_hint(hint))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
