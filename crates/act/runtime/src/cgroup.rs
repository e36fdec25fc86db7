//! Control groups, version 1 and 2 and both at once, found by probing.
//!
//! Each replica gets the directory `stead/<replica id>` in every hierarchy that has a controller we
//! use, and in the v2 hierarchy even without controllers, because `cgroup.kill` ends a whole tree at
//! once. Shims live in `stead/shims`, so that ending one replica (control, say) never ends the shims
//! that it started. What the machine does not grant is said in notes.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use runtime_api::{Limits, Usage};
use rustix::{
    fd::OwnedFd,
    process::{Pid, Signal, kill_process},
};

/// Directory under each hierarchy's mount point.
const BASE: &str = "stead";
const SHIMS: &str = "shims";
/// CFS accounting period in microseconds.
const PERIOD_US: u64 = 100_000;
/// The kernel takes no smaller quota.
const QUOTA_US_MIN: u64 = 1_000;
/// How often the process list is killed anew when there is no `cgroup.kill`.
const KILL_PASSES_MAX: u32 = 16;

/// Where each controller is mounted on this machine.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
    pids: Option<PathBuf>,
    freezer: Option<PathBuf>,
    unified: Option<PathBuf>,
}

impl Hierarchies {
    pub(crate) fn probe() -> Self {
        fs::read_to_string("/proc/self/mountinfo").map(|text| Self::parse(&text)).unwrap_or_default()
    }

    /// A line is `36 35 98:0 /root /mount/point rw,relatime - cgroup cgroup rw,memory`.
    fn parse(mountinfo: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let (Some(point), Some(kind)) = (before.split(' ').nth(4), after.split(' ').next()) else {
                continue;
            };
            let point = PathBuf::from(point);
            if kind == "cgroup2" {
                found.unified.get_or_insert(point);
            } else if kind == "cgroup" {
                for option in after.split(' ').nth(2).unwrap_or_default().split(',') {
                    let slot = match option {
                        "memory" => &mut found.memory,
                        "cpu" => &mut found.cpu,
                        "cpuacct" => &mut found.cpuacct,
                        "pids" => &mut found.pids,
                        "freezer" => &mut found.freezer,
                        _ => continue,
                    };
                    slot.get_or_insert_with(|| point.clone());
                }
            }
        }
        found
    }

    /// Mount points, each once (`cpu` and `cpuacct` are often one).
    fn points(&self) -> Vec<&Path> {
        let mut points: Vec<&Path> = Vec::new();
        let all = [&self.unified, &self.memory, &self.cpu, &self.cpuacct, &self.pids, &self.freezer];
        for point in all.into_iter().flatten() {
            if !points.contains(&point.as_path()) {
                points.push(point);
            }
        }
        points
    }
}

/// The control group of one replica: its directory in each hierarchy.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    dirs: Vec<PathBuf>,
    /// The memory limit is kept by the kernel per group, not only by rlimit.
    pub(crate) memory_limited: bool,
    pub(crate) processes_limited: bool,
}

impl Group {
    /// Makes the group with its limits. Whatever is refused is added to `notes`.
    pub(crate) fn create(name: &str, limits: &Limits, notes: &mut Vec<String>) -> Self {
        let hierarchies = Hierarchies::probe();
        let mut group = Self::default();
        let mut refused = None;
        for point in hierarchies.points() {
            match make(point, name) {
                Ok(dir) => group.dirs.push(dir),
                Err(error) => refused = Some(format!("{}: {error}", point.display())),
            }
        }
        if group.dirs.is_empty() {
            let why = refused.unwrap_or_else(|| "none is mounted".into());
            notes.push(format!("no control groups on this machine ({why})"));
        }
        group.limit(limits, notes);
        group
    }

    /// No group, where they are turned off.
    pub(crate) fn off(limits: &Limits, notes: &mut Vec<String>) -> Self {
        let mut group = Self::default();
        group.limit(limits, notes);
        group
    }

    /// A group recorded earlier. Only directories that are ours by their place are taken.
    pub(crate) fn adopt(dirs: &[PathBuf], name: &str) -> Self {
        let tail: PathBuf = [BASE, name].iter().collect();
        let ours = dirs.iter().filter(|dir| dir.ends_with(&tail) && !name.is_empty());
        Self { dirs: ours.cloned().collect(), ..Self::default() }
    }

