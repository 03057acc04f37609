//! Boot loaders on trees of distributions: what is written where, file by file, against texts in `tests/golden/boot`.
//!
//! Programs of the image are scripts here that note how they were called; they run in a chroot, which needs root. Such a
//! test prints `skipped: ` where it cannot run. `LIBCV_BLESS=1` writes the texts anew.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod fixture;

use common::can;
use fixture::{
    BOOT, Fixture, ID, OLD, ROOT, all_in_luks, debian_unsigned, debian12, debian12_bios, dracut_image, encrypted,
    maker, mirrored, one_disk, recording, rocky, systemd_boot, ubuntu, with_shell,
};
use libcv::ErrorKind;
use libcv::layout::apply::bootloader::{self, BootFacts, Prepared, check};
use libcv::layout::spec::{Firmware, FsType, SecureBoot};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn go() -> bool {
    false
}

/// Installs, twice, and compares what was done with the golden text.
fn prove(name: &str, f: &Fixture, facts: &BootFacts) -> Prepared {
    let done = bootloader::prepare(facts, &f.target(), &go).unwrap_or_else(|e| panic!("{name}: {e} {:?}", e.facts()));
    let mut text = f.dump();
    text.push_str("==== entries of the firmware\n");
    for e in &done.entries {
        let (label, loader) = (&e.label, &e.loader);
        text.push_str(&format!("{label:?} {} {} {} {loader}\n", e.partition, e.disk.display(), e.number));
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/boot/{name}.txt"));
    if std::env::var_os("LIBCV_BLESS").is_some() {
        std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
        std::fs::write(&golden, &text).unwrap();
    }
    let wanted = std::fs::read_to_string(&golden).unwrap_or_default();
    assert!(text == wanted, "{name}: {}\nLIBCV_BLESS=1 writes {} anew", difference(&wanted, &text), golden.display());
    // A second run finds everything right.
    let (files, called) = (f.files(), f.target().join("CALLED"));
    let calls = std::fs::read(&called).unwrap_or_default();
    let again = bootloader::prepare(facts, &f.target(), &go).unwrap();
    assert_eq!(again.changed, [""; 0], "{name}: the second run changed something");
    std::fs::write(&called, calls).unwrap();
    let mut after = f.files();
    if !files.contains_key("target/CALLED") {
        after.remove("target/CALLED");
        std::fs::remove_file(called).unwrap();
    }
    assert_eq!(after.keys().collect::<Vec<_>>(), files.keys().collect::<Vec<_>>());
    assert!(after == files, "{name}: the second run changed a file and did not say so");
    assert_eq!((again.cmdline, again.entries), (done.cmdline.clone(), done.entries.clone()));
    done
}

fn difference(wanted: &str, got: &str) -> String {
    let place = wanted.lines().zip(got.lines()).position(|(a, b)| a != b);
    let place = place.unwrap_or_else(|| wanted.lines().count().min(got.lines().count()));
    let line = |t: &str| t.lines().nth(place).unwrap_or("(nothing)").to_owned();
    format!("line {}: wanted {:?}, got {:?}", place + 1, line(wanted), line(got))
}

#[test]
fn el9_on_two_disks_under_uefi() {
    let f = rocky(9).begin();
    let facts = mirrored(&f);
    let done = prove("el9-uefi-mirror", &f, &facts);
    assert_eq!(done.sector.kernels[0], "5.14.0-427.13.1.el9_4.x86_64");
    assert!(done.sector.core().is_none() && done.warnings.is_empty(), "{:?}", done.warnings);
    assert_eq!(done.entries[1].label, "Rocky Linux (disk 2)");
    // The tools make the command line anew when the settings are younger.
    let time = |p: &str| {
        let m = std::fs::metadata(f.target().join(p)).unwrap();
        (m.mtime(), m.mtime_nsec())
    };
    assert!(time("etc/kernel/cmdline") >= time("etc/default/grub"));
}

#[test]
fn el8_on_two_disks_under_uefi() {
    let f = rocky(8).begin();
    prove("el8-uefi-mirror", &f, &mirrored(&f));
}

#[test]
fn el8_with_boot_in_the_root_filesystem() {
    let f = rocky(8).begin();
    let mut facts = one_disk(&f);
    facts.boot.path = "/boot".to_owned();
    facts.boot.kind = FsType::Xfs;
    prove("el8-uefi-one-filesystem", &f, &facts);
}

#[test]
fn el9_with_luks_and_an_initramfs_of_another_machine() {
    if !can("el9_with_luks_and_an_initramfs_of_another_machine", &[]) {
        return;
    }
    let f = rocky(9);
    with_shell(&f);
    let kernel = "5.14.0-427.13.1.el9_4.x86_64";
    // Made by dracut on the captured machine, for it.
    let bound = ("etc/cmdline.d/90lvm.conf", " rd.lvm.lv=rl/root \n");
    f.put(&format!("boot/initramfs-{kernel}.img"), dracut_image(" -f", &[bound]));
    f.put("generic.img", dracut_image(" --no-hostonly -f", &[])).program("usr/bin/dracut", &maker(4));
    f.put("usr/lib/dracut/modules.d/91tpm2-tss/module-setup.sh", "");
    let f = f.begin();
    let done = prove("el9-uefi-luks", &f, &encrypted(&f));
    let tpm = |done: &Prepared| done.warnings.iter().any(|w| w.code == "W515");
    assert!(!tpm(&done));
    // Nothing else asks the TPM for the key of the root.
    std::fs::remove_dir_all(f.target().join("usr/lib/dracut/modules.d")).unwrap();
    assert!(tpm(&bootloader::prepare(&encrypted(&f), &f.target(), &go).unwrap()));
}

#[test]
fn el8_and_el9_with_bios() {
    if !can("el8_and_el9_with_bios", &[]) {
        return;
    }
    for version in [8, 9] {
        let f = rocky(version);
        with_shell(&f);
        f.program("usr/bin/grub2-mkimage", &recording("--output", &"core ".repeat(200)));
        f.put("usr/lib/grub/i386-pc/boot.img", vec![7; 512]);
        for name in ["blscfg.mod", "ext2.mod", "moddep.lst"] {
            f.put(&format!("usr/lib/grub/i386-pc/{name}"), format!("module {name}"));
        }
        let f = f.begin();
        let mut facts = mirrored(&f);
        (facts.firmwares, facts.esps) = (vec![Firmware::Bios], Vec::new());
        let done = prove(&format!("el{version}-bios-mirror"), &f, &facts);
        assert!(done.sector.core().is_some() && done.entries.is_empty());
        let called = std::fs::read_to_string(f.target().join("CALLED")).unwrap();
        assert!(called.contains(" biosdisk part_gpt search_fs_uuid mdraid1x ext2\n"), "{called}");
    }
}

#[test]
fn debian_12_on_two_disks_under_uefi() {
    let f = debian12().begin();
    let done = prove("debian12-uefi-mirror", &f, &mirrored(&f));
    assert_eq!(done.cmdline, "root=/dev/mapper/sys-root ro console=tty0 console=ttyS0,115200n8");
}

#[test]
fn ubuntu_under_uefi() {
    for version in ["22.04", "24.04"] {
        let f = ubuntu(version).begin();
        prove(&format!("ubuntu{version}-uefi"), &f, &one_disk(&f));
    }
}

#[test]
fn debian_12_with_bios_and_everything_in_luks() {
    if !can("debian_12_with_bios_and_everything_in_luks", &[]) {
        return;
    }
    let f = debian12_bios().begin();
    prove("debian12-bios-luks", &f, &all_in_luks(&f));
}

#[test]
fn debian_without_a_signed_loader() {
    if !can("debian_without_a_signed_loader", &[]) {
        return;
    }
    let f = debian_unsigned();
    with_shell(&f);
    f.program("usr/bin/grub-mkimage", &recording("--output", "MZ own core"));
    let f = f.begin();
    prove("debian-uefi-unsigned", &f, &one_disk(&f));
}

#[test]
fn systemd_boot_where_there_is_no_grub() {
    let f = systemd_boot().begin();
    prove("systemd-boot-mirror", &f, &mirrored(&f));
}

#[test]
fn an_image_without_content_for_an_esp() {
    for name in ["shimx64.efi", "grubx64.efi"] {
        let f = rocky(9);
        std::fs::remove_file(f.target().join("boot/efi/EFI/rocky").join(name)).unwrap();
        let e = bootloader::prepare(&one_disk(&f), &f.target(), &go).unwrap_err();
        assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Unsupported, &"E505".into()), "{e}");
    }
    // Newer packages keep a copy in /usr.
    let f = rocky(9);
    std::fs::rename(f.target().join("boot/efi/EFI"), f.target().join("EFI")).unwrap();
    std::fs::create_dir_all(f.target().join("usr/lib/efi/shim/15.8-3")).unwrap();
    std::fs::rename(f.target().join("EFI"), f.target().join("usr/lib/efi/shim/15.8-3/EFI")).unwrap();
    bootloader::prepare(&one_disk(&f), &f.target(), &go).unwrap();
    assert!(f.target().join("boot/efi/EFI/BOOT/BOOTX64.EFI").exists());
    // Debian names its packages.
    let f = debian_unsigned();
    std::fs::remove_dir_all(f.target().join("usr/lib/grub")).unwrap();
    let e = bootloader::prepare(&one_disk(&f), &f.target(), &go).unwrap_err();
    assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Unsupported, &"I302".into()), "{e}");
}

