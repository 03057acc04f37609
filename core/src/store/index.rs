//! Which pack holds a chunk: index segments (`store-format.md` §4) and the index in memory.

use crate::image::block::STORED_LIMIT;
use crate::image::chunker::CHUNK_LIMIT;
use crate::image::chunkset::key;
use crate::image::leb::{Reader, put};
use crate::image::{FormatError, Hash};
use hashbrown::HashTable;

const MAGIC: &[u8; 4] = b"CVIX";
const VERSION: u8 = 1;
const RECORD: usize = 48;
/// Most packs a segment may name.
const PACK_LIMIT: usize = 1 << 20;
/// Longest segment that is read.
pub(super) const SEGMENT_LIMIT: u64 = 1 << 30;
/// A session closes a segment that has this many records, so that memory stays bounded.
pub(super) const SEGMENT_RECORDS: usize = 1 << 16;

/// Where a chunk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the pack in the index or segment.
    pub pack: u32,
    /// Offset of the block in the pack.
    pub offset: u32,
    /// Bytes of the block as stored.
    pub stored: u32,
    /// Bytes of the chunk.
    pub length: u32,
}

/// A segment: packs, and records that point into them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Names of the packs.
    pub packs: Vec<Hash>,
    /// Chunks with their places, sorted by hash, pack, offset.
    pub records: Vec<(Hash, Place)>,
}

impl Segment {
    /// The canonical bytes. Sorts the records.
    #[must_use]
    pub fn encode(&mut self) -> Vec<u8> {
        self.records.sort_unstable_by_key(|(h, p)| (*h, p.pack, p.offset));
        let mut out = Vec::with_capacity(16 + self.packs.len() * 32 + self.records.len() * RECORD);
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        put(&mut out, self.packs.len() as u64);
        self.packs.iter().for_each(|p| out.extend_from_slice(&p.0));
        put(&mut out, self.records.len() as u64);
        for (hash, p) in &self.records {
            out.extend_from_slice(&hash.0);
            for n in [p.pack, p.offset, p.stored, p.length] {
                out.extend_from_slice(&n.to_le_bytes());
            }
        }
        out
    }

    /// Adds the packs and records of another segment.
    pub fn append(&mut self, other: Self) {
        let base = self.packs.len() as u32;
        self.packs.extend(other.packs);
        self.records.extend(other.records.into_iter().map(|(h, p)| (h, Place { pack: base + p.pack, ..p })));
    }

    /// What of it is about the packs that are wanted.
    #[must_use]
    pub fn only(self, wanted: &dyn Fn(&Hash) -> bool) -> Self {
        let mut packs = Vec::new();
        let mut number = |id| {
            packs.push(id);
            packs.len() as u32 - 1
        };
        let numbers: Vec<Option<u32>> = self.packs.iter().map(|id| wanted(id).then(|| number(*id))).collect();
        let place = |(h, p): (Hash, Place)| Some((h, Place { pack: numbers[p.pack as usize]?, ..p }));
        let records = self.records.into_iter().filter_map(place).collect();
        Self { packs, records }
    }

    /// Reads a segment, keeping only records that `wanted` asks for: a deployment needs a part of a large index.
    ///
    /// # Errors
    /// Any [`FormatError`].
    pub fn decode(bytes: &[u8], mut wanted: impl FnMut(&Hash) -> bool) -> Result<Self, FormatError> {
        let scanned = Scanned::new(bytes, &mut wanted)?;
        let records = scanned.records().collect();
        Ok(Self { packs: scanned.packs, records })
    }
}

/// A segment as it is stored, and which of its records are wanted. They are decoded as somebody looks at them, because all of
/// them take as much memory again.
pub(super) struct Scanned<'b> {
    packs: Vec<Hash>,
    records: &'b [u8],
    wanted: Vec<u32>,
}

