//! Which blocks to read for a set of chunks, some of which lie in several.

use super::cover::{Several, cover};
use super::index::Segment;
use crate::image::{ChunkSet, Hash};
use std::collections::{HashMap, HashSet};

const NOWHERE: u32 = u32::MAX;

/// Collects where the chunks of a set lie, segment by segment.
pub(super) struct Choice<'w> {
    wanted: &'w ChunkSet,
    packs: Vec<Hash>,
    known: HashMap<Hash, u32>,
    /// Pack number, offset, bytes as stored.
    blocks: Vec<(u32, u32, u32)>,
    /// Of blocks, by the number of the pack and the offset.
    numbers: HashMap<(u32, u32), u32>,
    /// For each chunk the number of the first block in which it was found.
    first: Vec<u32>,
    /// Further blocks of chunks.
    more: Vec<(u32, u32)>,
}

/// Blocks to read: pack numbers, offsets and stored bytes, in order.
pub(super) struct Blocks {
    pub(super) packs: Vec<Hash>,
    pub(super) blocks: Vec<(u32, u32, u32)>,
}

impl<'w> Choice<'w> {
    pub(super) fn new(wanted: &'w ChunkSet) -> Self {
        Self {
            wanted,
            packs: Vec::new(),
            known: HashMap::new(),
            blocks: Vec::new(),
            numbers: HashMap::new(),
            first: vec![NOWHERE; wanted.len()],
            more: Vec::new(),
        }
    }

    /// Adds a segment, or a part of one. What it says of packs that others named before may be the same.
    pub(super) fn add(&mut self, segment: &Segment) {
        let Self { wanted, packs, known, blocks, numbers, first, more } = self;
        let mut number = |id: &Hash| {
            *known.entry(*id).or_insert_with(|| {
                packs.push(*id);
                packs.len() as u32 - 1
            })
        };
        let of_packs: Vec<u32> = segment.packs.iter().map(&mut number).collect();
        for (hash, place) in &segment.records {
            let Some(chunk) = wanted.position(hash) else { continue };
            let pack = of_packs[place.pack as usize];
            let block = *numbers.entry((pack, place.offset)).or_insert_with(|| {
                blocks.push((pack, place.offset, place.stored));
                blocks.len() as u32 - 1
            });
            match &mut first[chunk as usize] {
                first if *first == NOWHERE => *first = block,
                first if *first == block => {}
                _ => more.push((chunk, block)),
            }
        }
    }

    /// Chooses the blocks.
    ///
    /// # Errors
    /// The name of a chunk that is nowhere.
    pub(super) fn settle(mut self) -> Result<Blocks, Hash> {
        if let Some(n) = self.first.iter().position(|b| *b == NOWHERE) {
            return Err(self.wanted.chunks()[n].0);
        }
        self.more.sort_unstable();
        self.more.dedup();
        let several = self.more.chunk_by(|a, b| a.0 == b.0).map(|places| {
            let chunk = places[0].0;
            let first = std::mem::replace(&mut self.first[chunk as usize], NOWHERE);
            let blocks = std::iter::once(first).chain(places.iter().map(|p| p.1)).collect();
            Several { chunk, length: self.wanted.chunks()[chunk as usize].1, blocks }
        });
        let several: Vec<_> = several.collect();
        // Where a chunk lies only once.
        let mut chosen: HashSet<u32> = self.first.iter().copied().filter(|b| *b != NOWHERE).collect();
        cover(&several, &mut chosen, |b| self.blocks[b as usize].2);
        let mut blocks: Vec<_> = chosen.into_iter().map(|b| self.blocks[b as usize]).collect();
        blocks.sort_unstable();
        Ok(Blocks { packs: self.packs, blocks })
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::Place;
    use super::*;

    #[test]
    fn what_was_stored_once_more_is_read_from_there() {
        let name = |c: &u8| Hash::of(&[*c]);
        let segment = |blocks: &[&[u8]]| {
            let place = |at: usize| Place { pack: 0, offset: at as u32, stored: 100, length: 100 };
            let records =
                blocks.iter().enumerate().flat_map(|(at, chunks)| chunks.iter().map(move |c| (name(c), place(at))));
            Segment { packs: vec![Hash::of(&blocks.len().to_le_bytes())], records: records.collect() }
        };
        let mut wanted = ChunkSet::default();
        b"abxz".iter().for_each(|c| _ = wanted.insert(name(c), 100));
        let read = |segments: &[Segment]| {
            let mut choice = Choice::new(&wanted);
            segments.iter().for_each(|s| choice.add(s));
            choice.settle().map(|b| b.blocks)
        };
        let (old, new) = (segment(&[b"abcdefgh", b"z"]), segment(&[b"abx"]));
        let got = read(&[old.clone(), new.clone()]).unwrap();
        assert_eq!(got, [(0, 1, 100), (1, 0, 100)]);
        assert_eq!(read(&[new.clone(), old.clone()]).unwrap(), [(0, 0, 100), (1, 1, 100)]);
        // A segment that comes twice changes nothing.
        assert_eq!(read(&[old.clone(), new.clone(), old.clone(), new.clone()]).unwrap(), got);
        assert_eq!(read(&[old]).unwrap_err(), name(&b'x'));
    }
}
