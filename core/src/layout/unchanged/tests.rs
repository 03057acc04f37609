use super::*;
use crate::layout::{Disks, Layout, PlanOptions};

const TOWER: &str = r#"
schema: cv.layout/v1
name: tower
disks: {os: {count: 2}}
partitions:
  os/boot: {type: linux-raid, size: 200MiB, attrs: [legacy-boot]}
  os/pv: {type: linux-raid, size: rest}
raid:
  boot: {level: 1, members: [os/boot], metadata: "1.0", bitmap: none}
  pv: {level: 10, members: [os/pv], layout: f2, chunk: 64KiB}
luks: {c: {on: raid/pv, keys: [{secret: "ref:k"}], label: LUKS}}
lvm:
  sys:
    pvs: [luks/c]
    lvs:
      root: {size: 400MiB}
      pool: {kind: thin-pool, size: {min: 100MiB}}
      home: {kind: thin, pool: pool, virtual-size: 1GiB}
filesystems:
  boot: {on: raid/boot, type: ext4, label: boot, mount: {at: /boot}}
  root: {on: lvm/sys/root, type: xfs, mount: {at: /}}
  home: {on: lvm/sys/home, type: ext4, mount: {at: /home}}
"#;

fn plan(seed: u8) -> Plan {
    let tmp = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..2).map(|n| tmp.path().join(format!("{n}.img"))).collect();
    for path in &paths {
        std::fs::File::create(path).unwrap().set_len(2 << 30).unwrap();
    }
    let options = PlanOptions { seed: Some([seed; 16]), ram: Some(1 << 30), ..PlanOptions::default() };
    let disks = Disks::from([("os".to_owned(), paths)]);
    Layout::parse(TOWER.as_bytes(), "tower").unwrap().plan(&disks, &options).unwrap()
}

#[test]
fn what_was_applied_is_unchanged_and_keeps_its_identities() {
    let before = plan(1);
    let there = applied(&before);
    let mut again = plan(2);
    assert_ne!(again.fstab_lines(), before.fstab_lines());
    assert_eq!(take_over(&mut again, &there), Vec::<String>::new());
    assert_eq!(again.fstab_lines(), before.fstab_lines());
    assert_eq!(again.mdadm_lines(), before.mdadm_lines());
    assert_eq!(again.crypttab_lines(), before.crypttab_lines());
    assert_eq!(again.disks[1].guid, before.disks[1].guid);
    assert_eq!(again.groups[0].pvs, before.groups[0].pvs);
    assert_eq!(again.disks[0].table(false), before.disks[0].table(false));
}

/// Each change of what is there is told, and told as what it is.
#[test]
fn every_difference_is_told() {
    type Change = fn(&mut Observed);
    let changes: [(&str, Change); 22] = [
        ("has no GPT", |o| o.disks[1].table = None),
        ("one copy of the GPT", |o| o.disks[0].table.as_mut().unwrap().whole = false),
        ("the start of partition 1", |o| o.disks[0].table.as_mut().unwrap().partitions[0].start += 512),
        ("the size of partition 2", |o| o.disks[1].table.as_mut().unwrap().partitions[1].length -= 512),
        ("\"pv~cv\" and would be \"pv\"", |o| o.disks[0].table.as_mut().unwrap().partitions[1].name += "~cv"),
        ("the attributes of partition 1", |o| o.disks[0].table.as_mut().unwrap().partitions[0].attributes = 0),
        ("partition 2 of", |o| drop(o.disks[0].table.as_mut().unwrap().partitions.pop())),
        ("raid/boot is not there", |o| o.arrays[0].members.clear()),
        ("raid/boot has other members", |o| o.arrays[0].members.truncate(1)),
        ("the level of raid/boot", |o| o.arrays[0].level = md::Level::Raid(0)),
        ("the metadata of raid/boot", |o| o.arrays[0].version = md::Version::V1_1),
        ("the layout of raid/pv", |o| o.arrays[1].layout = 0x102),
        ("the chunk of raid/pv", |o| o.arrays[1].chunk *= 2),
        ("raid/pv is degraded", |o| o.arrays[1].members[0].role = md::Role::Faulty),
        ("the version of luks/c", |o| o.crypts[0].header.version = 1),
        ("luks/c is not open", |o| o.crypts[0].open = None),
        ("what is free in lvm/sys", |o| o.groups[0].free += 1),
        ("the size of lvm/sys/root", |o| o.groups[0].volumes.iter_mut().find(|v| v.name == "root").unwrap().size += 1),
        ("the kind of lvm/sys/root", |o| {
            o.groups[0].volumes.iter_mut().find(|v| v.name == "root").unwrap().kind = Err("raid1".into());
        }),
        ("lvm/sys/old is not in the layout", |o| {
            let mut old = o.groups[0].volumes[0].clone();
            old.name = "old".into();
            o.groups[0].volumes.push(old);
        }),
        ("the type of filesystems.boot", |o| o.filesystems[0].kind = "xfs".into()),
        ("the label of filesystems.boot", |o| o.filesystems[0].label = None),
    ];
    let before = plan(1);
    for (expected, change) in changes {
        let mut there = applied(&before);
        change(&mut there);
        let mut again = plan(2);
        let found = take_over(&mut again, &there);
        assert!(found.iter().any(|f| f.contains(expected)), "{expected}: {found:?}");
        assert_ne!(again.disks[0].guid, before.disks[0].guid, "{expected}: nothing is taken over");
    }
}

#[test]
fn an_identity_of_the_document_must_be_there() {
    let before = plan(1);
    let mut there = applied(&before);
    let uuid = "11111111-2222-4333-8444-555555555555";
    let mut again = plan(2);
    again.spec.filesystems.get_mut("root").unwrap().uuid = Some(uuid.into());
    again.filesystems.iter_mut().find(|f| f.id == "root").unwrap().uuid = uuid.into();
    let found = take_over(&mut again.clone(), &there);
    assert!(found[0].contains(uuid), "{found:?}");
    there.filesystems.iter_mut().find(|f| f.kind == "xfs").unwrap().uuid = Some(uuid.to_uppercase());
    assert!(take_over(&mut again, &there).is_empty());
}

#[test]
fn layouts_of_level_10_have_words() {
    let word = |n| raid10_layout(n).map(|l| l.to_string());
    assert_eq!([word(0x102), word(0x201), word(0x1_0301)], [Some("n2".into()), Some("f2".into()), Some("o3".into())]);
    assert_eq!([word(0), word(0x202), word(0x10a)], [None, None, None]);
}
