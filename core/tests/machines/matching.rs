//! Which disks a layout gets, and what a person reads when it gets none.

use super::recorded::inventory;
use libcv::layout::inventory::Inventory;
use libcv::layout::select::{Keep, KeepFacts, Named, Options, Request, Selection, select};
use libcv::layout::{Diagnostic, Layout};
use serde_json::{Value, json};
use std::path::Path;

/// Disks by name, transport and size in GB, with whatever else.
pub(crate) fn machine(disks: &[(&str, &str, u64, Value)]) -> Inventory {
    let disk = |(at, (name, transport, size, more)): (usize, &(&str, &str, u64, Value))| {
        let mut disk = json!({
            "name": name, "number": format!("8:{}", at * 16), "transport": transport, "size": size * 1_000_000_000,
            "logical-sector": 512, "physical-sector": 4096, "wwid": format!("naa.{name}"),
            "by-path": [format!("pci-0000:00:{at:02}.0")],
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            disk[key] = value.clone();
        }
        disk
    };
    let disks: Vec<Value> = disks.iter().enumerate().map(disk).collect();
    let text = json!({"schema": "cv.inventory/v1", "machine": {}, "disks": disks}).to_string();
    Inventory::from_json(text.as_bytes()).unwrap()
}

fn layout(disks: &str) -> Layout {
    Layout::parse(format!("schema: cv.layout/v1\nname: t\n{disks}").as_bytes(), "t")
        .unwrap_or_else(|e| panic!("{e:?}\n{disks}"))
}

/// Sets of disks as a document has them, one a line; without rules all disks match.
fn sets(lines: &str) -> Layout {
    let rules =
        |line: &str| if line.contains("match: ") { line.to_owned() } else { line.replacen('{', "{match: {}, ", 1) };
    let lines = lines.lines().map(rules).collect::<Vec<_>>().join("\n");
    layout(&format!("disks:\n{}", lines.lines().map(|l| format!("  {}\n", l.trim())).collect::<String>()))
}

fn run(layout: &Layout, inventory: &Inventory) -> Result<Selection, Vec<Diagnostic>> {
    run_with(layout, inventory, &[], &[], Options::default())
}

fn run_with(
    layout: &Layout,
    inventory: &Inventory,
    named: &[Named],
    keep: &[Keep],
    options: Options,
) -> Result<Selection, Vec<Diagnostic>> {
    select(&Request { spec: layout.spec(), inventory, named, keep, options })
}

/// The disks of each set by the kernel's names: `os: sda sdb`.
fn taken(inventory: &Inventory, selection: &Selection) -> Vec<String> {
    let name = |disk: Option<usize>| disk.map_or("file", |at| inventory.disks[at].name.as_str());
    let line = |s: &libcv::layout::select::Selected| {
        format!("{}: {}", s.set, s.disks.iter().map(|d| name(d.disk)).collect::<Vec<_>>().join(" "))
    };
    selection.sets.iter().map(line).collect()
}

fn good(layout: &Layout, inventory: &Inventory) -> Vec<String> {
    taken(inventory, &run(layout, inventory).unwrap_or_else(|e| panic!("{e:#?}")))
}

/// The code and the message of the only finding.
fn bad(layout: &Layout, inventory: &Inventory) -> (&'static str, String) {
    let found = run(layout, inventory).unwrap_err();
    assert_eq!(found.len(), 1, "{found:#?}");
    (found[0].code, found[0].message.clone())
}

fn plain() -> Value {
    Value::Null
}

#[test]
fn too_few_disks_are_explained_one_by_one() {
    let m = machine(&[
        ("nvme0n1", "nvme", 960, plain()),
        ("nvme1n1", "nvme", 6400, plain()),
        ("sda", "sata", 4000, plain()),
        ("sdb", "usb", 32, json!({"removable": true})),
    ]);
    let (code, text) = bad(&sets("os: {match: {transport: nvme, size: {min: 200GB, max: 4TB}}, count: 2}"), &m);
    assert_eq!(code, "F201");
    assert_eq!(
        text,
        "disk set os: 2 disks wanted, 1 found. Considered: nvme0n1 (ok), nvme1n1 (rejected: size 6.4 TB > 4 TB), \
         sda (rejected: transport sata), sdb (left out: it is attached by USB, which no rule names)"
    );
    let (_, text) = bad(
        &sets("os: {match: {size: {max: 100MB}}}"),
        &machine(&[("sda", "sata", 4000, json!({"size": 100_000_512}))]),
    );
    assert!(text.contains("sda (rejected: size 100000512 > 100000000 bytes)"), "{text}");
    let (_, text) = bad(&sets("os: {}"), &machine(&[]));
    assert!(text.ends_with("The machine has no disks"), "{text}");
}

#[test]
fn more_disks_than_wanted_need_a_pick() {
    let m = machine(&[("sda", "sata", 4000, plain()), ("sdb", "sata", 500, plain()), ("sdc", "sata", 500, plain())]);
    let (code, text) = bad(&sets("os: {match: {transport: sata}}"), &m);
    assert_eq!(code, "F202");
    assert!(
        text.starts_with(
            "disk set os: 3 disks match, 1 wanted, and pick is not set. Candidates: sdb (500 GB, pci-0000:00:01.0)"
        ),
        "{text}"
    );
    assert_eq!(good(&sets("os: {pick: smallest}"), &m), ["os: sdb"]);
    assert_eq!(good(&sets("os: {pick: largest}"), &m), ["os: sda"]);
    assert_eq!(good(&sets("os: {pick: {by-path: last}}"), &m), ["os: sdc"]);
    assert_eq!(good(&sets("os: {pick: all, count: {min: 1, max: 2}}"), &m), ["os: sdb sdc"]);
    assert_eq!(good(&sets("os: {pick: all, count: {min: 2, multiple-of: 2}}"), &m), ["os: sdb sdc"]);
    assert_eq!(good(&sets("os: {count: {min: 2}}"), &m), ["os: sdb sdc sda"]);
    assert_eq!(bad(&sets("os: {count: {min: 2, max: 8, multiple-of: 2}}"), &m).0, "F202");
    assert_eq!(bad(&sets("os: {pick: all, count: {min: 4, max: 8}}"), &m).0, "F201");
    let chosen = run(&sets("os: {pick: smallest}"), &m).unwrap();
    assert_eq!((chosen.sets[0].passed_over.as_slice(), chosen.left.len()), (&[2, 0][..], 2));
    assert_eq!(chosen.left[0].reason, "os: matches, not taken by pick: smallest");
}

#[test]
fn places_are_ordered_as_people_count() {
    let at = |port: u32| json!({"by-path": [format!("pci-0000:00:1f.2-ata-{port}.0")]});
    let m = machine(&[("sda", "sata", 500, at(10)), ("sdb", "sata", 500, at(9)), ("sdc", "sata", 500, at(11))]);
    assert_eq!(good(&sets("os: {pick: {by-path: first}, count: 2}"), &m), ["os: sdb sda"]);
}

#[test]
fn equal_disks_are_not_told_apart_by_their_names() {
    let nowhere = || json!({"by-path": []});
    let m = machine(&[
        ("nvme0n1", "nvme", 960, nowhere()),
        ("nvme1n1", "nvme", 960, nowhere()),
        ("nvme2n1", "nvme", 960, nowhere()),
    ]);
    let (code, text) = bad(&sets("os: {count: 2, pick: smallest}"), &m);
    assert_eq!(code, "F203");
    assert_eq!(text, "disk set os: after pick: smallest, nvme0n1, nvme1n1 and nvme2n1 are equal; 2 of them wanted");
    assert_eq!(good(&sets("os: {count: 3}"), &m), ["os: nvme0n1 nvme1n1 nvme2n1"]);
}

fn mounted() -> Value {
    json!({"uses": [{"how": "mounted", "device": "sdb1", "at": "/srv"}]})
}

#[test]
fn a_disk_in_use_is_not_replaced_by_the_next_best_silently() {
    let m = machine(&[("sda", "sata", 4000, plain()), ("sdb", "sata", 500, mounted())]);
    let (code, text) = bad(&sets("os: {pick: smallest}"), &m);
    assert_eq!((code, text.as_str()), ("F204", "sdb matches set os and is protected: sdb1 is mounted at /srv"));
    // It would not have been taken anyway.
    assert_eq!(good(&sets("os: {pick: largest}"), &m), ["os: sda"]);
    // It would do as well as the one that is free: place and size are the same.
    let nowhere = |more: Value| {
        let mut more = more;
        more["by-path"] = json!([]);
        more
    };
    let twins = machine(&[("sda", "sata", 500, nowhere(json!({}))), ("sdb", "sata", 500, nowhere(mounted()))]);
    assert_eq!(bad(&sets("os: {pick: smallest}"), &twins).0, "F204");
    // Of two that match one is in use: nobody knows which was meant.
    let found = run(&sets("os: {}"), &m).unwrap_err();
    assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["F204"]);
    let found = run(&sets("os: {count: 2}"), &m).unwrap_err();
    assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["F204", "F201"]);
    let held = json!({"holders": [{"name": "md5", "number": "9:5", "kind": "md", "on": ["sdb"]}]});
    let m = machine(&[("sdb", "sata", 500, held)]);
    let found = run(&sets("os: {}"), &m).unwrap_err();
    assert_eq!(found[0].message, "sdb matches set os and is protected: sdb is part of md5");
    let options = Options { allow_held: true, ..Options::default() };
    assert!(run_with(&sets("os: {}"), &m, &[], &[], options).is_ok());
}

