//! Where chunks come from: a store, wherever it lies, and later multicast. Blocks may come in any order.

use super::ahead::Ahead;
use super::blocks::is_wrong;
use super::choice::{Blocks, Choice};
use super::elsewhere::Instead;
use super::index::Place;
use super::{Store, locked};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{ChunkSet, Hash};
use std::collections::HashSet;
use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Something that delivers chunks by name.
pub trait ChunkSource: Send + Sync {
    /// One chunk of `length` bytes, verified: for pages, lists, attribute values and single files.
    ///
    /// # Errors
    /// `Integrity` when the chunk is missing or damaged.
    fn chunk(&self, hash: &Hash, length: u32) -> Result<Vec<u8>>;

    /// Says which chunks will be asked for one by one, so that the source can look them up together.
    ///
    /// # Errors
    /// Whatever keeps them from being looked up; a chunk that is missing is no error yet.
    fn expect(&self, chunks: &ChunkSet) -> Result<()>;

    /// Begins to deliver the blocks that hold the chunks of `wanted`.
    ///
    /// # Errors
    /// `Integrity` when a chunk is nowhere.
    fn feed<'a>(&'a self, wanted: &'a ChunkSet) -> Result<Box<dyn BlockFeed + 'a>>;
}

/// Blocks on their way; several threads may take from one feed.
pub trait BlockFeed: Send + Sync {
    /// Puts the next block, as stored and not verified, into `block`, and says where it comes from. `None` at the end.
    ///
    /// # Errors
    /// Whatever keeps the block from coming.
    fn next(&self, block: &mut StoredBlock) -> Result<Option<Origin>>;

    /// Puts another copy of a block, which turned out damaged, into `block`; false when there is none.
    ///
    /// # Errors
    /// Whatever keeps it from coming.
    fn again(&self, _origin: Origin, _block: &mut StoredBlock) -> Result<bool> {
        Ok(false)
    }

    /// Gives up a block that is damaged in each copy: what is wanted of it comes in others. False when some of it is nowhere else.
    ///
    /// # Errors
    /// Whatever keeps others from being found.
    fn replace(&self, _origin: Origin) -> Result<bool> {
        Ok(false)
    }

    /// What happened since the last call that whoever watches should know.
    fn take_notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What several blocks came in.
pub trait Whole: AsRef<[u8]> + Send + Sync {}

impl<T: AsRef<[u8]> + Send + Sync> Whole for T {}

/// The bytes of a block: in memory that the next one uses again, or in a part of what came with others.
#[derive(Default)]
pub struct StoredBlock {
    own: Vec<u8>,
    part: Option<(Arc<dyn Whole>, Range<usize>)>,
}

impl StoredBlock {
    /// Memory for a block of so many bytes.
    pub fn own(&mut self, bytes: usize) -> &mut [u8] {
        self.part = None;
        self.own.resize(bytes, 0);
        &mut self.own
    }

    /// Takes memory that holds a block, and gives back that of the one before.
    pub fn replace(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        self.part = None;
        std::mem::replace(&mut self.own, bytes)
    }

    /// Takes a part of what several blocks came in; nothing is copied. `None`, and an empty block, when it reaches beyond.
    pub fn share(&mut self, whole: Arc<dyn Whole>, part: Range<usize>) -> Option<()> {
        self.own.clear();
        self.part = (*whole).as_ref().get(part.clone()).is_some().then_some((whole, part));
        self.part.as_ref().map(|_| ())
    }
}

impl Deref for StoredBlock {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.part {
            Some((whole, part)) => &(**whole).as_ref()[part.clone()],
            None => &self.own,
        }
    }
}

/// Where a block comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The pack.
    pub pack: Hash,
    /// Offset of the block in the pack.
    pub offset: u64,
}

impl Origin {
    /// Adds the place to the facts of an error about the block.
    #[must_use]
    pub fn explain(&self, e: Error) -> Error {
        e.fact("pack", self.pack.to_string()).fact("offset", self.offset)
    }

    /// An error of reading the pack; that it is not there, although the index names it, is damage.
    pub(super) fn gone(&self, e: Error) -> Error {
        match e.kind() {
            ErrorKind::NotFound => self.explain(Error::integrity(format!("pack {} is missing", self.pack))),
            _ => e,
        }
    }
}

