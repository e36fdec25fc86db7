//! From a folder to its tree.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{
    BLOB_BYTES_MAX, Content, Entry, Error, Hasher, Ignore, Result, Stored, TREE_BYTES_MAX, TREE_ENTRIES_MAX,
    Tree,
    ignore::IGNORE_FILE,
    store::copy,
    tree::{check_path, invalid},
};

/// The file with ignore rules; longer ones are refused.
const IGNORE_BYTES_MAX: u64 = 256 << 10;
/// Folders inside folders.
const DEPTH_MAX: usize = 128;

/// What belongs to the tree of a folder.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Files and links; at most [`TREE_ENTRIES_MAX`].
    pub entries_max: usize,
    /// Content together; at most [`TREE_BYTES_MAX`].
    pub size_bytes_max: u64,
    /// Patterns left out in every folder, before those of `.steadignore`.
    pub ignored: Vec<String>,
}

impl Default for Rules {
    /// A service's source: without version control, build output and Stead's own folder.
    fn default() -> Self {
        Self {
            entries_max: 50_000,
            size_bytes_max: 2 << 30,
            ignored: [".git/", "target/", ".stead/"].map(str::to_owned).to_vec(),
        }
    }
}

impl Rules {
    /// Takes `paths` (relative, names separated by `/`) back in that lie in folders which the rules so
    /// far leave out, and nothing else of those folders. `.steadignore` is still the last word.
    #[must_use]
    pub fn taking_back<'p>(mut self, paths: impl IntoIterator<Item = &'p str>) -> Self {
        let Ok(ignore) = Ignore::parse(&self.ignored.join("\n")) else { return self };
        let (mut folders, mut kept) = (BTreeSet::new(), BTreeSet::new());
        for path in paths {
            let ends = || path.match_indices('/').map(|(at, _)| at);
            let Some(first) = ends().find(|at| ignore.matches(&path[..*at], true)) else { continue };
            folders.extend(ends().filter(|at| *at >= first).map(|at| &path[..at]));
            kept.insert(path);
        }
        // A folder's content is left out before anything in it is taken back: parents come first.
        for folder in folders {
            let folder = literal(folder);
            self.ignored.extend([format!("!/{folder}/"), format!("/{folder}/*")]);
        }
        self.ignored.extend(kept.into_iter().map(|path| format!("!/{}", literal(path))));
        self
    }
}

/// A path as a pattern that matches it alone.
fn literal(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for c in path.chars() {
        if matches!(c, '\\' | '*' | '?' | '[' | ' ') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// A tree and what was left out of it without being told so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    pub tree: Tree,
    /// Sockets, pipes, devices.
    pub skipped: Vec<String>,
}

/// The tree of the folder `dir`, without keeping anything.
///
/// `.steadignore` at its top says what else to leave out (see [`Ignore`]); the file itself is left
/// out too. A file that changes meanwhile is taken as it was read.
///
/// # Errors
/// [`Error::Limit`] names what is too much; [`Error::Invalid`] for names that are not UTF-8 and
/// links that lead outside; [`Error::Source`] for what cannot be read.
pub fn scan(dir: &Path, rules: &Rules) -> Result<Scanned> {
    walk(dir, rules, &mut |from| {
        let mut hasher = Hasher::default();
        let fault = |e: io::Error| Error::Source { why: e.to_string() };
        let size_bytes = copy(
            from,
            &mut |part| {
                hasher.update(part);
                Ok(())
            },
            fault,
        )?;
        Ok(Stored { digest: hasher.finish(), size_bytes })
    })
}

/// What takes the content of a file and says what it is.
pub(crate) type Take<'t> = dyn FnMut(&mut dyn Read) -> Result<Stored> + 't;

pub(crate) fn walk(dir: &Path, rules: &Rules, take: &mut Take<'_>) -> Result<Scanned> {
    let mut ignore = Ignore::parse(&rules.ignored.join("\n"))?;
    if let Some(text) = read_ignore_file(dir)? {
        ignore.extend(&text)?;
    }
    let mut walk = Walk {
        root: dir,
        ignore,
        entries_max: rules.entries_max.min(TREE_ENTRIES_MAX),
        size_bytes_max: rules.size_bytes_max.min(TREE_BYTES_MAX),
        size_bytes: 0,
        entries: Vec::new(),
        skipped: Vec::new(),
    };
    walk.dir("", 0, take)?;
    Ok(Scanned { tree: Tree::new(walk.entries)?, skipped: walk.skipped })
}

struct Walk<'w> {
    root: &'w Path,
    ignore: Ignore,
    entries_max: usize,
    size_bytes_max: u64,
    size_bytes: u64,
    entries: Vec<Entry>,
    skipped: Vec<String>,
}

