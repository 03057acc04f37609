//! Making a plan: look at the disks, place the partitions, give everything its identity.

use super::build::Builder;
use super::{Device, Plan, PlanOptions, PlannedBoot, PlannedDisk, PlannedPartition};
use super::{foreign, recorded, torn};
use crate::error::{Error, Result};
use crate::layout::apply::{Journal, bootloader};
use crate::layout::device::Facts;
use crate::layout::diagnostic::{Diagnostic, Severity};
use crate::layout::gpt::Mbr;
use crate::layout::inventory::{self, Inventory};
use crate::layout::keep::{self, Kept};
use crate::layout::observed::{Given, Observed};
use crate::layout::select::{self, Choice, Disks, InUse};
use crate::layout::solve::{self, DiskSize, Ground, Solved};
use crate::layout::spec::{Firmware, Preserve, Spec, Wipe};
use crate::layout::stack::{Object, Stack};
use crate::layout::{Layout, gate, gpt, profile, teardown, token, unchanged};
use crate::sys::sysfs::Kernel;
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
        let choose = |in_use| select::choose(layout.spec(), layout.positions(), given, recorded, in_use);
        let refused = match choose(InUse::Refused) {
            Ok(choices) => return Self::of_choices(layout, &choices, options, recorded),
            Err(found) => layout.error(&found),
        };
        // On the system that runs from them the disks that the rules mean are in use. They are as they should be, or refused.
        if options.image.is_none()
            && options.resume.is_none()
            && recorded.is_none()
            && let Ok(choices) = choose(InUse::Allowed)
            && let Ok(plan) = Self::of_choices(layout, &choices, options, None)
            && plan.is_unchanged()
        {
            return Ok(plan);
        }
        Err(refused)
    }

    /// For the disks that were chosen.
    fn of_choices(
        layout: &Layout,
        choices: &[Choice],
        options: &PlanOptions,
        recorded: Option<&Inventory>,
    ) -> Result<Self> {
        let spec = layout.spec();
        let stack = Stack::of(spec).map_err(|circle| circular(layout, &circle))?;
        let mut found = Vec::new();
        let mut facts = Vec::new();
        // What speaks against writing only: a plan that changes nothing may be made of disks in use.
        let mut in_use = Vec::new();
        // In use only by what stands on them, which may be stopped: whether it is is known when the plan is.
        let mut held = Vec::new();
        for choice in choices {
            facts.extend(look(spec, choice, options, recorded, &mut found, &mut in_use, &mut held)?);
        }
        in_use.extend(foreign::inspect(spec, choices, &facts, recorded));
        if options.image.is_some() {
            found.append(&mut in_use);
        }
        refuse(layout, &mut found)?;
        let past = options.resume.as_deref().map(Journal::read).transpose()?;
        let seed = seed(layout, options, &facts, recorded, past.as_ref())?;
        let kept = match recorded {
            None => what_stays(spec, &stack, choices, &facts, past.as_ref(), &mut found)?,
            Some(_) => {
                found.extend(recorded::keeps(spec, choices, &facts));
                Kept::default()
            }
        };
        if !found.is_empty() {
            found.append(&mut in_use);
        }
        refuse(layout, &mut found)?;
        found.extend(kept.warnings.iter().cloned());
        let ground = ground(spec, choices, &facts, &kept, options, recorded);
        let solved = match solve::solve(spec, &stack, &ground) {
            Ok(solved) => solved,
            Err(small) => {
                found.append(&mut in_use);
                found.append(&mut held);
                found.extend(small);
                refuse(layout, &mut found)?;
                return Err(layout.error(&found));
            }
        };
        found.extend(solved.warnings.iter().cloned());
        let disks = place(spec, choices, facts, &solved, &kept, &seed, &mut found);
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
            stopped: Vec::new(),
            warnings: Vec::new(),
            unfinished: kept.unfinished.clone(),
            differences: None,
            recorded: recorded.is_some(),
            token: String::new(),
        };
        let kernel = profile::kernel_of(options.image.as_ref());
        Builder::new(&mut plan, &stack, &solved, &kept, kernel).build()?;
        if options.image.is_none() && recorded.is_none() {
            unchanged::settle(&mut plan);
        }
        plan.check_kept(options.image.is_some(), &mut found, &mut in_use);
        in_use.extend(torn::inspect(&plan, &kept.observed));
        if !plan.is_unchanged() {
            plan.stop_holders(&Kernel::default(), held, &mut in_use, &mut found);
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

/// Ends the planning when something is wrong; warnings stay.
fn refuse(layout: &Layout, found: &mut [Diagnostic]) -> Result<()> {
    for d in found.iter_mut().filter(|d| d.line == 0 && !d.path.is_empty()) {
        *d = d.clone().at(layout.positions().place(&d.path));
    }
    if found.iter().any(|d| d.severity == Severity::Error) { Err(layout.error(found)) } else { Ok(()) }
}

/// Where identities come from: what was given, an interrupted apply, or layout, disks and this boot.
fn seed(
    layout: &Layout,
    options: &PlanOptions,
    facts: &[Facts],
    recorded: Option<&Inventory>,
    past: Option<&Journal>,
) -> Result<[u8; 16]> {
    match (options.seed, past.map(Journal::seed)) {
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
    held: &mut Vec<Diagnostic>,
) -> Result<Option<Facts>> {
    let set = &spec.disks[&choice.set];
    let wanted = set.sector;
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
    let mut is_held = false;
    if let Some(number) = sysfs::node_number(&choice.path) {
        is_held = teardown::is_only_held(&Kernel::default(), number);
        let against = gate::inspect_device(&choice.path, number, &path);
        let only_used = (options.image.is_none() || is_held) && against.iter().all(is_of_writing);
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
    let facts = if is_held { facts.held() } else { facts };
    let (of_writing, of_disk): (Vec<_>, Vec<_>) = gate::inspect(&facts, &path).into_iter().partition(is_of_writing);
    let may_stop = is_held && (set.preserve.keeps() || teardown::is_allowed(set.wipe, &facts));
    let (by_holders, others): (Vec<_>, Vec<_>) = of_writing.into_iter().partition(|d| may_stop && d.code == "F204");
    held.extend(by_holders);
    in_use.extend(others);
    found.extend(of_disk);
    against(spec, choice, &facts, found, in_use);
    Ok(Some(facts))
}

/// What the document says against a disk.
fn against(spec: &Spec, choice: &Choice, facts: &Facts, found: &mut Vec<Diagnostic>, in_use: &mut Vec<Diagnostic>) {
    let (set, path) = (&spec.disks[&choice.set], format!("disks.{}", choice.set));
    found.extend(select::never_touched(&spec.policy, facts, &path));
    if let Some(sector) = set.sector.filter(|s| *s != facts.sector) {
        let (name, has) = (facts.path.display(), facts.sector);
        let text = format!("set {} wants sectors of {sector} bytes, {name} has {has}", choice.set);
        found.push(Diagnostic::error("F216", &path, text));
    }
    if !matches!(set.wipe, Wipe::All | Wipe::Discard | Wipe::Zero) {
        found.extend(two_truths(facts, &path));
    }
    if set.wipe == Wipe::None && !set.preserve.keeps() && !facts.contents.is_blank() {
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

/// What of the layout is there already and stays.
fn what_stays(
    spec: &Spec,
    stack: &Stack,
    choices: &[Choice],
    facts: &[Facts],
    past: Option<&Journal>,
    found: &mut Vec<Diagnostic>,
) -> Result<Kept> {
    if !keep::is_wanted(spec) {
        return Ok(Kept::default());
    }
    let keeping = |set: &str| spec.disks.get(set).is_some_and(|d| d.preserve.keeps());
    let disks = choices.iter().zip(facts).filter(|(c, _)| keeping(&c.set));
    found.extend(disks.filter_map(|(choice, facts)| no_table(&choice.set, facts)));
    if !found.is_empty() {
        return Ok(Kept::default());
    }
    let given: Vec<Given> = facts.iter().map(|f| Given { path: f.path.clone(), sector: Some(f.sector) }).collect();
    let member = |(choice, facts): (&Choice, &Facts)| keep::Member {
        set: choice.set.clone(),
        index: choice.index,
        name: facts.path.display().to_string(),
    };
    let members: Vec<keep::Member> = choices.iter().zip(facts).map(member).collect();
    let then = past.map(|p| &p.header().kept);
    let kept = match keep::find(spec, stack, &members, Observed::of_disks(&given, None)?, then) {
        Ok(kept) => kept,
        Err(findings) => {
            found.extend(findings);
            return Ok(Kept::default());
        }
    };
    for (disk, member) in members.iter().enumerate().filter(|(_, m)| keeping(&m.set)) {
        if spec.disks[&member.set].preserve == Preserve::Require && !kept.is_on(disk) {
            let (path, text) =
                (format!("disks.{}", member.set), format!("{} carries nothing that is kept", member.name));
            let hint = match &kept.warnings.iter().find(|d| d.code == "F241") {
                Some(left) => left.hint.clone().unwrap_or_default(),
                None => "name the disk that does, or write preserve: if-exists".to_owned(),
            };
            found.push(Diagnostic::error("F226", path, text).hint(hint));
        }
    }
    Ok(kept)
}

/// A disk on which nothing can be found although something may be there.
fn no_table(set: &str, facts: &Facts) -> Option<Diagnostic> {
    let (table, path) = (&facts.contents.table, format!("disks.{set}"));
    let name = facts.path.display();
    let is_damaged = [&table.primary, &table.backup].iter().any(|t| !matches!(t, Ok(_) | Err(gpt::Fault::Absent)));
    let d = match table.mbr {
        _ if table.table().is_some() => return None,
        gpt::Mbr::Partitions => {
            let text =
                format!("set {set} keeps what is there, and {name} has an MBR partition table, which is only wiped");
            Diagnostic::error("F224", path, text)
        }
        gpt::Mbr::None if !is_damaged => {
            // Nothing of it is looked for on a whole disk: it would be erased as something unknown.
            let (_, _, first) = facts.contents.signatures.first()?;
            let text = format!("set {set} keeps what is there, and {name} carries {first} without a partition table");
            Diagnostic::error("F228", path, text)
        }
        _ => {
            let text = format!("set {set} keeps what is there, and both copies of the GPT of {name} are damaged");
            Diagnostic::error("F223", path, text)
        }
    };
    Some(d.hint(format!("repair it, or when nobody needs it: wipefs --all {name}")))
}

/// What there is to put the layout on.
fn ground(
    spec: &Spec,
    choices: &[Choice],
    facts: &[Facts],
    kept: &Kept,
    options: &PlanOptions,
    recorded: Option<&Inventory>,
) -> Ground {
    let mut sets: IndexMap<String, Vec<DiskSize>> = spec.disks.keys().map(|set| (set.clone(), Vec::new())).collect();
    for (index, (choice, facts)) in choices.iter().zip(facts).enumerate() {
        let name = facts.path.display().to_string();
        let (size, sector, optimal_io) = (facts.size, facts.sector, facts.optimal_io);
        let size = DiskSize { name, size, sector, optimal_io, kept: kept.ground(index) };
        sets.entry(choice.set.clone()).or_default().push(size);
    }
    let memory = || recorded.map_or_else(memory::total, |i| Some(i.machine.memory).filter(|m| *m > 0));
    Ground { sets, ram: options.ram.or_else(memory), kept: kept.devices() }
}

/// The partitions of each disk, with their identities. Replicas on several disks differ.
fn place(
    spec: &Spec,
    choices: &[Choice],
    facts: Vec<Facts>,
    solved: &Solved,
    kept: &Kept,
    seed: &[u8; 16],
    found: &mut Vec<Diagnostic>,
) -> Vec<PlannedDisk> {
    let mut disks = Vec::new();
    for (place, (choice, facts)) in choices.iter().zip(facts).enumerate() {
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
                if let Some(is) = kept.partitions.get(place).and_then(|p| p.get(key)).filter(|_| at.kept) {
                    return Some(PlannedPartition {
                        key: key.clone(),
                        number: is.number,
                        kind: is.kind,
                        name: is.name.clone(),
                        uuid: is.uuid,
                        start: is.start,
                        length: is.length,
                        attributes: is.attributes,
                        kept: true,
                    });
                }
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
                    kept: false,
                })
            })
            .collect();
        for p in partitions.iter().filter(|p| p.kind.is("esp") && !p.kept) {
            let least = if facts.sector == 4096 { 260u64 << 20 } else { 100 << 20 };
            if p.length < least {
                let text = format!("esp is {}: at least {} on this disk", human(p.length), human(least));
                found.push(Diagnostic::error("L122", format!("partitions.{}.size", p.key), text));
            }
        }
        let table = kept.observed.disks.get(place).and_then(|d| d.table.as_ref()).filter(|_| kept.is_on(place));
        let guid = table.map_or_else(|| identity(&format!("disks.{set}")), |t| t.guid);
        let others = kept.others.get(place).cloned().unwrap_or_default();
        let wipe = spec.disks[set].wipe;
        disks.push(PlannedDisk { set: set.clone(), index: choice.index, wipe, facts, guid, partitions, others });
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
