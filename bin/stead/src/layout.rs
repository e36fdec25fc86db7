//! The data directory: what lies where, who may enter, and the lock that one server holds.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base::{Class, Problem};
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};

/// Paths within a data directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
}

/// What a running server says of itself, for the command line on the same machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ServerFile {
    pub(crate) url: String,
    pub(crate) pid: u32,
    #[serde(default)]
    pub(crate) fingerprint: Option<String>,
}

impl Layout {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }
    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state/stead.db")
    }
    pub(crate) fn token(&self) -> PathBuf {
        self.root.join("token")
    }
    pub(crate) fn secrets_key(&self) -> PathBuf {
        self.root.join("secrets.key")
    }
    pub(crate) fn checkpoint_key(&self) -> PathBuf {
        self.root.join("checkpoints.key")
    }
    pub(crate) fn server_file(&self) -> PathBuf {
        self.root.join("server.json")
    }
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }
    pub(crate) fn replicas(&self) -> PathBuf {
        self.root.join("replicas")
    }
    pub(crate) fn roles(&self) -> PathBuf {
        self.root.join("roles")
    }
    pub(crate) fn trees(&self) -> PathBuf {
        self.root.join("trees")
    }
    pub(crate) fn gateway(&self) -> PathBuf {
        self.root.join("gateway")
    }
    pub(crate) fn routes(&self) -> PathBuf {
        self.gateway().join("routes.json")
    }
    pub(crate) fn gateway_socket(&self) -> PathBuf {
        self.gateway().join("admin.sock")
    }
    pub(crate) fn access_log(&self) -> PathBuf {
        self.gateway().join("access.log")
    }
    pub(crate) fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }
    pub(crate) fn metrics(&self) -> PathBuf {
        self.root.join("metrics")
    }
    pub(crate) fn backups(&self) -> PathBuf {
        self.root.join("backups")
    }

    /// Makes the directories. Workloads pass through some of them to reach their own, so those are
    /// open for passing, never for listing.
    ///
    /// # Errors
    /// Something else is in a directory's place, or it belongs to another user.
    pub(crate) fn make(&self) -> Result<(), Problem> {
        directory(&self.root, 0o711)?;
        for (path, mode) in [
            (self.root.join("state"), 0o700),
            (self.root.join("blobs"), 0o700),
            (self.replicas(), 0o711),
            (self.roles(), 0o711),
            (self.trees(), 0o711),
            (self.root.join("data"), 0o711),
            (self.gateway(), 0o700),
            (self.tls(), 0o700),
            (self.backups(), 0o700),
            (self.metrics(), 0o700),
        ] {
            directory(&path, mode)?;
        }
        Ok(())
    }

    /// Takes the lock for this process, or says who holds it.
    ///
    /// # Errors
    /// Another server runs on this directory.
    pub(crate) fn lock(&self) -> Result<File, Problem> {
        let path = self.lock_file();
        let mut file = open_own(&path).map_err(|error| io(&path, &error))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            let _ = (&mut file).take(32).read_to_string(&mut holder);
            return Err(Problem::new(
                Class::Internal,
                "bin.locked",
                format!("a server already runs on {} (pid {})", self.root.display(), holder.trim()),
            )
            .with_hint("use it, or stop it with `stead stop`"));
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(|error| io(&path, &error))?;
        writeln!(file, "{}", std::process::id()).map_err(|error| io(&path, &error))?;
        Ok(file)
    }

    /// The right to start a server here; none while another process has it. It ends with the file.
    ///
    /// # Errors
    /// The lock's file cannot be opened.
    pub(crate) fn start_lock(&self) -> Result<Option<File>, Problem> {
        let path = self.root.join("start.lock");
        let file = open_own(&path).map_err(|error| io(&path, &error))?;
        Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(file))
    }

    /// The pid of the server that holds the lock; none when nobody does.
    pub(crate) fn holder(&self) -> Option<u32> {
        let mut file = File::open(self.lock_file()).ok()?;
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return None;
        }
        let mut text = String::new();
        (&mut file).take(32).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    pub(crate) fn server(&self) -> Option<ServerFile> {
        serde_json::from_slice(&fs::read(self.server_file()).ok()?).ok()
    }
}

fn open_own(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

fn directory(path: &Path, mode: u32) -> Result<(), Problem> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() || !meta.is_dir() => {
            return Err(Problem::new(
                Class::Conflict,
                "bin.data_directory",
                format!("{} is not a directory of Stead's", path.display()),
            )
            .with_hint("move it away; Stead follows no links in its data directory"));
        }
        Ok(meta) => {
            let user = rustix::process::geteuid().as_raw();
            if meta.uid() != user {
                return Err(Problem::new(
                    Class::Denied,
                    "bin.data_directory",
                    format!("{} belongs to user {}, not to {user}", path.display(), meta.uid()),
                )
                .with_hint("run Stead as that user, or choose another directory with `--data`"));
            }
        }
        Err(_) => {
            fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(|error| io(path, &error))?
        }
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| io(path, &error))
}

pub(crate) fn io(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new(Class::Unavailable, "bin.io", format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_server_names_the_first() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new(home.path().join("data"));
        layout.make().unwrap();
        assert_eq!(layout.holder(), None);
        let held = layout.lock().unwrap();
        let problem = layout.lock().unwrap_err();
        assert!(problem.message.contains(&format!("pid {}", std::process::id())), "{}", problem.message);
        assert_eq!(problem.class.exit_status(), 1);
        assert_eq!(layout.holder(), Some(std::process::id()));
        drop(held);
        assert_eq!(layout.holder(), None);
    }

    #[test]
    fn a_planted_link_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new(home.path().join("data"));
        layout.make().unwrap();
        fs::remove_dir(layout.trees()).unwrap();
        std::os::unix::fs::symlink("/etc", layout.trees()).unwrap();
        assert_eq!(layout.make().unwrap_err().code, "bin.data_directory");
        std::os::unix::fs::symlink("/etc/passwd", layout.lock_file()).unwrap();
        assert!(layout.lock().is_err());
    }
}
