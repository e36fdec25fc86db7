//! Checkpoints in a file, one per line, only ever appended to.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use disk::{Create, Disk, Sync};

use super::Checkpoint;
use crate::Error;

/// A checkpoint an hour fills it in some 20 years.
pub const LOG_BYTES_MAX: u64 = 64 << 20;

/// A file of checkpoints on a disk outside of the data directory: another volume, a mount of
/// another machine, write-once storage. One process appends.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    appending: Mutex<()>,
}

/// What a log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    pub checkpoints: Vec<Checkpoint>,
    /// Lines, from 1, that are no checkpoint. Only the last can come from a crash.
    pub unreadable_lines: Vec<usize>,
}

impl Log {
    /// The log in the file `path` of `disk`; it is made with the first checkpoint.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, path: &Path) -> Self {
        Self { disk, path: path.to_owned(), appending: Mutex::new(()) }
    }

    /// Adds a checkpoint; durable on return.
    ///
    /// # Errors
    /// [`Error::Log`] when the disk fails or the log is at [`LOG_BYTES_MAX`].
    pub fn append(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let _one = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.content()?;
        let mut line = serde_json::to_vec(checkpoint).map_err(|e| Error::Log { why: e.to_string() })?;
        line.push(b'\n');
        if before.last().is_some_and(|last| *last != b'\n') {
            line.insert(0, b'\n'); // behind a line that a crash cut
        }
        if before.len() as u64 + line.len() as u64 > LOG_BYTES_MAX {
            return Err(Error::Log {
                why: format!("it is at its limit of {LOG_BYTES_MAX} bytes; begin a new file"),
            });
        }
        let mut sink = self.disk.create(&self.path, Create { mode: 0o600, append: true })?;
        sink.write_all(&line).map_err(|e| disk::Error::from_io(&self.path, &e))?;
        sink.sync()?;
        // Its name too: the last append may have been cut before it was synced.
        self.disk.sync(Sync::Dir(self.path.parent().unwrap_or(Path::new(""))))?;
        Ok(())
    }

    /// All checkpoints, in the order in which they were added.
    ///
    /// # Errors
    /// [`Error::Log`] when the disk fails.
    pub fn read(&self) -> Result<Found, Error> {
        let mut found = Found::default();
        for (at, line) in self.content()?.split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            match serde_json::from_slice(line) {
                Ok(checkpoint) => found.checkpoints.push(checkpoint),
                Err(_) => found.unreadable_lines.push(at + 1),
            }
        }
        Ok(found)
    }

    fn content(&self) -> Result<Vec<u8>, Error> {
        match disk::read(&*self.disk, &self.path, LOG_BYTES_MAX) {
            Ok(content) => Ok(content),
            Err(disk::Error::NotFound { .. }) => Ok(Vec::new()),
            Err(e) => Err(e.into()),
        }
    }
}
