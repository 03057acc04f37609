//! A page: a run of rows in one canonical encoding, named by its BLAKE3. See `image-format.md` §5.

mod read;
mod write;

pub use read::{Rows, decode, decode_list};
pub use write::{Page, PageWriter, begins_page, encode_list, row_digest};

/// Version byte of a page.
pub const VERSION: u8 = 1;
/// Magic of a page.
pub const MAGIC: &[u8; 4] = b"CVPG";
/// Most rows of a page. Part of the format.
pub const ROW_LIMIT: usize = 1_024;
/// Longest page in bytes. Part of the format.
pub const BYTE_LIMIT: usize = 1 << 20;
/// A writer begins a new page before it would pass this. Part of the format.
pub const SOFT_LIMIT: usize = 512 << 10;
/// A page begins where the first 8 bytes of BLAKE3(path) are 0 modulo this. Part of the format.
pub const CUT_MODULUS: u64 = 64;
/// Items that stand in the row itself; more go into lists. Part of the format.
pub const NEAR_ITEMS: usize = 512;
/// Items of a list. Part of the format.
pub const LIST_ITEMS: usize = 16_384;
/// Longest attribute value that stands in the page. Part of the format.
pub const NEAR_VALUE: usize = 1_024;
/// Longest attribute value.
pub const VALUE_LIMIT: usize = 65_536;
/// Most attributes of an entry.
pub const XATTR_LIMIT: usize = 1_024;
/// Longest encoded attribute set.
pub const SET_LIMIT: usize = 262_144;
/// Longest link target.
pub const TARGET_LIMIT: usize = 4_095;
/// Most items of a file.
pub const ITEM_LIMIT: u64 = 1 << 26;

const HAS_GROUP: u64 = 1;
const HAS_XATTRS: u64 = 2;
const HAS_INODE_FLAGS: u64 = 4;
const TORN: u64 = 8;

#[cfg(test)]
mod tests;
