//! What is on the disks of a machine, as one graph: each device with its identity and size, and what it stands on.
//!
//! ```text
//! disks ── gpt ─> partitions ┐
//!                            ├─ md, luks, lvm ─> arrays, encrypted devices, groups ─> what lies on them …
//! the kernel's node, or the geometry where nothing runs ─┘        the rest: filesystems and swap
//! a root ── fstab, crypttab, command line, boot loader ─> System
//! ```
//!
//! It is read from bytes: what an array is, its members say, whether it runs or not. Nothing is written or started, and
//! no program is asked. What stands on an array, an encrypted device or a volume is read through the kernel where that
//! is running, and through the geometry otherwise; what is encrypted and closed stays unknown.

mod geometry;
mod given;
mod kernel;
mod look;
mod members;
mod names;
mod source;
mod system;

pub use given::Given;
pub(in crate::layout) use source::Source;
pub use system::{CryptLine, FstabLine, Mounted, System};

use super::ondisk::spread::Spread;
use super::ondisk::{luks, md};
use super::spec::{PartitionType, VolumeKind};
use super::stack;
use super::{UNFINISHED, inventory};
use crate::sys::sysfs::DeviceNumber;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use uuid::Uuid;

/// What is on some disks.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The disks, in the order in which they were given or listed.
    pub disks: Vec<Disk>,
    /// Arrays, in the order in which they were found.
    pub arrays: Vec<Array>,
    /// Encrypted devices.
    pub crypts: Vec<Crypt>,
    /// Volume groups.
    pub groups: Vec<Group>,
    /// Filesystems and swap space.
    pub filesystems: Vec<Filesystem>,
    /// What was seen and has no place in this model, or could not be read.
    pub oddities: Vec<Oddity>,
    /// The system on them, where its root is known.
    pub system: Option<System>,
}

/// A device, by its place in [`Observed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    /// A whole disk.
    Disk(usize),
    /// A partition, by the number in the table.
    Partition {
        /// The disk.
        disk: usize,
        /// The number.
        number: u32,
    },
    /// An array.
    Array(usize),
    /// The open side of an encrypted device.
    Crypt(usize),
    /// A volume of a group.
    Volume {
        /// The group.
        group: usize,
        /// The volume in the list of the group.
        volume: usize,
    },
}

/// A disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// How it was opened.
    pub path: PathBuf,
    /// Its number; none of an image file.
    pub device: Option<DeviceNumber>,
    /// Its size in bytes, whole sectors.
    pub size: u64,
    /// The size of a logical sector in bytes.
    pub sector: u32,
    /// Its partition table; none where there is no GPT.
    pub table: Option<Table>,
    /// What the machine knows of it: how it is attached, its names. None of an image file.
    pub hardware: Option<inventory::Disk>,
}

/// A GPT.
#[derive(Clone, Debug)]
pub struct Table {
    /// The GUID of the disk.
    pub guid: Uuid,
    /// Whether both copies are right.
    pub whole: bool,
    /// The partitions by number.
    pub partitions: Vec<Partition>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number in the table.
    pub number: u32,
    /// Its type.
    pub kind: PartitionType,
    /// Its GUID.
    pub uuid: Uuid,
    /// Its name in the table.
    pub name: String,
    /// The first byte.
    pub start: u64,
    /// The length in bytes.
    pub length: u64,
    /// Its attributes.
    pub attributes: u64,
}

/// A device that the kernel has made of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The kernel's name, such as `md127` or `dm-3`.
    pub kernel: String,
    /// Its number.
    pub number: DeviceNumber,
    /// Its name in `/dev/mapper`; none of an array.
    pub mapped: Option<String>,
}

/// An array of md.
#[derive(Clone, Debug)]
pub struct Array {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its name as it is stored, often `HOST:NAME`.
    pub name: String,
    /// The version of its superblocks.
    pub version: md::Version,
    /// Its level.
    pub level: md::Level,
    /// How exactly it spreads data, by the number of its level.
    pub layout: u32,
    /// Bytes that follow each other on one member; 0 without chunks.
    pub chunk: u64,
    /// How many members hold data when none is missing.
    pub raid_disks: u32,
    /// The members that are there: those with data by their place, then spares and others.
    pub members: Vec<Member>,
    /// Where the data begins on each member, in bytes.
    pub data_offset: u64,
    /// How much of each member is used, in bytes; 0 where that is all of it.
    pub component: u64,
    /// Its size in bytes; 0 when it cannot be told.
    pub size: u64,
    /// Whether it has a bitmap inside.
    pub bitmap: bool,
    /// Whether it is changing its shape.
    pub reshaping: bool,
    /// Whether members went on without each other: nobody knows whose data are right.
    pub split: bool,
    /// Where it runs.
    pub running: Option<Running>,
}

/// A member of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which device.
    pub on: Node,
    /// What it is to the array.
    pub role: md::Role,
}

impl Array {
    /// The name without the host in front of it.
    #[must_use]
    pub fn short_name(&self) -> &str {
        self.name.split_once(':').map_or(&self.name, |(_, name)| name)
    }

    /// How many places for data have a member that works. One that is being replaced has its place twice.
    #[must_use]
    pub fn active(&self) -> usize {
        let place = |m: &Member| if let md::Role::Active(place) = m.role { Some(place) } else { None };
        self.members.iter().filter_map(place).collect::<BTreeSet<_>>().len()
    }

    /// How many members wait for another to fail.
    #[must_use]
    pub fn spares(&self) -> usize {
        self.members.iter().filter(|m| m.role == md::Role::Spare).count()
    }
}

