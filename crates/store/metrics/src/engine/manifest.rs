//! What belongs to a tenant's store: which parts, which deletions, where the log begins.
//!
//! One small file, replaced whole. Whatever stands in the folders and is not named here is left over
//! from a crash.

use std::path::Path;

use disk::Disk;
use metrics_api::{MatchOp, Matcher, TimeRange};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

pub const VERSION: u32 = 1;
const FILE: &str = "manifest";
const SIZE_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub version: u32,
    /// The first segment of the log that is not in parts.
    pub wal_first: u64,
    /// Number of the registry's file; zero is none.
    pub registry: u64,
    /// Number of the next file, of whatever kind.
    pub next_file: u64,
    /// The time that retention believed last.
    pub believed_ms: Option<i64>,
    pub parts: Vec<PartEntry>,
    pub deletions: Vec<Deletion>,
    /// Number of the last deletion ever.
    pub last_deletion: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartEntry {
    pub file: u64,
    /// Which is newer: of samples of one series and time the part with the higher counts.
    pub order: u64,
    pub min_time_ms: i64,
    pub max_time_ms: i64,
    pub samples: u64,
    pub series: u32,
    pub size_bytes: u64,
    /// When it was written, as far as the clock was believed.
    pub written_ms: i64,
    /// Deletions up to this one are carried out in it or are not about it.
    pub deletions_applied: u64,
}

impl PartEntry {
    pub fn range(&self) -> TimeRange {
        TimeRange::new(self.min_time_ms, self.max_time_ms)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    pub number: u64,
    pub any_of: Vec<Vec<Condition>>,
    pub start_ms: i64,
    pub end_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub name: String,
    pub op: String,
    pub value: String,
}

impl From<&Matcher> for Condition {
    fn from(matcher: &Matcher) -> Self {
        Self { name: matcher.name.clone(), op: matcher.op.to_string(), value: matcher.value.clone() }
    }
}

impl Condition {
    pub fn matcher(&self) -> Option<Matcher> {
        let op = match self.op.as_str() {
            "=" => MatchOp::Equal,
            "!=" => MatchOp::NotEqual,
            "=~" => MatchOp::Regex,
            "!~" => MatchOp::NotRegex,
            _ => return None,
        };
        Matcher::new(self.name.as_str(), op, self.value.as_str()).ok()
    }
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            version: VERSION,
            wal_first: 0,
            registry: 0,
            next_file: 1,
            believed_ms: None,
            parts: Vec::new(),
            deletions: Vec::new(),
            last_deletion: 0,
        }
    }
}

/// What stands in the place of a manifest.
#[derive(Debug)]
pub enum Found {
    Absent,
    Good(Manifest),
    Damaged(String),
}

impl Manifest {
    /// # Errors
    /// The disk cannot read.
    pub fn read(disk: &dyn Disk, dir: &Path) -> disk::Result<Found> {
        let bytes = match disk::read(disk, &dir.join(FILE), SIZE_BYTES_MAX) {
            Err(disk::Error::NotFound { .. }) => return Ok(Found::Absent),
            read => read?,
        };
        let parsed = || -> Result<Self, String> {
            let line = bytes.iter().position(|byte| *byte == b'\n').ok_or("it has no checksum")?;
            let (sum, body) = (&bytes[..line], &bytes[line + 1..]);
            if sum != format!("{:016x}", xxh3_64(body)).as_bytes() {
                return Err("its checksum does not fit".into());
            }
            let manifest: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
            if manifest.version != VERSION {
                return Err(format!("it is of version {}, this program reads {VERSION}", manifest.version));
            }
            Ok(manifest)
        };
        Ok(parsed().map_or_else(Found::Damaged, Found::Good))
    }

    /// Puts it in the place of the one before; durable on return.
    ///
    /// # Errors
    /// The one before is in place.
    pub fn write(&self, disk: &dyn Disk, dir: &Path) -> disk::Result<()> {
        let body = serde_json::to_vec(self)
            .map_err(|error| disk::Error::Io { path: dir.join(FILE), why: error.to_string() })?;
        let mut bytes = format!("{:016x}\n", xxh3_64(&body)).into_bytes();
        bytes.extend_from_slice(&body);
        disk::write_atomic(disk, &dir.join(FILE), &bytes, 0o600)
    }
}

pub fn part_name(number: u64) -> String {
    format!("{number:012}.part")
}

pub fn registry_name(number: u64) -> String {
    format!("registry-{number:012}")
}

/// The number in the name of a part or a registry.
pub fn file_number(name: &str) -> Option<u64> {
    name.strip_suffix(".part").or_else(|| name.strip_prefix("registry-"))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_and_every_flipped_bit_is_seen() {
        let disk = disk::SimulatedDisk::new();
        let dir = Path::new("t");
        disk::create_dirs(&disk, dir, 0o700).unwrap();
        assert!(matches!(Manifest::read(&disk, dir), Ok(Found::Absent)));
        let mut manifest = Manifest { wal_first: 3, ..Manifest::default() };
        manifest.deletions.push(Deletion {
            number: 1,
            any_of: vec![vec![Condition::from(&Matcher::equal("a", "b"))]],
            start_ms: i64::MIN,
            end_ms: i64::MAX,
        });
        manifest.write(&disk, dir).unwrap();
        let Ok(Found::Good(found)) = Manifest::read(&disk, dir) else { panic!("not read back") };
        assert_eq!(found, manifest);
        assert_eq!(found.deletions[0].any_of[0][0].matcher(), Some(Matcher::equal("a", "b")));
        let bytes = disk::read(&disk, &dir.join(FILE), 10_000).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            disk::write_atomic(&disk, &dir.join(FILE), &flipped, 0o600).unwrap();
            assert!(matches!(Manifest::read(&disk, dir), Ok(Found::Damaged(_))), "byte {at}");
        }
    }
}
