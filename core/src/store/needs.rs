//! The chunks that an image consists of: its pages, its lists, long attribute values, the content of its files.

use super::image::each_item;
use super::{Image, Store};
use crate::error::{Error, Result};
use crate::image::manifest::PageRef;
use crate::image::row::Value;
use crate::image::rules::Rules;
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
            // Another store may have it whole: what could not be read to its end was not seen.
            of_page(image, page, f).inspect_err(|_| _ = self.pages().remove(&page.hash))?;
        }
        Ok(())
    }
}

fn of_page(image: &Image, page: &PageRef, f: &mut dyn FnMut(&Hash, u32) -> Result<()>) -> Result<()> {
    f(&page.hash, page.bytes)?;
    let mut rows = image.open_page(page)?;
    while let Some(row) = rows.read()? {
        of_row(image.store(), row, f)?;
    }
    Ok(())
}

/// Calls `f` with the name and length of each chunk that a row needs.
///
/// # Errors
/// `Integrity` when a list is missing or damaged, and what `f` returns.
pub(crate) fn of_row(store: &Store, row: &Row, f: &mut dyn FnMut(&Hash, u32) -> Result<()>) -> Result<()> {
    named(row, f)?;
    listed(store, row, &mut |item| of_item(item, f))
}

/// The same for the next row of an image that is held against its rules. A later name of a file needs what the first did,
/// and nothing is called for it.
///
/// # Errors
/// As [`of_row`]; `Integrity` or `UnsafeInput` when the row breaks a rule.
pub(super) fn of_row_by_rules(
    store: &Store,
    row: &Row,
    rules: &mut Rules,
    f: &mut dyn FnMut(&Hash, u32) -> Result<()>,
) -> Result<()> {
    if !rules.row(row)? {
        return Ok(());
    }
    named(row, f)?;
    let Kind::File { content, size } = &row.kind else { return Ok(()) };
    let mut sum = match content {
        Content::Near(items) => items.iter().map(Item::length).fold(0, u64::saturating_add),
        Content::Far { .. } => 0,
    };
    listed(store, row, &mut |item| {
        sum = sum.saturating_add(item.length());
        rules.list(std::slice::from_ref(item));
        of_item(item, f)
    })?;
    if sum == *size { Ok(()) } else { Err(Error::integrity("the pieces of a file do not add up to its size")) }
}

/// The chunks that a row names itself: no list is read.
///
/// # Errors
/// What `f` returns.
pub(crate) fn named(row: &Row, f: &mut dyn FnMut(&Hash, u32) -> Result<()>) -> Result<()> {
    for x in row.xattrs.iter() {
        if let Value::Far { hash, length } = &x.value {
            f(hash, *length)?;
        }
    }
    let Kind::File { content, .. } = &row.kind else { return Ok(()) };
    match content {
        Content::Near(items) => items.iter().try_for_each(|item| of_item(item, f)),
        Content::Far { lists, .. } => lists.iter().try_for_each(|(bytes, hash)| f(hash, *bytes)),
    }
}

/// The items that stand in lists.
fn listed(store: &Store, row: &Row, f: &mut dyn FnMut(&Item) -> Result<()>) -> Result<()> {
    match &row.kind {
        Kind::File { content: content @ Content::Far { .. }, .. } => each_item(store, content, f),
        _ => Ok(()),
    }
}

fn of_item(item: &Item, f: &mut dyn FnMut(&Hash, u32) -> Result<()>) -> Result<()> {
    match item {
        Item::Chunk { length, hash } => f(hash, *length),
        Item::Hole(_) => Ok(()),
    }
}
