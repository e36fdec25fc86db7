//! Metrics: the store, what is received into it, and the surface that answers from it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use access::Action;
use api::{Gate, Route, Surface, guarded};
use axum::{Router, extract::State, http::Request, response::IntoResponse, routing::post};
use base::{Clock, Problem, Tenant};
use cli::args::MetricsSettings;
use delivery::Gateway as _;
use disk::RealDisk;
use futures_util::future::BoxFuture;
use metrics::engine::{Settings, Store};
use metrics_api::{Reader, Writer};
use prometheus::{Stats, remote_write::Receiver};
use runtime_api::Driver;
use tasks::{Kind, Tasks};
use vitals::Vitals;

use crate::{adapters::GatewayFiles, layout::Layout};

/// Where remote write comes in, beside the surface's other routes.
const WRITE: &str = "/prometheus/api/v1/write";

const OTLP: Surface = Surface { prefix: "", table: OTLP_TABLE, basic: true };

macro_rules! write_routes {
    ($($path:literal)+) => {
        &[$(Route { method: "POST", path: $path, gate: Gate::Needs(Action::WriteMetrics) }),+]
    };
}

const OTLP_TABLE: &[Route] = write_routes! {
    "/v1/metrics" "/v1/traces" "/v1/logs" "/v1/profiles"
    "/otlp/v1/metrics" "/otlp/v1/traces" "/otlp/v1/logs" "/otlp/v1/profiles"
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
    "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"
};

/// The store and the receivers, open.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    store: Store,
    received: Arc<Stats>,
    otlp: Arc<otlp::Receiver>,
    settings: MetricsSettings,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
}

impl Metrics {
    /// Opens the store in the data directory and keeps it tidy until shutdown.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub(crate) async fn open(
        layout: &Layout,
        settings: MetricsSettings,
        clock: &Arc<dyn Clock>,
        tasks: &Tasks,
    ) -> Result<Self, Problem> {
        let (folder, for_store) = (layout.metrics(), Arc::clone(clock));
        let bounds = Settings {
            retention: settings.metrics_retention.get(),
            memory_bytes_max: settings.metrics_memory.get(),
            wal_sync_interval: settings.metrics_sync_interval.get(),
            ..Settings::default()
        };
        let store = tasks
            .blocking("open metrics", move || open(&folder, for_store, bounds))
            .await
            .map_err(|error| Problem::from_fault(&error))??;
        for damage in store.damage() {
            tracing::warn!(damage, "some stored metrics cannot be read; the rest is served");
        }
        let running = store.clone();
        tasks
            .spawn(Kind::FLUSH, "metrics", move |shutdown| running.clone().run(shutdown))
            .map_err(|error| Problem::from_fault(&error))?;
        let otlp = otlp::Receiver::new(
            otlp::Settings::default(),
            otlp::Limits::default(),
            Arc::new(store.clone()),
            Arc::clone(clock),
        );
        Ok(Self {
            store,
            received: Arc::default(),
            otlp,
            settings,
            clock: Arc::clone(clock),
            tasks: tasks.clone(),
        })
    }

    /// Writes what Stead measures of the host, of what runs and of itself, until shutdown.
    ///
    /// # Errors
    /// Stead is shutting down.
    pub(crate) fn measure(
        &self,
        tenant: &Tenant,
        driver: Arc<dyn Driver>,
        gateway: &GatewayFiles,
    ) -> Result<(), Problem> {
        if self.settings.no_vitals {
            return Ok(());
        }
        let ports = vitals::Ports {
            writer: Arc::new(self.store.clone()),
            clock: Arc::clone(&self.clock),
            tasks: self.tasks.clone(),
            registry: vitals::Registry::new(),
            driver,
        };
        let vitals = Vitals::new(vitals::Options::of_this_host(tenant.clone()), ports);
        let gateway = gateway.clone();
        self.tasks
            .spawn(Kind::LOOP, "vitals", move |shutdown| Arc::clone(&vitals).run(shutdown, gateway.samples()))
            .map(drop)
            .map_err(|error| Problem::from_fault(&error))
    }

    /// The routes of `/prometheus` and OTLP behind the gate.
    pub(crate) fn router(&self, ports: &api::Ports) -> Router {
        let writer: Arc<dyn Writer> = Arc::new(self.store.clone());
        let receiver = Receiver::new(writer, self.tasks.clone(), Arc::clone(&self.received));
        let write = Router::new().route(WRITE, post(write)).with_state(receiver);
        let surface = prom_api::router(self.ports()).merge(write);
        let otlp = otlp::router(Arc::clone(&self.otlp)).merge(otlp::grpc(Arc::clone(&self.otlp)));
        guarded(ports, prom_api::SURFACE, surface).merge(guarded(ports, OTLP, otlp))
    }

    fn ports(&self) -> prom_api::Ports {
        let reader: Arc<dyn Reader> = Arc::new(self.store.clone());
        prom_api::Ports {
            reader,
            targets: Arc::new(prom_api::NoTargets),
            upkeep: Arc::new(Upkeep(self.store.clone())),
            clock: Arc::clone(&self.clock),
            tasks: self.tasks.clone(),
            queries: prom_api::Ports::queries(),
            settings: prom_api::Settings {
                limits: metrics_api::Limits::default(),
                lookback_delta: LOOKBACK,
                version: env!("CARGO_PKG_VERSION").into(),
                started_at: self.clock.now(),
                flags: self.flags(),
                retention: self.settings.metrics_retention.get(),
            },
        }
    }

    fn flags(&self) -> Vec<(String, String)> {
        let settings = &self.settings;
        vec![
            ("storage.tsdb.retention.time".into(), settings.metrics_retention.to_string()),
            ("query.lookback-delta".into(), "5m".into()),
            ("query.max-concurrency".into(), prom_api::QUERIES_MAX.to_string()),
            ("stead.metrics-memory".into(), settings.metrics_memory.to_string()),
            ("stead.metrics-sync-interval".into(), settings.metrics_sync_interval.to_string()),
        ]
    }
}

/// As Prometheus' default.
const LOOKBACK: Duration = Duration::from_secs(300);

fn open(folder: &PathBuf, clock: Arc<dyn Clock>, settings: Settings) -> Result<Store, Problem> {
    let disk = RealDisk::open(folder).map_err(|error| Problem::from_fault(&error))?;
    Store::open(Arc::new(disk), clock, settings).map_err(|error| Problem::from_fault(&error))
}

async fn write(State(receiver): State<Receiver>, request: Request<axum::body::Body>) -> impl IntoResponse {
    receiver.serve(request).await.map(axum::body::Body::new)
}

#[derive(Debug)]
struct Upkeep(Store);

impl prom_api::Upkeep for Upkeep {
    fn compact(&self) -> BoxFuture<'_, metrics_api::Result<()>> {
        Box::pin(async move {
            self.0.flush().await?;
            self.0.compact_all().await
        })
    }
}
