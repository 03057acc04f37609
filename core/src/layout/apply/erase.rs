//! Erasing what could be taken for something else later: signatures at every old and every new boundary.
//!
//! The places of the partition table itself are left out: [`super::gpt`] replaces them in an order that always leaves
//! a valid one.

use crate::error::{Error, Result};
use crate::layout::device::ReadAt;
use crate::layout::gate::Gate;
use crate::layout::gpt::Table;
use crate::layout::plan::{PlannedDisk, PlannedPartition};
use crate::layout::signature;
use crate::layout::solve::backup_bytes;
use crate::layout::spec::Wipe;

const MIB: u64 = 1 << 20;
/// Copies of the superblock of btrfs.
const BTRFS: [u64; 2] = [64 << 20, 256 << 30];
/// Where the second header of LUKS2 may stand; it is found by its own magic.
const LUKS2: [u64; 9] = [0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000, 0x40_0000];

/// What is filled with zeros: pairs of begin and end in bytes, sorted, apart from each other.
///
/// `places` are whole disk, old and new partitions, as begin and length; nothing outside of `between` is erased.
#[must_use]
pub fn ranges(size: u64, between: (u64, u64), places: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    for (start, length) in places {
        let Some(end) = start.checked_add(*length).filter(|e| *e <= size) else { continue };
        let mut add = |offset: u64, bytes: u64| {
            let from = start.saturating_add(offset);
            if from < end {
                all.push((from, end.min(from.saturating_add(bytes))));
            }
        };
        add(0, MIB);
        add(length.saturating_sub(MIB), MIB);
        BTRFS.iter().for_each(|offset| add(*offset, 4096));
        LUKS2.iter().for_each(|offset| add(*offset, 4096));
    }
    all.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from, end) in all {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((from, end)),
        }
    }
    let (low, high) = (between.0, between.1.min(size));
    merged.into_iter().map(|(from, end)| (from.max(low), end.min(high))).filter(|(from, end)| from < end).collect()
}

/// What lies between the two copies of the table, the new one and the old one: an old array may be longer, and the old
/// table holds until the new one is written.
fn between(size: u64, sector: u32, old: Option<&Table>) -> (u64, u64) {
    let (low, high) = (u64::from(sector) + backup_bytes(sector), size.saturating_sub(backup_bytes(sector)));
    let Some(old) = old else { return (low, high) };
    let bytes = |lba: u64| lba.saturating_mul(sector.into());
    // Not more than the first and the last MiB: beyond them only partitions lie, whatever an odd table says.
    let first = bytes(old.first_usable).min(MIB);
    let last = bytes(old.last_usable.saturating_add(1)).max(size.saturating_sub(MIB));
    (low.max(first), high.min(last))
}

/// Erases what the document says (`wipe`), and looks again.
///
/// Where a filesystem will be made, what is there now goes in any case; a partition without one keeps it with
/// `wipe: table` and `none`.
///
/// # Errors
/// `Integrity` when something is still recognised afterwards; `Io`.
pub fn erase(gate: &Gate, disk: &PlannedDisk, with_filesystem: &[usize]) -> Result<()> {
    let old = disk.facts.contents.table.table();
    let everything = !matches!(disk.wipe, Wipe::None | Wipe::Table);
    let partitions = disk.partitions.iter().enumerate();
    let gone: Vec<&PlannedPartition> =
        partitions.filter(|(i, _)| everything || with_filesystem.contains(i)).map(|(_, p)| p).collect();
    let mut places: Vec<(u64, u64)> = gone.iter().map(|p| (p.start, p.length)).collect();
    if everything {
        places.push((0, gate.size()));
        places.extend(old.iter().flat_map(|t| t.entries.values().map(|e| t.bytes(e))));
    }
    let between = between(gate.size(), gate.sector(), old);
    for (from, end) in ranges(gate.size(), between, &places) {
        gate.zero(from, end - from)?;
    }
    // The backup of a table that was made when the disk was smaller.
    let stray = old.map(|t| t.other.saturating_mul(u64::from(gate.sector())));
    if let Some(at) = stray.filter(|at| everything && *at >= between.0 && *at < between.1) {
        gate.zero(at, u64::from(gate.sector()))?;
    }
    gate.flush()?;
    gone.iter().try_for_each(|p| expect_nothing(gate, p.start, p.length))
}

/// Erases what lies in a device that was just made: it may have lain on the same disks before.
///
/// # Errors
/// As [`erase`].
pub fn inside(gate: &Gate) -> Result<()> {
    for (from, end) in ranges(gate.size(), (0, gate.size()), &[(0, gate.size())]) {
        gate.zero(from, end - from)?;
    }
    gate.flush()?;
    expect_nothing(gate, 0, gate.size())
}

fn expect_nothing(gate: &Gate, start: u64, length: u64) -> Result<()> {
    let left = signature::find(gate, start, length).map_err(|e| Error::io("read", gate.name(), e))?;
    match left.first() {
        None => Ok(()),
        Some(s) => {
            let text = format!("{s} is still there on {} after it was erased", gate.name());
            Err(Error::integrity(text).fact("code", "A402"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn boundaries_are_covered_and_the_table_is_not() {
        let size = 1 << 30;
        let got = ranges(size, between(size, 512, None), &[(0, size), (10 * MIB, 20 * MIB)]);
        assert_eq!(got[0], (34 * 512, MIB + 4096));
        assert!(got.contains(&(10 * MIB, 11 * MIB + 4096)) && got.contains(&(29 * MIB, 30 * MIB)));
        assert_eq!(got.last(), Some(&(size - MIB, size - 33 * 512)));
    }

    #[test]
    fn an_old_table_with_a_longer_array_is_left_alone() {
        let size = 1 << 30;
        let old = Table {
            disk: uuid::Uuid::from_u128(1),
            sector: 512,
            first_usable: 66,
            last_usable: size / 512 - 66,
            other: size / 512 - 1,
            entries: std::collections::BTreeMap::new(),
        };
        assert_eq!(between(size, 512, Some(&old)), (66 * 512, size - 65 * 512));
        let odd = Table { first_usable: u64::MAX, last_usable: 0, ..old };
        assert_eq!(between(size, 512, Some(&odd)), (MIB, size - MIB));
    }

    proptest! {
        /// Sorted, apart, within the disk and off the table, whatever an old table says.
        #[test]
        fn ranges_are_sane(size in 0u64..1 << 40, places in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..8)) {
            let mut places = places;
            places.push((0, size));
            let got = ranges(size, between(size, 4096, None), &places);
            for (from, end) in &got {
                prop_assert!(from < end && *end <= size && *from >= 6 * 4096);
            }
            prop_assert!(got.windows(2).all(|w| w[0].1 < w[1].0));
        }
    }
}
