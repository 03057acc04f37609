//! Arrays of others: one that has members on disks of the plan, and more on disks that no set has.
//!
//! One that runs is in use, and refused for that. One that nobody has started, as in most environments that install, would
//! lose a member without a word. What the plan takes as a whole is its own to erase.

use crate::layout::device::{Facts, Medium};
use crate::layout::diagnostic::Diagnostic;
use crate::layout::inventory::{Disk, Inventory};
use crate::layout::select::Choice;
use crate::layout::spec::{Spec, Wipe};
use crate::sys::sysfs::DeviceNumber;

const MEMBER: &str = "linux_raid_member";

/// What speaks against disks that are erased with care only. The other disks are looked at when there is a reason.
pub(super) fn inspect(
    spec: &Spec,
    choices: &[Choice],
    facts: &[Facts],
    recorded: Option<&Inventory>,
) -> Vec<Diagnostic> {
    // A disk that is refused already has no facts, and the plan ends with that.
    if facts.len() != choices.len() {
        return Vec::new();
    }
    let careful = |(choice, _): &(&Choice, &Facts)| {
        !matches!(spec.disks[&choice.set].wipe, Wipe::All | Wipe::Discard | Wipe::Zero)
    };
    let members: Vec<(&Choice, &Facts, &str)> =
        choices.iter().zip(facts).filter(careful).flat_map(|(c, f)| arrays(f).map(move |uuid| (c, f, uuid))).collect();
    if members.is_empty() {
        return Vec::new();
    }
    let looked;
    let inventory = match recorded {
        Some(inventory) => inventory,
        None => {
            looked = Inventory::of_this_machine();
            &looked
        }
    };
    let is_planned = |disk: &&Disk| facts.iter().filter_map(number).any(|n| disk.has_number(n));
    let others: Vec<&Disk> = inventory.disks.iter().filter(|d| !is_planned(d)).collect();
    let found = members.into_iter().filter_map(|(choice, facts, uuid)| {
        let other = others.iter().find(|d| carries(d, uuid))?;
        let text = format!("{} is part of an array that has another member on {}", facts.path.display(), other.node());
        let d = Diagnostic::error("F229", format!("disks.{}", choice.set), text);
        Some(d.hint("name all disks of the array, or write wipe: all when it may lose this one"))
    });
    found.collect()
}

fn number(facts: &Facts) -> Option<DeviceNumber> {
    match facts.medium {
        Medium::Block { major, minor } => Some(DeviceNumber { major, minor }),
        Medium::File { .. } => None,
    }
}

/// The UUIDs of arrays that a device has members of. Files are no disks that an array would be started from.
fn arrays(facts: &Facts) -> impl Iterator<Item = &str> {
    let signatures = facts.contents.signatures.iter().filter(|_| number(facts).is_some());
    signatures.filter(|(_, _, s)| s.kind == MEMBER).filter_map(|(_, _, s)| s.uuid.as_deref())
}

fn carries(disk: &Disk, uuid: &str) -> bool {
    let marks = disk.content.iter().flat_map(|c| &c.signatures);
    marks.into_iter().any(|m| m.kind == MEMBER && m.uuid.as_deref() == Some(uuid))
}
