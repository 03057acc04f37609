//! The subvolumes of a btrfs, by their paths, from the bytes of its one device.
//!
//! ```text
//! superblock ── chunks of the system ──> chunk tree ──> where everything else lies
//!            └─ root tree: ROOT_ITEM      where the tree of a subvolume begins
//!                          ROOT_BACKREF   in which directory of which subvolume another one is called what
//!               tree of a subvolume: INODE_REF      what a directory is called, up to the top
//! ```
//!
//! Source: "On-disk Format" of the documentation of btrfs, and `uapi/linux/btrfs_tree.h`. Sums are not reckoned: a block
//! that is not the one that was asked for says so by its address, and all numbers are checked.

use super::Fields;
use crate::layout::place::Place;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

const SUPERBLOCK: u64 = 64 << 10;
const SUPERBLOCK_SIZE: usize = 4096;
const MAGIC: &[u8; 8] = b"_BHRfS_M";
/// Where the superblock lists the chunks of the system, and how many bytes of them at most.
const SYSTEM_CHUNKS: (usize, usize) = (0x32b, 2048);
const CHUNK: usize = 48;
const STRIPE: usize = 32;
const KEY: usize = 17;
const HEADER: usize = 101;
const ITEM: usize = 25;
const POINTER: usize = 33;
/// A chunk whose copies or stripes lie side by side on one device is read at the first.
const STRIPED: u64 = 1 << 3 | 1 << 6 | 1 << 7 | 1 << 8;

const INODE_REF: u8 = 12;
const ROOT_ITEM: u8 = 132;
const ROOT_BACKREF: u8 = 144;
const CHUNK_ITEM: u8 = 228;
/// The tree of the top.
const TOP: u64 = 5;
/// The first directory of a tree, and the first subvolume.
const FIRST: u64 = 256;

/// Bytes of blocks that are read at most, which bounds the time.
const READ_LIMIT: usize = 256 << 20;
const LEVEL_LIMIT: u8 = 8;
const DEPTH_LIMIT: usize = 256;
const SUBVOLUME_LIMIT: usize = 1 << 16;
const CHUNK_LIMIT: usize = 1 << 16;
const NAME_LIMIT: usize = 255;
/// Bytes of all paths together.
const PATHS_LIMIT: usize = 16 << 20;

/// Why they cannot be told.
type Why = &'static str;

/// A key of a tree, in its order.
type Key = (u64, u8, u64);

/// The paths of all subvolumes without the top, or why they cannot be told.
///
/// # Errors
/// Of the device.
pub fn subvolumes(place: &Place<'_>) -> io::Result<Result<BTreeSet<String>, String>> {
    let read = || -> Result<BTreeSet<String>, Failure> {
        let mut reader = Reader::open(place)?;
        let (mut trees, mut named) = (BTreeMap::new(), BTreeMap::new());
        reader.walk(reader.root, (0, 0, 0)..=(u64::MAX, u8::MAX, u64::MAX), &mut |key, data| {
            let f = Fields(data);
            match key.1 {
                ROOT_ITEM if data.len() >= 239 => drop(trees.insert(key.0, (f.u64(176), data[238]))),
                ROOT_BACKREF if key.0 >= FIRST => {
                    named.insert(key.0, (key.2, f.u64(0), name(data, 16)?));
                }
                _ => {}
            }
            if named.len().max(trees.len()) > SUBVOLUME_LIMIT { Err("it has too many subvolumes") } else { Ok(()) }
        })?;
        let (mut paths, mut left) = (BTreeSet::new(), PATHS_LIMIT);
        for subvolume in named.keys().copied() {
            let path = reader.path(subvolume, &named, &trees)?;
            left = left.checked_sub(path.len()).ok_or("the paths of its subvolumes are too long")?;
            paths.insert(path);
        }
        Ok(paths)
    };
    match read() {
        Ok(paths) => Ok(Ok(paths)),
        Err(Failure::Unclear(why)) => Ok(Err(why.to_owned())),
        Err(Failure::Io(e)) => Err(e),
    }
}

