//! The HTTP API, `/api/stead/v1`: extract, ask the one gate, make one call, map the answer.
//!
//! Every route stands in [`routes::TABLE`] with the action it needs; a request that matches no row is
//! refused before any handler sees it. No logic lives here and no engine is known beyond `access`,
//! which is asked for each request. Enter at [`router`] and [`Ports`]; [`openapi`] is the description
//! that clients are generated from.

mod extract;
pub mod gate;
mod handlers;
mod openapi;
mod problem;
pub mod routes;
mod stream;

use std::{path::PathBuf, sync::Arc};

use access::Access;
use api_types::{AuditVerdict, Info};
use axum::Router;
use base::{Clock, Problem, Tenant};
use bytes::Bytes;
use delivery_api::Delivery;
use futures_util::{future::BoxFuture, stream::BoxStream};

pub use openapi::openapi;
pub use problem::Failure;
pub use routes::{Gate, Route, Surface, guarded};

/// Where the API is mounted.
pub const PREFIX: &str = "/api/stead/v1";
/// Largest JSON body of a request, unless the route says otherwise.
pub const BODY_BYTES_MAX: usize = 256 << 10;
/// Largest plan that is handed in: documents and lists of files.
pub const PLAN_BYTES_MAX: usize = 96 << 20;
/// Largest upload of artifacts, which is taken in as it comes and never held whole.
pub const ARTIFACTS_BYTES_MAX: u64 = 2 << 30;
/// Largest body of a sign-in, which anybody may send.
pub const SIGN_IN_BYTES_MAX: usize = 16 << 10;
/// Streams (logs, changes) that are open at once.
pub const STREAMS_MAX: usize = 256;

/// The machine and the installation, for what no domain owns. `bin` implements it.
pub trait Machine: Send + Sync + std::fmt::Debug {
    fn info(&self) -> BoxFuture<'_, Info>;

    /// Verifies the ledger of the tenant.
    fn verify(&self) -> BoxFuture<'_, Result<AuditVerdict, Problem>>;

    /// Takes in artifact files: a tar stream whose entries are named by digest. Gives the number of
    /// files that were new.
    fn upload(&self, body: BoxStream<'static, Result<Bytes, Problem>>)
    -> BoxFuture<'_, Result<u64, Problem>>;

    /// Writes a backup of Stead's own state and gives its path.
    fn backup(&self) -> BoxFuture<'_, Result<PathBuf, Problem>>;

    /// Stops the control process; workloads and gateway go on unless `everything`.
    fn shut_down(&self, everything: bool) -> BoxFuture<'_, Result<(), Problem>>;

    /// Goes over to the program at `path`, gateway first, workloads untouched.
    fn upgrade(&self, path: PathBuf) -> BoxFuture<'_, Result<(), Problem>>;
}

/// What the API stands on.
#[derive(Debug, Clone)]
pub struct Ports {
    pub tenant: Tenant,
    /// The API's own address as clients see it, `http://127.0.0.1:7070`.
    pub base_url: String,
    pub tls: bool,
    /// Further names of this machine, in lowercase, under which a browser may come without TLS.
    pub host_names: Vec<String>,
    pub clock: Arc<dyn Clock>,
    pub tasks: tasks::Tasks,
    pub access: Arc<Access>,
    pub delivery: Arc<dyn Delivery>,
    pub secrets: Arc<dyn secrets_api::Secrets>,
    pub state: Arc<dyn state::State>,
    pub driver: Arc<dyn runtime_api::Driver>,
    pub machine: Arc<dyn Machine>,
    /// Counts up whenever what runs has changed.
    pub world: tokio::sync::watch::Receiver<u64>,
    /// From [`Ports::streams`].
    pub streams: Arc<tokio::sync::Semaphore>,
}

impl Ports {
    #[must_use]
    pub fn streams() -> Arc<tokio::sync::Semaphore> {
        Arc::new(tokio::sync::Semaphore::new(STREAMS_MAX))
    }
}

/// The routes, behind the gate.
pub fn router(ports: Ports) -> Router {
    routes::router(ports)
}
