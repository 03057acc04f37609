//! One thread's way into the store: new chunks, one after the other, into blocks.

use super::session::{Claim, Session};
use crate::error::Result;
use crate::image::Hash;
use crate::image::block::BlockBuilder;

/// Puts chunks that the store lacks into blocks; chunks that follow each other are neighbours there.
pub struct ChunkWriter<'s> {
    session: &'s Session,
    block: BlockBuilder,
    /// So many of its chunks are known to be new.
    sifted: usize,
}

impl<'s> ChunkWriter<'s> {
    /// A writer that compresses at `level`.
    ///
    /// # Errors
    /// `Invalid` for a level that is not 1 to 19.
    pub fn new(session: &'s Session, level: i32) -> Result<Self> {
        Ok(Self { session, block: BlockBuilder::new(level)?, sifted: 0 })
    }

    /// Stores a chunk unless it is there already; gives its name.
    ///
    /// # Errors
    /// When the session cannot go on.
    pub fn put(&mut self, bytes: &[u8]) -> Result<Hash> {
        let hash = Hash::of(bytes);
        self.put_named(hash, bytes)?;
        Ok(hash)
    }

    /// As [`ChunkWriter::put`], of a chunk whose name is known.
    ///
    /// # Errors
    /// When the session cannot go on.
    pub fn put_named(&mut self, hash: Hash, bytes: &[u8]) -> Result<()> {
        match self.session.claim(&hash)? {
            Claim::Known => Ok(()),
            Claim::Store => self.add(hash, bytes),
        }
    }

    /// Stores a chunk that was claimed.
    ///
    /// # Errors
    /// When the session cannot go on.
    pub fn add(&mut self, hash: Hash, bytes: &[u8]) -> Result<()> {
        if !self.block.fits(bytes.len()) {
            self.sift()?;
            if !self.block.fits(bytes.len()) || self.block.is_half_full() {
                self.close()?;
            }
        }
        self.block.push(hash, bytes);
        Ok(())
    }

    /// Stores chunks that were claimed, one after the other in `raw`, as one block; nothing was begun. `raw` gets other memory.
    ///
    /// # Errors
    /// When the session cannot go on.
    pub(super) fn add_run(&mut self, raw: &mut Vec<u8>, chunks: Vec<(Hash, u32)>) -> Result<()> {
        self.block.fill(raw, chunks);
        self.close()
    }

    /// Ends the block that was begun. What was put is durable when the session is finished.
    ///
    /// # Errors
    /// When the session cannot go on.
    pub fn close(&mut self) -> Result<()> {
        self.sift()?;
        self.sifted = 0;
        self.block.finish()?.map_or(Ok(()), |b| self.session.add(b))
    }

    /// Lets go of what a server has: it is asked for many at once, and before they are compressed.
    fn sift(&mut self) -> Result<()> {
        let chunks: Vec<_> = self.block.chunks()[self.sifted..].iter().map(|(hash, _)| *hash).collect();
        if !chunks.is_empty()
            && let Some(lacking) = self.session.lacking(&chunks)?
        {
            self.block.retain(self.sifted, &lacking);
        }
        self.sifted = self.block.chunks().len();
        Ok(())
    }
}
