//! The file of a journal: opened without waiting for anybody, of the right type, and locked while somebody writes it.
//!
//! ```text
//! look at the type ─ open ─ look again ─ lock ─ still at its path? ──> Locked, appended to by nobody else
//!                                          └ another has it: A417
//! ```
//!
//! A filesystem without locks, as some servers have it, holds a journal all the same: the locks of the disks are what
//! keeps two applies apart.

use crate::error::{Error, Result};
use crate::sys::lock::Lock;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file that no other apply writes.
#[derive(Debug)]
pub(super) struct Locked {
    pub(super) file: File,
    /// None where the filesystem has no locks.
    _lock: Option<Lock>,
}

impl Locked {
    /// Locks the open file at a path.
    ///
    /// # Errors
    /// `Refused` (A417) when another apply has the lock, or something else is at the path by now; `Io`.
    pub(super) fn take(file: File, path: &Path) -> Result<Self> {
        let failed = |e: io::Error| Error::io("lock", path.display(), e);
        let lock = match Lock::take(file.try_clone().map_err(failed)?) {
            Ok(Ok(lock)) => Some(lock),
            Ok(Err(_)) => return Err(in_use(path)),
            Err(Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP | Errno::BADF) => None,
            Err(e) => return Err(failed(e.into())),
        };
        let own = file.metadata().map_err(failed)?;
        match std::fs::symlink_metadata(path) {
            Ok(m) if m.is_symlink() || (m.dev(), m.ino()) == (own.dev(), own.ino()) => Ok(Self { file, _lock: lock }),
            _ => Err(in_use(path)),
        }
    }
}

/// What an apply says whose journal another one has.
pub(super) fn in_use(path: &Path) -> Error {
    Error::refused(format!("another apply writes the journal {}", path.display()))
        .hint("wait until it has finished, or name another file for the journal")
        .fact("code", "A417")
        .fact("path", path.display().to_string())
}

/// Opens a file that is a regular one: a pipe would make its reader wait, a device may do anything.
pub(super) fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let is_file = |is: bool| if is { Ok(()) } else { Err(io::Error::new(ErrorKind::InvalidInput, "it is no file")) };
    let at_path = if flags.contains(OFlags::NOFOLLOW) { path.symlink_metadata() } else { path.metadata() };
    is_file(at_path?.is_file())?;
    let file = File::from(rustix::fs::open(path, flags | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?);
    is_file(file.metadata()?.is_file())?;
    Ok(file)
}

/// Opens a file for reading and locking: some servers lock only what can be written.
pub(super) fn open_to_lock(path: &Path, flags: OFlags) -> io::Result<File> {
    open(path, OFlags::RDWR | flags).or_else(|e| match e.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => open(path, OFlags::RDONLY | flags),
        _ => Err(e),
    })
}
