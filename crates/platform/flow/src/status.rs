//! What the outside sees of a flow.

use std::sync::Arc;

use base::{Actor, Scope, Timestamp, id::FlowId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::record::{Answer, Ask, Failure, FlowState, Header, Phase, StepRecord};

/// A flow without its steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub id: FlowId,
    pub scope: Scope,
    pub name: String,
    pub state: FlowState,
    pub actor: Actor,
    pub steps: u32,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub failure: Option<Failure>,
    pub cancelled_by: Option<Actor>,
}

/// A flow with all its steps, in the order of the definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    #[serde(flatten)]
    pub summary: Summary,
    pub step: Vec<StepStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepStatus {
    pub name: String,
    pub phase: Phase,
    pub attempt: u32,
    pub output: Option<Value>,
    pub error: Option<Failure>,
    pub ask: Option<Ask>,
    pub answers: Vec<Answer>,
    pub began_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub due_at: Option<Timestamp>,
}

/// A step that waits for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    pub scope: Scope,
    pub flow: FlowId,
    pub step: String,
    pub ask: Ask,
}

impl Status {
    #[must_use]
    pub fn step(&self, name: &str) -> Option<&StepStatus> {
        self.step.iter().find(|step| step.name == name)
    }
}

/// Something happened in a flow. Sent after it is durable, except notes; one who lags misses some.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    pub scope: Scope,
    pub flow: FlowId,
    /// None for the flow itself.
    pub step: Option<String>,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Flow(FlowState),
    Step {
        phase: Phase,
        attempt: u32,
        error: Option<String>,
    },
    /// What a handler said.
    Note(String),
}

impl Summary {
    pub(crate) fn of(scope: &Scope, id: &FlowId, header: &Header) -> Self {
        Self {
            id: id.clone(),
            scope: scope.clone(),
            name: header.name.clone(),
            state: header.state,
            actor: header.actor.clone(),
            steps: header.steps,
            started_at: header.started_at,
            ended_at: header.ended_at,
            failure: header.failure.clone(),
            cancelled_by: header.cancelled_by.clone(),
        }
    }
}

impl StepStatus {
    pub(crate) fn of(name: &str, record: StepRecord) -> Self {
        Self {
            name: name.to_owned(),
            phase: record.phase,
            attempt: record.attempt,
            output: record.output.map(Arc::unwrap_or_clone),
            error: record.error,
            ask: record.ask,
            answers: record.answers,
            began_at: record.began_at,
            ended_at: record.ended_at,
            due_at: record.due_at,
        }
    }
}
