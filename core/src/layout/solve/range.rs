//! The part of a disk that partitions can have, and the unit in which they are measured.

use super::DiskSize;

/// Alignment of partitions, in bytes.
pub const ALIGN: u64 = 1 << 20;
/// Entries of the table.
const ENTRIES: u64 = 128;
/// Bytes of an entry.
const ENTRY_SIZE: u64 = 128;
/// A best length of I/O beyond this is a mistake of the device: many report 32 MiB less a sector.
const OPTIMAL_LIMIT: u64 = 16 << 20;

/// The bytes of a disk that partitions can have: from 1 MiB to the last whole MiB before the backup table.
#[must_use]
pub fn usable(size: u64, sector: u32) -> (u64, u64) {
    let end = size.saturating_sub(backup_bytes(sector)) / ALIGN * ALIGN;
    (ALIGN, end.max(ALIGN))
}

/// Bytes at the end of a disk for the backup table and its header.
#[must_use]
pub fn backup_bytes(sector: u32) -> u64 {
    let sector = u64::from(sector.max(1));
    (ENTRIES * ENTRY_SIZE).next_multiple_of(sector) + sector
}

/// The unit of a set: 1 MiB, or the least number of MiB that is a multiple of the best I/O of each of its disks.
pub(super) fn unit(disks: &[DiskSize]) -> u64 {
    let unit = disks.iter().map(|d| sane(d.optimal_io)).fold(ALIGN, lcm);
    if unit > OPTIMAL_LIMIT { ALIGN } else { unit }
}

/// A best length of I/O in MiB that can be believed, or 1 MiB.
fn sane(optimal: u64) -> u64 {
    let sane = optimal > 0 && optimal <= OPTIMAL_LIMIT && optimal.is_multiple_of(4096);
    if sane { lcm(optimal, ALIGN) } else { ALIGN }
}

pub(super) fn lcm(a: u64, b: u64) -> u64 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a.checked_div(x).map_or(0, |n| n.saturating_mul(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sector_sizes() {
        assert_eq!(backup_bytes(512), 33 * 512);
        assert_eq!(backup_bytes(4096), 5 * 4096);
        assert_eq!(usable(960_197_124_096, 512), (ALIGN, 915_715 * ALIGN));
        assert_eq!(usable(100, 512), (ALIGN, ALIGN));
    }

    #[test]
    fn units_follow_disks_that_can_be_believed() {
        let unit_of = |list: &[u64]| {
            let disks: Vec<_> = list.iter().map(|o| DiskSize { optimal_io: *o, ..DiskSize::default() }).collect();
            unit(&disks) >> 10
        };
        assert_eq!(unit_of(&[0]), 1024);
        assert_eq!(unit_of(&[512 << 10]), 1024);
        assert_eq!(unit_of(&[1536 << 10]), 3072);
        assert_eq!(unit_of(&[1536 << 10, 2 << 20]), 6144);
        // What USB bridges say; what is no multiple of 4 KiB; what would be too much together.
        assert_eq!(unit_of(&[33_553_920]), 1024);
        assert_eq!(unit_of(&[(1 << 20) + 512]), 1024);
        assert_eq!(unit_of(&[5 << 20, 7 << 20]), 1024);
    }
}
