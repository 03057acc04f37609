//! What is mounted beneath a tree, and whether an image has any business there.
//!
//! A node has its own filesystems mounted at `/boot` or `/var`: they are part of its tree. What other nodes share
//! (NFS, Lustre), what the kernel makes up, and what is new at every boot is not: nothing is written there.

use crate::sys::confined::Root;
use crate::sys::inode::is_fat;
use crate::sys::sysfs::parse_mountinfo;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Filesystems of a node's own disks and memory. Any other is somebody else's.
const OWN: [&str; 12] =
    ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "vfat", "msdos", "exfat", "tmpfs"];
/// Directories of the root whose content is made anew at every boot, when something is mounted there.
const TRANSIENT: [&[u8]; 4] = [b"proc", b"sys", b"dev", b"run"];

/// Where something is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountPoint {
    /// Relative to the root.
    pub(super) path: Vec<u8>,
    /// Nothing is written there.
    pub(super) foreign: bool,
    /// It keeps neither owner nor mode.
    pub(super) fat: bool,
}

/// The mount points beneath one root.
#[derive(Default)]
pub(super) struct Mounts {
    points: Vec<MountPoint>,
    /// Whether the root itself is on FAT.
    fat: bool,
}

impl Mounts {
    /// Those that this thread sees.
    pub(super) fn beneath(root: &Root) -> Self {
        let text = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
        let points = real_path(root).map(|at| parse(&text, &at)).unwrap_or_default();
        Self { points, fat: is_fat(root.as_fd()) }
    }

    /// Whether something is mounted at this very path.
    pub(super) fn at(&self, path: &[u8]) -> bool {
        self.points.iter().any(|p| p.path == path)
    }

    /// The mount point that `path` lies beneath.
    pub(super) fn above(&self, path: &[u8]) -> Option<&MountPoint> {
        let inside = |p: &&MountPoint| path.strip_prefix(&p.path[..]).is_some_and(|rest| rest.first() == Some(&b'/'));
        self.points.iter().filter(inside).max_by_key(|p| p.path.len())
    }

    /// Whether the filesystem that holds `path` is one to leave alone.
    pub(super) fn is_foreign(&self, path: &[u8]) -> bool {
        self.above(path).is_some_and(|p| p.foreign)
    }

    /// Whether `path` is on FAT.
    pub(super) fn is_fat(&self, path: &[u8]) -> bool {
        self.above(path).map_or(self.fat, |p| p.fat)
    }

    /// All of them.
    pub(super) fn paths(&self) -> Vec<Vec<u8>> {
        self.points.iter().map(|p| p.path.clone()).collect()
    }
}

/// The path of an open directory.
pub(super) fn real_path(root: &Root) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", root.as_fd().as_raw_fd())).ok()
}

fn parse(text: &str, root: &Path) -> Vec<MountPoint> {
    let mut out: Vec<MountPoint> = Vec::new();
    for mount in parse_mountinfo(text) {
        let Ok(inner) = mount.target.strip_prefix(root) else { continue };
        let path = inner.as_os_str().as_bytes().to_vec();
        if path.is_empty() {
            continue;
        }
        let top = path.split(|&c| c == b'/').next().unwrap_or_default();
        let foreign = !OWN.contains(&mount.fstype.as_str()) || TRANSIENT.contains(&top);
        let fat = ["vfat", "msdos", "exfat"].contains(&mount.fstype.as_str());
        // The last one at a place hides those before it.
        out.retain(|p| p.path != path);
        out.push(MountPoint { path, foreign, fat });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_or_made_up_is_foreign() {
        let text = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /boot rw - ext4 /dev/b rw\n\
                    3 2 8:3 / /boot/efi rw - vfat /dev/c rw\n4 1 0:5 / /home rw - nfs4 srv:/home rw\n\
                    5 1 0:6 / /proc rw - proc proc rw\n6 1 0:7 / /run rw - tmpfs t rw\n7 1 0:8 / /var/x rw - ext4 d rw\n\
                    8 7 0:9 / /var/x rw - lustre l rw\n";
        let mounts = Mounts { points: parse(text, Path::new("/")), fat: false };
        let foreign = |p: &str| mounts.is_foreign(p.as_bytes());
        assert!(!foreign("etc/x") && !foreign("boot/vmlinuz") && !foreign("boot/efi/a") && !foreign("home"));
        assert!(foreign("home/u/f") && foreign("proc/1") && foreign("run/x") && foreign("var/x/y"));
        assert!(mounts.is_fat(b"boot/efi/a") && !mounts.is_fat(b"boot/efi") && !mounts.is_fat(b"bootx/a"));
        assert!(mounts.at(b"boot/efi") && !mounts.at(b"boot/e"));
        let inner = parse(text, Path::new("/boot"));
        assert_eq!(inner, [MountPoint { path: b"efi".to_vec(), foreign: false, fat: true }]);
    }
}