#[test]
fn what_the_document_never_touches_is_left_out_without_complaint() {
    let marks = |kind: &str, label: &str| json!({"content": {"fingerprint": "f", "signatures": [{"kind": kind, "start": 0, "length": 1, "label": label}]}});
    let m = machine(&[
        ("sda", "sata", 500, marks("ext4", "ceph-7")),
        ("sdb", "sata", 500, marks("VMFS_volume_member", "x")),
        ("sdc", "sata", 500, marks("ext4", "root")),
    ]);
    let policy = "policy: {never-touch: [{label: \"ceph*\"}, {signature: [gpfs, vmfs]}]}";
    let l = layout(&format!("disks:\n  os: {{match: {{}}}}\n{policy}\n"));
    assert_eq!(good(&l, &m), ["os: sdc"]);
    let left = run(&l, &m).unwrap().left;
    assert_eq!(left[0].reason, "os: policy.never-touch: label ceph*");
    let two = layout(&format!("disks:\n  os: {{match: {{}}, count: 2}}\n{policy}\n"));
    let (code, text) = bad(&two, &m);
    assert_eq!(code, "F201");
    assert!(text.contains("sdb (protected: policy.never-touch: signature gpfs, vmfs)"), "{text}");
    let named = [Named::recorded("os", Path::new("/dev/sda"))];
    assert_eq!(run_with(&l, &m, &named, &[], Options::default()).unwrap_err()[0].code, "F204");
}

