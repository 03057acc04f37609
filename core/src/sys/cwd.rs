//! A thread's own working directory: calls that know no directory descriptor find a name without the way through `/proc`.
#![allow(unsafe_code)]

use rustix::io::Errno;
use rustix::thread::UnshareFlags;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

/// The working directory of one thread. Stays on it.
pub struct Cwd(PhantomData<*const ()>);

impl Cwd {
    /// Gives the calling thread a working directory of its own, for as long as it lives: only for threads that libcv made.
    /// `None` where that is forbidden.
    #[must_use]
    pub fn of_thread() -> Option<Self> {
        // SAFETY: FS does not touch the table of file descriptors, which is what the function warns about.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }.ok()?;
        Some(Self(PhantomData))
    }

    /// Goes to a directory, which may be open with `O_PATH`.
    ///
    /// # Errors
    /// The errno.
    pub fn enter(&self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::process::fchdir(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_directory_is_the_threads_own() {
        let before = std::env::current_dir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let there = std::thread::scope(|s| {
            s.spawn(|| {
                let cwd = Cwd::of_thread()?;
                cwd.enter(std::fs::File::open(elsewhere.path()).unwrap().as_fd()).unwrap();
                std::env::current_dir().ok()
            })
            .join()
            .unwrap()
        });
        assert_eq!(std::env::current_dir().unwrap(), before);
        assert!(there.is_none_or(|t| t == elsewhere.path().canonicalize().unwrap()));
    }
}
