//! Finding chunks: index segments and BAD in the store, the trailers of packs behind them, one index in memory.
//!
//! ```text
//! CURRENT ──> segments ──┐                       packs that are cut off, and blocks in BAD, do not count
//!       or all trailers ─┴──> each_segment ──> Index ──> find, sessions, feeds
//! ```

use super::index::{Index, Place, SEGMENT_LIMIT, SEGMENT_RECORDS, Segment};
use super::presence::Presence;
use super::{Store, locked, pack_key, session};
use crate::error::{Error, ErrorKind, Result};
use crate::image::block::BlockInfo;
use crate::image::{Hash, pack};
use std::collections::HashSet;

pub(super) const CURRENT: &str = "idx/CURRENT";
const BAD: &str = "idx/BAD";
const CURRENT_LIMIT: u64 = 16 << 20;

/// The index that a handle keeps.
#[derive(Default)]
pub(super) struct CachedIndex {
    index: Index,
    complete: bool,
}

impl Store {
    /// The index, as far as `wanted` says yes, and whether it had to be rebuilt.
    pub(super) fn load_index(&self, mut wanted: impl FnMut(&Hash) -> bool) -> Result<(Index, bool)> {
        let mut index = Index::default();
        let rebuilt = self.each_segment(&mut wanted, &mut |segment| index.add(segment))?;
        Ok((index, rebuilt))
    }

    /// Gives all segments one by one, reduced to the records that are wanted and whose packs are sound. Where a segment
    /// is missing or damaged, the trailers of the packs are read instead; a record may then come twice. True when the
    /// index needs to be written anew.
    pub(super) fn each_segment(
        &self,
        wanted: &mut dyn FnMut(&Hash) -> bool,
        f: &mut dyn FnMut(&Segment),
    ) -> Result<bool> {
        let (mut packs, mut lost, bad) = (Presence::of(self)?, false, self.bad_blocks()?);
        let mut sound = |mut segment: Segment| {
            // Where the last block that is wanted of each pack ends; 0 where none is.
            let mut ends = vec![0; segment.packs.len()];
            for (_, p) in &segment.records {
                let end = &mut ends[p.pack as usize];
                *end = u64::from(p.offset).saturating_add(p.stored.into()).max(*end);
            }
            let good = segment.packs.iter().zip(ends).map(|(id, end)| end == 0 || packs.is_sound(id, end));
            let good: Vec<bool> = good.collect();
            lost |= good.contains(&false);
            let whole = |p: &Place| bad.is_empty() || !bad.contains(&(segment.packs[p.pack as usize], p.offset.into()));
            segment.records.retain(|(_, p)| good[p.pack as usize] && whole(p));
            f(&segment);
        };
        match self.read_segments(wanted, &mut sound) {
            Err(e) if matches!(e.kind(), ErrorKind::Integrity | ErrorKind::NotFound) => {
                // A store without packs is new, not damaged.
                self.read_trailers(wanted, &mut sound)?;
                Ok(!self.pack_ids()?.is_empty())
            }
            done => done.map(|()| lost),
        }
    }

    /// Whether a pack is there from its first byte to its last.
    pub(super) fn is_sound(&self, id: &Hash) -> bool {
        self.read_footer(id).is_ok()
    }

    /// Blocks that a check found damaged: pack and offset. What is in them counts as missing.
    pub(super) fn bad_blocks(&self) -> Result<HashSet<(Hash, u64)>> {
        let text = match self.blobs().get(BAD, CURRENT_LIMIT) {
            // What a server could not tell is not the same as nothing.
            Err(e) if e.kind() == ErrorKind::Network => return Err(e),
            text => text.unwrap_or_default(),
        };
        let line = |l: &str| {
            let (pack, offset) = l.split_once(' ')?;
            Some((pack.parse().ok()?, offset.parse().ok()?))
        };
        Ok(String::from_utf8_lossy(&text).lines().filter_map(line).collect())
    }

    pub(super) fn note_bad_blocks(&self, blocks: &HashSet<(Hash, u64)>) -> Result<()> {
        let mut lines: Vec<String> = blocks.iter().map(|(pack, offset)| format!("{pack} {offset}\n")).collect();
        lines.sort_unstable();
        // The index that this handle keeps knows nothing of it.
        *locked(&self.0.index) = CachedIndex::default();
        self.blobs().put(BAD, lines.concat().as_bytes())
    }

