//! A disk as values: what it is, what hangs on it, who uses it, what it carries.
//!
//! ```text
//! Disk ──< Partition              sda1 …
//!      ──< Holder                 md127 on sda2 ── dm-0 on md127 …
//!      ──< Usage                  md127 is mounted at /boot
//!      ──  Multipath ──< Path     sda and sdq are one disk, through the map dm-3
//!      ──  Content                table, signatures, fingerprint
//! ```

use super::content::Content;
pub use crate::layout::spec::Transport;
use crate::sys::sysfs::DeviceNumber;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Disk {
    /// The kernel's name, such as `sda`: of this boot only, never a key. Of a multipath disk that of its map, if there
    /// is one, or else of its first path.
    pub name: String,
    /// Its number, as `8:0`: of this boot only.
    #[serde(with = "number")]
    #[schemars(with = "String")]
    pub number: DeviceNumber,
    /// How it is attached.
    pub transport: Transport,
    /// Its size in bytes.
    pub size: u64,
    /// A logical sector in bytes, the unit of partition tables.
    pub logical_sector: u32,
    /// A physical sector in bytes.
    pub physical_sector: u32,
    /// What the disk likes to read and write at once, in bytes; 0 when it does not say.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub optimal_io: u64,
    /// Whether it turns.
    #[serde(default)]
    pub rotational: bool,
    /// Whether its medium can be taken out.
    #[serde(default)]
    pub removable: bool,
    /// Whether it cannot be written.
    #[serde(default)]
    pub read_only: bool,
    /// Who made it, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its serial number; namespaces of one NVMe disk have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Its world wide name, as the kernel chose it: `naa.5000…`, `eui.0025…`, `uuid.…`, `t10.ATA …`, `nvme.1b36-…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wwid: Option<String>,
    /// Other names that are its alone, in the same form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_wwids: Vec<String>,
    /// The namespace of NVMe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nsid: Option<u32>,
    /// Its names in `/dev/disk/by-id`, those of a machine with udev.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_id: Vec<String>,
    /// Its names in `/dev/disk/by-path`, the best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_path: Vec<String>,
    /// Where it sits: `enclosure/0x5003048020c0a83f/Slot 01`, `bay/0x5003048020c0a83f/1`, `pci/12`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slots: Vec<String>,
    /// The partitions that the kernel knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<Partition>,
    /// What is built of it, what lies below first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
    /// Who uses it or something built of it, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<Usage>,
    /// The paths to it, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multipath: Option<Multipath>,
    /// What it carries; none when nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Why nobody could look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// A partition as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Partition {
    /// Its number in the table.
    pub number: u32,
    /// The kernel's name.
    pub name: String,
    /// Its device, as `8:1`.
    #[serde(with = "number")]
    #[schemars(with = "String")]
    pub device: DeviceNumber,
    /// Its first byte.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// A device that is built of a disk, a partition or another such device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Holder {
    /// The kernel's name, such as `md127`.
    pub name: String,
    /// Its number, as `9:127`.
    #[serde(with = "number")]
    #[schemars(with = "String")]
    pub number: DeviceNumber,
    /// What made it: `md`, `dm`, `bcache` …
    pub kind: String,
    /// Its own name: of md `any:boot` (where udev tells), of the device mapper `sys-root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its UUID: of md as 32 hexadecimal digits with dashes, of the device mapper as it is (`LVM-…`, `CRYPT-LUKS2-…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// The level of an array, such as `raid1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// What of this disk it is built on: partitions and other holders, by the kernel's names.
    pub on: Vec<String>,
}

/// A way to use a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It carries the root of the running system.
    Root,
    /// The running system came from it: the medium of an installer.
    Medium,
    /// It is mounted.
    Mounted,
    /// It is in use as swap.
    Swap,
}

