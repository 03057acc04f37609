//! Erasing what could be taken for something else later: signatures at every old and every new boundary, and inside of
//! what was there.
//!
//! ```text
//! places ── what is made anew      ┐  first and last MiB, and ┌ without what is kept ┐
//! frames ── disk, old partitions,  ├─ every area in which ────┤                      ├─> ranges ─> zeros ─> look again
//!           what was nested there  ┘  something can be found  └ off the table        ┘
//! ```
//!
//! A frame is erased around what is kept; a place that touches something kept is a mistake, which is told before
//! anything is written. The places of the partition table itself are left out: [`super::gpt`] replaces them in an order
//! that always leaves a valid one.

use crate::error::{Error, Result};
use crate::layout::device::{ReadAt, WriteAt};
use crate::layout::gate::Gate;
use crate::layout::gpt::Table;
use crate::layout::ondisk::nested;
use crate::layout::place::Place;
use crate::layout::plan::{PlannedDisk, PlannedPartition};
use crate::layout::ranges::Ranges;
use crate::layout::signature;
use crate::layout::solve::backup_bytes;
use crate::layout::spec::Wipe;
use crate::units::human;
use std::io;

const MIB: u64 = 1 << 20;

/// What goes and what stays on a device. Places and frames are start and length in bytes.
#[derive(Clone, Debug)]
pub struct Erasure {
    /// What is made anew: partitions, arrays, volumes.
    pub places: Vec<(u64, u64)>,
    /// What was there, or holds the places: disk, old partitions.
    pub frames: Vec<(u64, u64)>,
    /// What is never written.
    pub keep: Ranges,
    /// Nothing outside of it is written: there the partition table lies.
    pub between: (u64, u64),
}

impl Erasure {
    /// All of a device: of an array or a volume that was just made, and may show what lay on its members.
    #[must_use]
    pub fn whole(size: u64) -> Self {
        Self { places: vec![(0, size)], frames: Vec::new(), keep: Ranges::new(), between: (0, size) }
    }

    /// What is filled with zeros on a device of this size, without what is nested, which only the device tells.
    ///
    /// # Errors
    /// `Refused` with the code `A406` when a place touches what is kept.
    pub fn ranges(&self, size: u64) -> Result<Ranges> {
        for (start, length) in &self.places {
            if let Some((from, end)) = self.keep.touching(*start, *length) {
                let place = format!("{} at {}", human(*length), human(*start));
                let kept = format!("{} at {}", human(end - from), human(from));
                return Err(Error::refused(format!("erasing {place} would touch what is kept: {kept}"))
                    .hint("this is a mistake of the plan: nothing was written")
                    .fact("code", "A406")
                    .fact("place", [*start, *length].as_slice())
                    .fact("kept", [from, end - from].as_slice()));
            }
        }
        let all: Vec<(u64, u64)> = self.places.iter().chain(&self.frames).copied().collect();
        Ok(ranges(size, self.between, &all).without(&self.keep))
    }

    /// Erases, also what is nested in places and frames, and looks again.
    ///
    /// # Errors
    /// As [`Erasure::ranges`], before anything is written; `Integrity` with the code `A402` when something is still
    /// recognised afterwards; `Io`. `name` stands for the device in messages.
    pub fn run(&self, device: &dyn WriteAt, sector: u32, name: &str) -> Result<()> {
        self.ranges(device.size())?;
        let mut deep = self.clone();
        let reader = Reader(device);
        for (start, length) in self.places.iter().chain(&self.frames) {
            let inner = nested::places(&Place::new(&reader, *start, *length), sector);
            deep.frames.extend(inner.map_err(|e| Error::io("read", name, e))?);
        }
        deep.frames.sort_unstable();
        deep.frames.dedup();
        for (from, end) in deep.ranges(device.size())?.iter() {
            zero(device, from, end - from).map_err(|e| Error::io("erase", name, e))?;
        }
        device.sync().map_err(|e| Error::io("write", name, e))?;
        deep.check(&reader, name)
    }