enum Failure {
    Io(io::Error),
    Unclear(Why),
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<Why> for Failure {
    fn from(why: Why) -> Self {
        Self::Unclear(why)
    }
}

/// What gets the items of a tree.
type Show<'s> = dyn FnMut(Key, &[u8]) -> Result<(), Why> + 's;

/// A tree: the address of its topmost block, and the level of that.
type Tree = (u64, u8);

/// A subvolume's parent, its directory there, its name in that.
type Named = BTreeMap<u64, (u64, u64, String)>;

/// The name whose length stands at `at`.
fn name(data: &[u8], at: usize) -> Result<String, Why> {
    let length = data.get(at..at + 2).map(|d| usize::from(Fields(d).u16(0)));
    let name = length.filter(|n| *n <= NAME_LIMIT).and_then(|n| data.get(at + 2..at + 2 + n));
    Ok(String::from_utf8_lossy(name.ok_or("a name is cut off, or too long")?).into_owned())
}

/// Where a chunk lies on a device: its length, and its place there; and how long its description is. None where it is dealt
/// out over devices: nothing in it can be read.
fn chunk(data: &[u8], device: u64) -> Result<(Option<(u64, u64)>, usize), Why> {
    let f = Fields(data);
    if data.len() < CHUNK {
        return Err("a chunk is cut off");
    }
    let stripes = usize::from(f.u16(44));
    let used = CHUNK + stripes * STRIPE;
    if stripes == 0 || data.len() < used {
        return Err("a chunk is cut off");
    }
    let own = (0..stripes).map(|n| CHUNK + n * STRIPE).find(|at| f.u64(*at) == device);
    let own = own.filter(|_| f.u64(24) & STRIPED == 0 || stripes == 1);
    Ok((own.map(|at| (f.u64(0), f.u64(at + 8))), used))
}

struct Reader<'a> {
    place: &'a Place<'a>,
    block: usize,
    root: Tree,
    /// By logical address: length, and where that is on the device.
    chunks: BTreeMap<u64, (u64, u64)>,
    /// What a directory of a tree is called, and in which other one: many subvolumes lie in few.
    directories: BTreeMap<(u64, u64), (u64, String)>,
    left: usize,
}

impl<'a> Reader<'a> {
    fn open(place: &'a Place<'a>) -> Result<Self, Failure> {
        let bytes = place.bytes(SUPERBLOCK, SUPERBLOCK_SIZE)?.ok_or("it is too short")?;
        let f = Fields(&bytes);
        let block = f.u32(0x94) as usize;
        if f.array::<8>(0x40) != *MAGIC || f.u64(0x30) != SUPERBLOCK {
            return Err("its superblock is damaged".into());
        }
        if f.u64(0x88) != 1 {
            return Err("it has several devices".into());
        }
        if !(4096..=65536).contains(&block) || !block.is_power_of_two() {
            return Err("the size of its blocks cannot be".into());
        }
        let root = (f.u64(0x50), bytes[0xc6]);
        let chunk_tree = (f.u64(0x58), bytes[0xc7]);
        let (device, left) = (f.u64(0xc9), READ_LIMIT);
        let mut reader = Self { place, block, root, chunks: BTreeMap::new(), directories: BTreeMap::new(), left };
        let length = (f.u32(0xa0) as usize).min(SYSTEM_CHUNKS.1);
        let mut list = &bytes[SYSTEM_CHUNKS.0..SYSTEM_CHUNKS.0 + length];
        while list.len() > KEY + CHUNK {
            let logical = Fields(list).u64(9);
            let (own, used) = chunk(&list[KEY..], device)?;
            reader.chunks.extend(own.map(|own| (logical, own)));
            list = list.get(KEY + used..).unwrap_or_default();
        }
        let mut found = Vec::new();
        let all = (FIRST, CHUNK_ITEM, 0)..=(FIRST, CHUNK_ITEM, u64::MAX);
        reader.walk(chunk_tree, all, &mut |key, data| {
            found.extend(chunk(data, device)?.0.map(|own| (key.2, own)));
            if found.len() > CHUNK_LIMIT { Err("it has too many chunks") } else { Ok(()) }
        })?;
        reader.chunks.extend(found);
        Ok(reader)
    }

