//! The snapshot file: how control writes it and how the gateway reads it.
//!
//! The file is one JSON object with exactly this start, so that the checksum is over bytes and
//! not over somebody's idea of canonical JSON:
//!
//! ```text
//! {"format":1,"checksum":"sha256:<64 hex digits>","snapshot":<gateway_api::Snapshot>}\n
//! ```
//!
//! The checksum covers the bytes of the value of `snapshot`.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::Path,
};

use gateway_api::Snapshot;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::limits::SNAPSHOT_BYTES_MAX;

/// Why a snapshot file cannot be used or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the route snapshot {path} cannot be {action}")]
    Io { path: String, action: &'static str, source: std::io::Error },
    #[error("the route snapshot {path} is damaged: {what}")]
    Damaged { path: String, what: String },
    #[error("the route snapshot {path} has format {found}, this gateway reads {}", Snapshot::FORMAT)]
    Format { path: String, found: u32 },
}

impl base::Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "gateway.snapshot_io",
            Self::Damaged { .. } => "gateway.snapshot_damaged",
            Self::Format { .. } => "gateway.snapshot_format",
        }
    }

    fn class(&self) -> base::Class {
        match self {
            Self::Io { .. } => base::Class::Unavailable,
            Self::Damaged { .. } | Self::Format { .. } => base::Class::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { .. } => "check that the data directory exists and is writable".into(),
            Self::Damaged { .. } => "the gateway serves the last good one; control writes a new one".into(),
            Self::Format { .. } => "upgrade the gateway and control together".into(),
        })
    }
}

const FIELD: &str = ",\"snapshot\":";

#[derive(Deserialize)]
struct Head {
    format: u32,
    checksum: String,
}

/// Reads and checks a snapshot file.
///
/// # Errors
/// [`Error`]; a file that is larger than [`SNAPSHOT_BYTES_MAX`] is damaged.
pub fn read(path: &Path) -> Result<Snapshot, Error> {
    let io = |source| Error::Io { path: path.display().to_string(), action: "read", source };
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(SNAPSHOT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > SNAPSHOT_BYTES_MAX {
        let what = format!("it is larger than {SNAPSHOT_BYTES_MAX} bytes");
        return Err(Error::Damaged { path: path.display().to_string(), what });
    }
    parse(&bytes).map_err(|wrong| match wrong {
        Wrong::Damaged(what) => Error::Damaged { path: path.display().to_string(), what },
        Wrong::Format(found) => Error::Format { path: path.display().to_string(), found },
    })
}

#[derive(Debug)]
enum Wrong {
    Damaged(String),
    Format(u32),
}

fn parse(bytes: &[u8]) -> Result<Snapshot, Wrong> {
    let damaged = |what: &str| Wrong::Damaged(what.to_owned());
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
    let at = text.find(FIELD).ok_or_else(|| damaged("it has no snapshot in it"))?;
    let head: Head = serde_json::from_str(&format!("{}}}", &text[..at]))
        .map_err(|error| Wrong::Damaged(format!("its head is {error}")))?;
    if head.format != Snapshot::FORMAT {
        return Err(Wrong::Format(head.format));
    }
    let body = text[at + FIELD.len()..].trim_end();
    let body = body.strip_suffix('}').ok_or_else(|| damaged("its end is missing"))?;
    if checksum(body) != head.checksum {
        return Err(damaged("its checksum does not match"));
    }
    serde_json::from_str(body).map_err(|error| Wrong::Damaged(error.to_string()))
}

/// Writes a snapshot file whole or not at all: a temporary file beside it, fsync, rename, fsync of
/// the directory. When this returns, the snapshot survives a power cut.
///
/// # Errors
/// [`Error::Io`]; the file that was there before is then untouched.
pub fn write(path: &Path, snapshot: &Snapshot) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.display().to_string(), action: "written", source };
    let bytes = render(snapshot).map_err(|error| io(error.into()))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = directory.join(name);
    let written = File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(directory)?.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(io)
}

fn render(snapshot: &Snapshot) -> serde_json::Result<Vec<u8>> {
    let body = serde_json::to_string(snapshot)?;
    let (format, checksum) = (Snapshot::FORMAT, checksum(&body));
    Ok(format!("{{\"format\":{format},\"checksum\":\"{checksum}\"{FIELD}{body}}}\n").into_bytes())
}

fn checksum(body: &str) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(body.as_bytes()) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Snapshot {
        let route = serde_json::json!({
            "name": "web", "scope": {"tenant": "default", "environment": "default"},
            "service": "web", "listener": "public", "path": "/",
            "targets": [{"release": "rel_0192f5a8c0de7000800000000000000a", "weight": 100, "endpoints": [
                {"replica": "rep_0192f5a8c0de7000800000000000000b", "address": "127.0.0.1:3000"}]}],
        });
        serde_json::from_value(serde_json::json!({
            "version": 7, "listeners": [{"name": "public", "address": "127.0.0.1:8080"}], "routes": [route],
        }))
        .unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routes.json");
        write(&path, &sample()).unwrap();
        assert_eq!(read(&path).unwrap(), sample());
        serde_json::from_slice::<serde_json::Value>(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn the_first_format_stays_readable() {
        let frozen = include_bytes!("../tests/cases/snapshot-v1.json");
        assert_eq!(parse(frozen).unwrap(), sample());
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let whole = render(&sample()).unwrap();
        for at in 0..whole.len() - 2 {
            assert!(parse(&whole[..at]).is_err(), "cut at {at}");
        }
        for at in 0..whole.len() - 1 {
            for bit in 0..8 {
                let mut broken = whole.clone();
                broken[at] ^= 1 << bit;
                // What still reads must read as the same (a digit of the checksum in upper case).
                if let Ok(read) = parse(&broken) {
                    assert_eq!(read, sample(), "bit {bit} of byte {at}");
                }
            }
        }
    }

    #[test]
    fn another_format_is_named() {
        let text =
            String::from_utf8(render(&sample()).unwrap()).unwrap().replace("\"format\":1", "\"format\":2");
        assert!(matches!(parse(text.as_bytes()), Err(Wrong::Format(2))));
    }

    #[test]
    fn a_directory_that_is_missing_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(write(&dir.path().join("no/routes.json"), &sample()), Err(Error::Io { .. })));
        assert!(matches!(read(&dir.path().join("none")), Err(Error::Io { .. })));
    }
}
