//! The rows of an image, page by page.

use super::{ChunkSource, Image};
use crate::error::{Error, Result};
use crate::image::manifest::PageRef;
use crate::image::page::Rows;
use crate::image::{ChunkSet, Hash, Row};
use std::collections::{HashMap, HashSet};

/// The rows of one page, one after the other, each in the place of the one before.
pub struct PageRows<'i> {
    image: &'i Image,
    page: &'i PageRef,
    rows: Rows<Vec<u8>>,
    begun: bool,
}

impl Image {
    /// The rows in path order. The rules that span pages are for [`crate::image::rules::Rules`].
    ///
    /// # Errors
    /// Each item may fail with `Integrity`; the iterator then ends.
    pub fn rows(&self) -> Result<impl Iterator<Item = Result<Row>> + '_> {
        self.expect_pages()?;
        Ok(self.manifest().pages.iter().flat_map(|page| match self.page(page) {
            Ok(rows) => rows.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(e) => vec![Err(e)],
        }))
    }

    /// Calls `f` with the rows in path order; quicker than [`Image::rows`], because it makes no new row for each.
    ///
    /// # Errors
    /// `Integrity` when a page is damaged, and what `f` returns.
    pub(crate) fn each_row(&self, mut f: impl FnMut(&Row) -> Result<()>) -> Result<()> {
        self.expect_pages()?;
        let mut blocks = PageBlocks::of(self)?;
        for page in &self.manifest().pages {
            let mut rows = self.open_page(page)?;
            while let Some(row) = rows.read()? {
                f(row)?;
            }
            blocks.was_read(page)?;
        }
        Ok(())
    }

    /// Looks all pages up together, which is quicker than one after the other.
    ///
    /// # Errors
    /// Those of the backend.
    pub(crate) fn expect_pages(&self) -> Result<()> {
        let mut set = ChunkSet::default();
        self.need_pages(&mut set);
        self.store().expect(&set)
    }

    /// Opens the first `count` blocks that hold pages, so that the threads which read them need not wait for each other.
    /// What fails here fails again when the pages are read.
    pub(crate) fn open_first_blocks(&self, count: usize) {
        let mut opened = HashSet::new();
        for page in &self.manifest().pages {
            let Ok(Some((pack, place))) = self.store().find(&page.hash) else { return };
            if !opened.insert((pack, place.offset)) {
                continue;
            }
            if opened.len() > count || self.store().chunk(&page.hash, page.bytes).is_err() {
                return;
            }
        }
    }

    /// Adds the pages to a set.
    pub(crate) fn need_pages(&self, set: &mut ChunkSet) {
        for p in &self.manifest().pages {
            set.insert(p.hash, p.bytes);
        }
    }

    /// The rows of one page.
    ///
    /// # Errors
    /// `Integrity` when it is damaged or is not what the page table says.
    pub fn page(&self, page: &PageRef) -> Result<Vec<Row>> {
        let mut rows = self.open_page(page)?;
        let mut out = Vec::with_capacity(page.rows as usize);
        while let Some(row) = rows.read()? {
            out.push(row.clone());
        }
        Ok(out)
    }

    /// The rows of one page, to be read one after the other.
    ///
    /// # Errors
    /// As [`Image::page`].
    pub fn open_page<'i>(&'i self, page: &'i PageRef) -> Result<PageRows<'i>> {
        let bytes = self.store().chunk(&page.hash, page.bytes).map_err(|e| named(e, self, page))?;
        let rows = Rows::new(bytes).map_err(|e| named(e.into(), self, page))?;
        if rows.left() != page.rows as usize {
            return Err(other(self, page));
        }
        Ok(PageRows { image: self, page, rows, begun: false })
    }
}

impl PageRows<'_> {
    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// `Integrity` when the page is damaged or is not what the page table says.
    pub fn read(&mut self) -> Result<Option<&Row>> {
        let Self { image, page, rows, begun } = self;
        match rows.read() {
            Err(e) => Err(named(e.into(), image, page)),
            Ok(Some(row)) if !std::mem::replace(begun, true) && row.path != page.first => Err(other(image, page)),
            Ok(row) => Ok(row),
        }
    }

    /// The row that was read last.
    #[must_use]
    pub fn row(&self) -> &Row {
        self.rows.row()
    }
}

/// The blocks that hold the pages of an image. Each is closed when the last of its pages was read: those of a large image, which
/// lie one after the other, are then never open all at once.
struct PageBlocks<'i> {
    image: &'i Image,
    /// How many pages are still to be read of each, by pack and offset.
    left: HashMap<(Hash, u32), usize>,
}

impl<'i> PageBlocks<'i> {
    fn of(image: &'i Image) -> Result<Self> {
        let mut left = HashMap::new();
        for page in &image.manifest().pages {
            // Whoever reads it says that it is missing.
            let Some((pack, place)) = image.store().find(&page.hash)? else { break };
            *left.entry((pack, place.offset)).or_default() += 1;
        }
        Ok(Self { image, left })
    }

    fn was_read(&mut self, page: &PageRef) -> Result<()> {
        let Some((pack, place)) = self.image.store().find(&page.hash)? else { return Ok(()) };
        if let Some(left) = self.left.get_mut(&(pack, place.offset)) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.image.store().close_block(pack, place);
            }
        }
        Ok(())
    }
}

/// The rows of an image in path order, from one of its pages on. It stands at a row, or before a page that is not read yet.
pub(crate) struct RowCursor<'i> {
    image: &'i Image,
    next: usize,
    open: Option<PageRows<'i>>,
}

impl<'i> RowCursor<'i> {
    /// Before the page of this number.
    pub(crate) fn new(image: &'i Image, page: usize) -> Self {
        Self { image, next: page, open: None }
    }

    pub(crate) fn image(&self) -> &'i Image {
        self.image
    }

    /// The page that is next, when none is open.
    pub(crate) fn at_page(&self) -> Option<&'i PageRef> {
        if self.open.is_none() { self.image.manifest().pages.get(self.next) } else { None }
    }

    /// Steps over the page that is next.
    pub(crate) fn skip_page(&mut self) {
        self.next += 1;
    }

    /// The path of the row; `None` at the end. A page tells its first one without being read.
    pub(crate) fn path(&self) -> Option<&[u8]> {
        let open = self.open.as_ref().map(|rows| rows.row().path.as_slice());
        open.or_else(|| self.at_page().map(|p| p.first.as_slice()))
    }

    /// The row; not at the end.
    ///
    /// # Errors
    /// `Integrity` when its page is damaged.
    pub(crate) fn get(&mut self) -> Result<&Row> {
        if let Some(page) = self.at_page() {
            self.next += 1;
            let rows = self.open.insert(self.image.open_page(page)?);
            rows.read()?;
        }
        let at_end = || Error::new(crate::ErrorKind::Bug, "there is no row after the last one");
        self.open.as_ref().map(PageRows::row).ok_or_else(at_end)
    }

    /// Goes on to the next row.
    ///
    /// # Errors
    /// As [`RowCursor::get`].
    pub(crate) fn pass(&mut self) -> Result<()> {
        if let Some(rows) = &mut self.open
            && rows.read()?.is_none()
        {
            self.open = None;
        }
        Ok(())
    }
}

fn named(e: Error, image: &Image, page: &PageRef) -> Error {
    e.fact("page", page.hash.to_string()).fact("images", vec![image.id().to_string()])
}

fn other(image: &Image, page: &PageRef) -> Error {
    named(Error::integrity(format!("page {} is not what the page table says", page.hash)), image, page)
}
