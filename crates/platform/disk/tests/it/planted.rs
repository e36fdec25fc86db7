//! What somebody else put into the data directory.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
};

use base::Fault;
use disk::{Create, Disk, Error, Kind, RealDisk, Sync, write_atomic};

#[test]
fn planted_links_are_neither_read_nor_written_through() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, b"untouched").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(folder.path()).unwrap();
    symlink(&victim, folder.path().join("file")).unwrap();
    symlink(outside.path(), folder.path().join("dir")).unwrap();
    symlink("/nowhere", folder.path().join("dangling")).unwrap();
    let append = Create { mode: 0o600, append: true };
    for path in ["file", "dir/victim", "dir", "dangling"] {
        let path = Path::new(path);
        assert!(matches!(disk.open(path), Err(Error::Link { .. })), "{path:?}");
        assert!(matches!(disk.create(path, append), Err(Error::Link { .. })), "{path:?}");
    }
    assert!(matches!(disk.create(Path::new("file"), Create::PRIVATE), Err(Error::Exists { .. })));
    assert!(matches!(disk.create_dir(Path::new("dir"), 0o700), Err(Error::Link { .. })));
    assert!(matches!(disk.list(Path::new("dir")), Err(Error::Link { .. })));
    assert!(matches!(disk.sync(Sync::Dir(Path::new("dir"))), Err(Error::Link { .. })));
    let through = write_atomic(&disk, Path::new("dir/x"), b"", 0o600);
    let Err(error) = through else { panic!("wrote through a link") };
    assert!(error.hint().is_some_and(|hint| hint.contains("dir")));
    assert_eq!(disk.stat(Path::new("file")).unwrap().unwrap().kind, Kind::Other);
    // A whole file takes the place of the link and not of what it points to.
    write_atomic(&disk, Path::new("file"), b"mine", 0o600).unwrap();
    disk.remove(Path::new("dir")).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"untouched");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_pipe_neither_hangs_nor_passes() {
    let folder = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(folder.path()).unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap();
    assert!(made.success());
    assert!(matches!(disk.open(Path::new("pipe")), Err(Error::WrongKind { .. })));
    let append = Create { mode: 0o600, append: true };
    assert!(disk.create(Path::new("pipe"), append).is_err());
}

#[test]
fn files_of_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(folder.path()).unwrap();
    write_atomic(&disk, Path::new("file"), b"x", 0o600).unwrap();
    disk.create_dir(Path::new("dir"), 0o700).unwrap();
    for name in ["file", "dir"] {
        if chown(folder.path().join(name), Some(65_534), None).is_err() {
            eprintln!("skip: disk-foreign (this process may not change owners)");
            return;
        }
    }
    assert!(matches!(disk.open(Path::new("file")), Err(Error::Foreign { uid: 65_534, .. })));
    assert!(matches!(disk.create_dir(Path::new("dir"), 0o700), Err(Error::Foreign { .. })));
    assert!(matches!(disk.list(Path::new("dir")), Err(Error::Foreign { .. })));
    assert!(matches!(RealDisk::open(&folder.path().join("dir")), Err(Error::Foreign { .. })));
}

#[test]
fn modes_are_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(folder.path()).unwrap();
    write_atomic(&disk, Path::new("key"), b"x", 0o600).unwrap();
    disk.create_dir(Path::new("dir"), 0o700).unwrap();
    for (name, mode) in [("key", 0o600), ("dir", 0o700)] {
        let found = fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
}
