//! A thread's own working directory: calls that know no directory descriptor find a name without the way through `/proc`.
//!
//! The thread leaves its place for a few calls that do nothing else. Whatever else it does, such as opening a file of a store
//! that somebody named by a relative path, it does from where the process stands.
#![allow(unsafe_code)]

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;
use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The working directory of one thread. Stays on it.
pub struct Cwd {
    home: OwnedFd,
    stays: PhantomData<*const ()>,
}

impl Cwd {
    /// Gives the calling thread a working directory of its own, for as long as it lives: only for threads that libcv made.
    /// `None` where that is forbidden, or the thread could not come back.
    #[must_use]
    pub fn of_thread() -> Option<Self> {
        let home =
            rustix::fs::openat(CWD, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        // SAFETY: FS does not touch the table of file descriptors, which is what the function warns about.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }.ok()?;
        rustix::process::fchdir(&home).ok()?;
        Some(Self { home, stays: PhantomData })
    }

    /// Calls `f` in a directory, which may be open with `O_PATH`, and comes back.
    ///
    /// # Errors
    /// The errno, without a call, when the thread may not go there.
    ///
    /// # Panics
    /// When it may not come back, which ends the work of the thread.
    pub fn within<T>(&self, dir: BorrowedFd<'_>, f: impl FnOnce() -> T) -> Result<T, Errno> {
        rustix::process::fchdir(dir)?;
        let done = f();
        // It has been there: only a process that gives up its rights meanwhile is kept out.
        let back = rustix::process::fchdir(&self.home);
        assert!(back.is_ok(), "nothing else may be done from elsewhere: {back:?}");
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_thread_is_elsewhere_and_comes_back() {
        let before = std::env::current_dir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let file = tempfile::tempfile().unwrap();
        std::thread::scope(|s| {
            let thread = s.spawn(|| {
                let Some(cwd) = Cwd::of_thread() else { return };
                let dir = std::fs::File::open(elsewhere.path()).unwrap();
                let there = cwd.within(dir.as_fd(), || std::env::current_dir().unwrap()).unwrap();
                assert_eq!(there, elsewhere.path().canonicalize().unwrap());
                assert_eq!(std::env::current_dir().unwrap(), before);
                assert_eq!(cwd.within(file.as_fd(), || unreachable!()), Err::<(), _>(Errno::NOTDIR));
                assert_eq!(std::env::current_dir().unwrap(), before);
            });
            thread.join().unwrap();
        });
        assert_eq!(std::env::current_dir().unwrap(), before);
    }
}
