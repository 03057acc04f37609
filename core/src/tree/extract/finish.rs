//! What is not file content: directories, links, devices, flags, and the metadata of directories at the end.

use super::files::{set_xattrs, times};
use super::plan::{Directory, Meta, Other, What};
use super::target::make_directory;
use super::{Extraction, spread};
use crate::error::{Error, Result};
use crate::image::row::{KIND_MASK, LINK};
use crate::sys::confined::{Links, Root, proc_path, show};
use crate::sys::inode;
use crate::sys::xattr::Of;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, makedev};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

fn failed(what: &str, path: &[u8], e: Errno) -> Error {
    Error::io(what, format!("/{}", show(path)), e)
}

/// Makes all directories, level by level, closed to everybody but the owner.
pub(super) fn directories(run: &Extraction<'_>) -> Result<()> {
    let Extraction { plan, root, threads, task, .. } = *run;
    for level in plan.levels() {
        task.check()?;
        spread(&level, threads, |part| {
            part.iter().try_for_each(|d| make_directory(root, &d.path).map_err(|e| failed("create", &d.path, e)))
        })?;
    }
    Ok(())
}

/// Makes links, devices, FIFOs, and then further names, which may be those of a link.
pub(super) fn others(run: &Extraction<'_>) -> Result<()> {
    let Extraction { plan, root, lost, threads, task, .. } = *run;
    let (names, first): (Vec<_>, Vec<_>) =
        plan.others.iter().filter(|o| !lost.kind(&o.what)).partition(|o| matches!(o.what, What::Name(_)));
    for pass in [first, names] {
        spread(&pass, threads, |part| {
            let mut parent = Parent { root, last: None };
            part.iter().enumerate().try_for_each(|(n, other)| {
                if n % 1024 == 0 {
                    task.check()?;
                }
                make(&mut parent, other, run).map_err(|e| failed("create", &other.path, e))
            })
        })?;
    }
    Ok(())
}

fn make(parent: &mut Parent<'_>, other: &Other, run: &Extraction<'_>) -> Result<(), Errno> {
    let (dir, name) = parent.of(&other.path)?;
    let meta = &other.meta;
    match &other.what {
        What::Name(first) => {
            let (from, first) = run.root.parent(first, Links::Refuse)?;
            return rustix::fs::linkat(&from, first, dir, name, AtFlags::empty());
        }
        What::Link(target) => rustix::fs::symlinkat(&target[..], dir, name)?,
        What::Device(major, minor) => {
            let kind = FileType::from_raw_mode(meta.mode);
            rustix::fs::mknodat(dir, name, kind, Mode::from(0o600), makedev(*major, *minor))?;
        }
        What::Fifo => rustix::fs::mknodat(dir, name, FileType::Fifo, Mode::from(0o600), 0)?,
    }
    metadata(dir, name, meta, run)
}

/// Metadata of an entry that cannot be opened: a link or a special file.
fn metadata(dir: BorrowedFd<'_>, name: &[u8], meta: &Meta, run: &Extraction<'_>) -> Result<(), Errno> {
    let Extraction { plan, lost, owner, .. } = *run;
    let path = proc_path(dir, name);
    if !lost.owner && owner != (meta.uid, meta.gid) {
        let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
        rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    if meta.mode & KIND_MASK != LINK {
        rustix::fs::chmodat(dir, name, Mode::from(meta.mode & 0o7777), AtFlags::empty())?;
    }
    set_xattrs(Of::Path(&path), plan, meta, lost).map_err(|(_, e)| e)?;
    rustix::fs::utimensat(dir, name, &times(meta), AtFlags::SYMLINK_NOFOLLOW)
}

/// Gives directories their own metadata, the deepest first: one without permissions hides what is below.
pub(super) fn directory_metadata(run: &Extraction<'_>) -> Result<()> {
    let Extraction { plan, root, lost, threads, .. } = *run;
    let set = |d: &Directory| -> Result<(), Errno> {
        let fd = root.open_at(&d.path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty(), Links::Refuse)?;
        if !lost.owner {
            // It may have been here before: a mount point.
            let st = rustix::fs::fstat(&fd)?;
            if (st.st_uid, st.st_gid) != (d.meta.uid, d.meta.gid) {
                rustix::fs::fchown(&fd, Some(Uid::from_raw(d.meta.uid)), Some(Gid::from_raw(d.meta.gid)))?;
            }
            rustix::fs::fchmod(&fd, Mode::from(d.meta.mode & 0o7777))?;
        }
        set_xattrs(Of::Open(fd.as_fd()), plan, &d.meta, lost).map_err(|(_, e)| e)?;
        rustix::fs::futimens(&fd, &times(&d.meta))
    };
    plan.levels().iter().rev().try_for_each(|level| {
        spread(level, threads, |part| {
            part.iter().try_for_each(|d| set(d).map_err(|e| failed("set the metadata of", &d.path, e)))
        })
    })
}

/// Sets immutable and append-only flags when all else is done: nothing can be changed beneath them any more. Those of
/// the root come with [`root`], because the marker is still in it.
pub(super) fn inode_flags(run: &Extraction<'_>) -> Result<()> {
    let Extraction { plan, root, lost, .. } = *run;
    if lost.inode_flags {
        return Ok(());
    }
    let set = |path: &[u8], wanted: u32| set_flags(root, path, wanted);
    for f in plan.files.iter().filter(|f| f.meta.inode_flags != 0) {
        let path = plan.path(f);
        set(&path, f.meta.inode_flags).map_err(|e| failed("set the flags of", &path, e))?;
    }
    for d in plan.directories.iter().skip(1).rev().filter(|d| d.meta.inode_flags != 0) {
        set(&d.path, d.meta.inode_flags).map_err(|e| failed("set the flags of", &d.path, e))?;
    }
    Ok(())
}

fn set_flags(root: &Root, path: &[u8], wanted: u32) -> Result<(), Errno> {
    let fd = root.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty(), Links::Refuse)?;
    inode::set_flags(fd.as_fd(), wanted)
}

/// Gives the root its time again, which removing the marker changed, and its flags.
pub(super) fn root(run: &Extraction<'_>) -> Result<()> {
    let Extraction { plan, root, lost, .. } = *run;
    let Some(top) = plan.directories.first() else { return Ok(()) };
    rustix::fs::futimens(root, &times(&top.meta)).map_err(|e| failed("set the times of", b"", e))?;
    if top.meta.inode_flags != 0 && !lost.inode_flags {
        set_flags(root, b"", top.meta.inode_flags).map_err(|e| failed("set the flags of", b"", e))?;
    }
    Ok(())
}

/// Keeps the directory of the last entry open: the next one is mostly in it, too.
struct Parent<'r> {
    root: &'r Root,
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl Parent<'_> {
    fn of<'p>(&mut self, path: &'p [u8]) -> Result<(BorrowedFd<'_>, &'p [u8]), Errno> {
        let (dir, name) = crate::sys::confined::split(path);
        if self.last.as_ref().is_none_or(|(p, _)| p != dir) {
            let fd = self.root.open_at(dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty(), Links::Refuse)?;
            self.last = Some((dir.to_vec(), fd));
        }
        let fd = self.last.as_ref().map(|(_, fd)| fd.as_fd()).ok_or(Errno::BADF)?;
        Ok((fd, name))
    }
}
