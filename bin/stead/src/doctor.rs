//! What this machine lacks, what that costs, and how to get it.

use std::path::Path;

use api_types::Finding;
use delivery::need;

/// Free space below which things are likely to fail soon.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// Looks at the machine. Blocking, a few milliseconds.
pub(crate) fn look(data: &Path) -> Vec<Finding> {
    vec![
        user(rustix::process::geteuid().is_root()),
        control_groups(),
        memory_files(),
        postgres(),
        redis(),
        disk(data),
        clock(),
    ]
}

fn finding(name: &str, state: &str, message: impl Into<String>, hint: Option<&str>) -> Finding {
    Finding { name: name.into(), state: state.into(), message: message.into(), hint: hint.map(str::to_owned) }
}

fn user(root: bool) -> Finding {
    if root {
        finding("user", "ok", "each service runs as an unprivileged user of its own", None)
    } else {
        finding(
            "user",
            "degraded",
            "not root: all services run as this user, so each can read the files of the others, and \
             Stead's keys, tokens and state, and with them every secret",
            Some("run the server as root (`sudo stead service install`) to keep services apart"),
        )
    }
}

fn control_groups() -> Finding {
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let v1 = Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists();
    let writable = rustix::process::geteuid().is_root();
    match (v2 || v1, writable) {
        (true, true) => {
            let kind = if v2 { "version 2" } else { "version 1" };
            finding(
                "control groups",
                "ok",
                format!("memory, CPU and process limits are enforced ({kind})"),
                None,
            )
        }
        (true, false) => finding(
            "control groups",
            "degraded",
            "not allowed: memory is limited per process only, CPU not at all",
            Some("run the server as root"),
        ),
        (false, _) => finding(
            "control groups",
            "degraded",
            "the kernel offers none: memory is limited per process only, CPU not at all",
            Some("mount cgroup2 on /sys/fs/cgroup"),
        ),
    }
}

fn memory_files() -> Finding {
    let tmpfs = |path: &str| rustix::fs::statfs(path).is_ok_and(|about| about.f_type == 0x0102_1994);
    if tmpfs("/dev/shm") || tmpfs("/run") {
        finding("memory-backed files", "ok", "secret files never touch a disk", None)
    } else {
        finding(
            "memory-backed files",
            "degraded",
            "neither /dev/shm nor /run is memory-backed: secret files would touch a disk",
            Some("mount a tmpfs on /dev/shm"),
        )
    }
}

fn postgres() -> Finding {
    match need::postgres::installed().first() {
        Some(version) => finding("PostgreSQL", "ok", format!("version {version} can be provided"), None),
        None => finding(
            "PostgreSQL",
            "degraded",
            "not installed: services that need it are refused",
            Some("apt-get install --no-install-recommends postgresql"),
        ),
    }
}

fn redis() -> Finding {
    match need::redis::installed() {
        Some(path) => finding("Redis", "ok", format!("{} can be provided", path.display()), None),
        None => finding(
            "Redis",
            "degraded",
            "not installed: services that need it are refused",
            Some("apt-get install --no-install-recommends redis-server"),
        ),
    }
}

fn disk(data: &Path) -> Finding {
    let folder = data.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(folder) {
        Ok(about) => {
            let free = about.f_bavail.saturating_mul(about.f_frsize);
            let text = format!("{:.1} GiB free at {}", free as f64 / f64::from(1u32 << 30), data.display());
            if free < FREE_BYTES_MIN {
                finding("disk", "degraded", text, Some("free space before state and logs stop growing"))
            } else {
                finding("disk", "ok", text, None)
            }
        }
        Err(error) => finding("disk", "missing", format!("{}: {error}", folder.display()), None),
    }
}

fn clock() -> Finding {
    use base::Clock;
    // Older than this program can only be a clock that was never set.
    let built = base::Timestamp::from_millis(1_767_225_600_000);
    if base::time::SystemClock::new().now() < built {
        return finding(
            "clock",
            "degraded",
            "the clock is years behind: times on record will be wrong",
            Some("set it, or run an NTP client"),
        );
    }
    finding("clock", "ok", "plausible", None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_root_it_says_that_services_can_read_the_platforms_own() {
        let found = user(false);
        assert_eq!(found.state, "degraded");
        for word in ["files of the others", "Stead's keys", "state"] {
            assert!(found.message.contains(word), "{}", found.message);
        }
        assert_eq!(user(true).state, "ok");
    }
}
