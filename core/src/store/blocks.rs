//! Taking blocks from a feed and opening them: a block that is damaged is asked for again, as long as somebody else has it.

use super::source::{BlockFeed, Origin, StoredBlock};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Hash;
use crate::image::block::{BlockInfo, BlockOpener};
use crate::job::Task;

/// What one thread takes blocks with.
pub(crate) struct BlockReader<'f> {
    feed: &'f dyn BlockFeed,
    opener: BlockOpener,
    block: StoredBlock,
}

impl<'f> BlockReader<'f> {
    pub(crate) fn new(feed: &'f dyn BlockFeed) -> Result<Self> {
        Ok(Self { feed, opener: BlockOpener::new()?, block: StoredBlock::default() })
    }

    /// Takes the next block and gives each of its chunks to `each`, by its true name; what the block is, or `None` at the end.
    /// Of a block that was damaged in the middle chunks come twice.
    ///
    /// # Errors
    /// `Integrity` when no whole copy can be had, with pack and offset; what `each` returns.
    pub(crate) fn next(
        &mut self,
        task: &Task,
        mut each: impl FnMut(Hash, &[u8]) -> Result<()>,
    ) -> Result<Option<BlockInfo>> {
        loop {
            let next = self.feed.next(&mut self.block);
            self.report(task);
            let Some(origin) = next? else { return Ok(None) };
            match self.open(origin, task, &mut each) {
                // That there is nothing in its place is no better reason than this one.
                Err(e) if is_wrong(&e) && self.feed.replace(origin).unwrap_or(false) => {
                    task.warn(format!("{e}; what is wanted of it is read elsewhere"));
                }
                opened => return opened.map(Some),
            }
        }
    }

    /// Opens the block, or another copy of it.
    fn open(
        &mut self,
        origin: Origin,
        task: &Task,
        each: &mut dyn FnMut(Hash, &[u8]) -> Result<()>,
    ) -> Result<BlockInfo> {
        loop {
            match self.opener.open(&self.block, &mut *each) {
                Err(e) if is_wrong(&e) => {
                    if !self.again(origin, task).unwrap_or(false) {
                        return Err(origin.explain(e));
                    }
                }
                opened => return opened,
            }
        }
    }

    fn again(&mut self, origin: Origin, task: &Task) -> Result<bool> {
        let another = self.feed.again(origin, &mut self.block);
        self.report(task);
        another
    }

    fn report(&self, task: &Task) {
        self.feed.take_notes().into_iter().for_each(|note| task.log(note));
    }

    /// The block that was opened last, as stored.
    pub(crate) fn stored(&self) -> &[u8] {
        &self.block
    }
}

/// Whether an error of opening a block says that its bytes are not what they should be. One that is damaged may look like one of
/// a later format.
pub(super) fn is_wrong(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Integrity | ErrorKind::Unsupported)
}
