//! Which disks come first. Names of the kernel are never a key: they differ from boot to boot.

use crate::layout::inventory::{Disk, natural};
use crate::layout::spec::{End, Pick};
use std::cmp::Ordering;

type Place = Option<Vec<(bool, u64, String)>>;

/// The disks of an inventory with what they are ordered by.
pub(super) struct Order<'a> {
    disks: &'a [Disk],
    places: Vec<Place>,
}

impl<'a> Order<'a> {
    pub(super) fn new(disks: &'a [Disk]) -> Self {
        Self { disks, places: disks.iter().map(|d| d.by_path.first().map(|p| natural(p))).collect() }
    }

    /// Which of two disks is taken first; equal when nothing that counts tells them apart.
    pub(super) fn compare(&self, pick: Pick, a: usize, b: usize) -> Ordering {
        let size = || self.disks[a].size.cmp(&self.disks[b].size);
        // A disk whose place is not known comes last, whatever the order of the others.
        let place = |end: End| match (&self.places[a], &self.places[b]) {
            (Some(a), Some(b)) if end == End::Last => b.cmp(a),
            (Some(a), Some(b)) => a.cmp(b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        match pick {
            Pick::Unique | Pick::All | Pick::Smallest => size().then_with(|| place(End::First)),
            Pick::Largest => size().reverse().then_with(|| place(End::First)),
            Pick::ByPath(end) => place(end).then_with(size),
        }
    }

    /// Sorts disks by what is taken first. Equal ones by their names, so that the order is the same each time.
    pub(super) fn sort(&self, pick: Pick, disks: &mut [usize]) {
        let name = |d: usize| (self.disks[d].identity().name, natural(&self.disks[d].name));
        disks.sort_by(|a, b| self.compare(pick, *a, *b).then_with(|| name(*a).cmp(&name(*b))));
    }
}
