//! Stages of a long task: what runs now, for how long, and what came of all of them.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, bail};

/// Runs stages, and remembers those that failed instead of stopping at the first.
#[derive(Debug)]
pub struct Stages {
    began: Instant,
    /// Only stages with this in their name are run.
    only: Option<String>,
    done: Vec<(String, Duration, Option<String>)>,
}

impl Stages {
    pub fn new() -> Self {
        Self { began: Instant::now(), only: None, done: Vec::new() }
    }

    /// From now on only stages whose name has `only` in it; all when there is none.
    pub fn narrow(&mut self, only: Option<String>) {
        self.only = only;
    }

    /// Runs a stage. `None` when it failed, which is printed now and again at the end, or is not wanted.
    pub fn run<T>(&mut self, name: &str, stage: impl FnOnce() -> anyhow::Result<T>) -> Option<T> {
        if self.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            return None;
        }
        say(&format!("\n[{}] {name}", clock(self.began.elapsed())));
        let began = Instant::now();
        let outcome = stage();
        let took = began.elapsed();
        let (value, problem) = match outcome {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        match &problem {
            None => {
                say(&format!("[{}] {name}: done in {:.1} s", clock(self.began.elapsed()), took.as_secs_f64()))
            }
            Some(why) => say(&format!("[{}] {name}: FAILED: {why}", clock(self.began.elapsed()))),
        }
        self.done.push((name.to_owned(), took, problem));
        value
    }

    /// Prints all stages with their times.
    ///
    /// # Errors
    /// A stage failed.
    pub fn finish(self, what: &str) -> anyhow::Result<()> {
        say(&format!("\n{what}: {} in all", clock(self.began.elapsed())));
        for (name, took, problem) in &self.done {
            let word = if problem.is_some() { "FAILED" } else { "ok" };
            say(&format!("  {word:6} {:>7.1} s  {name}", took.as_secs_f64()));
        }
        let failed: Vec<&str> = self
            .done
            .iter()
            .filter(|(_, _, problem)| problem.is_some())
            .map(|(name, ..)| name.as_str())
            .collect();
        if !failed.is_empty() {
            bail!("{what} failed: {}", failed.join(", "));
        }
        Ok(())
    }
}

/// Talk goes to standard error, like the tools' own progress, so that the order stays.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn clock(elapsed: Duration) -> String {
    format!("{:02}:{:02}", elapsed.as_secs() / 60, elapsed.as_secs() % 60)
}

/// The repository's root.
pub fn root() -> PathBuf {
    // `cargo run` says where it is; a program started by itself knows where it was compiled.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&own).parent().unwrap_or_else(|| Path::new(".")).to_owned()
}

/// Where cargo builds, as cargo itself sees it.
pub fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(set) => std::path::absolute(set).unwrap_or_else(|_| root().join("target")),
        None => root().join("target"),
    }
}

/// The cargo that runs this task.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// npm in a folder of the repository, asking nobody.
pub fn npm(folder: &str) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(root().join(folder)).env("npm_config_fund", "false").env("npm_config_audit", "false");
    command.env("npm_config_update_notifier", "false");
    command
}

/// Installs a folder's npm packages, unless that was done since its lock file last changed.
///
/// # Errors
/// npm is missing or failed.
pub fn npm_packages(folder: &str) -> anyhow::Result<()> {
    let lock = root().join(folder).join("package-lock.json");
    let installed = root().join(folder).join("node_modules/.package-lock.json");
    let changed_at = |path: &Path| path.metadata().and_then(|about| about.modified()).ok();
    if let (Some(lock), Some(installed)) = (changed_at(&lock), changed_at(&installed))
        && lock <= installed
    {
        return Ok(());
    }
    run(npm(folder).args(["ci", "--no-progress"]))
}

/// Builds the interface, unless nothing it is made of changed since: a new build means a new binary too.
///
/// # Errors
/// npm is missing or failed.
pub fn build_interface() -> anyhow::Result<()> {
    npm_packages("ui")?;
    let ui = root().join("ui");
    let made_of = ["src", "public", "index.html", "package-lock.json", "tsconfig.json", "vite.config.ts"];
    let changed_at = made_of.iter().filter_map(|part| newest(&ui.join(part))).max();
    let built_at = ui.join("dist/index.html").metadata().and_then(|about| about.modified()).ok();
    if built_at.is_some() && built_at > changed_at {
        say("  ui/dist is current");
        return Ok(());
    }
    run(npm("ui").args(["run", "--silent", "build"]))
}

/// When a file, or anything in a folder, changed last.
fn newest(path: &Path) -> Option<SystemTime> {
    let own = path.metadata().and_then(|about| about.modified()).ok()?;
    let Ok(entries) = std::fs::read_dir(path) else { return Some(own) };
    entries.flatten().filter_map(|entry| newest(&entry.path())).chain([own]).max()
}

/// Runs a command without input; its output is the reader's.
///
/// # Errors
/// It could not be started or ended with another status than 0.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = shown(command);
    say(&format!("  $ {shown}"));
    let status = command.stdin(Stdio::null()).status().with_context(|| not_started(command))?;
    expect_success(&shown, status)
}

/// Runs a command, passes its standard output on line by line, and gives it back even if it failed.
///
/// # Errors
/// It could not be started or its output is not to be read.
pub fn run_and_read(command: &mut Command) -> anyhow::Result<(ExitStatus, String)> {
    say(&format!("  $ {}", shown(command)));
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| not_started(command))?;
    let mut text = String::new();
    let out = child.stdout.take().context("no standard output")?;
    for line in BufReader::new(out).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        let _ = writeln!(std::io::stdout(), "{line}");
        text.push_str(&line);
        text.push('\n');
    }
    Ok((child.wait()?, text))
}

/// The standard output of a command whose output nobody needs to see.
///
/// # Errors
/// As [`run`].
pub fn read(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| not_started(command))?;
    expect_success(&shown(command), output.status)?;
    Ok(String::from_utf8(output.stdout)?)
}

/// # Errors
/// The status is not 0.
pub fn expect_success(shown: &str, status: ExitStatus) -> anyhow::Result<()> {
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// A command as one would type it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut words = vec![program.to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

fn not_started(command: &Command) -> String {
    format!("cannot start `{}`: is it installed and in PATH?", command.get_program().display())
}

/// Where a program is found in PATH.
pub fn which(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_deep_in_a_folder_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        let before = newest(folder.path()).unwrap();
        let file = std::fs::File::create(folder.path().join("a/b/c.ts")).unwrap();
        let later = before + Duration::from_secs(60);
        file.set_modified(later).unwrap();
        assert_eq!(newest(folder.path()), Some(later));
        assert_eq!(newest(&folder.path().join("none")), None);
    }

    #[test]
    fn what_failed_is_said_again_at_the_end_and_the_rest_still_runs() {
        let mut stages = Stages::new();
        assert_eq!(stages.run("breaks", || -> anyhow::Result<()> { bail!("on purpose") }), None);
        assert_eq!(stages.run("works", || Ok(7)), Some(7));
        stages.narrow(Some("wanted".into()));
        assert_eq!(stages.run("left out", || Ok(7)), None);
        let why = stages.finish("test").unwrap_err().to_string();
        assert_eq!(why, "test failed: breaks");
    }

    #[test]
    fn a_command_that_fails_keeps_what_it_printed() {
        let (status, text) = run_and_read(Command::new("sh").args(["-c", "echo one; exit 3"])).unwrap();
        assert_eq!((status.code(), text.as_str()), (Some(3), "one\n"));
        assert!(run(&mut Command::new("/no/such/program")).is_err());
    }
}
