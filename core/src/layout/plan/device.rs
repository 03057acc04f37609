//! What partitions become: arrays, encrypted devices, volume groups and their volumes, each with its identity.

use super::{Layer, Plan};
use crate::layout::keep::Replaced;
use crate::layout::ondisk::lvm::mapper_name;
use crate::layout::ondisk::md::mdadm_uuid;
use crate::layout::spec::{Bitmap, Key, Level, Metadata, Raid10Layout, Resync, VolumeKind};
use crate::layout::stack;
use serde::Serialize;
use uuid::Uuid;

/// A device of the plan, by its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Device {
    /// A partition of a disk.
    Partition {
        /// The disk.
        disk: usize,
        /// The partition in the list of the disk.
        partition: usize,
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

/// An array to be.
#[derive(Clone, Debug)]
pub struct PlannedArray {
    /// Its name in the document.
    pub id: String,
    /// Its level.
    pub level: Level,
    /// Its members in their order; spares are the last ones.
    pub members: Vec<Device>,
    /// How many of them are spares.
    pub spares: u32,
    /// The version of its superblock.
    pub metadata: Metadata,
    /// Bytes that follow each other on one member; none of a mirror.
    pub chunk: Option<u64>,
    /// How a level 10 lays its copies.
    pub layout: Option<Raid10Layout>,
    /// Whether it notes what is being written.
    pub bitmap: Bitmap,
    /// How its members become equal.
    pub sync: Resync,
    /// Its name in the superblock, without a host.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// Where data begins on each member, in bytes.
    pub data_offset: u64,
    /// How much of each member it uses, in bytes.
    pub component: u64,
    /// Its size in bytes.
    pub size: u64,
    /// The size of its sectors in bytes.
    pub sector: u32,
    /// It is there already and stays as it is.
    pub kept: bool,
}

impl PlannedArray {
    /// Its UUID as mdadm writes it: four groups of eight digits.
    #[must_use]
    pub fn md_uuid(&self) -> String {
        mdadm_uuid(&self.uuid)
    }
}

/// An encrypted device to be.
#[derive(Clone, Debug)]
pub struct PlannedCrypt {
    /// Its name in the document.
    pub id: String,
    /// What is encrypted.
    pub on: Device,
    /// The UUID of its header.
    pub uuid: Uuid,
    /// Its label.
    pub label: Option<String>,
    /// What opens it.
    pub keys: Vec<Key>,
    /// Options of `/etc/crypttab`.
    pub options: Vec<String>,
    /// Where data begins, in bytes.
    pub data_offset: u64,
    /// The size of its open side in bytes.
    pub size: u64,
    /// The size of its sectors in bytes.
    pub sector: u32,
    /// Whether GRUB has to open it, which knows the old key derivation only.
    pub for_grub: bool,
    /// It is there already and stays as it is.
    pub kept: bool,
}

impl PlannedCrypt {
    /// The name of its open side in `/dev/mapper`, here and in the installed system.
    #[must_use]
    pub fn name(&self) -> String {
        format!("luks-{}", self.uuid)
    }
}

/// A volume group to be.
#[derive(Clone, Debug)]
pub struct PlannedGroup {
    /// Its name.
    pub name: String,
    /// Its physical volumes, each with its UUID as LVM writes it.
    pub pvs: Vec<(Device, String)>,
    /// The unit of its volumes in bytes.
    pub extent: u64,
    /// How many of them it has.
    pub extents: u64,
    /// How many of them no volume gets.
    pub free: u64,
    /// Its volumes, a pool before what is in it.
    pub volumes: Vec<PlannedVolume>,
    /// The size of its sectors in bytes.
    pub sector: u32,
    /// It is there already and stays; what is no volume of the document stays in it.
    pub kept: bool,
    /// Volumes of a group that stays which are removed first, because they are made anew.
    pub replaced: Vec<Replaced>,
}

/// A logical volume to be.
#[derive(Clone, Debug)]
pub struct PlannedVolume {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: VolumeKind,
    /// Its extents; of a thin volume none.
    pub extents: u64,
    /// Over how many physical volumes it is striped, and in which pieces, in bytes.
    pub stripes: Option<(u32, u64)>,
    /// The unit of a pool in bytes.
    pub chunk: Option<u64>,
    /// The extents of a pool's metadata.
    pub metadata: u64,
    /// The pool of a thin volume.
    pub pool: Option<String>,
    /// Its size in bytes, of a thin volume what it shows.
    pub size: u64,
    /// It is there already and stays as it is.
    pub kept: bool,
}

/// What a device is for people and programs, at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Glance {
    /// Its reference in the document, such as `raid/pv`.
    pub reference: String,
    /// Where it will be found, such as `/dev/disk/by-partuuid/…`.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// The size of its sectors in bytes.
    pub sector: u32,
}

