//! Finding chunks: index segments and BAD in the store, the trailers of packs that no segment names, one index in memory.
//!
//! ```text
//!  CURRENT, listing ──> segments ──┐              packs that are cut off, and blocks in BAD, do not count
//!  packs that none of them names ──┴──> each_segment ──> Index ──> find, sessions, feeds
//! ```

use super::index::{Index, Place, SEGMENT_LIMIT, SEGMENT_RECORDS, Scanned, Segment};
use super::sieve::Sieve;
use super::usage::Usage;
use super::{Store, locked, pack_key, session};
use crate::error::{Error, ErrorKind, Result};
use crate::image::block::BlockInfo;
use crate::image::{ChunkSet, Hash, pack};
use std::collections::{BTreeSet, HashSet};

pub(super) const CURRENT: &str = "idx/CURRENT";
pub(super) const BAD: &str = "idx/BAD";
/// How often CURRENT is read again when what it named has just gone.
const ROUNDS: usize = 8;
const CURRENT_LIMIT: u64 = 16 << 20;
const BAD_LIMIT: u64 = 1 << 30;

/// The index that a handle keeps.
#[derive(Default)]
pub(super) struct CachedIndex {
    index: Index,
    complete: bool,
}

/// What an index lacks, and the next writer adds.
#[derive(Default)]
pub(super) struct Gaps {
    /// Packs that no segment names.
    pub(super) packs: Vec<Hash>,
    /// Segments that cannot be read.
    pub(super) damaged: Vec<String>,
    /// Something that a segment names is not there, or damaged.
    pub(super) losses: bool,
}

impl Store {
    /// The index, as far as `wanted` says yes, and what it lacked.
    pub(super) fn load_index(&self, mut wanted: impl FnMut(&Hash) -> bool) -> Result<(Index, Gaps)> {
        let mut index = Index::default();
        let gaps = self.each_segment(&mut wanted, &mut |segment| index.add(segment))?;
        Ok((index, gaps))
    }

    /// Gives all segments one by one, large ones in parts, reduced to the records that are wanted and whose packs are sound.
    /// For packs that no segment names (their writer was killed, or their segment is damaged) their trailers are read
    /// instead. A record may come twice.
    pub(super) fn each_segment(
        &self,
        wanted: &mut dyn FnMut(&Hash) -> bool,
        f: &mut dyn FnMut(&Segment),
    ) -> Result<Gaps> {
        let (mut sieve, mut named) = (Sieve::new(self, f)?, HashSet::new());
        let mut gaps = Gaps::default();
        let mut done = HashSet::new();
        for _ in 0..ROUNDS {
            let names = self.segment_names()?;
            let mut vanished = false;
            for name in names.into_iter().filter(|n| !done.contains(n)).collect::<Vec<_>>() {
                let scanned = self.segment_bytes(&name).and_then(|bytes| {
                    let segment = Scanned::new(&bytes, &mut *wanted)?;
                    named.extend(segment.packs().iter().copied());
                    sieve.segment(segment.packs().to_vec(), || segment.records());
                    Ok(())
                });
                match scanned {
                    Ok(()) => {}
                    Err(e) if e.kind() == ErrorKind::Integrity => gaps.damaged.push(name.clone()),
                    // A collection has just written it anew, under other names; or it is lost.
                    Err(e) if e.kind() == ErrorKind::NotFound => vanished = true,
                    Err(e) => return Err(e),
                }
                done.insert(name);
            }
            if !vanished {
                break;
            }
        }
        // What cannot be listed is found by the segments alone.
        let packs = if self.blobs().can_list() { self.pack_ids()? } else { Vec::new() };
        for id in packs.into_iter().filter(|id| !named.contains(id)) {
            // A pack that cannot be read holds nothing; `check` names it.
            let Some(mut segment) = self.segment_of(&id)? else { continue };
            segment.records.retain(|(h, _)| wanted(h));
            let Segment { packs, records } = segment;
            sieve.segment(packs, || records.iter().copied());
            gaps.packs.push(id);
        }
        gaps.losses = sieve.losses;
        Ok(gaps)
    }

