//! The advisory lock of an open file, held until it is dropped.

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A file that is locked against everybody else who asks. A kill lets it go, too.
#[derive(Debug)]
pub struct Lock(OwnedFd);

impl Lock {
    /// Locks `file` without waiting; gives it back while another open file has the lock.
    ///
    /// # Errors
    /// What the system says, of a filesystem without locks for one.
    pub fn take<F: AsFd>(file: F) -> Result<Result<Self, F>, Errno>
    where
        OwnedFd: From<F>,
    {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Ok(Self(file.into()))),
            Err(Errno::WOULDBLOCK) => Ok(Err(file)),
            Err(e) => Err(e),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a program that another thread is just starting has the descriptor for a moment, too.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_lock_ends_when_it_is_dropped_even_if_its_descriptor_lives_on_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let first = File::create(&path).unwrap();
        // As a child between fork and exec has it: the same open file.
        let copy = first.try_clone().unwrap();
        let lock = Lock::take(first).unwrap().unwrap();
        assert!(Lock::take(File::open(&path).unwrap()).unwrap().is_err());
        drop(lock);
        assert!(Lock::take(File::open(&path).unwrap()).unwrap().is_ok());
        drop(copy);
    }
}
