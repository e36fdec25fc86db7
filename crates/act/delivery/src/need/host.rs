//! What this host has: programs of Debian's packages, and users.

use std::{
    fs,
    io::Write,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base::{Class, Problem};

/// The program `name` in one of `directories` or in the usual places.
#[must_use]
pub fn find_program(name: &str, directories: &[PathBuf]) -> Option<PathBuf> {
    let usual = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    directories
        .iter()
        .cloned()
        .chain(usual.iter().map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|path| fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0))
}

/// User and group of the account `name`, from `/etc/passwd`.
#[must_use]
pub fn account(name: &str) -> Option<(u32, u32)> {
    accounts().into_iter().find(|(known, ..)| known == name).map(|(_, uid, gid)| (uid, gid))
}

/// The group of the account with this number, from `/etc/passwd`.
#[must_use]
pub fn group_of(uid: u32) -> Option<u32> {
    accounts().into_iter().find(|(_, known, _)| *known == uid).map(|(.., gid)| gid)
}

/// The account with this number, from `/etc/passwd`.
#[must_use]
pub fn account_name(uid: u32) -> Option<String> {
    accounts().into_iter().find(|(_, known, _)| *known == uid).map(|(name, ..)| name)
}

fn accounts() -> Vec<(String, u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let account = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((name, fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    passwd.lines().filter_map(account).collect()
}

/// Gives a tree to a user; symbolic links themselves, never what they point to.
///
/// # Errors
/// The first entry that cannot be changed, with its path.
pub fn give(path: &Path, user: (u32, u32)) -> Result<(), Problem> {
    let failed = |error| io_problem("cannot change the owner of", path, &error);
    let meta = fs::symlink_metadata(path).map_err(failed)?;
    if meta.is_symlink() {
        return std::os::unix::fs::lchown(path, Some(user.0), Some(user.1)).map_err(failed);
    }
    if meta.is_dir() {
        for entry in fs::read_dir(path).map_err(failed)? {
            give(&entry.map_err(failed)?.path(), user)?;
        }
    }
    chown(path, Some(user.0), Some(user.1)).map_err(failed)
}

/// Makes a directory (and those above it) with this mode, given to `user`.
///
/// # Errors
/// It cannot be made, or something that is no directory is in its place.
pub fn make_directory(path: &Path, mode: u32, user: Option<(u32, u32)>) -> Result<(), Problem> {
    let failed = |error| io_problem("cannot make", path, &error);
    fs::create_dir_all(path).map_err(failed)?;
    let meta = fs::symlink_metadata(path).map_err(failed)?;
    if !meta.is_dir() {
        return Err(Problem::new(
            Class::Conflict,
            "need.not_a_directory",
            format!("{} is not a directory", path.display()),
        )
        .with_hint("move it away; Stead does not follow links in its data directory"));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
    if let Some((uid, gid)) = user {
        chown(path, Some(uid), Some(gid)).map_err(failed)?;
    }
    Ok(())
}

/// Linux' number for a full disk.
const ENOSPC: i32 = 28;

#[must_use]
pub fn io_problem(what: &str, path: &Path, error: &std::io::Error) -> Problem {
    let class = match error.raw_os_error() {
        Some(ENOSPC) => Class::Unavailable,
        _ => Class::Internal,
    };
    Problem::new(class, "need.io", format!("{what} {}: {error}", path.display()))
}

/// Runs a tool to its end as `user`, feeding it `input`; its environment is `environment` alone.
///
/// # Errors
/// It cannot be started, or exits with another status than 0; the message has its last words.
pub fn run_tool(
    program: &Path,
    arguments: &[&str],
    directory: &Path,
    environment: &[(&str, &str)],
    user: Option<(u32, u32)>,
    input: &[u8],
) -> Result<(), Problem> {
    let name = program.file_name().map_or_else(|| "tool".into(), |name| name.to_string_lossy());
    let failed = |why: String| Problem::new(Class::Unavailable, "need.tool", format!("{name} failed: {why}"));
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that ends early closes its end; its exit status says more than this error.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = if output.stderr.is_empty() { output.stdout } else { output.stderr };
    let said = String::from_utf8_lossy(&said);
    let last: Vec<&str> = said.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(failed(format!("{} ({})", last.join(" / "), output.status)))
}
