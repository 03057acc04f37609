//! Chunks of blocks that are there are stored once more, side by side with others that are needed.

use super::{ChunkWriter, Session, Store, pack_key};
use crate::error::{Error, Result};
use crate::image::Hash;
use crate::image::block::{Block, BlockInfo, BlockOpener, parse};

/// A block in a pack of the session's store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) pack: Hash,
    pub(super) offset: u32,
    /// Bytes as stored.
    pub(super) stored: u32,
    /// Bytes of the chunks that are wanted.
    pub(super) live: u64,
}

/// What becomes of a chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    No,
    Content,
    /// Pages are read first, one after the other: they have blocks of their own.
    Page,
}

/// One thread that stores chunks anew.
pub(super) struct Anew<'a> {
    session: &'a Session,
    content: ChunkWriter<'a>,
    pages: ChunkWriter<'a>,
    opener: BlockOpener,
    stored: Vec<u8>,
}

impl<'a> Anew<'a> {
    pub(super) fn new(session: &'a Session, level: i32) -> Result<Self> {
        let (content, pages) = (ChunkWriter::new(session, level)?, ChunkWriter::new(session, level)?);
        Ok(Self { session, content, pages, opener: BlockOpener::new()?, stored: Vec::new() })
    }

    /// Where it stores.
    pub(super) fn store(&self) -> &'a Store {
        self.session.store()
    }

    /// Stores the chunks of a block that are wanted.
    ///
    /// # Errors
    /// `Integrity` when the block is damaged, or has less of them than was said; what the session returns.
    pub(super) fn block(&mut self, block: &Source, wanted: &dyn Fn(&Hash) -> Wanted) -> Result<()> {
        self.read(block)?;
        let (content, pages, mut found) = (&mut self.content, &mut self.pages, 0);
        self.opener.open(&self.stored, |hash, bytes| {
            let wanted = wanted(&hash);
            found += if wanted == Wanted::No { 0 } else { bytes.len() as u64 };
            match wanted {
                Wanted::Content => content.add(hash, bytes),
                Wanted::Page => pages.add(hash, bytes),
                Wanted::No => Ok(()),
            }
        })?;
        // One that holds the same chunk twice holds more than is counted.
        if found < block.live { Err(differs(block)) } else { Ok(()) }
    }

    /// Stores a block as it is. `info` is what the trailer of its pack says; the checksum of the bytes must agree.
    ///
    /// # Errors
    /// As [`Anew::block`].
    pub(super) fn copy(&mut self, block: &Source, info: BlockInfo, wanted: &dyn Fn(&Hash) -> Wanted) -> Result<()> {
        self.read(block)?;
        let head = parse(&self.stored)?;
        let found = info.chunks.iter().filter(|(hash, _)| wanted(hash) != Wanted::No).map(|(_, n)| u64::from(*n));
        let as_said = (head.crc, head.codec, head.raw) == (info.crc, info.codec, info.raw)
            && head.lengths.iter().eq(info.chunks.iter().map(|(_, n)| n));
        if !as_said || found.sum::<u64>() < block.live {
            return Err(differs(block));
        }
        self.session.add(Block { info, pieces: [&self.stored, &[]] })
    }

    fn read(&mut self, block: &Source) -> Result<()> {
        self.stored.resize(block.stored as usize, 0);
        self.store().blobs().get_range(&pack_key(&block.pack), u64::from(block.offset), &mut self.stored)
    }

    /// Ends the blocks that were begun.
    pub(super) fn close(mut self) -> Result<()> {
        self.content.close()?;
        self.pages.close()
    }
}

fn differs(block: &Source) -> Error {
    Error::integrity(format!("the block at {} of pack {} is not what the index says", block.offset, block.pack))
}
