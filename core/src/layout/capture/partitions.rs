//! Partitions of the sets: one line stands for the replicas on all disks of a set.

use super::Draft;
use super::names::{is_name, unique};
use crate::layout::MARKER;
use crate::layout::observed::{Node, Partition as Seen};
use crate::layout::size::Size;
use crate::layout::spec::{Attribute, Partition, PartitionKey, Preserve, Ref, Side};
use crate::units::ByteSize;

const MIB: u64 = 1 << 20;

impl Draft<'_> {
    pub(super) fn partitions(&mut self) {
        let sets: Vec<(String, Vec<usize>)> = self.sets.iter().map(|(n, d)| (n.clone(), d.clone())).collect();
        for (set, disks) in sets {
            let mut seen: Vec<&Seen> = self.observed.disks[disks[0]].table.iter().flat_map(|t| &t.partitions).collect();
            seen.sort_by_key(|p| p.start);
            let numbered = (1..).zip(&seen).any(|(n, p)| p.number != n);
            let pinned = !in_order(&seen);
            let mut taken: Vec<String> = Vec::new();
            for p in seen {
                let name = self.partition_name(disks[0], p, &taken);
                taken.push(name.clone());
                let key = PartitionKey { set: set.clone(), name };
                let partition = self.partition(&disks, p, &key, numbered, pinned);
                self.spec.partitions.insert(key.clone(), partition);
                for disk in &disks {
                    let node = Node::Partition { disk: *disk, number: p.number };
                    self.references.insert(node, Ref::Partition(key.clone()));
                }
            }
        }
    }

    fn partition(&mut self, disks: &[usize], p: &Seen, key: &PartitionKey, numbered: bool, pinned: bool) -> Partition {
        let gpt_name = p.name.strip_suffix(MARKER).unwrap_or(&p.name);
        if gpt_name != p.name {
            let text = "has the mark of a disk that was being made: its making did not end";
            self.notes.push(format!("partition {} of {key} {text}", p.number));
        }
        let attrs: Vec<Attribute> = Attribute::ALL.into_iter().filter(|a| p.attributes & a.bit() != 0).collect();
        if attrs.iter().fold(0, |bits, a| bits | a.bit()) != p.attributes {
            self.unsupported.push(format!("attributes {:#x} of partition {key}", p.attributes));
        }
        let fills = disks.iter().all(|d| self.fills(*d, p));
        if !p.start.is_multiple_of(MIB) || !(fills || p.length.is_multiple_of(MIB)) {
            self.notes.push(format!("{key} begins or ends within a MiB, the layout rounds it"));
        }
        Partition {
            number: numbered.then_some(p.number),
            kind: p.kind,
            size: if fills { Size::Rest } else { Size::Fixed(ByteSize::new(p.length)) },
            name: Some(gpt_name.to_owned()).filter(|n| *n != key.name),
            uuid: (self.options.keep_uuids && disks.len() == 1).then_some(p.uuid),
            attrs,
            start: (pinned && p.start.is_multiple_of(MIB)).then_some(ByteSize::new(p.start)),
            at: Side::Next,
            leave_free: None,
            optional: false,
            min: None,
            preserve: Preserve::Never,
        }
    }

    /// The name in the table, where a document can use it; else what it is for.
    fn partition_name(&self, disk: usize, p: &Seen, taken: &[String]) -> String {
        let own = p.name.strip_suffix(MARKER).unwrap_or(&p.name);
        if is_name(own) && !taken.iter().any(|t| t == own) {
            return own.to_owned();
        }
        let by_type = ["esp", "bios-boot", "swap", "home", "srv", "var", "tmp"].into_iter().find(|t| p.kind.is(t));
        let purpose = || self.purpose(Node::Partition { disk, number: p.number });
        let name = match by_type {
            Some("bios-boot") => "biosboot".to_owned(),
            Some("esp") => "esp".to_owned(),
            other => purpose().or(other.map(str::to_owned)).unwrap_or_else(|| format!("part{}", p.number)),
        };
        unique(&name, |n| taken.iter().any(|t| t == n))
    }
}

/// Whether partitions lie where a plan would put them: one after the other, boot partitions first.
fn in_order(seen: &[&Seen]) -> bool {
    let rank = |p: &Seen| match p.kind {
        kind if kind.is("bios-boot") => 0,
        kind if kind.is("esp") => 1,
        _ => 2,
    };
    let mut at = MIB;
    seen.windows(2).all(|w| rank(w[0]) <= rank(w[1]))
        && seen.iter().all(|p| {
            let next = p.start == at;
            at = p.start.saturating_add(p.length);
            next
        })
}
