//! Blocks that were opened lately: single chunks are taken out of them. Pages of an image lie side by side, and so do small
//! files of a directory, but not always in the order in which they are asked for: an archive has its own.

use super::blocks::is_wrong;
use super::source::Origin;
use super::{Store, locked, pack_key};
use crate::error::Result;
use crate::image::Hash;
use crate::image::block::BlockOpener;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Most that are kept; a block has at most 4 MiB.
pub(crate) const OPEN_BLOCKS: usize = 8;
/// Most that are opened at the same time, however many threads there are.
const AT_A_TIME: usize = 4;

/// The blocks. Two threads open two of them at the same time, and one of them once.
#[derive(Default)]
pub(super) struct OpenBlocks {
    /// The one that was used last is at the end. One that was closed has no origin, stands first, and is memory for the next.
    blocks: Mutex<Vec<(Option<Origin>, SharedBlock)>>,
    /// What blocks are opened with.
    tools: Mutex<Toolbox>,
    put_back: Condvar,
}

type SharedBlock = Arc<Mutex<Block>>;

#[derive(Default)]
struct Toolbox {
    free: Vec<Tools>,
    taken: usize,
}

/// A block that is open, or will be when its first chunk is taken.
#[derive(Default)]
struct Block {
    open: bool,
    raw: Vec<u8>,
    /// Where each chunk is in `raw`.
    chunks: HashMap<Hash, (usize, usize)>,
}

struct Tools {
    opener: BlockOpener,
    stored: Vec<u8>,
}

/// Tools that one thread has; they go back by themselves.
struct Taken<'o> {
    from: &'o OpenBlocks,
    tools: Option<Tools>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut toolbox = locked(&self.from.tools);
        toolbox.taken -= 1;
        toolbox.free.extend(self.tools.take());
        self.from.put_back.notify_one();
    }
}

impl OpenBlocks {
    /// A chunk of a block of so many stored bytes; `None` when it is not in there.
    ///
    /// # Errors
    /// `Integrity` when the block is missing or damaged.
    pub(super) fn chunk(&self, store: &Store, origin: Origin, stored: u32, hash: &Hash) -> Result<Option<Vec<u8>>> {
        let block = self.block(origin);
        let mut block = locked(&block);
        loop {
            if !block.open {
                let mut taken = self.take_tools()?;
                if let Some(tools) = &mut taken.tools {
                    block.fill(store, origin, stored, tools)?;
                }
            }
            match block.chunks.get(hash) {
                Some(&(at, length)) => return Ok(Some(block.raw[at..at + length].to_vec())),
                // It may have been another block.
                None if store.blobs().disown(&pack_key(&origin.pack), origin.offset) => block.open = false,
                None => return Ok(None),
            }
        }
    }

    /// Whoever has tools waits for nobody: they come back.
    fn take_tools(&self) -> Result<Taken<'_>> {
        let mut toolbox = locked(&self.tools);
        while toolbox.taken == AT_A_TIME {
            toolbox = self.put_back.wait(toolbox).unwrap_or_else(PoisonError::into_inner);
        }
        let tools = match toolbox.free.pop() {
            Some(tools) => tools,
            None => Tools { opener: BlockOpener::new()?, stored: Vec::new() },
        };
        toolbox.taken += 1;
        Ok(Taken { from: self, tools: Some(tools) })
    }

    fn block(&self, origin: Origin) -> SharedBlock {
        let mut blocks = locked(&self.blocks);
        let is_full = blocks.len() >= OPEN_BLOCKS || blocks.first().is_some_and(|(o, _)| o.is_none());
        let found = match blocks.iter().rposition(|(o, _)| *o == Some(origin)) {
            Some(n) => blocks.remove(n).1,
            None if !is_full => Arc::default(),
            // The memory of the one that was used longest ago serves again, unless somebody still reads it.
            None => reused(blocks.remove(0).1),
        };
        blocks.push((Some(origin), found.clone()));
        found
    }

    /// Closes a block of which nothing more is wanted.
    pub(super) fn close(&self, origin: Origin) {
        let mut blocks = locked(&self.blocks);
        let Some(n) = blocks.iter().position(|(o, _)| *o == Some(origin)) else { return };
        let closed = blocks.remove(n).1;
        if blocks.first().is_none_or(|(o, _)| o.is_some()) {
            blocks.insert(0, (None, reused(closed)));
        }
    }

    /// Closes all blocks, and gives their memory back.
    pub(super) fn close_all(&self) {
        locked(&self.blocks).clear();
        locked(&self.tools).free.clear();
    }
}