/// What the firmware starts first, what lies in the fallback path, and what is refused.
#[test]
fn shim_and_the_fallback_path_are_as_the_document_wants() {
    let facts =
        |f: &Fixture, secure_boot, removable_fallback| BootFacts { secure_boot, removable_fallback, ..one_disk(f) };
    let fallback = |f: &Fixture| std::fs::read_to_string(f.target().join("boot/efi/EFI/BOOT/BOOTX64.EFI")).ok();
    let again = |f: &Fixture, facts: &BootFacts| {
        let done = bootloader::prepare(facts, &f.target(), &go).unwrap();
        assert_eq!(bootloader::prepare(facts, &f.target(), &go).unwrap().changed, [""; 0]);
        assert_eq!(check(facts, &f.target(), None).unwrap(), []);
        done.entries[0].loader.clone()
    };
    let f = debian12();
    assert_eq!(again(&f, &facts(&f, SecureBoot::Shim, false)), "\\EFI\\debian\\shimx64.efi");
    assert_eq!(fallback(&f), None);
    assert_eq!(again(&f, &facts(&f, SecureBoot::Auto, true)), "\\EFI\\debian\\shimx64.efi");
    assert_eq!(fallback(&f).as_deref(), Some("MZ shim of Debian"));
    let f = rocky(9);
    assert_eq!(again(&f, &facts(&f, SecureBoot::None, true)), "\\EFI\\rocky\\grubx64.efi");
    assert!(fallback(&f).unwrap().starts_with("MZ grub of Rocky"));
    let f = rocky(8);
    assert_eq!(again(&f, &facts(&f, SecureBoot::Auto, false)), "\\EFI\\rocky\\shimx64.efi");
    assert_eq!(fallback(&f), None);
    let f = debian_unsigned();
    let e = bootloader::prepare(&facts(&f, SecureBoot::Shim, true), &f.target(), &go).unwrap_err();
    assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Unsupported, &"I302".into()), "{e}");
    // Without modules the signed one starts alone.
    let f = debian12();
    std::fs::remove_dir_all(f.target().join("usr/lib/grub/x86_64-efi")).unwrap();
    assert_eq!(again(&f, &facts(&f, SecureBoot::None, true)), "\\EFI\\debian\\grubx64.efi");
    assert!(fallback(&f).unwrap().starts_with("MZ grub of Debian"));
}

