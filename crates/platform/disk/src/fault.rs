//! Why the disk could not do it.

use std::{
    io,
    path::{Path, PathBuf},
};

use base::{Class, Fault};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{} does not exist", path.display())]
    NotFound { path: PathBuf },
    #[error("{} exists already", path.display())]
    Exists { path: PathBuf },
    #[error("{} leaves the folder it belongs to", path.display())]
    Outside { path: PathBuf },
    #[error("{} is a symbolic link, which Stead never puts there", path.display())]
    Link { path: PathBuf },
    #[error("{} belongs to user {uid} and not to the one that runs Stead", path.display())]
    Foreign { path: PathBuf, uid: u32 },
    #[error("{} is not of the kind it should be", path.display())]
    WrongKind { path: PathBuf },
    #[error("no space for {}", path.display())]
    Full { path: PathBuf },
    #[error("{} may not be changed: {why}", path.display())]
    Denied { path: PathBuf, why: String },
    #[error("{what} is over the limit of {limit}")]
    Limit { what: &'static str, limit: u64 },
    #[error("{}: {why}", path.display())]
    Io { path: PathBuf, why: String },
}

impl Error {
    /// What the system answered, about `path`.
    #[must_use]
    pub fn from_io(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        let why = error.to_string();
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied { path, why },
            io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => Self::WrongKind { path },
            _ => Self::Io { path, why },
        }
    }
}

impl Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "disk.not_found",
            Self::Exists { .. } => "disk.exists",
            Self::Outside { .. } => "disk.outside",
            Self::Link { .. } => "disk.link",
            Self::Foreign { .. } => "disk.foreign",
            Self::WrongKind { .. } => "disk.wrong_kind",
            Self::Full { .. } => "disk.full",
            Self::Denied { .. } => "disk.denied",
            Self::Limit { .. } => "disk.limit",
            Self::Io { .. } => "disk.io",
        }
    }
    fn class(&self) -> Class {
        match self {
            Self::NotFound { .. } => Class::NotFound,
            Self::Exists { .. } => Class::Conflict,
            Self::Outside { .. } => Class::Invalid,
            Self::Link { .. } | Self::Foreign { .. } | Self::WrongKind { .. } => Class::Denied,
            Self::Full { .. } | Self::Denied { .. } => Class::Unavailable,
            Self::Limit { .. } => Class::Limit,
            Self::Io { .. } => Class::Internal,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Link { path } => {
                Some(format!("someone put it there: look at where {} points, then remove it", path.display()))
            }
            Self::Foreign { path, .. } => Some(format!(
                "run Stead as the user that owns the data directory, or change the owner of {}",
                path.display()
            )),
            Self::Full { .. } => Some("free space on this volume".into()),
            Self::Denied { .. } => Some("make it writable for the user that runs Stead".into()),
            _ => None,
        }
    }
}
