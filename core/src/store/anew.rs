//! Chunks of blocks that are there are stored once more, side by side with others that are needed.

use super::{ChunkWriter, Session, pack_key};
use crate::error::{Error, Result};
use crate::image::Hash;
use crate::image::block::{Block, BlockOpener};

/// A block in a pack of the session's store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) pack: Hash,
    pub(super) offset: u32,
    /// Bytes as stored.
    pub(super) stored: u32,
    /// Bytes of the chunks that are wanted.
    pub(super) live: u64,
    /// All of its chunks are: then it can stay as it is.
    pub(super) whole: bool,
}

/// One thread that stores chunks anew.
pub(super) struct Anew<'a> {
    session: &'a Session<'a>,
    writer: ChunkWriter<'a>,
    opener: BlockOpener,
    stored: Vec<u8>,
}

impl<'a> Anew<'a> {
    pub(super) fn new(session: &'a Session<'a>, level: i32) -> Result<Self> {
        let writer = ChunkWriter::new(session, level)?;
        Ok(Self { session, writer, opener: BlockOpener::new()?, stored: Vec::new() })
    }

    /// Stores the chunks of a block of which `wanted` says yes.
    ///
    /// # Errors
    /// `Integrity` when the block is damaged, or has less of them than was said; what the session returns.
    pub(super) fn block(&mut self, block: &Source, wanted: &dyn Fn(&Hash) -> bool) -> Result<()> {
        self.stored.resize(block.stored as usize, 0);
        self.session.store().blobs().get_range(&pack_key(&block.pack), u64::from(block.offset), &mut self.stored)?;
        let (writer, mut found) = (&mut self.writer, 0);
        let info = self.opener.open(&self.stored, |hash, bytes| {
            if wanted(&hash) {
                found += bytes.len() as u64;
                if !block.whole {
                    writer.add(hash, bytes)?;
                }
            }
            Ok(())
        })?;
        // One that holds the same chunk twice holds more than is counted.
        if found < block.live {
            let what = format!("the block at {} of pack {} is not what the index says", block.offset, block.pack);
            return Err(Error::integrity(what));
        }
        if block.whole {
            self.session.add(Block { info, bytes: &self.stored })?;
        }
        Ok(())
    }

    /// Ends the block that was begun.
    pub(super) fn close(mut self) -> Result<()> {
        self.writer.close()
    }
}
