//! Layouts applied to image files without MD, device mapper and loop devices; what came of it is looked at with the
//! programs that own the formats. That a kernel starts it, `tests/storage/test_offline.py` shows.
//!
//! A test that needs root or a program prints `skipped: ` with the reason; `tests/run.sh` counts these lines.

mod common;

use common::{can, image};
use libcv::job::Task;
use libcv::layout::ondisk::lvm::{self, text::Mapping};
use libcv::layout::ondisk::md;
use libcv::layout::place::Place;
use libcv::layout::{Applied, ApplyOptions, Backend, Confirm, Disks, Layout, Payload, Plan, PlanOptions, gpt};
use libcv::sys::loopdev::{self, LoopDevice};
use libcv::sys::namespace::in_private_mounts;
use libcv::sys::{mount, sysfs};
use libcv::{Error, ErrorKind, Result};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const MIB: u64 = 1 << 20;

/// Two disks, everything on both, as a node of a cluster has it.
const MIRRORED: &str = "
schema: cv.layout/v1
name: mirrored
firmware: [uefi]
disks: {d: {count: 2, wipe: all}}
partitions:
  d/esp: {number: 1, type: esp, size: 300MiB}
  d/boot: {number: 2, type: linux-raid, size: 200MiB}
  d/pv: {number: 5, type: linux-raid, size: rest}
