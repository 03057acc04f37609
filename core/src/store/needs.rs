//! The chunks that an image consists of: its pages, its lists, long attribute values, the content of its files.

use super::image::each_item;
use super::{Image, Store};
use crate::error::Result;
use crate::image::row::Value;
use crate::image::{Content, Hash, Item, Kind, Row};
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tells what images need, of several images each page once. Several threads may ask.
#[derive(Default)]
pub(super) struct Needs {
    pages: Mutex<HashSet<Hash>>,
}

impl Needs {
    /// Whether this is a page of one of the images.
    pub(super) fn has_page(&self, hash: &Hash) -> bool {
        self.pages().contains(hash)
    }

    fn pages(&self) -> MutexGuard<'_, HashSet<Hash>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `f` with the name and length of each chunk of the image, as often as it occurs, but for what is in pages of
    /// images before.
    ///
    /// # Errors
    /// `Integrity` when a page or list is missing or damaged, and what `f` returns.
    pub(super) fn of(&self, image: &Image, f: &mut dyn FnMut(&Hash, u32) -> Result<()>) -> Result<()> {
        for page in &image.manifest().pages {
            if !self.pages().insert(page.hash) {
                continue;
            }
            f(&page.hash, page.bytes)?;
            let mut rows = image.open_page(page)?;
            while let Some(row) = rows.read()? {
                of_row(image.store(), row, f)?;
            }
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
