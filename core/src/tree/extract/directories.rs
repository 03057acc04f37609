//! Directories: made when something in them is, closed to everybody but the owner until the end.

use super::Extraction;
use super::files::{set_xattrs, times};
use super::plan::Directory;
use super::queue::spread;
use crate::error::Result;
use crate::sys::confined::{Links, Root};
use crate::sys::xattr::{self, Of};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

/// The directories that one thread works in.
pub(super) struct Directories<'a> {
    run: &'a Extraction<'a>,
    open: HashMap<u32, OwnedFd>,
    last: u32,
}

impl<'a> Directories<'a> {
    pub(super) fn new(run: &'a Extraction<'a>) -> Self {
        Self { run, open: HashMap::new(), last: 0 }
    }

    /// The directory of this number, which is made if no thread has come to it yet.
    pub(super) fn get(&mut self, number: u32) -> Result<BorrowedFd<'_>, Errno> {
        if !self.open.contains_key(&number) {
            if self.open.len() >= self.run.open_limits.1 {
                // Entries come in path order: what was used last is needed, the rest hardly.
                let last = self.last;
                self.open.retain(|n, _| *n == last);
            }
            let directory = self.make(number)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let fd = self.run.root.open_at(&directory.path, flags, Mode::empty(), Links::Refuse)?;
            self.open.insert(number, fd);
        }
        self.last = number;
        self.open.get(&number).map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    /// Makes a directory and those above it, unless that is done. Two threads may do it at once.
    fn make(&self, number: u32) -> Result<&'a Directory, Errno> {
        let all = &self.run.plan.directories;
        let mut above = Vec::new();
        let mut at = number;
        while !all[at as usize].made.load(Ordering::Acquire) {
            above.push(at);
            if at == 0 {
                break;
            }
            at = all[at as usize].parent;
        }
        for directory in above.iter().rev().map(|&n| &all[n as usize]) {
            make(self.run.root, &directory.path)?;
            directory.made.store(true, Ordering::Release);
        }
        Ok(&all[number as usize])
    }

    /// As [`Directories::make`], telling which one failed.
    pub(super) fn ensure(&self, number: u32) -> Result<()> {
        let path = &self.run.plan.directories[number as usize].path;
        self.make(number).map(drop).map_err(|e| self.run.failed("create", path, e))
    }
}

/// Makes a directory, or takes one that is there: a mount point.
fn make(root: &Root, path: &[u8]) -> Result<(), Errno> {
    if !path.is_empty() {
        let (dir, name) = root.parent(path, Links::Refuse)?;
        match rustix::fs::mkdirat(&dir, name, Mode::RWXU) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
    }
    let fd = root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty(), Links::Refuse)?;
    take_over(fd.as_fd())
}

/// Makes a directory that is there like one that was just made: ours, closed, without attributes. So nobody else can
/// reach into it, and new entries get nothing handed down from it: no ACL, no group. It gets its own metadata last.
pub(super) fn take_over(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    match rustix::fs::fchown(fd, Some(user), Some(group)) {
        // Without privilege it is the user's already, or cannot be; vfat knows no owners.
        Ok(()) | Err(Errno::PERM) => {}
        Err(e) => return Err(e),
    }
    rustix::fs::fchmod(fd, Mode::RWXU)?;
    for (name, _) in xattr::list(Of::Open(fd))? {
        // What a security module keeps is its own.
        if !name.starts_with(b"security.") {
            xattr::remove(Of::Open(fd), &name)?;
        }
    }
    Ok(())
}

/// Gives directories their own metadata, the deepest first: one without permissions hides what is below.
pub(super) fn metadata(run: &Extraction<'_>) -> Result<()> {
    let Extraction { plan, root, lost, .. } = *run;
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
    plan.levels()
        .iter()
        .rev()
        .try_for_each(|level| spread(run, level, |d| set(d).map_err(|e| run.failed("set the metadata of", &d.path, e))))
}
