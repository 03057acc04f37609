//! Making entries in a tree that is there: each is made beside what it replaces, whole, and then renamed over it, so
//! that whoever uses the old one keeps it, and a kill leaves the one or the other.

use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all names begin with under which libcv makes entries in somebody's tree.
const PREFIX: &str = ".cv-";

/// The names of one run.
pub(in crate::tree) struct Over {
    run: u64,
    next: AtomicU64,
}

impl Over {
    pub(in crate::tree) fn new(run: u64) -> Self {
        Self { run, next: AtomicU64::new(0) }
    }

    /// The name under which a file of the plan is made.
    pub(in crate::tree) fn file(&self, number: u32) -> Vec<u8> {
        format!("{}-f{number}", prefix(self.run)).into_bytes()
    }

    /// A name for anything else.
    pub(in crate::tree) fn other(&self) -> Vec<u8> {
        format!("{}-o{}", prefix(self.run), self.next.fetch_add(1, Ordering::Relaxed)).into_bytes()
    }
}

/// What the names of one run begin with.
pub(in crate::tree) fn prefix(run: u64) -> String {
    format!("{PREFIX}{run:016x}")
}

/// Puts what was made under `temporary` at its place.
pub(in crate::tree) fn place(dir: BorrowedFd<'_>, temporary: &[u8], name: &[u8]) -> Result<(), Errno> {
    rustix::fs::renameat(dir, temporary, dir, name)?;
    // Of two names of one file rename does nothing, and says that it has done it.
    match rustix::fs::unlinkat(dir, temporary, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e),
    }
}
