//! What the images say that a tree was made from before: what came from them and is gone from the new one, and which
//! files changed although neither size nor time did.
//!
//! ```text
//!  page of the new image   [a   c d]          its span of paths reaches up to the next page
//!  rows of earlier ones    [a b c d e]        ──> b and e are gone; d has other content at the same size and time
//! ```
//!
//! A tree notes the image it was made from in an attribute of its root. Without that note, or when the store no longer
//! has the image, everything that the new image has not counts as local, and size and time are believed.

use super::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::image::manifest::PageRef;
use crate::image::row::{KIND_MASK, Kind, Row};
use crate::image::{ChunkSet, Hash, path};
use crate::job::Task;
use crate::store::{Image, RowCursor};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What `stat` would say of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Brought {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, u32),
    size: u64,
}

impl Brought {
    pub(super) fn of(row: &Row) -> Self {
        Self { mode: row.mode, owner: (row.uid, row.gid), mtime: row.mtime, size: row.size() }
    }

    /// Whether an entry is as it was brought. A directory changes with what is in it.
    pub(super) fn is(&self, e: &Entry) -> bool {
        if e.is_directory() {
            return self.mode & KIND_MASK == e.kind();
        }
        let size = if e.is_file() { e.size } else { 0 };
        let now = (u32::from(e.mode), (e.uid, e.gid), (e.mtime_s, e.mtime_ns), size);
        now == (self.mode, self.owner, self.mtime, self.size)
    }
}

/// A path that an earlier image had and the new one has not.
pub(super) type Gone = (Vec<u8>, Brought);

/// What earlier images had and the new one has not.
#[derive(Default)]
pub(super) struct History {
    pub(super) gone: HashMap<Vec<u8>, Vec<Brought>>,
}

impl History {
    pub(super) fn new(gone: impl IntoIterator<Item = Gone>) -> Self {
        let mut out = Self::default();
        for (path, brought) in gone {
            out.gone.entry(path).or_default().push(brought);
        }
        out
    }

    /// Whether an entry came from an earlier image, and nobody changed it since.
    pub(super) fn brought(&self, path: &[u8], e: &Entry) -> bool {
        self.gone.get(path).is_some_and(|all| all.iter().any(|b| b.is(e)))
    }
}

/// The images that a tree was made from, as far as they can be read.
#[derive(Default)]
pub(super) struct Earlier {
    images: Vec<Image>,
    /// What is wrong with each of them.
    lost: Mutex<HashMap<Hash, Error>>,
}

impl Earlier {
    /// Those of a tree that is to become `to`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn new(ids: &[Hash], to: &Image) -> Result<Self> {
        let mut out = Self::default();
        // What the tree was made from is found by its hash, and nothing of it is put anywhere: no key has to vouch for it.
        let store = to.store().plain();
        for id in ids.iter().filter(|id| **id != to.id()) {
            match store.image_by_id(*id) {
                Ok(image) => out.images.push(image),
                Err(e) => out.lose(*id, e)?,
            }
        }
        Ok(out)
    }

    /// Goes on without an image that is not there, or not whole.
    fn lose(&self, image: Hash, e: Error) -> Result<()> {
        if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Integrity) {
            return Err(e);
        }
        self.lost().entry(image).or_insert(e);
        Ok(())
    }

    fn lost(&self) -> MutexGuard<'_, HashMap<Hash, Error>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the pages of all of them to a set.
    pub(super) fn need_pages(&self, set: &mut ChunkSet) {
        self.images.iter().for_each(|image| image.need_pages(set));
    }

    /// All of them.
    pub(super) fn images(&self) -> &[Image] {
        &self.images
    }

    /// How many images could not be read. One that is lost on the way was seen in part: who looks again sees nothing of it.
    pub(super) fn count_lost(&self) -> usize {
        self.lost().len()
    }

    /// Says which images could not be read.
    pub(super) fn warn(&self, task: &Task) {
        for (id, e) in self.lost().iter() {
            task.warn(format!("the tree was made from image {id}, which cannot be read: {e}"));
        }
    }

    /// The rows beside a page of the new image, and up to the next one.
    pub(super) fn span<'e>(&'e self, pages: &'e [PageRef], number: usize) -> Span<'e> {
        let (page, end) = (&pages[number], pages.get(number + 1).map(|p| p.first.as_slice()));
        let beside = |image: &'e Image| {
            let table = &image.manifest().pages;
            let from = table.partition_point(|p| path::compare(&p.first, &page.first).is_le());
            // A page that both have tells nothing; the one before the first has nothing from here on.
            match from.checked_sub(1) {
                Some(n) if table[n].hash != page.hash => RowCursor::new(image, n),
                _ => RowCursor::new(image, from),
            }
        };
        let cursors = self.images.iter().filter(|i| !self.lost().contains_key(&i.id())).map(beside).collect();
        Span { earlier: self, cursors, first: &page.first, end, gone: Vec::new() }
    }
}

/// The rows of earlier images along a page of the new one.
pub(super) struct Span<'e> {
    earlier: &'e Earlier,
    cursors: Vec<RowCursor<'e>>,
    first: &'e [u8],
    end: Option<&'e [u8]>,
    /// What was met that the new image has not.
    pub(super) gone: Vec<Gone>,
}

impl Span<'_> {
    /// Goes on to a row of the new image. Whether its content differs from an earlier one's although size and time are
    /// equal.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn beside(&mut self, row: &Row) -> Result<bool> {
        let (first, mut disguised) = (self.first, false);
        self.each(&mut |cursor, gone| {
            while let Some(order) = cursor.path().map(|p| path::compare(p, &row.path)) {
                if order == Ordering::Greater {
                    break;
                }
                let old = cursor.get()?;
                match order {
                    Ordering::Equal => disguised |= is_disguised(old, row),
                    // Rows before the page belong to the page before.
                    _ if path::compare(&old.path, first).is_lt() => {}
                    _ => gone.push((old.path.clone(), Brought::of(old))),
                }
                cursor.pass()?;
            }
            Ok(())
        })?;
        Ok(disguised)
    }

    /// Goes on to the end of the span, and gives what is gone.
    ///
    /// # Errors
    /// As [`Span::beside`].
    pub(super) fn finish(mut self) -> Result<Vec<Gone>> {
        let end = self.end;
        self.each(&mut |cursor, gone| {
            while cursor.path().is_some_and(|p| end.is_none_or(|end| path::compare(p, end).is_lt())) {
                let old = cursor.get()?;
                gone.push((old.path.clone(), Brought::of(old)));
                cursor.pass()?;
            }
            Ok(())
        })?;
        Ok(self.gone)
    }

    /// Calls `f` with the cursor of each image; one that cannot be read is left out from then on.
    fn each(&mut self, f: &mut dyn FnMut(&mut RowCursor<'_>, &mut Vec<Gone>) -> Result<()>) -> Result<()> {
        let (earlier, gone) = (self.earlier, &mut self.gone);
        let mut failed = Ok(());
        self.cursors.retain_mut(|cursor| {
            let done = f(cursor, gone);
            let lost = done.is_err();
            if let Err(e) = done {
                let lose = earlier.lose(cursor.image().id(), e);
                failed = std::mem::replace(&mut failed, Ok(())).and(lose);
            }
            !lost
        });
        failed
    }
}

fn is_disguised(old: &Row, new: &Row) -> bool {
    let (Kind::File { size, content }, Kind::File { size: size2, content: content2 }) = (&old.kind, &new.kind) else {
        return false;
    };
    size == size2 && old.mtime == new.mtime && content != content2
}
