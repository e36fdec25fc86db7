//! The port: what a disk promises.

use std::{
    fmt,
    io::{self, Read, Write},
    os::fd::BorrowedFd,
    path::{Component, Path},
};

use crate::{Error, Result};

/// Entries that one folder may list.
pub const LIST_ENTRIES_MAX: usize = 1_000_000;

/// One folder and what is below it.
///
/// Paths are relative to it: names separated by `/`, without `.`, `..` or symbolic links; the
/// empty path is the folder itself. What was written or renamed is there for every later call, but
/// after a crash only what was synced is: content by [`Sink::sync`], names by [`Disk::sync`].
/// (It has a method more than a port should: whether a name is taken only the disk can say in one step.)
pub trait Disk: Send + std::marker::Sync + fmt::Debug {
    /// Opens a file to read.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Link`] and [`Error::Foreign`] for what Stead did not put there.
    fn open(&self, path: &Path) -> Result<Box<dyn Source>>;

    /// Makes a new file, or opens one to append. Its name lasts after [`Disk::sync`] of its folder.
    ///
    /// # Errors
    /// [`Error::Exists`] where a new one was asked for; [`Error::NotFound`] without its folder.
    fn create(&self, path: &Path, how: Create) -> Result<Box<dyn Sink>>;

    /// Makes one folder; one that is there is fine.
    fn create_dir(&self, path: &Path, mode: u32) -> Result<()>;

    /// Gives a file or folder another name, replacing a file that has it, in one step.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// As [`Disk::rename`] of a file, unless something has the name: of many who want it one gets it.
    ///
    /// # Errors
    /// [`Error::Exists`] when the name is taken, be it by a link; `from` stays as it is then.
    fn rename_new(&self, from: &Path, to: &Path) -> Result<()>;

    /// Removes a file, a link or an empty folder; what is absent is fine.
    fn remove(&self, path: &Path) -> Result<()>;

    /// What a folder holds, sorted by name.
    ///
    /// # Errors
    /// [`Error::Limit`] over [`LIST_ENTRIES_MAX`]; names that are not UTF-8 are [`Error::WrongKind`].
    fn list(&self, path: &Path) -> Result<Vec<Listed>>;

    /// What is at `path`, without following it; none if nothing is.
    fn stat(&self, path: &Path) -> Result<Option<Listed>>;

    /// Makes names durable, or everything.
    fn sync(&self, what: Sync<'_>) -> Result<()>;
}

/// What to make durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync<'a> {
    /// The names in this folder.
    Dir(&'a Path),
    /// All content and names of the file system: one slow call in place of many quick ones.
    All,
}

/// A file to read, from where reading has come to or from any place.
pub trait Source: Read + Send + std::marker::Sync {
    /// Reads at `offset` without moving where [`Read`] goes on; fills less only at the end of the
    /// file.
    ///
    /// # Errors
    /// What the system answers.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The descriptor where there is one, for copies that the file system makes itself.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A file to write. Writes go straight to the system: buffer small ones.
pub trait Sink: Write + Send {
    /// Makes the content durable; the name is [`Disk::sync`]'s.
    fn sync(&mut self) -> Result<()>;
}

/// How to make a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Create {
    /// Permission bits of a new file.
    pub mode: u32,
    /// Append to a file that is there, instead of refusing.
    pub append: bool,
}

impl Create {
    /// A new file that only its owner reads.
    pub const PRIVATE: Self = Self { mode: 0o600, append: false };
}

/// What kind of thing has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Dir,
    /// A link, socket, device: nothing that Stead makes.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub kind: Kind,
    /// Of a file's content.
    pub size_bytes: u64,
}

/// Checks that `path` is a plain path below its folder; gives its names.
///
/// # Errors
/// [`Error::Outside`] for `..` and absolute paths, [`Error::WrongKind`] for names that are not UTF-8.
pub fn check_path(path: &Path) -> Result<Vec<&str>> {
    path.components()
        .map(|component| match component {
            Component::Normal(name) => {
                name.to_str().ok_or_else(|| Error::WrongKind { path: path.to_owned() })
            }
            _ => Err(Error::Outside { path: path.to_owned() }),
        })
        .collect()
}
