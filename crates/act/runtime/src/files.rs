//! Files written so that a crash leaves the old or the new content, and nothing through a symlink.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    path::{Component, Path},
};

use disk::{Disk, RealDisk, Sync};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, Mode, OFlags, chownat, fchown, mkdirat, openat, symlinkat, unlinkat},
    io::Errno,
    process::{Gid, Uid},
};

/// Permission bits of what only the platform reads.
const PRIVATE: u32 = 0o600;

/// Opens a directory itself; a symlink in its place is refused.
pub(crate) fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    openat(rustix::fs::CWD, path, DIRECTORY, Mode::empty()).map_err(|e| named(e, path))
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// ENOTDIR and ELOOP on a NOFOLLOW open mean a symlink, which deserves its name.
fn named(error: Errno, path: &Path) -> io::Error {
    if matches!(error, Errno::LOOP | Errno::NOTDIR) && path.is_symlink() {
        return io::Error::other(format!("{} is a symbolic link, which is refused", path.display()));
    }
    error.into()
}

/// Replaces `name` in `dir`: the new content is on disk before it takes the name, and the name is on
/// disk before this returns.
pub(crate) fn replace(dir: BorrowedFd<'_>, name: &str, content: &[u8]) -> io::Result<()> {
    let disk = RealDisk::of(dir.try_clone_to_owned()?, Path::new("")).map_err(plain)?;
    replace_on(&disk, name, content).map_err(plain)
}

fn replace_on(disk: &dyn Disk, name: &str, content: &[u8]) -> disk::Result<()> {
    disk::write_atomic(disk, Path::new(name), content, PRIVATE)
}

/// Writes `name` into `directory`, which was just made in the folder `among`. Both the file and the
/// directory's own name are on disk before this returns.
pub(crate) fn begin(among: &Path, directory: &str, name: &str, content: &[u8]) -> io::Result<()> {
    let disk = RealDisk::open(among).map_err(plain)?;
    begin_on(&disk, directory, name, content).map_err(plain)
}

fn begin_on(disk: &dyn Disk, directory: &str, name: &str, content: &[u8]) -> disk::Result<()> {
    disk::write_atomic(disk, &Path::new(directory).join(name), content, PRIVATE)?;
    disk.sync(Sync::Dir(Path::new("")))
}

fn plain(error: disk::Error) -> io::Error {
    let kind = match &error {
        disk::Error::NotFound { .. } => io::ErrorKind::NotFound,
        disk::Error::Full { .. } => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// Reads a regular file of at most `bytes_max`; a symlink is refused.
pub(crate) fn read(dir: BorrowedFd<'_>, name: &str, bytes_max: usize) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = match openat(dir, name, flags, Mode::empty()) {
        Err(Errno::LOOP) => {
            return Err(io::Error::other(format!("{name} is a symbolic link, which is refused")));
        }
        other => other?,
    };
    let file = File::from(fd);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("{name} is not a regular file")));
    }
    let mut content = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut content)?;
    if content.len() > bytes_max {
        return Err(io::Error::other(format!("{name} is larger than {bytes_max} bytes")));
    }
    Ok(content)
}

/// Writes a new file at `path` below `dir`, making the directories between. No component may be a
/// symlink or lead out, since whoever planted one would have us write elsewhere as root.
pub(crate) fn write_below(
    dir: BorrowedFd<'_>,
    path: &Path,
    content: &[u8],
    mode: u32,
    owner: Option<(u32, u32)>,
) -> io::Result<()> {
    let (at, name) = make_way(dir, path, owner)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&at, name, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(content)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o777))?;
    give(file.as_fd(), owner)
}

