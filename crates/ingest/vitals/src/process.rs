//! This process under the names of Prometheus' client libraries.

use procfs::{WithCurrentSystemInfo, process::Process};

use crate::Set;

/// Puts what `/proc/self` says into `set`; blocks for as long as that takes.
pub(crate) fn collect(set: &mut Set) {
    let Ok(me) = Process::myself() else { return };
    if let Ok(stat) = me.stat() {
        let ticks = (stat.utime + stat.stime) as f64;
        let spent = ticks / procfs::ticks_per_second() as f64;
        set.counter("process_cpu_seconds_total", "CPU time used.", &[], spent);
        let resident = stat.rss_bytes().get() as f64;
        set.gauge("process_resident_memory_bytes", "Memory in use.", &[], resident);
        set.gauge("process_virtual_memory_bytes", "Addresses in use.", &[], stat.vsize as f64);
        set.gauge("process_threads", "Threads.", &[], stat.num_threads as f64);
        if let Ok(booted) = procfs::boot_time_secs() {
            let started = booted as f64 + stat.starttime as f64 / procfs::ticks_per_second() as f64;
            set.gauge("process_start_time_seconds", "When it started.", &[], started);
        }
    }
    if let Ok(open) = me.fd_count() {
        set.gauge("process_open_fds", "Files that are open.", &[], open as f64);
    }
    if let Ok(limits) = me.limits()
        && let procfs::process::LimitValue::Value(max) = limits.max_open_files.soft_limit
    {
        set.gauge("process_max_fds", "Files that may be open.", &[], max as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_measured() {
        let mut set = Set::default();
        collect(&mut set);
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
            assert!(set.get(name, &[]).is_some_and(|value| value > 0.0), "{name}");
        }
    }
}
