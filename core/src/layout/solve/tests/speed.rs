//! Planning for a cluster must not wait for arithmetic.

use super::*;
use std::time::{Duration, Instant};

/// Two disks for the system with mirrors, LVM and a thin pool, 22 disks of data in level 6.
const HEAD: &str = "
disks: {os: {count: 2}, data: {count: {min: 4}}}
partitions:
  os/esp: {type: esp, size: 1GiB}
  os/boot: {type: linux-raid, size: 2GiB}
  os/pv: {type: linux-raid, size: rest}
  data/member: {type: linux-raid, size: rest, leave-free: 100MiB}
raid:
  boot: {level: 1, members: [os/boot], metadata: \"1.0\"}
  pv: {level: 1, members: [os/pv]}
  data: {level: 6, members: [data/member], spares: 1}
luks: {state: {on: lvm/sys/state, version: 2, keys: [{tpm2: {pcrs: [7]}}]}}
lvm:
  sys:
    pvs: [raid/pv]
    reserve: 5%
    lvs:
      root: {size: 100GiB}
      swap: {size: {percent-of: ram, percent: 10, max: 16GiB}}
      db: {size: 200GiB, stripes: 1}
      state: {size: 20GiB}
      pool: {kind: thin-pool, size: {min: 100GiB, weight: 1}, chunk: 256KiB}
      home: {kind: thin, pool: pool, virtual-size: 500GiB}
filesystems:
  esp: {on: os/esp, type: vfat}
  boot: {on: raid/boot, type: ext4}
  root: {on: lvm/sys/root, type: xfs}
  swap: {on: lvm/sys/swap, type: swap}
  db: {on: lvm/sys/db, type: xfs}
  state: {on: luks/state, type: ext4}
  home: {on: lvm/sys/home, type: xfs}
  data: {on: raid/data, type: xfs}
";

#[test]
fn a_thousand_nodes_with_24_disks() {
    let spec = spec(HEAD);
    let begun = Instant::now();
    for node in 0..1000 {
        let os = vec![disk(900_000 + node); 2];
        let data = vec![disk(8_000_000 + node); 22];
        let solved = solved(&spec, &ground(&[("os", &os), ("data", &data)])).unwrap();
        assert_eq!(solved.disks["data"].len(), 22);
    }
    let spent = begun.elapsed();
    println!("1,000 nodes with 24 disks each: {spent:?}");
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 1 });
    assert!(spent < limit, "{spent:?}");
}

#[test]
fn many_volumes_and_optional_ones() {
    let mut text =
        "disks: {os: {}}\npartitions: {os/pv: {type: linux-lvm, size: rest}}\nlvm: {g: {pvs: [os/pv], lvs: {\n"
            .to_owned();
    for i in 0..100 {
        text += &format!("  v{i}: {{size: {{min: 8MiB, weight: {}}}}},\n", 1 + 9 * i);
    }
    for i in 0..28 {
        text += &format!("  o{i}: {{size: 1GiB, optional: true}},\n");
    }
    text += "}}}\n";
    let begun = Instant::now();
    let solved = on(&text, &[disk(1 + 4 * (200 + 14 * 256))]).unwrap();
    assert_eq!(solved.dropped.len(), 14);
    assert_eq!(solved.groups["g"].free, 0);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