raid:
  boot: {level: 1, members: [d/boot], metadata: \"1.0\", bitmap: none, sync: zero}
  pv: {level: 1, members: [d/pv], metadata: \"1.2\", bitmap: internal}
lvm:
  sys: {pvs: [raid/pv], lvs: {root: {size: 400MiB}, swap: {size: 64MiB}, log: {size: rest}}, reserve: 5%}
filesystems:
  esp: {on: d/esp, type: vfat, label: ESP, mirror: sync, mount: {at: /boot/efi}}
  boot: {on: raid/boot, type: ext4, label: boot, mount: {at: /boot}}
  root: {on: lvm/sys/root, type: xfs, label: root, mount: {at: /}}
  swap: {on: lvm/sys/swap, type: swap}
  log: {on: lvm/sys/log, type: ext4, mount: {at: /var/log}}
";

const PROGRAMS: [&str; 11] = [
    "mkfs.ext4",
    "mkfs.xfs",
    "mkfs.vfat",
    "mkswap",
    "mdadm",
    "sgdisk",
    "blkid",
    "e2fsck",
    "xfs_repair",
    "fsck.vfat",
    "mcopy",
];

fn plan(text: &str, disks: &[PathBuf], sector: u32) -> Result<Plan> {
    let disks = Disks::from([("d".to_owned(), disks.to_vec())]);
    let options = PlanOptions { sector: Some(sector), seed: Some([3; 16]), ..PlanOptions::default() };
    Layout::parse(text.as_bytes(), "test")?.plan(&disks, &options)
}

fn apply(plan: &Plan, source: Option<&dyn Payload>) -> Result<Applied> {
    let options = ApplyOptions { backend: Backend::Offline, ..ApplyOptions::default() };
    plan.apply_with(&Confirm::Yes, source, &options, &Task::quiet())
}

fn two(dir: &Path, mib: u64) -> Vec<PathBuf> {
    vec![image(dir, "a.img", mib * MIB), image(dir, "b.img", mib * MIB)]
}

fn digest(path: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut File::open(path).unwrap(), &mut hasher).unwrap();
    hasher.finalize().to_string()
}

/// Runs a program and gives what it says.
fn ask(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {args:?}: {text}");
    text
}

/// A part of a disk as a file of its own.
fn extract(disk: &Path, pieces: &[(u64, u64)], to: &Path) -> String {
    let (from, out) = (File::open(disk).unwrap(), File::create(to).unwrap());
    let mut buffer = vec![0; MIB as usize];
    let mut end = 0;
    for (start, length) in pieces {
        for at in (0..*length).step_by(MIB as usize) {
            let piece = &mut buffer[..usize::try_from((length - at).min(MIB)).unwrap()];
            from.read_exact_at(piece, start + at).unwrap();
            if piece.iter().any(|b| *b != 0) {
                out.write_all_at(piece, end + at).unwrap();
            }
        }
        end += length;
    }
    out.set_len(end).unwrap();
    to.to_str().unwrap().to_owned()
}

/// Everything that can be known about the disks of [`MIRRORED`] without a kernel that has md and device mapper.
/// Gives the filesystems as files: root, log, boot, then the ESPs.
fn examine(plan: &Plan, dir: &Path) -> Vec<String> {
    let mut parts = Vec::new();
    let mut esps = Vec::new();
    for (index, disk) in plan.disks().iter().enumerate() {
        let path = disk.facts.path.to_str().unwrap();
        let checked = ask("sgdisk", &["-v", path]);
        assert!(disk.facts.sector != 512 || checked.contains("No problems found"), "{checked}");
        let bytes = std::fs::read(path).unwrap();
        let table = gpt::read(&bytes, disk.facts.sector).unwrap();
        assert_eq!((table.primary.as_ref().unwrap(), table.backup.is_ok()), (&disk.table(false), true));
        for p in &disk.partitions {
            let file =
                extract(Path::new(path), &[(p.start, p.length)], &dir.join(format!("part-{}-{index}", p.number)));
            let offset = p.start.to_string();
            let probed = ask("blkid", &["-p", "-O", &offset, "-S", &p.length.to_string(), "-o", "export", path]);
            if p.kind.is("esp") {
                let fs = plan.filesystems().iter().find(|f| f.id == "esp").unwrap();
                let (_, uuid) = fs.places().nth(index).unwrap();
                assert!(probed.contains("TYPE=vfat") && probed.contains(&format!("UUID={uuid}")), "{probed}");
                ask("fsck.vfat", &["-n", &file]);
                esps.push(file);
            } else {
                assert!(probed.contains("TYPE=linux_raid_member"), "{probed}");
                parts.push((p.number, file));
            }
        }
    }
    parts.sort();
    let mut arrays = Vec::new();
    for (array, members) in plan.arrays().iter().zip(parts.chunks(2)) {
        let shown = members.iter().map(|(_, file)| ask("mdadm", &["--examine", file])).collect::<Vec<_>>();
        for (role, text) in shown.iter().enumerate() {
            let line = |key: &str, value: &str| {
                let found =
                    text.lines().any(|l| l.split_once(" : ").is_some_and(|(k, v)| k.trim() == key && v == value));
                assert!(found, "{key} : {value}\n{text}");
            };
            line("Array UUID", &array.md_uuid());
            line("Name", &format!("any:{}", array.name));
            line("State", "clean");
            line("Raid Devices", "2");
            line("Device Role", &format!("Active device {role}"));
            line("Array State", "AA ('A' == active, '.' == missing, 'R' == replacing)");
            assert!(text.contains("- correct"), "{text}");
        }
        if array.data_offset > 0 {
            let member = std::fs::read(&members[0].1).unwrap();
            let bitmap = md::read(&Place::whole(&member)).unwrap().unwrap().bitmap.unwrap();
            assert_eq!((bitmap.version, bitmap.covers), (4, array.component));
            let bits = usize::try_from(bitmap.offset).unwrap() + 256;
            assert!(member[bits..bits + 512].iter().all(|b| *b == 0), "nothing is noted as out of step");
        }
        let inside = |file: &str, n: usize| {
            let name = dir.join(format!("array-{}-{n}", array.id));
            extract(Path::new(file), &[(array.data_offset, array.size)], &name)
        };
        let legs = [inside(&members[0].1, 0), inside(&members[1].1, 1)];
        assert_eq!(digest(Path::new(&legs[0])), digest(Path::new(&legs[1])), "the legs of {} are equal", array.id);
        arrays.push(legs[0].clone());
    }
    let probe = |file: &str, kind: &str, uuid: &str| {
        let probed = ask("blkid", &["-p", "-o", "export", file]);
        assert!(probed.contains(&format!("TYPE={kind}")) && probed.contains(&format!("UUID={uuid}")), "{probed}");
    };
    let of = |id: &str| plan.filesystems().iter().find(|f| f.id == id).unwrap();
    probe(&arrays[0], "ext4", &of("boot").uuid);
    ask("e2fsck", &["-fn", &arrays[0]]);
    let (planned, pv) = (&plan.groups()[0], std::fs::read(&arrays[1]).unwrap());
    probe(&arrays[1], "LVM2_member", &planned.pvs[0].1);
    let pv = lvm::read(&Place::whole(&pv)).unwrap().unwrap();
    let group = pv.group().unwrap();
    assert_eq!((group.name.as_str(), group.free_extents()), ("sys", planned.free));
    let mut found = Vec::new();
    for volume in &planned.volumes {
        let logical = group.volume(&volume.name).unwrap();
        assert_eq!(group.size_of(logical), volume.size);
        let places: Vec<(u64, u64)> = logical
            .segments
            .iter()
            .map(|s| match &s.mapping {
                Mapping::Linear(on) => {
                    (group.physical[0].start + on.extent * group.extent_size, s.extents * group.extent_size)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let file = extract(Path::new(&arrays[1]), &places, &dir.join(format!("lv-{}", volume.name)));
        let fs = of(&volume.name);
        probe(&file, fs.kind.name(), &fs.uuid);
        match volume.name.as_str() {
            "root" => drop(ask("xfs_repair", &["-n", &file])),
            "log" => drop(ask("e2fsck", &["-fn", &file])),
            _ => {}
        }
        found.push((volume.name.clone(), file));
    }
    let volume = |name: &str| found.iter().find(|(n, _)| n == name).unwrap().1.clone();
    [vec![volume("root"), volume("log"), arrays[0].clone()], esps].concat()
}

/// Puts a file into every filesystem, with what only a real mount can keep.
struct Files;

const PLACES: [&str; 4] = ["", "var/log", "boot", "boot/efi/EFI/BOOT"];

impl Payload for Files {
    fn install(&self, target: &Path, _: &Task) -> Result<()> {
        let failed = |e: std::io::Error| Error::io("write", target.display(), e);
        for place in PLACES {
            std::fs::create_dir_all(target.join(place)).map_err(failed)?;
            std::fs::write(target.join(place).join("here.txt"), common::noise(200_000, place.len() as u64))
                .map_err(failed)?;
        }
        std::os::unix::fs::chown(target.join("here.txt"), Some(1234), Some(70_000)).map_err(failed)?;
        let host = std::fs::read_to_string("/proc/self/mountinfo").map_err(failed)?;
        assert!(!host.contains("libcv"), "the host does not see any of it");
        Ok(())
    }
}

/// The file of a filesystem in `file`, with its owner.
fn mounted(file: &str, kind: &str, sector: u32, at: &Path) -> (Vec<u8>, u32) {
    in_private_mounts(|| {
        let disk = File::options().read(true).write(true).open(file).unwrap();
        let device = LoopDevice::attach(disk.as_fd(), sector)?;
        let node = at.with_extension("node");
        let number = std::fs::metadata(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&device.as_fd())));
        loopdev::make_node(&node, sysfs::DeviceNumber::from_raw(number.unwrap().rdev()))?;
        std::fs::create_dir_all(at).unwrap();
        mount::device(&node, at, kind, &[])?;
        let found =
            (std::fs::read(at.join("here.txt")).unwrap(), std::fs::metadata(at.join("here.txt")).unwrap().uid());
        mount::unmount(at)?;
        Ok(found)
    })
    .unwrap()
}

fn mounts(kind: &str) -> bool {
    std::fs::read_to_string("/proc/filesystems").is_ok_and(|t| t.lines().any(|l| l.trim() == kind))
}

#[test]
fn mirrors_volumes_and_esps_with_content() {
    if !can("mirrors_volumes_and_esps_with_content", &PROGRAMS) {
        return;
    }
    if !mounts("xfs") || !mounts("ext4") {
        common::skip("mirrors_volumes_and_esps_with_content", "this kernel mounts no xfs or ext4");
        return;
    }
    for sector in [512, 4096] {
        let dir = tempfile::tempdir().unwrap();
        let disks = two(dir.path(), 1100);
        // What was there before does not come through anywhere: every byte of a disk is something.
        if sector == 512 {
            let noise = common::noise(8 << 20, 5);
            let old = File::options().write(true).open(&disks[1]).unwrap();
            (0..1100 / 8).for_each(|n| old.write_all_at(&noise, n * 8 * MIB).unwrap());
        }
        let plan = plan(MIRRORED, &disks, sector).unwrap();
        let applied = apply(&plan, Some(&Files)).unwrap();
        assert_eq!(applied.to_json()["filesystems"].as_array().unwrap().len(), 5);
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "nothing is left beside the disks: {names:?}");
        let parts = dir.path().join("parts");
        std::fs::create_dir(&parts).unwrap();
        let files = examine(&plan, &parts);
        let at = parts.join("mnt");
        for (file, kind, place, owner) in
            [(&files[0], "xfs", PLACES[0], 1234), (&files[1], "ext4", PLACES[1], 0), (&files[2], "ext4", PLACES[2], 0)]
        {
            let found = mounted(file, kind, sector, &at);
            assert!(found == (common::noise(200_000, place.len() as u64), owner), "{place}");
        }
        for esp in &files[3..] {
            let copy = parts.join("copy");
            ask("mcopy", &["-n", "-o", "-i", esp, "::/EFI/BOOT/here.txt", copy.to_str().unwrap()]);
            assert!(std::fs::read(&copy).unwrap() == common::noise(200_000, PLACES[3].len() as u64));
            std::fs::remove_file(copy).unwrap();
        }
        assert_eq!(files.len(), 5);
        for disk in &disks {
            let meta = std::fs::metadata(disk).unwrap();
            assert!(loopdev::attached_to(meta.dev(), meta.ino()).is_empty());
            assert!(meta.blocks() * 512 < 200 * MIB, "{} is sparse", disk.display());
        }
    }
}

/// Not a test of its own: [`without_privilege`] runs it as a user who may do nothing.
#[test]
fn run_by_nobody() {
    let Some(dir) = std::env::var_os("LIBCV_TEST_NOBODY").map(PathBuf::from) else { return };
    assert!(!rustix::process::geteuid().is_root());
    let disks = [dir.join("a.img"), dir.join("b.img")];
    let plan = plan(MIRRORED, &disks, 512).unwrap();
    let e = apply(&plan, Some(&Files)).unwrap_err();
    assert_eq!((e.kind(), e.hint_text().unwrap().contains("root")), (ErrorKind::Denied, true));
    assert_eq!(plan.apply(&Confirm::Yes, None, &Task::quiet()).unwrap_err().kind(), ErrorKind::Denied);
    // A disk of somebody else, and one that a loop device has.
    let others = dir.join("others.img");
    let e = self::plan(SMALL, &[others], 512).and_then(|p| apply(&p, None).map(drop)).unwrap_err();
    assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Refused, &"F214".into()), "{e:?}");
    let attached = dir.join("attached.img");
    let e = self::plan(SMALL, &[attached], 512).and_then(|p| apply(&p, None).map(drop)).unwrap_err();
    assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Refused, &"F204".into()), "{e:?}");
    apply(&plan, None).unwrap();
    examine(&plan, &dir.join("parts"));
}

