//! The content of a file while its pieces become known: in the row as long as they fit there, then in lists.

use super::page::{LIST_ITEMS, NEAR_ITEMS, encode_list};
use super::{Content, Hash, Item};
use crate::error::Result;

/// Collects the items of one file after the other. Items beyond those that stand in a row go into lists as they come,
/// so that the largest file needs no more memory than one list.
#[derive(Default)]
pub struct ContentBuilder {
    items: Vec<Item>,
    lists: Vec<(u32, Hash)>,
    total: u64,
    data: u64,
}

impl ContentBuilder {
    /// Adds an item; `store` takes the bytes of a list that is full, and names it.
    ///
    /// # Errors
    /// What `store` returns.
    pub fn push(&mut self, item: Item, store: impl FnOnce(&[u8]) -> Result<Hash>) -> Result<()> {
        if let Item::Chunk { length, .. } = item {
            self.data += u64::from(length);
        }
        self.items.push(item);
        self.total += 1;
        if self.items.len() == LIST_ITEMS { self.list(store) } else { Ok(()) }
    }

    fn list(&mut self, store: impl FnOnce(&[u8]) -> Result<Hash>) -> Result<()> {
        let bytes = encode_list(&self.items);
        self.items.clear();
        self.lists.push((bytes.len() as u32, store(&bytes)?));
        Ok(())
    }

    /// The content, with the bytes of its chunks; the next file may begin.
    ///
    /// # Errors
    /// What `store` returns.
    pub fn finish(&mut self, store: impl FnOnce(&[u8]) -> Result<Hash>) -> Result<(Content, u64)> {
        let (total, data) = (std::mem::take(&mut self.total), std::mem::take(&mut self.data));
        if total <= NEAR_ITEMS as u64 {
            return Ok((Content::Near(std::mem::take(&mut self.items)), data));
        }
        if !self.items.is_empty() {
            self.list(store)?;
        }
        Ok((Content::Far { items: total, lists: std::mem::take(&mut self.lists) }, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::page::decode_list;

    fn built(items: u64) -> (Content, u64, Vec<Vec<u8>>) {
        let (mut builder, mut lists) = (ContentBuilder::default(), Vec::new());
        let mut store = |bytes: &[u8]| {
            lists.push(bytes.to_vec());
            Ok(Hash::of(bytes))
        };
        for n in 0..items {
            let hash = Hash::of(&n.to_le_bytes());
            builder.push(Item::Chunk { length: 2, hash }, &mut store).unwrap();
        }
        let (content, data) = builder.finish(&mut store).unwrap();
        // The next file begins with nothing of this one.
        assert_eq!(builder.finish(&mut store).unwrap(), (Content::empty(), 0));
        (content, data, lists)
    }

    #[test]
    fn items_stand_in_the_row_up_to_the_limit_and_then_in_lists() {
        for n in [0, 1, NEAR_ITEMS as u64] {
            let (content, data, lists) = built(n);
            assert!(matches!(content, Content::Near(items) if items.len() as u64 == n));
            assert!(data == 2 * n && lists.is_empty());
        }
        let list = LIST_ITEMS as u64;
        for (n, wanted) in [(NEAR_ITEMS as u64 + 1, 1), (list, 1), (list + 1, 2), (3 * list, 3)] {
            let (content, data, lists) = built(n);
            let Content::Far { items, lists: named } = content else { panic!("{n} items are in lists") };
            assert_eq!((items, data, named.len(), lists.len()), (n, 2 * n, wanted, wanted));
            let mut sum = 0;
            for (bytes, (length, hash)) in lists.iter().zip(named) {
                assert_eq!((bytes.len() as u32, Hash::of(bytes)), (length, hash));
                let full = (n - sum).min(list) as usize;
                sum += decode_list(bytes, full).unwrap().len() as u64;
            }
            assert_eq!(sum, n);
        }
    }
}