    /// The block at a logical address, which must be of this level.
    fn read(&mut self, logical: u64, level: u8) -> Result<Vec<u8>, Failure> {
        self.left = self.left.checked_sub(self.block).ok_or("it has too many blocks, or blocks in a circle")?;
        let (start, (length, at)) = self.chunks.range(..=logical).next_back().ok_or("a block lies in no chunk")?;
        let inside = logical - start;
        let physical = at.checked_add(inside).filter(|_| inside < *length).ok_or("a block lies in no chunk")?;
        let bytes = self.place.bytes(physical, self.block)?.ok_or("a block lies beyond the end")?;
        let is_it = Fields(&bytes).u64(48) == logical && bytes[100] == level;
        if is_it { Ok(bytes) } else { Err("a block is another one than was asked for".into()) }
    }

    /// Shows the items of a tree whose keys are in the range.
    fn walk(&mut self, tree: Tree, keys: std::ops::RangeInclusive<Key>, show: &mut Show<'_>) -> Result<(), Failure> {
        if tree.1 >= LEVEL_LIMIT {
            return Err("a tree is too high".into());
        }
        let mut todo = vec![tree];
        while let Some((logical, level)) = todo.pop() {
            let bytes = self.read(logical, level)?;
            let f = Fields(&bytes);
            let (count, each) = (f.u32(96) as usize, if level == 0 { ITEM } else { POINTER });
            if count > (bytes.len() - HEADER) / each {
                return Err("a block has more items than room".into());
            }
            let at = |n: usize| HEADER + n * each;
            let key = |n: usize| (f.u64(at(n)), bytes[at(n) + 8], f.u64(at(n) + 9));
            if level > 0 {
                // What a pointer leads to ends where the next one begins.
                let ends = |n: usize| n + 1 < count && key(n + 1) <= *keys.start();
                let wanted = (0..count).filter(|n| key(*n) <= *keys.end() && !ends(*n));
                let mut below: Vec<Tree> = wanted.map(|n| (f.u64(at(n) + KEY), level - 1)).collect();
                below.reverse();
                todo.extend(below);
                continue;
            }
            for n in (0..count).filter(|n| keys.contains(&key(*n))) {
                let (offset, size) = (f.u32(at(n) + 17) as usize, f.u32(at(n) + 21) as usize);
                let begin = HEADER.saturating_add(offset);
                let data = bytes.get(begin..begin.saturating_add(size)).ok_or("an item lies outside of its block")?;
                show(key(n), data)?;
            }
        }
        Ok(())
    }

    /// The path of a subvolume from the top.
    fn path(&mut self, subvolume: u64, named: &Named, trees: &BTreeMap<u64, Tree>) -> Result<String, Failure> {
        let (mut at, mut parts) = (subvolume, Vec::new());
        while at != TOP {
            let (parent, directory, name) = named.get(&at).ok_or("a subvolume lies in one that is not there")?;
            parts.push(name.clone());
            let mut directory = *directory;
            while directory != FIRST {
                let (up, name) = self.directory(*parent, directory, trees)?;
                parts.push(name);
                directory = up;
                if parts.len() > DEPTH_LIMIT {
                    return Err("subvolumes lie in each other too deep".into());
                }
            }
            at = *parent;
            if parts.len() > DEPTH_LIMIT {
                return Err("subvolumes lie in each other too deep".into());
            }
        }
        parts.reverse();
        Ok(parts.join("/"))
    }

