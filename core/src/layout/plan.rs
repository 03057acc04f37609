//! The plan: what a layout means for these disks. Making one writes nothing.
//!
//! Every object has its identity here, before it exists, so that fstab and kernel command line are part of the plan.

use super::apply::mkfs;
use super::device::{Facts, Medium};
use super::diagnostic::Diagnostic;
use super::gpt::{Entry, Table};
use super::solve;
use super::spec::{FsType, Mount, PartitionKey, PartitionType, Spec, Wipe};
use super::{Layout, MARKER};
use crate::image::Hash;
use crate::store::Image;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

mod make;

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
    /// The name of the node, for which the plan is.
    pub hostname: Option<String>,
    /// The image that will be put on the disks.
    pub image: Option<PlannedImage>,
    /// The sector size that image files get, in bytes; the layout's own `sector` goes first.
    pub sector: Option<u32>,
}

/// What a layout means for these disks.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) spec: Spec,
    pub(super) seed: [u8; 16],
    pub(super) hostname: Option<String>,
    pub(super) image: Option<Hash>,
    pub(super) disks: Vec<PlannedDisk>,
    pub(super) filesystems: Vec<PlannedFilesystem>,
    pub(super) boot: Option<PlannedBoot>,
    pub(super) steps: Vec<Step>,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) token: String,
}

/// A disk and its partitions to be.
#[derive(Clone, Debug)]
pub struct PlannedDisk {
    /// Its set.
    pub set: String,
    /// The disk as it is.
    pub facts: Facts,
    /// What is erased.
    pub wipe: Wipe,
    /// The GUID that it gets.
    pub guid: Uuid,
    /// Its partitions in document order.
    pub partitions: Vec<PlannedPartition>,
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
}

/// A filesystem to be.
#[derive(Clone, Debug)]
pub struct PlannedFilesystem {
    /// Its name in the document.
    pub id: String,
    /// Its type.
    pub kind: FsType,
    /// Its disk, by place in the list of disks.
    pub disk: usize,
    /// Its partition, by place in the list of the disk.
    pub partition: usize,
    /// Its UUID; of vfat the volume id.
    pub uuid: String,
    /// Its label.
    pub label: Option<String>,
    /// More arguments for the program that makes it.
    pub arguments: Vec<String>,
    /// Where it is mounted.
    pub mount: Option<Mount>,
}

/// The boot loader to be.
#[derive(Clone, Debug)]
pub struct PlannedBoot {
    /// Its disks, by place in the list.
    pub disks: Vec<usize>,
    /// The UUID of the root filesystem.
    pub root: String,
    /// The filesystem that /boot lies on, by place in the list.
    pub boot: usize,
    /// The kernel's command line.
    pub cmdline: String,
}

/// How bad it is to do a step by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Danger {
    /// Nothing of what was there is touched.
    None,
    /// Tables and headers are written.
    Metadata,
    /// Data is lost.
    Data,
}

/// Something that will be done.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name, such as `erase:os`.
    pub id: String,
    /// What it does, for people.
    pub title: String,
    /// How bad it is.
    pub danger: Danger,
    /// What is lost.
    pub lost: Vec<String>,
    /// The programs that run, as argument vectors.
    pub commands: Vec<Vec<String>>,
}

