//! The driver: starts shims, reads what they recorded, asks them to stop.

mod exec;
mod follow;
mod observe;
mod socket;
mod start;
mod stop;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base::{Clock, id::ReplicaId, time::SystemClock};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use runtime_api::{
    Driver, Error, ExecOutcome, ExecRequest, LogLine, LogQuery, Observed, ReplicaSpec, Result,
};
use tokio_stream::wrappers::WatchStream;

use crate::wire::Record;

/// How a driver is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where replicas are kept. Workloads must be able to pass through to reach their roots.
    pub dir: PathBuf,
    /// The program that enters [`crate::shim::main`].
    pub shim_program: PathBuf,
    /// Arguments before `--dir DIR`, such as `shim`.
    pub shim_arguments: Vec<OsString>,
    pub clock: Arc<dyn Clock>,
    /// Whether control groups are used where the machine has them.
    pub cgroups: bool,
}

impl Options {
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, shim_program: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            shim_program: shim_program.into(),
            shim_arguments: vec!["shim".into()],
            clock: SystemClock::shared(),
            cgroups: true,
        }
    }
}

/// A directory among the replicas that cannot be read as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    pub path: PathBuf,
    pub why: String,
}

/// Runs replicas as processes. Cheap to clone; dropping it stops nothing that runs.
#[derive(Debug, Clone)]
pub struct ProcessDriver {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    options: Options,
    watch: watch::Watch,
    /// Records never change, so that each is read once.
    records: Mutex<BTreeMap<ReplicaId, Arc<Record>>>,
    /// Replicas that a call of ours is preparing.
    starting: Mutex<BTreeSet<ReplicaId>>,
}

impl ProcessDriver {
    /// Opens the directory, making it when it is missing. It blocks for a few file operations.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be made, or is a symlink.
    pub fn new(options: Options) -> Result<Self> {
        let io = |why: std::io::Error| Error::Io {
            what: format!("replica directory {}", options.dir.display()),
            why: why.to_string(),
        };
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&options.dir).map_err(io)?;
        crate::files::open_dir(&options.dir).map_err(io)?;
        let watch = watch::Watch::start(&options.dir).map_err(io)?;
        let inner = Inner {
            options,
            watch,
            records: Mutex::new(BTreeMap::new()),
            starting: Mutex::new(BTreeSet::new()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Directories among the replicas that cannot be read as one, and why: `list` leaves them out,
    /// `remove` takes them away.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be listed.
    pub async fn damaged(&self) -> Result<Vec<Damaged>> {
        self.blocking(|inner| inner.observe_all().map(|(_, damaged)| damaged)).await
    }

    /// Replaces the program of one of Stead's own roles: the new one starts beside the old one, and
    /// when it says that it is ready (`ready::say`) or has run for a second, the old one is
    /// asked to stop. Returns when the new one has taken over.
    ///
    /// # Errors
    /// [`Error::Start`] when the new program ends before that; the old one then goes on.
    /// [`Error::NotRunning`], [`Error::NotFound`], [`Error::Deadline`].
    pub async fn upgrade(&self, id: ReplicaId, program: PathBuf) -> Result<()> {
        self.blocking(move |inner| inner.upgrade(&id, &program)).await
    }

    /// Runs `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.inner.clone();
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) => Err(Error::Io { what: "the runtime's worker".into(), why: error.to_string() }),
        }
    }
}

impl Inner {
    pub(crate) fn path(&self, id: &ReplicaId) -> PathBuf {
        self.options.dir.join(id.as_str())
    }
}

impl Driver for ProcessDriver {
    fn start(&self, spec: ReplicaSpec) -> BoxFuture<'_, Result<()>> {
        self.blocking(move |inner| inner.start(spec)).boxed()
    }

    fn stop(&self, id: ReplicaId) -> BoxFuture<'_, Result<()>> {
        stop::stop(self, id).boxed()
    }

    fn remove(&self, id: ReplicaId) -> BoxFuture<'_, Result<()>> {
        self.blocking(move |inner| inner.remove(&id)).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Observed>>> {
        self.blocking(|inner| inner.observe_all().map(|(observed, _)| observed)).boxed()
    }

    fn changed(&self) -> BoxStream<'static, ()> {
        WatchStream::from_changes(self.inner.watch.changes()).map(|_| ()).boxed()
    }

    fn logs(&self, query: LogQuery) -> BoxFuture<'_, Result<BoxStream<'static, LogLine>>> {
        follow::logs(self, query).boxed()
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<ExecOutcome>> {
        exec::exec(self, request).boxed()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn io_error(what: &Path, error: &std::io::Error) -> Error {
    Error::Io { what: what.display().to_string(), why: error.to_string() }
}