/// The root is a subvolume: GRUB, the kernel and the check find what lies in it.
#[test]
fn a_root_in_a_subvolume() {
    let f = debian12().begin();
    let mut facts = one_disk(&f);
    facts.boot = bootloader::BootPlace { uuid: ROOT.to_owned(), kind: FsType::Btrfs, path: "/@/boot".to_owned() };
    facts.root_subvolume = Some("@".to_owned());
    let done = prove("debian-subvolume", &f, &facts);
    assert!(done.cmdline.starts_with(&format!("root=UUID={ROOT} ro rootflags=subvol=/@ ")), "{}", done.cmdline);
}

/// A package that is upgraded later installs GRUB onto the disks of this machine.
#[test]
fn packages_know_the_disks() {
    if !can("packages_know_the_disks", &[]) {
        return;
    }
    let f = debian12_bios();
    f.put("var/lib/dpkg/info/grub-pc.list", "");
    f.put("var/cache/debconf/config.dat", "Name: grub-pc/install_devices\nValue: /dev/disk/by-id/old\nFlags: seen\n\n");
    f.program("usr/bin/debconf-set-selections", "#!/bin/sh\nwhile read -r line; do echo \"$line\" >> /ANSWERS; done\n");
    bootloader::prepare(&all_in_luks(&f), &f.target(), &go).unwrap();
    let answers = std::fs::read_to_string(f.target().join("ANSWERS")).unwrap();
    let wanted = "grub-pc grub-pc/install_devices_empty boolean false\n\
                  grub-pc grub-pc/install_devices multiselect /dev/disk/by-id/nvme-X_1\n";
    assert_eq!(answers, wanted);
}

