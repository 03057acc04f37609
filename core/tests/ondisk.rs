//! Formats of disks beside the programs that own them: what is written is read by mdadm and LVM, what they write is read
//! here, and what any mkfs makes is named, erased, and then found by nobody.
//!
//! Everything is done to files that the test made; LVM gets loop devices of them, which the kernel detaches by itself.
//! A test that cannot run prints `skipped: ` with the reason; `tests/run.sh` counts these lines. The fixtures in
//! `tests/ondisk/` were made by `tests/ondisk/make.sh`.

mod common;

use common::{can, image, skip};
use libcv::layout::apply::erase::Erasure;
use libcv::layout::device::{OpenDisk, ReadAt, WriteAt};
use libcv::layout::ondisk::lvm::export::Written;
use libcv::layout::ondisk::lvm::text::{Logical, Mapping, On, Physical, Segment, VolumeGroup};
use libcv::layout::ondisk::md::write::{Array, Member, data_offset, usable};
use libcv::layout::ondisk::md::{Level, Role, Version};
use libcv::layout::ondisk::{luks, lvm, md};
use libcv::layout::place::Place;
use libcv::layout::signature;
use libcv::sys::loopdev::LoopDevice;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use uuid::Uuid;

const MIB: u64 = 1 << 20;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ondisk").join(name)
}

/// A file or a device.
fn open(path: &Path) -> OpenDisk {
    let mut file = File::open(path).unwrap();
    let size = file.seek(SeekFrom::End(0)).unwrap();
    OpenDisk { file, size }
}

/// What a program says; its words, whatever it thinks of them.
fn says(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).env("LC_ALL", "C").output().unwrap();
    String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
}

/// The value behind `KEY : ` in what mdadm says.
fn field(text: &str, key: &str) -> Option<String> {
    let mut lines = text.lines().filter_map(|l| l.split_once(" : "));
    lines.find(|(k, _)| k.trim() == key).map(|(_, v)| v.trim().to_owned())
}

/// A file that is written like a device.
struct Disk(File);

