//! Puts changes into the root: all of them, or none.
//!
//! Temporaries are made and synced beside their targets, backups are second names of what is replaced, and then one
//! rename per target follows. Undoing looks only at the journal and at the names that are there, so that a failure
//! and the next run after a kill go the same way.

use super::draft::{Change, File, Node, caller};
use super::journal::{Journal, Stage, Swap};
use super::{ConfigError, display, failed};
use crate::error::{Error, Result};
use crate::job::Task;
use crate::sys::confined::{Links, Root, proc_path, split};
use crate::sys::inode;
use crate::sys::xattr::{self, Of};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Stat, Uid};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

/// Called before each step that changes the root, with its name: tests let it fail, or end the run as a kill would.
pub(super) type Hook<'h> = &'h dyn Fn(&'static str) -> std::io::Result<()>;

/// The label of SELinux.
const LABEL: &[u8] = b"security.selinux";
const ACL: &[u8] = b"system.posix_acl_access";
/// Bound to the bytes of a file, and wrong as soon as they change.
const BOUND_TO_CONTENT: [&[u8]; 2] = [b"security.ima", b"security.evm"];

pub(super) struct Commit<'a> {
    pub(super) root: &'a Root,
    pub(super) hook: Hook<'a>,
}

impl Commit<'_> {
    /// Makes `changes`; after an error none of them is there.
    pub(super) fn run(&self, changes: &[Change], task: &Task) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut journal = Journal::plan(changes)?;
        match self.forward(&mut journal, changes, task) {
            Ok(()) => {
                if let Err(e) = self.finish(&journal) {
                    task.warn(format!("the configuration is in place, but not all is tidied up: {e}"));
                }
                Ok(())
            }
            Err(e) => Err(e.with_failed_undo(self.undo(&journal))),
        }
    }

    /// Brings a root to a defined state that an earlier run was killed in. True when there was something to do.
    pub(super) fn recover(&self) -> Result<bool> {
        let Some(journal) = Journal::find(self.root)? else { return Ok(false) };
        match journal.stage {
            Stage::Done => self.finish(&journal)?,
            Stage::Prepare | Stage::Commit => self.undo(&journal)?,
        }
        Ok(true)
    }

    fn forward(&self, journal: &mut Journal, changes: &[Change], task: &Task) -> Result<()> {
        task.check()?;
        self.step("journal prepare", b"")?;
        journal.store(self.root)?;
        for dir in &journal.directories {
            self.step("make directory", dir.as_bytes())?;
            self.make_directory(dir.as_bytes())?;
        }
        let files = changes.iter().filter(|c| c.after != Node::Directory);
        for (swap, change) in journal.swaps.iter_mut().zip(files) {
            task.check()?;
            self.step("write temporary", swap.path())?;
            swap.inode = self.write(swap, &change.after)?;
        }
        for swap in &journal.swaps {
            self.step("link backup", swap.path())?;
            self.back_up(swap)?;
        }
        self.sync_directories(journal)?;
        journal.stage = Stage::Commit;
        self.step("journal commit", b"")?;
        journal.store(self.root)?;
        for swap in &journal.swaps {
            task.check()?;
            self.step("rename", swap.path())?;
            self.swap_in(swap)?;
        }
        self.sync_directories(journal)?;
        self.step("journal done", b"")?;
        // Not into `journal`: should this store fail, what is undone is a commit.
        let done = journal.at(Stage::Done).store(self.root);
        match done {
            // It is in place and only its directory is not synced: going back now could meet a journal that says done.
            Err(_) if Journal::find(self.root).is_ok_and(|j| j.is_some_and(|j| j.stage == Stage::Done)) => Ok(()),
            done => done,
        }
    }

    /// After the point of no return: the backups go, then the journal.
    fn finish(&self, journal: &Journal) -> Result<()> {
        for swap in &journal.swaps {
            if let Some(old) = &swap.old {
                self.step("remove backup", swap.path())?;
                self.unlink_beside(swap, old)?;
            }
        }
        self.step("remove journal", b"")?;
        Journal::remove(self.root)
    }

    /// Every target back to what it was, the last one first.
    fn undo(&self, journal: &Journal) -> Result<()> {
        for swap in journal.swaps.iter().rev() {
            self.step("undo", swap.path())?;
            self.undo_swap(swap, journal.stage)?;
        }
        self.sync_directories(journal)?;
        for dir in journal.directories.iter().rev() {
            self.step("undo directory", dir.as_bytes())?;
            match self.root.parent(dir.as_bytes(), Links::Refuse) {
                Ok((parent, name)) => match rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR) {
                    // Not empty: somebody else put something there.
                    Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                    Err(e) => return Err(failed("remove", dir.as_bytes(), e)),
                },
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(e) => return Err(failed("remove", dir.as_bytes(), e)),
            }
        }
        self.step("undo journal", b"")?;
        Journal::remove(self.root)
    }

    fn undo_swap(&self, swap: &Swap, stage: Stage) -> Result<()> {
        let (dir, name) = match self.root.parent(swap.path(), Links::Refuse) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(e) => return Err(failed("undo", swap.path(), e)),
        };
        let io = |e: Errno| failed("undo", swap.path(), e);
        if stage == Stage::Commit {
            let now = lstat(&dir, name).map_err(io)?;
            let ours = now.as_ref().is_some_and(|st| st.st_ino == swap.inode);
            match &swap.old {
                Some(old) => {
                    let backup = lstat(&dir, old.as_bytes()).map_err(io)?;
                    // What somebody else put there since is left alone.
                    if backup.is_some() && (ours || now.is_none()) {
                        rustix::fs::renameat(&dir, old, &dir, name).map_err(io)?;
                    }
                }
                None if ours => unlink(&dir, name).map_err(io)?,
                None => {}
            }
        }
        unlink(&dir, swap.new.as_bytes()).map_err(io)?;
        swap.old.iter().try_for_each(|old| unlink(&dir, old.as_bytes())).map_err(io)
    }

    fn make_directory(&self, path: &[u8]) -> Result<()> {
        let io = |e: Errno| failed("make", path, e);
        let (dir, name) = self.root.parent(path, Links::Refuse).map_err(io)?;
        rustix::fs::mkdirat(&dir, name, Mode::RWXU).map_err(io)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&dir, name, flags, Mode::empty()).map_err(io)?;
        // Not the mode of mkdir: the umask of the host process would take part.
        let fd = std::fs::File::from(fd);
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o755)).or_else(|e| tolerate(&fd, e)).map_err(io)?;
        inherit_label(&dir, name).map_err(io)
    }

    /// Writes the temporary of a target and gives its inode.
    fn write(&self, swap: &Swap, node: &Node) -> Result<u64> {
        let io = |e: Errno| failed("write", swap.path(), e);
        let (dir, _) = self.root.parent(swap.path(), Links::Refuse).map_err(io)?;
        let name = swap.new.as_bytes();
        match node {
            Node::Link(target) => {
                rustix::fs::symlinkat(&target[..], &dir, name).map_err(io)?;
                inherit_label(&dir, name).map_err(io)?;
            }
            Node::File(file) => write_file(&dir, name, file, swap.path())?,
            _ => return Err(Error::invalid(format!("{} can be neither file nor link", display(swap.path())))),
        }
        Ok(lstat(&dir, name).map_err(io)?.map_or(0, |st| st.st_ino))
    }

    /// A second name for what is replaced. Where the filesystem has no links, the target is renamed at its swap.
    fn back_up(&self, swap: &Swap) -> Result<()> {
        let Some(old) = &swap.old else { return Ok(()) };
        let io = |e: Errno| failed("back up", swap.path(), e);
        let (dir, name) = self.root.parent(swap.path(), Links::Refuse).map_err(io)?;
        match rustix::fs::linkat(&dir, name, &dir, old, AtFlags::empty()) {
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK | Errno::NOSYS) => Ok(()),
            done => done.map_err(io),
        }
    }

    fn swap_in(&self, swap: &Swap) -> Result<()> {
        let io = |e: Errno| failed("replace", swap.path(), e);
        let (dir, name) = self.root.parent(swap.path(), Links::Refuse).map_err(io)?;
        if let Some(old) = &swap.old {
            if lstat(&dir, old.as_bytes()).map_err(io)?.is_none() {
                rustix::fs::renameat(&dir, name, &dir, old).map_err(io)?;
            }
            return rustix::fs::renameat(&dir, &swap.new, &dir, name).map_err(io);
        }
        let made = match rustix::fs::renameat_with(&dir, &swap.new, &dir, name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::renameat(&dir, &swap.new, &dir, name),
            made => made,
        };
        made.map_err(|e| match e {
            Errno::EXIST => {
                ConfigError::Taken { path: display(swap.path()), found: "there since a moment ago".into() }.into()
            }
            e => io(e),
        })
    }

    fn unlink_beside(&self, swap: &Swap, name: &str) -> Result<()> {
        let (dir, _) = match self.root.parent(swap.path(), Links::Refuse) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(e) => return Err(failed("remove", swap.path(), e)),
        };
        unlink(&dir, name.as_bytes()).map_err(|e| failed("remove the backup of", swap.path(), e))
    }

    fn sync_directories(&self, journal: &Journal) -> Result<()> {
        let of = |path: &str| split(path.as_bytes()).0.to_vec();
        let mut dirs: BTreeSet<Vec<u8>> = journal.swaps.iter().map(|s| of(&s.target)).collect();
        dirs.extend(journal.directories.iter().map(|d| of(d)));
        for dir in dirs {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            match self.root.open_at(&dir, flags, Mode::empty(), Links::Refuse).and_then(rustix::fs::fsync) {
                Ok(()) | Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => {}
                Err(e) => return Err(failed("sync", &dir, e)),
            }
        }
        Ok(())
    }

    fn step(&self, name: &'static str, path: &[u8]) -> Result<()> {
        (self.hook)(name).map_err(|e| Error::io(name, display(path), e))
    }
}

