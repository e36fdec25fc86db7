//! Debian packages that the demo and the tests use, installed without starting their services.

use std::{os::unix::fs::MetadataExt as _, path::Path, process::Command};

use crate::stage::{read, run, say, which};

/// What the example's own profile needs.
pub const SHOP: &[Package] = &[
    Package {
        name: "postgresql",
        has: "/usr/lib/postgresql/*/bin/postgres",
        why: "catalog and orders of the shop",
    },
    Package { name: "redis-server", has: "/usr/bin/redis-server", why: "carts of the shop" },
];

/// What the tests need beyond that.
pub const TESTS: &[Package] = &[
    Package { name: "chromium", has: "/usr/bin/chromium", why: "tests of the web interface" },
    Package { name: "faketime", has: "/usr/bin/faketime", why: "a run under a clock that jumps" },
    Package { name: "python3", has: "/usr/bin/python3", why: "workloads that misbehave" },
    Package {
        name: "python3-venv",
        has: "/usr/lib/*/ensurepip/__init__.py",
        why: "the OpenTelemetry SDK for Python, from PyPI",
    },
    Package { name: "git", has: "/usr/bin/git", why: "where a plan came from" },
    Package {
        name: "ca-certificates",
        has: "/etc/ssl/certs/ca-certificates.crt",
        why: "npm and git over https",
    },
    Package {
        name: "prometheus",
        has: "/usr/bin/prometheus",
        why: "a client that writes metrics, and its peer",
    },
    Package { name: "nginx-light", has: "/usr/sbin/nginx", why: "the peer of the gateway's benchmark" },
    Package { name: "wrk", has: "/usr/bin/wrk", why: "load of the gateway's benchmark" },
];

/// A Debian package, a file that shows it is there, and what it is for.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    pub name: &'static str,
    /// A path, in which one component may be `*`.
    pub has: &'static str,
    pub why: &'static str,
}

/// Debian's services must not start (they would take the ports and memory that Stead's own want), so
/// for the time of the installation their start is forbidden the way that Debian's policy provides.
/// The trap takes the file away again also when the person interrupts.
const INSTALL: &str = r#"
set -e
policy=/usr/sbin/policy-rc.d
mark='# made by cargo xtask, for the time of one installation'
if [ ! -e "$policy" ] || grep -qF "$mark" "$policy"; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" > "$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 update
apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \
    install --yes --no-install-recommends "$@"
"#;

/// Installs what is missing, where that is allowed. Gives back what is still missing.
pub fn ensure(packages: &[Package], allowed: bool) -> Vec<Package> {
    let lacking = missing(packages);
    if lacking.is_empty() {
        say("  all packages are there");
        return lacking;
    }
    let names: Vec<&str> = lacking.iter().map(|package| package.name).collect();
    if !allowed {
        say(&format!("  not installing {} (--no-install)", names.join(", ")));
        return lacking;
    }
    if !is_root() || which("apt-get").is_none() {
        say(&format!("  cannot install {}: that takes root and apt-get", names.join(", ")));
        return lacking;
    }
    for package in &lacking {
        say(&format!("  installing {}: {}", package.name, package.why));
    }
    if let Err(error) = run(Command::new("sh").args(["-c", INSTALL, "install"]).args(&names)) {
        say(&format!("  the installation failed: {error:#}"));
    }
    missing(packages)
}

/// The packages whose files are not there.
pub fn missing(packages: &[Package]) -> Vec<Package> {
    packages.iter().copied().filter(|package| !exists(package.has)).collect()
}

pub fn is_root() -> bool {
    Path::new("/proc/self").metadata().is_ok_and(|about| about.uid() == 0)
}

/// Whether a path exists, one component of which may be `*`.
fn exists(pattern: &str) -> bool {
    let Some((before, after)) = pattern.split_once("/*/") else { return Path::new(pattern).exists() };
    let Ok(entries) = std::fs::read_dir(before) else { return false };
    entries.flatten().any(|entry| entry.path().join(after).exists())
}

/// Node's version, or why it will not do.
///
/// # Errors
/// Node is missing or older than the interface's tools need.
pub fn node() -> anyhow::Result<()> {
    let text = read(Command::new("node").arg("--version"))?;
    let mut parts =
        text.trim().trim_start_matches('v').split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    anyhow::ensure!(
        version >= NODE_MIN,
        "Node {} is too old: {}.{} or newer",
        text.trim(),
        NODE_MIN.0,
        NODE_MIN.1
    );
    anyhow::ensure!(which("npm").is_some(), "npm is not in PATH");
    Ok(())
}

/// The oldest Node with what Vite 8 needs.
const NODE_MIN: (u32, u32) = (20, 19);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_any_version() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().display();
        assert!(!exists(&format!("{root}/*/bin/postgres")));
        std::fs::create_dir_all(folder.path().join("15/bin")).unwrap();
        assert!(!exists(&format!("{root}/*/bin/postgres")));
        std::fs::write(folder.path().join("15/bin/postgres"), "").unwrap();
        assert!(exists(&format!("{root}/*/bin/postgres")));
    }

    #[test]
    fn what_may_not_be_installed_stays_missing() {
        let nowhere = Package { name: "stead-no-such-package", has: "/no/such/file", why: "this test" };
        let left = ensure(&[nowhere], false);
        assert_eq!(left.len(), 1);
    }
}
