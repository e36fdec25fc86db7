//! Content and names, as seen and as on the platter.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::faults::Faults;
use crate::{Error, Kind, Listed, Result, check_path};

pub(super) type NodeId = u64;
const ROOT: NodeId = 0;

#[derive(Debug, Clone)]
pub(super) struct World {
    nodes: BTreeMap<NodeId, Node>,
    next_node: NodeId,
    /// Orders changes of names across folders.
    next_change: u64,
    pub(super) faults: Faults,
}

#[derive(Debug, Clone)]
enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Debug, Clone, Default)]
struct FileNode {
    seen: Vec<u8>,
    synced: Vec<u8>,
    /// Offset and bytes.
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Clone, Default)]
struct DirNode {
    seen: BTreeMap<String, NodeId>,
    synced: BTreeMap<String, NodeId>,
    unsynced: Vec<NameChange>,
}

#[derive(Debug, Clone)]
struct NameChange {
    order: u64,
    name: String,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Link(NodeId),
    Unlink,
    /// Stands in the folder that gains the name.
    Rename {
        node: NodeId,
        from_dir: NodeId,
        from_name: String,
    },
}

impl Default for World {
    fn default() -> Self {
        let root = Node::Dir(DirNode::default());
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            next_node: 1,
            next_change: 0,
            faults: Faults::default(),
        }
    }
}

