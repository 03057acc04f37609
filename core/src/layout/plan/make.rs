//! Making a plan: look at the disks, place the partitions, give everything its identity.

use super::build::Builder;
use super::{Device, Plan, PlanOptions, PlannedBoot, PlannedDisk, PlannedPartition};
use super::{foreign, recorded};
use crate::error::{Error, Result};
use crate::layout::apply::{Journal, bootloader};
use crate::layout::device::Facts;
use crate::layout::diagnostic::{Diagnostic, Severity};
use crate::layout::gpt::Mbr;
use crate::layout::inventory::{self, Inventory};
use crate::layout::select::{self, Choice, Disks};
use crate::layout::solve::{self, DiskSize, Ground, Solved};
use crate::layout::spec::{Firmware, Spec, Wipe};
use crate::layout::stack::{Object, Stack};
use crate::layout::{Layout, gate, profile, token, unchanged};
use crate::sys::{memory, sysfs};
use crate::units::{ByteSize, human};
use indexmap::IndexMap;

impl Plan {
    /// For the disks of this machine, or for those of the machine that `recorded` is of.
    pub(in crate::layout) fn make(
        layout: &Layout,
        given: &Disks,
        options: &PlanOptions,
        recorded: Option<&Inventory>,
    ) -> Result<Self> {
        let (spec, positions) = (layout.spec(), layout.positions());
        let stack = Stack::of(spec).map_err(|circle| circular(layout, &circle))?;
        let mut found = not_yet(spec);
        refuse(layout, &mut found)?;
        let choices = select::choose(spec, positions, given, recorded).map_err(|found| layout.error(&found))?;
        let mut facts = Vec::new();
        // What speaks against writing only: a plan that changes nothing may be made of disks in use.
        let mut in_use = Vec::new();
        for choice in &choices {
            facts.extend(look(spec, choice, options, recorded, &mut found, &mut in_use)?);
        }
        in_use.extend(foreign::inspect(spec, &choices, &facts, recorded));
        if options.image.is_some() {
            found.append(&mut in_use);
        }
        refuse(layout, &mut found)?;
        let seed = seed(layout, options, &facts, recorded)?;
        let ground = ground(spec, &choices, &facts, options, recorded);
        let solved = match solve::solve(spec, &stack, &ground) {
            Ok(solved) => solved,
            Err(small) => {
                found.append(&mut in_use);
                found.extend(small);
                refuse(layout, &mut found)?;
                return Err(layout.error(&found));
            }
        };
        found.extend(solved.warnings.iter().cloned());
        let disks = place(spec, &choices, facts, &solved, &seed, &mut found);
        let mut plan = Self {
            spec: spec.clone(),
            seed,
            hostname: options.hostname.clone(),
            image: options.image.as_ref().map(|i| i.id),
            disks,
            arrays: Vec::new(),
            crypts: Vec::new(),
            groups: Vec::new(),
            layers: Vec::new(),
            filesystems: Vec::new(),
            boot: None,
            steps: Vec::new(),
            warnings: Vec::new(),
            differences: None,
            recorded: recorded.is_some(),
            token: String::new(),
        };
        Builder::new(&mut plan, &stack, &solved, profile::kernel_of(options.image.as_ref())).build()?;
        if options.image.is_none() && recorded.is_none() {
            unchanged::settle(&mut plan);
        }
        if !plan.is_unchanged() && !in_use.is_empty() {
            found.append(&mut in_use);
            refuse(layout, &mut found).map_err(|e| e.fact("differences", plan.differences()))?;
        }
        plan.boot = boot(&plan, &mut found);
        image_needs(options, &plan, &mut found);
        starts_by_entry(&plan, &mut found);
        refuse(layout, &mut found)?;
        plan.warnings = found;
        plan.steps = if plan.is_unchanged() { Vec::new() } else { plan.make_steps() };
        plan.token = token::token(&plan.described(layout, options));
        Ok(plan)
    }
}

fn circular(layout: &Layout, circle: &[Object]) -> Error {
    let path = circle.iter().map(ToString::to_string).collect::<Vec<_>>().join(" → ");
    let first = circle.first().map(Object::path).unwrap_or_default();
    layout.error(&[Diagnostic::error("L104", first, format!("objects stand on each other in a circle: {path}"))])
}

