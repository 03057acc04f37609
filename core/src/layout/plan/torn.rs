//! What a plan would tear apart: arrays, volume groups, btrfs and pools of which one member stays, because it is kept or lies
//! beside what is, while another one is erased.
//!
//! ```text
//! sda1  kept     ─┐                       sda2  not in the layout ─┐
//! sdb1  erased   ─┴ btrfs "home"  F228    sdb2  erased             ─┴ array, group, pool of others  F229
//! ```
//!
//! That a disk is the plan's says nothing: of some disks only a part is erased. Pure: it is judged by what was seen.

use super::{Device, Plan};
use crate::layout::diagnostic::Diagnostic;
use crate::layout::observed::{Filesystem, Node, Observed};
use crate::layout::spec::Wipe;
use std::collections::BTreeMap;

/// What several devices may have a part of, by its kind and the UUID that they share, and what it is for people.
const POOLS: [(&str, &str); 4] = [
    ("btrfs", "the btrfs"),
    ("zfs_member", "the ZFS pool"),
    ("bcachefs", "the bcachefs"),
    ("stratis", "the Stratis pool"),
];

/// What speaks against writing: what stays would not be whole. `there` are the disks of the plan as they are, and without
/// any where nothing is kept.
pub(super) fn inspect(plan: &Plan, there: &Observed) -> Vec<Diagnostic> {
    let torn = Torn { plan, there };
    let mut found = torn.filesystems();
    found.extend(torn.outside());
    found.extend(torn.wholes().into_iter().filter_map(|(what, members)| torn.whole(&what, &members)));
    found
}

struct Torn<'a> {
    plan: &'a Plan,
    there: &'a Observed,
}

