//! What the kernel knows about block devices and who uses them: `/sys/dev/block`, mounts, swap.
//!
//! ```text
//! disk 8:0 ── partitions 8:1, 8:2 ── holders: md0, dm-3 ── … ── mounted, swap, open
//! ```
//!
//! [`Kernel`] reads below two directories, so that tests can show it recorded trees.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The number of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u32,
    /// The device of this driver.
    pub minor: u32,
}

impl DeviceNumber {
    /// From the `st_rdev` or `st_dev` of a `stat`.
    #[must_use]
    pub fn from_raw(raw: u64) -> Self {
        Self { major: rustix::fs::major(raw), minor: rustix::fs::minor(raw) }
    }

    /// From the form `8:0`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once(':')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A partition as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelPartition {
    /// Its number in the table.
    pub number: u32,
    /// Its device.
    pub device: DeviceNumber,
    /// Its name, such as `sda1`.
    pub name: String,
    /// Where it begins, in bytes.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// A line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The device; 0 as major for filesystems such as btrfs, which number their own.
    pub device: DeviceNumber,
    /// Where it is mounted.
    pub target: PathBuf,
    /// The type of the filesystem.
    pub fstype: String,
    /// What was mounted, as it was named then.
    pub source: PathBuf,
}

/// Something that uses a disk or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// Mounted, at this place.
    Mounted(String, PathBuf),
    /// It carries the root of the running system.
    RunningRoot(String),
    /// Swap space.
    Swap(String),
    /// Part of another device, such as an md array or a logical volume.
    Held(String, String),
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted(device, at) => write!(f, "{device} is mounted at {}", at.display()),
            Self::RunningRoot(device) => write!(f, "{device} carries the root of the running system"),
            Self::Swap(device) => write!(f, "{device} is in use as swap"),
            Self::Held(device, by) => write!(f, "{device} is part of {by}"),
        }
    }
}

/// The two trees that the kernel shows.
#[derive(Clone, Debug)]
pub struct Kernel {
    sys: PathBuf,
    proc: PathBuf,
}

impl Default for Kernel {
    fn default() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into() }
    }
}

impl Kernel {
    /// Reads below these directories instead.
    #[must_use]
    pub fn at(sys: impl Into<PathBuf>, proc: impl Into<PathBuf>) -> Self {
        Self { sys: sys.into(), proc: proc.into() }
    }

    fn directory(&self, device: DeviceNumber) -> PathBuf {
        self.sys.join(format!("dev/block/{device}"))
    }

    /// The kernel's name of a device, such as `sda` or `nvme0n1p2`.
    #[must_use]
    pub fn name(&self, device: DeviceNumber) -> Option<String> {
        std::fs::canonicalize(self.directory(device)).ok()?.file_name()?.to_str().map(ToOwned::to_owned)
    }

    /// An attribute of a device, such as `device/model`, without the space around it; `None` when absent or empty.
    #[must_use]
    pub fn attribute(&self, device: DeviceNumber, name: &str) -> Option<String> {
        let text = std::fs::read(self.directory(device).join(name)).ok()?;
        let text = String::from_utf8_lossy(&text);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        // What a driver prints that has none.
        (!text.is_empty() && text != "(null)").then(|| text.to_owned())
    }

    /// Whether the device is a partition of another one.
    #[must_use]
    pub fn is_partition(&self, device: DeviceNumber) -> bool {
        self.directory(device).join("partition").exists()
    }

