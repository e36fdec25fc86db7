//! Starting a replica: its directory, its root, its shim.

use std::{
    collections::BTreeMap,
    fs, io,
    io::{Read, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base::id::ReplicaId;
use runtime_api::{EnvValue, Error, ReplicaSpec, Restart, Result};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, Mode, OFlags, fcntl_setfl, mkdirat},
    io::Errno,
};
use zeroize::{Zeroize, Zeroizing};

use super::{Inner, io_error, lock};
use crate::{
    files, signals, source,
    wire::{RECORD, ROOT, Record, SPEC_BYTES_MAX, SecretFile, ShimSpec, VERSION},
};

/// How long the shim may take to answer.
const START_DEADLINE: Duration = Duration::from_secs(20);
const ANSWER_BYTES_MAX: u64 = 4096;

impl Inner {
    pub(super) fn start(&self, spec: ReplicaSpec) -> Result<()> {
        check(&spec)?;
        let id = spec.id.clone();
        let dir = self.path(&id);
        if !lock(&self.starting).insert(id.clone()) {
            return Err(Error::Exists(id));
        }
        let result = match mkdirat(CWD, &dir, Mode::from_raw_mode(0o711)) {
            Err(Errno::EXIST) => Err(Error::Exists(id.clone())),
            Err(error) => Err(io_error(&dir, &error.into())),
            Ok(()) => self.start_in(&dir, spec).inspect_err(|_| {
                let _ = fs::remove_dir_all(&dir);
            }),
        };
        lock(&self.starting).remove(&id);
        result
    }

    fn start_in(&self, dir: &Path, spec: ReplicaSpec) -> Result<()> {
        let io = |error: io::Error| io_error(dir, &error);
        // The directory's mode is exact whatever our umask is: workloads pass through it.
        fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o711)).map_err(io)?;
        let mut notes = Vec::new();
        let user = user(&spec, &mut notes);
        let opened = files::open_dir(dir).map_err(io)?;
        let record = Record::from(&spec);
        let content = serde_json::to_vec_pretty(&record).map_err(|e| io(e.into()))?;
        files::begin(&self.options.dir, spec.id.as_str(), RECORD, &content).map_err(io)?;
        let root = dir.join(ROOT);
        prepare_root(&opened, &root, &spec, user)?;
        for data in &spec.data_directories {
            data_directory(data, user).map_err(|e| io_error(data, &e))?;
        }
        self.watch.directory(dir);
        let id = spec.id.clone();
        let service = spec.service.clone();
        let for_shim = shim_spec(spec, user, &root, self.options.cgroups, notes);
        self.hand_over(&id, &service, dir, for_shim)
    }

    /// Starts the shim and waits until it says that the replica is its own.
    fn hand_over(&self, id: &ReplicaId, service: &str, dir: &Path, spec: ShimSpec) -> Result<()> {
        let start = |why: String| Error::Start { what: format!("{service} ({id})"), why };
        let encoded = serde_json::to_vec(&spec).map(Zeroizing::new).map_err(|e| start(e.to_string()))?;
        forget(spec);
        if encoded.len() > SPEC_BYTES_MAX {
            return Err(start(format!("its specification is larger than {SPEC_BYTES_MAX} bytes")));
        }
        let program = &self.options.shim_program;
        let mut child = Command::new(program)
            .args(&self.options.shim_arguments)
            .arg("--dir")
            .arg(std::path::absolute(dir).map_err(|e| io_error(dir, &e))?)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| start(format!("its shim {}: {e}", program.display())))?;
        let deadline = Instant::now() + START_DEADLINE;
        let answer = feed(&mut child, &encoded, deadline).and_then(|()| listen(&mut child, deadline));
        drop(encoded);
        match answer {
            Ok(word) if word == "ok" => {
                self.watch.child(id, &child);
                Ok(())
            }
            other => {
                let _ = child.kill();
                let _ = child.wait();
                self.clear_after(id, dir);
                Err(match other {
                    Ok(why) if why.is_empty() => start("its shim ended without a word".into()),
                    Ok(why) => start(format!("its shim: {why}")),
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                        Error::Deadline { what: format!("the shim of {service}"), after: START_DEADLINE }
                    }
                    Err(error) => start(format!("its shim: {error}")),
                })
            }
        }
    }
}

