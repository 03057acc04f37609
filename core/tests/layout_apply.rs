//! Applying layouts to raw image files, for real: both sector sizes, every filesystem, and everything that is refused.
//!
//! A test that needs root, loop devices or a program prints `skipped: ` with the reason and what to do; `tests/run.sh`
//! counts these lines. Run as root: `cargo test -p libcv --test layout_apply`.

mod common;

use common::{can, image};
use libcv::job::Task;
use libcv::layout::device::Facts;
use libcv::layout::gate::{Claim, Gate};
use libcv::layout::{Confirm, Disks, Layout, Payload, Plan, PlanOptions};
use libcv::sys::block;
use libcv::sys::loopdev::{self, LoopDevice};
use libcv::{Error, ErrorKind, Result};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const MIB: u64 = 1 << 20;

fn mounts(fstype: &str) -> bool {
    std::fs::read_to_string("/proc/filesystems").is_ok_and(|t| t.lines().any(|l| l.trim() == fstype))
}

fn plan(text: &str, disk: &Path) -> Result<Plan> {
    plan_with(text, disk, &PlanOptions::default())
}

fn plan_with(text: &str, disk: &Path, options: &PlanOptions) -> Result<Plan> {
    let disks = Disks::from([("d".to_owned(), vec![disk.to_owned()])]);
    Layout::parse(text.as_bytes(), "test")?.plan(&disks, options)
}

fn digest(path: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut File::open(path).unwrap(), &mut hasher).unwrap();
    hasher.finalize().to_string()
}

/// Loop devices of this file.
fn attached(path: &Path) -> Vec<String> {
    let meta = std::fs::metadata(path).unwrap();
    loopdev::attached_to(meta.dev(), meta.ino())
}

const ALL: &str = "
schema: cv.layout/v1
name: all
disks: {d: {wipe: all}}
partitions:
  d/a: {number: 1, type: linux, size: 64MiB}
  d/s: {number: 5, type: swap, size: 16MiB}
  d/x: {number: 2, type: linux, size: 320MiB, name: größe}
  d/b: {number: 9, type: home, size: rest}
filesystems:
  a: {on: d/a, type: ext4, label: a-label, mount: {at: /}}
  s: {on: d/s, type: swap, label: swap}
  x: {on: d/x, type: xfs, label: x-label, mount: {at: /srv, options: [noatime, nofail]}}
  b: {on: d/b, type: btrfs, label: b-label, mount: {at: /srv/deep/er}}
";

/// Writes a file into every filesystem, and looks at what it is given.
struct Files;

