//! The journal's records as they are stored. Fields are only added, with a default.

use std::sync::Arc;

use base::{
    Actor, Cause, Scope, Timestamp,
    id::{EventId, FlowId},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use state::{IndexTerm, Key};

/// Kinds of record.
pub(crate) const FLOW: &str = "flow";
pub(crate) const DEFINITION: &str = "flow-definition";
pub(crate) const STEP: &str = "flow-step";
pub(crate) const KEY: &str = "flow-key";
/// One per tenant that ever had a flow, in the default scope: where to look for unfinished flows.
pub(crate) const TENANT: &str = "flow-tenant";
pub(crate) const SCHEDULE: &str = "flow-schedule";

/// How far a flow is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowState {
    Running,
    /// A step failed or somebody cancelled; what was done is being undone.
    Compensating,
    /// Nothing goes on until a person answers, see the steps that ask.
    Parked,
    /// All steps are done.
    Done,
    /// It failed or was cancelled, and what can be undone is undone.
    Compensated,
}

impl FlowState {
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Compensated)
    }
    /// Final, or parked.
    #[must_use]
    pub fn is_settled(self) -> bool {
        self.is_final() || self == Self::Parked
    }
}

/// Why a step or a flow failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step; none when the flow was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The flow record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) state: FlowState,
    pub(crate) actor: Actor,
    pub(crate) cause: Cause,
    /// The ledger entry of the start: cause of all that follows.
    pub(crate) started_by: EventId,
    pub(crate) key: String,
    pub(crate) steps: u32,
    pub(crate) started_at: Timestamp,
    #[serde(default)]
    pub(crate) ended_at: Option<Timestamp>,
    /// Set once the flow can no longer succeed.
    #[serde(default)]
    pub(crate) failure: Option<Failure>,
    #[serde(default)]
    pub(crate) cancelled_by: Option<Actor>,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits for steps before it. Such a step has no record yet.
    #[default]
    Pending,
    /// It may begin and has not.
    Ready,
    /// It may have begun.
    Running,
    /// An attempt failed, the next is due.
    Retrying,
    /// A timer runs.
    Waiting,
    /// A person has to answer.
    Asking,
    Done,
    Failed,
    /// It never began, and will not.
    Dropped,
    Undoing,
    UndoRetrying,
    /// The compensation failed; a person has to decide.
    UndoAsking,
    Undone,
    /// A person decided to leave its effect as it is.
    Left,
}

/// What a person is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    pub about: About,
    pub question: String,
    pub choices: Vec<String>,
}

/// Why a person is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// The step is a question.
    Decision,
    /// This Stead does not have the handler.
    UnknownHandler,
    /// Nobody knows whether a step that may run only once has had its effect.
    UnknownOutcome,
    /// The step was cut off by a crash too often.
    CrashLoop,
    /// A compensation failed.
    UndoFailed,
}

/// What a person answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub choice: String,
    pub actor: Actor,
    pub at: Timestamp,
}

/// The step record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepRecord {
    pub(crate) phase: Phase,
    /// The attempt that runs or ran last, from 1.
    #[serde(default)]
    pub(crate) attempt: u32,
    #[serde(default)]
    pub(crate) undo_attempt: u32,
    /// How often an engine found it cut off since its last attempt ended.
    #[serde(default)]
    pub(crate) cut_off: u32,
    /// Position among the ends of this flow's steps; compensation goes backwards.
    #[serde(default)]
    pub(crate) end_seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Arc<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Failure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) began_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<Timestamp>,
    /// When a timer or the next attempt is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ask: Option<Ask>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) answers: Vec<Answer>,
}

/// The record that makes a start idempotent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    pub(crate) flow: FlowId,
}

pub(crate) fn flow_key(scope: &Scope, flow: &FlowId) -> Key {
    Key::new(scope, FLOW, flow.as_str())
}
pub(crate) fn definition_key(scope: &Scope, flow: &FlowId) -> Key {
    Key::new(scope, DEFINITION, flow.as_str())
}
pub(crate) fn step_key(scope: &Scope, flow: &FlowId, step: &str) -> Key {
    Key::new(scope, STEP, format!("{flow}/{step}"))
}

pub(crate) fn term(name: &str, value: impl Into<String>) -> IndexTerm {
    IndexTerm { name: name.to_owned(), value: value.into() }
}
/// Index of flows: `open` is `yes` until it ended.
pub(crate) fn open_term(open: bool) -> IndexTerm {
    term("open", if open { "yes" } else { "no" })
}
/// Index of steps by flow.
pub(crate) fn of_flow(flow: &FlowId) -> IndexTerm {
    term("flow", flow.as_str())
}
/// Index of steps that wait for a person.
pub(crate) fn asking_term() -> IndexTerm {
    term("asking", "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as the first version wrote them. Never edit: every later version reads them.
    const FLOW_V1: &str = r#"{"name":"release","state":"compensating","actor":"user:anna","cause":{"correlation":"c1"},
        "started_by":"evt_0193f0a0b0c0d0e0f000000000000001","key":"k","steps":2,"started_at":1700000000000000000,
        "ended_at":null,"failure":{"step":"a","message":"no","hint":"try"},"cancelled_by":null}"#;
    const STEP_V1: &str = r#"{"phase":"undo_asking","attempt":2,"undo_attempt":3,"cut_off":1,"end_seq":7,"output":{"x":1},
        "error":{"step":"a","message":"no"},"began_at":1,"ended_at":2,"due_at":3,
        "ask":{"about":"undo_failed","question":"q","choices":["try-again","leave"]},
        "answers":[{"choice":"try-again","actor":"user:anna","at":4}]}"#;

    #[test]
    fn the_first_records_stay_readable() {
        let header: Header = serde_json::from_str(FLOW_V1).unwrap();
        assert_eq!((header.state, header.steps), (FlowState::Compensating, 2));
        assert_eq!(header.failure.as_ref().unwrap().hint.as_deref(), Some("try"));
        let step: StepRecord = serde_json::from_str(STEP_V1).unwrap();
        assert_eq!((step.phase, step.undo_attempt, step.end_seq), (Phase::UndoAsking, 3, 7));
        assert_eq!(step.ask.as_ref().unwrap().about, About::UndoFailed);
        let again: StepRecord = serde_json::from_value(serde_json::to_value(&step).unwrap()).unwrap();
        assert_eq!(again, step);
        let again: Header = serde_json::from_value(serde_json::to_value(&header).unwrap()).unwrap();
        assert_eq!(again, header);
        let short: StepRecord = serde_json::from_str(r#"{"phase":"running"}"#).unwrap();
        assert_eq!(short, StepRecord { phase: Phase::Running, ..StepRecord::default() });
    }

    #[test]
    fn the_first_schedules_stay_readable() {
        let text = r#"{"schedule":{"name":"nightly","when":{"cron":{"expression":"0 3 * * *","zone":"Europe/Berlin"}},
            "missed":{"all":{"runs_max":3}},"overlap":"allow","enabled":false,
            "definition":{"name":"backup","steps":[]}},"since":5,"planned_at":6,
            "last_flow":"flow_0193f0a0b0c0d0e0f000000000000001"}"#;
        let status: crate::ScheduleStatus = serde_json::from_str(text).unwrap();
        assert_eq!(status.schedule.missed, crate::Missed::All { runs_max: 3 });
        let short = r#"{"schedule":{"name":"n","when":{"every_ms":1000},"definition":{"name":"b","steps":[]}},"since":5}"#;
        let status: crate::ScheduleStatus = serde_json::from_str(short).unwrap();
        assert!(status.schedule.enabled && status.planned_at.is_none());
    }
}
