//! Rows become pages.

use super::*;
use crate::image::leb::{put, put_signed, put_str};
use crate::image::path::shared_prefix;
use crate::image::row::{Content, Item, Kind, Row, Value, Xattr};
use crate::image::{FormatError, Hash};
use std::collections::HashMap;

/// Whether the row with this path begins a page by the rule of its hash.
#[must_use]
pub fn begins_page(path: &[u8]) -> bool {
    let hash = Hash::of(path).0;
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_le_bytes(first) % CUT_MODULUS == 0
}

/// A finished page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Path of its first row.
    pub first: Vec<u8>,
    /// Number of rows.
    pub rows: usize,
    /// The encoding, whose BLAKE3 is the page's name.
    pub bytes: Vec<u8>,
}

/// Collects rows, which must come in order, and gives pages.
#[derive(Default)]
pub struct PageWriter {
    body: Vec<u8>,
    scratch: Vec<u8>,
    rows: usize,
    first: Vec<u8>,
    last: Vec<u8>,
    mtime: i64,
    sets: HashMap<std::sync::Arc<[Xattr]>, u64>,
}

impl PageWriter {
    /// Adds a row; when it begins a new page, the page before it is finished and returned.
    ///
    /// # Errors
    /// `Limit` when the attributes of the row are too large.
    pub fn add(&mut self, row: &Row) -> Result<Option<Page>, FormatError> {
        let mut done = None;
        if self.rows > 0 && (self.rows == ROW_LIMIT || begins_page(&row.path)) {
            done = self.finish();
        }
        self.encode(row)?;
        if self.rows > 0 && self.header_len() + self.body.len() + self.scratch.len() > SOFT_LIMIT {
            self.forget_set(row);
            done = self.finish();
            self.encode(row)?;
        }
        if self.rows == 0 {
            self.first.clone_from(&row.path);
        }
        self.body.extend_from_slice(&self.scratch);
        self.rows += 1;
        self.last.clone_from(&row.path);
        self.mtime = row.mtime.0;
        Ok(done)
    }

    /// Finishes the page that is open, if any row is in it.
    pub fn finish(&mut self) -> Option<Page> {
        if self.rows == 0 {
            return None;
        }
        let mut bytes = Vec::with_capacity(self.header_len() + self.body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        put(&mut bytes, self.rows as u64);
        bytes.extend_from_slice(&self.body);
        let page = Page { first: std::mem::take(&mut self.first), rows: self.rows, bytes };
        let (body, scratch) = (std::mem::take(&mut self.body), std::mem::take(&mut self.scratch));
        *self = Self { body, scratch, ..Self::default() };
        self.body.clear();
        Some(page)
    }

    fn header_len(&self) -> usize {
        // Magic, version, and a row count that takes two bytes from 128 on.
        5 + if self.rows + 1 >= 128 { 2 } else { 1 }
    }

    /// A row that did not fit takes its new attribute set back out: the set belongs to the next page.
    fn forget_set(&mut self, row: &Row) {
        let newest = (self.sets.len() as u64).wrapping_sub(1);
        if self.sets.get(&row.xattrs) == Some(&newest) {
            self.sets.remove(&row.xattrs);
        }
    }

    fn encode(&mut self, row: &Row) -> Result<(), FormatError> {
        let out = &mut self.scratch;
        out.clear();
        let shared = if self.rows == 0 { 0 } else { shared_prefix(&self.last, &row.path) };
        put(out, shared as u64);
        put_str(out, &row.path[shared..]);
        put(out, u64::from(row.mode));
        put(out, u64::from(row.uid));
        put(out, u64::from(row.gid));
        put_signed(out, row.mtime.0.wrapping_sub(if self.rows == 0 { 0 } else { self.mtime }));
        put(out, u64::from(row.mtime.1));
        let bit = |on: bool, bit: u64| if on { bit } else { 0 };
        put(
            out,
            bit(row.group.is_some(), HAS_GROUP)
                | bit(!row.xattrs.is_empty(), HAS_XATTRS)
                | bit(row.inode_flags != 0, HAS_INODE_FLAGS)
                | bit(row.torn, TORN),
        );
        if let Some(group) = row.group {
            out.extend_from_slice(&group);
        }
        if !row.xattrs.is_empty() {
            let next = self.sets.len() as u64;
            match self.sets.get(&row.xattrs) {
                Some(&number) => put(out, number),
                None => {
                    put(out, next);
                    encode_set(out, &row.xattrs)?;
                    self.sets.insert(row.xattrs.clone(), next);
                }
            }
        }
        if row.inode_flags != 0 {
            put(out, u64::from(row.inode_flags));
        }
        match &row.kind {
            Kind::File { size, content } => {
                put(out, *size);
                encode_content(out, content);
            }
            Kind::Link(target) => put_str(out, target),
            Kind::Device { major, minor } => {
                put(out, u64::from(*major));
                put(out, u64::from(*minor));
            }
            Kind::Directory | Kind::Fifo => {}
        }
        Ok(())
    }
}

fn encode_set(out: &mut Vec<u8>, set: &[Xattr]) -> Result<(), FormatError> {
    let start = out.len();
    put(out, set.len() as u64);
    for x in set {
        put_str(out, &x.name);
        match &x.value {
            Value::Near(v) => {
                put(out, (v.len() as u64) << 1);
                out.extend_from_slice(v);
            }
            Value::Far { length, hash } => {
                put(out, u64::from(*length) << 1 | 1);
                out.extend_from_slice(&hash.0);
            }
        }
    }
    let over = out.len() - start > SET_LIMIT || set.len() > XATTR_LIMIT;
    if over { Err(FormatError::Limit { what: "an attribute set", limit: SET_LIMIT as u64 }) } else { Ok(()) }
}

fn encode_content(out: &mut Vec<u8>, content: &Content) {
    match content {
        Content::Near(items) => {
            put(out, (items.len() as u64) << 1);
            items.iter().for_each(|i| encode_item(out, i));
        }
        Content::Far { items, lists } => {
            put(out, items << 1 | 1);
            put(out, lists.len() as u64);
            for (bytes, hash) in lists {
                put(out, u64::from(*bytes));
                out.extend_from_slice(&hash.0);
            }
        }
    }
}

fn encode_item(out: &mut Vec<u8>, item: &Item) {
    match item {
        Item::Chunk { length, hash } => {
            put(out, u64::from(*length) << 1);
            out.extend_from_slice(&hash.0);
        }
        Item::Hole(n) => put(out, n << 1 | 1),
    }
}

/// The raw bytes of a list of at most [`LIST_ITEMS`] items.
#[must_use]
pub fn encode_list(items: &[Item]) -> Vec<u8> {
    let mut out = Vec::with_capacity(items.len() * 35);
    items.iter().for_each(|i| encode_item(&mut out, i));
    out
}

/// A digest of everything of a row but its path, the same for all names of a hard link group.
#[must_use]
pub fn row_digest(row: &Row) -> Hash {
    let mut w = PageWriter::default();
    let nameless = Row { path: Vec::new(), ..row.clone() };
    // Attributes over the limit cannot stand in a row that was read or written.
    match w.encode(&nameless) {
        Ok(()) => Hash::of(&w.scratch),
        Err(_) => Hash::of(&[]),
    }
}
