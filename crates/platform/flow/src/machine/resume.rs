//! Taking up a flow that another engine, or this one before a crash, left unfinished.

use super::*;

impl Machine {
    /// A flow as the journal has it. `versions` are those of the records that were read.
    pub(crate) fn resume(
        scope: Scope,
        id: FlowId,
        definition: Arc<Definition>,
        graph: Graph,
        header: (Header, u64),
        records: Vec<(StepRecord, u64)>,
        env: &mut Env<'_>,
    ) -> Self {
        let (steps, versions): (Vec<_>, Vec<_>) = records.into_iter().unzip();
        let mut machine = Self::assemble(scope, id, definition, graph, header.0, steps);
        machine.versions = write::Versions { header: header.1, steps: versions };
        let ending = machine.is_ending();
        for step in 0..machine.steps.len() {
            if ending { machine.take_up_ending(step, env) } else { machine.take_up(step, env) }
        }
        machine.settle(env.now);
        machine
    }

    fn take_up(&mut self, step: usize, env: &mut Env<'_>) {
        match self.steps[step].phase {
            Phase::Pending if self.missing[step] == 0 => self.unlock(step, env),
            Phase::Ready => self.unlock(step, env),
            Phase::Running | Phase::Retrying => self.take_up_call(step, env),
            Phase::Waiting => {
                let due_at = self.steps[step].due_at.unwrap_or(env.now);
                let until = match self.definition.steps[step].action {
                    Action::Timer { until: Until::AfterMs(ms) } => {
                        Due::In(due_at.since(env.now).min(Duration::from_millis(ms)))
                    }
                    _ => Due::At(due_at),
                };
                self.out.effects.push(Effect::Timer { step, until });
            }
            _ => {}
        }
    }

    /// A call that may have begun.
    fn take_up_call(&mut self, step: usize, env: &mut Env<'_>) {
        let Some((call, mode, attempt)) = self.call_of(step, false) else { return };
        let (call, mode) = (call.clone(), mode);
        if mode == Mode::OnceThenAsk {
            return self.ask_about_outcome(step);
        }
        if !(env.knows)(&call.handler, call.version) {
            return self.ask_about_handler(step, Phase::Asking, &call);
        }
        let record = &self.steps[step];
        let waited_at_most = Duration::from_millis(call.retry.wait_ms(attempt.saturating_sub(1)));
        let delay = match (record.phase, record.due_at) {
            // A clock that went back must not hold up the retry.
            (Phase::Retrying, Some(due_at)) => due_at.since(env.now).min(waited_at_most),
            _ => Duration::ZERO,
        };
        if self.was_cut_off(step, delay) {
            return self.ask_about_crashes(step, Phase::Asking);
        }
        self.out_call(step, false, delay);
    }

    /// Counts a cut-off call; true when it was one too many.
    fn was_cut_off(&mut self, step: usize, delay: Duration) -> bool {
        if delay.is_zero() {
            self.steps[step].cut_off += 1;
            self.out.steps.insert(step);
        }
        self.steps[step].cut_off > CUT_OFF_MAX
    }

    fn take_up_ending(&mut self, step: usize, env: &mut Env<'_>) {
        let undoing = match self.steps[step].phase {
            Phase::Ready | Phase::Waiting | Phase::Asking | Phase::Running | Phase::Retrying => {
                return self.abandon(step);
            }
            Phase::Undoing | Phase::UndoRetrying => self.definition.steps[step].compensate.clone(),
            _ => return,
        };
        let Some(call) = undoing else { return };
        if !(env.knows)(&call.handler, call.version) {
            return self.ask_about_handler(step, Phase::UndoAsking, &call);
        }
        let record = &self.steps[step];
        let waited_at_most = call.retry.wait_ms(record.undo_attempt.saturating_sub(1));
        let delay = match record.due_at {
            Some(due_at) => due_at.since(env.now).min(Duration::from_millis(waited_at_most)),
            None => Duration::ZERO,
        };
        if self.was_cut_off(step, delay) {
            return self.ask_about_crashes(step, Phase::UndoAsking);
        }
        self.out_call(step, true, delay);
    }
}
