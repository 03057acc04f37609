//! The plan is carried out. Whatever moment it ends at, the tree can be brought to its end by the next run.
//!
//! ```text
//!  flags out of the way ──> what is left of killed runs goes ──> what stands where something else belongs goes
//!   ──> files, links, devices: made beside, whole, renamed over ──> further names ──> metadata alone
//!   ──> deletions ──> directories' own metadata, deepest first ──> flags
//! ```

use super::plan::Planned;
use crate::error::{Error, Result};
use crate::image::path;
use crate::image::row::{KIND_MASK, REGULAR};
use crate::store::ChunkSource;
use crate::sys::confined::{Links, Root};
use crate::sys::inode;
use crate::tree::extract::plan::Changed;
use crate::tree::extract::queue::spread;
use crate::tree::extract::{Extraction, directories, files, finish, over};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

/// Does everything that is planned.
pub(super) fn apply(
    run: &Extraction<'_>,
    planned: &Planned,
    leftovers: &[Vec<u8>],
    source: &dyn ChunkSource,
) -> Result<()> {
    planned.frozen.iter().try_for_each(|p| lift(run, p))?;
    leftovers.iter().try_for_each(|p| remove(run, p, false))?;
    make_way(run, planned)?;
    files::write(run, source)?;
    finish::further_names(run)?;
    spread(run, &run.plan.changed, |c| change(run, c))?;
    let left = planned.deleted.iter().filter(|(p, _)| !beneath(&planned.cleared, p));
    let (directories, files): (Vec<_>, Vec<_>) = left.partition(|(_, directory)| *directory);
    spread(run, &files, |(path, _)| remove(run, path, false))?;
    directories.iter().try_for_each(|(path, _)| remove(run, path, true))?;
    directories::metadata(run)?;
    finish::inode_flags(run)
}

/// Removes what stands where something of another kind belongs.
fn make_way(run: &Extraction<'_>, planned: &Planned) -> Result<()> {
    let inside = planned.deleted.iter().filter(|(p, _)| beneath(&planned.cleared, p));
    inside.clone().try_for_each(|(p, directory)| remove(run, p, *directory))?;
    for dir in planned.cleared.iter().rev() {
        remove(run, dir, true)?;
        if run.root.lstat(dir, Links::Refuse).is_ok() {
            return Err(Error::refused(format!("{} is not empty and cannot be replaced", run.root.name_of(dir)))
                .hint("somebody writes there at the moment: look at it, then update again"));
        }
    }
    planned.unlinked.iter().try_for_each(|p| remove(run, p, false))
}

/// Whether a path lies beneath one of `tops`, which are in path order.
fn beneath(tops: &[Vec<u8>], p: &[u8]) -> bool {
    let after = tops.partition_point(|t| path::compare(t, p).is_lt());
    after.checked_sub(1).is_some_and(|i| path::is_beneath(p, &tops[i]))
}

/// Takes `chattr +i` and `+a` off; only files and directories can have them.
fn lift(run: &Extraction<'_>, path: &[u8]) -> Result<()> {
    let open = || {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = run.root.open_at(path, flags, Mode::empty(), Links::Refuse)?;
        inode::set_flags(fd.as_fd(), 0)
    };
    open().map_err(|e| run.failed("take the flags off", path, e))
}

/// Removes an entry. One that is gone is no error, nor a directory in which something was put meanwhile.
fn remove(run: &Extraction<'_>, path: &[u8], directory: bool) -> Result<()> {
    let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    let done = run.root.parent(path, Links::Refuse).and_then(|(dir, name)| rustix::fs::unlinkat(&dir, name, flags));
    match done {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) if directory => Ok(()),
        Err(e) => Err(run.failed("remove", path, e)),
    }
}

/// Gives an entry that stays other metadata.
fn change(run: &Extraction<'_>, c: &Changed) -> Result<()> {
    let (dir, name) = run.root.parent(&c.path, Links::Refuse).map_err(|e| run.failed("open", &c.path, e))?;
    finish::metadata(dir.as_fd(), name, &c.meta, run).map_err(|u| run.unset(&c.path, u))?;
    if c.meta.mode & KIND_MASK != REGULAR || run.lost.inode_flags {
        return Ok(());
    }
    match finish::set_flags(run.root, &c.path, c.meta.inode_flags) {
        // Where there are none, none are missing.
        Err(Errno::NOTTY | Errno::NOTSUP | Errno::ACCESS) if c.meta.inode_flags == 0 => Ok(()),
        done => done.map_err(|e| run.failed("set the flags of", &c.path, e)),
    }
}

/// Removes what this run made and did not put in its place, so that a full disk gets its space back. What cannot be
/// removed now, the next run removes.
pub(super) fn sweep(root: &Root, planned: &Planned, run: u64) {
    let front = format!("{}-", over::prefix(run));
    for path in &planned.touched {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let Ok(dir) = root.open_at(path, flags, Mode::empty(), Links::Refuse) else { continue };
        let mut found = Vec::new();
        let mut buf = [const { MaybeUninit::<u8>::uninit() }; 8192];
        let mut entries = RawDir::new(&dir, &mut buf);
        while let Some(Ok(e)) = entries.next() {
            if e.file_name().to_bytes().starts_with(front.as_bytes()) {
                found.push(e.file_name().to_owned());
            }
        }
        for name in found {
            let _ = rustix::fs::unlinkat(&dir, name, AtFlags::empty());
        }
    }
}
