//! Arrays, volume groups and pools of others: those that have members on disks of the plan, and more on disks that no set
//! has.
//!
//! One that runs is in use, and refused for that. One that nobody has started, as in most environments that install, would
//! lose a member without a word. What the plan erases one half of and keeps the other is not found here, but in `torn`.

use crate::layout::device::{Facts, Medium};
use crate::layout::diagnostic::Diagnostic;
use crate::layout::inventory::{Disk, Inventory};
use crate::layout::observed::{Group, Node, Observed};
use crate::layout::select::Choice;
use crate::layout::spec::{Spec, Wipe};
use crate::sys::sysfs::DeviceNumber;
use std::collections::BTreeSet;
use std::path::Path;

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
        Some(elsewhere(choice, text, what))
    });
    let mut found: Vec<Diagnostic> = found.collect();
    // Of several members on one disk one says it.
    found.dedup();
    if found.is_empty() && recorded.is_none() {
        let careful = choices.iter().zip(facts).filter(careful);
        let careful: Vec<(DeviceNumber, &Choice)> = careful.filter_map(|(c, f)| Some((number(f)?, c))).collect();
        let planned: Vec<DeviceNumber> = facts.iter().filter_map(number).collect();
        if let Ok(there) = Observed::of_this_machine(inventory, Path::new("/")) {
            found.extend(through(&there, &careful, &planned));
        }
    }
    found
}

/// The same of what lies deeper: a group on an array on a disk of the plan, and on another array elsewhere. What is
/// encrypted and closed nobody sees.
fn through(there: &Observed, careful: &[(DeviceNumber, &Choice)], planned: &[DeviceNumber]) -> Vec<Diagnostic> {
    let groups = there.groups.iter().map(|g| (format!("the volume group \"{}\"", g.name), pvs(g)));
    let arrays = there.arrays.iter().map(|a| {
        let members: Vec<Node> = a.members.iter().map(|m| m.on).collect();
        (format!("the array \"{}\"", a.name), members)
    });
    let found = groups.chain(arrays).filter_map(|(what, members)| {
        let all = members.into_iter().flat_map(|n| there.foundation(n));
        let disks: BTreeSet<usize> = all.filter_map(|n| if let Node::Disk(i) = n { Some(i) } else { None }).collect();
        let is_planned = |i: &&usize| there.disks[**i].device.is_some_and(|d| planned.contains(&d));
        let other = disks.iter().find(|i| !is_planned(i))?;
        let (own, choice) = disks.iter().find_map(|i| {
            let device = there.disks[*i].device?;
            careful.iter().find(|(number, _)| *number == device).map(|(_, choice)| (*i, choice))
        })?;
        let name = |disk: usize| there.disks[disk].path.display();
        let text = format!("{} is part of {what} that has another member on {}", name(own), name(*other));
        Some(elsewhere(choice, text, &what))
    });
    found.collect()
}

/// Says that a disk is part of something that others have a part of as well.
fn elsewhere(choice: &Choice, text: String, what: &str) -> Diagnostic {
    let d = Diagnostic::error("F229", format!("disks.{}", choice.set), text);
    d.hint(format!("name all disks of {what}, or write wipe: all, without preserve, when it may lose this one"))
}

fn pvs(group: &Group) -> Vec<Node> {
    group.pvs.iter().filter_map(|p| p.on).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::ondisk::md;
    use crate::layout::plan::Plan;
    use crate::layout::{Disks, Layout, PlanOptions, unchanged};

    /// A group over two arrays, each on one disk.
    #[test]
    fn a_group_on_arrays_is_not_broken_either() {
        let text = "schema: cv.layout/v1\nname: x\ndisks: {d: {count: 2}}\npartitions: {d/m: {type: linux-raid, size: rest}}\n\
                    raid: {a: {level: 1, members: [d/m]}}\nlvm: {v: {pvs: [raid/a], lvs: {x: {size: rest}}}}\n";
        let tmp = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = tmp.path().join(name);
            std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
            path
        };
        let disks = Disks::from([("d".to_owned(), vec![file("a"), file("b")])]);
        let plan: Plan = Layout::parse(text.as_bytes(), "x").unwrap().plan(&disks, &PlanOptions::default()).unwrap();
        let mut there = unchanged::applied(&plan);
        let numbers = [0, 16].map(|minor| DeviceNumber { major: 8, minor });
        for (disk, number) in there.disks.iter_mut().zip(numbers) {
            disk.device = Some(number);
        }
        let choice = Choice { set: "d".into(), index: 0, path: "/dev/sda".into() };
        let careful = [(numbers[0], &choice)];
        // One array over both disks, then two with a disk each.
        let [one, ..] = &through(&there, &careful, &numbers[..1])[..] else { panic!("nothing is said") };
        assert_eq!((one.code, one.path.as_str()), ("F229", "disks.d"));
        assert!(through(&there, &careful, &numbers).is_empty());
        let mut second = there.arrays[0].clone();
        second.members = vec![there.arrays[0].members.pop().unwrap()];
        second.members[0].role = md::Role::Active(0);
        there.arrays.push(second);
        there.groups[0].pvs.push(crate::layout::observed::Physical { uuid: "2".into(), on: Some(Node::Array(1)) });
        let found = through(&there, &careful, &numbers[..1]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].message.contains("part of the volume group \"v\" that has another member on"), "{found:?}");
        assert!(through(&there, &[], &numbers[..1]).is_empty());
    }
}
