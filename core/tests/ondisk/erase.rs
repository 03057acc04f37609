//! What programs make is named as blkid names it, erased, and then found by nobody.

use super::common::{self, can, image};
use super::lvm::group;
use super::md::array;
use super::{Disk, MIB, fixture, open, probe, says, write};
use libcv::layout::apply::erase::Erasure;
use libcv::layout::device::ReadAt;
use libcv::layout::ondisk::lvm;
use libcv::layout::ondisk::lvm::export::Written;
use libcv::layout::ondisk::md::Version;
use libcv::layout::ondisk::md::write::Member;
use libcv::layout::signature;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use uuid::Uuid;

/// Kind, size of the file in MiB (0: the program makes it), program, arguments; `FILE` is the file, `TREE` a directory.
const MADE: [(&str, u64, &str, &[&str]); 32] = [
    ("ext2", 16, "mkfs.ext2", &["-q", "-F", "-L", "lab", "FILE"]),
    ("ext3", 32, "mkfs.ext3", &["-q", "-F", "FILE"]),
    ("ext4", 32, "mkfs.ext4", &["-q", "-F", "-L", "lab", "FILE"]),
    ("jbd", 16, "mke2fs", &["-q", "-F", "-O", "journal_dev", "FILE"]),
    ("xfs", 300, "mkfs.xfs", &["-q", "-L", "lab", "FILE"]),
    ("btrfs", 300, "mkfs.btrfs", &["-q", "-L", "lab", "FILE"]),
    ("vfat", 4, "mkfs.vfat", &["-F", "12", "-n", "LAB", "FILE"]),
    ("vfat", 32, "mkfs.vfat", &["-F", "16", "FILE"]),
    ("vfat", 64, "mkfs.vfat", &["-F", "32", "-n", "LAB", "FILE"]),
    ("exfat", 32, "mkfs.exfat", &["FILE"]),
    ("ntfs", 32, "mkfs.ntfs", &["-F", "-Q", "-q", "FILE"]),
    ("swap", 4, "mkswap", &["-L", "lab", "FILE"]),
    ("swap", 8, "mkswap", &["-p", "65536", "FILE"]),
    ("swap", 8, "mkswap", &["-p", "8192", "FILE"]),
    ("reiserfs", 64, "mkfs.reiserfs", &["-ff", "-q", "-l", "lab", "FILE"]),
    ("jfs", 32, "mkfs.jfs", &["-q", "-L", "lab", "FILE"]),
    ("nilfs2", 160, "mkfs.nilfs2", &["-q", "-L", "lab", "FILE"]),
    ("f2fs", 64, "mkfs.f2fs", &["-q", "-l", "lab", "FILE"]),
    ("gfs2", 128, "mkfs.gfs2", &["-O", "-p", "lock_nolock", "-J", "16", "FILE"]),
    ("ocfs2", 128, "mkfs.ocfs2", &["-q", "-F", "-M", "local", "-N", "1", "-J", "size=4M", "-L", "lab", "FILE"]),
    ("ocfs2", 128, "mkfs.ocfs2", &["-q", "-F", "-M", "local", "-N", "1", "-J", "size=4M", "-b", "4096", "FILE"]),
    ("bcache", 16, "make-bcache", &["-B", "FILE"]),
    ("bcache", 64, "make-bcache", &["-C", "FILE"]),
    ("udf", 16, "mkudffs", &["-l", "lab", "FILE"]),
    ("udf", 16, "mkudffs", &["-b", "4096", "FILE"]),
    ("iso9660", 0, "genisoimage", &["-quiet", "-V", "LAB", "-o", "FILE", "TREE"]),
    ("squashfs", 0, "mksquashfs", &["TREE", "FILE", "-quiet", "-no-progress"]),
    ("erofs", 0, "mkfs.erofs", &["FILE", "TREE"]),
    (
        "crypto_LUKS",
        8,
        "cryptsetup",
        &["luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000", "FILE", "TREE/key"],
    ),
    (
        "crypto_LUKS",
        32,
        "cryptsetup",
        &[
            "luksFormat",
            "-q",
            "--pbkdf",
            "pbkdf2",
            "--pbkdf-force-iterations",
            "1000",
            "--label",
            "lab",
            "FILE",
            "TREE/key",
        ],
    ),
    (
        "crypto_LUKS",
        32,
        "cryptsetup",
        &[
            "luksFormat",
            "-q",
            "--pbkdf",
            "pbkdf2",
            "--pbkdf-force-iterations",
            "1000",
            "--luks2-metadata-size",
            "4M",
            "FILE",
            "TREE/key",
        ],
    ),
    ("DM_verity_hash", 16, "veritysetup", &["format", "TREE/data", "FILE"]),
];

