//! The target directory: empty, or marked as ours by a run that was killed.

use super::directories::take_over;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Hash;
use crate::image::path::{MARKER, UPDATE_MARKER};
use crate::job::Task;
use crate::store::Image;
use crate::sys::confined::{Links, Root, show};
use crate::sys::inode;
use crate::sys::lock::Lock;
use crate::sys::xattr::{self, Of};
use crate::tree::walk::{join, mount_id};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, StatxFlags};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Owner and group that a new entry has before it gets its own.
pub(in crate::tree) type Owner = (u32, u32);

/// Whether an extraction of ours was interrupted in a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::tree) enum Marked {
    No,
    /// It was killed while it wrote the marker, and had made nothing else.
    Begun,
    Yes,
}

impl Marked {
    pub(in crate::tree) fn look(root: &Root) -> Self {
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

/// Which image an interrupted extraction was to bring, if there was one.
pub(in crate::tree) fn begun(root: &Root) -> Option<Hash> {
    if Marked::look(root) != Marked::Yes {
        return None;
    }
    let fd =
        rustix::fs::openat(root, MARKER, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = [0; 512];
    let n = rustix::io::read(&fd, &mut text).ok()?;
    std::str::from_utf8(&text[..n]).ok()?.lines().nth(2)?.parse().ok()
}

/// Says that what is here is whole.
pub(in crate::tree) fn unmark(root: &Root) -> Result<()> {
    rustix::fs::unlinkat(root, MARKER, AtFlags::empty()).map_err(|e| Error::io("remove", root.name_of(MARKER), e))
}

/// What stands in the marker. It is bound to its directory: a file of that name which came from elsewhere does not make
/// somebody's data ours to clear.
pub(in crate::tree) fn note(root: &Root, image: &str) -> Result<String, Errno> {
    let st = rustix::fs::fstat(root)?;
    let first = "libcv extracts an image into this directory, and clears it after an interruption";
    Ok(format!("{first}\n{}\n{image}\n", st.st_ino))
}

/// A directory that takes an image.
pub(in crate::tree) struct Target {
    root: Root,
    path: std::path::PathBuf,
    /// Mount points beneath it.
    mounts: Vec<Vec<u8>>,
    /// Says that somebody is at work; where there are no locks, nobody can say it.
    _lock: Option<Lock>,
}

impl Target {
    /// Opens the directory, makes it if it is missing, clears what a killed run left, and refuses anything else.
    ///
    /// # Errors
    /// `Busy` while another run is at work here: its marker is none of a killed run.
    pub(in crate::tree) fn prepare(path: &Path, task: &Task) -> Result<Self> {
        match std::fs::create_dir(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::not_found(format!("there is no directory to make {} in", path.display())));
            }
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::io("create", path.display(), e));
            }
            _ => {}
        }
        let (root, lock) = open(path)?;
        let mut target = Self { root, path: path.to_owned(), mounts: Vec::new(), _lock: lock };
        let marked = Marked::look(&target.root);
        if marked == Marked::Yes {
            task.warn(format!(
                "{} holds a part of an image from a run that did not end: it is cleared",
                path.display()
            ));
            clear(&target.root).map_err(|e| Error::io("clear", path.display(), e))?;
            unmark(&target.root)?;
        }
        let Found { file, mounts } =
            look(&target.root, marked == Marked::Begun).map_err(|e| Error::io("list", path.display(), e))?;
        target.mounts = mounts;
        if rustix::fs::statat(&target.root, UPDATE_MARKER, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Err(Error::refused(format!("{} holds a tree whose update did not end", path.display()))
                .hint("update it again: with --update")
                .fact("path", path.display().to_string()));
        }
        if let Some(found) = file {
            return Err(Error::refused(format!("{} is not empty: it holds {}", path.display(), show(&found)))
                .hint("give a new or an empty directory")
                .fact("path", path.display().to_string()));
        }
        if marked == Marked::Begun {
            unmark(&target.root)?;
        }
        Ok(target)
    }

    fn marker(&self) -> String {
        format!("{}/{}", self.path.display(), show(MARKER))
    }

    /// The directory.
    pub(in crate::tree) fn root(&self) -> &Root {
        &self.root
    }

    /// Mount points beneath it.
    pub(in crate::tree) fn mounts(&self) -> &[Vec<u8>] {
        &self.mounts
    }

    /// Says that what is here is a part. Gives the owner of what is made here from now on.
    pub(in crate::tree) fn mark(&self, image: &Image) -> Result<Owner> {
        take_over(self.root.as_fd()).map_err(|e| Error::io("take over", self.path.display(), e))?;
        note_image(&self.root, None);
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
}

