//! The shim: one small process per replica that starts it, owns its output, ends it and says how it
//! ended, whether the platform runs or not.
//!
//! It is single-threaded and sleeps in one `poll`; only Stead's own roles have a second thread, the
//! store of their listening sockets. It hears its specification, secrets included, on standard input
//! and keeps it in memory; it answers one line on standard output (`ok`, or what went wrong) and is
//! from then on reached through `control.sock` in its directory, or by SIGTERM, which means stop.
//!
//! The workload's processes are in a group of their own. The shim is their subreaper: whatever forks
//! twice to get away becomes its child, and is ended and reaped with the rest.

mod control;
mod explain;
mod launch;
mod reaper;
mod run;
mod supervisor;

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
    process::ExitCode,
};

use rustix::{
    fs::Mode,
    process::{self, DumpableBehavior},
};
use supervisor::Supervisor;
use zeroize::Zeroizing;

use crate::{
    cgroup, files,
    wire::{SPEC_BYTES_MAX, ShimSpec, VERSION},
};

pub(crate) use launch::READY_FD as READY_DESCRIPTOR;

/// Entry of `stead shim --dir DIR`. Call it before anything else of the process: no thread may run
/// and no descriptor beyond the standard ones may be in use.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match prepare(arguments) {
        Ok(supervisor) => {
            supervisor.supervise();
            ExitCode::SUCCESS
        }
        Err(Refused { answer, why }) => {
            if let Some(answer) = answer {
                let _ = File::from(answer).write_all(format!("{why}\n").as_bytes());
            }
            ExitCode::FAILURE
        }
    }
}

/// The shim could not take the replica over.
struct Refused {
    answer: Option<OwnedFd>,
    why: String,
}

fn prepare(arguments: impl IntoIterator<Item = OsString>) -> Result<Supervisor, Refused> {
    let refused = |why: String| Refused { answer: None, why };
    close_inherited();
    let answer = rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3).map_err(|e| refused(e.to_string()))?;
    let spec = match take_over(arguments) {
        Ok(spec) => spec,
        Err(why) => return Err(Refused { answer: Some(answer), why }),
    };
    if let Err(error) = silence() {
        return Err(Refused { answer: Some(answer), why: format!("/dev/null: {error}") });
    }
    if spec.cgroups {
        cgroup::leave_for_shims();
    }
    Supervisor::start(spec, answer).map_err(|(answer, why)| Refused { answer: Some(answer), why })
}

/// Becomes a process of its own in the replica's directory and reads the specification.
fn take_over(arguments: impl IntoIterator<Item = OsString>) -> Result<ShimSpec, String> {
    let dir = directory(arguments)?;
    // Fails only when it leads a session already.
    let _ = process::setsid();
    process::umask(Mode::RWXG | Mode::RWXO);
    process::set_child_subreaper(Some(process::getpid())).map_err(|e| format!("no subreaper: {e}"))?;
    // Its memory holds secrets: no core file, no debugger of the same user.
    let _ = process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = rustix::thread::set_name(c"stead-shim");
    let opened = files::open_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    process::fchdir(&opened).map_err(|e| format!("{}: {e}", dir.display()))?;

    let mut raw = Zeroizing::new(Vec::new());
    let limit = SPEC_BYTES_MAX as u64 + 1;
    io::stdin().lock().take(limit).read_to_end(&mut raw).map_err(|e| format!("standard input: {e}"))?;
    if raw.len() > SPEC_BYTES_MAX {
        return Err(format!("the specification is larger than {SPEC_BYTES_MAX} bytes"));
    }
    // What serde says may quote the input, and with it a secret; the place is enough.
    let spec: ShimSpec = serde_json::from_slice(&raw).map_err(|e| {
        format!("the specification is not readable at line {} column {}", e.line(), e.column())
    })?;
    if spec.version != VERSION {
        return Err(format!("the specification has version {}, this shim knows {VERSION}", spec.version));
    }
    Ok(spec)
}

fn directory(arguments: impl IntoIterator<Item = OsString>) -> Result<PathBuf, String> {
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--dir" {
            return arguments.next().map(PathBuf::from).ok_or_else(|| "--dir needs a directory".into());
        }
    }
    Err("usage: shim --dir DIR".into())
}

/// Whoever started us may have leaked descriptors; a workload must not inherit them.
fn close_inherited() {
    // SAFETY: closes descriptors that nothing in this process uses yet, see `main`.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3 as libc::c_long,
            libc::c_long::from(u32::MAX),
            0 as libc::c_long,
        );
    }
}

/// Standard input, output and errors go nowhere from now on.
fn silence() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    for standard in 0..=2 {
        // SAFETY: replaces our own standard descriptors, which stay open and valid throughout.
        if unsafe { libc::dup2(null.as_raw_fd(), standard) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
