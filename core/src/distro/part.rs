//! A part of a stored file, read piece by piece. What lies before it is passed over by its length, and not read.
//!
//! ```text
//!  lists ──> items: chunk, hole, chunk ──> skip ──> left
//! ```
//!
//! One list of items is in memory at a time, however long the file is.

use crate::error::{Error, Result};
use crate::image::page::{LIST_ITEMS, decode_list};
use crate::image::{Content, Hash, Item};
use crate::store::{ChunkSource, Store};

/// A part of a file that is being read.
pub(crate) struct Part {
    store: Store,
    /// Items that are known, of which those before `at` lie behind.
    items: Vec<Item>,
    at: usize,
    /// Lists that were not read yet, and the items that are in them.
    lists: std::vec::IntoIter<(u32, Hash)>,
    listed: u64,
    /// Bytes before the part, from the front of the item at `at`.
    skip: u64,
    left: u64,
}

impl Part {
    pub(super) fn of(store: &Store, content: &Content, first: u64, length: u64) -> Self {
        let (items, lists, listed) = match content {
            Content::Near(items) => (items.clone(), Vec::new(), 0),
            Content::Far { items, lists } => (Vec::new(), lists.clone(), *items),
        };
        Self { store: store.clone(), items, at: 0, lists: lists.into_iter(), listed, skip: first, left: length }
    }

    /// Bytes that come yet.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The next bytes, at most `most` and at least one, before the end.
    ///
    /// # Errors
    /// `Integrity` when they are damaged.
    pub(crate) fn next(&mut self, most: usize) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(self.left.min(most as u64) as usize);
        while self.left > 0 && out.len() < most {
            let item = self.item()?;
            let length = match item {
                Item::Chunk { length, .. } => u64::from(length),
                Item::Hole(length) => length,
            };
            if self.skip >= length {
                (self.skip, self.at) = (self.skip - length, self.at + 1);
                continue;
            }
            let n = (length - self.skip).min(self.left).min((most - out.len()) as u64);
            match item {
                Item::Chunk { hash, length } => {
                    let from = self.skip as usize;
                    out.extend_from_slice(&self.store.chunk(&hash, length)?[from..from + n as usize]);
                }
                Item::Hole(_) => out.resize(out.len() + n as usize, 0),
            }
            (self.skip, self.left) = (self.skip + n, self.left - n);
        }
        Ok(out)
    }

    fn item(&mut self) -> Result<Item> {
        while self.at == self.items.len() {
            let ended = || Error::integrity("a file of the distribution is shorter than its size");
            let (bytes, hash) = self.lists.next().ok_or_else(ended)?;
            let count = self.listed.min(LIST_ITEMS as u64);
            self.listed -= count;
            self.items = decode_list(&self.store.chunk(&hash, bytes)?, count as usize)?;
            self.at = 0;
        }
        Ok(self.items[self.at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ContentBuilder;
    use crate::store::ChunkWriter;

    /// Content of so many chunks with a hole behind each fifth, and its bytes.
    fn file(dir: &std::path::Path, chunks: u32) -> (Store, Content, Vec<u8>) {
        let store = Store::init(dir.join("s")).unwrap();
        let session = store.session("test").unwrap();
        let mut writer = ChunkWriter::new(&session, 1).unwrap();
        let (mut content, mut bytes) = (ContentBuilder::default(), Vec::new());
        for n in 0..chunks {
            let chunk = n.to_le_bytes().repeat(1 + n as usize % 3);
            let item = Item::Chunk { length: chunk.len() as u32, hash: writer.put(&chunk).unwrap() };
            content.push(item, |list| writer.put(list)).unwrap();
            bytes.extend(chunk);
            if n % 5 == 0 {
                content.push(Item::Hole(7), |list| writer.put(list)).unwrap();
                bytes.extend([0; 7]);
            }
        }
        let (content, _) = content.finish(|list| writer.put(list)).unwrap();
        writer.close().unwrap();
        session.finish().unwrap();
        (store, content, bytes)
    }

    fn read(store: &Store, content: &Content, first: usize, length: usize, most: usize) -> Vec<u8> {
        let (mut part, mut out) = (Part::of(store, content, first as u64, length as u64), Vec::new());
        while part.left() > 0 {
            let piece = part.next(most).unwrap();
            assert!(!piece.is_empty() && piece.len() <= most);
            out.extend(piece);
        }
        out
    }

    #[test]
    fn a_part_begins_and_ends_anywhere() {
        let dir = tempfile::tempdir().unwrap();
        let (store, content, bytes) = file(dir.path(), 20);
        assert!(matches!(content, Content::Near(_)));
        for first in 0..bytes.len() {
            for length in 0..=bytes.len() - first {
                let most = 1 + (first + length) % 9;
                assert_eq!(read(&store, &content, first, length, most), bytes[first..first + length]);
            }
        }
    }

    #[test]
    fn lists_are_read_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let (store, content, bytes) = file(dir.path(), 30_000);
        assert!(matches!(&content, Content::Far { lists, .. } if lists.len() == 3));
        for (first, length) in [(0, bytes.len()), (bytes.len() - 3, 3), (bytes.len() / 2 - 20, 41)] {
            assert_eq!(read(&store, &content, first, length, 1000), bytes[first..first + length]);
        }
        // What lies behind the end is an error and no end.
        assert!(Part::of(&store, &content, bytes.len() as u64 - 2, 3).next(10).is_err());
    }
}
