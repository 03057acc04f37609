//! Placing the partitions of one set on each of its disks.
//!
//! ```text
//! |1 MiB| bios-boot | esp | next, next …      |kept| next …   (free)  | at: end |backup table|
//!       └────────────── hole ─────────────────┘    └──────── hole ─────────────┘
//! ```
//!
//! What is kept leaves holes; a partition with a `start` divides one and comes first in the second half. All others go
//! into the first hole that has room for their least, boot partitions first, then in document order; `at: end` into
//! the last one. Then each hole's partitions share what is left of it. Every disk is solved by itself, with percentages
//! of the smallest one; replicas get the least that any disk has for them.

use super::range::{self, ALIGN};
use super::share::{self, Claim};
use super::{DiskSize, KeptPartition, Placed, Problem, Short};
use crate::layout::spec::{Partition, PartitionKey, Side};
use crate::layout::stack::Object;
use crate::units::ByteSize;

/// What a partition of a set wants.
#[derive(Clone, Debug)]
pub(super) struct Wish<'a> {
    pub key: &'a PartitionKey,
    pub partition: &'a Partition,
    pub claim: Claim,
    /// It was left out.
    pub gone: bool,
}

/// The partitions of a set and the unit that they are measured in.
#[derive(Clone, Debug)]
pub(super) struct Set<'a> {
    pub disks: &'a [DiskSize],
    pub unit: u64,
    pub per_disk: bool,
    pub wishes: Vec<Wish<'a>>,
}

/// Free room between what is kept, in units.
#[derive(Clone, Debug)]
struct Hole {
    begin: u64,
    end: u64,
    pinned: bool,
    /// From the front, and from the back.
    next: Vec<usize>,
    last: Vec<usize>,
    used: u64,
}

impl Problem<'_> {
    /// The unit of a set of disks.
    pub(super) fn unit(&self, set: &str) -> u64 {
        let mut own = self.spec.partitions.iter().filter(|(key, _)| key.set == set);
        // A start is a number of the document, which cannot know the disks.
        if own.any(|(_, p)| p.start.is_some()) { ALIGN } else { range::unit(self.disks(set)) }
    }
}