/// Nobody finds anything any more.
pub(crate) fn assert_blank(path: &Path, what: &str) {
    let size = std::fs::metadata(path).unwrap().len();
    assert_eq!(signature::find(&open(path), 0, size).unwrap(), [], "{what}");
    assert_eq!(probe(path), [], "{what}: blkid");
    let name = path.to_str().unwrap();
    assert_eq!(says("wipefs", &["--no-act", "--force", name]), "", "{what}: wipefs");
    let text = says("mdadm", &["--examine", name]);
    assert!(text.contains("No md superblock detected"), "{what}: {text}");
}

fn erase(path: &Path) {
    let disk = Disk(File::options().read(true).write(true).open(path).unwrap());
    Erasure::whole(disk.size()).run(&disk, 512, "the file").unwrap();
}

/// What blkid says and [`signature::find`] says is the same.
fn assert_named(path: &Path, kind: &str) -> signature::Signature {
    let found = signature::find(&open(path), 0, std::fs::metadata(path).unwrap().len()).unwrap();
    let probed = probe(path);
    let value = |key: &str| probed.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
    assert_eq!(value("TYPE").as_deref(), Some(kind), "{probed:?}");
    assert_eq!(found.iter().map(|s| s.kind).collect::<Vec<_>>(), [kind], "{found:?}");
    let s = found.into_iter().next().unwrap();
    // Of these, blkid reads more than the superblock, or makes an identity out of a date.
    if !matches!(kind, "udf" | "iso9660" | "DM_verity_hash") {
        assert_eq!(s.uuid, value("UUID"), "{kind}");
    }
    // Of a physical volume it does not tell the group.
    if !matches!(kind, "udf" | "exfat" | "ntfs" | "gfs2" | "LVM2_member") {
        assert_eq!(s.label, value("LABEL"), "{kind}");
    }
    if matches!(kind, "vfat" | "crypto_LUKS" | "linux_raid_member") {
        assert_eq!(s.version.as_deref().map(|v| if v == "0.90" { "0.90.0" } else { v }), value("VERSION").as_deref());
    }
    s
}

