//! Mounts that nobody else sees: a thread with a mount namespace of its own.
//!
//! The library is a guest in somebody's process, so the process keeps its namespace, working directory and umask. Only
//! the thread that does the work leaves them. Programs and threads that it starts inherit its namespace. When the last
//! of them ends, also by `SIGKILL`, the kernel unmounts everything.
//!
//! `/proc/self` is the *process*, with the namespace of its first thread; in here it is `/proc/thread-self`.
#![allow(unsafe_code)]

use crate::error::{Error, ErrorKind, Result};
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;
use rustix::thread::UnshareFlags;

/// Runs `work` in a thread of its own, in which mounts are private, and waits for it.
///
/// # Errors
/// What `work` returns; `Denied` without the privilege to make a namespace; `Io` when no thread can be made.
///
/// # Panics
/// When `work` panics, in the calling thread.
pub fn in_private_mounts<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("cv-mounts".into())
            .spawn_scoped(scope, || {
                leave()?;
                work()
            })
            .map_err(|e| Error::io("start", "a thread", e))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Gives the calling thread its own mount namespace, working directory, root and umask.
fn leave() -> Result<()> {
    // SAFETY: FS and NEWNS do not touch the table of file descriptors, which is what the function warns about.
    let done = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS | UnshareFlags::NEWNS) };
    done.and_then(|()| {
        // Downstream and not private: what is mounted here stays here, while what the machine unmounts goes here too, so
        // that a long deployment does not keep a medium busy. (Where the machine's mounts are not shared, as under an
        // init other than systemd, a copy made here stays until the thread ends.)
        let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", downstream)
    })
    .map_err(|e| match e {
        Errno::PERM | Errno::ACCESS => Error::new(ErrorKind::Denied, "mounting needs root (CAP_SYS_ADMIN)").cause(e),
        e => Error::io("make", "a mount namespace", e),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_seen_inside_only() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: a_mount_is_seen_inside_only: needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        in_private_mounts(|| {
            crate::sys::mount::tmpfs(dir.path(), "mode=0700")?;
            std::fs::write(dir.path().join("inside"), "x").unwrap();
            // A program that the thread starts sees the mount too.
            let seen = std::process::Command::new("ls").arg(dir.path()).output().unwrap();
            assert_eq!(seen.stdout, b"inside\n");
            Ok(())
        })
        .unwrap();
        assert!(!dir.path().join("inside").exists());
    }

    #[test]
    fn an_error_comes_back() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: an_error_comes_back: needs root");
            return;
        }
        let e = in_private_mounts(|| Err::<(), _>(Error::refused("no"))).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Refused);
    }
}
