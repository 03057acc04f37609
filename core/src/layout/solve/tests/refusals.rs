//! What does not fit, and what leaves so that the rest does.

use super::*;

fn refused(text: &str, disks: &[DiskSize]) -> Diagnostic {
    let mut found = on(text, disks).unwrap_err();
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

#[test]
fn the_needed_size_is_exact_to_the_sector() {
    let text = "
disks: {os: {}}
partitions:
  os/a: {type: linux, size: 5MiB}
  os/b: {type: linux, size: rest}
  os/c: {type: linux, size: 20%}
";
    for sector in [512u32, 4096] {
        let sized = |size| [DiskSize { name: "d".into(), size, sector, ..DiskSize::default() }];
        let d = refused(text, &sized(MIB));
        let hint = d.hint.clone().unwrap();
        let need: u64 = hint.split_whitespace().find_map(|w| w.parse().ok()).unwrap();
        assert!(on(text, &sized(need)).is_ok(), "{sector}");
        assert!(on(text, &sized(need - u64::from(sector))).is_err(), "{sector}");
    }
}

#[test]
fn the_table_names_everybody() {
    let d = refused(COMPUTE, &[disk(50_000), disk(49_000)]);
    assert_eq!((d.code, d.path.as_str()), ("F210", "disks.os"));
    // 60 + 20 + 32 + 50 GiB are 41,472 extents; with 5 % reserve 43,655.
    assert_eq!(
        d.message,
        "set os needs 172.2 GiB, disk has 47.8 GiB for partitions: biosboot 1.0 MiB, esp 600.0 MiB, boot 1.0 GiB, \
         pv ≥ 170.6 GiB (root 60.0 GiB, var ≥ 20.0 GiB, swap 32.0 GiB, scratch ≥ 50.0 GiB, reserve 5%)"
    );
}

#[test]
fn optional_items_leave_from_the_last() {
    let text = "
disks: {os: {}}
partitions:
  os/root: {type: root, size: {min: 100MiB, max: 200MiB}}
  os/a: {type: linux, size: 100MiB, optional: true}
  os/b: {type: linux, size: rest, optional: true, min: 100MiB}
filesystems:
  b: {on: os/b, type: ext4}
";
    assert_eq!(lengths(&on(text, &[disk(350)]).unwrap(), 0), [125, 100, 125]);
    let solved = on(text, &[disk(260)]).unwrap();
    assert_eq!(mib(&solved, 0), [Some((1, 160)), Some((161, 100)), None]);
    assert_eq!(solved.dropped, [partition("b"), Object::Filesystem("b".into())]);
    let w = &solved.warnings[0];
    assert_eq!((w.code, w.path.as_str()), ("F211", "partitions.os/b"));
    assert_eq!(w.message, "os/b is left out: 60.0 MiB left, it needs at least 100.0 MiB");
    assert_eq!(lengths(&on(text, &[disk(120)]).unwrap(), 0), [120, 0, 0]);
    assert_eq!(refused(text, &[disk(99)]).code, "F210");
}

#[test]
fn only_what_helps_leaves() {
    let text = "
disks: {os: {}, data: {}}
partitions:
  os/pv: {type: linux-lvm, size: 101MiB}
  os/rest: {type: linux, size: rest, optional: true}
  data/x: {type: linux, size: 10MiB, optional: true}
lvm:
  g:
    pvs: [os/pv]
    lvs:
      a: {size: 60MiB}
      b: {size: 60MiB, optional: true}
      c: {size: 20MiB, optional: true}
      d: {kind: thin-pool, size: 8MiB, optional: true}
      e: {kind: thin, pool: d, virtual-size: 1GiB, optional: true}
";
    let spec = spec(text);
    let solved = solved(&spec, &ground(&[("os", &[disk(200)]), ("data", &[disk(10)])])).unwrap();
    let volume = |n: &str| Object::Volume("g".into(), n.into());
    // The thin volume alone would not help; d, then c and b leave, and with d what stands on it.
    assert_eq!(solved.dropped, [volume("b"), volume("c"), volume("d"), volume("e")]);
    assert_eq!(solved.groups["g"].free, 10);
}

#[test]
fn optional_sets_leave_with_all_that_stands_on_them_alone() {
    let text = "
disks: {os: {}, extra: {optional: true}}
partitions:
  os/pv: {type: linux-lvm, size: rest}
  extra/pv: {type: linux-lvm, size: rest}
  extra/y: {type: linux, size: 1MiB}
lvm: {g: {pvs: [os/pv, extra/pv], lvs: {a: {size: rest}}}}
filesystems: {y: {on: extra/y, type: ext4}}
";
    let solved = solved(&spec(text), &ground(&[("os", &[disk(401)])])).unwrap();
    assert_eq!(solved.groups["g"].extents, 100);
    let gone = ["pv", "y"].map(|n| Object::Partition(key("extra", n)));
    assert_eq!(solved.dropped, [gone[0].clone(), gone[1].clone(), Object::Filesystem("y".into())]);
    assert_eq!((solved.warnings.len(), solved.warnings[0].code), (1, "F211"));
}

#[test]
fn disks_that_differ_too_much() {
    let text = "disks: {os: {count: 2, require: {size-spread: 10%}}}\n";
    let sized = |size| DiskSize { name: format!("d{size}"), size, sector: 512, ..DiskSize::default() };
    assert!(on(text, &[sized(1000 * GIB), sized(1100 * GIB)]).is_ok());
    let d = refused(text, &[sized(1000 * GIB), sized(1101 * GIB)]);
    assert_eq!(d.code, "F212");
    assert_eq!(
        d.message,
        "disks in set os differ by 11 % (allowed 10 %): 101.0 GiB of d1182189748224 would stay unused"
    );
    assert_eq!(refused(text, &[]).code, "F201");
}

#[test]
fn members_that_are_missing_and_starts_that_are_taken() {
    let raid = "disks: {os: {}}\npartitions: {os/m: {type: linux, size: rest}}\nraid: {x: {level: 5, members: [os/m], spares: 1}}\n";
    let d = refused(raid, &vec![disk(100); 3]);
    assert_eq!((d.code, d.path.as_str()), ("L130", "raid.x.members"));
    let starts = |start: &str| {
        format!("disks: {{os: {{}}}}\npartitions:\n  os/a: {{type: linux, size: 10MiB, start: {start}}}\n")
    };
    for start in ["0B", "1536KiB", "200MiB"] {
        let d = refused(&starts(start), &[disk(100)]);
        assert_eq!((d.code, d.path.as_str()), ("F210", "partitions.os/a.start"), "{start}");
    }
    let d = refused(&starts("95MiB"), &[disk(100)]);
    assert_eq!((d.code, d.path.as_str()), ("F210", "partitions.os/a"));
    let fixed = "disks: {os: {}}\npartitions: {os/p: {type: linux, size: 20MiB}}\nluks: {c: {on: os/p, version: 2, keys: []}}\nfilesystems: {f: {on: luks/c, type: ext4}}\n";
    let d = refused(fixed, &[disk(100)]);
    assert_eq!((d.code, d.path.as_str()), ("F210", "partitions.os/p"));
    assert_eq!(d.message, "os/p has 20.0 MiB, what stands on it needs 24.0 MiB: f ≥ 8.0 MiB");
}

#[test]
fn huge_numbers_are_no_harm() {
    let huge = "16777215TiB";
    let text = format!(
        "
disks: {{os: {{count: 2}}}}
partitions:
  os/a: {{type: linux, size: {huge}}}
  os/b: {{type: linux, size: {{min: {huge}, weight: 1000}}, leave-free: {huge}}}
raid: {{x: {{level: 1, members: [os/b]}}}}
lvm:
  g: {{pvs: [raid/x], extent: 1MiB, lvs: {{a: {{size: {huge}}}, b: {{kind: thin-pool, size: {huge}}}}}}}
"
    );
    for size in [0, 1, MIB, 1 << 40, u64::MAX] {
        let disk = DiskSize { name: "d".into(), size, sector: 4096, ..DiskSize::default() };
        let found = on(&text, &[disk.clone(), disk]).unwrap_err();
        assert!(found.iter().all(|d| d.code == "F210"), "{found:?}");
    }
}
