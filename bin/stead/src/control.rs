//! The control role: opens everything, wires it, serves the API until told to stop.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use access::Access;
use base::{Class, Clock, Ctx, Problem, Scope, Tenant, time::SystemClock};
use cli::args::{Listen, MetricsSettings};
use delivery::{Engine, Ports as DeliveryPorts};
use disk::RealDisk;
use runtime::ProcessDriver;
use runtime_api::Driver;
use secrets::{Unlock, Vault};
use state::SqliteState;
use tasks::{Kind, Tasks};

use crate::{
    adapters::{BlobArtifacts, GatewayFiles},
    checkpoints::Checkpoints,
    http::{self, Secured},
    layout::{Layout, ServerFile},
    machine::ThisMachine,
    metrics::Metrics,
    roles,
};

/// Holds the passphrase of the root key, where there is one.
pub(crate) const PASSPHRASE: &str = "STEAD_PASSPHRASE";
const LISTEN_DEFAULT: &str = "127.0.0.1:7070";
const LOCK_MS: u64 = 250;
const GATEWAY_LISTEN_DEFAULT: &str = "127.0.0.1:8080";

/// Runs control on the data directory until it is told to stop. Workloads and gateway go on.
///
/// # Errors
/// Another server holds the directory, or something in it cannot be opened.
pub(crate) fn run(data: PathBuf, listen: Listen, metrics: MetricsSettings) -> Result<(), Problem> {
    crate::log::set_up();
    // Whoever started this one in place of another need not wait for it to be ready.
    runtime::ready::say();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_stack_size(1 << 20)
        .enable_all()
        .build()
        .map_err(|error| Problem::new(Class::Internal, "bin.runtime", format!("cannot start: {error}")))?;
    runtime.block_on(control(data, listen, metrics))
}

async fn control(data: PathBuf, listen: Listen, metrics: MetricsSettings) -> Result<(), Problem> {
    let layout = Layout::new(data);
    layout.make()?;
    let _lock = take_lock(&layout).await?;
    let clock: Arc<dyn Clock> = SystemClock::shared();
    let tasks = Tasks::new(tasks::Limits::default());
    let parts = Parts::open(&layout, &clock, &tasks).await?;

    let addresses = Addresses::of(&layout, &listen)?;
    let listener = http::listen(addresses.api)?;
    let bound = listener
        .local_addr()
        .map_err(|error| Problem::new(Class::Unavailable, "bin.listen", error.to_string()))?;
    let secured = http::secure(bound, addresses.files.clone(), listen.insecure_plaintext, &layout.tls())?;
    let gateway_tls =
        http::secure(addresses.gateway, addresses.files, listen.insecure_plaintext, &layout.tls())?;

    let roles_driver = roles::driver(&layout)?;
    if roles::running(&roles_driver, roles::GATEWAY).await?.is_none() {
        http::free(addresses.gateway, "--gateway-listen")?;
    }
    let gateway = GatewayFiles::new(layout.routes(), layout.gateway_socket(), tasks.clone());
    let watched = gateway.clone();
    let engine = Engine::new(
        DeliveryPorts {
            tenant: Tenant::default(),
            data_directory: layout.root.clone(),
            root: rustix::process::geteuid().is_root(),
            public_address: addresses.gateway,
            public_tls: gateway_tls.as_ref().map(|tls| gateway_api::TlsFiles {
                certificate: tls.certificate.clone(),
                key: tls.key.clone(),
            }),
            state: parts.state.clone(),
            driver: parts.driver.clone(),
            secrets: parts.vault.clone(),
            gateway: Arc::new(gateway.clone()),
            artifacts: Arc::new(parts.artifacts.clone()),
            clock: Arc::clone(&clock),
            tasks: tasks.clone(),
        },
        "control".into(),
    );
    engine.spawn().map_err(|error| Problem::from_fault(&error))?;
    keep_gateway(&tasks, &roles_driver, &layout)?;

    keep_token(&tasks, &parts, &layout)?;
    let checkpoints = Checkpoints::new(&layout, parts.state.clone(), Arc::clone(&clock), Tenant::default());
    let signing = checkpoints.clone();
    tasks
        .spawn(Kind::FLUSH, "checkpoints", move |shutdown| signing.clone().run(shutdown))
        .map_err(|error| Problem::from_fault(&error))?;

    let url = url_of(bound, secured.as_ref());
    let machine = ThisMachine::new(
        &layout,
        &parts,
        roles_driver,
        gateway,
        checkpoints,
        &tasks,
        &clock,
        &url,
        engine.shared(),
    );
    let metrics = Metrics::open(&layout, metrics, &clock, &tasks, parts.driver.clone()).await?;
    metrics.measure(&watched)?;
    let ports = api::Ports {
        tenant: Tenant::default(),
        base_url: url.clone(),
        tls: secured.is_some(),
        host_names: http::host_names(bound),
        clock: Arc::clone(&clock),
        tasks: tasks.clone(),
        access: parts.access.clone(),
        delivery: Arc::new(engine.clone()),
        secrets: parts.vault.clone(),
        state: parts.state.clone(),
        driver: parts.driver.clone(),
        machine: Arc::new(machine),
        world: engine.shared().changes(),
        streams: api::Ports::streams(),
    };
    let router = metrics.router(&ports).merge(api::router(ports)).merge(web::router());
    announce(&layout, &url, secured.as_ref())?;
    serve(&tasks, listener, secured, router)?;
    wait(&tasks).await;
    let drained = tasks.drain().await;
    if !drained.is_clean() {
        tracing::warn!(?drained, "some work was cut off");
    }
    Ok(())
}

