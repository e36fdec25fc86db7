//! The gateway behind its files: routes on disk, answers on the admin socket.

use std::{path::PathBuf, time::Duration};

use base::{Class, Fault, Problem};
use delivery::Gateway;
use futures_util::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use gateway::client::Admin;
use gateway_api::{Sample, Snapshot, Status};
use tasks::Tasks;

/// Samples that come within this time are handed on together.
const GATHER: Duration = Duration::from_millis(50);
/// Samples of one batch.
const BATCH_MAX: usize = 4_096;

#[derive(Debug, Clone)]
pub(crate) struct GatewayFiles {
    routes: PathBuf,
    admin: Admin,
    tasks: Tasks,
}

impl GatewayFiles {
    pub(crate) fn new(routes: PathBuf, socket: PathBuf, tasks: Tasks) -> Self {
        Self { routes, admin: Admin::new(socket), tasks }
    }

    pub(crate) fn admin(&self) -> &Admin {
        &self.admin
    }
}

fn problem(error: &(impl Fault + ?Sized)) -> Problem {
    Problem::from_fault(error)
}

fn internal(error: tasks::Error) -> Problem {
    Problem::from_fault(&error)
}

impl Gateway for GatewayFiles {
    fn published(&self) -> BoxFuture<'_, Result<Option<Snapshot>, Problem>> {
        Box::pin(async move {
            let path = self.routes.clone();
            let read = move || match path.exists() {
                true => gateway::snapshot::read(&path).map(Some),
                false => Ok(None),
            };
            match self.tasks.blocking("read routes", read).await.map_err(internal)? {
                Ok(found) => Ok(found),
                Err(error) => {
                    // A damaged file is replaced with the next routes; only what was ready is not known.
                    tracing::warn!(%error, "the last routes cannot be read");
                    Ok(None)
                }
            }
        })
    }

    fn publish(&self, snapshot: Snapshot) -> BoxFuture<'_, Result<(), Problem>> {
        Box::pin(async move {
            let path = self.routes.clone();
            let write = move || gateway::snapshot::write(&path, &snapshot);
            self.tasks.blocking("write routes", write).await.map_err(internal)?.map_err(|error| {
                Problem::new(Class::Unavailable, "bin.routes", format!("routes cannot be written: {error}"))
            })
        })
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, Problem>> {
        Box::pin(async move { self.admin.status().await.map_err(|error| problem(&error)) })
    }

    fn samples(&self) -> BoxStream<'static, Vec<Sample>> {
        stream::unfold(self.admin.samples(), |mut samples| async move {
            let mut batch = vec![samples.next().await];
            let until = tokio::time::Instant::now() + GATHER;
            while batch.len() < BATCH_MAX {
                match tokio::time::timeout_at(until, samples.next()).await {
                    Ok(sample) => batch.push(sample),
                    Err(_) => break,
                }
            }
            Some((batch, samples))
        })
        .boxed()
    }
}
