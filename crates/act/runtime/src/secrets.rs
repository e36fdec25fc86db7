//! Secret files: a directory of a replica's own on storage that is memory, never a disk.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use base::id::ReplicaId;
use rustix::fs::{Mode, mkdir, statfs};

use crate::{
    files,
    wire::{self, SecretFile, ShimSpec},
};

/// Where memory-backed storage is looked for, in this order.
const PLACES: &[&str] = &["/run", "/dev/shm"];
/// `statfs` types of tmpfs and ramfs (linux/magic.h). The field's type differs between machines.
const MEMORY_BACKED: &[i128] = &[0x0102_1994, 0x8584_58f6];

/// Writes `files` where only the replica's user reads them and gives the directory, none for no files.
/// Those that are looked for in the replica's root get a link there; `replica` is its directory.
pub(crate) fn place(
    spec: &ShimSpec,
    secret_files: &[SecretFile],
    replica: BorrowedFd<'_>,
    notes: &mut Vec<String>,
) -> Result<Option<PathBuf>, String> {
    if secret_files.is_empty() {
        return Ok(None);
    }
    let user = spec.user;
    let dir = create(&spec.id)?;
    let write = || -> io::Result<()> {
        let fd = files::open_dir(&dir)?;
        for file in secret_files {
            files::write_below(fd.as_fd(), &file.path, &file.content, file.mode, user)?;
        }
        for file in secret_files.iter().filter(|file| file.linked) {
            let root = files::enter(replica, wire::ROOT)?;
            files::link_below(root.as_fd(), &file.path, &dir.join(&file.path), user)?;
        }
        files::give(fd.as_fd(), user)
    };
    if let Err(error) = write() {
        let _ = fs::remove_dir_all(&dir);
        return Err(format!("its secret files cannot be written to {}: {error}", dir.display()));
    }
    if fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1) {
        notes.push("swap is on, so that secret files may reach the swap device".into());
    }
    Ok(Some(dir))
}

fn create(id: &ReplicaId) -> Result<PathBuf, String> {
    let mut why = Vec::new();
    for place in PLACES {
        if !statfs(*place).is_ok_and(|found| MEMORY_BACKED.contains(&i128::from(found.f_type))) {
            why.push(format!("{place} is not memory"));
            continue;
        }
        let dir = Path::new(place).join(format!("stead-{id}"));
        match mkdir(&dir, Mode::RWXU) {
            Ok(()) => return Ok(dir),
            Err(error) => why.push(format!("{}: {error}", dir.display())),
        }
    }
    Err(format!("no memory-backed storage for its secret files ({})", why.join("; ")))
}

/// Removes a directory that [`place`] made for `id`; any other path is left alone.
pub(crate) fn remove(id: &ReplicaId, dir: &Path) {
    let ours = PLACES.iter().any(|place| dir == Path::new(place).join(format!("stead-{id}")));
    if ours {
        let _ = fs::remove_dir_all(dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_directory_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        remove(&ReplicaId::new(), dir.path());
        assert!(dir.path().exists());
    }
}
