//! Which chunks are needed, and how much of each pack that is.

use crate::error::Result;
use crate::image::Hash;
use crate::store::derived::Derived;
use crate::store::index::{Index, Segment};
use crate::store::needs::Needs;
use crate::store::trash::Trash;
use crate::store::{Image, Store, pack_key};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A pack of which less than this share (of 100) is needed is stored anew.
const SPARSE_PERCENT: u64 = 60;
/// Packs under this size are put together when there are [`MANY`] of them.
const SMALL: u64 = 4 << 20;
const MANY: usize = 16;

/// The chunks of a store, with a mark on those that are needed.
pub(super) struct Mark {
    /// Where a chunk lies, in what is no fossil if it is there.
    index: Index,
    needed: Vec<bool>,
    /// By the number of the pack in the index, and the offset.
    blocks: HashMap<(u32, u32), BlockUse>,
    fossils: HashSet<Hash>,
    needs: Needs,
    /// Chunks that an image needs and no sound pack has.
    pub(super) missing: u64,
}

/// How much of a block is needed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockUse {
    /// Bytes as stored.
    pub(super) stored: u32,
    /// Bytes of its chunks.
    pub(super) raw: u64,
    /// Bytes of the chunks that are needed and lie here.
    pub(super) live: u64,
}

/// How much of a pack is needed.
#[derive(Clone, Debug)]
pub(super) struct PackUse {
    pub(super) id: Hash,
    /// Bytes of its blocks.
    pub(super) size: u64,
    /// About so many of them are needed.
    pub(super) live: u64,
    /// The blocks of which something is needed, with their offsets.
    pub(super) blocks: Vec<(u32, BlockUse)>,
}

impl Mark {
    /// All chunks of the store, none marked.
    pub(super) fn load(store: &Store, trash: &Trash) -> Result<Self> {
        let (mut index, mut seen, mut blocks) = (Index::default(), HashSet::new(), HashMap::new());
        let mut fossils = HashSet::new();
        for fossil in [false, true] {
            store.each_segment(&mut |_| true, &mut |segment| {
                fossils.extend(segment.packs.iter().filter(|id| trash.holds(&pack_key(id))).copied());
                let wanted = |id: &Hash| fossils.contains(id) == fossil;
                index.add_packs(segment, wanted);
                count(segment, &index, |id| wanted(id) && !seen.contains(id), &mut blocks);
                seen.extend(segment.packs.iter().filter(|id| wanted(id)).copied());
            })?;
        }
        let needed = vec![false; index.len()];
        Ok(Self { index, needed, blocks, fossils, needs: Needs::default(), missing: 0 })
    }

    /// Marks what an image needs.
    pub(super) fn image(&mut self, image: &Image) -> Result<()> {
        let Self { index, needed, needs, missing, .. } = self;
        needs.of(image, &mut |hash, _| {
            match index.position(hash) {
                Some(n) => needed[n] = true,
                None => *missing += 1,
            }
            Ok(())
        })
    }

    /// Marks what a file needs that was derived from an image.
    pub(super) fn derived(&mut self, derived: &Derived) -> Result<()> {
        for (hash, _) in derived.chunks()?.chunks() {
            if let Some(n) = self.index.position(hash) {
                self.needed[n] = true;
            }
        }
        Ok(())
    }

    /// Sums up, when all images are marked.
    pub(super) fn finish(&mut self) {
        for ((_, place), _) in self.index.records().zip(&self.needed).filter(|(_, needed)| **needed) {
            if let Some(block) = self.blocks.get_mut(&(place.pack, place.offset)) {
                block.live += u64::from(place.length);
            }
        }
    }

    /// Whether a chunk is needed, and lies in this pack as far as the mark is concerned.
    pub(super) fn needs(&self, hash: &Hash, pack: &Hash) -> bool {
        let place = self.index.position(hash).filter(|n| self.needed[*n]).and_then(|_| self.index.get(hash));
        place.is_some_and(|p| self.index.packs()[p.pack as usize] == *pack)
    }

    fn packs(&self) -> impl Iterator<Item = PackUse> + '_ {
        let mut blocks: BTreeMap<u32, Vec<(u32, BlockUse)>> = BTreeMap::new();
        for (&(pack, offset), block) in &self.blocks {
            blocks.entry(pack).or_default().push((offset, *block));
        }
        blocks.into_iter().map(|(number, mut blocks)| {
            let size = blocks.iter().map(|(_, b)| u64::from(b.stored)).sum();
            blocks.retain(|(_, b)| b.live > 0);
            blocks.sort_unstable_by_key(|(offset, _)| *offset);
            let live = blocks.iter().map(|(_, b)| u64::from(b.stored) * b.live / b.raw.max(1)).sum();
            PackUse { id: self.index.packs()[number as usize], size, live, blocks }
        })
    }

    /// The packs of which something is needed.
    pub(super) fn live_packs(&self) -> HashSet<Hash> {
        self.packs().filter(|p| !p.blocks.is_empty()).map(|p| p.id).collect()
    }

    /// The packs of which nothing is needed. One that cannot be read is not among them.
    pub(super) fn dead_packs(&self) -> impl Iterator<Item = Hash> {
        let dead: Vec<Hash> = self.packs().filter(|p| p.blocks.is_empty()).map(|p| p.id).collect();
        dead.into_iter()
    }

    /// The packs that are worth being stored anew, but for fossils.
    pub(super) fn sparse(&self) -> Vec<PackUse> {
        let live = self.packs().filter(|p| !p.blocks.is_empty() && !self.fossils.contains(&p.id));
        let (mut sparse, dense): (Vec<_>, Vec<_>) = live.partition(|p| p.live * 100 < p.size * SPARSE_PERCENT);
        let small: Vec<_> = dense.into_iter().filter(|p| p.size < SMALL).collect();
        if small.len() >= MANY {
            sparse.extend(small);
        }
        sparse.sort_unstable_by_key(|p| p.id);
        sparse
    }
}

/// Adds up the blocks of the packs that are wanted.
fn count(segment: &Segment, index: &Index, wanted: impl Fn(&Hash) -> bool, blocks: &mut HashMap<(u32, u32), BlockUse>) {
    let number = |id: &Hash| if wanted(id) { index.pack_number(id) } else { None };
    let numbers: Vec<Option<u32>> = segment.packs.iter().map(number).collect();
    for (_, place) in &segment.records {
        if let Some(pack) = numbers[place.pack as usize] {
            let block = blocks.entry((pack, place.offset)).or_default();
            block.stored = place.stored;
            block.raw += u64::from(place.length);
        }
    }
}
