//! One rule after the other, on small disks.

use super::*;

#[test]
fn the_smallest_disk_of_a_set_decides_unless_each_is_for_itself() {
    let text = "
disks: {os: {count: 2}}
partitions:
  os/a: {type: linux, size: 10%}
  os/b: {type: linux, size: rest}
";
    let solved = on(text, &[disk(1000), disk(1500)]).unwrap();
    assert_eq!((lengths(&solved, 0), lengths(&solved, 1)), (vec![100, 900], vec![100, 900]));
    assert_eq!(solved.unused["os"], [0, 500 * MIB]);
    let each = on(&text.replace("count: 2", "count: 2, per-disk: true"), &[disk(1000), disk(1500)]).unwrap();
    assert_eq!((lengths(&each, 0), lengths(&each, 1)), (vec![100, 900], vec![150, 1350]));
    assert_eq!(each.unused["os"], [0, 0]);
}

#[test]
fn boot_partitions_first_then_the_document_and_the_end() {
    let text = "
disks: {os: {}}
partitions:
  os/swap: {type: swap, size: 10MiB, at: end}
  os/root: {type: root, size: rest, number: 1}
  os/last: {type: linux, size: 5MiB, at: end, leave-free: 3MiB}
  os/esp: {type: esp, size: 100MiB}
  os/core: {type: bios-boot, size: 1B}
";
    let solved = on(text, &[disk(1000)]).unwrap();
    // From the back: 10 MiB end at 1001; then 3 free, then 5.
    let places = [(991, 10), (102, 881), (983, 5), (2, 100), (1, 1)].map(Some);
    assert_eq!(mib(&solved, 0), places);
    let numbers: Vec<u32> = solved.disks["os"][0].iter().map(|p| p.unwrap().number).collect();
    assert_eq!(numbers, [2, 1, 3, 4, 5]);
}

#[test]
fn a_start_divides_the_disk() {
    let text = "
disks: {os: {}}
partitions:
  os/data: {type: linux, size: rest, start: 500MiB}
  os/a: {type: linux, size: {min: 100MiB, weight: 1}}
  os/b: {type: linux, size: {min: 300MiB, weight: 3}}
  os/c: {type: linux, size: 50MiB}
";
    let solved = on(text, &[disk(1000)]).unwrap();
    // Before it lie 499 MiB, where all three have room; the 49 that are left go one to three.
    assert_eq!(mib(&solved, 0), [(500, 501), (1, 112), (113, 337), (450, 50)].map(Some));
    let behind = on(&text.replace("50MiB", "100MiB"), &[disk(1000)]).unwrap();
    assert_eq!(mib(&behind, 0), [(500, 401), (1, 125), (126, 374), (901, 100)].map(Some));
}

#[test]
fn units_follow_the_best_length_of_io() {
    let text = "
disks: {os: {count: 2}}
partitions:
  os/a: {type: linux, size: 1MiB}
  os/b: {type: linux, size: rest}
";
    let odd = DiskSize { optimal_io: 1536 << 10, ..disk(100) };
    let solved = on(text, &[disk(100), odd]).unwrap();
    // Units of 3 MiB: from 3 to the end at 101, rounded down to 99.
    assert_eq!(mib(&solved, 0), [(3, 3), (6, 93)].map(Some));
    assert_eq!(mib(&solved, 1), mib(&solved, 0));
}

#[test]
fn levels_through_the_stack() {
    let text = |raid: &str| {
        format!(
            "disks: {{os: {{count: 5}}}}\npartitions:\n  os/m: {{type: linux-raid, size: rest}}\nraid:\n  x: {{members: [os/m], {raid}}}\n"
        )
    };
    let size = |raid: &str| {
        let solved = on(&text(raid), &vec![disk(1026); 5]).unwrap();
        let array = solved.arrays["x"];
        (array.members, array.data_offset / MIB, array.size / MIB)
    };
    // 1026 MiB: a thousandth is 1 MiB, with the superblock 2; without chunks it is 1 MiB as well.
    assert_eq!(size("level: 0"), (5, 2, 5120));
    assert_eq!(size("level: 1"), (5, 2, 1024));
    assert_eq!(size("level: 5"), (5, 2, 4096));
    assert_eq!(size("level: 6"), (5, 2, 3072));
    assert_eq!(size("level: 10"), (5, 2, 2560));
    assert_eq!(size("level: 10, spares: 1"), (4, 2, 2048));
    assert_eq!(size("level: 5, chunk: 64MiB"), (5, 129, 4 * 896));
    assert_eq!(size("level: 6, metadata: \"1.0\""), (5, 0, 3 * 1025));
}