const SMALL: &str = "
schema: cv.layout/v1
name: small
disks: {d: {}}
partitions:
  d/a: {type: linux, size: rest}
filesystems:
  a: {on: d/a, type: ext4, mount: {at: /}}
";

#[test]
fn without_privilege() {
    if !can("without_privilege", &[&PROGRAMS[..], &["setpriv"]].concat()) {
        return;
    }
    let dir =
        tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let own = |path: &Path| std::os::unix::fs::chown(path, Some(65_534), Some(65_534)).unwrap();
    two(dir.path(), 1100).iter().for_each(|d| own(d));
    image(dir.path(), "others.img", 80 * MIB);
    let attached = image(dir.path(), "attached.img", 80 * MIB);
    own(&attached);
    let file = File::options().read(true).write(true).open(&attached).unwrap();
    let _device = LoopDevice::attach(file.as_fd(), 512).unwrap();
    std::fs::create_dir(dir.path().join("parts")).unwrap();
    own(&dir.path().join("parts"));
    let program = dir.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let out = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--"])
        .arg(&program)
        .args(["--exact", "run_by_nobody", "--nocapture"])
        .env("LIBCV_TEST_NOBODY", dir.path())
        .env("TMPDIR", "/tmp")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn stripes_stand_where_the_metadata_says() {
    if !can("stripes_stand_where_the_metadata_says", &["mkfs.ext4", "e2fsck", "mdadm"]) {
        return;
    }
    let text = "
schema: cv.layout/v1
name: stripes
disks: {d: {count: 2}}
partitions:
  d/a: {type: linux-raid, size: 100MiB}
  d/b: {type: linux-raid, size: 100MiB}
  d/l: {type: linux-lvm, size: rest}
raid:
  a: {level: 0, members: [d/a], chunk: 64KiB}
  b: {level: 10, members: [d/b], chunk: 64KiB, layout: n2}
lvm:
  v: {pvs: [d/l], lvs: {s: {size: 64MiB, stripes: 2, stripe-size: 32KiB}, r: {size: rest}}}
filesystems:
  a: {on: raid/a, type: ext4}
  b: {on: raid/b, type: ext4}
  s: {on: lvm/v/s, type: ext4}
  r: {on: lvm/v/r, type: ext4, mount: {at: /}}
";
    let dir = tempfile::tempdir().unwrap();
    let disks = two(dir.path(), 400);
    let plan = plan(text, &disks, 512).unwrap();
    apply(&plan, None).unwrap();
    // Put together again by what stands on the disks alone.
    let members = |number: u32| {
        let at = |d: &libcv::layout::plan::PlannedDisk| {
            let p = d.partitions.iter().find(|p| p.number == number).unwrap();
            std::fs::read(extract(&d.facts.path, &[(p.start, p.length)], &dir.path().join("part"))).unwrap()
        };
        plan.disks().iter().map(at).collect::<Vec<_>>()
    };
    let check = |bytes: &[u8], name: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        ask("e2fsck", &["-fn", file.to_str().unwrap()]);
    };
    for (number, name) in [(1, "a"), (2, "b")] {
        let (members, array) = (members(number), &plan.arrays()[number as usize - 1]);
        let read: Vec<_> = members.iter().map(|m| md::read(&Place::whole(m)).unwrap().unwrap()).collect();
        assert!(read.iter().all(|s| s.clean && s.uuid == array.uuid && s.present() == 2));
        let chunk = usize::try_from(read[0].chunk).unwrap();
        let offset = usize::try_from(read[0].data_offset).unwrap();
        let chunks = usize::try_from(array.size).unwrap() / chunk;
        let stripe = |n: usize| match name {
            "a" => &members[n % 2][offset + n / 2 * chunk..][..chunk],
            _ => &members[n % 2][offset + n * chunk..][..chunk],
        };
        check(&(0..chunks).flat_map(|n| stripe(n).to_vec()).collect::<Vec<_>>(), name);
    }
    let pvs = members(3);
    let group = lvm::read(&Place::whole(&pvs[0])).unwrap().unwrap().group().unwrap().clone();
    assert_eq!(lvm::read(&Place::whole(&pvs[1])).unwrap().unwrap().group(), Some(&group));
    for logical in &group.logical {
        let mut bytes = Vec::new();
        for segment in &logical.segments {
            let place = |on: &lvm::text::On| {
                let n = group.physical.iter().position(|p| p.name == on.volume).unwrap();
                &pvs[n][usize::try_from(group.physical[n].start + on.extent * group.extent_size).unwrap()..]
            };
            let length = usize::try_from(segment.extents * group.extent_size).unwrap();
            match &segment.mapping {
                Mapping::Linear(on) => bytes.extend_from_slice(&place(on)[..length]),
                Mapping::Striped { stripe, on } => {
                    let stripe = usize::try_from(*stripe).unwrap();
                    let piece = |n: usize| place(&on[n % 2])[n / 2 * stripe..][..stripe].to_vec();
                    bytes.extend((0..length / stripe).flat_map(piece));
                }
                other => panic!("{other:?}"),
            }
        }
        check(&bytes, &logical.name);
    }
}

