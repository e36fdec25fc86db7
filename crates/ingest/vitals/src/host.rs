//! The host under the names of Prometheus' node_exporter, which dashboards know.
//!
//! What cannot be read (a kernel without pressure figures, a container that hides disks) is left out.
//! File systems of other machines are not asked: a server that does not answer would hold the thread.

use procfs::{CpuTime, Current, CurrentSI, DiskStat, KernelStats, Meminfo, net::DeviceStatus};

use crate::Set;

/// Disks, network devices and file systems that are told of, of each.
pub const DEVICES_MAX: usize = 256;
/// CPUs that are told of.
pub const CPUS_MAX: usize = 1_024;

/// File systems that hold nobody's files, or whose server may not answer.
const FILE_SYSTEMS_LEFT_OUT: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "cifs",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nfs",
    "nfs4",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smb3",
    "squashfs",
    "sysfs",
    "tracefs",
];
/// Block devices that are parts or shadows of others.
const DISKS_LEFT_OUT: &[&str] = &["ram", "loop", "fd", "zram", "sr"];

/// Puts all that is known of the host into `set`. Reads `/proc` and asks file systems; blocks.
pub(crate) fn collect(set: &mut Set, now_ms: i64) {
    set.gauge("node_time_seconds", "The host's clock.", &[], now_ms as f64 / 1e3);
    if let Ok(stat) = procfs::KernelStats::current() {
        kernel(set, &stat);
    }
    if let Ok(memory) = Meminfo::current() {
        put_memory(set, &memory);
    }
    if let Ok(load) = procfs::LoadAverage::current() {
        for (name, value) in
            [("node_load1", load.one), ("node_load5", load.five), ("node_load15", load.fifteen)]
        {
            // The kernel writes two decimals; as a float of 32 bits they are more.
            let value = (f64::from(value) * 100.0).round() / 100.0;
            set.gauge(name, "Tasks that ran or waited, on average.", &[], value);
        }
    }
    pressure(set);
    if let Ok(found) = procfs::diskstats() {
        disks(set, &found);
    }
    if let Ok(devices) = procfs::net::dev_status() {
        networks(set, devices.into_values().collect());
    }
    file_systems(set);
    virtual_memory(set);
    names(set);
}

fn kernel(set: &mut Set, stat: &KernelStats) {
    for (at, time) in stat.cpu_time.iter().take(CPUS_MAX).enumerate() {
        put_cpu(set, &at.to_string(), time);
    }
    set.counter("node_context_switches_total", "Context switches.", &[], stat.ctxt as f64);
    set.counter("node_forks_total", "Processes started.", &[], stat.processes as f64);
    set.gauge("node_boot_time_seconds", "When the host started.", &[], stat.btime as f64);
    for (name, help, value) in [
        ("node_procs_running", "Tasks that can run.", stat.procs_running),
        ("node_procs_blocked", "Tasks that wait for a disk.", stat.procs_blocked),
    ] {
        if let Some(value) = value {
            set.gauge(name, help, &[], f64::from(value));
        }
    }
}

fn put_cpu(set: &mut Set, cpu: &str, time: &CpuTime) {
    let modes = [
        ("user", Some(time.user_ms())),
        ("nice", Some(time.nice_ms())),
        ("system", Some(time.system_ms())),
        ("idle", Some(time.idle_ms())),
        ("iowait", time.iowait_ms()),
        ("irq", time.irq_ms()),
        ("softirq", time.softirq_ms()),
        ("steal", time.steal_ms()),
    ];
    for (mode, spent_ms) in modes {
        if let Some(spent_ms) = spent_ms {
            let labels = [("cpu", cpu), ("mode", mode)];
            let help = "Time that CPUs spent in each mode.";
            set.counter("node_cpu_seconds_total", help, &labels, spent_ms as f64 / 1e3);
        }
    }
}

fn put_memory(set: &mut Set, memory: &Meminfo) {
    let fields = [
        ("MemTotal", Some(memory.mem_total)),
        ("MemFree", Some(memory.mem_free)),
        ("MemAvailable", memory.mem_available),
        ("Buffers", Some(memory.buffers)),
        ("Cached", Some(memory.cached)),
        ("SwapCached", Some(memory.swap_cached)),
        ("Active", Some(memory.active)),
        ("Inactive", Some(memory.inactive)),
        ("SwapTotal", Some(memory.swap_total)),
        ("SwapFree", Some(memory.swap_free)),
        ("Dirty", Some(memory.dirty)),
        ("Writeback", Some(memory.writeback)),
        ("AnonPages", memory.anon_pages),
        ("Mapped", Some(memory.mapped)),
        ("Shmem", memory.shmem),
        ("Slab", Some(memory.slab)),
        ("SReclaimable", memory.s_reclaimable),
        ("SUnreclaim", memory.s_unreclaim),
        ("KernelStack", memory.kernel_stack),
        ("PageTables", memory.page_tables),
        ("CommitLimit", memory.commit_limit),
        ("Committed_AS", Some(memory.committed_as)),
    ];
    for (field, bytes) in fields {
        if let Some(bytes) = bytes {
            let help = format!("{field} of /proc/meminfo.");
            set.gauge(&format!("node_memory_{field}_bytes"), &help, &[], bytes as f64);
        }
    }
}