    /// Whether a pack is there from its first byte to its last.
    pub(super) fn is_sound(&self, id: &Hash) -> bool {
        self.read_footer(id).is_ok()
    }

    /// Blocks that a check found damaged: pack and offset. What is in them counts as missing.
    pub(super) fn bad_blocks(&self) -> Result<HashSet<(Hash, u64)>> {
        let text = match self.blobs().get(BAD, BAD_LIMIT) {
            // What a server could not tell is not the same as nothing.
            Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
            text => text?,
        };
        let line = |l: &str| {
            let (pack, offset) = l.split_once(' ')?;
            Some((pack.parse().ok()?, offset.parse().ok()?))
        };
        Ok(String::from_utf8_lossy(&text).lines().filter_map(line).collect())
    }

    /// Says that these are the damaged blocks, and no others.
    pub(super) fn note_bad_blocks(&self, blocks: &HashSet<(Hash, u64)>) -> Result<()> {
        let mut lines: Vec<String> = blocks.iter().map(|(pack, offset)| format!("{pack} {offset}\n")).collect();
        lines.sort_unstable();
        // The index that this handle keeps knows nothing of it.
        self.forget_index();
        self.blobs().put(BAD, lines.concat().as_bytes())
    }

    /// Notes the block that an error of reading names as damaged: what is in it is stored again by whoever has it. Whether it
    /// named one.
    pub(crate) fn note_damage(&self, e: &Error) -> Result<bool> {
        let pack = e.facts().get("pack").and_then(|p| p.as_str()?.parse::<Hash>().ok());
        let Some(block) = pack.zip(e.facts().get("offset").and_then(serde_json::Value::as_u64)) else {
            return Ok(false);
        };
        let mut bad = self.bad_blocks()?;
        bad.insert(block);
        self.note_bad_blocks(&bad).map(|()| true)
    }

    /// Takes back that blocks of these packs are damaged: they were just written anew. The same content in the same order
    /// has the same name.
    pub(super) fn forgive(&self, packs: &[Hash]) -> Result<()> {
        let mut bad = self.bad_blocks()?;
        let before = bad.len();
        bad.retain(|(pack, _)| !packs.contains(pack));
        if bad.len() == before { Ok(()) } else { self.note_bad_blocks(&bad) }
    }

    /// Writes what the index lacked, and removes segments that cannot be read. Gives the names of new segments.
    pub(super) fn fill_gaps(&self, gaps: &Gaps) -> Result<Vec<String>> {
        let (mut names, mut segment) = (Vec::new(), Segment::default());
        for id in &gaps.packs {
            let Some(one) = self.segment_of(id)? else { continue };
            segment.append(one);
            if segment.records.len() >= SEGMENT_RECORDS {
                names.push(self.write_segment(&mut std::mem::take(&mut segment))?);
            }
        }
        if !segment.packs.is_empty() {
            names.push(self.write_segment(&mut segment)?);
        }
        let keys: Vec<String> = gaps.damaged.iter().map(|n| segment_key(n)).collect();
        self.blobs().delete_all(&keys)?;
        Ok(names)
    }

    /// Writes all segments anew, without what packs that have gone had, and removes the old ones.
    pub(super) fn compact_index(&self) -> Result<()> {
        let (old, there) = (self.segment_names()?, self.pack_ids()?.into_iter().collect::<HashSet<_>>());
        let (mut names, mut segment, mut done) = (BTreeSet::new(), Segment::default(), HashSet::new());
        for name in &old {
            let one = match self.read_segment(name, &mut |_| true) {
                Err(e) if matches!(e.kind(), ErrorKind::Integrity | ErrorKind::NotFound) => continue,
                read => read?,
            };
            let wanted = |id: &Hash| there.contains(id) && !done.contains(id);
            let one = one.only(&wanted);
            done.extend(one.packs.iter().copied());
            segment.append(one);
            if segment.records.len() >= SEGMENT_RECORDS {
                names.insert(self.write_segment(&mut std::mem::take(&mut segment))?);
            }
        }
        for id in there.iter().filter(|id| !done.contains(id)) {
            self.segment_of(id)?.into_iter().for_each(|one| segment.append(one));
            if segment.records.len() >= SEGMENT_RECORDS {
                names.insert(self.write_segment(&mut std::mem::take(&mut segment))?);
            }
        }
        if !segment.packs.is_empty() {
            names.insert(self.write_segment(&mut segment)?);
        }
        let names: Vec<String> = names.into_iter().collect();
        self.blobs().put(CURRENT, lines(&names).as_bytes())?;
        let keys: Vec<String> =
            old.iter().filter(|n| names.binary_search(n).is_err()).map(|n| segment_key(n)).collect();
        self.blobs().delete_all(&keys)
    }

