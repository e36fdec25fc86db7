//! What a workflow is: data. Steps, what they wait for, what they call and how to undo them.
//!
//! The serialised form is stored with each flow and read by every later version of Stead, so fields
//! are only ever added, with a default.

use std::collections::HashMap;

use base::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// A workflow: named steps in a graph without cycles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// What it does, such as `apply-plan`.
    pub name: String,
    pub steps: Vec<StepDef>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepDef {
    /// Unique in the flow; it is part of the key of the step's effects.
    pub name: String,
    /// Names of the steps that have to be done before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    pub action: Action,
    /// Undoes the step when a later one fails or the flow is cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensate: Option<Call>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Action {
    /// Calls a handler.
    Call {
        #[serde(flatten)]
        call: Call,
        mode: Mode,
    },
    /// Waits for a time.
    Timer { until: Until },
    /// Waits for a person's choice; the output is `{"choice", "actor", "at"}`.
    Person { question: String, choices: Vec<String> },
}

/// A call of a handler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub handler: String,
    pub version: u32,
    #[serde(default)]
    pub input: Value,
    #[serde(default)]
    pub retry: Retry,
    /// Time one attempt has.
    pub timeout_ms: u64,
}

/// When a timer fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// At this wall time; a clock that jumps past it fires it.
    At(Timestamp),
    /// So long after the step began. Measured on the monotonic clock, so that a jump of the wall
    /// clock neither fires nor delays it.
    AfterMs(u64),
}

/// What may be done with a step whose outcome is unknown, after a crash or a timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Calling again with the same key has the same effect once.
    Idempotent,
    /// The handler can tell whether it was done; it is asked before every call.
    CheckFirst,
    /// It is called once. An error that the handler returns is its word that nothing happened, and the
    /// step has failed; after a crash, a timeout or a panic the outcome is unknown, and a person decides.
    OnceThenAsk,
}

/// How often and how soon to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all, at least 1. Not used by [`Mode::OnceThenAsk`].
    pub attempts_max: u32,
    /// Wait before the second attempt; it doubles from there.
    pub backoff_first_ms: u64,
    pub backoff_max_ms: u64,
}

impl Retry {
    pub const NEVER: Self = Self { attempts_max: 1, backoff_first_ms: 0, backoff_max_ms: 0 };

    /// The wait after `failures` failed attempts (from 1).
    #[must_use]
    pub fn wait_ms(&self, failures: u32) -> u64 {
        let factor = 1u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
        self.backoff_first_ms.saturating_mul(factor).min(self.backoff_max_ms)
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts_max: 5, backoff_first_ms: 200, backoff_max_ms: 30_000 }
    }
}

impl Call {
    pub const TIMEOUT_MS_DEFAULT: u64 = 60_000;

    pub fn new(handler: impl Into<String>, version: u32, input: Value) -> Self {
        let (retry, timeout_ms) = (Retry::default(), Self::TIMEOUT_MS_DEFAULT);
        Self { handler: handler.into(), version, input, retry, timeout_ms }
    }
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }
    #[must_use]
    pub fn timeout_ms(mut self, timeout_ms: u64) -> Self {
        self.timeout_ms = timeout_ms;
        self
    }
}

impl StepDef {
    pub fn call(name: impl Into<String>, mode: Mode, call: Call) -> Self {
        Self { name: name.into(), after: Vec::new(), action: Action::Call { call, mode }, compensate: None }
    }
    pub fn timer(name: impl Into<String>, until: Until) -> Self {
        Self { name: name.into(), after: Vec::new(), action: Action::Timer { until }, compensate: None }
    }
    pub fn person(name: impl Into<String>, question: impl Into<String>, choices: &[&str]) -> Self {
        let choices = choices.iter().map(|choice| (*choice).to_owned()).collect();
        let action = Action::Person { question: question.into(), choices };
        Self { name: name.into(), after: Vec::new(), action, compensate: None }
    }
    #[must_use]
    pub fn after<I: IntoIterator<Item = S>, S: Into<String>>(mut self, steps: I) -> Self {
        self.after.extend(steps.into_iter().map(Into::into));
        self
    }
    #[must_use]
    pub fn compensate(mut self, call: Call) -> Self {
        self.compensate = Some(call);
        self
    }

    /// The calls this step can make, forwards and backwards.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &Call> {
        let forward = match &self.action {
            Action::Call { call, .. } => Some(call),
            _ => None,
        };
        forward.into_iter().chain(self.compensate.as_ref())
    }
}

/// The edges of a definition by position.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
    pub(crate) before: Vec<Vec<usize>>,
    pub(crate) next: Vec<Vec<usize>>,
    by_name: HashMap<String, usize>,
}

