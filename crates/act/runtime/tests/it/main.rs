//! The driver and its shim against real processes.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // all of this is tests

mod adoption;
mod disk;
mod exec;
mod life;
mod limits;
mod output;
mod privacy;
mod roles;

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use base::{
    Scope,
    id::{ReleaseId, ReplicaId},
};
use futures_util::StreamExt;
use runtime::{Options, ProcessDriver};
use runtime_api::{
    Driver, EnvValue, Exit, Limits, LogBounds, LogLine, LogQuery, Observed, Phase, ReplicaSpec, Restart, Stop,
};
use tempfile::TempDir;

/// Far longer than anything here takes on an idle machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// A user that owns nothing on this machine.
const USER: (u32, u32) = (61_234, 61_235);

struct Bench {
    dir: Place,
    driver: ProcessDriver,
}

/// A directory of replicas; what still runs in it ends with it, so that a failed test leaves nothing.
struct Place(TempDir);

impl std::ops::Deref for Place {
    type Target = TempDir;
    fn deref(&self) -> &TempDir {
        &self.0
    }
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn without_cgroups() -> Self {
        Self::with(|options| options.cgroups = false)
    }

    fn with(change: impl Fn(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o711)).unwrap();
        let driver = driver(dir.path(), change);
        Self { dir: Place(dir), driver }
    }

    /// The directory without its driver. What runs goes on.
    fn drop_driver(self) -> Place {
        self.dir
    }

    fn replicas(&self) -> PathBuf {
        self.dir.path().join("replicas")
    }

    fn path(&self, id: &ReplicaId) -> PathBuf {
        self.replicas().join(id.as_str())
    }

    async fn start(&self, spec: ReplicaSpec) -> ReplicaId {
        let id = spec.id.clone();
        self.driver.start(spec).await.unwrap();
        id
    }

    async fn wait(&self, id: &ReplicaId, what: &str, is: impl Fn(&Observed) -> bool) -> Observed {
        wait(&self.driver, id, what, is).await
    }

    async fn exit(&self, id: &ReplicaId) -> Exit {
        exit(&self.driver, id).await
    }

    /// Runs it to its end.
    async fn run(&self, spec: ReplicaSpec) -> (Exit, Vec<LogLine>) {
        let id = self.start(spec).await;
        let exit = self.exit(&id).await;
        (exit, self.lines(&id).await)
    }

    async fn lines(&self, id: &ReplicaId) -> Vec<LogLine> {
        self.driver.logs(query(id)).await.unwrap().collect().await
    }

    /// Waits for a line of output.
    async fn line(&self, id: &ReplicaId, starts: &str) -> String {
        let follow = LogQuery { follow: true, ..query(id) };
        let mut lines = self.driver.logs(follow).await.unwrap();
        let found = async {
            while let Some(line) = lines.next().await {
                if line.text.starts_with(starts) {
                    return line.text;
                }
            }
            panic!("no line starts with {starts:?}");
        };
        tokio::time::timeout(DEADLINE, found).await.unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Ok(entries) = std::fs::read_dir(self.0.path().join("replicas")) else { return };
        for entry in entries.flatten() {
            if let Some(pid) = status(&entry.path()).and_then(|s| s["shim"]["pid"].as_u64()) {
                let ended = status(&entry.path())
                    .is_some_and(|s| matches!(s["phase"]["phase"].as_str(), Some("exited" | "lost")));
                if !ended && marked(pid as u32, "--dir") {
                    kill(pid as u32, "TERM");
                }
            }
        }
    }
}

fn driver(dir: &Path, change: impl Fn(&mut Options)) -> ProcessDriver {
    let mut options = Options::new(dir.join("replicas"), env!("CARGO_BIN_EXE_runtime-testbed"));
    change(&mut options);
    ProcessDriver::new(options).unwrap()
}

