//! What a capture read, kept small: 12 bytes for an ordinary file, and its items.

use crate::image::row::Xattrs;
use crate::image::{Content, Item};
use crate::secrets::Hit;
use crate::tree::Entry;
use std::collections::{HashMap, HashSet};

/// What was read, by entry number.
#[derive(Default)]
pub(super) struct Contents {
    items: Vec<Item>,
    /// (entry, first item, count), sorted by entry once all is read.
    near: Vec<(u32, u32, u32)>,
    /// Content in lists, with the bytes of its chunks.
    far: HashMap<u32, (Content, u64)>,
    pub(super) targets: HashMap<u32, Vec<u8>>,
    pub(super) xattrs: HashMap<u32, Xattrs>,
    /// Entries that were something else by the time they were read.
    pub(super) fresh: HashMap<u32, Entry>,
    pub(super) torn: HashSet<u32>,
    pub(super) vanished: HashSet<u32>,
    pub(super) torn_paths: Vec<String>,
    /// Secrets in the files that were read.
    pub(super) found: Vec<(u32, Hit)>,
    pub(super) notes: Vec<String>,
    pub(super) bytes: u64,
}

impl Contents {
    /// Keeps the content of a file, with the bytes of its chunks.
    pub(super) fn keep(&mut self, entry: u32, content: Content, data: u64) {
        match content {
            Content::Near(items) if items.is_empty() => {}
            Content::Near(items) => {
                self.near.push((entry, self.items.len() as u32, items.len() as u32));
                self.items.extend(items);
            }
            far @ Content::Far { .. } => {
                self.far.insert(entry, (far, data));
            }
        }
    }

    /// Takes back what was kept last, if it is of this file.
    pub(super) fn take_back(&mut self, entry: u32) {
        if let Some((_, first, _)) = self.near.pop_if(|n| n.0 == entry) {
            self.items.truncate(first as usize);
        }
        self.far.remove(&entry);
    }

    pub(super) fn content(&self, entry: u32) -> Content {
        if let Some((far, _)) = self.far.get(&entry) {
            return far.clone();
        }
        match self.near.binary_search_by_key(&entry, |n| n.0) {
            Ok(i) => {
                let (_, first, count) = self.near[i];
                Content::Near(self.items[first as usize..][..count as usize].to_vec())
            }
            Err(_) => Content::empty(),
        }
    }

    /// Bytes of the chunks of a file whose content stands in lists.
    pub(super) fn far_data(&self, entry: u32) -> Option<u64> {
        self.far.get(&entry).map(|(_, data)| *data)
    }

    pub(super) fn target(&self, entry: u32) -> Vec<u8> {
        self.targets.get(&entry).cloned().unwrap_or_default()
    }

    pub(super) fn xattrs(&self, entry: u32) -> Xattrs {
        self.xattrs.get(&entry).cloned().unwrap_or_else(|| [].into())
    }

    /// Adds what another worker read.
    pub(super) fn merge(&mut self, other: Self) {
        let shift = self.items.len() as u32;
        // Exactly: what a vector takes ahead would be the peak of a capture of very many files.
        self.near.reserve_exact(other.near.len());
        self.items.reserve_exact(other.items.len());
        self.near.extend(other.near.into_iter().map(|(e, first, n)| (e, first + shift, n)));
        if self.items.is_empty() {
            self.items = other.items;
        } else {
            self.items.extend(other.items);
        }
        self.far.extend(other.far);
        self.targets.extend(other.targets);
        self.xattrs.extend(other.xattrs);
        self.fresh.extend(other.fresh);
        self.torn.extend(other.torn);
        self.vanished.extend(other.vanished);
        self.torn_paths.extend(other.torn_paths);
        self.found.extend(other.found);
        self.notes.extend(other.notes);
        self.bytes += other.bytes;
    }

    /// Sorts what is looked up, when all workers have ended.
    pub(super) fn sort(&mut self) {
        self.near.sort_unstable();
        self.torn_paths.sort();
        self.notes.sort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Hash;

    #[test]
    fn workers_come_together_and_a_file_is_taken_back() {
        let item = |n: u8| Item::Chunk { length: n.into(), hash: Hash::of(&[n]) };
        let (mut one, mut two) = (Contents::default(), Contents::default());
        one.keep(7, Content::Near(vec![item(1), Item::Hole(5)]), 1);
        one.keep(3, Content::Near(vec![item(2)]), 2);
        one.keep(9, Content::Near(Vec::new()), 0);
        two.keep(5, Content::Near(vec![item(3)]), 3);
        two.take_back(4);
        two.keep(4, Content::Near(vec![item(4), item(5)]), 9);
        two.take_back(4);
        let far = Content::Far { items: 600, lists: vec![(10, Hash::of(b"list"))] };
        two.keep(6, far.clone(), 77);
        two.keep(8, Content::Near(vec![item(6)]), 6);
        one.merge(two);
        one.sort();
        assert_eq!(one.content(7), Content::Near(vec![item(1), Item::Hole(5)]));
        assert_eq!(one.content(3), Content::Near(vec![item(2)]));
        assert_eq!(one.content(5), Content::Near(vec![item(3)]));
        assert_eq!(one.content(8), Content::Near(vec![item(6)]));
        assert_eq!((one.content(6), one.far_data(6), one.far_data(7)), (far, Some(77), None));
        assert_eq!((one.content(4), one.content(9)), (Content::empty(), Content::empty()));
        one.take_back(6);
        assert_eq!(one.content(6), Content::empty());
    }
}
