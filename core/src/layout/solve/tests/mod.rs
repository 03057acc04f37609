//! Whole documents, with numbers reckoned by hand.

mod kept;
mod properties;
mod refusals;
mod speed;
mod stacks;

use super::{DiskSize, Ground, KeptPartition, Solved, solve};
use crate::document::node;
use crate::layout::diagnostic::Diagnostic;
use crate::layout::spec::{PartitionKey, Spec};
use crate::layout::stack::{Object, Stack};
use crate::layout::{FORM, decode};

pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

/// The types of a document, which is right.
pub(super) fn spec(text: &str) -> Spec {
    let head = if text.contains("schema:") { "" } else { "schema: cv.layout/v1\nname: test\n" };
    let node = node::read(format!("{head}{text}").as_bytes(), &FORM.codes).unwrap();
    let (spec, _, found) = decode::decode(&node);
    assert!(found.is_empty(), "{found:#?}");
    spec.unwrap()
}

/// A disk that has so many MiB for partitions.
pub(super) fn disk(mib: u64) -> DiskSize {
    let size = (mib + 1) * MIB + super::backup_bytes(512).next_multiple_of(512);
    DiskSize { name: "disk".into(), size, sector: 512, optimal_io: 0, kept: Vec::new() }
}

pub(super) fn ground(sets: &[(&str, &[DiskSize])]) -> Ground {
    let sets = sets.iter().map(|(name, disks)| ((*name).to_owned(), disks.to_vec()));
    Ground { sets: sets.collect(), ram: Some(256 * GIB), ..Ground::default() }
}

pub(super) fn solved(spec: &Spec, ground: &Ground) -> Result<Solved, Vec<Diagnostic>> {
    solve(spec, &Stack::of(spec).unwrap(), ground)
}

/// On one set `os` with these disks.
pub(super) fn on(text: &str, disks: &[DiskSize]) -> Result<Solved, Vec<Diagnostic>> {
    solved(&spec(text), &ground(&[("os", disks)]))
}

/// Begin and length of each partition of a disk of `os`, in MiB.
pub(super) fn mib(solved: &Solved, disk: usize) -> Vec<Option<(u64, u64)>> {
    solved.disks["os"][disk].iter().map(|p| p.map(|p| (p.start / MIB, p.length / MIB))).collect()
}

pub(super) fn lengths(solved: &Solved, disk: usize) -> Vec<u64> {
    mib(solved, disk).into_iter().map(|p| p.map_or(0, |p| p.1)).collect()
}

pub(super) fn key(set: &str, name: &str) -> PartitionKey {
    PartitionKey { set: set.into(), name: name.into() }
}

pub(super) fn kept(name: Option<&str>, number: u32, start: u64, length: u64) -> KeptPartition {
    KeptPartition { key: name.map(|n| key("os", n)), number, start: start * MIB, length: length * MIB }
}

pub(super) fn partition(name: &str) -> Object {
    Object::Partition(key("os", name))
}

/// The first document of the design: two NVMe of 960 GB, mirrored, LVM on top, 256 GiB of memory.
pub(super) const COMPUTE: &str = "
disks:
  os: {match: {transport: nvme}, count: 2, require: {same: [logical-sector], size-spread: 10%}}
partitions:
  os/biosboot: {number: 1, type: bios-boot, size: 1MiB}
  os/esp: {number: 2, type: esp, size: 600MiB}
  os/boot: {number: 3, type: linux-raid, size: 1GiB}
  os/pv: {number: 4, type: linux-raid, size: rest}
raid:
  boot: {level: 1, members: [os/boot], metadata: \"1.0\", bitmap: none}
  pv: {level: 1, members: [os/pv], metadata: \"1.2\", bitmap: internal}
lvm:
  sys:
    pvs: [raid/pv]
    extent: 4MiB
    lvs:
      root: {size: 60GiB}
      var: {size: {min: 20GiB, max: 200GiB, weight: 1}}
      swap: {size: {percent-of: ram, percent: 25, max: 32GiB}}
      scratch: {size: {min: 50GiB, weight: 4}}
    reserve: 5%
filesystems:
  esp: {on: os/esp, type: vfat}
  boot: {on: raid/boot, type: ext4, mount: {at: /boot}}
  root: {on: lvm/sys/root, type: xfs, mount: {at: /}}
  var: {on: lvm/sys/var, type: xfs, mount: {at: /var}}
  swap: {on: lvm/sys/swap, type: swap}
  scratch: {on: lvm/sys/scratch, type: xfs, mount: {at: /scratch}}
";

#[test]
fn the_compute_node_comes_out_as_designed() {
    let disk = DiskSize { name: "nvme".into(), size: 960_197_124_096, sector: 512, ..DiskSize::default() };
    let solved = on(COMPUTE, &[disk.clone(), disk]).unwrap();
    for d in 0..2 {
        let places = [(1, 1), (2, 600), (602, 1024), (1626, 914_089)].map(Some);
        assert_eq!(mib(&solved, d), places);
        assert_eq!(solved.disks["os"][d].iter().map(|p| p.unwrap().number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }
    let pv = solved.arrays["pv"];
    assert_eq!((pv.data_offset / MIB, pv.component / MIB, pv.size / MIB), (129, 913_960, 913_960));
    assert_eq!((pv.members, pv.spares, pv.chunk, pv.bitmap), (2, 0, 0, true));
    let boot = solved.arrays["boot"];
    assert_eq!((boot.data_offset, boot.size / MIB, boot.bitmap), (0, 1023, false));
    let sys = &solved.groups["sys"];
    assert_eq!((sys.extents, sys.reserved, sys.free, sys.spare), (228_489, 11_424, 0, 0));
    let extents: Vec<u64> = sys.volumes.values().map(|v| v.extents).collect();
    // 175,593 extents are left to grow into, one to four: 35,118 whole rounds, and the last three to the heavier one.
    // var begins at 5,120 and scratch at 12,800.
    assert_eq!(extents, [15_360, 40_238, 8192, 153_275]);
    let gib: Vec<String> = extents.iter().map(|e| crate::units::human(e * 4 * MIB)).collect();
    assert_eq!(gib, ["60.0 GiB", "157.1 GiB", "32.0 GiB", "598.7 GiB"]);
    assert_eq!(solved.size_of(&Object::Volume("sys".into(), "root".into())), Some(60 * GIB));
    assert_eq!(solved.size_of(&partition("pv")), Some(914_089 * MIB));
    assert_eq!((solved.unused["os"].clone(), solved.dropped.len(), solved.warnings.len()), (vec![0, 0], 0, 0));
}