async fn wait(
    driver: &ProcessDriver,
    id: &ReplicaId,
    what: &str,
    is: impl Fn(&Observed) -> bool,
) -> Observed {
    let mut changes = driver.changed();
    let until = Instant::now() + DEADLINE;
    loop {
        let all = driver.list().await.unwrap();
        let seen = all.iter().find(|seen| seen.id == *id).unwrap_or_else(|| panic!("{id} in {all:?}"));
        if is(seen) {
            return seen.clone();
        }
        assert!(Instant::now() < until, "not {what}: {seen:?}");
        let _ = tokio::time::timeout(Duration::from_millis(200), changes.next()).await;
    }
}

async fn exit(driver: &ProcessDriver, id: &ReplicaId) -> Exit {
    let seen =
        wait(driver, id, "ended", |seen| matches!(seen.phase, Phase::Exited { .. } | Phase::Lost { .. }));
    match seen.await.phase {
        Phase::Exited { exit } => exit,
        other => panic!("{other:?}"),
    }
}

fn running(seen: &Observed) -> bool {
    matches!(seen.phase, Phase::Running { .. })
}

fn pid(seen: &Observed) -> u32 {
    match &seen.phase {
        Phase::Running { identity, .. } => identity.pid,
        other => panic!("{other:?}"),
    }
}

fn query(id: &ReplicaId) -> LogQuery {
    LogQuery { replica: id.clone(), since: None, tail: 100_000, contains: None, follow: false }
}

/// A replica that runs `command` as an unprivileged user when we are root.
fn spec<S: AsRef<str>>(command: impl IntoIterator<Item = S>) -> ReplicaSpec {
    ReplicaSpec {
        id: ReplicaId::new(),
        scope: Scope::default(),
        service: "bench".into(),
        release: ReleaseId::new(),
        command: command.into_iter().map(|part| part.as_ref().to_owned()).collect(),
        source: None,
        working_directory: ".".into(),
        environment: BTreeMap::from([("PATH".into(), EnvValue::Plain("/usr/bin:/bin".into()))]),
        files: Vec::new(),
        user: is_root().then_some(USER),
        limits: Limits::default(),
        stop: Stop { signal: "TERM".into(), grace: Duration::from_secs(20) },
        log: LogBounds::default(),
        restart: Restart::Never,
        data_directories: Vec::new(),
        labels: BTreeMap::from([("port".into(), "1234".into())]),
    }
}

fn shell(script: &str) -> ReplicaSpec {
    spec(["sh", "-c", script])
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The workloads' program where any user may run it.
fn testbed() -> &'static str {
    static PLACE: OnceLock<(TempDir, String)> = OnceLock::new();
    let (_, path) = PLACE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let path = dir.path().join("testbed");
        std::fs::copy(env!("CARGO_BIN_EXE_runtime-testbed"), &path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        (dir, path.display().to_string())
    });
    path
}

fn status(replica: &Path) -> Option<serde_json::Value> {
    serde_json::from_slice(&std::fs::read(replica.join("status.json")).ok()?).ok()
}

fn shim_pid(replica: &Path) -> u32 {
    status(replica).unwrap()["shim"]["pid"].as_u64().unwrap() as u32
}

fn kill(pid: u32, signal: &str) {
    let done = std::process::Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap();
    assert!(done.success());
}

fn marked(pid: u32, argument: &str) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|b| *b == 0).any(|part| part == argument.as_bytes())
}

/// A process that is there and not a zombie.
fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is() {
        assert!(Instant::now() < deadline, "not {what}");
        tokio::task::yield_now().await;
        std::thread::yield_now();
    }
}

/// Whether this machine lets us limit a control group by `file`.
fn cgroup_has(controller: &str) -> bool {
    let v1 = Path::new("/sys/fs/cgroup").join(controller);
    let v2 = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    is_root() && (v1.join("cgroup.procs").exists() || v2.split_whitespace().any(|c| c == controller))
}
