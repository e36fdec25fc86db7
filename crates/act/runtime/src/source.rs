//! Copying a release's tree into a replica's own root.
//!
//! Blocks are shared where the file system can (reflink). Symlinks are copied as they are and never
//! followed; devices, sockets and pipes are refused, since no release has a use for them.

use std::{fs::File, io, os::fd::AsFd, path::Path};

use rustix::{
    fd::{BorrowedFd, OwnedFd},
    fs::{
        AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, ioctl_ficlone, mkdirat, openat,
        readlinkat, statat, symlinkat,
    },
};

use crate::files::{give, open_dir};

/// Entries of one tree at most.
const ENTRIES_MAX: usize = 1_000_000;
/// Directories within each other at most.
const DEPTH_MAX: usize = 128;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Copies the content of `source` into the open directory `target`, for `owner`.
pub(crate) fn copy(source: &Path, target: BorrowedFd<'_>, owner: Option<(u32, u32)>) -> io::Result<()> {
    let source = open_dir(source)?;
    Copy { owner, left: ENTRIES_MAX }.directory(source, target, DEPTH_MAX)
}

struct Copy {
    owner: Option<(u32, u32)>,
    left: usize,
}

impl Copy {
    fn directory(&mut self, source: OwnedFd, target: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
        if depth == 0 {
            return Err(io::Error::other(format!("directories are nested deeper than {DEPTH_MAX}")));
        }
        for entry in Dir::read_from(&source)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.left = self
                .left
                .checked_sub(1)
                .ok_or_else(|| io::Error::other(format!("more than {ENTRIES_MAX} files")))?;
            let stat = statat(&source, name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let inner = openat(&source, name, DIRECTORY, Mode::empty())?;
                    mkdirat(target, name, Mode::RWXU)?;
                    let made = openat(target, name, DIRECTORY, Mode::empty())?;
                    self.directory(inner, made.as_fd(), depth - 1)?;
                    // The copy is writable: the replica's root is its own.
                    fchmod(&made, Mode::from_raw_mode(stat.st_mode & 0o777 | 0o700))?;
                    give(made.as_fd(), self.owner)?;
                }
                FileType::RegularFile => {
                    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let from = File::from(openat(&source, name, flags, Mode::empty())?);
                    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                    let to = File::from(openat(target, name, flags, Mode::RUSR | Mode::WUSR)?);
                    if ioctl_ficlone(&to, &from).is_err() {
                        io::copy(&mut &from, &mut &to)?;
                    }
                    fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o777 | 0o600))?;
                    give(to.as_fd(), self.owner)?;
                }
                FileType::Symlink => {
                    let points_to = readlinkat(&source, name, Vec::new())?;
                    symlinkat(points_to.as_c_str(), target, name)?;
                    if let Some((uid, gid)) = self.owner {
                        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                        chownat(target, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
                    }
                }
                other => {
                    let name = name.to_string_lossy();
                    return Err(io::Error::other(format!("{name} is a {other:?}, which is refused")));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn copies_files_modes_and_links_but_follows_nothing() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        let source = tempfile::tempdir().unwrap();
        fs::create_dir(source.path().join("bin")).unwrap();
        fs::write(source.path().join("bin/run"), "#!/bin/sh\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4555);
        fs::set_permissions(source.path().join("bin/run"), mode).unwrap();
        symlink(outside.path(), source.path().join("out")).unwrap();

        let target = tempfile::tempdir().unwrap();
        let fd = open_dir(target.path()).unwrap();
        copy(source.path(), fd.as_fd(), None).unwrap();
        let meta = fs::metadata(target.path().join("bin/run")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&meta.permissions());
        assert_eq!(mode & 0o7777, 0o755, "no set-user-id bit, writable by its owner");
        assert!(target.path().join("out").is_symlink());
        fs::write(target.path().join("bin/run"), "changed").unwrap();
        assert_eq!(fs::read(source.path().join("bin/run")).unwrap(), b"#!/bin/sh\n");
    }

    #[test]
    fn special_files_are_refused() {
        let source = tempfile::tempdir().unwrap();
        let path = source.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RWXU).unwrap();
        let target = tempfile::tempdir().unwrap();
        let fd = open_dir(target.path()).unwrap();
        assert!(copy(source.path(), fd.as_fd(), None).unwrap_err().to_string().contains("pipe"));
    }
}
