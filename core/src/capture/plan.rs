//! Which entries have to be read: those that the stat cache does not vouch for.

use super::cache::Cache;
use crate::error::{ErrorKind, Result};
use crate::image::{Row, path};
use crate::job::Task;
use crate::secrets::Hit;
use crate::store::needs::of_row;
use crate::store::{Image, Session};
use crate::tree::entry::{EMPTIED, LINKED};
use crate::tree::{Entry, Tree};
use std::cmp::Ordering;
use std::collections::HashSet;

/// What to read.
#[derive(Default)]
pub(super) struct Plan {
    /// Entries to read, in path order.
    pub(super) todo: Vec<u32>,
    /// Entries whose row of the parent image stands, one bit each, by entry number.
    pub(super) kept: Vec<bool>,
    /// Secrets that the last capture found in entries that are not read again.
    pub(super) found: Vec<(u32, Hit)>,
    /// Bytes of the files to read.
    pub(super) bytes: u64,
}

impl Plan {
    pub(super) fn make(
        tree: &Tree,
        order: &[u32],
        parent: Option<&Image>,
        cache: Option<&Cache>,
        session: &Session,
        task: &Task,
    ) -> Result<Self> {
        let mut plan = Self { kept: vec![false; tree.len()], ..Self::default() };
        let mut old = OldRows::new(parent.filter(|_| cache.is_some()));
        let mut candidates = Vec::new();
        let mut path = Vec::new();
        for &n in order {
            let e = tree.entry(n);
            tree.path_into(n, &mut path);
            if let (Some(cache), Some((at, row))) = (cache, old.find(&path)?) {
                let same = cache.seen.get(at).is_some_and(|seen| cache.vouches(seen, e))
                    && (row.mode, row.uid, row.gid) == (u32::from(e.mode), e.uid, e.gid)
                    && row.mtime == row_mtime(e)
                    && row.size() == row_size(e)
                    && !row.torn;
                if same {
                    plan.kept[n as usize] = true;
                    plan.found.extend(cache.found_in(at).map(|hit| (n, hit)));
                    continue;
                }
            }
            candidates.push(n);
        }
        plan.todo = candidates;
        task.check()?;
        // Where anything changed there will be a new image, and what it counts on must still be in the store. Where nothing
        // did, what the store has lost is given back to it.
        // A server looks at all of it before it publishes.
        let knows = session.has_index();
        if knows && (cache.is_some() && (!plan.todo.is_empty() || session.has_losses()?) || old.unmatched()?) {
            plan.verify(tree, order, parent, session)?;
        }
        // What is read again is looked at again.
        let Self { kept, found, .. } = &mut plan;
        found.retain(|(n, _)| kept[*n as usize]);
        plan.read_links_once(tree, order);
        plan.bytes = plan.todo.iter().map(|&n| tree.entry(n)).map(row_size).sum();
        Ok(plan)
    }

    /// Of a file with several names only the first is read: the others take its row.
    fn read_links_once(&mut self, tree: &Tree, order: &[u32]) {
        let mut seen = HashSet::new();
        let linked = order.iter().filter(|&&n| is_linked(tree.entry(n)));
        let later: HashSet<u32> = linked.filter(|&&n| !seen.insert(tree.entry(n).ino)).copied().collect();
        self.todo.retain(|n| !later.contains(n));
    }

    /// Takes back what counts on a chunk that the store lost: it is read again, which heals the store.
    fn verify(&mut self, tree: &Tree, order: &[u32], parent: Option<&Image>, session: &Session) -> Result<()> {
        let mut old = OldRows::new(parent);
        let mut path = Vec::new();
        let mut lost = false;
        for &n in order {
            if !self.kept[n as usize] {
                continue;
            }
            tree.path_into(n, &mut path);
            let complete = match old.find(&path)? {
                Some((_, row)) => holds_all(row, session)?,
                None => false,
            };
            if !complete {
                self.kept[n as usize] = false;
                lost = true;
            }
        }
        if lost {
            self.todo = order.iter().copied().filter(|&n| !self.kept[n as usize]).collect();
        }
        Ok(())
    }
}

/// The modification time in the image: an emptied file has none, so that a log that grows does not change the image.
pub(super) fn row_mtime(e: &Entry) -> (i64, u32) {
    if e.has(EMPTIED) { (0, 0) } else { (e.mtime_s, e.mtime_ns) }
}

/// The size in the image.
pub(super) fn row_size(e: &Entry) -> u64 {
    if e.is_file() && !e.has(EMPTIED) { e.size } else { 0 }
}

/// Whether it shares its inode with another name. An emptied file is no longer the file that its other names are.
pub(super) fn is_linked(e: &Entry) -> bool {
    e.has(LINKED) && !e.has(EMPTIED)
}

/// Whether the store has all that a row needs, and will have it. That it has a list says nothing of what the list names:
/// they may lie in different packs, of which one is about to go.
fn holds_all(row: &Row, session: &Session) -> Result<bool> {
    let mut complete = true;
    let done = of_row(session.store(), row, &mut |hash, _| {
        complete = complete && session.holds(hash)?;
        Ok(())
    });
    match done {
        Ok(()) => Ok(complete),
        // A list that cannot be read.
        Err(e) if e.kind() == ErrorKind::Integrity => Ok(false),
        Err(e) => Err(e),
    }
}

/// The rows of the parent image, walked along with the tree: both are in the same order.
pub(super) struct OldRows<'i> {
    image: Option<&'i Image>,
    page: usize,
    rows: Vec<Row>,
    at: usize,
    /// Rows before the current page.
    before: usize,
    skipped: bool,
}

impl<'i> OldRows<'i> {
    pub(super) fn new(image: Option<&'i Image>) -> Self {
        Self { image, page: 0, rows: Vec::new(), at: 0, before: 0, skipped: false }
    }

    /// The row with this path and its number, if there is one. Paths must be asked for in order.
    pub(super) fn find(&mut self, path: &[u8]) -> Result<Option<(usize, &Row)>> {
        while self.fill()? {
            match path::compare(&self.rows[self.at].path, path) {
                Ordering::Less => {
                    self.at += 1;
                    self.skipped = true;
                }
                Ordering::Greater => return Ok(None),
                Ordering::Equal => {
                    self.at += 1;
                    return Ok(Some((self.before + self.at - 1, &self.rows[self.at - 1])));
                }
            }
        }
        Ok(None)
    }

    /// Whether the image has a row that was not asked for.
    fn unmatched(&mut self) -> Result<bool> {
        Ok(self.skipped || self.fill()?)
    }

    fn fill(&mut self) -> Result<bool> {
        while self.at == self.rows.len() {
            let Some(image) = self.image else { return Ok(false) };
            if self.page == 0 {
                // Looks all pages up at once.
                image.expect_pages()?;
            }
            let Some(page) = image.manifest().pages.get(self.page) else { return Ok(false) };
            self.before += self.rows.len();
            self.rows = image.page(page)?;
            self.page += 1;
            self.at = 0;
        }
        Ok(true)
    }
}
