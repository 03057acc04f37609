//! Arrays, volume groups and pools of others: those that have members on disks of the plan, and more on disks that no set
//! has.
//!
//! One that runs is in use, and refused for that. One that nobody has started, as in most environments that install, would
//! lose a member without a word. What the plan takes as a whole is its own to erase.

use crate::layout::device::{Facts, Medium};
use crate::layout::diagnostic::Diagnostic;
use crate::layout::inventory::{Disk, Inventory};
use crate::layout::select::Choice;
use crate::layout::spec::{Spec, Wipe};
use crate::sys::sysfs::DeviceNumber;

/// What a disk has a member of: what that is for people, and who it is.
type Whole<'a> = (&'static str, &'a str);

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
    let members: Vec<(&Choice, &Facts, Whole<'_>)> =
        choices.iter().zip(facts).filter(careful).flat_map(|(c, f)| wholes(f).map(move |w| (c, f, w))).collect();
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
    let found = members.into_iter().filter_map(|(choice, facts, whole)| {
        let other = others.iter().find(|d| carries(d, whole))?;
        let (path, what) = (facts.path.display(), whole.0);
        let text = format!("{path} is part of {what} that has another member on {}", other.node());
        let d = Diagnostic::error("F229", format!("disks.{}", choice.set), text);
        Some(d.hint(format!("name all disks of {what}, or write wipe: all when it may lose this one")))
    });
    let mut found: Vec<Diagnostic> = found.collect();
    // Of several members on one disk one says it.
    found.dedup();
    found
}

fn number(facts: &Facts) -> Option<DeviceNumber> {
    match facts.medium {
        Medium::Block { major, minor } => Some(DeviceNumber { major, minor }),
        Medium::File { .. } => None,
    }
}

/// What a device has members of. Files are no disks that anything would be started from.
fn wholes(facts: &Facts) -> impl Iterator<Item = Whole<'_>> {
    let signatures = facts.contents.signatures.iter().filter(|_| number(facts).is_some());
    signatures.filter_map(|(_, _, s)| whole(s.kind, s.uuid.as_deref(), s.group.as_deref()))
}

fn carries(disk: &Disk, wanted: Whole<'_>) -> bool {
    let marks = disk.content.iter().flat_map(|c| &c.signatures);
    marks.into_iter().any(|m| whole(&m.kind, m.uuid.as_deref(), m.group.as_deref()) == Some(wanted))
}

/// What a signature makes its place a member of.
fn whole<'a>(kind: &str, uuid: Option<&'a str>, group: Option<&'a str>) -> Option<Whole<'a>> {
    match kind {
        "linux_raid_member" => Some(("an array", uuid?)),
        "LVM2_member" => Some(("a volume group", group?)),
        "btrfs" => Some(("a btrfs", uuid?)),
        "zfs_member" => Some(("a ZFS pool", uuid?)),
        _ => None,
    }
}