/// Data without a boot loader of ours: the system knows its arrays and volumes all the same.
#[test]
fn a_system_without_a_loader_knows_its_devices() {
    let f = debian12();
    let facts = BootFacts { firmwares: Vec::new(), esps: Vec::new(), ..mirrored(&f) };
    bootloader::configure(&BootFacts { luks: encrypted(&f).luks, ..facts }, &f.target()).unwrap();
    let read = |path: &str| std::fs::read_to_string(f.target().join(path)).unwrap();
    let arrays = read("etc/mdadm/mdadm.conf");
    assert_eq!(arrays.lines().filter(|l| l.starts_with("ARRAY /dev/md/")).count(), 2, "{arrays}");
    assert!(!arrays.contains("old:0"), "{arrays}");
    assert!(read("etc/crypttab").contains(" none luks,discard,tries=3,tpm2-device=auto,initramfs\n"));
}

/// Each thing that keeps a system from starting is found, with its own code.
#[test]
fn the_check_finds_what_would_not_start() {
    type Harm<'a> = Box<dyn Fn(&Fixture) + 'a>;
    let edit = |f: &Fixture, path: &str, from: &str, to: &str| {
        let path = f.target().join(path);
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        assert!(text.contains(from), "{} has no {from}", path.display());
        std::fs::write(path, text.replace(from, to)).unwrap();
    };
    let kernel = "5.14.0-427.13.1.el9_4.x86_64";
    let entry = format!("boot/loader/entries/{ID}-{kernel}.conf");
    let harms: Vec<(&str, Harm<'_>)> = vec![
        ("B501", Box::new(|f| std::fs::write(f.target().join("boot/efi/EFI/BOOT/BOOTX64.EFI"), "").unwrap())),
        ("B501", Box::new(|f| std::fs::remove_file(f.target().join("boot/efi/EFI/BOOT/fbx64.efi")).unwrap())),
        ("B502", Box::new(|f| std::fs::remove_file(f.esp2().join("EFI/rocky/grubx64.efi")).unwrap())),
        ("B503", Box::new(|f| edit(f, "boot/efi/EFI/rocky/grub.cfg", BOOT, ROOT))),
        ("B504", Box::new(|f| std::fs::remove_file(f.target().join("boot/libcv-node.cpio")).unwrap())),
        (
            "B504",
            Box::new(move |f| std::fs::remove_file(f.target().join(format!("boot/initramfs-{kernel}.img"))).unwrap()),
        ),
        ("B506", Box::new(move |f| edit(f, &entry, "root=/dev/mapper/sys-root", "root=/dev/mapper/rl-root"))),
        (
            "B506",
            Box::new(|f| {
                f.put("etc/fstab", format!("UUID={BOOT} / xfs defaults 0 0\n"));
            }),
        ),
        ("B507", Box::new(|f| edit(f, "etc/mdadm.conf", "12121212", "13131313"))),
        ("B507", Box::new(|f| std::fs::remove_file(f.target().join("etc/mdadm.conf")).unwrap())),
        (
            "B508",
            Box::new(move |f| {
                f.put(&format!("boot/initramfs-{kernel}.img"), dracut_image("-H", &[]));
            }),
        ),
        ("B511", Box::new(|f| std::fs::remove_dir_all(f.target().join("boot/loader")).unwrap())),
        ("B514", Box::new(|f| std::fs::write(f.esp2().join("EFI/rocky/mmx64.efi"), "MZ other").unwrap())),
    ];
    for (i, (code, harm)) in harms.iter().enumerate() {
        let f = rocky(9);
        let facts = mirrored(&f);
        bootloader::prepare(&facts, &f.target(), &go).unwrap();
        assert_eq!(check(&facts, &f.target(), None).unwrap(), []);
        harm(&f);
        let found = check(&facts, &f.target(), None).unwrap();
        assert!(found.iter().any(|d| d.code == *code), "harm {i}: {code} is not in {found:?}");
    }
    let f = rocky(9);
    let facts = BootFacts { firmwares: vec![Firmware::Uefi, Firmware::Bios], ..encrypted(&f) };
    let mut codes: Vec<&str> = check(&facts, &f.target(), Some(&[0; 2048])).unwrap().iter().map(|d| d.code).collect();
    codes.dedup();
    assert!(codes.contains(&"B509") && codes.contains(&"B513"), "{codes:?}");
    assert!(
        f.files().keys().all(|p| !p.contains(ID)) && f.files().keys().any(|p| p.contains(OLD)),
        "check writes nothing"
    );
}