fn pressure(set: &mut Set) {
    let mut put = |name: &str, total_us: u64| {
        let help = "Time in which some tasks waited (waiting) or all (stalled).";
        set.counter(&format!("node_pressure_{name}_seconds_total"), help, &[], total_us as f64 / 1e6);
    };
    if let Ok(cpu) = procfs::CpuPressure::current() {
        put("cpu_waiting", cpu.some.total);
    }
    if let Ok(memory) = procfs::MemoryPressure::current() {
        put("memory_waiting", memory.some.total);
        put("memory_stalled", memory.full.total);
    }
    if let Ok(io) = procfs::IoPressure::current() {
        put("io_waiting", io.some.total);
        put("io_stalled", io.full.total);
    }
}

/// What `/proc/diskstats` counts in, whatever the disk does.
const SECTOR_BYTES: f64 = 512.0;

fn disks(set: &mut Set, disks: &[DiskStat]) {
    let whole = |name: &str| {
        let stem = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
        !DISKS_LEFT_OUT.contains(&stem)
    };
    for disk in disks.iter().filter(|disk| whole(&disk.name)).take(DEVICES_MAX) {
        let labels = [("device", disk.name.as_str())];
        for (name, value) in [
            ("reads_completed_total", disk.reads as f64),
            ("reads_merged_total", disk.merged as f64),
            ("read_bytes_total", disk.sectors_read as f64 * SECTOR_BYTES),
            ("read_time_seconds_total", disk.time_reading as f64 / 1e3),
            ("writes_completed_total", disk.writes as f64),
            ("writes_merged_total", disk.writes_merged as f64),
            ("written_bytes_total", disk.sectors_written as f64 * SECTOR_BYTES),
            ("write_time_seconds_total", disk.time_writing as f64 / 1e3),
            ("io_time_seconds_total", disk.time_in_progress as f64 / 1e3),
            ("io_time_weighted_seconds_total", disk.weighted_time_in_progress as f64 / 1e3),
        ] {
            set.counter(&format!("node_disk_{name}"), "From /proc/diskstats.", &labels, value);
        }
        set.gauge("node_disk_io_now", "Requests under way.", &labels, disk.in_progress as f64);
    }
}

fn networks(set: &mut Set, mut devices: Vec<DeviceStatus>) {
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    devices.iter().take(DEVICES_MAX).for_each(|device| network(set, device));
}

fn network(set: &mut Set, device: &DeviceStatus) {
    let labels = [("device", device.name.as_str())];
    for (name, value) in [
        ("receive_bytes", device.recv_bytes),
        ("receive_packets", device.recv_packets),
        ("receive_errs", device.recv_errs),
        ("receive_drop", device.recv_drop),
        ("transmit_bytes", device.sent_bytes),
        ("transmit_packets", device.sent_packets),
        ("transmit_errs", device.sent_errs),
        ("transmit_drop", device.sent_drop),
    ] {
        set.counter(&format!("node_network_{name}_total"), "From /proc/net/dev.", &labels, value as f64);
    }
}

