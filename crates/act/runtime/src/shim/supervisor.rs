//! The shim's loop: one replica from its start to its recorded end.

mod publish;
mod requests;

use std::{
    fs::File,
    io::Write,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use base::{Clock, time::SystemClock};
use runtime_api::{Exit, Identity, Phase, Restart, Usage};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, Mode, OFlags, fcntl_setfl, mkdirat},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, Signal, WaitStatus, kill_process_group},
};

use super::{
    control::{Control, Doing},
    launch::{self, Launch},
    reaper::{self, Ended},
    run::{self, Context, Part, Run},
};
use crate::{
    cgroup::Group,
    files, identity, secrets,
    segments::{Source, Writer},
    signals, tree,
    wire::{self, Reply, ShimSpec},
};

/// How much is read from a pipe at a time.
const SCRATCH_BYTES: usize = 16 << 10;
/// Text without an end of line is shown after this silence.
const PARTIAL_AFTER: Duration = Duration::from_secs(1);
/// Pause between two attempts to kill what is left.
const SWEEP_EVERY: Duration = Duration::from_millis(10);
/// After this long the rest is said to be unkillable and left.
const SWEEP_MAX: Duration = Duration::from_secs(10);
/// Backoff of [`Restart::Always`]: none, then doubling from the first to the last.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LAST: Duration = Duration::from_secs(5);
/// A run this long resets the backoff.
const GOOD_RUN: Duration = Duration::from_secs(10);

enum State {
    Running,
    /// Between two runs.
    Waiting {
        until: Instant,
    },
    /// Asked to stop. `sweeping`: what is left is being killed; `overdue`: the program itself was.
    Stopping {
        since: Instant,
        sweeping: bool,
        overdue: bool,
    },
    /// The program ended by itself; what it left behind is being ended.
    Sweeping {
        since: Instant,
        status: WaitStatus,
        left_behind: usize,
    },
    /// All is done but the disk has not taken it yet.
    Ended,
}

pub(super) struct Supervisor {
    spec: ShimSpec,
    dir: OwnedFd,
    clock: SystemClock,
    shim: Identity,
    group: Group,
    rlimits: Vec<(libc::__rlimit_resource_t, u64)>,
    /// Holds the role's listening sockets while it is dead; serves until dropped.
    _store: Option<handover::Store>,
    secrets_dir: Option<PathBuf>,
    writer: Writer,
    scratch: Vec<u8>,
    signals: OwnedFd,
    control: Control,
    runs: Vec<Run>,
    /// The program of an upgrade that is not through.
    candidate: Option<String>,
    state: State,
    phase: Phase,
    /// Total use, known at the end.
    usage: Usage,
    /// No child at all is left, adopted ones included.
    childless: bool,
    oom_seen: u64,
    restarts: u32,
    /// Short runs in a row.
    failures: u32,
    notes: Vec<String>,
    last_exit: Option<Exit>,
    /// When a refused status is written again.
    publish_at: Option<Instant>,
    lost_published: u64,
}

impl Supervisor {
    /// Takes the replica over: answers `ok` once it runs or its failure to start is recorded.
    pub(super) fn start(spec: ShimSpec, answer: OwnedFd) -> Result<Self, (OwnedFd, String)> {
        let mut supervisor = match Self::new(spec) {
            Ok(supervisor) => supervisor,
            Err(why) => return Err((answer, why)),
        };
        supervisor.publish(Phase::Starting);
        supervisor.begin();
        let _ = File::from(answer).write_all(b"ok\n");
        Ok(supervisor)
    }