impl Set<'_> {
    /// The places of all partitions, by disk and then in document order.
    pub(super) fn fit(&self) -> Result<Vec<Vec<Option<Placed>>>, Short> {
        let smallest = self.disks.iter().map(|d| self.capacity(d)).min().unwrap_or(0);
        let mut on_disks = Vec::with_capacity(self.disks.len());
        let mut worst: Option<Short> = None;
        for index in 0..self.disks.len() {
            let whole = if self.per_disk { self.capacity(&self.disks[index]) } else { smallest };
            match self.on_disk(index, whole) {
                Ok(found) => on_disks.push(found),
                Err(short) if worst.as_ref().is_none_or(|w| short.has() < w.has()) => worst = Some(short),
                Err(_) => {}
            }
        }
        if let Some(short) = worst {
            return Err(short);
        }
        if !self.per_disk {
            for i in 0..self.wishes.len() {
                let least = on_disks.iter().filter_map(|(_, lengths)| lengths[i]).min();
                for (_, lengths) in &mut on_disks {
                    lengths[i] = lengths[i].and(least);
                }
            }
        }
        let places = self.disks.iter().zip(&on_disks);
        Ok(places.map(|(disk, (holes, lengths))| self.place(disk, holes, lengths)).collect())
    }

    /// Whole units of a disk, whatever is kept there.
    pub(super) fn capacity(&self, disk: &DiskSize) -> u64 {
        let (first, end) = usable(disk);
        (end / self.unit).saturating_sub(first.div_ceil(self.unit))
    }

    /// What a partition takes before anything grows, with what stays free behind it.
    pub(super) fn least(&self, wish: usize, whole: u64) -> u64 {
        self.wishes[wish].claim.at(whole).saturating_add(self.free_behind(wish))
    }

    fn free_behind(&self, wish: usize) -> u64 {
        self.wishes[wish].partition.leave_free.map_or(0, |f| f.bytes().div_ceil(self.unit))
    }

    /// What stays free behind one that is kept, in bytes: as if it were made.
    fn free_behind_kept(&self, kept: &KeptPartition) -> u64 {
        let wish = self.wishes.iter().position(|w| Some(w.key) == kept.key.as_ref());
        wish.map_or(0, |w| self.free_behind(w).saturating_mul(self.unit))
    }

    /// Those that are made on a disk.
    fn made<'s>(&'s self, disk: &'s DiskSize) -> impl Iterator<Item = usize> + 's {
        (0..self.wishes.len()).filter(|i| !self.wishes[*i].gone && kept(disk, self.wishes[*i].key).is_none())
    }

    /// The holes of a disk with what goes into each, and the length of each partition in units.
    fn on_disk(&self, index: usize, whole: u64) -> Result<(Vec<Hole>, Vec<Option<u64>>), Short> {
        let disk = &self.disks[index];
        let mut holes = self.holes(disk);
        let undivided = holes.len() == 1 && self.capacity(disk) == holes[0].end - holes[0].begin;
        self.assign(index, whole, &mut holes)?;
        let mut lengths: Vec<Option<u64>> = vec![None; self.wishes.len()];
        for hole in &holes {
            let mut inside: Vec<usize> = hole.next.iter().chain(&hole.last).copied().collect();
            inside.sort_unstable();
            let claims: Vec<Claim> = inside.iter().map(|i| self.wishes[*i].claim).collect();
            let mut has: Vec<u64> = claims.iter().map(|c| c.at(whole)).collect();
            let mut left = (hole.end - hole.begin).saturating_sub(hole.used);
            if undivided && holes.len() == 1 {
                let behind: u64 = inside.iter().map(|i| self.free_behind(*i)).sum();
                let beyond = self.capacity(disk) - whole;
                let reserved = claims.iter().copied().chain([Claim { least: behind, ..Claim::default() }]);
                let spare = share::spare(&reserved.collect::<Vec<_>>(), whole);
                left = spare.ok_or_else(|| self.short(index, whole))?.saturating_add(beyond);
            }
            share::grow(&claims, &mut has, left);
            for (i, units) in inside.into_iter().zip(has) {
                lengths[i] = Some(units);
            }
        }
        Ok((holes, lengths))
    }

    fn holes(&self, disk: &DiskSize) -> Vec<Hole> {
        let (first, end) = usable(disk);
        let mut kept: Vec<&KeptPartition> = disk.kept.iter().collect();
        kept.sort_by_key(|k| k.start);
        let mut holes = Vec::new();
        let mut free = |from: u64, to: u64| {
            let (begin, end) = (from.div_ceil(self.unit), to / self.unit);
            if begin < end {
                holes.push(Hole { begin, end, pinned: false, next: Vec::new(), last: Vec::new(), used: 0 });
            }
        };
        let mut at = first;
        for k in kept {
            free(at, k.start.min(end));
            at = at.max(k.start.saturating_add(k.length).saturating_add(self.free_behind_kept(k)));
        }
        free(at, end);
        holes
    }

    fn assign(&self, index: usize, whole: u64, holes: &mut Vec<Hole>) -> Result<(), Short> {
        let disk = &self.disks[index];
        for i in self.made(disk).filter(|i| self.wishes[*i].partition.start.is_some()) {
            let start = self.wishes[i].partition.start.map_or(0, ByteSize::bytes);
            let at = start / self.unit;
            let within = |h: &Hole| h.begin <= at && at < h.end && !(h.pinned && h.begin == at);
            let hole = holes.iter().position(within).filter(|_| start.is_multiple_of(self.unit));
            let wrong = || Short::Start { key: self.wishes[i].key.clone(), disk: index };
            let hole = hole.ok_or_else(wrong)?;
            let second = Hole { begin: at, pinned: true, next: vec![i], ..holes[hole].clone() };
            holes[hole].end = at;
            holes.insert(hole + 1, second);
            if holes[hole].begin == at {
                holes.remove(hole);
            }
        }
        // What begins at a place is what its hole has first.
        for hole in holes.iter_mut().filter(|h| h.pinned) {
            hole.used = self.least(hole.next[0], whole);
        }
        if let Some(full) = holes.iter().find(|h| h.used > h.end - h.begin) {
            return Err(self.no_hole(index, full.next[0], whole, full.end - full.begin));
        }
        let free = |i: &usize| self.wishes[*i].partition.start.is_none();
        let (last, mut next): (Vec<usize>, Vec<usize>) =
            self.made(disk).filter(free).partition(|i| self.wishes[*i].partition.at == Side::End);
        for i in last {
            let size = self.least(i, whole);
            match holes.last_mut().filter(|h| h.used.saturating_add(size) <= h.end - h.begin) {
                Some(hole) => {
                    hole.used += size;
                    hole.last.push(i);
                }
                None => return Err(self.no_room(index, i, whole, holes)),
            }
        }
        next.sort_by_key(|i| self.rank(*i));
        for i in next {
            let size = self.least(i, whole);
            match holes.iter_mut().find(|h| h.used.saturating_add(size) <= h.end - h.begin) {
                Some(hole) => {
                    hole.used += size;
                    hole.next.push(i);
                }
                None => return Err(self.no_room(index, i, whole, holes)),
            }
        }
        Ok(())
    }

    /// Some firmware looks only at the first partitions.
    fn rank(&self, wish: usize) -> u8 {
        match self.wishes[wish].partition.kind {
            kind if kind.is("bios-boot") => 0,
            kind if kind.is("esp") => 1,
            _ => 2,
        }
    }

    /// All together are too much, or there is no hole for this one.
    fn no_room(&self, index: usize, wish: usize, whole: u64, holes: &[Hole]) -> Short {
        match self.short(index, whole) {
            Short::Disk { needs, has, .. } if needs <= has => {
                let largest = holes.iter().map(|h| (h.end - h.begin).saturating_sub(h.used)).max().unwrap_or(0);
                self.no_hole(index, wish, whole, largest)
            }
            short => short,
        }
    }

    fn no_hole(&self, disk: usize, wish: usize, whole: u64, largest: u64) -> Short {
        let needs = self.least(wish, whole).saturating_mul(self.unit);
        Short::Hole { key: self.wishes[wish].key.clone(), disk, needs, has: largest.saturating_mul(self.unit) }
    }

    fn short(&self, index: usize, whole: u64) -> Short {
        let disk = &self.disks[index];
        let needs = self.made(disk).fold(0u64, |sum, i| sum.saturating_add(self.least(i, whole)));
        let has: u64 = self.holes(disk).iter().map(|h| h.end - h.begin).sum();
        let set = self.wishes.first().map(|w| w.key.set.clone()).unwrap_or_default();
        Short::Disk { set, disk: index, needs: needs.saturating_mul(self.unit), has: has.saturating_mul(self.unit) }
    }

    fn place(&self, disk: &DiskSize, holes: &[Hole], lengths: &[Option<u64>]) -> Vec<Option<Placed>> {
        let numbers = self.numbers(disk);
        let mut placed: Vec<Option<Placed>> = vec![None; self.wishes.len()];
        let made = |i: usize, begin: u64, units: u64| {
            let (start, length) = (begin * self.unit, units * self.unit);
            Some(Placed { number: numbers[i], start, length, kept: false })
        };
        for hole in holes {
            let mut at = hole.begin;
            for i in hole.next.iter().copied() {
                let units = lengths[i].unwrap_or(0);
                placed[i] = made(i, at, units);
                at += units + self.free_behind(i);
            }
            let mut end = hole.end;
            for i in hole.last.iter().copied() {
                let units = lengths[i].unwrap_or(0);
                end -= units + self.free_behind(i);
                placed[i] = made(i, end, units);
            }
        }
        for (i, wish) in self.wishes.iter().enumerate() {
            if let Some(k) = kept(disk, wish.key) {
                placed[i] = Some(Placed { number: k.number, start: k.start, length: k.length, kept: true });
            }
        }
        placed
    }

    /// The number of each: its own, or the lowest that is free. What is left out keeps its number free for it.
    fn numbers(&self, disk: &DiskSize) -> Vec<u32> {
        let own = self.wishes.iter().filter_map(|w| w.partition.number);
        let mut taken: Vec<u32> = own.chain(disk.kept.iter().map(|k| k.number)).collect();
        taken.sort_unstable();
        let mut free = (1..).filter(|n| taken.binary_search(n).is_err());
        let number = |w: &Wish| match (kept(disk, w.key), w.partition.number) {
            (Some(k), _) => k.number,
            (None, Some(own)) => own,
            (None, None) => free.next().unwrap_or(0),
        };
        self.wishes.iter().map(number).collect()
    }
}