    pub(crate) fn dirs(&self) -> &[PathBuf] {
        &self.dirs
    }

    fn limit(&mut self, limits: &Limits, notes: &mut Vec<String>) {
        if let Some(memory) = limits.memory {
            let bytes = memory.get().to_string();
            self.memory_limited = self.set(&["memory.limit_in_bytes", "memory.max"], &bytes, "memory", notes);
            // Swap would only hide the limit. Not every kernel accounts for it.
            let _ = self.write("memory.memsw.limit_in_bytes", &bytes);
            let _ = self.write("memory.swap.max", "0");
            // One tree, one fate: half of a replica is of no use.
            let _ = self.write("memory.oom.group", "1");
        }
        if let Some(cpu) = limits.cpu {
            let quota = (u64::from(cpu.get_millis()) * PERIOD_US / 1_000).max(QUOTA_US_MIN);
            if self.write("cpu.cfs_period_us", &PERIOD_US.to_string()).is_some() {
                self.set(&["cpu.cfs_quota_us"], &quota.to_string(), "CPU", notes);
            } else {
                self.set(&["cpu.max"], &format!("{quota} {PERIOD_US}"), "CPU", notes);
            }
        }
        if let Some(processes) = limits.processes {
            self.processes_limited = self.set(&["pids.max"], &processes.to_string(), "process", notes);
        }
    }

    /// Writes the first of `files` that exists; says so in `notes` when none takes it.
    fn set(&self, files: &[&str], value: &str, what: &str, notes: &mut Vec<String>) -> bool {
        let results: Vec<_> = files.iter().filter_map(|file| self.write(file, value)).collect();
        if results.iter().any(Result::is_ok) {
            return true;
        }
        let why = match results.into_iter().find_map(Result::err) {
            Some(error) => error.to_string(),
            None => "no control group controller for it".into(),
        };
        notes.push(format!("the {what} limit is not kept by a control group: {why}"));
        false
    }

    /// None when no directory of the group has the file.
    fn write(&self, file: &str, value: &str) -> Option<io::Result<()>> {
        let path = self.find(file)?;
        Some(
            fs::OpenOptions::new()
                .write(true)
                .open(path)
                .and_then(|mut open| io::Write::write_all(&mut open, value.as_bytes())),
        )
    }

    fn find(&self, file: &str) -> Option<PathBuf> {
        self.dirs.iter().map(|dir| dir.join(file)).find(|path| path.exists())
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.find(file)?).ok()
    }

    fn number(&self, file: &str) -> Option<u64> {
        self.read(file)?.trim().parse().ok()
    }

    /// The value after `key ` in a file of such lines.
    fn keyed(&self, file: &str, key: &str) -> Option<u64> {
        self.read(file)?.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
    }

    /// Open `cgroup.procs` files; a process that writes `0` to each joins the group.
    pub(crate) fn join_files(&self) -> Vec<OwnedFd> {
        let open = |dir: &PathBuf| {
            let file = fs::OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_CLOEXEC)
                .open(dir.join("cgroup.procs"));
            file.ok().map(OwnedFd::from)
        };
        self.dirs.iter().filter_map(open).collect()
    }

    /// How many processes of the group the kernel killed for passing the memory limit.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.keyed("memory.oom_control", "oom_kill ")
            .or_else(|| self.keyed("memory.events", "oom_kill "))
            .unwrap_or(0)
    }

    /// None when the machine accounts for nothing here.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let cpu_us = match self.number("cpuacct.usage") {
            Some(nanos) => nanos / 1_000,
            None => self.keyed("cpu.stat", "usage_usec ")?,
        };
        let total = self.number("memory.usage_in_bytes").or_else(|| self.number("memory.current"))?;
        // Page cache that nobody used lately is not the workload's need.
        let idle = self
            .keyed("memory.stat", "total_inactive_file ")
            .or_else(|| self.keyed("memory.stat", "inactive_file "))
            .unwrap_or(0);
        let processes = self.number("pids.current").unwrap_or(self.processes().len() as u64);
        Some(Usage {
            cpu_us,
            memory_bytes: total.saturating_sub(idle),
            processes: u32::try_from(processes).unwrap_or(u32::MAX),
        })
    }

    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut all = Vec::new();
        for dir in &self.dirs {
            let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            all.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Sends SIGKILL to every process of the group. They may take a moment to be gone.
    pub(crate) fn kill(&self) {
        if let Some(Ok(())) = self.write("cgroup.kill", "1") {
            return;
        }
        // Frozen processes cannot fork out of the list that we read.
        let _ = self.write("freezer.state", "FROZEN");
        for _ in 0..KILL_PASSES_MAX {
            let processes = self.processes();
            if processes.is_empty() {
                break;
            }
            for pid in processes {
                if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            let _ = self.write("freezer.state", "THAWED");
        }
        let _ = self.write("freezer.state", "THAWED");
    }

    /// Removes the directories; false while processes are left in them.
    pub(crate) fn remove(&self) -> bool {
        let mut gone = true;
        for dir in &self.dirs {
            match fs::remove_dir(dir) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => gone = false,
            }
        }
        gone
    }
}

