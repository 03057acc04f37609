//! Checking a store: every object verified, every fault with the images it touches (`store-format.md` §7).

use super::name::check_name;
use super::release::Refs;
use super::{ChunkSource, Store, image::each_item};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::image::block::{BlockInfo, BlockOpener};
use crate::image::row::{Kind, Value};
use crate::image::rules::Rules;
use crate::image::{ChunkSet, Content, Hash, Item, Manifest, Row};
use crate::job::Task;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// So many lost generations of a name are told; beyond it a stray number would make a list without end.
const MOST_LOST: u64 = 1_000;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The object: its key in the store.
    pub object: String,
    /// What is wrong with it.
    pub message: String,
    /// The images that it touches: their ids.
    pub images: Vec<String>,
}

/// What a check found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Images (manifests) checked.
    pub images: u64,
    /// Releases checked.
    pub releases: u64,
    /// Packs checked.
    pub packs: u64,
    /// Blocks that were read and decompressed, with `read_data`.
    pub blocks: u64,
    /// Packs that no image needs; no fault.
    pub unreferenced_packs: u64,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

impl Report {
    /// The report as an error when there are faults.
    ///
    /// # Errors
    /// `Integrity` with the faults as facts.
    pub fn ok(&self) -> Result<()> {
        ok(&self.faults)
    }
}

/// Faults as an error.
pub(super) fn ok(faults: &[Fault]) -> Result<()> {
    let Some(first) = faults.first() else { return Ok(()) };
    let images: BTreeSet<&String> = faults.iter().flat_map(|f| &f.images).collect();
    Err(Error::integrity(format!("{} faults, the first: {}: {}", faults.len(), first.object, first.message))
        .fact("faults", serde_json::to_value(faults).unwrap_or_default())
        .fact("images", images.into_iter().cloned().collect::<Vec<_>>()))
}

impl Store {
    /// Checks the store; with `read_data` every block is read, decompressed and hashed as well. What is in a damaged
    /// block counts as missing from then on, so that the next capture stores it again.
    ///
    /// # Errors
    /// `Cancelled`, and what keeps the check itself from running; faults of the store are in the report.
    pub fn check(&self, read_data: bool, task: &Task) -> Result<Report> {
        // What is wrong with a store does not depend on whom somebody believes.
        Checker::new(&self.plain(), task).run(read_data)
    }

    /// As [`Store::check`] with all data, for a repair: it goes by what is noted, so that what cannot be is an error.
    pub(super) fn check_to_repair(&self, task: &Task) -> Result<Report> {
        Checker { must_note: true, ..Checker::new(&self.plain(), task) }.run(true)
    }
}

/// What is no fault of the store, but the end of the check: above all, a block that did not come is not a damaged one.
fn ends(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Cancelled | ErrorKind::Network)
}

struct Checker<'s> {
    store: &'s Store,
    task: &'s Task,
    report: Report,
    /// Chunks that are where a good trailer says, with the number of the pack.
    places: HashMap<Hash, u32>,
    packs: Vec<(Hash, Vec<(u64, BlockInfo)>)>,
    needed: Vec<BTreeSet<Hash>>,
    /// Chunks that only a damaged block has.
    hurt: HashMap<Hash, (u32, u64)>,
    /// Damaged blocks, with the images that need a chunk that nothing else has.
    harm: BTreeMap<(u32, u64), BTreeSet<Hash>>,
    /// The images that generations lead to.
    live: HashSet<Hash>,
    /// That damaged blocks cannot be noted ends the check.
    must_note: bool,
}

impl<'s> Checker<'s> {
    fn new(store: &'s Store, task: &'s Task) -> Self {
        let report = Report { images: 0, releases: 0, packs: 0, blocks: 0, unreferenced_packs: 0, faults: Vec::new() };
        Self {
            store,
            task,
            report,
            places: HashMap::new(),
            packs: Vec::new(),
            needed: Vec::new(),
            hurt: HashMap::new(),
            harm: BTreeMap::new(),
            live: HashSet::new(),
            must_note: false,
        }
    }

    fn fault(&mut self, object: impl Into<String>, message: impl Into<String>, images: Vec<String>) {
        self.report.faults.push(Fault { object: object.into(), message: message.into(), images });
    }