fn kept<'d>(disk: &'d DiskSize, key: &PartitionKey) -> Option<&'d KeptPartition> {
    disk.kept.iter().find(|k| k.key.as_ref() == Some(key))
}

fn usable(disk: &DiskSize) -> (u64, u64) {
    range::usable(disk.size, disk.sector)
}

impl Problem<'_> {
    /// The disks of a set.
    pub(super) fn disks(&self, set: &str) -> &[DiskSize] {
        self.ground.sets.get(set).map_or(&[], Vec::as_slice)
    }

    /// Whether a partition is there already on every disk of its set.
    pub(super) fn is_kept_everywhere(&self, key: &PartitionKey) -> bool {
        self.disks(&key.set).iter().all(|d| kept(d, key).is_some())
    }

    /// Whether a partition is there already on any disk of its set.
    pub(super) fn is_kept_anywhere(&self, key: &PartitionKey) -> bool {
        self.disks(&key.set).iter().any(|d| kept(d, key).is_some())
    }

    /// The partitions of a set with what each needs.
    pub(super) fn set(&self, name: &str, need: impl Fn(&Object) -> u64) -> Set<'_> {
        let unit = self.unit(name);
        let own = self.spec.partitions.iter().filter(|(key, _)| key.set == name);
        let wishes = own.map(|(key, partition)| {
            let object = Object::Partition(key.clone());
            let least = need(&object).max(self.own_least(key, partition));
            let gone = self.gone.contains(&object);
            // That the memory is known was checked.
            let claim = Claim::of(&partition.size, least, unit, self.ground.ram).unwrap_or_default();
            Wish { key, partition, claim, gone }
        });
        let per_disk = self.spec.disks.get(name).is_some_and(|d| d.per_disk);
        Set { disks: self.disks(name), unit, per_disk, wishes: wishes.collect() }
    }

    /// The least of a partition by itself, in bytes.
    fn own_least(&self, key: &PartitionKey, partition: &Partition) -> u64 {
        let esp = match self.disks(&key.set).iter().map(|d| d.sector).max() {
            _ if !partition.kind.is("esp") => 0,
            // FAT32 has at least 65,525 clusters, which are as big as a sector or bigger.
            Some(4096) => 260 << 20,
            _ => 100 << 20,
        };
        partition.min.map_or(0, ByteSize::bytes).max(esp)
    }
}
