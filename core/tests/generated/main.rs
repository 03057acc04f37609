//! Generated layouts, made for real on files with sectors of 512 and 4096 bytes: planned, applied with a small tree,
//! checked by the programs of each filesystem, read back byte by byte, and planned again, which must be empty.
//!
//! `LIBCV_CASES=300` makes so many, `FULL=1` 300, without both it is 40. What fails is told with its number, and
//! `LIBCV_CASE=17` makes that one again; it is made smaller as long as it fails.
//! A test that needs root, loop devices or a program prints `skipped: ` with the reason; `tests/run.sh` counts these lines.

#[path = "../common/mod.rs"]
mod common;

mod case;
mod disks;

use case::Case;
use libcv::capture::CaptureOptions;
use libcv::deploy::{self, DeployOptions};
use libcv::job::Task;
use libcv::layout::device::OpenDisk;
use libcv::layout::plan::{Device, PlannedDisk};
use libcv::layout::spec::FsType;
use libcv::layout::{ApplyOptions, Backend, Confirm, Layout, Plan, PlanOptions, gpt};
use libcv::store::{Image, Store};
use libcv::sys::loopdev::{self, LoopDevice};
use libcv::sys::namespace::in_private_mounts;
use libcv::sys::{mount, sysfs};
use libcv::{ErrorKind, Result};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const MIB: u64 = 1 << 20;
/// A larger disk is a mistake of the generator.
const LARGEST: u64 = 64 << 10;

const PROGRAMS: [&str; 9] =
    ["mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "mkfs.vfat", "mkswap", "e2fsck", "xfs_repair", "mcopy", "sgdisk"];

/// The tree that is deployed: a file in every place where something may be mounted.
struct Bed {
    dir: tempfile::TempDir,
    image: Image,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        common::small_tree(&tree);
        let places = ["m1/below", "m2", "m3", "m4/below", "m5", "m6", "m7/below", "m8", "m9", "boot/efi/EFI/BOOT"];
        for (n, place) in places.iter().enumerate() {
            std::fs::create_dir_all(tree.join(place)).unwrap();
            std::fs::write(tree.join(place).join("here.bin"), common::noise(30_000 + n, n as u64)).unwrap();
        }
        std::os::unix::fs::chown(tree.join("m1/below/here.bin"), Some(1234), Some(70_000)).unwrap();
        std::fs::set_permissions(tree.join("m2/here.bin"), PermissionsExt::from_mode(0o4751)).unwrap();
        let store = Store::init(dir.path().join("store")).unwrap();
        let options =
            CaptureOptions { exact: true, state: Some(dir.path().join("state")), ..CaptureOptions::default() };
        store.capture(&tree, "t", &options, &Task::quiet()).unwrap();
        let image = store.image("t").unwrap();
        Self { dir, image }
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }
}

