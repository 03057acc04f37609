//! The plan: what a layout means for these disks. Making one writes nothing.
//!
//! Every object has its identity here, before it exists, so that fstab and kernel command line are part of the plan.

use super::apply::mkfs;
use super::device::{Facts, Medium};
use super::diagnostic::{Diagnostic, Severity};
use super::gpt::{Entry, Table};
use super::select::{self, Choice};
use super::solve::{self, Wanted};
use super::spec::{Firmware, FsType, Mount, PartitionKey, PartitionType, Spec, Wipe};
use super::{Layout, MARKER, gate, token};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::sysfs;
use crate::units::{ByteSize, human};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use uuid::Uuid;

/// What a plan can be told besides the disks.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// Where identities come from. Without one they come from layout, disks, host name and this boot of the machine:
    /// the same plan made twice is the same, and two machines never share an identity.
    pub seed: Option<[u8; 16]>,
    /// The name of the node, for which the plan is.
    pub hostname: Option<String>,
    /// What the image says about itself; of it `needs.rootfs` (a size) is looked at.
    pub image_facts: Option<Value>,
    /// The sector size that image files get, in bytes; the layout's own `sector` goes first.
    pub sector: Option<u32>,
}

/// What a layout means for these disks.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) spec: Spec,
    pub(super) seed: [u8; 16],
    pub(super) hostname: Option<String>,
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
    pub(super) fn make(layout: &Layout, given: &BTreeMap<String, PathBuf>, options: &PlanOptions) -> Result<Self> {
        let (spec, positions) = (layout.spec(), layout.positions());
        let choices = select::choose(spec, positions, given).map_err(|found| layout.error(&found))?;
        let mut found = Vec::new();
        let mut facts = Vec::new();
        for choice in &choices {
            facts.extend(look(spec, choice, options, &mut found)?);
        }
        refuse(layout, &mut found)?;
        let seed = options.seed.unwrap_or_else(|| derive_seed(layout, options, &facts));
        let mut disks = Vec::new();
        for (choice, facts) in choices.iter().zip(facts) {
            disks.extend(place(spec, choice, facts, &seed, &mut found));
        }
        refuse(layout, &mut found)?;
        let filesystems = filesystems(spec, &disks, &seed)?;
        let boot = boot(spec, &disks, &filesystems, &mut found);
        image_needs(options, &disks, &filesystems, &mut found);
        refuse(layout, &mut found)?;
        let mut plan = Self {
            spec: spec.clone(),
            seed,
            hostname: options.hostname.clone(),
            disks,
            filesystems,
            boot,
            steps: Vec::new(),
            warnings: found,
            token: String::new(),
        };
        plan.steps = plan.make_steps();
        plan.token = token::token(&plan.described(layout, options));
        Ok(plan)
    }

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
            "layout": layout.to_json(),
            "seed": hex(&self.seed),
            "hostname": self.hostname,
            "image": options.image_facts,
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

/// Ends the planning when something is wrong; warnings stay.
fn refuse(layout: &Layout, found: &mut [Diagnostic]) -> Result<()> {
    for d in found.iter_mut().filter(|d| d.line == 0 && !d.path.is_empty()) {
        let place = layout.positions().place(&d.path);
        (d.line, d.column) = (place.line, place.column);
    }
    if found.iter().any(|d| d.severity == Severity::Error) { Err(layout.error(found)) } else { Ok(()) }
}

