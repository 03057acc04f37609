//! What has no content: links, devices, further names, flags.

use super::Extraction;
use super::directories::Directories;
use super::files::{set_xattrs, times};
use super::plan::{Meta, Other, What};
use super::queue::Queue;
use crate::error::Result;
use crate::image::path;
use crate::image::row::{KIND_MASK, LINK};
use crate::sys::confined::{Links, Root, proc_path};
use crate::sys::inode;
use crate::sys::xattr::Of;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, makedev};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};

/// Makes what is neither file nor directory, unless the filesystem cannot hold it.
pub(super) fn make(other: &Other, directories: &mut Directories<'_>, run: &Extraction<'_>) -> Result<()> {
    if run.lost.kind(&other.what) {
        return Ok(());
    }
    try_make(other, directories, run).map_err(|e| run.failed("create", &other.path, e))
}

fn try_make(other: &Other, directories: &mut Directories<'_>, run: &Extraction<'_>) -> Result<(), Errno> {
    let (dir, name, meta) = (directories.get(other.directory)?, path::name(&other.path), &other.meta);
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

/// Makes further names, of what is there by now: a file, a device, a link.
pub(super) fn further_names(run: &Extraction<'_>) -> Result<()> {
    let names: Vec<_> = run.plan.others.iter().filter(|o| matches!(o.what, What::Name(_))).collect();
    let queue = Queue::new(&names);
    run.failure.on_threads(run.threads, || {
        let mut directories = Directories::new(run);
        queue.each(run, |other| make(other, &mut directories, run))
    })
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
        set(&path, f.meta.inode_flags).map_err(|e| run.failed("set the flags of", &path, e))?;
    }
    for d in plan.directories.iter().skip(1).rev().filter(|d| d.meta.inode_flags != 0) {
        set(&d.path, d.meta.inode_flags).map_err(|e| run.failed("set the flags of", &d.path, e))?;
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
    rustix::fs::futimens(root, &times(&top.meta)).map_err(|e| run.failed("set the times of", b"", e))?;
    if top.meta.inode_flags != 0 && !lost.inode_flags {
        set_flags(root, b"", top.meta.inode_flags).map_err(|e| run.failed("set the flags of", b"", e))?;
    }
    Ok(())
}
