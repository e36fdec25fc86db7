//! Small files that only their owner may read: the root key of secrets, the token of this machine.
//!
//! A key file appears whole or not at all (it is written through the disk port, and its tests cut the
//! power at every step), and one that is not private is refused rather than put right: whoever could read it
//! has read it already. It is not a store: everything that may be seen by the database belongs there.
//! Enter at [`read`], [`create`] and [`replace`]. All of them block.
#![forbid(unsafe_code)]

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use base::{Class, Fault};
use disk::{Disk, RealDisk};
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

/// Creates a key file, durably, unless something of that name exists; says whether it did. When it
/// did not, what is there is durable too.
///
/// # Errors
/// The directory cannot be written or belongs to another user, or the disk is full.
pub fn create(path: &Path, content: &[u8]) -> Result<bool, Error> {
    let (disk, name) = place(path)?;
    create_on(&disk, &name, content).map_err(|error| error.at(path))
}

/// Puts new content in place of the old, durably and at once: a crash leaves one or the other.
///
/// # Errors
/// As [`create`].
pub fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let (disk, name) = place(path)?;
    replace_on(&disk, &name, content).map_err(|error| error.at(path))
}

/// The directory of a key file as a disk, and the file's name in it.
fn place(path: &Path) -> Result<(RealDisk, PathBuf), Error> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let disk = RealDisk::open(parent).map_err(|error| Error::disk("open the directory of", path, &error))?;
    Ok((disk, PathBuf::from(path.file_name().unwrap_or_default())))
}

fn create_on(disk: &dyn Disk, path: &Path, content: &[u8]) -> Result<bool, Error> {
    small(path, content)?;
    disk::write_new(disk, path, content, MODE).map_err(|error| Error::disk("create", path, &error))
}

fn replace_on(disk: &dyn Disk, path: &Path, content: &[u8]) -> Result<(), Error> {
    small(path, content)?;
    disk::write_atomic(disk, path, content, MODE).map_err(|error| Error::disk("replace", path, &error))
}

fn small(path: &Path, content: &[u8]) -> Result<(), Error> {
    if content.len() > SIZE_BYTES_MAX {
        return Err(Error::TooLarge { path: path.into() });
    }
    Ok(())
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

    fn disk(verb: &'static str, path: &Path, error: &disk::Error) -> Self {
        Self::Io { verb, path: path.into(), why: error.to_string() }
    }

    /// With the whole path in place of the name within a disk.
    fn at(self, path: &Path) -> Self {
        match self {
            Self::Io { verb, why, .. } => Self::Io { verb, path: path.into(), why },
            Self::TooLarge { .. } => Self::TooLarge { path: path.into() },
            other => other,
        }
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

    use disk::{SimulatedDisk, simulated::Plan};

    use super::*;

    const SEEDS: u64 = 64;
    const OLD: &[u8] = b"the old key";
    const NEW: &[u8] = b"the new key, which is longer";
    const KEY: &str = "root.key";

    type Work<'w> = &'w dyn Fn(&SimulatedDisk) -> bool;
    /// Whether what is found is as it may be, told whether the work was acknowledged.
    type Fine<'f> = &'f dyn Fn(Option<&[u8]>, bool) -> bool;

    /// What a machine finds after losing power now, in each of the ways it may.
    fn after_crash(disk: &SimulatedDisk) -> Vec<Option<Vec<u8>>> {
        let found = |seed| match disk::read(&disk.crash(seed), Path::new(KEY), 1_000) {
            Ok(content) => Some(content),
            Err(disk::Error::NotFound { .. }) => None,
            Err(error) => panic!("seed {seed}: {error}"),
        };
        (0..SEEDS).map(found).collect()
    }

    /// Does `work` on a disk begun with the old key or none, stopping the machine at every step and with
    /// sync `skip` left out; whether what is found then is always `fine`, told whether it was acknowledged.
    fn survives(begun: Option<&[u8]>, skip: Option<u64>, work: Work<'_>, fine: Fine<'_>) -> (bool, u64) {
        let start = |stop_at_step| {
            let disk = SimulatedDisk::new();
            if let Some(old) = begun {
                assert!(create_on(&disk, Path::new(KEY), old).unwrap());
            }
            disk.plan(Plan { skip_sync: skip, stop_at_step, ..Plan::default() });
            disk
        };
        let whole = start(None);
        assert!(work(&whole), "it works where nothing stops it");
        let counts = whole.counts();
        let mut good = after_crash(&whole).iter().all(|found| fine(found.as_deref(), true));
        for step in 0..counts.steps {
            let disk = start(Some(step));
            let done = work(&disk);
            good &= after_crash(&disk).iter().all(|found| fine(found.as_deref(), done));
        }
        (good, counts.syncs)
    }

    #[test]
    fn power_may_go_at_any_step_and_leaving_out_any_one_sync_shows() {
        let create: Work<'_> = &|disk| create_on(disk, Path::new(KEY), NEW).is_ok_and(|made| made);
        let replace: Work<'_> = &|disk| replace_on(disk, Path::new(KEY), NEW).is_ok();
        let whole_or_none =
            |found: Option<&[u8]>, done: bool| found == Some(NEW) || (found.is_none() && !done);
        let old_or_new =
            |found: Option<&[u8]>, done: bool| found == Some(NEW) || (found == Some(OLD) && !done);
        let cases: [(Option<&[u8]>, Work<'_>, Fine<'_>); 2] =
            [(None, create, &whole_or_none), (Some(OLD), replace, &old_or_new)];
        for (begun, work, fine) in cases {
            let (good, syncs) = survives(begun, None, work, fine);
            assert!(good && syncs == 2, "{syncs} syncs");
            for skip in 0..syncs {
                assert!(
                    !survives(begun, Some(skip), work, fine).0,
                    "sync {skip} is not needed, or not tested"
                );
            }
        }
    }

    #[test]
    fn who_comes_second_can_rely_on_what_the_first_wrote() {
        let disk = SimulatedDisk::new();
        // The first gave the name and was stopped before it synced it.
        disk.plan(Plan { skip_sync: Some(1), ..Plan::default() });
        assert!(create_on(&disk, Path::new(KEY), OLD).unwrap());
        assert!(after_crash(&disk).contains(&None), "it may be lost");
        assert!(!create_on(&disk, Path::new(KEY), NEW).unwrap());
        assert!(after_crash(&disk).iter().all(|found| found.as_deref() == Some(OLD)));
    }

    #[test]
    fn a_full_disk_leaves_the_old_key_and_no_draft() {
        let disk = SimulatedDisk::new();
        create_on(&disk, Path::new(KEY), OLD).unwrap();
        disk.plan(Plan { full_after_bytes: Some(5), ..Plan::default() });
        assert!(replace_on(&disk, Path::new(KEY), NEW).is_err());
        disk.plan(Plan::default());
        assert_eq!(disk::read(&disk, Path::new(KEY), 100).unwrap(), OLD);
        assert_eq!(disk.list(Path::new("")).unwrap().len(), 1);
    }

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
