//! A disk in memory that forgets what was not synced.
//!
//! Content and names are kept twice: as a running system sees them, and as they are on the platter,
//! with the writes in between. [`SimulatedDisk::crash`] builds the disk that a machine would find
//! after losing power now: of the writes that were not synced any may be there, torn or not, in any
//! combination; of the names that were not synced likewise. It is as unkind as POSIX allows, with
//! one exception: a rename is one step, as on every journalling file system, and syncing either
//! folder makes it last.

mod faults;
mod world;

use std::{
    io::{self, Cursor, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use faults::{Counts, Plan};
use world::{NodeId, World};

use crate::{Create, Disk, Error, Listed, Result, Sink, Source, Sync};

/// The test double of [`crate::RealDisk`]. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk {
    world: Arc<Mutex<World>>,
}

impl SimulatedDisk {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is to go wrong from now on; counting begins anew.
    pub fn plan(&self, plan: Plan) {
        self.world().faults.begin(plan);
    }

    /// What was asked for since [`SimulatedDisk::plan`].
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.world().faults.counts()
    }

    /// The disk that is found after a power cut now, without faults. Seed 0 loses everything that
    /// was not synced, seed 1 loses nothing, every other one keeps a part of its own choosing; the
    /// same seed on the same history gives the same disk. This disk goes on as if nothing was.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        Self { world: Arc::new(Mutex::new(self.world().crash(seed))) }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path) -> Result<Box<dyn Source>> {
        Ok(Box::new(SimulatedSource(Cursor::new(self.world().content(path)?))))
    }

    fn create(&self, path: &Path, how: Create) -> Result<Box<dyn Sink>> {
        let mut world = self.world();
        world.faults.step(path)?;
        let node = world.create(path, how.append)?;
        Ok(Box::new(SimulatedSink { disk: self.clone(), node, path: path.to_owned() }))
    }

    fn create_dir(&self, path: &Path, _mode: u32) -> Result<()> {
        let mut world = self.world();
        world.faults.step(path)?;
        world.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut world = self.world();
        world.faults.step(from)?;
        world.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        let mut world = self.world();
        world.faults.step(from)?;
        if world.stat(to)?.is_some() {
            return Err(Error::Exists { path: to.to_owned() });
        }
        world.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut world = self.world();
        world.faults.step(path)?;
        world.remove(path)
    }

    fn list(&self, path: &Path) -> Result<Vec<Listed>> {
        self.world().list(path)
    }

    fn stat(&self, path: &Path) -> Result<Option<Listed>> {
        self.world().stat(path)
    }

    fn sync(&self, what: Sync<'_>) -> Result<()> {
        let mut world = self.world();
        let path = if let Sync::Dir(path) = what { path } else { Path::new("") };
        if world.faults.sync(path)? {
            match what {
                Sync::Dir(path) => world.sync_dir(path)?,
                Sync::All => world.sync_all(),
            }
        }
        Ok(())
    }
}

struct SimulatedSource(Cursor<Vec<u8>>);

impl Read for SimulatedSource {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}
impl Source for SimulatedSource {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.0.get_ref();
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let count = into.len().min(content.len() - from);
        into[..count].copy_from_slice(&content[from..from + count]);
        Ok(count)
    }
}

struct SimulatedSink {
    disk: SimulatedDisk,
    node: NodeId,
    path: PathBuf,
}

impl Write for SimulatedSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut world = self.disk.world();
        let taken = world.faults.write(&self.path, bytes.len()).map_err(|e| match e {
            Error::Full { .. } => io::Error::from(io::ErrorKind::StorageFull),
            other => io::Error::other(other.to_string()),
        })?;
        world.write(self.node, &bytes[..taken]);
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for SimulatedSink {
    fn sync(&mut self) -> Result<()> {
        let mut world = self.disk.world();
        if world.faults.sync(&self.path)? {
            world.sync_file(self.node);
        }
        Ok(())
    }
}
