//! Pinned artifacts in the blob store, checked out once per tree.

use std::{collections::BTreeSet, io::Read, path::PathBuf, sync::Arc};

use base::{Class, Fault, Problem};
use blob::{Content, Digest, Entry, Store, Tree};
use bytes::Bytes;
use delivery::Artifacts;
use delivery_api::ArtifactTree;
use futures_util::{StreamExt, future::BoxFuture, stream::BoxStream};
use tasks::Tasks;
use tokio::sync::{Mutex, mpsc};

/// Files in one upload.
const UPLOAD_FILES_MAX: u64 = 100_000;
/// Parts of an upload on their way to the disk.
const PARTS_WAITING_MAX: usize = 16;

#[derive(Debug, Clone)]
pub(crate) struct BlobArtifacts {
    store: Store,
    trees: PathBuf,
    tasks: Tasks,
    /// One checkout at a time, so that two never fill the same directory.
    checking_out: Arc<Mutex<()>>,
}

fn problem(error: &(impl Fault + ?Sized)) -> Problem {
    Problem::from_fault(error)
}

impl BlobArtifacts {
    pub(crate) fn new(store: Store, trees: PathBuf, tasks: Tasks) -> Self {
        Self { store, trees, tasks, checking_out: Arc::default() }
    }

    async fn blocking<T, W>(&self, what: &'static str, work: W) -> Result<T, Problem>
    where
        T: Send + 'static,
        W: FnOnce(&Store) -> Result<T, Problem> + Send + 'static,
    {
        let store = self.store.clone();
        self.tasks.blocking(what, move || work(&store)).await.map_err(|error| problem(&error))?
    }

    /// Takes in a tar stream of files named by their digest (`sha256-<hex>`).
    ///
    /// # Errors
    /// The stream breaks off or is no tar, a file is not what its name says, or a limit is passed.
    pub(crate) async fn upload(
        &self,
        mut body: BoxStream<'static, Result<Bytes, Problem>>,
    ) -> Result<u64, Problem> {
        let (out, parts) = mpsc::channel::<Result<Bytes, Problem>>(PARTS_WAITING_MAX);
        let taking =
            self.blocking("take upload", move |store| take(store, Parts { parts, rest: Bytes::new() }));
        let feeding = async move {
            while let Some(part) = body.next().await {
                if out.send(part).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(taking, feeding).0
    }
}

fn take(store: &Store, parts: Parts) -> Result<u64, Problem> {
    let wrong = |why: String| Problem::new(Class::Invalid, "artifact.upload", why);
    let mut batch = store.batch();
    let mut archive = tar::Archive::new(parts);
    let mut count = 0;
    let entries =
        archive.entries().map_err(|error| wrong(format!("the upload is no tar stream: {error}")))?;
    for entry in entries {
        let mut entry = entry.map_err(|error| wrong(format!("the upload broke off: {error}")))?;
        count += 1;
        if count > UPLOAD_FILES_MAX {
            return Err(Problem::new(
                Class::Limit,
                "artifact.files",
                format!("more than {UPLOAD_FILES_MAX} files in one upload"),
            ));
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).replacen('-', ":", 1);
        let stored = batch.add(&mut entry).map_err(|error| problem(&error))?;
        if stored.digest.to_string() != name {
            return Err(wrong(format!("the file {name} has another content than its name says")));
        }
    }
    batch.finish().map_err(|error| problem(&error))?;
    Ok(count)
}

/// Parts of a body as a reader for a blocking thread.
struct Parts {
    parts: mpsc::Receiver<Result<Bytes, Problem>>,
    rest: Bytes,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.rest.is_empty() {
            match self.parts.blocking_recv() {
                Some(Ok(part)) => self.rest = part,
                Some(Err(problem)) => return Err(std::io::Error::other(problem.message)),
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.rest.len());
        let part = self.rest.split_to(count);
        buffer[..count].copy_from_slice(&part);
        Ok(count)
    }
}

/// The checked tree of a list that came over the wire.
fn tree_of(wire: &ArtifactTree) -> Result<Tree, Problem> {
    let mut entries = Vec::with_capacity(wire.files.len());
    for file in &wire.files {
        let content = match &file.link {
            Some(target) => Content::Link { target: target.clone() },
            None => Content::File {
                digest: file.digest.parse::<Digest>().map_err(|error| problem(&error))?,
                size_bytes: file.size,
                executable: file.executable,
            },
        };
        entries.push(Entry { path: file.path.clone(), content });
    }
    let tree = Tree::new(entries).map_err(|error| problem(&error))?;
    if tree.digest().to_string() != wire.digest {
        return Err(Problem::new(
            Class::Invalid,
            "artifact.digest",
            "the tree's digest is not that of its files",
        ));
    }
    Ok(tree)
}

impl Artifacts for BlobArtifacts {
    fn missing(&self, wire: Vec<ArtifactTree>) -> BoxFuture<'_, Result<Vec<String>, Problem>> {
        let trees = self.trees.clone();
        Box::pin(self.blocking("look for files", move |store| {
            let (mut digests, mut seen) = (BTreeSet::new(), BTreeSet::new());
            for tree in &wire {
                let digest: Digest = tree.digest.parse().map_err(|error| problem(&error))?;
                // Services of one file share a tree; and what is checked out is all that a release of
                // it takes, see `checkout`.
                if !seen.insert(digest) || trees.join(digest.hex()).exists() {
                    continue;
                }
                let tree = tree_of(tree)?;
                // The list of a tree is a blob like its files, and uploaded with them.
                digests.insert(tree.digest());
                digests.extend(tree.digests());
            }
            let digests: Vec<Digest> = digests.into_iter().collect();
            let missing = store.missing(&digests).map_err(|error| problem(&error))?;
            Ok(missing.iter().map(ToString::to_string).collect())
        }))
    }

    fn checkout(&self, digest: String) -> BoxFuture<'_, Result<PathBuf, Problem>> {
        Box::pin(async move {
            let digest: Digest = digest.parse().map_err(|error| problem(&error))?;
            let path = self.trees.join(digest.hex());
            if path.exists() {
                return Ok(path);
            }
            let _one = self.checking_out.lock().await;
            let to = path.clone();
            self.blocking("check files out", move |store| {
                if to.exists() {
                    return Ok(());
                }
                let tree = store.tree(&digest).map_err(|error| problem(&error))?;
                store.materialise(&tree, &to).map_err(|error| problem(&error))
            })
            .await?;
            Ok(path)
        })
    }
}
