//! Where each partition begins and ends. Whole numbers only; the same answer every time.
//!
//! ```text
//! |1 MiB|  bios-boot | esp | the others in document order …      |free| backup table|
//!       ^ first                                              end ^
//! ```
//!
//! Everything is a multiple of [`ALIGN`]. What is left after fixed sizes, shares and minimums goes to the growing
//! partitions by weight, one MiB after the other to the one that is furthest behind its weight (d'Hondt). That method
//! never takes from anyone when there is more to share, so a bigger disk never makes a partition smaller.

use super::size::Size;
use super::spec::{FsType, PartitionType};
use crate::units::human;
use std::fmt::Write as _;

/// Alignment of partitions, in bytes.
pub const ALIGN: u64 = 1 << 20;
/// Entries of the table.
const ENTRIES: u64 = 128;
/// Bytes of an entry.
const ENTRY_SIZE: u64 = 128;

/// What is wanted of one partition.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name, for messages.
    pub name: String,
    /// Its type.
    pub kind: PartitionType,
    /// Its size in the document.
    pub size: Size,
    /// Its number, where the document gives one.
    pub number: Option<u32>,
    /// The filesystem that will be made on it.
    pub filesystem: Option<FsType>,
}

/// Where one partition comes to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its number in the table.
    pub number: u32,
    /// The first byte.
    pub start: u64,
    /// The length in bytes.
    pub length: u64,
}

/// A disk that is too small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooSmall {
    /// What the partitions need together, in bytes.
    pub needed: u64,
    /// What the disk has for partitions, in bytes.
    pub usable: u64,
    /// The size that a disk must have at least, in bytes.
    pub disk: u64,
    /// Who needs how much.
    pub table: String,
}

/// The bytes of a disk that partitions can have: from 1 MiB to the last whole MiB before the backup table.
#[must_use]
pub fn usable(size: u64, sector: u32) -> (u64, u64) {
    let end = size.saturating_sub(backup_bytes(sector)) / ALIGN * ALIGN;
    (ALIGN, end.max(ALIGN))
}

/// Bytes at the end of a disk for the backup table and its header.
#[must_use]
pub fn backup_bytes(sector: u32) -> u64 {
    (ENTRIES * ENTRY_SIZE).next_multiple_of(sector.into()) + u64::from(sector)
}

/// Places the partitions of one disk of `size` bytes; the answer is in the order of `wanted`.
///
/// # Errors
/// [`TooSmall`] when the least sizes do not fit.
pub fn solve(wanted: &[Wanted], size: u64, sector: u32) -> Result<Vec<Placed>, TooSmall> {
    let (first, end) = usable(size, sector);
    let capacity = (end - first) / ALIGN;
    let mut sizes: Vec<u64> = wanted.iter().map(|w| least(w, capacity)).collect();
    let needed = sizes.iter().fold(0u64, |sum, s| sum.saturating_add(*s));
    if needed > capacity {
        return Err(too_small(wanted, &sizes, needed, capacity, sector));
    }
    grow(wanted, &mut sizes, capacity - needed);
    let numbers = numbers(wanted);
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    // Some firmware looks only at the first partitions.
    order.sort_by_key(|i| match wanted[*i].kind {
        kind if kind.is("bios-boot") => 0,
        kind if kind.is("esp") => 1,
        _ => 2,
    });
    let mut placed = vec![Placed { number: 0, start: 0, length: 0 }; wanted.len()];
    let mut at = first;
    for i in order {
        let length = sizes[i] * ALIGN;
        placed[i] = Placed { number: numbers[i], start: at, length };
        at += length;
    }
    Ok(placed)
}

/// The least size, in MiB.
fn least(wanted: &Wanted, capacity: u64) -> u64 {
    let content = wanted.filesystem.map_or(1, |f| f.minimum().div_ceil(ALIGN));
    let esp = if wanted.kind.is("esp") { 100 } else { 1 };
    match wanted.size {
        Size::Fixed(bytes) => bytes.bytes().div_ceil(ALIGN),
        Size::Percent(p) => p.of(capacity).max(content),
        Size::Of { .. } => content,
        Size::Rest => content.max(esp),
        Size::Flex { min, .. } => min.bytes().div_ceil(ALIGN).max(content).max(esp),
    }
}

