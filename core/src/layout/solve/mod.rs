//! How big everything becomes and where it lies: a document and a machine's disks in, numbers out. Whole numbers only,
//! no I/O, the same answer every time.
//!
//! ```text
//! need     filesystem ─> volume ─> group ─> luks ─> array ─> partition      the least of each, from above
//! optional while it does not fit, what is optional leaves, the last in the document first
//! fit      partitions get their places on every disk and share what is left
//! devices  partition ─> array ─> luks ─> group ─> volumes                   the size of each, from below
//! ```
//!
//! Partitions are whole units of their set (1 MiB, or more where the disks say so), volumes whole extents. Nothing
//! becomes smaller because a disk is bigger: growth is shared out by a method that never takes back (`share`), and
//! every step from a device to what stands on it rises with the device. That holds wherever an array or group stands
//! on one set of disks; where it stands on several, for what it gives as a whole.

mod devices;
mod fit;
mod lvm;
pub mod md;
mod need;
mod optional;
mod range;
mod report;
mod share;
#[cfg(test)]
mod tests;

pub use lvm::{GroupSize, KeptGroup, PV_START, VolumeSize};
pub use md::ArraySize;
pub use range::{ALIGN, backup_bytes, usable};

use super::diagnostic::Diagnostic;
use super::spec::{PartitionKey, Spec};
use super::stack::{Object, Stack};
use indexmap::IndexMap;
use std::collections::{HashMap, HashSet};

/// The header of LUKS 2, in bytes, which the plan gives to cryptsetup (`--offset`): left alone it may be more.
pub const LUKS_HEADER: u64 = 16 << 20;

/// What there is to put a document on.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    /// The disks of each set. An optional set without disks is left out of the layout.
    pub sets: IndexMap<String, Vec<DiskSize>>,
    /// The memory of the machine in bytes, where it is known.
    pub ram: Option<u64>,
    /// What is there already and stays.
    pub kept: Kept,
}

/// A disk.
#[derive(Clone, Debug, Default)]
pub struct DiskSize {
    /// Its name for messages, such as its path.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// The size of a logical sector in bytes.
    pub sector: u32,
    /// The length of I/O that it likes best, in bytes; 0 when it does not say.
    pub optimal_io: u64,
    /// Partitions on it that stay.
    pub kept: Vec<KeptPartition>,
}

/// A partition that stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPartition {
    /// Which one of the document it is; none for one that the document does not have.
    pub key: Option<PartitionKey>,
    /// Its number in the table.
    pub number: u32,
    /// The first byte.
    pub start: u64,
    /// The length in bytes.
    pub length: u64,
}

/// Devices that are there already and stay as they are, by their names in the document.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Arrays.
    pub arrays: IndexMap<String, ArraySize>,
    /// Encrypted devices.
    pub crypts: IndexMap<String, CryptSize>,
    /// Volume groups.
    pub groups: IndexMap<String, KeptGroup>,
}

/// Where everything lies and how big it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Solved {
    /// By set, by disk of the set, by partition of the set in document order; none for a partition that was left out.
    pub disks: IndexMap<String, Vec<Vec<Option<Placed>>>>,
    /// The arrays.
    pub arrays: IndexMap<String, ArraySize>,
    /// The encrypted devices.
    pub crypts: IndexMap<String, CryptSize>,
    /// The volume groups.
    pub groups: IndexMap<String, GroupSize>,
    /// The size of every device in bytes: of a partition on each disk of its set, of others one.
    pub devices: HashMap<Object, Vec<u64>>,
    /// What was left out, in document order: optional objects, and what depended on them alone.
    pub dropped: Vec<Object>,
    /// `F211` for what was left out.
    pub warnings: Vec<Diagnostic>,
    /// By set and disk: the bytes that a disk has beyond the smallest of its set and that nothing uses.
    pub unused: IndexMap<String, Vec<u64>>,
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
    /// Whether it is there already and stays.
    pub kept: bool,
}

/// An encrypted device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CryptSize {
    /// Where the data begins, in bytes.
    pub offset: u64,
    /// How much data it holds, in bytes.
    pub size: u64,
}

impl Solved {
    /// The size of a device in bytes; of a partition that of its smallest replica.
    #[must_use]
    pub fn size_of(&self, object: &Object) -> Option<u64> {
        self.devices.get(object)?.iter().min().copied()
    }

    /// Whether an object was left out.
    #[must_use]
    pub fn is_dropped(&self, object: &Object) -> bool {
        self.dropped.contains(object)
    }
}

/// Solves a document that is right in itself over the disks of its sets.
///
/// # Errors
/// All findings: `F210` where something does not fit, `F212` where the disks of a set differ by more than it allows,
/// `F201` for a set without disks, `F218` where the memory is needed and not known, `F221` for a number that a kept
/// partition has, `L130` for an array that has too few members on this machine.
pub fn solve(spec: &Spec, stack: &Stack, ground: &Ground) -> Result<Solved, Vec<Diagnostic>> {
    let mut problem = Problem { spec, stack, ground, gone: HashSet::new(), warnings: Vec::new() };
    let found = problem.check();
    if !found.is_empty() {
        return Err(found);
    }
    problem.leave_out_sets();
    let mut attempt = problem.attempt();
    while let Err(found) = &attempt {
        match optional::relieve(&mut problem, found) {
            Some(next) => attempt = next,
            None => return Err(report::too_small(&problem, found)),
        }
    }
    let mut solved = attempt.unwrap_or_default();
    solved.dropped = problem.dropped();
    solved.warnings = problem.warnings;
    Ok(solved)
}

/// A document on a machine, less what was left out.
struct Problem<'a> {
    spec: &'a Spec,
    stack: &'a Stack,
    ground: &'a Ground,
    gone: HashSet<Object>,
    warnings: Vec<Diagnostic>,
}

/// Something that has less than what stands on it needs.
#[derive(Clone, Debug)]
enum Short {
    /// A disk.
    Disk { set: String, disk: usize, needs: u64, has: u64 },
    /// The holes between what is kept or pinned on a disk: there is none for this partition.
    Hole { key: PartitionKey, disk: usize, needs: u64, has: u64 },
    /// A partition cannot begin where the document wants it.
    Start { key: PartitionKey, disk: usize },
    /// A device.
    Device { object: Object, needs: u64, has: u64 },
}

impl Short {
    /// What there is, in bytes.
    fn has(&self) -> u64 {
        match self {
            Self::Disk { has, .. } | Self::Hole { has, .. } | Self::Device { has, .. } => *has,
            Self::Start { .. } => 0,
        }
    }

    /// What is missing, in bytes; never nothing.
    fn missing(&self) -> u64 {
        match self {
            Self::Disk { needs, has, .. } | Self::Hole { needs, has, .. } | Self::Device { needs, has, .. } => {
                needs.saturating_sub(*has).max(1)
            }
            Self::Start { .. } => 1,
        }
    }
}
