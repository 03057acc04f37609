use super::*;
use crate::layout::observed::{FstabLine, System};
use crate::layout::plan::Plan;
use crate::layout::spec::Loader;
use crate::layout::{Disks, Layout, PlanOptions, unchanged};

const GIB: u64 = 1 << 30;

/// A plan over new image files of these sizes, by set.
fn plan(text: &str, sets: &[(&str, &[u64])]) -> Plan {
    let tmp = tempfile::tempdir().unwrap();
    let mut disks = Disks::new();
    for (set, sizes) in sets {
        for (n, size) in sizes.iter().enumerate() {
            let path = tmp.path().join(format!("{set}{n}.img"));
            std::fs::File::create(&path).unwrap().set_len(*size).unwrap();
            disks.entry((*set).to_owned()).or_default().push(path);
        }
    }
    let options = PlanOptions { seed: Some([7; 16]), ram: Some(GIB), ..PlanOptions::default() };
    Layout::parse(text.as_bytes(), "test").unwrap().plan(&disks, &options).unwrap_or_else(|e| panic!("{e:?}\n{text}"))
}

fn lines(fstab: &[String]) -> Vec<FstabLine> {
    let field = |l: &str, n: usize| l.split(' ').nth(n).unwrap().to_owned();
    let options = |l: &str| field(l, 3).split(',').map(str::to_owned).collect();
    fstab
        .iter()
        .map(|l| FstabLine { what: field(l, 0), at: field(l, 1), kind: field(l, 2), options: options(l) })
        .collect()
}

/// What is there when the plan was applied, with the files of its system.
fn observed(plan: &Plan) -> Observed {
    let system = System {
        fstab: lines(&plan.fstab_lines()),
        cmdline: plan.boot_cmdline().split_whitespace().map(str::to_owned).collect(),
        loader: plan.has_boot_loader().then_some(Loader::Grub2),
        hostname: Some("node1".into()),
        ..System::default()
    };
    Observed { system: Some(system), ..unchanged::applied(plan) }
}

/// Captures what a document made, and demands that the captured one makes the same of the same disks.
fn round(text: &str, sets: &[(&str, &[u64])]) -> String {
    let made = plan(text, sets);
    let there = observed(&made);
    let captured = describe(&there, None, &LayoutCaptureOptions::default());
    assert_eq!(captured.unsupported(), [""; 0]);
    let yaml = captured.to_yaml();
    let names: Vec<(&String, Vec<u64>)> = captured.spec().disks.keys().zip(captured_sizes(&there, &captured)).collect();
    let names: Vec<(&str, &[u64])> = names.iter().map(|(n, s)| (n.as_str(), s.as_slice())).collect();
    let again = plan(&yaml, &names);
    assert_eq!(unchanged::differing(&again, &there), [""; 0], "{yaml}");
    assert_eq!(Layout::parse(yaml.as_bytes(), "captured").unwrap().spec(), captured.spec(), "{yaml}");
    yaml
}

fn captured_sizes(there: &Observed, captured: &Captured) -> Vec<Vec<u64>> {
    let size =
        |line: &String| there.disks.iter().find(|d| line.starts_with(&*d.path.display().to_string())).unwrap().size;
    captured.disks.iter().map(|(_, lines)| lines.iter().map(size).collect()).collect()
}

const SATA: &str = r#"
schema: cv.layout/v1
name: single-sata
firmware: [bios]
disks: {os: {wipe: signatures}}
partitions:
  os/biosboot: {type: bios-boot, size: 1MiB}
  os/boot: {type: linux, size: 1GiB, attrs: [legacy-boot]}
  os/swap: {type: swap, size: 4GiB}
  os/root: {type: root, size: {min: 20GiB, max: 30GiB}}
  os/scratch: {type: linux, size: rest, optional: true, min: 10GiB}
filesystems:
  boot: {on: os/boot, type: ext4, mount: {at: /boot}}
  swap: {on: os/swap, type: swap}
  root: {on: os/root, type: ext4, label: root, mount: {at: /}}
  scratch: {on: os/scratch, type: xfs, mount: {at: /scratch, options: [nofail, noatime]}}
boot: {loader: grub2, install-on: os, cmdline: ["console=ttyS0,115200n8"]}
"#;