impl ChunkSource for Store {
    fn chunk(&self, hash: &Hash, length: u32) -> Result<Vec<u8>> {
        let (pack, place) = self.find(hash)?.ok_or_else(|| missing(hash))?;
        let mut read = self.chunk_at(hash, length, pack, place);
        if read.is_err() && !self.is_sound(&pack) {
            // A collection has stored it anew since the index was read; or it is lost.
            self.forget_index();
            let (pack, place) = self.find(hash)?.ok_or_else(|| missing(hash))?;
            read = self.chunk_at(hash, length, pack, place);
        }
        read.or_else(|e| self.chunk_elsewhere(hash, length, (pack, place.offset), e))
    }

    fn expect(&self, chunks: &ChunkSet) -> Result<()> {
        self.warm_index(chunks)
    }

    fn feed<'a>(&'a self, wanted: &'a ChunkSet) -> Result<Box<dyn BlockFeed + 'a>> {
        // Straight from the segments: an index of the wanted chunks would cost more than the set.
        let mut choice = Choice::new(wanted);
        self.each_segment(&mut |h| wanted.contains(h), &mut |segment| choice.add(segment))?;
        let Blocks { packs, blocks } = choice.settle().map_err(|hash| missing(&hash))?;
        if self.blobs().is_remote() {
            return Ok(Box::new(Ahead::start(self, wanted, packs, blocks)?));
        }
        let (next, instead) = (AtomicUsize::new(0), Mutex::default());
        Ok(Box::new(LocalFeed { store: self, wanted, packs, blocks, next, instead }))
    }
}

impl Store {
    /// A chunk that is damaged at one place, from another one; the error is that of the first.
    fn chunk_elsewhere(&self, hash: &Hash, length: u32, at: (Hash, u32), e: Error) -> Result<Vec<u8>> {
        let mut damaged = HashSet::from([at]);
        while is_wrong(&e)
            && let Some((pack, place)) = self.find_elsewhere(hash, &damaged)?
        {
            match self.chunk_at(hash, length, pack, place) {
                Err(e) if is_wrong(&e) => _ = damaged.insert((pack, place.offset)),
                read => return read,
            }
        }
        Err(e)
    }

    /// All rows of an image that are in this block were read.
    pub(super) fn close_block(&self, pack: Hash, place: Place) {
        let offset = u64::from(place.offset);
        self.open_blocks().close(Origin { pack, offset });
        self.blobs().was_read(&super::pack_key(&pack), offset, place.stored);
    }

    fn chunk_at(&self, hash: &Hash, length: u32, pack: Hash, place: Place) -> Result<Vec<u8>> {
        let origin = Origin { pack, offset: u64::from(place.offset) };
        let found = self.open_blocks().chunk(self, origin, place.stored, hash)?;
        found.filter(|b| b.len() == length as usize).ok_or_else(|| {
            let e = Error::integrity(format!("chunk {hash} is not where the index says"));
            origin.explain(e.fact("chunk", hash.to_string()))
        })
    }
}

pub(super) fn missing(hash: &Hash) -> Error {
    Error::integrity(format!("chunk {hash} is missing from the store")).fact("chunk", hash.to_string())
}

struct LocalFeed<'s> {
    store: &'s Store,
    wanted: &'s ChunkSet,
    packs: Vec<Hash>,
    blocks: Vec<(u32, u32, u32)>,
    next: AtomicUsize,
    instead: Mutex<Instead>,
}

impl BlockFeed for LocalFeed<'_> {
    fn next(&self, block: &mut StoredBlock) -> Result<Option<Origin>> {
        loop {
            let listed = self.blocks.get(self.next.fetch_add(1, Ordering::Relaxed));
            let listed = listed.map(|&(pack, offset, stored)| (self.packs[pack as usize], offset, stored));
            let Some((pack, offset, stored)) = listed.or_else(|| locked(&self.instead).next()) else { return Ok(None) };
            let origin = Origin { pack, offset: u64::from(offset) };
            let bytes = block.own(stored as usize);
            match self.store.blobs().get_range(&super::pack_key(&origin.pack), origin.offset, bytes) {
                Ok(()) => return Ok(Some(origin)),
                Err(e) => {
                    let e = origin.gone(e);
                    if e.kind() != ErrorKind::Integrity || !self.replace(origin).unwrap_or(false) {
                        return Err(e);
                    }
                }
            }
        }
    }

    fn replace(&self, origin: Origin) -> Result<bool> {
        locked(&self.instead).replace(self.store, self.wanted, origin)
    }
}
