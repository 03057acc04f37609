//! A document with a kept part, and the disks as a first application left them.

use super::*;
use crate::layout::observed::{Filesystem, Observed};
use crate::layout::ondisk::md;
use crate::layout::ondisk::spread::Spread;
use crate::layout::spec::PartitionType;
use crate::layout::{Disks, Layout, Plan, PlanOptions, unchanged};
use std::collections::BTreeSet;

const DOCUMENT: &str = r#"
schema: cv.layout/v1
name: kept
disks: {os: {}, data: {count: 2, preserve: if-exists}}
partitions:
  os/root: {type: root, size: rest}
  data/scratch: {type: linux, size: 100MiB}
  data/m: {type: linux-raid, size: 500MiB, preserve: if-exists}
  data/c: {type: luks, size: 200MiB, preserve: if-exists}
raid:
  a: {level: 1, members: [data/m], preserve: if-exists}
  b: {level: 1, members: [data/c], preserve: if-exists}
luks: {l: {on: raid/b, keys: [{secret: "ref:k"}], label: HOME, preserve: if-exists}}
lvm:
  v:
    pvs: [raid/a]
    preserve: if-exists
    lvs:
      new: {size: 64MiB}
      old: {size: 100MiB, preserve: if-exists}
filesystems:
  root: {on: os/root, type: ext4, mount: {at: /}}
  new: {on: lvm/v/new, type: ext4}
  old: {on: lvm/v/old, type: ext4, label: old, mount: {at: /old}, preserve: if-exists}
  home: {on: luks/l, type: ext4, label: home, mount: {at: /home}, preserve: if-exists}
"#;

fn document(text: &str) -> Layout {
    Layout::parse(text.as_bytes(), "kept").unwrap()
}

/// What a first application leaves.
fn there() -> Observed {
    let tmp = tempfile::tempdir().unwrap();
    let path = |name: &str| {
        let path = tmp.path().join(name);
        std::fs::File::create(&path).unwrap().set_len(2 << 30).unwrap();
        path
    };
    let disks = Disks::from([("os".into(), vec![path("o")]), ("data".into(), vec![path("1"), path("2")])]);
    let options = PlanOptions { seed: Some([1; 16]), ..PlanOptions::default() };
    let plan: Plan = document(DOCUMENT).plan(&disks, &options).unwrap();
    unchanged::applied(&plan)
}

fn members() -> Vec<Member> {
    let member = |(set, index): (&str, usize)| Member { set: set.into(), index, name: format!("{set}{index}") };
    [("os", 0), ("data", 0), ("data", 1)].map(member).into()
}

fn found(text: &str, there: Observed) -> Result<Kept, Vec<Diagnostic>> {
    found_then(text, there, None)
}

fn found_then(text: &str, there: Observed, then: Option<&JournalKept>) -> Result<Kept, Vec<Diagnostic>> {
    let layout = document(text);
    find(layout.spec(), &Stack::of(layout.spec()).unwrap(), &members(), there, then)
}

fn codes(text: &str, change: impl FnOnce(&mut Observed)) -> Vec<(&'static str, String, String)> {
    let mut there = there();
    change(&mut there);
    match found(text, there) {
        Ok(_) => Vec::new(),
        Err(list) => list.into_iter().map(|d| (d.code, d.path, d.message)).collect(),
    }
}

/// The names of the volumes that are made anew.
fn replaced(kept: &Kept) -> Vec<&str> {
    kept.replaced("v").iter().map(|r| r.name.as_str()).collect()
}

