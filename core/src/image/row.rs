//! One entry of a tree.

use super::hash::Hash;
use std::sync::Arc;

/// `st_mode` bits of the kind.
pub const KIND_MASK: u32 = 0o170_000;
/// Kind bits of a regular file.
pub const REGULAR: u32 = 0o100_000;
/// Kind bits of a directory.
pub const DIRECTORY: u32 = 0o040_000;
/// Kind bits of a symbolic link.
pub const LINK: u32 = 0o120_000;
/// Kind bits of a character device.
pub const CHARACTER: u32 = 0o020_000;
/// Kind bits of a block device.
pub const BLOCK: u32 = 0o060_000;
/// Kind bits of a FIFO.
pub const FIFO: u32 = 0o010_000;

/// Inode flags that an image keeps: immutable, append only, no copy on write.
pub const INODE_FLAGS: u32 = 0x10 | 0x20 | 0x80_0000;

/// The hard link group of a row: the first 16 bytes of the BLAKE3 of the path of its first member.
pub type Group = [u8; 16];

/// An entry: path, metadata, and what its kind adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Bytes relative to the root; empty for the root itself.
    pub path: Vec<u8>,
    /// `st_mode`, kind and permissions.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time: seconds since the epoch, which may be negative, and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes, sorted by name.
    pub xattrs: Xattrs,
    /// Inode flags within [`INODE_FLAGS`].
    pub inode_flags: u32,
    /// The file changed while it was read.
    pub torn: bool,
    /// Its hard link group, if it has other names in the image.
    pub group: Option<Group>,
    /// What the kind adds.
    pub kind: Kind,
}

/// What the kind of an entry adds; it agrees with the kind bits of `mode`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Size in bytes; equal to the sum of the items.
        size: u64,
        /// Where its bytes are.
        content: Content,
    },
    /// A directory.
    Directory,
    /// A symbolic link with this target, 1 to 4,095 bytes.
    Link(Vec<u8>),
    /// A character or block device, as `mode` says.
    Device {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// The attributes of a row; equal sets of one page are shared.
pub type Xattrs = Arc<[Xattr]>;

/// One extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Xattr {
    /// Name with its namespace, such as `security.capability`.
    pub name: Vec<u8>,
    /// Value.
    pub value: Value,
}

/// The value of an attribute: inline up to 1,024 bytes, else a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// The bytes themselves.
    Near(Vec<u8>),
    /// A chunk of this many bytes.
    Far {
        /// Length of the value.
        length: u32,
        /// Name of the chunk.
        hash: Hash,
    },
}

/// A piece of a file, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// Bytes, held by a chunk.
    Chunk {
        /// Number of bytes.
        length: u32,
        /// Name of the chunk.
        hash: Hash,
    },
    /// A hole of this many bytes.
    Hole(u64),
}

impl Item {
    /// Bytes of the file that this item covers.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Chunk { length, .. } => u64::from(*length),
            Self::Hole(n) => *n,
        }
    }
}

/// Where the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Up to 512 items, in the row itself.
    Near(Vec<Item>),
    /// More: lists of 16,384 items each, which are chunks themselves.
    Far {
        /// Number of items in all lists together.
        items: u64,
        /// Bytes and name of each list, in order.
        lists: Vec<(u32, Hash)>,
    },
}

impl Content {
    /// The content of an empty file.
    #[must_use]
    pub const fn empty() -> Self {
        Self::Near(Vec::new())
    }
}

impl Row {
    /// The kind bits of the mode.
    #[must_use]
    pub fn kind_bits(&self) -> u32 {
        self.mode & KIND_MASK
    }

    /// Whether this is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }

    /// Size of a regular file, else 0.
    #[must_use]
    pub fn size(&self) -> u64 {
        if let Kind::File { size, .. } = self.kind { size } else { 0 }
    }

    /// Whether everything but the path is equal: what members of a hard link group have in common.
    #[must_use]
    pub fn same_inode(&self, other: &Row) -> bool {
        (self.mode, self.uid, self.gid, self.mtime, self.inode_flags, self.torn, self.group)
            == (other.mode, other.uid, other.gid, other.mtime, other.inode_flags, other.torn, other.group)
            && self.xattrs == other.xattrs
            && self.kind == other.kind
    }
}
