//! The store of one tenant: its queue, its pipeline, its head, its files.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use base::{Clock, Tenant};
use disk::Disk;
use metrics_api::{Appended, Error, Result, WriteBatch};
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard, Semaphore, oneshot};

use super::{
    Settings, Stats,
    head::{Head, Sealed},
    manifest::Manifest,
    pipeline::{Bounds, Pipeline, Waiting},
    time::Believed,
    wal::record::{Float, HistogramSample},
};
use crate::part::BlockCache;

/// Batches of one group, in bytes: what is taken through the log at once.
const GROUP_BYTES_MAX: usize = 16 << 20;

/// What all tenants share.
#[derive(Debug)]
pub struct Shared {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub settings: Settings,
    pub stats: Arc<Stats>,
    pub cache: BlockCache,
    /// Bytes held by all tenants.
    pub held_bytes: AtomicUsize,
    /// Told when there is something to flush.
    pub wake: Notify,
    /// Told when memory was given back.
    pub freed: Notify,
}

impl Shared {
    pub fn over_memory(&self) -> bool {
        self.used_bytes() > self.settings.memory_bytes_max
    }

    pub fn near_memory(&self) -> bool {
        self.used_bytes() > self.settings.memory_bytes_max / 4 * 3
    }

    pub fn used_bytes(&self) -> u64 {
        (self.held_bytes.load(Ordering::Relaxed) + self.cache.size_bytes()) as u64
    }
}

#[derive(Debug)]
pub struct TenantStore {
    pub name: Tenant,
    pub dir: PathBuf,
    pub shared: Arc<Shared>,
    pub settings: Settings,
    pub stats: Arc<Stats>,
    pub queue: Mutex<VecDeque<Waiting>>,
    room: Arc<Semaphore>,
    room_kib: u32,
    pub pipeline: Arc<AsyncMutex<Pipeline>>,
    pub head: RwLock<Head>,
    pub manifest: Mutex<Manifest>,
    pub next_file: AtomicU64,
    pub believed: Mutex<Believed>,
    /// Held while a buffer becomes a part.
    pub flushing: Arc<AsyncMutex<FlushState>>,
    pub compacting: Arc<AsyncMutex<()>>,
    /// Bytes of this tenant in [`Shared::held_bytes`].
    held_bytes: AtomicUsize,
    pub pipeline_bytes: AtomicUsize,
    /// What recovery found damaged.
    pub damage: Vec<String>,
}

/// What flushing remembers between two.
#[derive(Debug, Default)]
pub struct FlushState {
    /// Entries in the registry's file, those out of date included.
    pub registry_entries: u64,
    /// The file has to be written anew.
    pub registry_torn: bool,
    pub forgot_idle_at: Duration,
}

pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// An error of the disk as the contract has it.
pub fn storage(error: disk::Error) -> Error {
    match error {
        disk::Error::Full { .. } | disk::Error::Denied { .. } => {
            Error::Unavailable { why: error.to_string() }
        }
        other => {
            let place = match &other {
                disk::Error::Io { path, .. } | disk::Error::NotFound { path } => path.display().to_string(),
                _ => "the metrics folder".to_owned(),
            };
            Error::Storage { place, source: Box::new(other) }
        }
    }
}

/// Runs work that blocks; a panic in it is an error to whoever waits.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Unavailable { why: format!("the work was given up: {error}") })
}

