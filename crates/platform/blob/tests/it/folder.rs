//! Folders in and out.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use blob::{Digest, Error, Rules, Tree, scan};

use crate::{file, link, paths, store};

/// A folder as a service has it.
fn source() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for dir in ["src/deep", ".git/objects", "target/debug", "logs", "empty"] {
        fs::create_dir_all(at(dir)).unwrap();
    }
    for (path, content) in [
        ("run.sh", "#!/bin/sh\n"),
        ("src/main.js", "main"),
        ("src/deep/a.js", "same"),
        ("src/deep/b.js", "same"),
        (".git/HEAD", "ref"),
        ("target/debug/x", "built"),
        ("logs/today.log", "noise"),
        ("logs/keep.log", "kept"),
        (".steadignore", "*.log\n!keep.log\n"),
        (".env.example", "X=1"),
    ] {
        fs::write(at(path), content).unwrap();
    }
    fs::set_permissions(at("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("src/main.js", at("main.js")).unwrap();
    folder
}

#[test]
fn what_is_named_in_a_folder_that_is_left_out_is_taken_and_nothing_else() {
    let source = tempfile::tempdir().unwrap();
    for path in [
        "main.rs",
        "target/release/app",
        "target/release/app.d",
        "target/release/other",
        "target/release/deps/app-1",
        "target/debug/app",
        "target/classes/a/B.class",
        "target/.rustc_info.json",
        "member/target/release/[odd] name",
        "member/target/release/o",
        "node_modules/a/index.js",
        ".stead-packages/flask/__init__.py",
    ] {
        let at = source.path().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, path).unwrap();
    }
    let named = |names: &[&str]| -> Vec<String> {
        let rules = Rules::default().taking_back(names.iter().copied());
        let scanned = scan(source.path(), &rules).unwrap();
        paths(&scanned.tree).iter().map(ToString::to_string).collect()
    };
    let always = [".stead-packages/flask/__init__.py", "main.rs", "node_modules/a/index.js"];
    let with = |more: &[&str]| {
        let mut all: Vec<String> = always.iter().chain(more).map(|path| (*path).to_owned()).collect();
        all.sort();
        all
    };
    assert_eq!(named(&[]), with(&[]));
    assert_eq!(named(&["main.rs", "node_modules/a/index.js"]), with(&[]), "what is in anyway stays so");
    assert_eq!(named(&["target/release/app"]), with(&["target/release/app"]));
    let several = ["target/release/other", "target/classes", "target/release/app"];
    assert_eq!(
        named(&several),
        with(&["target/release/app", "target/release/other", "target/classes/a/B.class"])
    );
    let odd = "member/target/release/[odd] name";
    assert_eq!(named(&[odd]), with(&[odd]), "its name is no pattern");
    fs::write(source.path().join(".steadignore"), "target/\n").unwrap();
    assert_eq!(named(&["target/release/app"]), with(&[]), "whoever writes it down has the last word");
}

#[test]
fn a_folder_comes_back_as_it_was() {
    let source = source();
    let (store, data) = store();
    let (digest, tree) = store.ingest_dir(source.path(), &Rules::default()).unwrap();
    assert_eq!(
        paths(&tree),
        [
            ".env.example",
            "logs/keep.log",
            "main.js",
            "run.sh",
            "src/deep/a.js",
            "src/deep/b.js",
            "src/main.js"
        ]
    );
    assert_eq!(scan(source.path(), &Rules::default()).unwrap().tree, tree, "a scan says the same");
    assert_eq!(store.tree(&digest).unwrap(), tree);
    let to = data.path().join("release");
    store.materialise(&tree, &to).unwrap();
    assert_eq!(fs::read_to_string(to.join("src/deep/b.js")).unwrap(), "same");
    assert_eq!(fs::read_to_string(to.join("main.js")).unwrap(), "main");
    assert_eq!(fs::read_link(to.join("main.js")).unwrap(), Path::new("src/main.js"));
    for (path, mode) in [("run.sh", 0o755), ("src/main.js", 0o644), ("src", 0o755), ("", 0o755)] {
        assert_eq!(fs::metadata(to.join(path)).unwrap().mode() & 0o777, mode, "{path}");
    }
    assert_eq!(scan(&to, &Rules::default()).unwrap().tree, tree, "and scans to the same tree");
    // What runs there must not reach the store.
    fs::write(to.join("src/main.js"), "changed").unwrap();
    assert_eq!(store.get(&Digest::of(b"main"), 10).unwrap(), b"main");
    let again = store.materialise(&tree, &to);
    assert!(matches!(again, Err(Error::Disk(disk::Error::Exists { .. }))), "{again:?}");
}

#[test]
fn the_same_release_runs_again_when_the_files_have_changed() {
    let source = source();
    let (store, data) = store();
    let (digest, _) = store.ingest_dir(source.path(), &Rules::default()).unwrap();
    fs::write(source.path().join("src/main.js"), "broken").unwrap();
    let (other, _) = store.ingest_dir(source.path(), &Rules::default()).unwrap();
    assert_ne!(digest, other);
    let to = data.path().join("again");
    store.materialise(&store.tree(&digest).unwrap(), &to).unwrap();
    assert_eq!(fs::read_to_string(to.join("src/main.js")).unwrap(), "main");
}

