//! The arithmetic of volume groups beside LVM itself: on disks as big as the planned partitions it makes as many
//! extents as planned, and the planned volumes fill them to the last one.
//!
//! Works without a device mapper in the kernel: nothing is activated.

mod common;

use common::{can, image};
use libcv::layout::Layout;
use libcv::layout::solve::{DiskSize, Ground, Solved, solve};
use libcv::layout::stack::Stack;
use libcv::sys::loopdev::LoopDevice;
use std::fs::OpenOptions;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1 << 20;
/// Nothing of the machine's own is read or written: no list of devices, no backups.
const CONFIG: &str = "backup { backup = 0 archive = 0 } devices { hints = \"none\" use_devicesfile = 0 } \
                      global { locking_dir = \"@\" event_activation = 0 } activation { udev_sync = 0 udev_rules = 0 }";

const LAYOUT: &str = "
schema: cv.layout/v1
name: extents
disks: {os: {count: 2}}
partitions:
  os/core: {type: bios-boot, size: 1MiB}
  os/pv: {type: linux-lvm, size: rest}
lvm:
  g:
    pvs: [os/pv]
    extent: EXTENT
    reserve: RESERVE
    lvs:
      db: {size: 50MiB, stripes: 2}
      root: {size: 30MiB}
      var: {size: {min: 8MiB, weight: 1}}
      data: {size: {min: 8MiB, weight: 3}, stripes: 2}
";

fn planned(extent: &str, reserve: &str, sizes: [u64; 2]) -> Solved {
    let text = LAYOUT.replace("EXTENT", extent).replace("RESERVE", reserve);
    let layout = Layout::parse(text.as_bytes(), "extents").unwrap();
    let spec = layout.spec();
    let disks = sizes.map(|size| DiskSize { name: "disk".into(), size, sector: 512, ..DiskSize::default() });
    let ground = Ground { sets: [("os".to_owned(), disks.to_vec())].into_iter().collect(), ..Ground::default() };
    solve(spec, &Stack::of(spec).unwrap(), &ground).unwrap()
}

/// Runs a program of LVM that sees these devices only.
fn lvm(dir: &Path, devices: &[String], program: &str, args: &[&str]) -> String {
    let config = CONFIG.replace('@', dir.to_str().unwrap());
    let out = Command::new(program)
        .args(["--config", &config, "--devices", &devices.join(",")])
        .args(args)
        .env("LC_ALL", "C")
        .env("LVM_SUPPRESS_FD_WARNINGS", "1")
        .output()
        .unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn extents_are_those_of_lvm() {
    if !can("extents_are_those_of_lvm", &["pvcreate", "vgcreate", "lvcreate", "lvs"]) {
        return;
    }
    let cases = [
        ("4MiB", "10%", 400 * MIB),
        ("4MiB", "1%", 403 * MIB + 512),
        ("1MiB", "3%", 301 * MIB),
        ("8MiB", "5%", 512 * MIB),
    ];
    for (case, (extent, reserve, size)) in cases.into_iter().enumerate() {
        let solved = planned(extent, reserve, [size, size + 5 * MIB]);
        let group = &solved.groups["g"];
        let dir = tempfile::tempdir().unwrap();
        let disks: Vec<LoopDevice> = solved.disks["os"]
            .iter()
            .enumerate()
            .map(|(i, placed)| {
                let path = image(dir.path(), &format!("pv{i}"), placed[1].unwrap().length);
                let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
                LoopDevice::attach(file.as_fd(), 512).unwrap()
            })
            .collect();
        let devices: Vec<String> = disks.iter().map(|d| d.path().to_str().unwrap().to_owned()).collect();
        let name = format!("cvtest{}c{case}", std::process::id());
        let run = |program: &str, args: &[&str]| lvm(dir.path(), &devices, program, args);
        for device in &devices {
            run("pvcreate", &["--dataalignment", "1m", "--yes", device]);
        }
        let extent_size = format!("{}b", group.extent);
        let mut args = vec!["-s", &extent_size, &name];
        args.extend(devices.iter().map(String::as_str));
        run("vgcreate", &args);
        let counts = run("vgs", &["--noheadings", "-o", "vg_extent_count", &name]);
        assert_eq!(counts.trim(), group.extents.to_string());
        let each = run("pvs", &["--noheadings", "-o", "pv_pe_count"]);
        let each: Vec<u64> = each.split_whitespace().map(|n| n.parse().unwrap()).collect();
        assert_eq!(each, group.devices);
        // Striped ones first, as the plan makes them.
        for volume in ["db", "data", "root", "var"] {
            let extents = group.volumes[volume].extents.to_string();
            let mut args = vec!["--driverloaded", "n", "-an", "-Zn", "-Wn", "-l", &extents, "-n", volume];
            if matches!(volume, "db" | "data") {
                args.extend(["-i", "2"]);
            }
            args.push(&name);
            run("lvcreate", &args);
        }
        let left = run("vgs", &["--noheadings", "-o", "vg_free_count", &name]);
        assert_eq!(left.trim(), (group.free + group.reserved).to_string());
        assert!(group.free < 2, "{group:?}");
        let listed = run("lvs", &["--noheadings", "--units", "b", "--nosuffix", "-o", "lv_name,lv_size", &name]);
        for line in listed.lines() {
            let (volume, bytes) = line.trim().split_once(' ').unwrap();
            assert_eq!(bytes.trim().parse(), Ok(group.volumes[volume].extents * group.extent));
        }
    }
}
