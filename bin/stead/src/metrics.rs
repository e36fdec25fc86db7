//! Metrics: the store, what is received into it, and the surface that answers from it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use access::Action;
use api::{Failure, Gate, Route, Surface, guarded};
use axum::{Router, extract::State, http::header::CONTENT_TYPE, response::IntoResponse, routing::get};
use base::{Class, Clock, Problem, Tenant};
use cli::args::MetricsSettings;
use delivery::Gateway as _;
use disk::RealDisk;
use futures_util::future::BoxFuture;
use metrics::engine::{Settings, Store};
use metrics_api::{Reader, Writer};
use prom_api::Scrapes as _;
use prometheus::{
    Stats,
    remote_write::Receiver,
    scrape::{self, Scraper, Targets},
};
use runtime_api::Driver;
use tasks::{Kind, Tasks};
use vitals::{Registry, Vitals};

use crate::{adapters::GatewayFiles, layout::Layout};

/// Where remote write comes in, beside the surface's other routes.
const WRITE: &str = "/prometheus/api/v1/write";
/// Prometheus' configuration in the data directory, when there is one.
const SCRAPE_FILE: &str = "prometheus.yml";

const fn writes(path: &'static str) -> Route {
    Route { method: "POST", path, gate: Gate::Needs(Action::WriteMetrics) }
}

const OTLP: Surface = Surface { prefix: "", table: &OTLP_TABLE, basic: true };
const OTLP_TABLE: [Route; otlp::HTTP_PATHS.len() + otlp::GRPC_PATHS.len()] = {
    let mut table = [writes(""); otlp::HTTP_PATHS.len() + otlp::GRPC_PATHS.len()];
    let mut at = 0;
    while at < table.len() {
        let http = otlp::HTTP_PATHS.len();
        table[at] = writes(if at < http { otlp::HTTP_PATHS[at] } else { otlp::GRPC_PATHS[at - http] });
        at += 1;
    }
    table
};

/// What Stead shows of itself to a scraper.
const SELF: Surface = Surface {
    prefix: "",
    table: &[Route { method: "GET", path: "/metrics", gate: Gate::Needs(Action::ReadMetrics) }],
    basic: true,
};

