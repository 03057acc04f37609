//! Chunks from one store into another: whole blocks where all of one is wanted, single chunks otherwise.

use super::{BlockReader, ChunkSource, ChunkWriter, Claim, Session};
use crate::error::{ErrorKind, Result};
use crate::image::block::Block;
use crate::image::{ChunkSet, Hash};
use crate::job::{Failure, Task, threads};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What went over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    /// Chunks that were stored.
    pub(super) chunks: u64,
    /// Bytes of blocks that were read.
    pub(super) read: u64,
}

/// How chunks go over.
pub(super) struct Transfer<'t> {
    /// Where they are stored.
    pub(super) session: &'t Session,
    /// zstd level of blocks of which only a part is wanted.
    pub(super) level: i32,
    /// Threads; 0 is one for each core.
    pub(super) threads: usize,
    /// Blocks that are damaged at the source are passed over.
    pub(super) tolerant: bool,
}

/// Brings the chunks of `wanted` from `source` into the session. Each is verified.
///
/// # Errors
/// `Integrity` when a chunk is nowhere in `source`, or is damaged there and that is not tolerated; what the session
/// returns.
pub(super) fn transfer(source: &dyn ChunkSource, wanted: &ChunkSet, how: &Transfer<'_>, task: &Task) -> Result<Moved> {
    let Transfer { session, level, threads: workers, tolerant } = *how;
    let (failure, chunks, read) = (Failure::default(), AtomicU64::new(0), AtomicU64::new(0));
    let came: Vec<AtomicBool> = (0..wanted.len()).map(|_| AtomicBool::new(false)).collect();
    let feed = source.feed(wanted)?;
    failure.on_threads(threads(workers), || {
        let (mut writer, mut blocks) = (ChunkWriter::new(session, level)?, BlockReader::new(feed.as_ref())?);
        let (mut raw, mut found) = (Vec::new(), Vec::<(Hash, usize)>::new());
        loop {
            failure.check(task)?;
            raw.clear();
            found.clear();
            // Of one that is fetched again what had come before is claimed already, and stays.
            let info = blocks.next(task, |hash, bytes| {
                let Some(n) = wanted.position(&hash) else { return Ok(()) };
                came[n as usize].store(true, Ordering::Relaxed);
                if session.claim(&hash)? == Claim::Store {
                    found.push((hash, bytes.len()));
                    raw.extend_from_slice(bytes);
                }
                Ok(())
            });
            let info = match info {
                Ok(Some(info)) => info,
                Ok(None) => break,
                Err(e) if tolerant && e.kind() == ErrorKind::Integrity => continue,
                Err(e) => return Err(e),
            };
            read.fetch_add(blocks.stored().len() as u64, Ordering::Relaxed);
            chunks.fetch_add(found.len() as u64, Ordering::Relaxed);
            if found.iter().map(|(hash, _)| hash).eq(info.chunks.iter().map(|(hash, _)| hash)) {
                session.add(Block { info, pieces: [blocks.stored(), &[]] })?;
            } else {
                let mut rest = &raw[..];
                for (hash, length) in &found {
                    let (bytes, after) = rest.split_at(*length);
                    rest = after;
                    writer.add(*hash, bytes)?;
                }
            }
            task.advance(raw.len() as u64);
        }
        writer.close()
    })?;
    // A source that says it has a chunk and gives none must not make a copy with a hole.
    let absent: Vec<usize> = (0..came.len()).filter(|&n| !came[n].load(Ordering::Relaxed)).collect();
    if !absent.is_empty() && !tolerant {
        // Somebody gave blocks that are whole, and not those that were asked for: what is asked for by its name is proved by it.
        let mut writer = ChunkWriter::new(session, level)?;
        for n in absent {
            let (hash, length) = wanted.chunks()[n];
            let bytes = source.chunk(&hash, length)?;
            if session.claim(&hash)? == Claim::Store {
                writer.add(hash, &bytes)?;
                chunks.fetch_add(1, Ordering::Relaxed);
            }
        }
        writer.close()?;
    }
    Ok(Moved { chunks: chunks.into_inner(), read: read.into_inner() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::source::missing;
    use crate::store::{BlockFeed, Origin, Store, StoredBlock};

    /// Says that it has everything, and gives nothing.
    struct Hollow;

    impl ChunkSource for Hollow {
        fn chunk(&self, hash: &Hash, _: u32) -> Result<Vec<u8>> {
            Err(missing(hash))
        }

        fn expect(&self, _: &ChunkSet) -> Result<()> {
            Ok(())
        }

        fn feed<'a>(&'a self, _: &'a ChunkSet) -> Result<Box<dyn BlockFeed + 'a>> {
            Ok(Box::new(Self))
        }
    }

    impl BlockFeed for Hollow {
        fn next(&self, _: &mut StoredBlock) -> Result<Option<Origin>> {
            Ok(None)
        }
    }

    #[test]
    fn what_does_not_come_is_no_copy() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path().join("s")).unwrap();
        let session = store.session("test").unwrap();
        let mut wanted = ChunkSet::default();
        wanted.insert(Hash::of(b"x"), 1);
        let moved = |tolerant| {
            let how = Transfer { session: &session, level: 3, threads: 1, tolerant };
            transfer(&Hollow, &wanted, &how, &Task::quiet())
        };
        assert_eq!(moved(false).unwrap_err().kind(), ErrorKind::Integrity);
        // Whoever repairs takes what there is.
        assert_eq!(moved(true).unwrap().chunks, 0);
    }
}
