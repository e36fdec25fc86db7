//! Handlers: the code behind a step. They are looked up by name and version, never stored.

use std::{collections::BTreeMap, fmt, sync::Arc};

use base::{Class, Ctx, Fault, id::FlowId};
use futures_util::future::BoxFuture;
use serde_json::Value;
use state::Precondition;
use tasks::Shutdown;
use tokio::{sync::broadcast, time::Instant};

use crate::status::{Progress, What};

/// The code behind a step or a compensation.
///
/// Calls of one step never overlap while the engine leads. A call is dropped at an await when its
/// time is over, or when the engine loses its lease.
pub trait Handler: Send + Sync {
    /// Does the work. What it changes outside carries [`StepCall::key`] where the other side can
    /// remember keys, and [`StepCall::fence`] where it can compare tokens.
    fn call(&self, call: StepCall) -> BoxFuture<'_, Result<Value, StepError>>;

    /// For [`crate::Mode::CheckFirst`]: the output, if the work was done already.
    fn check(&self, call: StepCall) -> BoxFuture<'_, Result<Option<Value>, StepError>> {
        let _ = call;
        Box::pin(async { Ok(None) })
    }
}

/// One call of a handler.
#[derive(Debug, Clone)]
pub struct StepCall {
    pub flow: FlowId,
    pub step: String,
    /// From 1; a call repeated after a crash keeps its number.
    pub attempt: u32,
    /// The call undoes the step. Then its own output, if it got that far, is in `outputs`; a step
    /// that failed may have had no effect, and undoing nothing has to succeed.
    pub undo: bool,
    pub input: Value,
    /// Outputs of all steps that come before this one, by name.
    pub outputs: BTreeMap<String, Arc<Value>>,
    /// Names the effect: `flow/step`, and `flow/step/undo` for compensations.
    pub key: String,
    /// The lease's token; grows when another engine takes over.
    pub fence: u64,
    /// Actor, scope and cause of the flow; the budget is the time this attempt has.
    pub ctx: Ctx,
    pub deadline: Instant,
    /// The flow was cancelled or the process stops: end soon, with [`StepError::interrupted`] if
    /// nothing was changed.
    pub stop: Shutdown,
    pub(crate) lease: Precondition,
    pub(crate) notes: broadcast::Sender<Arc<Progress>>,
}

impl StepCall {
    /// For commits of the handler's own: they fail when another engine has taken over.
    #[must_use]
    pub fn precondition(&self) -> Precondition {
        self.lease.clone()
    }

    /// Tells those who follow the flow how it goes. Not stored.
    pub fn note(&self, message: impl Into<String>) {
        let _ = self.notes.send(Arc::new(Progress {
            scope: self.ctx.scope.clone(),
            flow: self.flow.clone(),
            step: Some(self.step.clone()),
            what: What::Note(message.into()),
        }));
    }
}

/// Why a handler did not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    pub kind: ErrorKind,
    pub message: String,
    pub hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Trying again may help.
    Retryable,
    /// Trying again will not help.
    Fatal,
    /// It was told to stop and has changed nothing.
    Interrupted,
}

impl StepError {
    pub fn retryable(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Retryable, message: message.into(), hint: None }
    }
    pub fn fatal(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Fatal, message: message.into(), hint: None }
    }
    #[must_use]
    pub fn interrupted() -> Self {
        Self { kind: ErrorKind::Interrupted, message: "interrupted".into(), hint: None }
    }
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Retryable when the fault's class is: unavailable, timeout, conflict, limit.
    #[must_use]
    pub fn from_fault(fault: &(impl Fault + ?Sized)) -> Self {
        let problem = base::Problem::from_fault(fault);
        let again =
            matches!(problem.class, Class::Unavailable | Class::Timeout | Class::Conflict | Class::Limit);
        let kind = if again { ErrorKind::Retryable } else { ErrorKind::Fatal };
        Self { kind, message: problem.message, hint: problem.hint }
    }
}

/// The handlers that this build has.
#[derive(Default, Clone)]
pub struct Handlers {
    by_name: BTreeMap<String, BTreeMap<u32, Arc<dyn Handler>>>,
}

impl Handlers {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one; the last of the same name and version counts. Keep old versions as long as flows
    /// that name them may be unfinished.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, version: u32, handler: Arc<dyn Handler>) -> Self {
        self.by_name.entry(name.into()).or_default().insert(version, handler);
        self
    }

    #[must_use]
    pub fn get(&self, name: &str, version: u32) -> Option<Arc<dyn Handler>> {
        self.by_name.get(name)?.get(&version).cloned()
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.by_name.iter().map(|(name, versions)| (name, versions.keys().collect::<Vec<_>>())))
            .finish()
    }
}