#[test]
fn everything_that_is_there_is_found() {
    let kept = found(DOCUMENT, there()).unwrap();
    assert!(!kept.is_on(0) && kept.is_on(1) && kept.is_on(2));
    let names: Vec<String> = kept.partitions[1].keys().map(ToString::to_string).collect();
    assert_eq!(names, ["data/m", "data/c"]);
    assert!(kept.array("a").is_some() && kept.crypt("l").is_some() && kept.group("v").is_some());
    assert!(kept.volume("v", "old").is_some() && kept.volume("v", "new").is_none());
    assert_eq!(kept.replaced("v"), [Replaced { name: "new".into(), uuid: "lv-new".into() }]);
    assert_eq!((kept.label("old"), kept.label("new")), (Some("old"), None));
    assert!(kept.filesystem("old").is_some() && kept.filesystem("home").is_some() && kept.filesystem("new").is_none());
    // What the document makes anew is no stranger.
    assert!(kept.others.iter().all(Vec::is_empty));
    let devices = kept.devices();
    let group = &devices.groups["v"];
    // Volumes that are made anew give back what they have: 25 extents of the old one stay, nothing else does.
    assert_eq!((group.volumes["old"].extents, group.taken), (25, 0));
    assert_eq!(kept.ground(1).len(), 2);
}

#[test]
fn nothing_is_found_on_blank_disks() {
    let blank = |o: &mut Observed| {
        o.disks.iter_mut().for_each(|d| d.table = None);
        *o = Observed { disks: std::mem::take(&mut o.disks), ..Observed::default() };
    };
    assert!(codes(DOCUMENT, blank).is_empty());
    let required = DOCUMENT.replace("500MiB, preserve: if-exists", "500MiB, preserve: require");
    let found = codes(&required, blank);
    assert_eq!((found.len(), found[0].0, found[0].1.as_str()), (2, "F226", "partitions.data/m"));
}

/// Each change of what is there is refused as what it is, and nothing else is said.
#[test]
fn what_is_another_thing_is_refused() {
    type Change = fn(&mut Observed);
    fn part(o: &mut Observed, disk: usize, number: u32) -> &mut Partition {
        o.disks[disk].table.as_mut().unwrap().partitions.iter_mut().find(|p| p.number == number).unwrap()
    }
    fn old(o: &mut Observed) -> &mut crate::layout::observed::Volume {
        o.groups[0].volumes.iter_mut().find(|v| v.name == "old").unwrap()
    }
    let changes: [(&str, &str, &str, Change); 25] = [
        ("F227", "partitions.data/m", "the type of partition 2 of data0", |o| {
            part(o, 1, 2).kind = PartitionType::parse("linux").unwrap();
        }),
        ("F227", "partitions.data/m", "the size of partition 2 of data1", |o| part(o, 2, 2).length += 300 << 20),
        ("F228", "partitions.data/c", "several partitions of data0", |o| {
            let more = Partition { number: 9, start: 1 << 30, ..part(o, 1, 3).clone() };
            o.disks[1].table.as_mut().unwrap().partitions.push(more);
            o.arrays.truncate(1);
            o.crypts.clear();
            o.filesystems.retain(|f| !matches!(f.on, Node::Crypt(_)));
        }),
        ("F227", "raid.a", "the level", |o| o.arrays[0].level = md::Level::Raid(0)),
        ("F227", "raid.a", "the metadata", |o| o.arrays[0].version = md::Version::V1_1),
        ("F220", "raid.a", "1 of 2 members", |o| o.arrays[0].members[0].role = md::Role::Faulty),
        ("F234", "raid.a", "would have to be added", |o| {
            o.arrays[0].members.pop();
            o.arrays[0].raid_disks = 1;
        }),
        ("F228", "raid.a", "changing its shape", |o| o.arrays[0].reshaping = true),
        ("F228", "raid.a", "went on without each other", |o| {
            (o.arrays[0].split, o.arrays[0].members[1].role) = (true, md::Role::Faulty);
            o.arrays[0].size = 0;
        }),
        // Two members for one place are one.
        ("F220", "raid.a", "1 of 2 members", |o| o.arrays[0].members[1].role = o.arrays[0].members[0].role),
        ("F228", "raid.a", "how big", |o| o.arrays[0].size = 0),
        ("F227", "raid.a", "also stands on", |o| {
            let more = crate::layout::observed::Member { on: Node::Disk(0), role: md::Role::Spare };
            o.arrays[0].members.push(more);
        }),
        ("F228", "raid.a", "several arrays", |o| {
            let more = o.arrays[0].clone();
            o.arrays.push(more);
        }),
        ("F227", "luks.l", "version", |o| o.crypts[0].header.version = 1),
        ("F227", "luks.l", "label", |o| o.crypts[0].header.label = None),
        ("F228", "filesystems.home", "not open", |o| {
            o.crypts[0].open = None;
            o.filesystems.retain(|f| !matches!(f.on, Node::Crypt(_)));
        }),
        ("F227", "luks.l", "carries ext4", |o| {
            o.crypts.clear();
            let fs = o.filesystems.iter_mut().find(|f| matches!(f.on, Node::Crypt(_))).unwrap();
            fs.on = Node::Array(1);
        }),
        ("F220", "lvm.v", "missing", |o| o.groups[0].pvs[0].on = None),
        ("F227", "lvm.v", "carries the volume group \"w\"", |o| o.groups[0].name = "w".into()),
        ("F227", "lvm.v.lvs.old", "its kind", |o| old(o).kind = Err("raid1".into())),
        ("F227", "lvm.v.lvs.old", "its size", |o| old(o).extents += 1),
        ("F227", "lvm.v.lvs.new", "another kind", |o| {
            o.groups[0].volumes.iter_mut().find(|v| v.name == "new").unwrap().kind = Err("cache".into());
        }),
        ("F227", "lvm.v.lvs.new", "the snapshot snap", |o| {
            let snapshot = crate::layout::observed::Volume {
                name: "snap".into(),
                kind: Err("snapshot".into()),
                ..o.groups[0].volumes[0].clone()
            };
            o.groups[0].volumes.push(snapshot);
        }),
        ("F227", "filesystems.old", "what is on volume v/old", |o| {
            o.filesystems.iter_mut().find(|f| f.label.as_deref() == Some("old")).unwrap().kind = "xfs".into();
        }),
        ("F227", "filesystems.old", "the label", |o| {
            o.filesystems.iter_mut().find(|f| f.label.as_deref() == Some("old")).unwrap().label = None;
        }),
    ];
    for (code, path, text, change) in changes {
        let found = codes(DOCUMENT, change);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!((found[0].0, found[0].1.as_str()), (code, path), "{text}: {found:?}");
        assert!(found[0].2.contains(text), "{text}: {found:?}");
    }
}