    /// Writes the index anew from the trailers of all packs, and removes segments that are damaged.
    pub(super) fn heal_index(&self) -> Result<()> {
        let (mut names, mut segment) = (Vec::new(), Segment::default());
        for id in self.pack_ids()? {
            let Some(blocks) = self.whole_trailer(&id)? else { continue };
            let infos: Vec<BlockInfo> = blocks.into_iter().map(|(_, b)| b).collect();
            let number = segment.packs.len() as u32;
            add_records(&mut segment, number, &infos);
            segment.packs.push(id);
            if segment.records.len() >= SEGMENT_RECORDS {
                names.push(self.write_segment(&mut std::mem::take(&mut segment))?);
            }
        }
        if !segment.packs.is_empty() {
            names.push(self.write_segment(&mut segment)?);
        }
        names.sort_unstable();
        self.blobs().put(CURRENT, format!("{}\n", names.join("\n")).as_bytes())?;
        let mut there = Presence::of(self)?;
        for name in self.segment_names()? {
            let key = format!("idx/{name}.idx");
            let whole = self.blobs().get(&key, SEGMENT_LIMIT).ok().filter(|b| Hash::of(b).to_string() == name);
            let packs = whole.and_then(|bytes| Segment::decode(&bytes, |_| false).ok()).map(|s| s.packs);
            if packs.is_none_or(|packs| !packs.iter().all(|p| there.is_sound(p, 0))) {
                self.blobs().delete(&key)?;
            }
        }
        Ok(())
    }

    pub(super) fn read_segments(
        &self,
        wanted: &mut dyn FnMut(&Hash) -> bool,
        f: &mut dyn FnMut(Segment),
    ) -> Result<()> {
        // Without CURRENT nobody knows whether the segments that are there are all.
        self.current()?;
        for name in self.segment_names()? {
            let key = format!("idx/{name}.idx");
            let bytes = self.blobs().get(&key, SEGMENT_LIMIT)?;
            if Hash::of(&bytes).to_string() != name {
                return Err(Error::integrity(format!("{key} is damaged")).fact("object", key));
            }
            f(Segment::decode(&bytes, &mut *wanted)?);
        }
        Ok(())
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
        for listed in self.blobs().list("idx")? {
            names.extend(listed.strip_suffix(".idx").filter(|n| n.parse::<Hash>().is_ok()).map(str::to_owned));
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    pub(super) fn read_trailers(
        &self,
        wanted: &mut dyn FnMut(&Hash) -> bool,
        f: &mut dyn FnMut(Segment),
    ) -> Result<()> {
        for id in self.pack_ids()? {
            // A pack that cannot be read holds nothing; `check` names it.
            let Some(blocks) = self.whole_trailer(&id)? else { continue };
            let mut segment = Segment { packs: vec![id], records: Vec::new() };
            let infos: Vec<BlockInfo> = blocks.into_iter().map(|(_, b)| b).collect();
            add_records(&mut segment, 0, &infos);
            segment.records.retain(|(h, _)| wanted(h));
            f(segment);
        }
        Ok(())
    }

    pub(super) fn pack_ids(&self) -> Result<Vec<Hash>> {
        let mut out = Vec::new();
        for dir in self.blobs().list("packs")? {
            let names = self.blobs().list(&format!("packs/{dir}"))?;
            out.extend(names.iter().filter_map(|n| n.strip_suffix(".pack")?.parse::<Hash>().ok()));
        }
        Ok(out)
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
    fn whole_trailer(&self, id: &Hash) -> Result<Option<Vec<(u64, BlockInfo)>>> {
        match self.read_trailer(id) {
            // A pack that cannot be reached is not one that holds nothing.
            Err(e) if e.kind() == ErrorKind::Network => Err(e),
            read => Ok(read.ok()),
        }
    }

    pub(super) fn write_segment(&self, segment: &mut Segment) -> Result<String> {
        let bytes = segment.encode();
        let name = Hash::of(&bytes).to_string();
        self.blobs().put(&format!("idx/{name}.idx"), &bytes)?;
        Ok(name)
    }

    pub(super) fn note_segments(&self, names: &[String]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let mut all = self.segment_names()?;
        all.extend_from_slice(names);
        all.sort_unstable();
        all.dedup();
        self.blobs().put(CURRENT, format!("{}\n", all.join("\n")).as_bytes())
    }

    /// Looks a set of chunks up for [`Store::find`].
    pub(super) fn warm_index(&self, wanted: impl FnMut(&Hash) -> bool) -> Result<()> {
        let (index, _) = self.load_index(wanted)?;
        let mut cached = locked(&self.0.index);
        if !cached.complete {
            cached.index = index;
        }
        Ok(())
    }

    /// Where a chunk lies. Once a chunk is not among those that were warmed, the whole index is loaded and kept.
    pub(super) fn find(&self, hash: &Hash) -> Result<Option<(Hash, Place)>> {
        let mut cached = locked(&self.0.index);
        let found = |c: &CachedIndex| c.index.get(hash).map(|p| (c.index.packs()[p.pack as usize], p));
        if let Some(place) = found(&cached) {
            return Ok(Some(place));
        }
        *cached = CachedIndex { index: self.load_index(|_| true)?.0, complete: true };
        Ok(found(&cached))
    }
}

pub(super) fn add_records(segment: &mut Segment, number: u32, blocks: &[BlockInfo]) {
    let mut at = pack::MAGIC.len() as u32;
    for info in blocks {
        segment.records.extend(session::records_of(number, at, info));
        at += info.stored;
    }
}
