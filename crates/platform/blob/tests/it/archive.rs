//! Archives, kind and unkind.

use blob::{Content, Error};
use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

use crate::{paths, store};

fn header(kind: EntryType, path: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size);
    // Straight into the field: the library refuses what these tests are about.
    let name = &mut header.as_old_mut().name;
    name[..path.len()].copy_from_slice(path.as_bytes());
    header
}

fn archive(build: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    build(&mut builder);
    builder.into_inner().unwrap()
}

fn add(builder: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, target: &str, content: &[u8]) {
    let mut header = header(kind, path, content.len() as u64);
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

#[test]
fn an_archive_becomes_a_tree() {
    let long = format!("deep/{}/x", "n".repeat(150));
    let bytes = archive(|b| {
        add(b, EntryType::Directory, "./", "", b"");
        add(b, EntryType::Regular, "./a", "", b"one");
        add(b, EntryType::Symlink, "l", "a", b"");
        add(b, EntryType::Link, "hard", "./a", b"");
        let mut header = Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o755);
        b.append_data(&mut header, &long, b"two".as_slice()).unwrap();
        b.append_pax_extensions([("path", b"from/pax".as_slice())]).unwrap();
        add(b, EntryType::Regular, "short", "", b"three");
    });
    let (store, data) = store();
    let (digest, tree) = store.ingest_tar(&mut bytes.as_slice()).unwrap();
    assert_eq!(paths(&tree), ["a", &long, "from/pax", "hard", "l"]);
    assert!(matches!(tree.entries()[1].content, Content::File { executable: true, .. }));
    assert_eq!(tree.entries()[0].content, tree.entries()[3].content);
    assert_eq!(store.tree(&digest).unwrap(), tree);
    store.materialise(&tree, &data.path().join("out")).unwrap();
}

#[test]
fn hostile_archives_are_refused_and_leave_nothing() {
    type Build = fn(&mut Builder<Vec<u8>>);
    let cases: [(&str, Build); 12] = [
        ("a path that leaves", |b| add(b, EntryType::Regular, "../x", "", b"x")),
        ("one in the middle", |b| add(b, EntryType::Regular, "a/../../x", "", b"x")),
        ("an absolute path", |b| add(b, EntryType::Regular, "/etc/x", "", b"x")),
        ("no path", |b| add(b, EntryType::Regular, "./", "", b"x")),
        ("a link that leaves", |b| add(b, EntryType::Symlink, "l", "../../etc", b"")),
        ("an absolute link", |b| add(b, EntryType::Symlink, "l", "/etc/passwd", b"")),
        ("a file below a link", |b| {
            add(b, EntryType::Symlink, "l", "d", b"");
            add(b, EntryType::Regular, "l/x", "", b"x");
        }),
        ("a hard link to outside", |b| add(b, EntryType::Link, "h", "/etc/shadow", b"")),
        ("a device", |b| add(b, EntryType::Block, "dev", "", b"")),
        ("a path twice", |b| {
            add(b, EntryType::Regular, "a", "", b"x");
            add(b, EntryType::Regular, "./a", "", b"y");
        }),
        ("a header without end", |b| {
            add(b, EntryType::GNULongName, "././@LongLink", "", &vec![b'x'; 1 << 20]);
        }),
        ("a size in a header", |b| {
            b.append_pax_extensions([("size", b"1".as_slice())]).unwrap();
            add(b, EntryType::Regular, "a", "", b"x");
        }),
    ];
    let (store, data) = store();
    for (name, build) in cases {
        let result = store.ingest_tar(&mut archive(build).as_slice());
        assert!(matches!(result, Err(Error::Invalid { .. } | Error::Limit { .. })), "{name}: {result:?}");
    }
    let cut = archive(|b| add(b, EntryType::Regular, "a", "", &[7; 5_000]));
    let result = store.ingest_tar(&mut &cut[..2_000]);
    assert!(matches!(result, Err(Error::Source { .. })), "{result:?}");
    assert_eq!(std::fs::read_dir(data.path().join("blobs/new")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(data.path().join("blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn an_archive_of_nothing_but_folders_ends() {
    // Endless: one folder over and over.
    struct Endless(Vec<u8>, usize);
    impl std::io::Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            for byte in into.iter_mut() {
                *byte = self.0[self.1 % self.0.len()];
                self.1 += 1;
            }
            Ok(into.len())
        }
    }
    let mut folder = header(EntryType::Directory, "d", 0);
    folder.set_cksum();
    let mut endless = Endless(folder.as_bytes().to_vec(), 0);
    assert!(matches!(store().0.ingest_tar(&mut endless), Err(Error::Limit { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_are_an_error_and_no_panic(flips in proptest::collection::vec((0usize..4_096, any::<u8>()), 1..20)) {
        let mut bytes = archive(|b| {
            add(b, EntryType::Regular, "a", "", b"one");
            b.append_pax_extensions([("path", b"x".as_slice())]).unwrap();
            add(b, EntryType::Symlink, "l", "a", b"");
        });
        for (at, byte) in flips {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let _ = store().0.ingest_tar(&mut bytes.as_slice());
    }
}
