//! The store: blobs on a disk, each under its digest.
//!
//! `NAME/sha256/ab/cdef…` holds blobs, `NAME/new` what is being written. Nothing but whole, synced
//! content is ever renamed into the former, so being there is being whole.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use disk::{Create, Disk, Kind, Source};

use crate::{
    Digest, Error, Hasher, Result, Tree,
    collect::Gate,
    ingest::Batch,
    tree::{TREE_ENTRIES_MAX, limit},
};

/// One blob.
pub const BLOB_BYTES_MAX: u64 = 4 << 30;
/// The manifest of one tree.
pub const MANIFEST_BYTES_MAX: u64 = 64 << 20;
/// Bytes moved at once, of a file that has them.
const BUFFER_BYTES: usize = 128 << 10;
/// Most files of a service are smaller than this.
const FIRST_BUFFER_BYTES: usize = 16 << 10;

/// Content on a disk. Cheap to clone; clones share it. One store per folder and process.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) blobs: PathBuf,
    new: PathBuf,
    next_new: AtomicU64,
    /// Whether every name that is there is durable. It is not where a process was killed, or a
    /// sync failed, between giving a name and syncing it: a batch that finds such a blob in place
    /// must not acknowledge it unsynced. Held while a batch gives names.
    pub(crate) settled: Mutex<bool>,
    pub(crate) gate: Gate,
}

/// What was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    pub size_bytes: u64,
}

impl Store {
    /// Opens the store in the folder `path` of `disk`, making it if it is not there (the folder
    /// around it must be), and removes what a crash left half written.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<Self> {
        let (blobs, new) = (path.join("sha256"), path.join("new"));
        // Not synced: the first batch syncs everything, see `Inner::settled`.
        for dir in [path, &blobs, &new] {
            disk.create_dir(dir, 0o700)?;
        }
        for left in disk.list(&new)? {
            disk.remove(&new.join(left.name))?;
        }
        let inner = Inner {
            disk,
            blobs,
            new,
            next_new: AtomicU64::new(0),
            settled: Mutex::new(false),
            gate: Gate::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Keeps what `from` gives; durable on return. Use [`Store::batch`] for many.
    ///
    /// # Errors
    /// [`Error::Limit`] over [`BLOB_BYTES_MAX`]; [`Error::Source`] when `from` fails; [`Error::Disk`].
    pub fn put(&self, from: &mut dyn Read) -> Result<Stored> {
        let mut batch = self.batch();
        let stored = batch.add(from)?;
        batch.finish()?;
        Ok(stored)
    }

    /// Keeps a tree whose blobs are all there; durable on return.
    ///
    /// # Errors
    /// [`Error::Missing`] names the first blob that is not there.
    pub fn put_tree(&self, tree: &Tree) -> Result<Digest> {
        if let Some(digest) = self.missing(&tree.digests())?.first() {
            return Err(Error::Missing { digest: *digest });
        }
        Ok(self.put(&mut tree.manifest().as_slice())?.digest)
    }

    /// All of a blob, checked against its digest.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`], [`Error::Limit`] over `bytes_max`.
    pub fn get(&self, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read(digest, &mut |part| {
            limit("bytes of a blob", (bytes.len() + part.len()) as u64, bytes_max)?;
            bytes.extend_from_slice(part);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Gives a blob to `sink` in parts. Only after the return is it known to be whole.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`], and those of `sink`.
    pub fn read(&self, digest: &Digest, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<u64> {
        let path = self.path(digest);
        let mut source = self.source(digest)?;
        let mut hasher = Hasher::default();
        let size_bytes = copy(
            &mut source,
            &mut |part| {
                hasher.update(part);
                sink(part)
            },
            |e| disk::Error::from_io(&path, &e).into(),
        )?;
        if hasher.finish() != *digest {
            return Err(Error::Damaged { digest: *digest });
        }
        Ok(size_bytes)
    }

    /// The tree named `digest`.
    ///
    /// # Errors
    /// As [`Store::get`]; [`Error::Invalid`] for a blob that is no tree.
    pub fn tree(&self, digest: &Digest) -> Result<Tree> {
        Tree::from_manifest(&self.get(digest, MANIFEST_BYTES_MAX)?)
    }

    /// Those of `digests` that are not there, in their order. To upload them and be sure that the
    /// others stay, take [`Store::hold`] first.
    ///
    /// # Errors
    /// [`Error::Limit`] for more than a tree can have; [`Error::Disk`].
    pub fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        limit("digests asked for", digests.len() as u64, TREE_ENTRIES_MAX as u64)?;
        let mut missing = Vec::new();
        // In a young store most folders are not there: asked once, each spares its blobs' questions.
        let mut folders: BTreeMap<u8, bool> = BTreeMap::new();
        for digest in digests {
            let there = match folders.entry(digest.first()) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(unknown) => {
                    *unknown.insert(self.inner.disk.stat(&self.folder(digest))?.is_some())
                }
            };
            if !there || !self.has(digest)? {
                missing.push(*digest);
            }
        }
        Ok(missing)
    }

    /// Begins to keep many blobs with few syncs.
    #[must_use]
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    pub(crate) fn has(&self, digest: &Digest) -> Result<bool> {
        let found = self.inner.disk.stat(&self.path(digest))?;
        Ok(found.is_some_and(|f| f.kind == Kind::File))
    }

    pub(crate) fn source(&self, digest: &Digest) -> Result<Box<dyn Source>> {
        self.inner.disk.open(&self.path(digest)).map_err(|e| match e {
            disk::Error::NotFound { .. } => Error::Missing { digest: *digest },
            other => other.into(),
        })
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.folder(digest).join(&digest.hex()[2..])
    }

    fn folder(&self, digest: &Digest) -> PathBuf {
        self.inner.blobs.join(format!("{:02x}", digest.first()))
    }

    /// A new file for content whose digest is not known yet.
    pub(crate) fn create_new(&self) -> Result<(PathBuf, Box<dyn disk::Sink>)> {
        let number = self.inner.next_new.fetch_add(1, Ordering::Relaxed);
        let path = self.inner.new.join(number.to_string());
        let sink = self.inner.disk.create(&path, Create::PRIVATE)?;
        Ok((path, sink))
    }

    /// Makes the folders of `digests` that are not there; says whether it made any, which the
    /// caller syncs.
    pub(crate) fn create_folders<'a>(&self, digests: impl Iterator<Item = &'a Digest>) -> Result<bool> {
        let disk = &self.inner.disk;
        let mut made = false;
        for digest in digests {
            let folder = self.folder(digest);
            if disk.stat(&folder)?.is_none() {
                disk.create_dir(&folder, 0o700)?;
                made = true;
            }
        }
        Ok(made)
    }
}

/// Moves all of `from` to `sink`; gives the count. `fault` says whose a failing read is.
pub(crate) fn copy(
    from: &mut dyn Read,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    fault: impl Fn(io::Error) -> Error,
) -> Result<u64> {
    let mut buffer = vec![0; FIRST_BUFFER_BYTES];
    let mut count = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(count),
            Ok(read) => {
                count += read as u64;
                sink(&buffer[..read])?;
                if read == buffer.len() && read < BUFFER_BYTES {
                    buffer.resize(BUFFER_BYTES, 0);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(fault(e)),
        }
    }
}