impl TenantStore {
    #[allow(clippy::too_many_arguments)] // once, by recovery, which made them all
    pub fn new(
        name: Tenant,
        dir: PathBuf,
        shared: Arc<Shared>,
        pipeline: Pipeline,
        head: Head,
        manifest: Manifest,
        flush: FlushState,
        damage: Vec<String>,
    ) -> Self {
        let settings = shared.settings.clone();
        let room_kib = (settings.queue_bytes_max() >> 10) as u32;
        let believed = Believed::new(
            Arc::clone(&shared.clock),
            manifest.believed_ms,
            settings.clock_jump_max,
            settings.clock_hold,
        );
        Self {
            name,
            dir,
            stats: Arc::clone(&shared.stats),
            shared,
            settings,
            queue: Mutex::default(),
            room: Arc::new(Semaphore::new(room_kib as usize)),
            room_kib,
            pipeline: Arc::new(AsyncMutex::new(pipeline)),
            head: RwLock::new(head),
            next_file: AtomicU64::new(manifest.next_file),
            manifest: Mutex::new(manifest),
            believed: Mutex::new(believed),
            flushing: Arc::new(AsyncMutex::new(flush)),
            compacting: Arc::default(),
            held_bytes: AtomicUsize::new(0),
            pipeline_bytes: AtomicUsize::new(0),
            damage,
        }
    }

    /// Seconds of the monotonic clock.
    pub fn seconds(&self) -> u32 {
        self.shared.clock.monotonic().as_secs() as u32
    }

    /// The time that retention goes by, in milliseconds.
    pub fn believed_ms(&self) -> i64 {
        let mut believed = lock(&self.believed);
        let before = believed.jumps;
        let now_ms = believed.now_ms();
        Stats::add(&self.stats.clock_jumps, believed.jumps - before);
        now_ms
    }

    /// Samples before this are gone or on their way.
    pub fn keep_from_ms(&self) -> i64 {
        self.believed_ms().saturating_sub(millis(self.settings.retention))
    }

    pub fn bounds(&self) -> Bounds {
        let wall_ms = self.shared.clock.now().millis();
        // A clock that jumped ahead must not make good samples too old.
        let oldest_ms = self.keep_from_ms().min(wall_ms.saturating_sub(millis(self.settings.retention)));
        Bounds {
            oldest_ms,
            newest_ms: wall_ms.saturating_add(millis(self.settings.future_max)),
            window_ms: millis(self.settings.out_of_order_window),
        }
    }

    /// # Errors
    /// [`Error::Unavailable`]: nothing was acknowledged.
    pub async fn write(self: &Arc<Self>, batch: WriteBatch) -> Result<Appended> {
        let kib =
            u32::try_from(batch.size_bytes() >> 10).unwrap_or(u32::MAX).saturating_add(1).min(self.room_kib);
        let room =
            tokio::time::timeout(self.settings.wait_max, Arc::clone(&self.room).acquire_many_owned(kib))
                .await;
        let Ok(Ok(room)) = room else {
            let why = format!("batches for {} KiB wait for the log already", self.room_kib);
            return Err(Error::Unavailable { why });
        };
        self.wait_for_memory().await?;
        let (reply, mut answer) = oneshot::channel();
        lock(&self.queue).push_back(Waiting { batch, room, reply });
        loop {
            tokio::select! {
                biased;
                said = &mut answer => {
                    let gone = |_| Err(Error::Unavailable { why: "the write ended without an answer".into() });
                    return said.unwrap_or_else(gone);
                }
                pipeline = Arc::clone(&self.pipeline).lock_owned() => self.lead(pipeline).await?,
            }
        }
    }

    /// Takes everything that waits through the pipeline.
    async fn lead(self: &Arc<Self>, mut pipeline: OwnedMutexGuard<Pipeline>) -> Result<()> {
        if lock(&self.queue).is_empty() {
            return Ok(());
        }
        if !self.settings.wal_sync_interval.is_zero() {
            tokio::time::sleep(self.settings.wal_sync_interval).await;
        }
        let store = Arc::clone(self);
        blocking(move || store.run_groups(&mut pipeline)).await
    }

    /// Also called before a seal, so that nothing that waits is left out.
    pub fn run_groups(&self, pipeline: &mut Pipeline) {
        loop {
            let group = self.take_group();
            if group.is_empty() {
                break;
            }
            pipeline.run_group(self, group);
            self.pipeline_bytes.store(pipeline.size_bytes(), Ordering::Relaxed);
            let mut head = write(&self.head);
            if head.active.filled_bytes() >= self.settings.flush_bytes() {
                self.seal(&mut head, pipeline);
                self.shared.wake.notify_one();
            }
            self.account(&head);
        }
    }

