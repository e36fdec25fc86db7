//! One run of the program: its process, its pipes, and how it ended in words.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use base::Timestamp;
use runtime_api::{Exit, Identity, Limits};
use rustix::process::{Pid, Signal, WaitStatus, kill_process_group};

use crate::{
    segments::{Pumped, Source, Writer},
    signals,
};

/// Bound on what is read from a pipe after all its writers should be gone; it is more than a pipe
/// can hold by default.
const DRAIN_BYTES_MAX: usize = 1 << 20;
/// How often a pipe is read before the others get their turn.
const READS_PER_TURN: usize = 8;

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Main,
    /// The new one of an upgrade, not yet ready.
    Candidate,
    /// The old one of an upgrade, asked to stop; killed at the given time.
    Retiring {
        kill_at: Instant,
    },
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) part: Part,
    pub(crate) pid: Pid,
    pub(crate) identity: Identity,
    pub(crate) since: Timestamp,
    pub(crate) launched: Instant,
    pub(crate) sources: Vec<Source>,
    pub(crate) ready: Option<OwnedFd>,
    pub(crate) ended: Option<WaitStatus>,
}

impl Run {
    pub(crate) fn signal(&self, signal: Signal) {
        // Once reaped, the number may belong to another group.
        if self.ended.is_none() {
            let _ = kill_process_group(self.pid, signal);
        }
    }

    /// Reads what the pipes hold, a bounded amount.
    pub(crate) fn pump(&mut self, scratch: &mut [u8], writer: &mut Writer, now: Timestamp) {
        self.sources.retain_mut(|source| {
            for _ in 0..READS_PER_TURN {
                match source.pump(scratch, writer, now) {
                    Pumped::Bytes(count) if count == scratch.len() => {}
                    Pumped::Bytes(_) | Pumped::Nothing => return true,
                    Pumped::End => {
                        source.flush_partial(writer, now, true);
                        return false;
                    }
                }
            }
            true
        });
    }

    /// Reads to the end, or to the bound when somebody still holds the other side.
    pub(crate) fn drain(&mut self, scratch: &mut [u8], writer: &mut Writer, now: Timestamp) {
        for source in &mut self.sources {
            let mut read = 0;
            while let Pumped::Bytes(count) = source.pump(scratch, writer, now) {
                read += count;
                if read > DRAIN_BYTES_MAX {
                    break;
                }
            }
            source.flush_partial(writer, now, true);
        }
        self.sources.clear();
    }
}

/// What surrounds an end and makes sense of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) limits: &'a Limits,
    /// Processes that the kernel killed for memory during this run.
    pub(crate) oom_kills: u64,
    /// The stop signal, when it was asked to stop.
    pub(crate) stopped_by: Option<Signal>,
    /// The grace ran out and the shim sent SIGKILL.
    pub(crate) killed_after: Option<Duration>,
    /// Processes that outlived the main one and were killed.
    pub(crate) left_behind: usize,
}

/// How a run ended, in a sentence.
pub(crate) fn exit(status: WaitStatus, at: Timestamp, context: Context<'_>) -> Exit {
    let code = status.exit_status();
    let signal = status.terminating_signal();
    let limit = context.limits.memory.map(|memory| format!(" of {memory}")).unwrap_or_default();
    let killed = signal == Some(Signal::KILL.as_raw());
    let oom = context.oom_kills > 0 && context.killed_after.is_none() && code != Some(0);
    let mut reason = match (code, signal) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(number)) => match (context.killed_after, context.stopped_by) {
            (Some(grace), Some(asked)) if killed => format!(
                "killed by SIGKILL: it did not end within {} of {}",
                base::units::Span::from_millis(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX)),
                signals::name_of(asked.as_raw())
            ),
            (_, Some(asked)) if asked.as_raw() == number => {
                format!("stopped by {}", signals::name_of(number))
            }
            _ if killed && oom => format!("killed by SIGKILL: over its memory limit{limit}"),
            _ => format!("killed by {}", signals::name_of(number)),
        },
        (None, None) => "ended in an unknown way".into(),
    };
    if oom && !killed {
        let (count, them) = plural(context.oom_kills as usize);
        reason += &format!("; the kernel killed {count} of its {them} over its memory limit{limit}");
    }
    if context.left_behind > 0 && context.stopped_by.is_none() {
        let (count, them) = plural(context.left_behind);
        let were = if count == 1 { "was" } else { "were" };
        reason += &format!("; {count} {them} that it left behind {were} killed");
    }
    Exit { at, code, signal, oom, reason }
}

fn plural(count: usize) -> (usize, &'static str) {
    (count, if count == 1 { "process" } else { "processes" })
}

/// An end without a run.
pub(crate) fn not_started(at: Timestamp, why: &str) -> Exit {
    Exit { at, code: None, signal: None, oom: false, reason: format!("could not start: {why}") }
}
