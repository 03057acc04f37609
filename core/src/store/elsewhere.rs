//! Where else: a block that is damaged, or is not what the index says, need not be the end. What is wanted of it may lie in others
//! as well, stored by another writer, or named by another mirror.

use super::Store;
use super::choice::{Blocks, Choice};
use super::index::{Place, Segment};
use super::source::Origin;
use crate::error::Result;
use crate::image::{ChunkSet, Hash};
use std::collections::HashSet;

/// A block: its pack, its offset, its bytes.
pub(super) type Block = (Hash, u32, u32);

/// Blocks in place of others that turned out damaged.
#[derive(Default)]
pub(super) struct Instead {
    damaged: HashSet<(Hash, u32)>,
    blocks: Vec<Block>,
    given: usize,
}

impl Instead {
    /// The next one.
    pub(super) fn next(&mut self) -> Option<Block> {
        let block = self.blocks.get(self.given).copied();
        self.given += usize::from(block.is_some());
        block
    }

    /// The one at this place.
    pub(super) fn at(&self, origin: Origin) -> Option<Block> {
        self.blocks
            .iter()
            .copied()
            .find(|(pack, offset, _)| *pack == origin.pack && u64::from(*offset) == origin.offset)
    }

    /// Finds others for what is wanted of a block; false when some of it is nowhere else.
    pub(super) fn replace(&mut self, store: &Store, wanted: &ChunkSet, origin: Origin) -> Result<bool> {
        let Ok(offset) = u32::try_from(origin.offset) else { return Ok(false) };
        let damaged = (origin.pack, offset);
        if !self.damaged.insert(damaged) {
            return Ok(true);
        }
        let mut lost = ChunkSet::default();
        store.each_segment(&mut |h| wanted.contains(h), &mut |segment| {
            for (hash, place) in segment.records.iter().filter(|(_, p)| place_of(segment, p) == damaged) {
                lost.insert(*hash, place.length);
            }
        })?;
        let mut choice = Choice::new(&lost);
        store.each_segment(&mut |h| lost.contains(h), &mut |segment| choice.add(&without(segment, &self.damaged)))?;
        let Ok(Blocks { packs, blocks }) = choice.settle() else { return Ok(false) };
        self.blocks.extend(blocks.into_iter().map(|(pack, offset, stored)| (packs[pack as usize], offset, stored)));
        Ok(true)
    }
}

fn place_of(segment: &Segment, place: &Place) -> (Hash, u32) {
    (segment.packs[place.pack as usize], place.offset)
}

fn without(segment: &Segment, damaged: &HashSet<(Hash, u32)>) -> Segment {
    let mut rest = segment.clone();
    rest.records.retain(|(_, p)| !damaged.contains(&place_of(segment, p)));
    rest
}

impl Store {
    /// A place of a chunk that is none of these.
    pub(super) fn find_elsewhere(&self, hash: &Hash, damaged: &HashSet<(Hash, u32)>) -> Result<Option<(Hash, Place)>> {
        let mut found = None;
        self.each_segment(&mut |h| h == hash, &mut |segment| {
            let places = segment.records.iter().map(|(_, p)| (place_of(segment, p), *p));
            for ((pack, _), place) in places.filter(|(at, _)| !damaged.contains(at)) {
                found.get_or_insert((pack, place));
            }
        })?;
        Ok(found)
    }
}
