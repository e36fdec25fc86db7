//! Small files that only their owner may read: the root key of secrets, the token of this machine.
//!
//! A key file appears whole or not at all (temporary file, fsync, link or rename, fsync of the
//! directory), and one that is not private is refused rather than put right: whoever could read it
//! has read it already. It is not a store: everything that may be seen by the database belongs there.
//! Enter at [`read`], [`create`] and [`replace`]. All of them block.
#![forbid(unsafe_code)]

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use base::{Class, Fault};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// A key file is never larger than this, in bytes.
pub const SIZE_BYTES_MAX: usize = 64 << 10;

/// Permission bits of a key file: its owner reads and writes, nobody else.
const MODE: u32 = 0o600;

/// Reads a key file; none when it does not exist.
///
/// # Errors
/// It is not a regular file of the running user, others may read it, or it is too large.
pub fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    // NONBLOCK: opening a planted FIFO must not hang the start.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(Error::NotRegular { path: path.into(), is: "a symbolic link" });
        }
        Err(error) => return Err(Error::io("open", path, &error)),
    };
    let about = file.metadata().map_err(|error| Error::io("look at", path, &error))?;
    if !about.is_file() {
        return Err(Error::NotRegular { path: path.into(), is: "not a regular file" });
    }
    let (owner, user) = (about.uid(), rustix::process::geteuid().as_raw());
    if owner != user {
        return Err(Error::Owner { path: path.into(), owner, user });
    }
    if about.mode() & 0o077 != 0 {
        return Err(Error::Permissions { path: path.into(), mode: about.mode() & 0o7777 });
    }
    let mut content = Zeroizing::new(Vec::with_capacity(SIZE_BYTES_MAX + 1));
    file.take(SIZE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|error| Error::io("read", path, &error))?;
    if content.len() > SIZE_BYTES_MAX {
        return Err(Error::TooLarge { path: path.into() });
    }
    Ok(Some(content))
}

/// Creates a key file, durably, unless something of that name exists; says whether it did.
///
/// # Errors
/// The directory cannot be written, or the disk is full; then nothing is left behind.
pub fn create(path: &Path, content: &[u8]) -> Result<bool, Error> {
    let temporary = Temporary::write(path, content)?;
    // A link, not a rename: of two first starts at once exactly one wins.
    match std::fs::hard_link(&temporary.path, path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(Error::io("create", path, &error)),
    }
    drop(temporary);
    sync_directory(path)?;
    Ok(true)
}

/// Puts new content in place of the old, durably and at once: a crash leaves one or the other.
///
/// # Errors
/// As [`create`].
pub fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let temporary = Temporary::write(path, content)?;
    std::fs::rename(&temporary.path, path).map_err(|error| Error::io("replace", path, &error))?;
    sync_directory(path)
}

/// A fully written sibling of the target, gone when dropped unless it was renamed away.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn write(target: &Path, content: &[u8]) -> Result<Self, Error> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        if content.len() > SIZE_BYTES_MAX {
            return Err(Error::TooLarge { path: target.into() });
        }
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        let path = target.with_file_name(name);
        // What a crashed process of the same pid left; `create_new` below refuses anything planted.
        let _ = std::fs::remove_file(&path);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .custom_flags((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits().cast_signed())
            .open(&path)
            .map_err(|error| Error::io("create", &path, &error))?;
        let temporary = Self { path };
        file.write_all(content)
            .and_then(|()| file.sync_all())
            .map_err(|error| Error::io("write", &temporary.path, &error))?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn sync_directory(path: &Path) -> Result<(), Error> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| Error::io("sync", parent, &error))
}

