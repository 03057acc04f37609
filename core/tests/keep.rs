//! What a layout keeps is kept to the byte: partitions on loop devices by the kernel, and generated layouts offline. Arrays,
//! groups and encrypted devices with a real kernel: `tests/storage/test_keep.py`.
//!
//! A test that needs root or a program prints `skipped: ` with the reason; `tests/run.sh` counts these lines.

mod common;

use common::{can, image, noise};
use libcv::job::Task;
use libcv::layout::device::{OpenDisk, WriteAt};
use libcv::layout::gate::{Claim, Gate};
use libcv::layout::{ApplyOptions, Backend, Confirm, Disks, Layout, Plan, PlanOptions, gpt};
use libcv::{Error, ErrorKind, Result};
use proptest::prelude::*;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const MIB: u64 = 1 << 20;

const BESIDE: &str = "
schema: cv.layout/v1
name: beside
disks: {d: {preserve: if-exists}}
partitions:
  d/one: {type: linux, size: 40MiB}
  d/data: {type: linux, size: 80MiB, attrs: [read-only], preserve: if-exists}
  d/two: {type: swap, size: rest}
filesystems:
  one: {on: d/one, type: ext4, label: one, mount: {at: /}}
  data: {on: d/data, type: ext4, label: data, preserve: if-exists, mount: {at: /data}}
  two: {on: d/two, type: swap}
";

fn plan(text: &str, disks: &[PathBuf], sector: u32, seed: u8) -> Result<Plan> {
    let disks = Disks::from([("d".to_owned(), disks.to_vec())]);
    let options = PlanOptions { sector: Some(sector), seed: Some([seed; 16]), ..PlanOptions::default() };
    Layout::parse(text.as_bytes(), "test")?.plan(&disks, &options)
}

fn apply(plan: &Plan, backend: Backend) -> Result<()> {
    let options = ApplyOptions { backend, ..ApplyOptions::default() };
    plan.apply_with(&Confirm::Yes, None, &options, &Task::quiet()).map(drop)
}

fn code(e: &Error) -> &str {
    e.facts()["code"].as_str().unwrap_or_default()
}

/// The bytes of a partition of the plan.
fn bytes(path: &Path, plan: &Plan, name: &str) -> Vec<u8> {
    let p = plan.disks()[0].partitions.iter().find(|p| p.key.name == name).unwrap();
    let mut found = vec![0; usize::try_from(p.length).unwrap()];
    File::open(path).unwrap().read_exact_at(&mut found, p.start).unwrap();
    found
}

fn table(path: &Path, sector: u32) -> gpt::Table {
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let found = gpt::read(&OpenDisk { file, size }, sector).unwrap();
    assert_eq!(found.primary.as_ref().map(|t| &t.entries), found.backup.as_ref().map(|t| &t.entries));
    found.primary.unwrap()
}

/// Writes files into the filesystem of a partition, through a loop device of its own.
fn fill(path: &Path, plan: &Plan, name: &str, dir: &Path) {
    let content = dir.join("content.img");
    std::fs::write(&content, bytes(path, plan, name)).unwrap();
    let source = dir.join("source");
    std::fs::write(&source, noise(3 << 20, 5)).unwrap();
    let out = Command::new("debugfs")
        .args(["-w", "-R", &format!("write {} file", source.display())])
        .arg(&content)
        .output()
        .unwrap();
    assert!(out.status.success());
    let p = plan.disks()[0].partitions.iter().find(|p| p.key.name == name).unwrap();
    let filled = std::fs::read(&content).unwrap();
    std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(&filled, p.start).unwrap();
}

