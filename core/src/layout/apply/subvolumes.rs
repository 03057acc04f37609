//! Subvolumes of btrfs: made by the kernel, in a filesystem that was made a moment ago and is mounted for it.

use super::mount::make_directory;
use crate::error::Result;
use crate::layout::plan::PlannedFilesystem;
use crate::sys::mount;
use crate::sys::program::{Call, Program};
use std::path::Path;
use std::time::Duration;

/// The runs that make the subvolumes of a filesystem that is mounted at `top`.
#[must_use]
pub fn calls(fs: &PlannedFilesystem, top: &Path) -> Vec<Call> {
    let one = |name: &str| {
        Call::new(Program::Btrfs).limit(Duration::from_secs(60)).args(["subvolume", "create"]).arg(top.join(name))
    };
    fs.subvolumes.iter().map(|s| one(&s.name)).collect()
}

/// Makes them in the filesystem on `node`, which is mounted at `place` meanwhile; the thread has mounts of its own.
///
/// # Errors
/// `Unsupported` when the kernel has no btrfs; what the program says; `Io`.
pub(super) fn make(fs: &PlannedFilesystem, node: &Path, place: &Path, stop: &dyn Fn() -> bool) -> Result<()> {
    make_directory(place, 0o700)?;
    mount::device(node, place, fs.kind.name(), &[])?;
    let made = make_all(fs, place, stop);
    let unmounted = mount::unmount(place);
    match made {
        Ok(()) => unmounted,
        Err(e) => Err(e.with_failed_undo(unmounted)),
    }
}

fn make_all(fs: &PlannedFilesystem, top: &Path, stop: &dyn Fn() -> bool) -> Result<()> {
    for (subvolume, call) in fs.subvolumes.iter().zip(calls(fs, top)) {
        for (at, _) in subvolume.name.match_indices('/') {
            make_directory(&top.join(&subvolume.name[..at]), 0o755)?;
        }
        call.run(stop)?;
    }
    Ok(())
}
