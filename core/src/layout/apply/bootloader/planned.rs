//! What a plan says of its disks, for the boot loader.

use super::facts::{Array, BootFacts, BootPlace, Esp, Luks, Needed, UefiLoader, Unlock, Volume};
use crate::layout::inventory::Inventory;
use crate::layout::plan::{Device, Plan, PlannedBoot, PlannedDisk, PlannedFilesystem, PlannedMount, PlannedPartition};
use crate::layout::spec::{Key, Loader, SecureBoot};
use crate::layout::token;
use crate::sys::sysfs::node_number;
use std::path::{Path, PathBuf};

/// The facts of a plan whose root is mounted at `target`, and the further ESPs at `mirrors`, in the order of the plan.
#[must_use]
pub fn facts(plan: &Plan, planned: &PlannedBoot, target: &Path, mirrors: &[PathBuf]) -> BootFacts {
    let (root, boot) = (&plan.filesystems()[planned.root], &plan.filesystems()[planned.boot]);
    let by_id = by_id(plan);
    BootFacts {
        firmwares: planned.firmwares.clone(),
        loader: match planned.loader {
            Loader::Grub2 => UefiLoader::Grub,
            Loader::SystemdBoot => UefiLoader::SystemdBoot,
        },
        words: planned.words.clone(),
        boot: BootPlace { uuid: boot.uuid.clone(), kind: boot.kind, path: path_of_boot(plan) },
        esps: esps(plan, target, mirrors, &by_id),
        esp_members: esp_members(plan, target, &by_id),
        secure_boot: planned.secure_boot,
        removable_fallback: planned.removable_fallback,
        update_nvram: planned.nvram.update,
        bios_disks: planned.disks.iter().filter_map(|d| by_id[*d].clone()).collect(),
        ..without_loader(plan, root)
    }
}

/// What a system without a boot loader of the plan has to know of its disks; it has this `root`.
#[must_use]
pub fn without_loader(plan: &Plan, root: &PlannedFilesystem) -> BootFacts {
    let volumes = plan.groups().iter().enumerate().flat_map(|(group, g)| {
        g.volumes.iter().enumerate().map(move |(volume, v)| (Device::Volume { group, volume }, g, v))
    });
    let stacks = Stacks::of(plan);
    let volumes = volumes.map(|(device, g, v)| Volume {
        group: g.name.clone(),
        name: v.name.clone(),
        needed: stacks.need(device),
    });
    BootFacts {
        firmwares: Vec::new(),
        loader: UefiLoader::Auto,
        root: plan.root_source(root),
        root_uuid: root.uuid.clone(),
        root_subvolume: plan.mounted_at("/").and_then(|m| m.subvolume).map(str::to_owned),
        words: Vec::new(),
        boot: BootPlace { uuid: root.uuid.clone(), kind: root.kind, path: path_of_boot(plan) },
        arrays: arrays(plan),
        luks: luks(plan),
        volumes: volumes.filter(|v| v.needed.boot || v.needed.root).collect(),
        resume: None,
        esps: Vec::new(),
        esp_members: Vec::new(),
        secure_boot: SecureBoot::Auto,
        removable_fallback: true,
        update_nvram: true,
        bios_disks: Vec::new(),
        machine_id: token::uuid(&plan.seed, "machine-id").simple().to_string(),
    }
}

/// All arrays of a plan.
#[must_use]
pub fn arrays(plan: &Plan) -> Vec<Array> {
    let stacks = Stacks::of(plan);
    let arrays = plan.arrays().iter().enumerate().map(|(i, a)| Array {
        name: a.name.clone(),
        uuid: a.uuid,
        metadata: a.metadata.name().to_owned(),
        level: u8::try_from(a.level.number()).unwrap_or(u8::MAX),
        needed: stacks.need(Device::Array(i)),
    });
    arrays.collect()
}

/// All encrypted devices of a plan.
#[must_use]
pub fn luks(plan: &Plan) -> Vec<Luks> {
    let stacks = Stacks::of(plan);
    let luks = plan.crypts().iter().enumerate().map(|(i, c)| Luks {
        name: c.name(),
        uuid: c.uuid,
        version: 2,
        unlock: if c.keys.iter().any(Key::is_tpm2) { Unlock::Tpm2 } else { Unlock::Ask },
        options: c.options.clone(),
        needed: stacks.need(Device::Crypt(i)),
    });
    luks.collect()
}

/// What leads to the content of `/boot` on the filesystem that it lies on.
fn path_of_boot(plan: &Plan) -> String {
    let (own, root) = (plan.mounted_at("/boot"), plan.mounted_at("/"));
    let below = |m: Option<PlannedMount<'_>>| m.and_then(|m| m.subvolume).map(|s| format!("/{s}")).unwrap_or_default();
    if own.is_some() { below(own) } else { format!("{}/boot", below(root)) }
}

/// The names of the disks in `/dev/disk/by-id`, as the installed system will have them; those with a model tell people more.
fn by_id(plan: &Plan) -> Vec<Option<String>> {
    if plan.disks().iter().all(PlannedDisk::is_file) {
        return vec![None; plan.disks().len()];
    }
    let machine = Inventory::read(Path::new("/"));
    let name = |disk: &PlannedDisk| {
        let path = &disk.facts.path;
        let names = &machine.find_node(node_number(path), &path.to_string_lossy())?.by_id;
        let telling = names.iter().find(|n| !n.starts_with("wwn-") && !n.starts_with("nvme-eui."));
        telling.or_else(|| names.first()).cloned()
    };
    plan.disks().iter().map(|d| if d.is_file() { None } else { name(d) }).collect()
}

/// What the root and /boot stand on.
struct Stacks {
    root: Vec<Device>,
    boot: Vec<Device>,
}