#[test]
fn a_degraded_array_is_kept_where_the_document_allows_it() {
    let allowed =
        DOCUMENT.replace("members: [data/m], ", "members: [data/m], adopt: {name: \"*:a\", degraded: allow}, ");
    assert!(codes(&allowed, |o| o.arrays[0].members[0].role = md::Role::Faulty).is_empty());
    // Halves of which nobody knows which is right are no array that lacks something.
    let found = codes(&allowed, |o| (o.arrays[0].split, o.arrays[0].members[0].role) = (true, md::Role::Faulty));
    assert_eq!((found.len(), found[0].0), (1, "F228"), "{found:?}");
    // By another name it is not this one, and nothing is made over it.
    let renamed = |o: &mut Observed| o.arrays[0].name = "any:other".into();
    let found = codes(&allowed, renamed);
    assert_eq!(found[0].0, "F227");
    assert!(found[0].2.contains("carries the array \"any:other\""), "{found:?}");
    // Without a rule it is known by its members.
    assert!(codes(DOCUMENT, renamed).is_empty());
}

#[test]
fn what_was_left_unfinished_is_not_kept_and_strangers_stay() {
    let mut half = there();
    for disk in &mut half.disks[1..] {
        disk.table.as_mut().unwrap().partitions.iter_mut().for_each(|p| p.name += "~cv");
    }
    let kept = found(DOCUMENT, half).unwrap();
    assert!(!kept.is_on(1) && kept.array("a").is_none() && kept.group("v").is_none());
    let mut more = there();
    let table = more.disks[1].table.as_mut().unwrap();
    let stranger = Partition { number: 7, name: "swap".into(), start: 1 << 30, ..table.partitions[0].clone() };
    let half = Partition { number: 8, name: "new~cv".into(), start: 1200 << 20, ..table.partitions[0].clone() };
    table.partitions.extend([stranger.clone(), half]);
    let kept = found(DOCUMENT, more).unwrap();
    assert_eq!(kept.others[1], [stranger]);
    assert_eq!((kept.warnings.len(), kept.warnings[0].code), (1, "F235"));
    assert_eq!(kept.ground(1).len(), 3);
    // One that is only called like what is kept is a stranger.
    let mut more = there();
    let table = more.disks[1].table.as_mut().unwrap();
    let kind = PartitionType::parse("srv").unwrap();
    let namesake = Partition { number: 9, kind, start: 1 << 30, ..table.partitions[1].clone() };
    table.partitions.push(namesake.clone());
    assert_eq!(found(DOCUMENT, more).unwrap().others[1], [namesake]);
}

