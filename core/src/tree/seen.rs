//! What a look at a tree found, row by row: kept small, and handed on as soon as it is known.

use super::entry::{Entry, Tree};
use super::history::Gone;
use crate::store::Field;
use std::collections::HashMap;
use std::sync::mpsc::Receiver;

/// A set of fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(u16);

impl Fields {
    /// No field.
    #[cfg(test)]
    pub(super) const NONE: Self = Self(0);

    pub(super) fn add(&mut self, field: Field) {
        self.0 |= 1 << field as u16;
    }

    pub(super) fn has(self, field: Field) -> bool {
        self.0 & 1 << field as u16 != 0
    }

    /// Whether there is none.
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether there is none but this one.
    pub(super) fn is_only(self, field: Field) -> bool {
        self.0 == 1 << field as u16
    }

    pub(super) fn list(self) -> Vec<Field> {
        Field::ALL.into_iter().filter(|f| self.has(*f)).collect()
    }
}

/// What stands at the path of a row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    Nothing,
    /// It lies on a filesystem that an image leaves alone.
    Foreign,
    /// An entry, on this device.
    Entry(Entry, (u32, u32)),
}

/// A row, looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) found: Found,
    /// In what it differs; the hard link group is not looked at, because it takes more than one row.
    pub(super) differs: Fields,
}

/// How a row was found, kept small: there may be millions.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    /// The number of an entry of the walk, or one of the constants.
    pub(super) at: u32,
    pub(super) differs: Fields,
}

impl Mark {
    pub(super) const NOTHING: u32 = u32::MAX;
    pub(super) const FOREIGN: u32 = u32::MAX - 1;
    /// Set for entries that the walk did not meet.
    pub(super) const APART: u32 = 1 << 31;
}

/// How the rows of a page were found.
#[derive(Default)]
pub(super) struct PageMarks {
    pub(super) rows: Vec<Mark>,
    /// Entries that the walk did not meet.
    pub(super) apart: Vec<(Entry, (u32, u32))>,
    /// Entries of the walk that have a row.
    pub(super) met: Vec<u32>,
    /// What earlier images had from here to the next page, and this one has not.
    pub(super) gone: Vec<Gone>,
}

impl PageMarks {
    fn seen(&self, mark: Mark, tree: &Tree) -> Seen {
        let found = match mark.at {
            Mark::NOTHING => Found::Nothing,
            Mark::FOREIGN => Found::Foreign,
            at if at & Mark::APART != 0 => {
                let (entry, device) = self.apart[(at & !Mark::APART) as usize];
                Found::Entry(entry, device)
            }
            at => Found::Entry(*tree.entry(at), tree.device),
        };
        Seen { found, differs: mark.differs }
    }
}

/// A tree beside an image.
pub(super) struct Examined {
    pub(super) tree: Tree,
    /// The entries of the walk in path order.
    pub(super) order: Vec<u32>,
    pages: Vec<PageMarks>,
    met: Vec<bool>,
}

impl Examined {
    pub(super) fn new(tree: Tree, order: Vec<u32>, pages: Vec<PageMarks>) -> Self {
        let mut met = vec![false; tree.len()];
        pages.iter().flat_map(|p| &p.met).for_each(|&n| met[n as usize] = true);
        Self { tree, order, pages, met }
    }

    /// The rows in path order.
    pub(super) fn rows(&self) -> impl Iterator<Item = Seen> + '_ {
        self.pages.iter().flat_map(move |page| page.rows.iter().map(move |mark| page.seen(*mark, &self.tree)))
    }

    /// What earlier images had and this one has not.
    pub(super) fn gone(&mut self) -> impl Iterator<Item = Gone> {
        self.pages.iter_mut().flat_map(|page| std::mem::take(&mut page.gone))
    }

    /// The entries of the walk that have no row, in path order.
    pub(super) fn extra(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.order.iter().copied().filter(|&n| !self.met[n as usize])
    }
}

/// The rows in path order, each as soon as it and all before it were looked at. Ends early when the look fails.
pub(super) struct Coming<'a> {
    tree: &'a Tree,
    looked_at: Receiver<(usize, PageMarks)>,
    /// Pages that were done before those in front of them.
    early: HashMap<usize, PageMarks>,
    /// The pages up to the one that rows are taken from.
    pages: Vec<PageMarks>,
    row: usize,
}

impl<'a> Coming<'a> {
    pub(super) fn new(tree: &'a Tree, looked_at: Receiver<(usize, PageMarks)>) -> Self {
        Self { tree, looked_at, early: HashMap::new(), pages: Vec::new(), row: 0 }
    }

    /// All pages, when the last one was looked at.
    pub(super) fn rest(&mut self) -> Vec<PageMarks> {
        while self.next_page().is_some() {}
        std::mem::take(&mut self.pages)
    }

    fn next_page(&mut self) -> Option<&PageMarks> {
        let number = self.pages.len();
        while !self.early.contains_key(&number) {
            let (n, marks) = self.looked_at.recv().ok()?;
            self.early.insert(n, marks);
        }
        self.pages.extend(self.early.remove(&number));
        self.row = 0;
        self.pages.last()
    }
}

impl Iterator for Coming<'_> {
    type Item = Seen;

    fn next(&mut self) -> Option<Seen> {
        loop {
            let page = match self.pages.last() {
                Some(page) if self.row < page.rows.len() => page,
                _ => {
                    self.next_page()?;
                    continue;
                }
            };
            self.row += 1;
            return Some(page.seen(page.rows[self.row - 1], self.tree));
        }
    }
}