impl Torn<'_> {
    /// Filesystems that the document keeps with all that is in them: all of each has to be there, and to stay.
    fn filesystems(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for is in &self.there.filesystems {
            let Some(id) = self.kept_as(is) else { continue };
            let path = format!("filesystems.{id}");
            let parts: Vec<Node> = self.parts(is).collect();
            let text = if let Some(what) = is.spread.outside {
                format!("{path} is kept, but {what} lies on another device, and nobody can tell on which")
            } else if (parts.len() as u64) < is.spread.devices {
                let (has, all) = (parts.len(), is.spread.devices);
                format!("{path} is kept, but of its {all} devices {has} are found on the disks of the plan")
            } else if let Some(lost) = parts.iter().find(|n| is.spread.devices > 1 && !self.stays(**n)) {
                format!("{path} is kept, but {}, which is a part of it, would be erased", self.there.name(*lost))
            } else {
                continue;
            };
            let d = Diagnostic::error("F228", path, text);
            let d = d.hint("keep all partitions that it is on, or bring it onto one device by hand");
            if !found.contains(&d) {
                found.push(d);
            }
        }
        found
    }

    /// Filesystems that stay although the document does not have them, and of which a part lies nobody knows where.
    fn outside(&self) -> Vec<Diagnostic> {
        let all = self.there.filesystems.iter();
        let strangers = all.filter(|f| self.kept_as(f).is_none() && self.stays(f.on));
        let found = strangers.filter_map(|f| {
            let (what, on) = (f.spread.outside?, self.there.name(f.on));
            let text = format!("{on} stays, but {what} lies on another device, which may be one that is erased");
            let d = Diagnostic::error("F229", self.path(f.on), text);
            Some(d.hint("bring that onto its own device by hand, or delete the partition when nobody needs it"))
        });
        found.collect()
    }

    /// Everything that has several members: what it is for people, and where they are.
    fn wholes(&self) -> Vec<(String, Vec<Node>)> {
        let there = self.there;
        let arrays = there.arrays.iter().map(|a| {
            let members = a.members.iter().map(|m| m.on).collect();
            (format!("the array \"{}\"", a.name), members)
        });
        let groups = there.groups.iter().map(|g| {
            let members = g.pvs.iter().filter_map(|p| p.on).collect();
            (format!("the volume group \"{}\"", g.name), members)
        });
        let mut pools: BTreeMap<(&str, &str), Vec<Node>> = BTreeMap::new();
        // A copy of a btrfs on one device is no part of it. Of what is kept it is said already.
        let is_part = |f: &&Filesystem| (f.kind != "btrfs" || f.spread.devices > 1) && self.kept_as(f).is_none();
        for f in there.filesystems.iter().filter(is_part) {
            let kind = POOLS.iter().find(|(kind, _)| *kind == f.kind);
            if let (Some((_, what)), Some(uuid)) = (kind, &f.uuid) {
                pools.entry((what, uuid)).or_default().push(f.on);
            }
        }
        let pools = pools.into_iter().map(|((what, uuid), members)| (format!("{what} {uuid}"), members));
        arrays.chain(groups).chain(pools).collect()
    }

    /// Says it when some members stay and others do not.
    fn whole(&self, what: &str, members: &[Node]) -> Option<Diagnostic> {
        let (stay, lost): (Vec<Node>, Vec<Node>) = members.iter().partition(|n| self.stays(**n));
        let (one, other) = (*lost.first()?, *stay.first()?);
        // What the document does not have may lose a member where it says so.
        if lost.iter().all(|n| self.may_go(*n)) && !stay.iter().any(|n| self.is_wanted(*n)) {
            return None;
        }
        let name = |n: Node| self.there.name(n);
        let text = format!(
            "{} would be erased, and is part of {what} that has a member on {}, which stays",
            name(one),
            name(other)
        );
        let d = Diagnostic::error("F229", self.path(one), text);
        Some(d.hint(format!("keep all of {what}, or take it off these disks by hand")))
    }

    /// The filesystem of the plan that keeps this one.
    fn kept_as(&self, is: &Filesystem) -> Option<&str> {
        let uuid = is.uuid.as_deref()?;
        let mut kept = self.plan.filesystems.iter().filter(|f| f.kept && f.kind.name() == is.kind);
        kept.find(|f| f.places().any(|(_, own)| own.eq_ignore_ascii_case(uuid))).map(|f| f.id.as_str())
    }

    /// Every device that is a part of a filesystem, itself as well.
    fn parts<'f>(&'f self, of: &'f Filesystem) -> impl Iterator<Item = Node> + 'f {
        let all = self.there.filesystems.iter();
        all.filter(|f| f.kind == of.kind && f.uuid == of.uuid).map(|f| f.on)
    }

    /// Whether what is on a device stays: nothing below it is written, and nothing is made on it.
    fn stays(&self, node: Node) -> bool {
        self.there.foundation(node).into_iter().all(|n| self.is_left_alone(n))
    }

    fn is_left_alone(&self, node: Node) -> bool {
        let (plan, there) = (self.plan, self.there);
        let device = match node {
            // Every disk of a plan has a table afterwards.
            Node::Disk(disk) => return there.disks[disk].table.is_some(),
            Node::Partition { disk, number } => {
                let place = there.partition(disk, number).map(|p| (p.start, p.length));
                return place.is_some_and(|(start, length)| plan.kept_ranges(disk).covers(start, length));
            }
            Node::Array(i) => {
                let own = plan.arrays.iter().position(|a| a.kept && a.uuid == there.arrays[i].uuid);
                own.map(Device::Array)
            }
            Node::Crypt(i) => {
                let is = there.crypts[i].header.uuid.parse::<uuid::Uuid>().ok();
                plan.crypts.iter().position(|c| c.kept && Some(c.uuid) == is).map(Device::Crypt)
            }
            Node::Volume { group, volume } => {
                let is = &there.groups[group];
                let name = &is.volumes[volume].name;
                let Some(own) = plan.groups.iter().position(|g| g.kept && g.name == is.name) else { return true };
                let planned = plan.groups[own].volumes.iter().position(|v| v.name == *name);
                planned.map(|volume| Device::Volume { group: own, volume })
            }
        };
        device.is_none_or(|d| plan.content_stays(d))
    }

    /// Whether the document lets everything go that is on the disks of a device.
    fn may_go(&self, node: Node) -> bool {
        let wipe = |disk: usize| self.plan.disks.get(disk).map(|d| d.wipe);
        self.disks(node).all(|d| matches!(wipe(d), Some(Wipe::All | Wipe::Discard | Wipe::Zero)))
    }

    /// Whether a device stands on a partition of the document.
    fn is_wanted(&self, node: Node) -> bool {
        let is_own = |disk: usize, number: u32| self.plan.disks[disk].partitions.iter().any(|p| p.number == number);
        let mut below = self.there.foundation(node).into_iter();
        below.any(|n| matches!(n, Node::Partition { disk, number } if is_own(disk, number)))
    }

    fn disks(&self, node: Node) -> impl Iterator<Item = usize> {
        let below = self.there.foundation(node).into_iter();
        below.filter_map(|n| if let Node::Disk(i) = n { Some(i) } else { None })
    }

    /// Where the document has the first disk of a device.
    fn path(&self, node: Node) -> String {
        let disk = self.disks(node).next().and_then(|d| self.plan.disks.get(d));
        disk.map_or_else(String::new, |d| format!("disks.{}", d.set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::observed::{Array, Group, Member, Partition, Physical};
    use crate::layout::ondisk::md;
    use crate::layout::ondisk::spread::Spread;
    use crate::layout::{Disks, Layout, PlanOptions, unchanged};
    use uuid::Uuid;

    const HOME: Node = Node::Partition { disk: 0, number: 1 };
    const STRANGER: Node = Node::Partition { disk: 0, number: 9 };
    const ERASED: Node = Node::Partition { disk: 1, number: 1 };

    /// `home` on the first disk is kept, and partition 9 stays beside it; the second disk is made anew.
    fn plan(kind: &str, wipe: &str) -> (Plan, Observed) {
        let text = format!(
            "schema: cv.layout/v1\nname: x\ndisks: {{d: {{preserve: if-exists}}, o: {{wipe: {wipe}}}}}\npartitions:\n  \
             d/home: {{type: home, size: 400MiB, preserve: if-exists}}\n  o/w: {{type: linux, size: rest}}\nfilesystems:\n  \
             home: {{on: d/home, type: {kind}, label: home, preserve: if-exists}}\n  w: {{on: o/w, type: ext4}}\n"
        );
        let tmp = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = tmp.path().join(name);
            std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
            path
        };
        let disks = Disks::from([("d".to_owned(), vec![file("d")]), ("o".to_owned(), vec![file("o")])]);
        let mut plan: Plan =
            Layout::parse(text.as_bytes(), "x").unwrap().plan(&disks, &PlanOptions::default()).unwrap();
        let mut there = unchanged::applied(&plan);
        let table = there.disks[0].table.as_mut().unwrap();
        let (number, start, length) = (9, 600 << 20, 100 << 20);
        let more = Partition { number, start, length, uuid: Uuid::nil(), ..table.partitions[0].clone() };
        table.partitions.push(more.clone());
        plan.disks[0].partitions[0].kept = true;
        plan.disks[0].others.push(more);
        plan.filesystems[0].kept = true;
        there.filesystems.truncate(1);
        (plan, there)
    }

    fn codes(plan: &Plan, there: &Observed) -> Vec<(&'static str, String, String)> {
        inspect(plan, there).into_iter().map(|d| (d.code, d.path, d.message)).collect()
    }

    /// A filesystem of both devices, as each of them says.
    fn spread_over(there: &mut Observed, devices: u64, other: Node) {
        there.filesystems[0].spread.devices = devices;
        there.filesystems.push(Filesystem { on: other, ..there.filesystems[0].clone() });
    }

    #[test]
    fn a_kept_btrfs_stays_with_all_its_devices_or_is_refused() {
        for wipe in ["signatures", "all"] {
            let (plan, mut there) = plan("btrfs", wipe);
            assert_eq!(codes(&plan, &there), []);
            // Alone: the other device is nowhere.
            there.filesystems[0].spread.devices = 2;
            let found = codes(&plan, &there);
            assert_eq!((found.len(), found[0].0, found[0].1.as_str()), (1, "F228", "filesystems.home"), "{found:?}");
            assert!(found[0].2.contains("of its 2 devices 1 are found"), "{found:?}");
            // On a disk that is erased, whatever that may lose.
            spread_over(&mut there, 2, ERASED);
            let found = codes(&plan, &there);
            assert_eq!((found.len(), found[0].0, found[0].1.as_str()), (1, "F228", "filesystems.home"), "{found:?}");
            assert!(found[0].2.contains("partition 1 of") && found[0].2.ends_with("would be erased"), "{found:?}");
            // Beside it, where it stays.
            there.filesystems[1].on = STRANGER;
            assert_eq!(codes(&plan, &there), []);
            // A copy of one on a single device is no part of it.
            there.filesystems.pop();
            spread_over(&mut there, 1, ERASED);
            assert_eq!(codes(&plan, &there), []);
        }
    }

    #[test]
    fn a_log_on_another_device_is_not_kept() {
        for (kind, what) in [("xfs", "its log"), ("ext4", "its journal")] {
            let (plan, mut there) = plan(kind, "signatures");
            there.filesystems[0].spread.outside = Some(what);
            let found = codes(&plan, &there);
            assert_eq!((found.len(), found[0].0, found[0].1.as_str()), (1, "F228", "filesystems.home"), "{found:?}");
            assert!(found[0].2.contains(what), "{found:?}");
            // One that only stays beside what is kept.
            there.filesystems[0].spread = Spread::default();
            let outside = Spread { outside: Some(what), ..Spread::default() };
            let uuid = Some("other".to_owned());
            there.filesystems.push(Filesystem { on: STRANGER, uuid, spread: outside, ..there.filesystems[0].clone() });
            let found = codes(&plan, &there);
            assert_eq!((found.len(), found[0].0, found[0].1.as_str()), (1, "F229", "disks.d"), "{found:?}");
            // Where it is erased itself nobody minds.
            there.filesystems[1].on = ERASED;
            assert_eq!(codes(&plan, &there), []);
        }
    }

    fn group(members: &[Node]) -> Group {
        let pvs = members.iter().map(|n| Physical { uuid: String::new(), on: Some(*n) }).collect();
        let (name, uuid) = ("old".into(), "g".into());
        Group { name, uuid, extent: 4 << 20, extents: 9, free: 9, pvs, volumes: Vec::new(), tags: Vec::new() }
    }

    fn array(members: &[Node]) -> Array {
        let member = |(n, on): (u16, &Node)| Member { on: *on, role: md::Role::Active(n) };
        Array {
            uuid: Uuid::from_u128(7),
            name: "any:old".into(),
            version: md::Version::V1_2,
            level: md::Level::Raid(0),
            layout: 0,
            chunk: 1 << 19,
            raid_disks: 2,
            members: (0..).zip(members).map(member).collect(),
            data_offset: 1 << 20,
            component: 0,
            size: 1 << 20,
            bitmap: false,
            reshaping: false,
            split: false,
            running: None,
        }
    }

    #[test]
    fn what_others_have_on_both_disks_is_not_torn() {
        let pool = |there: &Observed, on| Filesystem {
            on,
            kind: "zfs_member".into(),
            uuid: Some("7".into()),
            ..there.filesystems[0].clone()
        };
        type Change = fn(&mut Observed, &[Node]);
        let changes: [(&str, Change); 3] = [
            ("the array \"any:old\"", |o, n| o.arrays = vec![array(n)]),
            ("the volume group \"old\"", |o, n| o.groups = vec![group(n)]),
            // Deeper: on an array that stays, and on what is erased.
            ("the volume group \"old\"", |o, n| {
                (o.arrays, o.groups) = (vec![array(&n[..1])], vec![group(&[Node::Array(0), n[1]])]);
            }),
        ];
        for (what, change) in changes {
            for (wipe, refused) in [("signatures", true), ("all", false)] {
                let (plan, mut there) = plan("ext4", wipe);
                change(&mut there, &[STRANGER, ERASED]);
                let found = codes(&plan, &there);
                assert_eq!(found.len(), usize::from(refused), "{what}, {wipe}: {found:?}");
                for (code, path, text) in &found {
                    assert_eq!((*code, path.as_str()), ("F229", "disks.o"), "{found:?}");
                    assert!(text.contains(&format!("is part of {what} that has a member on")), "{text}");
                }
                // All of it stays, or none.
                change(&mut there, &[STRANGER, STRANGER]);
                assert_eq!(codes(&plan, &there), []);
                change(&mut there, &[ERASED, ERASED]);
                assert_eq!(codes(&plan, &there), []);
                // What stands on a partition that the document keeps loses nothing, whatever else may go.
                change(&mut there, &[HOME, ERASED]);
                assert_eq!(codes(&plan, &there).len(), 1, "{what}");
            }
        }
        let (plan, mut there) = plan("ext4", "signatures");
        there.filesystems.extend([pool(&there, STRANGER), pool(&there, ERASED)]);
        let found = codes(&plan, &there);
        assert_eq!((found.len(), found[0].0), (1, "F229"), "{found:?}");
        assert!(found[0].2.contains("the ZFS pool 7"), "{found:?}");
    }
}
