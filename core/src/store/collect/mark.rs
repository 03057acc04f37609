//! Which chunks are needed, and how much of each pack that is.

use crate::error::Result;
use crate::image::Hash;
use crate::image::block::BlockInfo;
use crate::store::anew::Wanted;
use crate::store::derived::Derived;
use crate::store::index::Index;
use crate::store::needs::Needs;
use crate::store::trash::Trash;
use crate::store::usage::{BlockUse, Usage};
use crate::store::{Image, Store, pack_key};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A pack of which less than this share (of 100) is needed is stored anew.
pub(super) const SPARSE_PERCENT: u64 = 70;
/// A chunk that lies in several blocks is kept in each of which this share is needed: a version may have stored it once
/// more to read less.
const DENSE_PERCENT: u64 = 90;
/// Packs under this size are put together when there are [`MANY`] of them.
const SMALL: u64 = 4 << 20;
const MANY: usize = 16;

/// What is kept needs it.
const ROOT: u8 = 1;
/// An image needs it that nobody needs, but that is not deleted yet: it is whole as long as it is there.
const STAYS: u8 = 2;

/// The chunks of a store, with a mark on those that are needed.
pub(super) struct Mark {
    /// Where a chunk lies, in what is no fossil if it is there.
    index: Index,
    /// For each chunk what needs it: [`ROOT`], [`STAYS`].
    needed: Vec<AtomicU8>,
    usage: Usage,
    fossils: HashSet<Hash>,
    needs: Needs,
    missing: Mutex<HashSet<Hash>>,
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
        let (mut index, mut fossils) = (Index::of_all_places(), HashSet::new());
        store.each_segment(&mut |_| true, &mut |segment| {
            fossils.extend(segment.packs.iter().filter(|id| trash.holds(&pack_key(id))).copied());
            index.add_packs(segment, |id| !fossils.contains(id));
        })?;
        if !fossils.is_empty() {
            // What lies in both does not count in a fossil.
            let lasting = index.len();
            store.each_segment(&mut |_| true, &mut |segment| {
                let mut segment = segment.clone();
                segment.records.retain(|(hash, _)| index.position(hash).is_none_or(|n| n >= lasting));
                index.add_packs(&segment, |id| fossils.contains(id));
            })?;
        }
        index.settle();
        let needed = (0..index.len()).map(|_| AtomicU8::new(0)).collect();
        let missing = Mutex::default();
        Ok(Self { index, needed, usage: Usage::default(), fossils, needs: Needs::default(), missing })
    }

    /// Marks what an image needs that is kept. All of them come before those that only stay. Several threads may mark.
    pub(super) fn image(&self, image: &Image) -> Result<()> {
        self.mark(image, ROOT)
    }

    /// Marks what an image needs that is not deleted yet.
    pub(super) fn staying(&self, image: &Image) -> Result<()> {
        self.mark(image, STAYS)
    }

    fn mark(&self, image: &Image, why: u8) -> Result<()> {
        self.needs.of(image, &mut |hash, _| {
            match self.index.position(hash) {
                Some(n) => self.needed[n].fetch_or(why, Relaxed),
                None => u8::from(self.missing().insert(*hash)),
            };
            Ok(())
        })
    }

    /// Chunks that an image needs and no sound pack has.
    pub(super) fn missing(&self) -> MutexGuard<'_, HashSet<Hash>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks what a file needs that was derived from an image, which is kept or only stays.
    pub(super) fn derived(&self, derived: &Derived, kept: bool) -> Result<()> {
        for (hash, _) in derived.chunks()?.chunks() {
            if let Some(n) = self.index.position(hash) {
                self.needed[n].fetch_or(if kept { ROOT } else { STAYS }, Relaxed);
            }
        }
        Ok(())
    }

    /// Sums up, when all images are marked.
    pub(super) fn finish(&mut self) {
        let Self { index, needed, usage, .. } = self;
        *usage = Usage::of_many(index, |n| needed[n].load(Relaxed) & ROOT != 0, DENSE_PERCENT);
    }

    /// Whether a chunk is needed, and taken from this block.
    pub(super) fn wanted(&self, hash: &Hash, pack: &Hash, offset: u32) -> Wanted {
        let chunk = self.index.position(hash).filter(|n| self.needed[*n].load(Relaxed) & ROOT != 0);
        match chunk.zip(self.index.pack_number(pack)) {
            Some((n, pack)) if self.usage.takes(n as u32, pack, offset) => match self.needs.has_page(hash) {
                true => Wanted::Page,
                false => Wanted::Content,
            },
            _ => Wanted::No,
        }
    }

    fn packs(&self) -> impl Iterator<Item = PackUse> + '_ {
        let mut blocks: BTreeMap<u32, Vec<(u32, BlockUse)>> = BTreeMap::new();
        for (&(pack, offset), block) in &self.usage.blocks {
            blocks.entry(pack).or_default().push((offset, *block));
        }
        blocks.into_iter().map(|(number, mut blocks)| {
            let size = blocks.iter().map(|(_, b)| u64::from(b.stored)).sum();
            blocks.retain(|(_, b)| b.live > 0);
            blocks.sort_unstable_by_key(|(offset, _)| *offset);
            let live = blocks.iter().map(|(_, b)| b.needed()).sum();
            PackUse { id: self.index.packs()[number as usize], size, live, blocks }
        })
    }

    /// The packs of which something is needed, if only by what stays.
    pub(super) fn live_packs(&self) -> HashSet<Hash> {
        let all = Usage::of_many(&self.index, |n| self.needed[n].load(Relaxed) != 0, DENSE_PERCENT);
        let used = |usage: &Usage| {
            let live = usage.blocks.iter().filter(|(_, b)| b.live > 0);
            live.map(|((pack, _), _)| self.index.packs()[*pack as usize]).collect::<Vec<_>>()
        };
        used(&self.usage).into_iter().chain(used(&all)).collect()
    }

    /// The packs of which nothing is needed. One that cannot be read is not among them.
    pub(super) fn dead_packs(&self) -> impl Iterator<Item = Hash> {
        let dead: Vec<Hash> = self.packs().filter(|p| p.blocks.is_empty()).map(|p| p.id).collect();
        dead.into_iter()
    }

    /// Whether nothing of a pack counts, because all that it has is damaged, and nobody misses that.
    pub(super) fn is_useless(&self, id: &Hash, trailer: &[(u64, BlockInfo)]) -> bool {
        let number = self.index.pack_number(id);
        let counts = self.usage.blocks.keys().any(|(pack, _)| Some(*pack) == number);
        let missing = self.missing();
        !counts && !trailer.iter().flat_map(|(_, b)| &b.chunks).any(|(hash, _)| missing.contains(hash))
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
