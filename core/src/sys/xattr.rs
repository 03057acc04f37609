//! Extended attributes as raw bytes: ACLs, file capabilities and labels are nothing else.

use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

/// A name and its value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// Where the attributes are: an entry by path, a link not being followed, or an open file or directory.
#[derive(Clone, Copy)]
pub enum Of<'a> {
    /// The entry at this path itself.
    Path(&'a CStr),
    /// What is open. Not for descriptors opened with `O_PATH`.
    Open(BorrowedFd<'a>),
}

impl Of<'_> {
    fn names(self, buf: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Path(p) => rustix::fs::llistxattr(p, buf),
            Self::Open(fd) => rustix::fs::flistxattr(fd, buf),
        }
    }

    fn value(self, name: &[u8], buf: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Path(p) => rustix::fs::lgetxattr(p, name, buf),
            Self::Open(fd) => rustix::fs::fgetxattr(fd, name, buf),
        }
    }
}

/// How xfs shows root the ACLs that it stores; they are there as `system.posix_acl_*`, too.
const DOUBLES: [&[u8]; 2] = [b"trusted.SGI_ACL_FILE", b"trusted.SGI_ACL_DEFAULT"];

/// What libcv notes at the root of a tree: the image that it was made from. It is about this directory, never a part of
/// the tree, and so it is not listed.
pub const NOTE: &[u8] = b"trusted.libcv.image";

/// All attributes, sorted by name, each once, but for [`NOTE`].
///
/// # Errors
/// The errno; a filesystem without attributes has none, which is not an error.
pub fn list(of: Of<'_>) -> Result<Vec<Xattr>, Errno> {
    let names = match whole(|buf| of.names(buf)) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        names => names?,
    };
    let mut out = Vec::new();
    for name in listed(&names) {
        match whole(|buf| of.value(name, buf)) {
            Ok(value) => out.push((name.to_vec(), value)),
            Err(Errno::NODATA) => {} // removed between the two calls
            Err(e) => return Err(e),
        }
    }
    out.sort_unstable();
    Ok(out)
}

/// Whether there is an attribute that counts; values are not read.
///
/// # Errors
/// As [`list`].
pub fn has_any(of: Of<'_>, counts: impl Fn(&[u8]) -> bool) -> Result<bool, Errno> {
    let mut buf = [0; 1024];
    match of.names(&mut buf) {
        Ok(n) => Ok(listed(&buf[..n]).any(counts)),
        Err(Errno::RANGE) => Ok(true),
        Err(Errno::NOTSUP) => Ok(false),
        Err(e) => Err(e),
    }
}

/// The names of a list as the kernel gives it.
fn listed(names: &[u8]) -> impl Iterator<Item = &[u8]> {
    names.split(|&c| c == 0).filter(|n| !n.is_empty() && !DOUBLES.contains(n) && *n != NOTE)
}

/// Asks with a small buffer first, and with the largest that the kernel knows if that is not enough.
fn whole(mut ask: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; 1024];
    match ask(&mut small) {
        Err(Errno::RANGE) => {
            let mut big = vec![0; 1 << 16];
            let n = ask(&mut big)?;
            big.truncate(n);
            Ok(big)
        }
        n => Ok(small[..n?].to_vec()),
    }
}

/// The value of one attribute; `None` when there is none, or the filesystem has no attributes.
#[must_use]
pub fn get(of: Of<'_>, name: &[u8]) -> Option<Vec<u8>> {
    whole(|buf| of.value(name, buf)).ok()
}

/// Sets one attribute.
///
/// # Errors
/// The errno.
pub fn set(of: Of<'_>, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    let flags = rustix::fs::XattrFlags::empty();
    match of {
        Of::Path(p) => rustix::fs::lsetxattr(p, name, value, flags),
        Of::Open(fd) => rustix::fs::fsetxattr(fd, name, value, flags),
    }
}

/// Takes one attribute away; one that is not there is no error.
///
/// # Errors
/// The errno.
pub fn remove(of: Of<'_>, name: &[u8]) -> Result<(), Errno> {
    let removed = match of {
        Of::Path(p) => rustix::fs::lremovexattr(p, name),
        Of::Open(fd) => rustix::fs::fremovexattr(fd, name),
    };
    match removed {
        Err(Errno::NODATA) => Ok(()),
        done => done,
    }
}