/// An initramfs with the node's archive at its end is still one, and gets it once.
#[test]
fn the_hook_appends_the_archive_once() {
    let f = debian12();
    bootloader::prepare(&mirrored(&f), &f.target(), &go).unwrap();
    let image = f.target().join("boot/initrd.img-6.1.0-30-amd64");
    let before = std::fs::read(&image).unwrap();
    let node = std::fs::read(f.target().join("boot/libcv-node.cpio")).unwrap();
    let hook = f.target().join("etc/kernel/postinst.d/zy-cv-node-initrd");
    for _ in 0..2 {
        let out = std::process::Command::new("sh").arg(&hook).env("CV_BOOT", f.target().join("boot")).output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        let after = std::fs::read(&image).unwrap();
        assert_eq!(after.len(), before.len().next_multiple_of(4) + node.len());
        assert!(after.starts_with(&before) && after.ends_with(&node));
    }
    assert_eq!(check(&mirrored(&f), &f.target(), None).unwrap(), []);
}

/// The program that stays in the installed system does what the library does.
#[test]
fn the_script_keeps_esps_alike() {
    let f = rocky(9);
    let facts = mirrored(&f);
    bootloader::prepare(&facts, &f.target(), &go).unwrap();
    let script = f.target().join("usr/lib/libcv/cv-esp-sync");
    let esp1 = f.target().join("boot/efi");
    std::fs::write(esp1.join("EFI/rocky/grubx64.efi"), "MZ newer grub").unwrap();
    std::fs::remove_file(esp1.join("EFI/rocky/mmx64.efi")).unwrap();
    std::fs::create_dir_all(esp1.join("EFI/new dir")).unwrap();
    std::fs::write(esp1.join("EFI/new dir/a b"), "x").unwrap();
    std::fs::create_dir_all(f.esp2().join("EFI/Dell")).unwrap();
    std::fs::write(f.esp2().join("EFI/Dell/tool.efi"), "theirs").unwrap();
    common::run("sh", &[script.to_str().unwrap(), esp1.to_str().unwrap(), f.esp2().to_str().unwrap()]);
    assert_eq!(bootloader::mirror(&esp1, &f.esp2()).unwrap(), [""; 0]);
    assert!(f.esp2().join("EFI/Dell/tool.efi").exists() && !f.esp2().join("EFI/rocky/mmx64.efi").exists());
    assert!(f.files().keys().all(|p| !p.ends_with(".cv-new")));
    // What cannot be written is told.
    std::fs::remove_dir_all(f.esp2().join("EFI/new dir")).unwrap();
    std::fs::write(f.esp2().join("EFI/new dir"), "in the way").unwrap();
    let out = std::process::Command::new("sh").args([&script, &esp1, &f.esp2()]).output().unwrap();
    assert!(!out.status.success() && !out.stderr.is_empty());
}