    /// The partitions of a disk that the kernel knows, by number.
    #[must_use]
    pub fn partitions(&self, disk: DeviceNumber) -> Vec<KernelPartition> {
        let mut found: Vec<KernelPartition> = std::fs::read_dir(self.directory(disk))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let dir = entry.path();
                let text = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
                let number = |name: &str| text(name)?.trim().parse::<u64>().ok();
                Some(KernelPartition {
                    number: u32::try_from(number("partition")?).ok()?,
                    device: DeviceNumber::parse(&text("dev")?)?,
                    name: entry.file_name().into_string().ok()?,
                    start: number("start")?.checked_mul(512)?,
                    length: number("size")?.checked_mul(512)?,
                })
            })
            .collect();
        found.sort_by_key(|p| p.number);
        found
    }

    /// The devices listed in a directory of a device (`holders` or `slaves`).
    fn linked(&self, device: DeviceNumber, which: &str) -> Vec<DeviceNumber> {
        let entries = std::fs::read_dir(self.directory(device).join(which));
        entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| DeviceNumber::parse(&std::fs::read_to_string(e.path().join("dev")).ok()?))
            .collect()
    }

    /// The devices that a device is part of, by their kernel names.
    #[must_use]
    pub fn holders(&self, device: DeviceNumber) -> Vec<(String, DeviceNumber)> {
        let named = |d: DeviceNumber| Some((self.name(d)?, d));
        self.linked(device, "holders").into_iter().filter_map(named).collect()
    }

    /// The devices that a device is made of.
    #[must_use]
    pub fn slaves(&self, device: DeviceNumber) -> Vec<DeviceNumber> {
        self.linked(device, "slaves")
    }

    /// Sets an attribute of a device, such as `md/sync_speed_max`.
    ///
    /// # Errors
    /// The errno.
    pub fn set(&self, device: DeviceNumber, name: &str, value: &str) -> Result<(), rustix::io::Errno> {
        let path = self.directory(device).join(name);
        let failed = |e: std::io::Error| rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO);
        std::fs::write(path, value).map_err(failed)
    }

    /// The mounts of this process, in the order they were made.
    #[must_use]
    pub fn mounts(&self) -> Vec<Mount> {
        parse_mountinfo(&std::fs::read_to_string(self.proc.join("self/mountinfo")).unwrap_or_default())
    }

    /// Devices and files in use as swap.
    #[must_use]
    pub fn swaps(&self) -> Vec<PathBuf> {
        let text = std::fs::read_to_string(self.proc.join("swaps")).unwrap_or_default();
        text.lines().skip(1).filter_map(|l| l.split_whitespace().next()).map(|p| PathBuf::from(unescape(p))).collect()
    }

    /// The disk with everything on it: itself, its partitions, and whatever is built of them.
    fn stack(&self, disk: DeviceNumber) -> BTreeSet<DeviceNumber> {
        let (mut all, mut todo) = (BTreeSet::new(), vec![disk]);
        while let Some(device) = todo.pop() {
            if all.insert(device) {
                todo.extend(self.partitions(device).into_iter().map(|p| p.device));
                todo.extend(self.linked(device, "holders"));
            }
        }
        all
    }

    /// Whether the filesystem of this number (its `st_dev`) lies on the disk.
    #[must_use]
    pub fn carries(&self, disk: DeviceNumber, filesystem: DeviceNumber) -> bool {
        let stack = self.stack(disk);
        let source = |m: &Mount| (m.device == filesystem).then(|| node_number(&m.source)).flatten();
        // btrfs numbers its own; what was mounted tells the device.
        stack.contains(&filesystem) || self.mounts().iter().filter_map(source).any(|d| stack.contains(&d))
    }

    /// Everything that uses the disk, the worst first.
    #[must_use]
    pub fn uses(&self, disk: DeviceNumber) -> Vec<Use> {
        let stack = self.stack(disk);
        let name = |d: DeviceNumber| self.name(d).unwrap_or_else(|| d.to_string());
        let mut found = Vec::new();
        for m in self.mounts() {
            let device = if m.device.major == 0 { node_number(&m.source) } else { Some(m.device) };
            if let Some(device) = device.filter(|d| stack.contains(d)) {
                let root = m.target == Path::new("/");
                found.push(if root { Use::RunningRoot(name(device)) } else { Use::Mounted(name(device), m.target) });
            }
        }
        for swap in self.swaps() {
            if let Some(device) = node_number(&swap).filter(|d| stack.contains(d)) {
                found.push(Use::Swap(name(device)));
            }
        }
        for device in &stack {
            for holder in self.linked(*device, "holders") {
                found.push(Use::Held(name(*device), name(holder)));
            }
        }
        found.sort_by_key(|u| !matches!(u, Use::RunningRoot(_)));
        found
    }
}

