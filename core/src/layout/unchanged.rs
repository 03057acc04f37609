//! Whether the disks already are what a plan would make of them. Then it changes nothing, and takes over the identities
//! that are there.
//!
//! ```text
//! Plan ┐            no difference ─> a plan without steps, with the UUIDs of the disks
//!      ├─ compare ─┤
//! Observed ┘        differences ───> the plan as it is, and why
//! ```
//!
//! Compared is what the document decides: partitions with number, place, type, name and attributes; arrays with level,
//! members, chunk, layout, metadata and bitmap; the version of LUKS; groups with their extents and volumes; filesystems
//! with type and label. Not compared is what only their making decides: arguments of mkfs, passphrases, how an array
//! became equal, which of its members wait; and what is in the filesystems, the boot loader among it.

#[cfg(test)]
mod applied;
mod compare;

#[cfg(test)]
pub(super) use applied::applied;

use super::observed::{Array, Given, Node, Observed};
use super::ondisk::md;
use super::plan::{Device, Plan};
use super::spec::{Level, Raid10Layout};
use compare::Comparison;
use std::collections::HashMap;

/// More differences are not listed.
const LIMIT: usize = 100;

/// Looks at the disks of a plan and compares. Where nothing differs, the plan gets the identities that are there.
pub(super) fn settle(plan: &mut Plan) {
    let disks: Vec<Given> =
        plan.disks.iter().map(|d| Given { path: d.facts.path.clone(), sector: Some(d.facts.sector) }).collect();
    let found = match Observed::of_disks(&disks, None) {
        Ok(observed) => take_over(plan, &observed),
        Err(e) => vec![e.to_string()],
    };
    plan.differences = Some(found);
}

/// What differs; where nothing does, the plan gets the identities that are there.
fn take_over(plan: &mut Plan, observed: &Observed) -> Vec<String> {
    let mut comparison = Comparison { plan: &*plan, observed, nodes: HashMap::new(), found: Vec::new() };
    comparison.all();
    let Comparison { nodes, found, .. } = comparison;
    if found.is_empty() {
        adopt(plan, observed, &nodes);
    }
    found
}

/// The number of the layout that levels 5 and 6 have where nobody chooses.
const LEFT_SYMMETRIC: u32 = 2;

/// The layout of a level 10 by its number, where documents have a word for it.
pub(super) fn raid10_layout(number: u32) -> Option<Raid10Layout> {
    let (near, far, offset) = (number & 0xff, number >> 8 & 0xff, number >> 16);
    let (kind, copies) = match (near, far, offset) {
        (copies, 1, 0) => ('n', copies),
        (1, copies, 0) => ('f', copies),
        (1, copies, 1) => ('o', copies),
        _ => return None,
    };
    (2..=9).contains(&copies).then_some(Raid10Layout { kind, copies })
}

/// The level of an array, where documents have it; with parity only in the usual layout.
pub(super) fn level(array: &Array) -> Option<Level> {
    let md::Level::Raid(number) = array.level else { return None };
    let level = Level::from_number(number.into())?;
    let usual = match level {
        Level::Raid5 | Level::Raid6 => array.layout == LEFT_SYMMETRIC,
        Level::Raid10 => raid10_layout(array.layout).is_some(),
        Level::Raid0 | Level::Raid1 => true,
    };
    usual.then_some(level)
}

/// The identities that are there become those of the plan.
fn adopt(plan: &mut Plan, observed: &Observed, nodes: &HashMap<Device, Node>) {
    for (disk, is) in plan.disks.iter_mut().zip(&observed.disks) {
        let Some(table) = &is.table else { continue };
        disk.guid = table.guid;
        for p in &mut disk.partitions {
            if let Some(is) = table.partitions.iter().find(|q| q.number == p.number) {
                p.uuid = is.uuid;
            }
        }
    }
    for (i, array) in plan.arrays.iter_mut().enumerate() {
        if let Some(Node::Array(n)) = nodes.get(&Device::Array(i)) {
            array.uuid = observed.arrays[*n].uuid;
        }
    }
    for (i, crypt) in plan.crypts.iter_mut().enumerate() {
        if let Some(Node::Crypt(n)) = nodes.get(&Device::Crypt(i))
            && let Ok(uuid) = observed.crypts[*n].header.uuid.parse()
        {
            crypt.uuid = uuid;
        }
    }
    for group in &mut plan.groups {
        let Some(is) = observed.groups.iter().find(|g| g.name == group.name) else { continue };
        for (device, uuid) in &mut group.pvs {
            if let Some(pv) = is.pvs.iter().find(|p| p.on.is_some() && p.on == nodes.get(device).copied()) {
                uuid.clone_from(&pv.uuid);
            }
        }
    }
    let uuid_on = |device: &Device| observed.filesystem_on(*nodes.get(device)?)?.uuid.clone();
    for fs in &mut plan.filesystems {
        if let Some(uuid) = uuid_on(&fs.on) {
            fs.uuid = uuid;
        }
        for (device, uuid) in &mut fs.mirrors {
            if let Some(is) = uuid_on(device) {
                *uuid = is;
            }
        }
    }
}

/// For tests: what differs.
#[cfg(test)]
pub(super) fn differing(plan: &Plan, observed: &Observed) -> Vec<String> {
    take_over(&mut plan.clone(), observed)
}

#[cfg(test)]
mod tests;
