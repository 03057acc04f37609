//! The target directory: empty, or marked as ours by a run that was killed.

use crate::error::{Error, Result};
use crate::image::path::MARKER;
use crate::job::Task;
use crate::store::Image;
use crate::sys::confined::{Root, show};
use crate::sys::inode;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Owner and group that a new entry has before it gets its own.
pub(super) type Owner = (u32, u32);

/// Whether an extraction of ours was interrupted in a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Marked {
    No,
    /// It was killed while it wrote the marker, and had made nothing else.
    Begun,
    Yes,
}

impl Marked {
    pub(super) fn look(root: &Root) -> Self {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut text = [0; 512];
        let Ok(fd) = rustix::fs::openat(root, MARKER, flags, Mode::empty()) else { return Self::No };
        if !rustix::fs::fstat(&fd).is_ok_and(|st| FileType::from_raw_mode(st.st_mode).is_file()) {
            return Self::No;
        }
        let n = rustix::io::read(&fd, &mut text).unwrap_or(0);
        let text = String::from_utf8_lossy(&text[..n]).into_owned();
        match note(root, text.lines().nth(2).unwrap_or_default()) {
            Ok(note) if note == text => Self::Yes,
            Ok(note) if note.starts_with(&text) => Self::Begun,
            _ => Self::No,
        }
    }
}

/// What stands in the marker. It is bound to its directory: a file of that name which came from elsewhere does not make
/// somebody's data ours to clear.
fn note(root: &Root, image: &str) -> Result<String, Errno> {
    let st = rustix::fs::fstat(root)?;
    let first = "libcv extracts an image into this directory, and clears it after an interruption";
    Ok(format!("{first}\n{}\n{image}\n", st.st_ino))
}

/// A directory that takes an image.
pub(super) struct Target {
    root: Root,
    path: std::path::PathBuf,
}

impl Target {
    /// Opens the directory, makes it if it is missing, clears what a killed run left, and refuses anything else.
    pub(super) fn prepare(path: &Path, task: &Task) -> Result<Self> {
        match std::fs::create_dir(path) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::io("create", path.display(), e));
            }
            _ => {}
        }
        let root = Root::open(path).map_err(|e| Error::io("open", path.display(), e))?;
        let target = Self { root, path: path.to_owned() };
        let marked = Marked::look(&target.root);
        if marked == Marked::Yes {
            task.warn(format!(
                "{} holds a part of an image from a run that did not end: it is cleared",
                path.display()
            ));
            clear(target.root.as_fd(), 0).map_err(|e| Error::io("clear", path.display(), e))?;
            target.unmark()?;
        }
        if let Some(found) = foreign(target.root.as_fd(), b"", marked == Marked::Begun)
            .map_err(|e| Error::io("list", path.display(), e))?
        {
            return Err(Error::refused(format!("{} is not empty: it holds {}", path.display(), show(&found)))
                .hint("give a new or an empty directory")
                .fact("path", path.display().to_string()));
        }
        if marked == Marked::Begun {
            target.unmark()?;
        }
        Ok(target)
    }

    fn marker(&self) -> String {
        format!("{}/{}", self.path.display(), show(MARKER))
    }

    /// The directory.
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// Says that what is here is a part. Gives the owner of what is made here.
    pub(super) fn mark(&self, image: &Image) -> Result<Owner> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&self.root, MARKER, flags, Mode::from(0o600))
            .map_err(|e| Error::io("create", self.marker(), e))?;
        let text = note(&self.root, &image.id().to_string());
        let text = text.map_err(|e| Error::io("look at", self.path.display(), e))?;
        let written = rustix::io::write(&fd, text.as_bytes())
            .and_then(|_| rustix::fs::fsync(&fd))
            .and_then(|()| rustix::fs::fstat(&fd))
            .map_err(|e| Error::io("write", self.marker(), e))?;
        Ok((written.st_uid, written.st_gid))
    }

    /// Says that it is whole.
    pub(super) fn unmark(&self) -> Result<()> {
        rustix::fs::unlinkat(&self.root, MARKER, AtFlags::empty()).map_err(|e| Error::io("remove", self.marker(), e))
    }
}

fn open_directory(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

fn names(dir: BorrowedFd<'_>) -> Result<Vec<(Vec<u8>, bool)>, Errno> {
    let mut buf = [const { MaybeUninit::<u8>::uninit() }; 8192];
    let mut out = Vec::new();
    let mut entries = RawDir::new(dir, &mut buf);
    while let Some(e) = entries.next() {
        let e = e?;
        let name = e.file_name().to_bytes();
        if name != b"." && name != b".." {
            let st = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
            out.push((name.to_vec(), rustix::fs::FileType::from_raw_mode(st.st_mode).is_dir()));
        }
    }
    Ok(out)
}

/// The first entry that is no directory; with `marker` it may be there.
fn foreign(dir: BorrowedFd<'_>, path: &[u8], marker: bool) -> Result<Option<Vec<u8>>, Errno> {
    for (name, directory) in names(dir)? {
        if marker && path.is_empty() && name == MARKER {
            continue;
        }
        let whole = if path.is_empty() { name.clone() } else { [path, b"/", &name[..]].concat() };
        if !directory {
            return Ok(Some(whole));
        }
        let inner = open_directory(dir, &name)?;
        if let Some(found) = foreign(inner.as_fd(), &whole, false)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Removes everything but mount points and the marker, which goes last.
fn clear(dir: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
    let _ = inode::set_flags(dir, 0);
    for (name, directory) in names(dir)? {
        if depth == 0 && name == MARKER {
            continue;
        }
        if directory {
            let inner = open_directory(dir, &name)?;
            clear(inner.as_fd(), depth + 1)?;
        } else {
            unprotect(dir, &name);
        }
        let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        match rustix::fs::unlinkat(dir, &name[..], flags) {
            Ok(()) | Err(Errno::BUSY) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Takes `chattr +i` and `+a` off a file that a killed run had nearly finished.
fn unprotect(dir: BorrowedFd<'_>, name: &[u8]) {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    if let Ok(st) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        && rustix::fs::FileType::from_raw_mode(st.st_mode).is_file()
        && let Ok(fd) = rustix::fs::openat(dir, name, flags, Mode::empty())
    {
        let _ = inode::set_flags(fd.as_fd(), 0);
    }
}
