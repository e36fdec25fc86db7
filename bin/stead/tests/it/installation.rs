//! An installation of Stead in a temporary place, and the processes that belong to it.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;
use tempfile::TempDir;

/// Far longer than anything here takes on an idle machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// Longest that one command may take.
const COMMAND_MAX: Duration = Duration::from_secs(150);
/// Installations that run at the same time, over all test processes of this machine.
const AT_ONCE_MAX: usize = 2;

/// One installation. What still runs of it ends with it.
pub(crate) struct Stead {
    dir: TempDir,
    program: PathBuf,
    _turn: File,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A process of an installation.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) argv: Vec<String>,
}

impl Stead {
    pub(crate) fn new() -> Self {
        let turn = turn();
        // Short: paths of sockets have to fit into 108 bytes. Open for passing: workloads of other
        // users come through.
        let dir = tempfile::Builder::new().prefix("st").tempdir_in("/tmp").unwrap();
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        let program = PathBuf::from(env!("CARGO_BIN_EXE_stead"));
        Self { dir, program, _turn: turn }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.dir.path().join("checkpoints")
    }

    /// A command on this installation's data directory.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--data")
            .arg(self.data())
            .args(args)
            .env("STEAD_CHECKPOINTS", self.checkpoints())
            .env("HOME", self.dir.path().join("home"))
            .env_remove("STEAD_DATA")
            .env_remove("STEAD_SERVER")
            .current_dir(self.dir.path());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Done {
        finish(self.command(args), b"")
    }

    pub(crate) fn run_with_input(&self, args: &[&str], input: &[u8]) -> Done {
        finish(self.command(args), input)
    }

    /// Runs a command that has to succeed; gives its standard output.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!(done.code, 0, "`stead {}`\n{done}", args.join(" "));
        done.out
    }

    /// Runs a command that has to succeed and prints one JSON value.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.extend(["--output", "json"]);
        let out = self.ok(&all);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// Runs a command whose output is a line of JSON each; any exit status.
    pub(crate) fn lines(&self, args: &[&str]) -> Vec<Value> {
        let mut all = args.to_vec();
        all.extend(["--output", "json"]);
        self.ok(&all).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Writes a folder of service files and sources.
    pub(crate) fn project(&self, name: &str, files: &[(&str, &str)]) -> String {
        let folder = self.dir.path().join(name);
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder.display().to_string()
    }

    /// `stead up` as scripts call it.
    pub(crate) fn try_up(&self, path: &str) -> Done {
        self.run(&up(path))
    }

    /// `stead up` as scripts call it; it has to succeed.
    pub(crate) fn up(&self, path: &str) -> Value {
        let done = self.try_up(path);
        assert_eq!(done.code, 0, "`stead up {path}`\n{done}{}", self.said());
        serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error}: {done}"))
    }

    /// What control and gateway said, for a test that failed.
    pub(crate) fn said(&self) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(self.data().join("roles")).into_iter().flatten().flatten() {
            for log in fs::read_dir(entry.path().join("log")).into_iter().flatten().flatten() {
                let bytes = fs::read(log.path()).unwrap_or_default();
                let said = String::from_utf8_lossy(&bytes);
                let _ = writeln!(text, "--- {}", log.path().display());
                let lines: Vec<&str> = said.lines().collect();
                lines[lines.len().saturating_sub(40)..].iter().for_each(|line| {
                    let _ = writeln!(text, "{line}");
                });
            }
        }
        text
    }

    /// The service as the API shows it.
    pub(crate) fn service(&self, name: &str) -> Value {
        let done = self.run(&["status", name, "--output", "json"]);
        assert!(matches!(done.code, 0 | 8), "{done}");
        serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error}: {done}"))
    }

    /// Pids of a service's replicas that have not ended.
    pub(crate) fn replica_pids(&self, name: &str) -> Vec<i32> {
        let service = self.service(name);
        let mut pids: Vec<i32> = service["replicas"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|replica| replica["state"] != "exited" && replica["state"] != "lost")
            .filter_map(|replica| replica["pid"].as_i64())
            .map(|pid| i32::try_from(pid).unwrap())
            .collect();
        pids.sort_unstable();
        pids
    }

    /// All entries of the ledger, oldest first.
    pub(crate) fn ledger(&self) -> Vec<Value> {
        let out = self.ok(&["events", "--export", "--all"]);
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Processes that name this installation's data directory in their arguments.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let data = self.data().display().to_string();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
            let Ok(bytes) = fs::read(entry.path().join("cmdline")) else { continue };
            let argv: Vec<String> = String::from_utf8_lossy(&bytes).split('\0').map(str::to_owned).collect();
            let ours = argv.iter().any(|one| one.starts_with(&data))
                || fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(self.data()));
            if ours {
                found.push(Process { pid, argv });
            }
        }
        found
    }

    /// The process of a role: `serve` or `gateway`.
    pub(crate) fn role(&self, role: &str) -> Option<i32> {
        let found = self.processes();
        found.iter().find(|one| one.argv.get(1).is_some_and(|first| first == role)).map(|one| one.pid)
    }

    pub(crate) fn kill(&self, pid: i32) {
        assert!(self.processes().iter().any(|one| one.pid == pid), "{pid} is none of ours");
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    /// Whether control answers.
    pub(crate) fn answers(&self) -> bool {
        self.run(&["status", "--output", "json"]).err.is_empty()
    }

    /// Stops control and waits until it is gone. Gateway and workloads go on.
    pub(crate) fn stop_control(&self) {
        self.ok(&["stop"]);
        wait("control to end", || self.role("serve").is_none().then_some(()));
    }
}