#[test]
fn what_is_not_made_offline_is_refused_before_a_byte_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let disks: Vec<PathBuf> = (0..3).map(|n| image(dir.path(), &format!("{n}.img"), 600 * MIB)).collect();
    let head = "schema: cv.layout/v1\nname: no\ndisks: {d: {count: 3}}\npartitions: {d/m: {type: linux, size: rest}}\n";
    let fs = |on: &str| format!("filesystems: {{f: {{on: {on}, type: ext4, mount: {{at: /}}}}}}\n");
    let before: Vec<String> = disks.iter().map(|d| digest(d)).collect();
    for above in [
        format!("raid: {{a: {{level: 5, members: [d/m]}}}}\n{}", fs("raid/a")),
        format!("raid: {{a: {{level: 1, members: [d/m], spares: 1}}}}\n{}", fs("raid/a")),
        format!("raid: {{a: {{level: 10, layout: f2, members: [d/m]}}}}\n{}", fs("raid/a")),
        format!("raid: {{a: {{level: 0, metadata: \"1.0\", members: [d/m]}}}}\n{}", fs("raid/a")),
        format!(
            "raid: {{a: {{level: 1, members: [d/m]}}}}\nluks: {{c: {{on: raid/a, keys: [{{secret: \"ref:k\"}}]}}}}\n{}",
            fs("luks/c")
        ),
        format!(
            "lvm: {{v: {{pvs: [d/m], lvs: {{p: {{kind: thin-pool, size: 100MiB}}, t: {{kind: thin, pool: p, virtual-size: \
             50MiB}}}}}}}}\n{}",
            fs("lvm/v/t")
        ),
    ] {
        let e = apply(&plan(&format!("{head}{above}"), &disks, 512).unwrap(), None).unwrap_err();
        assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Unsupported, &"F230".into()), "{above}: {e:?}");
        assert!(e.hint_text().unwrap().contains("kernel backend"));
    }
    assert_eq!(before, disks.iter().map(|d| digest(d)).collect::<Vec<_>>());
}