#[test]
fn shared_storage_is_never_taken() {
    let shared = json!({"content": {"fingerprint": "f", "signatures": [{"kind": "gfs2", "start": 0, "length": 1, "shared": true}]}});
    let m = machine(&[("sda", "fc", 500, shared), ("sdb", "sata", 500, plain())]);
    let (code, text) = bad(&sets("os: {pick: all, count: {min: 1, max: 4}}"), &m);
    assert_eq!(code, "F222");
    assert_eq!(text, "sda matches set os and is not touched: it carries gfs2, which other machines may be using");
    assert_eq!(good(&sets("os: {match: {transport: sata}}"), &m), ["os: sdb"]);
}

#[test]
fn the_running_system_is_refused_wherever_its_root_lies() {
    let m = inventory("md-lvm-root");
    let found = run(&sets("os: {match: {transport: sata}, count: 2}"), &m).unwrap_err();
    assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["F205", "F205", "F201"]);
    assert!(found[0].message.contains("dm-0 carries the root of the running system"), "{}", found[0].message);
    let options = Options { allow_in_use: true, ..Options::default() };
    let chosen = run_with(&sets("os: {match: {transport: sata}, count: 2}"), &m, &[], &[], options).unwrap();
    // The kernel found the second disk first; by place it is the second.
    assert_eq!(taken(&m, &chosen), ["os: sdb sda"]);
    let stick = inventory("usb-installer");
    assert_eq!(good(&sets("os: {pick: smallest}"), &stick), ["os: nvme0n1"]);
    let found = run(&sets("os: {match: {transport: [usb, nvme]}, pick: smallest}"), &stick).unwrap_err();
    assert_eq!(found[0].code, "F205", "{found:?}");
}

