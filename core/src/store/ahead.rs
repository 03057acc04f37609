//! Blocks from a store that is far away. A request for each block would wait for the network once a block; so neighbours
//! in one pack become spans, a few of which are fetched at a time, ahead of those who take the blocks.
//!
//! ```text
//! blocks, sorted ──> spans ──> fetchers, a request each ──> queue of spans ──> next(): block after block of one span
//! ```
//!
//! Memory: `FETCHERS` spans on their way, as many in the queue, the one that is handed out, and as many that wait to be used again.

use super::elsewhere::Instead;
use super::source::{BlockFeed, Origin, StoredBlock};
use super::{Store, locked, pack_key};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{ChunkSet, Hash};
use crossbeam_channel::{Receiver, Sender};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of a span; a block that is longer stands alone.
const SPAN: u64 = 2 << 20;
/// What is cheaper to read than to leave out with a request of its own.
const GAP: u64 = 256 << 10;
/// Spans on their way at a time.
const FETCHERS: usize = 6;

/// A wanted block: number of its pack, offset, bytes.
pub(super) type Wanted = (u32, u32, u32);

/// Neighbouring blocks that are read with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    pack: u32,
    offset: u64,
    bytes: usize,
    /// Positions in the list of blocks.
    blocks: Range<usize>,
}

/// The spans of blocks that are sorted by pack and offset.
fn spans(blocks: &[Wanted]) -> Vec<Span> {
    let mut out: Vec<Span> = Vec::new();
    for (n, &(pack, offset, stored)) in blocks.iter().enumerate() {
        let (offset, end) = (u64::from(offset), u64::from(offset) + u64::from(stored));
        if let Some(last) = out.last_mut()
            && last.pack == pack
            && offset <= last.offset + last.bytes as u64 + GAP
            && end - last.offset <= SPAN
        {
            last.bytes = last.bytes.max((end - last.offset) as usize);
            last.blocks.end = n + 1;
        } else {
            out.push(Span { pack, offset, bytes: stored as usize, blocks: n..n + 1 });
        }
    }
    out
}

