//! Leaving the machine: a thread in namespaces of its own, and the last steps of what it starts.
//!
//! ```text
//!  the caller's thread        a thread of ours                         pid 1 of the namespace
//!  waits, hears lines   <──   leave: mnt net ipc uts (pid for children)
//!                             mounts the new root, in ordinary code
//!                             enter: pivot_root, old root gone
//!                             fork ──────────────────────────────────>  Last: only system calls, on what was made before
//!                             reads its output, kills it               exec
//! ```
//!
//! The host process may have threads, so its forked child must not allocate or lock: everything that can be done before is
//! done by the thread, which is no fork. Left for the child is what only a member of the new process namespace can do (`/proc`)
//! and what must not be done to the thread (giving up capabilities, the filter of system calls). And the child soon is another
//! program: memory of the host, in which keys may be, never lives in the namespace of what is confined.
#![allow(unsafe_code)]

use super::seccomp::Filter;
use crate::error::{Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::UnshareFlags;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The highest capability that the kernel can have: two words of 32.
const CAPABILITIES: u32 = 63;
/// Open files of what is confined: some programs close every number up to the limit, which may be a thousand million.
const FILES: u64 = 4096;

/// Gives the calling thread, which must be ours, namespaces of its own: mounts, message queues, host name, network unless
/// `net`; and to what it starts one of processes, in which the first is number 1. Nothing is shared with the machine's mounts.
///
/// # Errors
/// `Unsupported` (21) without the privilege to do so.
pub fn leave(net: bool) -> Result<()> {
    let mut flags =
        UnshareFlags::FS | UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if !net {
        flags |= UnshareFlags::NEWNET;
    }
    // SAFETY: none of the flags touches the table of file descriptors, which is what the function warns about.
    let done = unsafe { rustix::thread::unshare_unsafe(flags) };
    done.map_err(|e| match e {
        Errno::PERM | Errno::ACCESS => Error::unsupported("building an image needs root (CAP_SYS_ADMIN)")
            .hint("run as root; a user namespace cannot store the owners of files")
            .cause(e),
        e => Error::io("make", "namespaces", e),
    })?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(|e| Error::io("make private", "the mounts", e))?;
    rustix::system::sethostname(b"localhost").map_err(|e| Error::io("name", "the build root", e))
}

/// Makes the mount at `root` the root of the calling thread; what was mounted elsewhere is gone for it.
///
/// # Errors
/// `Io` with the errno; `Unsupported` where the machine's root is that of an initramfs, which cannot be left.
pub fn enter(root: &Path) -> Result<()> {
    let failed = |e: Errno| match e {
        Errno::INVAL => {
            Error::unsupported("the root of this machine is an initramfs, which pivot_root cannot leave").cause(e)
        }
        e => Error::io("enter", root.display(), e),
    };
    rustix::process::chdir(root).map_err(failed)?;
    // The old root comes to lie over the new one at the same place, and is taken off.
    rustix::process::pivot_root(c".", c".").map_err(failed)?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH).map_err(failed)?;
    rustix::process::chdir(c"/").map_err(failed)
}

/// A mount that only a member of the process namespace can do.
#[derive(Clone, Debug)]
pub struct Late {
    source: CString,
    target: CString,
    fstype: Option<CString>,
    flags: libc::c_ulong,
    /// Whether it is no error when source or target are not there.
    optional: bool,
}

impl Late {
    /// A filesystem of this type.
    ///
    /// # Errors
    /// `Invalid` when a path has a zero byte.
    pub fn new(fstype: &str, target: &Path, flags: MountFlags) -> Result<Self> {
        let (source, target) = (text(Path::new(fstype))?, text(target)?);
        Ok(Self { fstype: Some(source.clone()), source, target, flags: flags.bits().into(), optional: false })
    }

    /// A bind mount with all that is mounted below.
    ///
    /// # Errors
    /// As [`Late::new`].
    pub fn bind(source: &Path, target: &Path) -> Result<Self> {
        let flags = libc::MS_BIND | libc::MS_REC;
        Ok(Self { source: text(source)?, target: text(target)?, fstype: None, flags, optional: false })
    }

    /// A change of the flags of a bind mount.
    ///
    /// # Errors
    /// As [`Late::new`].
    pub fn change(target: &Path, flags: MountFlags) -> Result<Self> {
        let flags = libc::MS_BIND | libc::MS_REMOUNT | libc::c_ulong::from(flags.bits());
        Ok(Self { source: text(target)?, target: text(target)?, fstype: None, flags, optional: false })
    }

