//! An installation of Stead in a temporary place, as the measurements of the whole program need it.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::stage::{self, cargo};

/// What still runs of an installation after it was told to stop has so long to end.
const ENDED_WITHIN: Duration = Duration::from_secs(20);

/// The program as it is released: the one that is named, else built now.
///
/// # Errors
/// It does not build, or is not where it was said to be.
pub fn program(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let path = match named {
        Some(path) => path,
        None => {
            stage::run(cargo().args(["build", "--release", "--locked", "--package", "stead"]))?;
            stage::target_directory().join("release/stead")
        }
    };
    path.canonicalize().with_context(|| path.display().to_string())
}

/// One installation. What runs of it ends with it.
#[derive(Debug)]
pub struct Stand {
    folder: TempDir,
    program: PathBuf,
}

impl Stand {
    /// # Errors
    /// The temporary folder cannot be made.
    pub fn new(program: &Path) -> anyhow::Result<Self> {
        // In /tmp, which the users that services run as may enter; so must the folder itself be.
        let folder = tempfile::Builder::new().prefix("stead-bench-").tempdir_in("/tmp")?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        Ok(Self { folder, program: program.to_owned() })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The program on this installation's data directory.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        self.about(&mut command);
        command
    }

    fn about(&self, command: &mut Command) {
        command.env("STEAD_DATA", self.data()).env("STEAD_CHECKPOINTS", self.folder().join("checkpoints"));
        command.env("HOME", self.folder()).env_remove("STEAD_SERVER").env_remove("STEAD_ENVIRONMENT");
        command.stdin(Stdio::null()).current_dir(self.folder());
    }

    /// Delivers a folder on ports of the machine's choice and waits until it is healthy.
    ///
    /// # Errors
    /// It did not become healthy.
    pub fn up(&self, path: &Path, environment: &str) -> anyhow::Result<()> {
        let mut up = self.command();
        up.arg("up").arg(path).args(["--yes", "--detach", "--output", "json", "--environment", environment]);
        up.args(["--listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0"]);
        stage::read(&mut up).map(drop)
    }

    /// Runs a command to its end and says what it took.
    ///
    /// # Errors
    /// It failed.
    pub fn time(&self, arguments: &[&str]) -> anyhow::Result<Took> {
        let server_before = self.cpu_ns();
        // The shell's own `time` gives the CPU of an ended child in milliseconds; /proc counts in
        // hundredths of a second.
        let mut command = Command::new("bash");
        command.args(["-c", "TIMEFORMAT='%3R %3U %3S'; time \"$0\" \"$@\" >/dev/null 2>/dev/null"]);
        command.arg(&self.program).args(arguments).env("LC_ALL", "C");
        self.about(&mut command);
        let output = command.output().context("bash is missing")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            bail!("`stead {}` ended with {}", arguments.join(" "), output.status);
        }
        let seconds: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [wall, user, system] = seconds[..] else { bail!("bash said {said:?}") };
        let server = self.cpu_ns();
        let server_ns: u64 = server
            .iter()
            .map(|(task, after)| after.saturating_sub(server_before.get(task).copied().unwrap_or(0)))
            .sum();
        Ok(Took { wall_ms: wall * 1e3, client_ms: (user + system) * 1e3, server_ms: server_ns as f64 / 1e6 })
    }

    /// Processes of the platform itself: control, gateway and shims, not what they run.
    pub fn platform(&self) -> Vec<u32> {
        self.processes(|process| {
            fs::read_link(process.join("exe")).is_ok_and(|program| program == self.program)
        })
    }

    /// Processes that name this installation's data directory, or stand in it.
    fn processes(&self, also: impl Fn(&Path) -> bool) -> Vec<u32> {
        let data = self.data().display().to_string();
        let ours = |process: &Path| {
            let words = fs::read(process.join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).split('\0').any(|word| word.starts_with(&data))
                || fs::read_link(process.join("cwd")).is_ok_and(|at| at.starts_with(&data))
        };
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter_map(|entry| Some((entry.file_name().to_string_lossy().parse().ok()?, entry.path())))
            .filter(|(_, process)| ours(process) && also(process))
            .map(|(pid, _)| pid)
            .collect()
    }

    /// Time on a CPU of each thread of the platform, in nanoseconds.
    pub fn cpu_ns(&self) -> BTreeMap<u32, u64> {
        let mut found = BTreeMap::new();
        for pid in self.platform() {
            for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let Ok(id) = task.file_name().to_string_lossy().parse() else { continue };
                let spent = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                let spent = spent.split_whitespace().next().and_then(|first| first.parse().ok());
                found.insert(id, spent.unwrap_or(0));
            }
        }
        found
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let mut stop = self.command();
        stop.args(["stop", "--everything"]).stdout(Stdio::null()).stderr(Stdio::null());
        let _ = stop.status();
        let until = Instant::now() + ENDED_WITHIN;
        while !self.processes(|_| true).is_empty() && Instant::now() < until {
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

/// What a command took, and what the server did meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    pub wall_ms: f64,
    /// User and system time of the command.
    pub client_ms: f64,
    pub server_ms: f64,
}
