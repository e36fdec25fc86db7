//! What each replica uses: CPU, memory and processes as its driver sees them, disk from `/proc`.

use std::collections::{HashMap, HashSet};

use base::{Tenant, id::ReplicaId};
use procfs::process::Process;
use runtime_api::{Observed, Phase};

use crate::Set;

/// Replicas that are measured.
pub const REPLICAS_MAX: usize = 2_500;
/// Processes that are looked at to find those of replicas.
pub const PROCESSES_MAX: usize = 65_536;

/// What the names of all these metrics begin with.
pub(crate) const PREFIX: &str = "stead_replica_";

/// Bytes that went to and came from disks, by process tree. A process that ends takes its counters with
/// it, so they are added up here.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    by_replica: HashMap<ReplicaId, Tree>,
}

#[derive(Debug, Default, Clone)]
struct Tree {
    read: u64,
    written: u64,
    /// Last seen of each process, by pid and start: a pid comes back as another process.
    of: HashMap<(i32, u64), (u64, u64)>,
}

impl Disk {
    /// Reads `/proc`; blocks. Of processes that it may not look into there is nothing.
    pub(crate) fn observe(&mut self, observed: &[Observed]) {
        let mut roots = HashMap::new();
        for replica in observed.iter().take(REPLICAS_MAX) {
            if let Phase::Running { identity, .. } | Phase::Stopping { identity, .. } = &replica.phase
                && let Ok(pid) = i32::try_from(identity.pid)
            {
                roots.insert(replica.id.clone(), (pid, identity.start_ticks));
            }
        }
        self.by_replica.retain(|id, _| roots.contains_key(id));
        if roots.is_empty() {
            return;
        }
        let processes = Processes::read();
        for (id, root) in roots {
            let tree = self.by_replica.entry(id).or_default();
            let mut seen = HashSet::new();
            for key in processes.tree(root) {
                let Ok(io) = Process::new(key.0).and_then(|process| process.io()) else { continue };
                tree.count(key, (io.read_bytes, io.write_bytes));
                seen.insert(key);
            }
            tree.of.retain(|key, _| seen.contains(key));
        }
    }
}

impl Tree {
    fn count(&mut self, key: (i32, u64), (read, written): (u64, u64)) {
        let last = self.of.insert(key, (read, written)).unwrap_or_default();
        self.read += read.saturating_sub(last.0);
        self.written += written.saturating_sub(last.1);
    }
}

#[derive(Debug, Default)]
struct Processes {
    start_of: HashMap<i32, u64>,
    children: HashMap<i32, Vec<i32>>,
}

impl Processes {
    fn read() -> Self {
        let mut found = Self::default();
        let Ok(all) = procfs::process::all_processes() else { return found };
        for process in all.take(PROCESSES_MAX).flatten() {
            if let Ok(stat) = process.stat() {
                found.start_of.insert(stat.pid, stat.starttime);
                found.children.entry(stat.ppid).or_default().push(stat.pid);
            }
        }
        found
    }

    /// The process and all below it; nothing when it is not the one that was meant.
    fn tree(&self, (root, start): (i32, u64)) -> Vec<(i32, u64)> {
        if self.start_of.get(&root) != Some(&start) {
            return Vec::new();
        }
        let mut found = vec![(root, start)];
        let mut at = 0;
        while let Some(&(pid, _)) = found.get(at) {
            at += 1;
            for child in self.children.get(&pid).into_iter().flatten() {
                if found.len() < self.start_of.len() {
                    found.push((*child, self.start_of[child]));
                }
            }
        }
        found
    }
}