    fn new(mut spec: ShimSpec) -> Result<Self, String> {
        let text = |what: &str, error: std::io::Error| format!("{what}: {error}");
        let dir = files::open_dir(Path::new(".")).map_err(|e| text("replica directory", e))?;
        mkdirat(CWD, wire::LOG, Mode::RWXU).map_err(|e| text("log directory", e.into()))?;
        let log = files::open_dir(Path::new(wire::LOG)).map_err(|e| text("log directory", e))?;
        publish::reserve();
        let control = Control::listen().map_err(|e| text("control socket", e))?;
        let signals = reaper::signals().map_err(|e| text("signals", e))?;
        let shim = identity::identity_of(std::process::id()).map_err(|e| text("own identity", e))?;
        let mut notes = std::mem::take(&mut spec.notes);
        let group = if spec.cgroups {
            Group::create(spec.id.as_str(), &spec.limits, &mut notes)
        } else {
            Group::off(&spec.limits, &mut notes)
        };
        let (memory, processes) = (group.memory_limited, group.processes_limited);
        let rlimits = launch::rlimits(&spec.limits, memory, processes, spec.user.is_some(), &mut notes);
        spec.environment.insert(wire::MARK.into(), spec.id.as_str().into());
        if spec.restart == Restart::Always {
            spec.environment.insert(wire::READY_FD.into(), launch::READY_FD.to_string());
        }
        let store = store(&mut spec, &mut notes);
        let writer = Writer::new(log, &spec.log);
        let mut this = Self {
            dir,
            clock: SystemClock::new(),
            shim,
            group,
            rlimits,
            _store: store,
            secrets_dir: None,
            writer,
            scratch: vec![0; SCRATCH_BYTES],
            signals,
            control,
            runs: Vec::new(),
            candidate: None,
            state: State::Running,
            phase: Phase::Starting,
            usage: Usage::default(),
            childless: false,
            oom_seen: 0,
            restarts: 0,
            failures: 0,
            notes,
            last_exit: None,
            publish_at: None,
            lost_published: 0,
            spec,
        };
        // The kernel may count over a group's whole life; ours is new, yet nothing says so.
        this.oom_seen = this.group.oom_kills();
        Ok(this)
    }

    fn always(&self) -> bool {
        self.spec.restart == Restart::Always
    }

    /// The first start, with the secret files before it.
    fn begin(&mut self) {
        let secret_files = std::mem::take(&mut self.spec.secret_files);
        match secrets::place(&self.spec, &secret_files, self.dir.as_fd(), &mut self.notes) {
            Ok(Some(dir)) => {
                let shown = dir.display().to_string();
                self.spec.environment.insert(wire::SECRETS_DIR.into(), shown);
                self.secrets_dir = Some(dir);
            }
            Ok(None) => {}
            Err(why) => return self.end(run::not_started(self.clock.now(), &why)),
        }
        drop(secret_files);
        self.start_main();
    }

    fn start_main(&mut self) {
        match self.launch(None, Part::Main) {
            Ok(run) => {
                self.runs.push(run);
                self.state = State::Running;
                self.publish_running();
            }
            Err(why) => {
                let exit = run::not_started(self.clock.now(), &why);
                if self.always() { self.restart_later(exit, Duration::ZERO) } else { self.end(exit) }
            }
        }
    }