/// After an upgrade in place, the server before this one needs a moment to end. Whoever looks who
/// holds the lock holds it for a moment, too.
async fn take_lock(layout: &Layout) -> Result<std::fs::File, Problem> {
    let succeeding = std::env::var_os(handover::PATH_VARIABLE).is_some();
    let deadline = tokio::time::Instant::now()
        + std::time::Duration::from_millis(if succeeding { 40_000 } else { LOCK_MS });
    loop {
        match layout.lock() {
            Err(problem) if problem.code == "bin.locked" && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            other => return other,
        }
    }
}

/// What the data directory holds, opened.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) state: Arc<SqliteState>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) access: Arc<Access>,
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) artifacts: BlobArtifacts,
}

impl Parts {
    async fn open(layout: &Layout, clock: &Arc<dyn Clock>, tasks: &Tasks) -> Result<Self, Problem> {
        let (path, for_state) = (layout.state(), Arc::clone(clock));
        let state = tasks
            .blocking("open state", move || {
                SqliteState::open(&path, &state::sqlite::Options::default(), for_state)
            })
            .await
            .map_err(|error| Problem::from_fault(&error))?
            .map_err(|error| Problem::from_fault(&error))?;
        let state = Arc::new(state);
        let unlock = match std::env::var(PASSPHRASE) {
            Ok(text) => Unlock::Passphrase(
                secrets_api::Value::new(text.into_bytes()).map_err(|error| Problem::from_fault(&error))?,
            ),
            Err(_) => Unlock::File,
        };
        let vault = Vault::open(state.clone(), Arc::clone(clock), &layout.secrets_key(), unlock)
            .await
            .map_err(|error| Problem::from_fault(&error))?;
        let access = Access::new(state.clone(), Arc::clone(clock), access::Options::default());
        let ctx = Ctx::system("start", Scope::default());
        access.bootstrap(&ctx).await.map_err(|error| Problem::from_fault(&error))?;
        access.local_token(&ctx, &layout.token()).await.map_err(|error| Problem::from_fault(&error))?;

        let root = RealDisk::open(&layout.root).map_err(|error| Problem::from_fault(&error))?;
        let store = blob::Store::open(Arc::new(root), std::path::Path::new("blobs"))
            .map_err(|error| Problem::from_fault(&error))?;
        let artifacts = BlobArtifacts::new(store, layout.trees(), tasks.clone());
        let mut options = runtime::Options::new(layout.replicas(), roles::program()?);
        options.clock = Arc::clone(clock);
        let driver = ProcessDriver::new(options).map_err(|error| Problem::from_fault(&error))?;
        Ok(Self {
            state,
            vault: Arc::new(vault),
            access: Arc::new(access),
            driver: Arc::new(driver),
            artifacts,
        })
    }
}

/// Renews the token of this machine's command line, for a server that runs for more than a year.
fn keep_token(tasks: &Tasks, parts: &Parts, layout: &Layout) -> Result<(), Problem> {
    let (access, path) = (parts.access.clone(), layout.token());
    tasks
        .spawn(Kind::LOOP, "token of this machine", move |shutdown| {
            let (access, path) = (access.clone(), path.clone());
            async move {
                let ctx = Ctx::system("token", Scope::default());
                let failed = |error: &access::Error| tracing::warn!(%error, "the token was not renewed");
                access.keep_local_token(&ctx, &path, shutdown.cancelled(), failed).await;
            }
        })
        .map(drop)
        .map_err(|error| Problem::from_fault(&error))
}

/// Where API and gateway listen: as told now, else as the last time, else the defaults.
#[derive(Debug)]
struct Addresses {
    api: SocketAddr,
    gateway: SocketAddr,
    files: Option<(PathBuf, PathBuf)>,
}

