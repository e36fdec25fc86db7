//! The store from outside: crashes, limits, archives, trees on disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

mod archive;
mod collect;
mod crash;
mod folder;

use std::{path::Path, sync::Arc};

use blob::{Content, Digest, Entry, Store, Tree};
use disk::RealDisk;

/// A store in a folder that goes with it.
pub(crate) fn store() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::open(folder.path()).unwrap());
    (Store::open(disk, Path::new("blobs")).unwrap(), folder)
}

pub(crate) fn file(path: &str, content: &[u8], executable: bool) -> Entry {
    let content = Content::File { digest: Digest::of(content), size_bytes: content.len() as u64, executable };
    Entry { path: path.into(), content }
}

pub(crate) fn link(path: &str, target: &str) -> Entry {
    Entry { path: path.into(), content: Content::Link { target: target.into() } }
}

pub(crate) fn paths(tree: &Tree) -> Vec<&str> {
    tree.entries().iter().map(|e| e.path.as_str()).collect()
}
