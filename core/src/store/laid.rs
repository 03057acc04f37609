//! In which blocks chunks lie: for who hands blocks out and has to say what is in them.

use super::Store;
use super::choice::{Blocks, Choice};
use super::source::{Origin, missing};
use crate::error::Result;
use crate::image::{ChunkSet, Hash};
use std::collections::{HashMap, HashSet};

/// A block, and the wanted chunks in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Laid {
    pub(crate) origin: Origin,
    /// Bytes as stored.
    pub(crate) stored: u32,
    /// Positions in the set, ascending.
    pub(crate) chunks: Vec<u32>,
}

impl Store {
    /// The names of all chunks: for a store that has few.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(crate) fn chunk_names(&self) -> Result<HashSet<Hash>> {
        let mut out = HashSet::new();
        self.each_segment(&mut |_| true, &mut |segment| out.extend(segment.records.iter().map(|(hash, _)| *hash)))?;
        Ok(out)
    }

    /// The blocks to read for the chunks of `wanted`, as they lie in the packs.
    ///
    /// # Errors
    /// `Integrity` when a chunk is nowhere.
    pub(crate) fn lay(&self, wanted: &ChunkSet) -> Result<Vec<Laid>> {
        let mut choice = Choice::new(wanted);
        self.each_segment(&mut |h| wanted.contains(h), &mut |segment| choice.add(segment))?;
        let Blocks { packs, blocks } = choice.settle().map_err(|hash| missing(&hash))?;
        let laid = |&(pack, offset, stored): &(u32, u32, u32)| {
            let origin = Origin { pack: packs[pack as usize], offset: u64::from(offset) };
            Laid { origin, stored, chunks: Vec::new() }
        };
        let mut out: Vec<Laid> = blocks.iter().map(laid).collect();
        let at: HashMap<_, _> = out.iter().enumerate().map(|(n, l)| ((l.origin.pack, l.origin.offset), n)).collect();
        self.each_segment(&mut |h| wanted.contains(h), &mut |segment| {
            for (hash, place) in &segment.records {
                let origin = (segment.packs[place.pack as usize], u64::from(place.offset));
                if let (Some(&n), Some(chunk)) = (at.get(&origin), wanted.position(hash)) {
                    out[n].chunks.push(chunk);
                }
            }
        })?;
        for l in &mut out {
            l.chunks.sort_unstable();
            l.chunks.dedup();
        }
        Ok(out)
    }
}
