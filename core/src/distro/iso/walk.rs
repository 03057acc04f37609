//! The walk over the directories, and everything that it refuses.

use super::descriptor::{SECTOR, Volume, outside};
use super::medium::{ReadAt, TOO_MUCH, Window};
use crate::error::{Error, Result};
use crate::image::path;
use crate::job::Task;
use crate::sys::confined::show;
use hadris_iso::directory::DirectoryRef;
use hadris_iso::file::EntryType;
use hadris_iso::read::{DirEntry, IsoImage};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Deepest directory. Linux' own reader has no limit, media of distributions have five levels.
const DEPTH_LIMIT: usize = 64;
/// Most entries.
const ENTRIES_LIMIT: usize = 1_000_000;
/// Most bytes of all paths: deep directories repeat in each of them.
const PATHS_LIMIT: usize = 256 << 20;
/// Longest directory; one of 60,000 packages has 16 MiB.
const DIRECTORY_LIMIT: u64 = 16 << 20;
/// Files may share their bytes. Together they are no larger than so many media.
const SHARED_LIMIT: u64 = 4;

const KIND_MASK: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

/// A regular file of a medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsoFile {
    /// Bytes.
    pub size: u64,
    /// Offset and length of its parts, in bytes, all of them inside the medium. Over 4 GiB there are several.
    pub extents: Vec<(u64, u64)>,
}

/// What is on a medium.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The volume.
    pub volume: Volume,
    /// Its files by their paths, which are clean and relative. Directories are what is in their paths.
    pub files: BTreeMap<Vec<u8>, IsoFile>,
}

impl Listing {
    /// Walks over a medium.
    ///
    /// # Errors
    /// `Integrity` when it is no ISO image, is damaged or truncated; `UnsafeInput` for a loop, a name that leaves the tree,
    /// a link, or an extent outside of the medium; `Cancelled`.
    pub fn read(medium: &dyn ReadAt, task: &Task) -> Result<Self> {
        let volume = Volume::read(medium)?;
        let window = Window::new(medium, task.cancel_token());
        let image = IsoImage::open(window).map_err(|e| unreadable(&e, medium, &volume, task))?;
        let roots = image.root_dirs();
        // Rock Ridge has the names as they were; Joliet is next best.
        let rock_ridge = |t: EntryType| matches!(t, EntryType::Level1 { supports_rrip: true, .. });
        let joliet = |t: EntryType| matches!(t, EntryType::Joliet { .. });
        let of = |kind: &dyn Fn(EntryType) -> bool| roots.iter().find(|r| kind(r.entry_type()));
        let root = of(&rock_ridge).or_else(|| of(&joliet)).or_else(|| roots.iter().next());
        let root = root.ok_or_else(|| Error::integrity("the medium has no directory"))?;
        let mut walk = Walk {
            medium,
            volume: &volume,
            task,
            joliet: joliet(root.entry_type()),
            directories: HashSet::new(),
            paths_of_directories: HashSet::new(),
            files: BTreeMap::new(),
            entries: 0,
            paths: 0,
        };
        let mut todo = vec![(Vec::new(), 0, root.dir_ref())];
        while let Some((path, depth, directory)) = todo.pop() {
            walk.enter(&path, depth, directory)?;
            for entry in image.open_dir(directory).entries() {
                let entry = entry.map_err(|e| unreadable(&e, medium, &volume, task))?;
                if entry.is_special() || entry.rrip.as_ref().is_some_and(|r| r.is_relocated) {
                    continue;
                }
                let Some(path) = walk.entry(&path, &entry)? else { continue };
                let beneath = entry.as_dir_ref(&image).map_err(|e| unreadable(&e, medium, &volume, task))?;
                todo.push((path, depth + 1, beneath));
            }
        }
        let files = walk.finish()?;
        Ok(Self { volume, files })
    }
}

/// A walk that is under way.
struct Walk<'w> {
    medium: &'w dyn ReadAt,
    volume: &'w Volume,
    task: &'w Task,
    joliet: bool,
    /// Where the directories so far begin.
    directories: HashSet<usize>,
    /// Their paths. One without files, as relocation leaves it, is not in the listing.
    paths_of_directories: HashSet<Vec<u8>>,
    files: BTreeMap<Vec<u8>, IsoFile>,
    entries: usize,
    paths: usize,
}