#[test]
fn paths_without_multipath_are_refused_and_a_map_is_opened() {
    let m = inventory("fc-without-map");
    let (code, text) =
        run(&sets("data: {match: {transport: fc}}"), &m).map_err(|f| (f[0].code, f[0].message.clone())).unwrap_err();
    assert_eq!(code, "F206");
    assert!(text.contains("sdb and sdc are paths to the same disk (naa.600a0980"), "{text}");
    assert_eq!(good(&sets("os: {match: {transport: virtio}}"), &m), ["os: sda"]);
    let m = inventory("fc-multipath");
    let chosen = run(&sets("data: {match: {transport: fc}}"), &m).unwrap();
    assert_eq!(chosen.sets[0].disks[0].path, Path::new("/dev/mapper/mpatha"));
    // Who names a path gets the disk.
    let named = [Named::recorded("data", Path::new("/dev/sdc"))];
    let chosen = run_with(&sets("data: {}"), &m, &named, &[], Options::default()).unwrap();
    assert_eq!(chosen.sets[0].disks[0].path, Path::new("/dev/mapper/mpatha"));
}

#[test]
fn disks_of_a_set_must_be_alike() {
    let m = machine(&[
        ("nvme0n1", "nvme", 960, plain()),
        ("nvme1n1", "nvme", 1160, json!({"logical-sector": 4096, "model": "X"})),
    ]);
    let found = run(&sets("os: {count: 2, require: {same: [model]}}"), &m).unwrap_err();
    let texts: Vec<_> = found.iter().map(|d| format!("{} {}", d.code, d.message)).collect();
    assert_eq!(
        texts,
        [
            "F207 set os mixes sizes of logical sectors: nvme0n1 512, nvme1n1 4096",
            "F207 set os mixes models: nvme0n1 no model, nvme1n1 X",
        ]
    );
}

fn member(name: &str) -> Value {
    json!({"content": {"fingerprint": "f", "signatures": [
        {"kind": "linux_raid_member", "start": 0, "length": 1, "label": name, "uuid": "7fe1895e-34dc-b6dc-d1bc-bb9cf3e05134"}
    ]}})
}

fn keep(set: &str) -> Keep {
    let facts = KeepFacts { md_name: Some("any:data".to_owned()), ..KeepFacts::default() };
    Keep { object: "raid.data".to_owned(), set: set.to_owned(), facts }
}

#[test]
fn disks_with_kept_members_are_not_for_other_sets() {
    let m = machine(&[
        ("sda", "sas", 8000, member("any:data")),
        ("sdb", "sas", 8000, member("any:data")),
        ("sdc", "sas", 8000, plain()),
        ("sdd", "sas", 8000, plain()),
    ]);
    let l = sets("os: {pick: smallest}\ndata: {pick: all, count: {min: 2, max: 8}}");
    let keeps = [keep("data")];
    let chosen = run_with(&l, &m, &[], &keeps, Options::default()).unwrap();
    // The set that keeps is what it was: the free disk does not join the array.
    assert_eq!(taken(&m, &chosen), ["os: sdc", "data: sda sdb"]);
    assert_eq!(chosen.sets[1].disks[0].reason, "carries raid.data");
    let greedy = sets("os: {pick: smallest, count: 3}\ndata: {pick: all, count: {min: 2, max: 8}}");
    let found = run_with(&greedy, &m, &[], &keeps, Options::default()).unwrap_err();
    assert_eq!(found[0].code, "F208");
    assert_eq!(
        found[0].message,
        "disk set os: 3 disks wanted, 2 left: sda and sdb carry raid.data, which set data keeps"
    );
    let few = sets("os: {pick: smallest}\ndata: {pick: all, count: {min: 3, max: 8}}");
    let found = run_with(&few, &m, &[], &keeps, Options::default()).unwrap_err();
    assert!(found[0].message.starts_with("disk set data: 3 to 8 disks wanted, 2 carry what is kept"), "{found:?}");
    // More than the set takes: none of them may be left out.
    let many = sets("os: {pick: smallest}\ndata: {pick: all, count: 1}");
    assert_eq!(run_with(&many, &m, &[], &keeps, Options::default()).unwrap_err()[0].code, "F202");
    // Named for another set, it would be lost.
    let named = [Named::recorded("os", Path::new("/dev/sda"))];
    assert_eq!(run_with(&l, &m, &named, &keeps, Options::default()).unwrap_err()[0].code, "F208");
    // By UUID, in the form of mdadm.
    let facts = KeepFacts { md_uuid: Some("7fe1895e:34dcb6dc:d1bcbb9c:f3e05134".to_owned()), ..KeepFacts::default() };
    let by_uuid = [Keep { facts, ..keep("data") }];
    assert_eq!(taken(&m, &run_with(&l, &m, &[], &by_uuid, Options::default()).unwrap())[1], "data: sda sdb");
    // Two sets cannot keep one disk.
    let both = [keep("data"), Keep { object: "raid.other".to_owned(), ..keep("os") }];
    assert_eq!(run_with(&l, &m, &[], &both, Options::default()).unwrap_err()[0].code, "F208");
    // A kept array that runs and is mounted is no reason against its disks.
    let mut running = m.clone();
    running.disks[0].uses = inventory("md-lvm-root").disks.iter().find(|d| d.name == "sda").unwrap().uses.clone();
    running.disks[0].uses.remove(0);
    assert_eq!(taken(&running, &run_with(&l, &running, &[], &keeps, Options::default()).unwrap())[1], "data: sda sdb");
}

