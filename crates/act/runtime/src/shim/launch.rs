//! Starting one process: fork, everything that makes it the workload's and not ours, exec.
//!
//! The steps between fork and exec are only system calls on memory prepared before. A step that
//! fails sends its number and errno through a close-on-exec pipe; the end of that pipe without a
//! word means that exec succeeded.

use std::{
    collections::BTreeMap,
    ffi::CString,
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use runtime_api::Limits;
use rustix::{
    io::fcntl_dupfd_cloexec,
    pipe::{PipeFlags, pipe_with},
};

use super::explain;

/// Where a started program finds the descriptor named by `STEAD_READY_FD`.
pub(crate) const READY_FD: RawFd = 3;
const UMASK: libc::mode_t = 0o022;
/// Last signal of Linux.
const SIGNAL_MAX: libc::c_int = 64;

/// Everything about a process that is to be started.
pub(crate) struct Launch<'a> {
    pub(crate) command: &'a [String],
    pub(crate) environment: &'a BTreeMap<String, String>,
    pub(crate) working_directory: &'a Path,
    pub(crate) user: Option<(u32, u32)>,
    pub(crate) rlimits: &'a [(libc::__rlimit_resource_t, u64)],
    /// Open `cgroup.procs` files to join.
    pub(crate) cgroups: &'a [OwnedFd],
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) ready: Option<OwnedFd>,
}

/// The step at which a start failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    Group = 1,
    Cgroup,
    Descriptors,
    Limits,
    User,
    Directory,
    Exec,
}

impl Step {
    fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Group,
            2 => Self::Cgroup,
            3 => Self::Descriptors,
            4 => Self::Limits,
            5 => Self::User,
            6 => Self::Directory,
            _ => Self::Exec,
        }
    }
}

impl Launch<'_> {
    /// Starts it in a process group of its own and gives its pid, or a sentence that says why not.
    pub(crate) fn start(self) -> Result<u32, String> {
        let name = self.command.first().map(String::as_str).unwrap_or_default();
        if name.is_empty() {
            return Err("the command is empty".into());
        }
        let program = find(name, self.environment, self.working_directory)?;
        let image = Image::new(&self, &program).map_err(|e| e.to_string())?;
        let plumbing = |e: io::Error| format!("no pipe or null device: {e}");
        let (report, low_end) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| plumbing(e.into()))?;
        let null = std::fs::File::open("/dev/null").map_err(plumbing)?;
        // Out of the way of 0 to 3, so that no dup2 in the child overwrites one still needed.
        let high = |fd: BorrowedFd<'_>| fcntl_dupfd_cloexec(fd, READY_FD + 1).map_err(|e| plumbing(e.into()));
        let report_end = high(low_end.as_fd())?;
        drop(low_end);
        let sources = [Some(null.as_fd()), Some(self.stdout.as_fd()), Some(self.stderr.as_fd())];
        let sources = sources.into_iter().chain([self.ready.as_ref().map(AsFd::as_fd)]).flatten();
        let sources: Vec<OwnedFd> = sources.map(high).collect::<Result<_, _>>()?;
        let descriptors: Vec<RawFd> = sources.iter().map(AsRawFd::as_raw_fd).collect();
        let joins: Vec<RawFd> = self.cgroups.iter().map(AsRawFd::as_raw_fd).collect();
        let child = Child {
            image: &image,
            descriptors: &descriptors,
            report: report_end.as_raw_fd(),
            joins: &joins,
            rlimits: self.rlimits,
            user: self.user,
        };
        // SAFETY: the child calls only `Child::run`, which makes async-signal-safe calls on memory
        // that was prepared above, allocates nothing and never returns.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: this is the child of the fork above.
            unsafe { child.run() }
        }
        let fork_error = io::Error::last_os_error();
        drop(report_end);
        let Ok(pid) = u32::try_from(pid) else { return Err(format!("no new process: {fork_error}")) };
        let mut word = [0; 5];
        if std::fs::File::from(report).read_exact(&mut word).is_err() {
            return Ok(pid);
        }
        // It ended in the child before exec; nobody else may wait for it.
        if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        }
        let errno = i32::from_ne_bytes([word[1], word[2], word[3], word[4]]);
        Err(explain::failure(Step::from_byte(word[0]), errno, name, &program, &self))
    }
}

/// Finds the program: as given when it has a `/`, else in PATH of the workload's environment.
fn find(name: &str, environment: &BTreeMap<String, String>, cwd: &Path) -> Result<PathBuf, String> {
    const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";
    if name.contains('/') {
        return Ok(cwd.join(name));
    }
    let path = environment.get("PATH").map_or(PATH_DEFAULT, String::as_str);
    let mut unusable = None;
    for dir in path.split(':').filter(|dir| !dir.is_empty()) {
        let candidate = cwd.join(dir).join(name);
        if let Ok(meta) = candidate.metadata() {
            use std::os::unix::fs::PermissionsExt;
            if meta.is_file() && meta.permissions().mode() & 0o111 != 0 {
                return Ok(candidate);
            }
            unusable.get_or_insert(candidate);
        }
    }
    match unusable {
        Some(path) => Err(format!("{:?} is not executable", path.display().to_string())),
        None => Err(format!("no such program {name:?} in PATH {path:?}")),
    }
}

/// The strings of exec, kept alive with the pointers to them.
struct Image {
    program: CString,
    _strings: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    cwd: CString,
}

