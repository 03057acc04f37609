//! What a layout keeps, and which disks carry it.

use super::rules::{fits, is_array, same_uuid};
use crate::layout::inventory::{Content, Disk, Mark};
use crate::layout::spec::{Partition, PartitionKey, Ref, Spec};
use crate::layout::stack::{Object, Stack};
use std::collections::BTreeSet;
use uuid::Uuid;

/// The kind of a signature of LVM.
const PHYSICAL: &str = "LVM2_member";

/// An object that is kept where it is found, because the document adopts or preserves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Its path in the document, such as `raid.data`.
    pub object: String,
    /// The set that its members belong to.
    pub set: String,
    /// By what it is recognised.
    pub facts: KeepFacts,
}

/// By what an object is recognised; every fact that is given must hold of one and the same thing on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepFacts {
    /// The UUID of an array, in whatever form.
    pub md_uuid: Option<String>,
    /// The name of an array in its superblock, such as `any:data`.
    pub md_name: Option<String>,
    /// The UUID of a filesystem or volume.
    pub fs_uuid: Option<String>,
    /// The label of a filesystem.
    pub fs_label: Option<String>,
    /// The name of a volume group, started or not.
    pub vg_name: Option<String>,
    /// The GUID of a partition.
    pub partition_uuid: Option<String>,
    /// The name of a partition in the table.
    pub partition_name: Option<String>,
    /// The GUID of the type of a partition.
    pub partition_type: Option<Uuid>,
}

impl Keep {
    /// What the document adopts or preserves: arrays by their name or UUID, volumes and their groups by the group's name,
    /// on partitions filesystems by label or UUID and encrypted devices by label, partitions by their GUID, or by name and
    /// type. What lies on several sets is not among them: nothing would say which disk belongs to which.
    #[must_use]
    pub fn of(spec: &Spec, stack: &Stack) -> Vec<Self> {
        let set_of = |object: &Object| {
            let below = stack.foundation(object).into_iter().chain([object]);
            let sets: BTreeSet<&String> =
                below.filter_map(|o| if let Object::Partition(key) = o { Some(&key.set) } else { None }).collect();
            let mut sets = sets.into_iter();
            sets.next().filter(|_| sets.next().is_none()).cloned()
        };
        let keep = |object: &Object| {
            let facts = KeepFacts::of(spec, object)?;
            Some(Self { object: object.path(), set: set_of(object)?, facts })
        };
        stack.order().iter().filter_map(keep).collect()
    }
}

impl KeepFacts {
    /// Whether an array with this UUID and this name, with its host, is the one.
    pub(in crate::layout) fn is_array(&self, uuid: &str, name: &str) -> bool {
        let by_uuid = self.md_uuid.as_deref().map(|u| same_uuid(Some(uuid), u));
        let by_name = self.md_name.as_deref().map(|n| fits(n, name));
        by_uuid.or(by_name).is_some() && by_uuid != Some(false) && by_name != Some(false)
    }

    /// Whether it is known by a name and type alone, which somebody else's partition may have as well.
    pub(super) fn is_name(&self) -> bool {
        self.partition_name.is_some() && self.partition_uuid.is_none()
    }

    /// Those of an object that is kept and named; none of others.
    pub(in crate::layout) fn of(spec: &Spec, object: &Object) -> Option<Self> {
        let none = Self::default();
        match object {
            Object::Raid(name) => {
                let raid = spec.raid.get(name)?;
                let made = || format!("any:{}", raid.name.as_deref().unwrap_or(name));
                match &raid.adopt {
                    Some(a) if a.name.is_some() || a.uuid.is_some() => {
                        Some(Self { md_name: a.name.clone(), md_uuid: a.uuid.clone(), ..none })
                    }
                    adopt if adopt.is_some() || raid.preserve.keeps() => Some(Self { md_name: Some(made()), ..none }),
                    _ => None,
                }
            }
            Object::Group(name) => {
                let keeps = spec.lvm.get(name)?.preserve.keeps();
                keeps.then(|| Self { vg_name: Some(name.clone()), ..none })
            }
            Object::Filesystem(name) => {
                let fs = spec.filesystems.get(name)?;
                let is_named = fs.uuid.is_some() || fs.label.is_some();
                let keeps = fs.preserve.keeps() && is_named && matches!(fs.on, Ref::Partition(_));
                keeps.then(|| Self { fs_uuid: fs.uuid.clone(), fs_label: fs.label.clone(), ..none })
            }
            Object::Partition(key) => {
                let partition = spec.partitions.get(key)?;
                if !partition.preserve.keeps() {
                    return None;
                }
                if let Some(uuid) = partition.uuid {
                    return Some(Self { partition_uuid: Some(uuid.to_string()), ..none });
                }
                let name = |k: &PartitionKey, p: &Partition| p.name.clone().unwrap_or_else(|| k.name.clone());
                let (own, kind) = (name(key, partition), partition.kind);
                // Where two sets have it, it does not tell whose disk that is.
                let mut others = spec.partitions.iter().filter(|(k, _)| k.set != key.set);
                let is_alone = !others.any(|(k, p)| p.kind == kind && name(k, p) == own);
                is_alone.then(|| Self { partition_name: Some(own), partition_type: Some(kind.guid()), ..none })
            }
            Object::Luks(name) => {
                let luks = spec.luks.get(name)?;
                let keeps = luks.preserve.keeps() && luks.label.is_some() && matches!(luks.on, Ref::Partition(_));
                keeps.then(|| Self { fs_label: luks.label.clone(), ..none })
            }
            Object::Volume(group, name) => {
                let keeps = spec.lvm.get(group)?.lvs.get(name)?.preserve.keeps();
                keeps.then(|| Self { vg_name: Some(group.clone()), ..none })
            }
        }
    }
}