/// Shares `left` MiB out.
fn grow(wanted: &[Wanted], sizes: &mut [u64], left: u64) {
    struct Grower {
        index: usize,
        weight: u64,
        room: u64,
        given: u64,
    }
    let mut growers: Vec<Grower> = wanted
        .iter()
        .enumerate()
        .filter_map(|(index, w)| {
            let (max, weight) = match w.size {
                Size::Rest => (None, 1),
                Size::Flex { max, weight, .. } => (max.map(|m| m.bytes() / ALIGN), u64::from(weight)),
                Size::Fixed(_) | Size::Percent(_) | Size::Of { .. } => return None,
            };
            Some(Grower { index, weight, room: max.map_or(u64::MAX, |m| m.saturating_sub(sizes[index])), given: 0 })
        })
        .collect();
    // In T rounds everyone gets T times its weight, as far as it has room: find the most whole rounds that fit …
    let after = |growers: &[Grower], rounds: u64| -> u128 {
        growers.iter().map(|g| u128::from(g.room).min(u128::from(rounds) * u128::from(g.weight))).sum()
    };
    let (mut low, mut high) = (0u64, left);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if after(&growers, middle) <= u128::from(left) { low = middle } else { high = middle - 1 }
    }
    for g in &mut growers {
        g.given = g.room.min(low.saturating_mul(g.weight));
    }
    let mut left = left - growers.iter().map(|g| g.given).sum::<u64>();
    // … and hand out the rest of less than one round singly.
    while left > 0 {
        let behind = growers.iter_mut().filter(|g| g.given < g.room).min_by(|a, b| {
            // (a.given + 1) / a.weight against (b.given + 1) / b.weight; the earlier one when they are equal.
            let (a, b) = ((a.given + 1, a.weight), (b.given + 1, b.weight));
            (u128::from(a.0) * u128::from(b.1)).cmp(&(u128::from(b.0) * u128::from(a.1)))
        });
        let Some(g) = behind else { break };
        g.given += 1;
        left -= 1;
    }
    for g in growers {
        sizes[g.index] += g.given;
    }
}

/// The number of each: its own, or the lowest that is free.
fn numbers(wanted: &[Wanted]) -> Vec<u32> {
    let taken: Vec<u32> = wanted.iter().filter_map(|w| w.number).collect();
    let mut free = (1..).filter(|n| !taken.contains(n));
    wanted.iter().map(|w| w.number.unwrap_or_else(|| free.next().unwrap_or(0))).collect()
}

