//! The regular files of a plan, kept small: 5 bytes a file and its name, because there may be millions. What most of them
//! do not need, and what many have in common, stands beside them.

use super::Meta;
use crate::error::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::sync::atomic::AtomicU32;

/// So many files have numbers: one bit more says what a number means.
const LIMIT: usize = 1 << 31;
/// From one mark to the next: so many names are stepped over at most.
const MARK: usize = 16;
/// Bytes of a name, about.
const NAME: usize = 16;
/// Metadata that was met lately, and is looked for among so many. Neighbours have the most in common, and to know them all would
/// cost more than it saves where each file has a time of its own.
const RECENT: usize = 4096;

/// A regular file under its first name.
#[derive(Clone, Copy)]
pub(in crate::tree) struct File<'p> {
    pub(in crate::tree) number: u32,
    pub(in crate::tree) name: &'p [u8],
    pub(in crate::tree) directory: u32,
    pub(in crate::tree) meta: &'p Meta,
}

/// What is to be known of a file that is not just one chunk.
pub(in crate::tree) struct Pieced {
    pub(in crate::tree) file: u32,
    /// Chunks that have still to be written.
    pub(in crate::tree) left: AtomicU32,
    pub(in crate::tree) size: u64,
}

/// The files, by their numbers, in the order of the rows.
#[derive(Default)]
pub(in crate::tree) struct Files {
    /// The number of the metadata of each.
    files: Vec<u32>,
    /// One byte that says how long a name is, the name, and so on.
    names: Vec<u8>,
    /// Where in there the name of every so many files begins.
    marks: Vec<u32>,
    /// The directories, each with the first file of several that follow each other in it.
    directories: Vec<(u32, u32)>,
    metas: Vec<Meta>,
    recent: HashMap<Meta, u32>,
    /// Ascending.
    pieced: Vec<Pieced>,
}

impl Files {
    pub(super) fn with_capacity(files: usize) -> Self {
        Self { files: Vec::with_capacity(files), names: Vec::with_capacity(files * NAME), ..Self::default() }
    }

    /// The number that the next file gets.
    pub(super) fn next(&self) -> Result<u32> {
        if self.files.len() >= LIMIT || self.names.len() > u32::MAX as usize {
            return Err(Error::new(ErrorKind::Limit, "the image has more files than can be extracted at once"));
        }
        Ok(self.files.len() as u32)
    }

    /// Adds a file; `pieces` are its size and the number of its chunks, unless it is one chunk.
    pub(super) fn add(&mut self, name: &[u8], directory: u32, meta: Meta, pieces: Option<(u64, u32)>) {
        if let Some((size, left)) = pieces {
            self.pieced.push(Pieced { file: self.files.len() as u32, left: AtomicU32::new(left), size });
        }
        if self.files.len().is_multiple_of(MARK) {
            self.marks.push(self.names.len() as u32);
        }
        self.names.push(name.len() as u8);
        self.names.extend_from_slice(name);
        if self.directories.last().is_none_or(|(_, d)| *d != directory) {
            self.directories.push((self.files.len() as u32, directory));
        }
        let meta = self.meta(meta);
        self.files.push(meta);
    }

    fn meta(&mut self, meta: Meta) -> u32 {
        if let Some(&known) = self.recent.get(&meta) {
            return known;
        }
        if self.recent.len() >= RECENT {
            self.recent.clear();
        }
        let number = self.metas.len() as u32;
        self.metas.push(meta);
        self.recent.insert(meta, number);
        number
    }

    /// All have been added.
    pub(super) fn finish(&mut self) {
        self.recent = HashMap::new();
    }

    pub(in crate::tree) fn get(&self, number: u32) -> File<'_> {
        let (mark, after) = (number as usize / MARK, number as usize % MARK);
        let mut at = self.marks[mark] as usize;
        for _ in 0..after {
            at += 1 + usize::from(self.names[at]);
        }
        let name = &self.names[at + 1..][..usize::from(self.names[at])];
        let run = self.directories.partition_point(|(first, _)| *first <= number) - 1;
        let meta = &self.metas[self.files[number as usize] as usize];
        File { number, name, directory: self.directories[run].1, meta }
    }

    pub(in crate::tree) fn iter(&self) -> impl Iterator<Item = File<'_>> {
        (0..self.files.len() as u32).map(|n| self.get(n))
    }

    /// The files that are not just one chunk: several, holes, or nothing.
    pub(in crate::tree) fn pieced(&self) -> &[Pieced] {
        &self.pieced
    }

    /// The same of one file.
    pub(in crate::tree) fn pieces(&self, number: u32) -> Option<&Pieced> {
        self.pieced.binary_search_by_key(&number, |p| p.file).ok().map(|at| &self.pieced[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(seconds: i64) -> Meta {
        Meta { mode: 0o100_644, uid: 0, gid: 0, mtime: (seconds, 5), xattrs: 0, inode_flags: 0 }
    }

    /// A receiver has 128 MiB for an image of a million entries, and most of that is names of chunks.
    #[test]
    fn files_are_small() {
        let mut files = Files::default();
        for n in 0..100_000u32 {
            files.add(b"name", n / 100, meta(i64::from(n / 1000)), (n % 10 == 0).then_some((0, 0)));
        }
        files.finish();
        let Files { files, names, marks, directories, metas, recent, pieced } = files;
        let of_all = size_of_val(&files[..]) + names.len() + size_of_val(&marks[..]) + size_of_val(&pieced[..]);
        let of_some = size_of_val(&directories[..]) + size_of_val(&metas[..]) + recent.capacity();
        assert!(of_all + of_some < 100_000 * (4 + 5 + 3), "{of_all} {of_some}");
    }

    #[test]
    fn what_was_added_comes_back() {
        let mut files = Files::default();
        // More times than are remembered, each twice; and then the first ones again. Directories change after two files.
        let times = || (0..2 * RECENT as i64).chain(0..10);
        for (n, seconds) in times().enumerate() {
            assert_eq!(files.next().unwrap(), 2 * n as u32);
            let name = "x".repeat(1 + n % 255);
            files.add(name.as_bytes(), n as u32, meta(seconds), None);
            files.add(b"second", n as u32, meta(seconds), Some((1 << 40, n as u32)));
        }
        files.finish();
        assert_eq!(files.metas.len(), 2 * RECENT + 10);
        for (n, seconds) in times().enumerate() {
            let (first, second) = (files.get(2 * n as u32), files.get(2 * n as u32 + 1));
            assert_eq!((first.name.len(), first.directory, first.meta.mtime.0), (1 + n % 255, n as u32, seconds));
            assert_eq!((second.name, second.meta.mtime), (&b"second"[..], (seconds, 5)));
            assert!(files.pieces(first.number).is_none());
            let pieces = files.pieces(second.number).unwrap();
            assert_eq!((pieces.size, pieces.left.load(std::sync::atomic::Ordering::Relaxed)), (1 << 40, n as u32));
        }
        assert_eq!(files.iter().count(), 2 * times().count());
    }
}