impl ReadAt for Disk {
    fn size(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

impl WriteAt for Disk {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

fn write(path: &Path, pieces: &[(u64, Vec<u8>)]) {
    let file = File::options().write(true).open(path).unwrap();
    pieces.iter().for_each(|(at, bytes)| file.write_all_at(bytes, *at).unwrap());
}

fn array(version: Version, level: u8, bitmap: bool, size: u64) -> Array {
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
const ARRAYS: [(Version, u8, bool); 10] = [
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

#[test]
fn a_group_with_every_type_of_segment_is_read() {
    let text = std::fs::read(fixture("vg.txt")).unwrap();
    let group = lvm::text::parse(&text).unwrap();
    assert_eq!((group.name.as_str(), group.extent_size, group.physical.len()), ("vgtest", 4 * MIB, 2));
    assert_eq!((&group.tags[..], group.physical[0].start), (&["tag1".to_owned()][..], MIB));
    let mapping = |name: &str| &group.volume(name).unwrap().segments[0].mapping;
    assert!(matches!(mapping("lin"), Mapping::Linear(On { extent: 0, .. })));
    assert!(matches!(mapping("str"), Mapping::Striped { stripe: 65536, on } if on.len() == 2));
    assert!(matches!(mapping("mir"), Mapping::Raid { level, images, metadata, .. }
        if level == "raid1" && images == &["mir_rimage_0", "mir_rimage_1"] && metadata == &["mir_rmeta_0", "mir_rmeta_1"]));
    assert!(matches!(mapping("pool"), Mapping::ThinPool { data, metadata, chunk: 65536, .. }
        if data == "pool_tdata" && metadata == "pool_tmeta"));
    assert!(matches!(mapping("thin1"), Mapping::Thin { pool, origin: None, .. } if pool == "pool"));
    assert!(matches!(mapping("snap"), Mapping::Thin { origin: Some(o), .. } if o == "thin1"));
    assert!(
        matches!(mapping("slow"), Mapping::Cache { pool, origin } if pool == "fast_cpool" && origin == "slow_corig")
    );
    assert!(matches!(mapping("fast_cpool"), Mapping::CachePool { mode: Some(m), .. } if m == "writethrough"));
    assert!(group.volume("thin1").unwrap().is_visible() && !group.volume("mir_rimage_0").unwrap().is_visible());
    assert_eq!(group.size_of(group.volume("thin1").unwrap()), 64 * MIB);
}

/// LVM that sees these devices and nothing else, and leaves nothing behind.
fn lvm_with(devices: &[&Path], directory: &Path, arguments: &[&str]) -> String {
    let only: String = devices.iter().map(|d| format!("\"a|^{}$|\",", d.display())).collect();
    let config = format!(
        "devices {{ filter=[{only}\"r|.*|\"] use_devicesfile=0 obtain_device_list_from_udev=0 \
         external_device_info_source=\"none\" hints=\"none\" }} \
         activation {{ udev_sync=0 udev_rules=0 monitoring=0 }} backup {{ backup=0 archive=0 }} \
         global {{ locking_dir=\"{}\" use_lvmlockd=0 }}",
        directory.display()
    );
    let out = Command::new("lvm")
        .args(&arguments[..1])
        .args(["--config", &config])
        .args(&arguments[1..])
        .env("LC_ALL", "C")
        .env("LVM_SUPPRESS_FD_WARNINGS", "1")
        .env("LVM_SYSTEM_DIR", directory)
        .env("DM_DISABLE_UDEV", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "lvm {arguments:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
    text
}

/// A loop device of a new file.
fn loop_device(path: &Path) -> LoopDevice {
    let file = File::options().read(true).write(true).open(path).unwrap();
    LoopDevice::attach(file.as_fd(), 512).unwrap()
}

#[test]
fn groups_of_lvm_are_read() {
    if !can("groups_of_lvm_are_read", &["lvm"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let files = ["a", "b"].map(|n| image(dir.path(), n, 100 * MIB));
    let loops = files.each_ref().map(|f| loop_device(f));
    let paths = [loops[0].path(), loops[1].path()];
    let names = paths.map(|p| p.to_str().unwrap());
    let lvm = |arguments: &[&str]| lvm_with(&paths, dir.path(), arguments);
    let make = ["--driverloaded", "n", "-an", "-Zn", "-Wn", "-y", "-q"];
    lvm(&["pvcreate", "-q", names[0], names[1]]);
    let alone = lvm::read(&Place::whole(&open(paths[0]))).unwrap().unwrap();
    assert_eq!((alone.group(), alone.used), (None, Some(false)));
    lvm(&["vgcreate", "-q", "-s", "1M", "--addtag", "cluster", "vg.one", names[0], names[1]]);
    lvm(&[&["lvcreate"], &make[..], &["-n", "root", "-L", "20M", "vg.one", names[0]]].concat());
    lvm(&[&["lvcreate"], &make[..], &["-n", "fast", "-i", "2", "-I", "64k", "-L", "16M", "vg.one"]].concat());
    // Each change writes the text once more: the ring buffer moves on.
    for n in 0..30 {
        lvm(&["lvchange", "--driverloaded", "n", "-q", "--addtag", &format!("t{n}"), "vg.one/root"]);
    }
    lvm(&["lvextend", "--driverloaded", "n", "-q", "-L", "+4M", "vg.one/root", names[1]]);

    let report = lvm(&[
        "lvs",
        "--driverloaded",
        "n",
        "--reportformat",
        "json",
        "--units",
        "b",
        "-o",
        "lv_name,lv_uuid,lv_size,vg_uuid,vg_seqno,vg_free_count,segtype",
        "vg.one",
    ]);
    let json: serde_json::Value = serde_json::from_str(&report).unwrap();
    let rows = json["report"][0]["lv"].as_array().unwrap();
    for path in paths {
        let volume = lvm::read(&Place::whole(&open(path))).unwrap().unwrap();
        let group = volume.group().unwrap();
        assert_eq!((group.name.as_str(), group.extent_size, volume.used), ("vg.one", MIB, Some(true)));
        assert_eq!(group.tags, ["cluster"]);
        assert!(group.physical.iter().any(|p| p.uuid == volume.uuid));
        for row in rows {
            let lv = group.volume(row["lv_name"].as_str().unwrap()).unwrap();
            assert_eq!(row["lv_uuid"], lv.uuid);
            assert_eq!(row["lv_size"], format!("{}B", group.size_of(lv)));
            assert_eq!(row["vg_uuid"], group.uuid);
            assert_eq!(row["vg_seqno"], group.seqno.to_string());
            assert_eq!(row["vg_free_count"], group.free_extents().to_string());
        }
        assert!(matches!(&group.volume("fast").unwrap().segments[0].mapping,
            Mapping::Striped { stripe: 65536, on } if on.len() == 2));
        let root = group.volume("root").unwrap();
        assert_eq!((root.segments.len(), root.tags.len()), (2, 30));
        let found = signature::find(&open(path), 0, 100 * MIB).unwrap();
        assert_eq!((found[0].kind, found[0].uuid.as_deref()), ("LVM2_member", Some(volume.uuid.as_str())));
    }
}

fn group(size: u64) -> VolumeGroup {
    let id = |n: u8| lvm::uuid(&[n; 32]);
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let physical = |name: &str, n| Physical {
        name: name.into(),
        uuid: id(n),
        device: "/dev/unknown".into(),
        status: words("ALLOCATABLE"),
        size,
        start: MIB,
        extents: size / MIB - 1,
    };
    let on = |volume: &str, extent| On { volume: volume.into(), extent };
    let volume = |name: &str, n, segments| Logical {
        name: name.into(),
        uuid: id(n),
        status: words("READ WRITE VISIBLE"),
        tags: vec!["made".into()],
        segments,
    };
    VolumeGroup {
        name: "made".into(),
        uuid: id(1),
        seqno: 1,
        status: words("RESIZEABLE READ WRITE"),
        tags: vec![],
        extent_size: MIB,
        physical: vec![physical("pv0", 2), physical("pv1", 3)],
        logical: vec![
            volume(
                "root",
                4,
                vec![
                    Segment { start: 0, extents: 10, mapping: Mapping::Linear(on("pv0", 0)) },
                    Segment { start: 10, extents: 5, mapping: Mapping::Linear(on("pv1", 20)) },
                ],
            ),
            volume(
                "fast",
                5,
                vec![Segment {
                    start: 0,
                    extents: 8,
                    mapping: Mapping::Striped { stripe: 65536, on: vec![on("pv0", 10), on("pv1", 0)] },
                }],
            ),
        ],
    }
}

#[test]
fn lvm_reads_what_is_written() {
    if !can("lvm_reads_what_is_written", &["lvm"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let group = group(64 * MIB);
    let files = ["a", "b"].map(|n| image(dir.path(), n, 64 * MIB));
    for (file, name) in files.iter().zip(["pv0", "pv1"]) {
        write(file, &lvm::write(&group, name, &Written::default()).unwrap());
    }
    let loops = files.each_ref().map(|f| loop_device(f));
    let paths = [loops[0].path(), loops[1].path()];
    let lvm = |arguments: &[&str]| lvm_with(&paths, dir.path(), arguments);
    let json = |arguments: &[&str], what: &str| {
        let text = lvm(&[arguments, &["--driverloaded", "n", "--reportformat", "json", "--units", "b"]].concat());
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["report"][0][what].as_array().unwrap().clone()
    };
    let vg = json(&["vgs", "-o", "vg_name,vg_uuid,vg_extent_size,vg_free_count,pv_count,lv_count", "made"], "vg");
    assert_eq!(vg[0]["vg_uuid"], group.uuid);
    assert_eq!(
        (&vg[0]["vg_extent_size"], &vg[0]["pv_count"], &vg[0]["lv_count"]),
        (&"1048576B".into(), &"2".into(), &"2".into())
    );
    assert_eq!(vg[0]["vg_free_count"], group.free_extents().to_string());
    let lvs = json(&["lvs", "-o", "lv_name,lv_uuid,lv_size,lv_tags,stripes,seg_count", "made"], "lv");
    for lv in &group.logical {
        let row = lvs.iter().find(|r| r["lv_name"] == lv.name.as_str()).unwrap();
        assert_eq!((&row["lv_uuid"], &row["lv_tags"]), (&lv.uuid.as_str().into(), &"made".into()));
        assert_eq!(row["lv_size"], format!("{}B", group.size_of(lv)));
    }
    let pvs = json(&["pvs", "-o", "pv_uuid,pe_start,dev_size,pv_pe_count,pv_missing"], "pv");
    assert_eq!(pvs.len(), 2);
    for (n, row) in pvs.iter().enumerate() {
        assert!(group.physical.iter().any(|p| row["pv_uuid"] == p.uuid.as_str()), "{n}");
        assert_eq!(
            (&row["pe_start"], &row["pv_pe_count"], &row["pv_missing"]),
            (&"1048576B".into(), &"63".into(), &"".into())
        );
    }
    for path in paths {
        let text = lvm(&["pvck", path.to_str().unwrap()]);
        assert!(text.contains("CRC ok") || !text.to_lowercase().contains("bad"), "{text}");
        let text = lvm(&["pvck", "--dump", "headers", path.to_str().unwrap()]);
        assert!(
            text.contains("metadata text at 4608") && text.contains("metadata text has no problems found")
                || text.contains("crc") && !text.contains("CHECK"),
            "{text}"
        );
        let text = lvm(&["pvck", "--dump", "metadata", path.to_str().unwrap()]);
        assert!(text.contains("made {"), "{text}");
    }
    // LVM goes on from what was written.
    let make = ["--driverloaded", "n", "-an", "-Zn", "-Wn", "-y", "-q"];
    lvm(&[&["lvcreate"], &make[..], &["-n", "more", "-L", "8M", "made"]].concat());
    let read = lvm::read(&Place::whole(&open(paths[1]))).unwrap().unwrap();
    assert_eq!((read.group().unwrap().seqno, read.group().unwrap().logical.len()), (2, 3));
}

#[test]
fn headers_of_cryptsetup_are_read() {
    if !can("headers_of_cryptsetup_are_read", &["cryptsetup"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "a key").unwrap();
    let key = key.to_str().unwrap();
    let format = |name: &str, arguments: &[&str]| {
        let path = image(dir.path(), name, 32 * MIB);
        let text = path.to_str().unwrap().to_owned();
        common::run("cryptsetup", &[&["luksFormat", "-q"], arguments, &[text.as_str(), key]].concat());
        (path, text)
    };
    let (path, text) = format("one", &["--type", "luks1", "--pbkdf-force-iterations", "1000", "--hash", "sha512"]);
    let header = luks::read(&Place::whole(&open(&path))).unwrap().unwrap();
    assert_eq!((header.version, header.uuid.as_str()), (1, says("cryptsetup", &["luksUUID", &text]).trim()));
    assert_eq!((header.cipher.as_str(), header.data_offset), ("aes-xts-plain64", 2 * MIB));
    assert_eq!(header.keyslots[0].kdf, luks::Kdf::Pbkdf2 { hash: "sha512".into(), iterations: 1000 });

    let argon = ["--type", "luks2", "--pbkdf", "argon2id", "--pbkdf-force-iterations", "4", "--pbkdf-memory", "64"];
    let (path, text) =
        format("two", &[&argon[..], &["--label", "disk", "--subsystem", "sub", "--sector-size", "4096"]].concat());
    let header = luks::read(&Place::whole(&open(&path))).unwrap().unwrap();
    assert_eq!((header.version, header.uuid.as_str()), (2, says("cryptsetup", &["luksUUID", &text]).trim()));
    assert_eq!((header.label.as_deref(), header.subsystem.as_deref()), (Some("disk"), Some("sub")));
    assert_eq!((header.secondary, header.sector, header.data_offset), (Some(0x4000), 4096, 16 * MIB));
    assert!(header.needs_argon2());
    common::run(
        "cryptsetup",
        &["luksAddKey", "-q", "--key-file", key, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", &text, key],
    );
    let token = dir.path().join("token");
    std::fs::write(&token, r#"{"type": "clevis", "keyslots": ["1"]}"#).unwrap();
    common::run("cryptsetup", &["token", "import", "--json-file", token.to_str().unwrap(), &text]);
    let header = luks::read(&Place::whole(&open(&path))).unwrap().unwrap();
    assert!(!header.needs_argon2() && header.sequence > 1);
    assert_eq!(
        header.keyslots[1],
        luks::Keyslot { id: 1, kdf: luks::Kdf::Pbkdf2 { hash: "sha256".into(), iterations: 1000 } }
    );
    assert_eq!(header.tokens, [luks::Token { id: 0, kind: "clevis".into(), keyslots: vec![1] }]);
    // The first header is damaged: the second says the same.
    File::options().write(true).open(&path).unwrap().write_all_at(b"x", 25).unwrap();
    let copy = luks::read(&Place::whole(&open(&path))).unwrap().unwrap();
    assert_eq!(luks::Header { offset: 0, ..copy.clone() }, header);
    assert_eq!(copy.offset, 0x4000);

    // A larger header has its second one elsewhere.
    let (path, _) = format("large", &[&argon[..], &["--luks2-metadata-size", "1M"]].concat());
    assert_eq!(luks::read(&Place::whole(&open(&path))).unwrap().unwrap().secondary, Some(1 << 20));
}

/// What blkid finds: keys and values.
fn probe(path: &Path) -> Vec<(String, String)> {
    let text = says("blkid", &["-p", "-o", "export", path.to_str().unwrap()]);
    let pairs = text.lines().filter_map(|l| l.split_once('='));
    pairs.filter(|(k, _)| *k != "DEVNAME").map(|(k, v)| (k.to_owned(), v.replace('\\', ""))).collect()
}

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
fn assert_blank(path: &Path, what: &str) {
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
    if !matches!(kind, "udf" | "exfat" | "ntfs" | "gfs2") {
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

/// Not a test of its own: writes members of arrays and of a group into a directory, for a kernel to assemble.
#[test]
fn members_for_a_kernel() {
    let Some(dir) = std::env::var_os("LIBCV_TEST_ONDISK_OUT") else {
        skip("members_for_a_kernel", "it writes for a kernel with MD: LIBCV_TEST_ONDISK_OUT=DIRECTORY");
        return;
    };
    for (version, level, bitmap) in ARRAYS {
        for role in 0..2 {
            let array = array(version, level, bitmap, 64 * MIB);
            let path = image(Path::new(&dir), &format!("{version}-{level}-{bitmap}.{role}"), 64 * MIB);
            let member = Member { role, uuid: Uuid::from_u128(u128::from(role) + 1), size: 64 * MIB };
            write(&path, &array.member(&member).unwrap());
        }
    }
    for name in ["pv0", "pv1"] {
        let path = image(Path::new(&dir), name, 64 * MIB);
        write(&path, &lvm::write(&group(64 * MIB), name, &Written::default()).unwrap());
    }
}
