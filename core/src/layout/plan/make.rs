//! Making a plan: look at the disks, place the partitions, give everything its identity.

use super::{Plan, PlanOptions, PlannedBoot, PlannedDisk, PlannedFilesystem, PlannedPartition};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::device::Facts;
use crate::layout::diagnostic::{Diagnostic, Severity};
use crate::layout::select::{self, Choice};
use crate::layout::size::Size;
use crate::layout::solve::{self, Wanted};
use crate::layout::spec::{Firmware, FsType, Loader, Side, Spec, Wipe};
use crate::layout::{Layout, gate, token};
use crate::sys::sysfs;
use crate::units::{ByteSize, human};
use std::collections::BTreeMap;
use std::path::PathBuf;

impl Plan {
    pub(in crate::layout) fn make(
        layout: &Layout,
        given: &BTreeMap<String, PathBuf>,
        options: &PlanOptions,
    ) -> Result<Self> {
        let (spec, positions) = (layout.spec(), layout.positions());
        let mut found = not_yet(spec);
        refuse(layout, &mut found)?;
        let choices = select::choose(spec, positions, given).map_err(|found| layout.error(&found))?;
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
            image: options.image.as_ref().map(|i| i.id),
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
}

/// What a document can say and a plan of this version does not do. Above all nothing that would be kept is planned over.
fn not_yet(spec: &Spec) -> Vec<Diagnostic> {
    let mut paths: Vec<String> = Vec::new();
    paths.extend(spec.raid.keys().map(|n| format!("raid.{n}")));
    paths.extend(spec.luks.keys().map(|n| format!("luks.{n}")));
    paths.extend(spec.lvm.keys().map(|n| format!("lvm.{n}")));
    for (name, set) in &spec.disks {
        paths.extend((set.count.min > 1).then(|| format!("disks.{name}.count")));
        paths.extend(set.preserve.keeps().then(|| format!("disks.{name}.preserve")));
        paths.extend((set.wipe == Wipe::Zero).then(|| format!("disks.{name}.wipe")));
    }
    for (key, p) in &spec.partitions {
        paths.extend(p.preserve.keeps().then(|| format!("partitions.{key}.preserve")));
        paths.extend(matches!(p.size, Size::Of { .. }).then(|| format!("partitions.{key}.size")));
        paths.extend(p.start.is_some().then(|| format!("partitions.{key}.start")));
        paths.extend((p.at == Side::End).then(|| format!("partitions.{key}.at")));
        paths.extend(p.leave_free.is_some().then(|| format!("partitions.{key}.leave-free")));
    }
    for (id, fs) in &spec.filesystems {
        paths.extend(fs.preserve.keeps().then(|| format!("filesystems.{id}.preserve")));
        paths.extend(fs.mirror.is_some().then(|| format!("filesystems.{id}.mirror")));
        paths.extend((!fs.subvolumes.is_empty()).then(|| format!("filesystems.{id}.subvolumes")));
    }
    paths.extend((!spec.policy.never_touch.is_empty()).then(|| "policy.never-touch".to_owned()));
    if let Some(boot) = &spec.boot {
        paths.extend(spec.firmware.contains(&Firmware::Uefi).then(|| "firmware".to_owned()));
        paths.extend((boot.loader != Loader::Grub2).then(|| "boot.loader".to_owned()));
        let bios_boot = spec.partitions.iter().any(|(k, p)| k.set == boot.install_on && p.kind.is("bios-boot"));
        paths.extend((!bios_boot).then(|| "boot.install-on".to_owned()));
        paths.extend(spec.policy.no_root.then(|| "policy.no-root".to_owned()));
    }
    let refused = |path| Diagnostic::error("L005", path, "this version of libcv does not plan it yet");
    paths.into_iter().map(refused).collect()
}

/// Ends the planning when something is wrong; warnings stay.
fn refuse(layout: &Layout, found: &mut [Diagnostic]) -> Result<()> {
    for d in found.iter_mut().filter(|d| d.line == 0 && !d.path.is_empty()) {
        *d = d.clone().at(layout.positions().place(&d.path));
    }
    if found.iter().any(|d| d.severity == Severity::Error) { Err(layout.error(found)) } else { Ok(()) }
}

fn derive_seed(layout: &Layout, options: &PlanOptions, facts: &[Facts]) -> [u8; 16] {
    let mut parts = vec![layout.to_json(), options.hostname.clone().unwrap_or_default()];
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
    if let Some(sector) = options.sector.filter(|s| !matches!(s, 512 | 4096)) {
        return Err(Error::invalid(format!("a disk has no sectors of {sector} bytes")).hint("512 or 4096"));
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
            let filesystem = spec.filesystems.values().find(|f| f.on.to_string() == on).map(|f| f.kind);
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
            let (disk, partition) = find(&fs.on.to_string())
                .ok_or_else(|| Error::new(ErrorKind::Bug, format!("no partition {}", fs.on)))?;
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
    let Some(needs) = options.image.as_ref().and_then(|i| i.facts.as_ref()).and_then(|f| f["needs"]["rootfs"].as_str())
    else {
        return;
    };
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
