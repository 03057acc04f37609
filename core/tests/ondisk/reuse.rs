//! A disk that has had everything on it gets a new layout, and nothing of the old comes back: not at the old partitions,
//! not at the new ones, not inside of what was in the old.

use super::common::{self, can, image};
use super::erase::assert_blank;
use super::lvm::group;
use super::md::array;
use super::{Disk, MIB, fixture, open, says, write};
use libcv::job::Task;
use libcv::layout::device::WriteAt;
use libcv::layout::ondisk::lvm;
use libcv::layout::ondisk::lvm::export::Written;
use libcv::layout::ondisk::md::Version;
use libcv::layout::ondisk::md::write::Member;
use libcv::layout::{Confirm, Layout, PlanOptions, signature};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use uuid::Uuid;

const SIZE: u64 = 510 * MIB;

const OLD: &str = "
schema: cv.layout/v1
name: old
disks: {d: {}}
partitions:
  d/array: {type: linux, size: 80MiB}
  d/luks: {type: linux, size: 32MiB}
  d/btrfs: {type: linux, size: 300MiB}
  d/zfs: {type: linux, size: 64MiB}
  d/swap: {type: swap, size: 16MiB}
";

const NEW: &str = "
schema: cv.layout/v1
name: new
disks: {d: {}}
partitions:
  d/x: {type: linux, size: 50MiB}
  d/y: {type: linux, size: 333MiB}
  d/z: {type: linux, size: rest}
filesystems:
  x: {on: d/x, type: ext4}
";

/// Applies a layout; gives where its partitions are.
fn apply(text: &str, disk: &Path) -> BTreeMap<String, (u64, u64)> {
    let layout = Layout::parse(text.as_bytes(), "test").unwrap();
    let disks = BTreeMap::from([("d".to_owned(), disk.to_owned())]);
    let plan = layout.plan(&disks, &PlanOptions::default()).unwrap();
    plan.apply(&Confirm::Yes, None, &Task::quiet()).unwrap();
    let json = plan.to_json();
    let partitions = json["disks"][0]["partitions"].as_array().unwrap();
    let place = |p: &serde_json::Value| (p["start"].as_u64().unwrap(), p["length"].as_u64().unwrap());
    partitions.iter().map(|p| (p["key"].as_str().unwrap().to_owned(), place(p))).collect()
}

/// What is not zero of `from`, to this place.
fn copy(from: &Path, disk: &Disk, start: u64) {
    for (n, block) in std::fs::read(from).unwrap().chunks(1 << 16).enumerate() {
        if block.iter().any(|b| *b != 0) {
            disk.write_at(start + ((n as u64) << 16), block).unwrap();
        }
    }
}

#[test]
fn nothing_of_the_old_comes_back() {
    let programs = ["mdadm", "blkid", "wipefs", "mkfs.ext4", "mkfs.btrfs", "mkswap", "cryptsetup"];
    if !can("nothing_of_the_old_comes_back", &programs) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = image(dir.path(), "disk", SIZE);
    let old = apply(OLD, &path);
    let disk = Disk(File::options().read(true).write(true).open(&path).unwrap());
    let start = |key: &str| old[key].0;

    // A member of an array, in it a volume group, in it a filesystem.
    let member = Member { role: 0, uuid: Uuid::from_u128(5), size: 80 * MIB };
    let array = array(Version::V1_2, 1, true, 80 * MIB);
    let inside = start("d/array") + array.data_offset;
    let shift =
        |pieces: Vec<(u64, Vec<u8>)>, by: u64| pieces.into_iter().map(|(at, b)| (at + by, b)).collect::<Vec<_>>();
    write(&path, &shift(array.member(&member).unwrap(), start("d/array")));
    write(&path, &shift(lvm::write(&group(79 * MIB), "pv0", &Written::default()).unwrap(), inside));
    let volume = inside + MIB;
    common::run("mkfs.ext4", &["-q", "-F", "-E", &format!("offset={volume}"), path.to_str().unwrap(), "10M"]);
    // An encrypted volume, btrfs with its copy at 64 MiB, a pool of ZFS, swap.
    let key = dir.path().join("key");
    std::fs::write(&key, "a key").unwrap();
    let made = |name: &str, size: u64, program: &str, arguments: &[&'static str]| {
        let file = image(dir.path(), name, size * MIB);
        let (text, key) = (file.to_str().unwrap(), key.to_str().unwrap());
        let filled = |a: &&'static str| match *a {
            "FILE" => text.to_owned(),
            "KEY" => key.to_owned(),
            other => other.to_owned(),
        };
        let arguments: Vec<String> = arguments.iter().map(filled).collect();
        common::run(program, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        copy(&file, &disk, start(&format!("d/{name}")));
    };
    let cheap = ["luksFormat", "-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "FILE", "KEY"];
    made("luks", 32, "cryptsetup", &cheap);
    made("btrfs", 300, "mkfs.btrfs", &["-q", "FILE"]);
    made("swap", 16, "mkswap", &["FILE"]);
    let pool = zstd::decode_all(File::open(fixture("zfs.img.zst")).unwrap()).unwrap();
    let file = dir.path().join("pool");
    std::fs::write(&file, pool).unwrap();
    copy(&file, &disk, start("d/zfs"));
    // The disk itself was once a member of an old array: its superblock stands behind the last partition.
    let bytes = zstd::decode_all(File::open(fixture("raid1-0.90.img.zst")).unwrap()).unwrap();
    disk.write_at(SIZE - 0x1_0000, &bytes[bytes.len() - 0x1_0000..bytes.len() - 0xf000]).unwrap();

    let places = [
        ((0, SIZE), "linux_raid_member"),
        (old["d/array"], "linux_raid_member"),
        ((inside, 79 * MIB), "LVM2_member"),
        ((volume, 10 * MIB), "ext4"),
        (old["d/luks"], "crypto_LUKS"),
        (old["d/btrfs"], "btrfs"),
        (old["d/zfs"], "zfs_member"),
        (old["d/swap"], "swap"),
    ];
    let kinds = |(start, length): (u64, u64)| {
        let found = signature::find(&open(&path), start, length).unwrap();
        found.iter().map(|s| s.kind).collect::<Vec<_>>()
    };
    for (place, kind) in places {
        assert_eq!(kinds(place), [kind], "{place:?}");
    }

    let new = apply(NEW, &path);
    assert_eq!(kinds(new["d/x"]), ["ext4"]);
    let x = new["d/x"].0;
    let all = places.iter().map(|(place, _)| *place).chain(new.values().copied());
    for place in all.filter(|p| p.0 != x) {
        assert_eq!(kinds(place), [""; 0], "{place:?}");
        if place.0 == 0 {
            // The new table is there, which wipefs would tell.
            assert!(says("mdadm", &["--examine", path.to_str().unwrap()]).contains("MBR Magic"));
            continue;
        }
        // What is there, as others see it.
        let slice = image(dir.path(), "slice", place.1);
        let mut bytes = vec![0; usize::try_from(place.1).unwrap()];
        disk.0.read_exact_at(&mut bytes, place.0).unwrap();
        std::fs::write(&slice, bytes).unwrap();
        assert_blank(&slice, &format!("{place:?}"));
    }
    // The same array once more where the old one was: it is empty.
    write(&path, &shift(array.member(&member).unwrap(), start("d/array")));
    assert_eq!((kinds((inside, 79 * MIB)), kinds((volume, 10 * MIB))), (vec![], vec![]));
}
