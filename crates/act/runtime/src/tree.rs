//! Process trees as `/proc` shows them: descendants, marked processes, their use of resources.

use std::{collections::BTreeMap, fs};

use runtime_api::Usage;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use crate::{identity::Stat, wire::MARK};

/// Clock ticks in a second as `/proc` counts them; fixed by the kernel's interface.
const TICKS_PER_SECOND: u64 = 100;
/// How much of a process's environment is searched for the mark. The kernel's own bound on all of
/// arguments and environment is 6 MiB by default stack limit.
const ENVIRONMENT_BYTES_MAX: u64 = 6 << 20;

fn every_pid() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// A snapshot of parents, so that several trees can be read from one scan.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    children: BTreeMap<u32, Vec<u32>>,
    stats: BTreeMap<u32, Stat>,
}

impl Snapshot {
    pub(crate) fn take() -> Self {
        let mut snapshot = Self::default();
        for pid in every_pid() {
            if let Ok(stat) = Stat::of(pid) {
                snapshot.children.entry(stat.parent).or_default().push(pid);
                snapshot.stats.insert(pid, stat);
            }
        }
        snapshot
    }

    /// All live processes below `pid`, without itself.
    pub(crate) fn below(&self, pid: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut todo = vec![pid];
        while let Some(next) = todo.pop() {
            for child in self.children.get(&next).into_iter().flatten() {
                // A zombie has no children, its orphans are elsewhere in the tree already.
                if !self.stats.get(child).is_some_and(|stat| stat.zombie) && found.len() < self.stats.len() {
                    found.push(*child);
                    todo.push(*child);
                }
            }
        }
        found
    }

    /// Use of the tree below `pid`; memory that processes share is counted once per process.
    pub(crate) fn usage(&self, pid: u32) -> Usage {
        let mut usage = Usage::default();
        for child in self.below(pid) {
            let Some(stat) = self.stats.get(&child) else { continue };
            usage.cpu_us += stat.cpu_ticks * (1_000_000 / TICKS_PER_SECOND);
            usage.memory_bytes += resident_bytes(child);
            usage.processes += 1;
        }
        usage
    }
}

fn resident_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = field.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}

/// Sends SIGKILL to every process below `pid`; true when there was none.
pub(crate) fn kill_below(pid: u32) -> bool {
    let found = Snapshot::take().below(pid);
    for child in &found {
        if let Some(pid) = i32::try_from(*child).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    found.is_empty()
}

/// Sends SIGKILL to every process whose environment carries the mark of replica `id`; gives their
/// number. It finds what a dead shim left behind on a machine without control groups.
pub(crate) fn kill_marked(id: &str) -> usize {
    let mark = format!("{MARK}={id}");
    let mut killed = 0;
    for pid in every_pid() {
        let Some(handle) = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        else {
            continue;
        };
        // The handle was opened before the check, so that it cannot be of another process.
        if environment_has(pid, mark.as_bytes()) && pidfd_send_signal(&handle, Signal::KILL).is_ok() {
            killed += 1;
        }
    }
    killed
}

fn environment_has(pid: u32, mark: &[u8]) -> bool {
    let Ok(file) = fs::File::open(format!("/proc/{pid}/environ")) else { return false };
    let mut content = Vec::new();
    let _ = std::io::Read::read_to_end(&mut std::io::Read::take(file, ENVIRONMENT_BYTES_MAX), &mut content);
    content.split(|b| *b == 0).any(|entry| entry == mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_below_its_parent() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let snapshot = Snapshot::take();
        assert!(snapshot.below(std::process::id()).contains(&child.id()));
        assert!(snapshot.usage(std::process::id()).processes >= 1);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