impl World {
    fn node(&self, path: &Path) -> Result<Option<NodeId>> {
        let mut at = ROOT;
        for name in check_path(path)? {
            let Some(Node::Dir(dir)) = self.nodes.get(&at) else {
                return Err(Error::WrongKind { path: path.to_owned() });
            };
            match dir.seen.get(name) {
                Some(next) => at = *next,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    fn dir(&mut self, path: &Path) -> Result<(NodeId, &mut DirNode)> {
        let node = self.node(path)?.ok_or_else(|| Error::NotFound { path: path.to_owned() })?;
        match self.nodes.get_mut(&node) {
            Some(Node::Dir(dir)) => Ok((node, dir)),
            _ => Err(Error::WrongKind { path: path.to_owned() }),
        }
    }

    /// The folder of `path` and its last name.
    fn split(path: &Path) -> Result<(PathBuf, String)> {
        let outside = || Error::Outside { path: path.to_owned() };
        let name = check_path(path)?.last().map(|n| (*n).to_owned()).ok_or_else(outside)?;
        Ok((path.parent().ok_or_else(outside)?.to_owned(), name))
    }

    fn change(&mut self, dir: &Path, name: &str, what: What) -> Result<()> {
        let order = self.next_change;
        self.next_change += 1;
        let (_, dir) = self.dir(dir)?;
        match &what {
            What::Link(node) | What::Rename { node, .. } => dir.seen.insert(name.to_owned(), *node),
            What::Unlink => dir.seen.remove(name),
        };
        dir.unsynced.push(NameChange { order, name: name.to_owned(), what });
        Ok(())
    }

    fn add(&mut self, path: &Path, node: Node) -> Result<NodeId> {
        let (dir, name) = Self::split(path)?;
        let id = self.next_node;
        self.change(&dir, &name, What::Link(id))?;
        self.next_node += 1;
        self.nodes.insert(id, node);
        Ok(id)
    }

    pub(super) fn create(&mut self, path: &Path, append: bool) -> Result<NodeId> {
        match self.node(path)? {
            None => self.add(path, Node::File(FileNode::default())),
            Some(id) if append && matches!(self.nodes.get(&id), Some(Node::File(_))) => Ok(id),
            Some(_) => Err(Error::Exists { path: path.to_owned() }),
        }
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> Result<()> {
        match self.stat(path)? {
            None => self.add(path, Node::Dir(DirNode::default())).map(drop),
            Some(found) if found.kind == Kind::Dir => Ok(()),
            Some(_) => Err(Error::WrongKind { path: path.to_owned() }),
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        let node = self.node(from)?.ok_or_else(|| Error::NotFound { path: from.to_owned() })?;
        let (from_dir_path, from_name) = Self::split(from)?;
        let (to_dir_path, to_name) = Self::split(to)?;
        self.dir(&to_dir_path)?;
        let (from_dir, dir) = self.dir(&from_dir_path)?;
        dir.seen.remove(&from_name);
        self.change(&to_dir_path, &to_name, What::Rename { node, from_dir, from_name })
    }

    pub(super) fn remove(&mut self, path: &Path) -> Result<()> {
        let Some(node) = self.node(path)? else { return Ok(()) };
        if matches!(self.nodes.get(&node), Some(Node::Dir(dir)) if !dir.seen.is_empty()) {
            return Err(Error::Io { path: path.to_owned(), why: "the folder is not empty".into() });
        }
        let (dir, name) = Self::split(path)?;
        self.change(&dir, &name, What::Unlink)
    }

    pub(super) fn content(&self, path: &Path) -> Result<Vec<u8>> {
        match self.node(path)?.and_then(|node| self.nodes.get(&node)) {
            Some(Node::File(file)) => Ok(file.seen.clone()),
            Some(Node::Dir(_)) => Err(Error::WrongKind { path: path.to_owned() }),
            None => Err(Error::NotFound { path: path.to_owned() }),
        }
    }

    pub(super) fn stat(&self, path: &Path) -> Result<Option<Listed>> {
        let name = check_path(path)?.last().map_or(String::new(), |n| (*n).to_owned());
        Ok(self.node(path)?.and_then(|node| self.listed(name, node)))
    }

    fn listed(&self, name: String, node: NodeId) -> Option<Listed> {
        Some(match self.nodes.get(&node)? {
            Node::File(file) => Listed { name, kind: Kind::File, size_bytes: file.seen.len() as u64 },
            Node::Dir(_) => Listed { name, kind: Kind::Dir, size_bytes: 0 },
        })
    }

    pub(super) fn list(&self, path: &Path) -> Result<Vec<Listed>> {
        let node = self.node(path)?.ok_or_else(|| Error::NotFound { path: path.to_owned() })?;
        let Some(Node::Dir(dir)) = self.nodes.get(&node) else {
            return Err(Error::WrongKind { path: path.to_owned() });
        };
        Ok(dir.seen.iter().filter_map(|(name, node)| self.listed(name.clone(), *node)).collect())
    }

    pub(super) fn write(&mut self, node: NodeId, bytes: &[u8]) {
        if let Some(Node::File(file)) = self.nodes.get_mut(&node) {
            file.unsynced.push((file.seen.len(), bytes.to_vec()));
            file.seen.extend_from_slice(bytes);
        }
    }

    pub(super) fn sync_file(&mut self, node: NodeId) {
        if let Some(Node::File(file)) = self.nodes.get_mut(&node) {
            file.synced.clone_from(&file.seen);
            file.unsynced.clear();
        }
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> Result<()> {
        let (id, dir) = self.dir(path)?;
        dir.synced.clone_from(&dir.seen);
        let came = std::mem::take(&mut dir.unsynced);
        // A rename lasts on both sides as soon as one is synced.
        for change in came {
            if let What::Rename { node, from_dir, from_name } = change.what
                && let Some(Node::Dir(other)) = self.nodes.get_mut(&from_dir)
                && from_dir != id
            {
                other
                    .unsynced
                    .retain(|c| !(c.name == from_name && matches!(c.what, What::Link(n) if n == node)));
                if other.synced.get(&from_name) == Some(&node) {
                    other.synced.remove(&from_name);
                }
            }
        }
        for other in self.nodes.values_mut() {
            let Node::Dir(other) = other else { continue };
            let (went, stay) = std::mem::take(&mut other.unsynced)
                .into_iter()
                .partition(|c| matches!(c.what, What::Rename { from_dir, .. } if from_dir == id));
            other.unsynced = stay;
            for change in went {
                let change: NameChange = change;
                if let What::Rename { node, .. } = change.what {
                    other.synced.insert(change.name, node);
                }
            }
        }
        Ok(())
    }

    pub(super) fn sync_all(&mut self) {
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => {
                    file.synced.clone_from(&file.seen);
                    file.unsynced.clear();
                }
                Node::Dir(dir) => {
                    dir.synced.clone_from(&dir.seen);
                    dir.unsynced.clear();
                }
            }
        }
    }

    /// The world after a power cut.
    pub(super) fn crash(&self, seed: u64) -> Self {
        let mut chance = Chance { seed, state: seed };
        let mut after = Self { faults: Faults::default(), ..self.clone() };
        let mut changes: Vec<(NodeId, NameChange)> = Vec::new();
        for (id, node) in &mut after.nodes {
            match node {
                Node::File(file) => file.crash(&mut chance),
                Node::Dir(dir) => {
                    dir.seen.clone_from(&dir.synced);
                    let lost = std::mem::take(&mut dir.unsynced);
                    changes.extend(lost.into_iter().filter(|_| chance.keep()).map(|c| (*id, c)));
                }
            }
        }
        changes.sort_by_key(|(_, change)| change.order);
        for (id, NameChange { name, what, .. }) in changes {
            if let What::Rename { node, from_dir, from_name } = &what
                && let Some(Node::Dir(from)) = after.nodes.get_mut(from_dir)
                && from.seen.get(from_name) == Some(node)
            {
                from.seen.remove(from_name);
            }
            let Some(Node::Dir(dir)) = after.nodes.get_mut(&id) else { continue };
            match what {
                What::Link(node) | What::Rename { node, .. } => dir.seen.insert(name, node),
                What::Unlink => dir.seen.remove(&name),
            };
        }
        after.sync_all();
        after
    }
}

impl FileNode {
    fn crash(&mut self, chance: &mut Chance) {
        let mut found = std::mem::take(&mut self.synced);
        let writes = std::mem::take(&mut self.unsynced);
        let last = writes.len().saturating_sub(1);
        for (at, (offset, bytes)) in writes.into_iter().enumerate() {
            if !chance.keep() {
                continue;
            }
            let kept = if at == last { chance.torn(bytes.len()) } else { bytes.len() };
            if found.len() < offset + kept {
                found.resize(offset + kept, 0); // what was lost in between reads as zeros
            }
            found[offset..offset + kept].copy_from_slice(&bytes[..kept]);
        }
        self.seen.clone_from(&found);
        self.synced = found;
    }
}

/// Choices by a seed (splitmix64).
struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn keep(&mut self) -> bool {
        match self.seed {
            0 => false,
            1 => true,
            _ => self.next().is_multiple_of(2),
        }
    }

    fn torn(&mut self, length: usize) -> usize {
        if self.seed == 1 || self.next().is_multiple_of(2) {
            return length;
        }
        usize::try_from(self.next() % (length as u64 + 1)).unwrap_or(length)
    }
}
