//! What is said where something does not fit, or was left out so that the rest does.

use super::range::{self, ALIGN, backup_bytes};
use super::share::Claim;
use super::{DiskSize, Problem, Short};
use crate::layout::diagnostic::{DIAGNOSTIC_LIMIT, Diagnostic};
use crate::layout::size::{Base, Size};
use crate::layout::spec::PartitionKey;
use crate::layout::stack::Object;
use crate::units::human;

/// More volumes than this are not listed.
const LISTED: usize = 16;

impl Problem<'_> {
    /// What speaks against it before anything is reckoned.
    pub(super) fn check(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for (name, set) in &self.spec.disks {
            let disks = self.disks(name);
            let path = format!("disks.{name}");
            if disks.is_empty() && !set.optional {
                found.push(Diagnostic::error("F201", &path, format!("disk set {name} has no disk")));
            }
            if let Some(allowed) = set.require.size_spread {
                found.extend(spread(name, disks, allowed.number()));
            }
            for disk in disks {
                found.extend(self.numbers_taken(name, disk));
            }
        }
        for (name, raid) in self.spec.raid.iter().filter(|(n, _)| !self.ground.kept.arrays.contains_key(*n)) {
            let below = self.stack.below(&Object::Raid(name.clone()));
            let all: u64 = below.iter().map(|o| self.replicas(o)).sum();
            let members = all.saturating_sub(raid.spares.into());
            let least = u64::from(raid.level.least_members());
            // Without any disk it is left out, or its set was reported.
            if all > 0 && members < least {
                let text = format!("raid level {} needs at least {least} members, here it has {members}", raid.level);
                found.push(Diagnostic::error("L130", format!("raid.{name}.members"), text));
            }
        }
        found.extend(self.stripes());
        found.extend(self.memory_wanted());
        found.truncate(DIAGNOSTIC_LIMIT);
        found
    }

    /// Volumes that are striped over more devices than their group has.
    fn stripes(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for (name, group) in self.spec.lvm.iter().filter(|(n, _)| !self.ground.kept.groups.contains_key(*n)) {
            let below = self.stack.below(&Object::Group(name.clone()));
            let devices: u64 = below.iter().map(|o| self.replicas(o)).sum();
            for (volume, v) in &group.lvs {
                let Some(stripes) = v.stripes.filter(|s| devices > 0 && u64::from(*s) > devices) else { continue };
                let text = format!("striped over {stripes} devices, the group has {devices}");
                found.push(Diagnostic::error("L130", format!("lvm.{name}.lvs.{volume}.stripes"), text));
            }
        }
        found
    }

    fn memory_wanted(&self) -> Option<Diagnostic> {
        let mut partitions = self.spec.partitions.iter().filter(|(_, p)| of_ram(&p.size));
        let volumes = self.spec.lvm.iter().flat_map(|(g, group)| {
            group.lvs.iter().filter(|(_, v)| v.size.as_ref().is_some_and(of_ram)).map(move |(v, _)| (g, v))
        });
        let first = partitions.next().map(|(key, _)| format!("partitions.{key}.size"));
        let first = first.or_else(|| volumes.map(|(g, v)| format!("lvm.{g}.lvs.{v}.size")).next());
        let path = first.filter(|_| self.ground.ram.is_none())?;
        let d = Diagnostic::error("F218", path, "a share of the memory is wanted, and how much there is is not known");
        Some(d.hint("say how much memory the machine has, or give the size itself"))
    }

    /// A kept partition that the document does not have may have the number of one that is made.
    fn numbers_taken(&self, set: &str, disk: &DiskSize) -> Vec<Diagnostic> {
        let own = self.spec.partitions.iter().filter(|(key, _)| key.set == set);
        let wanted = own.filter_map(|(key, p)| Some((key, p.number?)));
        let clash = |key: &PartitionKey, n: u32| {
            let kept = disk.kept.iter().any(|k| k.key.as_ref() == Some(key));
            !kept && disk.kept.iter().any(|k| k.number == n)
        };
        let clashes = wanted.filter(|(key, n)| clash(key, *n));
        let report = |(key, n): (&PartitionKey, u32)| {
            let text = format!("partition number {n} of {} belongs to one that is kept", disk.name);
            Diagnostic::error("F221", format!("partitions.{key}.number"), text).hint("take another number, or none")
        };
        clashes.map(report).collect()
    }

    fn claim_text(&self, name: &str, claim: &Claim, whole: u64, unit: u64) -> String {
        let sign = if claim.weight > 0 { "≥ " } else { "" };
        format!("{name} {sign}{}", human(claim.at(whole).saturating_mul(unit)))
    }

    /// The volumes that stand on an object, over whatever lies between, with what each needs.
    fn carried(&self, object: &Object, need: &dyn Fn(&Object) -> u64, list: &mut Vec<String>) {
        for above in self.stack.above(object).iter().filter(|o| !self.gone.contains(*o)) {
            match above {
                Object::Group(name) => {
                    let Some(group) = self.spec.lvm.get(name) else { continue };
                    let wishes = self.wishes(name, group, need);
                    let extent = self.extent(name, group);
                    for (volume, claim) in self.made_volumes(name, group).zip(&wishes.claims) {
                        list.push(self.claim_text(volume, claim, 0, extent));
                    }
                    list.extend(group.reserve.map(|p| format!("reserve {p}")));
                }
                Object::Raid(_) | Object::Luks(_) => self.carried(above, need, list),
                Object::Filesystem(name) => {
                    let fs = self.spec.filesystems.get(name);
                    list.extend(fs.map(|f| format!("{name} ≥ {}", human(f.kind.minimum()))));
                }
                Object::Partition(_) | Object::Volume(..) => {}
            }
        }
    }

    fn carried_text(&self, object: &Object) -> Option<String> {
        let needs = self.needs();
        let mut list = Vec::new();
        self.carried(object, &|o| needs.of(o), &mut list);
        if let Object::Group(name) = object
            && let Some(group) = self.spec.lvm.get(name)
        {
            let (wishes, extent) = (self.wishes(name, group, |o| needs.of(o)), self.extent(name, group));
            let volumes = self.made_volumes(name, group).zip(&wishes.claims);
            list.extend(volumes.map(|(volume, claim)| self.claim_text(volume, claim, 0, extent)));
            list.extend(group.reserve.map(|p| format!("reserve {p}")));
        }
        let more = list.len().saturating_sub(LISTED);
        list.truncate(LISTED);
        if more > 0 {
            list.push(format!("{more} more"));
        }
        (!list.is_empty()).then(|| list.join(", "))
    }

    /// Who needs how much of a disk.
    fn table(&self, set: &str, disk: usize) -> String {
        let needs = self.needs();
        let set = self.set(set, |o| needs.of(o));
        let whole = set.disks.get(disk).map_or(0, |d| set.capacity(d));
        let there = set.wishes.iter().filter(|w| !w.gone);
        let lines = there.map(|w| {
            let object = Object::Partition(w.key.clone());
            let text = self.claim_text(&w.key.name, &w.claim, whole, set.unit);
            let with_group = self.stack.burden(&object).iter().any(|o| matches!(o, Object::Group(_)));
            match self.carried_text(&object).filter(|_| with_group) {
                Some(carried) => format!("{text} ({carried})"),
                None => text,
            }
        });
        lines.collect::<Vec<_>>().join(", ")
    }

    /// The size that a disk must have at least, to the sector, in bytes.
    fn least_disk(&self, name: &str, index: usize) -> Option<u64> {
        let needs = self.needs();
        let set = self.set(name, |o| needs.of(o));
        let disk = set.disks.get(index)?;
        let fits = |mib: u64| {
            let disks = [DiskSize { size: with_backup(mib, disk.sector)?, ..disk.clone() }];
            Some(super::fit::Set { disks: &disks, ..set.clone() }.fit().is_ok())
        };
        let mut low = range::usable(disk.size, disk.sector).1 / ALIGN;
        let mut high = low.max(1);
        while !fits(high)? {
            low = high + 1;
            high = high.checked_mul(2)?;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if fits(middle)? { high = middle } else { low = middle + 1 }
        }
        with_backup(low, disk.sector)
    }
}

