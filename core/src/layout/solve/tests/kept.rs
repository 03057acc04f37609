//! What is there already: partitions, arrays, groups.

use super::super::{ArraySize, Kept, KeptGroup, VolumeSize};
use super::*;
use indexmap::IndexMap;

#[test]
fn new_partitions_go_into_the_first_hole_that_has_room() {
    let text = "
disks: {os: {}}
partitions:
  os/big: {type: linux, size: 300MiB}
  os/data: {type: linux, size: rest, preserve: true}
  os/small: {type: linux, size: 50MiB}
  os/grow: {type: linux, size: {min: 20MiB}}
";
    // 1..101 free, foreign 101..201, 201..401 free, data 401..601, free to 1001.
    let disk = DiskSize { kept: vec![kept(Some("data"), 2, 401, 200), kept(None, 1, 101, 100)], ..disk(1000) };
    let solved = on(text, std::slice::from_ref(&disk)).unwrap();
    assert_eq!(mib(&solved, 0), [(601, 300), (401, 200), (1, 50), (51, 50)].map(Some));
    let numbers: Vec<u32> = solved.disks["os"][0].iter().map(|p| p.unwrap().number).collect();
    assert_eq!(numbers, [3, 2, 4, 5]);
    assert!(solved.disks["os"][0][1].unwrap().kept);
    let found = on(&text.replace("300MiB", "500MiB"), std::slice::from_ref(&disk)).unwrap_err();
    assert_eq!((found[0].code, found[0].path.as_str()), ("F210", "partitions.os/big"));
    assert_eq!(found[0].message, "os/big needs 500.0 MiB in one piece, disk has 400.0 MiB left");
    let found = on(&text.replace("size: 50MiB", "size: 50MiB, number: 1"), &[disk]).unwrap_err();
    assert_eq!((found[0].code, found[0].path.as_str()), ("F221", "partitions.os/small.number"));
}

#[test]
fn a_kept_partition_where_it_is_not_aligned() {
    let mut disk = disk(100);
    disk.kept = vec![KeptPartition { key: None, number: 1, start: 63 * 512, length: 10 * MIB }];
    let text = "disks: {os: {}}\npartitions: {os/a: {type: linux, size: rest}}\n";
    assert_eq!(mib(&on(text, &[disk]).unwrap(), 0), [Some((11, 90))]);
}

#[test]
fn a_kept_array_asks_nothing_of_its_members() {
    let text = "
disks: {os: {count: 2}}
partitions: {os/m: {type: linux, size: rest, preserve: true}}
raid: {x: {level: 1, members: [os/m], preserve: true}}
lvm: {g: {pvs: [raid/x], lvs: {a: {size: rest}}}}
";
    let disk = DiskSize { kept: vec![kept(Some("m"), 1, 1, 10)], ..disk(1000) };
    let array = ArraySize { members: 2, size: 401 * MIB, sector: 512, ..ArraySize::default() };
    let mut ground = ground(&[("os", &[disk.clone(), disk])]);
    ground.kept = Kept { arrays: IndexMap::from([("x".into(), array)]), ..Kept::default() };
    let spec = spec(text);
    let solved = solved(&spec, &ground).unwrap();
    assert_eq!((solved.arrays["x"], solved.groups["g"].extents), (array, 100));
    assert_eq!(lengths(&solved, 0), [10]);
}

#[test]
fn volumes_are_made_beside_those_of_a_kept_group() {
    let text = "
disks: {os: {}}
partitions: {os/pv: {type: linux-lvm, size: rest, preserve: true}}
lvm:
  g:
    pvs: [os/pv]
    reserve: 10%
    preserve: true
    lvs:
      root: {size: {min: 40MiB}}
      home: {size: rest, preserve: true}
filesystems: {home: {on: lvm/g/home, type: ext4, preserve: true}}
";
    let disk = DiskSize { kept: vec![kept(Some("pv"), 1, 1, 1000)], ..disk(1000) };
    let mut ground = ground(&[("os", &[disk])]);
    let home = VolumeSize { extents: 100, ..VolumeSize::default() };
    let volumes = IndexMap::from([("home".into(), home)]);
    let group = KeptGroup { extent: 8 * MIB, extents: 120, taken: 3, volumes };
    ground.kept.groups.insert("g".into(), group.clone());
    let spec = spec(text);
    let g = solved(&spec, &ground).unwrap().groups["g"].clone();
    // Of 120 extents of 8 MiB 103 stay and 12 are in reserve; root has the five that it needs.
    assert_eq!((g.extent, g.extents, g.reserved, g.free), (8 * MIB, 120, 12, 0));
    assert_eq!((g.volumes["root"].extents, g.volumes["home"].extents), (5, 100));
    ground.kept.groups.insert("g".into(), KeptGroup { taken: 4, ..group });
    let found = solved(&spec, &ground).unwrap_err();
    assert_eq!((found[0].code, found[0].path.as_str()), ("F210", "lvm.g"));
}