impl Drop for Stead {
    fn drop(&mut self) {
        if self.data().exists() {
            let mut stop = self.command(&["stop", "--everything"]);
            let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        let until = Instant::now() + Duration::from_secs(20);
        while !self.processes().is_empty() && Instant::now() < until {
            pause(20);
        }
        let left = self.processes();
        for process in &left {
            let _ = kill_process(Pid::from_raw(process.pid).unwrap(), Signal::KILL);
        }
        if !left.is_empty() && !thread::panicking() {
            panic!("still running after `stead stop --everything`: {left:?}");
        }
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "exit status {}\n--- stdout\n{}--- stderr\n{}", self.code, self.out, self.err)
    }
}

/// The arguments of `stead up` as scripts call it.
pub(crate) fn up(path: &str) -> [&str; 10] {
    let ports = ["--listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0"];
    let [a, b, c, d] = ports;
    ["up", path, "--yes", "--detach", "--output", "json", a, b, c, d]
}

/// Runs a command to its end, with a deadline.
pub(crate) fn finish(mut command: Command, input: &[u8]) -> Done {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input);
    // A server that it started must not hold these: then reading them would not end.
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let out = thread::spawn(move || read(&mut out));
    let err = thread::spawn(move || read(&mut err));
    let until = Instant::now() + COMMAND_MAX;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > until {
            let _ = child.kill();
            panic!("{command:?} took longer than {COMMAND_MAX:?}");
        }
        pause(5);
    };
    Done { code: status.code().unwrap_or(-1), out: out.join().unwrap(), err: err.join().unwrap() }
}

fn read(from: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits until `is` gives something.
pub(crate) fn wait<T>(what: &str, is: impl FnMut() -> Option<T>) -> T {
    wait_at_most(DEADLINE, what, is)
}

pub(crate) fn wait_at_most<T>(limit: Duration, what: &str, mut is: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + limit;
    loop {
        if let Some(found) = is() {
            return found;
        }
        assert!(Instant::now() < until, "waited {limit:?} for {what}");
        pause(10);
    }
}

pub(crate) fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}

/// Waits for one's turn: two cores do not carry twenty installations.
fn turn() -> File {
    let place = |index: usize| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stead-turn-{index}"));
        File::create(path).unwrap()
    };
    let free = (0..AT_ONCE_MAX)
        .map(place)
        .find(|file| flock(file, FlockOperation::NonBlockingLockExclusive).is_ok());
    free.unwrap_or_else(|| {
        let index = usize::try_from(std::process::id()).unwrap() % AT_ONCE_MAX;
        let file = place(index);
        flock(&file, FlockOperation::LockExclusive).unwrap();
        file
    })
}

/// Between two looks at a condition, or two requests of a client.
#[allow(clippy::disallowed_methods)] // every caller waits for a condition with a deadline
pub(crate) fn pause(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}
