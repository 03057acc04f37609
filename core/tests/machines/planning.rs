//! Plans for machines that are elsewhere, from what was recorded there.

use super::matching::machine;
use super::recorded::{MACHINES, Recorded};
use libcv::ErrorKind;
use libcv::job::Task;
use libcv::layout::inventory::Inventory;
use libcv::layout::{Confirm, Disks, Layout, Plan, PlanOptions};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const NODE: &str = include_str!("../../../examples/layouts/compute-2nvme-mirror.yaml");

/// Mirrored system disks with volumes, and 22 disks of data in an array with a spare.
const STORAGE: &str = "
schema: cv.layout/v1
name: storage
disks:
  os: {match: {transport: nvme}, count: 2, pick: smallest, wipe: all}
  data: {match: {rotational: true, transport: [sas, sata], size: {min: 4TB}}, count: {min: 5, max: 24}, pick: all, exclude: [os]}
partitions:
  os/bios: {type: bios-boot, size: 1MiB}
  os/esp: {type: esp, size: 600MiB}
  os/boot: {type: linux-raid, size: 1GiB}
  os/pv: {type: linux-raid, size: rest}
  data/member: {type: linux-raid, size: rest, leave-free: 100MiB}
raid:
  boot: {level: 1, members: [os/boot], metadata: \"1.0\"}
  pv: {level: 1, members: [os/pv]}
  data: {level: 6, members: [data/member], spares: 1}
lvm:
  sys: {pvs: [raid/pv], reserve: 5%, lvs: {root: {size: 60GiB}, var: {size: {min: 20GiB, weight: 1}},
    swap: {size: {percent-of: ram, percent: 10, max: 16GiB}}}}
filesystems:
  esp: {on: os/esp, type: vfat, mirror: sync, mount: {at: /boot/efi}}
  boot: {on: raid/boot, type: ext4, mount: {at: /boot}}
  root: {on: lvm/sys/root, type: xfs, mount: {at: /}}
  var: {on: lvm/sys/var, type: xfs, mount: {at: /var}}
  swap: {on: lvm/sys/swap, type: swap}
  data: {on: raid/data, type: xfs, mount: {at: /data}}
boot: {loader: grub2, install-on: os}
";

fn layout(text: &str) -> Layout {
    Layout::parse(text.as_bytes(), "t").unwrap()
}

/// A node with two disks for the system and 22 for data, which carry what an earlier use left.
fn storage_node(number: u64) -> Inventory {
    let mut list = Vec::new();
    for at in 0..24u64 {
        let id = number * 100 + at;
        let (transport, size) = if at < 2 { ("nvme", 960) } else { ("sas", 8000) };
        let more = json!({
            "model": "ST8000NM0075", "vendor": "SEAGATE", "serial": format!("ZA{id:06}"), "rotational": at >= 2,
            "wwid": format!("naa.5000c50094{id:06x}"), "by-id": [format!("wwn-0x5000c50094{id:06x}")],
            "by-path": [format!("pci-0000:00:07.0-sas-exp0x5003048020c0a83f-phy{at}-lun-0")],
            "content": {"fingerprint": format!("{id:032x}"), "table": {"kind": "gpt", "guid": uuid(id), "partitions": [
                {"number": 1, "kind": uuid(99), "uuid": uuid(id + 100), "name": "old", "start": 1 << 20, "length": 1u64 << 39}
            ]}, "signatures": [{"kind": "xfs", "start": 1 << 20, "length": 1u64 << 39, "label": "old"}]},
        });
        list.push((format!("sd{}", char::from(b'a' + u8::try_from(at).unwrap())), transport, size, more));
    }
    let list: Vec<(&str, &str, u64, Value)> = list.iter().map(|(n, t, s, m)| (n.as_str(), *t, *s, m.clone())).collect();
    let mut inventory = machine(&list);
    inventory.machine.memory = 256 << 30;
    inventory.machine.boot = Some(format!("boot of {number}"));
    inventory
}

fn uuid(n: u64) -> String {
    format!("4f68bce3-e8cd-4db1-96e7-{n:012x}")
}

fn plan(text: &str, inventory: &Inventory) -> Plan {
    layout(text).plan_recorded(inventory, &Disks::new(), &PlanOptions::default()).unwrap()
}

/// What a disk is called stands in the token: it must be the same in an inventory and on the machine itself.
#[test]
fn disks_are_called_the_same_one_by_one() {
    for name in MACHINES {
        let recorded = Recorded::with(name, |_| true);
        for disk in recorded.inventory().disks {
            let alone = Inventory::names(recorded.path(), disk.number);
            assert_eq!(alone, [disk.model, disk.serial, disk.wwid], "{} of {name}", disk.name);
        }
    }
}

#[test]
fn a_plan_for_another_machine() {
    let node = storage_node(7);
    let plan = plan(STORAGE, &node);
    assert!(plan.is_recorded() && !plan.is_unchanged() && plan.disks().len() == 24);
    let text = plan.to_text();
    assert!(text.starts_with("Layout storage on 24 disks, as they were recorded\n"), "{text}");
    assert!(text.contains("xfs \"old\"") && text.contains("serial ZA000700"), "{text}");
    assert_eq!(plan.to_json()["recorded"], true);
    assert!(plan.to_svg().contains(plan.token()));
    // A quarter of 256 GiB would be more than the most: the memory is that of the node.
    let swap = plan.groups()[0].volumes.iter().find(|v| v.name == "swap").unwrap();
    assert_eq!(swap.size, 16 << 30);
    // It cannot be applied from here, also where a disk of that name is.
    let e = plan.apply(&Confirm::Token(plan.token().to_owned()), None, &Task::quiet()).unwrap_err();
    assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Refused, &"A414".into()));
}

