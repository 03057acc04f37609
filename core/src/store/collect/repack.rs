//! What is needed of a sparse pack is stored anew.

use super::CollectOptions;
use super::mark::{Mark, PackUse};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Hash;
use crate::image::block::{Block, BlockOpener};
use crate::job::{Failure, Task, threads};
use crate::store::{ChunkWriter, Session, Store, pack_key};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What was done.
#[derive(Default)]
pub(super) struct Repacked {
    /// Packs that are needed no more.
    pub(super) packs: HashSet<Hash>,
    /// Bytes stored.
    pub(super) bytes: u64,
    pub(super) notes: Vec<String>,
}

/// Stores what is needed of `packs` anew. One that cannot be read whole stays as it is.
pub(super) fn repack(
    store: &Store,
    mark: &Mark,
    packs: &[PackUse],
    options: &CollectOptions,
    task: &Task,
) -> Result<Repacked> {
    let session = store.session("collection")?;
    let (next, failure, out) = (AtomicUsize::new(0), Failure::default(), Mutex::new(Repacked::default()));
    failure.on_threads(threads(options.threads).min(packs.len()), || {
        let mut worker = Worker::new(&session, mark, options.level)?;
        while let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
            failure.check(task)?;
            let done = worker.pack(pack, task);
            let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
            match done {
                Ok(()) => _ = out.packs.insert(pack.id),
                Err(e) if e.kind() == ErrorKind::Integrity => {
                    out.notes.push(format!("pack {} is damaged and stays as it is: {e}", pack.id));
                }
                Err(e) => return Err(e),
            }
        }
        worker.writer.close()
    })?;
    let mut out = out.into_inner().unwrap_or_else(PoisonError::into_inner);
    out.bytes = session.finish()?;
    Ok(out)
}

struct Worker<'w> {
    session: &'w Session<'w>,
    mark: &'w Mark,
    writer: ChunkWriter<'w>,
    opener: BlockOpener,
    stored: Vec<u8>,
}

impl<'w> Worker<'w> {
    fn new(session: &'w Session<'w>, mark: &'w Mark, level: i32) -> Result<Self> {
        let writer = ChunkWriter::new(session, level)?;
        Ok(Self { session, mark, writer, opener: BlockOpener::new()?, stored: Vec::new() })
    }

    fn pack(&mut self, pack: &PackUse, task: &Task) -> Result<()> {
        for (offset, used) in &pack.blocks {
            task.check()?;
            self.stored.resize(used.stored as usize, 0);
            self.session.store().blobs().get_range(&pack_key(&pack.id), u64::from(*offset), &mut self.stored)?;
            let (writer, mark) = (&mut self.writer, self.mark);
            let whole = used.live == used.raw;
            let mut found = 0;
            let info = self.opener.open(&self.stored, |hash, bytes| {
                if mark.needs(&hash, &pack.id) {
                    found += bytes.len() as u64;
                    if !whole {
                        writer.add(hash, bytes)?;
                    }
                }
                Ok(())
            })?;
            // A block that holds the same chunk twice holds more than is counted.
            if found < used.live {
                return Err(Error::integrity(format!("the block at {offset} is not what the index says")));
            }
            if whole {
                self.session.add(Block { info, bytes: &self.stored })?;
            }
            task.advance(u64::from(used.stored) * used.live / used.raw.max(1));
        }
        Ok(())
    }
}
