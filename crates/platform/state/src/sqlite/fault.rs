//! What SQLite and the file system answer, in the words of the port.

use std::{io, path::Path};

use rusqlite::ErrorCode;

use crate::port::Error;

/// `SQLITE_IOERR_SHMSIZE`: the shared index of the log could not grow, which is how a full disk
/// shows when the log itself still fitted.
const IOERR_SHMSIZE: i32 = 10 | (19 << 8);

pub(super) fn from_sql(error: rusqlite::Error) -> Error {
    let rusqlite::Error::SqliteFailure(failure, text) = &error else {
        return Error::Failed { why: error.to_string() };
    };
    let why = text.clone().unwrap_or_else(|| failure.to_string());
    match failure.code {
        ErrorCode::DiskFull => Error::DiskFull,
        ErrorCode::SystemIoFailure if failure.extended_code == IOERR_SHMSIZE => Error::DiskFull,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error::Locked { why },
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Error::Damaged { why },
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Error::ReadOnly { why },
        _ => Error::Failed { why },
    }
}

/// As [`from_sql`], with the path in what says only that it could not be opened.
pub(super) fn from_open(path: &Path, error: rusqlite::Error) -> Error {
    match from_sql(error) {
        Error::Failed { why } => Error::Failed { why: format!("{}: {why}", path.display()) },
        other => other,
    }
}

pub(super) fn from_io(path: &Path, error: &io::Error) -> Error {
    let why = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Error::ReadOnly { why },
        io::ErrorKind::AlreadyExists => Error::Invalid { why: format!("{} exists already", path.display()) },
        _ => Error::Failed { why },
    }
}

/// A row that does not hold what this crate wrote.
pub(super) fn damaged(what: impl std::fmt::Display) -> Error {
    Error::Damaged { why: what.to_string() }
}
