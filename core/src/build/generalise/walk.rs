//! Walking a root that nobody works in, one directory after the other, inside it and on its filesystem.

use crate::error::{Error, Result};
use crate::sys::confined::{Links, Root};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::OwnedFd;

/// Deeper directories no distribution has; each costs its way from the root.
const DEPTH: usize = 256;

/// What is done with the directory, name, state and path of an entry.
type Visit<'a> = dyn FnMut(&OwnedFd, &CString, &Stat, &[u8]) -> Result<()> + 'a;

/// Calls `visit` with the directory, name and state of each entry below `path`, the contents of a directory before itself.
///
/// # Errors
/// What `visit` returns; `Limit` for directories that are too deep; `Io`.
pub(super) fn each(root: &Root, path: &[u8], visit: &mut Visit<'_>) -> Result<()> {
    // Paths, and whether what is in them was visited already.
    let mut todo = vec![(path.to_vec(), 0, false)];
    while let Some((path, depth, visited)) = todo.pop() {
        if visited {
            let (dir, name) = root.parent(&path, Links::Refuse).map_err(|e| failed(root, &path, e))?;
            let name = CString::new(name).map_err(|_| failed(root, &path, Errno::INVAL))?;
            let state =
                rustix::fs::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed(root, &path, e))?;
            visit(&dir, &name, &state, &path)?;
            continue;
        }
        if depth == DEPTH {
            return Err(Error::limit(format!("{} is more than {DEPTH} directories deep", root.name_of(&path))));
        }
        if depth > 0 {
            todo.push((path.clone(), depth, true));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dir = root.open_at(&path, flags, Mode::empty(), Links::Refuse).map_err(|e| failed(root, &path, e))?;
        for name in names(&dir).map_err(|e| failed(root, &path, e))? {
            let state =
                rustix::fs::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed(root, &path, e))?;
            let mut below = path.clone();
            if !below.is_empty() {
                below.push(b'/');
            }
            below.extend(name.as_bytes());
            if FileType::from_raw_mode(state.st_mode).is_dir() {
                todo.push((below, depth + 1, false));
            } else {
                visit(&dir, &name, &state, &below)?;
            }
        }
    }
    Ok(())
}

/// The names in a directory, sorted.
pub(super) fn names(dir: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut out = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            out.push(name);
        }
    }
    out.sort();
    Ok(out)
}

fn failed(root: &Root, path: &[u8], e: Errno) -> Error {
    Error::io("look at", root.name_of(path), e)
}