impl Payload for Files {
    fn install(&self, target: &Path, _: &Task) -> Result<()> {
        for place in ["", "srv", "srv/deep/er"] {
            let path = target.join(place).join("here");
            std::fs::write(&path, place).map_err(|e| Error::io("write", path.display(), e))?;
        }
        let mode = std::fs::metadata(target.join("srv")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        // The host does not see any of it: its first thread has another namespace.
        let host = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let here = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        assert!(!host.contains("libcv") && here.contains("libcv"));
        Ok(())
    }
}

#[test]
fn every_filesystem_with_both_sector_sizes() {
    if !can("every_filesystem_with_both_sector_sizes", &["mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "mkswap"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for sector in [512u32, 4096] {
        let disk = image(dir.path(), &format!("disk{sector}"), 700 * MIB);
        let options = PlanOptions { sector: Some(sector), seed: Some([7; 16]), ..PlanOptions::default() };
        let plan = plan_with(ALL, &disk, &options).unwrap();
        let again = plan_with(ALL, &disk, &options).unwrap();
        assert_eq!((plan.token(), plan.to_json()), (again.token(), again.to_json()));
        let source: Option<&dyn Payload> = if mounts("xfs") && mounts("btrfs") { Some(&Files) } else { None };
        let applied = plan.apply(&Confirm::Token(plan.token().to_owned()), source, &Task::quiet()).unwrap();
        assert_eq!(applied.to_json()["filesystems"].as_array().unwrap().len(), 4);
        assert!(attached(&disk).is_empty(), "nothing is left behind");

        // Other programs see what the plan said.
        let json = plan.to_json();
        if can("sfdisk", &["sfdisk"]) {
            // sfdisk asks a device for its sector size; a file it takes for one with 512 bytes.
            let file = File::options().read(true).write(true).open(&disk).unwrap();
            let device = LoopDevice::attach(file.as_fd(), sector).unwrap();
            let out = Command::new("sfdisk").arg("--json").arg(device.path()).output().unwrap();
            assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
            let seen: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
            let parts = seen["partitiontable"]["partitions"].as_array().unwrap();
            assert_eq!(parts.len(), 4);
            for p in json["disks"][0]["partitions"].as_array().unwrap() {
                let node = format!("{}p{}", device.path().display(), p["number"]);
                let found = parts.iter().find(|x| x["node"] == node.as_str()).unwrap();
                assert_eq!(found["name"], p["name"], "the mark is off");
                assert_eq!(found["start"].as_u64().unwrap() * u64::from(sector), p["start"].as_u64().unwrap());
                assert_eq!(found["uuid"].as_str().unwrap().to_lowercase(), p["uuid"].as_str().unwrap());
            }
        }
        if sector == 512 && can("sgdisk", &["sgdisk"]) {
            let out = Command::new("sgdisk").arg("-v").arg(&disk).output().unwrap();
            assert!(String::from_utf8_lossy(&out.stdout).contains("No problems found"));
        }
        if can("blkid", &["blkid"]) {
            for fs in json["filesystems"].as_array().unwrap() {
                let partitions = json["disks"][0]["partitions"].as_array().unwrap();
                let p = partitions.iter().find(|p| p["key"] == fs["on"]).unwrap();
                let (start, length) = (p["start"].to_string(), p["length"].to_string());
                let out = Command::new("blkid")
                    .args(["-p", "-o", "export", "-O", &start, "-S", &length])
                    .arg(&disk)
                    .output()
                    .unwrap();
                let text = String::from_utf8_lossy(&out.stdout).into_owned();
                assert!(text.contains(&format!("UUID={}", fs["uuid"].as_str().unwrap())), "{text}");
                assert!(text.contains(&format!("TYPE={}", fs["type"].as_str().unwrap())), "{text}");
            }
        }
        // A second run has nothing to do. With another label it makes all of it again, over what is there now.
        assert!(plan_with(ALL, &disk, &options).unwrap().is_unchanged());
        let next = plan_with(&ALL.replace("x-label", "y-label"), &disk, &options).unwrap();
        assert!(
            next.to_text().contains("What differs from the layout\n  the label of filesystems."),
            "{}",
            next.to_text()
        );
        assert_ne!(next.token(), plan.token(), "the disk is another one now");
        assert!(next.to_text().contains("WHAT IS LOST"), "{}", next.to_text());
        assert!(next.to_text().contains("xfs \"x-label\""), "{}", next.to_text());
        next.apply(&Confirm::Yes, None, &Task::quiet()).unwrap();
    }
}

#[test]
fn the_text_of_a_plan_is_for_people() {
    let dir = tempfile::tempdir().unwrap();
    let disk = image(dir.path(), "disk", 700 * MIB);
    let options = PlanOptions { seed: Some([7; 16]), ..PlanOptions::default() };
    let plan = plan_with(ALL, &disk, &options).unwrap();
    let text = plan.to_text().replace(dir.path().to_str().unwrap(), "/images").replace(plan.token(), "TOKE-NNNN");
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/layout-plan.txt");
    if std::env::var_os("LIBCV_BLESS").is_some() {
        std::fs::create_dir_all(Path::new(golden).parent().unwrap()).unwrap();
        std::fs::write(golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(golden).unwrap(), "LIBCV_BLESS=1 writes it anew");
    let fstab = plan.fstab_lines();
    assert_eq!(fstab.len(), 4);
    assert!(fstab[0].contains(" / ext4 defaults 0 1") && fstab[1].contains(" /srv xfs noatime,nofail 0 0"));
    assert!(fstab[3].ends_with(" none swap sw 0 0"));
}

#[test]
fn a_failing_payload_leaves_marks_and_nothing_mounted() {
    if !can("a_failing_payload_leaves_marks_and_nothing_mounted", &["mkfs.ext4"]) {
        return;
    }
    struct Fails;
    impl Payload for Fails {
        fn install(&self, _: &Path, _: &Task) -> Result<()> {
            Err(Error::integrity("the image is broken"))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = image(dir.path(), "disk", 80 * MIB);
    let text = SMALL.replace("}\n#", ", mount: {at: /}}\n#");
    let e = plan(&text, &disk).unwrap().apply(&Confirm::Yes, Some(&Fails), &Task::quiet()).unwrap_err();
    assert_eq!((e.kind(), &e.facts()["step"]), (ErrorKind::Integrity, &"install".into()));
    assert!(attached(&disk).is_empty());
    let table = libcv::layout::gpt::read(&std::fs::read(&disk).unwrap(), 512).unwrap().primary.unwrap();
    assert_eq!(table.entries[&1].name, "a~cv");
    // The next run completes.
    plan(&text, &disk).unwrap().apply(&Confirm::Yes, None, &Task::quiet()).unwrap();
    let table = libcv::layout::gpt::read(&std::fs::read(&disk).unwrap(), 512).unwrap().primary.unwrap();
    assert_eq!(table.entries[&1].name, "a");
}

#[test]
fn a_cancelled_run_ends_and_leaves_nothing_attached() {
    if !can("a_cancelled_run_ends_and_leaves_nothing_attached", &["mkfs.ext4"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = image(dir.path(), "disk", 80 * MIB);
    let task = Task::quiet();
    task.cancel_token().cancel();
    let before = digest(&disk);
    let e = plan(SMALL, &disk).unwrap().apply(&Confirm::Yes, None, &task).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Cancelled);
    assert_eq!(before, digest(&disk));
    assert!(attached(&disk).is_empty());
}

/// Not a test of its own: [`a_killed_run_leaves_nothing_and_the_next_completes`] runs it in a process that it kills.
#[test]
fn run_that_is_killed() {
    struct Waits;
    impl Payload for Waits {
        fn install(&self, target: &Path, _: &Task) -> Result<()> {
            std::fs::write(target.join("half"), "half").unwrap();
            std::thread::sleep(std::time::Duration::from_secs(60));
            Ok(())
        }
    }
    if let Some(disk) = std::env::var_os("LIBCV_TEST_KILLED_DISK") {
        plan(KILLED, Path::new(&disk)).unwrap().apply(&Confirm::Yes, Some(&Waits), &Task::quiet()).unwrap();
    }
}

const KILLED: &str = "
schema: cv.layout/v1
name: killed
disks: {d: {}}
partitions:
  d/a: {type: linux, size: 64MiB}
  d/b: {type: linux, size: 64MiB}
filesystems:
  a: {on: d/a, type: ext4, mount: {at: /}}
  b: {on: d/b, type: ext4, mount: {at: /b}}
";

#[test]
fn a_killed_run_leaves_nothing_and_the_next_completes() {
    if !can("a_killed_run_leaves_nothing_and_the_next_completes", &["mkfs.ext4"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = image(dir.path(), "disk", 160 * MIB);
    for wait in [5u64, 15, 30, 60, 120, 250, 1500] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "run_that_is_killed"])
            .env("LIBCV_TEST_KILLED_DISK", &disk)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
        let gone = (0..50).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            attached(&disk).is_empty()
        });
        assert!(gone, "still attached {wait} ms after the begin: {:?}", attached(&disk));
        let found = libcv::layout::gpt::read(&std::fs::read(&disk).unwrap(), 512).unwrap();
        assert!(wait < 1000 || found.table().is_some_and(|t| t.entries[&1].name == "a~cv"));
    }
    // The kernel may still be writing out what the killed process had mounted: then the disk changes after the plan.
    let done = (0..20).any(|_| {
        let outcome = plan(KILLED, &disk).and_then(|p| p.apply(&Confirm::Yes, Some(&Nothing), &Task::quiet()));
        if let Err(e) = &outcome {
            assert_eq!(e.kind(), ErrorKind::Refused, "{e:?}");
            eprintln!("once more: {e:?}");
            std::thread::sleep(std::time::Duration::from_millis(250));
        }
        outcome.is_ok()
    });
    assert!(done);
}

struct Nothing;

impl Payload for Nothing {
    fn install(&self, _: &Path, _: &Task) -> Result<()> {
        Ok(())
    }
}

const SMALL: &str = "
schema: cv.layout/v1
name: small
disks: {d: {}}
partitions:
  d/a: {type: linux, size: 64MiB}
filesystems:
  a: {on: d/a, type: ext4}
#
";

/// The smallest disk for [`SMALL`]: 1 MiB, the partition, 33 sectors.
const SMALL_NEEDS: u64 = 65 * MIB + 33 * 512;

/// Expects a refusal with this code, from the plan or from applying it.
fn refused(code: &str, outcome: Result<Plan>) {
    let e = outcome.and_then(|p| p.apply(&Confirm::Yes, None, &Task::quiet()).map(drop)).unwrap_err();
    assert_eq!((e.kind(), e.facts().get("code").and_then(|c| c.as_str())), (ErrorKind::Refused, Some(code)), "{e:?}");
    assert!(e.hint_text().is_some() || code == "F214", "{e:?}");
}

#[test]
fn one_sector_too_small_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (sector, needs) in [(512, SMALL_NEEDS), (4096, 65 * MIB + 5 * 4096)] {
        let options = PlanOptions { sector: Some(sector), ..PlanOptions::default() };
        let disk = image(dir.path(), "disk", needs - u64::from(sector));
        let before = digest(&disk);
        refused("F210", plan_with(SMALL, &disk, &options));
        assert_eq!(before, digest(&disk));
        let disk = image(dir.path(), "disk", needs);
        assert!(plan_with(SMALL, &disk, &options).is_ok());
        if can("one_sector_too_small_is_refused", &["mkfs.ext4"]) {
            plan_with(SMALL, &disk, &options).unwrap().apply(&Confirm::Yes, None, &Task::quiet()).unwrap();
        }
    }
}

#[test]
fn what_is_no_disk_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(plan(SMALL, &dir.path().join("nothing")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(plan(SMALL, dir.path()).unwrap_err().facts()["code"], "F215");
    assert_eq!(plan(SMALL, Path::new("/dev/null")).unwrap_err().facts()["code"], "F215");
    let layout = Layout::parse(SMALL.as_bytes(), "x").unwrap();
    let e = layout.plan(&Disks::new(), &PlanOptions::default()).unwrap_err();
    assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Invalid, &"F201".into()));
    let disk = image(dir.path(), "disk", SMALL_NEEDS);
    let disks = Disks::from([("d".to_owned(), vec![disk.clone()]), ("e".to_owned(), vec![disk])]);
    assert_eq!(layout.plan(&disks, &PlanOptions::default()).unwrap_err().facts()["code"], "F209");
}

#[test]
fn the_wrong_token_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let disk = image(dir.path(), "disk", SMALL_NEEDS);
    let before = digest(&disk);
    let plan = plan(SMALL, &disk).unwrap();
    let e = plan.apply(&Confirm::Token("0000-0000".into()), None, &Task::quiet()).unwrap_err();
    assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Refused, &"A400".into()));
    assert_eq!(before, digest(&disk));
}