/// What fetchers and takers share.
struct Plan {
    store: Store,
    packs: Vec<Hash>,
    blocks: Vec<Wanted>,
    spans: Vec<Span>,
    next: AtomicUsize,
    /// Memory of spans that were used up, for the next ones.
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Plan {
    fn origin(&self, (pack, offset, _): Wanted) -> Origin {
        Origin { pack: self.packs[pack as usize], offset: u64::from(offset) }
    }

    fn fetch(&self, span: &Span) -> Result<Vec<u8>> {
        let origin = self.origin(self.blocks[span.blocks.start]);
        let memory = self.spare().pop().unwrap_or_default();
        let read = self.store.blobs().get_span(&pack_key(&origin.pack), span.offset, span.bytes, memory);
        read.map_err(|e| origin.gone(e))
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a span came in; its memory goes back when the last of its blocks is done.
struct Bytes {
    bytes: Vec<u8>,
    plan: Arc<Plan>,
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        let mut spare = self.plan.spare();
        if spare.len() < FETCHERS {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// The number of a span, and what came of it.
type Fetched = (usize, Result<Vec<u8>>);

/// Fetches spans until there are none left, nobody wants them any more, or the store cannot be reached; one that is damaged
/// says nothing of the others.
fn fetch(plan: &Plan, to: &Sender<Fetched>) {
    loop {
        let n = plan.next.fetch_add(1, Ordering::Relaxed);
        let Some(span) = plan.spans.get(n) else { return };
        let fetched = plan.fetch(span);
        let failed = fetched.as_ref().is_err_and(|e| e.kind() != ErrorKind::Integrity);
        if to.send((n, fetched)).is_err() || failed {
            return;
        }
    }
}

/// The feed.
pub(super) struct Ahead<'w> {
    plan: Arc<Plan>,
    wanted: &'w ChunkSet,
    instead: Mutex<Instead>,
    fetched: Receiver<Fetched>,
    current: Mutex<Option<Current>>,
}

/// The span that is handed out, and which of its blocks comes next.
#[derive(Clone)]
struct Current {
    span: usize,
    bytes: Arc<Bytes>,
    block: usize,
}

impl<'w> Ahead<'w> {
    pub(super) fn start(store: &Store, wanted: &'w ChunkSet, packs: Vec<Hash>, blocks: Vec<Wanted>) -> Result<Self> {
        let spans = spans(&blocks);
        let fetchers = FETCHERS.min(spans.len());
        let plan = Arc::new(Plan {
            store: store.clone(),
            packs,
            blocks,
            spans,
            next: AtomicUsize::new(0),
            spare: Mutex::default(),
        });
        let (to, fetched) = crossbeam_channel::bounded(FETCHERS);
        for _ in 0..fetchers {
            let (plan, to) = (plan.clone(), to.clone());
            // They end by themselves: when all is fetched, or with the feed, whose end of the queue they then miss.
            std::thread::Builder::new()
                .name("libcv-fetch".into())
                .spawn(move || fetch(&plan, &to))
                .map_err(|e| Error::io("start", "a thread", e))?;
        }
        Ok(Self { plan, wanted, instead: Mutex::default(), fetched, current: Mutex::new(None) })
    }

    /// Gives up the blocks of a span that nobody has as it should be.
    fn replace_all(&self, span: usize) -> Result<bool> {
        let blocks = &self.plan.blocks[self.plan.spans[span].blocks.clone()];
        for block in blocks {
            if !self.replace(self.plan.origin(*block))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The next block, in its span.
    fn claim(&self) -> Result<Option<Current>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(c) = &mut *current
                && self.plan.spans[c.span].blocks.contains(&c.block)
            {
                let claimed = c.clone();
                c.block += 1;
                return Ok(Some(claimed));
            }
            *current = None;
            // Whoever waits here holds the lock: the others have nothing else to wait for.
            let Ok((span, fetched)) = self.fetched.recv() else { return Ok(None) };
            let bytes = match fetched {
                Err(e) if e.kind() == ErrorKind::Integrity && self.replace_all(span)? => continue,
                fetched => fetched?,
            };
            let block = self.plan.spans[span].blocks.start;
            let bytes = Arc::new(Bytes { bytes, plan: self.plan.clone() });
            *current = Some(Current { span, bytes, block });
        }
    }
}

impl BlockFeed for Ahead<'_> {
    fn next(&self, block: &mut StoredBlock) -> Result<Option<Origin>> {
        let Some(claimed) = self.claim()? else {
            let Some((pack, offset, stored)) = locked(&self.instead).next() else { return Ok(None) };
            let (origin, blobs) = (Origin { pack, offset: u64::from(offset) }, self.plan.store.blobs());
            let read = blobs.get_range(&pack_key(&pack), origin.offset, block.own(stored as usize));
            return read.map(|()| Some(origin)).map_err(|e| origin.gone(e));
        };
        let wanted = self.plan.blocks[claimed.block];
        let at = (u64::from(wanted.1) - self.plan.spans[claimed.span].offset) as usize;
        let shared = block.share(claimed.bytes, at..at + wanted.2 as usize);
        shared.ok_or_else(|| Error::new(ErrorKind::Bug, "a block is not in its span"))?;
        Ok(Some(self.plan.origin(wanted)))
    }

    fn again(&self, origin: Origin, block: &mut StoredBlock) -> Result<bool> {
        let Plan { store, packs, blocks, .. } = &*self.plan;
        let wanted = |w: &&Wanted| packs[w.0 as usize] == origin.pack && u64::from(w.1) == origin.offset;
        let key = pack_key(&origin.pack);
        let listed = blocks.iter().find(wanted).map(|w| w.2);
        let instead = || locked(&self.instead).at(origin).map(|b| b.2);
        let Some(stored) = listed.or_else(instead) else { return Ok(false) };
        if !store.blobs().disown(&key, origin.offset) {
            return Ok(false);
        }
        store.blobs().get_range(&key, origin.offset, block.own(stored as usize)).map(|()| true)
    }

    fn replace(&self, origin: Origin) -> Result<bool> {
        locked(&self.instead).replace(&self.plan.store, self.wanted, origin)
    }

    fn take_notes(&self) -> Vec<String> {
        self.plan.store.blobs().take_notes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_read_together_and_far_ones_alone() {
        let half = 1 << 19;
        let blocks: Vec<Wanted> = vec![
            (0, 8, half),
            (0, 8 + half, half),
            // A small gap is read through, a large one is not.
            (0, 8 + 2 * half + 1000, 100),
            (0, 8 + 3 * half, 5 * half),
            (0, 20 * half, 1),
            // Another pack.
            (1, 8, 10),
        ];
        let found = spans(&blocks);
        let shape: Vec<_> = found.iter().map(|s| (s.pack, s.offset, s.bytes, s.blocks.clone())).collect();
        let half = u64::from(half);
        assert_eq!(
            shape,
            [
                (0, 8, 2 * half as usize + 1100, 0..3),
                (0, 8 + 3 * half, 5 * half as usize, 3..4),
                (0, 20 * half, 1, 4..5),
                (1, 8, 10, 5..6),
            ]
        );
        assert!(spans(&[]).is_empty());
    }
}
