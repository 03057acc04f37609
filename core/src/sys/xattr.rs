//! Extended attributes as raw bytes: ACLs, file capabilities and labels are nothing else.

use rustix::io::Errno;
use std::ffi::CStr;

/// A name and its value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// All attributes of the entry at `path` itself (a link is not followed), sorted by name.
///
/// # Errors
/// The errno; a filesystem without attributes has none, which is not an error.
pub fn list(path: &CStr) -> Result<Vec<Xattr>, Errno> {
    let mut small = [0u8; 1024];
    let names = match rustix::fs::llistxattr(path, &mut small[..]) {
        Ok(n) => small[..n].to_vec(),
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(Errno::RANGE) => {
            let mut big = vec![0u8; 1 << 16];
            let n = rustix::fs::llistxattr(path, &mut big[..])?;
            big.truncate(n);
            big
        }
        Err(e) => return Err(e),
    };
    let mut out = Vec::new();
    for name in names.split(|&c| c == 0).filter(|n| !n.is_empty()) {
        match get(path, name) {
            Ok(value) => out.push((name.to_vec(), value)),
            Err(Errno::NODATA) => {} // removed between the two calls
            Err(e) => return Err(e),
        }
    }
    out.sort_unstable();
    Ok(out)
}

fn get(path: &CStr, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut small = [0u8; 512];
    match rustix::fs::lgetxattr(path, name, &mut small[..]) {
        Ok(n) => Ok(small[..n].to_vec()),
        Err(Errno::RANGE) => {
            let mut big = vec![0u8; 1 << 16];
            let n = rustix::fs::lgetxattr(path, name, &mut big[..])?;
            big.truncate(n);
            Ok(big)
        }
        Err(e) => Err(e),
    }
}

/// Sets one attribute of the entry at `path` itself.
///
/// # Errors
/// The errno.
pub fn set(path: &CStr, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty())
}

/// Takes one attribute away from the entry at `path` itself; one that is not there is no error.
///
/// # Errors
/// The errno.
pub fn remove(path: &CStr, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::lremovexattr(path, name) {
        Err(Errno::NODATA) => Ok(()),
        done => done,
    }
}
