//! Why a program could not be started, as a sentence that names the thing to mend.

use std::{
    fs,
    io::Read,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::launch::{Launch, Step};

pub(crate) fn failure(step: Step, errno: i32, name: &str, program: &Path, launch: &Launch<'_>) -> String {
    let system = std::io::Error::from_raw_os_error(errno);
    match step {
        Step::Group => format!("no process group of its own: {system}"),
        Step::Cgroup => format!("it cannot join its control group: {system}"),
        Step::Descriptors => format!("its descriptors cannot be set: {system}"),
        Step::Limits => format!("its limits cannot be set: {system}"),
        Step::User => match launch.user {
            Some((uid, gid)) => format!("it cannot become user {uid} and group {gid}: {system}"),
            None => format!("it cannot give up privileges: {system}"),
        },
        Step::Directory => directory(errno, launch.working_directory, launch.user, &system),
        Step::Exec => exec(errno, name, program, launch.user, &system),
    }
}

fn directory(errno: i32, path: &Path, user: Option<(u32, u32)>, system: &std::io::Error) -> String {
    let shown = format!("working directory {:?}", path.display().to_string());
    match errno {
        libc::ENOENT => format!("{shown} does not exist"),
        libc::ENOTDIR => format!("{shown} is not a directory"),
        libc::EACCES => format!("{shown}: {}", closed(path, user)),
        _ => format!("{shown}: {system}"),
    }
}

fn exec(errno: i32, name: &str, program: &Path, user: Option<(u32, u32)>, system: &std::io::Error) -> String {
    match errno {
        libc::ENOENT if !program.exists() => format!("no such file {name:?}"),
        libc::ENOENT => match interpreter(program) {
            Some(wanted) => format!("{name:?} asks for the interpreter {wanted:?}, which does not exist"),
            None => format!("{name:?} asks for a loader that does not exist"),
        },
        libc::EACCES => match program.metadata() {
            Ok(meta) if meta.is_dir() => format!("{name:?} is a directory"),
            Ok(meta) if meta.permissions().mode() & 0o111 == 0 => {
                format!("{name:?} is not executable (mode {:04o})", meta.permissions().mode() & 0o7777)
            }
            _ => match interpreter(program) {
                Some(wanted) if !Path::new(&wanted).metadata().is_ok_and(|m| m.mode() & 0o111 != 0) => {
                    format!("{name:?} asks for the interpreter {wanted:?}, which is not executable")
                }
                _ => format!("{name:?}: {}", closed(program, user)),
            },
        },
        libc::ENOEXEC => {
            format!("{name:?} is neither a program for this machine nor a script with a #! line")
        }
        libc::E2BIG => format!("{name:?}: arguments and environment are too large together"),
        libc::EAGAIN => format!("{name:?}: its user has too many processes already"),
        _ => format!("{name:?}: {system}"),
    }
}

/// What stands after `#!`.
fn interpreter(program: &Path) -> Option<String> {
    let mut start = Vec::new();
    fs::File::open(program).ok()?.take(256).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let text = String::from_utf8_lossy(line);
    let word = text.split([' ', '\t']).find(|word| !word.is_empty())?;
    // A script from another system ends its lines in \r, which is then part of the name.
    Some(word.to_owned())
}

/// Which directory on the way keeps the user out.
fn closed(path: &Path, user: Option<(u32, u32)>) -> String {
    let Some((uid, gid)) = user else { return "permission denied".into() };
    let mut ancestors: Vec<PathBuf> = path.ancestors().skip(1).map(Path::to_owned).collect();
    if path.is_dir() {
        ancestors.insert(0, path.to_owned());
    }
    ancestors.reverse();
    for dir in ancestors {
        let Ok(meta) = dir.metadata() else { continue };
        let bit = match () {
            () if meta.uid() == uid => 0o100,
            () if meta.gid() == gid => 0o010,
            () => 0o001,
        };
        if meta.mode() & bit == 0 {
            return format!(
                "user {uid} may not enter {:?} (mode {:04o})",
                dir.display().to_string(),
                meta.mode() & 0o7777
            );
        }
    }
    format!("permission denied for user {uid}")
}
