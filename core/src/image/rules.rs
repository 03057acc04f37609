//! The rules that span pages: parents, order, hard link groups, totals. Whoever reads a whole tree feeds its rows here.

use super::manifest::Totals;
use super::page::row_digest;
use super::row::{Content, Group, Item, Kind, Row};
use super::{FormatError, Hash, path};
use crate::sys::confined::show;
use std::collections::HashMap;

/// Checks rows as they come, in order, and sums them up.
#[derive(Default)]
pub struct Rules {
    directories: Vec<Vec<u8>>,
    last: Option<Vec<u8>>,
    groups: HashMap<Group, (Hash, bool)>,
    totals: Totals,
}

impl Rules {
    /// Takes the next row. True when its content counts: when it is not a later name of a hard link group.
    ///
    /// # Errors
    /// `Unsafe` when the row breaks a rule.
    pub fn row(&mut self, row: &Row) -> Result<bool, FormatError> {
        let bad = |rule| Err(FormatError::Unsafe { path: show(&row.path).into_owned(), rule });
        match &self.last {
            None if !row.path.is_empty() => return bad("the first row is the root"),
            Some(last) if path::compare(last, &row.path).is_ge() => {
                return bad("paths are in order, and none occurs twice");
            }
            _ => {}
        }
        if !row.path.is_empty() {
            let parent = path::parent(&row.path);
            while self.directories.last().is_some_and(|d| d.as_slice() != parent) {
                self.directories.pop();
            }
            if self.directories.is_empty() {
                return bad("the parent of an entry is a directory of the image");
            }
        }
        if row.is_directory() {
            self.directories.push(row.path.clone());
        }
        let counts = self.group(row)?;
        self.count(row, counts);
        let last = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(&row.path);
        Ok(counts)
    }

    fn group(&mut self, row: &Row) -> Result<bool, FormatError> {
        let Some(group) = row.group else { return Ok(true) };
        let digest = row_digest(row);
        let rule = match self.groups.get_mut(&group) {
            None if Hash::of(&row.path).half() != group => "a hard link group is named by its first path",
            None => {
                self.groups.insert(group, (digest, false));
                return Ok(true);
            }
            Some((first, _)) if *first != digest => "the names of a hard link group have equal metadata and content",
            Some((_, several)) => {
                *several = true;
                return Ok(false);
            }
        };
        Err(FormatError::Unsafe { path: show(&row.path).into_owned(), rule })
    }

    fn count(&mut self, row: &Row, counts: bool) {
        let t = &mut self.totals;
        t.rows += 1;
        match &row.kind {
            Kind::Directory => t.directories += 1,
            Kind::Link(_) => t.links += 1,
            Kind::Device { .. } | Kind::Fifo => t.special += 1,
            Kind::File { size, content } => {
                t.files += 1;
                if counts {
                    t.size = t.size.saturating_add(*size);
                    if let Content::Near(items) = content {
                        t.data = t.data.saturating_add(data_bytes(items));
                    }
                }
            }
        }
    }

    /// Adds the chunks of a list to the totals: rows with lists do not say how much of them is data.
    pub fn list(&mut self, items: &[Item]) {
        self.totals.data = self.totals.data.saturating_add(data_bytes(items));
    }

    /// Ends the tree and gives the sums.
    ///
    /// # Errors
    /// `Malformed` when a hard link group has one name only.
    pub fn finish(mut self) -> Result<Totals, FormatError> {
        if self.groups.values().any(|(_, several)| !several) {
            return Err(FormatError::malformed("image", "a hard link group has one name only"));
        }
        self.totals.groups = self.groups.len() as u64;
        Ok(self.totals)
    }
}

/// Attributes that are bound to the machine or would come alive where they do not belong; `--exact` keeps them.
pub const DROPPED_XATTRS: &[(&[u8], &str)] = &[
    (b"security.evm", "signature bound to the machine"),
    (b"trusted.overlay.", "would act in an overlay's lower layer"),
];

/// The bytes of the chunks among these items.
#[must_use]
pub fn data_bytes(items: &[Item]) -> u64 {
    items.iter().filter(|i| matches!(i, Item::Chunk { .. })).map(Item::length).sum()
}
