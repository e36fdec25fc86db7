//! Carrying a plan out: one workflow step per step of the plan, each journalled, each undone when a
//! later one fails.
//!
//! A handler writes what is wanted and waits until the reconciler reports that it is so. It never
//! starts or stops anything itself: after a crash the records alone say what should run.

mod provide;
mod release;
mod remove;
mod rotate;

use std::{collections::BTreeSet, sync::Arc};

use base::{
    Ctx, Problem,
    id::{EventId, ReleaseId},
};
use flow::{Call, Definition, ErrorKind, Handler, Handlers, Mode, Retry, StepCall, StepDef, StepError};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    books::Books,
    ports::Ports,
    reconcile::{ServiceNow, Shared},
    record::{PlanRecord, Work},
};

/// Version of the handlers' inputs.
const VERSION: u32 = 1;
/// Time that one step may take, replicas coming up included.
const STEP_TIME_MS: u64 = 600_000;

const PROVIDE: &str = "delivery.provide";
const RELEASE: &str = "delivery.release";
const UPDATE: &str = "delivery.update";
const REMOVE: &str = "delivery.remove";
const RESTORE: &str = "delivery.restore";

/// What a step is given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Input {
    pub work: Work,
    pub source: delivery_api::Source,
    /// Entry of the ledger that says the plan is being applied.
    pub cause: EventId,
}

/// What a compensation needs: how the service was before.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Before {
    pub name: String,
    pub cause: EventId,
    /// The release that the step makes; none for a change in place.
    #[serde(default)]
    pub release: Option<ReleaseId>,
}

/// The workflow of a plan.
#[must_use]
pub fn definition(record: &PlanRecord, cause: &EventId) -> Definition {
    let working: BTreeSet<String> = record.work.iter().map(step_name).collect();
    let steps = record
        .work
        .iter()
        .flat_map(|work| {
            if let Work::Rotate { name, belongs_to, need, release } = work {
                let turn = rotate::Turn {
                    name: name.clone(),
                    service: belongs_to.clone(),
                    need: need.clone(),
                    release: release.clone(),
                    source: record.plan.source.clone(),
                    cause: cause.clone(),
                };
                return rotate::steps(&turn);
            }
            let name = step_name(work);
            let after: Vec<String> = record
                .plan
                .steps
                .iter()
                .find(|step| step.subject == name)
                .map(|step| step.after.iter().filter(|other| working.contains(*other)).cloned().collect())
                .unwrap_or_default();
            let input =
                Input { work: work.clone(), source: record.plan.source.clone(), cause: cause.clone() };
            let handler = match work {
                Work::Provide { .. } => PROVIDE,
                Work::Release { .. } => RELEASE,
                Work::Update { .. } => UPDATE,
                Work::Remove { .. } | Work::Rotate { .. } => REMOVE,
            };
            let call = Call::new(handler, VERSION, serde_json::to_value(input).unwrap_or_default())
                .retry(Retry { attempts_max: 3, backoff_first_ms: 500, backoff_max_ms: 5_000 })
                .timeout_ms(STEP_TIME_MS);
            let step = StepDef::call(name, Mode::Idempotent, call).after(after);
            vec![match work {
                Work::Release { name, .. } | Work::Update { name, .. } => {
                    let release = match work {
                        Work::Release { release, .. } => Some(release.clone()),
                        _ => None,
                    };
                    let before = Before { name: name.clone(), cause: cause.clone(), release };
                    let undo = Call::new(RESTORE, VERSION, serde_json::to_value(before).unwrap_or_default())
                        .timeout_ms(STEP_TIME_MS);
                    step.compensate(undo)
                }
                _ => step,
            }]
        })
        .collect();
    Definition { name: "apply-plan".into(), steps }
}

fn step_name(work: &Work) -> String {
    let platform = matches!(work, Work::Provide { .. } | Work::Rotate { .. });
    match work {
        // A removal's subject depends on what is removed, which the plan's step knows by name alone.
        Work::Remove { name, need, .. } => crate::planner::subject(*need, name),
        _ => crate::planner::subject(platform, work.name()),
    }
}

/// What all handlers share.
#[derive(Debug, Clone)]
pub(crate) struct Applier {
    pub ports: Ports,
    pub books: Books,
    pub shared: Shared,
}