#[test]
fn layouts_are_made_as_they_are_planned() {
    if !common::can("layouts_are_made_as_they_are_planned", &PROGRAMS) {
        return;
    }
    for kind in ["ext4", "xfs", "btrfs"] {
        if !std::fs::read_to_string("/proc/filesystems").is_ok_and(|t| t.lines().any(|l| l.trim() == kind)) {
            common::skip("layouts_are_made_as_they_are_planned", &format!("this kernel mounts no {kind}"));
            return;
        }
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let full = std::env::var_os("FULL").is_some_and(|f| f == "1");
    let cases = match number("LIBCV_CASE") {
        Some(one) => one..one + 1,
        None => 0..number("LIBCV_CASES").unwrap_or(if full { 300 } else { 40 }),
    };
    let (bed, begun, count) = (Bed::new(), Instant::now(), cases.end - cases.start);
    // One after the other: while another thread has just forked, a filesystem may be busy.
    cases.for_each(|n| one(&bed, n));
    println!("{count} generated layouts: {:?}", begun.elapsed());
}

/// The case of this number; one that fails is made smaller.
fn one(bed: &Bed, n: u64) {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    let config = Config { max_shrink_iters: 40, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let tree = case::case().new_tree(&mut runner).unwrap();
    let done = runner.run_one(tree, |case| {
        check(bed, &case, n);
        Ok::<_, TestCaseError>(())
    });
    match done {
        Ok(_) => {}
        Err(TestError::Fail(why, least)) => {
            panic!("case {n} of generated layouts (again with LIBCV_CASE={n}): {why}\n{least:?}\n{}", least.text())
        }
        Err(e) => panic!("case {n}: {e}"),
    }
}

fn check(bed: &Bed, case: &Case, n: u64) {
    let text = case.text();
    let layout = Layout::parse(text.as_bytes(), "generated").unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let dir = tempfile::tempdir().unwrap();
    // Of its own: two XFS with one UUID cannot be mounted at once.
    let seed = Some(u128::from(n + 1).to_be_bytes());
    let options = PlanOptions { sector: Some(case.sector), seed, ..PlanOptions::default() };
    let with_image = PlanOptions { image: Some((&bed.image).into()), ..options.clone() };
    let (plan, paths) = planned(&layout, case, dir.path(), &with_image, &text);
    placed_well(&plan);
    let backend = if case.offline { Backend::Offline } else { Backend::Kernel };
    let apply = ApplyOptions { backend, ..ApplyOptions::default() };
    let deploy = DeployOptions { hostname: Some(format!("n{n}")), apply, ..DeployOptions::default() };
    let confirm = Confirm::Token(plan.token().to_owned());
    deploy::apply(&plan, Some(&bed.image), &deploy, &confirm, &Task::quiet())
        .unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    for path in &paths {
        let meta = std::fs::metadata(path).unwrap();
        assert!(loopdev::attached_to(meta.dev(), meta.ino()).is_empty());
    }
    tables_are_right(&plan);
    read_back(bed, &plan, dir.path(), &text);
    let again = layout.plan(&given(&paths), &options).unwrap();
    assert!(again.is_unchanged() && again.steps().is_empty(), "{:#?}\n{text}", again.differences());
    assert_eq!(again.fstab_lines(), plan.fstab_lines(), "{text}");
}

fn given(paths: &[PathBuf]) -> libcv::layout::Disks {
    [("d".to_owned(), paths.to_vec())].into()
}

/// A plan on disks that are as large as they must be, and a little larger; on one that is a sector smaller there is none.
fn planned(layout: &Layout, case: &Case, dir: &Path, options: &PlanOptions, text: &str) -> (Plan, Vec<PathBuf>) {
    let paths: Vec<PathBuf> = (0..case.disks).map(|n| dir.join(format!("{n}.img"))).collect();
    let sized = |bytes: u64| {
        paths.iter().for_each(|p| File::create(p).unwrap().set_len(bytes).unwrap());
        layout.plan(&given(&paths), options)
    };
    // The least size, by halves: of fixed sizes the hint has it to the byte, of shares nobody knows it.
    let fits = |mib: u64| match sized(mib * MIB) {
        Ok(_) => true,
        Err(e) => {
            assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Refused, &"F210".into()), "{e:?}\n{text}");
            false
        }
    };
    let (mut small, mut large) = (1, 256);
    while !fits(large) {
        (small, large) = (large, large * 2);
        assert!(large < LARGEST, "{text}");
    }
    while small + 1 < large {
        let middle = u64::midpoint(small, large);
        if fits(middle) { large = middle } else { small = middle }
    }
    let size = (large + case.spare) * MIB + case.odd * u64::from(case.sector);
    for (n, path) in paths.iter().enumerate() {
        // A disk of a set may be larger than the others.
        let file = File::create(path).unwrap();
        file.set_len(size + n as u64 * 5 * u64::from(case.sector)).unwrap();
        if case.used {
            let noise = common::noise(1 << 20, n as u64);
            for at in [0, 100 * MIB, 1000 * MIB + 512, size - MIB].into_iter().filter(|at| at + MIB <= size) {
                file.write_all_at(&noise, at).unwrap();
            }
        }
    }
    (layout.plan(&given(&paths), options).unwrap_or_else(|e| panic!("{e:?}\n{text}")), paths)
}

/// Nothing overlaps, everything is aligned and on the disk; copies are of one size.
fn placed_well(plan: &Plan) {
    for disk in plan.disks() {
        let mut sorted: Vec<_> = disk.partitions.iter().collect();
        sorted.sort_by_key(|p| p.start);
        let mut end = MIB;
        for p in sorted {
            assert!(p.start >= end && p.start % MIB == 0 && p.length % MIB == 0 && p.length > 0, "{p:?}");
            end = p.start + p.length;
        }
        let table = u64::from(disk.facts.sector) + (128 * 128u64).next_multiple_of(u64::from(disk.facts.sector));
        assert!(end + table <= disk.facts.size, "{end} of {}", disk.facts.size);
        let lengths = |d: &PlannedDisk| d.partitions.iter().map(|p| p.length).collect::<Vec<_>>();
        assert_eq!(lengths(disk), lengths(&plan.disks()[0]));
    }
    for array in plan.arrays() {
        for member in &array.members {
            assert!(array.data_offset + array.component <= plan.glance(*member).size);
        }
    }
}

fn tables_are_right(plan: &Plan) {
    for disk in plan.disks() {
        let open = OpenDisk { file: File::open(&disk.facts.path).unwrap(), size: disk.facts.size };
        let table = gpt::read(&open, disk.facts.sector).unwrap();
        assert_eq!((table.primary.as_ref().unwrap(), table.backup.is_ok()), (&disk.table(false), true));
        if disk.facts.sector == 512 {
            // What another program thinks of it.
            let said = ask("sgdisk", &["-v", disk.facts.path.to_str().unwrap()]);
            assert!(said.contains("No problems found"), "{said}");
        }
    }
}

/// Runs a program and gives what it says.
fn ask(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {args:?}: {text}");
    text
}