fn check(spec: &ReplicaSpec) -> Result<()> {
    let wrong = |why: String| Err(Error::Start { what: format!("{} ({})", spec.service, spec.id), why });
    if spec.command.first().is_none_or(String::is_empty) {
        return wrong("the command is empty".into());
    }
    if signals::by_name(&spec.stop.signal).is_none() {
        return wrong(format!("{:?} is not a signal, such as TERM", spec.stop.signal));
    }
    if spec.command.iter().any(|argument| argument.contains('\0')) {
        return wrong("an argument holds a zero byte".into());
    }
    for (name, value) in &spec.environment {
        let (EnvValue::Plain(text) | EnvValue::Secret(text)) = value;
        if name.is_empty() || name.contains(['=', '\0']) || text.contains('\0') {
            return wrong(format!("{name:?} is not a variable that an environment can hold"));
        }
    }
    let own_role = spec.restart == Restart::Always;
    if rustix::process::geteuid().is_root()
        && !own_role
        && spec.user.is_none_or(|user| user.0 == 0 || user.1 == 0)
    {
        return wrong("it would run as root, which is for Stead's own roles alone".into());
    }
    if let Some(relative) = spec.data_directories.iter().find(|dir| !dir.is_absolute()) {
        return wrong(format!("data directory {} is not absolute", relative.display()));
    }
    Ok(())
}

/// The user that can be had, with a note when it is not the one that was asked for.
fn user(spec: &ReplicaSpec, notes: &mut Vec<String>) -> Option<(u32, u32)> {
    let own = rustix::process::geteuid();
    match spec.user {
        Some((uid, _)) if !own.is_root() => {
            if uid != own.as_raw() {
                notes.push(format!(
                    "it runs as user {}: only root could start it as user {uid}",
                    own.as_raw()
                ));
            }
            None
        }
        user => user,
    }
}

fn prepare_root(dir: &impl AsFd, root: &Path, spec: &ReplicaSpec, user: Option<(u32, u32)>) -> Result<()> {
    let io = |error: io::Error| io_error(root, &error);
    mkdirat(dir, ROOT, Mode::RWXU).map_err(|e| io(e.into()))?;
    let opened = files::open_dir(root).map_err(io)?;
    if let Some(from) = &spec.source {
        source::copy(from, opened.as_fd(), user)
            .map_err(|e| Error::Io { what: format!("copying {}", from.display()), why: e.to_string() })?;
    }
    for file in spec.files.iter().filter(|file| !file.secret) {
        files::write_below(opened.as_fd(), &file.path, &file.content, file.mode, user)
            .map_err(|e| io_error(&file.path, &e))?;
    }
    files::give(opened.as_fd(), user).map_err(io)
}

fn data_directory(path: &Path, user: Option<(u32, u32)>) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o711).create(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    files::give(files::open_dir(path)?.as_fd(), user)
}

fn shim_spec(
    spec: ReplicaSpec,
    user: Option<(u32, u32)>,
    root: &Path,
    cgroups: bool,
    notes: Vec<String>,
) -> ShimSpec {
    let root = std::path::absolute(root).unwrap_or_else(|_| PathBuf::from(root));
    let environment: BTreeMap<String, String> = spec
        .environment
        .into_iter()
        .map(|(name, value)| match value {
            EnvValue::Plain(text) | EnvValue::Secret(text) => (name, text),
        })
        .collect();
    let secret_files = spec.files.into_iter().filter(|file| file.secret);
    ShimSpec {
        version: VERSION,
        id: spec.id,
        command: spec.command,
        working_directory: root.join(spec.working_directory),
        environment,
        secret_files: secret_files
            .map(|file| SecretFile {
                path: file.path,
                content: file.content,
                mode: file.mode,
                linked: file.linked,
            })
            .collect(),
        user,
        limits: spec.limits,
        stop: spec.stop,
        log: spec.log,
        restart: spec.restart,
        cgroups,
        notes,
    }
}

/// Overwrites what may be secret before its memory is given back.
fn forget(mut spec: ShimSpec) {
    for value in spec.environment.values_mut() {
        value.zeroize();
    }
    for file in &mut spec.secret_files {
        file.content.zeroize();
    }
}

fn feed(child: &mut Child, content: &[u8], deadline: Instant) -> io::Result<()> {
    let Some(mut pipe) = child.stdin.take() else { return Ok(()) };
    fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
    let mut rest = content;
    while !rest.is_empty() {
        match pipe.write(rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait_for(&pipe, PollFlags::OUT, deadline)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // It ended early; its answer says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn listen(child: &mut Child, deadline: Instant) -> io::Result<String> {
    let Some(mut pipe) = child.stdout.take() else { return Ok(String::new()) };
    fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
    let mut answer = Vec::new();
    let mut chunk = [0u8; 512];
    while !answer.contains(&b'\n') && (answer.len() as u64) < ANSWER_BYTES_MAX {
        match pipe.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait_for(&pipe, PollFlags::IN, deadline)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).trim().to_owned())
}

pub(super) fn wait_for(fd: &impl AsFd, events: PollFlags, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
    match poll(&mut [PollFd::new(fd, events)], Some(&timeout)) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
