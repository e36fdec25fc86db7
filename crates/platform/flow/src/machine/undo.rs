//! The way back: failing, cancelling, compensating.

use super::*;

impl Machine {
    pub(super) fn cancel(&mut self, actor: Actor, why: &str) -> Result<(), Error> {
        if self.header.state.is_final() {
            return Err(Error::Ended { flow: self.id.clone() });
        }
        if self.is_ending() {
            return Ok(()); // it is on its way back already
        }
        let body = json!({"name": self.header.name});
        let why = bounded(why.to_owned());
        self.record("cancel", actor.clone(), why.clone(), body);
        let message = format!("cancelled by {actor}: {why}");
        self.header.cancelled_by = Some(actor);
        self.end_with(Failure { step: None, message, hint: None });
        Ok(())
    }

    /// The flow can no longer succeed: nothing new begins, what runs is told to end.
    pub(super) fn end_with(&mut self, failure: Failure) {
        if self.is_ending() {
            return; // the first failure is the reason
        }
        self.header.failure = Some(failure);
        self.out.header = true;
        self.out
            .effects
            .retain(|effect| !matches!(effect, Effect::Timer { .. } | Effect::WaitForSlot { .. }));
        for step in 0..self.steps.len() {
            let phase = self.steps[step].phase;
            match phase {
                Phase::Ready => {
                    self.in_flight.remove(&step);
                    self.abandon(step);
                }
                Phase::Waiting | Phase::Asking => self.abandon(step),
                Phase::Running | Phase::Retrying if !self.withdraw(step) => {
                    self.out.effects.push(Effect::Stop { step });
                }
                _ => {}
            }
        }
    }

    /// Takes back a call that this very batch would have sent; its mark is not durable yet.
    fn withdraw(&mut self, step: usize) -> bool {
        let sent = self.out.effects.len();
        self.out.effects.retain(|effect| !matches!(effect, Effect::Call { step: of, .. } if *of == step));
        if self.out.effects.len() == sent {
            return false;
        }
        self.in_flight.remove(&step);
        self.withdraw_attempt(step);
        self.abandon(step);
        true
    }

    /// Ends a step that is not called any more. If an earlier attempt may have had an effect, it
    /// counts as failed, so that it is undone.
    pub(super) fn abandon(&mut self, step: usize) {
        let record = &mut self.steps[step];
        record.ask = None;
        record.due_at = None;
        // A call that was repeated after a crash and now did nothing: the one that the crash cut off may
        // have done it all.
        let phase = if record.attempt > 0 || record.cut_off > 0 {
            self.end_seq += 1;
            record.end_seq = self.end_seq;
            Phase::Failed
        } else {
            Phase::Dropped
        };
        self.enter(step, phase);
    }

    /// Starts the next compensation, if none is under way.
    pub(super) fn undo_next(&mut self, now: Timestamp) {
        let busy = [Phase::Undoing, Phase::UndoRetrying, Phase::UndoAsking];
        if self.steps.iter().any(|step| busy.contains(&step.phase)) {
            return;
        }
        if self.undo.is_none() {
            self.undo = Some(self.undo_stack());
        }
        let Some(step) = self.undo.as_mut().and_then(Vec::pop) else { return };
        self.set_state(FlowState::Compensating, now);
        self.undo_run(step, Duration::ZERO, now);
    }

    /// Steps that have or may have had an effect, the one that ended last on top.
    fn undo_stack(&self) -> Vec<usize> {
        let has_effect = |step: &usize| {
            matches!(self.steps[*step].phase, Phase::Done | Phase::Failed)
                && self.definition.steps[*step].compensate.is_some()
        };
        let mut stack: Vec<usize> = (0..self.steps.len()).filter(has_effect).collect();
        stack.sort_by_key(|step| self.steps[*step].end_seq);
        stack
    }

    pub(super) fn undo_run(&mut self, step: usize, delay: Duration, now: Timestamp) {
        let record = &mut self.steps[step];
        record.undo_attempt = record.undo_attempt.saturating_add(1);
        record.due_at = (!delay.is_zero()).then(|| now.plus(delay));
        self.enter(step, if delay.is_zero() { Phase::Undoing } else { Phase::UndoRetrying });
        self.out_call(step, true, delay);
    }

    pub(super) fn undo_ended(&mut self, step: usize, result: CallResult, env: &mut Env<'_>) {
        let Some((call, _, attempt)) = self.call_of(step, true) else { return };
        let (retry, handler, version) = (call.retry, call.handler.clone(), call.version);
        let (message, hint, again) = match result {
            CallResult::Done(_) => {
                self.steps[step].cut_off = 0;
                self.steps[step].due_at = None;
                return self.enter(step, Phase::Undone);
            }
            CallResult::NotBegun if self.stopping => return,
            CallResult::NotBegun => {
                let call = Call::new(handler.as_str(), version, Value::Null);
                if (env.knows)(&handler, version) {
                    return self.out_call(step, true, NOT_BEGUN_DELAY);
                }
                return self.ask_about_handler(step, Phase::UndoAsking, &call);
            }
            CallResult::Failed(error) if error.kind == ErrorKind::Interrupted && self.stopping => return,
            CallResult::Unknown { stopped: true, .. } if self.stopping => return,
            CallResult::Failed(error) => (error.message, error.hint, error.kind != ErrorKind::Fatal),
            CallResult::Unknown { message, .. } => (message, None, true),
        };
        self.steps[step].cut_off = 0;
        let name = self.name(step);
        let failure = bounded_failure(Some(name.clone()), message, hint);
        let message = failure.message.clone();
        self.steps[step].error = Some(failure);
        if again && attempt < retry.attempts_max {
            let delay = Duration::from_millis(retry.wait_ms(attempt).max(1));
            return self.undo_run(step, delay, env.now);
        }
        let question = format!("undoing step {name:?} failed: {message}");
        let choices = vec![answer::TRY_AGAIN.to_owned(), answer::LEAVE.to_owned()];
        self.ask(step, Phase::UndoAsking, Ask { about: About::UndoFailed, question, choices });
    }
}