impl<'b> Scanned<'b> {
    /// Reads a segment, and asks of each record whether it is wanted.
    pub(super) fn new(bytes: &'b [u8], wanted: &mut dyn FnMut(&Hash) -> bool) -> Result<Self, FormatError> {
        let mut r = Reader::new("index segment", bytes);
        r.magic(MAGIC, VERSION)?;
        let n = r.count(PACK_LIMIT, "the number of packs of an index segment")?;
        let mut packs = Vec::with_capacity(n.min(bytes.len() / 32));
        for _ in 0..n {
            packs.push(r.hash()?);
        }
        let count = r.leb()?;
        if Some(r.left() as u64) != count.checked_mul(RECORD as u64) {
            return Err(FormatError::Truncated("index segment"));
        }
        let records = &bytes[bytes.len() - r.left()..];
        let (mut numbers, mut last) = (Vec::new(), None);
        for n in 0..count as usize {
            let (hash, place) = record(records, n);
            let order = (hash, place.pack, place.offset);
            let sizes = 1..=STORED_LIMIT as u32;
            if !sizes.contains(&place.stored) || !(1..=CHUNK_LIMIT as u32).contains(&place.length) {
                return r.bad("a block or chunk in it has a size beyond the limits");
            }
            if place.pack as usize >= packs.len() || last.is_some_and(|l| l > order) {
                return r.bad("its records are not in order, or name a pack that it does not have");
            }
            last = Some(order);
            if wanted(&hash) {
                numbers.push(n as u32);
            }
        }
        Ok(Self { packs, records, wanted: numbers })
    }

    pub(super) fn packs(&self) -> &[Hash] {
        &self.packs
    }

    /// The records that are wanted.
    pub(super) fn records(&self) -> impl Iterator<Item = (Hash, Place)> {
        self.wanted.iter().map(|n| record(self.records, *n as usize))
    }
}

