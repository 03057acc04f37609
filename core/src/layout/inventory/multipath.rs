//! Several paths to one disk become one disk.
//!
//! ```text
//! sda, sdc ── held by a map "mpath-…" ──> one disk, opened through the map
//! sda, sdc ── one wwid, no map ─────────> one disk that cannot be used yet (F206)
//! ```
//!
//! NVMe paths are made one by the kernel itself, unless that is switched off; then they look like the second case.

use super::disk::{Disk, Holder, Multipath, Path, Transport};
use super::natural;
use super::tree::{Device, Tree};
use super::udev::Entry;
use std::collections::BTreeMap;

pub(super) fn collapse(tree: &Tree, mut disks: Vec<Disk>) -> Vec<Disk> {
    // By place, so that the kernel's names do not decide which path stands for the disk.
    disks.sort_by_cached_key(|d| (d.by_path.first().map(|p| natural(p)), natural(&d.name)));
    let mut groups: BTreeMap<Key, Vec<Disk>> = BTreeMap::new();
    let (mut maps, mut alone) = (Vec::new(), Vec::new());
    for disk in disks {
        match key(&disk) {
            _ if is_map(tree, &disk) => maps.push(disk),
            Some(key) => groups.entry(key).or_default().push(disk),
            None => alone.push(disk),
        }
    }
    for mut group in groups.into_values() {
        let holder = group.iter().find_map(map_of).map(|h| h.number);
        let map = maps.iter().find(|m| Some(m.number) == holder);
        let rest = group.split_off(1);
        let first = group.pop();
        match (first, map) {
            (Some(first), None) if rest.is_empty() => alone.push(first),
            (first, map) => alone.extend(first.map(|f| one(tree, f, rest, map))),
        }
    }
    alone
}

/// The map that holds a path.
fn map_of(path: &Disk) -> Option<&Holder> {
    path.holders.iter().find(|h| h.kind == "mpath" && h.on.contains(&path.name))
}

/// A map by its UUID, which multipath gives it.
fn is_map(tree: &Tree, disk: &Disk) -> bool {
    let uuid = tree.text(&format!("sys/block/{}/dm/uuid", disk.name));
    disk.transport == Transport::Dm && uuid.is_some_and(|u| u.starts_with("mpath-"))
}

/// Of a map of multipath a path to its disk; any other device as it is.
pub(super) fn path_of(tree: &Tree, device: Device) -> Device {
    let uuid = tree.attribute(&device, "dm/uuid");
    let paths = || tree.inside(&device, "slaves").into_iter().min_by_key(|n| natural(n));
    let path = uuid.filter(|u| u.starts_with("mpath-")).and_then(|_| paths());
    path.and_then(|name| tree.linked(&device, &format!("slaves/{name}"))).unwrap_or(device)
}

/// What paths to one disk have in common.
type Key = (String, Option<String>, u64);

/// None where disks are not reached over several paths: cheap sticks and adapters share made up names.
fn key(disk: &Disk) -> Option<Key> {
    let has_paths = matches!(
        disk.transport,
        Transport::Nvme | Transport::Sas | Transport::Fc | Transport::Iscsi | Transport::Scsi | Transport::Virtio
    );
    let by_map = || map_of(disk)?.uuid.clone().map(|uuid| (uuid, None, disk.size));
    let Some(wwid) = disk.wwid.clone().filter(|_| has_paths && disk.size > 0) else { return by_map() };
    // Volumes of one controller may have the same weak name; the serial number tells them apart.
    let is_strong = ["naa.", "eui.", "uuid."].iter().any(|p| wwid.starts_with(p));
    let serial = (!is_strong).then(|| disk.serial.clone());
    if serial == Some(None) {
        return by_map();
    }
    Some((wwid, serial.flatten(), disk.size))
}

fn one(tree: &Tree, mut first: Disk, rest: Vec<Disk>, map: Option<&Disk>) -> Disk {
    let path = |d: &Disk| Path { name: d.name.clone(), number: d.number, by_path: d.by_path.clone() };
    let paths: Vec<Path> = std::iter::once(&first).chain(&rest).map(path).collect();
    let mut by_path = first.by_path.clone();
    let mut by_id = first.by_id.clone();
    let mut holders = first.holders.clone();
    let mut uses = first.uses.clone();
    let mut read_only = first.read_only;
    for d in rest {
        by_id.extend(d.by_id);
        by_path.extend(d.by_path);
        holders.extend(d.holders);
        uses.extend(d.uses);
        read_only |= d.read_only;
    }
    by_id.extend(map.iter().flat_map(|m| m.by_id.clone()));
    by_id.sort();
    by_id.dedup();
    uses.sort();
    uses.dedup();
    if let Some(map) = map {
        // What a path is held by is the map, and through it everything else.
        holders = map.holders.clone();
        (first.name, first.number) = (map.name.clone(), map.number);
        (first.size, first.logical_sector) = (map.size, map.logical_sector);
        first.partitions = map.partitions.clone();
    } else {
        holders.dedup();
    }
    let label = map.and_then(|m| {
        let udev = Entry::read(tree, m.number).property("DM_NAME").map(str::to_owned);
        tree.text(&format!("sys/block/{}/dm/name", m.name)).or(udev)
    });
    Disk {
        by_id,
        by_path,
        holders,
        uses,
        read_only: map.map_or(read_only, |m| m.read_only),
        multipath: Some(Multipath { map: label, paths }),
        ..first
    }
}
