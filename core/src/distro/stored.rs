//! The files of a distribution in the store.

use super::files::Files;
use crate::error::Result;
use crate::image::{Content, Kind};
use crate::store::image::each_item;
use crate::store::{ChunkSource, Image, Store};
use std::collections::BTreeMap;

/// The files of a distribution by their paths.
pub(super) struct Stored {
    store: Store,
    pub(super) files: BTreeMap<Vec<u8>, (u64, Content)>,
}

impl Stored {
    /// Reads the list of files.
    ///
    /// # Errors
    /// `Integrity` when a page is damaged.
    pub(super) fn of(image: &Image) -> Result<Self> {
        let mut files = BTreeMap::new();
        image.each_row(|row| {
            if let Kind::File { size, content } = &row.kind {
                files.insert(row.path.clone(), (*size, content.clone()));
            }
            Ok(())
        })?;
        Ok(Self { store: image.store().clone(), files })
    }

    /// The store that they are in.
    #[cfg(feature = "server")]
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Gives the bytes of a file in parts.
    ///
    /// # Errors
    /// `Integrity` when they are damaged; what `each` returns.
    pub(super) fn parts(&self, content: &Content, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let zeros = [0; 16 << 10];
        each_item(&self.store, content, |item| match *item {
            crate::image::Item::Chunk { hash, length } => each(&self.store.chunk(&hash, length)?),
            crate::image::Item::Hole(mut left) => {
                while left > 0 {
                    let n = left.min(zeros.len() as u64);
                    each(&zeros[..n as usize])?;
                    left -= n;
                }
                Ok(())
            }
        })
    }
}

impl Files for Stored {
    fn each(&self, each: &mut dyn FnMut(&[u8])) {
        self.files.keys().for_each(|p| each(p));
    }

    fn size(&self, path: &str) -> Option<u64> {
        self.files.get(path.as_bytes()).map(|(size, _)| *size)
    }

    fn content(&self, path: &str) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        if let Some((_, content)) = self.files.get(path.as_bytes()) {
            self.parts(content, |bytes| {
                out.extend_from_slice(bytes);
                Ok(())
            })?;
        }
        Ok(out)
    }
}
