//! Collecting what nobody names.

use blob::{Digest, Error, Tree};

use crate::{file, store};

#[test]
fn what_a_live_tree_names_stays() {
    let (store, data) = store();
    let mut trees = Vec::new();
    for n in 0..3 {
        let (own, shared) = (format!("own {n}").into_bytes(), b"shared".to_vec());
        for content in [&own, &shared] {
            store.put(&mut content.as_slice()).unwrap();
        }
        let tree = Tree::new(vec![file("own", &own, false), file("shared", &shared, false)]).unwrap();
        trees.push(store.put_tree(&tree).unwrap());
    }
    store.put(&mut b"orphan".as_slice()).unwrap();
    let foreign = data.path().join("blobs/sha256/README");
    std::fs::write(&foreign, "not a blob").unwrap();
    let collected = store.collect(|| Ok(trees[1..].to_vec())).unwrap();
    // The orphan, the first tree and its own file.
    assert_eq!((collected.removed, collected.kept), (3, 5));
    assert!(collected.removed_bytes > 0 && foreign.exists());
    assert_eq!(
        store.missing(&[Digest::of(b"own 0"), Digest::of(b"shared")]).unwrap(),
        [Digest::of(b"own 0")]
    );
    for tree in &trees[1..] {
        let tree = store.tree(tree).unwrap();
        store.materialise(&tree, &data.path().join(tree.digest().hex())).unwrap();
    }
    assert_eq!(store.collect(|| Ok(trees[1..].to_vec())).unwrap().removed, 0);
}

#[test]
fn a_live_tree_that_is_gone_stops_it_before_anything_is_removed() {
    let (store, _data) = store();
    store.put(&mut b"orphan".as_slice()).unwrap();
    let gone = Digest::of(b"gone");
    assert_eq!(store.collect(|| Ok(vec![gone])), Err(Error::Missing { digest: gone }));
    let failed = Error::Source { why: "state is down".into() };
    assert_eq!(store.collect(|| Err(failed.clone())), Err(failed));
    assert_eq!(store.missing(&[Digest::of(b"orphan")]).unwrap(), []);
    assert!(store.hold().is_ok(), "and it is over");
}

#[test]
fn nothing_is_collected_while_somebody_holds() {
    let (store, _data) = store();
    let hold = store.hold().unwrap();
    store.put(&mut b"on its way".as_slice()).unwrap();
    assert!(matches!(store.collect(|| Ok(Vec::new())), Err(Error::Busy { .. })));
    drop(hold);
    let collected = store.collect(|| {
        assert!(matches!(store.hold(), Err(Error::Busy { .. })), "nobody can begin meanwhile");
        assert!(matches!(store.collect(|| Ok(Vec::new())), Err(Error::Busy { .. })));
        Ok(Vec::new())
    });
    assert_eq!(collected.unwrap().removed, 1);
}
