//! Which process it is: boot id, pid and start time, so that a recycled pid is never trusted.

use std::{fs, io};

use runtime_api::Identity;
use rustix::{
    fd::OwnedFd,
    process::{Pid, PidfdFlags, pidfd_open},
};

/// The part of `/proc/PID/stat` that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) zombie: bool,
    pub(crate) parent: u32,
    pub(crate) start_ticks: u64,
    /// CPU time of it and of its children that ended and were waited for, in clock ticks.
    pub(crate) cpu_ticks: u64,
}

impl Stat {
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(&text).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat has an unknown form")))
    }

    /// The name in parentheses may hold anything, so that fields are counted from the last `)`.
    fn parse(text: &[u8]) -> Option<Self> {
        let after = text.iter().rposition(|b| *b == b')')? + 1;
        let rest = std::str::from_utf8(text.get(after..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let times: Vec<u64> = fields.clone().skip(9).take(4).filter_map(|f| f.parse().ok()).collect();
        let start_ticks = fields.nth(17)?.parse().ok()?;
        Some(Self {
            zombie: matches!(state, "Z" | "X" | "x"),
            parent,
            start_ticks,
            cpu_ticks: times.iter().sum(),
        })
    }
}

pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

pub(crate) fn identity_of(pid: u32) -> io::Result<Identity> {
    Ok(Identity { boot_id: boot_id()?, pid, start_ticks: Stat::of(pid)?.start_ticks })
}

/// Why a recorded process is not there any more; `Ok` holds a handle that stays bound to it.
pub(crate) fn open(identity: &Identity) -> Result<OwnedFd, String> {
    let boot = boot_id().map_err(|e| format!("the boot id cannot be read: {e}"))?;
    if boot != identity.boot_id {
        return Err("the machine was restarted".into());
    }
    let pid = identity.pid;
    let handle = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        .ok_or_else(|| format!("process {pid} is gone"))?;
    // The handle was opened first: if the start time fits now, the handle is of that process.
    match Stat::of(pid) {
        Ok(stat) if stat.start_ticks != identity.start_ticks => {
            Err(format!("process {pid} is another one now, started at another time"))
        }
        Ok(stat) if stat.zombie => Err(format!("process {pid} has ended")),
        Ok(_) => Ok(handle),
        Err(_) => Err(format!("process {pid} is gone")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_hostile_name() {
        let text = b"17 (a) R 1 (b) S 4 17 17 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 987654 1 2";
        let stat = Stat::parse(text).unwrap();
        assert_eq!(stat, Stat { zombie: false, parent: 4, start_ticks: 987_654, cpu_ticks: 127 });
        for cut in 0..text.len() {
            let _ = Stat::parse(&text[..cut]);
        }
    }

    #[test]
    fn only_the_very_process_is_trusted() {
        let own = identity_of(std::process::id()).unwrap();
        assert!(open(&own).is_ok());
        let other = Identity { start_ticks: own.start_ticks + 1, ..own.clone() };
        assert!(open(&other).unwrap_err().contains("another one now"));
        let boot = Identity { boot_id: "0".into(), ..own };
        assert!(open(&boot).unwrap_err().contains("restarted"));
    }
}