/// Whether the disk carries the object or a member of it.
pub(super) fn carries(facts: &KeepFacts, disk: &Disk) -> bool {
    let content = disk.content.as_ref();
    let marks = || content.into_iter().flat_map(|c| &c.signatures);
    let by_array = facts.md_uuid.is_some() || facts.md_name.is_some();
    let by_filesystem = facts.fs_uuid.is_some() || facts.fs_label.is_some();
    let by_partition = facts.partition_uuid.is_some() || facts.partition_name.is_some();
    let held = || disk.holders.iter();
    (by_array && (marks().any(|m| is_array(m) && mark_fits(m, &facts.md_uuid, &facts.md_name)) || is_held(facts, disk)))
        || (by_filesystem && marks().any(|m| !is_member(m) && mark_fits(m, &facts.fs_uuid, &facts.fs_label)))
        || (by_partition && content.is_some_and(|c| has_partition(facts, c)))
        || facts.vg_name.as_ref().is_some_and(|name| {
            let begin = format!("{}-", name.replace('-', "--"));
            marks().any(|m| m.kind == PHYSICAL && m.label.as_ref() == Some(name))
                || held().any(|h| h.kind == "lvm" && h.label.as_ref().is_some_and(|l| is_volume_of(l, &begin)))
        })
}

/// Whether a signature is that of a member of something: its label is the name of that.
fn is_member(mark: &Mark) -> bool {
    is_array(mark) || mark.kind == PHYSICAL
}

/// What a running array says, where its members were not looked at.
fn is_held(facts: &KeepFacts, disk: &Disk) -> bool {
    let mut arrays = disk.holders.iter().filter(|h| h.kind == "md");
    arrays.any(|h| {
        let uuid = facts.md_uuid.as_deref().is_none_or(|u| same_uuid(h.uuid.as_deref(), u));
        uuid && facts.md_name.as_deref().is_none_or(|n| h.label.as_deref().is_some_and(|l| fits(n, l)))
    })
}

fn mark_fits(mark: &Mark, uuid: &Option<String>, label: &Option<String>) -> bool {
    let is_uuid = uuid.as_deref().is_none_or(|u| same_uuid(mark.uuid.as_deref(), u));
    is_uuid && label.as_deref().is_none_or(|l| mark.label.as_deref().is_some_and(|is| fits(l, is)))
}

fn has_partition(facts: &KeepFacts, content: &Content) -> bool {
    let entries = content.table.iter().flat_map(|t| &t.partitions);
    entries.into_iter().any(|e| {
        let uuid = facts.partition_uuid.as_deref().is_none_or(|u| same_uuid(Some(&e.uuid.to_string()), u));
        uuid && facts.partition_name.as_deref().is_none_or(|n| e.name == n)
            && facts.partition_type.is_none_or(|t| e.kind == t)
    })
}

/// Whether a name of the device mapper is that of a volume in the group: group and volume are joined by one dash.
fn is_volume_of(label: &str, begin: &str) -> bool {
    label.strip_prefix(begin).is_some_and(|volume| !volume.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_told_apart() {
        assert!(is_volume_of("sys-root", "sys-"));
        assert!(!is_volume_of("sys--a-root", "sys-"));
        assert!(is_volume_of("sys--a-root", "sys--a-"));
        assert!(same_uuid(Some("7fe1895e-34dc-b6dc-d1bc-bb9cf3e05134"), "7fe1895e:34dcb6dc:d1bcbb9c:f3e05134"));
        assert!(!same_uuid(Some(""), "") && !same_uuid(None, "a"));
    }
}
