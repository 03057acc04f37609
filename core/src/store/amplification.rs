//! Read amplification: of a block from which an image needs a part, a reader reads all.
//!
//! ```text
//!  a new version:   [a b c d] [e f g h]      old blocks, of which it needs b, f, g, h
//!                       └──────────────> [x y b]   what is new, and what is stored once more
//! ```
//!
//! A version takes from the blocks of those before it what has not changed. Each update leaves fewer of the chunks in
//! them of use, and no collection mends that: the old versions need the rest. So a writer that finds more than
//! [`MOST`] percent stores some chunks once more, those from the blocks of which least is needed first, where least
//! is written for most that need not be read (`store-format.md` §11).

use super::anew::{Anew, Source, Wanted};
use super::index::Index;
use super::needs::Needs;
use super::usage::{BlockUse, Usage};
use super::{Claim, Image, Session, Store};
use crate::error::{ErrorKind, Result};
use crate::image::Hash;
use crate::image::manifest::PageRef;
use crate::job::{Failure, Task, threads};
use serde::Serialize;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Readers may read so much more than is needed, in percent.
const MOST: u64 = 112;
/// So much of what an image needs may be stored once more when it is made, in percent.
const BUDGET: u64 = 20;
/// So many bytes too many do not matter.
const LITTLE: u64 = 1 << 20;

/// What a reader of an image has to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amplification {
    /// Bytes of blocks, as stored.
    pub read: u64,
    /// About so many of them are needed.
    pub needed: u64,
}

impl Amplification {
    /// What is read, in percent of what is needed; 100 at best.
    #[must_use]
    pub fn percent(&self) -> u64 {
        if self.needed == 0 { 100 } else { (self.read * 100).div_ceil(self.needed) }
    }

    fn of(usage: &Usage) -> Self {
        let used = || usage.blocks.values().filter(|b| b.live > 0);
        Self { read: used().map(|b| u64::from(b.stored)).sum(), needed: used().map(BlockUse::needed).sum() }
    }

    /// Whether it is more than it should be.
    fn is_much(&self) -> bool {
        self.read - self.needed > LITTLE && self.read * 100 > self.needed * MOST
    }
}

impl Store {
    /// What a reader of the whole image has to read from this store.
    ///
    /// # Errors
    /// `Integrity` when a page or list is missing or damaged.
    pub fn amplification(&self, image: &Image) -> Result<Amplification> {
        let mut index = Index::of_all_places();
        self.each_segment(&mut |_| true, &mut |segment| index.add(segment))?;
        index.settle();
        let mut needed = vec![false; index.len()];
        Needs::default().of(image, &mut |hash, _| {
            index.position(hash).into_iter().for_each(|n| needed[n] = true);
            Ok(())
        })?;
        Ok(Amplification::of(&Usage::of_reader(&index, |n| needed[n])))
    }
}

impl Session {
    /// Bounds the amplification of the image of these pages that is being written, when all its chunks are claimed: stores
    /// some of them once more. Gives what it is then.
    ///
    /// # Errors
    /// What the session returns.
    pub(crate) fn bound_amplification(
        &self,
        pages: &[PageRef],
        level: i32,
        workers: usize,
        task: &Task,
    ) -> Result<Amplification> {
        // Nothing of what was there is used.
        let Some((index, used)) = self.counted_on() else {
            return Ok(Amplification { read: self.written(), needed: self.written() });
        };
        let usage = Usage::of_reader(index, |n| used[n].load(Ordering::Relaxed));
        let mut out = Amplification::of(&usage);
        out.read += self.written();
        out.needed += self.written();
        let blocks = choose(index, &usage, &mut out);
        let pages: HashSet<Hash> = pages.iter().map(|p| p.hash).collect();
        let (next, failure) = (AtomicUsize::new(0), Failure::default());
        failure.on_threads(threads(workers).min(blocks.len()), || {
            let mut anew = Anew::new(self, level)?;
            while let Some(((pack, offset), block)) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                failure.check(task)?;
                let wanted = |hash: &Hash| {
                    let taken = index.position(hash).filter(|&n| used[n].load(Ordering::Relaxed));
                    let taken = taken.is_some_and(|n| usage.takes(n as u32, *pack, *offset));
                    match (taken && self.claim_anew(hash) == Claim::Store, pages.contains(hash)) {
                        (false, _) => Wanted::No,
                        (true, true) => Wanted::Page,
                        (true, false) => Wanted::Content,
                    }
                };
                match anew.block(block, &wanted) {
                    // What is damaged stays where it is, and is found by a check.
                    Err(e) if e.kind() == ErrorKind::Integrity => task.log(format!("not stored once more: {e}")),
                    done => done?,
                }
            }
            anew.close()
        })?;
        Ok(out)
    }
}

/// A block by the number of its pack and its offset, and what is wanted of it.
type Chosen = ((u32, u32), Source);

/// The blocks whose chunks are stored once more, in their order; `amplification` becomes what it is afterwards.
fn choose(index: &Index, usage: &Usage, amplification: &mut Amplification) -> Vec<Chosen> {
    if !amplification.is_much() {
        return Vec::new();
    }
    let mut blocks: Vec<_> = usage.blocks.iter().filter(|(_, b)| b.live > 0 && b.live < b.raw).collect();
    blocks.sort_unstable_by_key(|(at, b)| ((b.live << 20) / b.raw, **at));
    let (mut budget, mut out) = (amplification.needed * BUDGET / 100, Vec::new());
    for (&(pack, offset), b) in blocks {
        if !amplification.is_much() {
            break;
        }
        if let Some(left) = budget.checked_sub(b.needed()) {
            budget = left;
            amplification.read -= u64::from(b.stored) - b.needed();
            let source = Source { pack: index.packs()[pack as usize], offset, stored: b.stored, live: 0 };
            out.push(((pack, offset), source));
        }
    }
    out.sort_unstable_by_key(|(at, _)| *at);
    out
}
