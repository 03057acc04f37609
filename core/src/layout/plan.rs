//! The plan: what a layout means for these disks. Making one writes nothing.
//!
//! Every object has its identity here, before it exists, so that fstab and kernel command line are part of the plan.

use super::device::{Facts, Medium};
use super::diagnostic::Diagnostic;
use super::gpt::{Entry, Table};
use super::keep::Unfinished;
use super::observed::Partition;
use super::profile::Readers;
use super::spec::{Firmware, FsType, Key, Loader, Mount, Nvram, PartitionKey, PartitionType, SecureBoot, Spec, Wipe};
use super::teardown::Held;
use super::{Layout, MARKER, solve};
use crate::image::Hash;
use crate::store::Image;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use uuid::Uuid;

mod build;
mod device;
mod files;
mod foreign;
mod kept;
mod make;
mod mounts;
mod recorded;
mod steps;
mod torn;

pub use device::{Device, Glance, PlannedArray, PlannedCrypt, PlannedGroup, PlannedVolume, mapper_path};
pub use mounts::{PlannedMount, PlannedSubvolume};
pub use steps::{Danger, Step};

/// The image that a plan is for.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedImage {
    /// Its id: the token is for this image and no other.
    pub id: Hash,
    /// What it says about itself; of it `needs.rootfs` (a size) is looked at.
    pub facts: Option<Value>,
}

impl From<&Image> for PlannedImage {
    fn from(image: &Image) -> Self {
        Self { id: image.id(), facts: image.manifest().facts.clone() }
    }
}

/// What a plan can be told besides the disks.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// Where identities come from. Without one they come from layout, disks, host name and this boot of the machine:
    /// the same plan made twice is the same, and two machines never share an identity.
    pub seed: Option<[u8; 16]>,
    /// The journal of an interrupted apply that the plan is to go on with: identities come from its seed.
    pub resume: Option<PathBuf>,
    /// The name of the node, for which the plan is.
    pub hostname: Option<String>,
    /// The image that will be put on the disks.
    pub image: Option<PlannedImage>,
    /// The sector size that image files get, in bytes; the layout's own `sector` goes first.
    pub sector: Option<u32>,
    /// The memory of the node in bytes, for sizes that are a share of it; without it that of this machine.
    pub ram: Option<u64>,
}

/// What a layout means for these disks.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) spec: Spec,
    pub(super) seed: [u8; 16],
    pub(super) hostname: Option<String>,
    pub(super) image: Option<Hash>,
    pub(super) disks: Vec<PlannedDisk>,
    pub(super) arrays: Vec<PlannedArray>,
    pub(super) crypts: Vec<PlannedCrypt>,
    pub(super) groups: Vec<PlannedGroup>,
    pub(super) layers: Vec<Layer>,
    pub(super) filesystems: Vec<PlannedFilesystem>,
    pub(super) boot: Option<PlannedBoot>,
    pub(super) steps: Vec<Step>,
    /// What the kernel has made of the disks and is stopped first.
    pub(super) stopped: Vec<Held>,
    pub(super) warnings: Vec<Diagnostic>,
    /// What an apply left unfinished and would be kept else: it is made anew.
    pub(super) unfinished: Vec<Unfinished>,
    /// What of the disks differs from the plan; none when that does not matter, because an image goes on them.
    pub(super) differences: Option<Vec<String>>,
    /// Whether it was made from an inventory, without its disks.
    pub(super) recorded: bool,
    pub(super) token: String,
}

/// A disk and its partitions to be.
#[derive(Clone, Debug)]
pub struct PlannedDisk {
    /// Its set.
    pub set: String,
    /// Which disk of the set, from 0.
    pub index: usize,
    /// The disk as it is.
    pub facts: Facts,
    /// What is erased.
    pub wipe: Wipe,
    /// The GUID that it gets.
    pub guid: Uuid,
    /// Its partitions in document order.
    pub partitions: Vec<PlannedPartition>,
    /// Partitions that the document does not have and that stay as they are, beside something that is kept.
    pub others: Vec<Partition>,
}