    fn launch(&mut self, program: Option<&str>, part: Part) -> Result<Run, String> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|e| format!("no pipe: {e}"));
        let ((out, out_end), (err, err_end)) = (pipe()?, pipe()?);
        let (ready, ready_end) =
            if self.always() { pipe().map(|(a, b)| (Some(a), Some(b)))? } else { (None, None) };
        for fd in [Some(&out), Some(&err), ready.as_ref()].into_iter().flatten() {
            fcntl_setfl(fd, OFlags::NONBLOCK).map_err(|e| format!("no pipe: {e}"))?;
        }
        let mut command = self.spec.command.clone();
        if let (Some(program), Some(first)) = (program, command.first_mut()) {
            program.clone_into(first);
        }
        let launch = Launch {
            command: &command,
            environment: &self.spec.environment,
            working_directory: &self.spec.working_directory,
            user: self.spec.user,
            rlimits: &self.rlimits,
            cgroups: &self.group.join_files(),
            stdout: out_end,
            stderr: err_end,
            ready: ready_end,
        };
        let pid = launch.start()?;
        let pid_typed = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("no pid")?;
        self.childless = false;
        Ok(Run {
            part,
            pid: pid_typed,
            // It is not reaped, so that its entry in /proc exists even if it has ended.
            identity: identity::identity_of(pid).map_err(|e| format!("its identity: {e}"))?,
            since: self.clock.now(),
            launched: Instant::now(),
            sources: vec![Source::new(out, "o"), Source::new(err, "e")],
            // Only an upgrade waits for the word. A pipe that nobody reads stays readable for good
            // once the program has spoken, and the loop would spin on it.
            ready: ready.filter(|_| part == Part::Candidate),
            ended: None,
        })
    }

    pub(super) fn supervise(mut self) {
        // A start that failed has nothing to wait for.
        while !self.done() {
            self.turn();
        }
    }

    fn done(&self) -> bool {
        matches!(self.state, State::Ended) && self.publish_at.is_none()
    }

    /// One turn of the loop.
    fn turn(&mut self) {
        self.wait();
        self.reap();
        self.answer_connections();
        self.upgrade_goes_on();
        self.advance();
        self.flush_partials();
        self.writer.flush();
        self.publish_again();
    }

    // ---- waiting -------------------------------------------------------------------------------

    /// Sleeps until something happens and takes what came in.
    fn wait(&mut self) {
        let timeout = self.next_deadline().map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
        });
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.control.fd(), PollFlags::IN),
        ];
        for connection in &self.control.connections {
            fds.push(PollFd::from_borrowed_fd(connection.fd(), PollFlags::IN));
        }
        for run in &self.runs {
            let ready = run.ready.iter().map(AsFd::as_fd);
            for fd in run.sources.iter().map(Source::fd).chain(ready) {
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            }
        }
        if poll(&mut fds, timeout.as_ref()).is_err_and(|e| e != Errno::INTR) {
            return;
        }
        let readable: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if readable[0] && reaper::take_signals(&self.signals) {
            self.stop();
        }
        let connections = self.control.connections.len();
        if readable[1] {
            self.control.accept();
        }
        if readable[2 + connections..].iter().any(|r| *r) {
            let now = self.clock.now();
            for run in &mut self.runs {
                run.pump(&mut self.scratch, &mut self.writer, now);
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let state = match &self.state {
            State::Running | State::Ended => None,
            State::Waiting { until } => Some(*until),
            State::Stopping { since, sweeping: false, .. } => Some(*since + self.spec.stop.grace),
            State::Stopping { .. } | State::Sweeping { .. } => Some(Instant::now() + SWEEP_EVERY),
        };
        let runs = self.runs.iter().flat_map(|run| {
            let part = match run.part {
                Part::Main => None,
                Part::Candidate => Some(run.launched + requests::READY_AFTER),
                Part::Retiring { kill_at } => Some(kill_at),
            };
            run.sources.iter().filter_map(|s| Some(s.partial_since? + PARTIAL_AFTER)).chain(part)
        });
        runs.chain([state, self.publish_at, self.control.deadline()].into_iter().flatten()).min()
    }

    fn flush_partials(&mut self) {
        let (now, wall) = (Instant::now(), self.clock.now());
        for source in self.runs.iter_mut().flat_map(|run| &mut run.sources) {
            if source.partial_since.is_some_and(|since| now >= since + PARTIAL_AFTER) {
                source.flush_partial(&mut self.writer, wall, false);
            }
        }
    }

    // ---- children ------------------------------------------------------------------------------

    fn reap(&mut self) {
        loop {
            let pid = match reaper::peek() {
                Ended::Child(pid) => pid,
                Ended::None => return,
                Ended::Childless => {
                    self.childless = true;
                    return;
                }
            };
            let always = self.always();
            let of_run = self.runs.iter_mut().find(|run| run.pid == pid && run.ended.is_none());
            let of_exec = self
                .control
                .connections
                .iter_mut()
                .find(|c| matches!(c.doing, Doing::Exec { pid: of, .. } if of == pid));
            // While its leader is a zombie, the group's number cannot be anybody else's.
            if of_exec.is_some() || (of_run.is_some() && always) {
                let _ = kill_process_group(pid, Signal::KILL);
            }
            let Some(status) = reaper::reap(pid) else { return };
            if let Some(run) = of_run {
                run.ended = Some(status);
            }
            if let Some(connection) = of_exec {
                connection.answer(&Reply {
                    code: status.exit_status(),
                    signal: status.terminating_signal(),
                    ..Reply::default()
                });
            }
        }
    }

    fn kill_everything(&self) {
        self.group.kill();
        for run in &self.runs {
            run.signal(Signal::KILL);
        }
        // Stead's own roles start shims, which are to live on: their group is all that is theirs.
        if !self.always() {
            tree::kill_below(std::process::id());
        }
    }

    fn all_gone(&self) -> bool {
        if self.always() {
            self.runs.iter().all(|run| run.ended.is_some()) && self.group.processes().is_empty()
        } else {
            self.childless || self.runs.is_empty()
        }
    }

    // ---- the state -----------------------------------------------------------------------------

    fn stop(&mut self) {
        match self.state {
            State::Stopping { .. } | State::Sweeping { .. } | State::Ended => return,
            State::Waiting { .. } => {
                let exit = self
                    .last_exit
                    .take()
                    .unwrap_or_else(|| run::not_started(self.clock.now(), "it was stopped before"));
                return self.end(exit);
            }
            State::Running => {}
        }
        let signal = self.stop_signal();
        for run in &self.runs {
            run.signal(signal);
            // A stopped process would never see the signal.
            run.signal(Signal::CONT);
        }
        self.state = State::Stopping { since: Instant::now(), sweeping: false, overdue: false };
        if let Some(main) = self.runs.iter().find(|run| run.part == Part::Main) {
            let identity = main.identity.clone();
            let since = self.clock.now();
            self.publish(Phase::Stopping { identity, since });
        }
    }

    fn stop_signal(&self) -> Signal {
        signals::by_name(&self.spec.stop.signal).unwrap_or(Signal::TERM)
    }

    fn advance(&mut self) {
        let main = self.runs.iter().find(|run| run.part == Part::Main);
        let ended = main.and_then(|run| run.ended);
        match &self.state {
            State::Running => {
                if let Some(status) = ended {
                    self.main_ended(status);
                }
            }
            State::Waiting { until } => {
                if Instant::now() >= *until {
                    self.restarts += 1;
                    self.start_main();
                }
            }
            State::Stopping { since, sweeping, overdue } => {
                let (since, sweeping, overdue) = (*since, *sweeping, *overdue);
                self.stopping(since, sweeping, overdue, ended);
            }
            State::Sweeping { since, status, left_behind } => {
                let (since, status, left_behind) = (*since, *status, *left_behind);
                let given_up = since.elapsed() >= SWEEP_MAX;
                if self.all_gone() || given_up {
                    if given_up {
                        self.notes.push("some of its processes could not be killed".into());
                    }
                    let exit = self.exit_of(status, None, None, left_behind);
                    self.end(exit);
                } else {
                    self.kill_everything();
                }
            }
            State::Ended => {}
        }
    }

    fn stopping(&mut self, since: Instant, sweeping: bool, overdue: bool, ended: Option<WaitStatus>) {
        let grace = self.spec.stop.grace;
        let given_up = since.elapsed() >= grace.saturating_add(SWEEP_MAX);
        if given_up {
            self.notes.push("some of its processes could not be killed".into());
        }
        if self.all_gone() || given_up {
            return self.stopped(ended, overdue.then_some(grace));
        }
        // A role's helpers have no say in how long it takes.
        if sweeping || since.elapsed() >= grace || (self.always() && ended.is_some()) {
            self.kill_everything();
            let overdue = overdue || ended.is_none();
            self.state = State::Stopping { since, sweeping: true, overdue };
        }
    }

    /// The program ended without being asked to.
    fn main_ended(&mut self, status: WaitStatus) {
        if self.always() {
            let exit = self.exit_of(status, None, None, 0);
            if self.runs.iter().all(|run| run.ended.is_some()) {
                self.group.kill();
            }
            let lasted = self.forget_runs(|run| run.part == Part::Main);
            return self.restart_later(exit, lasted);
        }
        let own = std::process::id();
        let left_behind = tree::Snapshot::take().below(own).len();
        self.kill_everything();
        self.state = State::Sweeping { since: Instant::now(), status, left_behind };
        self.reap();
        if self.all_gone() {
            let exit = self.exit_of(status, None, None, left_behind);
            self.end(exit);
        }
    }

    /// Drops runs with what their pipes still hold; gives how long the first of them ran.
    fn forget_runs(&mut self, which: impl Fn(&Run) -> bool) -> Duration {
        let now = self.clock.now();
        let (scratch, writer) = (&mut self.scratch, &mut self.writer);
        let mut lasted = Duration::ZERO;
        self.runs.retain_mut(|run| {
            if which(run) {
                run.drain(scratch, writer, now);
                lasted = run.launched.elapsed();
                return false;
            }
            true
        });
        lasted
    }

    fn restart_later(&mut self, exit: Exit, lasted: Duration) {
        if lasted >= GOOD_RUN {
            self.failures = 0;
        }
        let pause = match self.failures {
            0 => Duration::ZERO,
            n => BACKOFF_FIRST.saturating_mul(1 << (n - 1).min(16)).min(BACKOFF_LAST),
        };
        self.failures += 1;
        let line = format!("[stead] {}; starting it again", exit.reason);
        self.writer.line(exit.at, "e", line.as_bytes());
        self.last_exit = Some(exit);
        self.state = State::Waiting { until: Instant::now() + pause };
        self.publish(Phase::Starting);
    }

    fn stopped(&mut self, status: Option<WaitStatus>, killed_after: Option<Duration>) {
        let exit = match status {
            Some(status) => self.exit_of(status, Some(self.stop_signal()), killed_after, 0),
            None => run::not_started(self.clock.now(), "it was stopped before"),
        };
        self.end(exit);
    }

    fn exit_of(
        &mut self,
        status: WaitStatus,
        stopped_by: Option<Signal>,
        killed_after: Option<Duration>,
        left_behind: usize,
    ) -> Exit {
        let kills = self.group.oom_kills();
        let oom_kills = kills.saturating_sub(std::mem::replace(&mut self.oom_seen, kills));
        let limits = &self.spec.limits;
        let context = Context { limits, oom_kills, stopped_by, killed_after, left_behind };
        run::exit(status, self.clock.now(), context)
    }

    /// Records the end, after everything that belongs to the replica is gone.
    fn end(&mut self, exit: Exit) {
        self.forget_runs(|_| true);
        self.writer.flush();
        if let Some(dir) = self.secrets_dir.take() {
            secrets::remove(&self.spec.id, &dir);
        }
        let usage = self.group.usage();
        // The kernel may need a moment to notice that the last process is gone.
        let began = Instant::now();
        while !self.group.remove() && began.elapsed() < SWEEP_EVERY {
            std::thread::yield_now();
        }
        self.usage = usage.map(|last| Usage { memory_bytes: 0, processes: 0, ..last }).unwrap_or_default();
        self.state = State::Ended;
        self.publish(Phase::Exited { exit });
        publish::release();
    }
}

/// Starts the store of listening sockets for Stead's own roles.
fn store(spec: &mut ShimSpec, notes: &mut Vec<String>) -> Option<handover::Store> {
    const NAME: &str = "fds.sock";
    if spec.restart != Restart::Always {
        return None;
    }
    let path = std::env::current_dir().ok()?.join(NAME);
    match handover::Store::start_for(&path, spec.user) {
        Ok(store) => {
            spec.environment.insert(wire::FD_STORE.into(), path.display().to_string());
            Some(store)
        }
        Err(error) => {
            notes.push(format!("a crash closes its listening sockets: {error}"));
            None
        }
    }
}