#[test]
fn a_closed_device_is_taken_by_the_uuid_of_what_is_in_it() {
    let uuid = "11111111-2222-4333-8444-555555555555";
    let text = DOCUMENT.replace("label: home,", &format!("label: home, uuid: {uuid},"));
    let mut closed = there();
    closed.crypts[0].open = None;
    closed.filesystems.retain(|f| !matches!(f.on, Node::Crypt(_)));
    let kept = found(&text, closed).unwrap();
    assert_eq!(kept.filesystem("home"), Some(vec![None]));
}

#[test]
fn partitions_are_known_by_uuid_number_and_what_is_on_them() {
    let named = |o: &mut Observed| {
        for disk in &mut o.disks[1..] {
            disk.table.as_mut().unwrap().partitions.iter_mut().for_each(|p| p.name = String::new());
        }
        o.arrays.clear();
        o.crypts.clear();
        o.groups.clear();
        o.filesystems.clear();
    };
    let mut there = there();
    named(&mut there);
    assert!(!found(DOCUMENT, there.clone()).unwrap().is_on(1));
    let by_number = DOCUMENT.replace("data/m: {type", "data/m: {number: 2, type");
    assert_eq!(found(&by_number, there.clone()).unwrap().partitions[1].values().next().unwrap().number, 2);
    // Another type is another partition.
    let other = by_number.replace("number: 2, type: linux-raid", "number: 2, type: linux-lvm");
    assert!(!found(&other, there).unwrap().is_on(1));
}

/// What the document keeps and names lies on a disk of another set, which would be erased.
#[test]
fn what_lies_where_nothing_stays_is_not_made_anew() {
    let os = Node::Partition { disk: 0, number: 1 };
    let moved = |what: &'static str| {
        move |o: &mut Observed| {
            o.disks[1..].iter_mut().for_each(|d| d.table = None);
            let home = Filesystem {
                on: os,
                kind: what.into(),
                label: Some("home".into()),
                uuid: None,
                subvolumes: Ok(BTreeSet::new()),
                spread: Spread::default(),
            };
            let mut crypts = std::mem::take(&mut o.crypts);
            crypts[0].on = os;
            let disks = std::mem::take(&mut o.disks);
            *o = Observed { disks, filesystems: vec![home], ..Observed::default() };
            if what == "luks" {
                *o = Observed { crypts, filesystems: Vec::new(), ..std::mem::take(o) };
            }
        }
    };
    for (what, path) in [("ext4", "filesystems.home"), ("luks", "luks.l")] {
        let found = codes(DOCUMENT, moved(what));
        assert_eq!((found.len(), found[0].0, found[0].1.as_str()), (1, "F227", path), "{found:?}");
        assert!(found[0].2.contains("lies on partition 1 of"), "{found:?}");
    }
    // Of another type it is something else, and what was never finished is nothing.
    assert!(codes(DOCUMENT, moved("xfs")).is_empty());
    let unfinished = |o: &mut Observed| {
        moved("ext4")(o);
        o.disks[0].table.as_mut().unwrap().partitions[0].name += "~cv";
    };
    assert!(codes(DOCUMENT, unfinished).is_empty());
    // Where it is found, a copy elsewhere is not looked at.
    let copied = |o: &mut Observed| {
        let home = o.filesystems.iter().find(|f| f.label.as_deref() == Some("home")).unwrap();
        let copy = Filesystem { on: os, ..home.clone() };
        o.filesystems.push(copy);
    };
    assert!(codes(DOCUMENT, copied).is_empty());
}