/// A partition to be.
#[derive(Clone, Debug)]
pub struct PlannedPartition {
    /// Its name in the document.
    pub key: PartitionKey,
    /// Its number in the table.
    pub number: u32,
    /// Its type.
    pub kind: PartitionType,
    /// Its name in the table.
    pub name: String,
    /// Its UUID in the table.
    pub uuid: Uuid,
    /// The first byte.
    pub start: u64,
    /// The length in bytes.
    pub length: u64,
    /// Its attributes in the table.
    pub attributes: u64,
    /// It is there already, and its entry in the table stays as it is.
    pub kept: bool,
}

/// A filesystem to be.
#[derive(Clone, Debug)]
pub struct PlannedFilesystem {
    /// Its name in the document.
    pub id: String,
    /// Its type.
    pub kind: FsType,
    /// What it is made on.
    pub on: Device,
    /// Its UUID; of vfat the volume id.
    pub uuid: String,
    /// The others that are kept in step with it, each with its own UUID.
    pub mirrors: Vec<(Device, String)>,
    /// Its label.
    pub label: Option<String>,
    /// More arguments for the program that makes it.
    pub arguments: Vec<String>,
    /// Who must be able to read it; none when the program chooses its features.
    pub readers: Option<Readers>,
    /// Where it is mounted.
    pub mount: Option<Mount>,
    /// Its subvolumes, a parent before what is in it.
    pub subvolumes: Vec<PlannedSubvolume>,
    /// It is there already and stays, with all that is in it.
    pub kept: bool,
}

/// The boot loader to be.
#[derive(Clone, Debug)]
pub struct PlannedBoot {
    /// Its disks, by place in the list.
    pub disks: Vec<usize>,
    /// What must be able to start it.
    pub firmwares: Vec<Firmware>,
    /// The loader.
    pub loader: Loader,
    /// The root filesystem, by place in the list.
    pub root: usize,
    /// The filesystem that /boot lies on, by place in the list.
    pub boot: usize,
    /// What the document adds to the kernel's command line.
    pub words: Vec<String>,
    /// What is in front of the loader with UEFI.
    pub secure_boot: SecureBoot,
    /// Whether it is also installed where firmware looks without an entry.
    pub removable_fallback: bool,
    /// What happens to the entries of the firmware.
    pub nvram: Nvram,
}

/// What is made out of partitions in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// An array.
    Array(usize),
    /// An encrypted device.
    Crypt(usize),
    /// A volume group with its volumes.
    Group(usize),
}

impl PlannedFilesystem {
    /// Whether the program that makes it is told features, of those that it knows.
    #[must_use]
    pub fn has_features(&self) -> bool {
        self.readers.is_some_and(|r| r.arguments(self.kind, &self.arguments, None) != self.arguments)
    }

    /// Everywhere it is made, with the UUID that it has there.
    pub fn places(&self) -> impl Iterator<Item = (Device, &str)> {
        let mirrors = self.mirrors.iter().map(|(device, uuid)| (*device, uuid.as_str()));
        std::iter::once((self.on, self.uuid.as_str())).chain(mirrors)
    }
}

impl PlannedDisk {
    /// The table as it will be; with the marker in the names while the disk is being made.
    #[must_use]
    pub fn table(&self, marked: bool) -> Table {
        let sector = u64::from(self.facts.sector);
        let sectors = self.facts.size / sector;
        let lbas = |start: u64, length: u64| (start / sector, ((start + length) / sector).saturating_sub(1));
        let own = self.partitions.iter().map(|p| {
            // What stays does so to the letter, whenever the power fails.
            let name = if marked && !p.kept { format!("{}{MARKER}", p.name) } else { p.name.clone() };
            let (first, last) = lbas(p.start, p.length);
            let kind = p.kind.guid();
            (p.number, Entry { kind, uuid: p.uuid, first, last, attributes: p.attributes, name })
        });
        let others = self.others.iter().map(|p| {
            let (first, last) = lbas(p.start, p.length);
            let (kind, name) = (p.kind.guid(), p.name.clone());
            (p.number, Entry { kind, uuid: p.uuid, first, last, attributes: p.attributes, name })
        });
        let entries: std::collections::BTreeMap<u32, Entry> = own.chain(others).collect();
        let last_usable = sectors - 1 - solve::backup_bytes(self.facts.sector) / sector;
        Table {
            disk: self.guid,
            sector: self.facts.sector,
            // What stays may lie outside of what is used otherwise.
            first_usable: entries.values().map(|e| e.first).min().unwrap_or(u64::MAX).min(solve::ALIGN / sector),
            last_usable,
            other: sectors - 1,
            entries,
        }
    }
}