/// One of the records, which are as long as they should be.
fn record(records: &[u8], n: usize) -> (Hash, Place) {
    let bytes = &records[n * RECORD..][..RECORD];
    let (mut hash, mut numbers) = ([0; 32], [0u32; 4]);
    hash.copy_from_slice(&bytes[..32]);
    for (number, bytes) in numbers.iter_mut().zip(bytes[32..].chunks_exact(4)) {
        *number = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    let [pack, offset, stored, length] = numbers;
    (Hash(hash), Place { pack, offset, stored, length })
}

/// The index in memory: about 58 bytes a chunk.
#[derive(Default)]
pub struct Index {
    packs: Vec<Hash>,
    numbers: std::collections::HashMap<Hash, u32>,
    records: Vec<(Hash, Place)>,
    table: HashTable<u32>,
    /// Further places of chunks, with the number of the chunk; `None` where they do not matter.
    more: Option<Vec<(u32, Place)>>,
}

impl Index {
    /// One that keeps all places of a chunk that was stored more than once.
    #[must_use]
    pub fn of_all_places() -> Self {
        Self { more: Some(Vec::new()), ..Self::default() }
    }

    /// Adds a segment. Of several places of one chunk the first one known is kept.
    pub fn add(&mut self, segment: &Segment) {
        self.add_packs(segment, |_| true);
    }

    /// As [`Index::add`], of the packs that are wanted.
    pub fn add_packs(&mut self, segment: &Segment, wanted: impl Fn(&Hash) -> bool) {
        let numbers: Vec<Option<u32>> = segment.packs.iter().map(|p| wanted(p).then(|| self.number(*p))).collect();
        self.records.reserve(segment.records.len());
        for (hash, place) in &segment.records {
            let Some(pack) = numbers[place.pack as usize] else { continue };
            let (records, place) = (&mut self.records, Place { pack, ..*place });
            let found =
                self.table.entry(key(hash), |&i| records[i as usize].0 == *hash, |&i| key(&records[i as usize].0));
            match found {
                hashbrown::hash_table::Entry::Vacant(e) => {
                    e.insert(records.len() as u32);
                    records.push((*hash, place));
                }
                hashbrown::hash_table::Entry::Occupied(e) => {
                    let more = self.more.as_mut().filter(|_| records[*e.get() as usize].1 != place);
                    more.into_iter().for_each(|more| more.push((*e.get(), place)));
                }
            }
        }
    }

    /// Puts the further places in order, each once. A record may come twice: of two segments one may be the other one
    /// anew.
    pub fn settle(&mut self) {
        let more = self.more.iter_mut();
        more.for_each(|more| {
            more.sort_unstable_by_key(|(n, p)| (*n, p.pack, p.offset));
            more.dedup();
        });
    }

    /// The further places of chunks, with the number of the chunk; in order when they are settled.
    #[must_use]
    pub fn more(&self) -> &[(u32, Place)] {
        self.more.as_deref().unwrap_or_default()
    }

    /// Keeps of each chunk that has further places one for which `takes` says yes, and forgets the others.
    pub(super) fn choose(&mut self, takes: impl Fn(u32, &Place) -> bool) {
        for (n, place) in self.more.take().into_iter().flatten().filter(|(n, place)| takes(*n, place)) {
            self.records[n as usize].1 = place;
        }
    }

    fn number(&mut self, pack: Hash) -> u32 {
        let packs = &mut self.packs;
        *self.numbers.entry(pack).or_insert_with(|| {
            packs.push(pack);
            packs.len() as u32 - 1
        })
    }

    /// Where a chunk lies.
    #[must_use]
    pub fn get(&self, hash: &Hash) -> Option<Place> {
        self.table.find(key(hash), |&i| self.records[i as usize].0 == *hash).map(|&i| self.records[i as usize].1)
    }

    /// The number of a chunk, from 0 to `len() - 1`.
    #[must_use]
    pub fn position(&self, hash: &Hash) -> Option<usize> {
        self.table.find(key(hash), |&i| self.records[i as usize].0 == *hash).map(|&i| i as usize)
    }

    /// The number of a pack.
    #[must_use]
    pub fn pack_number(&self, pack: &Hash) -> Option<u32> {
        self.numbers.get(pack).copied()
    }

    /// The packs; their positions are the numbers of [`Place::pack`].
    #[must_use]
    pub fn packs(&self) -> &[Hash] {
        &self.packs
    }

    /// All chunks with their places, by their numbers.
    #[must_use]
    pub fn records(&self) -> &[(Hash, Place)] {
        &self.records
    }

    /// Number of chunks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it knows no chunk.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(n: u32) -> Segment {
        let packs = vec![Hash::of(b"p"), Hash::of(b"q")];
        let place = |i| Place { pack: i % 2, offset: 8 + i, stored: 100, length: i + 1 };
        Segment { packs, records: (0..n).map(|i| (Hash::of(&i.to_le_bytes()), place(i))).collect() }
    }

    #[test]
    fn a_segment_comes_back_and_damage_is_found() {
        let mut s = segment(50);
        let bytes = s.encode();
        assert_eq!(Segment::decode(&bytes, |_| true).unwrap(), s);
        assert!(Segment::decode(&bytes[..bytes.len() - 1], |_| true).is_err());
        for n in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[n] ^= 0x40;
            let _ = Segment::decode(&bad, |_| true);
        }
    }

    #[test]
    fn all_places_are_kept_where_they_matter() {
        let elsewhere = |mut s: Segment| {
            s.packs = vec![Hash::of(b"r"), Hash::of(b"s")];
            s
        };
        let mut index = Index::of_all_places();
        for s in [segment(20), elsewhere(segment(10)), segment(20), elsewhere(segment(10))] {
            index.add(&s);
        }
        index.settle();
        assert_eq!((index.len(), index.more().len()), (20, 10));
        let (n, place) = index.more()[0];
        assert_eq!((n, place.pack), (0, 2));
        let mut one = Index::default();
        one.add(&segment(20));
        one.add(&elsewhere(segment(10)));
        assert_eq!(one.more(), []);
    }

    #[test]
    fn segments_merge() {
        let mut index = Index::default();
        index.add(&segment(20));
        index.add(&segment(40));
        assert_eq!((index.len(), index.packs().len()), (40, 2));
        assert_eq!(index.get(&Hash::of(&7u32.to_le_bytes())).unwrap().length, 8);
        assert!(index.get(&Hash::of(b"none")).is_none());
    }
}