fn beside(backend: Backend, sector: u32) {
    let tmp = tempfile::tempdir().unwrap();
    let disk = image(tmp.path(), "d.img", 256 * MIB);
    let disks = [disk.clone()];
    let first = plan(BESIDE, &disks, sector, 1).unwrap();
    assert!(first.kept_lines().is_empty());
    apply(&first, backend).unwrap();
    fill(&disk, &first, "data", tmp.path());
    let (content, before) = (bytes(&disk, &first, "data"), table(&disk, sector));
    assert!(plan(BESIDE, &disks, sector, 2).unwrap().is_unchanged());

    // Another size before it, and another filesystem behind it.
    let other = BESIDE.replace("size: 40MiB", "size: 30MiB").replace("label: one", "label: ONE");
    let second = plan(&other, &disks, sector, 3).unwrap();
    let kept = second.kept_lines().join("\n");
    assert!(kept.contains("d/data") && kept.contains("filesystems.data"), "{kept}");
    let lost: Vec<&String> = second.steps().iter().flat_map(|s| &s.lost).collect();
    assert!(lost.iter().any(|l| l.contains("\"one\"")) && !lost.iter().any(|l| l.contains("\"data\"")), "{lost:?}");
    let text = second.to_text();
    assert!(text.contains("WHAT IS KEPT") && text.contains("around what is kept"), "{text}");
    assert!(second.to_svg().contains("kept"));
    apply(&second, backend).unwrap();

    assert!(content == bytes(&disk, &second, "data"), "a byte of the kept partition is another one");
    let after = table(&disk, sector);
    assert_eq!((after.disk, &after.entries[&2]), (before.disk, &before.entries[&2]));
    assert_ne!(after.entries[&1], before.entries[&1]);
    assert!(after.entries.values().all(|e| !e.name.ends_with("~cv")));
    let third = plan(&other, &disks, sector, 4).unwrap();
    assert!(third.is_unchanged(), "{:?}", third.differences());
}

#[test]
fn a_partition_is_kept_beside_new_ones_by_the_kernel() {
    let programs = ["mkfs.ext4", "mkswap", "debugfs"];
    if can("a_partition_is_kept_beside_new_ones_by_the_kernel", &programs) {
        [512, 4096].into_iter().for_each(|sector| beside(Backend::Kernel, sector));
    }
}

#[test]
fn a_partition_is_kept_beside_new_ones_offline() {
    if common::has(&["mkfs.ext4", "mkswap", "debugfs"], "a_partition_is_kept_beside_new_ones_offline") {
        [512, 4096].into_iter().for_each(|sector| beside(Backend::Offline, sector));
    }
}

#[test]
fn the_gate_writes_nothing_that_is_kept() {
    if !can("the_gate_writes_nothing_that_is_kept", &[]) {
        return;
    }
    let tmp = tempfile::tempdir().unwrap();
    let path = image(tmp.path(), "d.img", 64 * MIB);
    let content = noise(64 << 20, 9);
    std::fs::write(&path, &content).unwrap();
    let facts = libcv::layout::device::Facts::look(&path, Some(512)).unwrap();
    let mut gate = Gate::open(&facts, Claim::take(&facts).unwrap()).unwrap();
    gate.keep([(10 * MIB, 4 * MIB), (30 * MIB, 512)].into_iter().collect());
    for (at, length) in [(10 * MIB, 512), (14 * MIB - 512, 1024), (9 * MIB, 2 * MIB), (30 * MIB, 512), (0, 64 * MIB)] {
        let refused = gate.write_at(at, &vec![0; usize::try_from(length).unwrap()]).unwrap_err();
        let e = Error::io("write", "it", refused);
        assert_eq!((e.kind(), code(&e)), (ErrorKind::Bug, "A415"));
        assert_eq!(gate.zero(at, length).unwrap_err().kind(), ErrorKind::Bug);
        assert_eq!(gate.zero_range(at, length, &|| false).unwrap_err().kind(), ErrorKind::Bug);
    }
    assert_eq!(gate.zero_all(&|| false).unwrap_err().kind(), ErrorKind::Bug);
    gate.write_at(14 * MIB, &[0; 512]).unwrap();
    gate.write_at(10 * MIB - 512, &[0; 512]).unwrap();
    gate.discard();
    gate.flush().unwrap();
    drop(gate);
    let found = std::fs::read(&path).unwrap();
    for (from, end) in [(10 << 20, 14 << 20), (30 << 20, (30 << 20) + 512)] {
        assert!(found[from..end] == content[from..end]);
    }
}

