//! What stands on the medium: superblock, inodes, attributes, directories.

use super::BLOCK;
use crate::image::row::{Row, Value, Xattr};

const MAGIC: u32 = 0xE0F5_E1E2;
/// Times are those of the content.
const COMPAT_MTIME: u32 = 2;
/// Some files have a map of chunks; Linux 5.15.
const INCOMPAT_CHUNKED: u32 = 4;
pub(super) const SUPERBLOCK_AT: usize = 1024;
/// The first inode, that of the root: its number has to fit into 16 bits.
pub(super) const FIRST_INODE: u64 = 1152;
/// Bytes of an inode; its number is its place in units of `SLOT`.
pub(super) const INODE: u64 = 64;
pub(super) const SLOT: u64 = 32;
/// A chunk of a map that is a hole.
pub(super) const HOLE: u32 = u32::MAX;

/// The first bytes, up to the first inode.
pub(super) fn superblock(inodes: u64, time: i64, blocks: u32, uuid: [u8; 16], chunked: bool) -> Vec<u8> {
    let mut out = vec![0; FIRST_INODE as usize];
    let mut put = |at: usize, bytes: &[u8]| out[SUPERBLOCK_AT + at..][..bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC.to_le_bytes());
    put(8, &COMPAT_MTIME.to_le_bytes());
    put(12, &[BLOCK.trailing_zeros() as u8]);
    put(14, &((FIRST_INODE / SLOT) as u16).to_le_bytes());
    put(16, &inodes.to_le_bytes());
    put(24, &time.to_le_bytes());
    put(36, &blocks.to_le_bytes());
    put(48, &uuid);
    put(80, &(if chunked { INCOMPAT_CHUNKED } else { 0 }).to_le_bytes());
    out
}

/// How the content of an inode is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// In blocks from this one on.
    Blocks(u32),
    /// Behind the inode.
    Inline,
    /// By a map behind the inode, of chunks of 2^n blocks.
    Chunks(u8),
}

/// Everything about an inode that its row does not say.
pub(super) struct About {
    pub(super) number: u32,
    pub(super) links: u32,
    pub(super) size: u64,
    pub(super) layout: Layout,
    /// Bytes of the attributes.
    pub(super) xattrs: usize,
    pub(super) device: u32,
}

/// The 64 bytes of an inode.
pub(super) fn inode(row: &Row, about: &About) -> [u8; INODE as usize] {
    let mut out = [0; INODE as usize];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    let (layout, place) = match about.layout {
        Layout::Blocks(first) => (0u16, first),
        Layout::Inline => (2, 0),
        Layout::Chunks(bits) => (4, bits.into()),
    };
    // Bit 0: an inode of 64 bytes.
    put(0, &(1 | layout << 1).to_le_bytes());
    put(2, &xattr_count(about.xattrs).to_le_bytes());
    put(4, &(row.mode as u16).to_le_bytes());
    put(8, &about.size.to_le_bytes());
    put(16, &(if about.device == 0 { place } else { about.device }).to_le_bytes());
    put(20, &about.number.to_le_bytes());
    put(24, &row.uid.to_le_bytes());
    put(28, &row.gid.to_le_bytes());
    put(32, &row.mtime.0.to_le_bytes());
    put(40, &row.mtime.1.to_le_bytes());
    put(44, &about.links.to_le_bytes());
    out
}

/// A device number as Linux stores it; `None` for one that it cannot have.
pub(super) fn device(major: u32, minor: u32) -> Option<u32> {
    (major < 1 << 12 && minor < 1 << 20).then_some((minor & 0xff) | major << 8 | (minor & !0xff) << 12)
}

const XATTR_HEADER: usize = 12;
/// Most bytes of the attributes of an inode.
pub(super) const XATTR_LIMIT: usize = XATTR_HEADER + 4 * (u16::MAX as usize - 1);

fn xattr_count(bytes: usize) -> u16 {
    if bytes == 0 { 0 } else { ((bytes - XATTR_HEADER) / 4 + 1) as u16 }
}

/// The number of a name's front, and the rest; `None` where the format has no such attributes.
fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    match name {
        b"system.posix_acl_access" => return Some((2, b"")),
        b"system.posix_acl_default" => return Some((3, b"")),
        _ => {}
    }
    let fronts: [(u8, &[u8]); 3] = [(1, b"user."), (4, b"trusted."), (6, b"security.")];
    fronts.into_iter().find_map(|(n, front)| Some((n, name.strip_prefix(front)?)))
}

fn value_length(value: &Value) -> usize {
    match value {
        Value::Near(v) => v.len(),
        Value::Far { length, .. } => *length as usize,
    }
}