#[test]
fn subvolumes_that_the_document_has_are_there() {
    let text = DOCUMENT.replace(
        "old: {on: lvm/v/old, type: ext4, label: old, mount: {at: /old}",
        "old: {on: lvm/v/old, type: btrfs, label: old, subvolumes: {a: {mount: {at: /old}}, b: {}}",
    );
    let text = text.replace("old: {size: 100MiB", "old: {size: 128MiB");
    let is = |subvolumes: Result<&[&str], &str>| {
        let subvolumes =
            subvolumes.map(|s| s.iter().map(|&s| s.to_owned()).collect::<BTreeSet<_>>()).map_err(str::to_owned);
        codes(&text, |o| {
            o.groups[0].volumes.iter_mut().find(|v| v.name == "old").unwrap().extents = 32;
            let old = o.filesystems.iter_mut().find(|f| f.label.as_deref() == Some("old")).unwrap();
            (old.kind, old.subvolumes) = ("btrfs".into(), subvolumes);
        })
    };
    // Others stay in it.
    assert!(is(Ok(&["a", "b", "c"])).is_empty());
    let found = is(Ok(&["a"]));
    assert_eq!((found.len(), found[0].0, found[0].1.as_str()), (1, "F227", "filesystems.old"), "{found:?}");
    assert!(found[0].2.ends_with("has no subvolume b"), "{found:?}");
    let found = is(Err("it has several devices"));
    assert_eq!((found.len(), found[0].0), (1, "F228"), "{found:?}");
}

/// A commit takes the mark off one disk after the other: what stands on both is finished with the last one.
#[test]
fn what_stands_on_a_disk_that_is_not_finished_is_not_kept() {
    let mut half = there();
    half.disks[2].table.as_mut().unwrap().partitions.iter_mut().for_each(|p| p.name += "~cv");
    let kept = found(DOCUMENT, half).unwrap();
    assert!(!kept.is_on(1) && !kept.is_on(2) && kept.array("a").is_none() && kept.group("v").is_none());
    assert!(kept.others.iter().all(Vec::is_empty));
    // A group over two arrays, of which one is not finished: no device of it is.
    let text = DOCUMENT
        .replace("raid:\n", "raid:\n  n: {level: 1, members: [data/n], preserve: if-exists}\n")
        .replace("  data/c:", "  data/n: {type: linux-raid, size: 300MiB, preserve: if-exists}\n  data/c:")
        .replace("pvs: [raid/a]", "pvs: [raid/a, raid/n]");
    let mut half = there();
    half.disks[1..].iter_mut().enumerate().for_each(|(disk, d)| {
        let table = d.table.as_mut().unwrap();
        let more = Partition { number: 9, name: "n~cv".into(), start: 1 << 30, ..table.partitions[1].clone() };
        table.partitions.push(more);
        let on = Node::Partition { disk: disk + 1, number: 9 };
        let member = crate::layout::observed::Member { on, role: md::Role::Active(u16::try_from(disk).unwrap()) };
        if disk == 0 {
            let mut array = half.arrays[0].clone();
            (array.uuid, array.name, array.members) = (uuid::Uuid::from_u128(5), "any:n".into(), vec![member]);
            half.arrays.push(array);
        } else {
            half.arrays.last_mut().unwrap().members.push(member);
        }
    });
    let on = Some(Node::Array(half.arrays.len() - 1));
    half.groups[0].pvs.push(crate::layout::observed::Physical { uuid: "x".into(), on });
    let kept = found(&text, half).unwrap();
    assert!(kept.array("a").is_none() && kept.group("v").is_none() && kept.crypt("l").is_some());
}

