//! The files that a kernel and udev show, below a root: `/` on the running machine, a directory in tests.
//!
//! sysfs is hundreds of small files in directories that are devices; a link names each device's place:
//!
//! ```text
//! sys/block/sda ─> sys/devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda
//!                  └──────────────────────── above() ────────────────────────────────┘
//! ```
//!
//! Links between devices are followed as texts and never lead out of the root: links of a recorded tree are not those of
//! this machine.

use std::path::{Path, PathBuf};

/// A file of sysfs has a page at most; the longest of `/proc` that is read is `mountinfo`.
const FILE_LIMIT: u64 = 4 << 20;
/// More names in a directory are not looked at.
const ENTRY_LIMIT: usize = 1 << 16;

/// A root and the files below it. Paths are relative to the root and have no `..` in them.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    root: PathBuf,
}

/// A device: its directory below the root, such as `sys/devices/…/block/sda`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Device(String);

impl Tree {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The bytes of a file; `None` when it is absent, cannot be read, or is longer than such files are.
    pub(super) fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        use std::io::Read;
        let file = std::fs::File::open(self.root.join(path)).ok()?;
        let mut bytes = Vec::new();
        file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= FILE_LIMIT).then_some(bytes)
    }

    /// A file as text, without the space around it; `None` when absent or empty.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let bytes = self.bytes(path)?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty()).then(|| text.replace(|c: char| c.is_control() && c != '\n' && c != '\t', "?"))
    }

    /// The names in a directory, sorted.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.take(ENTRY_LIMIT).filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    pub(super) fn is_dir(&self, path: &str) -> bool {
        self.root.join(path).is_dir()
    }

    /// Where a link points to, as a path below the root; `None` when it is no link or leaves the root.
    pub(super) fn link(&self, path: &str) -> Option<String> {
        let target = std::fs::read_link(self.root.join(path)).ok()?;
        let target = target.to_str()?;
        let mut parts: Vec<&str> = match target.strip_prefix('/') {
            Some(_) => Vec::new(),
            None => path.rsplit_once('/').map_or_else(Vec::new, |(dir, _)| dir.split('/').collect()),
        };
        for part in target.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop()?;
                }
                name => parts.push(name),
            }
        }
        Some(parts.join("/"))
    }

    /// Whole disks and whatever else is a block device of its own, by the kernel's names.
    pub(super) fn block_devices(&self) -> Vec<(String, Device)> {
        let names = self.names("sys/block");
        let place = |name: &String| match self.link(&format!("sys/block/{name}")) {
            Some(path) => Device(path),
            None => Device(format!("sys/block/{name}")),
        };
        names.iter().map(|name| (name.clone(), place(name))).collect()
    }

    /// A device by its directory.
    pub(super) fn device(&self, path: &str) -> Device {
        Device(path.to_owned())
    }

    /// An attribute of a device, such as `queue/rotational`.
    pub(super) fn attribute(&self, device: &Device, name: &str) -> Option<String> {
        self.text(&format!("{}/{name}", device.0))
    }

    /// An attribute that is bytes, such as a page of SCSI.
    pub(super) fn page(&self, device: &Device, name: &str) -> Option<Vec<u8>> {
        self.bytes(&format!("{}/{name}", device.0))
    }

    /// An attribute that is a number.
    pub(super) fn number(&self, device: &Device, name: &str) -> Option<u64> {
        self.attribute(device, name)?.parse().ok()
    }

    /// An attribute that is 0 or 1.
    pub(super) fn flag(&self, device: &Device, name: &str) -> bool {
        self.attribute(device, name).is_some_and(|t| t != "0")
    }

    /// What a link of the device points to.
    pub(super) fn linked(&self, device: &Device, name: &str) -> Option<Device> {
        self.link(&format!("{}/{name}", device.0)).map(Device)
    }

    /// The names in a directory of the device.
    pub(super) fn inside(&self, device: &Device, name: &str) -> Vec<String> {
        self.names(format!("{}/{name}", device.0).trim_end_matches('/'))
    }

    /// The name of the device's subsystem, such as `scsi` or `pci`.
    pub(super) fn subsystem(&self, device: &Device) -> Option<String> {
        let path = self.linked(device, "subsystem")?;
        path.0.rsplit('/').next().map(str::to_owned)
    }

    /// A line of the device's `uevent`, such as that of `DEVTYPE`.
    pub(super) fn uevent(&self, device: &Device, key: &str) -> Option<String> {
        let text = self.attribute(device, "uevent")?;
        text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=').map(str::to_owned))
    }
}

impl Device {
    /// Its directory below the root.
    pub(super) fn path(&self) -> &str {
        &self.0
    }

    /// Its name in sysfs: the last part of the path.
    pub(super) fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// A directory inside it.
    pub(super) fn child(&self, name: &str) -> Device {
        Device(format!("{}/{name}", self.0))
    }

    /// The directory that it lies in; `None` at `sys/devices`.
    pub(super) fn parent(&self) -> Option<Device> {
        let (parent, _) = self.0.rsplit_once('/')?;
        (parent.matches('/').count() >= 2).then(|| Device(parent.to_owned()))
    }

    /// The devices that it hangs on, the nearest first, itself included.
    pub(super) fn above(&self) -> impl Iterator<Item = Device> {
        std::iter::successors(Some(self.clone()), Device::parent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_never_leaves_the_root() {
        let tmp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tmp.path().join("sys/block")).unwrap();
        for (name, target, found) in [
            ("a", "../devices/x/a", Some("sys/devices/x/a")),
            ("b", "../../../etc/b", None),
            ("c", "/dev/c", Some("dev/c")),
            ("d", "./d2", Some("sys/block/d2")),
        ] {
            std::os::unix::fs::symlink(target, tmp.path().join("sys/block").join(name)).unwrap();
            let tree = Tree::new(tmp.path());
            assert_eq!(tree.link(&format!("sys/block/{name}")).as_deref(), found);
        }
        let device = Device("sys/devices/pci0000:00/0000:00:17.0/ata1".to_owned());
        let above: Vec<String> = device.above().map(|d| d.name().to_owned()).collect();
        assert_eq!(above, ["ata1", "0000:00:17.0", "pci0000:00"]);
    }
}
