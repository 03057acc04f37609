//! Superblocks of arrays, beside mdadm.

use super::common::{can, image};
use super::{MIB, field, fixture, loop_device, open, probe, says, write};
use libcv::layout::ondisk::md::write::{Array, Member, data_offset, usable};
use libcv::layout::ondisk::md::{self, Level, Role, Version};
use libcv::layout::place::Place;
use std::fs::File;
use uuid::Uuid;

pub(crate) fn array(version: Version, level: u8, bitmap: bool, size: u64) -> Array {
    let (layout, chunk) = match level {
        10 => (0x102, 64 << 10),
        0 => (0, 64 << 10),
        _ => (0, 0),
    };
    let data_offset = data_offset(version, size, chunk);
    Array {
        uuid: Uuid::from_u128(0x1234_5678_9abc_def0_1122_3344_5566_7788),
        name: "any:pv".into(),
        version,
        level: Level::from_number(level.into()),
        layout,
        chunk,
        raid_disks: 2,
        member_size: if level == 0 {
            0
        } else {
            usable(version, Level::from_number(level.into()), size, data_offset, chunk)
        },
        data_offset,
        bitmap,
        clean: true,
        created: 1_700_000_000,
    }
}

/// Version, level and bitmap of every array that is written.
pub(crate) const ARRAYS: [(Version, u8, bool); 10] = [
    (Version::V1_0, 0, false),
    (Version::V1_0, 1, false),
    (Version::V1_0, 1, true),
    (Version::V1_0, 10, false),
    (Version::V1_0, 10, true),
    (Version::V1_2, 0, false),
    (Version::V1_2, 1, false),
    (Version::V1_2, 1, true),
    (Version::V1_2, 10, false),
    (Version::V1_2, 10, true),
];

