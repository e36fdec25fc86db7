//! The machine and the installation, for the API.

use std::{path::PathBuf, sync::Arc};

use api::Machine;
use api_types::{AuditVerdict, Info};
use base::{Class, Clock, Problem, Tenant, Timestamp};
use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use runtime::ProcessDriver;
use runtime_api::{Driver, Phase};
use state::SqliteState;
use tasks::Tasks;

use crate::{
    adapters::{BlobArtifacts, GatewayFiles},
    checkpoints::Checkpoints,
    control::Parts,
    doctor,
    layout::Layout,
    roles,
};

/// Backups that are kept; older ones of Stead's own making go.
const BACKUPS_KEPT: usize = 10;

#[derive(Debug, Clone)]
pub(crate) struct ThisMachine {
    layout: Layout,
    state: Arc<SqliteState>,
    driver: Arc<dyn Driver>,
    roles: Arc<ProcessDriver>,
    gateway: GatewayFiles,
    artifacts: BlobArtifacts,
    checkpoints: Checkpoints,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
    started_at: Timestamp,
    url: String,
    reconciler: delivery::reconcile::Shared,
}

impl ThisMachine {
    #[allow(clippy::too_many_arguments)] // wiring, in one place
    pub(crate) fn new(
        layout: &Layout,
        parts: &Parts,
        roles: Arc<ProcessDriver>,
        gateway: GatewayFiles,
        checkpoints: Checkpoints,
        tasks: &Tasks,
        clock: &Arc<dyn Clock>,
        url: &str,
        reconciler: &delivery::reconcile::Shared,
    ) -> Self {
        Self {
            layout: layout.clone(),
            state: parts.state.clone(),
            driver: parts.driver.clone(),
            roles,
            gateway,
            artifacts: parts.artifacts.clone(),
            checkpoints,
            tasks: tasks.clone(),
            clock: Arc::clone(clock),
            started_at: clock.now(),
            url: url.to_owned(),
            reconciler: reconciler.clone(),
        }
    }

    async fn gateway_address(&self) -> Option<String> {
        let status = self.gateway.admin().status().await.ok()?;
        let public = status.listeners.iter().find(|(name, _)| name == delivery::reconcile::PUBLIC)?;
        let tls = gateway::snapshot::read(&self.layout.routes()).is_ok_and(|snapshot| {
            snapshot.listeners.iter().any(|one| one.name == public.0 && one.tls.is_some())
        });
        Some(format!("{}://{}", if tls { "https" } else { "http" }, public.1))
    }

    async fn environments(&self) -> Vec<String> {
        use state::{Scan, State};
        let scan = Scan {
            tenant: Tenant::default(),
            environment: None,
            kind: delivery::record::SERVICE.into(),
            term: None,
            after: None,
            limit: Scan::LIMIT_MAX,
        };
        let mut names = vec!["default".to_owned()];
        if let Ok(page) = self.state.scan(scan).await {
            names.extend(page.items.into_iter().map(|record| record.key.scope.environment.to_string()));
        }
        names.sort();
        names.dedup();
        names
    }

    async fn stop_workloads(&self) -> Result<(), Problem> {
        self.reconciler.halt();
        stop_all(&*self.driver).await?;
        // Those whose start was under way when it was halted.
        stop_all(&*self.driver).await?;
        if let Some(gateway) = roles::running(&self.roles, roles::GATEWAY).await? {
            self.roles.stop(gateway.id).await.map_err(|error| Problem::from_fault(&error))?;
        }
        Ok(())
    }
}

/// Stops all replicas that run, at the same time.
pub(crate) async fn stop_all(driver: &dyn Driver) -> Result<(), Problem> {
    let seen = driver.list().await.map_err(|error| Problem::from_fault(&error))?;
    let running =
        seen.into_iter().filter(|one| !matches!(one.phase, Phase::Exited { .. } | Phase::Lost { .. }));
    let stops = running.map(|one| driver.stop(one.id));
    for outcome in futures_util::future::join_all(stops).await {
        outcome.map_err(|error| Problem::from_fault(&error))?;
    }
    Ok(())
}