#[test]
fn a_document_is_written_as_people_do() {
    let yaml = round(SATA, &[("os", &[64 * GIB])]);
    let document = &yaml[yaml.find("schema:").unwrap()..];
    insta::assert_snapshot!(document, @r#"
    schema: cv.layout/v1
    name: node1
    firmware: [bios]
    disks:
      os: {}
    partitions:
      os/biosboot: {type: bios-boot, size: 1MiB}
      os/boot:     {type: linux, size: 1GiB, attrs: [legacy-boot]}
      os/swap:     {type: swap, size: 4GiB}
      os/root:     {type: root, size: 30GiB}
      os/scratch:  {type: linux, size: rest}
    filesystems:
      boot:    {on: os/boot, type: ext4, mount: {at: /boot}}
      root:    {on: os/root, type: ext4, label: root, mount: {at: /}}
      scratch: {on: os/scratch, type: xfs, mount: {at: /scratch, options: [nofail, noatime]}}
      swap:    {on: os/swap, type: swap}
    boot: {loader: grub2, install-on: os, cmdline: ["console=ttyS0,115200n8"]}
    "#);
}

#[test]
fn a_mirror_with_volumes_comes_back() {
    let text = r#"
schema: cv.layout/v1
name: mirror
disks: {os: {count: 2}}
partitions:
  os/esp: {number: 2, type: esp, size: 600MiB}
  os/boot: {number: 3, type: linux-raid, size: 1GiB}
  os/pv: {number: 7, type: linux-raid, size: rest}
raid:
  boot: {level: 1, members: [os/boot], metadata: "1.0", bitmap: none, sync: zero}
  pv: {level: 1, members: [os/pv]}
lvm:
  sys:
    pvs: [raid/pv]
    lvs:
      root: {size: 60GiB}
      var: {size: {min: 20GiB, max: 200GiB, weight: 1}}
      swap: {size: {percent-of: ram, percent: 25, max: 32GiB}}
      scratch: {size: {min: 50GiB, weight: 4}}
    reserve: 5%
filesystems:
  esp: {on: os/esp, type: vfat, label: ESP, mirror: sync, mount: {at: /boot/efi, options: [umask=0077]}}
  boot: {on: raid/boot, type: ext4, label: boot, mount: {at: /boot, options: [nodev]}}
  root: {on: lvm/sys/root, type: xfs, label: root, mount: {at: /}}
  var: {on: lvm/sys/var, type: xfs, mount: {at: /var}}
  swap: {on: lvm/sys/swap, type: swap}
  scratch: {on: lvm/sys/scratch, type: xfs, mount: {at: /scratch, options: [noatime, nofail]}}
"#;
    let yaml = round(text, &[("os", &[960_197_124_096, 960_197_124_096])]);
    for line in [
        "  os: {count: 2}",
        "  os/esp:  {number: 2, type: esp, size: 600MiB}",
        "  boot: {level: 1, members: [os/boot], metadata: \"1.0\", bitmap: none}",
        "  pv:   {level: 1, members: [os/pv]}",
        "      root:    {size: 60GiB}",
        "  esp:     {on: os/esp, type: vfat, label: ESP, mirror: sync, mount: {at: /boot/efi, options: [umask=0077, nofail]}}",
    ] {
        assert!(yaml.contains(line), "{line}\n{yaml}");
    }
}

#[test]
fn sets_with_data_of_their_own_come_back() {
    let text = r#"
schema: cv.layout/v1
name: data
disks: {os: {}, data: {count: 5}, one: {}, two: {}}
partitions:
  os/biosboot: {type: bios-boot, size: 1MiB}
  os/root: {type: root, size: rest}
  data/member: {type: linux-raid, size: rest, leave-free: 100MiB}
  one/d: {type: linux, size: rest}
  two/d: {type: linux, size: rest}
raid:
  data: {level: 10, layout: f2, chunk: 256KiB, members: [data/member], spares: 1, bitmap: internal}
luks:
  secret: {on: two/d, keys: [{secret: "ref:x"}], label: SECRET}
filesystems:
  root: {on: os/root, type: ext4, mount: {at: /}}
  data: {on: raid/data, type: xfs, label: data, mount: {at: /data}}
  one: {on: one/d, type: xfs, mount: {at: /srv/one}}
  two: {on: luks/secret, type: btrfs, mount: {at: /srv/two, options: [noatime]}}
"#;
    let yaml = round(text, &[("os", &[8 * GIB]), ("data", &[8 * GIB; 5]), ("one", &[4 * GIB]), ("two", &[4 * GIB])]);
    // Two disks that are divided alike and used by two filesystems are no set.
    for line in
        ["srv-one: ", "data: ", "{level: 10, layout: f2, chunk: 256KiB, members: [data/member], spares: 1}", "ref:TODO"]
    {
        assert!(yaml.contains(line), "{line}\n{yaml}");
    }
}

#[test]
fn thin_volumes_stripes_and_gaps_come_back() {
    let text = r#"
schema: cv.layout/v1
name: thin
disks: {d: {count: 2}}
partitions:
  d/first: {type: linux-lvm, size: 4GiB, start: 10MiB}
  d/last: {type: linux-lvm, size: 2GiB, at: end}
lvm:
  v:
    pvs: [d/first, d/last]
    extent: 8MiB
    lvs:
      s: {size: 256MiB, stripes: 2, stripe-size: 32KiB}
      p: {kind: thin-pool, size: {min: 1GiB}, chunk: 128KiB}
      t: {kind: thin, pool: p, virtual-size: 20GiB}
filesystems:
  s: {on: lvm/v/s, type: ext4, mount: {at: /}}
  t: {on: lvm/v/t, type: ext4, mount: {at: /t}}
"#;
    let yaml = round(text, &[("d", &[10 * GIB, 10 * GIB])]);
    assert!(
        yaml.contains("start: 10MiB") && yaml.contains("stripe-size: 32KiB") && yaml.contains("extent: 8MiB"),
        "{yaml}"
    );
}

#[test]
fn what_cannot_be_said_is_told() {
    let made = plan(SATA, &[("os", &[64 * GIB])]);
    let mut there = observed(&made);
    there.filesystems[0].kind = "ext2".into();
    there.oddities.push(super::super::observed::Oddity { on: Some(Node::Disk(0)), text: "odd\nthing".into() });
    let table = there.disks[0].table.as_mut().unwrap();
    table.partitions[1].name = "boot~cv".into();
    table.partitions[2].attributes = 1 << 50;
    let system = there.system.as_mut().unwrap();
    system.fstab.push(FstabLine { what: "nas:/x".into(), at: "/x".into(), kind: "nfs".into(), options: vec![] });
    system.cmdline.push("a;b".into());
    let captured = describe(&there, None, &LayoutCaptureOptions::default());
    let all = |list: &[String], words: &[&str]| words.iter().all(|w| list.iter().any(|l| l.contains(w)));
    assert!(all(captured.unsupported(), &["ext2", "odd", "attributes"]), "{:?}", captured.unsupported());
    assert!(all(captured.notes(), &["mark of a disk", "(nas:/x)", "a;b"]), "{:?}", captured.notes());
    let yaml = captured.to_yaml();
    assert!(yaml.contains("# Unsupported") && !yaml.contains("\nthing"), "{yaml}");
    Layout::parse(yaml.as_bytes(), "captured").unwrap();
}

#[test]
fn identities_are_kept_when_asked_for() {
    let made = plan(SATA, &[("os", &[64 * GIB])]);
    let options = LayoutCaptureOptions { keep_uuids: true, name: Some("kept".into()), ..Default::default() };
    let captured = describe(&observed(&made), None, &options);
    assert_eq!(
        captured.spec().filesystems["root"].uuid.as_ref(),
        Some(&made.filesystems().iter().find(|f| f.id == "root").unwrap().uuid)
    );
    assert!(captured.spec().partitions.values().all(|p| p.uuid.is_some()));
    assert_eq!(captured.spec().name, "kept");
    assert_eq!(captured.to_json()["layout"]["name"], "kept");
}

#[test]
fn rules_name_what_tells_disks_apart() {
    let disk = |name: &str, minor: u32, transport: &str, size: u64, turns: bool, more: serde_json::Value| {
        let mut d = json!({
            "name": name, "number": format!("8:{minor}"), "transport": transport, "size": size,
            "logical-sector": 512, "physical-sector": 512, "rotational": turns,
        });
        d.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        d
    };
    let text = json!({"schema": "cv.inventory/v1", "machine": {}, "disks": [
        disk("sda", 0, "sata", 960_197_124_096, false, json!({"by-id": ["ata-X_1", "wwn-0x1"]})),
        disk("sdb", 16, "sata", 960_197_124_096, false, json!({"by-id": ["ata-X_2", "wwn-0x2"]})),
        disk("sdc", 32, "sata", 8_001_563_222_016, true, json!({"serial": "S3"})),
        disk("sdd", 48, "nvme", 3_840_755_982_336, false, json!({})),
        disk("loop0", 64, "loop", 1 << 20, false, json!({})),
    ]});
    let machine = Inventory::from_json(text.to_string().as_bytes()).unwrap();
    let own = |names: &[&str]| machine.disks.iter().filter(|d| names.contains(&d.name.as_str())).collect::<Vec<_>>();
    let rule = |names: &[&str]| serde_json::to_value(matching::proposed(&own(names), &machine)).unwrap();
    assert_eq!(rule(&["sda", "sdb"]), json!({"transport": ["sata"], "rotational": false}));
    assert_eq!(rule(&["sdd"]), json!({"transport": ["nvme"]}));
    assert_eq!(rule(&["sda"]), json!({"transport": ["sata"], "rotational": false}));
    // Where only the size is another, that is the rule.
    let mut two = machine.clone();
    two.disks[2].rotational = false;
    let own: Vec<_> = two.disks.iter().take(2).collect();
    let rule = matching::proposed(&own, &two);
    let size = rule.size.unwrap();
    assert_eq!((size.min.unwrap().bytes(), size.max.unwrap().bytes()), (864_000_000_000, 1_057_000_000_000));
    assert_eq!(rule.rotational, None);
    let pinned = |names: &[&str]| {
        matching::pinned(&machine.disks.iter().filter(|d| names.contains(&d.name.as_str())).collect::<Vec<_>>())
    };
    assert_eq!(pinned(&["sda", "sdb"]).unwrap().by_id, ["wwn-0x1", "wwn-0x2"]);
    assert_eq!(pinned(&["sdc"]).unwrap().serial, ["S3"]);
    assert_eq!(pinned(&["sdd"]), None);
}