/// Whether the format has a place for an attribute.
pub(super) fn holds(x: &Xattr) -> bool {
    split(&x.name).is_some() && u16::try_from(value_length(&x.value)).is_ok()
}

/// Bytes of the attributes of a row; 0 when there are none.
pub(super) fn xattrs_length(row: &Row) -> usize {
    let one = |x: &Xattr| (4 + split(&x.name).map_or(0, |s| s.1.len()) + value_length(&x.value)).next_multiple_of(4);
    match row.xattrs.iter().filter(|x| holds(x)).map(one).sum::<usize>() {
        0 => 0,
        n => XATTR_HEADER + n,
    }
}

/// The attributes as they stand behind the inode.
pub(super) fn xattrs(list: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    if list.is_empty() {
        return Vec::new();
    }
    let mut out = vec![0; XATTR_HEADER];
    for (name, value) in list {
        let Some((front, rest)) = split(name) else { continue };
        out.extend_from_slice(&[rest.len() as u8, front]);
        out.extend_from_slice(&(value.len() as u16).to_le_bytes());
        out.extend_from_slice(rest);
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// An entry of a directory: name, number of the inode, kind.
pub(super) type Dirent<'n> = (&'n [u8], u64, u8);
const DIRENT: usize = 12;

/// The number of a kind in a directory.
pub(super) fn kind(mode: u32) -> u8 {
    use crate::image::row::{BLOCK, CHARACTER, DIRECTORY, FIFO, KIND_MASK, LINK};
    match mode & KIND_MASK {
        DIRECTORY => 2,
        CHARACTER => 3,
        BLOCK => 4,
        FIFO => 5,
        LINK => 7,
        _ => 1,
    }
}

/// How many of these names, which are sorted, stand in one block, and how many bytes of it they take.
fn in_a_block<'n>(names: impl Iterator<Item = &'n [u8]>) -> (usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    for name in names {
        let more = DIRENT + name.len();
        if bytes + more > BLOCK as usize {
            break;
        }
        (count, bytes) = (count + 1, bytes + more);
    }
    (count, bytes)
}

/// Bytes of a directory with these names, which are sorted.
pub(super) fn directory_size(names: &[&[u8]]) -> u64 {
    let (mut rest, mut whole) = (names, 0);
    loop {
        let (count, bytes) = in_a_block(rest.iter().copied());
        rest = &rest[count..];
        if rest.is_empty() {
            return whole + bytes as u64;
        }
        whole += BLOCK;
    }
}

/// A directory: in each block first its entries, then their names.
pub(super) fn directory(entries: &[Dirent<'_>]) -> Vec<u8> {
    let (mut rest, mut out) = (entries, Vec::new());
    while !rest.is_empty() {
        out.resize(out.len().next_multiple_of(BLOCK as usize), 0);
        let (count, _) = in_a_block(rest.iter().map(|e| e.0));
        let mut at = count * DIRENT;
        for (name, inode, kind) in &rest[..count] {
            out.extend_from_slice(&inode.to_le_bytes());
            out.extend_from_slice(&(at as u16).to_le_bytes());
            out.extend_from_slice(&[*kind, 0]);
            at += name.len();
        }
        rest[..count].iter().for_each(|e| out.extend_from_slice(e.0));
        rest = &rest[count..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_the_size_that_was_planned() {
        for n in [1, 2, 100, 227, 228, 400, 5000] {
            let names: Vec<Vec<u8>> = (0..n).map(|i| format!("{i:05}").repeat(1 + i % 50).into_bytes()).collect();
            let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
            let entries: Vec<_> = names.iter().map(|n| (*n, 7, 1)).collect();
            assert_eq!(directory(&entries).len() as u64, directory_size(&names), "{n}");
        }
    }

    #[test]
    fn attributes_are_where_the_kernel_looks() {
        let list = [(b"user.abc".to_vec(), b"12".to_vec()), (b"system.posix_acl_access".to_vec(), vec![2, 0, 0, 0])];
        let bytes = xattrs(&list);
        assert_eq!(bytes[12..24], [3, 1, 2, 0, b'a', b'b', b'c', b'1', b'2', 0, 0, 0]);
        assert_eq!(bytes[24..], [0, 2, 4, 0, 2, 0, 0, 0]);
        assert_eq!((xattr_count(0), xattr_count(12), xattr_count(bytes.len())), (0, 1, 6));
        assert_eq!(device(259, 70_000), Some(0x1111_0370));
        assert_eq!((device(4096, 0), device(0, 1 << 20)), (None, None));
    }
}