#[test]
fn a_resume_keeps_what_was_kept_then() {
    let nothing = found_then(DOCUMENT, there(), Some(&JournalKept::default())).unwrap();
    assert!((0..3).all(|disk| !nothing.is_on(disk) && nothing.others[disk].is_empty()));
    let all = there();
    let then = JournalKept {
        partitions: all.partitions().map(|(_, p)| p.uuid).collect(),
        arrays: all.arrays.iter().map(|a| a.uuid).collect(),
        encrypted: all.crypts.iter().map(|c| c.header.uuid.parse().unwrap()).collect(),
        groups: vec!["v".into()],
        volumes: vec!["v/old".into()],
        filesystems: vec!["old".into(), "home".into()],
    };
    let kept = |then: &JournalKept| found_then(DOCUMENT, there(), Some(then)).unwrap();
    let same = kept(&then);
    assert!(same.array("b").is_some() && same.volume("v", "old").is_some() && same.filesystem("home").is_some());
    assert_eq!(replaced(&same), ["new"]);
    // What was made in it since is made again.
    let less = kept(&JournalKept { volumes: Vec::new(), filesystems: vec!["home".into()], ..then.clone() });
    assert!(less.volume("v", "old").is_none() && less.filesystem("old").is_none() && less.group("v").is_some());
    assert_eq!(replaced(&less), ["new", "old"]);
    assert_eq!(less.devices().groups["v"].taken, 0);
    let less = kept(&JournalKept { encrypted: Vec::new(), filesystems: vec!["old".into()], ..then.clone() });
    assert!(less.crypt("l").is_none() && less.filesystem("home").is_none() && less.array("b").is_some());
    let less = kept(&JournalKept { groups: Vec::new(), volumes: Vec::new(), filesystems: Vec::new(), ..then });
    assert!(less.group("v").is_none() && less.array("a").is_some());
}

#[test]
fn a_volume_that_was_left_unfinished_is_made_anew() {
    let mut half = there();
    let old = half.groups[0].volumes.iter_mut().find(|v| v.name == "old").unwrap();
    old.tags = vec!["mine".into(), crate::layout::UNFINISHED.into()];
    let kept = found(DOCUMENT, half.clone()).unwrap();
    assert!(kept.group("v").is_some() && kept.volume("v", "old").is_none() && kept.filesystem("old").is_none());
    assert_eq!(replaced(&kept), ["new", "old"]);
    let required = DOCUMENT.replace("size: 100MiB, preserve: if-exists}\n", "size: 100MiB, preserve: require}\n");
    assert_ne!(required, DOCUMENT);
    assert_eq!(found(&required, half).unwrap_err()[0].code, "F226");
}

/// What carries the mark may be whole and in use: the plan says so, and how it stays.
#[test]
fn what_was_left_unfinished_and_carries_something_is_told() {
    fn mark(o: &mut Observed, disk: usize, number: u32) {
        let table = o.disks[disk].table.as_mut().unwrap();
        table.partitions.iter_mut().find(|p| p.number == number).unwrap().name.push_str(crate::layout::MARKER);
    }
    let told = |o: Observed| {
        let kept = found(DOCUMENT, o).unwrap();
        let told = kept.warnings.iter().filter(|d| d.code == "F241").cloned().collect::<Vec<_>>();
        assert_eq!(told.len(), kept.unfinished.len());
        told
    };
    assert!(told(there()).is_empty());
    let number = |name: &str| {
        let kept = found(DOCUMENT, there()).unwrap();
        kept.partitions[2].iter().find(|(key, _)| key.to_string() == name).unwrap().1.number
    };
    // Of two disks one is finished: the volume that is kept is on both.
    let mut half = there();
    mark(&mut half, 2, number("data/m"));
    let list = told(half.clone());
    let [one] = &list[..] else { panic!("{list:?}") };
    assert_eq!(one.path, "filesystems.old");
    assert!(one.message.contains("ext4 \"old\" on volume v/old was left by an apply that did not finish"), "{one}");
    let hint = one.hint.clone().unwrap();
    assert!(hint.contains("--resume") && hint.contains(&format!("sgdisk -c {}:m ", number("data/m"))), "{hint}");
    assert!(hint.ends_with("data1"), "only the disk with the mark: {hint}");
    // What is made anew in any case is not told of.
    let mut scratch = there();
    let table = scratch.disks[1].table.as_mut().unwrap();
    table.partitions.iter_mut().find(|p| p.name == "scratch").unwrap().name.push_str(crate::layout::MARKER);
    assert!(told(scratch).is_empty());
    // One that goes on with that apply is making it.
    let resumed = found_then(DOCUMENT, half.clone(), Some(&JournalKept::default())).unwrap();
    assert!(resumed.warnings.iter().all(|d| d.code != "F241"));
    // Without a filesystem there is nothing to say.
    half.filesystems.clear();
    assert!(told(half).is_empty());
    let mut tagged = there();
    let old = tagged.groups[0].volumes.iter_mut().find(|v| v.name == "old").unwrap();
    old.tags = vec![crate::layout::UNFINISHED.into()];
    let hint = told(tagged)[0].hint.clone().unwrap();
    assert!(hint.contains("lvchange --deltag cv-unfinished v/old"), "{hint}");
    // What is encrypted and closed may hold anything.
    let mut closed = there();
    mark(&mut closed, 1, number("data/c"));
    closed.crypts.iter_mut().for_each(|c| c.open = None);
    closed.filesystems.retain(|f| !matches!(f.on, crate::layout::observed::Node::Crypt(_)));
    assert_eq!(told(closed)[0].path, "luks.l");
}