/// Moves the calling process to `stead/shims` in every hierarchy that lets it.
pub(crate) fn leave_for_shims() {
    for point in Hierarchies::probe().points() {
        if let Ok(dir) = make(point, SHIMS) {
            let _ = fs::write(dir.join("cgroup.procs"), "0");
        }
    }
}

fn make(point: &Path, name: &str) -> io::Result<PathBuf> {
    let base = point.join(BASE);
    create_dir(&base)?;
    // Version 2 gives controllers to children only where the parent says so. What it has not, it
    // refuses, and `limit` notes the absence.
    for controller in ["+memory", "+cpu", "+pids"] {
        for parent in [point, &base] {
            let file = parent.join("cgroup.subtree_control");
            if file.exists() {
                let _ = fs::write(file, controller);
            }
        }
    }
    let dir = base.join(name);
    create_dir(&dir)?;
    Ok(dir)
}

fn create_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_and_joint_mounts() {
        let text = "\
30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
35 30 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
broken";
        let found = Hierarchies::parse(text);
        assert_eq!(found.points().len(), 3);
        assert_eq!(found.cpu, found.cpuacct);
        assert_eq!(found.pids, None);
        assert_eq!(found.unified, Some("/sys/fs/cgroup/unified".into()));
    }

    #[test]
    fn only_directories_of_the_replica_are_adopted() {
        let dirs = ["/sys/fs/cgroup/memory/stead/rep_1", "/sys/fs/cgroup/memory", "/home"].map(PathBuf::from);
        assert_eq!(Group::adopt(&dirs, "rep_1").dirs().len(), 1);
        assert!(Group::adopt(&dirs, "").dirs().is_empty());
        assert!(Group::adopt(&dirs, "rep_2").dirs().is_empty());
    }

    /// The files of version 2 as the kernel names them, in a plain directory.
    #[test]
    fn version_2_is_limited_and_read_by_its_own_files() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        for name in ["memory.max", "memory.swap.max", "memory.oom.group", "cpu.max", "pids.max"] {
            put(name, "");
        }
        put("cpu.stat", "usage_usec 1234\nuser_usec 1000\n");
        put("memory.current", "5000\n");
        put("memory.stat", "anon 1\ninactive_file 1000\n");
        put("memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 1\n");
        put("pids.current", "7\n");
        let mut group = Group { dirs: vec![dir.path().into()], ..Group::default() };
        let limits = Limits {
            memory: Some(base::units::Bytes::mib(48)),
            cpu: Some(base::units::Cpu::millis(250)),
            processes: Some(9),
            open_files: None,
        };
        let mut notes = Vec::new();
        group.limit(&limits, &mut notes);
        assert!(notes.is_empty() && group.memory_limited && group.processes_limited, "{notes:?}");
        let got = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(got("memory.max"), (48 << 20).to_string());
        assert_eq!((got("cpu.max"), got("pids.max")), ("25000 100000".into(), "9".into()));
        assert_eq!((got("memory.swap.max"), got("memory.oom.group")), ("0".into(), "1".into()));
        assert_eq!(group.oom_kills(), 2);
        let usage = Usage { cpu_us: 1234, memory_bytes: 4000, processes: 7 };
        assert_eq!(group.usage(), Some(usage));

        let mut bare = Group::default();
        bare.limit(&limits, &mut notes);
        assert_eq!(notes.len(), 3, "each limit that is not kept is said: {notes:?}");
        assert!(!bare.memory_limited && bare.usage().is_none());
    }
}
