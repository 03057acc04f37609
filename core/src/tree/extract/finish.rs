//! What has no content: links, devices, further names, flags.

use super::Extraction;
use super::directories::Directories;
use super::metadata::{self, Bearer, Before, Unset};
use super::plan::{Meta, Other, What};
use super::queue::Queue;
use crate::error::Result;
use crate::image::path;
use crate::sys::confined::{Links, Root};
use crate::sys::inode;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};

/// Makes what is neither file nor directory, unless the filesystem cannot hold it.
pub(in crate::tree) fn make(other: &Other, directories: &mut Directories<'_>, run: &Extraction<'_>) -> Result<()> {
    if run.lost.kind(&other.what) {
        return Ok(());
    }
    try_make(other, directories, run).map_err(|u| run.unset(&other.path, u))
}

fn try_make(other: &Other, directories: &mut Directories<'_>, run: &Extraction<'_>) -> Result<(), Unset> {
    let created = |errno| Unset { what: "create", errno, attribute: None };
    let dir = directories.get(other.directory).map_err(created)?;
    let place = path::name(&other.path);
    let temporary = run.over.map(|over| (over, over.other()));
    let name = temporary.as_ref().map_or(place, |(_, name)| name);
    create(other, dir, name, run).map_err(created)?;
    if !matches!(other.what, What::Name(_)) {
        metadata(dir, name, &other.meta, run)?;
    }
    match &temporary {
        Some((over, name)) => over.place(dir, name, place).map_err(created),
        None => Ok(()),
    }
}

fn create(other: &Other, dir: BorrowedFd<'_>, name: &[u8], run: &Extraction<'_>) -> Result<(), Errno> {
    match &other.what {
        What::Name(first) => {
            let (from, first) = run.root.parent(first, Links::Refuse)?;
            rustix::fs::linkat(&from, first, dir, name, AtFlags::empty())
        }
        What::Link(target) => rustix::fs::symlinkat(&target[..], dir, name),
        What::Device(major, minor) => {
            let kind = FileType::from_raw_mode(other.meta.mode);
            rustix::fs::mknodat(dir, name, kind, Mode::from(0o600), makedev(*major, *minor))
        }
        What::Fifo => rustix::fs::mknodat(dir, name, FileType::Fifo, Mode::from(0o600), 0),
    }
}

/// Makes further names, of what is there by now: a file, a device, a link.
pub(in crate::tree) fn further_names(run: &Extraction<'_>) -> Result<()> {
    let names: Vec<_> = run.plan.others.iter().filter(|o| matches!(o.what, What::Name(_))).collect();
    let queue = Queue::new(&names);
    run.failure.on_threads(run.threads, || {
        let mut directories = Directories::new(run);
        queue.each(run, |other| make(other, &mut directories, run))
    })
}

/// Metadata of an entry that cannot be opened: a link or a special file.
pub(in crate::tree) fn metadata(
    dir: BorrowedFd<'_>,
    name: &[u8],
    meta: &Meta,
    run: &Extraction<'_>,
) -> Result<(), Unset> {
    let mut before = Before { owner: run.owner, mode: None, plain: true };
    if run.over.is_some() {
        let st = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
        let st = st.map_err(|errno| Unset { what: "look at", errno, attribute: None })?;
        before = Before { owner: (st.st_uid, st.st_gid), mode: None, plain: false };
    }
    metadata::set(Bearer::Named(dir, name), &before, run.plan, meta, run.lost)
}

/// Sets immutable and append-only flags when all else is done: nothing can be changed beneath them any more. Those of
/// the root come with [`root`], because the marker is still in it.
pub(in crate::tree) fn inode_flags(run: &Extraction<'_>) -> Result<()> {
    let Extraction { plan, root, lost, .. } = *run;
    if lost.inode_flags {
        return Ok(());
    }
    let set = |path: &[u8], wanted: u32| set_flags(root, path, wanted);
    for f in plan.files.iter().filter(|f| f.meta.inode_flags != 0) {
        let path = plan.path(f);
        set(&path, f.meta.inode_flags).map_err(|e| run.failed("set the flags of", &path, e))?;
    }
    for d in plan.directories.iter().skip(1).rev().filter(|d| d.due && d.meta.inode_flags != 0) {
        set(&d.path, d.meta.inode_flags).map_err(|e| run.failed("set the flags of", &d.path, e))?;
    }
    Ok(())
}

pub(in crate::tree) fn set_flags(root: &Root, path: &[u8], wanted: u32) -> Result<(), Errno> {
    let fd = root.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty(), Links::Refuse)?;
    inode::set_flags(fd.as_fd(), wanted)
}

/// Gives the root its time again, which removing the marker changed, and its flags.
pub(in crate::tree) fn root(run: &Extraction<'_>) -> Result<()> {
    let Extraction { plan, root, lost, .. } = *run;
    let Some(top) = plan.directories.first() else { return Ok(()) };
    rustix::fs::futimens(root, &metadata::times(&top.meta)).map_err(|e| run.failed("set the times of", b"", e))?;
    if top.meta.inode_flags != 0 && !lost.inode_flags {
        set_flags(root, b"", top.meta.inode_flags).map_err(|e| run.failed("set the flags of", b"", e))?;
    }
    Ok(())
}
