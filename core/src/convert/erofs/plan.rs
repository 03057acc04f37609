//! Where everything will stand: known before a byte is written, so that it is written from front to end.

use super::BLOCK;
use super::inode::{self, FIRST_INODE, INODE, Layout, SLOT};
use crate::convert::rows;
use crate::error::{Error, Result};
use crate::image::row::{Group, Kind, Row};
use crate::image::{FormatError, path};
use crate::job::Task;
use crate::store::{ChunkSource, Image};
use crate::sys::confined::show;
use std::collections::HashMap;

/// Most chunks of a map: beyond it they become larger.
const MAP_LIMIT: u64 = 1 << 20;

/// An inode and where it stands.
pub(super) struct Inode {
    /// Its first byte; its number is this in units of [`SLOT`].
    pub(super) at: u64,
    pub(super) links: u32,
    pub(super) size: u64,
    pub(super) xattrs: usize,
    pub(super) layout: Layout,
}

impl Inode {
    /// The number by which directories name it.
    pub(super) fn number(&self) -> u64 {
        self.at / SLOT
    }
}

/// A name in a directory.
struct Name {
    inode: u32,
    kind: u8,
    length: u8,
    at: u64,
}

/// The ranges of a file with holes that have blocks, in whole chunks.
pub(super) struct Map {
    pub(super) ranges: Vec<(u64, u64)>,
    /// log2 of the blocks of a chunk.
    bits: u8,
    size: u64,
}

impl Map {
    fn new(size: u64, extents: &[(u64, u64)]) -> Self {
        let mut bits = 0;
        while size.div_ceil(BLOCK << bits) > MAP_LIMIT {
            bits += 1;
        }
        let chunk = BLOCK << bits;
        let mut ranges = Vec::<(u64, u64)>::new();
        for &(offset, length) in extents {
            let from = offset / chunk * chunk;
            let to = ((offset + length).div_ceil(chunk) * chunk).min(size.next_multiple_of(BLOCK));
            match ranges.last_mut() {
                Some(last) if last.1 >= from => last.1 = last.1.max(to),
                _ => ranges.push((from, to)),
            }
        }
        Self { ranges, bits, size }
    }

    fn chunks(&self) -> u64 {
        self.size.div_ceil(BLOCK << self.bits)
    }

    fn blocks(&self) -> u64 {
        self.ranges.iter().map(|(from, to)| (to - from) / BLOCK).sum()
    }

    /// Bytes of the file that have blocks.
    fn covered(&self) -> u64 {
        self.ranges.iter().map(|(from, to)| (*to).min(self.size) - from).sum()
    }

    /// The map as it stands behind the inode; the content begins at block `first`.
    pub(super) fn encode(&self, first: u32) -> Vec<u8> {
        let chunk = BLOCK << self.bits;
        let (mut out, mut block, mut ranges) = (Vec::new(), u64::from(first), self.ranges.iter().peekable());
        for n in 0..self.chunks() {
            let at = n * chunk;
            while ranges.next_if(|(_, to)| *to <= at).is_some() {}
            match ranges.peek() {
                Some((from, to)) if *from <= at => {
                    out.extend_from_slice(&(block as u32).to_le_bytes());
                    block += ((*to).min(at + chunk) - at) / BLOCK;
                }
                _ => out.extend_from_slice(&inode::HOLE.to_le_bytes()),
            }
        }
        out
    }
}

/// The whole filesystem.
pub(super) struct Plan {
    pub(super) inodes: Vec<Inode>,
    /// Maps of files with holes, with their first block, by inode.
    pub(super) maps: HashMap<u32, (Map, u32)>,
    /// Names in the order of the image; those of a directory are found by `children`.
    names: Vec<Name>,
    bytes: Vec<u8>,
    /// By directory: its inode, and its names.
    children: HashMap<u32, Vec<u32>>,
    parents: HashMap<u32, u32>,
    /// Blocks of all.
    pub(super) blocks: u32,
    /// The newest time.
    pub(super) newest: i64,
    /// Files whose holes become narrower.
    pub(super) narrowed: Vec<Vec<u8>>,
}