impl Image {
    fn new(launch: &Launch<'_>, program: &Path) -> io::Result<Self> {
        let mut strings = Vec::new();
        for argument in launch.command {
            strings.push(CString::new(argument.as_str())?);
        }
        for (name, value) in launch.environment {
            strings.push(CString::new(format!("{name}={value}"))?);
        }
        let pointers = |part: &[CString]| -> Vec<*const libc::c_char> {
            part.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let (arguments, environment) = strings.split_at(launch.command.len());
        let (argv, envp) = (pointers(arguments), pointers(environment));
        Ok(Self {
            program: CString::new(program.as_os_str().as_bytes())?,
            argv,
            envp,
            cwd: CString::new(launch.working_directory.as_os_str().as_bytes())?,
            _strings: strings,
        })
    }
}

/// What the child needs between fork and exec.
struct Child<'a> {
    image: &'a Image,
    /// Become 0, 1, 2 and, when there is a fourth, [`READY_FD`].
    descriptors: &'a [RawFd],
    report: RawFd,
    joins: &'a [RawFd],
    rlimits: &'a [(libc::__rlimit_resource_t, u64)],
    user: Option<(u32, u32)>,
}

impl Child<'_> {
    /// # Safety
    /// Only in the child right after fork: it replaces or ends the process.
    unsafe fn run(&self) -> ! {
        // SAFETY: plain system calls on valid, prepared pointers; see `start`.
        unsafe {
            self.check(Step::Group, libc::setpgid(0, 0));
            for join in self.joins {
                self.check(Step::Cgroup, libc::write(*join, c"0".as_ptr().cast(), 1) as libc::c_int);
            }
            self.descriptors();
            for (resource, most) in self.rlimits {
                let limit = libc::rlimit { rlim_cur: *most, rlim_max: *most };
                self.check(Step::Limits, libc::setrlimit(*resource, &raw const limit));
            }
            libc::umask(UMASK);
            if let Some((uid, gid)) = self.user {
                // System calls of this thread, not the C library's, which would signal other threads.
                let none = std::ptr::null::<libc::gid_t>();
                self.check(Step::User, libc::syscall(libc::SYS_setgroups, 0, none) as libc::c_int);
                self.check(Step::User, libc::syscall(libc::SYS_setresgid, gid, gid, gid) as libc::c_int);
                self.check(Step::User, libc::syscall(libc::SYS_setresuid, uid, uid, uid) as libc::c_int);
            }
            self.check(Step::User, libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
            self.check(Step::Directory, libc::chdir(self.image.cwd.as_ptr()));
            // The shim takes its signals through a descriptor and ignores SIGPIPE, and whoever started
            // Stead may have ignored others (a shell does so with SIGINT for what runs in its
            // background); workloads expect none of it.
            for signal in 1..=SIGNAL_MAX {
                libc::signal(signal, libc::SIG_DFL);
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            let (argv, envp) = (self.image.argv.as_ptr(), self.image.envp.as_ptr());
            self.check(Step::Exec, libc::execve(self.image.program.as_ptr(), argv, envp));
            libc::_exit(127)
        }
    }

    /// # Safety
    /// As for [`Child::run`].
    unsafe fn descriptors(&self) {
        // SAFETY: as for `run`. No source is a target, see `Launch::start`.
        unsafe {
            for (target, source) in self.descriptors.iter().enumerate() {
                self.check(Step::Descriptors, libc::dup2(*source, target as RawFd));
            }
            // Whatever else is open closes at exec; our own descriptors say so themselves, this is
            // for those that some library forgot.
            let first = libc::c_long::try_from(self.descriptors.len()).unwrap_or(3);
            let flag = libc::c_long::from(libc::CLOSE_RANGE_CLOEXEC);
            libc::syscall(libc::SYS_close_range, first, libc::c_long::from(u32::MAX), flag);
        }
    }

    /// # Safety
    /// As for [`Child::run`].
    unsafe fn check(&self, step: Step, result: libc::c_int) {
        if result >= 0 {
            return;
        }
        // SAFETY: as for `run`; errno is this thread's own.
        unsafe {
            let errno = (*libc::__errno_location()).to_ne_bytes();
            let word = [step as u8, errno[0], errno[1], errno[2], errno[3]];
            libc::write(self.report, word.as_ptr().cast(), word.len());
            libc::_exit(127)
        }
    }
}

/// The rlimits of a workload; what cannot be had is said in `notes`.
pub(crate) fn rlimits(
    limits: &Limits,
    memory_limited: bool,
    processes_limited: bool,
    own_user: bool,
    notes: &mut Vec<String>,
) -> Vec<(libc::__rlimit_resource_t, u64)> {
    let hard = |resource| {
        let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `now` is valid for writing.
        if unsafe { libc::getrlimit(resource, &raw mut now) } == 0 { now.rlim_max } else { 0 }
    };
    // One byte is too small for any core file and, unlike zero, also keeps the kernel from piping
    // the core to a handler. Memory holds secrets.
    let mut all = vec![(libc::RLIMIT_CORE, hard(libc::RLIMIT_CORE).min(1))];
    if let Some(files) = limits.open_files {
        let most = hard(libc::RLIMIT_NOFILE);
        if files > most {
            notes.push(format!(
                "open files are limited to {most}, the most that this machine gives, not {files}"
            ));
        }
        all.push((libc::RLIMIT_NOFILE, files.min(most)));
    }
    if let Some(memory) = limits.memory.filter(|_| !memory_limited) {
        notes.push(format!("each process may have {memory} of data instead (RLIMIT_DATA)"));
        all.push((libc::RLIMIT_DATA, memory.get().min(hard(libc::RLIMIT_DATA))));
    }
    if let Some(processes) = limits.processes.filter(|_| !processes_limited) {
        if own_user {
            notes.push("processes are counted over all replicas of its user instead (RLIMIT_NPROC)".into());
            all.push((libc::RLIMIT_NPROC, u64::from(processes).min(hard(libc::RLIMIT_NPROC))));
        } else {
            notes.push("the number of processes is not limited, since it shares the platform's user".into());
        }
    }
    all
}
