//! Rules that find such disks again on other machines of the kind; or these very disks.

use crate::layout::inventory::{Disk, Inventory};
use crate::layout::spec::{Match, SizeRange, Transport};
use crate::units::ByteSize;

/// By how much the size of another machine's disks may differ.
const TOLERANCE: u64 = 10;

/// A rule for disks like these: how they are attached, and of the rest only what tells them from the other disks of
/// this machine.
pub(super) fn proposed(own: &[&Disk], machine: &Inventory) -> Match {
    let transport = same(own, |d| d.transport.name()).and_then(word);
    let rotational = same(own, |d| d.rotational);
    let bounds = bounds(own);
    let others = machine.disks.iter().filter(|d| !d.transport.is_virtual() && d.size > 0);
    let others: Vec<&Disk> = others.filter(|d| own.iter().all(|o| o.number != d.number)).collect();
    let like = |d: &&&Disk| transport.is_none_or(|(name, _)| d.transport.name() == name);
    let confused: Vec<&&Disk> = others.iter().filter(like).collect();
    let turns = rotational.filter(|r| confused.iter().any(|d| d.rotational != *r));
    let still = confused.iter().filter(|d| turns.is_none_or(|r| d.rotational == r));
    let fits = |d: &Disk| (bounds.0..=bounds.1).contains(&d.size);
    let sized = still.into_iter().any(|d| !fits(d));
    Match {
        transport: transport.map(|(_, t)| t).into_iter().collect(),
        rotational: turns,
        size: sized.then(|| SizeRange { min: Some(ByteSize::new(bounds.0)), max: Some(ByteSize::new(bounds.1)) }),
        ..Match::default()
    }
}

/// A rule for these disks and no others; none where one has no name of its own.
pub(super) fn pinned(own: &[&Disk]) -> Option<Match> {
    // Of several names the one that is the disk's, and not the place's or the maker's.
    let best = |d: &Disk| {
        let begins = ["wwn-", "nvme-eui.", "nvme-uuid.", "nvme-nvme.", ""];
        begins.iter().find_map(|b| d.by_id.iter().find(|n| n.starts_with(b)).cloned())
    };
    if let Some(by_id) = own.iter().map(|d| best(d)).collect::<Option<Vec<_>>>() {
        return Some(Match { by_id, ..Match::default() });
    }
    if let Some(wwid) = own.iter().map(|d| d.wwid.clone()).collect::<Option<Vec<_>>>() {
        return Some(Match { wwid, ..Match::default() });
    }
    let serial = own.iter().map(|d| d.serial.clone()).collect::<Option<Vec<_>>>()?;
    Some(Match { serial, ..Match::default() })
}

/// What all have in common.
fn same<T: PartialEq>(own: &[&Disk], property: impl Fn(&Disk) -> T) -> Option<T> {
    let first = property(own.first()?);
    own.iter().all(|d| property(d) == first).then_some(first)
}

/// The word of documents for a way to be attached.
fn word(name: &'static str) -> Option<(&'static str, Transport)> {
    Transport::WORDS.into_iter().find(|(w, _)| *w == name)
}

/// The least and the most, in numbers that people would write.
fn bounds(own: &[&Disk]) -> (u64, u64) {
    let sizes = || own.iter().map(|d| d.size);
    let (least, most) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
    let unit = match least {
        n if n >= 10_000_000_000_000 => 1_000_000_000_000,
        n if n >= 10_000_000_000 => 1_000_000_000,
        n if n >= 10_000_000 => 1_000_000,
        _ => 1,
    };
    let low = (least - least / TOLERANCE) / unit * unit;
    let high = most.saturating_add(most / TOLERANCE).div_ceil(unit).saturating_mul(unit);
    (low, high)
}
