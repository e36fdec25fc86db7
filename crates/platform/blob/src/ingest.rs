//! Keeping many blobs with few syncs: write all, sync, rename all, sync.

mod archive;

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    sync::PoisonError,
};

use disk::{Sink, Sync};

use crate::{
    BLOB_BYTES_MAX, Content, Digest, Entry, Error, Hasher, Result, Rules, Store, Stored, TREE_BYTES_MAX,
    TREE_ENTRIES_MAX, Tree, scan, store::copy, tree::limit,
};

/// From so many files on one sync of the whole file system is cheaper than one each.
const SYNC_ALL_FROM: usize = 16;

/// Blobs on their way into the store. Dropped before [`Batch::finish`], nothing is kept.
#[derive(Debug)]
pub struct Batch {
    store: Store,
    /// Written, not synced; where each is.
    new: BTreeMap<Digest, PathBuf>,
    size_bytes: u64,
    /// Only while a batch is small: each file stays open to be synced by itself.
    open: Vec<Open>,
}

struct Open(Box<dyn Sink>);

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Open")
    }
}

impl Batch {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, new: BTreeMap::new(), size_bytes: 0, open: Vec::new() }
    }

    /// Takes one blob. It is kept after [`Batch::finish`] only.
    ///
    /// # Errors
    /// [`Error::Limit`] over [`BLOB_BYTES_MAX`] each, or the limits of a tree together;
    /// [`Error::Source`] when `from` fails; [`Error::Disk`]. The batch goes on without this blob.
    pub fn add(&mut self, from: &mut dyn Read) -> Result<Stored> {
        limit("blobs of a batch", self.new.len() as u64 + 1, TREE_ENTRIES_MAX as u64 + 1)?;
        let (path, mut sink) = self.store.create_new()?;
        let written = self.write(from, &path, &mut sink);
        let disk = &self.store.inner.disk;
        let stored = match written {
            Ok(stored) => stored,
            Err(e) => {
                drop(sink);
                let _ = disk.remove(&path); // swept at the next start
                return Err(e);
            }
        };
        // A damaged blob that is there is replaced: it is read and not only looked for.
        if self.new.contains_key(&stored.digest) || self.whole(&stored.digest)? {
            drop(sink);
            disk.remove(&path)?;
            return Ok(stored);
        }
        self.size_bytes += stored.size_bytes;
        self.new.insert(stored.digest, path);
        if self.new.len() < SYNC_ALL_FROM {
            self.open.push(Open(sink));
        } else {
            self.open.clear();
        }
        Ok(stored)
    }

    fn write(&self, from: &mut dyn Read, path: &Path, sink: &mut Box<dyn Sink>) -> Result<Stored> {
        let mut hasher = Hasher::default();
        let mut count = 0;
        let before = self.size_bytes;
        let size_bytes = copy(
            from,
            &mut |part| {
                count += part.len() as u64;
                limit("bytes of a blob", count, BLOB_BYTES_MAX)?;
                limit("bytes of a batch", before + count, TREE_BYTES_MAX)?;
                hasher.update(part);
                sink.write_all(part).map_err(|e| disk::Error::from_io(path, &e).into())
            },
            |e| Error::Source { why: e.to_string() },
        )?;
        Ok(Stored { digest: hasher.finish(), size_bytes })
    }

    /// Whether the blob is there and undamaged.
    fn whole(&self, digest: &Digest) -> Result<bool> {
        if !self.store.has(digest)? {
            return Ok(false);
        }
        match self.store.read(digest, &mut |_| Ok(())) {
            Ok(_) => Ok(true),
            Err(Error::Damaged { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Keeps all that was added; durable on return.
    ///
    /// # Errors
    /// [`Error::Disk`]; some may be kept then, each whole.
    pub fn finish(mut self) -> Result<()> {
        let new = std::mem::take(&mut self.new);
        let placed = self.place(&new);
        if placed.is_err() {
            for path in new.values() {
                let _ = self.store.inner.disk.remove(path); // swept at the next start
            }
        }
        placed
    }

    fn place(&mut self, new: &BTreeMap<Digest, PathBuf>) -> Result<()> {
        let store = self.store.clone();
        let mut settled = store.inner.settled.lock().unwrap_or_else(PoisonError::into_inner);
        let disk = &store.inner.disk;
        let all = !*settled || new.len() >= SYNC_ALL_FROM;
        if new.is_empty() && *settled {
            return Ok(());
        }
        *settled = false;
        let made = store.create_folders(new.keys())?;
        // Content first: a name must never stand for content that a crash can still tear.
        if all {
            disk.sync(Sync::All)?;
        } else {
            for open in &mut self.open {
                open.0.sync()?;
            }
        }
        for (digest, path) in new {
            disk.rename(path, &store.path(digest))?;
        }
        if all {
            disk.sync(Sync::All)?;
        } else {
            if made {
                disk.sync(Sync::Dir(&store.inner.blobs))?;
            }
            let mut folders: Vec<_> = new.keys().map(|d| d.hex()[..2].to_owned()).collect();
            folders.dedup();
            for folder in folders {
                disk.sync(Sync::Dir(&store.inner.blobs.join(folder)))?;
            }
        }
        *settled = true;
        Ok(())
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        for path in self.new.values() {
            let _ = self.store.inner.disk.remove(path); // swept at the next start
        }
    }
}

impl Store {
    /// Keeps the files of the folder `dir` that `rules` do not leave out, and their tree.
    ///
    /// # Errors
    /// As [`scan()`] and [`Batch::add`].
    pub fn ingest_dir(&self, dir: &Path, rules: &Rules) -> Result<(Digest, Tree)> {
        let mut batch = self.batch();
        let scanned = scan::walk(dir, rules, &mut |file| batch.add(file))?;
        self.keep(batch, scanned.tree)
    }

    /// Keeps the files of a tar stream (plain, not compressed), and their tree. Owners, times and
    /// empty folders are left out; what is neither file, folder nor link is refused.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the entry; [`Error::Limit`] for more than a tree can hold.
    pub fn ingest_tar(&self, from: &mut dyn Read) -> Result<(Digest, Tree)> {
        let mut batch = self.batch();
        let mut entries: BTreeMap<String, Content> = BTreeMap::new();
        archive::read(from, &mut batch, &mut entries)?;
        let entries = entries.into_iter().map(|(path, content)| Entry { path, content }).collect();
        self.keep(batch, Tree::new(entries)?)
    }

    fn keep(&self, mut batch: Batch, tree: Tree) -> Result<(Digest, Tree)> {
        let digest = batch.add(&mut tree.manifest().as_slice())?.digest;
        batch.finish()?;
        Ok((digest, tree))
    }
}