/// The memory of a block that is used no more, for another one; new memory while somebody still reads it.
fn reused(block: SharedBlock) -> SharedBlock {
    match Arc::try_unwrap(block) {
        Ok(old) => Arc::new(Mutex::new(old.into_inner().unwrap_or_default().emptied())),
        Err(_) => Arc::default(),
    }
}

impl Block {
    fn emptied(mut self) -> Self {
        self.open = false;
        self.raw.clear();
        self.chunks.clear();
        self
    }

    fn fill(&mut self, store: &Store, origin: Origin, stored: u32, tools: &mut Tools) -> Result<()> {
        let Self { open, raw, chunks } = self;
        tools.stored.resize(stored as usize, 0);
        let key = pack_key(&origin.pack);
        loop {
            let read = store.blobs().get_range(&key, origin.offset, &mut tools.stored);
            read.map_err(|e| origin.gone(e))?;
            // One that was damaged may have been begun.
            raw.clear();
            chunks.clear();
            let keep = |hash, bytes: &[u8]| {
                chunks.insert(hash, (raw.len(), bytes.len()));
                raw.extend_from_slice(bytes);
                Ok(())
            };
            match tools.opener.open(&tools.stored, keep) {
                Err(e) if is_wrong(&e) && store.blobs().disown(&key, origin.offset) => {}
                opened => {
                    opened.map_err(|e| origin.explain(e))?;
                    *open = true;
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ErrorKind;
    use crate::image::Hash;
    use crate::store::{ChunkSource, ChunkWriter, Store};

    /// A store with so many blocks of one chunk, and the chunks.
    fn store(dir: &std::path::Path, blocks: u32) -> (Store, Vec<Vec<u8>>) {
        let store = Store::init(dir.join("s")).unwrap();
        let chunks: Vec<Vec<u8>> = (0..blocks).map(|n| n.to_le_bytes().repeat(5000)).collect();
        let session = store.session("test").unwrap();
        for chunk in &chunks {
            let mut writer = ChunkWriter::new(&session, 1).unwrap();
            writer.put(chunk).unwrap();
            writer.close().unwrap();
        }
        session.finish().unwrap();
        drop(session);
        (store, chunks)
    }

    #[test]
    fn many_threads_get_what_they_ask_for() {
        let dir = tempfile::tempdir().unwrap();
        let (store, chunks) = store(dir.path(), 30);
        std::thread::scope(|s| {
            for thread in 0..24 {
                let (store, chunks) = (&store, &chunks);
                s.spawn(move || {
                    for n in 0..60 {
                        let chunk = &chunks[(n * 7 + thread) % chunks.len()];
                        assert_eq!(store.chunk(&Hash::of(chunk), chunk.len() as u32).unwrap(), *chunk);
                    }
                });
            }
        });
    }

    #[test]
    fn a_lost_pack_is_told_to_everybody() {
        let dir = tempfile::tempdir().unwrap();
        let (store, chunks) = store(dir.path(), 3);
        // The index is known; then the pack goes.
        store.chunk(&Hash::of(&chunks[0]), chunks[0].len() as u32).unwrap();
        std::fs::remove_dir_all(dir.path().join("s/packs")).unwrap();
        std::thread::scope(|s| {
            for _ in 0..12 {
                s.spawn(|| {
                    let e = store.chunk(&Hash::of(&chunks[1]), chunks[1].len() as u32).unwrap_err();
                    assert_eq!(e.kind(), ErrorKind::Integrity, "{e}");
                });
            }
        });
    }
}
