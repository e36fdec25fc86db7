//! Redis from Debian's packages: one server per need, with a password and an append-only file.

use std::{path::PathBuf, time::Duration};

use base::{Class, Problem, units::Bytes};
use runtime_api::{Stop, WorkloadFile};

use super::{Credentials, Place, Workload, host};

/// The program, if it is installed.
#[must_use]
pub fn installed() -> Option<PathBuf> {
    host::find_program("redis-server", &[])
}

fn program() -> Result<PathBuf, Problem> {
    installed().ok_or_else(|| {
        Problem::new(Class::Unavailable, "need.software_missing", "Redis is not installed")
            .with_hint("apt-get install --no-install-recommends redis-server")
    })
}

/// The version to pin.
///
/// # Errors
/// It is not installed; the hint names the package.
pub fn pin() -> Result<String, Problem> {
    let program = program()?;
    let failed =
        |why: String| Problem::new(Class::Unavailable, "need.tool", format!("redis-server failed: {why}"));
    let output = std::process::Command::new(program)
        .arg("--version")
        .output()
        .map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.split_whitespace()
        .find_map(|word| word.strip_prefix("v="))
        .map(str::to_owned)
        .ok_or_else(|| failed(format!("`--version` said {said:?}")))
}

pub(super) fn prepare(place: &Place) -> Result<(), Problem> {
    program()?;
    host::make_directory(&place.directory, 0o711, None)?;
    host::make_directory(&place.directory.join("redis"), 0o700, place.user)
}

pub(super) fn workload(
    memory: Option<Bytes>,
    place: &Place,
    credentials: &Credentials,
) -> Result<Workload, Problem> {
    let password = credentials.get("password").cloned().unwrap_or_default();
    let mut text = format!(
        "bind 127.0.0.1\n\
         port {}\n\
         dir \"{}\"\n\
         requirepass \"{password}\"\n\
         appendonly yes\n\
         appendfsync everysec\n\
         daemonize no\n\
         logfile \"\"\n\
         protected-mode yes\n",
        place.port,
        place.directory.join("redis").display(),
    );
    if let Some(memory) = memory {
        text.push_str(&format!("maxmemory {}\nmaxmemory-policy noeviction\n", memory.get()));
    }
    // The configuration holds the password, so it lives with the secrets; the shell only finds it.
    let command = vec![
        "/bin/sh".into(),
        "-c".into(),
        format!("exec {} \"$STEAD_SECRETS_DIR/redis.conf\"", program()?.display()),
    ];
    let files = vec![WorkloadFile {
        path: "redis.conf".into(),
        content: text.into_bytes(),
        secret: true,
        mode: 0o400,
    }];
    Ok(Workload { command, files, stop: Stop { signal: "TERM".into(), grace: Duration::from_secs(30) } })
}
