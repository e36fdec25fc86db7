//! A tar stream, entry by entry, in bounded memory.
//!
//! Extended headers are read here and not by the library, which would read them whole however long
//! they say they are.

use std::{collections::BTreeMap, io::Read};

use tar::{Archive, EntryType, PaxExtensions};

use super::Batch;
use crate::{
    Content, Error, PATH_BYTES_MAX, Result, TREE_ENTRIES_MAX,
    tree::{check_path, invalid, limit},
};

/// One extended header. It holds a path and a link's target at most, and a few numbers.
const HEADER_BYTES_MAX: u64 = 64 << 10;

/// What extended headers said about the next entry.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

pub(super) fn read(
    from: &mut dyn Read,
    batch: &mut Batch,
    entries: &mut BTreeMap<String, Content>,
) -> Result<()> {
    let mut archive = Archive::new(from);
    let mut extended = Extended::default();
    let mut count = 0;
    for entry in archive.entries().map_err(source)?.raw(true) {
        let mut entry = entry.map_err(source)?;
        count += 1;
        // Folders and headers count too: a stream of nothing else must end as well.
        limit("entries of an archive", count, TREE_ENTRIES_MAX as u64 * 4)?;
        match entry.header().entry_type() {
            EntryType::GNULongName => extended.path = Some(long(&mut entry)?),
            EntryType::GNULongLink => extended.target = Some(long(&mut entry)?),
            EntryType::XHeader => pax(&header(&mut entry)?, &mut extended)?,
            EntryType::XGlobalHeader => drop(header(&mut entry)?),
            kind => {
                let said = std::mem::take(&mut extended);
                one(kind, &mut entry, said, batch, entries)?;
            }
        }
    }
    Ok(())
}

fn one(
    kind: EntryType,
    entry: &mut tar::Entry<'_, &mut dyn Read>,
    said: Extended,
    batch: &mut Batch,
    entries: &mut BTreeMap<String, Content>,
) -> Result<()> {
    let path = said.path.unwrap_or_else(|| entry.path_bytes().into_owned());
    let target = said.target.or_else(|| entry.link_name_bytes().map(|t| t.into_owned()));
    let path = plain_path(path)?;
    let wanted_target = || text(target.clone().unwrap_or_default());
    let content = match kind {
        EntryType::Directory => return Ok(()),
        EntryType::Regular | EntryType::Continuous => {
            let executable = entry.header().mode().map_err(source)? & 0o111 != 0;
            let told = entry.header().size().map_err(source)?;
            let stored = batch.add(entry)?;
            if stored.size_bytes != told {
                return Err(Error::Source { why: format!("the archive ends inside {path:?}") });
            }
            Content::File { digest: stored.digest, size_bytes: stored.size_bytes, executable }
        }
        EntryType::Symlink => Content::Link { target: wanted_target()? },
        EntryType::Link => {
            let first = plain_path(target.clone().unwrap_or_default())?;
            let same = entries.get(&first).cloned();
            same.ok_or_else(|| {
                invalid(format!("{path:?} is a hard link to {first:?}, which did not come before"))
            })?
        }
        other => {
            return Err(invalid(format!("{path:?} is neither file, folder nor link (tar type {other:?})")));
        }
    };
    limit("entries of a tree", entries.len() as u64 + 1, TREE_ENTRIES_MAX as u64)?;
    check_path(&path)?;
    match entries.insert(path.clone(), content) {
        None => Ok(()),
        Some(_) => Err(invalid(format!("{path:?} is in the archive twice"))),
    }
}

/// Without the `./` in front and the `/` behind that archives have.
fn plain_path(bytes: Vec<u8>) -> Result<String> {
    let mut path = text(bytes)?;
    while let Some(rest) = path.strip_prefix("./") {
        path = rest.to_owned();
    }
    Ok(path.trim_end_matches('/').to_owned())
}

fn text(bytes: Vec<u8>) -> Result<String> {
    limit("bytes of a path in a tree", bytes.len() as u64, PATH_BYTES_MAX as u64)?;
    String::from_utf8(bytes).map_err(|e| invalid(format!("{:?} is not UTF-8", e.to_string())))
}

fn header(entry: &mut tar::Entry<'_, &mut dyn Read>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(HEADER_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(source)?;
    limit("bytes of a header in an archive", bytes.len() as u64, HEADER_BYTES_MAX)?;
    Ok(bytes)
}

/// A GNU long name, which ends with NUL.
fn long(entry: &mut tar::Entry<'_, &mut dyn Read>) -> Result<Vec<u8>> {
    let mut bytes = header(entry)?;
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

fn pax(bytes: &[u8], extended: &mut Extended) -> Result<()> {
    for extension in PaxExtensions::new(bytes) {
        let extension = extension.map_err(source)?;
        match extension.key_bytes() {
            b"path" => extended.path = Some(extension.value_bytes().to_vec()),
            b"linkpath" => extended.target = Some(extension.value_bytes().to_vec()),
            // Another size than the header's: only for files over 8 GiB and for sparse ones.
            key if key == b"size" || key.starts_with(b"GNU.sparse") => {
                return Err(invalid("sparse files and files over 8 GiB are not taken".into()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn source(e: std::io::Error) -> Error {
    Error::Source { why: e.to_string() }
}
