//! Commands beside a replica. The shim starts them, since only it knows the secrets; output comes
//! through pipes of ours, so that the shim's memory does not grow with it.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use base::id::ReplicaId;
use runtime_api::{Error, ExecOutcome, ExecRequest, Result};
use rustix::{
    fs::{OFlags, fcntl_setfl},
    pipe::{PipeFlags, pipe_with},
};
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver};

use super::{Inner, ProcessDriver, io_error, socket};
use crate::wire::{REQUEST_BYTES_MAX, Reply, Request};

/// Put where output was cut.
const CUT: &str = "\n[cut: more than 1048576 bytes]";
/// The deadline is kept here, by closing the connection; the shim's own is for when we are gone but
/// somebody holds the connection open.
const SHIM_MARGIN: Duration = Duration::from_secs(5);
const REPLY_BYTES_MAX: usize = 64 << 10;

struct Begun {
    stream: UnixStream,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// Dropping the future ends the command: the shim kills it when the connection closes.
pub(super) async fn exec(driver: &ProcessDriver, request: ExecRequest) -> Result<ExecOutcome> {
    let ExecRequest { replica, command, deadline } = request;
    let what = command.first().cloned().unwrap_or_default();
    let id = replica.clone();
    let begun = driver.blocking(move |inner| inner.begin_exec(&id, command, deadline)).await?;
    let io = |e: io::Error| Error::Io { what: format!("running {what:?} in {replica}"), why: e.to_string() };
    match tokio::time::timeout(deadline, outcome(begun)).await {
        Err(_) => Err(Error::Deadline { what: format!("{what:?}"), after: deadline }),
        Ok(Err(error)) => Err(io(error)),
        Ok(Ok((Reply { error: Some(why), .. }, ..))) => {
            Err(Error::Start { what: format!("{what:?} in {replica}"), why })
        }
        Ok(Ok((reply, stdout, stderr))) => Ok(ExecOutcome {
            code: reply.code,
            signal: reply.signal,
            stdout: stdout.into_text(),
            stderr: stderr.into_text(),
        }),
    }
}

impl Inner {
    fn begin_exec(&self, id: &ReplicaId, command: Vec<String>, deadline: Duration) -> Result<Begun> {
        let path = self.path(id);
        let seen = self.see(id).map_err(|e| io_error(&path, &e))?;
        if seen.ok_or_else(|| Error::NotFound(id.clone()))?.shim.is_none() {
            return Err(Error::NotRunning(id.clone()));
        }
        let start = |why: &str| Error::Start { what: format!("a command in {id}"), why: why.into() };
        if command.first().is_none_or(String::is_empty) || command.iter().any(|a| a.contains('\0')) {
            return Err(start("the command is empty or holds a zero byte"));
        }
        if command.iter().map(String::len).sum::<usize>() > REQUEST_BYTES_MAX / 8 {
            return Err(start("the command is too long"));
        }
        begin(&path, command, deadline).map_err(|e| io_error(&path, &e))
    }
}

fn begin(dir: &Path, command: Vec<String>, deadline: Duration) -> io::Result<Begun> {
    let ((stdout, out_end), (stderr, err_end)) =
        (pipe_with(PipeFlags::CLOEXEC)?, pipe_with(PipeFlags::CLOEXEC)?);
    fcntl_setfl(&stdout, OFlags::NONBLOCK)?;
    fcntl_setfl(&stderr, OFlags::NONBLOCK)?;
    let deadline = deadline.saturating_add(SHIM_MARGIN);
    let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    let request = Request::Exec { command, deadline_ms };
    let stream = socket::open(dir, &request, &[out_end.as_fd(), err_end.as_fd()])?;
    stream.set_nonblocking(true)?;
    Ok(Begun { stream, stdout, stderr })
}

/// Reads both pipes until the shim says how it ended, then what is left in them: background
/// processes that keep a pipe open are not waited for.
async fn outcome(begun: Begun) -> io::Result<(Reply, Capped, Capped)> {
    let mut stream = tokio::net::UnixStream::from_std(begun.stream)?;
    let mut stdout = Capped::new(Receiver::from_owned_fd(begun.stdout)?);
    let mut stderr = Capped::new(Receiver::from_owned_fd(begun.stderr)?);
    let mut line = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        tokio::select! {
            read = stream.read(&mut chunk) => {
                let count = read?;
                line.extend_from_slice(&chunk[..count]);
                if count == 0 || line.last() == Some(&b'\n') || line.len() > REPLY_BYTES_MAX {
                    break;
                }
            }
            read = stdout.more(), if stdout.open => read?,
            read = stderr.more(), if stderr.open => read?,
        }
    }
    stdout.rest()?;
    stderr.rest()?;
    if line.is_empty() {
        return Err(io::Error::other("the shim ended meanwhile"));
    }
    Ok((serde_json::from_slice(&line)?, stdout, stderr))
}

/// Output up to its bound; the rest is read and dropped, so that the command never blocks on it.
struct Capped {
    pipe: Receiver,
    kept: Vec<u8>,
    cut: bool,
    open: bool,
}

impl Capped {
    fn new(pipe: Receiver) -> Self {
        Self { pipe, kept: Vec::new(), cut: false, open: true }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = ExecOutcome::OUTPUT_BYTES_MAX.saturating_sub(CUT.len() + self.kept.len());
        self.cut |= bytes.len() > room;
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    async fn more(&mut self) -> io::Result<()> {
        let mut chunk = [0u8; 16 << 10];
        let count = self.pipe.read(&mut chunk).await?;
        self.open = count > 0;
        self.keep(&chunk[..count]);
        Ok(())
    }

    fn rest(&mut self) -> io::Result<()> {
        let mut chunk = [0u8; 16 << 10];
        let mut read = 0;
        while self.open && read <= ExecOutcome::OUTPUT_BYTES_MAX {
            match self.pipe.try_read(&mut chunk) {
                Ok(0) => self.open = false,
                Ok(count) => {
                    read += count;
                    self.keep(&chunk[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn into_text(self) -> String {
        let mut text = String::from_utf8_lossy(&self.kept).into_owned();
        // Bytes that are no text grow when they are shown.
        let mut most = ExecOutcome::OUTPUT_BYTES_MAX - CUT.len();
        if self.cut || text.len() > most {
            while !text.is_char_boundary(most.min(text.len())) {
                most -= 1;
            }
            text.truncate(most);
            text.push_str(CUT);
        }
        text
    }
}
