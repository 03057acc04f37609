//! Sizes: what they add up to, and what is too small for what stands on it.

use super::{MIB, Validator};
use crate::layout::diagnostic::Diagnostic;
use crate::layout::size::{Base, Size};
use crate::layout::spec::{Level, PartitionKey, Ref, VolumeKind};
use crate::units::human;
use std::collections::HashMap;

/// What LUKS 2 keeps before the data, as cryptsetup makes it.
const LUKS_HEADER: u64 = 16 * MIB;

/// What the sizes of one set or group ask for together.
#[derive(Default)]
struct Sum<'a> {
    rest: Option<&'a str>,
    percent: u32,
}

impl Validator<'_> {
    pub(super) fn sizes(&mut self) {
        let spec = self.spec;
        let mut sums: HashMap<&str, Sum<'_>> = HashMap::new();
        for (key, p) in &spec.partitions {
            let path = format!("partitions.{key}");
            let sum = sums.entry(&key.set).or_default();
            self.add(sum, &format!("set {}", key.set), &key.name, p.size, &format!("{path}.size"));
            self.positive(p.size, &path);
            if p.min.is_some() && !matches!(p.size, Size::Rest | Size::Percent(_)) {
                let text = "min is for \"size: rest\" and percentages; other sizes say it themselves";
                self.means_nothing(format!("{path}.min"), text);
            }
            if p.kind.is("esp") {
                self.esp(key, p.size, &path);
            }
        }
        for (group, g) in &spec.lvm {
            let mut sum = Sum { percent: g.reserve.map_or(0, |r| r.number().into()), ..Sum::default() };
            for (name, volume) in &g.lvs {
                let Some(size) = volume.size else { continue };
                let path = format!("lvm.{group}.lvs.{name}");
                self.add(&mut sum, &format!("group {group}"), name, size, &format!("{path}.size"));
                self.positive(size, &path);
                if matches!(size, Size::Of { base: Base::Disk, .. }) {
                    let text = "a volume is no share of a disk";
                    self.report(
                        Diagnostic::error("L128", format!("{path}.size"), text).hint("25% is a share of the group"),
                    );
                }
            }
        }
        self.contents_fit();
    }

    fn add<'n>(&mut self, sum: &mut Sum<'n>, of: &str, name: &'n str, size: Size, path: &str) {
        let percent = match size {
            Size::Rest => {
                match sum.rest {
                    None => sum.rest = Some(name),
                    Some(first) => {
                        let text = format!("more than one \"size: rest\" in {of}: {first} and {name}");
                        self.wrong_with_hint(
                            "L109",
                            path,
                            text,
                            "give both bounds and weights: {min: 1GiB, weight: 1}",
                        );
                    }
                }
                return;
            }
            Size::Percent(n) => u32::from(n.number()),
            // With a maximum it may stay below its share.
            Size::Of { base: Base::Disk, percent, max: None, .. } => percent,
            Size::Of { .. } | Size::Fixed(_) | Size::Flex { .. } => return,
        };
        let before = sum.percent;
        sum.percent = before.saturating_add(percent);
        if before <= 100 && sum.percent > 100 {
            self.wrong("L110", path, format!("percentages in {of} add up to {} %", sum.percent));
        }
    }

    fn positive(&mut self, size: Size, path: &str) {
        let most = match size {
            Size::Fixed(size) => Some(size),
            Size::Flex { max, .. } | Size::Of { max, .. } => max,
            Size::Rest | Size::Percent(_) => None,
        };
        if most.is_some_and(|m| m.bytes() == 0) {
            self.wrong("L101", format!("{path}.size"), "the size is zero");
        }
    }

    fn esp(&mut self, key: &PartitionKey, size: Size, path: &str) {
        let sector = self.spec.disks.get(&key.set).and_then(|d| d.sector).unwrap_or(512);
        let (least, named) = if sector == 4096 { (260 * MIB, "260MiB") } else { (100 * MIB, "100MiB") };
        let given = match size {
            Size::Fixed(size) => Some(size),
            Size::Flex { min, max, .. } => max.filter(|m| m.bytes() < least).or(Some(min)),
            Size::Of { max, .. } => max,
            Size::Rest | Size::Percent(_) => None,
        };
        if let Some(size) = given.filter(|s| s.bytes() < least && s.bytes() > 0) {
            let text = format!("esp is {size}: at least {named} (260MiB on disks with 4096-byte sectors)");
            self.wrong_with_hint("L122", format!("{path}.size"), text, "600MiB is usual");
        }
    }

    /// A filesystem on something that is too small for it, whatever the disks are.
    fn contents_fit(&mut self) {
        for (id, fs) in &self.spec.filesystems {
            let least = fs.kind.minimum();
            let Some(most) = self.at_most(&fs.on, 0).filter(|m| *m < least && *m > 0) else { continue };
            let path = match &fs.on {
                Ref::Partition(key) => format!("partitions.{key}.size"),
                Ref::Volume(group, name) => format!("lvm.{group}.lvs.{name}.size"),
                Ref::Raid(_) | Ref::Luks(_) => format!("filesystems.{id}.on"),
            };
            let text = format!("{} needs at least {}, \"{}\" has {}", fs.kind.name(), human(least), fs.on, human(most));
            self.wrong("L126", path, text);
        }
    }

    /// The most bytes that a device can have, where the document says it.
    fn at_most(&self, on: &Ref, depth: usize) -> Option<u64> {
        // Circles are found elsewhere; no sensible stack is deeper.
        if depth > 16 {
            return None;
        }
        let spec = self.spec;
        match on {
            Ref::Partition(key) => most(spec.partitions.get(key)?.size),
            Ref::Raid(name) => {
                let raid = spec.raid.get(name)?;
                if raid.level != Level::Raid1 {
                    return None;
                }
                raid.members.iter().filter_map(|m| self.at_most(m, depth + 1)).min()
            }
            Ref::Luks(name) => {
                let below = self.at_most(&spec.luks.get(name)?.on, depth + 1)?;
                Some(below.saturating_sub(LUKS_HEADER))
            }
            Ref::Volume(group, name) => {
                let g = spec.lvm.get(group)?;
                let volume = g.lvs.get(name)?;
                match volume.kind {
                    VolumeKind::Thin => volume.virtual_size.map(|s| s.bytes()),
                    VolumeKind::Linear | VolumeKind::ThinPool => {
                        most(volume.size?)?.checked_next_multiple_of(g.extent.bytes().max(1))
                    }
                }
            }
        }
    }
}

fn most(size: Size) -> Option<u64> {
    match size {
        Size::Fixed(size) => Some(size.bytes()),
        Size::Flex { max, .. } | Size::Of { max, .. } => max.map(|m| m.bytes()),
        Size::Rest | Size::Percent(_) => None,
    }
}