    /// The same, left out where the kernel has no such file.
    #[must_use]
    pub fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    fn perform(&self) -> Result<(), Errno> {
        // SAFETY: all pointers are to strings that live as long as self; a null type and null data are allowed.
        let done = unsafe {
            libc::mount(
                self.source.as_ptr(),
                self.target.as_ptr(),
                self.fstype.as_ref().map_or(std::ptr::null(), |t| t.as_ptr()),
                self.flags,
                std::ptr::null(),
            )
        };
        match if done == 0 { Ok(()) } else { Err(errno()) } {
            Err(Errno::NOENT) if self.optional => Ok(()),
            done => done,
        }
    }
}

/// What the child does between fork and exec.
#[derive(Debug)]
pub struct Last {
    late: Vec<Late>,
    /// A bit for each capability that it keeps.
    capabilities: u64,
    filter: Filter,
    /// Whether its standard input is a terminal that it gets for its own.
    terminal: bool,
    /// The directory of the thread that starts it in `/proc`: empty as soon as that is no more.
    thread: OwnedFd,
}

impl Last {
    /// Prepares it, on the thread that will start the child and before [`enter`].
    ///
    /// # Errors
    /// `Io` where `/proc` is not mounted.
    pub fn new(late: Vec<Late>, capabilities: u64) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let thread = rustix::fs::open("/proc/thread-self", flags, Mode::empty())
            .map_err(|e| Error::io("open", "/proc/thread-self", e))?;
        Ok(Self { late, capabilities, filter: Filter::new(), terminal: false, thread })
    }

    /// With the terminal that its standard input is.
    #[must_use]
    pub fn at_a_terminal(self) -> Self {
        Self { terminal: true, ..self }
    }

    /// Lets `command` do it.
    pub fn before(self, command: &mut Command) {
        // SAFETY: the closure only makes system calls that are safe after fork, on data that was allocated before; it neither
        // allocates nor takes a lock.
        unsafe {
            command.pre_exec(move || Ok(self.perform()?));
        }
    }

    fn perform(&self) -> Result<(), Errno> {
        rustix::process::setsid()?;
        if self.terminal {
            super::pty::control()?;
        }
        self.late.iter().try_for_each(Late::perform)?;
        rustix::process::umask(Mode::WGRP | Mode::WOTH);
        let limit = |n| Rlimit { current: Some(n), maximum: Some(n) };
        rustix::process::setrlimit(Resource::Core, limit(0))?;
        let files = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX).min(FILES);
        rustix::process::setrlimit(Resource::Nofile, limit(files))?;
        forget()?;
        confine(self.capabilities)?;
        rustix::thread::set_no_new_privs(true)?;
        // Late: a change of capabilities may reset it.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The thread may have ended before that. Its number says nothing here, in another namespace.
        rustix::fs::openat(&self.thread, c"stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        self.filter.install()
    }
}

/// Leaves behind what the host process handed down: descriptors, signals, keys.
fn forget() -> Result<(), Errno> {
    // SAFETY: close_range with CLOEXEC only sets a flag on descriptors. Old kernels do not know it; Rust's own descriptors
    // are close-on-exec anyway.
    unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    for signal in 1..=64 {
        // SAFETY: setting a default action runs none of our code. The kernel refuses the two that have no other.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: a set on the stack, for which all bits zero is valid.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        if libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) != 0 {
            return Err(errno());
        }
    }
    // A session keyring of its own: that of root has what the machine unlocked. A kernel without keyrings has none to lose.
    // SAFETY: the call takes a number and a null pointer for an anonymous keyring.
    unsafe { libc::syscall(libc::SYS_keyctl, 1u32, std::ptr::null::<libc::c_char>()) };
    Ok(())
}

/// Gives up all capabilities but these, for good.
fn confine(keep: u64) -> Result<(), Errno> {
    for capability in 0..=CAPABILITIES {
        // SAFETY: prctl with numbers only.
        let dropped = keep & (1 << capability) != 0
            || unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) } == 0;
        // The kernel has no more than this.
        if !dropped && errno() == Errno::INVAL {
            break;
        }
        if !dropped {
            return Err(errno());
        }
    }
    let header = [0x2008_0522_u32, 0];
    let (low, high) = (keep as u32, (keep >> 32) as u32);
    // Effective, permitted and inheritable of the lower half, then of the upper one.
    let sets = [low, low, 0, high, high, 0];
    // SAFETY: the header of version 3 with process 0, which is the caller, and its two structures of three words.
    if unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) } == 0 { Ok(()) } else { Err(errno()) }
}

fn errno() -> Errno {
    // SAFETY: the pointer is to the thread's own errno and always valid.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}

fn text(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new(ErrorKind::Invalid, format!("{} has a zero byte", path.display())))
}