fn file_systems(set: &mut Set) {
    let Ok(mounts) = procfs::mounts() else { return };
    let mut told: Vec<&str> = Vec::new();
    for mount in &mounts {
        let (point, kind) = (mount.fs_file.as_str(), mount.fs_vfstype.as_str());
        let inner = ["/proc", "/sys", "/dev"]
            .iter()
            .any(|of| point.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        let layered = kind == "overlay" && point != "/";
        if inner
            || layered
            || kind.starts_with("fuse.")
            || FILE_SYSTEMS_LEFT_OUT.contains(&kind)
            || told.contains(&point)
            || told.len() >= DEVICES_MAX
        {
            continue;
        }
        let Ok(of) = rustix::fs::statvfs(point) else { continue };
        if of.f_blocks == 0 {
            continue;
        }
        told.push(point);
        let labels = [("device", mount.fs_spec.as_str()), ("fstype", kind), ("mountpoint", point)];
        let bytes = |blocks: u64| blocks as f64 * of.f_frsize as f64;
        let read_only = of.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
        for (name, help, value) in [
            ("size_bytes", "Size of the file system.", bytes(of.f_blocks)),
            ("free_bytes", "Free, for root.", bytes(of.f_bfree)),
            ("avail_bytes", "Free, for all users.", bytes(of.f_bavail)),
            ("files", "Files that it can hold.", of.f_files as f64),
            ("files_free", "Files that it can still hold.", of.f_ffree as f64),
            ("readonly", "1 when nothing can be written.", if read_only { 1.0 } else { 0.0 }),
        ] {
            set.gauge(&format!("node_filesystem_{name}"), help, &labels, value);
        }
    }
}

fn virtual_memory(set: &mut Set) {
    if let Ok(counted) = procfs::vmstat() {
        for field in ["oom_kill", "pgfault", "pgmajfault", "pgpgin", "pgpgout", "pswpin", "pswpout"] {
            if let Some(value) = counted.get(field) {
                let help = format!("{field} of /proc/vmstat.");
                set.counter(&format!("node_vmstat_{field}"), &help, &[], *value as f64);
            }
        }
    }
    if let Ok(files) = procfs::sys::fs::file_nr() {
        set.gauge("node_filefd_allocated", "Files that are open.", &[], files.allocated as f64);
        set.gauge("node_filefd_maximum", "Files that may be open.", &[], files.max as f64);
    }
}

fn names(set: &mut Set) {
    let of = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let (machine, node, release) = (text(of.machine()), text(of.nodename()), text(of.release()));
    let (system, version) = (text(of.sysname()), text(of.version()));
    let labels = [
        ("machine", machine.as_str()),
        ("nodename", node.as_str()),
        ("release", release.as_str()),
        ("sysname", system.as_str()),
        ("version", version.as_str()),
    ];
    set.gauge("node_uname_info", "What the kernel says of itself.", &labels, 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(set: &Set, name: &str) -> usize {
        set.text().lines().filter(|line| line.starts_with(&format!("{name}{{"))).count()
    }

    fn disk(name: &str) -> DiskStat {
        DiskStat::from_line(&format!("8 0 {name} 11 1 16 2000 22 2 32 4000 0 5000 6000")).unwrap()
    }

    #[test]
    fn disks_are_those_that_are_no_part_of_others() {
        let mut set = Set::default();
        disks(&mut set, &[disk("sda"), disk("loop0"), disk("ram12"), disk("nvme0n1")]);
        let of = |name: &str, device| set.get(&format!("node_disk_{name}"), &[("device", device)]);
        assert_eq!(of("reads_completed_total", "sda"), Some(11.0));
        assert_eq!(of("read_bytes_total", "sda"), Some(16.0 * 512.0));
        assert_eq!(of("write_time_seconds_total", "nvme0n1"), Some(4.0));
        assert_eq!((of("io_now", "loop0"), of("io_now", "ram12")), (None, None));
    }

    #[test]
    fn disks_network_devices_and_cpus_are_bounded() {
        let mut set = Set::default();
        disks(&mut set, &(0..=DEVICES_MAX).map(|at| disk(&format!("d{at}x"))).collect::<Vec<_>>());
        assert_eq!(counted(&set, "node_disk_io_now"), DEVICES_MAX);
        let device = |at: usize| {
            let text = format!("h\nh\nd{at}: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n");
            let found: procfs::net::InterfaceDeviceStatus =
                procfs::FromRead::from_read(text.as_bytes()).unwrap();
            found.0.into_values().next().unwrap()
        };
        networks(&mut set, (0..=DEVICES_MAX).map(device).collect());
        assert_eq!(counted(&set, "node_network_transmit_bytes_total"), DEVICES_MAX);
        assert_eq!(set.get("node_network_transmit_bytes_total", &[("device", "d0")]), Some(9.0));
        let mut stat = KernelStats::current().unwrap();
        let cpu = stat.cpu_time[0].clone();
        stat.cpu_time = vec![cpu; CPUS_MAX + 1];
        kernel(&mut set, &stat);
        assert_eq!(
            set.get("node_cpu_seconds_total", &[("cpu", &CPUS_MAX.to_string()), ("mode", "idle")]),
            None
        );
        assert!(set.get("node_cpu_seconds_total", &[("cpu", "1023"), ("mode", "idle")]).is_some());
    }

    #[test]
    fn this_machine_has_what_dashboards_ask_for() {
        let mut set = Set::default();
        collect(&mut set, 1_700_000_000_000);
        for mode in ["user", "system", "idle", "iowait"] {
            assert!(set.get("node_cpu_seconds_total", &[("cpu", "0"), ("mode", mode)]).is_some(), "{mode}");
        }
        for name in ["node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes", "node_boot_time_seconds"]
        {
            assert!(set.get(name, &[]).is_some_and(|value| value > 0.0), "{name}");
        }
        assert!(set.get("node_load1", &[]).is_some());
        assert!(set.get("node_network_receive_bytes_total", &[("device", "lo")]).is_some());
        let text = set.text();
        assert!(text.contains("node_filesystem_avail_bytes{"), "{text}");
        assert!(text.contains("node_uname_info{"));
    }
}