/// The number of the block device that a node names, links being followed; `None` when it names no block device.
#[must_use]
pub fn node_number(path: &Path) -> Option<DeviceNumber> {
    let meta = std::fs::metadata(path).ok()?;
    meta.file_type().is_block_device().then(|| DeviceNumber::from_raw(meta.rdev()))
}

/// The lines of a `mountinfo` file; what does not look like one is left out.
#[must_use]
pub fn parse_mountinfo(text: &str) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(2);
            let mut right = right.split(' ');
            let device = DeviceNumber::parse(left.next()?)?;
            let target = PathBuf::from(unescape(left.nth(1)?));
            let fstype = right.next()?.to_owned();
            Some(Mount { device, target, fstype, source: PathBuf::from(unescape(right.next()?)) })
        })
        .collect()
}

/// Undoes the kernel's `\040` for a space.
pub(crate) fn unescape(text: &str) -> OsString {
    let (bytes, mut out, mut i) = (text.as_bytes(), Vec::new(), 0);
    while i < bytes.len() {
        let octal = bytes.get(i + 1..i + 4).filter(|d| bytes[i] == b'\\' && d.iter().all(|c| (b'0'..b'8').contains(c)));
        if let Some(d) = octal {
            out.push(d.iter().fold(0u8, |n, c| n.wrapping_mul(8).wrapping_add(c - b'0')));
            i += 4;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_volume_on_an_array_on_a_partition_is_found() {
        let tmp = tempfile::tempdir().unwrap();
        let (sys, proc) = (tmp.path().join("sys"), tmp.path().join("proc"));
        let sda = sys.join("dev/block/8:0");
        write(&sda.join("sda1/partition"), "1\n");
        write(&sda.join("sda1/dev"), "8:1\n");
        write(&sda.join("sda1/start"), "2048\n");
        write(&sda.join("sda1/size"), "4096\n");
        write(&sys.join("dev/block/8:1/holders/md0/dev"), "9:0\n");
        write(&sys.join("dev/block/9:0/holders/dm-0/dev"), "253:0\n");
        write(&sys.join("dev/block/253:0/size"), "1\n");
        write(&proc.join("self/mountinfo"), "30 1 253:0 / /srv\\040x rw,relatime shared:1 - xfs /dev/dm-0 rw\n");
        let kernel = Kernel::at(&sys, &proc);
        let disk = DeviceNumber { major: 8, minor: 0 };
        let parts = kernel.partitions(disk);
        assert_eq!((parts.len(), parts[0].start, parts[0].length), (1, 1 << 20, 2 << 20));
        let uses = kernel.uses(disk);
        assert!(matches!(&uses[0], Use::Mounted(_, at) if at == Path::new("/srv x")), "{uses:?}");
        assert_eq!(uses.iter().filter(|u| matches!(u, Use::Held(..))).count(), 2);
        assert!(kernel.uses(DeviceNumber { major: 8, minor: 16 }).is_empty());
    }

    #[test]
    fn the_root_comes_first() {
        let tmp = tempfile::tempdir().unwrap();
        write(&tmp.path().join("self/mountinfo"), "1 0 8:0 / /boot rw - ext4 a rw\n2 0 8:0 / / rw - ext4 a rw\nbad\n");
        let uses = Kernel::at(tmp.path(), tmp.path()).uses(DeviceNumber { major: 8, minor: 0 });
        assert!(matches!(uses[0], Use::RunningRoot(_)));
        assert_eq!(uses.len(), 2);
    }
}
