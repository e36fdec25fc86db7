//! Decoded blocks, shared by all parts, in bounded memory.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics_api::Labels;

use super::block::ChunkBlock;

/// Locks that the cache is spread over.
const SHARDS: usize = 8;
/// What an entry takes beside its block.
const ENTRY_BYTES: usize = 128;

/// A block as it is used.
#[derive(Debug)]
pub(super) enum Block {
    Chunks(ChunkBlock),
    Times(Vec<Vec<i64>>),
    Series(Vec<Labels>),
    Postings(Vec<u8>),
}

impl Block {
    fn size_bytes(&self) -> usize {
        ENTRY_BYTES
            + match self {
                Self::Chunks(block) => block.size_bytes(),
                Self::Times(streams) => streams.iter().map(|times| times.capacity() * 8 + 24).sum(),
                Self::Series(all) => all.iter().map(|labels| labels.as_bytes().len() + 32).sum(),
                Self::Postings(bytes) => bytes.capacity(),
            }
    }
}

/// Which kind of block, in the order of the footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum BlockKind {
    Chunks,
    Times,
    Series,
    Postings,
}

pub(super) type BlockKey = (u64, BlockKind, u32);

/// Decoded blocks of all parts, at most so many bytes; the least used go first. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BlockCache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shard_bytes_max: usize,
    shards: [Mutex<Shard>; SHARDS],
    next_part: AtomicU64,
}

/// Two generations: what is found in the old one moves to the young one, and when the young one is
/// half of what is allowed, the old one goes as a whole.
#[derive(Debug, Default)]
struct Shard {
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    blocks: HashMap<BlockKey, (Arc<Block>, usize)>,
    bytes: usize,
}

impl BlockCache {
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Inner {
            shard_bytes_max: bytes_max / SHARDS,
            shards: Default::default(),
            next_part: AtomicU64::new(0),
        }))
    }

    /// Bytes held now.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.0.shards.iter().map(|shard| lock(shard)).map(|shard| shard.young.bytes + shard.old.bytes).sum()
    }

    /// A number that no other part has.
    pub(super) fn next_part(&self) -> u64 {
        self.0.next_part.fetch_add(1, Ordering::Relaxed)
    }

    fn shard(&self, key: BlockKey) -> MutexGuard<'_, Shard> {
        lock(&self.0.shards[(key.0 as usize ^ key.2 as usize ^ ((key.1 as usize) << 1)) % SHARDS])
    }

    pub(super) fn get(&self, key: BlockKey) -> Option<Arc<Block>> {
        let mut shard = self.shard(key);
        if let Some((block, _)) = shard.young.blocks.get(&key) {
            return Some(Arc::clone(block));
        }
        let (block, size) = shard.old.blocks.remove(&key)?;
        shard.old.bytes -= size;
        self.insert(&mut shard, key, Arc::clone(&block), size);
        Some(block)
    }

    pub(super) fn put(&self, key: BlockKey, block: &Arc<Block>) {
        let size = block.size_bytes();
        let mut shard = self.shard(key);
        self.insert(&mut shard, key, Arc::clone(block), size);
    }

    fn insert(&self, shard: &mut Shard, key: BlockKey, block: Arc<Block>, size: usize) {
        let half = self.0.shard_bytes_max / 2;
        if size > half {
            return;
        }
        if shard.young.bytes + size > half {
            shard.old = std::mem::take(&mut shard.young);
        }
        if let Some((_, before)) = shard.young.blocks.insert(key, (block, size)) {
            shard.young.bytes -= before;
        }
        shard.young.bytes += size;
    }

    /// Forgets the blocks of a part that is closed.
    pub(super) fn forget(&self, part: u64) {
        for shard in &self.0.shards {
            let shard = &mut *lock(shard);
            for generation in [&mut shard.young, &mut shard.old] {
                generation.blocks.retain(|key, _| key.0 != part);
                generation.bytes = generation.blocks.values().map(|(_, size)| size).sum();
            }
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_within_its_bound_and_keeps_what_is_used() {
        let cache = BlockCache::new(1 << 20);
        let used = (0, BlockKind::Postings, 0);
        for number in 0..10_000u32 {
            let block = Arc::new(Block::Postings(Vec::with_capacity(1000)));
            cache.put((number as u64 % 3, BlockKind::Postings, number), &block);
            assert!(cache.get(used).is_some(), "{number}");
            assert!(cache.size_bytes() <= 1 << 20);
        }
        assert!(cache.size_bytes() > 1 << 18);
        cache.put(used, &Arc::new(Block::Postings(Vec::with_capacity(2 << 20))));
        assert!(cache.size_bytes() <= 1 << 20, "what is larger than the cache is not kept");
        for part in 0..3 {
            cache.forget(part);
        }
        assert_eq!(cache.size_bytes(), 0);
    }
}