#[test]
fn what_cannot_be_kept_is_refused_before_a_byte_is_written() {
    let tmp = tempfile::tempdir().unwrap();
    let disk = image(tmp.path(), "d.img", 256 * MIB);
    let disks = [disk.clone()];
    let text = "
schema: cv.layout/v1
name: bare
disks: {d: {preserve: if-exists}}
partitions:
  d/one: {type: linux, size: 40MiB}
  d/data: {type: linux, size: 80MiB, preserve: if-exists}
";
    apply(&plan(text, &disks, 512, 1).unwrap(), Backend::Offline).unwrap();
    let refuses = |expected: &str, text: String| {
        let before = std::fs::read(&disk).unwrap();
        let e = plan(&text, &disks, 512, 2).unwrap_err();
        assert_eq!(code(&e), expected, "{e}");
        assert!(before == std::fs::read(&disk).unwrap());
    };
    refuses("F227", text.replace("80MiB", "90MiB"));
    refuses("F227", text.replace("data: {type: linux", "data: {type: home"));
    refuses(
        "F226",
        text.replace("d/data", "d/other").replace("80MiB, preserve: if-exists", "80MiB, preserve: require"),
    );
    refuses(
        "F225",
        text.replace("{preserve: if-exists}}\n", "{preserve: if-exists, wipe: none}}\n").replace("40MiB", "30MiB"),
    );
    refuses("F210", text.replace("40MiB", "200MiB"));
    // What is kept cannot be found where both tables are broken, or where there is an MBR.
    let file = std::fs::OpenOptions::new().write(true).open(&disk).unwrap();
    for at in [512 + 16, 256 * MIB - 512 + 16] {
        file.write_all_at(&[0xff; 4], at).unwrap();
    }
    refuses("F223", text.to_owned());
    file.write_all_at(&[0; 8], 512).unwrap();
    file.write_all_at(&[0; 8], 256 * MIB - 512).unwrap();
    file.write_all_at(&[0x83], 446 + 4).unwrap();
    refuses("F224", text.to_owned());
    // Nor on a disk that carries something as a whole.
    file.write_all_at(&[0; 512], 0).unwrap();
    let header = [1u32.to_le_bytes(), 1000u32.to_le_bytes()].concat();
    file.write_all_at(&header, 1024).unwrap();
    file.write_all_at(b"SWAPSPACE2", 4086).unwrap();
    refuses("F228", text.to_owned());
}

#[test]
fn what_is_new_in_a_kept_array_is_not_made_offline() {
    let tmp = tempfile::tempdir().unwrap();
    let disks = [image(tmp.path(), "a.img", 64 * MIB), image(tmp.path(), "b.img", 64 * MIB)];
    let text = "
schema: cv.layout/v1
name: inside
disks: {d: {count: 2, preserve: if-exists}}
partitions:
  d/m: {type: linux-raid, size: rest, preserve: if-exists}
raid: {a: {level: 1, members: [d/m], preserve: if-exists}}
filesystems: {f: {on: raid/a, type: ext4, label: ONE}}
";
    apply(&plan(text, &disks, 512, 1).unwrap(), Backend::Offline).unwrap();
    let before = disks.each_ref().map(|d| std::fs::read(d).unwrap());
    let again = plan(&text.replace("ONE", "TWO"), &disks, 512, 2).unwrap();
    assert!(again.arrays()[0].kept && !again.steps().is_empty());
    let e = apply(&again, Backend::Offline).unwrap_err();
    assert_eq!((e.kind(), code(&e)), (ErrorKind::Unsupported, "F230"), "{e}");
    assert!(before == disks.each_ref().map(|d| std::fs::read(d).unwrap()));
}

/// What is lost is told of each disk, also where it reads the same, and nothing that lies there steers a terminal.
#[test]
fn each_disk_is_named_that_loses_something() {
    let tmp = tempfile::tempdir().unwrap();
    let disks = ["a.img", "b.img", "c.img"].map(|n| image(tmp.path(), n, 64 * MIB));
    let text = "
schema: cv.layout/v1
name: lost
disks: {d: {count: 3}}
partitions:
  d/m: {type: linux-raid, size: rest}
raid: {a: {level: 1, members: [d/m]}}
filesystems: {f: {on: raid/a, type: ext4, label: ONE}}
";
    apply(&plan(text, &disks, 512, 1).unwrap(), Backend::Offline).unwrap();
    let said = plan(&text.replace("ONE", "TWO"), &disks, 512, 2).unwrap().to_text();
    let lost = &said[said.find("WHAT IS LOST").unwrap()..said.find("\nSteps").unwrap()];
    for disk in &disks {
        assert_eq!(lost.matches(&*disk.display().to_string()).count(), 1, "{lost}");
    }
    // A name of 36 characters can erase a line.
    if !can("each_disk_is_named_that_loses_something", &["sfdisk"]) {
        return;
    }
    let mut sfdisk = Command::new("sfdisk");
    let named = sfdisk.args(["-q", "--part-label"]).arg(&disks[0]).args(["1", "a\u{1b}[2K\r\u{1b}]0;p\u{7}b"]);
    assert!(named.status().unwrap().success());
    let said = plan(text, &disks, 512, 2).unwrap().to_text();
    assert!(said.contains("a\u{fffd}[2K\u{fffd}\u{fffd}]0;p\u{fffd}b"), "{said}");
    assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
}

