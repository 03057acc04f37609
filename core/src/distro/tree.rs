//! A distribution for whoever reads many parts of its files, one after the other: its list of files is read once.

use super::Distro;
use super::part::Part;
use super::stored::Stored;
use crate::error::Result;
use crate::image::{Content, Hash, Item};

/// The files of a distribution.
pub(crate) struct Tree(Stored);

/// One of them.
pub(crate) struct TreeFile<'t> {
    stored: &'t Stored,
    size: u64,
    content: &'t Content,
}

impl Tree {
    /// Reads the list of files.
    ///
    /// # Errors
    /// `Integrity` when it is damaged.
    pub(crate) fn of(distro: &Distro) -> Result<Self> {
        Stored::of(distro.image()).map(Self)
    }

    /// The file of this path; none that is a directory, or leads somewhere else.
    pub(crate) fn file(&self, path: &[u8]) -> Option<TreeFile<'_>> {
        let (size, content) = self.0.files.get(path)?;
        Some(TreeFile { stored: &self.0, size: *size, content })
    }
}

impl TreeFile<'_> {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// What names its bytes, in whatever distribution they are: the hash of the list of its chunks.
    pub(crate) fn version(&self) -> Hash {
        let mut text = Vec::new();
        match self.content {
            Content::Near(items) => items.iter().for_each(|item| match item {
                Item::Chunk { hash, .. } => text.extend(hash.0),
                Item::Hole(length) => text.extend(length.to_le_bytes()),
            }),
            Content::Far { lists, .. } => lists.iter().for_each(|(_, hash)| text.extend(hash.0)),
        }
        text.extend(self.size.to_le_bytes());
        Hash::of(&text)
    }

    /// So many of its bytes, which it has.
    pub(crate) fn part(&self, first: u64, length: u64) -> Part {
        Part::of(self.stored.store(), self.content, first, length)
    }
}