impl Walk<'_> {
    /// A directory before it is read.
    fn enter(&mut self, path: &[u8], depth: usize, directory: DirectoryRef) -> Result<()> {
        self.task.check()?;
        let name = || format!("directory /{}", show(path));
        if depth > DEPTH_LIMIT {
            return Err(Error::unsafe_input(format!("{} is deeper than {DEPTH_LIMIT} levels", name())));
        }
        if !self.directories.insert(directory.extent.0) {
            return Err(Error::unsafe_input(format!("{} is reached twice: a loop", name())));
        }
        if directory.size as u64 > DIRECTORY_LIMIT {
            return Err(Error::unsafe_input(format!("{} says that it has {} bytes", name(), directory.size)));
        }
        self.inside(&name(), directory.extent.0, directory.size as u64).map(drop)
    }

    /// An entry of the directory `above`; its path when it is a directory.
    fn entry(&mut self, above: &[u8], entry: &DirEntry) -> Result<Option<Vec<u8>>> {
        self.entries += 1;
        if self.entries > ENTRIES_LIMIT {
            return Err(Error::unsafe_input(format!("the medium has more than {ENTRIES_LIMIT} entries")));
        }
        let name = self.name(entry);
        let mut path = above.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(&name);
        let refused =
            |why: &str| Err(Error::unsafe_input(format!("/{} {why}", show(&path))).fact("entry", show(&path)));
        if matches!(name.as_slice(), b"" | b"." | b"..") || name.iter().any(|c| matches!(c, b'/' | 0)) {
            return refused("is a name that leaves its directory");
        }
        path::check(&path)?;
        self.paths += path.len();
        if self.paths > PATHS_LIMIT {
            return refused("is one of too many long paths");
        }
        if self.files.contains_key(&path) || self.paths_of_directories.contains(&path) {
            return refused("is there twice");
        }
        let rock_ridge = entry.rrip.as_ref().filter(|_| !self.joliet);
        if rock_ridge.is_some_and(|r| r.symlink_target.is_some()) {
            return refused("is a symbolic link");
        }
        let mode = rock_ridge.and_then(|r| r.posix_attributes).map(|p| p.file_mode.read() & KIND_MASK);
        let expected = if entry.is_directory() { DIRECTORY } else { REGULAR };
        // A relocated directory has the record of a file, and the mode of a directory.
        if mode.is_some_and(|m| m != 0 && m != expected) {
            return refused("is neither a file nor a directory");
        }
        if entry.is_directory() {
            self.paths_of_directories.insert(path.clone());
            return Ok(Some(path));
        }
        let mut file = IsoFile { size: 0, extents: Vec::new() };
        let what = format!("/{}", show(&path));
        for extent in entry.extents().filter(|e| e.length > 0) {
            let at = self.inside(&what, extent.sector.0, u64::from(extent.length))?;
            file.size += u64::from(extent.length);
            match file.extents.last_mut() {
                Some((from, n)) if *from + *n == at => *n += u64::from(extent.length),
                _ => file.extents.push((at, u64::from(extent.length))),
            }
        }
        self.files.insert(path, file);
        Ok(None)
    }

    /// Checks that something lies inside the medium; gives its offset.
    fn inside(&self, what: &str, sector: usize, bytes: u64) -> Result<u64> {
        let at = (sector as u64).checked_mul(SECTOR);
        let end = at.and_then(|at| at.checked_add(bytes)).filter(|end| *end <= self.medium.length());
        at.filter(|_| end.is_some()).ok_or_else(|| outside(what, self.medium.length(), self.volume.size))
    }

    fn name(&self, entry: &DirEntry) -> Vec<u8> {
        if let Some(name) = entry.rrip.as_ref().filter(|_| !self.joliet).and_then(|r| r.alternate_name.as_ref()) {
            return name.clone().into_bytes();
        }
        let raw = entry.name();
        let mut name = if self.joliet {
            let units: Vec<u16> = raw.chunks(2).map(|c| u16::from_be_bytes([c[0], *c.get(1).unwrap_or(&0)])).collect();
            String::from_utf16_lossy(&units).into_bytes()
        } else {
            raw.to_vec()
        };
        // The version of a file, and the dot of a name that has no extension.
        if let Some(at) = name.iter().rposition(|&c| c == b';')
            && name[at + 1..].iter().all(u8::is_ascii_digit)
        {
            name.truncate(at);
        }
        if !self.joliet && name.len() > 1 && name.last() == Some(&b'.') {
            name.pop();
        }
        name
    }

    /// What can only be said of all files together.
    fn finish(self) -> Result<BTreeMap<Vec<u8>, IsoFile>> {
        let files = self.files;
        let distinct: BTreeSet<(u64, u64)> = files.values().flat_map(|f| f.extents.iter().copied()).collect();
        let length = self.medium.length();
        let sum = |n: u64, bytes: u64| n.checked_add(bytes);
        let bytes = distinct.iter().try_fold(0, |n, (_, bytes)| sum(n, *bytes)).unwrap_or(u64::MAX);
        let shared = files.values().try_fold(0, |n, f| sum(n, f.size)).unwrap_or(u64::MAX);
        if bytes > length || shared / SHARED_LIMIT > length {
            return Err(Error::unsafe_input("the files of the medium overlap: together they are larger than it is")
                .fact("bytes", length));
        }
        Ok(files)
    }
}

/// An error of the parser.
fn unreadable(e: &hadris_iso::Error, medium: &dyn ReadAt, volume: &Volume, task: &Task) -> Error {
    if task.cancel_token().is_cancelled() {
        return Error::cancelled();
    }
    let text = e.to_string();
    if text.contains(TOO_MUCH) {
        return Error::unsafe_input(TOO_MUCH);
    }
    if medium.length() < volume.size {
        return outside("a directory", medium.length(), volume.size);
    }
    Error::integrity(format!("the medium cannot be read: {text}"))
}