impl Stacks {
    fn of(plan: &Plan) -> Self {
        let below = |m: Option<PlannedMount<'_>>| m.map(|m| plan.foundation(m.filesystem.on)).unwrap_or_default();
        let root = plan.mounted_at("/");
        Self { root: below(root), boot: below(plan.mounted_at("/boot").or(root)) }
    }

    fn need(&self, device: Device) -> Needed {
        Needed { boot: self.boot.contains(&device), root: self.root.contains(&device) }
    }
}

/// The filesystem that firmware reads: the one on a partition of that type, or on a mirror of such.
#[must_use]
pub fn esp(plan: &Plan) -> Option<&PlannedFilesystem> {
    plan.filesystems().iter().find(|f| f.mount.is_some() && !esp_partitions(plan, f.on).is_empty())
}

/// The ESPs that a device is.
fn esp_partitions(plan: &Plan, device: Device) -> Vec<(usize, &PlannedPartition)> {
    let all = match device {
        Device::Array(i) => plan.arrays()[i].members.clone(),
        device => vec![device],
    };
    let partition = |device| match device {
        Device::Partition { disk, partition } => Some((disk, &plan.disks()[disk].partitions[partition])),
        _ => None,
    };
    all.into_iter().filter_map(partition).filter(|(_, p)| p.kind.is("esp")).collect()
}

fn esps(plan: &Plan, target: &Path, mirrors: &[PathBuf], by_id: &[Option<String>]) -> Vec<Esp> {
    let Some((fs, mount)) = esp(plan).and_then(|f| Some((f, f.mount.as_ref()?))) else { return Vec::new() };
    let first = (target.join(&mount.at[1..]), Some(mount.at.clone()));
    let directories = std::iter::once(first).chain(mirrors.iter().map(|m| (m.clone(), None)));
    let places = fs.places().zip(directories);
    let one = |((device, _), (directory, at)): ((Device, &str), (PathBuf, Option<String>))| {
        let (disk, p) = esp_partitions(plan, device).into_iter().next()?;
        let (by_id, disk) = (by_id[disk].clone(), plan.disks()[disk].facts.path.clone());
        Some(Esp { directory, at, partition: p.uuid, number: p.number, disk, by_id })
    };
    places.filter_map(one).collect()
}

fn esp_members(plan: &Plan, target: &Path, by_id: &[Option<String>]) -> Vec<Esp> {
    let Some((fs, mount)) = esp(plan).and_then(|f| Some((f, f.mount.as_ref()?))) else { return Vec::new() };
    let member = |(disk, p): (usize, &PlannedPartition)| Esp {
        directory: target.join(&mount.at[1..]),
        at: Some(mount.at.clone()),
        partition: p.uuid,
        number: p.number,
        disk: plan.disks()[disk].facts.path.clone(),
        by_id: by_id[disk].clone(),
    };
    esp_partitions(plan, fs.on).into_iter().skip(1).map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Disks, Layout, PlanOptions};

    fn planned(document: &str) -> BootFacts {
        let tmp = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..2).map(|n| tmp.path().join(format!("{n}.img"))).collect();
        for path in &paths {
            std::fs::File::create(path).unwrap().set_len(2 << 30).unwrap();
        }
        let text = format!("schema: cv.layout/v1\nname: x\ndisks: {{os: {{count: 2}}}}\n{document}");
        let disks = Disks::from([("os".to_owned(), paths)]);
        let plan = Layout::parse(text.as_bytes(), "x").unwrap().plan(&disks, &PlanOptions::default()).unwrap();
        facts(&plan, plan.boot.as_ref().unwrap(), Path::new("/t"), &[])
    }

    #[test]
    fn the_firmware_starts_from_each_member_of_a_mirrored_esp() {
        let facts = planned(
            "partitions:\n  os/esp: {type: esp, size: 200MiB}\n  os/m: {type: linux-raid, size: rest}\n\
             raid:\n  esp: {level: 1, members: [os/esp], metadata: \"1.0\"}\n  m: {level: 1, members: [os/m]}\n\
             filesystems:\n  esp: {on: raid/esp, type: vfat, mount: {at: /boot/efi}}\n  \
             root: {on: raid/m, type: ext4, mount: {at: /}}\nboot: {loader: grub2, install-on: os}\n",
        );
        assert_eq!((facts.esps.len(), facts.esp_members.len()), (1, 1));
        assert_ne!(facts.esps[0].partition, facts.esp_members[0].partition);
        assert_ne!(facts.esps[0].disk, facts.esp_members[0].disk);
        assert!(facts.check().is_ok());
    }

    #[test]
    fn kernels_are_found_in_subvolumes() {
        let facts = |parts: &str| {
            planned(&format!(
                "partitions:\n  os/core: {{type: bios-boot, size: 1MiB}}\n  os/m: {{type: linux-raid, size: rest}}\n\
                 raid: {{m: {{level: 1, members: [os/m]}}}}\n\
                 filesystems: {{root: {{on: raid/m, type: btrfs, subvolumes: {{{parts}}}}}}}\n\
                 boot: {{loader: grub2, install-on: os, cmdline: [quiet]}}\n"
            ))
        };
        let root = facts("\"@\": {mount: {at: /, options: [compress=zstd]}}");
        assert_eq!((root.boot.path.as_str(), root.root_subvolume.as_deref()), ("/@/boot", Some("@")));
        let own = facts("r/oot: {mount: {at: /}}, boot: {mount: {at: /boot}}");
        assert_eq!((own.boot.path.as_str(), own.root_subvolume.as_deref()), ("/boot", Some("r/oot")));
        assert!(own.check().is_ok());
    }
}
