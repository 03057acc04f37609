//! What of an index counts: not what lies in packs that are cut off or lost, nor in blocks that are known to be damaged.

use super::Store;
use super::index::{Place, Segment};
use super::presence::Presence;
use crate::error::Result;
use crate::image::Hash;
use std::collections::HashSet;

/// Records that are given on together: those of a large segment come in parts, for all of them would take as much memory again as
/// the segment.
const PART: usize = 1 << 16;

/// Gives on the records that count.
pub(super) struct Sieve<'s, 'f> {
    present: Presence<'s>,
    bad: HashSet<(Hash, u64)>,
    /// Whether there were others.
    pub(super) losses: bool,
    to: &'f mut dyn FnMut(&Segment),
}

impl<'s, 'f> Sieve<'s, 'f> {
    pub(super) fn new(store: &'s Store, to: &'f mut dyn FnMut(&Segment)) -> Result<Self> {
        Ok(Self { present: Presence::of(store)?, bad: store.bad_blocks()?, losses: false, to })
    }

    /// Takes what a segment says of these packs; the records are asked for twice.
    pub(super) fn segment<R>(&mut self, packs: Vec<Hash>, records: impl Fn() -> R)
    where
        R: Iterator<Item = (Hash, Place)>,
    {
        // Where the last block that is wanted of each pack ends; 0 where none is.
        let mut ends = vec![0; packs.len()];
        for (_, p) in records() {
            let end = &mut ends[p.pack as usize];
            *end = u64::from(p.offset).saturating_add(p.stored.into()).max(*end);
        }
        let good = packs.iter().zip(ends).map(|(id, end)| end == 0 || self.present.is_sound(id, end));
        let good: Vec<bool> = good.collect();
        let mut part = Segment { packs, records: Vec::new() };
        for (hash, place) in records() {
            let at = (part.packs[place.pack as usize], place.offset.into());
            if !good[place.pack as usize] || !self.bad.is_empty() && self.bad.contains(&at) {
                self.losses = true;
                continue;
            }
            part.records.push((hash, place));
            if part.records.len() == PART {
                (self.to)(&part);
                part.records.clear();
            }
        }
        (self.to)(&part);
    }
}
