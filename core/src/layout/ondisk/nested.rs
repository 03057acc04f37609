//! Where something may begin inside of arrays, volume groups and partition tables, as far as it can be seen without
//! the kernel.
//!
//! ```text
//! disk ─ partition 2 ─ md member ─ data ─ LVM PV ─ extents of "root"
//!                                                └ extents of "data" ─ GPT of a guest ─ its partitions
//! ```
//!
//! A superblock that was wiped from an array does not take what lies inside with it: an array of the same geometry,
//! made again, shows the old volume group. So what is erased is erased in here, too. Of arrays with chunks only the
//! first member shows where the data begins, which is enough: it is there that a label stands. What is encrypted cannot
//! be seen, and does not come back without its header.

use super::{lvm, mbr, md};
use crate::layout::gpt;
use crate::layout::place::Place;
use std::collections::{BTreeSet, VecDeque};
use std::io;

/// More places are not looked at: a group with a thousand volumes of several pieces has fewer.
const LIMIT: usize = 4096;
/// How deep they may be nested.
const DEPTH: usize = 6;

/// Every place inside of this one, as start on the device and length; the place itself is not among them.
///
/// # Errors
/// Of the device.
pub fn places(outer: &Place<'_>, sector: u32) -> io::Result<Vec<(u64, u64)>> {
    let mut found = BTreeSet::new();
    let mut queue = VecDeque::from([(*outer, 0)]);
    while let Some((place, depth)) = queue.pop_front() {
        for inner in inside(&place, sector)? {
            let own = (inner.start(), inner.length());
            let new = own.1 > 0 && own != (outer.start(), outer.length()) && found.len() < LIMIT && found.insert(own);
            if new && depth + 1 < DEPTH {
                queue.push_back((inner, depth + 1));
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// What begins directly in a place.
fn inside<'a>(place: &Place<'a>, sector: u32) -> io::Result<Vec<Place<'a>>> {
    let mut found = Vec::new();
    for member in md::read_all(place)? {
        // An array is not longer than what its members use, but its own tail may be looked for at either end.
        found.push(place.within(member.data_offset, member.data_size));
        if member.member_size > 0 && member.member_size < member.data_size {
            found.push(place.within(member.data_offset, member.member_size));
        }
    }
    if let Some(volume) = lvm::read(place)?
        && let Some(group) = volume.group()
    {
        found.extend(segments(group, &volume.uuid).map(|(start, length)| place.within(start, length)));
    }
    // A guest may have the other sector size.
    for size in [sector, 512, 4096] {
        if let Some(table) = gpt::read(place, size)?.table() {
            let entries = table.entries.values().map(|e| table.bytes(e));
            found.extend(entries.map(|(start, length)| place.within(start, length)));
            return Ok(found);
        }
    }
    found.extend(mbr::partitions(place, sector)?.into_iter().map(|(start, length)| place.within(start, length)));
    Ok(found)
}

/// Where the pieces of logical volumes lie on the physical volume with this identity.
fn segments(group: &lvm::text::VolumeGroup, uuid: &str) -> impl Iterator<Item = (u64, u64)> {
    let own: Vec<_> = group.physical.iter().filter(|p| p.uuid == uuid).collect();
    let pieces = group.logical.iter().flat_map(|l| &l.segments).flat_map(lvm::text::Segment::areas);
    pieces.filter_map(move |(on, extents)| {
        let volume = own.iter().find(|p| p.name == on.volume)?;
        let start = on.extent.checked_mul(group.extent_size)?.checked_add(volume.start)?;
        Some((start, extents.saturating_mul(group.extent_size)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::lvm::export::Written;
    use super::super::lvm::text::tests::group;
    use super::super::md::write::{Array, Member};
    use super::*;
    use uuid::Uuid;

    const MIB: u64 = 1 << 20;

    fn put(disk: &mut [u8], base: u64, pieces: Vec<super::super::Piece>) {
        for (at, bytes) in pieces {
            let at = usize::try_from(base + at).unwrap();
            disk[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }

    #[test]
    fn what_lies_in_an_array_in_a_partition_is_found() {
        let mut disk = vec![0u8; 32 << 20];
        let array = Array {
            uuid: Uuid::from_u128(1),
            name: "any:pv".into(),
            version: md::Version::V1_2,
            level: md::Level::Raid(1),
            layout: 0,
            chunk: 0,
            raid_disks: 1,
            member_size: 8 * MIB,
            data_offset: MIB,
            bitmap: false,
            clean: true,
            created: 1,
        };
        let member = Member { role: 0, uuid: Uuid::from_u128(2), size: 16 * MIB };
        put(&mut disk, 4 * MIB, array.member(&member).unwrap());
        put(&mut disk, 5 * MIB, lvm::write(&group(), "pv0", &Written::default()).unwrap());
        let inside = places(&Place::new(&disk, 4 * MIB, 16 * MIB), 512).unwrap();
        // The data of the array, as long as the member and as long as it is used; then extents at 6 MiB and 2 after.
        for expected in [(5, 15), (5, 8), (6, 2), (8, 2)] {
            assert!(inside.contains(&(expected.0 * MIB, expected.1 * MIB)), "{expected:?} {inside:?}");
        }
        assert_eq!(inside.len(), 4);
        assert!(places(&Place::new(&disk, 0, 4 * MIB), 512).unwrap().is_empty());
    }

    #[test]
    fn partitions_of_an_mbr_are_found() {
        let mut disk = vec![0u8; 4 << 20];
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        disk[446 + 4] = 0x83;
        disk[446 + 8..446 + 16].copy_from_slice(&[0, 8, 0, 0, 0, 4, 0, 0]);
        assert_eq!(places(&Place::whole(&disk), 512).unwrap(), [(MIB, MIB / 2)]);
    }

    #[test]
    fn a_thing_that_contains_itself_ends() {
        let mut disk = vec![0u8; 4 << 20];
        let array = Array {
            uuid: Uuid::from_u128(1),
            name: "loop".into(),
            version: md::Version::V1_0,
            level: md::Level::Raid(0),
            layout: 0,
            chunk: 65536,
            raid_disks: 1,
            member_size: 0,
            data_offset: 0,
            bitmap: false,
            clean: true,
            created: 1,
        };
        put(&mut disk, 0, array.member(&Member { role: 0, uuid: Uuid::from_u128(2), size: 4 * MIB }).unwrap());
        let inside = places(&Place::whole(&disk), 512).unwrap();
        assert_eq!(inside.len(), 1, "{inside:?}");
    }
}
