//! The machine's disk, reached name by name from an open folder, so that no link is followed.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat},
    io::Errno,
    process::geteuid,
};

use crate::{Create, Disk, Error, Kind, LIST_ENTRIES_MAX, Listed, Result, Sink, Source, Sync, check_path};

/// A folder of this machine.
///
/// Everything below it must belong to the user that runs Stead (effective uid): a file or folder of
/// somebody else is refused, and so is every symbolic link. The path to the folder itself may hold
/// links: the operator named it.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    root: OwnedFd,
}

const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl RealDisk {
    /// # Errors
    /// [`Error::NotFound`], [`Error::Foreign`], [`Error::WrongKind`].
    pub fn open(path: &Path) -> Result<Self> {
        let path = fs::canonicalize(path).map_err(|e| Error::from_io(path, &e))?;
        let root = rustix::fs::open(&path, DIR, Mode::empty()).map_err(|e| fault(&path, e))?;
        own(&root, &path)?;
        Ok(Self { path, root })
    }

    /// An open folder as a disk; `path` is what errors call it.
    ///
    /// # Errors
    /// [`Error::Foreign`].
    pub fn of(root: OwnedFd, path: &Path) -> Result<Self> {
        own(&root, path)?;
        Ok(Self { path: path.to_owned(), root })
    }

    /// Where it is, links resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the folder at `path`.
    fn dir(&self, path: &Path) -> Result<OwnedFd> {
        let mut dir = self.root.try_clone().map_err(|e| Error::from_io(path, &e))?;
        let mut at = self.path.clone();
        for name in check_path(path)? {
            at.push(name);
            dir = match rustix::fs::openat(&dir, name, DIR, Mode::empty()) {
                Ok(next) => next,
                Err(e) => return Err(link_or(&dir, name, &at, e)),
            };
            own(&dir, &at)?;
        }
        Ok(dir)
    }

    /// Opens the folder that holds `path`; gives the last name and the whole path too.
    fn parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p str, PathBuf)> {
        let outside = || Error::Outside { path: path.to_owned() };
        let name = *check_path(path)?.last().ok_or_else(outside)?;
        let dir = self.dir(path.parent().ok_or_else(outside)?)?;
        Ok((dir, name, self.path.join(path)))
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> Result<Box<dyn Source>> {
        let (dir, name, at) = self.parent(path)?;
        // Not to hang on a pipe that somebody put there.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file =
            rustix::fs::openat(&dir, name, flags, Mode::empty()).map_err(|e| link_or(&dir, name, &at, e))?;
        own_file(&file, &at)?;
        Ok(Box::new(RealFile { file: File::from(file), path: at }))
    }

    fn create(&self, path: &Path, how: Create) -> Result<Box<dyn Sink>> {
        let (dir, name, at) = self.parent(path)?;
        let kind = if how.append { OFlags::APPEND } else { OFlags::EXCL };
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | kind;
        let file = rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(how.mode))
            .map_err(|e| link_or(&dir, name, &at, e))?;
        own_file(&file, &at)?;
        Ok(Box::new(RealFile { file: File::from(file), path: at }))
    }

    fn create_dir(&self, path: &Path, mode: u32) -> Result<()> {
        let (dir, name, at) = self.parent(path)?;
        match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(mode)) {
            Ok(()) => Ok(()),
            // Opening it checks that it is a folder of ours.
            Err(Errno::EXIST) => self.dir(path).map(drop),
            Err(e) => Err(fault(&at, e)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let (from_dir, from_name, from_at) = self.parent(from)?;
        let (to_dir, to_name, _) = self.parent(to)?;
        rustix::fs::renameat(&from_dir, from_name, &to_dir, to_name).map_err(|e| fault(&from_at, e))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        let (from_dir, from_name, from_at) = self.parent(from)?;
        let (to_dir, to_name, to_at) = self.parent(to)?;
        let no_replace = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&from_dir, from_name, &to_dir, to_name, no_replace) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(Error::Exists { path: to_at }),
            // A file system that cannot say it in one step has two names for a moment.
            Err(Errno::INVAL | Errno::NOSYS) => {
                let linked = rustix::fs::linkat(&from_dir, from_name, &to_dir, to_name, AtFlags::empty());
                match linked {
                    Ok(()) => self.remove(from),
                    Err(Errno::EXIST) => Err(Error::Exists { path: to_at }),
                    Err(e) => Err(fault(&from_at, e)),
                }
            }
            Err(e) => Err(fault(&from_at, e)),
        }
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let (dir, name, at) = match self.parent(path) {
            Err(Error::NotFound { .. }) => return Ok(()),
            found => found?,
        };
        let removed = match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR),
            other => other,
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(fault(&at, e)),
        }
    }

    fn list(&self, path: &Path) -> Result<Vec<Listed>> {
        let dir = self.dir(path)?;
        let at = self.path.join(path);
        let mut found = Vec::new();
        for entry in rustix::fs::Dir::read_from(&dir).map_err(|e| fault(&at, e))? {
            let entry = entry.map_err(|e| fault(&at, e))?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            if found.len() == LIST_ENTRIES_MAX {
                return Err(Error::Limit { what: "entries of a folder", limit: LIST_ENTRIES_MAX as u64 });
            }
            let name = entry.file_name().to_str().map_err(|_| Error::WrongKind { path: at.clone() })?;
            match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => found.push(listed(name, &stat)),
                Err(Errno::NOENT) => {} // gone meanwhile
                Err(e) => return Err(fault(&at.join(name), e)),
            }
        }
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn stat(&self, path: &Path) -> Result<Option<Listed>> {
        if check_path(path)?.is_empty() {
            return Ok(Some(Listed { name: String::new(), kind: Kind::Dir, size_bytes: 0 }));
        }
        let (dir, name, at) = match self.parent(path) {
            Err(Error::NotFound { .. }) => return Ok(None),
            found => found?,
        };
        match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(listed(name, &stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(fault(&at, e)),
        }
    }

    fn sync(&self, what: Sync<'_>) -> Result<()> {
        match what {
            Sync::Dir(path) => rustix::fs::fsync(self.dir(path)?).map_err(|e| fault(path, e)),
            Sync::All => rustix::fs::syncfs(&self.root).map_err(|e| fault(&self.path, e)),
        }
    }
}

