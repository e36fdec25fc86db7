//! What is built from the port: whole files, whole paths.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{Create, Disk, Error, Kind, Result, Sync, check_path};

/// Names of drafts tried before giving up. Only leftovers of a crash occupy any.
const DRAFTS_TRIED_MAX: usize = 1_000;
const DRAFT_SUFFIX: &str = ".draft";

static NEXT_DRAFT: AtomicU64 = AtomicU64::new(0);

/// Puts `bytes` at `path`: after a crash at any moment the file is the old one or the new one,
/// whole; after the return it is the new one. Its folder must exist.
///
/// # Errors
/// Then the old file is in place. A draft may be left behind, see [`sweep`].
pub fn write_atomic(disk: &dyn Disk, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    place(disk, path, bytes, mode, &|draft| disk.rename(draft, path))?;
    disk.sync(Sync::Dir(folder(path)?))
}

/// Puts `bytes` at `path` unless something is there, and says whether it did. After the return what is
/// there stays, whoever wrote it; after a crash before, there is nothing or one of them, whole.
///
/// # Errors
/// As [`write_atomic`]; then it is not known whether the file will be there after a crash.
pub fn write_new(disk: &dyn Disk, path: &Path, bytes: &[u8], mode: u32) -> Result<bool> {
    let placed = match place(disk, path, bytes, mode, &|draft| disk.rename_new(draft, path)) {
        Ok(()) => true,
        Err(Error::Exists { .. }) => false,
        Err(error) => return Err(error),
    };
    // Also for who comes second: the first may not have come this far.
    disk.sync(Sync::Dir(folder(path)?))?;
    Ok(placed)
}

/// Writes a draft and lets `name` give it its name.
fn place(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    mode: u32,
    name: &dyn Fn(&Path) -> Result<()>,
) -> Result<()> {
    let (draft, mut sink) = create_draft(disk, path, mode)?;
    let written = sink.write_all(bytes).map_err(|e| Error::from_io(&draft, &e)).and_then(|()| sink.sync());
    drop(sink);
    let placed = written.and_then(|()| name(&draft));
    if placed.is_err() {
        let _ = disk.remove(&draft); // what is left is swept at the next start
    }
    placed
}

fn folder(path: &Path) -> Result<&Path> {
    path.parent().ok_or_else(|| Error::Outside { path: path.to_owned() })
}

fn create_draft(disk: &dyn Disk, path: &Path, mode: u32) -> Result<(PathBuf, Box<dyn crate::Sink>)> {
    let name = path.file_name().and_then(|n| n.to_str());
    let name = name.ok_or_else(|| Error::Outside { path: path.to_owned() })?;
    for _ in 0..DRAFTS_TRIED_MAX {
        let number = NEXT_DRAFT.fetch_add(1, Ordering::Relaxed);
        let draft = path.with_file_name(format!(".{name}.{number}{DRAFT_SUFFIX}"));
        match disk.create(&draft, Create { mode, append: false }) {
            Ok(sink) => return Ok((draft, sink)),
            Err(Error::Exists { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    Err(Error::Limit { what: "leftover drafts", limit: DRAFTS_TRIED_MAX as u64 })
}

/// Whether `name` is one that [`write_atomic`] gives to what is not in place yet.
#[must_use]
pub fn is_draft(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(DRAFT_SUFFIX)
}

/// Removes what a crash left of [`write_atomic`] in `dir`. Not while others write there.
///
/// # Errors
/// As [`Disk::list`] and [`Disk::remove`].
pub fn sweep(disk: &dyn Disk, dir: &Path) -> Result<()> {
    for listed in disk.list(dir)? {
        if listed.kind == Kind::File && is_draft(&listed.name) {
            disk.remove(&dir.join(&listed.name))?;
        }
    }
    Ok(())
}

/// All of the file at `path`.
///
/// # Errors
/// [`Error::Limit`] when it is longer than `bytes_max`; otherwise as [`Disk::open`].
pub fn read(disk: &dyn Disk, path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let source = disk.open(path)?;
    let read = source.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|e| Error::from_io(path, &e))?;
    if bytes.len() as u64 > bytes_max {
        return Err(Error::Limit { what: "bytes of a file", limit: bytes_max });
    }
    Ok(bytes)
}

/// Makes the folder at `path` and those above it, durably.
///
/// # Errors
/// As [`Disk::create_dir`].
pub fn create_dirs(disk: &dyn Disk, path: &Path, mode: u32) -> Result<()> {
    let mut at = PathBuf::new();
    for name in check_path(path)? {
        let parent = at.clone();
        at.push(name);
        match disk.stat(&at)? {
            Some(found) if found.kind == Kind::Dir => {}
            Some(_) => return Err(Error::WrongKind { path: at }),
            None => {
                disk.create_dir(&at, mode)?;
                disk.sync(Sync::Dir(&parent))?;
            }
        }
    }
    Ok(())
}