impl Plan {
    pub(super) fn make(image: &Image, task: &Task) -> Result<Self> {
        let mut plan = Self {
            inodes: Vec::new(),
            maps: HashMap::new(),
            names: Vec::new(),
            bytes: Vec::new(),
            children: HashMap::new(),
            parents: HashMap::new(),
            blocks: 0,
            newest: 0,
            narrowed: Vec::new(),
        };
        let mut groups = HashMap::new();
        // The directories that lead to the current row.
        let mut open: Vec<(Vec<u8>, u32)> = Vec::new();
        rows::expect(image, task, |row| plan.row(row, &mut groups, &mut open, image.store()))?;
        plan.place()?;
        Ok(plan)
    }

    fn row(
        &mut self,
        row: &Row,
        groups: &mut HashMap<Group, u32>,
        open: &mut Vec<(Vec<u8>, u32)>,
        source: &dyn ChunkSource,
    ) -> Result<()> {
        self.newest = self.newest.max(row.mtime.0);
        let known = row.group.and_then(|g| groups.get(&g).copied());
        let number = match known {
            Some(number) => {
                self.inodes[number as usize].links += 1;
                number
            }
            None => self.inode(row, source)?,
        };
        if let Some(group) = row.group {
            groups.insert(group, number);
        }
        if !row.path.is_empty() {
            let parent = path::parent(&row.path);
            while open.last().is_some_and(|(dir, _)| dir != parent) {
                open.pop();
            }
            let Some(&(_, directory)) = open.last() else {
                return Err(FormatError::malformed("image", "an entry has no directory").into());
            };
            let name = path::name(&row.path);
            self.children.entry(directory).or_default().push(self.names.len() as u32);
            let at = self.bytes.len() as u64;
            self.names.push(Name { inode: number, kind: inode::kind(row.mode), length: name.len() as u8, at });
            self.bytes.extend_from_slice(name);
            if row.is_directory() {
                self.parents.insert(number, directory);
                self.inodes[directory as usize].links += 1;
            }
        }
        if row.is_directory() {
            open.push((row.path.clone(), number));
        }
        Ok(())
    }

    /// A new inode, without its place.
    fn inode(&mut self, row: &Row, source: &dyn ChunkSource) -> Result<u32> {
        let number = self.inodes.len() as u32;
        let cannot = |why: &str| Error::unsupported(format!("/{} has {why}, which erofs cannot hold", show(&row.path)));
        let xattrs = inode::xattrs_length(row);
        if xattrs > inode::XATTR_LIMIT {
            return Err(cannot("too many attributes"));
        }
        let mut links = 1;
        let size = match &row.kind {
            Kind::Directory => {
                links = 2;
                0
            }
            Kind::Link(target) => target.len() as u64,
            Kind::Device { major, minor } => {
                inode::device(*major, *minor).ok_or_else(|| cannot("a device number that Linux does not have"))?;
                0
            }
            Kind::Fifo => 0,
            Kind::File { size, content } => {
                if rows::has_hole(content, source)? {
                    let extents = rows::extents(content, source)?;
                    let map = Map::new(*size, &extents);
                    if map.covered() != extents.iter().map(|e| e.1).sum::<u64>() {
                        self.narrowed.push(row.path.clone());
                    }
                    self.maps.insert(number, (map, 0));
                }
                *size
            }
        };
        self.inodes.push(Inode { at: 0, links, size, xattrs, layout: Layout::Inline });
        Ok(number)
    }