/// A use of a disk, of a partition, or of what is built of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Usage {
    /// How it is used.
    pub how: How,
    /// What is used, by the kernel's name.
    pub device: String,
    /// Where it is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (device, at) = (&self.device, self.at.as_deref().unwrap_or("?"));
        match self.how {
            How::Root => write!(f, "{device} carries the root of the running system"),
            How::Medium => write!(f, "the running system came from {device}, mounted at {at}"),
            How::Mounted => write!(f, "{device} is mounted at {at}"),
            How::Swap => write!(f, "{device} is in use as swap"),
        }
    }
}

/// Several paths to one disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Multipath {
    /// The name of the map in `/dev/mapper`; none when multipath does not run, and then the disk cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<String>,
    /// The paths.
    pub paths: Vec<Path>,
}

/// A path to a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Path {
    /// The kernel's name.
    pub name: String,
    /// Its number, as `8:0`.
    #[serde(with = "number")]
    #[schemars(with = "String")]
    pub number: DeviceNumber,
    /// Its names in `/dev/disk/by-path`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_path: Vec<String>,
}

/// What tells a disk from all others, also after the next boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Identity {
    /// Its world wide name, or serial number, namespace and model; none when it has neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// Its logical sector in bytes.
    pub sector: u32,
    /// Where it is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_path: Option<String>,
}

impl Disk {
    /// The node in `/dev` that opens it.
    #[must_use]
    pub fn node(&self) -> String {
        match self.multipath.as_ref().and_then(|m| m.map.as_ref()) {
            Some(map) => format!("/dev/mapper/{map}"),
            None => format!("/dev/{}", self.name),
        }
    }

    /// What tells it from others.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let by_serial = || {
            let nsid = self.nsid.map(|n| format!(" {n}")).unwrap_or_default();
            let model = self.model.as_deref().unwrap_or_default();
            self.serial.as_ref().map(|s| format!("{s}{nsid} {model}").trim().to_owned())
        };
        let name = self.wwid.clone().or_else(by_serial);
        Identity { name, size: self.size, sector: self.logical_sector, by_path: self.by_path.first().cloned() }
    }

    /// Whether two paths lead to it and nobody made one device of them.
    #[must_use]
    pub fn lacks_a_map(&self) -> bool {
        self.multipath.as_ref().is_some_and(|m| m.map.is_none())
    }

    /// Whether the device with this number is the disk or a path to it.
    #[must_use]
    pub fn has_number(&self, number: DeviceNumber) -> bool {
        self.number == number || self.multipath.iter().flat_map(|m| &m.paths).any(|p| p.number == number)
    }

    /// Whether a node in `/dev` is the disk: by the kernel's name, a name in `/dev/disk` or that of its map.
    #[must_use]
    pub fn has_node(&self, node: &str) -> bool {
        let Some(rest) = node.strip_prefix("/dev/") else { return false };
        let paths = || self.multipath.iter().flat_map(|m| &m.paths);
        match rest.split_once('/') {
            None => rest == self.name || paths().any(|p| p.name == rest),
            Some(("mapper", name)) => self.multipath.as_ref().is_some_and(|m| m.map.as_deref() == Some(name)),
            Some(("disk", rest)) => match rest.split_once('/') {
                Some(("by-id", name)) => self.by_id.iter().any(|n| n == name),
                Some(("by-path", name)) => {
                    self.by_path.iter().chain(paths().flat_map(|p| &p.by_path)).any(|n| n == name)
                }
                _ => false,
            },
            Some(_) => false,
        }
    }
}

impl Identity {
    /// Whether this is the same disk. Where neither has a name, the place decides.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let same = (self.size, self.sector) == (other.size, other.sector);
        match (&self.name, &other.name) {
            (Some(a), Some(b)) => same && a == b,
            (None, None) => same && self.by_path.is_some() && self.by_path == other.by_path,
            _ => false,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A device number as text.
mod number {
    use super::DeviceNumber;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &DeviceNumber, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<DeviceNumber, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        DeviceNumber::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("\"{text}\" is not the number of a device, such as 8:0")))
    }
}
