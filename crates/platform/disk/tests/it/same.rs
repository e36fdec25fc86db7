//! One suite, both disks.

use std::path::Path;

use disk::{
    Create, Disk, Error, Kind, RealDisk, SimulatedDisk, Sync, create_dirs, read, sweep, write_atomic,
    write_new,
};

fn both(check: impl Fn(&dyn Disk)) {
    check(&SimulatedDisk::new());
    let folder = tempfile::tempdir().unwrap();
    check(&RealDisk::open(folder.path()).unwrap());
}

fn names(disk: &dyn Disk, path: &str) -> Vec<String> {
    disk.list(Path::new(path)).unwrap().into_iter().map(|l| l.name).collect()
}

#[test]
fn files_are_made_read_renamed_and_removed() {
    both(|disk| {
        let (a, b) = (Path::new("a"), Path::new("sub/b"));
        assert_eq!(disk.stat(a).unwrap(), None);
        assert!(matches!(disk.open(a), Err(Error::NotFound { .. })));
        let mut sink = disk.create(a, Create::PRIVATE).unwrap();
        sink.write_all(b"one").unwrap();
        sink.sync().unwrap();
        assert!(matches!(disk.create(a, Create::PRIVATE), Err(Error::Exists { .. })));
        assert!(matches!(disk.rename(a, b), Err(Error::NotFound { .. })), "no folder yet");
        disk.create_dir(Path::new("sub"), 0o700).unwrap();
        disk.create_dir(Path::new("sub"), 0o700).unwrap();
        disk.rename(a, b).unwrap();
        assert_eq!(disk.stat(a).unwrap(), None);
        let found = disk.stat(b).unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.kind, found.size_bytes), ("b", Kind::File, 3));
        assert_eq!(read(disk, b, 3).unwrap(), b"one");
        assert!(matches!(read(disk, b, 2), Err(Error::Limit { limit: 2, .. })));
        assert!(disk.remove(Path::new("sub")).is_err(), "not empty");
        disk.remove(b).unwrap();
        disk.remove(b).unwrap();
        disk.remove(Path::new("no/such/folder")).unwrap();
        disk.remove(Path::new("sub")).unwrap();
        assert_eq!(names(disk, ""), Vec::<String>::new());
    });
}

#[test]
fn appending_goes_on_where_it_ended() {
    both(|disk| {
        let how = Create { mode: 0o600, append: true };
        for part in [b"one ", b"two "] {
            disk.create(Path::new("log"), how).unwrap().write_all(part).unwrap();
        }
        assert_eq!(read(disk, Path::new("log"), 100).unwrap(), b"one two ");
    });
}

#[test]
fn any_place_of_a_file_is_read_without_moving_where_reading_goes_on() {
    both(|disk| {
        disk.create(Path::new("f"), Create::PRIVATE).unwrap().write_all(b"0123456789").unwrap();
        let mut source = disk.open(Path::new("f")).unwrap();
        let mut into = [0; 4];
        assert_eq!(source.read_at(&mut into, 3).unwrap(), 4);
        assert_eq!(&into, b"3456");
        assert_eq!(source.read_at(&mut into, 8).unwrap(), 2, "the end is there");
        assert_eq!(source.read_at(&mut into, 99).unwrap(), 0);
        source.read_exact(&mut into).unwrap();
        assert_eq!(&into, b"0123");
    });
}

#[test]
fn lists_are_sorted_and_syncs_take_folders() {
    both(|disk| {
        create_dirs(disk, Path::new("x/y/z"), 0o700).unwrap();
        for name in ["c", "a", "b"] {
            write_atomic(disk, &Path::new("x").join(name), name.as_bytes(), 0o600).unwrap();
        }
        assert_eq!(names(disk, "x"), ["a", "b", "c", "y"]);
        disk.sync(Sync::All).unwrap();
        assert!(matches!(disk.sync(Sync::Dir(Path::new("nowhere"))), Err(Error::NotFound { .. })));
        assert!(matches!(disk.list(Path::new("nowhere")), Err(Error::NotFound { .. })));
        assert!(matches!(disk.list(Path::new("x/a")), Err(Error::WrongKind { .. })));
        assert!(matches!(create_dirs(disk, Path::new("x/a/b"), 0o700), Err(Error::WrongKind { .. })));
    });
}

#[test]
fn no_path_leaves_the_folder() {
    both(|disk| {
        for path in ["..", "../x", "a/../../x", "/etc/passwd"] {
            let path = Path::new(path);
            assert!(matches!(disk.open(path), Err(Error::Outside { .. })), "{path:?}");
            assert!(matches!(disk.create(path, Create::PRIVATE), Err(Error::Outside { .. })));
            assert!(matches!(disk.remove(path), Err(Error::Outside { .. })));
            assert!(matches!(disk.stat(path), Err(Error::Outside { .. })));
            assert!(matches!(write_atomic(disk, path, b"", 0o600), Err(Error::Outside { .. })));
        }
        assert!(matches!(disk.remove(Path::new("")), Err(Error::Outside { .. })));
    });
}

#[test]
fn a_whole_file_replaces_a_whole_file_and_leaves_no_draft() {
    both(|disk| {
        let path = Path::new("routes.json");
        write_atomic(disk, path, b"old", 0o600).unwrap();
        write_atomic(disk, path, b"new and longer", 0o600).unwrap();
        assert_eq!(read(disk, path, 100).unwrap(), b"new and longer");
        assert_eq!(names(disk, ""), ["routes.json"]);
        disk.create(Path::new(".routes.json.7.draft"), Create::PRIVATE).unwrap();
        sweep(disk, Path::new("")).unwrap();
        assert_eq!(names(disk, ""), ["routes.json"]);
    });
}

#[test]
fn a_new_file_is_written_once_and_what_is_there_stays() {
    both(|disk| {
        let path = Path::new("root.key");
        assert!(write_new(disk, path, b"first", 0o600).unwrap());
        assert!(!write_new(disk, path, b"second", 0o600).unwrap());
        assert_eq!(read(disk, path, 100).unwrap(), b"first");
        disk.create_dir(Path::new("folder"), 0o700).unwrap();
        assert!(!write_new(disk, Path::new("folder"), b"x", 0o600).unwrap());
        assert_eq!(names(disk, ""), ["folder", "root.key"], "no draft stays");
    });
}