impl Walk<'_> {
    fn dir(&mut self, below: &str, depth: usize, take: &mut Take<'_>) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(Error::Limit {
                what: format!("folders inside folders at {below:?}"),
                limit: DEPTH_MAX as u64,
            });
        }
        let at = self.root.join(below);
        let mut names = Vec::new();
        for found in fs::read_dir(&at).map_err(|e| unreadable(&at, &e))? {
            let name = found.map_err(|e| unreadable(&at, &e))?.file_name();
            let name = name
                .into_string()
                .map_err(|name| invalid(format!("the name {name:?} in {} is not UTF-8", at.display())))?;
            // Ignored names count too: reading a folder must end as well.
            if names.len() > TREE_ENTRIES_MAX {
                return Err(self.too_many());
            }
            names.push(name);
        }
        names.sort_unstable();
        for name in names {
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            self.one(path, depth, take)?;
        }
        Ok(())
    }

    fn one(&mut self, path: String, depth: usize, take: &mut Take<'_>) -> Result<()> {
        let at = self.root.join(&path);
        let meta = match fs::symlink_metadata(&at) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()), // gone meanwhile
            found => found.map_err(|e| unreadable(&at, &e))?,
        };
        if path == IGNORE_FILE || self.ignore.matches(&path, meta.is_dir()) {
            return Ok(());
        }
        if meta.is_dir() {
            return self.dir(&path, depth + 1, take);
        }
        if self.entries.len() == self.entries_max {
            return Err(self.too_many());
        }
        check_path(&path)?;
        let content = if meta.is_symlink() {
            let target = fs::read_link(&at).map_err(|e| unreadable(&at, &e))?;
            let target = target.into_os_string().into_string();
            Content::Link { target: target.map_err(|_| invalid(format!("the link {path:?} is not UTF-8")))? }
        } else if meta.is_file() {
            // Before reading: a sparse terabyte should not be read to find that it is too much.
            self.check_bytes(&path, meta.len())?;
            self.file(&path, &at, take)?
        } else {
            self.skipped.push(path);
            return Ok(());
        };
        self.entries.push(Entry { path, content });
        Ok(())
    }

    fn file(&mut self, path: &str, at: &Path, take: &mut Take<'_>) -> Result<Content> {
        let file = open(at)?;
        let executable = file.metadata().map_err(|e| unreadable(at, &e))?.permissions().mode() & 0o111 != 0;
        // It may grow while it is read.
        let left = self.size_bytes_max.min(BLOB_BYTES_MAX) - self.size_bytes.min(self.size_bytes_max);
        let stored = take(&mut file.take(left + 1)).map_err(|e| match e {
            Error::Source { why } => Error::Source { why: format!("{}: {why}", at.display()) },
            other => other,
        })?;
        self.check_bytes(path, stored.size_bytes)?;
        self.size_bytes += stored.size_bytes;
        Ok(Content::File { digest: stored.digest, size_bytes: stored.size_bytes, executable })
    }

    fn check_bytes(&self, path: &str, more: u64) -> Result<()> {
        if more > BLOB_BYTES_MAX {
            return Err(Error::Limit { what: format!("bytes of {path:?}"), limit: BLOB_BYTES_MAX });
        }
        if self.size_bytes.saturating_add(more) > self.size_bytes_max {
            let what = format!("bytes of the folder {} with {path:?}", self.root.display());
            return Err(Error::Limit { what, limit: self.size_bytes_max });
        }
        Ok(())
    }

    fn too_many(&self) -> Error {
        let what = format!("files in the folder {}", self.root.display());
        Error::Limit { what, limit: self.entries_max as u64 }
    }
}

/// Not following a link, and not hanging on a pipe that took the place of the file.
fn open(at: &Path) -> Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    OpenOptions::new().read(true).custom_flags(flags).open(at).map_err(|e| unreadable(at, &e))
}

fn read_ignore_file(dir: &Path) -> Result<Option<String>> {
    let at: PathBuf = dir.join(IGNORE_FILE);
    match fs::symlink_metadata(&at) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(&at, &e)),
        Ok(meta) if !meta.is_file() => return Err(invalid(format!("{} is no regular file", at.display()))),
        Ok(_) => {}
    }
    let mut text = String::new();
    open(&at)?.take(IGNORE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| unreadable(&at, &e))?;
    if text.len() as u64 > IGNORE_BYTES_MAX {
        return Err(Error::Limit { what: format!("bytes of {}", at.display()), limit: IGNORE_BYTES_MAX });
    }
    Ok(Some(text))
}

fn unreadable(at: &Path, e: &io::Error) -> Error {
    Error::Source { why: format!("{}: {e}", at.display()) }
}