fn of_ram(size: &Size) -> bool {
    matches!(size, Size::Of { base: Base::Ram, .. })
}

/// The smallest disk whose partitions can end at this MiB.
fn with_backup(mib: u64, sector: u32) -> Option<u64> {
    let size = mib.checked_mul(ALIGN)?.checked_add(backup_bytes(sector))?;
    size.checked_next_multiple_of(u64::from(sector.max(1)))
}

fn spread(set: &str, disks: &[DiskSize], allowed: u8) -> Option<Diagnostic> {
    let (smallest, largest) = (disks.iter().min_by_key(|d| d.size)?, disks.iter().max_by_key(|d| d.size)?);
    let beyond = largest.size - smallest.size;
    if u128::from(beyond) * 100 <= u128::from(smallest.size) * u128::from(allowed) {
        return None;
    }
    let percent = (u128::from(beyond) * 100).div_ceil(u128::from(smallest.size.max(1)));
    let text = format!(
        "disks in set {set} differ by {percent} % (allowed {allowed} %): {} of {} would stay unused",
        human(beyond),
        largest.name
    );
    Some(Diagnostic::error("F212", format!("disks.{set}"), text).hint("allow more in size-spread, or choose others"))
}

/// `F211`: an object was left out; so much was missing.
pub(super) fn left_out(object: &Object, least: u64, missing: u128) -> Diagnostic {
    let left = u64::try_from(u128::from(least).saturating_sub(missing)).unwrap_or(0);
    let text = format!("{object} is left out: {} left, it needs at least {}", human(left), human(least));
    Diagnostic::warning("F211", object.path(), text).hint("it is optional")
}

