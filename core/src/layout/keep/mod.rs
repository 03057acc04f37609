//! What of a document is on its disks already and stays: found by who it is, compared with what the document says.
//!
//! ```text
//!           ┌ arrays by UUID or name, groups by name ─> which partitions they stand on ┐
//! Observed ─┤                                                                          ├─> Kept ─> Ground, identities
//!           └ partitions by UUID, what is on them, number, name ───────────────────────┘
//! it is there, and as the document has it   it stays             another one   F227
//! it is not there                           it is made, or F226  damaged       F220, F228
//! ```
//!
//! Pure: nothing is opened here. What is found, and is not what the document means, is refused: to make something anew
//! where a document keeps it would lose what it wants to keep. So `if-exists` makes only where nothing is.

mod beside;
mod compare;
mod find;
mod left;

use super::apply::journal::JournalKept;
use super::diagnostic::Diagnostic;
use super::observed::{Array, Crypt, Group, Node, Observed, Partition};
use super::solve;
use super::spec::{PartitionKey, Spec, VolumeKind};
use super::stack::Stack;
use indexmap::IndexMap;
use serde::Serialize;
use std::collections::HashMap;

/// What of a document stays, and what else does beside it.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The disks as they are, in the order of the plan.
    pub observed: Observed,
    /// By disk: the partitions of the document that stay.
    pub partitions: Vec<IndexMap<PartitionKey, Partition>>,
    /// By disk: partitions that the document does not have and that stay because something on their disk does.
    pub others: Vec<Vec<Partition>>,
    /// Arrays, by place in `observed`.
    arrays: HashMap<String, usize>,
    crypts: HashMap<String, usize>,
    groups: HashMap<String, usize>,
    /// Volumes, by place in their group.
    volumes: HashMap<(String, String), usize>,
    /// Volumes that are there and are made anew, by group.
    replaced: HashMap<String, Vec<Replaced>>,
    /// Where filesystems are, in the order of their devices.
    filesystems: HashMap<String, Vec<Node>>,
    /// What was left unfinished, and would be kept if it had not been.
    pub unfinished: Vec<Unfinished>,
    /// What somebody should read.
    pub warnings: Vec<Diagnostic>,
}

/// What an apply left unfinished where the document keeps: it is made anew, and may be whole all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unfinished {
    /// What it would be in the document, such as `filesystems.home`.
    pub path: String,
    /// What it is, for people.
    pub what: String,
}

/// A volume of a group that stays, which is there and is made anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replaced {
    /// Its name.
    pub name: String,
    /// Its UUID as LVM writes it: another volume of the same name is not removed in its place.
    pub uuid: String,
}

/// A disk of a set, as far as it matters here.
#[derive(Clone, Debug)]
pub struct Member {
    /// The set.
    pub set: String,
    /// Which disk of the set, from 0.
    pub index: usize,
    /// Its name for messages.
    pub name: String,
}

/// Whether a document keeps anything at all.
#[must_use]
pub fn is_wanted(spec: &Spec) -> bool {
    spec.disks.values().any(|d| d.preserve.keeps())
}

/// Finds what stays; `members` are the disks of `observed`, in its order. Where an interrupted apply is gone on with, only
/// what it kept `then` stays: whatever else is there it was making.
///
/// # Errors
/// All findings: `F220` what is kept lacks members, `F226` it has to be there and is not, `F227` it is not as the document
/// has it, `F228` it is damaged or cannot be told from another, `F234` it would have to be extended.
pub fn find(
    spec: &Spec,
    stack: &Stack,
    members: &[Member],
    observed: Observed,
    then: Option<&JournalKept>,
) -> Result<Kept, Vec<Diagnostic>> {
    let mut finder = find::Finder::new(spec, stack, members, &observed, then);
    finder.run();
    let find::Finder { mut kept, found, .. } = finder;
    if !found.is_empty() {
        return Err(found);
    }
    kept.observed = observed;
    Ok(kept)
}

impl Kept {
    /// The array that is kept for this name of the document.
    #[must_use]
    pub fn array(&self, name: &str) -> Option<(Node, &Array)> {
        self.arrays.get(name).map(|i| (Node::Array(*i), &self.observed.arrays[*i]))
    }

    /// The encrypted device that is kept for this name of the document.
    #[must_use]
    pub fn crypt(&self, name: &str) -> Option<(Node, &Crypt)> {
        self.crypts.get(name).map(|i| (Node::Crypt(*i), &self.observed.crypts[*i]))
    }

