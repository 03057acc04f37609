//! Packs, their blocks and the index: what is there, and where each chunk is.

use super::{Checker, ends};
use crate::error::{ErrorKind, Result};
use crate::event::Unit;
use crate::image::Hash;
use crate::image::block::BlockOpener;
use crate::store::{locate, pack_key};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

impl Checker<'_> {
    pub(super) fn trailers(&mut self) -> Result<()> {
        for id in self.store.pack_ids()? {
            self.task.check()?;
            self.report.packs += 1;
            match self.store.read_trailer(&id) {
                Ok(blocks) => {
                    self.packs.push((id, blocks));
                    self.needed.push(BTreeSet::new());
                }
                Err(e) if ends(&e) => return Err(e),
                // A collection has just deleted it.
                Err(_) if !self.is_there(&pack_key(&id))? => self.report.packs -= 1,
                Err(e) => self.fault(pack_key(&id), e.to_string(), Vec::new()),
            }
        }
        Ok(())
    }

    /// `began_empty`: no image was there when the check began.
    pub(super) fn segments(&mut self, began_empty: bool) -> Result<()> {
        match self.store.current() {
            Err(e) if ends(&e) => return Err(e),
            Ok(_) => {}
            // A first writer that was killed has not come so far.
            Err(e) if e.kind() == ErrorKind::NotFound && began_empty => {}
            Err(e) => self.fault(locate::CURRENT, e.to_string(), Vec::new()),
        }
        for name in self.store.segment_names()? {
            let Err(e) = self.store.read_segment(&name, &mut |_| false) else { continue };
            if ends(&e) {
                return Err(e);
            }
            // A collection may just have written it anew, under another name.
            if e.kind() != ErrorKind::NotFound || self.store.segment_names()?.contains(&name) {
                let key = locate::segment_key(&name);
                self.fault(key, format!("{e}; the trailers of its packs are read meanwhile"), Vec::new());
            }
        }
        Ok(())
    }

    pub(super) fn blocks(&mut self) -> Result<BTreeMap<(u32, u64), String>> {
        let total = self.packs.iter().flat_map(|(_, b)| b).map(|(_, b)| u64::from(b.stored)).sum();
        self.task.stage("read", total, Unit::Bytes);
        let mut opener = BlockOpener::new()?;
        let mut bad = BTreeMap::new();
        let mut buf = Vec::new();
        for (number, (id, blocks)) in self.packs.iter().enumerate() {
            let key = pack_key(id);
            for (offset, info) in blocks {
                self.task.check()?;
                buf.resize(info.stored as usize, 0);
                let read = self.store.blobs().get_range(&key, *offset, &mut buf);
                let opened = read.and_then(|()| opener.open(&buf, |_, _| Ok(())));
                match opened {
                    Ok(found) if found == *info => {}
                    Ok(found) => {
                        let differs = found.chunks.iter().zip(&info.chunks).find(|(a, b)| a != b);
                        let why = differs.map_or("it is not the block of the trailer".to_owned(), |(_, (hash, _))| {
                            format!("chunk {hash} has other content")
                        });
                        bad.insert((number as u32, *offset), why);
                    }
                    Err(e) if ends(&e) => return Err(e),
                    Err(e) if e.kind() == ErrorKind::NotFound && !self.is_there(&key)? => {}
                    Err(e) => {
                        bad.insert((number as u32, *offset), e.to_string());
                    }
                }
                self.report.blocks += 1;
                self.task.advance(u64::from(info.stored));
            }
        }
        Ok(bad)
    }

    /// Says where each chunk is, if only in a damaged block. `found` are the damaged blocks of this check, if it read them;
    /// then it knows better than those before. Gives what is wrong with them.
    pub(super) fn places(
        &mut self,
        found: Option<BTreeMap<(u32, u64), String>>,
    ) -> Result<BTreeMap<(u32, u64), String>> {
        let mut known = self.store.bad_blocks()?;
        let before = known.clone();
        if let Some(found) = &found {
            let looked_at: HashSet<Hash> = self.packs.iter().map(|(id, _)| *id).collect();
            known.retain(|(pack, _)| !looked_at.contains(pack));
            known.extend(found.keys().map(|&(pack, offset)| (self.packs[pack as usize].0, offset)));
        }
        let found = found.unwrap_or_default();
        if known != before {
            match self.store.note_bad_blocks(&known) {
                // A store that cannot be written is checked all the same.
                Err(e) if !self.must_note => self.task.warn(format!("the damaged blocks could not be noted: {e}")),
                noted => noted?,
            }
        }
        let is_bad = |id: &Hash, offset: &u64| known.contains(&(*id, *offset));
        let blocks =
            || self.packs.iter().zip(0u32..).flat_map(|((id, b), n)| b.iter().map(move |(o, i)| (n, id, o, i)));
        let mut places = HashMap::new();
        for (number, _, _, info) in blocks().filter(|(_, id, offset, _)| !is_bad(id, offset)) {
            info.chunks.iter().for_each(|(hash, _)| {
                places.entry(*hash).or_insert(number);
            });
        }
        // What only a damaged block has is there, as far as the images are concerned: the fault is the block's.
        for (number, _, &offset, info) in blocks().filter(|(_, id, offset, _)| is_bad(id, offset)) {
            for (hash, _) in &info.chunks {
                if !places.contains_key(hash) {
                    self.hurt.entry(*hash).or_insert((number, offset));
                }
            }
        }
        places.extend(self.hurt.iter().map(|(hash, (number, _))| (*hash, *number)));
        self.places = places;
        Ok(found)
    }
}
