//! The file: how it is made, opened and brought up to date.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{Options, fault};
use crate::port::{Error, Result};

/// The format this Stead writes. It stands in the file as `user_version`.
pub const FORMAT: u32 = MIGRATIONS.len() as u32;
/// Marks the file as Stead's (`STED`), for `file` and against mistakes.
const APPLICATION_ID: i32 = 0x5354_4544;
const PAGE_BYTES: u64 = 4_096;
/// SQLite's own header, at the start of the first page.
const HEADER_BYTES: usize = 100;
/// The write-ahead log is cut back to this after a checkpoint.
const LOG_BYTES_KEPT: u64 = 4 << 20;
/// Prepared statements kept per connection.
const STATEMENTS_KEPT: usize = 32;

/// Step n brings format n to n + 1. Append only: a step that was released never changes.
const MIGRATIONS: &[&str] = &[
    // 1: the first format
    "CREATE TABLE record (
         tenant TEXT NOT NULL,
         kind TEXT NOT NULL,
         id TEXT NOT NULL,
         environment TEXT NOT NULL,
         version INTEGER NOT NULL,
         updated_at INTEGER NOT NULL,   -- nanoseconds since 1970 UTC
         terms TEXT NOT NULL,           -- JSON: [[name, value], ...]
         body TEXT NOT NULL             -- JSON
     );
     CREATE UNIQUE INDEX record_key ON record (tenant, kind, id, environment);
     CREATE TABLE term (
         tenant TEXT NOT NULL,
         kind TEXT NOT NULL,
         name TEXT NOT NULL,
         value TEXT NOT NULL,
         id TEXT NOT NULL,
         environment TEXT NOT NULL,
         PRIMARY KEY (tenant, kind, name, value, id, environment)
     ) WITHOUT ROWID;
     CREATE TABLE entry (
         tenant TEXT NOT NULL,
         seq INTEGER NOT NULL,
         at INTEGER NOT NULL,           -- nanoseconds since 1970 UTC
         environment TEXT NOT NULL,
         id TEXT NOT NULL,
         kind TEXT NOT NULL,
         subject TEXT NOT NULL,
         actor TEXT NOT NULL,
         correlation TEXT NOT NULL,
         causation TEXT,
         why TEXT NOT NULL,
         body TEXT NOT NULL,            -- JSON
         body_digest TEXT NOT NULL,
         prev_hash TEXT NOT NULL,
         hash TEXT NOT NULL
     );
     CREATE UNIQUE INDEX entry_place ON entry (tenant, seq);
     CREATE INDEX entry_subject ON entry (tenant, subject, seq);
     CREATE INDEX entry_correlation ON entry (tenant, correlation, seq);
     CREATE TABLE message (
         tenant TEXT NOT NULL,
         seq INTEGER NOT NULL,
         topic TEXT NOT NULL,
         body TEXT NOT NULL,            -- JSON
         PRIMARY KEY (tenant, seq)
     ) WITHOUT ROWID;
     CREATE TABLE outbox (              -- the last sequence given and how many wait
         tenant TEXT NOT NULL PRIMARY KEY,
         seq INTEGER NOT NULL,
         waiting INTEGER NOT NULL
     ) WITHOUT ROWID;
     CREATE TABLE lease (
         tenant TEXT NOT NULL,
         name TEXT NOT NULL,
         holder TEXT NOT NULL,
         token INTEGER NOT NULL,
         expires_at INTEGER NOT NULL,   -- nanoseconds since 1970 UTC
         ttl_nanos INTEGER NOT NULL,
         PRIMARY KEY (tenant, name)
     ) WITHOUT ROWID;",
];

/// Sees to it that there is a whole file at `path`, making a first one where nothing is; gives the
/// path with its folder resolved, so that SQLite can refuse every symbolic link.
pub(super) fn prepare(path: &Path) -> Result<PathBuf> {
    let path = resolve(path)?;
    match fs::symlink_metadata(&path) {
        Ok(meta) if !meta.is_file() => {
            Err(Error::Damaged { why: format!("{} is no regular file", path.display()) })
        }
        // A new file is put in place whole, so an empty one was cut.
        Ok(meta) if meta.len() == 0 => Err(Error::Damaged { why: format!("{} is empty", path.display()) }),
        Ok(_) => {
            let opened = fs::OpenOptions::new().read(true).write(true).open(&path);
            let file = opened.map_err(|e| fault::from_io(&path, &e))?;
            check_header(&path, &file)?;
            Ok(path)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => create(&path).map(|()| path),
        Err(e) => Err(fault::from_io(&path, &e)),
    }
}

/// Reads the first page before SQLite does, which would write to the file as it opens it.
///
/// It must be a database of Stead, of a format that this Stead knows, and as long as it says it
/// is: SQLite does not see that half of the last page is missing before it reads that page.
pub(super) fn check_header(path: &Path, mut file: &File) -> Result<()> {
    let mut header = [0; HEADER_BYTES];
    if io::Read::read_exact(&mut file, &mut header).is_err() || !header.starts_with(b"SQLite format 3\0") {
        return Err(Error::Damaged { why: format!("{} is no database", path.display()) });
    }
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if number(68) != APPLICATION_ID as u32 {
        return Err(Error::Damaged {
            why: format!("{} is a database, but not one of Stead", path.display()),
        });
    }
    let found = number(60);
    if found > FORMAT {
        return Err(Error::Newer { found, known: FORMAT });
    }
    // With a log beside it the file may be short: a checkpoint was cut, and the log has the rest.
    if fs::symlink_metadata(with_suffix(path, "-wal")).is_ok_and(|log| log.len() > 0) {
        return Ok(());
    }
    let length = file.metadata().map_err(|e| fault::from_io(path, &e))?.len();
    // A page size of 65,536 stands as 1, which makes the minimum too small, and so harmless.
    let told = u64::from(u16::from_be_bytes([header[16], header[17]])) * u64::from(number(28));
    if length < told {
        let why = format!("{} was cut: {length} of {told} bytes are left", path.display());
        return Err(Error::Damaged { why });
    }
    Ok(())
}

/// `path` with the links of its folder followed; the file itself may not be one.
pub(super) fn resolve(path: &Path) -> Result<PathBuf> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path
        .file_name()
        .ok_or_else(|| Error::Invalid { why: format!("{} is no path of a file", path.display()) })?;
    Ok(fs::canonicalize(folder).map_err(|e| fault::from_io(folder, &e))?.join(name))
}

