//! A layout with a boot loader on a raw image file starts, in QEMU without KVM, to a login prompt.
//!
//! Needs root, `qemu-system-x86_64`, and a Debian tree with kernel, initramfs and `grub-pc-bin`, whose directory
//! `LIBCV_TEST_ROOT` names. Prints `SKIP` with the reason otherwise. `LIBCV_TEST_KEEP` names a directory for the image
//! and the console log. Two boots, about a minute each.

use libcv::job::Task;
use libcv::layout::{Confirm, Layout, Payload, Plan, PlanOptions};
use libcv::{Error, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Copies a tree and writes its fstab: what a deployment does, without images.
struct Tree<'a> {
    source: &'a Path,
    fstab: Vec<String>,
}

impl Payload for Tree<'_> {
    fn install(&self, target: &Path, _: &Task) -> Result<()> {
        let from = self.source.join(".");
        let done = Command::new("cp").args(["-a", "--"]).arg(&from).arg(target).status();
        if !done.is_ok_and(|s| s.success()) {
            return Err(Error::new(libcv::ErrorKind::Io, "cp failed"));
        }
        let fstab = target.join("etc/fstab");
        std::fs::write(&fstab, self.fstab.join("\n") + "\n").map_err(|e| Error::io("write", fstab.display(), e))
    }
}

fn environment() -> Option<PathBuf> {
    let skip = |why: &str| {
        eprintln!("SKIP layout_boot: {why}");
        None
    };
    let Some(root) = std::env::var_os("LIBCV_TEST_ROOT").map(PathBuf::from) else {
        return skip("LIBCV_TEST_ROOT names no tree to install");
    };
    if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
        return skip("it needs root and loop devices");
    }
    if !Path::new("/usr/bin/qemu-system-x86_64").exists() {
        return skip("it needs qemu-system-x86_64 (package qemu-system-x86)");
    }
    if !root.join("usr/lib/grub/i386-pc").is_dir() {
        return skip("the tree has no GRUB for BIOS (package grub-pc-bin)");
    }
    Some(root)
}

fn install(example: &str, disk: &Path, source: &Path) -> Plan {
    let path = format!("{}/../examples/layouts/{example}", env!("CARGO_MANIFEST_DIR"));
    let layout = Layout::load(path).unwrap();
    let disks = BTreeMap::from([("os".to_owned(), disk.to_owned())]);
    let plan = layout.plan(&disks, &PlanOptions::default()).unwrap();
    let tree = Tree { source, fstab: plan.fstab_lines() };
    let applied = plan.apply(&Confirm::Token(plan.token().into()), Some(&tree), &Task::quiet()).unwrap();
    assert_eq!(applied.kernels().len(), 1);
    plan
}

/// Starts the disk and waits for a text on its serial console.
fn boot(disk: &Path, wanted: &str, limit: Duration) -> std::result::Result<String, String> {
    let log_path = disk.with_extension("log");
    let log = File::create(&log_path).unwrap();
    let mut guest = Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg,thread=multi", "-cpu", "qemu64,-svm,+ssse3,+sse4.1,+sse4.2,+popcnt"])
        .args(["-M", "q35,hpet=off", "-m", "1024", "-smp", "2", "-nodefaults", "-no-reboot", "-display", "none"])
        .args(["-serial", "stdio", "-object", "rng-random,id=rng,filename=/dev/urandom"])
        .args(["-device", "virtio-rng-pci,rng=rng", "-device", "virtio-blk-pci,drive=d,bootindex=1", "-drive"])
        .arg(format!("file={},if=none,id=d,format=raw,cache=unsafe", disk.display()))
        .stdin(Stdio::null())
        .stdout(log)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let outcome = loop {
        std::thread::sleep(Duration::from_millis(300));
        let mut text = Vec::new();
        File::open(&log_path).unwrap().read_to_end(&mut text).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        if text.contains(wanted) {
            break Ok(text);
        }
        let bad = ["Kernel panic", "emergency mode", "grub rescue>", "No bootable device"];
        if let Some(bad) = bad.iter().find(|b| text.contains(*b)) {
            break Err(format!("{bad}\n{text}"));
        }
        if begun.elapsed() > limit || guest.try_wait().unwrap().is_some() {
            break Err(format!("no \"{wanted}\" in {} s\n{text}", begun.elapsed().as_secs()));
        }
    };
    let _ = guest.kill();
    let _ = guest.wait();
    eprintln!("{}: {} s", disk.display(), begun.elapsed().as_secs());
    outcome
}

#[test]
fn installed_disks_start_to_a_login_prompt_two_boots() {
    let Some(root) = environment() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let keep = std::env::var_os("LIBCV_TEST_KEEP").map(PathBuf::from);
    let dir = keep.as_deref().unwrap_or(temporary.path());
    for (example, gib) in [("bios-ext4.yaml", 2), ("bios-separate-home.yaml", 5)] {
        let disk = dir.join(example).with_extension("raw");
        File::create(&disk).unwrap().set_len(gib << 30).unwrap();
        let plan = install(example, &disk, &root);
        let text = boot(&disk, " login: ", Duration::from_secs(300)).unwrap_or_else(|e| panic!("{example}: {e}"));
        let uuid = &plan.filesystems().iter().find(|f| f.mount.as_ref().is_some_and(|m| m.at == "/")).unwrap().uuid;
        assert!(text.contains(&format!("root=UUID={uuid}")), "the kernel got the planned root");
        if keep.is_none() {
            std::fs::remove_file(&disk).unwrap();
        }
    }
}
