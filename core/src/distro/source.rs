//! What is added: the files of a medium or of a directory, in the order in which they are read best.

use super::files::Files;
use super::iso::{IsoFile, Listing, MediumFile, ReadAt, Volume};
use super::sweep::Sweep;
use crate::error::{Error, Result};
use crate::image::path;
use crate::job::Task;
use crate::sys::confined::{Links, Root, show};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

const DEPTH_LIMIT: usize = 64;
const ENTRIES_LIMIT: usize = 1_000_000;

/// Files that are added.
pub(super) struct Source {
    place: Place,
    pub(super) files: BTreeMap<Vec<u8>, IsoFile>,
}

enum Place {
    Medium(MediumFile, Volume),
    Directory(Root),
}

impl Source {
    /// Opens a file or directory, and lists what is in it.
    ///
    /// # Errors
    /// `NotFound`; `Integrity` when the file is no ISO image, or damaged; `UnsafeInput` for what protects the machine;
    /// `Cancelled`.
    pub(super) fn open(place: &Path, task: &Task) -> Result<Self> {
        let kind = std::fs::metadata(place).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::not_found(format!("there is nothing at {}", place.display())),
            _ => Error::io("look at", place.display(), e),
        })?;
        if kind.is_dir() {
            let root = Root::open(place).map_err(|e| Error::io("open", place.display(), e))?;
            let files = directory(&root, task)?;
            return Ok(Self { place: Place::Directory(root), files });
        }
        if !kind.is_file() {
            return Err(Error::invalid(format!("{} is neither a file nor a directory", place.display())));
        }
        let medium = MediumFile::open(place)?;
        let Listing { volume, files } =
            Listing::read(&medium, task).map_err(|e| e.fact("path", place.display().to_string()))?;
        Ok(Self { place: Place::Medium(medium, volume), files })
    }

    /// The medium, if it is one.
    pub(super) fn medium(&self) -> Option<(&MediumFile, &Volume)> {
        match &self.place {
            Place::Medium(medium, volume) => Some((medium, volume)),
            Place::Directory(_) => None,
        }
    }

    /// Bytes of all files.
    pub(super) fn size(&self) -> u64 {
        self.files.values().map(|f| f.size).fold(0, u64::saturating_add)
    }

    /// The files in the order of their bytes on the medium.
    pub(super) fn in_order(&self) -> Vec<(&[u8], &IsoFile)> {
        let mut out: Vec<_> = self.files.iter().map(|(p, f)| (p.as_slice(), f)).collect();
        // Stable: files of a directory stay in the order of their paths.
        out.sort_by_key(|(_, f)| f.extents.first().map_or(0, |e| e.0));
        out
    }

    /// What gives the bytes of a file.
    pub(super) fn reader<'s>(&'s self, path: &'s [u8], file: &'s IsoFile) -> Result<Reader<'s>> {
        Ok(match &self.place {
            Place::Medium(medium, _) => Reader::Extents { medium, extents: &file.extents, done: 0 },
            Place::Directory(root) => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK;
                let fd = root.open_at(path, flags, Mode::empty(), Links::Refuse);
                let fd = fd.map_err(|e| Error::io("open", root.name_of(path), e))?;
                let _ = rustix::fs::fadvise(&fd, 0, None, rustix::fs::Advice::Sequential);
                Reader::File(File::from(fd), path)
            }
        })
    }
}

/// The bytes of a file, one after the other.
pub(super) enum Reader<'s> {
    Extents { medium: &'s MediumFile, extents: &'s [(u64, u64)], done: u64 },
    File(File, &'s [u8]),
}

impl Reader<'_> {
    /// Fills the front of `buf`, by way of the sweep if the medium is swept; 0 at the end.
    pub(super) fn next(&mut self, buf: &mut [u8], sweep: Option<&mut Sweep<'_, '_>>) -> Result<usize> {
        match self {
            Self::File(file, path) => loop {
                match file.read(buf) {
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    done => return done.map_err(|e| Error::io("read", show(path), e)),
                }
            },
            Self::Extents { medium, extents, done } => loop {
                let Some(&(at, length)) = extents.first() else { return Ok(0) };
                let left = usize::try_from(length - *done).unwrap_or(usize::MAX).min(buf.len());
                if left == 0 {
                    (*extents, *done) = (&extents[1..], 0);
                    continue;
                }
                let (buf, at) = (&mut buf[..left], at + *done);
                let read = match sweep {
                    Some(sweep) => sweep.fill(buf, at),
                    None => medium.read_exact_at(buf, at),
                };
                read.map_err(|e| Error::io("read", "the medium", e))?;
                *done += left as u64;
                return Ok(left);
            },
        }
    }
}

impl Files for Source {
    fn each(&self, each: &mut dyn FnMut(&[u8])) {
        self.files.keys().for_each(|p| each(p));
    }

    fn size(&self, path: &str) -> Option<u64> {
        self.files.get(path.as_bytes()).map(|f| f.size)
    }

    fn content(&self, path: &str) -> Result<Vec<u8>> {
        let Some((path, file)) = self.files.get_key_value(path.as_bytes()) else { return Ok(Vec::new()) };
        let (mut reader, mut out) = (self.reader(path, file)?, vec![0; usize::try_from(file.size).unwrap_or(0)]);
        let mut at = 0;
        while at < out.len() {
            match reader.next(&mut out[at..], None)? {
                0 => return Err(Error::integrity(format!("/{} became shorter while it was read", show(path)))),
                n => at += n,
            }
        }
        Ok(out)
    }
}

/// The regular files of a directory.
fn directory(root: &Root, task: &Task) -> Result<BTreeMap<Vec<u8>, IsoFile>> {
    let (mut out, mut todo) = (BTreeMap::new(), vec![Vec::new()]);
    let mut entries = 0;
    while let Some(above) = todo.pop() {
        task.check()?;
        let failed = |what, e| Error::io(what, root.name_of(&above), e);
        if above.iter().filter(|&&c| c == b'/').count() >= DEPTH_LIMIT {
            return Err(Error::unsafe_input(format!("{} is deeper than {DEPTH_LIMIT} levels", root.name_of(&above))));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = root.open_at(&above, flags, Mode::empty(), Links::Refuse).map_err(|e| failed("open", e))?;
        for entry in Dir::read_from(&fd).map_err(|e| failed("read", e))? {
            let entry = entry.map_err(|e| failed("read", e))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            entries += 1;
            if entries > ENTRIES_LIMIT {
                return Err(Error::limit(format!("the directory has more than {ENTRIES_LIMIT} entries")));
            }
            let mut path = above.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend(name);
            path::check(&path)?;
            let status = rustix::fs::statat(fd.as_fd(), entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| Error::io("look at", root.name_of(&path), e))?;
            match FileType::from_raw_mode(status.st_mode) {
                FileType::Directory => todo.push(path),
                FileType::RegularFile => {
                    let size = u64::try_from(status.st_size).unwrap_or(0);
                    out.insert(path, IsoFile { size, extents: Vec::new() });
                }
                FileType::Symlink => {
                    return Err(Error::unsafe_input(format!("{} is a symbolic link", root.name_of(&path)))
                        .hint("copy what it leads to, for example with cp -rL"));
                }
                _ => {
                    return Err(Error::unsafe_input(format!(
                        "{} is neither a file nor a directory",
                        root.name_of(&path)
                    )));
                }
            }
        }
    }
    Ok(out)
}
