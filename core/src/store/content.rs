//! Writing chunks on all cores, and content that comes as a stream.
//!
//! One thread reads, cuts and hashes; it collects new chunks into runs of a block's size, and workers compress them.
//! So neighbours stay neighbours, and no more than a few runs are in memory.

use super::session::{Claim, Session};
use super::writer::ChunkWriter;
use crate::error::{Error, ErrorKind, Result};
use crate::image::block::{CHUNKS_LIMIT, RAW_LIMIT};
use crate::image::chunker::{self, CHUNK_LIMIT};
use crate::image::{Content, ContentBuilder, FormatError, Hash, Item};
use crossbeam_channel::{Receiver, Sender};

/// Read ahead of the chunk that is cut: several chunks, so that little is moved.
const BUFFER: usize = 4 << 20;

/// New chunks on their way to the store.
pub struct ChunkPool<'p> {
    session: &'p Session,
    workers: Sender<Run>,
    /// Memory of earlier runs: what is new costs a fault for each of its pages.
    empty: Receiver<Vec<u8>>,
    run: Run,
}

/// Chunks that become a block.
#[derive(Default)]
struct Run {
    raw: Vec<u8>,
    chunks: Vec<(Hash, u32)>,
}

/// Does `work` with a pool of `threads` workers; all chunks are in blocks of the session when it returns.
///
/// # Errors
/// What `work` and the session return; `Invalid` for a level that is not 1 to 19.
pub fn with_pool<T>(
    session: &Session,
    level: i32,
    threads: usize,
    work: impl FnOnce(&mut ChunkPool<'_>) -> Result<T>,
) -> Result<T> {
    session.prepare()?;
    let (workers, runs) = crossbeam_channel::bounded(threads.max(1));
    let (used, empty) = crossbeam_channel::bounded(threads.max(1));
    std::thread::scope(|s| {
        let spawn = |_| {
            let (runs, used, writer) = (runs.clone(), used.clone(), ChunkWriter::new(session, level)?);
            Ok(s.spawn(move || compress(writer, &runs, &used)))
        };
        let handles: Vec<_> = (0..threads.max(1)).map(spawn).collect::<Result<_>>()?;
        drop(runs);
        let mut pool = ChunkPool { session, workers, empty, run: Run::default() };
        let out = work(&mut pool).and_then(|out| pool.flush().map(|()| out));
        drop(pool);
        let mut ended = Ok(());
        for h in handles {
            let one = h.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Bug, "a compressing thread panicked")));
            ended = ended.and(one);
        }
        // A worker's error is the reason why a run could not be handed over.
        ended.and(out)
    })
}

fn compress(mut writer: ChunkWriter<'_>, runs: &Receiver<Run>, empty: &Sender<Vec<u8>>) -> Result<()> {
    while let Ok(Run { mut raw, chunks }) = runs.recv() {
        // A run is what fills a block.
        writer.add_run(&mut raw, chunks)?;
        // Nobody wants it at the end.
        let _ = empty.try_send(raw);
    }
    Ok(())
}

impl ChunkPool<'_> {
    /// Stores a chunk unless it is there already.
    ///
    /// # Errors
    /// When the session cannot go on.
    pub fn put(&mut self, bytes: &[u8]) -> Result<Hash> {
        let hash = Hash::of(bytes);
        if bytes.is_empty() || self.session.claim(&hash)? == Claim::Known {
            return Ok(hash);
        }
        if self.run.raw.len() + bytes.len() > RAW_LIMIT || self.run.chunks.len() == CHUNKS_LIMIT {
            self.flush()?;
        }
        self.run.raw.extend_from_slice(bytes);
        self.run.chunks.push((hash, bytes.len() as u32));
        Ok(hash)
    }

    fn flush(&mut self) -> Result<()> {
        if self.run.chunks.is_empty() {
            return Ok(());
        }
        let raw = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(RAW_LIMIT));
        let next = Run { raw, chunks: Vec::new() };
        let run = std::mem::replace(&mut self.run, next);
        self.workers.send(run).map_err(|_| Error::new(ErrorKind::Bug, "the compressing threads ended early"))
    }
}

/// The content of one file, extent by extent.
pub struct ContentWriter {
    buffer: Vec<u8>,
    content: ContentBuilder,
}

/// Where the bytes of an extent come from: fills the front of the buffer and says how much; 0 is an error.
pub type Source<'s> = &'s mut dyn FnMut(&mut [u8]) -> Result<usize>;

impl Default for ContentWriter {
    fn default() -> Self {
        Self { buffer: vec![0; BUFFER], content: ContentBuilder::default() }
    }
}

impl ContentWriter {
    /// A hole of `length` bytes; two never follow each other.
    ///
    /// # Errors
    /// When the store cannot go on.
    pub fn hole(&mut self, length: u64, pool: &mut ChunkPool<'_>) -> Result<()> {
        if length == 0 { Ok(()) } else { self.content.push(Item::Hole(length), |list| pool.put(list)) }
    }

    /// An extent of `length` bytes between holes or ends of the file, cut as the format says.
    ///
    /// # Errors
    /// What `source` returns, and when the store cannot go on.
    pub fn extent(&mut self, length: u64, source: Source<'_>, pool: &mut ChunkPool<'_>) -> Result<()> {
        let (mut from, mut to, mut done) = (0, 0, 0u64);
        while done < length {
            let left = length - done;
            if ((to - from) as u64) < left && to - from < CHUNK_LIMIT {
                self.buffer.copy_within(from..to, 0);
                (from, to) = (0, to - from);
                let until = left.min(BUFFER as u64) as usize;
                while to < until {
                    match source(&mut self.buffer[to..until])? {
                        0 => return Err(FormatError::Truncated("a file").into()),
                        n => to += n,
                    }
                }
            }
            let window = &self.buffer[from..to];
            let n = chunker::cut(window, done == 0 && window.len() as u64 == length);
            let hash = pool.put(&window[..n])?;
            self.content.push(Item::Chunk { length: n as u32, hash }, |list| pool.put(list))?;
            from += n;
            done += n as u64;
        }
        Ok(())
    }

    /// The content, with the bytes of its chunks; the next file may begin.
    ///
    /// # Errors
    /// When the store cannot go on.
    pub fn finish(&mut self, pool: &mut ChunkPool<'_>) -> Result<(Content, u64)> {
        self.content.finish(|list| pool.put(list))
    }
}