impl Machine for ThisMachine {
    fn info(&self) -> BoxFuture<'_, Info> {
        Box::pin(async move {
            let root = self.layout.root.clone();
            let findings =
                self.tasks.blocking("doctor", move || doctor::look(&root)).await.unwrap_or_default();
            Info {
                version: env!("CARGO_PKG_VERSION").into(),
                started_at: self.started_at.to_string(),
                tenant: Tenant::default().to_string(),
                environments: self.environments().await,
                api: format!("{}{}", self.url, api::PREFIX),
                gateway: self.gateway_address().await,
                findings,
            }
        })
    }

    fn verify(&self) -> BoxFuture<'_, Result<AuditVerdict, Problem>> {
        Box::pin(self.checkpoints.verify())
    }

    fn upload(
        &self,
        body: BoxStream<'static, Result<Bytes, Problem>>,
    ) -> BoxFuture<'_, Result<u64, Problem>> {
        Box::pin(self.artifacts.upload(body))
    }

    fn backup(&self) -> BoxFuture<'_, Result<PathBuf, Problem>> {
        Box::pin(async move {
            let stamp = self.clock.now().to_string().replace([':', '.'], "-");
            let path = self.layout.backups().join(format!("stead-{stamp}.db"));
            self.state.backup_to(&path).await.map_err(|error| Problem::from_fault(&error))?;
            let folder = self.layout.backups();
            let _ = self.tasks.blocking("tidy backups", move || tidy(&folder)).await;
            Ok(path)
        })
    }

    fn shut_down(&self, everything: bool) -> BoxFuture<'_, Result<(), Problem>> {
        Box::pin(async move {
            let control = roles::running(&self.roles, roles::CONTROL).await?;
            let this = self.clone();
            let stopping = move |_| async move {
                if everything && let Err(problem) = this.stop_workloads().await {
                    tracing::error!(%problem, "not everything could be stopped");
                }
                match control {
                    // The shim ends this process and starts no other.
                    Some(control) => drop(this.roles.stop(control.id).await),
                    None => this.tasks.request_shutdown("asked to through the API"),
                }
            };
            self.tasks
                .spawn_once(tasks::Kind::AUXILIARY, "stop", stopping)
                .map(drop)
                .map_err(|error| Problem::from_fault(&error))
        })
    }

    fn upgrade(&self, path: PathBuf) -> BoxFuture<'_, Result<(), Problem>> {
        Box::pin(async move {
            let control = roles::running(&self.roles, roles::CONTROL).await?.ok_or_else(|| {
                Problem::new(Class::Unavailable, "bin.upgrade", "this server runs in the foreground")
                    .with_hint("stop it and start the new program; workloads and gateway go on meanwhile")
            })?;
            if let Some(gateway) = roles::running(&self.roles, roles::GATEWAY).await? {
                let upgraded = self.roles.upgrade(gateway.id, path.clone()).await;
                upgraded.map_err(|error| Problem::from_fault(&error))?;
            }
            let driver = Arc::clone(&self.roles);
            let control_too = move |_| async move {
                if let Err(error) = driver.upgrade(control.id, path).await {
                    tracing::error!(%error, "control could not be upgraded; it goes on as it is");
                }
            };
            self.tasks
                .spawn_once(tasks::Kind::AUXILIARY, "upgrade", control_too)
                .map(drop)
                .map_err(|error| Problem::from_fault(&error))
        })
    }
}

fn tidy(folder: &std::path::Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut own: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "db"))
        .collect();
    own.sort();
    let surplus = own.len().saturating_sub(BACKUPS_KEPT);
    for path in own.into_iter().take(surplus) {
        let _ = std::fs::remove_file(path);
    }
}
