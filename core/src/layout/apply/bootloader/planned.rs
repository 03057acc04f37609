//! What a plan says of its disks, for the boot loader.

use super::facts::{Array, BootFacts, BootPlace, Esp, Luks, Needed, UefiLoader, Unlock, Volume};
use crate::layout::plan::{Device, Plan, PlannedBoot, PlannedFilesystem};
use crate::layout::spec::{Key, Loader};
use crate::layout::token;
use std::path::{Path, PathBuf};

/// The facts of a plan whose root is mounted at `target`, and the further ESPs at `mirrors`, in the order of the plan.
#[must_use]
pub fn facts(plan: &Plan, planned: &PlannedBoot, target: &Path, mirrors: &[PathBuf]) -> BootFacts {
    let (root, boot) = (&plan.filesystems()[planned.root], &plan.filesystems()[planned.boot]);
    let own = boot.mount.as_ref().is_some_and(|m| m.at == "/boot");
    let stacks = Stacks { root: plan.foundation(root.on), boot: plan.foundation(boot.on) };
    let arrays = plan.arrays().iter().enumerate().map(|(i, a)| Array {
        name: a.name.clone(),
        uuid: a.uuid,
        metadata: a.metadata.name().to_owned(),
        level: u8::try_from(a.level.number()).unwrap_or(u8::MAX),
        needed: stacks.need(Device::Array(i)),
    });
    let luks = plan.crypts().iter().enumerate().map(|(i, c)| Luks {
        name: c.name(),
        uuid: c.uuid,
        version: 2,
        unlock: if c.keys.iter().any(|k| matches!(k, Key::Tpm2 { .. })) { Unlock::Tpm2 } else { Unlock::Ask },
        needed: stacks.need(Device::Crypt(i)),
    });
    let groups = plan.groups().iter().enumerate();
    let volumes = groups.flat_map(|(group, g)| {
        g.volumes.iter().enumerate().map(move |(volume, v)| (Device::Volume { group, volume }, g, v))
    });
    let volumes = volumes.map(|(device, g, v)| Volume {
        group: g.name.clone(),
        name: v.name.clone(),
        needed: stacks.need(device),
    });
    BootFacts {
        firmwares: planned.firmwares.clone(),
        loader: match planned.loader {
            Loader::Grub2 => UefiLoader::Grub,
            Loader::SystemdBoot => UefiLoader::SystemdBoot,
        },
        root: plan.root_source(root),
        root_uuid: root.uuid.clone(),
        words: planned.words.clone(),
        boot: BootPlace {
            uuid: boot.uuid.clone(),
            kind: boot.kind,
            path: if own { String::new() } else { "/boot".to_owned() },
        },
        arrays: arrays.collect(),
        luks: luks.collect(),
        volumes: volumes.filter(|v| v.needed.boot || v.needed.root).collect(),
        resume: None,
        esps: esps(plan, target, mirrors),
        machine_id: token::uuid(&plan.seed, "machine-id").simple().to_string(),
    }
}

/// What the root and /boot stand on.
struct Stacks {
    root: Vec<Device>,
    boot: Vec<Device>,
}

impl Stacks {
    fn need(&self, device: Device) -> Needed {
        Needed { boot: self.boot.contains(&device), root: self.root.contains(&device) }
    }
}

/// The filesystem that firmware reads: the one on a partition of that type.
#[must_use]
pub fn esp(plan: &Plan) -> Option<&PlannedFilesystem> {
    plan.filesystems()
        .iter()
        .find(|f| f.mount.is_some() && partition(plan, f.on).is_some_and(|(_, p)| p.kind.is("esp")))
}

fn partition(plan: &Plan, device: Device) -> Option<(usize, &crate::layout::plan::PlannedPartition)> {
    match device {
        Device::Partition { disk, partition } => Some((disk, &plan.disks()[disk].partitions[partition])),
        _ => None,
    }
}

fn esps(plan: &Plan, target: &Path, mirrors: &[PathBuf]) -> Vec<Esp> {
    let Some((fs, mount)) = esp(plan).and_then(|f| Some((f, f.mount.as_ref()?))) else { return Vec::new() };
    let first = (target.join(&mount.at[1..]), Some(mount.at.clone()));
    let directories = std::iter::once(first).chain(mirrors.iter().map(|m| (m.clone(), None)));
    let places = fs.places().zip(directories);
    places
        .filter_map(|((device, _), (directory, at))| {
            let (disk, p) = partition(plan, device)?;
            let disk = plan.disks()[disk].facts.path.clone();
            Some(Esp { directory, at, partition: p.uuid, number: p.number, disk })
        })
        .collect()
}