    fn take_group(&self) -> Vec<Waiting> {
        let mut queue = lock(&self.queue);
        let (mut bytes, mut group) = (0, Vec::new());
        while let Some(next) = queue.front() {
            bytes += next.batch.size_bytes();
            if bytes > GROUP_BYTES_MAX && !group.is_empty() {
                break;
            }
            group.extend(queue.pop_front());
        }
        group
    }

    /// Puts what is logged where answers see it.
    pub fn take_in(&self, floats: &[Float], histograms: Vec<HistogramSample>, side: &[(u8, Vec<u8>)]) {
        let mut head = write(&self.head);
        let head = &mut *head;
        if head.active_since.is_none() {
            head.active_since = Some(self.shared.clock.monotonic());
        }
        head.active.push(floats, head.registry.numbers());
        head.active.push_histograms(histograms);
        for (kind, payload) in side {
            let _ = head.side.take(*kind, payload, self.settings.metadata_max, self.settings.exemplars_max);
        }
    }

    /// Counts what became of a batch.
    pub fn count(&self, appended: Appended) -> Appended {
        Stats::add(&self.stats.samples_in, appended.samples);
        Stats::add(&self.stats.duplicates, appended.duplicates);
        appended.refused.iter().for_each(|(kind, samples)| self.stats.refuse(*kind, *samples));
        appended
    }

    /// Ends the active buffer, so that it can become a part; false when it is empty or the one before
    /// is not a part yet.
    pub fn seal(&self, head: &mut Head, pipeline: &mut Pipeline) -> bool {
        if head.sealed.is_some() || head.active.is_empty() {
            return false;
        }
        let buffer = Arc::new(std::mem::take(&mut head.active));
        head.active_since = None;
        head.sealed = Some(Sealed { buffer, wal_first: pipeline.wal.rotate() });
        true
    }

    /// Keeps the account of memory.
    pub fn account(&self, head: &Head) {
        let held = head.size_bytes() + self.pipeline_bytes.load(Ordering::Relaxed);
        let before = self.held_bytes.swap(held, Ordering::Relaxed);
        if held >= before {
            self.shared.held_bytes.fetch_add(held - before, Ordering::Relaxed);
        } else {
            self.shared.held_bytes.fetch_sub(before - held, Ordering::Relaxed);
            self.shared.freed.notify_waiters();
        }
    }

    fn is_pressed(&self) -> bool {
        self.shared.over_memory() || read(&self.head).active.filled_bytes() >= 2 * self.settings.flush_bytes()
    }

    async fn wait_for_memory(self: &Arc<Self>) -> Result<()> {
        if !self.is_pressed() {
            return Ok(());
        }
        Stats::add(&self.stats.waits_for_memory, 1);
        let waited = tokio::time::timeout(self.settings.wait_max, async {
            loop {
                let freed = self.shared.freed.notified();
                self.shared.wake.notify_one();
                // To a sender it is all one: not now.
                self.flush().await.map_err(|error| {
                    let cause =
                        std::error::Error::source(&error).map_or_else(String::new, |why| format!(": {why}"));
                    Error::Unavailable {
                        why: format!("memory is full and cannot be made parts: {error}{cause}"),
                    }
                })?;
                if !self.is_pressed() {
                    return Ok(());
                }
                freed.await; // another tenant may hold it
            }
        });
        waited.await.unwrap_or_else(|_| {
            let (used, max) = (self.shared.used_bytes(), self.settings.memory_bytes_max);
            let why = format!("making parts takes too long; {used} bytes of memory are in use, {max} may be");
            Err(Error::Unavailable { why })
        })
    }
}
