//! Copies of the file: made while work goes on, checked whole before they are trusted.

use std::{
    fs::{self, File},
    path::Path,
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};
use serde::{Deserialize, Serialize};

use super::{
    Options,
    fault::{damaged, from_io, from_open, from_sql},
    schema,
};
use crate::port::{Error, Result};

/// What a state file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    pub format: u32,
    pub records: u64,
    pub entries: u64,
    pub size_bytes: u64,
}

pub(super) fn write(from: &Connection, to: &Path) -> Result<Contents> {
    let to = schema::resolve(to)?;
    if fs::symlink_metadata(&to).is_ok() {
        return Err(Error::Invalid { why: format!("{} exists already", to.display()) });
    }
    let draft = schema::with_suffix(&to, ".new");
    schema::remove_with_log(&draft)?;
    schema::create_private(&draft)?;
    let copied = copy(from, &draft).and_then(|()| contents(&draft));
    match copied {
        Ok(contents) => schema::put_in_place(&draft, &to).map(|()| contents),
        Err(e) => {
            let _ = schema::remove_with_log(&draft); // a next backup removes it
            Err(e)
        }
    }
}

/// One step, and so one snapshot: commits meanwhile go on in the log.
fn copy(from: &Connection, to: &Path) -> Result<()> {
    let mut target = Connection::open_with_flags(to, flags(true)).map_err(|e| from_open(to, e))?;
    let step = Backup::new(from, &mut target).and_then(|backup| backup.step(-1)).map_err(from_sql)?;
    if step != StepResult::Done {
        return Err(Error::Locked { why: "the copy could not be made in one step".into() });
    }
    // One file, without a log beside it.
    target.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).map_err(from_sql)?;
    schema::close(target)
}

fn flags(write: bool) -> OpenFlags {
    let access = if write { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW
}

/// Checks the file at `path` page by page.
pub(super) fn check(path: &Path) -> Result<Contents> {
    let path = schema::resolve(path)?;
    let meta = fs::symlink_metadata(&path).map_err(|e| from_io(&path, &e))?;
    if !meta.is_file() || meta.len() == 0 {
        return Err(damaged(format!("{} is empty or no regular file", path.display())));
    }
    let file = File::open(&path).map_err(|e| from_io(&path, &e))?;
    schema::check_header(&path, &file)?;
    contents(&path)
}

fn contents(path: &Path) -> Result<Contents> {
    let connection = Connection::open_with_flags(path, flags(false)).map_err(|e| from_open(path, e))?;
    let format = schema::check_format(&connection)?;
    let verdict: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(from_sql)?;
    if verdict != "ok" {
        return Err(damaged(verdict));
    }
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u64>(0)).map_err(from_sql);
    Ok(Contents {
        format,
        records: count("SELECT count(*) FROM record")?,
        entries: count("SELECT count(*) FROM entry")?,
        size_bytes: count("PRAGMA page_count")? * count("PRAGMA page_size")?,
    })
}

pub(super) fn restore(backup: &Path, path: &Path) -> Result<Contents> {
    check(backup)?;
    let path = schema::resolve(path)?;
    if fs::symlink_metadata(&path).is_ok() {
        return Err(Error::Invalid { why: format!("{} exists already", path.display()) });
    }
    let log = schema::with_suffix(&path, "-wal");
    if fs::symlink_metadata(&log).is_ok() {
        // It would be replayed onto the restored file.
        return Err(Error::Invalid { why: format!("{} is left over from other state", log.display()) });
    }
    let source = schema::resolve(backup)?;
    let from = Connection::open_with_flags(&source, flags(false)).map_err(|e| from_open(&source, e))?;
    let contents = write(&from, &path)?;
    // Opens it once, so that what a newer start would find is found now.
    drop(schema::connect(&path, &Options::default(), 1 << 20)?);
    Ok(contents)
}
