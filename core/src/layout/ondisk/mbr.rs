//! The partitions of an MBR, logical ones included: where something was on a disk that had no GPT.
//!
//! ```text
//! sector 0: four entries ─ primary
//!                        └ extended ─> EBR: entry 0 a logical one, counted from here
//!                                          entry 1 the next EBR, counted from the begin of the extended one
//! ```

use super::Fields;
use crate::layout::place::Place;
use std::io;

const SECTOR: usize = 512;
const ENTRIES: usize = 446;
/// Longer chains are not followed; a chain may lead in circles.
const CHAIN_LIMIT: usize = 128;

struct Entry {
    kind: u8,
    first: u64,
    count: u64,
}

impl Entry {
    fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }
}

/// Start and length in bytes of every partition that fits into the place.
///
/// # Errors
/// Of the device.
pub fn partitions(place: &Place<'_>, sector: u32) -> io::Result<Vec<(u64, u64)>> {
    let size = u64::from(sector);
    let mut found = Vec::new();
    for entry in entries(place, 0)? {
        found.push((entry.first * size, entry.count * size));
        if entry.is_extended() {
            logical(place, size, entry.first, &mut found)?;
        }
    }
    found.retain(|(start, length)| start.checked_add(*length).is_some_and(|end| end <= place.length()));
    Ok(found)
}

fn logical(place: &Place<'_>, size: u64, begin: u64, found: &mut Vec<(u64, u64)>) -> io::Result<()> {
    let mut at = begin;
    for _ in 0..CHAIN_LIMIT {
        let here = entries(place, at * size)?;
        found.extend(here.iter().filter(|e| !e.is_extended()).map(|e| ((at + e.first) * size, e.count * size)));
        match here.iter().find(|e| e.is_extended()) {
            Some(next) => at = begin + next.first,
            None => break,
        }
    }
    Ok(())
}

/// The entries of the table at this offset; none when there is no table.
fn entries(place: &Place<'_>, offset: u64) -> io::Result<Vec<Entry>> {
    let Some(bytes) = place.bytes(offset, SECTOR)? else { return Ok(Vec::new()) };
    let f = Fields(&bytes);
    let at = |n: usize| ENTRIES + 16 * n;
    // The boot sector of a FAT filesystem ends with the same two bytes; code is where the entries would be.
    if f.be16(510) != 0x55aa || (0..4).any(|n| !matches!(bytes[at(n)], 0 | 0x80)) {
        return Ok(Vec::new());
    }
    let all = (0..4).map(at).map(|at| Entry {
        kind: bytes[at + 4],
        first: f.u32(at + 8).into(),
        count: f.u32(at + 12).into(),
    });
    // 0xee is the protective entry of a GPT, which says itself what there is.
    Ok(all.filter(|e| !matches!(e.kind, 0 | 0xee) && e.first > 0 && e.count > 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(disk: &mut [u8], sector: usize, entries: &[(u8, u32, u32)]) {
        let base = sector * SECTOR;
        disk[base + 510..base + 512].copy_from_slice(&[0x55, 0xaa]);
        for (n, (kind, first, count)) in entries.iter().enumerate() {
            let at = base + ENTRIES + 16 * n;
            disk[at + 4] = *kind;
            disk[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
            disk[at + 12..at + 16].copy_from_slice(&count.to_le_bytes());
        }
    }

    #[test]
    fn primary_and_logical_ones_are_found() {
        let mut disk = vec![0u8; 1 << 20];
        put(&mut disk, 0, &[(0x83, 64, 100), (0x05, 200, 800), (0xee, 1, 9), (0x83, 2000, 100)]);
        put(&mut disk, 200, &[(0x83, 10, 50), (0x05, 300, 100)]);
        put(&mut disk, 500, &[(0x82, 20, 60)]);
        let found = partitions(&Place::whole(&disk), 512).unwrap();
        let sectors: Vec<(u64, u64)> = found.iter().map(|(s, l)| (s / 512, l / 512)).collect();
        assert_eq!(sectors, [(64, 100), (200, 800), (210, 50), (520, 60)]);
        // Code where the entries would be.
        disk[ENTRIES] = 7;
        assert!(partitions(&Place::whole(&disk), 512).unwrap().is_empty());
    }

    #[test]
    fn a_circle_ends() {
        let mut disk = vec![0u8; 1 << 20];
        put(&mut disk, 0, &[(0x0f, 100, 800)]);
        put(&mut disk, 100, &[(0x83, 10, 50), (0x05, 200, 100)]);
        put(&mut disk, 300, &[(0x83, 10, 50), (0x05, 200, 100)]);
        assert!(partitions(&Place::whole(&disk), 512).unwrap().len() <= 2 + CHAIN_LIMIT);
    }

    proptest! {
        /// Any table is read, and what it says lies in the place.
        #[test]
        fn any_table_is_read(raw in proptest::collection::vec((any::<u8>(), any::<u32>(), any::<u32>()), 4), small in any::<bool>()) {
            let mut disk = vec![0u8; 64 << 10];
            let fit = |n: u32| if small { n % 128 } else { n };
            let entries: Vec<(u8, u32, u32)> = raw.iter().map(|(k, f, c)| (*k, fit(*f), fit(*c))).collect();
            for sector in [0, 1, 17, 100] {
                put(&mut disk, sector, &entries);
            }
            for sector in [512, 4096] {
                for (start, length) in partitions(&Place::whole(&disk), sector).unwrap() {
                    prop_assert!(length > 0 && start + length <= 64 << 10);
                }
            }
        }
    }
}
