//! Volume groups, beside LVM.

use super::common::{can, image};
use super::{MIB, fixture, loop_device, open, write};
use libcv::layout::ondisk::lvm;
use libcv::layout::ondisk::lvm::export::Written;
use libcv::layout::ondisk::lvm::text::{Logical, Mapping, On, Physical, Segment, VolumeGroup};
use libcv::layout::place::Place;
use libcv::layout::signature;
use std::path::Path;
use std::process::Command;

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

pub(crate) fn group(size: u64) -> VolumeGroup {
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