/// Puts every replica that runs into the set of its tenant. `disk` as last observed.
pub(crate) fn collect(observed: &[Observed], disk: &Disk, set_of: &mut HashMap<Tenant, Set>) {
    for replica in observed.iter().take(REPLICAS_MAX) {
        let (since, running) = match &replica.phase {
            Phase::Running { since, .. } => (since, 1.0),
            Phase::Stopping { since, .. } => (since, 0.0),
            Phase::Starting | Phase::Exited { .. } | Phase::Lost { .. } => continue,
        };
        let labels = [
            ("tenant", replica.scope.tenant.as_str()),
            ("environment", replica.scope.environment.as_str()),
            ("service", replica.service.as_str()),
            ("release", replica.release.as_str()),
            ("replica", replica.id.as_str()),
        ];
        let set = set_of.entry(replica.scope.tenant.clone()).or_default();
        let usage = replica.usage;
        let cpu_seconds = usage.cpu_us as f64 / 1e6;
        set.counter("stead_replica_cpu_seconds_total", "CPU time used.", &labels, cpu_seconds);
        let help = "Memory in use, without page cache that was idle.";
        set.gauge("stead_replica_memory_bytes", help, &labels, usage.memory_bytes as f64);
        set.gauge("stead_replica_processes", "Processes in its tree.", &labels, f64::from(usage.processes));
        set.gauge("stead_replica_running", "1 while it runs, 0 while it stops.", &labels, running);
        let help = "Times that its supervisor started it again.";
        set.counter("stead_replica_restarts_total", help, &labels, f64::from(replica.restarts));
        let help = "When it entered its phase, in seconds since 1970.";
        set.gauge("stead_replica_since_seconds", help, &labels, since.millis() as f64 / 1e3);
        if let Some(tree) = disk.by_replica.get(&replica.id).filter(|tree| !tree.of.is_empty()) {
            let help = "Bytes that it read from disks.";
            set.counter("stead_replica_disk_read_bytes_total", help, &labels, tree.read as f64);
            let help = "Bytes that it wrote to disks.";
            set.counter("stead_replica_disk_written_bytes_total", help, &labels, tree.written as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use base::{Scope, Timestamp, id::ReleaseId};
    use runtime_api::{Identity, Usage};

    use super::*;

    fn observed(phase: Phase) -> Observed {
        Observed {
            id: ReplicaId::new(),
            scope: Scope { tenant: Tenant::default(), environment: Default::default() },
            service: "cart".into(),
            release: ReleaseId::new(),
            labels: Default::default(),
            phase,
            usage: Usage { cpu_us: 1_500_000, memory_bytes: 4_096, processes: 2 },
            restarts: 1,
            notes: Vec::new(),
        }
    }

    fn running(pid: u32, start_ticks: u64) -> Phase {
        let identity = Identity { boot_id: String::new(), pid, start_ticks };
        Phase::Running { identity, since: Timestamp::from_millis(5_000) }
    }

    #[test]
    fn what_runs_is_measured_and_what_ended_is_not() {
        let alive = observed(running(1, 1));
        let ended = observed(Phase::Lost { why: "gone".into() });
        let mut sets = HashMap::new();
        collect(&[alive.clone(), ended], &Disk::default(), &mut sets);
        let set = &sets[&Tenant::default()];
        let labels = [
            ("tenant", "default"),
            ("environment", "default"),
            ("service", "cart"),
            ("release", alive.release.as_str()),
            ("replica", alive.id.as_str()),
        ];
        assert_eq!(set.get("stead_replica_cpu_seconds_total", &labels), Some(1.5));
        assert_eq!(set.get("stead_replica_since_seconds", &labels), Some(5.0));
        assert_eq!(set.get("stead_replica_disk_read_bytes_total", &labels), None);
        assert_eq!(set.len(), 6);
    }

    #[test]
    fn no_more_replicas_than_may_be_are_measured() {
        let many: Vec<_> = (0..=REPLICAS_MAX).map(|_| observed(running(1, 1))).collect();
        let mut sets = HashMap::new();
        collect(&many, &Disk::default(), &mut sets);
        assert_eq!(sets[&Tenant::default()].len(), REPLICAS_MAX * 6);
    }

    #[test]
    fn disk_of_ended_processes_stays_in_the_sum() {
        let mut tree = Tree::default();
        tree.count((1, 1), (100, 10));
        tree.count((2, 1), (50, 0));
        tree.count((1, 1), (120, 30));
        tree.of.remove(&(2, 1));
        // The pid comes back as another process.
        tree.count((2, 9), (7, 0));
        assert_eq!((tree.read, tree.written), (177, 30));
    }

    #[test]
    fn a_real_tree_is_found_by_pid_and_start() {
        let me = Process::myself().unwrap().stat().unwrap();
        let replica = observed(running(me.pid as u32, me.starttime));
        let mut disk = Disk::default();
        disk.observe(std::slice::from_ref(&replica));
        assert!(disk.by_replica[&replica.id].of.contains_key(&(me.pid, me.starttime)));
        let other = observed(running(me.pid as u32, me.starttime + 1));
        disk.observe(std::slice::from_ref(&other));
        assert!(!disk.by_replica.contains_key(&replica.id) && disk.by_replica[&other.id].of.is_empty());
    }
}