/// Partitions of two documents: those that stay, and those around them with other sizes.
#[derive(Clone, Debug)]
struct Generated {
    sector: u32,
    /// Size in MiB the first and the second time; the same, and kept, where the second is none.
    partitions: Vec<(u64, Option<u64>)>,
}

impl Generated {
    fn text(&self, second: bool) -> String {
        let mut text =
            "schema: cv.layout/v1\nname: generated\ndisks: {d: {preserve: if-exists}}\npartitions:\n".to_owned();
        for (n, (size, other)) in self.partitions.iter().enumerate() {
            let keep = if other.is_none() { ", preserve: if-exists" } else { "" };
            let size = if second { other.unwrap_or(*size) } else { *size };
            text += &format!("  d/p{n}: {{type: linux, size: {size}MiB{keep}}}\n");
        }
        text
    }
}

fn generated() -> impl Strategy<Value = Generated> {
    let partition = (1u64..9, proptest::option::of(1u64..9));
    let partitions = proptest::collection::vec(partition, 1..9);
    (prop_oneof![Just(512u32), Just(4096)], partitions)
        .prop_map(|(sector, partitions)| Generated { sector, partitions })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a document keeps, and whatever it makes around that: every byte of it is what it was, also where it looks
    /// like something that is erased elsewhere; so is its entry in the table; and a plan made again is empty.
    #[test]
    fn no_write_of_a_plan_lies_in_what_is_kept(g in generated()) {
        let tmp = tempfile::tempdir().unwrap();
        let disk = image(tmp.path(), "d.img", 80 * MIB);
        let disks = [disk.clone()];
        let first = plan(&g.text(false), &disks, g.sector, 1).unwrap();
        apply(&first, Backend::Offline).unwrap();
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&disk).unwrap();
        let kept: Vec<_> = first.disks()[0].partitions.iter().zip(&g.partitions).filter(|(_, p)| p.1.is_none()).collect();
        for (n, (p, _)) in kept.iter().enumerate() {
            let mut content = noise(usize::try_from(p.length).unwrap(), n as u64 + 1);
            let end = content.len();
            // A filesystem, a label of LVM, a superblock of md, a table: at both ends.
            for (at, magic) in [(0x438, &b"\x53\xef"[..]), (512, b"LABELONE"), (4096, b"\xfc\x4e\x2b\xa9"), (end - 512, b"EFI PART")] {
                content[at..at + magic.len()].copy_from_slice(magic);
            }
            file.write_all_at(&content, p.start).unwrap();
        }
        let (content, before) = (std::fs::read(&disk).unwrap(), table(&disk, g.sector));
        let second = match plan(&g.text(true), &disks, g.sector, 2) {
            Ok(second) => second,
            Err(e) => {
                // The holes between what is kept may be too small.
                prop_assert_eq!(code(&e), "F210");
                return Ok(());
            }
        };
        apply(&second, Backend::Offline).unwrap();
        let (after, entries) = (std::fs::read(&disk).unwrap(), table(&disk, g.sector));
        for (p, _) in &kept {
            let (from, end) = (usize::try_from(p.start).unwrap(), usize::try_from(p.start + p.length).unwrap());
            prop_assert!(content[from..end] == after[from..end]);
            prop_assert_eq!(&entries.entries[&p.number], &before.entries[&p.number]);
        }
        prop_assert!(kept.is_empty() || entries.disk == before.disk);
        let again = plan(&g.text(true), &disks, g.sector, 3).unwrap();
        prop_assert!(again.is_unchanged(), "{:?}", again.differences());
    }
}
