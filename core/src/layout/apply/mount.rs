//! The target root: every filesystem of the plan mounted where it belongs, in a namespace of its own.

use super::bootloader;
use super::devices::Nodes;
use crate::error::{Error, Result};
use crate::layout::plan::{Device, Plan};
use crate::sys::mount;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where the working directory is mounted: over a directory that is empty for everybody else.
const WORK: [&str; 2] = ["/run/libcv", "/tmp/libcv"];

/// A private tmpfs with nodes and the target root.
#[derive(Debug)]
pub struct Workplace {
    root: PathBuf,
}

impl Workplace {
    /// Makes it; the calling thread must have a mount namespace of its own.
    ///
    /// # Errors
    /// `Io` or `Denied`.
    pub fn make() -> Result<Self> {
        let base = WORK.iter().map(Path::new).find(|p| p.parent().is_some_and(Path::is_dir));
        let root = base.unwrap_or(Path::new(WORK[1])).to_owned();
        make_directory(&root, 0o700)?;
        // In /tmp somebody else may have been first.
        let found = std::fs::symlink_metadata(&root).map_err(|e| Error::io("look at", root.display(), e))?;
        if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
            return Err(Error::unsafe_input(format!("{} belongs to somebody else", root.display())).hint("remove it"));
        }
        mount::tmpfs(&root, "mode=0700")?;
        let place = Self { root };
        make_directory(&place.nodes(), 0o700)?;
        make_directory(&place.target(), 0o755)?;
        make_directory(&place.mirrors(), 0o755)?;
        Ok(place)
    }

    /// Where the nodes of partitions are.
    #[must_use]
    pub fn nodes(&self) -> PathBuf {
        self.root.join("nodes")
    }

    /// Where the further ESPs are mounted, by number.
    #[must_use]
    pub fn mirrors(&self) -> PathBuf {
        self.root.join("mirrors")
    }

    /// Where the root of the installed system is mounted.
    #[must_use]
    pub fn target(&self) -> PathBuf {
        self.root.join("target")
    }
}

/// Checks that the kernel can mount everything that the plan mounts.
///
/// # Errors
/// `Unsupported` naming the filesystem.
pub fn require(plan: &Plan) -> Result<()> {
    let made = plan.mounts().into_iter().map(|m| m.filesystem).filter(|fs| !fs.kept);
    made.into_iter().try_for_each(|fs| mount::require_filesystem(fs.kind.name()))
}

/// Mounts the filesystems of the plan below `target`. Of those that are kept only the mount points are made: a mount would
/// write to them, and what an image has at their place would go into them.
///
/// # Errors
/// `Unsupported`, `Denied` or `Io`.
pub fn mount_all(plan: &Plan, nodes: &Nodes, target: &Path) -> Result<()> {
    for mounted in plan.mounts() {
        let (fs, place) = (mounted.filesystem, place(target, &mounted.mount.at));
        make_directories(target, &place)?;
        if fs.kept {
            continue;
        }
        nodes.mount(fs.on, &place, fs.kind, &mounted.options())?;
    }
    Ok(())
}

/// Where a mount point of the plan is below `target`.
#[must_use]
pub fn place(target: &Path, at: &str) -> PathBuf {
    if at == "/" { target.to_owned() } else { target.join(&at[1..]) }
}

/// Mounts the ESPs that are kept in step with the first below `directory`; they are named in the order of the plan.
///
/// # Errors
/// As [`mount_all`].
pub fn mount_mirrors(plan: &Plan, nodes: &Nodes, directory: &Path) -> Result<Vec<PathBuf>> {
    let Some(esp) = bootloader::planned::esp(plan) else { return Ok(Vec::new()) };
    let mount_one = |(n, (device, _)): (usize, &(Device, String))| {
        let place = directory.join(n.to_string());
        make_directory(&place, 0o755)?;
        nodes.mount(*device, &place, esp.kind, &[])?;
        Ok(place)
    };
    esp.mirrors.iter().enumerate().map(mount_one).collect()
}

/// Makes `place` and what leads there from `target`, readable by everybody whatever the umask of the process is.
fn make_directories(target: &Path, place: &Path) -> Result<()> {
    let below = place.strip_prefix(target).unwrap_or(Path::new(""));
    let mut at = target.to_owned();
    for part in below {
        at.push(part);
        if !at.is_dir() {
            make_directory(&at, 0o755)?;
        }
    }
    Ok(())
}

pub(super) fn make_directory(path: &Path, mode: u32) -> Result<()> {
    let failed = |e: std::io::Error| Error::io("make", path.display(), e);
    match std::fs::create_dir(path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(failed(e)),
        Ok(()) => std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed),
    }
}
