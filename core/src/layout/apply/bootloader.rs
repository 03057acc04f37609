//! Boot loaders: what starts the installed system, out of the packages of its image.
//!
//! ```text
//! BootFacts ─> storage: mdadm.conf, crypttab ─> initramfs ─┬─ BIOS: core, /boot/grub ──────────────┐
//!  (disks)     settings for later               + node's   ├─ UEFI: shim, GRUB, stub on the ESP ───┼─> mirror ─> check
//!                                                 archive  └─ systemd-boot: kernels on the ESP ────┘
//! ```
//!
//! [`BootFacts`] is all that is known of the disks; what the target is, [`system`] finds by its content. Programs of the
//! image run in a chroot where only they can do it: `grub-mkimage`, `dracut`, `mkinitramfs`. Whatever asks a running
//! system for its disks (`grub-install`, `grub-mkconfig`, `bootctl`, `kernel-install`) is not run: the machine that builds
//! is not the target. Each path of firmware that needs no variables is complete before [`nvram`] touches any.
//!
//! Everything can be done twice: what is right already is left alone.

mod bls;
mod check;
mod debconf;
mod grub;
mod efi;
mod enterprise;
mod facts;
mod initramfs;
mod kernels;
mod mirror;
mod newc;
pub mod nvram;
pub mod planned;
mod script;
mod storage;
mod sync;
mod system;
mod systemd_boot;
mod tree;

pub use facts::{Array, BootFacts, BootPlace, Esp, Luks, Needed, UefiLoader, Unlock, Volume};
pub use grub::BootSector;
pub use mirror::mirror;

use super::super::diagnostic::{self, Diagnostic, Severity};
use super::super::spec::{Firmware, SecureBoot};
use super::super::validate::boot::command_line_word;
use crate::error::{Error, Result};
use crate::image::facts::KERNEL_ARGS;
use enterprise::Enterprise;
use initramfs::NODE;
use std::path::Path;
use system::{Family, Maker, System};
use tree::Tree;

/// What was prepared.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What has to be written outside of filesystems; the kernels that are offered, newest first.
    pub sector: BootSector,
    /// The command line of the entries.
    pub cmdline: String,
    /// Files of the target and of ESPs that were written or removed; empty when all was right already.
    pub changed: Vec<String>,
    /// What somebody should read.
    pub warnings: Vec<Diagnostic>,
    /// The entries that the firmware should have, for [`nvram::register`].
    pub entries: Vec<nvram::Wanted>,
}

/// Installs the boot loader into the target, in which everything of the layout is mounted, and into all ESPs.
///
/// # Errors
/// `Unsupported` when the image lacks the loader (I302, E505) or a kernel; `Invalid` for facts that cannot stand in a
/// configuration; `Integrity` (B5xx) when the check afterwards finds that it would not start; `Io`.
pub fn prepare(facts: &BootFacts, target: &Path, stop: &dyn Fn() -> bool) -> Result<Prepared> {
    facts.check()?;
    let tree = Tree::open(target)?;
    let system = System::of(&tree)?;
    let mut kernels = kernels::kernels(&tree)?;
    storage::write(&tree, facts, &system)?;
    let mut warnings = Vec::new();
    let node = initramfs::settle(&tree, facts, &system, &mut kernels, &mut warnings, stop)?;
    if !storage::asks_the_tpm(&tree, &system) {
        let asked = facts.luks.iter().find(|l| l.needed.root && l.unlock == Unlock::Tpm2);
        warnings.extend(asked.map(|l| {
            let text =
                format!("the initramfs asks for the passphrase of {}: nothing in the image asks the TPM", l.name);
            Diagnostic::warning("W515", "luks", text)
                .hint("dracut with the module tpm2-tss does; initramfs-tools does not")
        }));
    }
    let cmdline = cmdline(facts, &system, &own_words(&tree)?);
    let (bios, uefi) = (facts.serves(Firmware::Bios), facts.serves(Firmware::Uefi));
    let mut sector = BootSector::none();
    if bios {
        sector = grub::install(&tree, facts, &system, stop)?;
    }
    let esp = facts.esps.first().filter(|_| uefi).map(|e| Tree::esp(&e.directory)).transpose()?;
    let mut loader = None;
    let mut watched = vec!["EFI".to_owned(), "EFI/BOOT".to_owned()];
    let systemd = esp.as_ref().is_some_and(|esp| wants_systemd_boot(&tree, esp, facts));
    if let (Some(esp), true) = (&esp, systemd) {
        systemd_boot::install(&tree, esp, facts, &system, &kernels, &cmdline, node)?;
        watched.extend(["EFI/systemd", "loader", "loader/entries"].map(String::from));
        loader = Some(("systemd".to_owned(), "systemd-bootx64.efi"));
    }
    let grub_efi = esp.as_ref().filter(|_| !systemd);
    // A GRUB of Enterprise Linux for BIOS that knows no BLS gets a menu, like that of others.
    let knows_bls = grub_efi.is_some() || tree.exists("usr/lib/grub/i386-pc/blscfg.mod");
    match system.family {
        _ if !bios && grub_efi.is_none() => {}
        Family::Enterprise(config) if knows_bls => {
            let el = Enterprise { tree: &tree, facts, system: &system, config, cmdline: &cmdline };
            el.entries(&kernels, node)?;
            let vendor = grub_efi.map(|esp| el.install_efi(esp)).transpose()?;
            el.configure(&kernels[0], grub_efi.zip(vendor.as_deref()), bios)?;
            let first = if facts.secure_boot == SecureBoot::None { "grubx64.efi" } else { "shimx64.efi" };
            loader = vendor.map(|v| (v, first)).or(loader);
        }
        _ => {
            let menu = script::menu(facts, &system, &cmdline, &kernels, node.then_some(NODE));
            tree.write(&format!("boot/{}/grub.cfg", system.grub), menu.as_bytes())?;
            storage::grub_defaults(&tree, facts, &system, &cmdline)?;
            if let Some(esp) = grub_efi {
                loader = Some(efi::install(&tree, esp, facts, &system, stop)?);
            }
            sync::install_node_hook(&tree, &system, node)?;
        }
    }
    for directory in loader.iter().map(|(vendor, _)| format!("EFI/{vendor}")) {
        if !watched.contains(&directory) {
            watched.push(directory);
        }
    }
    let served =
        if uefi { facts.clone() } else { BootFacts { esps: Vec::new(), esp_members: Vec::new(), ..facts.clone() } };
    sync::install(&tree, &served, &system, &watched)?;
    warnings.extend(debconf::answer(&tree, facts, &system, stop)?);
    let mut changed = tree.changed();
    changed.extend(esp.iter().flat_map(Tree::changed));
    for further in served.esps.iter().skip(1) {
        changed.extend(mirror(&served.esps[0].directory, &further.directory)?);
    }
    let found = check::check(&tree, facts, &system, sector.core())?;
    if found.iter().any(|d| d.severity == Severity::Error) {
        return Err(diagnostic::to_error("the installed system", &found).hint("this is what would not start"));
    }
    warnings.extend(found);
    warnings.dedup();
    sector.kernels = kernels.into_iter().map(|k| k.version).collect();
    Ok(Prepared { sector, entries: entries(&served, &system, loader.as_ref()), cmdline, changed, warnings })
}