/// The store and the receivers, open.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    store: Store,
    received: Arc<Stats>,
    otlp: Arc<otlp::Receiver>,
    scrapes: Arc<Scrapes>,
    vitals: Arc<Vitals>,
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
        driver: Arc<dyn Driver>,
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
        let writer: Arc<dyn Writer> = Arc::new(store.clone());
        let otlp = otlp::Receiver::new(
            otlp::Settings::default(),
            otlp::Limits::default(),
            Arc::clone(&writer),
            Arc::clone(clock),
        );
        let received = Arc::<Stats>::default();
        let scraper = Scraper::new(scrape::Options {
            tenant: Tenant::default(),
            writer: Arc::clone(&writer),
            tasks: tasks.clone(),
            clock: Arc::clone(clock),
            stats: Arc::clone(&received),
            services: None,
        });
        let scrapes = Arc::new(Scrapes::new(scraper, layout.root.join(SCRAPE_FILE)));
        scrapes.reload()?;
        let vitals = Vitals::new(
            vitals::Options::of_this_host(Tenant::default()),
            vitals::Ports {
                writer,
                clock: Arc::clone(clock),
                tasks: tasks.clone(),
                registry: registry(&store, &received, &otlp),
                driver,
            },
        );
        let (clock, tasks) = (Arc::clone(clock), tasks.clone());
        Ok(Self { store, received, otlp, scrapes, vitals, settings, clock, tasks })
    }

    /// Writes what Stead measures of the host, of what runs and of itself, until shutdown.
    ///
    /// # Errors
    /// Stead is shutting down.
    pub(crate) fn measure(&self, gateway: &GatewayFiles) -> Result<(), Problem> {
        if self.settings.no_vitals {
            return Ok(());
        }
        let (vitals, gateway) = (Arc::clone(&self.vitals), gateway.clone());
        self.tasks
            .spawn(Kind::LOOP, "vitals", move |shutdown| Arc::clone(&vitals).run(shutdown, gateway.samples()))
            .map(drop)
            .map_err(|error| Problem::from_fault(&error))
    }

    /// The routes of `/prometheus` and OTLP behind the gate.
    pub(crate) fn router(&self, ports: &api::Ports) -> Router {
        let writer: Arc<dyn Writer> = Arc::new(self.store.clone());
        let receiver = Receiver::new(writer, self.tasks.clone(), Arc::clone(&self.received));
        let surface = prom_api::router(self.ports()).route_service(WRITE, receiver);
        let otlp = otlp::router(Arc::clone(&self.otlp)).merge(otlp::grpc(Arc::clone(&self.otlp)));
        let own = Router::new().route("/metrics", get(own)).with_state(Arc::clone(&self.vitals));
        guarded(ports, prom_api::SURFACE, surface)
            .merge(guarded(ports, OTLP, otlp))
            .merge(guarded(ports, SELF, own))
    }

    fn ports(&self) -> prom_api::Ports {
        let reader: Arc<dyn Reader> = Arc::new(self.store.clone());
        prom_api::Ports {
            reader,
            scrapes: Arc::<Scrapes>::clone(&self.scrapes),
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

fn open(folder: &Path, clock: Arc<dyn Clock>, settings: Settings) -> Result<Store, Problem> {
    let disk = RealDisk::open(folder).map_err(|error| Problem::from_fault(&error))?;
    Store::open(Arc::new(disk), clock, settings).map_err(|error| Problem::from_fault(&error))
}

/// Everything that the parts count of themselves, under one roof.
fn registry(store: &Store, received: &Arc<Stats>, otlp: &Arc<otlp::Receiver>) -> Arc<Registry> {
    let registry = Registry::new();
    let of_store = store.clone();
    registry.register(vitals::source("metrics", move |set| {
        for (name, count) in of_store.stats().counters() {
            set.counter(&format!("stead_metrics_{name}_total"), "Of the metrics store.", &[], count as f64);
        }
        for (kind, count) in of_store.stats().refused() {
            let labels = [("reason", kind.as_str())];
            set.counter(
                "stead_metrics_refused_total",
                "Samples the metrics store refused.",
                &labels,
                count as f64,
            );
        }
        set.gauge("stead_metrics_series", "Series held in memory.", &[], of_store.active_series() as f64);
        set.gauge(
            "stead_metrics_memory_bytes",
            "Memory of the metrics store.",
            &[],
            of_store.memory_bytes() as f64,
        );
    }));
    let of_received = Arc::clone(received);
    registry.register(vitals::source("prometheus", move |set| {
        for (name, count) in of_received.snapshot() {
            let name = format!("stead_prometheus_{}_total", name.trim_end_matches("_total"));
            set.counter(&name, "Of remote write and scrapes.", &[], count as f64);
        }
    }));
    let of_otlp = Arc::clone(otlp);
    registry.register(vitals::source("otlp", move |set| {
        for (name, label, count) in of_otlp.stats().counts() {
            set.counter(name, "Of the OTLP receiver.", label.as_slice(), count as f64);
        }
    }));
    registry
}

async fn own(State(vitals): State<Arc<Vitals>>) -> Result<impl IntoResponse, Failure> {
    let text = vitals.text().await.map_err(|error| Failure(Problem::from_fault(&error)))?;
    Ok(([(CONTENT_TYPE, vitals::TEXT_CONTENT_TYPE)], text))
}

/// The scraper with the file that says what it scrapes.
#[derive(Debug)]
struct Scrapes {
    scraper: Scraper,
    path: PathBuf,
    /// The configuration in force, secrets hidden.
    text: Mutex<Arc<str>>,
}

impl Scrapes {
    fn new(scraper: Scraper, path: PathBuf) -> Self {
        Self { scraper, path, text: Mutex::new(Arc::from(NOTHING)) }
    }

    fn text(&self) -> MutexGuard<'_, Arc<str>> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is in force without a file.
const NOTHING: &str = "scrape_configs: []\n";

impl prom_api::Scrapes for Scrapes {
    fn targets(&self, tenant: &Tenant) -> Targets {
        if *tenant == Tenant::default() { self.scraper.targets() } else { Targets::default() }
    }

    fn config_yaml(&self, _: &Tenant) -> String {
        self.text().to_string()
    }

    fn reload(&self) -> Result<(), Problem> {
        let invalid = |error: service_file::Diagnostics| {
            Problem::new(Class::Invalid, "bin.scrape", error.to_string())
                .with_hint(format!("correct it, or take {} away", self.path.display()))
        };
        let config = if self.path.exists() {
            prometheus::config::load(&self.path).map_err(invalid)?
        } else {
            prometheus::config::parse(&self.path, NOTHING.to_owned()).map_err(invalid)?
        };
        for note in &config.notes {
            tracing::warn!(%note, "left aside in the scrape configuration");
        }
        self.scraper.apply(&config).map_err(|error| Problem::from_fault(&error))?;
        *self.text() = Arc::from(config.text);
        Ok(())
    }
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
