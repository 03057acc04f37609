//! The chunks that an image consists of: its pages, its lists, long attribute values, the content of its files.

use super::image::each_item;
use super::{Image, Store};
use crate::error::Result;
use crate::image::row::Value;
use crate::image::{Content, Hash, Item, Kind, Row};
use std::collections::HashSet;

/// Tells what images need, of several images each page once.
#[derive(Default)]
pub(super) struct Needs {
    pages: HashSet<Hash>,
}

impl Needs {
    /// Whether this is a page of one of the images.
    pub(super) fn has_page(&self, hash: &Hash) -> bool {
        self.pages.contains(hash)
    }

    /// Calls `f` with the name and length of each chunk of the image, as often as it occurs, but for what is in pages of
    /// images before.
    ///
    /// # Errors
    /// `Integrity` when a page or list is missing or damaged, and what `f` returns.
    pub(super) fn of(&mut self, image: &Image, f: &mut dyn FnMut(&Hash, u32) -> Result<()>) -> Result<()> {
        for page in &image.manifest().pages {
            if self.pages.contains(&page.hash) {
                continue;
            }
            f(&page.hash, page.bytes)?;
            for row in image.page(page)? {
                of_row(image.store(), &row, f)?;
            }
            self.pages.insert(page.hash);
        }
        Ok(())
    }
}

/// Calls `f` with the name and length of each chunk that a row needs.
///
/// # Errors
/// `Integrity` when a list is missing or damaged, and what `f` returns.
pub(crate) fn of_row(store: &Store, row: &Row, f: &mut dyn FnMut(&Hash, u32) -> Result<()>) -> Result<()> {
    for x in row.xattrs.iter() {
        if let Value::Far { hash, length } = &x.value {
            f(hash, *length)?;
        }
    }
    let Kind::File { content, .. } = &row.kind else { return Ok(()) };
    if let Content::Far { lists, .. } = content {
        lists.iter().try_for_each(|(bytes, hash)| f(hash, *bytes))?;
    }
    each_item(store, content, |item| match item {
        Item::Chunk { length, hash } => f(hash, *length),
        Item::Hole(_) => Ok(()),
    })
}
