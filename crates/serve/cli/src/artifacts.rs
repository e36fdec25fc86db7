//! The files of services: what they are, and handing over those that the server lacks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use base::{Class, Problem};
use blob::{Rules, Tree};
use bytes::Bytes;
use client::Client;
use delivery_api::{ArtifactFile, ArtifactTree};
use futures_util::StreamExt;
use service_file::ServiceFile;
use tokio::sync::mpsc;

mod named;

/// Parts of an upload on their way.
const PARTS_WAITING_MAX: usize = 16;
const PART_BYTES: usize = 256 << 10;

/// Threads that read folders: enough to keep a disk busy.
const READERS_MAX: usize = 4;

/// The trees of the services that have files, by name. Services that stand in one file share one.
///
/// # Errors
/// As [`Local::of`], of the first service that fails.
pub(crate) fn read(services: &[ServiceFile]) -> Result<Vec<(String, Arc<Local>)>, Problem> {
    let with_files: Vec<&ServiceFile> = services.iter().filter(|file| has_files(file)).collect();
    let mut folders: BTreeMap<PathBuf, Vec<&ServiceFile>> = BTreeMap::new();
    for file in &with_files {
        folders.entry(file.folder()).or_default().push(file);
    }
    let folders: Vec<(PathBuf, Vec<&ServiceFile>)> = folders.into_iter().collect();
    let readers = std::thread::available_parallelism().map_or(1, usize::from).min(READERS_MAX);
    let share = folders.len().div_ceil(readers).max(1);
    let read = std::thread::scope(|scope| {
        let readers: Vec<_> = folders
            .chunks(share)
            .map(|share| {
                // The first mistake ends a reader's work, and with it that of the command.
                scope.spawn(move || {
                    let read = share.iter().map(|(folder, files)| Local::of(folder, files));
                    read.collect::<Result<Vec<_>, _>>()
                })
            })
            .collect();
        let mut read = BTreeMap::new();
        for reader in readers {
            let lost = |_| Problem::new(Class::Internal, "cli.read", "a reader of folders was lost");
            for local in reader.join().map_err(lost)?? {
                read.insert(local.folder.clone(), Arc::new(local));
            }
        }
        Ok::<_, Problem>(read)
    })?;
    let named = |file: &&ServiceFile| Some((file.base().name.to_string(), read.get(&file.folder())?.clone()));
    Ok(with_files.iter().filter_map(named).collect())
}

/// A service without processes has no files.
fn has_files(file: &ServiceFile) -> bool {
    file.base().run.is_some() || !file.base().jobs.is_empty()
}

/// The tree of a service's folder, and where it was read.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) folder: PathBuf,
    pub(crate) tree: Tree,
}

impl Local {
    /// Reads the folder of services.
    ///
    /// # Errors
    /// Too many or too large files, or something that cannot be read.
    fn of(folder: &Path, services: &[&ServiceFile]) -> Result<Self, Problem> {
        let named: BTreeSet<String> = services.iter().flat_map(|file| named::paths(file)).collect();
        let rules = Rules::default().taking_back(named.iter().map(String::as_str));
        let scanned =
            blob::scan(folder, &rules).map_err(|error| {
                let problem = Problem::from_fault(&error);
                Problem::new(
                    problem.class,
                    problem.code,
                    format!("files in {}: {}", folder.display(), problem.message),
                )
                .with_hint(problem.hint.unwrap_or_else(|| {
                    format!("`.steadignore` in {} says what to leave out", folder.display())
                }))
            })?;
        Ok(Self { folder: folder.to_owned(), tree: scanned.tree })
    }

