//! What a layout keeps, and which disks carry it.

use super::rules::{fits, is_array, same_uuid};
use crate::layout::inventory::{Content, Disk, Mark};

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
    /// The name of a volume group. It is seen on active groups only.
    pub vg_name: Option<String>,
    /// The GUID of a partition.
    pub partition_uuid: Option<String>,
    /// The name of a partition in the table.
    pub partition_name: Option<String>,
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
        || (by_filesystem && marks().any(|m| !is_array(m) && mark_fits(m, &facts.fs_uuid, &facts.fs_label)))
        || (by_partition && content.is_some_and(|c| has_partition(facts, c)))
        || facts.vg_name.as_ref().is_some_and(|name| {
            let begin = format!("{}-", name.replace('-', "--"));
            held().any(|h| h.kind == "lvm" && h.label.as_ref().is_some_and(|l| is_volume_of(l, &begin)))
        })
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