/// To write `if-exists` would lose it: what has to be there and is there unfinished has another hint.
#[test]
fn what_has_to_be_there_and_was_left_unfinished_is_told_how_to_keep() {
    let required = DOCUMENT.replace("500MiB, preserve: if-exists", "500MiB, preserve: require");
    let mark = |o: &mut Observed| {
        for disk in [1, 2] {
            let table = o.disks[disk].table.as_mut().unwrap();
            table.partitions.iter_mut().for_each(|p| p.name.push_str(crate::layout::MARKER));
        }
    };
    let mut there = there();
    mark(&mut there);
    let list = found(&required, there).unwrap_err();
    let hint = |d: &Diagnostic| d.hint.clone().unwrap();
    assert_eq!((list[0].code, list[0].path.as_str()), ("F226", "partitions.data/m"));
    assert!(list[0].message.contains("of data0 was left by an apply that did not finish"), "{}", list[0]);
    assert!(hint(&list[0]).contains("sgdisk -c") && !hint(&list[0]).contains("if-exists"), "{}", list[0]);
}

/// A name that was misspelt: what the document keeps is found nowhere, and what is there would be lost.
#[test]
fn a_disk_of_which_nothing_stays_although_something_is_there_is_told() {
    const HOME: &str = "schema: cv.layout/v1\nname: x\ndisks: {d: {preserve: if-exists}}\npartitions:\n  \
        d/swap: {type: swap, size: 64MiB}\n  d/home: {type: home, size: rest, preserve: if-exists}\nfilesystems:\n  \
        swap: {on: d/swap, type: swap}\n  home: {on: d/home, type: ext4, label: home, preserve: if-exists}\n";
    let tmp = tempfile::NamedTempFile::new().unwrap();
    tmp.as_file().set_len(1 << 30).unwrap();
    let layout = document(HOME);
    let disks = Disks::from([("d".into(), vec![tmp.path().to_owned()])]);
    let there = unchanged::applied(&layout.plan(&disks, &PlanOptions::default()).unwrap());
    let member = [Member { set: "d".into(), index: 0, name: "sdz".into() }];
    let warnings = |text: &str, there: Observed, then: Option<&JournalKept>| {
        let layout = document(text);
        find(layout.spec(), &Stack::of(layout.spec()).unwrap(), &member, there, then).unwrap().warnings
    };
    assert!(warnings(HOME, there.clone(), None).is_empty());
    let house = HOME.replace("d/home", "d/house").replace("label: home", "label: house");
    let [told] = &warnings(&house, there.clone(), None)[..] else { panic!("not told once") };
    assert_eq!((told.code, told.path.as_str()), ("F242", "disks.d"));
    assert!(told.message.starts_with("nothing that set d keeps is on sdz, and ext4 \"home\" on "), "{told}");
    assert!(told.message.ends_with(" would be lost"), "swap is nothing that anybody misses: {told}");
    assert!(warnings(&house, there.clone(), Some(&JournalKept::default())).is_empty(), "it made that itself");
    let blank = Observed { disks: there.disks, ..Observed::default() };
    assert!(warnings(&house, blank, None).is_empty());
}