/// `F210` for everything that falls short.
pub(super) fn too_small(problem: &Problem, short: &[Short]) -> Vec<Diagnostic> {
    let name = |set: &str, disk: usize| problem.disks(set).get(disk).map_or("a disk", |d| d.name.as_str());
    let report = |short: &Short| match short {
        Short::Disk { set, disk, needs, has } => {
            let table = problem.table(set, *disk);
            let (needs, usable) = (human(*needs), human(*has));
            let text = format!("set {set} needs {needs}, {} has {usable} for partitions: {table}", name(set, *disk));
            let d = Diagnostic::error("F210", format!("disks.{set}"), text);
            let size = problem.disks(set).get(*disk).map_or(0, |d| d.size);
            match problem.least_disk(set, *disk) {
                Some(least) => d.hint(format!("the disk must have at least {least} bytes, it has {size}")),
                None => d.hint("no disk is big enough for that"),
            }
        }
        Short::Hole { key, disk, needs, has } => {
            let (needs, has) = (human(*needs), human(*has));
            let text = format!("{key} needs {needs} in one piece, {} has {has} left", name(&key.set, *disk));
            let d = Diagnostic::error("F210", format!("partitions.{key}"), text);
            d.hint("what is kept, and what has a start of its own, divides the disk")
        }
        Short::Start { key, disk } => {
            let text = format!("{key} cannot begin there on {}", name(&key.set, *disk));
            let d = Diagnostic::error("F210", format!("partitions.{key}.start"), text);
            d.hint("a partition begins at a whole MiB, from 1 MiB on, where nothing else lies")
        }
        Short::Device { object, needs, has } => {
            let carried = problem.carried_text(object).map_or_else(String::new, |c| format!(": {c}"));
            let text = format!("{object} has {}, what stands on it needs {}{carried}", human(*has), human(*needs));
            Diagnostic::error("F210", object.path(), text).hint("make it bigger, or what stands on it smaller")
        }
    };
    short.iter().take(DIAGNOSTIC_LIMIT).map(report).collect()
}
