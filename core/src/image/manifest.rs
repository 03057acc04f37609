//! A manifest binds pages and facts into an image. See `image-format.md` §6.

mod read;
mod write;

use super::Hash;
use serde_json::Value;

/// Magic of a manifest.
pub const MAGIC: &[u8; 4] = b"CVMF";
/// Version byte of a manifest.
pub const VERSION: u8 = 1;
/// Longest manifest. Part of the format.
pub const BYTE_LIMIT: usize = 64 << 20;
/// Longest value of a field. Part of the format.
pub const FIELD_LIMIT: usize = 32 << 20;
/// Most pages. Part of the format.
pub const PAGE_LIMIT: usize = 1 << 22;
/// Most rows of an image. Part of the format.
pub const ROW_LIMIT: u64 = 1 << 28;

const TAG_PAGES: u64 = 1;
const TAG_TOTALS: u64 = 3;
const TAG_POLICY: u64 = 4;
const TAG_FACTS: u64 = 6;
const TAG_PARENT: u64 = 8;
const TAG_NAMES: u64 = 10;
const TAG_LAYOUT: u64 = 12;

/// A page as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRef {
    /// Path of its first row.
    pub first: Vec<u8>,
    /// BLAKE3 of its bytes, which is also the name of the chunk that holds it.
    pub hash: Hash,
    /// Number of rows.
    pub rows: u32,
    /// Number of bytes.
    pub bytes: u32,
}

/// Sums over all rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// All rows.
    pub rows: u64,
    /// Directories.
    pub directories: u64,
    /// Regular files, every name counted.
    pub files: u64,
    /// Symbolic links.
    pub links: u64,
    /// Devices and FIFOs.
    pub special: u64,
    /// Hard link groups.
    pub groups: u64,
    /// Sum of the sizes of regular files, each group once, in bytes.
    pub size: u64,
    /// Sum of the lengths of their chunks (without holes), each group once, in bytes.
    pub data: u64,
}

/// A manifest. Fields that are `None` are not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// The pages in path order.
    pub pages: Vec<PageRef>,
    /// Sums over all rows.
    pub totals: Totals,
    /// What the capture left out, kept and generalised.
    pub policy: Option<Value>,
    /// Operating system, architecture, kernels, loaders.
    pub facts: Option<Value>,
    /// The image this one was made from.
    pub parent: Option<Hash>,
    /// Names of the ids that occur.
    pub names: Option<Value>,
    /// A layout document.
    pub layout: Option<Vec<u8>>,
}

impl Manifest {
    /// The tree id: equal trees have equal ids, whatever the facts say.
    #[must_use]
    pub fn tree_id(&self) -> Hash {
        Hash::of(&write::page_table(&self.pages))
    }

    /// The pages that may hold `path`: the one whose range it falls into.
    #[must_use]
    pub fn page_of(&self, path: &[u8]) -> Option<&PageRef> {
        let n = self.pages.partition_point(|p| super::path::compare(&p.first, path).is_le());
        n.checked_sub(1).map(|i| &self.pages[i])
    }
}

#[cfg(test)]
mod tests;
