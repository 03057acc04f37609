//! How much of each block is needed, of chunks that may lie in several.

use super::cover::{Several, cover};
use super::index::{Index, Place};
use std::collections::{HashMap, HashSet};

/// How much of a block is needed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockUse {
    /// Bytes as stored.
    pub(super) stored: u32,
    /// Bytes of its chunks.
    pub(super) raw: u64,
    /// Bytes of the chunks that are needed and are taken from here.
    pub(super) live: u64,
}

impl BlockUse {
    /// About so many of the stored bytes are needed.
    pub(super) fn needed(&self) -> u64 {
        u64::from(self.stored) * self.live / self.raw.max(1)
    }
}

/// All blocks of an index.
#[derive(Default)]
pub(super) struct Usage {
    /// By the number of the pack in the index, and the offset.
    pub(super) blocks: HashMap<(u32, u32), BlockUse>,
    /// Places from which a chunk that is needed is not taken: its number, pack and offset.
    elsewhere: HashSet<(u32, u32, u32)>,
}

impl Usage {
    /// What a reader of the chunks that are `needed` takes from each block. The index must be settled.
    pub(super) fn of_reader(index: &Index, needed: impl Fn(usize) -> bool) -> Self {
        Self::of_many(index, needed, u64::MAX)
    }

    /// Gives each chunk of an index the place from which a reader of all of them takes it.
    pub(super) fn choose_places(index: &mut Index) {
        index.settle();
        let usage = Self::of_reader(index, |_| true);
        index.choose(|n, place| usage.takes(n, place.pack, place.offset));
    }

    /// What is to be kept of each block for the chunks that are `needed`. One that lies in several counts in each of which
    /// at least `dense` percent are needed, or else in the one that a reader would take. The index must be settled.
    pub(super) fn of_many(index: &Index, needed: impl Fn(usize) -> bool, dense: u64) -> Self {
        let (mut out, several) = Self::of_all_places(index, &needed);
        let is_dense = |b: &BlockUse| b.live.saturating_mul(100) >= b.raw.saturating_mul(dense);
        let dense: HashSet<_> = out.blocks.iter().filter(|(_, b)| is_dense(b)).map(|(at, _)| *at).collect();
        let elsewhere: HashSet<u32> = several.iter().map(|s| s.chunk).collect();
        let once = (0..index.len()).filter(|n| needed(*n) && !elsewhere.contains(&(*n as u32)));
        let mut chosen: HashSet<_> = once.map(|n| at(&index.records()[n].1)).chain(dense.iter().copied()).collect();
        let taken = cover(&several, &mut chosen, |at| out.blocks.get(&at).map_or(0, |b| b.stored));
        for (s, taken) in several.iter().zip(taken) {
            let others = s.blocks.iter().filter(|b| **b != taken && !dense.contains(b));
            others.for_each(|b| out.take_elsewhere(s, *b));
        }
        out
    }

    /// Each chunk counts wherever it lies; besides, those that lie in several blocks.
    fn of_all_places(index: &Index, needed: impl Fn(usize) -> bool) -> (Self, Vec<Several<(u32, u32)>>) {
        let (mut out, records) = (Self::default(), index.records());
        let first = records.iter().enumerate().map(|(n, (_, place))| (n as u32, *place));
        for (n, place) in first.chain(index.more().iter().copied()) {
            let block = out.blocks.entry(at(&place)).or_default();
            block.stored = place.stored;
            block.raw += u64::from(place.length);
            block.live += if needed(n as usize) { u64::from(place.length) } else { 0 };
        }
        let several = index.more().chunk_by(|a, b| a.0 == b.0).filter(|places| needed(places[0].0 as usize));
        let several = several.map(|places| {
            let (chunk, first) = (places[0].0, &records[places[0].0 as usize].1);
            let blocks = std::iter::once(first).chain(places.iter().map(|p| &p.1)).map(at).collect();
            Several { chunk, length: first.length, blocks }
        });
        let several = several.collect();
        (out, several)
    }

    fn take_elsewhere(&mut self, chunk: &Several<(u32, u32)>, block: (u32, u32)) {
        if let Some(b) = self.blocks.get_mut(&block) {
            // Of a hostile index the places may say different lengths.
            b.live = b.live.saturating_sub(u64::from(chunk.length));
        }
        self.elsewhere.insert((chunk.chunk, block.0, block.1));
    }

    /// Whether a chunk that is needed, and lies in this block, is taken from there.
    pub(super) fn takes(&self, chunk: u32, pack: u32, offset: u32) -> bool {
        !self.elsewhere.contains(&(chunk, pack, offset))
    }
}

fn at(place: &Place) -> (u32, u32) {
    (place.pack, place.offset)
}

#[cfg(test)]
mod tests {
    use super::super::index::Segment;
    use super::*;
    use crate::image::Hash;

    /// Blocks of chunks of 100 bytes each, which cannot be compressed, all in one pack.
    fn index(blocks: &[&[u8]]) -> Index {
        let mut index = Index::of_all_places();
        for (at, chunks) in blocks.iter().enumerate() {
            let stored = 100 * chunks.len() as u32;
            let place = Place { pack: 0, offset: at as u32, stored, length: 100 };
            let records = chunks.iter().map(|c| (Hash::of(&[*c]), place)).collect();
            index.add(&Segment { packs: vec![Hash::of(b"p")], records });
        }
        index.settle();
        index
    }

    fn live(u: &Usage) -> Vec<u64> {
        let mut out: Vec<_> = u.blocks.iter().map(|((_, at), b)| (*at, b.live)).collect();
        out.sort_unstable();
        out.into_iter().map(|b| b.1).collect()
    }

    #[test]
    fn a_reader_takes_from_what_it_reads_anyway_and_a_collection_keeps_what_is_in_use() {
        let index = index(&[b"abcdefgh", b"abx", b"y"]);
        let wanted = |names: &'static [u8]| {
            let numbers: Vec<_> = names.iter().map(|c| index.position(&Hash::of(&[*c])).unwrap()).collect();
            move |n: usize| numbers.contains(&n)
        };
        let u = Usage::of_reader(&index, wanted(b"abx"));
        assert_eq!(live(&u), [0, 300, 0]);
        assert_eq!(u.blocks[&(0, 0)].raw, 800);
        assert!(!u.takes(0, 0, 0) && u.takes(0, 0, 1));
        assert_eq!(live(&Usage::of_reader(&index, wanted(b"abc"))), [300, 0, 0]);
        assert_eq!(live(&Usage::of_reader(&index, wanted(b"ab"))), [0, 200, 0], "the denser one");
        let all = wanted(b"abcdefgh");
        assert_eq!(live(&Usage::of_many(&index, &all, 60)), [800, 200, 0]);
        assert_eq!(live(&Usage::of_many(&index, &all, 70)), [800, 0, 0]);
        assert_eq!(live(&Usage::of_many(&index, wanted(b"abxy"), 60)), [0, 300, 100]);
        assert_eq!(live(&Usage::of_many(&index, |_| false, 60)), [0, 0, 0]);
    }
}
