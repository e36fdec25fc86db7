//! Removing what no live tree names, never under somebody's feet.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use disk::Kind;

use crate::{Digest, Error, Result, Store, store::Inner};

/// Holders at once.
const HOLDS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    holds: usize,
    collecting: bool,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives nothing is collected. Take one before asking what is missing or putting anything,
/// and drop it when the tree is on record as live.
#[derive(Debug)]
pub struct Hold(Arc<Inner>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.gate.state().holds -= 1;
    }
}

/// While it lives no hold is given.
struct Collecting<'a>(&'a Gate);

impl Drop for Collecting<'_> {
    fn drop(&mut self) {
        self.0.state().collecting = false;
    }
}

/// What was removed and what stayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    pub removed: u64,
    pub removed_bytes: u64,
    pub kept: u64,
}

impl Store {
    /// # Errors
    /// [`Error::Busy`] while a collection runs; [`Error::Limit`] over 10,000 holders.
    pub fn hold(&self) -> Result<Hold> {
        let mut state = self.inner.gate.state();
        if state.collecting {
            return Err(Error::Busy { why: "what is not used is being removed" });
        }
        if state.holds == HOLDS_MAX {
            return Err(Error::Limit { what: "holders of content".into(), limit: HOLDS_MAX as u64 });
        }
        state.holds += 1;
        Ok(Hold(Arc::clone(&self.inner)))
    }

    /// Removes every blob that none of the live trees names. `live` gives their digests; it is
    /// asked when nothing can be added any more.
    ///
    /// # Errors
    /// [`Error::Busy`] while somebody holds; an error of `live` and a live tree that cannot be
    /// read end it before anything is removed.
    pub fn collect(&self, live: impl FnOnce() -> Result<Vec<Digest>>) -> Result<Collected> {
        let _collecting = self.begin_collecting()?;
        let mut keep = HashSet::new();
        for digest in live()? {
            if keep.insert(digest) {
                keep.extend(self.tree(&digest)?.digests());
            }
        }
        let disk = &self.inner.disk;
        let mut collected = Collected::default();
        for folder in disk.list(&self.inner.blobs)? {
            let path = self.inner.blobs.join(&folder.name);
            if folder.kind != Kind::Dir {
                continue;
            }
            for blob in disk.list(&path)? {
                let digest = format!("sha256:{}{}", folder.name, blob.name).parse::<Digest>();
                // What is no blob was not put there by the store, and is not its to remove.
                match digest {
                    Ok(digest) if !keep.contains(&digest) => {
                        disk.remove(&path.join(&blob.name))?;
                        collected.removed += 1;
                        collected.removed_bytes += blob.size_bytes;
                    }
                    Ok(_) => collected.kept += 1,
                    Err(_) => {}
                }
            }
        }
        // Not synced: what a crash brings back is whole, and the next collection's.
        Ok(collected)
    }

    fn begin_collecting(&self) -> Result<Collecting<'_>> {
        let mut state = self.inner.gate.state();
        if state.holds > 0 {
            return Err(Error::Busy { why: "content is being added" });
        }
        if state.collecting {
            return Err(Error::Busy { why: "what is not used is being removed" });
        }
        state.collecting = true;
        Ok(Collecting(&self.inner.gate))
    }
}
