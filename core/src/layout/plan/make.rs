//! Making a plan: look at the disks, place the partitions, give everything its identity.

use super::{Plan, PlanOptions, PlannedBoot, PlannedDisk, PlannedFilesystem, PlannedPartition};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::device::Facts;
use crate::layout::diagnostic::{Diagnostic, Severity};
use crate::layout::select::{self, Choice};
use crate::layout::solve::{self, DiskSize, Ground, Solved};
use crate::layout::spec::{Firmware, FsType, Spec, Wipe};
use crate::layout::stack::{Object, Stack};
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
        let solved = sizes(spec, &choices, &facts).map_err(|found| layout.error(&placed(layout, found)))?;
        found.extend(solved.warnings.iter().cloned());
        let mut disks = Vec::new();
        for (choice, facts) in choices.iter().zip(facts) {
            disks.extend(place(spec, choice, facts, &solved, &seed, &mut found));
        }
        refuse(layout, &mut found)?;
        let filesystems = filesystems(spec, &disks, &solved, &seed)?;
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

/// What a document can say and a plan of this version does not do.
fn not_yet(spec: &Spec) -> Vec<Diagnostic> {
    let arrays = spec.raid.keys().map(|n| format!("raid.{n}"));
    let encrypted = spec.luks.keys().map(|n| format!("luks.{n}"));
    let groups = spec.lvm.keys().map(|n| format!("lvm.{n}"));
    let several = spec.disks.iter().filter(|(_, d)| d.count.min > 1).map(|(n, _)| format!("disks.{n}.count"));
    let paths = arrays.chain(encrypted).chain(groups).chain(several);
    paths.map(|path| Diagnostic::error("L005", path, "this version of libcv does not plan it yet")).collect()
}

/// The findings with their places in the document.
fn placed(layout: &Layout, mut found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    for d in found.iter_mut().filter(|d| d.line == 0 && !d.path.is_empty()) {
        let place = layout.positions().place(&d.path);
        (d.line, d.column) = (place.line, place.column);
    }
    found
}

/// Ends the planning when something is wrong; warnings stay.
fn refuse(layout: &Layout, found: &mut Vec<Diagnostic>) -> Result<()> {
    *found = placed(layout, std::mem::take(found));
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

/// Where everything lies on the chosen disks.
fn sizes(spec: &Spec, choices: &[Choice], facts: &[Facts]) -> std::result::Result<Solved, Vec<Diagnostic>> {
    let stack = Stack::of(spec).map_err(|circle| {
        let text = circle.iter().map(ToString::to_string).collect::<Vec<_>>().join(" → ");
        let path = circle.first().map_or_else(String::new, Object::path);
        vec![Diagnostic::error("L104", path, format!("{text}: objects depend on each other in a circle"))]
    })?;
    let mut ground = Ground::default();
    for (choice, f) in choices.iter().zip(facts) {
        let name = f.path.display().to_string();
        let disk = DiskSize { name, size: f.size, sector: f.sector, ..DiskSize::default() };
        ground.sets.entry(choice.set.clone()).or_default().push(disk);
    }
    solve::solve(spec, &stack, &ground)
}

fn place(
    spec: &Spec,
    choice: &Choice,
    facts: Facts,
    solved: &Solved,
    seed: &[u8; 16],
    found: &mut Vec<Diagnostic>,
) -> Option<PlannedDisk> {
    let set = &choice.set;
    let placed = solved.disks.get(set)?.get(choice.index)?;
    let parts = spec.partitions.iter().filter(|(k, _)| k.set == *set);
    // Replicas on several disks differ, so the index is part of the path of an identity.
    let identity = |what: &str| token::uuid(seed, &format!("{what}#{}", choice.index));
    let partitions: Vec<PlannedPartition> = parts
        .zip(placed)
        .filter_map(|(part, at)| Some((part, at.as_ref()?)))
        .map(|((key, p), at)| PlannedPartition {
            key: key.clone(),
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

fn filesystems(spec: &Spec, disks: &[PlannedDisk], solved: &Solved, seed: &[u8; 16]) -> Result<Vec<PlannedFilesystem>> {
    let find = |on: &str| {
        let all = disks
            .iter()
            .enumerate()
            .flat_map(|(d, disk)| disk.partitions.iter().enumerate().map(move |(p, x)| (d, p, x)));
        let mut matching = all.filter(|(_, _, x)| x.key.to_string() == on);
        matching.next().map(|(d, p, _)| (d, p))
    };
    let there = spec.filesystems.iter().filter(|(id, _)| !solved.is_dropped(&Object::Filesystem((*id).clone())));
    there
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
