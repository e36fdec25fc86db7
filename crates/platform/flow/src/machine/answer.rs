//! People: what they are asked and what their answers do.

use super::*;

/// Call it again.
pub(super) const TRY_AGAIN: &str = "try-again";
/// It happened; go on as if it had returned null.
pub(super) const IT_HAPPENED: &str = "it-happened";
/// The flow fails and is undone.
pub(super) const GIVE_UP: &str = "give-up";
/// Leave the effect as it is and go on undoing the others.
pub(super) const LEAVE: &str = "leave";

impl Machine {
    pub(super) fn ask(&mut self, step: usize, phase: Phase, ask: Ask) {
        self.steps[step].ask = Some(ask);
        self.steps[step].due_at = None;
        self.enter(step, phase);
    }

    pub(super) fn ask_about_handler(&mut self, step: usize, phase: Phase, call: &Call) {
        let (name, handler, version) = (self.name(step), &call.handler, call.version);
        let question = format!(
            "step {name:?} calls handler {handler:?} version {version}, which this Stead does not have"
        );
        let other = if phase == Phase::UndoAsking { LEAVE } else { GIVE_UP };
        let choices = vec![TRY_AGAIN.to_owned(), other.to_owned()];
        self.ask(step, phase, Ask { about: About::UnknownHandler, question, choices });
    }

    pub(super) fn ask_about_outcome(&mut self, step: usize) {
        let question = format!(
            "step {:?} may run only once and was cut off: did it happen?",
            self.definition.steps[step].name
        );
        let choices = [IT_HAPPENED, TRY_AGAIN, GIVE_UP].map(str::to_owned).to_vec();
        self.ask(step, Phase::Asking, Ask { about: About::UnknownOutcome, question, choices });
    }

    pub(super) fn ask_about_crashes(&mut self, step: usize, phase: Phase) {
        let (name, times) = (self.name(step), self.steps[step].cut_off);
        let question = format!("step {name:?} was cut off {times} times in a row: is it the cause?");
        let other = if phase == Phase::UndoAsking { LEAVE } else { GIVE_UP };
        let choices = vec![TRY_AGAIN.to_owned(), other.to_owned()];
        self.ask(step, phase, Ask { about: About::CrashLoop, question, choices });
    }

    pub(super) fn answer(
        &mut self,
        name: &str,
        choice: String,
        actor: Actor,
        env: &mut Env<'_>,
    ) -> Result<(), Error> {
        let Some(step) = self.graph.position(name) else {
            return Err(Error::NoStep { flow: self.id.clone(), step: name.to_owned() });
        };
        let ask = self.steps[step].ask.clone();
        let Some(ask) = ask.filter(|_| matches!(self.steps[step].phase, Phase::Asking | Phase::UndoAsking))
        else {
            return Err(Error::NotAsking { step: name.to_owned() });
        };
        if !ask.choices.contains(&choice) {
            return Err(Error::NoChoice { step: name.to_owned(), choice, choices: ask.choices });
        }
        let body = json!({"step": name, "about": ask.about, "question": ask.question, "choice": choice});
        self.record("answer", actor.clone(), format!("answered {choice:?}"), body);
        let given = answer_now(&choice, &actor, env.now);
        self.steps[step].answers.push(given.clone());
        self.steps[step].ask = None;
        self.steps[step].cut_off = 0;
        if ask.about == About::Decision {
            let output = json!({"choice": given.choice, "actor": given.actor, "at": given.at});
            self.complete(step, output, env);
        } else if self.steps[step].phase == Phase::UndoAsking {
            self.answer_undo(step, &choice, env);
        } else {
            self.answer_exception(step, &choice, &actor, env);
        }
        Ok(())
    }

    fn answer_undo(&mut self, step: usize, choice: &str, env: &mut Env<'_>) {
        if choice == LEAVE {
            return self.enter(step, Phase::Left);
        }
        self.steps[step].undo_attempt = 0;
        self.undo_run(step, Duration::ZERO, env.now);
    }

    fn answer_exception(&mut self, step: usize, choice: &str, actor: &Actor, env: &mut Env<'_>) {
        match choice {
            IT_HAPPENED => self.complete(step, Value::Null, env),
            TRY_AGAIN => self.unlock(step, env),
            _ => {
                let message = format!("given up by {actor}");
                self.fail(step, Failure { step: Some(self.name(step)), message, hint: None }, env.now);
            }
        }
    }
}