    /// Looks for what is still there; what is kept and what lies outside does not count.
    ///
    /// # Errors
    /// `Integrity` with the code `A402`; `Io`.
    pub fn check(&self, device: &dyn ReadAt, name: &str) -> Result<()> {
        let failed = |e: io::Error| Error::io("read", name, e);
        let (low, high) = self.between;
        let counts = |at: u64| at >= low && at < high && self.keep.touching(at, 1).is_none();
        let left = |what: &str| {
            let text = format!("{what} is still there on {name} after it was erased");
            Err(Error::integrity(text).fact("code", "A402"))
        };
        for (start, length) in self.places.iter().chain(&self.frames).copied() {
            for s in signature::find(device, start, length).map_err(failed)? {
                if s.copies.iter().chain([&s.offset]).any(|offset| counts(start + offset)) {
                    return left(&s.to_string());
                }
            }
            let place = Place::new(device, start, length);
            for sector in [512, 4096] {
                for at in [Some(sector), place.length().checked_sub(sector)].into_iter().flatten() {
                    let header = place.bytes(at, 8).map_err(failed)?;
                    if header.as_deref() == Some(b"EFI PART") && counts(start + at) {
                        return left("a partition table");
                    }
                }
            }
        }
        Ok(())
    }
}

/// What is filled with zeros: the ends of these places, and every area of theirs in which something can be found.
///
/// `places` are start and length, cut off at the end of the device; nothing outside of `between` is erased.
#[must_use]
pub fn ranges(size: u64, between: (u64, u64), places: &[(u64, u64)]) -> Ranges {
    let all = places.iter().filter(|(start, _)| *start < size).flat_map(|(start, length)| {
        let length = (*length).min(size - start);
        let end = length.saturating_sub(MIB);
        let ends = [(0, MIB.min(length)), (end, length - end)];
        ends.into_iter().chain(signature::areas(length)).map(move |(offset, bytes)| (start + offset, bytes))
    });
    all.collect::<Ranges>().between(between.0, between.1.min(size))
}

/// A device that is only read: a trait object of one trait is none of the other.
struct Reader<'a>(&'a dyn WriteAt);

impl ReadAt for Reader<'_> {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buffer)
    }
}