#[test]
fn what_stands_above_is_a_least_below() {
    // A volume of 100 MiB and one of at least 50 in extents of 4 MiB: 25 and 13 extents, 153 MiB with the header of the
    // volume; 16 MiB for encryption; level 5 over three halves it to 84.5 and 2 MiB in front: 87 MiB on each disk.
    let text = "
disks: {os: {count: 3}}
partitions:
  os/pv: {type: linux-raid, size: {weight: 1}}
  os/other: {type: linux, size: {weight: 1000}}
raid: {pv: {level: 5, members: [os/pv]}}
luks: {c: {on: raid/pv, version: 2, keys: [{secret: \"ref:x\"}]}}
lvm:
  g: {pvs: [luks/c], lvs: {a: {size: 100MiB}, b: {size: {min: 50MiB}}}}
";
    let solved = on(text, &vec![disk(100); 3]).unwrap();
    assert_eq!(lengths(&solved, 0), [87, 13]);
    assert_eq!(solved.arrays["pv"].size, 170 * MIB);
    assert_eq!((solved.crypts["c"].offset, solved.crypts["c"].size), (16 * MIB, 154 * MIB));
    assert_eq!(solved.groups["g"].extents, 38);
    let less = on(text, &vec![disk(87); 3]).unwrap_err();
    assert_eq!(less[0].code, "F210");
    // The hint names the size that works, to the byte.
    assert!(less[0].hint.as_deref().unwrap().contains(&disk(88).size.to_string()), "{less:?}");
    assert_eq!(lengths(&on(text, &vec![disk(88); 3]).unwrap(), 0), [87, 1]);
}

#[test]
fn pools_take_metadata_and_a_spare() {
    let text = "
disks: {os: {}}
partitions: {os/pv: {type: linux-lvm, size: rest}}
lvm:
  g:
    pvs: [os/pv]
    lvs:
      root: {size: 1GiB}
      pool: {kind: thin-pool, size: rest, chunk: 64KiB}
      home: {kind: thin, pool: pool, virtual-size: 10001MiB}
filesystems:
  home: {on: lvm/g/home, type: xfs}
";
    let solved = on(text, &[disk(1 + 1024 + 102_400 + 100 + 100)]).unwrap();
    let g = &solved.groups["g"];
    // 100 GiB of data in chunks of 64 KiB have 100 MiB of metadata, and as much is kept as a spare.
    assert_eq!((g.extents, g.spare, g.free), (256 + 25_600 + 25 + 25, 25, 0));
    assert_eq!(
        (g.volumes["pool"].extents, g.volumes["pool"].metadata, g.volumes["pool"].chunk),
        (25_600, 25, 64 << 10)
    );
    assert_eq!(g.volumes["home"].extents, 2501);
    assert_eq!(solved.size_of(&Object::Volume("g".into(), "home".into())), Some(10_004 * MIB));
}

#[test]
fn stripes_are_whole_and_reserve_is_left() {
    let text = "
disks: {os: {count: 3}}
partitions: {os/pv: {type: linux-lvm, size: rest}}
lvm:
  g:
    pvs: [os/pv]
    reserve: 10%
    lvs:
      db: {size: 40MiB, stripes: 3}
      all: {size: rest, stripes: 3}
";
    let solved = on(text, &vec![disk(401); 3]).unwrap();
    let g = &solved.groups["g"];
    // 300 extents; 30 are reserved, db has 12 instead of 10.
    assert_eq!((g.devices.clone(), g.extents, g.reserved), (vec![100; 3], 300, 30));
    assert_eq!((g.volumes["db"].extents, g.volumes["all"].extents, g.free), (12, 258, 0));
}

#[test]
fn a_group_over_two_sets_asks_each_for_what_it_can_give() {
    let text = "
disks: {os: {}, data: {count: 2}}
partitions:
  os/root: {type: root, size: {min: 50MiB, weight: 1000}}
  os/pv: {type: linux-lvm, size: {weight: 1}}
  data/pv: {type: linux-lvm, size: {weight: 1}}
  data/other: {type: linux, size: {weight: 1000}}
lvm: {g: {pvs: [os/pv, data/pv], lvs: {big: {size: 800MiB}}}}
";
    let spec = spec(text);
    let at = |os: u64, data: u64| {
        let solved = solved(&spec, &ground(&[("os", &[disk(os)]), ("data", &vec![disk(data); 2])])).unwrap();
        (lengths(&solved, 0)[1], solved.disks["data"][0][0].unwrap().length / MIB, solved.groups["g"].extents)
    };
    // 200 extents: 67 from each of three where there is room (what is over goes to the others by weight) …
    assert_eq!(at(2000, 2000), (270, 270, 201));
    // … and where os has 151 MiB to give, 37 from there and 82 from each of the others.
    assert_eq!(at(201, 2000), (149, 330, 37 + 2 * 82));
}

#[test]
fn memory_and_bounds() {
    let text = "
disks: {os: {}}
partitions:
  os/swap: {type: swap, size: {percent-of: ram, percent: 150, max: 3GiB}}
  os/tmp: {type: tmp, size: {percent-of: ram, percent: 1, min: 100MiB}}
  os/share: {type: linux, size: {percent-of: disk, percent: 50, max: 1GiB}}
  os/rest: {type: linux, size: rest, min: 10MiB}
";
    let spec = spec(text);
    let with = |ram: Option<u64>| solved(&spec, &Ground { ram, ..ground(&[("os", &[disk(10_000)])]) });
    assert_eq!(lengths(&with(Some(GIB)).unwrap(), 0), [1536, 100, 1024, 7340]);
    assert_eq!(lengths(&with(Some(256 * GIB)).unwrap(), 0), [3072, 2621, 1024, 3283]);
    let unknown = with(None).unwrap_err();
    assert_eq!((unknown[0].code, unknown[0].path.as_str()), ("F218", "partitions.os/swap.size"));
}

#[test]
fn volumes_carry_volumes() {
    let text = "
disks: {os: {}}
partitions: {os/pv: {type: linux-lvm, size: rest}}
luks: {c: {on: lvm/outer/box, version: 2, keys: [{secret: \"ref:x\"}]}}
lvm:
  outer: {pvs: [os/pv], lvs: {box: {size: {weight: 1}}, rest: {size: {weight: 3}}}}
  inner: {pvs: [luks/c], lvs: {root: {size: 100MiB}}}
";
    let solved = on(text, &[disk(401)]).unwrap();
    // Inside 25 extents and 1 MiB, 16 MiB of header: 117 MiB, 30 extents; of the other 69 beside it a quarter.
    let outer = &solved.groups["outer"];
    assert_eq!((outer.extents, outer.volumes["box"].extents, outer.volumes["rest"].extents), (100, 47, 53));
    assert_eq!(solved.crypts["c"].size, 172 * MIB);
    assert_eq!(solved.groups["inner"].extents, 42);
}