/// The name of the first partition.
fn name(disk: &Path) -> String {
    let table = gpt::read(&std::fs::read(disk).unwrap(), 512).unwrap().primary.unwrap();
    table.entries[&1].name.clone()
}

#[test]
fn a_failing_run_leaves_marks_and_nothing_else() {
    if !can("a_failing_run_leaves_marks_and_nothing_else", &["mkfs.ext4"]) {
        return;
    }
    struct Fails;
    impl Payload for Fails {
        fn install(&self, target: &Path, _: &Task) -> Result<()> {
            std::fs::write(target.join("half"), "half").unwrap();
            Err(Error::integrity("the image is broken"))
        }
    }
    /// Cancels in the middle.
    struct Cancels(libcv::job::CancelToken);
    impl Payload for Cancels {
        fn install(&self, _: &Path, _: &Task) -> Result<()> {
            self.0.cancel();
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = image(dir.path(), "disk", 80 * MIB);
    let planned = || plan(SMALL, std::slice::from_ref(&disk), 512).unwrap();
    let task = Task::quiet();
    let options = ApplyOptions { backend: Backend::Offline, ..ApplyOptions::default() };
    let cancelled = Cancels(task.cancel_token());
    let failures = [
        (planned().apply_with(&Confirm::Yes, Some(&Fails), &options, &Task::quiet()), ErrorKind::Integrity),
        (planned().apply_with(&Confirm::Yes, Some(&cancelled), &options, &task), ErrorKind::Cancelled),
    ];
    for (outcome, kind) in failures {
        assert_eq!(outcome.unwrap_err().kind(), kind);
        assert_eq!(name(&disk), "a~cv");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
    apply(&planned(), None).unwrap();
    assert_eq!(name(&disk), "a");
}

#[test]
fn a_full_filesystem_is_told() {
    if !can("a_full_filesystem_is_told", &["mkfs.xfs", "mkfs.ext4"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    in_private_mounts(|| {
        for (kind, size) in [("xfs", 40), ("ext4", 1)] {
            mount::tmpfs(dir.path(), &format!("size={size}m"))?;
            let disk = image(dir.path(), "disk", 500 * MIB);
            let text = SMALL.replace("ext4", kind);
            let e = apply(&plan(&text, std::slice::from_ref(&disk), 512)?, None).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Limit, "{e:?}");
            mount::unmount(dir.path())?;
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_file_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let disk = image(dir.path(), "disk", 80 * MIB);
    let planned = plan(SMALL, std::slice::from_ref(&disk), 512).unwrap();
    let held = File::open(&disk).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let e = apply(&planned, None).unwrap_err();
    assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Refused, &"F204".into()));
    drop(held);
    File::options().write(true).open(&disk).unwrap().write_all_at(b"new", 100).unwrap();
    let e = apply(&planned, None).unwrap_err();
    assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Refused, &"A401".into()));
}
