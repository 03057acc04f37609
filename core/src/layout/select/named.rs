//! Disks that somebody named: `--disk SET=PATH`.

use super::{Keep, Options, Request, Selection, select};
use crate::layout::decode::Positions;
use crate::layout::diagnostic::{Diagnostic, nearest};
use crate::layout::inventory::{Inventory, Machine, SchemaId};
use crate::layout::spec::{DiskSet, Spec};
use crate::layout::stack::Stack;
use crate::sys::sysfs::{self, DeviceNumber};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A disk named for a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The set.
    pub set: String,
    /// The device or image file.
    pub path: PathBuf,
    /// The number of the device, when it is one of this machine.
    pub number: Option<DeviceNumber>,
    /// What tells an image file from others: the device that it lies on and its inode.
    pub file: Option<(u64, u64)>,
}

impl Named {
    /// The disk at `path`; what is there is asked for and not opened.
    #[must_use]
    pub fn look(set: &str, path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        let number = sysfs::node_number(path);
        let file = std::fs::metadata(path).ok().filter(|_| number.is_none()).map(|m| (m.dev(), m.ino()));
        Self { set: set.to_owned(), path: path.to_owned(), number, file }
    }

    /// A disk of a recorded machine: nothing is asked for.
    #[must_use]
    pub fn recorded(set: &str, path: &Path) -> Self {
        Self { set: set.to_owned(), path: path.to_owned(), number: None, file: None }
    }

    /// Whether both name the same disk.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.path == other.path
            || (self.number.is_some() && self.number == other.number)
            || (self.file.is_some() && self.file == other.file)
    }
}

/// A disk of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The set.
    pub set: String,
    /// Which disk of the set, from 0.
    pub index: usize,
    /// The device or image file.
    pub path: PathBuf,
}

/// Disks by set, in their order: devices or image files.
pub type Disks = BTreeMap<String, Vec<PathBuf>>;

/// What becomes of disks in use that rules fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InUse {
    /// They are an error where they would be taken.
    Refused,
    /// They are taken like others: who asks wants to know whether they are as they should be.
    Allowed,
}

/// Chooses the disks, in document order: those of the machine that was `recorded`, or of this one. When no set has to be
/// matched by its rules, this machine is not looked at: who uses a named device is found when the plan looks at it.
///
/// # Errors
/// As [`select`].
pub fn choose(
    spec: &Spec,
    positions: &Positions,
    given: &Disks,
    recorded: Option<&Inventory>,
    in_use: InUse,
) -> Result<Vec<Choice>, Vec<Diagnostic>> {
    let name = if recorded.is_some() { Named::recorded } else { Named::look };
    let named: Vec<Named> =
        given.iter().flat_map(|(set, paths)| paths.iter().map(move |path| name(set, path))).collect();
    let matches = |(set, disks): (&String, &DiskSet)| disks.matching.is_some() && !given.contains_key(set);
    let (matched, guarded) = (spec.disks.iter().any(matches), !spec.policy.never_touch.is_empty());
    let looked;
    let inventory = match recorded {
        Some(inventory) => inventory,
        None if matched || (guarded && named.iter().any(|n| n.number.is_some())) => {
            looked = Inventory::of_this_machine();
            &looked
        }
        None => {
            looked = Inventory { schema: SchemaId::V1, machine: Machine::default(), disks: Vec::new() };
            &looked
        }
    };
    // Of a document with a circle nothing is planned.
    let keep = Stack::of(spec).map(|stack| Keep::of(spec, &stack)).unwrap_or_default();
    // Looked at for the policy alone: who uses them is found when the plan looks at them.
    let looked_through = (matched || recorded.is_some()) && in_use == InUse::Refused;
    let options = if looked_through { Options::default() } else { Options { allow_in_use: true, allow_held: true } };
    let request = Request { spec, inventory, named: &named, keep: &keep, options };
    let placed = |mut found: Vec<Diagnostic>| {
        for d in &mut found {
            let place = positions.place(&d.path);
            (d.line, d.column) = (place.line, place.column);
        }
        found
    };
    select(&request).map(|s| choices(&s)).map_err(placed)
}

fn choices(selection: &Selection) -> Vec<Choice> {
    let of_set = |s: &super::Selected| {
        let choice = |(index, t): (usize, &super::Taken)| Choice { set: s.set.clone(), index, path: t.path.clone() };
        s.disks.iter().enumerate().map(choice).collect::<Vec<_>>()
    };
    selection.sets.iter().flat_map(of_set).collect()
}

/// What is wrong with the names of sets.
pub(super) fn unknown_sets(spec: &Spec, named: &[Named]) -> Vec<Diagnostic> {
    let mut unknown: Vec<&str> =
        named.iter().map(|n| n.set.as_str()).filter(|n| !spec.disks.contains_key(*n)).collect();
    unknown.dedup();
    let known: Vec<&str> = spec.disks.keys().map(String::as_str).collect();
    let finding = |name: &str| {
        let d = Diagnostic::error("F209", "disks", format!("a disk is given for \"{name}\", which is no set here"));
        d.hint(match nearest(name, known.iter().copied()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("known are: {}", known.join(", ")),
        })
    };
    unknown.into_iter().map(finding).collect()
}