    /// One segment, reduced to the records that are wanted.
    pub(super) fn read_segment(&self, name: &str, wanted: &mut dyn FnMut(&Hash) -> bool) -> Result<Segment> {
        Ok(Segment::decode(&self.segment_bytes(name)?, wanted)?)
    }

    fn segment_bytes(&self, name: &str) -> Result<Vec<u8>> {
        let key = segment_key(name);
        let bytes = self.blobs().get(&key, SEGMENT_LIMIT)?;
        if Hash::of(&bytes).to_string() != name {
            return Err(Error::integrity(format!("{key} is not what its name says")).fact("object", key));
        }
        Ok(bytes)
    }

    /// What a segment of this pack alone would be, unless its trailer is damaged.
    fn segment_of(&self, id: &Hash) -> Result<Option<Segment>> {
        let Some(blocks) = self.whole_trailer(id)? else { return Ok(None) };
        let infos: Vec<BlockInfo> = blocks.into_iter().map(|(_, b)| b).collect();
        let mut segment = Segment { packs: vec![*id], records: Vec::new() };
        add_records(&mut segment, 0, &infos);
        Ok(Some(segment))
    }

    /// The segments that CURRENT names.
    pub(super) fn current(&self) -> Result<Vec<String>> {
        let damaged = || Error::integrity(format!("{CURRENT} is damaged")).fact("object", CURRENT);
        let text = self.blobs().get(CURRENT, CURRENT_LIMIT).map_err(|e| match e.kind() {
            ErrorKind::Limit => damaged(),
            _ => e,
        })?;
        let text = String::from_utf8(text).map_err(|_| damaged())?;
        if text.lines().any(|l| l.parse::<Hash>().is_err()) {
            return Err(damaged());
        }
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The segments that CURRENT names, where it is whole, and those that a listing shows besides.
    pub(super) fn segment_names(&self) -> Result<Vec<String>> {
        let mut names = match self.current() {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Integrity) => Vec::new(),
            named => named?,
        };
        names.extend(self.listed_segments()?);
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn listed_segments(&self) -> Result<Vec<String>> {
        if !self.blobs().can_list() {
            return Ok(Vec::new());
        }
        let names = self.blobs().list("idx")?;
        let segment = |n: &String| n.strip_suffix(".idx").filter(|n| n.parse::<Hash>().is_ok()).map(str::to_owned);
        Ok(names.iter().filter_map(segment).collect())
    }

    pub(super) fn pack_ids(&self) -> Result<Vec<Hash>> {
        Ok(self.pack_sizes()?.into_iter().map(|(id, _)| id).collect())
    }

    /// The packs that are there, with their sizes.
    pub(super) fn pack_sizes(&self) -> Result<Vec<(Hash, u64)>> {
        let objects = self.blobs().walk("packs")?;
        Ok(objects.iter().filter_map(|(key, meta)| Some((super::pack_of(key)?, meta.size))).collect())
    }

    /// The footer of a pack and the size of the file; both ends of the file are as they should be.
    pub(super) fn read_footer(&self, id: &Hash) -> Result<(pack::Footer, u64)> {
        let key = pack_key(id);
        let gone = || Error::integrity(format!("pack {id} is missing"));
        let size = self.blobs().size(&key)?.ok_or_else(gone)?;
        let (mut magic, mut footer) = ([0; pack::MAGIC.len()], [0; pack::FOOTER]);
        let at =
            size.checked_sub(pack::FOOTER as u64).ok_or_else(|| Error::integrity(format!("{key} is truncated")))?;
        self.blobs().get_range(&key, 0, &mut magic)?;
        self.blobs().get_range(&key, at, &mut footer)?;
        let footer = pack::decode_footer(&footer, size)?;
        if footer.id != *id || magic != *pack::MAGIC {
            return Err(Error::integrity(format!("{key} is another pack")).fact("object", key));
        }
        Ok((footer, size))
    }

    pub(super) fn read_trailer(&self, id: &Hash) -> Result<Vec<(u64, BlockInfo)>> {
        let (footer, size) = self.read_footer(id)?;
        let mut trailer = vec![0; footer.trailer as usize];
        self.blobs().get_range(&pack_key(id), size - pack::FOOTER as u64 - footer.trailer, &mut trailer)?;
        Ok(pack::decode_trailer(&trailer, &footer, size)?)
    }

    /// The trailer of a pack unless it is damaged.
    pub(super) fn whole_trailer(&self, id: &Hash) -> Result<Option<Vec<(u64, BlockInfo)>>> {
        match self.read_trailer(id) {
            // A pack that cannot be reached is not one that holds nothing.
            Err(e) if e.kind() == ErrorKind::Network => Err(e),
            read => Ok(read.ok()),
        }
    }

    pub(super) fn write_segment(&self, segment: &mut Segment) -> Result<String> {
        let bytes = segment.encode();
        let name = Hash::of(&bytes).to_string();
        self.blobs().put(&segment_key(&name), &bytes)?;
        Ok(name)
    }

    /// Adds segments to CURRENT, and forgets those that are there no more.
    pub(super) fn note_segments(&self, names: &[String]) -> Result<()> {
        // One who was killed may have come as far as the segments.
        if names.is_empty() && self.blobs().size(CURRENT)?.is_some() {
            return Ok(());
        }
        let mut all = self.listed_segments()?;
        all.extend_from_slice(names);
        all.sort_unstable();
        all.dedup();
        self.blobs().put(CURRENT, lines(&all).as_bytes())?;
        self.settle_current()
    }

    /// A writer and a collection that meet may leave names in CURRENT of what has gone: whoever is the later one mends
    /// it.
    fn settle_current(&self) -> Result<()> {
        let (named, mut listed) = (self.current()?, self.listed_segments()?);
        listed.sort_unstable();
        if named.iter().all(|n| listed.binary_search(n).is_ok()) {
            return Ok(());
        }
        self.blobs().put(CURRENT, lines(&listed).as_bytes())
    }

    pub(super) fn forget_index(&self) {
        *locked(&self.0.index) = CachedIndex::default();
    }

    /// Looks a set of chunks up for [`Store::find`].
    pub(super) fn warm_index(&self, wanted: &ChunkSet) -> Result<()> {
        let known = |c: &CachedIndex| c.complete || wanted.chunks().iter().all(|(h, _)| c.index.get(h).is_some());
        if known(&locked(&self.0.index)) {
            return Ok(());
        }
        let mut index = Index::of_all_places();
        self.each_segment(&mut |h| wanted.contains(h), &mut |segment| index.add(segment))?;
        Usage::choose_places(&mut index);
        let mut cached = locked(&self.0.index);
        if !cached.complete {
            cached.index = index;
        }
        Ok(())
    }

    /// Where a chunk lies. Once a chunk is not among those that were warmed, the whole index is loaded and kept.
    pub(crate) fn find(&self, hash: &Hash) -> Result<Option<(Hash, Place)>> {
        let mut cached = locked(&self.0.index);
        let found = |c: &CachedIndex| c.index.get(hash).map(|p| (c.index.packs()[p.pack as usize], p));
        if let Some(place) = found(&cached) {
            return Ok(Some(place));
        }
        *cached = CachedIndex { index: self.load_index(|_| true)?.0, complete: true };
        Ok(found(&cached))
    }
}

pub(super) fn segment_key(name: &str) -> String {
    format!("idx/{name}.idx")
}

fn lines(names: &[String]) -> String {
    names.iter().flat_map(|n| [n, "\n"]).collect()
}

pub(super) fn add_records(segment: &mut Segment, number: u32, blocks: &[BlockInfo]) {
    let mut at = pack::MAGIC.len() as u32;
    for info in blocks {
        segment.records.extend(session::records_of(number, at, info));
        at += info.stored;
    }
}
