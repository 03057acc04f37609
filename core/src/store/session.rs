//! A writer's session: new chunks become blocks, blocks become packs, packs become known to the index.
//!
//! Any number of threads write at once: each has its own open block, and only the finished ones meet in the pack that
//! is open. No locks are taken on the store, only a lease: two sessions may store the same chunk twice, which harms
//! nobody.
//!
//! Behind a server there is no lease, no index and no file: what is new is asked of its [`Depot`], which takes the packs and
//! publishes (`docs/capture-protocol.md`).

use super::blob::BlobWriter;
use super::depot::{self, Depot};
use super::index::{Index, Place, SEGMENT_RECORDS, Segment};
use super::lease::Lease;
use super::locate::Gaps;
use super::name::check_name;
use super::presence::Presence;
use super::{Image, Reason, Store, image_key, pack_key};
use crate::error::{Error, ErrorKind, Result};
use crate::image::block::{Block, BlockInfo};
use crate::image::chunkset::key;
use crate::image::{Hash, Manifest, pack};
use crate::job::Task;
use hashbrown::HashTable;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

const SHARDS: usize = 64;

/// What has to be done about a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Whoever asked must store it: nobody else will.
    Store,
    /// It is in the store, or another thread of this session stores it.
    Known,
}

/// A session of one writer.
pub struct Session {
    store: Store,
    /// None where the store is behind a server, which has one.
    lease: Option<Arc<Lease>>,
    /// Packs that are not counted on.
    distrusted: HashSet<Hash>,
    known: OnceLock<Known>,
    /// Held by whoever reads the index: the others wait for it.
    reading: Mutex<()>,
    claimed: Vec<Mutex<Claimed>>,
    packs: Mutex<Packs>,
    /// Told when a pack was sealed.
    sealed: Condvar,
    /// Keys of manifests that were not there before.
    manifests: Mutex<Vec<String>>,
    stored: AtomicU64,
}

struct Known {
    index: Index,
    /// The chunks that are counted on, by their numbers.
    used: Vec<AtomicBool>,
    gaps: Gaps,
}

/// Hashes that this session stores; 37 bytes each.
#[derive(Default)]
struct Claimed {
    hashes: Vec<Hash>,
    table: HashTable<u32>,
}

#[derive(Default)]
struct Packs {
    open: Option<OpenPack>,
    /// Whether a full one is on its way to the disk.
    sealing: bool,
    /// Whether blocks could not be stored that others count on.
    lost: bool,
    segment: Segment,
    sealed: Vec<Hash>,
    segments: Vec<String>,
}

struct OpenPack {
    writer: Box<dyn BlobWriter>,
    blocks: Vec<BlockInfo>,
    size: u64,
}

/// A pack is on its way to the disk for as long as this is there.
struct Sealing<'s>(&'s Session);