impl Plan {
    /// The name of the layout.
    #[must_use]
    pub fn layout_name(&self) -> &str {
        &self.spec.name
    }

    /// What confirms this plan and no other, such as `4f2a-91c0`.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether it was made from an inventory that was recorded elsewhere. It shows what would be done there, and its
    /// token confirms the plan that is made there; it cannot be applied itself.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// The disks with their partitions.
    #[must_use]
    pub fn disks(&self) -> &[PlannedDisk] {
        &self.disks
    }

    /// The filesystems in document order.
    #[must_use]
    pub fn filesystems(&self) -> &[PlannedFilesystem] {
        &self.filesystems
    }

    /// Whether the disks are already as the layout wants them: then nothing is done, and the identities are theirs.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.differences.as_ref().is_some_and(Vec::is_empty)
    }

    /// Why something is done: what of the disks is not as the layout wants it, in words. Of a plan for an image
    /// nothing is said, because that is put onto new filesystems.
    #[must_use]
    pub fn differences(&self) -> &[String] {
        self.differences.as_deref().unwrap_or_default()
    }

    /// What will be done, in this order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What somebody should read, although it stops nothing.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Whether the layout has a boot loader.
    #[must_use]
    pub fn has_boot_loader(&self) -> bool {
        self.boot.is_some()
    }

    /// What is made out of partitions, in the order in which it can be.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The partitions of a disk that something will be made on, by their places in its list.
    #[must_use]
    pub fn used_partitions(&self, disk: usize) -> Vec<usize> {
        let on_disk = |device: Device| match device {
            Device::Partition { disk: of, partition } if of == disk => Some(partition),
            _ => None,
        };
        self.made_on().filter_map(on_disk).collect()
    }

    /// The names of the secrets that open its encrypted devices; of one that is kept only where it has to be opened.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        let opened = self.crypts.iter().enumerate().filter(|(i, _)| self.is_started(Layer::Crypt(*i)));
        opened.flat_map(|(_, c)| &c.keys).filter_map(|key| match key {
            Key::Secret(name) => Some(name.as_str()),
            Key::Tpm2 { .. } => None,
        })
    }

    /// The image that the plan was made for.
    #[must_use]
    pub fn image(&self) -> Option<Hash> {
        self.image
    }

    /// What the token confirms: everything that decides what is written, and the disks as they are.
    fn described(&self, layout: &Layout, options: &PlanOptions) -> Value {
        let disks: Vec<Value> = self.disks.iter().map(|d| json!({"set": d.set, "disk": d.facts.identity()})).collect();
        let mut described = json!({
            "layout": layout.hash(),
            "seed": hex(&self.seed),
            "hostname": self.hostname,
            "image": options.image,
            "disks": disks,
            "partitions": self.disks.iter().map(partition_list).collect::<Vec<_>>(),
            "fstab": self.fstab_lines(),
            "cmdline": self.boot_cmdline(),
        });
        let kept = self.kept_lines();
        if !kept.is_empty() {
            described["kept"] = Value::from(kept);
        }
        // Also what goes inside of what is kept, which the fingerprints of disks do not cover.
        let lost: Vec<&String> = self.steps.iter().flat_map(|s| &s.lost).collect();
        let replaced: Vec<_> = self.groups.iter().flat_map(|g| &g.replaced).collect();
        if !replaced.is_empty() {
            described["lost"] = json!([lost, replaced]);
        }
        if !self.unfinished.is_empty() {
            described["unfinished"] = json!(self.unfinished);
        }
        described
    }
}

/// The partitions of a disk as JSON.
pub(super) fn partition_list(disk: &PlannedDisk) -> Value {
    let list: Vec<Value> = disk
        .partitions
        .iter()
        .map(|p| {
            json!({
                "key": p.key,
                "number": p.number,
                "type": p.kind.to_string(),
                "type_guid": p.kind.guid(),
                "name": p.name,
                "uuid": p.uuid,
                "start": p.start,
                "length": p.length,
                "attributes": p.attributes,
                "kept": p.kept,
            })
        })
        .collect();
    Value::from(list)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl PlannedDisk {
    /// Whether it is an image file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        matches!(self.facts.medium, Medium::File { .. })
    }
}
