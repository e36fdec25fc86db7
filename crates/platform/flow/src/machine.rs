//! The pure heart: what an event does to a flow. No I/O, no clock, no tasks.
//!
//! A [`Machine`] holds one flow. Events change it; the changes pile up in [`Out`] until
//! [`Machine::take`] turns them into one commit and the effects that follow once it is durable.

mod answer;
mod resume;
mod undo;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use base::{Actor, Scope, Timestamp, id::FlowId};
use ledger::Draft;
use serde_json::{Value, json};

pub(crate) use self::write::Batch;
use crate::{
    Error,
    definition::{Action, Call, Definition, Graph, Mode, Until},
    handler::{ErrorKind, StepError},
    record::{About, Answer, Ask, Failure, FlowState, Header, Phase, StepRecord},
    status::What,
};

/// One flow in memory.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) scope: Scope,
    pub(crate) id: FlowId,
    pub(crate) definition: Arc<Definition>,
    header: Header,
    graph: Graph,
    steps: Vec<StepRecord>,
    /// How many of the steps before it are not done.
    missing: Vec<usize>,
    /// Calls that are out: running, waiting for their delay, or waiting for a slot of the engine.
    in_flight: BTreeSet<usize>,
    done: usize,
    end_seq: u64,
    /// Steps still to undo, the next one last; made when undoing begins.
    undo: Option<Vec<usize>>,
    /// The engine stops: what is cut off stays as it is for the next one.
    stopping: bool,
    out: Out,
    versions: write::Versions,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    Ended {
        step: usize,
        undo: bool,
        result: CallResult,
    },
    /// A timer fired.
    Due {
        step: usize,
    },
    /// A slot is free for a step that asked for one.
    Slot {
        step: usize,
    },
    Answer {
        step: String,
        choice: String,
        actor: Actor,
    },
    Cancel {
        actor: Actor,
        why: String,
    },
    /// The engine stops.
    Stop,
}

/// How a call ended.
#[derive(Debug)]
pub(crate) enum CallResult {
    Done(Value),
    Failed(StepError),
    /// Timed out, panicked or was dropped: it may have had its effect.
    Unknown {
        message: String,
        stopped: bool,
    },
    /// The handler was not called.
    NotBegun,
}

/// What the actor has to do once the changes are durable.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    Call {
        step: usize,
        undo: bool,
        delay: Duration,
    },
    Timer {
        step: usize,
        until: Due,
    },
    /// Send [`Event::Slot`] once the engine has one.
    WaitForSlot {
        step: usize,
    },
    /// Tell the call of this step to end.
    Stop {
        step: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Wall time.
    At(Timestamp),
    /// Monotonic.
    In(Duration),
}

/// What an event needs to know of the world.
pub(crate) struct Env<'a> {
    pub(crate) now: Timestamp,
    pub(crate) knows: &'a dyn Fn(&str, u32) -> bool,
    /// Takes a slot for the step if one is free now.
    pub(crate) slot: &'a mut dyn FnMut(usize) -> bool,
}

#[derive(Debug, Default)]
struct Out {
    header: bool,
    steps: BTreeSet<usize>,
    effects: Vec<Effect>,
    entries: Vec<Draft>,
    progress: Vec<(Option<usize>, What)>,
}

/// Cut off so often by crashes, a step is suspected of causing them.
pub(crate) const CUT_OFF_MAX: u32 = 20;

impl Machine {
    /// A flow that nobody has seen yet.
    pub(crate) fn begin(
        scope: Scope,
        id: FlowId,
        definition: Arc<Definition>,
        graph: Graph,
        header: Header,
        env: &mut Env<'_>,
    ) -> Self {
        let steps = vec![StepRecord::default(); definition.steps.len()];
        let mut machine = Self::assemble(scope, id, definition, graph, header, steps);
        machine.out.header = true;
        for step in 0..machine.steps.len() {
            if machine.missing[step] == 0 {
                machine.unlock(step, env);
            }
        }
        machine.settle(env.now);
        machine
    }

    fn assemble(
        scope: Scope,
        id: FlowId,
        definition: Arc<Definition>,
        graph: Graph,
        header: Header,
        steps: Vec<StepRecord>,
    ) -> Self {
        let is_done = |step: &usize| steps[*step].phase == Phase::Done;
        let missing =
            graph.before.iter().map(|before| before.iter().filter(|step| !is_done(step)).count()).collect();
        let done = (0..steps.len()).filter(is_done).count();
        let end_seq = steps.iter().map(|step| step.end_seq).max().unwrap_or(0);
        let versions = write::Versions::new(steps.len());
        Self {
            scope,
            id,
            definition,
            header,
            graph,
            steps,
            missing,
            in_flight: BTreeSet::new(),
            done,
            end_seq,
            undo: None,
            stopping: false,
            out: Out::default(),
            versions,
        }
    }