#[test]
fn a_disk_that_changed_since_the_plan_is_refused() {
    if !can("a_disk_that_changed_since_the_plan_is_refused", &["mkfs.ext4"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = image(dir.path(), "disk", SMALL_NEEDS);
    let planned = plan(SMALL, &disk).unwrap();
    File::options().write(true).open(&disk).unwrap().write_all_at(b"new data", 4096).unwrap();
    let before = digest(&disk);
    refused("A401", Ok(planned));
    assert_eq!(before, digest(&disk));
    // Another file at the same path.
    let planned = plan(SMALL, &disk).unwrap();
    std::fs::rename(image(dir.path(), "other", SMALL_NEEDS), &disk).unwrap();
    refused("A401", Ok(planned));
}

/// Two blank disks that changed places differ in nothing but their names.
#[test]
fn a_disk_of_another_name_is_refused() {
    if !can("a_disk_of_another_name_is_refused", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = image(dir.path(), "disk", SMALL_NEEDS);
    let file = File::options().read(true).write(true).open(&disk).unwrap();
    let device = LoopDevice::attach(file.as_fd(), 512).unwrap();
    let facts = Facts::look(device.path(), None).unwrap();
    drop(Gate::open(&facts, Claim::take(&facts).unwrap()).unwrap());
    for other in [
        Facts { serial: Some("of another".to_owned()), ..facts.clone() },
        Facts { wwid: Some("naa.5000c50094f7a123".to_owned()), ..facts.clone() },
    ] {
        let e = Claim::take(&other).and_then(|claim| Gate::open(&other, claim)).unwrap_err();
        assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Refused, &"A401".into()));
    }
}

#[test]
fn a_read_only_disk_is_refused() {
    if !can("a_read_only_disk_is_refused", &["mkfs.ext4", "losetup"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = image(dir.path(), "disk", SMALL_NEEDS);
    let before = digest(&disk);
    std::fs::set_permissions(&disk, std::fs::Permissions::from_mode(0o444)).unwrap();
    refused("F214", plan(SMALL, &disk));
    std::fs::set_permissions(&disk, std::fs::Permissions::from_mode(0o644)).unwrap();
    let out = Command::new("losetup").args(["-r", "-f", "--show"]).arg(&disk).output().unwrap();
    let device = PathBuf::from(String::from_utf8(out.stdout).unwrap().trim());
    refused("F214", plan(SMALL, &device));
    Command::new("losetup").arg("-d").arg(&device).status().unwrap();
    assert_eq!(before, digest(&disk));
}

#[test]
fn the_running_root_is_refused() {
    if !can("the_running_root_is_refused", &["mkfs.ext4"]) {
        return;
    }
    let number = std::fs::metadata("/").unwrap().dev();
    let kernel = libcv::sys::sysfs::Kernel::default();
    let number = libcv::sys::sysfs::DeviceNumber::from_raw(number);
    let Some(name) = kernel.name(number) else {
        eprintln!("skipped: the_running_root_is_refused: / is on no block device here");
        return;
    };
    // The whole disk, where / is on a partition of it.
    let sys = std::fs::canonicalize(format!("/sys/class/block/{name}")).unwrap();
    let whole = if kernel.is_partition(number) { sys.parent().unwrap() } else { &sys };
    let disk = Path::new("/dev").join(whole.file_name().unwrap());
    let Ok(layout) = Layout::parse(SMALL.as_bytes(), "x") else { panic!() };
    let disks = Disks::from([("d".to_owned(), vec![disk])]);
    refused("F205", layout.plan(&disks, &PlanOptions::default()));
}

#[test]
fn a_disk_in_use_is_refused() {
    if !can("a_disk_in_use_is_refused", &["mkfs.ext4", "mkswap", "swapon", "swapoff"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = image(dir.path(), "disk", SMALL_NEEDS);
    // A disk with a filesystem on its first partition, made by a first run.
    plan(SMALL, &disk).unwrap().apply(&Confirm::Yes, None, &Task::quiet()).unwrap();
    let before = digest(&disk);
    let file = File::options().read(true).write(true).open(&disk).unwrap();
    let device = LoopDevice::attach(file.as_fd(), 512).unwrap();
    let path = device.path().to_owned();

    // The file is attached elsewhere. Of a disk that is as wanted there is a plan, which does nothing.
    let unchanged = plan(SMALL, &disk).unwrap();
    assert!(unchanged.is_unchanged() && unchanged.steps().is_empty(), "{:?}", unchanged.differences());
    unchanged.apply(&Confirm::Yes, None, &Task::quiet()).unwrap();
    assert_eq!(digest(&disk), before);
    let other = SMALL.replace("type: ext4", "type: ext4, label: other");
    let other = other.as_str();
    refused("F204", plan(other, &disk));
    // Somebody has the device exclusively; the plan does not see that, the gate does.
    let held = (0..50).find_map(|_| {
        // Another test that looks for a free loop device may claim this one for a moment.
        std::thread::sleep(std::time::Duration::from_millis(20));
        File::options().read(true).custom_flags(libc::O_EXCL).open(&path).ok()
    });
    assert!(held.is_some());
    refused("F204", plan(other, &path));
    drop(held);
    // Somebody has locked it.
    let locked = File::open(&path).unwrap();
    rustix::fs::flock(&locked, rustix::fs::FlockOperation::LockExclusive).unwrap();
    refused("F204", plan(other, &path));
    drop(locked);
    // A partition of it is mounted: seen by the plan, and by the gate when it is mounted after the plan was made.
    block::add_partition(device.as_fd(), 1, MIB, 64 * MIB).unwrap();
    let number = libcv::sys::sysfs::DeviceNumber::from_raw(std::fs::metadata(&path).unwrap().rdev());
    let partition = libcv::sys::sysfs::Kernel::default().partitions(number).remove(0);
    let node = dir.path().join("node");
    loopdev::make_node(&node, partition.device).unwrap();
    refused("F215", plan(other, &node));
    let planned = plan(other, &path).unwrap();
    let at = dir.path().join("mnt");
    std::fs::create_dir(&at).unwrap();
    libcv::sys::mount::device(&node, &at, "ext4", &["noload".into()]).unwrap();
    // Mounting writes a little; what matters is that nothing is written after it.
    let mounted = digest(&disk);
    refused("F204", plan(other, &path));
    refused("F204", Ok(planned));
    assert_eq!(mounted, digest(&disk));
    libcv::sys::mount::unmount(&at).unwrap();

    // Swap.
    let swap = SMALL.replace("ext4", "swap").replace("type: linux", "type: swap");
    // The namespaces of tests that run beside this one have copies of the mount until they end.
    let gone = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        block::delete_partition(device.as_fd(), 1).is_ok()
    });
    assert!(gone);
    plan(&swap, &path).unwrap().apply(&Confirm::Yes, None, &Task::quiet()).unwrap();
    let known = libcv::sys::sysfs::Kernel::default().partitions(number);
    loopdev::make_node(&node, known[0].device).unwrap();
    let before_swap = digest(&disk);
    assert!(Command::new("swapon").arg(&node).status().unwrap().success());
    assert!(plan(&swap, &path).unwrap().is_unchanged());
    refused("F204", plan(&swap.replace("type: swap}", "type: swap, label: other}"), &path));
    assert!(Command::new("swapoff").arg(&node).status().unwrap().success());
    assert_eq!(before_swap, digest(&disk));
    assert_ne!(before, before_swap);
    let _ = block::delete_partition(device.as_fd(), 1);
}

#[test]
fn a_filesystem_that_the_kernel_lacks_is_told_before_a_byte_is_written() {
    if !can("a_filesystem_that_the_kernel_lacks_is_told_before_a_byte_is_written", &["mkfs.vfat", "mkfs.ext4"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let text = "
schema: cv.layout/v1
name: esp
disks: {d: {}}
partitions:
  d/esp: {type: esp, size: 300MiB}
  d/a: {type: root, size: rest}
filesystems:
  esp: {on: d/esp, type: vfat, label: ESP, mount: {at: /boot/efi}}
  a: {on: d/a, type: ext4, mount: {at: /}}
";
    for sector in [512u32, 4096] {
        let disk = image(dir.path(), "disk", 400 * MIB);
        let options = PlanOptions { sector: Some(sector), ..PlanOptions::default() };
        let before = digest(&disk);
        let planned = plan_with(text, &disk, &options).unwrap();
        if libcv::sys::mount::require_filesystem("vfat").is_err() {
            struct Never;
            impl Payload for Never {
                fn install(&self, _: &Path, _: &Task) -> Result<()> {
                    panic!("must not be called")
                }
            }
            let e = planned.apply(&Confirm::Yes, Some(&Never), &Task::quiet()).unwrap_err();
            assert_eq!((e.kind(), &e.facts()["filesystem"]), (ErrorKind::Unsupported, &"vfat".into()));
            assert_eq!(before, digest(&disk));
        }
        // Making it needs no kernel.
        planned.apply(&Confirm::Yes, None, &Task::quiet()).unwrap();
        let json = planned.to_json();
        assert_eq!(json["filesystems"][0]["uuid"].as_str().unwrap().len(), 9);
    }
}