fn zero(device: &dyn WriteAt, offset: u64, length: u64) -> io::Result<()> {
    let zeros = vec![0u8; usize::try_from(length.min(MIB)).unwrap_or(0)];
    let mut done = 0;
    while done < length {
        let piece = usize::try_from(length - done).map_or(zeros.len(), |n| n.min(zeros.len()));
        device.write_at(offset + done, &zeros[..piece])?;
        done += piece as u64;
    }
    Ok(())
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

/// Erases what the document says (`wipe`), and looks again. Nothing in `keep` is written.
///
/// Where a filesystem will be made, what is there now goes in any case; a partition without one keeps it with
/// `wipe: table` and `none`.
///
/// # Errors
/// As [`Erasure::run`].
pub fn erase(gate: &Gate, disk: &PlannedDisk, with_filesystem: &[usize], keep: &Ranges) -> Result<()> {
    let old = disk.facts.contents.table.table();
    let everything = erases_everything(disk);
    // A kept partition stays with any `wipe`; one that shall be formatted is told as the mistake that it is.
    let goes =
        |i: &usize, p: &PlannedPartition| with_filesystem.contains(i) || everything && !keep.covers(p.start, p.length);
    let gone = disk.partitions.iter().enumerate().filter(|(i, p)| goes(i, p)).map(|(_, p)| (p.start, p.length));
    let places = gone.collect();
    let mut frames = Vec::new();
    if everything {
        frames.push((0, gate.size()));
        frames.extend(old.iter().flat_map(|t| t.entries.values().map(|e| t.bytes(e))));
        // The backup of a table that was made when the disk was smaller.
        let sector = u64::from(gate.sector());
        frames.extend(old.map(|t| (t.other.saturating_mul(sector), sector)));
    }
    let between = between(gate.size(), gate.sector(), old);
    let erasure = Erasure { places, frames, keep: keep.clone(), between };
    erasure.run(gate, gate.sector(), gate.name())?;
    gate.flush()?;
    // Now from the medium, not from the cache.
    erasure.check(gate, gate.name())
}

/// Looks once more, when the new table stands: what lay under the old one is gone, too.
///
/// # Errors
/// As [`Erasure::check`].
pub fn check(gate: &Gate, disk: &PlannedDisk, keep: &Ranges) -> Result<()> {
    let size = gate.size();
    if !erases_everything(disk) {
        return Ok(());
    }
    let found = signature::find(gate, 0, size).map_err(|e| Error::io("read", gate.name(), e))?;
    let left = found.iter().find(|s| s.copies.iter().chain([&s.offset]).any(|at| keep.touching(*at, 1).is_none()));
    match left {
        Some(s) => {
            let text = format!("{s} is still there on {} after it was erased", gate.name());
            Err(Error::integrity(text).fact("code", "A402"))
        }
        None => Ok(()),
    }
}

fn erases_everything(disk: &PlannedDisk) -> bool {
    !matches!(disk.wipe, Wipe::None | Wipe::Table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::RefCell;

    #[test]
    fn boundaries_are_covered_and_the_table_is_not() {
        let size = 1 << 30;
        let got = ranges(size, between(size, 512, None), &[(0, size), (10 * MIB, 20 * MIB)]);
        let got: Vec<(u64, u64)> = got.iter().collect();
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

    /// A device in memory that counts what is written.
    struct Memory {
        bytes: RefCell<Vec<u8>>,
        writes: RefCell<Vec<(u64, u64)>>,
    }

    impl Memory {
        fn new(bytes: Vec<u8>) -> Self {
            Self { bytes: RefCell::new(bytes), writes: RefCell::default() }
        }

        fn find(&self, start: u64, length: u64) -> Vec<signature::Signature> {
            signature::find(&*self.bytes.borrow(), start, length).unwrap()
        }
    }

    impl ReadAt for Memory {
        fn size(&self) -> u64 {
            self.bytes.borrow().size()
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.bytes.borrow().read_at(offset, buffer)
        }
    }

    impl WriteAt for Memory {
        fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            let at = usize::try_from(offset).unwrap();
            self.bytes.borrow_mut()[at..at + bytes.len()].copy_from_slice(bytes);
            self.writes.borrow_mut().push((offset, bytes.len() as u64));
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn put(disk: &mut [u8], base: u64, pieces: &[(u64, Vec<u8>)]) {
        for (at, bytes) in pieces {
            let at = usize::try_from(base + at).unwrap();
            disk[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// A partition at 4 MiB with a member of an array, in which a volume group has a volume with an ext4 at 6 MiB.
    fn stack() -> Vec<u8> {
        use crate::layout::ondisk::lvm::{self, export::Written, text::tests::group};
        use crate::layout::ondisk::md::{Level, Version, write::Array, write::Member};
        let array = Array {
            uuid: uuid::Uuid::from_u128(1),
            name: "any:pv".into(),
            version: Version::V1_2,
            level: Level::Raid(1),
            layout: 0,
            chunk: 0,
            raid_disks: 1,
            member_size: 8 * MIB,
            data_offset: MIB,
            bitmap: true,
            clean: true,
            created: 1,
        };
        let member = Member { role: 0, uuid: uuid::Uuid::from_u128(2), size: 16 * MIB };
        let mut disk = vec![0u8; 32 << 20];
        put(&mut disk, 4 * MIB, &array.member(&member).unwrap());
        put(&mut disk, 5 * MIB, &lvm::write(&group(), "pv0", &Written::default()).unwrap());
        put(&mut disk, 6 * MIB, &[(0x438, vec![0x53, 0xef])]);
        disk
    }

    #[test]
    fn what_is_nested_does_not_come_back() {
        let device = Memory::new(stack());
        assert_eq!(device.find(4 * MIB, 16 * MIB)[0].kind, "linux_raid_member");
        assert_eq!(device.find(5 * MIB, 8 * MIB)[0].kind, "LVM2_member");
        assert_eq!(device.find(6 * MIB, 2 * MIB)[0].kind, "ext2");
        let erasure = Erasure { frames: vec![(4 * MIB, 16 * MIB)], places: vec![], ..Erasure::whole(32 * MIB) };
        assert!(erasure.check(&device, "it").is_err());
        erasure.run(&device, 512, "it").unwrap();
        for (start, length) in [(0, 32), (4, 16), (5, 15), (5, 8), (6, 2)] {
            assert!(device.find(start * MIB, length * MIB).is_empty());
        }
    }

    #[test]
    fn what_is_kept_is_not_touched() {
        let keep: Ranges = [(20 * MIB, 4 * MIB)].into_iter().collect();
        let kept =
            |places: &[(u64, u64)]| Erasure { places: places.to_vec(), keep: keep.clone(), ..Erasure::whole(32 * MIB) };
        // A place that touches it is a mistake; nothing is written, also not for the places that would be right.
        for place in [(19 * MIB, 2 * MIB), (21 * MIB, MIB), (23 * MIB + 100, MIB), (0, 32 * MIB)] {
            let device = Memory::new(stack());
            let e = kept(&[(4 * MIB, 16 * MIB), place]).run(&device, 512, "it").unwrap_err();
            assert_eq!((e.kind(), &e.facts()["code"]), (crate::ErrorKind::Refused, &"A406".into()));
            assert!(device.writes.borrow().is_empty());
        }
        // A frame is erased around it, and what is in it does not count as left.
        let mut disk = stack();
        put(&mut disk, 20 * MIB, &[(0x438, vec![0x53, 0xef]), (4 * MIB - 8, vec![7; 8])]);
        put(&mut disk, 0, &[(0, b"XFSB".to_vec())]);
        let device = Memory::new(disk);
        let mut erasure = kept(&[]);
        erasure.frames = vec![(0, 32 * MIB), (20 * MIB, 4 * MIB), (4 * MIB, 16 * MIB)];
        erasure.run(&device, 512, "it").unwrap();
        assert!(device.find(0, 32 * MIB).is_empty() && device.find(4 * MIB, 16 * MIB).is_empty());
        assert_eq!(device.find(20 * MIB, 4 * MIB)[0].kind, "ext2");
        assert!(device.writes.borrow().iter().all(|(at, bytes)| keep.touching(*at, *bytes).is_none()));
    }

    #[test]
    fn a_partition_beyond_the_end_is_erased_as_far_as_it_goes() {
        let mut disk = vec![0u8; 32 << 20];
        put(&mut disk, 30 * MIB, &[(4096, b"\xfc\x4e\x2b\xa9\x01".to_vec())]);
        let device = Memory::new(disk);
        let frames = vec![(30 * MIB, 100 * MIB), (u64::MAX, u64::MAX), (40 * MIB, MIB)];
        Erasure { frames, places: vec![], ..Erasure::whole(32 * MIB) }.run(&device, 512, "it").unwrap();
        assert!(device.bytes.borrow().iter().all(|b| *b == 0));
    }

    #[test]
    fn a_table_in_a_partition_goes() {
        let mut disk = vec![0u8; 32 << 20];
        for at in [8 * MIB + 512, 16 * MIB - 512, 8 * MIB + 4096] {
            put(&mut disk, at, &[(0, b"EFI PART".to_vec())]);
        }
        let device = Memory::new(disk);
        let erasure = Erasure { places: vec![(8 * MIB, 8 * MIB)], ..Erasure::whole(32 * MIB) };
        assert!(erasure.check(&device, "it").unwrap_err().message().contains("a partition table is still there"));
        erasure.run(&device, 512, "it").unwrap();
        assert!(device.bytes.borrow().iter().all(|b| *b == 0));
    }

    proptest! {
        /// Whatever is kept, no byte of it is erased, and what is not kept is as it would be without.
        #[test]
        fn kept_bytes_stay(
            size in 0u64..1 << 34, kept in proptest::collection::vec((0u64..1 << 34, 0u64..1 << 26), 0..5),
            frames in proptest::collection::vec((0u64..1 << 34, 0u64..1 << 33), 0..5),
        ) {
            let keep: Ranges = kept.iter().copied().collect();
            let erasure = Erasure { places: vec![], frames, keep: keep.clone(), between: (MIB, size) };
            let got = erasure.ranges(size).unwrap();
            prop_assert!(got.iter().all(|(from, end)| keep.touching(from, end - from).is_none()));
            let all = Erasure { keep: Ranges::new(), ..erasure }.ranges(size).unwrap();
            prop_assert_eq!(all.without(&keep), got);
        }

        /// Sorted, apart, within the disk and off the table, whatever an old table says.
        #[test]
        fn ranges_are_sane(size in 0u64..1 << 40, places in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..8)) {
            let mut places = places;
            places.push((0, size));
            let got: Vec<(u64, u64)> = ranges(size, between(size, 4096, None), &places).iter().collect();
            for (from, end) in &got {
                prop_assert!(from < end && *end <= size && *from >= 6 * 4096);
            }
            prop_assert!(got.windows(2).all(|w| w[0].1 < w[1].0));
        }
    }
}
