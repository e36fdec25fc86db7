//! From a tree to files that a process can run in.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use crate::{Content, Digest, Error, Result, Store, Tree};

impl Store {
    /// Makes the folder `to` with the files of `tree`: there whole and durable, or not there.
    ///
    /// Files share their blocks with the store where the file system can (reflinks), else they are
    /// copies; every one is checked against its digest. Folders are 0755, files 0644 or 0755: who
    /// may look is decided by the folder around `to`, which must exist and be Stead's own. One at a
    /// time for the same `to`.
    ///
    /// # Errors
    /// [`disk::Error::Exists`] when `to` is there; [`Error::Missing`], [`Error::Damaged`].
    pub fn materialise(&self, tree: &Tree, to: &Path) -> Result<()> {
        if fs::symlink_metadata(to).is_ok() {
            return Err(disk::Error::Exists { path: to.to_owned() }.into());
        }
        let draft = draft_of(to)?;
        remove_all(&draft)?;
        let made = self.fill(tree, &draft).and_then(|()| put_in_place(&draft, to));
        if made.is_err() {
            let _ = remove_all(&draft); // removed by the next try
        }
        made
    }

    fn fill(&self, tree: &Tree, root: &Path) -> Result<()> {
        create_dir(root)?;
        let mut made = PathBuf::new();
        // Links come last: while files are made there is none that could lead one elsewhere.
        for entry in tree.entries() {
            let path = root.join(&entry.path);
            let folder = path.parent().unwrap_or(root);
            if folder != made {
                create_dirs_below(root, folder)?;
                folder.clone_into(&mut made);
            }
            if let Content::File { digest, executable, .. } = &entry.content {
                self.fill_file(digest, *executable, &path)?;
            }
        }
        for entry in tree.entries() {
            if let Content::Link { target } = &entry.content {
                let path = root.join(&entry.path);
                symlink(target, &path).map_err(|e| disk::Error::from_io(&path, &e))?;
            }
        }
        Ok(())
    }

    fn fill_file(&self, digest: &Digest, executable: bool, path: &Path) -> Result<()> {
        let fault = |e: io::Error| Error::from(disk::Error::from_io(path, &e));
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fault)?;
        let source = self.source(digest)?;
        let cloned = source.fd().is_some_and(|fd| rustix::fs::ioctl_ficlone(&file, fd).is_ok());
        drop(source);
        self.read(digest, &mut |part| if cloned { Ok(()) } else { file.write_all(part).map_err(fault) })?;
        let mode = if executable { 0o755 } else { 0o644 };
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(fault)
    }
}

/// A name beside `to`, so that the rename stays on one file system.
fn draft_of(to: &Path) -> Result<PathBuf> {
    let name = to.file_name().ok_or_else(|| disk::Error::Outside { path: to.to_owned() })?;
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(".draft");
    Ok(to.with_file_name(draft))
}

fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .map_err(|e| disk::Error::from_io(path, &e).into())
}

fn create_dirs_below(root: &Path, folder: &Path) -> Result<()> {
    let mut at = root.to_owned();
    for name in folder.strip_prefix(root).unwrap_or(Path::new("")) {
        at.push(name);
        if !at.exists() {
            create_dir(&at)?;
        }
    }
    Ok(())
}

fn put_in_place(draft: &Path, to: &Path) -> Result<()> {
    let open = |path: &Path| File::open(path).map_err(|e| disk::Error::from_io(path, &e));
    // One sync for all of the files; the name comes after their content.
    rustix::fs::syncfs(open(draft)?).map_err(|e| disk::Error::from_io(draft, &e.into()))?;
    fs::rename(draft, to).map_err(|e| disk::Error::from_io(to, &e))?;
    let around = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    open(around)?.sync_all().map_err(|e| disk::Error::from_io(around, &e).into())
}

fn remove_all(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(disk::Error::from_io(path, &e).into()),
    }
}