impl Addresses {
    fn of(layout: &Layout, listen: &Listen) -> Result<Self, Problem> {
        let parse = |text: &str, flag: &str| {
            text.parse::<SocketAddr>().map_err(|_| {
                Problem::new(Class::Invalid, "bin.address", format!("{flag} {text:?} is not an address"))
                    .with_hint("an address is an IP and a port, such as 127.0.0.1:7070 or 0.0.0.0:443")
            })
        };
        let api = parse(listen.listen.as_deref().unwrap_or(LISTEN_DEFAULT), "--listen")?;
        let mut gateway =
            parse(listen.gateway_listen.as_deref().unwrap_or(GATEWAY_LISTEN_DEFAULT), "--gateway-listen")?;
        if gateway.port() == 0 {
            // Chosen once: the gateway keeps its address over restarts.
            gateway = kept_gateway_address(layout, gateway)?;
        }
        let files = listen.tls_certificate.clone().zip(listen.tls_key.clone());
        Ok(Self { api, gateway, files })
    }
}

fn kept_gateway_address(layout: &Layout, wish: SocketAddr) -> Result<SocketAddr, Problem> {
    let kept = gateway::snapshot::read(&layout.routes()).ok().and_then(|snapshot| {
        let public = snapshot.listeners.into_iter().find(|one| one.name == delivery::reconcile::PUBLIC)?;
        (public.address.ip() == wish.ip()).then_some(public.address)
    });
    match kept {
        Some(address) => Ok(address),
        None => {
            std::net::TcpListener::bind(wish).and_then(|listener| listener.local_addr()).map_err(|error| {
                Problem::new(Class::Unavailable, "bin.listen", format!("cannot listen on {wish}: {error}"))
            })
        }
    }
}

pub(crate) fn url_of(bound: SocketAddr, secured: Option<&Secured>) -> String {
    let scheme = if secured.is_some() { "https" } else { "http" };
    let host =
        if bound.ip().is_unspecified() { format!("localhost:{}", bound.port()) } else { bound.to_string() };
    format!("{scheme}://{host}")
}

/// Starts the gateway now and again should its shim ever be gone.
fn keep_gateway(tasks: &Tasks, driver: &Arc<ProcessDriver>, layout: &Layout) -> Result<(), Problem> {
    let (driver, layout) = (Arc::clone(driver), layout.clone());
    tasks
        .spawn(Kind::LOOP, "keep gateway", move |shutdown| {
            let (driver, layout) = (Arc::clone(&driver), layout.clone());
            async move {
                loop {
                    if let Err(problem) = roles::ensure_gateway(&driver, &layout).await {
                        tracing::error!(%problem, "the gateway cannot be started");
                    }
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = tokio::time::sleep(std::time::Duration::from_secs(5)) => {}
                    }
                }
            }
        })
        .map(drop)
        .map_err(|error| Problem::from_fault(&error))
}

/// Tells the command line where this server is.
fn announce(layout: &Layout, url: &str, secured: Option<&Secured>) -> Result<(), Problem> {
    let file = ServerFile {
        url: url.to_owned(),
        pid: std::process::id(),
        fingerprint: secured.map(|tls| tls.fingerprint.clone()),
    };
    if let Some(fingerprint) = &file.fingerprint {
        tracing::info!(fingerprint, "TLS certificate (SHA-256)");
    }
    let disk = RealDisk::open(&layout.root).map_err(|error| Problem::from_fault(&error))?;
    let text = serde_json::to_vec(&file).unwrap_or_default();
    disk::write_atomic(&disk, "server.json".as_ref(), &text, 0o600)
        .map_err(|error| Problem::from_fault(&error))?;
    tracing::info!(url, data = %layout.root.display(), "serving");
    Ok(())
}

fn serve(
    tasks: &Tasks,
    listener: std::net::TcpListener,
    secured: Option<Secured>,
    router: axum::Router,
) -> Result<(), Problem> {
    let inner = tasks.clone();
    tasks
        .spawn_once(Kind::INTAKE, "api", move |shutdown| async move {
            http::serve(listener, secured, router, inner, shutdown).await
        })
        .map(drop)
        .map_err(|error| Problem::from_fault(&error))
}

/// Until somebody asks to stop, by signal or through the API, or a part fails that all need.
async fn wait(tasks: &Tasks) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    let reason = tokio::select! {
        _ = term.recv() => "SIGTERM".to_owned(),
        _ = int.recv() => "SIGINT".to_owned(),
        reason = tasks.shutdown_requested() => format!("{reason:?}"),
    };
    tracing::info!(reason, "stopping; workloads and gateway go on");
}