/// Makes a link at `path` below `dir` that leads to `target`, in place of what is there.
pub(crate) fn link_below(
    dir: BorrowedFd<'_>,
    path: &Path,
    target: &Path,
    owner: Option<(u32, u32)>,
) -> io::Result<()> {
    let (at, name) = make_way(dir, path, owner)?;
    symlinkat(target, &at, name)?;
    if let Some((uid, gid)) = owner {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        chownat(&at, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// Opens a directory in an open one; a symlink in its place is refused.
pub(crate) fn enter(dir: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    openat(dir, name, DIRECTORY, Mode::empty()).map_err(|e| below(e, Path::new(name), OsStr::new(name)))
}

/// Makes the directories of `path` and removes a file that is in its place.
fn make_way<'a>(
    dir: BorrowedFd<'_>,
    path: &'a Path,
    owner: Option<(u32, u32)>,
) -> io::Result<(OwnedFd, &'a OsStr)> {
    let (parents, name) = split(path)?;
    let mut at: OwnedFd = dir.try_clone_to_owned()?;
    for part in parents {
        match mkdirat(&at, part, Mode::RWXU | Mode::RGRP | Mode::XGRP) {
            Ok(()) => {
                let made = openat(&at, part, DIRECTORY, Mode::empty())?;
                give(made.as_fd(), owner)?;
                at = made;
            }
            Err(Errno::EXIST) => {
                at = openat(&at, part, DIRECTORY, Mode::empty()).map_err(|e| below(e, path, part))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    match unlinkat(&at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(below(error, path, name)),
    }
    Ok((at, name))
}

fn below(error: Errno, path: &Path, part: &OsStr) -> io::Error {
    match error {
        Errno::LOOP | Errno::NOTDIR => io::Error::other(format!(
            "{}: {} is a symbolic link or a file, which is refused",
            path.display(),
            part.display()
        )),
        other => other.into(),
    }
}

fn split(path: &Path) -> io::Result<(Vec<&OsStr>, &OsStr)> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name),
            Component::CurDir => {}
            _ => return Err(io::Error::other(format!("{} leads out of its root", path.display()))),
        }
    }
    let name = parts.pop().ok_or_else(|| io::Error::other(format!("{:?} names no file", path.display())))?;
    Ok((parts, name))
}

/// Gives an open file or directory to `owner`; none leaves it ours.
pub(crate) fn give(fd: BorrowedFd<'_>, owner: Option<(u32, u32)>) -> io::Result<()> {
    if let Some((uid, gid)) = owner {
        fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use disk::{SimulatedDisk, simulated::Plan};

    use super::*;

    const SEEDS: u64 = 64;
    const STATUS: &str = "status.json";
    const PHASES: [&[u8]; 4] =
        [b"starting", b"running, and longer", b"stopping", b"exited with 3, after all"];

    /// What a machine finds at `path` after losing power now, in each of the ways it may.
    fn after_crash(disk: &SimulatedDisk, path: &str) -> Vec<Option<Vec<u8>>> {
        let found = |seed| match disk::read(&disk.crash(seed), Path::new(path), 1_000) {
            Ok(content) => Some(content),
            Err(disk::Error::NotFound { .. }) => None,
            Err(error) => panic!("seed {seed}: {error}"),
        };
        (0..SEEDS).map(found).collect()
    }

    /// Whether a status is never older than the last one acknowledged, and never torn, wherever the
    /// machine stops; with sync `skip` left out. And the syncs and steps of all of it.
    fn a_status_lasts(skip: Option<u64>, stop_at_step: Option<u64>) -> (bool, disk::simulated::Counts) {
        let disk = SimulatedDisk::new();
        disk.plan(Plan { skip_sync: skip, stop_at_step, ..Plan::default() });
        let mut good = true;
        for (at, phase) in PHASES.iter().enumerate() {
            let written = replace_on(&disk, STATUS, phase).is_ok();
            let mut may: Vec<Option<&[u8]>> = vec![Some(*phase)];
            if !written {
                may.push(at.checked_sub(1).map(|before| PHASES[before]));
            }
            good &= after_crash(&disk, STATUS).iter().all(|found| may.contains(&found.as_deref()));
            if !written {
                break;
            }
        }
        (good, disk.counts())
    }

    #[test]
    fn a_shims_status_outlives_a_power_cut_and_every_sync_of_it_is_needed() {
        let (good, counts) = a_status_lasts(None, None);
        assert!(good);
        for step in 0..counts.steps {
            assert!(a_status_lasts(None, Some(step)).0, "stopped at step {step}");
        }
        for skip in 0..counts.syncs {
            assert!(!a_status_lasts(Some(skip), None).0, "sync {skip} is not needed, or not tested");
        }
    }

    #[test]
    fn a_new_replicas_record_lasts_with_its_directory() {
        let begun = |skip_sync| {
            let disk = SimulatedDisk::new();
            disk.plan(Plan { skip_sync, ..Plan::default() });
            disk.create_dir(Path::new("rep_1"), 0o711).unwrap();
            begin_on(&disk, "rep_1", "spec.json", b"what was asked").unwrap();
            let lasts = |found: &Option<Vec<u8>>| found.as_deref() == Some(b"what was asked".as_slice());
            (after_crash(&disk, "rep_1/spec.json").iter().all(lasts), disk.counts().syncs)
        };
        let (good, syncs) = begun(None);
        assert!(good && syncs == 3, "{syncs} syncs");
        for skip in 0..syncs {
            assert!(!begun(Some(skip)).0, "sync {skip} is not needed, or not tested");
        }
    }

    #[test]
    fn replaces_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let fd = open_dir(dir.path()).unwrap();
        replace(fd.as_fd(), "a", b"1").unwrap();
        replace(fd.as_fd(), "a", b"2").unwrap();
        assert_eq!(read(fd.as_fd(), "a", 10).unwrap(), b"2");
        assert!(read(fd.as_fd(), "a", 0).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_is_written_or_read_through_a_symlink() {
        let outside = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let fd = open_dir(dir.path()).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("etc")).unwrap();
        let error = write_below(fd.as_fd(), Path::new("etc/passwd"), b"x", 0o600, None).unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);

        std::fs::write(outside.path().join("kept"), "old").unwrap();
        std::os::unix::fs::symlink(outside.path().join("kept"), dir.path().join("file")).unwrap();
        assert!(read(fd.as_fd(), "file", 10).unwrap_err().to_string().contains("symbolic link"));
        write_below(fd.as_fd(), Path::new("file"), b"new", 0o600, None).unwrap();
        assert_eq!(std::fs::read(outside.path().join("kept")).unwrap(), b"old");

        for out in ["../x", "/etc/x", "a/../../x", "", "etc/x"] {
            assert!(write_below(fd.as_fd(), Path::new(out), b"x", 0o600, None).is_err(), "{out}");
            assert!(link_below(fd.as_fd(), Path::new(out), Path::new("/run/x"), None).is_err(), "{out}");
        }
        write_below(fd.as_fd(), Path::new("./deep/er/file"), b"x", 0o640, None).unwrap();
        assert!(open_dir(&dir.path().join("etc")).is_err());
    }
}