/// What a document can say and a plan of this version does not do.
fn not_yet(spec: &Spec) -> Vec<Diagnostic> {
    let kept = |preserve: super::super::spec::Preserve, path: String| preserve.keeps().then_some(path);
    let disks = spec.disks.iter().filter_map(|(n, d)| kept(d.preserve, format!("disks.{n}.preserve")));
    let partitions = spec.partitions.iter().filter_map(|(n, p)| kept(p.preserve, format!("partitions.{n}.preserve")));
    let arrays = spec.raid.iter().filter_map(|(n, r)| kept(r.preserve, format!("raid.{n}.preserve")));
    let filesystems =
        spec.filesystems.iter().filter_map(|(n, f)| kept(f.preserve, format!("filesystems.{n}.preserve")));
    let paths = disks.chain(partitions).chain(arrays).chain(filesystems);
    paths.map(|path| Diagnostic::error("L005", path, "this version of libcv does not plan it yet")).collect()
}

/// Ends the planning when something is wrong; warnings stay.
fn refuse(layout: &Layout, found: &mut [Diagnostic]) -> Result<()> {
    for d in found.iter_mut().filter(|d| d.line == 0 && !d.path.is_empty()) {
        *d = d.clone().at(layout.positions().place(&d.path));
    }
    if found.iter().any(|d| d.severity == Severity::Error) { Err(layout.error(found)) } else { Ok(()) }
}

/// Where identities come from: what was given, an interrupted apply, or layout, disks and this boot.
fn seed(layout: &Layout, options: &PlanOptions, facts: &[Facts], recorded: Option<&Inventory>) -> Result<[u8; 16]> {
    let past = options.resume.as_deref().map(Journal::read).transpose()?.map(|j| j.seed());
    match (options.seed, past) {
        (Some(given), Some(past)) if given != past => {
            Err(Error::refused("the seed is not that of the journal").hint("leave the seed out").fact("code", "A411"))
        }
        (given, past) => Ok(past.or(given).unwrap_or_else(|| derive_seed(layout, options, facts, recorded))),
    }
}