fn create(path: &Path) -> Result<()> {
    let log = with_suffix(path, "-wal");
    if fs::symlink_metadata(&log).is_ok_and(|m| m.len() > 0) {
        let why = format!("{} is missing, but its log {} is there", path.display(), log.display());
        return Err(Error::Damaged { why });
    }
    let draft = with_suffix(path, ".new");
    remove_with_log(&draft)?;
    create_private(&draft)?;
    {
        let options = Options::default();
        let mut connection = connect(&draft, &options, options.writer_cache_bytes)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(fault::from_sql)?;
        migrate(&mut connection)?;
        close(connection)?;
    }
    put_in_place(&draft, path)
}

/// Makes an empty file that only its owner reads.
pub(super) fn create_private(path: &Path) -> Result<()> {
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map(drop).map_err(|e| fault::from_io(path, &e))
}

/// Makes `draft` durable and gives it the name `path`.
pub(super) fn put_in_place(draft: &Path, path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(draft).and_then(|f| f.sync_all()).map_err(|e| fault::from_io(draft, &e))?;
    fs::rename(draft, path).map_err(|e| fault::from_io(path, &e))?;
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| fault::from_io(folder, &e))
}

pub(super) fn remove_with_log(path: &Path) -> Result<()> {
    for path in [path.to_owned(), with_suffix(path, "-wal"), with_suffix(path, "-shm")] {
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(fault::from_io(&path, &e)),
        }
    }
    Ok(())
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn connect(path: &Path, options: &Options, cache_bytes: u32) -> Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| fault::from_open(path, e))?;
    let cache_kib = -i64::from(cache_bytes / 1_024);
    let set = || -> rusqlite::Result<bool> {
        connection.busy_timeout(options.busy_timeout)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        connection.pragma_update(None, "cache_size", cache_kib)?;
        connection.pragma_update(None, "mmap_size", 0)?;
        connection.pragma_update(None, "foreign_keys", false)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "secure_delete", true)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
        if let Some(size) = options.size_bytes_max {
            // The pragma answers with the limit it took.
            connection.query_row(
                &format!("PRAGMA max_page_count = {}", size / PAGE_BYTES),
                [],
                |_| Ok(()),
            )?;
        }
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        Ok(mode.eq_ignore_ascii_case("wal"))
    };
    match set() {
        Ok(true) => Ok(connection),
        Ok(false) => Err(Error::Failed { why: "the file system does not take a write-ahead log".into() }),
        Err(e) => Err(fault::from_open(path, e)),
    }
}

pub(super) fn connect_reader(path: &Path, options: &Options) -> Result<Connection> {
    let connection = connect(path, options, options.reader_cache_bytes)?;
    connection.pragma_update(None, "query_only", true).map_err(fault::from_sql)?;
    Ok(connection)
}

/// Closes and with that folds the log into the file.
pub(super) fn close(connection: Connection) -> Result<()> {
    connection.close().map_err(|(_, e)| fault::from_sql(e))
}

pub(super) fn format_of(connection: &Connection) -> Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fault::from_sql)
}

/// Refuses what is no state of Stead, or of a newer one.
pub(super) fn check_format(connection: &Connection) -> Result<u32> {
    let id: i32 =
        connection.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(fault::from_sql)?;
    if id != APPLICATION_ID {
        return Err(Error::Damaged { why: "it is a database, but not one of Stead".into() });
    }
    let found = format_of(connection)?;
    if found > FORMAT {
        return Err(Error::Newer { found, known: FORMAT });
    }
    Ok(found)
}

/// Brings the file up to [`FORMAT`], each step whole or not at all.
pub(super) fn migrate(connection: &mut Connection) -> Result<()> {
    let from = check_format(connection)?;
    for (step, sql) in (from..).zip(MIGRATIONS.iter().skip(from as usize)) {
        let mut run = || -> rusqlite::Result<()> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(sql)?;
            transaction.pragma_update(None, "user_version", step + 1)?;
            transaction.commit()
        };
        run().map_err(fault::from_sql)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the crash tests take for granted: a commit is acknowledged when its log is synced.
    #[test]
    fn the_log_is_synced_with_every_commit() {
        let folder = tempfile::tempdir().unwrap();
        let path = prepare(&folder.path().join("state.db")).unwrap();
        let connection = connect(&path, &Options::default(), 1 << 20).unwrap();
        let ask = |pragma: &str| -> String {
            connection
                .query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, rusqlite::types::Value>(0))
                .map(|value| format!("{value:?}"))
                .unwrap()
        };
        assert_eq!(ask("synchronous"), "Integer(2)", "FULL");
        assert_eq!(ask("journal_mode"), "Text(\"wal\")");
    }
}
