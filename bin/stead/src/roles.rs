//! Stead's own roles, control and gateway, each under a shim that starts it again.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use base::{
    Class, Problem, Scope,
    id::{ReleaseId, ReplicaId},
};
use runtime::ProcessDriver;
use runtime_api::{Driver, EnvValue, Limits, LogBounds, Observed, Phase, ReplicaSpec, Restart, Stop};

use crate::layout::Layout;

pub(crate) const CONTROL: &str = "stead-control";
pub(crate) const GATEWAY: &str = "stead-gateway";

/// The driver of the roles.
pub(crate) fn driver(layout: &Layout) -> Result<Arc<ProcessDriver>, Problem> {
    let program = program()?;
    let mut options = runtime::Options::new(layout.roles(), program);
    // Stead does not cage itself: its own memory is bounded by its limits.
    options.cgroups = false;
    ProcessDriver::new(options).map(Arc::new).map_err(|error| Problem::from_fault(&error))
}

pub(crate) fn program() -> Result<PathBuf, Problem> {
    std::env::current_exe()
        .map(|path| {
            // After an upgrade in place the kernel marks the old file's path.
            let text = path.to_string_lossy();
            text.strip_suffix(" (deleted)").map_or(path.clone(), PathBuf::from)
        })
        .map_err(|error| {
            Problem::new(Class::Internal, "bin.program", format!("cannot tell which program runs: {error}"))
        })
}

/// The role as it runs now; what is left of earlier ones is taken away.
pub(crate) async fn running(driver: &ProcessDriver, role: &str) -> Result<Option<Observed>, Problem> {
    let seen = driver.list().await.map_err(|error| Problem::from_fault(&error))?;
    let mut found = None;
    for observed in seen.into_iter().filter(|observed| observed.service == role) {
        match observed.phase {
            Phase::Exited { .. } | Phase::Lost { .. } => {
                let _ = driver.stop(observed.id.clone()).await;
                let _ = driver.remove(observed.id).await;
            }
            _ => found = Some(observed),
        }
    }
    Ok(found)
}

/// Starts a role under a shim of its own.
pub(crate) async fn start(
    driver: &ProcessDriver,
    layout: &Layout,
    role: &str,
    arguments: &[String],
) -> Result<ReplicaId, Problem> {
    let id = ReplicaId::new();
    let mut command = vec![program()?.display().to_string()];
    command.extend(arguments.iter().cloned());
    command.push("--data".into());
    command.push(layout.root.display().to_string());
    let mut environment = BTreeMap::new();
    for name in ["PATH", "HOME", "LANG", "STEAD_LOG", "STEAD_CHECKPOINTS", "TZ"] {
        if let Ok(value) = std::env::var(name) {
            environment.insert(name.to_owned(), EnvValue::Plain(value));
        }
    }
    if let Ok(passphrase) = std::env::var(crate::control::PASSPHRASE) {
        environment.insert(crate::control::PASSPHRASE.to_owned(), EnvValue::Secret(passphrase));
    }
    let specification = ReplicaSpec {
        id: id.clone(),
        scope: Scope::default(),
        service: role.to_owned(),
        release: ReleaseId::new(),
        command,
        source: None,
        working_directory: layout.root.clone(),
        environment,
        files: Vec::new(),
        user: None,
        limits: Limits::default(),
        stop: Stop { signal: "TERM".into(), grace: Duration::from_secs(30) },
        log: LogBounds { segment_bytes_max: 2 << 20, segments_max: 4, line_bytes_max: 16 << 10 },
        restart: Restart::Always,
        data_directories: Vec::new(),
        labels: BTreeMap::new(),
    };
    driver.start(specification).await.map_err(|error| Problem::from_fault(&error))?;
    Ok(id)
}

/// Sees to it that a gateway runs.
pub(crate) async fn ensure_gateway(driver: &ProcessDriver, layout: &Layout) -> Result<(), Problem> {
    if running(driver, GATEWAY).await?.is_none() {
        start(driver, layout, GATEWAY, &["gateway".to_owned()]).await?;
    }
    Ok(())
}

/// The gateway's process.
pub(crate) fn run_gateway(data: &std::path::Path, threads: usize) -> Result<(), Problem> {
    crate::log::set_up();
    let layout = Layout::new(data.to_owned());
    let mut options = gateway::Options::new(layout.routes(), layout.gateway_socket());
    options.access_log = Some(layout.access_log());
    options.threads = threads;
    gateway::run_telling(options, runtime::ready::say).map_err(|error| Problem::from_fault(&error))
}
