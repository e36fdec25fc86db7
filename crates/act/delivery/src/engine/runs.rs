//! Runs: plans being carried out, as the workflow engine journals them.

use base::{Class, Ctx, Problem, Scope, id::FlowId};
use delivery_api::{Run, RunState, RunStep, StepState, port::Result};
use flow::{Definition, FlowState, ListQuery, Phase, Start, Status};
use serde::{Deserialize, Serialize};
use state::Commit;

use super::Engine;
use crate::record;

/// Runs that a listing gives.
const RUNS_LISTED: usize = 50;

/// What a run belongs to.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct RunRecord {
    plan: String,
}

impl Engine {
    /// Starts the workflow of a plan with the plan's own change in the same commit.
    pub(super) async fn start_run<F>(
        &self,
        ctx: &Ctx,
        definition: Definition,
        plan: &str,
        extra: F,
    ) -> Result<Run>
    where
        F: FnOnce(&str) -> Commit,
    {
        let mut start = Start::new(definition, format!("plan/{plan}"));
        let id = start.id.to_string();
        let mut commit = extra(&id);
        let run = RunRecord { plan: plan.to_owned() };
        commit.puts.push(record::put(&ctx.scope, record::RUN, &id, &run, &[]));
        start = start.with(commit);
        let started = self.flows.start(ctx, start).await.map_err(|error| Problem::from_fault(&error))?;
        self.run(&ctx.scope, started.id.as_str()).await
    }

    pub(super) async fn run(&self, scope: &Scope, id: &str) -> Result<Run> {
        let none = || Problem::new(Class::NotFound, "delivery.no_run", format!("there is no run `{id}`"));
        let flow = FlowId::parse(id).map_err(|_| none())?;
        let plan = self.books.get::<RunRecord>(scope, record::RUN, id).await?.ok_or_else(none)?.body.plan;
        let ctx = Ctx::system("delivery", scope.clone());
        let status = self.flows.status(&ctx, &flow).await.map_err(|error| Problem::from_fault(&error))?;
        Ok(self.view(status, plan))
    }

    pub(super) async fn list_runs(&self, scope: &Scope) -> Result<Vec<Run>> {
        let ctx = Ctx::system("delivery", scope.clone());
        let mut ids = Vec::new();
        let mut query = ListQuery::default();
        loop {
            let page =
                self.flows.list(&ctx, query.clone()).await.map_err(|error| Problem::from_fault(&error))?;
            ids.extend(page.items.into_iter().map(|summary| summary.id));
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        let mut runs = Vec::new();
        for id in ids.into_iter().rev().take(RUNS_LISTED) {
            if let Ok(run) = self.run(scope, id.as_str()).await {
                runs.push(run);
            }
        }
        Ok(runs)
    }

    /// Cancels a run: what it did is undone.
    ///
    /// # Errors
    /// There is no such run, or it has ended.
    pub async fn cancel_run(&self, ctx: &Ctx, id: &str, why: &str) -> Result<Run> {
        let flow = FlowId::parse(id).map_err(|_| {
            Problem::new(Class::NotFound, "delivery.no_run", format!("there is no run `{id}`"))
        })?;
        self.flows.cancel(ctx, &flow, why).await.map_err(|error| Problem::from_fault(&error))?;
        self.run(&ctx.scope, id).await
    }

    fn view(&self, status: Status, plan: String) -> Run {
        let cancelled = status.summary.cancelled_by.is_some();
        let state = match status.summary.state {
            FlowState::Running | FlowState::Compensating => RunState::Running,
            FlowState::Parked => RunState::Parked,
            FlowState::Done => RunState::Done,
            FlowState::Compensated if cancelled => RunState::Cancelled,
            FlowState::Compensated => RunState::Undone,
        };
        let problem = status.summary.failure.as_ref().map(|failure| {
            let mut text = match &failure.step {
                Some(step) => format!("{step}: {}", failure.message),
                None => failure.message.clone(),
            };
            if let Some(hint) = &failure.hint {
                text.push_str(&format!(" ({hint})"));
            }
            text
        });
        let flow = status.summary.id.to_string();
        let steps = status
            .step
            .into_iter()
            .map(|step| {
                let state = step_state(step.phase);
                let note = matches!(state, StepState::Running)
                    .then(|| self.shared.note_of(&flow, &step.name))
                    .flatten();
                RunStep {
                    state,
                    attempts: step.attempt,
                    message: step.error.map(|error| error.message).or(note),
                    name: step.name,
                }
            })
            .collect();
        Run {
            id: flow,
            plan,
            state,
            started_at: status.summary.started_at.to_string(),
            ended_at: status.summary.ended_at.map(|at| at.to_string()),
            started_by: status.summary.actor.to_string(),
            steps,
            problem,
        }
    }
}

fn step_state(phase: Phase) -> StepState {
    match phase {
        Phase::Pending | Phase::Ready | Phase::Waiting => StepState::Waiting,
        Phase::Running | Phase::Undoing => StepState::Running,
        Phase::Retrying | Phase::UndoRetrying => StepState::Retrying,
        Phase::Asking | Phase::UndoAsking => StepState::Parked,
        Phase::Done => StepState::Done,
        Phase::Failed => StepState::Failed,
        Phase::Undone => StepState::Undone,
        _ => StepState::Skipped,
    }
}
