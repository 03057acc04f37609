//! Small work, shared by threads.

use super::Extraction;
use crate::error::Result;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Small work that several threads share, by runs of neighbours.
pub(in crate::tree) struct Queue<'a, T> {
    items: &'a [T],
    next: AtomicUsize,
}

/// Entries that are dealt with by one thread at a time: so many that two threads seldom meet in one directory.
const RUN: usize = 64;

impl<'a, T> Queue<'a, T> {
    pub(in crate::tree) fn new(items: &'a [T]) -> Self {
        Self { items, next: AtomicUsize::new(0) }
    }

    /// Does `work` with the next run; whether there was one.
    pub(in crate::tree) fn next(&self, run: &Extraction<'_>, work: impl FnMut(&'a T) -> Result<()>) -> Result<bool> {
        run.failure.check(run.task)?;
        let from = self.next.fetch_add(RUN, Ordering::Relaxed).min(self.items.len());
        let items = &self.items[from..self.items.len().min(from + RUN)];
        items.iter().try_for_each(work).map(|()| !items.is_empty())
    }

    /// Does `work` with one run after the other, until nothing is left or it fails.
    pub(in crate::tree) fn each(&self, run: &Extraction<'_>, mut work: impl FnMut(&'a T) -> Result<()>) -> Result<()> {
        while self.next(run, &mut work)? {}
        Ok(())
    }
}

/// Does `work` with all items, on as many threads as they are worth.
pub(in crate::tree) fn spread<T: Sync>(
    run: &Extraction<'_>,
    items: &[T],
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<()> {
    let queue = Queue::new(items);
    run.failure.on_threads(run.threads.min(items.len().div_ceil(RUN)), || queue.each(run, &work))
}