    /// Takes in one event.
    ///
    /// # Errors
    /// Only answers and cancellations fail; then nothing has changed.
    pub(crate) fn apply(&mut self, event: Event, env: &mut Env<'_>) -> Result<(), Error> {
        match event {
            Event::Ended { step, undo, result } => {
                self.in_flight.remove(&step);
                if undo { self.undo_ended(step, result, env) } else { self.call_ended(step, result, env) }
            }
            Event::Due { step } if self.steps[step].phase == Phase::Waiting => {
                self.complete(step, Value::Null, env);
            }
            Event::Slot { step } if self.steps[step].phase == Phase::Ready => {
                self.in_flight.remove(&step);
                self.run(step, Duration::ZERO, env.now);
            }
            Event::Due { .. } | Event::Slot { .. } => {}
            Event::Answer { step, choice, actor } => self.answer(&step, choice, actor, env)?,
            Event::Cancel { actor, why } => self.cancel(actor, &why)?,
            Event::Stop => self.stop(),
        }
        self.settle(env.now);
        Ok(())
    }

    pub(crate) fn state(&self) -> FlowState {
        self.header.state
    }
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }
    /// Nothing is out any more: the actor can go once the engine stops.
    pub(crate) fn is_quiet(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// The call of a step, for the attempt that is due.
    pub(crate) fn call_of(&self, step: usize, undo: bool) -> Option<(&Call, Mode, u32)> {
        let definition = &self.definition.steps[step];
        if undo {
            let call = definition.compensate.as_ref()?;
            return Some((call, Mode::Idempotent, self.steps[step].undo_attempt));
        }
        match &definition.action {
            Action::Call { call, mode } => Some((call, *mode, self.steps[step].attempt)),
            Action::Timer { .. } | Action::Person { .. } => None,
        }
    }

    /// Outputs of the steps before this one, and its own for an undo.
    pub(crate) fn outputs_for(&self, step: usize, undo: bool) -> BTreeMap<String, Arc<Value>> {
        let mut from = self.graph.ancestors(step);
        if undo {
            from.push(step);
        }
        let output = |step: usize| {
            let value = self.steps[step].output.as_ref()?;
            Some((self.definition.steps[step].name.clone(), Arc::clone(value)))
        };
        from.into_iter().filter_map(output).collect()
    }

    fn is_ending(&self) -> bool {
        self.header.failure.is_some()
    }

    /// A step whose predecessors are all done.
    fn unlock(&mut self, step: usize, env: &mut Env<'_>) {
        if self.is_ending() {
            return;
        }
        let definition = Arc::clone(&self.definition);
        match &definition.steps[step].action {
            Action::Timer { until } => self.wait_until(step, *until, env.now),
            Action::Person { question, choices } => {
                let ask =
                    Ask { about: About::Decision, question: question.clone(), choices: choices.clone() };
                self.steps[step].began_at = Some(env.now);
                self.ask(step, Phase::Asking, ask);
            }
            Action::Call { call, mode } => {
                if !(env.knows)(&call.handler, call.version) {
                    self.ask_about_handler(step, Phase::Asking, call);
                } else if *mode == Mode::OnceThenAsk && !(env.slot)(step) {
                    // Marking it as begun has to wait until it does begin, or a crash meanwhile
                    // would ask a person about a step that never ran.
                    self.enter(step, Phase::Ready);
                    self.in_flight.insert(step);
                    self.out.effects.push(Effect::WaitForSlot { step });
                } else {
                    self.run(step, Duration::ZERO, env.now);
                }
            }
        }
    }

    fn wait_until(&mut self, step: usize, until: Until, now: Timestamp) {
        let (due_at, due) = match until {
            Until::At(at) => (at, Due::At(at)),
            Until::AfterMs(ms) => (now.plus(Duration::from_millis(ms)), Due::In(Duration::from_millis(ms))),
        };
        self.steps[step].began_at = Some(now);
        self.steps[step].due_at = Some(due_at);
        self.enter(step, Phase::Waiting);
        self.out.effects.push(Effect::Timer { step, until: due });
    }

    /// Starts a new attempt.
    fn run(&mut self, step: usize, delay: Duration, now: Timestamp) {
        let record = &mut self.steps[step];
        record.attempt = record.attempt.saturating_add(1);
        record.began_at.get_or_insert(now);
        let phase = if delay.is_zero() {
            record.due_at = None;
            Phase::Running
        } else {
            record.due_at = Some(now.plus(delay));
            Phase::Retrying
        };
        self.enter(step, phase);
        self.out_call(step, false, delay);
    }

    fn out_call(&mut self, step: usize, undo: bool, delay: Duration) {
        self.in_flight.insert(step);
        self.out.effects.push(Effect::Call { step, undo, delay });
    }

    fn call_ended(&mut self, step: usize, result: CallResult, env: &mut Env<'_>) {
        let Some((call, mode, attempt)) = self.call_of(step, false) else { return };
        let (retry, once) = (call.retry, mode == Mode::OnceThenAsk);
        let (message, hint, again, unknown) = match result {
            CallResult::Done(output) => return self.complete(step, output, env),
            CallResult::NotBegun => return self.not_begun(step),
            CallResult::Failed(error) if error.kind == ErrorKind::Interrupted && self.stopping => {
                if once {
                    self.withdraw_attempt(step);
                    self.enter(step, Phase::Ready);
                }
                return;
            }
            // It changed nothing, so there is nothing to undo.
            CallResult::Failed(error) if error.kind == ErrorKind::Interrupted && self.is_ending() => {
                return self.not_begun(step);
            }
            // Cut off by the engine's own stop: the next one sees a step that may have begun.
            CallResult::Unknown { stopped: true, .. } if self.stopping => return,
            CallResult::Failed(error) => (error.message, error.hint, error.kind != ErrorKind::Fatal, false),
            CallResult::Unknown { message, .. } => (message, None, true, true),
        };
        let failure = bounded_failure(Some(self.name(step)), message, hint);
        self.steps[step].error = Some(failure.clone());
        self.steps[step].cut_off = 0;
        if once && unknown && !self.is_ending() {
            self.ask_about_outcome(step);
        } else if again && !once && attempt < retry.attempts_max && !self.is_ending() {
            let delay = Duration::from_millis(retry.wait_ms(attempt).max(1));
            self.run(step, delay, env.now);
        } else {
            self.fail(step, failure, env.now);
        }
    }

    /// The call came back before the handler was called: the flow ends, or the engine does.
    fn not_begun(&mut self, step: usize) {
        if self.stopping {
            let once = self.call_of(step, false).is_some_and(|(_, mode, _)| mode == Mode::OnceThenAsk);
            if once && self.steps[step].phase == Phase::Running {
                self.withdraw_attempt(step);
                self.enter(step, Phase::Ready);
            }
        } else if self.is_ending() {
            if self.steps[step].phase == Phase::Running {
                // this was its first attempt, so there is nothing to undo
                self.withdraw_attempt(step);
            }
            self.abandon(step);
        } else if self.steps[step].phase == Phase::Ready {
            self.in_flight.insert(step);
            self.out.effects.push(Effect::WaitForSlot { step });
        } else {
            self.out_call(step, false, NOT_BEGUN_DELAY);
        }
    }

    /// The attempt turned out to be none.
    fn withdraw_attempt(&mut self, step: usize) {
        self.steps[step].attempt = self.steps[step].attempt.saturating_sub(1);
    }

    fn complete(&mut self, step: usize, output: Value, env: &mut Env<'_>) {
        self.end_step(step, Phase::Done, env.now);
        self.steps[step].output = Some(Arc::new(output));
        self.steps[step].error = None;
        self.done += 1;
        for next in self.graph.next[step].clone() {
            self.missing[next] -= 1;
            if self.missing[next] == 0 {
                self.unlock(next, env);
            }
        }
    }

    /// A step failed for good, and with it the flow.
    fn fail(&mut self, step: usize, failure: Failure, now: Timestamp) {
        self.end_step(step, Phase::Failed, now);
        self.steps[step].error = Some(failure.clone());
        self.end_with(failure);
    }

    fn end_step(&mut self, step: usize, phase: Phase, now: Timestamp) {
        self.end_seq += 1;
        let record = &mut self.steps[step];
        record.end_seq = self.end_seq;
        record.ended_at = Some(now);
        record.due_at = None;
        record.cut_off = 0;
        record.ask = None;
        self.enter(step, phase);
    }

    fn enter(&mut self, step: usize, phase: Phase) {
        self.steps[step].phase = phase;
        self.out.steps.insert(step);
        let record = &self.steps[step];
        let error = record.error.as_ref().map(|error| error.message.clone());
        self.out.progress.push((Some(step), What::Step { phase, attempt: record.attempt, error }));
    }

    fn name(&self, step: usize) -> String {
        self.definition.steps[step].name.clone()
    }

    /// The engine stops: calls are told to end; nothing new begins.
    fn stop(&mut self) {
        self.stopping = true;
        let stops = self.in_flight.iter().map(|step| Effect::Stop { step: *step });
        self.out.effects.extend(stops);
    }

    /// Brings the flow's own state in line with its steps'.
    fn settle(&mut self, now: Timestamp) {
        if self.header.state.is_final() {
            return;
        }
        if self.is_ending() && self.in_flight.is_empty() && !self.stopping {
            self.undo_next(now);
        }
        let any = |phases: &[Phase]| self.steps.iter().any(|step| phases.contains(&step.phase));
        let state = if self.is_ending() {
            let left = self.undo.as_ref().is_none_or(|left| !left.is_empty());
            if !self.in_flight.is_empty() || any(&[Phase::Undoing, Phase::UndoRetrying]) {
                FlowState::Compensating
            } else if any(&[Phase::UndoAsking]) {
                FlowState::Parked
            } else if left {
                FlowState::Compensating
            } else {
                FlowState::Compensated
            }
        } else if self.done == self.steps.len() {
            FlowState::Done
        } else if self.in_flight.is_empty()
            && !any(&[Phase::Waiting, Phase::Ready, Phase::Running, Phase::Retrying])
            && self.steps.iter().any(asks_exceptionally)
        {
            FlowState::Parked
        } else {
            FlowState::Running
        };
        self.set_state(state, now);
    }

    fn set_state(&mut self, state: FlowState, now: Timestamp) {
        if self.header.state == state {
            return;
        }
        self.header.state = state;
        self.out.header = true;
        self.out.progress.push((None, What::Flow(state)));
        let failure = self.header.failure.as_ref().map(|failure| failure.message.clone());
        if state.is_final() {
            self.header.ended_at = Some(now);
        }
        let (verb, why) = match state {
            FlowState::Done => ("done", "all steps are done".to_owned()),
            FlowState::Compensated => ("undone", failure.clone().unwrap_or_default()),
            FlowState::Parked => ("park", self.open_question()),
            FlowState::Running | FlowState::Compensating => return,
        };
        let body = json!({"name": self.header.name, "state": state, "failure": self.header.failure});
        self.record(verb, Actor::system("flow"), why, body);
    }

    fn open_question(&self) -> String {
        let asks = |step: &&StepRecord| asks_exceptionally(step) || step.phase == Phase::UndoAsking;
        let ask = self.steps.iter().find(asks).and_then(|step| step.ask.as_ref());
        ask.map(|ask| ask.question.clone()).unwrap_or_default()
    }

    fn record(&mut self, verb: &str, actor: Actor, why: String, body: Value) {
        let mut cause = self.header.cause.clone();
        cause.causation = Some(self.header.started_by.clone());
        self.out.entries.push(Draft {
            id: base::id::EventId::new(),
            tenant: self.scope.tenant.clone(),
            environment: self.scope.environment.clone(),
            kind: format!("stead.flow.{verb}.v1"),
            subject: self.id.to_string(),
            actor,
            cause,
            why,
            body,
        });
    }
}

/// Wait before trying again to begin a call that the process had no room for.
const NOT_BEGUN_DELAY: Duration = Duration::from_secs(1);

/// Longest message or hint of a failure that is kept.
const MESSAGE_BYTES_MAX: usize = 4_096;

/// A failure of a handler as it is kept: a handler must not be able to make a record too large.
fn bounded_failure(step: Option<String>, message: String, hint: Option<String>) -> Failure {
    Failure { step, message: bounded(message), hint: hint.map(bounded) }
}

fn bounded(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES_MAX {
        text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
        text.push('…');
    }
    text
}

/// It waits for a person, and not because its definition says so.
fn asks_exceptionally(step: &StepRecord) -> bool {
    step.phase == Phase::Asking && step.ask.as_ref().is_some_and(|ask| ask.about != About::Decision)
}

fn answer_now(choice: &str, actor: &Actor, at: Timestamp) -> Answer {
    Answer { choice: choice.to_owned(), actor: actor.clone(), at }
}
