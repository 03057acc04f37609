//! Partitions: numbers, names and identities in the table, and where they begin.

use super::{MIB, Validator};
use crate::layout::MARKER;
use crate::layout::diagnostic::Diagnostic;
use crate::layout::size::Size;
use crate::layout::spec::{Partition, PartitionKey, Ref, Side};
use crate::units::human;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

impl Validator<'_> {
    pub(super) fn partitions(&mut self) {
        let spec = self.spec;
        let mut numbers: HashSet<(&str, u32)> = HashSet::new();
        let mut uuids: HashSet<Uuid> = HashSet::new();
        for (key, p) in &spec.partitions {
            let path = format!("partitions.{key}");
            if let Some(n) = p.number {
                if !(1..=128).contains(&n) {
                    self.wrong("L101", format!("{path}.number"), format!("{n} is not a number from 1 to 128"));
                } else if !numbers.insert((&key.set, n)) {
                    let text = format!("partition number {n} is used twice in set {}", key.set);
                    self.wrong("L111", format!("{path}.number"), text);
                }
            }
            self.partition_uuid(&path, key, p, &mut uuids);
            self.partition_name(&path, p.name.as_deref().unwrap_or(&key.name));
            self.start(&path, p);
        }
        self.starts_do_not_overlap();
    }

    fn partition_uuid(&mut self, path: &str, key: &PartitionKey, p: &Partition, seen: &mut HashSet<Uuid>) {
        let Some(uuid) = p.uuid else { return };
        let path = format!("{path}.uuid");
        let replicas = self.devices([&Ref::Partition(key.clone())]).map_or(1, |(_, most)| most);
        if !seen.insert(uuid) {
            self.wrong("L119", path, format!("the UUID {uuid} is used twice"));
        } else if replicas > 1 {
            let text = format!("every disk of set {} would have a partition with the UUID {uuid}", key.set);
            self.wrong_with_hint("L119", path, text, "without it each replica gets one of its own");
        }
    }

    fn partition_name(&mut self, path: &str, name: &str) {
        let units = name.encode_utf16().count();
        // While the disk is being made the name carries the suffix "~cv".
        if units > 36 - MARKER.len() {
            let text = format!("the partition name is {units} UTF-16 units long; there is room for 33");
            self.wrong("L112", format!("{path}.name"), text);
        }
        if name.ends_with(MARKER) || name.chars().any(char::is_control) {
            let text = "the partition name has control characters in it, or ends in ~cv";
            self.wrong("L118", format!("{path}.name"), text);
        }
    }

    fn start(&mut self, path: &str, p: &Partition) {
        let Some(start) = p.start else { return };
        let path = format!("{path}.start");
        if start.bytes() < MIB || !start.bytes().is_multiple_of(MIB) {
            let text = format!("a partition cannot begin at {start}: whole MiB, from 1MiB on");
            self.wrong("L138", path.clone(), text);
        }
        if p.at == Side::End {
            self.means_nothing(path, "a partition with a start is not placed at the end");
        }
    }

    /// Of those with a start, no two of a set lie in the same place.
    fn starts_do_not_overlap(&mut self) {
        let mut by_set: HashMap<&str, Vec<(u64, u64, &PartitionKey)>> = HashMap::new();
        for (key, p) in &self.spec.partitions {
            let Some(start) = p.start else { continue };
            let least = match p.size {
                Size::Fixed(size) => size.bytes(),
                Size::Flex { min, .. } => min.bytes(),
                Size::Of { min, .. } => min.unwrap_or_default().bytes(),
                Size::Rest | Size::Percent(_) => p.min.unwrap_or_default().bytes(),
            };
            by_set.entry(&key.set).or_default().push((start.bytes(), least.max(1), key));
        }
        let mut overlaps = Vec::new();
        for places in by_set.values_mut() {
            places.sort_unstable();
            for pair in places.windows(2) {
                let ((start, length, first), (next, _, second)) = (pair[0], pair[1]);
                if start.saturating_add(length) > next {
                    let text = format!("{second} begins at {} while {first} is not at its end", human(next));
                    overlaps.push(Diagnostic::error("L138", format!("partitions.{second}.start"), text));
                }
            }
        }
        overlaps.sort_by(|a, b| a.path.cmp(&b.path));
        overlaps.into_iter().for_each(|d| self.report(d));
    }
}