fn write_file(dir: &OwnedFd, name: &[u8], file: &File, target: &[u8]) -> Result<()> {
    let io = |e: Errno| failed("write", target, e);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR).map_err(io)?;
    let mut out = std::fs::File::from(fd);
    out.write_all(file.content.as_deref().unwrap_or_default()).map_err(|e| Error::io("write", display(target), e))?;
    let stat = rustix::fs::fstat(&out).map_err(io)?;
    let (uid, gid) = file.owner.unwrap_or_else(caller);
    if (stat.st_uid, stat.st_gid) != (uid, gid) {
        let owner = rustix::fs::fchown(&out, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        owner.or_else(|e| tolerate(&out, e)).map_err(io)?;
    }
    // After chown, which drops capabilities; before chmod, which must agree with an ACL.
    match &file.xattrs {
        Some(xattrs) => {
            let of = Of::Open(out.as_fd());
            let fresh = xattr::list(of).map_err(io)?;
            for (key, value) in xattrs.iter().filter(|(k, _)| !BOUND_TO_CONTENT.contains(&&k[..])) {
                if !fresh.contains(&(key.clone(), value.clone())) {
                    xattr::set(of, key, value).map_err(io)?;
                }
            }
            // A default ACL of the directory, which the file that is replaced did not have.
            let lacks = |name: &[u8]| xattrs.iter().all(|(key, _)| key != name);
            if fresh.iter().any(|(key, _)| key == ACL && lacks(key)) {
                xattr::remove(of, ACL).map_err(io)?;
            }
        }
        None => inherit_label(dir, name).map_err(io)?,
    }
    rustix::fs::fchmod(&out, Mode::from_raw_mode(file.mode)).or_else(|e| tolerate(&out, e)).map_err(io)?;
    out.sync_all().map_err(|e| Error::io("sync", display(target), e))
}

/// FAT, which is what an EFI system partition has, keeps neither owner nor mode and says so with `EPERM`.
fn tolerate(file: &std::fs::File, e: Errno) -> Result<(), Errno> {
    if e == Errno::PERM && inode::is_fat(file.as_fd()) { Ok(()) } else { Err(e) }
}

/// A new entry gets the label of its directory, as the kernel would do under a policy: the machine that deploys often
/// runs none.
fn inherit_label(dir: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    let directory = proc_path(dir.as_fd(), b".");
    let of_directory = xattr::list(Of::Path(&directory))?;
    let Some((_, label)) = of_directory.into_iter().find(|(key, _)| key == LABEL) else { return Ok(()) };
    let path = proc_path(dir.as_fd(), name);
    if xattr::list(Of::Path(&path))?.iter().any(|(key, _)| key == LABEL) {
        return Ok(());
    }
    match xattr::set(Of::Path(&path), LABEL, &label) {
        // Not ours to set here; the first boot relabels.
        Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS | Errno::INVAL) => Ok(()),
        done => done,
    }
}

fn lstat(dir: &OwnedFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

fn unlink(dir: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e),
    }
}