    /// Gives everything its place.
    fn place(&mut self) -> Result<()> {
        for n in 0..self.inodes.len() as u32 {
            if let Some(entries) = self.entries(n) {
                let names: Vec<&[u8]> = entries.iter().map(|e| e.0).collect();
                self.inodes[n as usize].size = inode::directory_size(&names);
            }
        }
        let mut at = FIRST_INODE;
        for (node, n) in self.inodes.iter_mut().zip(0u32..) {
            let head = INODE + node.xattrs as u64;
            let behind = match self.maps.get(&n) {
                Some((map, _)) => 4 * map.chunks(),
                None if head + node.size <= BLOCK => node.size,
                None => 0,
            };
            // What stands behind an inode does not go beyond its block, except for maps; nor does the inode itself.
            let together = if self.maps.contains_key(&n) || behind == 0 { INODE } else { head + behind };
            if at % BLOCK + together > BLOCK {
                at = at.next_multiple_of(BLOCK);
            }
            node.at = at;
            at = (at + head + behind).next_multiple_of(SLOT);
            node.layout = if behind == 0 { Layout::Blocks(0) } else { Layout::Inline };
        }
        let mut block = at.div_ceil(BLOCK);
        for (node, n) in self.inodes.iter_mut().zip(0u32..) {
            let first = u32::try_from(block).unwrap_or(u32::MAX);
            match self.maps.get_mut(&n) {
                Some((map, start)) => {
                    *start = first;
                    node.layout = Layout::Chunks(map.bits);
                    block += map.blocks();
                }
                None if node.layout != Layout::Inline && node.size > 0 => {
                    node.layout = Layout::Blocks(first);
                    block += node.size.div_ceil(BLOCK);
                }
                None => {}
            }
        }
        self.blocks = u32::try_from(block)
            .ok()
            .filter(|b| *b < u32::MAX)
            .ok_or_else(|| Error::unsupported("the image has more than 16 TiB, which erofs cannot hold"))?;
        Ok(())
    }

    /// The entries of a directory as they are sorted on the medium; `None` for what is none.
    pub(super) fn entries(&self, directory: u32) -> Option<Vec<inode::Dirent<'_>>> {
        const DIRECTORY: u8 = 2;
        let parent = match self.parents.get(&directory) {
            Some(&parent) => parent,
            None if directory == 0 => 0,
            None => return None,
        };
        let number = |n: u32| self.inodes[n as usize].number();
        let mut out: Vec<inode::Dirent<'_>> =
            vec![(b".", number(directory), DIRECTORY), (b"..", number(parent), DIRECTORY)];
        for &n in self.children.get(&directory).into_iter().flatten() {
            let name = &self.names[n as usize];
            let bytes = &self.bytes[name.at as usize..][..name.length as usize];
            out.push((bytes, number(name.inode), name.kind));
        }
        // A name may sort before the dots.
        out.sort_unstable();
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_name_blocks_and_holes() {
        let map = Map::new(10 * BLOCK + 5, &[(BLOCK + 1, 10), (3 * BLOCK, 2 * BLOCK), (10 * BLOCK, 5)]);
        assert_eq!(map.ranges, [(BLOCK, 2 * BLOCK), (3 * BLOCK, 5 * BLOCK), (10 * BLOCK, 11 * BLOCK)]);
        assert_eq!((map.chunks(), map.blocks(), map.covered()), (11, 4, 3 * BLOCK + 5));
        let numbers: Vec<u32> =
            map.encode(100).chunks(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let h = inode::HOLE;
        assert_eq!(numbers, [h, 100, h, 101, 102, h, h, h, h, h, 103]);
        // A large file has larger chunks, and a map that stays small.
        let map = Map::new(1 << 40, &[(0, 1), (1 << 39, 1), ((1 << 40) - 1, 1)]);
        assert_eq!((map.chunks(), map.blocks()), (MAP_LIMIT, 3 << map.bits));
        let blocks: Vec<u32> = map.encode(7).chunks(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let used: Vec<u32> = blocks.iter().copied().filter(|b| *b != h).collect();
        assert_eq!(used, [7, 7 + (1 << map.bits), 7 + (2 << map.bits)]);
    }
}