    fn run(mut self, read_data: bool) -> Result<Report> {
        self.task.stage("check", 0, Unit::Steps);
        // Before the packs: an image that comes meanwhile may be in packs that come meanwhile.
        let ids = self.store.image_ids()?;
        self.trailers()?;
        self.segments(ids.is_empty())?;
        let bad = if read_data { Some(self.blocks()?) } else { None };
        let why = self.places(bad)?;
        self.live = self.live()?;
        let images = self.images(ids)?;
        self.releases(&images)?;
        self.derived(&images)?;
        // Blocks are read before the images, so that each fault can say whom it touches.
        for ((pack, offset), images) in std::mem::take(&mut self.harm) {
            let touched = images.iter().map(ToString::to_string).collect();
            let object = super::pack_key(&self.packs[pack as usize].0);
            let message = why.get(&(pack, offset)).map_or("an earlier check found it damaged", String::as_str);
            self.fault(object, format!("block at {offset}: {message}"), touched);
        }
        self.report.unreferenced_packs = self.needed.iter().filter(|n| n.is_empty()).count() as u64;
        self.report.faults.sort_by(|a, b| (&a.object, &a.message).cmp(&(&b.object, &b.message)));
        Ok(self.report)
    }

    fn trailers(&mut self) -> Result<()> {
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
                Err(_) if !self.is_there(&super::pack_key(&id))? => self.report.packs -= 1,
                Err(e) => self.fault(super::pack_key(&id), e.to_string(), Vec::new()),
            }
        }
        Ok(())
    }

    fn is_there(&self, key: &str) -> Result<bool> {
        Ok(self.store.blobs().size(key)?.is_some())
    }

    /// The images that generations lead to, as far as they can be read.
    fn live(&self) -> Result<HashSet<Hash>> {
        let (refs, mut out) = (Refs::new(self.store.blobs()), HashSet::new());
        for name in refs.names()? {
            for generation in refs.generations(&name)? {
                if !refs.is_buried(&name, generation)? {
                    out.extend(refs.release(&name, generation).ok().and_then(|r| r.image));
                }
            }
        }
        Ok(out)
    }

    /// Says where each chunk is, if only in a damaged block. `found` are the damaged blocks of this check, if it read them;
    /// then it knows better than those before. Gives what is wrong with them.
    fn places(&mut self, found: Option<BTreeMap<(u32, u64), String>>) -> Result<BTreeMap<(u32, u64), String>> {
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

    /// `began_empty`: no image was there when the check began.
    fn segments(&mut self, began_empty: bool) -> Result<()> {
        match self.store.current() {
            Err(e) if ends(&e) => return Err(e),
            Ok(_) => {}
            // A first writer that was killed has not come so far.
            Err(e) if e.kind() == ErrorKind::NotFound && began_empty => {}
            Err(e) => self.fault(super::locate::CURRENT, e.to_string(), Vec::new()),
        }
        for name in self.store.segment_names()? {
            let Err(e) = self.store.read_segment(&name, &mut |_| false) else { continue };
            if ends(&e) {
                return Err(e);
            }
            // A collection may just have written it anew, under another name.
            if e.kind() != ErrorKind::NotFound || self.store.segment_names()?.contains(&name) {
                let key = super::locate::segment_key(&name);
                self.fault(key, format!("{e}; the trailers of its packs are read meanwhile"), Vec::new());
            }
        }
        Ok(())
    }

    fn blocks(&mut self) -> Result<BTreeMap<(u32, u64), String>> {
        let total = self.packs.iter().flat_map(|(_, b)| b).map(|(_, b)| u64::from(b.stored)).sum();
        self.task.stage("read", total, Unit::Bytes);
        let mut opener = BlockOpener::new()?;
        let mut bad = BTreeMap::new();
        let mut buf = Vec::new();
        for (number, (id, blocks)) in self.packs.iter().enumerate() {
            let key = super::pack_key(id);
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

    fn images(&mut self, ids: Vec<Hash>) -> Result<HashMap<Hash, Hash>> {
        self.task.stage("images", ids.len() as u64, Unit::Steps);
        let mut trees = HashMap::new();
        for id in ids {
            self.task.check()?;
            self.report.images += 1;
            let key = super::image_key(&id);
            let image = self.store.image_by_id(id);
            trees.extend(image.as_ref().ok().map(|image| (id, image.tree_id())));
            let remains = image.is_ok() && !self.live.contains(&id);
            match image.and_then(|image| self.tree(id, image.manifest())) {
                Ok(()) => {}
                Err(e) if ends(&e) => return Err(e),
                // A collection has just deleted it, and then what it needed.
                Err(_) if !self.is_there(&key)? => self.report.images -= 1,
                // Nothing leads to it: a writer slept too long, and what it had stored was collected.
                Err(_) if remains => {}
                Err(e) => self.fault(key, e.to_string(), vec![id.to_string()]),
            }
            self.task.advance(1);
        }
        Ok(trees)
    }

    /// Reads all pages and lists of an image and looks every chunk up.
    fn tree(&mut self, id: Hash, manifest: &Manifest) -> Result<()> {
        let mut pages = ChunkSet::default();
        manifest.pages.iter().for_each(|p| {
            pages.insert(p.hash, p.bytes);
        });
        self.store.expect(&pages)?;
        let image = self.store.image_by_id(id)?;
        let (mut rules, mut lost) = (Rules::default(), BTreeSet::new());
        for p in &manifest.pages {
            self.task.check()?;
            self.need(id, &p.hash, &mut lost);
            for row in image.page(p)? {
                let counts = rules.row(&row)?;
                self.row(id, &row, counts, &mut rules, &mut lost)?;
            }
        }
        if rules.finish()? != manifest.totals {
            return Err(Error::integrity("the totals of the manifest are not those of its rows"));
        }
        match lost.len() {
            0 => Ok(()),
            n => {
                let first = lost.first().map(ToString::to_string).unwrap_or_default();
                Err(Error::integrity(format!("{n} chunks are missing, the first is {first}")))
            }
        }
    }

    fn row(&mut self, id: Hash, row: &Row, counts: bool, rules: &mut Rules, lost: &mut BTreeSet<Hash>) -> Result<()> {
        for x in row.xattrs.iter() {
            if let Value::Far { hash, .. } = &x.value {
                self.need(id, hash, lost);
            }
        }
        let Kind::File { content, size } = &row.kind else { return Ok(()) };
        if let Content::Far { lists, .. } = content {
            lists.iter().for_each(|(_, h)| self.need(id, h, lost));
        }
        if !counts {
            return Ok(());
        }
        let far = matches!(content, Content::Far { .. });
        let mut sum = 0u64;
        let mut hashes = Vec::new();
        each_item(self.store, content, |item| {
            sum = sum.saturating_add(item.length());
            if far {
                rules.list(std::slice::from_ref(item));
            }
            if let Item::Chunk { hash, .. } = item {
                hashes.push(*hash);
            }
            Ok(())
        })?;
        hashes.iter().for_each(|h| self.need(id, h, lost));
        if sum == *size { Ok(()) } else { Err(Error::integrity("the pieces of a file do not add up to its size")) }
    }

    fn need(&mut self, id: Hash, hash: &Hash, lost: &mut BTreeSet<Hash>) {
        match self.places.get(hash) {
            Some(&pack) => {
                self.needed[pack as usize].insert(id);
                if let Some(block) = self.hurt.get(hash) {
                    self.harm.entry(*block).or_default().insert(id);
                }
            }
            None => {
                lost.insert(*hash);
            }
        }
    }

    fn releases(&mut self, trees: &HashMap<Hash, Hash>) -> Result<()> {
        let refs = Refs::new(self.store.blobs());
        for place in ["refs", "tags"] {
            for name in self.store.blobs().list(place)?.iter().filter(|n| check_name(n).is_err()) {
                self.fault(format!("{place}/{name}"), "it has no place in a store", Vec::new());
            }
        }
        for name in refs.names()? {
            self.numbers(&refs, &name)?;
            for generation in refs.generations(&name)? {
                self.report.releases += 1;
                let object = format!("refs/{name}/{generation:016}");
                match refs.release(&name, generation) {
                    Ok(r) => {
                        if let Some(id) = r.image
                            && !refs.is_buried(&name, generation)?
                            && trees.get(&id) != r.tree.as_ref()
                            && self.store.image_by_id(id).map(|i| i.tree_id()).ok() != r.tree
                        {
                            self.fault(object, format!("its image {id} is missing or another"), vec![id.to_string()]);
                        }
                    }
                    Err(e) if ends(&e) => return Err(e),
                    Err(e) => self.fault(object, e.to_string(), Vec::new()),
                }
            }
        }
        self.tags(&refs)
    }

    /// Derived files need their chunks as long as their image is there; damage is the image's.
    fn derived(&mut self, images: &HashMap<Hash, Hash>) -> Result<()> {
        for object in self.store.stray_derived()? {
            self.fault(object, "it has no place in a store", Vec::new());
        }
        for (id, name) in self.store.all_derived()? {
            self.task.check()?;
            let object = format!("blobs/{id}/{}-{}", name.kind, name.params);
            let touched = vec![id.to_string()];
            if !images.contains_key(&id) {
                self.fault(object, format!("its image {id} is missing"), touched);
                continue;
            }
            let chunks = match self.store.any_derived(&id, &name).and_then(|d| d.map(|d| d.chunks()).transpose()) {
                Ok(Some(chunks)) => chunks,
                Ok(None) => continue,
                Err(e) => {
                    self.fault(object, e.to_string(), touched);
                    continue;
                }
            };
            let mut lost = BTreeSet::new();
            chunks.chunks().iter().for_each(|(hash, _)| self.need(id, hash, &mut lost));
            if let Some(first) = lost.first() {
                let message = format!("{} chunks are missing, the first is {first}", lost.len());
                self.fault(object, message, touched);
            }
        }
        Ok(())
    }

    /// Generations are 1, 2, 3 …; one that was lost is a fault until it is removed.
    fn numbers(&mut self, refs: &Refs<'_>, name: &str) -> Result<()> {
        // HEAD first: what is published meanwhile is listed, and not lost.
        let said = refs.said(name)?;
        let there = refs.generations(name)?;
        let highest = there.last().copied().max(said).unwrap_or(0);
        if there.is_empty() && said.is_none() {
            // A writer that was killed leaves an empty directory at most.
            if self.store.blobs().size(&format!("refs/{name}")).is_ok_and(|file| file.is_some()) {
                self.fault(format!("refs/{name}"), "it has no place in a store", Vec::new());
            }
            return Ok(());
        }
        // A writer that was killed in between leaves the first generation without HEAD.
        if refs.hint(name)? == 0 && (said.is_some() || highest > 1) {
            self.fault(format!("refs/{name}/HEAD"), "it is missing or damaged", Vec::new());
        }
        let mut listed = there.iter().copied().peekable();
        let mut lost = Vec::new();
        for n in 1..=highest.min(there.len() as u64 + MOST_LOST) {
            if listed.next_if_eq(&n).is_none() && !refs.is_buried(name, n)? {
                lost.push(n);
            }
        }
        for n in lost {
            self.fault(format!("refs/{name}/{n:016}"), "this generation is lost", Vec::new());
        }
        Ok(())
    }

    fn tags(&mut self, refs: &Refs<'_>) -> Result<()> {
        for name in self.store.blobs().list("tags")?.iter().filter(|n| check_name(n).is_ok()) {
            for tag in self.store.blobs().list(&format!("tags/{name}"))? {
                let object = format!("tags/{name}/{tag}");
                if check_name(&tag).is_err() {
                    self.fault(object, "it has no place in a store", Vec::new());
                    continue;
                }
                match refs.tag(name, &tag) {
                    Ok(Some(generation)) if !refs.generations(name)?.contains(&generation) => {
                        self.fault(object, format!("it points to generation {generation}, which is lost"), Vec::new());
                    }
                    Ok(_) => {}
                    Err(e) if ends(&e) => return Err(e),
                    Err(e) => self.fault(object, e.to_string(), Vec::new()),
                }
            }
        }
        Ok(())
    }
}