impl PlannedDisk {
    /// The table as it will be; with the marker in the names while the disk is being made.
    #[must_use]
    pub fn table(&self, marked: bool) -> Table {
        let sector = u64::from(self.facts.sector);
        let sectors = self.facts.size / sector;
        let entries = self.partitions.iter().map(|p| {
            let name = if marked { format!("{}{MARKER}", p.name) } else { p.name.clone() };
            let (first, last) = (p.start / sector, (p.start + p.length) / sector - 1);
            let kind = p.kind.guid();
            (p.number, Entry { kind, uuid: p.uuid, first, last, attributes: p.attributes, name })
        });
        Table {
            disk: self.guid,
            sector: self.facts.sector,
            first_usable: solve::ALIGN / sector,
            last_usable: sectors - 1 - solve::backup_bytes(self.facts.sector) / sector,
            other: sectors - 1,
            entries: entries.collect(),
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

    /// The partition of a filesystem.
    #[must_use]
    pub fn partition_of(&self, fs: &PlannedFilesystem) -> &PlannedPartition {
        &self.disks[fs.disk].partitions[fs.partition]
    }

    /// Filesystems with a mount point, parents before what is mounted in them.
    #[must_use]
    pub fn mounts(&self) -> Vec<(&PlannedFilesystem, &Mount)> {
        let mut list: Vec<_> = self.filesystems.iter().filter_map(|f| Some((f, f.mount.as_ref()?))).collect();
        list.sort_by_key(|(_, m)| if m.at == "/" { 0 } else { m.at.matches('/').count() });
        list
    }

    /// The image that the plan was made for.
    #[must_use]
    pub fn image(&self) -> Option<Hash> {
        self.image
    }

    /// The lines of `/etc/fstab`, without line ends.
    #[must_use]
    pub fn fstab_lines(&self) -> Vec<String> {
        let mounted = self.mounts().into_iter().map(|(fs, mount)| {
            let pass = match (mount.at.as_str(), fs.kind) {
                (_, FsType::Xfs | FsType::Btrfs | FsType::Swap) => 0,
                ("/", _) => 1,
                _ => 2,
            };
            let options = match (mount.options.is_empty(), fs.kind) {
                (false, _) => mount.options.join(","),
                // What an ESP carries is nobody's business but root's, and FAT keeps no modes.
                (true, FsType::Vfat) => "umask=0077".to_owned(),
                (true, _) => "defaults".to_owned(),
            };
            format!("UUID={} {} {} {options} 0 {pass}", fs.uuid, mount.at, fs.kind.name())
        });
        let swap = self.filesystems.iter().filter(|f| f.kind == FsType::Swap);
        mounted.chain(swap.map(|f| format!("UUID={} none swap sw 0 0", f.uuid))).collect()
    }

    /// The kernel's command line; empty when no filesystem is mounted at `/`.
    #[must_use]
    pub fn boot_cmdline(&self) -> String {
        if let Some(boot) = &self.boot {
            return boot.cmdline.clone();
        }
        self.mounts()
            .first()
            .filter(|(_, m)| m.at == "/")
            .map_or_else(String::new, |(fs, _)| format!("root=UUID={} ro", fs.uuid))
    }

    /// What the token confirms: everything that decides what is written, and the disks as they are.
    fn described(&self, layout: &Layout, options: &PlanOptions) -> Value {
        let disks: Vec<Value> = self.disks.iter().map(|d| json!({"set": d.set, "disk": d.facts.identity()})).collect();
        json!({
            "layout": layout.hash(),
            "seed": hex(&self.seed),
            "hostname": self.hostname,
            "image": options.image,
            "disks": disks,
            "partitions": self.disks.iter().map(partition_list).collect::<Vec<_>>(),
            "fstab": self.fstab_lines(),
            "cmdline": self.boot_cmdline(),
        })
    }

    fn make_steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut step = |id: String, title: String, danger, lost: Vec<String>, commands| {
            steps.push(Step { id, title, danger, lost, commands });
        };
        for disk in &self.disks {
            let (set, path) = (&disk.set, disk.facts.path.display());
            let lost = disk.facts.contents.describe();
            let danger = if lost.is_empty() { Danger::Metadata } else { Danger::Data };
            if !matches!(disk.wipe, Wipe::None | Wipe::Table) {
                let how = if disk.wipe == Wipe::Discard { "discard everything on" } else { "erase signatures on" };
                step(format!("erase:{set}"), format!("{how} {path}"), danger, lost.clone(), Vec::new());
            }
            let title = format!("write a partition table with {} partitions to {path}", disk.partitions.len());
            step(format!("table:{set}"), title, danger, lost, Vec::new());
        }
        for fs in &self.filesystems {
            let partition = self.partition_of(fs);
            let device = format!("/dev/disk/by-partuuid/{}", partition.uuid);
            let title = format!("make {} \"{}\" on {}", fs.kind.name(), fs.id, partition.key);
            let call = mkfs::call(fs, partition, self.disks[fs.disk].facts.sector, device.as_ref());
            step(format!("mkfs:{}", fs.id), title, Danger::Metadata, Vec::new(), vec![call.preview()]);
        }
        let mounted: Vec<&str> = self.mounts().iter().map(|(_, m)| m.at.as_str()).collect();
        if !mounted.is_empty() {
            let title = format!("mount {} and install what is deployed, if anything is", mounted.join(", "));
            step("install".to_owned(), title, Danger::None, Vec::new(), Vec::new());
        }
        if let Some(boot) = &self.boot {
            let disks: Vec<String> =
                boot.disks.iter().map(|d| self.disks[*d].facts.path.display().to_string()).collect();
            let title = format!("install GRUB for BIOS on {} from the packages of the image", disks.join(", "));
            step("bootloader".to_owned(), title, Danger::None, Vec::new(), Vec::new());
        }
        step("verify".to_owned(), "unmount and read back".to_owned(), Danger::None, Vec::new(), Vec::new());
        let title = "take the mark off the partition names".to_owned();
        step("commit".to_owned(), title, Danger::Metadata, Vec::new(), Vec::new());
        steps
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
