//! Disks that are divided and used alike become one set.

use super::names::{is_set_name, unique};
use super::{Draft, matching};
use crate::layout::inventory::{Inventory, Transport};
use crate::layout::observed::{Node, Partition};
use crate::layout::solve;
use crate::layout::spec::{Count, DiskSet, PartitionType, Pick};

const MIB: u64 = 1 << 20;

/// What a partition is used for, as far as another disk can have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
enum User {
    Nothing,
    Array(usize),
    Group(usize),
    /// An ESP: each disk has one, with the same content.
    Esp(Option<String>),
    /// Something that there is once.
    Own(Node),
}

/// What two disks of a set have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scheme {
    sector: u32,
    partitions: Vec<Part>,
}

/// A partition of a scheme; places in whole MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    number: u32,
    kind: PartitionType,
    name: String,
    attributes: u64,
    start: u64,
    /// None of one that takes the rest.
    length: Option<u64>,
    user: User,
}

impl Draft<'_> {
    pub(super) fn sets(&mut self, machine: Option<&Inventory>) {
        let mut groups: Vec<(Scheme, Vec<usize>)> = Vec::new();
        for disk in 0..self.observed.disks.len() {
            if !self.is_captured(disk) {
                continue;
            }
            let scheme = self.scheme(disk);
            match groups.iter_mut().find(|(s, _)| *s == scheme) {
                Some((_, disks)) => disks.push(disk),
                None => groups.push((scheme, vec![disk])),
            }
        }
        // What the machine starts from goes first, as in documents of people.
        groups.sort_by_key(|(_, disks)| !self.is_system(disks[0]));
        for (_, mut disks) in groups {
            disks.sort_by_key(|d| self.place_in_arrays(*d));
            let name = self.set_name(&disks);
            let set = self.disk_set(&disks, machine);
            self.spec.disks.insert(name.clone(), set);
            self.sets.insert(name, disks);
        }
    }

    /// A disk without a table of its own has no place in a document; nor has a stick that nothing uses.
    fn is_captured(&mut self, index: usize) -> bool {
        let disk = &self.observed.disks[index];
        let path = disk.path.display();
        let whole = Node::Disk(index);
        let Some(table) = &disk.table else {
            let used = self.observed.arrays.iter().any(|a| a.members.iter().any(|m| m.on == whole))
                || self.observed.groups.iter().any(|g| g.pvs.iter().any(|p| p.on == Some(whole)))
                || self.observed.crypts.iter().any(|c| c.on == whole)
                || self.observed.filesystem_on(whole).is_some();
            if used {
                self.unsupported.push(format!("{path} is used without a partition table"));
            }
            return false;
        };
        let stick = disk.hardware.as_ref().is_some_and(|h| {
            (h.removable || h.transport == Transport::Usb) && h.uses.is_empty() && self.options.disks.is_empty()
        });
        if stick {
            self.notes.push(format!("{path} is removable and not in use, and left out"));
            return false;
        }
        if !table.whole {
            self.notes.push(format!("one copy of the partition table of {path} is damaged"));
        }
        !table.partitions.is_empty()
    }

    fn scheme(&self, disk: usize) -> Scheme {
        let observed = self.observed;
        let table = observed.disks[disk].table.iter().flat_map(|t| &t.partitions);
        let partitions = table.map(|p| Part {
            number: p.number,
            kind: p.kind,
            name: p.name.clone(),
            attributes: p.attributes,
            start: p.start / MIB,
            length: (!self.fills(disk, p)).then_some(p.length / MIB),
            user: self.user(Node::Partition { disk, number: p.number }, p),
        });
        Scheme { sector: observed.disks[disk].sector, partitions: partitions.collect() }
    }

    fn user(&self, node: Node, partition: &Partition) -> User {
        let observed = self.observed;
        if let Some(i) = observed.arrays.iter().position(|a| a.members.iter().any(|m| m.on == node)) {
            return User::Array(i);
        }
        if let Some(i) = observed.groups.iter().position(|g| g.pvs.iter().any(|p| p.on == Some(node))) {
            return User::Group(i);
        }
        match observed.filesystem_on(node) {
            Some(fs) if partition.kind.is("esp") && fs.kind == "vfat" => User::Esp(fs.label.clone()),
            Some(_) => User::Own(node),
            None if observed.crypts.iter().any(|c| c.on == node) => User::Own(node),
            None => User::Nothing,
        }
    }

    /// Whether a partition takes the rest of its disk: nothing is behind it, and no room for anything.
    pub(super) fn fills(&self, disk: usize, partition: &Partition) -> bool {
        let disk = &self.observed.disks[disk];
        let (_, end) = solve::usable(disk.size, disk.sector);
        let last = disk.table.iter().flat_map(|t| &t.partitions).all(|q| q.start <= partition.start);
        last && partition.start.saturating_add(partition.length).saturating_add(MIB) > end
    }

    /// Whether the machine starts from a disk.
    fn is_system(&self, disk: usize) -> bool {
        let starts = self.observed.disks[disk].table.iter().flat_map(|t| &t.partitions);
        starts.into_iter().any(|p| ["esp", "bios-boot", "root"].iter().any(|k| p.kind.is(k)))
            || self.mounted_at("/").is_some_and(|root| self.observed.foundation(root).contains(&Node::Disk(disk)))
    }

    /// Disks stand in the order in which arrays have them.
    fn place_in_arrays(&self, disk: usize) -> Vec<usize> {
        let own = |node: Node| matches!(node, Node::Partition { disk: d, .. } if d == disk);
        self.observed.arrays.iter().filter_map(|a| a.members.iter().position(|m| own(m.on))).chain([disk]).collect()
    }

    fn set_name(&self, disks: &[usize]) -> String {
        let is_taken = |name: &str| self.sets.contains_key(name);
        if self.is_system(disks[0]) {
            return unique("os", is_taken);
        }
        // After what the largest partition is for.
        let all =
            self.observed.partitions().filter(|(n, _)| matches!(n, Node::Partition { disk, .. } if *disk == disks[0]));
        let largest = all.max_by_key(|(_, p)| p.length).and_then(|(node, _)| self.purpose(node));
        unique(&largest.filter(|n| is_set_name(n)).unwrap_or_else(|| "data".to_owned()), is_taken)
    }

    fn disk_set(&mut self, disks: &[usize], machine: Option<&Inventory>) -> DiskSet {
        let own: Vec<_> = disks.iter().filter_map(|d| self.observed.disks[*d].hardware.as_ref()).collect();
        let known = own.len() == disks.len();
        let matching = match machine {
            _ if !known => None,
            _ if self.options.pin => {
                let found = matching::pinned(&own);
                if found.is_none() {
                    self.notes
                        .push("a disk has neither serial number nor world wide name, and cannot be pinned".into());
                }
                found
            }
            Some(machine) => Some(matching::proposed(&own, machine)).filter(|m| *m != Default::default()),
            None => None,
        };
        // Of image files the sector size is part of what they are.
        let file = disks.iter().all(|d| self.observed.disks[*d].device.is_none());
        let sector = self.observed.disks[disks[0]].sector;
        let sizes = disks
            .iter()
            .map(|d| self.observed.disks[*d].table.iter().flat_map(|t| &t.partitions).map(|p| p.length).sum());
        let sizes: Vec<u64> = sizes.collect();
        DiskSet {
            pick: if known && !self.options.pin { Pick::Smallest } else { Pick::Unique },
            matching,
            count: Count::exactly(u32::try_from(disks.len()).unwrap_or(u32::MAX)),
            per_disk: sizes.iter().any(|s| *s != sizes[0]),
            sector: (file && sector != 512).then_some(sector),
            ..DiskSet::default()
        }
    }
}