#[test]
fn what_any_program_makes_is_named_and_erased() {
    if !can("what_any_program_makes_is_named_and_erased", &["blkid", "wipefs", "mdadm"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("key"), "a key").unwrap();
    std::fs::write(tree.join("data"), vec![7; 1 << 20]).unwrap();
    for (n, (kind, size, program, arguments)) in MADE.iter().enumerate() {
        if !can(&format!("{kind} is named and erased"), &[program]) {
            continue;
        }
        let path = dir.path().join(n.to_string());
        if *size > 0 {
            image(dir.path(), &n.to_string(), size * MIB);
        }
        let (file, tree) = (path.to_str().unwrap(), tree.to_str().unwrap());
        let arguments: Vec<String> = arguments.iter().map(|a| a.replace("FILE", file).replace("TREE", tree)).collect();
        common::run(program, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        // Images of filesystems are rounded up to whole sectors by whoever puts them on a disk.
        let length = std::fs::metadata(&path).unwrap().len().next_multiple_of(4096);
        File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
        let found = assert_named(&path, kind);
        if *kind == "btrfs" {
            assert_eq!(found.copies, [(64 << 20) + 0x40]);
        }
        erase(&path);
        assert_blank(&path, &format!("{kind} by {program}"));
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn members_and_copies_are_erased() {
    if !can("members_and_copies_are_erased", &["blkid", "wipefs", "mdadm"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["raid1-0.90", "raid1-1.0", "raid1-1.1", "raid1-1.2"] {
        let path = dir.path().join(name);
        let bytes = zstd::decode_all(File::open(fixture(&format!("{name}.img.zst"))).unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        assert_named(&path, "linux_raid_member");
        erase(&path);
        assert_blank(&path, name);
    }
    let path = dir.path().join("zfs");
    std::fs::write(&path, zstd::decode_all(File::open(fixture("zfs.img.zst")).unwrap()).unwrap()).unwrap();
    assert_eq!(assert_named(&path, "zfs_member").copies.len(), 3);
    erase(&path);
    assert_blank(&path, "ZFS");
    let path = image(dir.path(), "pv", 64 * MIB);
    write(&path, &lvm::write(&group(64 * MIB), "pv0", &Written::default()).unwrap());
    assert_named(&path, "LVM2_member");
    erase(&path);
    assert_blank(&path, "LVM");
    // Controllers: the anchors that mdadm looks for at the end. IMSM: the name in the last sector but one; DDF: the
    // number in the last one.
    let disk = File::options().write(true).open(&path).unwrap();
    disk.write_all_at(b"Intel Raid ISM Cfg Sig. 1.3.00", 64 * MIB - 1024).unwrap();
    assert_named(&path, "isw_raid_member");
    disk.write_all_at(b"\xde\x11\xde\x11", 64 * MIB - 512).unwrap();
    let kinds: Vec<&str> = signature::find(&open(&path), 0, 64 * MIB).unwrap().iter().map(|s| s.kind).collect();
    assert_eq!(kinds, ["isw_raid_member", "ddf_raid_member"]);
    erase(&path);
    assert_blank(&path, "IMSM and DDF");
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { c >> 1 ^ 0x82f6_3b78 } else { c >> 1 })
    })
}

/// What no program at hand makes, as bytes: the places and numbers are those of util-linux, which must name it, too.
#[test]
fn crafted_ones_are_named_and_erased() {
    if !can("crafted_ones_are_named_and_erased", &["blkid", "wipefs", "mdadm"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    const SIZE: u64 = 80 * MIB;
    let mut stratis = vec![0u8; 508];
    stratis[..16].copy_from_slice(b"!Stra0tis\x86\xff\x02^\x41rh");
    let stratis = [&crc32c(&stratis).to_le_bytes()[..], &stratis].concat();
    type Pieces<'a> = &'a [(u64, &'a [u8])];
    let made: [(&str, Pieces<'_>); 13] = [
        ("VMFS_volume_member", &[(MIB, b"\x0d\xd0\x01\xc0")]),
        ("VMFS", &[(2 * MIB, b"\x5e\xf1\xab\x2f")]),
        ("ceph_bluestore", &[(0, b"bluestore block device\n0b1f2a3c-0000-4000-8000-000000000001")]),
        ("drbd", &[(SIZE - 4096 + 60, b"\x83\x74\x02\x6d"), (SIZE - 4096 + 80, &[0, 0, 16, 0])]),
        ("DM_snapshot_cow", &[(0, b"SnAp")]),
        ("DM_integrity", &[(0, b"integrt\0\x01")]),
        ("vdo", &[(0, b"dmvdo001")]),
        ("swsuspend", &[(4086, b"S1SUSPEND")]),
        ("swsuspend", &[(65526, b"LINHIB0001")]),
        ("squashfs3", &[(0, b"hsqs"), (28, &[3, 0])]),
        (
            "gfs",
            &[(65536, b"\x01\x16\x19\x70\0\0\0\x01"), (65560, &1309u32.to_be_bytes()), (65564, &1401u32.to_be_bytes())],
        ),
        ("stratis", &[(512, &stratis)]),
        ("stratis", &[(9 * 512, &stratis)]),
    ];
    for (n, (kind, pieces)) in made.iter().enumerate() {
        let path = image(dir.path(), &n.to_string(), SIZE);
        write(&path, &pieces.iter().map(|(at, bytes)| (*at, bytes.to_vec())).collect::<Vec<_>>());
        let found = signature::find(&open(&path), 0, SIZE).unwrap();
        assert_eq!(found.iter().map(|s| s.kind).collect::<Vec<_>>(), [*kind]);
        let probed = probe(&path);
        assert!(probed.contains(&("TYPE".to_owned(), (*kind).to_owned())), "{kind}: {probed:?}");
        erase(&path);
        assert_blank(&path, kind);
    }
}

#[test]
fn what_lies_in_an_array_does_not_come_back_with_it() {
    if !can("what_lies_in_an_array_does_not_come_back_with_it", &["blkid", "wipefs", "mdadm", "mkfs.ext4"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = image(dir.path(), "disk", 80 * MIB);
    let member = Member { role: 0, uuid: Uuid::from_u128(5), size: 80 * MIB };
    let array = array(Version::V1_2, 1, true, 80 * MIB);
    write(&path, &array.member(&member).unwrap());
    let disk = File::options().read(true).write(true).open(&path).unwrap();
    for (at, bytes) in lvm::write(&group(79 * MIB), "pv0", &Written::default()).unwrap() {
        disk.write_all_at(&bytes, array.data_offset + at).unwrap();
    }
    // The volume "root" begins with the group's first extent.
    let inner = array.data_offset + MIB;
    common::run("mkfs.ext4", &["-q", "-F", "-E", &format!("offset={inner}"), path.to_str().unwrap(), "10M"]);
    let at = |start: u64| {
        signature::find(&Disk(disk.try_clone().unwrap()), start, 80 * MIB - start).unwrap().first().map(|s| s.kind)
    };
    assert_eq!(
        (at(0), at(array.data_offset), at(inner)),
        (Some("linux_raid_member"), Some("LVM2_member"), Some("ext4"))
    );
    erase(&path);
    // The same array once more: nothing is in it.
    write(&path, &array.member(&member).unwrap());
    assert_eq!((at(0), at(array.data_offset), at(inner)), (Some("linux_raid_member"), None, None));
    for offset in [array.data_offset, inner] {
        let text = says("blkid", &["-p", "-O", &offset.to_string(), path.to_str().unwrap()]);
        assert_eq!(text, "", "{offset}");
    }
}
