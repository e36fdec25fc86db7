//! The port to delivery, for the API and later for judges and remedies.

use base::{Ctx, Problem, Scope};
use futures_util::future::BoxFuture;

use crate::{Map, Plan, Run, Series, Service, ServiceDetail, Submission};

pub type Result<T> = std::result::Result<T, Problem>;

/// What an operator asks of a running service. Each makes a recorded change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// New replicas of the same release take over, then the old ones go.
    Restart {
        why: Option<String>,
    },
    Scale {
        replicas: u32,
        why: Option<String>,
    },
    /// Runs a job of the service now.
    RunJob {
        job: String,
    },
}

/// Delivery. Reads are cheap snapshots; changes are durable when they return.
pub trait Delivery: Send + Sync + std::fmt::Debug {
    /// Computes and stores a plan. Nothing else changes.
    fn plan(&self, ctx: Ctx, submission: Submission) -> BoxFuture<'_, Result<Plan>>;

    /// Starts to carry out an open plan and returns its run. Idempotent per plan.
    fn apply(&self, ctx: Ctx, plan: String) -> BoxFuture<'_, Result<Run>>;

    /// A plan as it stands, newest first when none is named.
    fn plans(&self, scope: Scope, id: Option<String>) -> BoxFuture<'_, Result<Vec<Plan>>>;

    /// Runs, newest first, or the one that is named.
    fn runs(&self, scope: Scope, id: Option<String>) -> BoxFuture<'_, Result<Vec<Run>>>;

    /// Ends a run early: what it did is undone.
    fn cancel(&self, ctx: Ctx, run: String, why: String) -> BoxFuture<'_, Result<Run>>;

    fn services(&self, scope: Scope) -> BoxFuture<'_, Result<Vec<Service>>>;

    fn service(&self, scope: Scope, name: String) -> BoxFuture<'_, Result<ServiceDetail>>;

    fn command(&self, ctx: Ctx, service: String, command: Command) -> BoxFuture<'_, Result<()>>;

    /// Traffic of the last `seconds`: of a service, or the map of all.
    fn traffic(&self, scope: Scope, service: String, seconds: u32) -> BoxFuture<'_, Result<Series>>;

    fn map(&self, scope: Scope) -> BoxFuture<'_, Result<Map>>;
}