#[test]
fn a_token_is_of_one_machine_in_one_boot() {
    let tokens: BTreeSet<String> = (0..8).map(|n| plan(STORAGE, &storage_node(n)).token().to_owned()).collect();
    assert_eq!(tokens.len(), 8);
    let one = storage_node(1);
    let token = |inventory: &Inventory, seed| {
        let options = PlanOptions { seed, ..PlanOptions::default() };
        layout(STORAGE).plan_recorded(inventory, &Disks::new(), &options).unwrap().token().to_owned()
    };
    assert_eq!(token(&one, None), token(&Inventory::from_json(one.to_json().to_string().as_bytes()).unwrap(), None));
    let mut next = one.clone();
    next.machine.boot = Some("another".into());
    assert_ne!(token(&one, None), token(&next, None));
    assert_eq!(token(&one, Some([1; 16])), token(&next, Some([1; 16])));
    next.disks[0].content.as_mut().unwrap().fingerprint = "other".into();
    assert_ne!(token(&one, Some([1; 16])), token(&next, Some([1; 16])));
}

#[test]
fn disks_are_named_as_that_machine_names_them() {
    let one = "schema: cv.layout/v1\nname: one\ndisks: {d: {}}\npartitions: {d/a: {type: linux, size: rest}}\n";
    let named = |path: &str| {
        let disks = Disks::from([("d".to_owned(), vec![path.into()])]);
        layout(one).plan_recorded(&storage_node(1), &disks, &PlanOptions::default())
    };
    let sizes = |p: &Plan| p.disks()[0].facts.size;
    assert_eq!(sizes(&named("/dev/sdc").unwrap()), 8_000_000_000_000);
    assert_eq!(sizes(&named("/dev/disk/by-id/wwn-0x5000c50094000064").unwrap()), 960_000_000_000);
    assert_eq!(named("/dev/sdz").unwrap_err().kind(), ErrorKind::NotFound);
    // This machine has it, that one has not.
    assert_eq!(named("/dev/null").unwrap_err().kind(), ErrorKind::NotFound);
}

/// What speaks against a disk there is known from its inventory.
#[test]
fn disks_that_are_not_taken_there_are_not_planned() {
    let one = "schema: cv.layout/v1\nname: one\ndisks: {d: {}}\npartitions: {d/a: {type: linux, size: rest}}\n";
    let blank = json!({"fingerprint": "f"});
    let gpfs = json!({"fingerprint": "f", "table": {"kind": "gpt", "partitions": [
        {"number": 1, "kind": "37affc90-ef7d-4e96-91c3-2d7ae055b174", "uuid": uuid(1), "start": 1 << 20, "length": 1 << 20}]}});
    let cases = [
        (json!({"content": blank, "uses": [{"how": "root", "device": "sda1"}]}), "F205"),
        (json!({"content": blank, "uses": [{"how": "mounted", "device": "sda1", "at": "/srv"}]}), "F204"),
        (json!({"content": blank, "holders": [{"name": "md0", "number": "9:0", "kind": "md", "on": ["sda"]}]}), "F204"),
        (json!({"content": blank, "read-only": true}), "F214"),
        (json!({"content": gpfs}), "F222"),
        (json!({"content": {"fingerprint": "f", "table": {"kind": "broken-gpt"}}}), "F223"),
        (json!({"content": {"fingerprint": "f", "table": {"kind": "hybrid-gpt"}}}), "F224"),
        (json!({"content": blank, "size": 2 << 20}), "F210"),
    ];
    for (more, code) in cases {
        let inventory = machine(&[("sda", "sata", 960, more)]);
        let disks = Disks::from([("d".to_owned(), vec!["/dev/sda".into()])]);
        let e = layout(one).plan_recorded(&inventory, &disks, &PlanOptions::default()).unwrap_err();
        assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Refused, &code.into()), "{e:?}");
    }
}