impl Graph {
    /// Checks the definition and indexes it.
    pub(crate) fn of(definition: &Definition, steps_max: usize) -> Result<Self, Error> {
        let invalid = |why: String| Error::Invalid { flow: definition.name.clone(), why };
        let count = definition.steps.len();
        if count > steps_max {
            return Err(Error::Limit { what: "steps of one flow", limit: steps_max as u64 });
        }
        let mut by_name = HashMap::with_capacity(count);
        for (at, step) in definition.steps.iter().enumerate() {
            if step.name.is_empty() || step.name.len() > NAME_BYTES_MAX {
                return Err(invalid(format!("step name {:?} is not 1 to {NAME_BYTES_MAX} bytes", step.name)));
            }
            if by_name.insert(step.name.clone(), at).is_some() {
                return Err(invalid(format!("step {:?} is defined twice", step.name)));
            }
            if let Action::Person { choices, .. } = &step.action
                && choices.is_empty()
            {
                return Err(invalid(format!("step {:?} offers no choice", step.name)));
            }
        }
        let (mut before, mut next) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        for (at, step) in definition.steps.iter().enumerate() {
            for name in &step.after {
                let Some(&earlier) = by_name.get(name) else {
                    return Err(invalid(format!(
                        "step {:?} comes after {name:?}, which is no step",
                        step.name
                    )));
                };
                if !before[at].contains(&earlier) {
                    before[at].push(earlier);
                    next[earlier].push(at);
                }
            }
        }
        let graph = Self { before, next, by_name };
        match graph.stuck() {
            Some(at) => Err(invalid(format!("step {:?} waits for itself", definition.steps[at].name))),
            None => Ok(graph),
        }
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// All steps that come before `at`, however far.
    pub(crate) fn ancestors(&self, at: usize) -> Vec<usize> {
        let mut seen = vec![false; self.before.len()];
        let mut found = Vec::new();
        let mut open = self.before[at].clone();
        while let Some(step) = open.pop() {
            if !std::mem::replace(&mut seen[step], true) {
                found.push(step);
                open.extend_from_slice(&self.before[step]);
            }
        }
        found
    }

    /// A step that can never begin, because it is on or behind a cycle.
    fn stuck(&self) -> Option<usize> {
        let mut missing: Vec<usize> = self.before.iter().map(Vec::len).collect();
        let mut open: Vec<usize> = (0..missing.len()).filter(|at| missing[*at] == 0).collect();
        while let Some(done) = open.pop() {
            for &step in &self.next[done] {
                missing[step] -= 1;
                if missing[step] == 0 {
                    open.push(step);
                }
            }
        }
        missing.iter().position(|left| *left > 0)
    }
}

/// Longest name of a step.
pub(crate) const NAME_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, after: &[&str]) -> StepDef {
        StepDef::call(name, Mode::Idempotent, Call::new("h", 1, Value::Null)).after(after.iter().copied())
    }
    fn check(steps: Vec<StepDef>) -> Result<Graph, String> {
        Graph::of(&Definition { name: "f".into(), steps }, 10).map_err(|error| error.to_string())
    }

    #[test]
    fn wrong_definitions_are_refused() {
        for (steps, expected) in [
            (vec![step("a", &[]), step("a", &[])], "defined twice"),
            (vec![step("a", &["b"])], "which is no step"),
            (vec![step("a", &["b"]), step("b", &["a"])], "waits for itself"),
            (vec![step("a", &["a"])], "waits for itself"),
            (vec![step("", &[])], "not 1 to"),
            (vec![StepDef::person("p", "sure?", &[])], "offers no choice"),
            ((0..11).map(|n| step(&n.to_string(), &[])).collect(), "over the limit of 10"),
        ] {
            let error = check(steps).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn ancestors_reach_all_the_way() {
        let graph = check(vec![step("a", &[]), step("b", &["a"]), step("c", &["b", "b"]), step("d", &[])]);
        let graph = graph.unwrap();
        let mut of_c = graph.ancestors(2);
        of_c.sort_unstable();
        assert_eq!(of_c, [0, 1]);
        assert!(graph.ancestors(3).is_empty());
    }

    #[test]
    fn the_stored_form_is_frozen() {
        let text = r#"{"name":"f","steps":[
            {"name":"a","action":{"kind":"call","handler":"h","version":2,"input":{"x":1},"timeout_ms":5,"mode":"check_first"}},
            {"name":"b","after":["a"],"action":{"kind":"timer","until":{"after_ms":7}}},
            {"name":"c","action":{"kind":"person","question":"q","choices":["y"]},
             "compensate":{"handler":"u","version":1,"input":null,"retry":{"attempts_max":1,"backoff_first_ms":2,"backoff_max_ms":3},"timeout_ms":9}}]}"#;
        let definition: Definition = serde_json::from_str(text).unwrap();
        let Action::Call { call, mode } = &definition.steps[0].action else { panic!("a call") };
        assert_eq!((call.version, *mode, call.retry), (2, Mode::CheckFirst, Retry::default()));
        assert_eq!(definition.steps[1].action, Action::Timer { until: Until::AfterMs(7) });
        let again: Definition = serde_json::from_value(serde_json::to_value(&definition).unwrap()).unwrap();
        assert_eq!(again, definition);
    }
}
