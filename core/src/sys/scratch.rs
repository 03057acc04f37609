//! A directory to work in, which is gone when the work ends, however it ends.
//!
//! ```text
//!  build-7f3a….lock   held by flock while the work lives; the kernel lets it go at a kill
//!  build-7f3a…/       the directory
//! ```
//!
//! The lock is made before the directory and removed after it, so that at any moment a directory without a held lock is what a
//! killed process left. The next one to work in the same place removes it.

use super::clock;
use super::inode;
use super::lock::Lock;
use crate::error::{Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

const LOCK: &str = ".lock";
/// What directories of builds are called, in the `tmp` of a store.
pub const BUILD: &str = "build";

/// A locked directory that is removed with all that is in it when it is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    lock: Option<Lock>,
}

impl Scratch {
    /// Makes `PREFIX-…` in `parent`, which is made as well, for the owner only; removes first what the killed left there.
    ///
    /// # Errors
    /// `Io` or `Denied`.
    pub fn new(parent: &Path, prefix: &str) -> Result<Self> {
        std::fs::create_dir_all(parent).map_err(|e| Error::io("make", parent.display(), e))?;
        clean(parent, prefix);
        loop {
            let path = parent.join(format!("{prefix}-{:016x}", clock::random_u64()));
            let beside = beside(&path);
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let failed = |e| Error::io("make", beside.display(), e);
            let fd = rustix::fs::open(&beside, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
            let Ok(lock) = Lock::take(fd).map_err(failed)? else { continue };
            // Before it was locked, somebody may have cleaned it away.
            if rustix::fs::fstat(lock.as_fd()).map_err(failed)?.st_nlink == 0 {
                continue;
            }
            let made = Self { path, lock: Some(lock) };
            rustix::fs::mkdir(&made.path, Mode::RWXU).map_err(|e| Error::io("make", made.path.display(), e))?;
            return Ok(made);
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it now, and says when that does not work.
    ///
    /// # Errors
    /// `Io`.
    pub fn remove(mut self) -> Result<()> {
        let held = self.lock.take();
        let removed = remove(&self.path);
        drop(held);
        removed
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.lock.is_some() {
            let _ = remove(&self.path);
        }
    }
}

/// Removes from `parent` the directories of this prefix that nobody has locked, and says how many there were. What cannot be
/// removed stays for the next time.
pub fn clean(parent: &Path, prefix: &str) -> usize {
    let Ok(entries) = std::fs::read_dir(parent) else { return 0 };
    let mut removed = 0;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|n| n.strip_suffix(LOCK)).filter(|n| is_scratch(n, prefix)) else {
            continue;
        };
        let path = parent.join(name);
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::open(beside(&path), flags, Mode::empty()) else { continue };
        if let Ok(Ok(_held)) = Lock::take(file) {
            removed += usize::from(remove(&path).is_ok());
        }
    }
    removed
}

fn is_scratch(name: &str, prefix: &str) -> bool {
    let random = name.strip_prefix(prefix).and_then(|n| n.strip_prefix('-'));
    random.is_some_and(|r| r.len() == 16 && r.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(LOCK);
    name.into()
}

/// The directory first, then the file of the lock, which is held.
fn remove(path: &Path) -> Result<()> {
    let failed = |e| Error::io("remove", path.display(), e);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(top) => {
            empty(&top).map_err(failed)?;
            rustix::fs::rmdir(path).map_err(failed)?;
        }
        Err(Errno::NOENT) => {}
        Err(e) => return Err(failed(e)),
    }
    std::fs::remove_file(beside(path)).map_err(|e| Error::io("remove", beside(path).display(), e))
}

/// Empties a directory, however deep it is: programs of packages may have made directories by the thousand in each other, for
/// which neither descriptors nor the stack would do. So each that is not empty is first brought up to the top.
fn empty(top: &OwnedFd) -> Result<(), Errno> {
    let mut todo: Vec<CString> = names(top)?;
    while let Some(name) = todo.pop() {
        match unlink(top, &name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(e) => return Err(e),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(top, &name, flags, Mode::empty())?;
        for inner in names(&dir)? {
            match unlink(&dir, &inner, AtFlags::empty()) {
                Err(Errno::ISDIR) => {}
                Ok(()) => continue,
                Err(e) => return Err(e),
            }
            match unlink(&dir, &inner, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY) => {
                    let up = CString::new(format!(".up-{:016x}", clock::random_u64())).unwrap_or_default();
                    rustix::fs::renameat(&dir, &inner, top, &up)?;
                    todo.push(up);
                }
                done => done?,
            }
        }
        unlink(top, &name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Removes a name, also of what is immutable, as an image may have it.
fn unlink(dir: &OwnedFd, name: &CString, flags: AtFlags) -> Result<(), Errno> {
    match rustix::fs::unlinkat(dir, name, flags) {
        Err(Errno::PERM) => {}
        done => return done,
    }
    // The flag may be that of the directory, or of what is in it; what cannot be opened has none.
    let how = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let itself = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .ok()
        .filter(|st| matches!(FileType::from_raw_mode(st.st_mode), FileType::RegularFile | FileType::Directory))
        .and_then(|_| rustix::fs::openat(dir, name, how, Mode::empty()).ok());
    for fd in [Some(dir.as_fd()), itself.as_ref().map(AsFd::as_fd)].into_iter().flatten() {
        let _ = inode::set_flags(fd, 0);
    }
    rustix::fs::unlinkat(dir, name, flags)
}

fn names(dir: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut out = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            out.push(name);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_locked_stays_and_what_is_not_goes() {
        let dir = tempfile::tempdir().unwrap();
        let held = Scratch::new(dir.path(), "build").unwrap();
        std::fs::write(held.path().join("f"), "x").unwrap();
        // What a kill leaves: a lock that nobody holds, with or without a directory.
        let left = dir.path().join("build-0123456789abcdef");
        std::fs::create_dir_all(left.join("a/b")).unwrap();
        std::fs::write(beside(&left), "").unwrap();
        std::fs::write(dir.path().join("build-0000000000000000.lock"), "").unwrap();
        // What is of no concern.
        std::fs::create_dir(dir.path().join("build-mine")).unwrap();
        std::fs::write(dir.path().join("other-0123456789abcdef.lock"), "").unwrap();
        assert_eq!(clean(dir.path(), "build"), 2);
        assert!(held.path().join("f").exists() && !left.exists());
        held.remove().unwrap();
        let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["build-mine", "other-0123456789abcdef.lock"]);
    }

    #[test]
    fn a_link_in_it_is_not_followed_and_no_depth_is_too_deep() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(other.path().join("kept"), "x").unwrap();
        let scratch = Scratch::new(dir.path(), "build").unwrap();
        std::os::unix::fs::symlink(other.path(), scratch.path().join("link")).unwrap();
        // Deeper than there are descriptors.
        let mut at = rustix::fs::open(scratch.path(), OFlags::PATH, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "d", OFlags::PATH, Mode::empty()).unwrap();
        }
        drop(scratch);
        assert!(other.path().join("kept").exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