/// Why a key file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{} is {is}, so it is not trusted with a key", path.display())]
    NotRegular { path: PathBuf, is: &'static str },
    #[error("{} belongs to user {owner}, but Stead runs as user {user}", path.display())]
    Owner { path: PathBuf, owner: u32, user: u32 },
    #[error("{} can be read or written by others (mode {mode:04o})", path.display())]
    Permissions { path: PathBuf, mode: u32 },
    #[error("{} is over the limit of {SIZE_BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("cannot {verb} {}: {why}", path.display())]
    Io { verb: &'static str, path: PathBuf, why: String },
}

impl Error {
    fn io(verb: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io { verb, path: path.into(), why: error.to_string() }
    }
}

impl Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::NotRegular { .. } => "keyfile.not_regular",
            Self::Owner { .. } => "keyfile.owner",
            Self::Permissions { .. } => "keyfile.permissions",
            Self::TooLarge { .. } => "keyfile.too_large",
            Self::Io { .. } => "keyfile.io",
        }
    }
    fn class(&self) -> Class {
        Class::Unavailable
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotRegular { path, .. } => Some(format!(
                "find out who put it there; then move the real file to {} itself",
                path.display()
            )),
            Self::Owner { path, user, .. } => Some(format!("`chown {user} {}`", path.display())),
            Self::Permissions { path, .. } => Some(format!(
                "`chmod 600 {}`; if others use this machine, take what is in it as known to them and rotate it",
                path.display()
            )),
            Self::TooLarge { .. } => Some("this is not a file that Stead wrote".into()),
            Self::Io { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        (dir, path)
    }

    fn names(dir: &Path) -> Vec<String> {
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_is_not_private_is_refused() {
        let (dir, path) = place();
        std::fs::write(&path, "k").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o666] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path).unwrap_err();
            assert_eq!(error.code(), "keyfile.permissions", "{mode:o}");
            assert!(error.hint().unwrap().starts_with("`chmod 600 "));
        }
        let real = dir.path().join("real");
        assert!(create(&real, b"k").unwrap());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&real, &path).unwrap();
        assert_eq!(read(&path).unwrap_err().code(), "keyfile.not_regular");
        // Neither does creating follow it.
        assert!(!create(&path, b"other").unwrap());
        assert_eq!(read(&real).unwrap().unwrap().as_slice(), b"k");
    }

    #[test]
    fn a_fifo_or_a_directory_neither_hangs_nor_passes() {
        let (dir, path) = place();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(read(&path).unwrap_err().code(), "keyfile.not_regular");
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert_eq!(read(&fifo).unwrap_err().code(), "keyfile.not_regular");
    }

    #[test]
    fn another_owner_is_refused() {
        let (_dir, path) = place();
        create(&path, b"k").unwrap();
        // Only root can give a file away; elsewhere a file of root's serves.
        let path = if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
            path
        } else {
            PathBuf::from("/etc/hostname")
        };
        assert_eq!(read(&path).unwrap_err().code(), "keyfile.owner");
    }

    #[test]
    fn created_once_and_private() {
        let (dir, path) = place();
        assert!(read(&path).unwrap().is_none());
        assert!(create(&path, b"first").unwrap());
        assert!(!create(&path, b"second").unwrap());
        assert_eq!(read(&path).unwrap().unwrap().as_slice(), b"first");
        replace(&path, b"third").unwrap();
        assert_eq!(read(&path).unwrap().unwrap().as_slice(), b"third");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(dir.path()), ["root.key"]);
    }

    #[test]
    fn of_many_first_starts_one_wins() {
        let (dir, path) = place();
        let won: usize = std::thread::scope(|scope| {
            let runs: Vec<_> = (0..8u8)
                .map(|n| {
                    let path = &path;
                    scope.spawn(move || usize::from(create(path, &[n]).unwrap()))
                })
                .collect();
            runs.into_iter().map(|run| run.join().unwrap()).sum()
        });
        assert_eq!(won, 1);
        assert_eq!(names(dir.path()), ["root.key"]);
    }

    #[test]
    fn the_size_limit_holds_both_ways() {
        let (dir, path) = place();
        let large = vec![b'x'; SIZE_BYTES_MAX + 1];
        assert_eq!(create(&path, &large).unwrap_err().code(), "keyfile.too_large");
        std::fs::write(&path, &large).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(&path).unwrap_err().code(), "keyfile.too_large");
        assert!(create(&dir.path().join("fits"), &large[1..]).unwrap());
    }
}