fn derive_seed(layout: &Layout, options: &PlanOptions, facts: &[Facts]) -> [u8; 16] {
    let mut parts = vec![layout.to_json().to_string(), options.hostname.clone().unwrap_or_default()];
    parts.extend(facts.iter().map(|f| format!("{} {}", f.identity(), f.changed)));
    token::seed(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The facts of a chosen disk, with everything that speaks against it. A disk in use is not even opened.
fn look(spec: &Spec, choice: &Choice, options: &PlanOptions, found: &mut Vec<Diagnostic>) -> Result<Option<Facts>> {
    let wanted = spec.disks[&choice.set].sector;
    let path = format!("disks.{}", choice.set);
    if let Some(number) = sysfs::node_number(&choice.path) {
        let against = gate::inspect_device(&choice.path, number, &path);
        if !against.is_empty() {
            found.extend(against);
            return Ok(None);
        }
    }
    let facts = Facts::look(&choice.path, wanted.or(options.sector))?;
    found.extend(gate::inspect(&facts, &path));
    if let Some(sector) = wanted.filter(|s| *s != facts.sector) {
        let (name, has) = (facts.path.display(), facts.sector);
        let text = format!("set {} wants sectors of {sector} bytes, {name} has {has}", choice.set);
        found.push(Diagnostic::error("F216", &path, text));
    }
    if spec.disks[&choice.set].wipe == Wipe::None && !facts.contents.is_blank() {
        let lost = facts.contents.describe().join("; ");
        let d = Diagnostic::error("F225", &path, format!("wipe is none, and {} carries {lost}", facts.path.display()));
        found.push(d.hint("write wipe: signatures when it may be erased"));
    }
    Ok(Some(facts))
}

fn place(
    spec: &Spec,
    choice: &Choice,
    facts: Facts,
    seed: &[u8; 16],
    found: &mut Vec<Diagnostic>,
) -> Option<PlannedDisk> {
    let set = &choice.set;
    let parts: Vec<_> = spec.partitions.iter().filter(|(k, _)| k.set == *set).collect();
    let wanted: Vec<Wanted> = parts
        .iter()
        .map(|(key, p)| {
            let on = key.to_string();
            let filesystem = spec.filesystems.values().find(|f| f.on == on).map(|f| f.kind);
            Wanted { name: key.name.clone(), kind: p.kind, size: p.size, number: p.number, filesystem }
        })
        .collect();
    let placed = match solve::solve(&wanted, facts.size, facts.sector) {
        Ok(placed) => placed,
        Err(small) => {
            let text = format!(
                "set {set} needs {}, {} has {} for partitions: {}",
                human(small.needed),
                facts.path.display(),
                human(small.usable),
                small.table
            );
            let d = Diagnostic::error("F210", format!("disks.{set}"), text);
            found.push(d.hint(format!("the disk must have at least {} bytes, it has {}", small.disk, facts.size)));
            return None;
        }
    };
    // Replicas on several disks differ, so the index is part of the path of an identity.
    let identity = |what: &str| token::uuid(seed, &format!("{what}#{}", choice.index));
    let partitions: Vec<PlannedPartition> = parts
        .iter()
        .zip(&placed)
        .map(|((key, p), at)| PlannedPartition {
            key: (*key).clone(),
            number: at.number,
            kind: p.kind,
            name: p.name.clone().unwrap_or_else(|| key.name.clone()),
            uuid: p.uuid.unwrap_or_else(|| identity(&format!("partitions.{key}"))),
            start: at.start,
            length: at.length,
            attributes: p.attrs.iter().fold(0, |bits, a| bits | a.bit()),
        })
        .collect();
    for p in partitions.iter().filter(|p| p.kind.is("esp")) {
        let least = if facts.sector == 4096 { 260u64 << 20 } else { 100 << 20 };
        if p.length < least {
            let text = format!("esp is {}: at least {} on this disk", human(p.length), human(least));
            found.push(Diagnostic::error("L122", format!("partitions.{}.size", p.key), text));
        }
    }
    let guid = identity(&format!("disks.{set}"));
    Some(PlannedDisk { set: set.clone(), wipe: spec.disks[set].wipe, facts, guid, partitions })
}

fn filesystems(spec: &Spec, disks: &[PlannedDisk], seed: &[u8; 16]) -> Result<Vec<PlannedFilesystem>> {
    let find = |on: &str| {
        let all = disks
            .iter()
            .enumerate()
            .flat_map(|(d, disk)| disk.partitions.iter().enumerate().map(move |(p, x)| (d, p, x)));
        let mut matching = all.filter(|(_, _, x)| x.key.to_string() == on);
        matching.next().map(|(d, p, _)| (d, p))
    };
    spec.filesystems
        .iter()
        .map(|(id, fs)| {
            let (disk, partition) =
                find(&fs.on).ok_or_else(|| Error::new(ErrorKind::Bug, format!("no partition {}", fs.on)))?;
            let path = format!("filesystems.{id}");
            let uuid = match (&fs.uuid, fs.kind) {
                (Some(given), FsType::Vfat) => given.to_uppercase(),
                (Some(given), _) => given.to_lowercase(),
                (None, FsType::Vfat) => token::volume_id(seed, &path),
                (None, _) => token::uuid(seed, &path).to_string(),
            };
            Ok(PlannedFilesystem {
                id: id.clone(),
                kind: fs.kind,
                disk,
                partition,
                uuid,
                label: fs.label.clone(),
                arguments: fs.mkfs.clone(),
                mount: fs.mount.clone(),
            })
        })
        .collect()
}

fn boot(
    spec: &Spec,
    disks: &[PlannedDisk],
    filesystems: &[PlannedFilesystem],
    found: &mut Vec<Diagnostic>,
) -> Option<PlannedBoot> {
    let boot = spec.boot.as_ref()?;
    let at = |path: &str| filesystems.iter().position(|f| f.mount.as_ref().is_some_and(|m| m.at == path));
    let root = at("/")?;
    let boot_fs = at("/boot").unwrap_or(root);
    let on: Vec<usize> = (0..disks.len()).filter(|d| disks[*d].set == boot.install_on).collect();
    let bios = spec.firmware.is_empty() || spec.firmware.contains(&Firmware::Bios);
    if bios {
        for disk in on.iter().map(|d| &disks[*d]) {
            if disk.facts.sector != 512 {
                let name = disk.facts.path.display();
                let text = format!("BIOS cannot start from {name}: its sectors have {} bytes", disk.facts.sector);
                found.push(Diagnostic::error("F217", "boot.install-on", text));
            }
        }
        let kernel = &filesystems[boot_fs];
        let kernel_part = &disks[kernel.disk].partitions[kernel.partition];
        let core = on.iter().flat_map(|d| disks[*d].partitions.iter().filter(|p| p.kind.is("bios-boot")));
        for p in core.chain([kernel_part]) {
            let end = p.start + p.length;
            if end > 2 << 40 {
                let text = format!("{} must lie below 2 TiB on BIOS machines: it ends at {}", p.key, human(end));
                found.push(Diagnostic::error("F213", format!("partitions.{}", p.key), text));
            }
        }
    }
    let uuid = &filesystems[root].uuid;
    let words = [format!("root=UUID={uuid}"), "ro".to_owned()];
    let cmdline = words.iter().chain(&boot.cmdline).map(String::as_str).collect::<Vec<_>>().join(" ");
    Some(PlannedBoot { disks: on, root: uuid.clone(), boot: boot_fs, cmdline })
}

/// What the image says it needs.
fn image_needs(options: &PlanOptions, disks: &[PlannedDisk], all: &[PlannedFilesystem], found: &mut Vec<Diagnostic>) {
    let Some(needs) = options.image_facts.as_ref().and_then(|f| f["needs"]["rootfs"].as_str()) else { return };
    let Ok(needs) = needs.parse::<ByteSize>() else { return };
    let root = all.iter().find(|f| f.mount.as_ref().is_some_and(|m| m.at == "/"));
    if let Some(root) = root {
        let has = disks[root.disk].partitions[root.partition].length;
        if has < needs.bytes() {
            let text = format!("the image needs {} in /, the layout gives {}", human(needs.bytes()), human(has));
            found.push(Diagnostic::error("I301", format!("filesystems.{}", root.id), text));
        }
    }
}

impl PlannedDisk {
    /// Whether it is an image file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        matches!(self.facts.medium, Medium::File { .. })
    }
}
