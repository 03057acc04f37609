//! Directories: made when something in them is, closed to everybody but the owner until the end.

use super::Extraction;
use super::metadata::{self, Bearer, Before};
use super::plan::Directory;
use super::queue::spread;
use crate::error::Result;
use crate::sys::confined::Links;
use crate::sys::xattr::{self, Of};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

/// The directories that one thread works in.
pub(in crate::tree) struct Directories<'a> {
    run: &'a Extraction<'a>,
    open: HashMap<u32, OwnedFd>,
    last: u32,
}

impl<'a> Directories<'a> {
    pub(in crate::tree) fn new(run: &'a Extraction<'a>) -> Self {
        Self { run, open: HashMap::new(), last: 0 }
    }

    /// The directory of this number, which is made if no thread has come to it yet.
    pub(in crate::tree) fn get(&mut self, number: u32) -> Result<BorrowedFd<'_>, Errno> {
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
            make(self.run, &directory.path)?;
            directory.made.store(true, Ordering::Release);
        }
        Ok(&all[number as usize])
    }

    /// As [`Directories::make`], telling which one failed.
    pub(in crate::tree) fn ensure(&self, number: u32) -> Result<()> {
        let path = &self.run.plan.directories[number as usize].path;
        self.make(number).map(drop).map_err(|e| self.run.failed("create", path, e))
    }
}

/// Makes a directory, or takes one that is there: a mount point.
fn make(run: &Extraction<'_>, path: &[u8]) -> Result<(), Errno> {
    let root = run.root;
    if !path.is_empty() {
        let (dir, name) = root.parent(path, Links::Refuse)?;
        match rustix::fs::mkdirat(&dir, name, Mode::RWXU) {
            // Directories of a tree that is there are open to others, and hand things down.
            Ok(()) if run.over.is_none() => return Ok(()),
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
    }
    let fd = root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty(), Links::Refuse)?;
    take_over(fd.as_fd())
}

/// Makes a directory that is there like one that was just made: ours, closed, without attributes. So nobody else can
/// reach into it, and new entries get nothing handed down from it: no ACL, no group. It gets its own metadata last.
pub(in crate::tree) fn take_over(fd: BorrowedFd<'_>) -> Result<(), Errno> {
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
pub(in crate::tree) fn metadata(run: &Extraction<'_>) -> Result<()> {
    let Extraction { plan, root, lost, .. } = *run;
    let set = |d: &Directory| -> Result<()> {
        if !d.due {
            return Ok(());
        }
        let failed = |e| run.failed("set the metadata of", &d.path, e);
        let fd = root.open_at(&d.path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty(), Links::Refuse);
        let fd = fd.map_err(failed)?;
        // It may have been here before: a mount point.
        let st = rustix::fs::fstat(&fd).map_err(failed)?;
        let before = Before { owner: (st.st_uid, st.st_gid), mode: None, plain: run.over.is_none() };
        let done = metadata::set(Bearer::Open(fd.as_fd()), &before, plan, &d.meta, lost);
        done.map_err(|u| run.unset(&d.path, u))
    };
    plan.levels().iter().rev().try_for_each(|level| spread(run, level, |d| set(d)))
}