    /// In which directory another one lies, and what it is called there.
    fn directory(&mut self, tree: u64, directory: u64, trees: &BTreeMap<u64, Tree>) -> Result<(u64, String), Failure> {
        if let Some(known) = self.directories.get(&(tree, directory)) {
            return Ok(known.clone());
        }
        let mut found = None;
        let all = (directory, INODE_REF, 0)..=(directory, INODE_REF, u64::MAX);
        let top = *trees.get(&tree).ok_or("the tree of a subvolume is not there")?;
        self.walk(top, all, &mut |key, data| {
            found = Some((key.2, name(data, 8)?));
            Ok(())
        })?;
        let found = found.ok_or("a directory has no name")?;
        self.directories.insert((tree, directory), found.clone());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NODE: u64 = 4096;
    /// Chunks: logical address, where it is on the device, how long.
    const SYSTEM: (u64, u64, u64) = (1 << 20, 256 << 10, 16 << 10);
    const METADATA: (u64, u64, u64) = (8 << 20, 512 << 10, 64 << 10);

    fn put(disk: &mut [u8], at: u64, bytes: &[u8]) {
        let at = usize::try_from(at).unwrap();
        disk[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn key_bytes((objectid, kind, offset): Key) -> Vec<u8> {
        [&objectid.to_le_bytes()[..], &[kind], &offset.to_le_bytes()].concat()
    }

    fn chunk_bytes((_, physical, length): (u64, u64, u64)) -> Vec<u8> {
        let mut chunk = vec![0; CHUNK + STRIPE];
        put(&mut chunk, 0, &length.to_le_bytes());
        put(&mut chunk, 44, &1u16.to_le_bytes());
        put(&mut chunk, 48, &1u64.to_le_bytes());
        put(&mut chunk, 56, &physical.to_le_bytes());
        chunk
    }

    fn header(logical: u64, level: u8, count: usize) -> Vec<u8> {
        let mut node = vec![0; 4096];
        put(&mut node, 48, &logical.to_le_bytes());
        put(&mut node, 96, &u32::try_from(count).unwrap().to_le_bytes());
        node[100] = level;
        node
    }

    fn leaf(logical: u64, items: &[(Key, Vec<u8>)]) -> Vec<u8> {
        let mut node = header(logical, 0, items.len());
        let mut end = node.len();
        for (n, (key, data)) in items.iter().enumerate() {
            end -= data.len();
            let at = (HEADER + n * ITEM) as u64;
            put(&mut node, at, &key_bytes(*key));
            put(&mut node, at + 17, &u32::try_from(end - HEADER).unwrap().to_le_bytes());
            put(&mut node, at + 21, &u32::try_from(data.len()).unwrap().to_le_bytes());
            put(&mut node, end as u64, data);
        }
        node
    }

    fn inner(logical: u64, children: &[(Key, u64)]) -> Vec<u8> {
        let mut node = header(logical, 1, children.len());
        for (n, (key, child)) in children.iter().enumerate() {
            let at = (HEADER + n * POINTER) as u64;
            put(&mut node, at, &key_bytes(*key));
            put(&mut node, at + 17, &child.to_le_bytes());
        }
        node
    }

    fn reference(first: &[u64], name: &str) -> Vec<u8> {
        let mut data: Vec<u8> = first.iter().flat_map(|n| n.to_le_bytes()).collect();
        data.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        data.extend(name.as_bytes());
        data
    }

    /// `root`, `root/var` in it, and `srv/www` in a directory.
    fn disk() -> Vec<u8> {
        let mut disk = vec![0; 1 << 20];
        let super_at = SUPERBLOCK;
        put(&mut disk, super_at + 0x30, &SUPERBLOCK.to_le_bytes());
        put(&mut disk, super_at + 0x40, MAGIC);
        put(&mut disk, super_at + 0x50, &METADATA.0.to_le_bytes());
        put(&mut disk, super_at + 0x58, &SYSTEM.0.to_le_bytes());
        put(&mut disk, super_at + 0x88, &1u64.to_le_bytes());
        put(&mut disk, super_at + 0x94, &4096u32.to_le_bytes());
        disk[usize::try_from(super_at).unwrap() + 0xc6] = 1;
        put(&mut disk, super_at + 0xc9, &1u64.to_le_bytes());
        let system = [key_bytes((FIRST, CHUNK_ITEM, SYSTEM.0)), chunk_bytes(SYSTEM)].concat();
        put(&mut disk, super_at + 0xa0, &u32::try_from(system.len()).unwrap().to_le_bytes());
        put(&mut disk, super_at + 0x32b, &system);
        let chunks = [SYSTEM, METADATA].map(|c| ((FIRST, CHUNK_ITEM, c.0), chunk_bytes(c)));
        put(&mut disk, SYSTEM.1, &leaf(SYSTEM.0, &chunks));
        let node = |n: u64| METADATA.0 + n * NODE;
        let item = |tree: u64| {
            let mut data = vec![0; 439];
            put(&mut data, 176, &node(tree).to_le_bytes());
            data
        };
        let first = [((TOP, ROOT_ITEM, 0), item(3))];
        let second = [
            ((256, ROOT_ITEM, 0), item(4)),
            ((256, ROOT_BACKREF, TOP), reference(&[FIRST, 2], "root")),
            ((257, ROOT_BACKREF, 256), reference(&[FIRST, 2], "var")),
            ((258, ROOT_BACKREF, TOP), reference(&[300, 2], "www")),
        ];
        let directory = [((300, INODE_REF, FIRST), reference(&[2], "srv"))];
        let blocks = [
            inner(node(0), &[(first[0].0, node(1)), (second[0].0, node(2))]),
            leaf(node(1), &first),
            leaf(node(2), &second),
            leaf(node(3), &directory),
        ];
        for (n, block) in (0u64..).zip(&blocks) {
            put(&mut disk, METADATA.1 + n * NODE, block);
        }
        disk
    }

    fn read(disk: &Vec<u8>) -> Result<Vec<String>, String> {
        subvolumes(&Place::whole(disk)).unwrap().map(|paths| paths.into_iter().collect())
    }

    #[test]
    fn subvolumes_have_their_paths() {
        assert_eq!(read(&disk()).unwrap(), ["root", "root/var", "srv/www"]);
    }

    /// Names that overlap, chunks that do, and long ones ask for no more memory than is allowed.
    #[test]
    fn what_hostile_bytes_ask_for_is_bounded() {
        let long = [&[0; 16][..], &300u16.to_le_bytes(), &[b'x'; 300]].concat();
        assert!(name(&long, 16).is_err() && name(&long[..17], 16).is_err());
        assert_eq!(name(&[&[0; 8][..], &2u16.to_le_bytes(), b"ab"].concat(), 8).unwrap(), "ab");
        assert!(chunk(&[0; CHUNK - 1], 1).is_err() && chunk(&[0; CHUNK + STRIPE], 1).is_err());
        // Each of so many subvolumes has a path of its parent's length and more.
        let named: Named =
            (0..200).map(|n| (FIRST + n, (if n == 0 { TOP } else { FIRST + n - 1 }, FIRST, "n".repeat(255)))).collect();
        let disk = disk();
        let place = Place::whole(&disk);
        let mut reader = Reader::open(&place).ok().unwrap();
        assert_eq!(reader.path(FIRST + 199, &named, &BTreeMap::new()).ok().unwrap().len(), 200 * 256 - 1);
    }

    #[test]
    fn what_cannot_be_told_is_said() {
        let broken = |at: u64, bytes: &[u8]| {
            let mut disk = disk();
            put(&mut disk, at, bytes);
            read(&disk).unwrap_err()
        };
        assert_eq!(broken(SUPERBLOCK + 0x88, &[2]), "it has several devices");
        assert_eq!(broken(SUPERBLOCK + 0x40, &[0]), "its superblock is damaged");
        assert_eq!(broken(SUPERBLOCK + 0x94, &[1]), "the size of its blocks cannot be");
        assert_eq!(broken(METADATA.1 + 48, &[1]), "a block is another one than was asked for");
        assert_eq!(broken(METADATA.1 + 96, &[255, 255]), "a block has more items than room");
        // The directory that www is in has no name, or is its own.
        assert_eq!(broken(METADATA.1 + 3 * NODE + 96, &[0]), "a directory has no name");
        let own = 300u64.to_le_bytes();
        assert_eq!(broken(METADATA.1 + 3 * NODE + 101 + 9, &own), "subvolumes lie in each other too deep");
        // The inner node leads to itself.
        let itself = METADATA.0.to_le_bytes();
        assert_eq!(broken(METADATA.1 + 101 + 17, &itself), "a block is another one than was asked for");
    }

    proptest! {
        /// Hostile bytes never panic, and end.
        #[test]
        fn any_bytes_are_read(changes in proptest::collection::vec((0usize..6, 0u64..4096, any::<u8>()), 1..12)) {
            let mut disk = disk();
            for (place, at, byte) in changes {
                let from = [SUPERBLOCK, SYSTEM.1, METADATA.1, METADATA.1 + NODE, METADATA.1 + 2 * NODE, METADATA.1 + 3 * NODE];
                put(&mut disk, from[place] + at, &[byte]);
            }
            let _ = read(&disk);
        }
    }
}