fn listed(name: &str, stat: &Stat) -> Listed {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        _ => Kind::Other,
    };
    Listed { name: name.to_owned(), kind, size_bytes: u64::try_from(stat.st_size).unwrap_or(0) }
}

fn own(fd: &OwnedFd, path: &Path) -> Result<Stat> {
    let stat = rustix::fs::fstat(fd).map_err(|e| fault(path, e))?;
    if stat.st_uid != geteuid().as_raw() {
        return Err(Error::Foreign { path: path.to_owned(), uid: stat.st_uid });
    }
    Ok(stat)
}

fn own_file(fd: &OwnedFd, path: &Path) -> Result<()> {
    let stat = own(fd, path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::WrongKind { path: path.to_owned() });
    }
    Ok(())
}

/// Opening without following answers ELOOP or ENOTDIR for a link: says that it is one.
fn link_or(dir: &OwnedFd, name: &str, path: &Path, error: Errno) -> Error {
    let linked = matches!(error, Errno::LOOP | Errno::NOTDIR)
        && rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
    if linked { Error::Link { path: path.to_owned() } } else { fault(path, error) }
}

fn fault(path: &Path, errno: Errno) -> Error {
    match errno {
        Errno::LOOP => Error::Link { path: path.to_owned() },
        errno => Error::from_io(path, &io::Error::from(errno)),
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    path: PathBuf,
}

impl Read for RealFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.file.read(into)
    }
}

impl Source for RealFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match self.file.read_at(&mut into[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

impl Write for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for RealFile {
    fn sync(&mut self) -> Result<()> {
        self.file.sync_all().map_err(|e| Error::from_io(&self.path, &e))
    }
}