    pub(crate) fn wire(&self) -> ArtifactTree {
        let files = self
            .tree
            .entries()
            .iter()
            .map(|entry| match &entry.content {
                blob::Content::File { digest, size_bytes, executable } => ArtifactFile {
                    path: entry.path.clone(),
                    digest: digest.to_string(),
                    size: *size_bytes,
                    executable: *executable,
                    link: None,
                },
                blob::Content::Link { target } => ArtifactFile {
                    path: entry.path.clone(),
                    digest: String::new(),
                    size: 0,
                    executable: false,
                    link: Some(target.clone()),
                },
            })
            .collect();
        ArtifactTree { digest: self.tree.digest().to_string(), files }
    }
}

/// What is uploaded under a digest.
enum Content {
    File(PathBuf),
    /// The list of a tree's files.
    List(Vec<u8>),
}

/// Uploads the files and lists whose digests are `missing` as one tar stream, each named by its digest.
///
/// # Errors
/// A file changed since it was scanned, or the server refused.
pub(crate) async fn upload(
    client: &Client,
    trees: &[Arc<Local>],
    missing: &[String],
) -> Result<u64, Problem> {
    let wanted: BTreeSet<&str> = missing.iter().map(String::as_str).collect();
    let mut files: BTreeMap<String, Content> = BTreeMap::new();
    for local in trees {
        let list = local.tree.digest().to_string();
        if wanted.contains(list.as_str()) {
            files.entry(list).or_insert_with(|| Content::List(local.tree.manifest()));
        }
        for entry in local.tree.entries() {
            if let blob::Content::File { digest, .. } = &entry.content {
                let digest = digest.to_string();
                if wanted.contains(digest.as_str()) {
                    files.entry(digest).or_insert_with(|| Content::File(local.folder.join(&entry.path)));
                }
            }
        }
    }
    let (out, parts) = mpsc::channel::<std::io::Result<Bytes>>(PARTS_WAITING_MAX);
    let packing = tokio::task::spawn_blocking(move || pack(&files, out));
    let body = tokio_stream::wrappers::ReceiverStream::new(parts).boxed();
    let sent = client.put_artifacts(body).await.map_err(crate::failed);
    let packed =
        packing.await.map_err(|error| Problem::new(Class::Internal, "cli.upload", error.to_string()))?;
    let count = sent?;
    packed?;
    Ok(count)
}

fn pack(files: &BTreeMap<String, Content>, out: mpsc::Sender<std::io::Result<Bytes>>) -> Result<(), Problem> {
    let mut archive = tar::Builder::new(Parts { out, buffer: Vec::with_capacity(PART_BYTES) });
    for (digest, content) in files {
        let added = match content {
            Content::File(path) => File::open(path).and_then(|mut file| {
                let size_bytes = file.metadata()?.len();
                add(&mut archive, digest, size_bytes, &mut file)
            }),
            Content::List(list) => add(&mut archive, digest, list.len() as u64, &mut list.as_slice()),
        };
        added.map_err(|error| {
            let what = match content {
                Content::File(path) => path.display().to_string(),
                Content::List(_) => "the list of files".to_owned(),
            };
            Problem::new(Class::Conflict, "cli.upload", format!("{what}: {error}"))
                .with_hint("it changed while it was read; run the command again")
        })?;
    }
    archive.into_inner().and_then(|mut parts| parts.flush()).map_err(|error| {
        Problem::new(Class::Unavailable, "cli.upload", format!("the upload broke off: {error}"))
    })
}

fn add(
    archive: &mut tar::Builder<Parts>,
    digest: &str,
    size_bytes: u64,
    from: &mut dyn std::io::Read,
) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(size_bytes);
    header.set_mode(0o600);
    header.set_cksum();
    archive.append_data(&mut header, digest.replace(':', "-"), from)
}

/// A writer that hands its bytes on in parts.
struct Parts {
    out: mpsc::Sender<std::io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PART_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        let part = std::mem::take(&mut self.buffer);
        if part.is_empty() {
            return Ok(());
        }
        let gone = |_| std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the server stopped reading");
        self.out.blocking_send(Ok(Bytes::from(part))).map_err(gone)
    }
}