    /// The group that is kept for this name of the document.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name).map(|i| &self.observed.groups[*i])
    }

    /// The volume that is kept for this name of the document.
    #[must_use]
    pub fn volume(&self, group: &str, name: &str) -> Option<(Node, &super::observed::Volume)> {
        let (g, v) = (*self.groups.get(group)?, *self.volumes.get(&(group.to_owned(), name.to_owned()))?);
        Some((Node::Volume { group: g, volume: v }, &self.observed.groups[g].volumes[v]))
    }

    /// Volumes of a kept group that are there and are made anew.
    #[must_use]
    pub fn replaced(&self, group: &str) -> &[Replaced] {
        self.replaced.get(group).map_or(&[], Vec::as_slice)
    }

    /// The UUIDs of a kept filesystem, in the order of its devices; none where it is made. One that cannot be seen because
    /// it is encrypted has none.
    #[must_use]
    pub fn filesystem(&self, name: &str) -> Option<Vec<Option<String>>> {
        let uuid = |node: &Node| self.observed.filesystem_on(*node)?.uuid.clone();
        self.filesystems.get(name).map(|nodes| nodes.iter().map(uuid).collect())
    }

    /// The label of a kept filesystem; of one that cannot be seen nobody knows it.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        let node = self.filesystems.get(name)?.first()?;
        self.observed.filesystem_on(*node)?.label.as_deref()
    }

    /// Whether anything on a disk stays.
    #[must_use]
    pub fn is_on(&self, disk: usize) -> bool {
        self.partitions.get(disk).is_some_and(|p| !p.is_empty())
    }

    /// What stays of the partitions of a disk, for the solver.
    #[must_use]
    pub fn ground(&self, disk: usize) -> Vec<solve::KeptPartition> {
        let place = |key: Option<&PartitionKey>, p: &Partition| solve::KeptPartition {
            key: key.cloned(),
            number: p.number,
            start: p.start,
            length: p.length,
        };
        let own = self.partitions.get(disk).into_iter().flatten().map(|(key, p)| place(Some(key), p));
        own.chain(self.others.get(disk).into_iter().flatten().map(|p| place(None, p))).collect()
    }

    /// What stays of what partitions have become, for the solver.
    #[must_use]
    pub fn devices(&self) -> solve::Kept {
        let mut kept = solve::Kept::default();
        for name in self.arrays.keys() {
            let Some((node, a)) = self.array(name) else { continue };
            let size = solve::ArraySize {
                members: u32::try_from(a.members.len().saturating_sub(a.spares())).unwrap_or(u32::MAX),
                spares: u32::try_from(a.spares()).unwrap_or(u32::MAX),
                data_offset: a.data_offset,
                component: a.component,
                chunk: a.chunk,
                size: a.size,
                sector: self.sector(node),
                bitmap: a.bitmap,
            };
            kept.arrays.insert(name.clone(), size);
        }
        for name in self.crypts.keys() {
            let Some((_, c)) = self.crypt(name) else { continue };
            kept.crypts.insert(name.clone(), solve::CryptSize { offset: c.header.data_offset, size: c.size });
        }
        for name in self.groups.keys() {
            let Some(group) = self.group(name) else { continue };
            kept.groups.insert(name.clone(), self.group_size(name, group));
        }
        kept
    }

    /// A thin volume takes nothing of the group, and what is made anew gives back what it has.
    fn group_size(&self, name: &str, group: &Group) -> solve::KeptGroup {
        let mut size = solve::KeptGroup { extent: group.extent, extents: group.extents, ..Default::default() };
        let mut free = group.free;
        for v in &group.volumes {
            let taken = match v.kind {
                Ok(VolumeKind::Thin) => continue,
                _ => v.extents.saturating_add(v.metadata),
            };
            if self.volume(name, &v.name).is_some() {
                let own = solve::VolumeSize { extents: v.extents, metadata: v.metadata, chunk: v.chunk.unwrap_or(0) };
                size.volumes.insert(v.name.clone(), own);
                free = free.saturating_add(taken);
            } else if self.replaced(name).iter().any(|r| r.name == v.name) {
                free = free.saturating_add(taken);
            }
        }
        size.taken = group.extents.saturating_sub(free);
        size
    }

    /// The largest sectors of the disks below a device.
    fn sector(&self, node: Node) -> u32 {
        let below = self.observed.foundation(node).into_iter();
        let sectors =
            below.filter_map(|n| if let Node::Disk(i) = n { Some(self.observed.disks[i].sector) } else { None });
        sectors.max().unwrap_or(512)
    }
}

#[cfg(test)]
mod tests;