#[test]
fn what_a_document_keeps_is_found_in_it() {
    let text = "disks:
  os: {match: {}}
  data: {match: {}, count: 2, preserve: if-exists}
  old: {match: {serial: O}, optional: true, preserve: true}
partitions:
  os/root: {type: root, size: rest}
  data/a: {type: linux-raid, size: 10GiB, preserve: true}
  data/c: {type: linux-raid, size: 10GiB, preserve: if-exists}
  old/b: {type: linux, size: 10GiB, uuid: 4f68bce3-e8cd-4db1-96e7-fbcaf984b701, preserve: true}
raid:
  data: {level: 1, members: [data/a], adopt: {uuid: \"7fe1895e:34dcb6dc:d1bcbb9c:f3e05134\"}, preserve: true}
  more: {level: 1, members: [data/c], preserve: if-exists}
lvm:
  vg: {pvs: [raid/more], preserve: if-exists, lvs: {x: {size: 1GiB, preserve: if-exists}}}
";
    let l = layout(text);
    let stack = libcv::layout::stack::Stack::of(l.spec()).unwrap();
    let keeps = Keep::of(l.spec(), &stack);
    let found: Vec<_> = keeps.iter().map(|k| (k.object.as_str(), k.set.as_str())).collect();
    let wanted = [
        ("partitions.data/a", "data"),
        ("partitions.data/c", "data"),
        ("partitions.old/b", "old"),
        ("raid.data", "data"),
        ("raid.more", "data"),
        ("lvm.vg", "data"),
        ("lvm.vg.lvs.x", "data"),
    ];
    assert_eq!(found, wanted);
    assert_eq!(keeps[4].facts.md_name.as_deref(), Some("any:more"));
    let m =
        machine(&[("sda", "sas", 8, member("x")), ("sdb", "sas", 9, plain()), ("sdc", "sas", 9, member("any:more"))]);
    let chosen = run_with(&l, &m, &[], &keeps, Options::default()).unwrap();
    assert_eq!(taken(&m, &chosen), ["os: sdb", "data: sda sdc"]);
}

/// A disk with a partition, a signature or both, as an earlier application of the layout left it.
fn carrying(partition: Option<(&str, &str)>, mark: Option<Value>) -> Value {
    let table = partition.map(|(name, kind)| {
        json!({"kind": "gpt", "partitions": [{"number": 1, "kind": kind, "name": name, "start": 1 << 20, "length": 1 << 30,
            "uuid": "0fc63daf-8483-4772-8e79-3d69d8477de5"}]})
    });
    let mut content = json!({"fingerprint": "f", "signatures": mark.into_iter().collect::<Vec<_>>()});
    if let Some(table) = table {
        content["table"] = table;
    }
    json!({"content": content})
}

/// What is kept is known before anything of it was started: by partitions, labels of LUKS, groups in the metadata.
#[test]
fn a_disk_with_something_kept_is_not_for_another_set() {
    const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";
    let text = "disks:
  os: {match: {}, pick: smallest}
  data: {match: {transport: sas}, count: {min: 1, max: 2}, pick: all, preserve: if-exists}
partitions:
  os/root: {type: root, size: rest}
  data/m: {type: linux, size: 10GiB, preserve: if-exists}
  data/l: {type: linux-lvm, size: 10GiB, preserve: if-exists}
lvm: {vg: {pvs: [data/l], preserve: if-exists, lvs: {x: {size: 1GiB, preserve: if-exists}}}}
";
    // Something encrypted lies on one disk.
    let safe = text.replace("{min: 1, max: 2}", "1").replace("type: linux, size: 10GiB", "type: luks, size: 10GiB")
        + "luks: {c: {on: data/m, keys: [{secret: \"ref:k\"}], label: SAFE, preserve: if-exists}}\n";
    let select = |text: &str, named: &[Named], disks: &[(&str, &str, u64, Value)]| {
        let (l, m) = (layout(text), machine(disks));
        let keeps = Keep::of(l.spec(), &libcv::layout::stack::Stack::of(l.spec()).unwrap());
        run_with(&l, &m, named, &keeps, Options::default()).map(|s| taken(&m, &s))
    };
    let mark = |kind: &str, label: &str| Some(json!({"kind": kind, "start": 1 << 20, "length": 1, "label": label}));
    let first = |what: Value| vec![("sda", "sas", 500, what), ("sdb", "sas", 800, plain())];
    for (text, what) in [
        (text, carrying(Some(("m", LINUX)), None)),
        (safe.as_str(), carrying(None, mark("crypto_LUKS", "SAFE"))),
        (text, carrying(None, mark("LVM2_member", "vg"))),
    ] {
        assert_eq!(select(text, &[], &first(what)).unwrap(), ["os: sdb", "data: sda"]);
    }
    // Another type, another name, another group; and a label that is the name of a group.
    for (text, what) in [
        (text, carrying(Some(("m", "a19d880f-05fc-4d3b-a006-743f0f84911e")), None)),
        (text, carrying(Some(("n", LINUX)), None)),
        (text, carrying(None, mark("LVM2_member", "vg2"))),
        (safe.as_str(), carrying(None, mark("LVM2_member", "SAFE"))),
        (text, carrying(None, mark("ext4", "vg"))),
    ] {
        assert_eq!(select(text, &[], &first(what)).unwrap(), ["os: sda", "data: sdb"]);
    }
    // A name says little: where the rules of the set speak against the disk, or another set has the name, it counts nothing.
    let sata = [("sda", "sata", 500, carrying(Some(("m", LINUX)), None)), ("sdb", "sas", 800, plain())];
    assert_eq!(select(text, &[], &sata).unwrap(), ["os: sda", "data: sdb"]);
    let twice = text.replace("  os/root: {type: root, size: rest}", "  os/m: {type: linux, size: rest}");
    assert_eq!(select(&twice, &[], &first(carrying(Some(("m", LINUX)), None))).unwrap(), ["os: sda", "data: sdb"]);
    // Named for another set, it would be lost.
    let named = [Named::recorded("os", Path::new("/dev/sda"))];
    assert_eq!(select(text, &named, &first(carrying(Some(("m", LINUX)), None))).unwrap_err()[0].code, "F208");
    // Others make up the number; more than are wanted are not chosen from.
    let of = |disk: Value| {
        vec![
            ("sda", "sas", 500, plain()),
            ("sdb", "sas", 600, plain()),
            ("sdc", "sas", 900, carrying(Some(("m", LINUX)), None)),
            ("sdd", "sas", 950, disk),
        ]
    };
    let two = text.replace("{min: 1, max: 2}", "2").replace("pick: all", "pick: smallest");
    assert_eq!(select(&two, &[], &of(plain())).unwrap(), ["os: sda", "data: sdc sdb"]);
    let one = text.replace("{min: 1, max: 2}", "1").replace("pick: all", "pick: smallest");
    assert_eq!(select(&one, &[], &of(plain())).unwrap(), ["os: sda", "data: sdc"]);
    let both = select(&one, &[], &of(carrying(Some(("m", LINUX)), None))).unwrap_err();
    assert_eq!(both[0].code, "F202");
}

#[test]
fn sets_that_name_disks_choose_first() {
    let m = machine(&[("sda", "sata", 500, json!({"serial": "A1"})), ("sdb", "sata", 500, json!({"serial": "B2"}))]);
    assert_eq!(
        good(&sets("data: {pick: {by-path: first}}\nos: {match: {serial: \"a1\"}}"), &m),
        ["data: sdb", "os: sda"]
    );
    assert_eq!(good(&sets("data: {pick: {by-path: first}}\nos: {pick: smallest}"), &m), ["data: sda", "os: sdb"]);
    // A pattern names nobody.
    let pattern = run(&sets("data: {pick: {by-path: first}}\nos: {match: {serial: \"a*\"}}"), &m).unwrap_err();
    assert_eq!((pattern[0].code, pattern[0].path.as_str()), ("F201", "disks.os"));
    // What a set excludes chooses before it.
    assert_eq!(
        good(&sets("data: {pick: {by-path: first}, exclude: [os]}\nos: {pick: smallest}"), &m),
        ["data: sdb", "os: sda"]
    );
}

#[test]
fn rules_can_be_combined() {
    let m = machine(&[
        ("sda", "sata", 500, json!({"model": "Dell Ent NVMe v2", "slots": ["enclosure/0x5/Slot 01"]})),
        ("sdb", "sas", 800, json!({"vendor": "SEAGATE", "rotational": true, "by-id": ["wwn-0x5000c500a"]})),
        ("sdc", "nvme", 900, json!({"nsid": 2, "wwid": "eui.0025385b71b0aaaa", "logical-sector": 4096})),
        ("loop0", "loop", 5, plain()),
        ("sdd", "usb", 900, json!({"removable": true})),
        ("sde", "sata", 0, plain()),
        ("sdf", "sata", 9, json!({"read-only": true})),
    ]);
    for (rules, disk) in [
        ("{model: \"dell ent*\"}", "sda"),
        ("{slot: \"Slot 01\"}", "sda"),
        ("{slot: \"enclosure/*/Slot 0?\"}", "sda"),
        ("{vendor: seagate}", "sdb"),
        ("{rotational: true}", "sdb"),
        ("{by-id: /dev/disk/by-id/wwn-0x5000C500A}", "sdb"),
        ("{by-path: \"pci-0000:00:01*\"}", "sdb"),
        ("{nsid: 2}", "sdc"),
        ("{wwid: 0025385B71B0AAAA}", "sdc"),
        ("{logical-sector: 4096}", "sdc"),
        ("{any: [{transport: sas}, {transport: fc}]}", "sdb"),
        ("{all: [{transport: [sas, nvme]}, {size: {min: 850GB}}]}", "sdc"),
        ("{not: {any: [{transport: nvme}, {transport: sas}]}}", "sda"),
        ("{first-of: [{transport: fc}, {transport: sas}, {transport: nvme}]}", "sdb"),
        ("{size: {min: 600GB}, first-of: [{transport: sata}, {transport: nvme}]}", "sdc"),
        ("{transport: loop}", "loop0"),
        ("{transport: usb}", "sdd"),
    ] {
        assert_eq!(good(&sets(&format!("os: {{match: {rules}}}")), &m), [format!("os: {disk}")], "{rules}");
    }
    for rules in ["{removable: true}", "{size: {max: 1GB}}", "{size: {max: 10GB}}", "{has: {label: x}}"] {
        assert_eq!(bad(&sets(&format!("os: {{match: {rules}}}")), &m).0, "F201", "{rules}");
    }
}

#[test]
fn what_a_disk_carries_can_be_a_rule() {
    let m = machine(&[("sda", "sata", 500, member("any:data")), ("sdb", "sata", 500, plain())]);
    let has = |what: &str| sets(&format!("os: {{match: {{has: {what}}}}}"));
    assert_eq!(good(&has("{md-uuid: \"7FE1895E:34dcb6dc:d1bcbb9c:f3e05134\"}"), &m), ["os: sda"]);
    assert_eq!(good(&has("{label: \"any:*\"}"), &m), ["os: sda"]);
    assert_eq!(bad(&has("{fs-uuid: 7fe1895e-34dc-b6dc-d1bc-bb9cf3e05134}"), &m).0, "F201");
    let (_, text) = bad(&has("{gpt-guid: 7fe1895e-34dc-b6dc-d1bc-bb9cf3e05134}"), &m);
    assert!(text.contains("sdb (rejected: it is not known what it carries)"), "{text}");
}

/// A layout that says nothing of its disks takes none by itself, be there only one.
#[test]
fn a_set_without_rules_takes_what_is_named() {
    let m = machine(&[("sda", "sata", 500, plain())]);
    let (code, text) = bad(&layout("disks: {os: {}}\n"), &m);
    assert_eq!((code, text.as_str()), ("F201", "disk set os: 1 disk wanted, none given"));
    assert_eq!(run(&layout("disks: {os: {optional: true}}\n"), &m).unwrap().removed, ["os"]);
}

#[test]
fn optional_sets_go_when_nothing_matches() {
    let m = machine(&[("sda", "sata", 500, plain())]);
    let l =
        sets("os: {match: {transport: sata}}\nscratch: {match: {transport: nvme}, optional: true, count: {min: 2}}");
    let chosen = run(&l, &m).unwrap();
    assert_eq!((taken(&m, &chosen), chosen.removed), (vec!["os: sda".to_owned()], vec!["scratch".to_owned()]));
    // One where two are wanted is no reason to go silently.
    let m = machine(&[("sda", "sata", 500, plain()), ("nvme0n1", "nvme", 9, plain())]);
    assert_eq!(bad(&l, &m).0, "F201");
}

#[test]
fn another_order_that_would_do_is_told() {
    let m = machine(&[("sda", "sata", 500, plain()), ("nvme0n1", "nvme", 600, plain())]);
    let l = sets("data: {pick: smallest}\nos: {match: {transport: sata}}");
    let found = run(&l, &m).unwrap_err();
    assert_eq!((found[0].code, found[0].hint.as_deref()), ("F201", Some("reordering the sets data, os would fit")));
    assert!(found[0].message.contains("sda (taken by data)"), "{}", found[0].message);
    let hopeless = sets("data: {count: 2}\nos: {match: {transport: sata}}");
    let found = run(&hopeless, &m).unwrap_err();
    assert!(found[0].hint.as_deref().is_some_and(|h| !h.contains("reordering")), "{found:?}");
}

#[test]
fn named_disks_win_over_rules() {
    let m = machine(&[
        ("sda", "sata", 500, plain()),
        ("sdb", "usb", 600, json!({"removable": true, "by-id": ["usb-stick"]})),
        ("sdc", "sata", 700, mounted()),
    ]);
    let l = sets("os: {match: {transport: nvme}}\ndata: {match: {transport: sata}}");
    let name = |set: &str, path: &str| Named::recorded(set, Path::new(path));
    let with = |named: &[Named]| run_with(&l, &m, named, &[], Options::default());
    let chosen = with(&[name("os", "/dev/sdb"), name("data", "/dev/sda")]).unwrap();
    assert_eq!(taken(&m, &chosen), ["os: sdb", "data: sda"]);
    let warned: Vec<_> = chosen.warnings.iter().map(|d| format!("{} {}", d.code, d.message)).collect();
    assert_eq!(warned, ["F219 /dev/sdb was named for os, and its rules do not fit: transport usb"]);
    let chosen = with(&[name("os", "/dev/sda"), name("data", "disk.img")]).unwrap();
    assert_eq!(
        (taken(&m, &chosen)[1].as_str(), chosen.sets[1].disks[0].path.as_path()),
        ("data: file", Path::new("disk.img"))
    );
    let code = |named: &[Named]| with(named).unwrap_err()[0].clone();
    assert_eq!(code(&[name("oss", "/dev/sda")]).hint.as_deref(), Some("did you mean \"os\"?"));
    assert_eq!(code(&[name("os", "/dev/sda"), name("data", "/dev/sda")]).code, "F209");
    assert_eq!(code(&[name("os", "/dev/sdb"), name("data", "/dev/disk/by-id/usb-stick")]).code, "F209");
    assert_eq!(code(&[name("os", "/dev/sda"), name("os", "/dev/sda")]).message, "/dev/sda is given twice for os");
    assert_eq!(code(&[name("os", "/dev/sda"), name("os", "/dev/sdb")]).code, "F202");
    assert_eq!(code(&[name("os", "/dev/sdc"), name("data", "/dev/sda")]).code, "F204");
    let two = sets("os: {count: 2}");
    let found = run_with(&two, &m, &[name("os", "/dev/sda")], &[], Options::default()).unwrap_err();
    assert_eq!((found[0].code, found[0].message.as_str()), ("F201", "disk set os: 2 disks wanted, 1 given"));
    let both = [name("os", "/dev/sdb"), name("os", "/dev/sda")];
    let chosen = run_with(&two, &m, &both, &[], Options::default()).unwrap();
    assert_eq!(taken(&m, &chosen), ["os: sdb sda"], "in the order in which they were named");
}

#[test]
fn findings_say_where_and_what_to_do() {
    let m = machine(&[("sda", "sata", 500, mounted())]);
    let found = run(&sets("os: {}\ndata: {match: {transport: nvme}}"), &m).unwrap_err();
    for d in &found {
        assert!(d.path.starts_with("disks.") && d.hint.is_some(), "{d:?}");
    }
    assert_eq!(found.iter().map(|d| d.path.as_str()).collect::<Vec<_>>(), ["disks.os", "disks.os", "disks.data"]);
}
