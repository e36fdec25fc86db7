//! What delivery asks of others; `bin` wires the real ones.

use std::{path::PathBuf, sync::Arc};

use base::{Clock, Problem, Tenant};
use delivery_api::ArtifactTree;
use futures_util::{future::BoxFuture, stream::BoxStream};
use gateway_api::{Sample, Snapshot, Status};

/// The gateway as delivery sees it: it publishes routes and hears what they carry.
pub trait Gateway: Send + Sync + std::fmt::Debug {
    /// The last snapshot that was published, also by an earlier control.
    fn published(&self) -> BoxFuture<'_, Result<Option<Snapshot>, Problem>>;

    /// Makes a snapshot durable for the gateway to take up. Versions only grow.
    fn publish(&self, snapshot: Snapshot) -> BoxFuture<'_, Result<(), Problem>>;

    /// What the running gateway says of itself; an error when it does not answer.
    fn status(&self) -> BoxFuture<'_, Result<Status, Problem>>;

    /// Samples second by second; it reconnects by itself and never ends.
    fn samples(&self) -> BoxStream<'static, Vec<Sample>>;
}

/// Pinned artifacts.
pub trait Artifacts: Send + Sync + std::fmt::Debug {
    /// Digests of the trees' files, and of the trees' own lists, that are not stored yet; sorted, each
    /// once. Nothing is written.
    ///
    /// # Errors
    /// A tree's digest is not that of its list, or a path leaves its tree.
    fn missing(&self, trees: Vec<ArtifactTree>) -> BoxFuture<'_, Result<Vec<String>, Problem>>;

    /// A directory with the tree's files, made on first use and never written to.
    fn checkout(&self, digest: String) -> BoxFuture<'_, Result<PathBuf, Problem>>;
}

/// What delivery is made of.
#[derive(Debug, Clone)]
pub struct Ports {
    pub tenant: Tenant,
    /// Data of services lives in `data_directory/data/ENVIRONMENT/NAME`.
    pub data_directory: PathBuf,
    /// Whether each service gets a user of its own.
    pub root: bool,
    /// Public address of the gateway, `127.0.0.1:8080`.
    pub public_address: std::net::SocketAddr,
    /// TLS of the public listener; none on loopback.
    pub public_tls: Option<gateway_api::TlsFiles>,
    pub state: Arc<dyn state::State>,
    pub driver: Arc<dyn runtime_api::Driver>,
    pub secrets: Arc<dyn secrets_api::Secrets>,
    pub gateway: Arc<dyn Gateway>,
    pub artifacts: Arc<dyn Artifacts>,
    pub clock: Arc<dyn Clock>,
    pub tasks: tasks::Tasks,
}