#[test]
fn a_tree_that_cannot_be_made_leaves_nothing() {
    let (store, data) = store();
    store.put(&mut b"here".as_slice()).unwrap();
    let tree = Tree::new(vec![file("a", b"here", false), file("b", b"not here", false)]).unwrap();
    let to = data.path().join("release");
    assert_eq!(store.materialise(&tree, &to), Err(Error::Missing { digest: Digest::of(b"not here") }));
    assert!(matches!(store.put_tree(&tree), Err(Error::Missing { .. })));
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1, "the store only");
    // A draft of a crash is in nobody's way.
    fs::create_dir_all(data.path().join(".release.draft/old")).unwrap();
    store.put(&mut b"not here".as_slice()).unwrap();
    store.materialise(&tree, &to).unwrap();
    assert_eq!(store.put_tree(&tree).unwrap(), tree.digest());
}

#[test]
fn damage_is_found_before_it_runs() {
    let (store, data) = store();
    let stored = store.put(&mut b"good".as_slice()).unwrap();
    let hex = stored.digest.hex();
    fs::write(data.path().join("blobs/sha256").join(&hex[..2]).join(&hex[2..]), b"evil").unwrap();
    let tree = Tree::new(vec![file("a", b"good", true), link("l", "a")]).unwrap();
    let to = data.path().join("release");
    assert_eq!(store.materialise(&tree, &to), Err(Error::Damaged { digest: stored.digest }));
    assert!(!to.exists());
}

#[test]
fn limits_of_a_folder_are_errors_that_name_it() {
    let source = source();
    let few = Rules { entries_max: 3, ..Rules::default() };
    let Err(Error::Limit { what, limit: 3 }) = scan(source.path(), &few) else { panic!("not limited") };
    assert!(what.contains(&*source.path().to_string_lossy()), "{what}");
    let small = Rules { size_bytes_max: 5, ..Rules::default() };
    assert!(matches!(scan(source.path(), &small), Err(Error::Limit { limit: 5, .. })));
    let (store, data) = store();
    assert!(store.ingest_dir(source.path(), &few).is_err());
    assert_eq!(fs::read_dir(data.path().join("blobs/new")).unwrap().count(), 0);
    // A sparse file is refused by its length and not read to its end.
    let huge = fs::File::create(source.path().join("huge")).unwrap();
    huge.set_len(1 << 40).unwrap();
    assert!(matches!(scan(source.path(), &Rules::default()), Err(Error::Limit { .. })));
}

#[test]
fn what_is_no_file_is_told() {
    let source = source();
    let made = std::process::Command::new("mkfifo").arg(source.path().join("pipe")).status().unwrap();
    assert!(made.success());
    assert_eq!(scan(source.path(), &Rules::default()).unwrap().skipped, ["pipe"]);
    symlink("/etc/passwd", source.path().join("escape")).unwrap();
    let Err(Error::Invalid { what }) = scan(source.path(), &Rules::default()) else { panic!("taken") };
    assert!(what.contains("escape"), "{what}");
    fs::remove_file(source.path().join("escape")).unwrap();
    let odd = std::ffi::OsStr::from_encoded_bytes_checked(b"\xff");
    fs::write(source.path().join(odd), "x").unwrap();
    assert!(matches!(scan(source.path(), &Rules::default()), Err(Error::Invalid { .. })));
    assert!(matches!(scan(&source.path().join("no"), &Rules::default()), Err(Error::Source { .. })));
}

trait Odd {
    fn from_encoded_bytes_checked(bytes: &[u8]) -> &Self;
}
impl Odd for std::ffi::OsStr {
    fn from_encoded_bytes_checked(bytes: &[u8]) -> &Self {
        std::os::unix::ffi::OsStrExt::from_bytes(bytes)
    }
}

/// Time to take and make 2,000 small files; printed with `--no-capture`.
#[test]
fn bench_ingest_and_materialise() {
    let count = if std::env::var_os("BLOB_BENCH").is_some() { 2_000 } else { 20 };
    let source = tempfile::tempdir().unwrap();
    for n in 0..count {
        fs::write(source.path().join(format!("{n}.js")), format!("module {n}").repeat(200)).unwrap();
    }
    let (store, data) = store();
    let began = std::time::Instant::now();
    let (digest, tree) = store.ingest_dir(source.path(), &Rules::default()).unwrap();
    let first = began.elapsed();
    let (again, _) = store.ingest_dir(source.path(), &Rules::default()).unwrap();
    let second = began.elapsed() - first;
    store.materialise(&tree, &data.path().join("release")).unwrap();
    let made = began.elapsed() - first - second;
    assert_eq!((digest, tree.entries().len()), (again, count));
    println!("{count} files: taken in {first:?}, again in {second:?}, made in {made:?}");
}
