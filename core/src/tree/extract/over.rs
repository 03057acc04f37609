//! Making entries in a tree that is there: each is made beside what it replaces, whole, and then renamed over it, so
//! that whoever uses the old one keeps it, and a kill leaves the one or the other.

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all names begin with under which libcv makes entries in somebody's tree.
const PREFIX: &str = ".cv-";

/// The names of one run.
pub(in crate::tree) struct Over {
    run: u64,
    next: AtomicU64,
    /// Whether what is made changes places with what was there, which is then removed.
    swap: bool,
}

impl Over {
    pub(in crate::tree) fn new(run: u64, swap: bool) -> Self {
        Self { run, next: AtomicU64::new(0), swap }
    }

    /// The name under which a file of the plan is made.
    pub(in crate::tree) fn file(&self, number: u32) -> Vec<u8> {
        format!("{}-f{number}", prefix(self.run)).into_bytes()
    }

    /// A name for anything else.
    pub(in crate::tree) fn other(&self) -> Vec<u8> {
        format!("{}-o{}", prefix(self.run), self.next.fetch_add(1, Ordering::Relaxed)).into_bytes()
    }

    /// Puts what was made under `temporary` at its place.
    ///
    /// Of a file that is renamed over another, ext4 begins to write the content at once, so that a power cut leaves the
    /// one or the other. To change places is quicker, but it gives no such promise, and the old file ends under a
    /// temporary name, by which nobody knows the program that still runs from it.
    pub(in crate::tree) fn place(&self, dir: BorrowedFd<'_>, temporary: &[u8], name: &[u8]) -> Result<(), Errno> {
        let swapped = self.swap && rustix::fs::renameat_with(dir, temporary, dir, name, RenameFlags::EXCHANGE).is_ok();
        if !swapped {
            rustix::fs::renameat(dir, temporary, dir, name)?;
        }
        // Also when not swapped: of two names of one file rename does nothing, and says that it has done it.
        match rustix::fs::unlinkat(dir, temporary, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => {
                // A directory cannot be removed so: it gets its name again.
                if swapped {
                    rustix::fs::renameat_with(dir, temporary, dir, name, RenameFlags::EXCHANGE)?;
                }
                Err(e)
            }
        }
    }
}

/// What the names of one run begin with.
pub(in crate::tree) fn prefix(run: u64) -> String {
    format!("{PREFIX}{run:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_was_made_takes_the_place_of_what_was_there() {
        for swap in [false, true] {
            let tmp = tempfile::tempdir().unwrap();
            let (dir, at) = (std::fs::File::open(tmp.path()).unwrap(), |name: &str| tmp.path().join(name));
            let over = Over::new(7, swap);
            let names = || {
                let mut names: Vec<_> =
                    std::fs::read_dir(tmp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
                names.sort();
                names
            };
            std::fs::write(at("there"), "old").unwrap();
            for name in ["there", "fresh"] {
                std::fs::write(at("t"), "new").unwrap();
                over.place(dir.as_fd(), b"t", name.as_bytes()).unwrap();
                assert_eq!(std::fs::read(at(name)).unwrap(), b"new");
            }
            // Two names of one file.
            std::fs::hard_link(at("there"), at("t")).unwrap();
            over.place(dir.as_fd(), b"t", b"there").unwrap();
            assert_eq!(names(), ["fresh", "there"]);
            // Nobody takes the place of a directory; it keeps its name.
            std::fs::create_dir(at("full")).unwrap();
            std::fs::write(at("full/x"), "x").unwrap();
            std::fs::write(at("t"), "new").unwrap();
            assert_eq!(over.place(dir.as_fd(), b"t", b"full"), Err(Errno::ISDIR));
            assert!(at("full/x").exists() && std::fs::read(at("t")).unwrap() == b"new");
        }
    }
}
