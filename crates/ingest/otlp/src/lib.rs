//! Takes in OpenTelemetry metrics, over HTTP (protocol buffers and JSON) and over gRPC, and maps them
//! to Prometheus data as Prometheus 3's own OTLP endpoint does.
//!
//! A request is read by a cursor over its bytes; there is no tree of messages. Deltas become
//! cumulative ([`DeltaLimits`]), exponential histograms become native ones. What the sender says
//! under a name of its [`Stamp`] is kept as `exported_…`: who sends is known from its credentials and
//! cannot be overridden. docs/reference/receivers-otlp.md has the fate of each field.
//!
//! It knows no gate: whoever mounts [`router`] and [`grpc`] puts a gate before them, which leaves a
//! [`base::Ctx`] (and a [`Stamp`], for a workload) among the extensions of the request. It keeps
//! nothing but the sums of deltas. Traces and logs are answered with "not available yet".
//!
//! Enter at [`Receiver`].

#![forbid(unsafe_code)]

mod any;
mod body;
mod delta;
mod fault;
mod grpc;
mod http;
mod json;
mod labels;
mod names;
mod native;
mod points;
mod stats;
mod walk;
mod wire;

use std::{sync::Arc, time::Duration};

use base::{Clock, Tenant};
use metrics_api::{Appended, Writer};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::{
    delta::Deltas,
    labels::Rows,
    stats::Reason,
    walk::{Context, Walk},
};

pub use crate::{
    any::VALUE_DEPTH_MAX,
    delta::Limits as DeltaLimits,
    fault::Error,
    grpc::{GRPC_PATHS, grpc},
    http::{HTTP_PATHS, router},
    labels::{ATTRIBUTES_MAX, LABEL_BYTES_MAX, POINT_BYTES_MAX},
    names::Strategy,
    native::BUCKETS_MAX,
    points::EXEMPLARS_MAX,
    stats::{Count, Kind, Outcome, Reason as RefusedReason, Stats},
    walk::{NAME_BYTES_MAX, TARGET_INFO_SAMPLES_MAX},
};

/// What `Retry-After` and gRPC's `RetryInfo` say.
pub const RETRY_AFTER_SECONDS: u64 = 5;
/// Messages (points, metrics, scopes, resources) that are walked before others get their turn.
const STEPS: usize = 256;
/// Bytes of rows that are written at once; a larger request is written in parts.
pub const ROWS_BYTES_MAX: usize = 2 << 20;

/// How metrics are mapped. The names are those of Prometheus' `otlp` settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub translation_strategy: Strategy,
    /// Attributes of the resource that become labels of every series of it.
    pub promote_resource_attributes: Vec<String>,
    /// Whether `target_info` repeats what became `job` and `instance`.
    pub keep_identifying_resource_attributes: bool,
    /// Whether name, version, schema and attributes of the scope become `otel_scope_…` labels.
    pub promote_scope_metadata: bool,
    /// Whether classic histograms become native ones with custom boundaries.
    pub convert_histograms_to_nhcb: bool,
    /// Whether `target_info` is written.
    pub target_info: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            translation_strategy: Strategy::default(),
            promote_resource_attributes: Vec::new(),
            keep_identifying_resource_attributes: false,
            promote_scope_metadata: false,
            convert_histograms_to_nhcb: false,
            target_info: true,
        }
    }
}

/// Bounds of the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A request as it is sent.
    pub body_bytes_max: usize,
    /// A request unpacked.
    pub message_bytes_max: usize,
    /// What all requests under way hold together, sent and unpacked.
    pub memory_bytes_max: usize,
    pub requests_max: usize,
    /// From the request's head to its answer.
    pub request_time_max: Duration,
    pub deltas: DeltaLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 16 << 20,
            message_bytes_max: 64 << 20,
            memory_bytes_max: 192 << 20,
            requests_max: 64,
            request_time_max: Duration::from_secs(30),
            deltas: DeltaLimits::default(),
        }
    }
}

/// Who sends, from its credentials: labels such as `environment`, `service`, `release`, `replica` that
/// every one of its series gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamp {
    pub labels: Vec<(String, String)>,
}

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    pub points: u64,
    /// Data points that were not taken; sending them again will not help.
    pub refused: u64,
    /// The first reasons in words; empty when all was taken.
    pub message: String,
}

/// Takes requests in. Share it by [`Arc`].
#[derive(Debug)]
pub struct Receiver {
    settings: Settings,
    limits: Limits,
    writer: Arc<dyn Writer>,
    clock: Arc<dyn Clock>,
    deltas: Deltas,
    stats: Stats,
    requests: Semaphore,
    memory: body::Memory,
}

impl Receiver {
    #[must_use]
    pub fn new(
        settings: Settings,
        limits: Limits,
        writer: Arc<dyn Writer>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            settings,
            limits,
            writer,
            clock,
            deltas: Deltas::new(limits.deltas),
            stats: Stats::default(),
            requests: Semaphore::new(limits.requests_max),
            memory: body::Memory::new(limits.memory_bytes_max),
        })
    }

    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Series whose deltas are being summed up.
    #[must_use]
    pub fn delta_series(&self) -> usize {
        self.deltas.len()
    }

    /// Takes in `message`, an `ExportMetricsServiceRequest` in binary form. What is in order is kept
    /// when it returns; of a large one that turns out malformed late, earlier parts are kept too.
    ///
    /// Dropping the future may leave parts of the request written; sending it again doubles nothing.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Unavailable`] when the store cannot write.
    pub async fn receive(&self, tenant: &Tenant, stamp: &Stamp, message: &[u8]) -> Result<Taken, Error> {
        self.stats.bytes(message.len() as u64);
        let context = Context {
            settings: &self.settings,
            tenant: tenant.as_str(),
            stamp,
            deltas: &self.deltas,
            stats: &self.stats,
            now_ms: self.clock.now().millis(),
        };
        let mut walk = Walk::new(context, message);
        let mut rows = Rows::default();
        let mut appended = Appended::default();
        loop {
            let more = walk
                .fill(&mut rows, STEPS, ROWS_BYTES_MAX)
                .map_err(|malformed| Error::Malformed { why: malformed.to_string() })?;
            if rows.bytes >= ROWS_BYTES_MAX || !more {
                let batch = std::mem::take(&mut rows).batch;
                if !batch.is_empty() {
                    appended.merge(self.write(tenant, batch).await?);
                }
            }
            if !more {
                break;
            }
            tokio::task::yield_now().await;
        }
        Ok(self.taken(walk, appended))
    }

    async fn write(&self, tenant: &Tenant, batch: metrics_api::WriteBatch) -> Result<Appended, Error> {
        self.writer.write(tenant, batch).await.map_err(|error| {
            tracing::warn!(%error, "metrics were not taken in");
            Error::Unavailable { why: error.to_string() }
        })
    }

    /// A store counts samples; a histogram is many. No more points can be refused than came.
    fn taken(&self, walk: Walk<'_>, appended: Appended) -> Taken {
        let by_store = appended.refused_total().min(walk.points.saturating_sub(walk.refused.points));
        self.stats.refused(Reason::Store, by_store);
        let mut words = walk.refused.words;
        words.extend(appended.refusals.into_iter().map(|refusal| refusal.why).take(5));
        Taken { points: walk.points, refused: walk.refused.points + by_store, message: words.join("; ") }
    }
}