#[test]
fn mdadm_reads_what_is_written() {
    if !can("mdadm_reads_what_is_written", &["mdadm", "blkid"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (version, level, bitmap) in ARRAYS {
        let array = array(version, level, bitmap, 64 * MIB);
        let name = format!("{version}-{level}-{bitmap}");
        let path = image(dir.path(), &name, 64 * MIB);
        let member = Member { role: 1, uuid: Uuid::from_u128(99), size: 64 * MIB };
        write(&path, &array.member(&member).unwrap());
        let text = says("mdadm", &["--examine", path.to_str().unwrap()]);
        let is = |key: &str, value: &str| assert_eq!(field(&text, key).as_deref(), Some(value), "{key}: {text}");
        is("Version", &version.to_string());
        is("Array UUID", "12345678:9abcdef0:11223344:55667788");
        is("Name", "any:pv");
        is("Raid Level", &array.level.to_string());
        is("Raid Devices", "2");
        is("State", "clean");
        is("Device UUID", "00000000:00000000:00000000:00000063");
        is("Device Role", "Active device 1");
        is("Events", "1");
        assert!(field(&text, "Checksum").unwrap().ends_with("- correct"), "{text}");
        assert!(field(&text, "Array State").unwrap().starts_with("AA "), "{text}");
        if version == Version::V1_2 {
            is("Data Offset", &format!("{} sectors", array.data_offset / 512));
        }
        match level {
            0 => is("Chunk Size", "64K"),
            10 => is("Layout", "near=2"),
            _ => {}
        }
        if level > 0 {
            assert!(field(&text, "Array Size").unwrap().starts_with(&(array.member_size / 1024).to_string()), "{text}");
        }
        assert_eq!(field(&text, "Internal Bitmap").is_some(), bitmap, "{text}");
        if bitmap {
            // It takes a file for the bitmap itself.
            let device = loop_device(&path);
            let text = says("mdadm", &["--examine-bitmap", device.path().to_str().unwrap()]);
            let is = |key: &str, value: &str| assert_eq!(field(&text, key).as_deref(), Some(value), "{key}: {text}");
            is("Magic", "6d746962");
            is("Version", "4");
            is("UUID", "12345678:9abcdef0:11223344:55667788");
            is("Events", "1");
            is("Chunksize", "64 MB");
            assert!(field(&text, "Sync Size").unwrap().starts_with(&(array.member_size / 1024).to_string()), "{text}");
            assert!(field(&text, "Bitmap").unwrap().contains(" 0 dirty"), "{text}");
        }
        let probed = probe(&path);
        assert!(probed.contains(&("UUID".into(), array.uuid.to_string())), "{probed:?}");
        assert!(probed.contains(&("VERSION".into(), version.to_string())), "{probed:?}");
        let read = md::read(&Place::whole(&open(&path))).unwrap().unwrap();
        assert_eq!((read.uuid, read.data_offset, read.role), (array.uuid, array.data_offset, Role::Active(1)));
    }
}

/// The seconds since 1970 of a time as mdadm prints it, by `date`.
fn seconds(text: &str) -> u64 {
    says("date", &["-u", "+%s", "-d", &format!("{text} UTC")]).trim().parse().unwrap()
}

#[test]
fn superblocks_of_mdadm_are_read() {
    for (name, version) in [
        ("raid1-0.90", Version::V0_90),
        ("raid1-1.0", Version::V1_0),
        ("raid1-1.1", Version::V1_1),
        ("raid1-1.2", Version::V1_2),
        ("raid10-1.2", Version::V1_2),
        ("raid5-1.2", Version::V1_2),
        ("raid0-1.0", Version::V1_0),
        ("spare-1.2", Version::V1_2),
    ] {
        let text = std::fs::read_to_string(fixture(&format!("{name}.txt"))).unwrap();
        let disk = zstd::decode_all(File::open(fixture(&format!("{name}.img.zst"))).unwrap()).unwrap();
        let all = md::read_all(&Place::whole(&disk)).unwrap();
        assert_eq!(all.len(), 1, "{name}");
        let s = &all[0];
        let is = |key: &str, value: String| assert_eq!(field(&text, key), Some(value), "{name}, {key}: {text}");
        assert_eq!(s.version, version);
        assert_eq!(s.created, seconds(&field(&text, "Creation Time").unwrap()), "{name}");
        assert_eq!(s.updated, seconds(&field(&text, "Update Time").unwrap()), "{name}");
        is("Raid Level", s.level.to_string());
        is("Raid Devices", s.raid_disks.to_string());
        is("Events", s.events.to_string());
        is("State", if s.clean { "clean" } else { "active" }.to_owned());
        assert_eq!(s.present(), s.raid_disks as usize, "{name}");
        let bitmap = field(&text, "Internal Bitmap");
        assert_eq!(s.bitmap.is_some(), bitmap.is_some(), "{name}");
        if let Some(bitmap) = &s.bitmap {
            assert_eq!((bitmap.version, bitmap.chunk, bitmap.covers), (4, 64 * MIB, s.member_size), "{name}");
        }
        if s.member_size > 0 {
            // What mdadm chose is what a plan would have said.
            let size = usable(version, s.level, disk.len() as u64, s.data_offset, s.chunk);
            assert_eq!(size, s.member_size, "{name}");
        }
        if version == Version::V0_90 {
            is("UUID", s.mdadm_uuid());
            assert!(field(&text, "Used Dev Size").unwrap().starts_with(&(s.member_size / 1024).to_string()));
            assert_eq!(s.role, Role::Active(1));
            continue;
        }
        is("Array UUID", s.mdadm_uuid());
        is("Name", s.name.clone());
        is("Device UUID", md::mdadm_uuid(&s.member_uuid.unwrap()));
        is("Super Offset", format!("{} sectors", s.offset / 512));
        let available = field(&text, "Avail Dev Size").unwrap();
        assert_eq!(available.split(' ').next().unwrap(), (s.data_size / 512).to_string(), "{name}");
        match s.role {
            Role::Active(n) => is("Device Role", format!("Active device {n}")),
            role => is("Device Role", format!("{role:?}").to_lowercase()),
        }
        if s.data_offset > 0 {
            is("Data Offset", format!("{} sectors", s.data_offset / 512));
        }
        if s.chunk > 0 {
            is("Chunk Size", format!("{}K", s.chunk / 1024));
        }
        assert_eq!(data_offset(version, disk.len() as u64, s.chunk), s.data_offset, "{name}");
    }
}
