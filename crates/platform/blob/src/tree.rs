//! The manifest of a tree: which content stands at which path.
//!
//! # Form, version 1
//! JSON without white space: `{"version":1,"entries":[…]}`, the entries sorted by the bytes of
//! their path, each `{"path":…,"digest":…,"size_bytes":…,"executable":…}` for a file or
//! `{"path":…,"target":…}` for a symbolic link. The digest of a tree is that of these bytes.
//! Folders follow from the paths; empty ones are not kept, nor are owners, times and other modes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Error, Result};

/// Entries of one tree.
pub const TREE_ENTRIES_MAX: usize = 200_000;
/// Content of one tree.
pub const TREE_BYTES_MAX: u64 = 8 << 30;
/// A path inside a tree, and the target of a link.
pub const PATH_BYTES_MAX: usize = 1_024;
/// One name inside a path, as file systems limit it.
const NAME_BYTES_MAX: usize = 255;
/// Links followed to see where one leads, as the kernel limits it.
const LINKS_FOLLOWED_MAX: usize = 40;
const VERSION: u32 = 1;

/// A checked manifest: sorted, without duplicates, and nothing in it leads outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Wire", try_from = "Wire")]
pub struct Tree {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Relative, names separated by `/`.
    pub path: String,
    #[serde(flatten)]
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    File {
        digest: Digest,
        size_bytes: u64,
        executable: bool,
    },
    /// A symbolic link; it never leads out of its tree.
    Link {
        target: String,
    },
}

#[derive(Clone, Serialize, Deserialize)]
struct Wire {
    version: u32,
    entries: Vec<Entry>,
}

impl From<Tree> for Wire {
    fn from(tree: Tree) -> Self {
        Self { version: VERSION, entries: tree.entries }
    }
}
impl TryFrom<Wire> for Tree {
    type Error = Error;
    fn try_from(wire: Wire) -> Result<Self> {
        if wire.version != VERSION {
            return Err(invalid(format!("a tree of version {} is newer than this Stead", wire.version)));
        }
        Self::new(wire.entries)
    }
}

impl Tree {
    /// A tree of `entries` in any order.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the path that is malformed, double, below a file, or a link that
    /// leads outside; [`Error::Limit`] for too many entries, bytes or too long paths.
    pub fn new(mut entries: Vec<Entry>) -> Result<Self> {
        limit("entries of a tree", entries.len() as u64, TREE_ENTRIES_MAX as u64)?;
        for entry in &entries {
            check_path(&entry.path)?;
        }
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].path == pair[1].path) {
            return Err(invalid(format!("{:?} is in the tree twice", pair[0].path)));
        }
        let tree = Self { entries };
        let by_path: BTreeMap<&str, &Content> =
            tree.entries.iter().map(|e| (e.path.as_str(), &e.content)).collect();
        for entry in &tree.entries {
            for (at, _) in entry.path.match_indices('/') {
                if by_path.contains_key(&entry.path[..at]) {
                    return Err(invalid(format!(
                        "{:?} is below {:?}, which is no folder",
                        entry.path,
                        &entry.path[..at]
                    )));
                }
            }
            if let Content::Link { target } = &entry.content {
                check_link(&entry.path, target, &by_path)?;
            }
        }
        limit("bytes of a tree", tree.size_bytes(), TREE_BYTES_MAX)?;
        Ok(tree)
    }

    /// Sorted by path.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Of all files together.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.entries
            .iter()
            .map(|e| if let Content::File { size_bytes, .. } = &e.content { *size_bytes } else { 0 })
            .fold(0, u64::saturating_add)
    }

    /// The digests of its files, each once.
    #[must_use]
    pub fn digests(&self) -> Vec<Digest> {
        let mut digests: Vec<Digest> = self
            .entries
            .iter()
            .filter_map(|e| if let Content::File { digest, .. } = &e.content { Some(*digest) } else { None })
            .collect();
        digests.sort_unstable();
        digests.dedup();
        digests
    }

    /// The bytes that its digest names.
    #[must_use]
    pub fn manifest(&self) -> Vec<u8> {
        // Strings, numbers and booleans always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Its name.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest())
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// As [`Tree::new`], and for what is no manifest.
    pub fn from_manifest(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| invalid(format!("not the manifest of a tree: {e}")))
    }
}

