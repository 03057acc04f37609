//! What a walk finds, kept small: about 80 bytes an entry with its name, so that a million entries fit in memory.

use crate::image::row::{BLOCK, CHARACTER, DIRECTORY, KIND_MASK, LINK, REGULAR};

/// The file may have holes: fewer blocks are allocated than its size needs.
pub const SPARSE: u8 = 1;
/// `chattr +i`.
pub const IMMUTABLE: u8 = 2;
/// `chattr +a`.
pub const APPEND: u8 = 4;
/// It has more than one name.
pub const LINKED: u8 = 8;
/// Its content is left out by a rule: an empty file stands for it.
pub const EMPTIED: u8 = 16;
/// Something is mounted on it; what is in it was not walked.
pub const MOUNT: u8 = 32;
/// It is a store of images; what is in it was not walked.
pub const STORE: u8 = 64;
/// It was asked for its attributes, and has none but labels of security modules.
pub const PLAIN: u8 = 128;

/// What `stat` said of an entry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry {
    /// Inode number.
    pub ino: u64,
    /// Size in bytes; of a device, major in the upper and minor in the lower half.
    pub size: u64,
    /// Seconds of the modification time.
    pub mtime_s: i64,
    /// Seconds of the change time.
    pub ctime_s: i64,
    /// Nanoseconds of the modification time.
    pub mtime_ns: u32,
    /// Nanoseconds of the change time.
    pub ctime_ns: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of the directory it is in.
    pub parent: u32,
    pub(super) name_at: u32,
    /// `st_mode`.
    pub mode: u16,
    pub(super) name_len: u8,
    /// `SPARSE`, `IMMUTABLE`, ….
    pub flags: u8,
}

impl Entry {
    /// The kind bits of the mode.
    #[must_use]
    pub fn kind(&self) -> u32 {
        u32::from(self.mode) & KIND_MASK
    }

    /// Whether it is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind() == REGULAR
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind() == DIRECTORY
    }

    /// Whether it is a symbolic link.
    #[must_use]
    pub fn is_link(&self) -> bool {
        self.kind() == LINK
    }

    /// Major and minor number, of a device.
    #[must_use]
    pub fn device(&self) -> Option<(u32, u32)> {
        matches!(self.kind(), CHARACTER | BLOCK).then_some(((self.size >> 32) as u32, self.size as u32))
    }

    /// The same entry, with what a later `stat` said of it.
    #[must_use]
    pub fn restated(&self, later: &Entry) -> Entry {
        Entry { parent: self.parent, name_at: self.name_at, name_len: self.name_len, ..*later }
    }

    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The inode flags as an image keeps them.
    #[must_use]
    pub fn inode_flags(&self) -> u32 {
        let bit = |flag, bit| if self.has(flag) { bit } else { 0 };
        bit(IMMUTABLE, 0x10) | bit(APPEND, 0x20)
    }
}

/// A walked tree. Entry 0 is the root.
#[derive(Default)]
pub struct Tree {
    entries: Vec<Entry>,
    names: Vec<u8>,
    /// Children of a directory: entry number → first child and count.
    children: std::collections::HashMap<u32, (u32, u32)>,
    /// Device of the filesystem.
    pub device: (u32, u32),
}

impl Tree {
    /// An entry by number.
    #[must_use]
    pub fn entry(&self, number: u32) -> &Entry {
        &self.entries[number as usize]
    }

    /// Marks an entry.
    pub fn set_flag(&mut self, number: u32, flag: u8) {
        self.entries[number as usize].flags |= flag;
    }

    /// The name of an entry; empty for the root.
    #[must_use]
    pub fn name(&self, number: u32) -> &[u8] {
        let e = self.entry(number);
        &self.names[e.name_at as usize..][..e.name_len as usize]
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was walked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Writes the path of an entry, relative to the root, into `out`.
    pub fn path_into(&self, number: u32, out: &mut Vec<u8>) {
        out.clear();
        let up = |at: &u32| Some(self.entry(*at).parent).filter(|&parent| parent != 0);
        let chain = || std::iter::successors(Some(number).filter(|&n| n != 0), up);
        let length: usize = chain().map(|n| usize::from(self.entry(n).name_len) + 1).sum();
        // From the name to the root, from the end to the front: without memory for the way.
        out.resize(length.saturating_sub(1), b'/');
        let mut end = out.len();
        for name in chain().map(|n| self.name(n)) {
            out[end - name.len()..end].copy_from_slice(name);
            end = (end - name.len()).saturating_sub(1);
        }
    }

    /// The path of an entry.
    #[must_use]
    pub fn path(&self, number: u32) -> Vec<u8> {
        let mut out = Vec::new();
        self.path_into(number, &mut out);
        out
    }

    /// All entries in the order of an image.
    #[must_use]
    pub fn order(&self) -> Vec<u32> {
        let mut out = Vec::with_capacity(self.entries.len());
        let mut stack = vec![(0u32, 1u32)];
        while let Some((at, left)) = stack.pop() {
            if left > 1 {
                stack.push((at + 1, left - 1));
            }
            out.push(at);
            if let Some(&(first, count)) = self.children.get(&at)
                && count > 0
            {
                stack.push((first, count));
            }
        }
        out
    }

    /// Adds the root.
    pub(super) fn add_root(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Adds the entries of a directory, sorted by name; gives the number of the first.
    pub(super) fn add_children(&mut self, directory: u32, entries: &[(Vec<u8>, Entry)]) -> u32 {
        let first = self.entries.len() as u32;
        for (name, entry) in entries {
            let name_at = self.names.len() as u32;
            self.names.extend_from_slice(name);
            self.entries.push(Entry { parent: directory, name_at, name_len: name.len() as u8, ..*entry });
        }
        self.children.insert(directory, (first, entries.len() as u32));
        first
    }
}