/// The handlers for [`definition`].
#[must_use]
pub fn handlers(ports: &Ports, shared: &Shared) -> Handlers {
    let applier = Arc::new(Applier {
        ports: ports.clone(),
        books: Books { state: Arc::clone(&ports.state) },
        shared: shared.clone(),
    });
    let step =
        |what: What| -> Arc<dyn Handler> { Arc::new(StepHandler { applier: Arc::clone(&applier), what }) };
    rotate::handlers(&applier)
        .with(PROVIDE, VERSION, step(What::Provide))
        .with(RELEASE, VERSION, step(What::Release))
        .with(UPDATE, VERSION, step(What::Update))
        .with(REMOVE, VERSION, step(What::Remove))
        .with(RESTORE, VERSION, step(What::Restore))
}

#[derive(Debug, Clone, Copy)]
enum What {
    Provide,
    Release,
    Update,
    Remove,
    Restore,
}

#[derive(Debug)]
struct StepHandler {
    applier: Arc<Applier>,
    what: What,
}

impl Handler for StepHandler {
    fn call(&self, call: StepCall) -> BoxFuture<'_, Result<Value, StepError>> {
        Box::pin(async move {
            match self.what {
                What::Provide => self.applier.provide(call).await,
                What::Release => self.applier.release(call).await,
                What::Update => self.applier.update(call).await,
                What::Remove => self.applier.remove(call).await,
                What::Restore => self.applier.restore(call).await,
            }
        })
    }
}

pub(crate) fn input<T: DeserializeOwned>(call: &StepCall) -> Result<T, StepError> {
    serde_json::from_value(call.input.clone())
        .map_err(|error| StepError::fatal(format!("the step's input cannot be read: {error}")))
}

/// A problem as a step's error: what may pass is tried again.
pub(crate) fn failed(problem: Problem) -> StepError {
    let kind = match problem.class {
        base::Class::Conflict | base::Class::Timeout | base::Class::Internal => ErrorKind::Retryable,
        _ => ErrorKind::Fatal,
    };
    StepError { kind, message: problem.message, hint: problem.hint }
}

impl Applier {
    /// The context of a step: the flow's actor, caused by the entry that started the plan.
    pub(crate) fn ctx(call: &StepCall, cause: &EventId) -> Ctx {
        call.ctx.clone().caused_by(cause.clone())
    }

    /// Says how a step goes, to those who follow and to those who look later.
    pub(crate) fn note(&self, call: &StepCall, message: &str) {
        call.note(message);
        self.shared.note(call.flow.as_str(), &call.step, message);
    }

    /// Waits until `done` says so of the service, telling how it goes.
    pub(crate) async fn wait_for<F>(&self, call: &StepCall, name: &str, mut done: F) -> Result<(), StepError>
    where
        F: FnMut(Option<&ServiceNow>) -> Option<Result<(), String>>,
    {
        let mut changes = self.shared.changes();
        self.shared.wake();
        let mut said = String::new();
        loop {
            let world = self.shared.world();
            let now = world.service(&call.ctx.scope, name);
            match done(now) {
                Some(Ok(())) => return Ok(()),
                Some(Err(why)) => return Err(StepError::fatal(why)),
                None => {}
            }
            if let Some(now) = now {
                let progress = match &now.reason {
                    Some(reason) => format!("{} of {} ready, {reason}", now.ready, now.wanted),
                    None => format!("{} of {} ready", now.ready, now.wanted),
                };
                if progress != said {
                    self.note(call, &progress);
                    said = progress;
                }
            }
            tokio::select! {
                () = call.stop.cancelled() => return Err(StepError::interrupted()),
                changed = changes.changed() => {
                    if changed.is_err() {
                        return Err(StepError::interrupted());
                    }
                }
            }
        }
    }

    /// Waits until the revision that is on record is rolled out.
    pub(crate) async fn wait_rolled_out(
        &self,
        call: &StepCall,
        name: &str,
        revision: &str,
    ) -> Result<(), StepError> {
        self.wait_for(call, name, |now| {
            let rollout = &now?.rollout;
            if rollout.revision.as_deref() != Some(revision) {
                return None;
            }
            if rollout.done {
                return Some(Ok(()));
            }
            rollout.failed.clone().map(Err)
        })
        .await
    }
}

/// A step's output.
pub(crate) fn output(release: Option<&str>, previous: Option<&str>) -> Value {
    json!({ "release": release, "previous": previous })
}