/// An array that nobody has started is told by its members: one that lies on other disks, too, is not ours to break.
#[test]
fn an_array_of_others_is_not_broken() {
    let member = |uuid: &str| {
        json!({"content": {"fingerprint": uuid, "signatures": [
            {"kind": "linux_raid_member", "start": 1 << 20, "length": 1 << 30, "label": "any:old", "uuid": uuid}]}})
    };
    let disks = [
        ("sda", "sata", 960, member("one")),
        ("sdb", "sata", 960, member("one")),
        ("sdc", "sata", 4000, member("two")),
        ("sdd", "sata", 8000, json!({"content": {"fingerprint": "f"}})),
    ];
    let inventory = machine(&disks);
    let planned = |wipe: &str, paths: &[&str]| {
        let text = format!(
            "schema: cv.layout/v1\nname: one\ndisks: {{d: {{count: {}, wipe: {wipe}}}}}\npartitions: {{d/a: {{type: linux, size: rest}}}}\n",
            paths.len()
        );
        let disks = Disks::from([("d".to_owned(), paths.iter().map(Into::into).collect())]);
        layout(&text).plan_recorded(&inventory, &disks, &PlanOptions::default())
    };
    let e = planned("signatures", &["/dev/sda"]).unwrap_err();
    assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Refused, &"F229".into()));
    assert!(e.message().contains("/dev/sda is part of an array that has another member on /dev/sdb"), "{e}");
    // Volume groups, btrfs and ZFS over several disks as well; two that only share their name are two.
    let mark = |kind: &str, who: Value| {
        let mut mark = json!({"kind": kind, "start": 1 << 20, "length": 1 << 30, "label": "old"});
        mark.as_object_mut().unwrap().extend(who.as_object().unwrap().clone());
        json!({"content": {"fingerprint": who.to_string(), "signatures": [mark]}})
    };
    let beside = |kind: &str, one: Value, other: Value| {
        let inventory = machine(&[("sda", "sata", 960, mark(kind, one)), ("sdb", "sata", 960, mark(kind, other))]);
        let text = "schema: cv.layout/v1\nname: one\ndisks: {d: {}}\npartitions: {d/a: {type: linux, size: rest}}\n";
        let disks = Disks::from([("d".to_owned(), vec!["/dev/sda".into()])]);
        layout(text).plan_recorded(&inventory, &disks, &PlanOptions::default())
    };
    for (kind, one, other, text) in [
        ("LVM2_member", json!({"uuid": "p1", "group": "g"}), json!({"uuid": "p2", "group": "g"}), "a volume group"),
        ("btrfs", json!({"uuid": "b"}), json!({"uuid": "b"}), "a btrfs"),
        ("zfs_member", json!({"uuid": "7"}), json!({"uuid": "7"}), "a ZFS pool"),
    ] {
        let e = beside(kind, one, other).unwrap_err();
        assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Refused, &"F229".into()), "{e}");
        assert!(
            e.message().contains(&format!("/dev/sda is part of {text} that has another member on /dev/sdb")),
            "{e}"
        );
    }
    beside("LVM2_member", json!({"uuid": "p1", "group": "g"}), json!({"uuid": "p2", "group": "h"})).unwrap();
    beside("ext4", json!({"uuid": "e"}), json!({"uuid": "e"})).unwrap();
    // All of it, one whose members are nowhere else, and with the word that it may go.
    for (wipe, paths) in
        [("signatures", &["/dev/sda", "/dev/sdb"][..]), ("table", &["/dev/sdc"]), ("all", &["/dev/sdb"])]
    {
        planned(wipe, paths).unwrap();
    }
}

/// The number of the issue is that of a build with optimisation; without it fewer nodes are planned.
#[test]
fn a_thousand_nodes_with_24_disks_are_planned_in_two_seconds() {
    let nodes: u64 = if cfg!(debug_assertions) { 50 } else { 1000 };
    let inventories: Vec<Inventory> = (0..nodes).map(storage_node).collect();
    let layouts = [layout(STORAGE), layout(NODE)];
    let (options, none) = (PlanOptions::default(), Disks::new());
    for layout in &layouts {
        let begun = Instant::now();
        let disks: usize =
            inventories.iter().map(|i| layout.plan_recorded(i, &none, &options).unwrap().disks().len()).sum();
        let took = begun.elapsed();
        println!("{}: {nodes} nodes with 24 disks each, {disks} of them planned: {took:?}", layout.name());
        assert!(took < Duration::from_secs(if cfg!(debug_assertions) { 60 } else { 2 }), "{took:?}");
    }
}