pub(crate) fn invalid(what: String) -> Error {
    Error::Invalid { what }
}

pub(crate) fn limit(what: &str, count: u64, limit: u64) -> Result<()> {
    if count <= limit { Ok(()) } else { Err(Error::Limit { what: what.to_owned(), limit }) }
}

/// Checks a path of a tree: relative, no empty name, no `.` and `..`, within the limits.
pub(crate) fn check_path(path: &str) -> Result<()> {
    if path.len() > PATH_BYTES_MAX {
        return Err(Error::Limit { what: "bytes of a path in a tree".into(), limit: PATH_BYTES_MAX as u64 });
    }
    let fine = path
        .split('/')
        .all(|name| !matches!(name, "" | "." | "..") && name.len() <= NAME_BYTES_MAX && !name.contains('\0'));
    if fine { Ok(()) } else { Err(invalid(format!("{path:?} is no path inside a tree"))) }
}

/// Follows a link through the tree, other links on the way included, and refuses it where the way
/// leaves the tree, even for a moment. A target that does not exist is fine.
fn check_link(path: &str, target: &str, by_path: &BTreeMap<&str, &Content>) -> Result<()> {
    let outside = || invalid(format!("the link {path:?} leads out of the tree, to {target:?}"));
    if target.is_empty() || target.contains('\0') {
        return Err(invalid(format!("the link {path:?} leads nowhere")));
    }
    limit("bytes of a link's target", target.len() as u64, PATH_BYTES_MAX as u64)?;
    let mut at: Vec<&str> = path.split('/').collect();
    at.pop();
    // Names still to walk, the next one last.
    let mut ahead: Vec<&str> = target.split('/').rev().collect();
    if target.starts_with('/') {
        return Err(outside());
    }
    let mut followed = 0;
    while let Some(name) = ahead.pop() {
        match name {
            "" | "." => {}
            ".." => {
                at.pop().ok_or_else(outside)?;
            }
            name => {
                at.push(name);
                if let Some(Content::Link { target }) = by_path.get(at.join("/").as_str()) {
                    followed += 1;
                    if followed > LINKS_FOLLOWED_MAX {
                        return Err(invalid(format!("the link {path:?} leads in a circle")));
                    }
                    if target.starts_with('/') {
                        return Err(outside());
                    }
                    at.pop();
                    ahead.extend(target.split('/').rev());
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(path: &str) -> Entry {
        let content = Content::File { digest: Digest::of(path.as_bytes()), size_bytes: 3, executable: false };
        Entry { path: path.into(), content }
    }
    fn link(path: &str, target: &str) -> Entry {
        Entry { path: path.into(), content: Content::Link { target: target.into() } }
    }

    #[test]
    fn the_form_is_frozen() {
        let content = Content::File { digest: Digest::of(b"x"), size_bytes: 1, executable: true };
        let tree = Tree::new(vec![link("b", "a"), Entry { path: "a".into(), content }]).unwrap();
        assert_eq!(
            String::from_utf8(tree.manifest()).unwrap(),
            "{\"version\":1,\"entries\":[{\"path\":\"a\",\"digest\":\"sha256:\
             2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\",\"size_bytes\":1,\
             \"executable\":true},{\"path\":\"b\",\"target\":\"a\"}]}"
        );
        assert_eq!(Tree::from_manifest(&tree.manifest()), Ok(tree));
    }

    #[test]
    fn order_does_not_change_the_name() {
        let (one, two) =
            (vec![file("a"), file("b/c"), file("b.c")], vec![file("b.c"), file("b/c"), file("a")]);
        assert_eq!(Tree::new(one).unwrap().digest(), Tree::new(two).unwrap().digest());
    }

    #[test]
    fn paths_stay_inside() {
        for bad in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\0b", &"x".repeat(256)] {
            assert!(matches!(Tree::new(vec![file(bad)]), Err(Error::Invalid { .. })), "{bad:?}");
        }
        let long = ["x".repeat(200).as_str(); 6].join("/");
        assert!(matches!(Tree::new(vec![file(&long)]), Err(Error::Limit { .. })));
        assert!(Tree::new(vec![file("a"), file("a")]).is_err());
        assert!(Tree::new(vec![file("a"), file("a.b"), file("a/b")]).is_err(), "below a file");
        assert!(Tree::new(vec![link("a", "b"), file("a/c"), file("b/d")]).is_err(), "below a link");
    }

    #[test]
    fn links_stay_inside() {
        let good = [("l", "a"), ("d/l", "../a"), ("d/l", "./x/../y"), ("l", "nowhere"), ("l", "d/")];
        for (path, target) in good {
            assert!(
                Tree::new(vec![file("a"), file("d/f"), link(path, target)]).is_ok(),
                "{path} -> {target}"
            );
        }
        for (path, target) in
            [("l", "/etc/passwd"), ("l", ".."), ("d/l", "../../x"), ("l", "d/../../x"), ("l", "")]
        {
            assert!(Tree::new(vec![file("d/f"), link(path, target)]).is_err(), "{path} -> {target}");
        }
        // Read by its text alone `d/up/../x` stays inside; on disk `d/up` is the root, and `..` leaves it.
        assert!(Tree::new(vec![link("d/up", ".."), file("x")]).is_ok());
        assert!(Tree::new(vec![link("d/up", ".."), link("l", "d/up/../x")]).is_err());
        assert!(Tree::new(vec![link("a", "b"), link("b", "a")]).is_err(), "a circle");
    }

    #[test]
    fn limits_hold() {
        let big = |size_bytes| {
            let content = Content::File { digest: Digest::of(b""), size_bytes, executable: false };
            Tree::new(vec![
                Entry { path: "a".into(), content: content.clone() },
                Entry { path: "b".into(), content },
            ])
        };
        assert!(big(TREE_BYTES_MAX / 2).is_ok());
        assert!(matches!(big(TREE_BYTES_MAX / 2 + 1), Err(Error::Limit { .. })));
        assert!(matches!(big(u64::MAX), Err(Error::Limit { .. })));
        let many = (0..=TREE_ENTRIES_MAX).map(|n| file(&n.to_string())).collect();
        assert!(matches!(Tree::new(many), Err(Error::Limit { .. })));
    }

    proptest! {
        #[test]
        fn reading_a_manifest_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Tree::from_manifest(&bytes);
        }

        #[test]
        fn no_accepted_link_leaves(paths in proptest::collection::vec("[abl]{1}(/[abl]{1}){0,2}", 1..6),
                                   targets in proptest::collection::vec("(\\.\\.|\\.|[abl])(/(\\.\\.|[abl])){0,4}", 6)) {
            let entries = paths.iter().zip(&targets).map(|(p, t)| link(p, t)).collect();
            if let Ok(tree) = Tree::new(entries) {
                let folder = tempfile::tempdir().unwrap();
                let root = folder.path().join("1/2/3/4/5/6/7/8/tree");
                std::fs::create_dir_all(&root).unwrap();
                // What the kernel makes of it, with every folder on the way in place.
                for entry in tree.entries() {
                    let Content::Link { target } = &entry.content else { continue };
                    let at = root.join(&entry.path);
                    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
                    std::os::unix::fs::symlink(target, &at).unwrap();
                }
                for entry in tree.entries() {
                    if let Ok(real) = std::fs::canonicalize(root.join(&entry.path)) {
                        prop_assert!(real.starts_with(std::fs::canonicalize(&root).unwrap()), "{:?}", tree);
                    }
                }
            }
        }
    }
}
