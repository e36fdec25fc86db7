//! The HTTP API of Prometheus (`/api/v1`, version 3) under `/prometheus`, over Stead's metrics: what
//! Grafana, `promtool` and scripts ask of a Prometheus server, with its status codes and errors.
//!
//! It evaluates nothing itself: `promql` does, over the reader of the metrics store. Taking samples
//! in is the receivers' business. Enter at [`router`] and [`Ports`]; [`SURFACE`] is its table of
//! routes for the gate.

#![forbid(unsafe_code)]

mod answer;
mod federate;
mod json;
mod labels;
mod params;
mod query;
mod routes;
mod status;
mod targets;

use std::{fmt, sync::Arc, time::Duration};

use base::{Clock, Timestamp};
use futures_util::future::BoxFuture;
use metrics_api::{Limits, Reader};
use tokio::sync::Semaphore;

pub use routes::{PREFIX, SURFACE, router};
pub use targets::Scrapes;

/// Queries that are evaluated at once; more wait in line until their time is over.
pub const QUERIES_MAX: usize = 20;
/// Largest form that is handed in, bytes. Grafana sends long queries as forms.
pub const FORM_BYTES_MAX: usize = 1 << 20;
/// Largest answer of one query as JSON, bytes.
pub const ANSWER_BYTES_MAX: usize = 256 << 20;

/// What the surface stands on.
#[derive(Debug, Clone)]
pub struct Ports {
    pub reader: Arc<dyn Reader>,
    pub scrapes: Arc<dyn Scrapes>,
    pub upkeep: Arc<dyn Upkeep>,
    pub clock: Arc<dyn Clock>,
    pub tasks: tasks::Tasks,
    pub settings: Settings,
    /// From [`Ports::queries`].
    pub queries: Arc<Semaphore>,
}

impl Ports {
    #[must_use]
    pub fn queries() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(QUERIES_MAX))
    }
}

/// What an admin can have the store do.
pub trait Upkeep: Send + Sync + fmt::Debug {
    /// Merges what is stored as far as it goes, and takes deleted samples off the disk.
    fn compact(&self) -> BoxFuture<'_, metrics_api::Result<()>>;
}

/// What can be set, and what the status pages say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Of each query; a request can ask for less time, never for more.
    pub limits: Limits,
    /// How far an instant selector looks back.
    pub lookback_delta: Duration,
    /// The version of Stead.
    pub version: String,
    pub started_at: Timestamp,
    /// Name and value of each setting, as `/status/flags` shows them.
    pub flags: Vec<(String, String)>,
    pub retention: Duration,
}
