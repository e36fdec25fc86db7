//! What the driver asks of the shim: stop, exec, upgrade, status.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{State, Supervisor};
use crate::{
    shim::{
        control::{Connection, Doing, Incoming},
        launch::Launch,
        run::Part,
    },
    wire::{Reply, Request},
};

/// A new program that ran this long counts as ready.
pub(super) const READY_AFTER: Duration = Duration::from_secs(1);
/// A command never runs longer, whatever deadline it came with.
const EXEC_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// A command past its deadline is killed; the pause before that is tried again.
const KILL_AGAIN: Duration = Duration::from_secs(1);

impl Supervisor {
    pub(super) fn answer_connections(&mut self) {
        let mut connections = std::mem::take(&mut self.control.connections);
        for connection in &mut connections {
            match connection.receive() {
                Incoming::Nothing => {}
                Incoming::Request(request) => self.serve(connection, request),
                Incoming::Gone => {
                    end_exec(connection);
                    connection.doing = Doing::Done;
                }
            }
            if connection.deadline().is_some_and(|at| Instant::now() >= at) {
                end_exec(connection);
                connection.doing = match connection.doing {
                    Doing::Exec { pid, .. } => Doing::Exec { pid, deadline: Instant::now() + KILL_AGAIN },
                    _ => Doing::Done,
                };
            }
        }
        connections.retain(|connection| connection.doing != Doing::Done);
        self.control.connections.append(&mut connections);
    }

    fn serve(&mut self, connection: &mut Connection, request: Request) {
        match request {
            Request::Stop => {
                // With the end known but not on disk, whoever asks to stop has heard it.
                if matches!(self.state, State::Ended) {
                    self.publish_at = None;
                }
                self.stop();
                connection.answer(&Reply::default());
            }
            Request::Status => {
                let status = Some(Box::new(self.status()));
                connection.answer(&Reply { status, ..Reply::default() });
            }
            Request::Exec { command, deadline_ms } => match self.exec(connection, &command) {
                Ok(pid) => {
                    let deadline = Instant::now() + Duration::from_millis(deadline_ms).min(EXEC_MAX);
                    connection.doing = Doing::Exec { pid, deadline };
                }
                Err(why) => connection.answer(&Reply::error(why)),
            },
            Request::Upgrade { program } => match self.upgrade(&program) {
                Ok(()) => connection.doing = Doing::Upgrade,
                Err(why) => connection.answer(&Reply::error(why)),
            },
        }
    }

    fn exec(&mut self, connection: &mut Connection, command: &[String]) -> Result<Pid, String> {
        if !matches!(self.state, State::Running) {
            return Err("it is not running".into());
        }
        let (Some(stderr), Some(stdout)) = (connection.descriptors.pop(), connection.descriptors.pop())
        else {
            return Err("the request came without descriptors".into());
        };
        let launch = Launch {
            command,
            environment: &self.spec.environment,
            working_directory: &self.spec.working_directory,
            user: self.spec.user,
            rlimits: &self.rlimits,
            cgroups: &self.group.join_files(),
            stdout,
            stderr,
            ready: None,
        };
        let pid = launch.start()?;
        self.childless = false;
        i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| "no pid".into())
    }

    fn upgrade(&mut self, program: &str) -> Result<(), String> {
        if !self.always() {
            return Err("only Stead's own roles are upgraded in place".into());
        }
        if !matches!(self.state, State::Running | State::Waiting { .. }) {
            return Err("it is being stopped".into());
        }
        if self.runs.iter().any(|run| run.part == Part::Candidate) {
            return Err("another upgrade is going on".into());
        }
        let run = self.launch(Some(program), Part::Candidate)?;
        self.runs.push(run);
        self.candidate = Some(program.to_owned());
        if let State::Waiting { .. } = self.state {
            self.state = State::Running;
        }
        Ok(())
    }

    /// Carries an upgrade on: the new one takes over, or is given up.
    pub(super) fn upgrade_goes_on(&mut self) {
        let now = Instant::now();
        for run in &self.runs {
            if matches!(run.part, Part::Retiring { kill_at } if now >= kill_at) {
                run.signal(Signal::KILL);
            }
        }
        if self.runs.iter().any(|run| matches!(run.part, Part::Retiring { .. }) && run.ended.is_some()) {
            self.forget_runs(|run| matches!(run.part, Part::Retiring { .. }) && run.ended.is_some());
        }
        if !matches!(self.state, State::Running) {
            return;
        }
        let Some(at) = self.runs.iter().position(|run| run.part == Part::Candidate) else { return };
        let main_alive = self.runs.iter().any(|run| run.part == Part::Main && run.ended.is_none());
        let candidate = &mut self.runs[at];
        if let Some(status) = candidate.ended {
            let exit = self.exit_of(status, None, None, 0);
            self.forget_runs(|run| run.part == Part::Candidate);
            self.answer_upgrades(&Reply::error(format!("the new program {}", exit.reason)));
            if self.runs.is_empty() {
                self.restart_later(exit, Duration::ZERO);
            }
            return;
        }
        let mut byte = [0u8; 16];
        let says_ready =
            candidate.ready.as_ref().is_some_and(|fd| matches!(rustix::io::read(fd, &mut byte), Ok(1..)));
        if says_ready || now >= candidate.launched + READY_AFTER || !main_alive {
            self.promote(at);
        }
    }

    fn promote(&mut self, candidate: usize) {
        let signal = self.stop_signal();
        let kill_at = Instant::now() + self.spec.stop.grace;
        for run in self.runs.iter_mut().filter(|run| run.part == Part::Main) {
            run.part = Part::Retiring { kill_at };
            run.signal(signal);
        }
        self.runs[candidate].part = Part::Main;
        // What is started after the next crash is the new program too.
        if let (Some(program), Some(first)) = (self.candidate.take(), self.spec.command.first_mut()) {
            *first = program;
        }
        self.runs[candidate].ready = None;
        self.failures = 0;
        self.publish_running();
        self.answer_upgrades(&Reply::default());
    }

    fn answer_upgrades(&mut self, reply: &Reply) {
        for connection in &mut self.control.connections {
            if connection.doing == Doing::Upgrade {
                connection.answer(reply);
            }
        }
    }
}

fn end_exec(connection: &Connection) {
    if let Doing::Exec { pid, .. } = connection.doing {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}