fn derive_seed(layout: &Layout, options: &PlanOptions, facts: &[Facts], recorded: Option<&Inventory>) -> [u8; 16] {
    let boot = recorded.map_or_else(inventory::boot, |i| i.machine.boot.clone()).unwrap_or_default();
    let mut parts = vec![boot, layout.to_json(), options.hostname.clone().unwrap_or_default()];
    parts.extend(facts.iter().map(|f| format!("{} {}", f.identity(), f.changed)));
    token::seed(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The facts of a chosen disk, with everything that speaks against it. A disk in use is not even opened where an image
/// is to be put on it.
fn look(
    spec: &Spec,
    choice: &Choice,
    options: &PlanOptions,
    recorded: Option<&Inventory>,
    found: &mut Vec<Diagnostic>,
    in_use: &mut Vec<Diagnostic>,
) -> Result<Option<Facts>> {
    let wanted = spec.disks[&choice.set].sector;
    let path = format!("disks.{}", choice.set);
    if let Some(inventory) = recorded {
        let facts = recorded::facts(inventory, &choice.path)?;
        let (of_writing, of_disk): (Vec<_>, Vec<_>) =
            gate::inspect_recorded(&facts, &path).into_iter().partition(is_of_writing);
        in_use.extend(of_writing);
        found.extend(of_disk);
        against(spec, choice, &facts, found, in_use);
        return Ok(Some(facts));
    }
    if let Some(number) = sysfs::node_number(&choice.path) {
        let against = gate::inspect_device(&choice.path, number, &path);
        let only_used = options.image.is_none() && against.iter().all(is_of_writing);
        // Where the disk cannot even be read, that it is in use says more.
        let stops = || !only_used || std::fs::File::open(&choice.path).is_err();
        if !against.is_empty() && stops() {
            found.extend(against);
            return Ok(None);
        }
    }
    if let Some(sector) = options.sector.filter(|s| !matches!(s, 512 | 4096)) {
        return Err(Error::invalid(format!("a disk has no sectors of {sector} bytes")).hint("512 or 4096"));
    }
    let facts = Facts::look(&choice.path, wanted.or(options.sector))?;
    let (of_writing, of_disk): (Vec<_>, Vec<_>) = gate::inspect(&facts, &path).into_iter().partition(is_of_writing);
    in_use.extend(of_writing);
    found.extend(of_disk);
    against(spec, choice, &facts, found, in_use);
    Ok(Some(facts))
}

/// What the document says against a disk.
fn against(spec: &Spec, choice: &Choice, facts: &Facts, found: &mut Vec<Diagnostic>, in_use: &mut Vec<Diagnostic>) {
    let path = format!("disks.{}", choice.set);
    found.extend(select::never_touched(&spec.policy, facts, &path));
    if let Some(sector) = spec.disks[&choice.set].sector.filter(|s| *s != facts.sector) {
        let (name, has) = (facts.path.display(), facts.sector);
        let text = format!("set {} wants sectors of {sector} bytes, {name} has {has}", choice.set);
        found.push(Diagnostic::error("F216", &path, text));
    }
    let wipe = spec.disks[&choice.set].wipe;
    if !matches!(wipe, Wipe::All | Wipe::Discard | Wipe::Zero) {
        found.extend(two_truths(facts, &path));
    }
    if wipe == Wipe::None && !facts.contents.is_blank() {
        let lost = facts.contents.describe().join("; ");
        let d = Diagnostic::error("F225", &path, format!("wipe is none, and {} carries {lost}", facts.path.display()));
        in_use.push(d.hint("write wipe: signatures when it may be erased"));
    }
}

/// Tables that nobody can be sure of: what lies on the disk, and where, is not known. Erasing signatures could leave some
/// of it, so somebody has to say that all of it may go.
fn two_truths(facts: &Facts, path: &str) -> Option<Diagnostic> {
    let name = facts.path.display();
    let table = &facts.contents.table;
    let d = match table.mbr {
        _ if table.is_broken() => {
            Diagnostic::error("F223", path, format!("both copies of the GPT of {name} are damaged"))
        }
        Mbr::Hybrid => Diagnostic::error("F224", path, format!("{name} has a hybrid MBR: two tables that may differ")),
        _ => return None,
    };
    Some(d.hint("repair it, or write wipe: all when nothing on the disk is needed"))
}

/// Whether a finding matters only where something is written: the disk is in use, or read-only.
fn is_of_writing(d: &Diagnostic) -> bool {
    matches!(d.code, "F204" | "F205" | "F214")
}

/// What there is to put the layout on.
fn ground(
    spec: &Spec,
    choices: &[Choice],
    facts: &[Facts],
    options: &PlanOptions,
    recorded: Option<&Inventory>,
) -> Ground {
    let mut sets: IndexMap<String, Vec<DiskSize>> = spec.disks.keys().map(|set| (set.clone(), Vec::new())).collect();
    for (choice, facts) in choices.iter().zip(facts) {
        let name = facts.path.display().to_string();
        let (size, sector, optimal_io) = (facts.size, facts.sector, facts.optimal_io);
        let size = DiskSize { name, size, sector, optimal_io, kept: Vec::new() };
        sets.entry(choice.set.clone()).or_default().push(size);
    }
    let memory = || recorded.map_or_else(memory::total, |i| Some(i.machine.memory).filter(|m| *m > 0));
    Ground { sets, ram: options.ram.or_else(memory), ..Ground::default() }
}

/// The partitions of each disk, with their identities. Replicas on several disks differ.
fn place(
    spec: &Spec,
    choices: &[Choice],
    facts: Vec<Facts>,
    solved: &Solved,
    seed: &[u8; 16],
    found: &mut Vec<Diagnostic>,
) -> Vec<PlannedDisk> {
    let mut disks = Vec::new();
    for (choice, facts) in choices.iter().zip(facts) {
        let set = &choice.set;
        let identity = |what: &str| token::uuid(seed, &format!("{what}#{}", choice.index));
        let placed = solved.disks.get(set).and_then(|d| d.get(choice.index)).map_or(&[][..], Vec::as_slice);
        let partitions: Vec<PlannedPartition> = spec
            .partitions
            .iter()
            .filter(|(key, _)| key.set == *set)
            .zip(placed)
            .filter_map(|((key, p), at)| {
                let at = (*at)?;
                Some(PlannedPartition {
                    key: key.clone(),
                    number: at.number,
                    kind: p.kind,
                    name: p.name.clone().unwrap_or_else(|| key.name.clone()),
                    // A UUID of the document is for one disk; on others it would be there twice.
                    uuid: p
                        .uuid
                        .filter(|_| choice.index == 0)
                        .unwrap_or_else(|| identity(&format!("partitions.{key}"))),
                    start: at.start,
                    length: at.length,
                    attributes: p.attrs.iter().fold(0, |bits, a| bits | a.bit()),
                })
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
        let wipe = spec.disks[set].wipe;
        disks.push(PlannedDisk { set: set.clone(), index: choice.index, wipe, facts, guid, partitions });
    }
    disks
}

fn boot(plan: &Plan, found: &mut Vec<Diagnostic>) -> Option<PlannedBoot> {
    let spec = &plan.spec;
    let boot = spec.boot.as_ref()?;
    let at = |path: &str| plan.filesystems.iter().position(|f| f.is_mounted_at(path));
    let Some(root) = at("/") else {
        let text = "no filesystem is mounted at /: no boot loader is installed";
        found.push(Diagnostic::warning("F232", "boot", text).hint("policy.no-root says that it is meant"));
        return None;
    };
    let disks: Vec<usize> = (0..plan.disks.len()).filter(|d| plan.disks[*d].set == boot.install_on).collect();
    let planned = PlannedBoot {
        firmwares: firmwares(plan, &disks),
        disks,
        loader: boot.loader,
        root,
        boot: at("/boot").unwrap_or(root),
        words: boot.cmdline.clone(),
        secure_boot: boot.secure_boot,
        removable_fallback: boot.removable_fallback,
        nvram: boot.nvram,
    };
    if planned.firmwares.contains(&Firmware::Uefi) && bootloader::planned::esp(plan).is_none() {
        let text = format!(
            "UEFI needs a vfat filesystem that is mounted, on the \"esp\" partition of set {}",
            boot.install_on
        );
        let d = Diagnostic::error("L120", "boot.install-on", text);
        found.push(d.hint("mount it, as in mount: {at: /boot/efi}, or say what it is for: firmware: [bios]"));
    }
    if planned.firmwares.contains(&Firmware::Bios) {
        bios_reads(plan, &planned, found);
    }
    Some(planned)
}

/// What the document wants, or all that the partitions allow.
fn firmwares(plan: &Plan, disks: &[usize]) -> Vec<Firmware> {
    if !plan.spec.firmware.is_empty() {
        return plan.spec.firmware.clone();
    }
    let has = |kind: &str| disks.iter().all(|d| plan.disks[*d].partitions.iter().any(|p| p.kind.is(kind)));
    let all = [(Firmware::Bios, "bios-boot"), (Firmware::Uefi, "esp")];
    all.into_iter().filter(|(_, kind)| has(kind)).map(|(firmware, _)| firmware).collect()
}

/// Whether the disks are such that a BIOS can start from them.
fn bios_reads(plan: &Plan, boot: &PlannedBoot, found: &mut Vec<Diagnostic>) {
    let disks = || boot.disks.iter().map(|d| &plan.disks[*d]);
    for disk in disks().filter(|d| d.facts.sector != 512) {
        let name = disk.facts.path.display();
        let text = format!("BIOS cannot start from {name}: its sectors have {} bytes", disk.facts.sector);
        found.push(Diagnostic::error("F217", "boot.install-on", text));
    }
    let kernel = plan.foundation(plan.filesystems[boot.boot].on);
    let kernel = kernel.iter().filter_map(|d| match d {
        Device::Partition { disk, partition } => Some(&plan.disks[*disk].partitions[*partition]),
        _ => None,
    });
    let core = disks().flat_map(|d| d.partitions.iter().filter(|p| p.kind.is("bios-boot")));
    for p in core.chain(kernel) {
        let end = p.start + p.length;
        if end > 2 << 40 {
            let text = format!("{} must lie below 2 TiB on BIOS machines: it ends at {}", p.key, human(end));
            found.push(Diagnostic::error("F213", format!("partitions.{}", p.key), text));
        }
    }
}

/// An image file has no firmware that could have an entry.
fn starts_by_entry(plan: &Plan, found: &mut Vec<Diagnostic>) {
    let Some(boot) = plan.boot.as_ref().filter(|b| b.firmwares.contains(&Firmware::Uefi)) else { return };
    if !boot.removable_fallback && boot.disks.iter().any(|d| plan.disks[*d].is_file()) {
        let text = "an image file starts with UEFI by the fallback path only, and it gets none";
        let d = Diagnostic::warning("F233", "boot.removable-fallback", text);
        found.push(d.hint("make an entry in the firmware that gets the disk, or leave removable-fallback"));
    }
}

/// What the image says it needs.
fn image_needs(options: &PlanOptions, plan: &Plan, found: &mut Vec<Diagnostic>) {
    let Some(needs) = options.image.as_ref().and_then(|i| i.facts.as_ref()).and_then(|f| f["needs"]["rootfs"].as_str())
    else {
        return;
    };
    let Ok(needs) = needs.parse::<ByteSize>() else { return };
    if let Some(root) = plan.mounted_at("/").map(|m| m.filesystem) {
        let has = plan.glance(root.on).size;
        if has < needs.bytes() {
            let text = format!("the image needs {} in /, the layout gives {}", human(needs.bytes()), human(has));
            found.push(Diagnostic::error("I301", format!("filesystems.{}", root.id), text));
        }
    }
}