fn too_small(wanted: &[Wanted], sizes: &[u64], needed: u64, capacity: u64, sector: u32) -> TooSmall {
    let mut table = String::new();
    for (w, size) in wanted.iter().zip(sizes) {
        let sign = if matches!(w.size, Size::Rest | Size::Flex { .. }) { "≥ " } else { "" };
        let comma = if table.is_empty() { "" } else { ", " };
        let _ = write!(table, "{comma}{} {sign}{}", w.name, human(size.saturating_mul(ALIGN)));
    }
    let needed = needed.saturating_mul(ALIGN);
    let disk = needed.saturating_add(ALIGN).saturating_add(backup_bytes(sector));
    let disk = disk.checked_next_multiple_of(sector.into()).unwrap_or(u64::MAX);
    TooSmall { needed, usable: capacity * ALIGN, disk, table }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::size::Percent;
    use crate::units::ByteSize;
    use proptest::prelude::*;

    fn wanted(size: Size) -> Wanted {
        let kind = PartitionType::parse("linux").unwrap();
        Wanted { name: "p".into(), kind, size, number: None, filesystem: None }
    }

    fn mib(n: u64) -> ByteSize {
        ByteSize::new(n * ALIGN)
    }

    #[test]
    fn the_needed_size_is_exact_to_the_sector() {
        for sector in [512u32, 4096] {
            let list = [wanted(Size::Fixed(mib(5))), wanted(Size::Rest)];
            let need = solve(&list, ALIGN, sector).unwrap_err().disk;
            assert!(solve(&list, need, sector).is_ok(), "{sector}");
            assert!(solve(&list, need - u64::from(sector), sector).is_err(), "{sector}");
        }
    }

    #[test]
    fn order_numbers_and_rest() {
        let mut list = vec![wanted(Size::Rest), wanted(Size::Fixed(ByteSize::new(1)))];
        list[1].kind = PartitionType::parse("bios-boot").unwrap();
        list[0].number = Some(1);
        let placed = solve(&list, 1 << 30, 512).unwrap();
        assert_eq!(placed[1], Placed { number: 2, start: ALIGN, length: ALIGN });
        assert_eq!(placed[0], Placed { number: 1, start: 2 * ALIGN, length: (1 << 30) - 3 * ALIGN });
    }

    #[test]
    fn weights_and_maximums() {
        let flex = |min, max: Option<u64>, weight| Size::Flex { min: mib(min), max: max.map(mib), weight };
        let list = [wanted(flex(10, Some(20), 5)), wanted(flex(10, None, 1)), wanted(flex(10, None, 3))];
        let placed = solve(&list, 112 * ALIGN, 512).unwrap();
        // 110 usable: 30 as minimums, then 80: the first takes 10 and is full; 70 go one to three.
        let lengths: Vec<u64> = placed.iter().map(|p| p.length / ALIGN).collect();
        assert_eq!(lengths.iter().sum::<u64>(), 110);
        assert_eq!((lengths[0], lengths[1]), (20, 27));
    }

    fn sizes() -> impl Strategy<Value = Vec<Size>> {
        let one = prop_oneof![
            (1u64..200).prop_map(|n| Size::Fixed(mib(n))),
            Just(Size::Rest),
            (0u64..50, proptest::option::of(0u64..400), 1u32..=1000).prop_map(|(min, extra, weight)| Size::Flex {
                min: mib(min),
                max: extra.map(|e| mib(min + e)),
                weight
            }),
        ];
        // At most one percentage: several round down each for themselves, and together may take one MiB more.
        (proptest::collection::vec(one, 1..20), proptest::option::of(1u8..60)).prop_map(|(mut list, percent)| {
            list.extend(percent.and_then(|p| Percent::new(p.into())).map(Size::Percent));
            list
        })
    }

    proptest! {
        /// Aligned, without overlap, within the disk, the same each time; and a bigger disk shrinks nobody.
        #[test]
        fn properties(sizes in sizes(), disk in 1u64..8000, more in 0u64..300, big in any::<bool>()) {
            let sector = if big { 4096 } else { 512 };
            let list: Vec<Wanted> = sizes.into_iter().map(wanted).collect();
            let size = disk * ALIGN / 4;
            let Ok(placed) = solve(&list, size, sector) else { return Ok(()) };
            prop_assert_eq!(&placed, &solve(&list, size, sector).unwrap());
            let (first, end) = usable(size, sector);
            let mut sorted = placed.clone();
            sorted.sort_by_key(|p| p.start);
            let mut at = first;
            for p in &sorted {
                prop_assert!(p.start >= at && p.start % ALIGN == 0 && p.length > 0 && p.length % ALIGN == 0);
                at = p.start + p.length;
            }
            prop_assert!(at <= end);
            let grows = list.iter().any(|w| matches!(w.size, Size::Rest | Size::Flex { max: None, .. }));
            prop_assert!(!grows || at == end);
            let bigger = solve(&list, size + more * ALIGN / 4, sector);
            prop_assert!(bigger.is_ok());
            for (a, b) in placed.iter().zip(bigger.unwrap()) {
                prop_assert!(a.length <= b.length);
            }
        }
    }
}