/// Every filesystem is taken off the disks, checked by its own program, mounted, and compared with the tree. Of mirrors
/// every copy is.
fn read_back(bed: &Bed, plan: &Plan, dir: &Path, text: &str) {
    let disks = disks::Disks::open(plan);
    let legs = if plan.arrays().is_empty() { 1 } else { 2 };
    for leg in 0..legs {
        let mut files = Vec::new();
        for fs in plan.filesystems() {
            for (copy, (device, uuid)) in fs.places().enumerate() {
                let path = dir.join(format!("{}-{copy}", fs.id));
                let file = disks.extract(&disks.pieces(device, leg), &path);
                assert_eq!(file.metadata().unwrap().len(), size_of(plan, device), "{text}");
                let name = path.to_str().unwrap();
                checked(fs.kind, name, uuid);
                if fs.kind == FsType::Vfat {
                    let copied = dir.join("copied");
                    ask("mcopy", &["-n", "-o", "-i", name, "::/EFI/BOOT/here.bin", copied.to_str().unwrap()]);
                    let wanted = std::fs::read(bed.tree().join("boot/efi/EFI/BOOT/here.bin")).unwrap();
                    assert!(std::fs::read(copied).unwrap() == wanted, "{text}");
                } else if fs.kind != FsType::Swap {
                    files.push((fs.mount.as_ref().unwrap().at.clone(), fs.kind, file));
                }
            }
        }
        files.sort_by_key(|(at, ..)| at.matches('/').count() + usize::from(at != "/"));
        compared(bed, plan, &files, &dir.join("mnt"), text);
    }
}

fn size_of(plan: &Plan, device: Device) -> u64 {
    plan.glance(device).size
}

fn checked(kind: FsType, file: &str, uuid: &str) {
    let said = ask("blkid", &["-p", "-o", "export", file]);
    assert!(said.contains(&format!("TYPE={}\n", kind.name())) && said.contains(&format!("UUID={uuid}\n")), "{said}");
    match kind {
        FsType::Ext4 => drop(ask("e2fsck", &["-fn", file])),
        FsType::Xfs => drop(ask("xfs_repair", &["-n", file])),
        FsType::Btrfs => drop(ask("btrfs", &["check", "--readonly", file])),
        FsType::Vfat => drop(ask("fsck.vfat", &["-n", file])),
        FsType::Swap => {}
    }
}

/// Mounts filesystems over each other and compares them with the tree.
fn compared(bed: &Bed, plan: &Plan, files: &[(String, FsType, File)], at: &Path, text: &str) {
    let sector = plan.disks()[0].facts.sector;
    let work = || -> Result<()> {
        std::fs::create_dir_all(at).unwrap();
        let mut devices = Vec::new();
        for (n, (place, kind, file)) in files.iter().enumerate() {
            let device = LoopDevice::attach(file.as_fd(), sector)?;
            let number = std::fs::metadata(format!("/proc/self/fd/{}", device.as_fd().as_raw_fd())).unwrap().rdev();
            let node = at.with_extension(format!("node{n}"));
            loopdev::make_node(&node, sysfs::DeviceNumber::from_raw(number))?;
            let target = at.join(place.trim_start_matches('/'));
            mount::device(&node, &target, kind.name(), &[])?;
            std::fs::remove_file(node).unwrap();
            devices.push(device);
        }
        let esp = plan.filesystems().iter().any(|f| f.kind == FsType::Vfat);
        same(&bed.tree(), at, Path::new(""), esp, text);
        let fstab = std::fs::read_to_string(at.join("etc/fstab")).unwrap();
        for line in plan.fstab_lines() {
            assert!(fstab.lines().any(|l| l == line), "{line} is not in\n{fstab}\n{text}");
        }
        mount::unmount_all(at)
    };
    in_private_mounts(work).unwrap();
}

/// What is in the tree is there, with type, owner, mode and content. What a deployment writes is left out.
fn same(tree: &Path, there: &Path, below: &Path, esp: bool, text: &str) {
    for entry in std::fs::read_dir(tree.join(below)).unwrap() {
        let path = below.join(entry.unwrap().file_name());
        let written = ["etc/fstab", "etc/hostname", "etc/machine-id"].iter().any(|p| path == Path::new(p));
        if written || (esp && path == Path::new("boot/efi")) {
            continue;
        }
        let (a, b) = (tree.join(&path), there.join(&path));
        let (was, is) =
            (a.symlink_metadata().unwrap(), b.symlink_metadata().unwrap_or_else(|e| panic!("{path:?}: {e}\n{text}")));
        let essence = |m: &std::fs::Metadata| (m.mode(), m.uid(), m.gid(), if m.is_file() { m.size() } else { 0 });
        assert_eq!(essence(&was), essence(&is), "{path:?}\n{text}");
        if was.is_symlink() {
            assert_eq!(std::fs::read_link(&a).unwrap(), std::fs::read_link(&b).unwrap(), "{path:?}");
        } else if was.is_file() {
            assert!(std::fs::read(&a).unwrap() == std::fs::read(&b).unwrap(), "{path:?} differs\n{text}");
        } else if was.is_dir() {
            same(tree, there, &path, esp, text);
        }
    }
}
