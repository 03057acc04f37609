//! erofs out: a read-only filesystem that a kernel mounts, with attributes, ACLs and nanoseconds. The normative text is
//! `core/docs/formats.md`; the format is that of the kernel (`fs/erofs/erofs_fs.h`, blocks of 4 KiB).
//!
//! ```text
//!  1024  superblock
//!  1152  inodes, each with its attributes, then small content or the map of a file with holes
//!        content in whole blocks, in the order of the image
//! ```
//!
//! Written here and not by mkfs.erofs: that needs the whole tree on a disk and root for it, fixes all times or none, and
//! its versions write different bytes. This writes from front to end what the image has, and the same bytes each time.
//! Nothing is compressed: large content stands in blocks of its own, so that a store which cuts the result cuts it into
//! chunks that it has already, and compresses those.

mod inode;
mod plan;
mod write;

pub(super) use write::write;

/// Bytes of a block.
pub(super) const BLOCK: u64 = 4096;