/// Opens a directory that is there.
pub(in crate::tree) fn open_root(path: &Path) -> Result<Root> {
    Root::open(path).map_err(|e| match e {
        Errno::NOENT => Error::not_found(format!("there is no directory {}", path.display())),
        Errno::NOTDIR => Error::invalid(format!("{} is not a directory", path.display())),
        e => Error::io("open", path.display(), e),
    })
}

/// Opens a directory that is there, and keeps other runs out of it; where there are no locks, nobody can be kept out.
///
/// # Errors
/// `Busy` while another run is at work here.
pub(in crate::tree) fn open(path: &Path) -> Result<(Root, Option<Lock>)> {
    let root = open_root(path)?;
    let fd = root.open_at(b"", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty(), Links::Refuse);
    let lock = match Lock::take(fd.map_err(|e| Error::io("open", path.display(), e))?) {
        Ok(Err(_)) => {
            let busy = Error::new(ErrorKind::Busy, format!("another run is at work in {}", path.display()));
            return Err(busy.fact("path", path.display().to_string()));
        }
        Ok(Ok(lock)) => Some(lock),
        Err(_) => None,
    };
    Ok((root, lock))
}

/// Which image the tree beneath `root` was made from, if nobody has removed the note.
pub(in crate::tree) fn noted(root: &Root) -> Option<Hash> {
    let note = xattr::get(Of::Open(root.as_fd()), xattr::NOTE)?;
    std::str::from_utf8(&note).ok()?.parse().ok()
}

/// Notes which image the tree was made from, or that it is none; where the filesystem or the caller cannot, nothing is
/// known later.
pub(in crate::tree) fn note_image(root: &Root, image: Option<&Hash>) {
    let of = Of::Open(root.as_fd());
    let _ = match image {
        Some(id) => xattr::set(of, xattr::NOTE, id.to_string().as_bytes()),
        None => xattr::remove(of, xattr::NOTE),
    };
}

fn open_directory(root: &Root, path: &[u8]) -> Result<OwnedFd, Errno> {
    root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty(), Links::Refuse)
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

/// What stands in a directory already.
struct Found {
    /// An entry that is no directory.
    file: Option<Vec<u8>>,
    mounts: Vec<Vec<u8>>,
}

/// Looks at everything there is; with `marker` that may be there. One directory is open at a time, however deep they are.
fn look(root: &Root, marker: bool) -> Result<Found, Errno> {
    let mount =
        |fd: &OwnedFd| rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map(|st| mount_id(&st));
    let mut found = Found { file: None, mounts: Vec::new() };
    let mut todo = vec![(Vec::new(), None)];
    while let Some((path, above)) = todo.pop() {
        let dir = open_directory(root, &path)?;
        let here = mount(&dir)?;
        if above.is_some_and(|a| a != here) {
            found.mounts.push(path.clone());
        }
        for (name, directory) in names(dir.as_fd())? {
            if marker && path.is_empty() && name == MARKER {
                continue;
            }
            let whole = join(&path, &name);
            if !directory {
                return Ok(Found { file: Some(whole), ..found });
            }
            todo.push((whole, Some(here)));
        }
    }
    Ok(found)
}

/// Removes everything but mount points and the marker, which goes last.
fn clear(root: &Root) -> Result<(), Errno> {
    // Parents before children, so from behind nothing is beneath any more.
    let mut directories = vec![Vec::new()];
    let mut at = 0;
    while let Some(path) = directories.get(at).cloned() {
        at += 1;
        let dir = open_directory(root, &path)?;
        let _ = inode::set_flags(dir.as_fd(), 0);
        for (name, directory) in names(dir.as_fd())? {
            if directory {
                directories.push(join(&path, &name));
            } else if !path.is_empty() || name != MARKER {
                unprotect(dir.as_fd(), &name);
                remove(dir.as_fd(), &name, AtFlags::empty())?;
            }
        }
    }
    directories.iter().skip(1).rev().try_for_each(|path| {
        let (dir, name) = root.parent(path, Links::Refuse)?;
        remove(dir.as_fd(), name, AtFlags::REMOVEDIR)
    })
}

/// Removes an entry, unless something is mounted on it or beneath it.
fn remove(dir: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<(), Errno> {
    match rustix::fs::unlinkat(dir, name, flags) {
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(Errno::NOTEMPTY) if flags.contains(AtFlags::REMOVEDIR) => Ok(()),
        done => done,
    }
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