impl Plan {
    /// The arrays, in document order.
    #[must_use]
    pub fn arrays(&self) -> &[PlannedArray] {
        &self.arrays
    }

    /// The encrypted devices, in document order.
    #[must_use]
    pub fn crypts(&self) -> &[PlannedCrypt] {
        &self.crypts
    }

    /// The volume groups, in document order.
    #[must_use]
    pub fn groups(&self) -> &[PlannedGroup] {
        &self.groups
    }

    /// A device at a glance.
    #[must_use]
    pub fn glance(&self, device: Device) -> Glance {
        match device {
            Device::Partition { disk, partition } => {
                let (disk, p) = (&self.disks[disk], &self.disks[disk].partitions[partition]);
                let path = format!("/dev/disk/by-partuuid/{}", p.uuid);
                let reference = p.key.to_string();
                Glance { reference, path, size: p.length, sector: disk.facts.sector }
            }
            Device::Array(i) => {
                let a = &self.arrays[i];
                let path = format!("/dev/md/{}", a.name);
                Glance { reference: format!("raid/{}", a.id), path, size: a.size, sector: a.sector }
            }
            Device::Crypt(i) => {
                let c = &self.crypts[i];
                let path = format!("/dev/mapper/{}", c.name());
                Glance { reference: format!("luks/{}", c.id), path, size: c.size, sector: c.sector }
            }
            Device::Volume { group, volume } => {
                let (g, v) = (&self.groups[group], &self.groups[group].volumes[volume]);
                let path = mapper_path(&g.name, &v.name);
                Glance { reference: format!("lvm/{}/{}", g.name, v.name), path, size: v.size, sector: g.sector }
            }
        }
    }

    /// References of devices for people, each once, with how often it stands there.
    #[must_use]
    pub fn references(&self, devices: impl IntoIterator<Item = Device>) -> String {
        let mut counted: Vec<(String, usize)> = Vec::new();
        for reference in devices.into_iter().map(|d| self.glance(d).reference) {
            match counted.iter_mut().find(|(r, _)| *r == reference) {
                Some((_, n)) => *n += 1,
                None => counted.push((reference, 1)),
            }
        }
        let shown = counted.into_iter().map(|(r, n)| if n == 1 { r } else { format!("{n} × {r}") });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// What a device stands on directly.
    #[must_use]
    pub fn below(&self, device: Device) -> Vec<Device> {
        match device {
            Device::Partition { .. } => Vec::new(),
            Device::Array(i) => self.layer_below(Layer::Array(i)),
            Device::Crypt(i) => self.layer_below(Layer::Crypt(i)),
            Device::Volume { group, .. } => self.layer_below(Layer::Group(group)),
        }
    }

    /// What a layer stands on.
    #[must_use]
    pub fn layer_below(&self, layer: Layer) -> Vec<Device> {
        match layer {
            Layer::Array(i) => self.arrays[i].members.clone(),
            Layer::Crypt(i) => vec![self.crypts[i].on],
            Layer::Group(i) => self.groups[i].pvs.iter().map(|(d, _)| *d).collect(),
        }
    }

    /// The devices that a layer gives.
    #[must_use]
    pub fn layer_above(&self, layer: Layer) -> Vec<Device> {
        match layer {
            Layer::Array(i) => vec![Device::Array(i)],
            Layer::Crypt(i) => vec![Device::Crypt(i)],
            Layer::Group(group) => {
                (0..self.groups[group].volumes.len()).map(|volume| Device::Volume { group, volume }).collect()
            }
        }
    }

    /// Everything that a device stands on, with the device itself, each once.
    #[must_use]
    pub fn foundation(&self, device: Device) -> Vec<Device> {
        stack::reach(device, |d| self.below(d))
    }
}

/// Where device-mapper shows a volume.
#[must_use]
pub fn mapper_path(group: &str, volume: &str) -> String {
    format!("/dev/mapper/{}", mapper_name(group, volume))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_others_write_them() {
        assert_eq!(mapper_path("vg-a", "lv-b"), "/dev/mapper/vg--a-lv--b");
    }
}