/// An encrypted device.
#[derive(Clone, Debug)]
pub struct Crypt {
    /// What is encrypted.
    pub on: Node,
    /// Its header.
    pub header: luks::Header,
    /// The size of its open side in bytes.
    pub size: u64,
    /// Its open side, where it is open.
    pub open: Option<Running>,
}

/// A volume group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its UUID as LVM writes it.
    pub uuid: String,
    /// The unit of its volumes in bytes.
    pub extent: u64,
    /// How many of them it has.
    pub extents: u64,
    /// How many of them no volume has.
    pub free: u64,
    /// Its physical volumes, in the order of its metadata.
    pub pvs: Vec<Physical>,
    /// Its volumes without the hidden ones, a pool before what is in it.
    pub volumes: Vec<Volume>,
    /// Its tags.
    pub tags: Vec<String>,
}

/// A physical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Physical {
    /// Its UUID as LVM writes it.
    pub uuid: String,
    /// Which device; none when it is missing.
    pub on: Option<Node>,
}

/// A logical volume.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its UUID as LVM writes it.
    pub uuid: String,
    /// What it is; of a kind that documents do not have its name in LVM.
    pub kind: Result<VolumeKind, String>,
    /// Its extents: of a pool those for data, of a thin volume those that it shows.
    pub extents: u64,
    /// Over how many physical volumes it is striped, and in which pieces, in bytes.
    pub stripes: Option<(u32, u64)>,
    /// Of a pool: its unit in bytes.
    pub chunk: Option<u64>,
    /// Of a pool: the extents of its metadata.
    pub metadata: u64,
    /// The pool of a thin volume.
    pub pool: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its device, where it is active.
    pub active: Option<Running>,
}

impl Volume {
    /// Whether an application that made it was interrupted.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.tags.iter().any(|t| t == UNFINISHED)
    }
}

/// A filesystem or swap space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// What it is on.
    pub on: Node,
    /// Its type, as `blkid` names it.
    pub kind: String,
    /// Its label.
    pub label: Option<String>,
    /// Its UUID; of vfat the volume id.
    pub uuid: Option<String>,
    /// Of btrfs: the paths of its subvolumes, or why they cannot be told.
    pub subvolumes: Result<BTreeSet<String>, String>,
    /// Whether more of it lies elsewhere.
    pub spread: Spread,
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        self.label.as_ref().map_or(Ok(()), |label| write!(f, " \"{label}\""))
    }
}

/// Something that this model does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oddity {
    /// Where it was seen.
    pub on: Option<Node>,
    /// What it is, for people.
    pub text: String,
}

impl Observed {
    /// A partition.
    #[must_use]
    pub fn partition(&self, disk: usize, number: u32) -> Option<&Partition> {
        self.disks.get(disk)?.table.as_ref()?.partitions.iter().find(|p| p.number == number)
    }

    /// All partitions as devices, disk by disk.
    pub fn partitions(&self) -> impl Iterator<Item = (Node, &Partition)> {
        self.disks.iter().enumerate().flat_map(|(disk, d)| {
            let all = d.table.iter().flat_map(|t| &t.partitions);
            all.map(move |p| (Node::Partition { disk, number: p.number }, p))
        })
    }

    /// What a device stands on directly.
    #[must_use]
    pub fn below(&self, node: Node) -> Vec<Node> {
        match node {
            Node::Disk(_) => Vec::new(),
            Node::Partition { disk, .. } => vec![Node::Disk(disk)],
            Node::Array(i) => self.arrays[i].members.iter().map(|m| m.on).collect(),
            Node::Crypt(i) => vec![self.crypts[i].on],
            Node::Volume { group, .. } => self.groups[group].pvs.iter().filter_map(|p| p.on).collect(),
        }
    }

    /// Everything that a device stands on, with the device itself, each once.
    #[must_use]
    pub fn foundation(&self, node: Node) -> Vec<Node> {
        stack::reach(node, |n| self.below(n))
    }

    /// The size of a device in bytes.
    #[must_use]
    pub fn size(&self, node: Node) -> u64 {
        match node {
            Node::Disk(i) => self.disks[i].size,
            Node::Partition { disk, number } => self.partition(disk, number).map_or(0, |p| p.length),
            Node::Array(i) => self.arrays[i].size,
            Node::Crypt(i) => self.crypts[i].size,
            Node::Volume { group, volume } => self.groups[group].volumes[volume].size,
        }
    }

    /// The filesystem or swap space on a device.
    #[must_use]
    pub fn filesystem_on(&self, node: Node) -> Option<&Filesystem> {
        self.filesystems.iter().find(|f| f.on == node)
    }

    /// What a device is for people: `partition 2 of /dev/sda`, `array boot`, `volume sys/root`.
    #[must_use]
    pub fn name(&self, node: Node) -> String {
        match node {
            Node::Disk(i) => self.disks[i].path.display().to_string(),
            Node::Partition { disk, number } => {
                format!("partition {number} of {}", self.disks[disk].path.display())
            }
            Node::Array(i) => {
                let array = &self.arrays[i];
                let name = array.short_name();
                if name.is_empty() { format!("array {}", array.uuid) } else { format!("array {name}") }
            }
            Node::Crypt(i) => format!("the encrypted {}", self.name(self.crypts[i].on)),
            Node::Volume { group, volume } => {
                let group = &self.groups[group];
                format!("volume {}/{}", group.name, group.volumes[volume].name)
            }
        }
    }
}

#[cfg(test)]
mod tests;