/// Tells a system that has no boot loader of ours of its arrays, LUKS volumes and volume groups: `mdadm.conf`, `crypttab`.
///
/// # Errors
/// `Invalid` for facts that cannot stand in these files; `Io`.
pub fn configure(facts: &BootFacts, target: &Path) -> Result<()> {
    facts.check()?;
    let tree = Tree::open(target)?;
    storage::write(&tree, facts, &System::of(&tree)?)
}

/// Whether the target, as it is now, would start: everything that would keep it from doing so (B5xx).
///
/// `core` is what lies in the bios-boot partitions. Nothing is written and no program runs.
///
/// # Errors
/// `Io`.
pub fn check(facts: &BootFacts, target: &Path, core: Option<&[u8]>) -> Result<Vec<Diagnostic>> {
    let tree = Tree::open(target)?;
    check::check(&tree, facts, &System::of(&tree)?, core)
}

/// The words that the image brings, such as those of the role that it was built with, one on each line.
fn own_words(tree: &Tree) -> Result<Vec<String>> {
    let Some(bytes) = tree.read(KERNEL_ARGS)? else { return Ok(Vec::new()) };
    let text = String::from_utf8_lossy(&bytes);
    let words: Vec<String> = text.lines().filter(|l| !l.is_empty()).map(str::to_owned).collect();
    match words.iter().find(|w| !command_line_word(w)) {
        Some(bad) => Err(Error::invalid(format!(
            "/{KERNEL_ARGS} of the image: {bad:?} is no word for the kernel's command line"
        ))),
        None => Ok(words),
    }
}

/// The kernel's command line; dracut is told of each array and volume, for it starts nothing else. Words of the layout come
/// last, for the kernel takes the last one of several; those that the image has as well stand there once.
fn cmdline(facts: &BootFacts, system: &System, own: &[String]) -> String {
    let mut words = vec![format!("root={}", facts.root), "ro".to_owned()];
    words.extend(facts.root_subvolume.iter().map(|s| format!("rootflags=subvol=/{s}")));
    if system.maker == Maker::Dracut {
        let arrays = facts.arrays.iter().filter(|a| a.needed.root);
        words.extend(arrays.map(|a| format!("rd.md.uuid={}", a.md_uuid())));
        let luks = facts.luks.iter().filter(|l| l.needed.root);
        words.extend(luks.map(|l| format!("rd.luks.uuid={}", l.uuid)));
        let volumes = facts.volumes.iter().filter(|v| v.needed.root);
        words.extend(volumes.map(|v| format!("rd.lvm.lv={}/{}", v.group, v.name)));
    }
    words.extend(facts.resume.iter().map(|r| format!("resume={r}")));
    words.extend(own.iter().filter(|w| !facts.words.contains(w)).cloned());
    words.extend(facts.words.iter().cloned());
    words.join(" ")
}

/// Whether systemd-boot starts the system under UEFI: when it is asked for, or the image has nothing else.
fn wants_systemd_boot(tree: &Tree, esp: &Tree, facts: &BootFacts) -> bool {
    match facts.loader {
        UefiLoader::SystemdBoot => true,
        UefiLoader::Grub => false,
        UefiLoader::Auto => {
            let packages = ["usr/lib/grub/x86_64-efi-signed", "usr/lib/grub/x86_64-efi", "usr/lib/efi/grub2"];
            let grub = packages.iter().any(|p| tree.exists(p))
                || esp.list("EFI").iter().any(|v| esp.exists(&format!("EFI/{v}/grubx64.efi")));
            !grub && systemd_boot::is_there(tree)
        }
    }
}

fn entries(facts: &BootFacts, system: &System, loader: Option<&(String, &'static str)>) -> Vec<nvram::Wanted> {
    let Some((vendor, program)) = loader else { return Vec::new() };
    let esps = || facts.esps.iter().chain(&facts.esp_members);
    let labels = nvram::labels(&system.name, esps().count());
    let wanted = esps().zip(labels).map(|(esp, label)| nvram::Wanted {
        label,
        partition: esp.partition,
        disk: esp.disk.clone(),
        number: esp.number,
        loader: format!("\\EFI\\{vendor}\\{program}"),
    });
    wanted.collect()
}
