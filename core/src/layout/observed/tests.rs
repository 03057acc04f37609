//! Image files that carry a group over two arrays, as nothing in the kernel has started them:
//!
//! ```text
//! a, b  level 1 ── pv0 ┐       root: 2 extents of pv0, 1 of pv1     ext4
//! c, d  level 0 ── pv1 ┴ vg ── fast: in stripes of 64 KiB on both   btrfs, whose magic is in the second stripe
//! ```

use super::*;
use crate::layout::ondisk::lvm::export::Written;
use crate::layout::ondisk::lvm::text::tests::group;
use crate::layout::ondisk::md::write::{Array as Superblocks, Member as Writes};
use crate::layout::ondisk::{Piece, lvm};
use std::path::Path;

const MIB: u64 = 1 << 20;
const CHUNK: u64 = 64 << 10;

fn superblocks(uuid: u128, level: u8, member_size: u64) -> Superblocks {
    Superblocks {
        uuid: Uuid::from_u128(uuid),
        name: format!("any:r{level}"),
        version: md::Version::V1_2,
        level: md::Level::Raid(level),
        layout: 0,
        chunk: if level == 0 { CHUNK } else { 0 },
        raid_disks: 2,
        member_size,
        data_offset: MIB,
        bitmap: false,
        clean: true,
        created: 1,
    }
}

fn put(file: &mut [u8], pieces: impl IntoIterator<Item = Piece>) {
    for (at, bytes) in pieces {
        let at = usize::try_from(at).unwrap();
        file[at..at + bytes.len()].copy_from_slice(&bytes);
    }
}

/// The content of an array of level 0 over two members.
fn dealt(content: &[u8]) -> [Vec<u8>; 2] {
    let mut members = [Vec::new(), Vec::new()];
    for (n, chunk) in content.chunks(usize::try_from(CHUNK).unwrap()).enumerate() {
        members[n % 2].extend_from_slice(chunk);
    }
    members
}

fn files(dir: &Path) -> Vec<Given> {
    let volume = |name: &str| {
        let mut content = vec![0u8; 8 << 20];
        put(&mut content, lvm::write(&group(), name, &Written::default()).unwrap());
        content
    };
    let (mut first, mut second) = (volume("pv0"), volume("pv1"));
    put(&mut first, [(MIB + 0x438, b"\x53\xef".to_vec()), (MIB + 0x460, 0x40u32.to_le_bytes().to_vec())]);
    put(&mut second, [(MIB + 0x40, b"_BHRfS_M".to_vec()), (MIB + 0x12b, b"fast".to_vec())]);
    let [c, d] = dealt(&second);
    let (mirror, stripes) = (superblocks(1, 1, 8 * MIB), superblocks(2, 0, 0));
    let members =
        [("a", &mirror, 0, first.clone()), ("b", &mirror, 1, first), ("c", &stripes, 0, c), ("d", &stripes, 1, d)];
    let made = members.into_iter().map(|(name, array, role, data)| {
        let size = MIB + data.len() as u64;
        let mut file = vec![0u8; usize::try_from(size).unwrap()];
        put(&mut file, array.member(&Writes { role, uuid: Uuid::from_u128(role.into()), size }).unwrap());
        put(&mut file, [(MIB, data)]);
        let path = dir.join(name);
        std::fs::write(&path, file).unwrap();
        Given::from(path)
    });
    made.collect()
}

#[test]
fn volumes_in_arrays_are_seen_without_the_kernel() {
    let tmp = tempfile::tempdir().unwrap();
    let seen = Observed::of_disks(&files(tmp.path()), None).unwrap();
    assert_eq!(seen.oddities, []);
    let arrays: Vec<_> = seen.arrays.iter().map(|a| (a.short_name(), a.level, a.size >> 20, a.active())).collect();
    assert_eq!(arrays, [("r1", md::Level::Raid(1), 8, 2), ("r0", md::Level::Raid(0), 8, 2)]);
    let [vg] = &seen.groups[..] else { panic!("{:?}", seen.groups) };
    assert_eq!((vg.name.as_str(), vg.extents, vg.free), ("vg-0.a", 14, 7));
    assert_eq!(vg.pvs.iter().map(|p| p.on).collect::<Vec<_>>(), [Some(Node::Array(0)), Some(Node::Array(1))]);
    let volumes: Vec<_> = vg.volumes.iter().map(|v| (v.name.as_str(), v.kind.clone(), v.extents, v.stripes)).collect();
    let linear = Ok(VolumeKind::Linear);
    assert_eq!(volumes, [("root", linear.clone(), 3, None), ("fast", linear, 4, Some((2, CHUNK)))]);
    let found: Vec<_> = seen.filesystems.iter().map(|f| (f.on, f.kind.as_str(), f.label.as_deref())).collect();
    let on = |volume| Node::Volume { group: 0, volume };
    assert_eq!(found, [(on(0), "ext4", None), (on(1), "btrfs", Some("fast"))]);
    assert_eq!(seen.foundation(on(1)).len(), 1 + 2 + 4);
    assert_eq!(seen.named("/dev/vg-0.a/root"), Some(on(0)));
    assert_eq!(seen.named("/dev/mapper/vg--0.a-fast"), Some(on(1)));
    assert_eq!(seen.named("LABEL=fast"), Some(on(1)));
    assert_eq!(seen.named("/dev/md/r0"), Some(Node::Array(1)));
    assert_eq!([seen.named("UUID=1"), seen.named("/dev/sda1"), seen.named("tmpfs")], [None; 3]);
}

#[test]
fn what_is_missing_is_told_and_the_rest_is_seen() {
    let tmp = tempfile::tempdir().unwrap();
    let all = files(tmp.path());
    // One half of the mirror is enough.
    let seen = Observed::of_disks(&[all[1].clone(), all[2].clone(), all[3].clone()], None).unwrap();
    assert_eq!((seen.arrays.iter().find(|a| a.short_name() == "r1").unwrap().active(), seen.filesystems.len()), (1, 2));
    // Of two stripes one is not: the group lacks a volume, and what lies on that cannot be read.
    let seen = Observed::of_disks(&all[..3], None).unwrap();
    assert_eq!(seen.groups[0].pvs[1].on, None);
    assert!(!seen.oddities.is_empty());
    // Garbage is nothing.
    let path = tmp.path().join("garbage");
    std::fs::write(&path, vec![0xa5; 1 << 20]).unwrap();
    let seen = Observed::of_disks(&[path.into()], None).unwrap();
    assert_eq!((seen.arrays.len(), seen.groups.len(), seen.disks[0].table.is_none()), (0, 0, true));
    let missing = Observed::of_disks(&[tmp.path().join("none").into()], None).unwrap_err();
    assert_eq!(missing.kind(), crate::ErrorKind::NotFound);
}