impl Drop for Sealing<'_> {
    fn drop(&mut self) {
        lock(&self.0.packs).sealing = false;
        self.0.sealed.notify_all();
    }
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    pub(super) fn new(store: &Store, what: &str) -> Result<Self> {
        let lease = match store.blobs().depot() {
            Some(_) => None,
            None => Some(Arc::new(Lease::begin(store, what)?)),
        };
        Ok(Self::with(store, lease))
    }

    /// A session of somebody who has a lease already.
    pub(super) fn under(store: &Store, lease: Arc<Lease>) -> Self {
        Self::with(store, Some(lease))
    }

    fn with(store: &Store, lease: Option<Arc<Lease>>) -> Self {
        Self {
            store: store.clone(),
            lease,
            distrusted: HashSet::new(),
            known: OnceLock::new(),
            reading: Mutex::default(),
            claimed: (0..SHARDS).map(|_| Mutex::default()).collect(),
            packs: Mutex::default(),
            sealed: Condvar::new(),
            manifests: Mutex::default(),
            stored: AtomicU64::new(0),
        }
    }

    /// Whether this session wrote such a pack.
    pub(super) fn wrote(&self, pack: &Hash) -> bool {
        lock(&self.packs).sealed.contains(pack)
    }

    /// Counts on none of these packs.
    pub(super) fn without(mut self, packs: &[Hash]) -> Self {
        self.distrusted.extend(packs);
        self
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn lease(&self) -> Result<&Lease> {
        self.lease.as_deref().ok_or_else(|| {
            Error::unsupported("with a token captures are sent, and nothing else")
                .hint("work on the store where it lies")
        })
    }

    /// The server that takes what this session stores, when the store is behind one.
    fn depot(&self) -> Option<&dyn Depot> {
        self.store.blobs().depot()
    }

    /// Whether what the store holds is known here. Else it is told when something is sent, and at the end.
    pub(crate) fn has_index(&self) -> bool {
        self.depot().is_none()
    }

    /// The index of what the store held at first use, without what will be deleted.
    fn known(&self) -> Result<&Known> {
        if let Some(k) = self.known.get() {
            return Ok(k);
        }
        let _reading = lock(&self.reading);
        if let Some(k) = self.known.get() {
            return Ok(k);
        }
        let (mut index, trash) = (Index::of_all_places(), self.lease()?.trash());
        let lasting = |id: &Hash| !trash.holds(&pack_key(id)) && !self.distrusted.contains(id);
        let gaps = self.store.each_segment(&mut |_| true, &mut |segment| index.add_packs(segment, lasting))?;
        index.settle();
        let used = (0..index.len()).map(|_| AtomicBool::new(false)).collect();
        Ok(self.known.get_or_init(|| Known { index, used, gaps }))
    }

    /// Loads the index now rather than in the middle of the work.
    ///
    /// # Errors
    /// When the index can neither be read nor rebuilt.
    pub fn prepare(&self) -> Result<()> {
        if self.has_index() { self.known().map(|_| ()) } else { Ok(()) }
    }

    /// The index of what the store held at first use, and which of its chunks are counted on.
    pub(super) fn counted_on(&self) -> Option<(&Index, &[AtomicBool])> {
        self.known.get().map(|k| (&k.index, &k.used[..]))
    }

    /// Whether the store has lost something, or something in it is known to be damaged.
    ///
    /// # Errors
    /// When the index can neither be read nor rebuilt.
    pub(crate) fn has_losses(&self) -> Result<bool> {
        Ok(self.known()?.gaps.losses)
    }

    /// Whether the store holds this chunk; notes that it is counted on.
    ///
    /// # Errors
    /// When the index can neither be read nor rebuilt.
    pub fn holds(&self, hash: &Hash) -> Result<bool> {
        let known = self.known()?;
        let chunk = known.index.position(hash);
        if let Some(n) = chunk {
            known.used[n].store(true, Ordering::Relaxed);
        }
        Ok(chunk.is_some())
    }

    /// Says whether a chunk has to be stored, and if so claims it for the caller.
    ///
    /// # Errors
    /// When the index can neither be read nor rebuilt.
    pub fn claim(&self, hash: &Hash) -> Result<Claim> {
        if self.has_index() && self.holds(hash)? { Ok(Claim::Known) } else { Ok(self.claim_anew(hash)) }
    }

    /// Which of these chunks, which were claimed, a server lacks; `None` where they were looked up when they were claimed.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub(super) fn lacking(&self, chunks: &[Hash]) -> Result<Option<Vec<bool>>> {
        self.depot().map(|depot| depot.lacking(chunks)).transpose()
    }

    /// Whether the store holds this chunk, or this session has claimed it.
    ///
    /// # Errors
    /// As [`Session::holds`].
    #[cfg(feature = "server")]
    pub(super) fn has(&self, hash: &Hash) -> Result<bool> {
        let claimed = || {
            let shard = lock(&self.claimed[hash.0[31] as usize % SHARDS]);
            shard.table.find(key(hash), |&i| shard.hashes[i as usize] == *hash).is_some()
        };
        Ok(self.holds(hash)? || claimed())
    }

    /// As [`Session::claim`], of a chunk that is to be stored although the store has it.
    pub(super) fn claim_anew(&self, hash: &Hash) -> Claim {
        let mut shard = lock(&self.claimed[hash.0[31] as usize % SHARDS]);
        let Claimed { hashes, table } = &mut *shard;
        match table.entry(key(hash), |&i| hashes[i as usize] == *hash, |&i| key(&hashes[i as usize])) {
            hashbrown::hash_table::Entry::Occupied(_) => Claim::Known,
            hashbrown::hash_table::Entry::Vacant(e) => {
                e.insert(hashes.len() as u32);
                hashes.push(*hash);
                Claim::Store
            }
        }
    }

    /// Bytes of the blocks that this session has stored so far, without a pack that is on its way to the disk.
    pub(super) fn written(&self) -> u64 {
        lock(&self.packs).open.as_ref().map_or(0, |open| open.size) + self.stored.load(Ordering::Relaxed)
    }

    /// Adds a finished block to the open pack.
    ///
    /// # Errors
    /// `Limit` when there is no room.
    pub fn add(&self, block: Block<'_>) -> Result<()> {
        let stored = u64::from(block.info.stored);
        let (added, full) = {
            let mut packs = lock(&self.packs);
            let close_at = if self.has_index() { pack::CLOSE_AT } else { depot::CLOSE_AT };
            let is_full = |p: &mut OpenPack| p.size + stored > close_at || p.blocks.len() == pack::BLOCK_LIMIT;
            // A second pack may be filled meanwhile, and no third: a remote store has all that is not sealed in memory.
            while packs.sealing && packs.open.as_mut().is_some_and(is_full) {
                packs = self.sealed.wait(packs).unwrap_or_else(PoisonError::into_inner);
            }
            let full = packs.open.take_if(is_full);
            packs.sealing |= full.is_some();
            // Taken out until all of the block is in it: of a part of one nobody would know.
            let added = packs.open.take().map_or_else(|| self.open(), Ok).and_then(|mut open| {
                block.pieces.iter().filter(|p| !p.is_empty()).try_for_each(|piece| open.writer.append(piece))?;
                open.size += stored;
                open.blocks.push(block.info);
                packs.open = Some(open);
                Ok(())
            });
            packs.lost |= added.is_err();
            (added, full)
        };
        full.map_or(Ok(()), |pack| self.seal(pack)).and(added)
    }

    fn open(&self) -> Result<OpenPack> {
        let mut writer = self.store.blobs().writer()?;
        writer.append(pack::MAGIC)?;
        Ok(OpenPack { writer, blocks: Vec::new(), size: pack::MAGIC.len() as u64 })
    }

    /// Makes a pack durable, one at a time. Nothing is locked meanwhile: the other threads fill the next one.
    fn seal(&self, pack: OpenPack) -> Result<()> {
        let _sealing = Sealing(self);
        let sealed = self.make_durable(pack);
        lock(&self.packs).lost |= sealed.is_err();
        sealed
    }

    fn make_durable(&self, mut pack: OpenPack) -> Result<()> {
        let trailer = pack::encode_trailer(&pack.blocks);
        pack.writer.append(&trailer)?;
        pack.writer.append(&pack::encode_footer(&trailer))?;
        let id = Hash::of(&trailer);
        if let Some(lease) = &self.lease {
            lease.keep(&pack_key(&id))?;
        }
        pack.writer.finish(&pack_key(&id))?;
        self.stored.fetch_add(pack.size + (trailer.len() + pack::FOOTER) as u64, Ordering::Relaxed);
        if !self.has_index() {
            return Ok(());
        }
        let full = {
            let mut packs = lock(&self.packs);
            packs.sealed.push(id);
            let number = packs.segment.packs.len() as u32;
            packs.segment.packs.push(id);
            super::locate::add_records(&mut packs.segment, number, &pack.blocks);
            (packs.segment.records.len() >= SEGMENT_RECORDS).then(|| std::mem::take(&mut packs.segment))
        };
        full.map_or(Ok(()), |segment| self.write_segment(segment))
    }

    fn write_segment(&self, mut segment: Segment) -> Result<()> {
        if segment.packs.is_empty() {
            return Ok(());
        }
        let key = self.store.write_segment(&mut segment)?;
        lock(&self.packs).segments.push(key);
        Ok(())
    }

    /// Seals the last pack, makes everything known to the index, and looks once more at each pack that this session
    /// counted on: a writer that was asleep for long may have missed a collection. Gives the bytes stored. No thread may add
    /// anything meanwhile.
    ///
    /// # Errors
    /// `Conflict` when a pack has gone meanwhile: the work has to be done again. `Failed` when a block could not be stored,
    /// whoever was told so.
    pub fn finish(&self) -> Result<u64> {
        if lock(&self.packs).lost {
            return Err(Error::new(ErrorKind::Failed, "not all could be stored"));
        }
        let last = lock(&self.packs).open.take();
        last.map_or(Ok(()), |pack| self.seal(pack))?;
        if !self.has_index() {
            return Ok(self.stored.load(Ordering::Relaxed));
        }
        let segment = std::mem::take(&mut lock(&self.packs).segment);
        self.store.forgive(&lock(&self.packs).sealed)?;
        self.write_segment(segment)?;
        let mut packs = lock(&self.packs);
        let Some(known) = self.known.get() else {
            self.store.note_segments(&packs.segments)?;
            return Ok(self.stored.load(Ordering::Relaxed));
        };
        let filled = self.store.fill_gaps(&known.gaps)?;
        packs.segments.extend(filled);
        self.store.note_segments(&packs.segments)?;
        let mut there = Presence::of(&self.store)?;
        let used = known.index.records().iter().zip(&known.used).filter(|(_, used)| used.load(Ordering::Relaxed));
        let packs: HashSet<u32> = used.map(|((_, place), _)| place.pack).collect();
        for id in packs.into_iter().map(|n| &known.index.packs()[n as usize]) {
            if !there.is_sound(id, 0) {
                return Err(
                    Error::new(ErrorKind::Conflict, format!("pack {id} was removed meanwhile")).hint("do it again")
                );
            }
        }
        Ok(self.stored.load(Ordering::Relaxed))
    }

    /// Ends a session that met a full disk: what it stored is given back, unless somebody may count on it.
    pub(crate) fn give_back(self, task: &Task) {
        let Self { store, packs, manifests, lease, .. } = self;
        let packs = packs.into_inner().unwrap_or_else(PoisonError::into_inner).sealed;
        let mut keys = manifests.into_inner().unwrap_or_else(PoisonError::into_inner);
        keys.extend(packs.iter().map(pack_key));
        drop(lease);
        if let Err(e) = store.give_back(&keys, task) {
            task.log(format!("what was stored stays until it is collected: {e}"));
        }
    }

    /// Writes a manifest, whose chunks must be durable.
    pub(super) fn put_manifest(&self, manifest: &Manifest) -> Result<Hash> {
        let (id, new) = self.store.put_manifest(self.lease()?, manifest)?;
        if new {
            lock(&self.manifests).push(image_key(&id));
        }
        Ok(id)
    }

    /// Writes a manifest, whose chunks must be durable, and publishes it as the next generation of `name`.
    ///
    /// # Errors
    /// `Conflict` when `expect` is given and is not the generation that is newest, or when the store was collected while
    /// this writer was asleep; nothing is published then.
    pub fn publish(&self, name: &str, manifest: &Manifest, reason: Reason, expect: Option<u64>) -> Result<Image> {
        let name = check_name(name)?;
        let id = self.put_manifest(manifest)?;
        self.store.publish(self.lease()?, name, (id, manifest.tree_id()), reason, expect)
    }

    /// As [`Session::publish`], with a tag for the new generation.
    ///
    /// # Errors
    /// As [`Session::publish`].
    pub(crate) fn publish_tagged(
        &self,
        name: &str,
        manifest: &Manifest,
        reason: Reason,
        expect: Option<u64>,
        tag: Option<&str>,
    ) -> Result<Image> {
        let Some(depot) = self.depot() else {
            let image = self.publish(name, manifest, reason, expect)?;
            if let (Some(tag), Some(release)) = (tag, image.release()) {
                self.store.advance_tag(name, tag, release.generation)?;
            }
            return Ok(image);
        };
        depot.allows(name)?;
        let generation = depot.publish(manifest, expect, tag)?;
        self.store.image(&format!("{name}@{generation}"))
    }

    /// Points a tag to a generation, unless it points to a later one.
    ///
    /// # Errors
    /// As [`Store::advance_tag`].
    pub(crate) fn advance_tag(&self, name: &str, tag: &str, generation: u64) -> Result<()> {
        match self.depot() {
            Some(depot) => depot.tag(tag, generation),
            None => self.store.advance_tag(name, tag, generation),
        }
    }
}

/// A place for records of a pack's blocks.
pub(super) fn records_of(pack: u32, at: u32, info: &BlockInfo) -> impl Iterator<Item = (Hash, Place)> + '_ {
    let stored = info.stored;
    info.chunks.iter().map(move |&(hash, length)| (hash, Place { pack, offset: at, stored, length }))
}
