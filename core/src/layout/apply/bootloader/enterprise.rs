//! Enterprise Linux: BLS entries, and GRUB of the packages as it lies on the ESP.
//!
//! ```text
//!      ESP, EFI/VENDOR                          /boot
//! 8    shim, GRUB, all of grub.cfg, grubenv     loader/entries: $kernelopts      grub2/grubenv ──> that on the ESP
//! 9    shim, GRUB, stub ─────────────────────>  grub2/grub.cfg, grubenv          loader/entries: the command line
//! ```
//!
//! `grub2-install` is never run for UEFI: it builds an unsigned core, which Secure Boot refuses. What belongs on the ESP
//! is in the packages, and only there; without it the image does not start with UEFI. `kernel-install`, `grubby` and
//! `grub2-mkconfig` are not run either: they ask the machine that builds for its root. They find what they expect later.
//!
//! Order counts: the machine-id names the entries, and `/etc/kernel/cmdline` is written last, because the tools make it
//! anew when `/etc/default/grub` is younger.

use super::bls::Entry;
use super::efi::{fall_back, in_fallback};
use super::facts::BootFacts;
use super::initramfs::NODE;
use super::kernels::Kernel;
use super::script::{self, Place};
use super::storage;
use super::system::{EspConfig, System};
use super::tree::Tree;
use crate::error::{Error, Result};
use crate::layout::spec::SecureBoot;

/// Where images keep what belongs on an ESP, when it is not on one: newer packages, ostree, bootupd.
const PAYLOADS: [&str; 3] = ["usr/lib/efi", "usr/lib/bootupd/updates", "usr/lib/ostree-boot/efi"];
/// Which directory is whose, where there are several.
const VENDORS: [(&str, &str); 6] = [
    ("rhel", "redhat"),
    ("ol", "redhat"),
    ("rocky", "rocky"),
    ("almalinux", "almalinux"),
    ("centos", "centos"),
    ("fedora", "fedora"),
];

/// The machine-id of the target, made what it was given where it has none.
pub(super) fn machine_id(tree: &Tree, facts: &BootFacts) -> Result<String> {
    let old = tree.text("etc/machine-id")?.unwrap_or_default();
    let old = old.trim();
    if old.len() == 32 && old.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)) {
        return Ok(old.to_owned());
    }
    tree.write_mode("etc/machine-id", format!("{}\n", facts.machine_id).as_bytes(), 0o444)?;
    Ok(facts.machine_id.clone())
}

/// One installation.
pub(super) struct Enterprise<'a> {
    pub(super) tree: &'a Tree,
    pub(super) facts: &'a BootFacts,
    pub(super) system: &'a System,
    pub(super) config: EspConfig,
    pub(super) cmdline: &'a str,
}

impl Enterprise<'_> {
    /// Writes the entries of all kernels; those of other machines go.
    pub(super) fn entries(&self, kernels: &[Kernel], node: bool) -> Result<()> {
        let Self { tree, facts, system, config, cmdline } = *self;
        let id = machine_id(tree, facts)?;
        let token = tree.text("etc/kernel/entry-token")?.unwrap_or_default();
        // The name that entries of another machine had.
        if token.trim().len() == 32 && token.trim() != id {
            tree.remove("etc/kernel/entry-token")?;
        }
        let names: Vec<String> = kernels.iter().map(|k| format!("{id}-{}.conf", k.version)).collect();
        for stale in tree.list("boot/loader/entries").iter().filter(|n| n.ends_with(".conf") && !names.contains(n)) {
            tree.remove(&format!("boot/loader/entries/{stale}"))?;
        }
        let path = |name: &str| format!("{}/{name}", facts.boot.path);
        for (kernel, name) in kernels.iter().zip(&names) {
            let initrd = kernel.initrd.iter().map(|initrd| {
                let own = if node && !kernel.is_rescue() { format!(" {}", path(NODE)) } else { String::new() };
                format!("{}{own} $tuned_initrd", path(initrd))
            });
            let options = match config {
                EspConfig::Full => "$kernelopts $tuned_params".to_owned(),
                EspConfig::Stub => format!("{} $tuned_params", script::quote_words(cmdline)),
            };
            let entry = Entry {
                title: format!("{} ({}) {}", system.name, kernel.version, system.version).trim_end().to_owned(),
                version: kernel.version.clone(),
                linux: path(&kernel.image),
                initrd: initrd.collect(),
                options,
                more: vec![
                    ("grub_users", "$grub_users".to_owned()),
                    ("grub_arg", "--unrestricted".to_owned()),
                    ("grub_class", if config == EspConfig::Full { "kernel".to_owned() } else { system.id.clone() }),
                ],
            };
            tree.write(&format!("boot/loader/entries/{name}"), entry.text().as_bytes())?;
        }
        Ok(())
    }

    /// Puts shim, GRUB and its configuration on the ESP; gives the vendor's directory.
    pub(super) fn install_efi(&self, esp: &Tree) -> Result<String> {
        let Self { tree, facts, system, config, cmdline } = *self;
        bring_payload(tree, esp, facts)?;
        let vendor = vendor(esp, system).ok_or_else(no_content)?;
        let directory = format!("EFI/{vendor}");
        let shim = esp.read(&format!("{directory}/shimx64.efi"))?.ok_or_else(no_content)?;
        let grub = esp.read(&format!("{directory}/grubx64.efi"))?.ok_or_else(no_content)?;
        if !esp.exists(&format!("{directory}/BOOTX64.CSV")) {
            let text = format!("shimx64.efi,{},,This is the boot entry for {}\n", system.name, system.name);
            let bytes: Vec<u8> =
                [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
            esp.write(&format!("{directory}/BOOTX64.CSV"), &bytes)?;
        }
        match config {
            EspConfig::Full => {
                let text = script::bls(facts, cmdline, Place::Esp, true);
                esp.write(&format!("{directory}/grub.cfg"), text.as_bytes())?;
            }
            EspConfig::Stub => {
                esp.write(&format!("{directory}/grub.cfg"), script::enterprise_stub(facts, system, &grub).as_bytes())?;
            }
        }
        // The one path that needs no entry in the firmware. fbx64.efi makes an entry out of the CSV; where the packages do
        // not bring it, shim starts the GRUB beside it.
        match (facts.removable_fallback, facts.secure_boot) {
            // The packages have put their shim there.
            (false, _) => {
                fall_back(esp, facts, &[("BOOTX64.EFI", &shim), ("BOOTX64.EFI", &grub), ("grubx64.efi", &grub)])?;
            }
            (true, SecureBoot::None) => fall_back(esp, facts, &[("BOOTX64.EFI", &grub)])?,
            (true, SecureBoot::Auto | SecureBoot::Shim) => {
                if !esp.exists(&in_fallback(esp, "fbx64.efi")) {
                    fall_back(esp, facts, &[("grubx64.efi", &grub)])?;
                }
                if !esp.exists(&in_fallback(esp, "BOOTX64.EFI")) {
                    fall_back(esp, facts, &[("BOOTX64.EFI", &shim)])?;
                }
            }
        }
        Ok(vendor)
    }

    /// The configuration in `/boot/grub2`, the environment and the settings of the tools. `vendor` is there under UEFI.
    pub(super) fn configure(&self, newest: &Kernel, efi: Option<(&Tree, &str)>, bios: bool) -> Result<()> {
        let Self { tree, facts, system, config, cmdline } = *self;
        let id = machine_id(tree, facts)?;
        let saved = format!("{id}-{}", newest.version);
        let blsdir = format!("{}/loader/entries", facts.boot.path);
        let mut variables = vec![("saved_entry", saved.as_str()), ("boot_success", "0")];
        if !facts.boot.path.is_empty() {
            variables.push(("blsdir", &blsdir));
        }
        if config == EspConfig::Full {
            variables.push(("kernelopts", cmdline));
        }
        let block = script::environment(&variables);
        let on_esp = efi.filter(|_| config == EspConfig::Full);
        if let Some((esp, vendor)) = on_esp {
            esp.write(&format!("EFI/{vendor}/grubenv"), &block)?;
        }
        if bios || on_esp.is_none() {
            let text = script::bls(facts, cmdline, Place::Boot, config == EspConfig::Full);
            tree.write("boot/grub2/grub.cfg", text.as_bytes())?;
            tree.write("boot/grub2/grubenv", &block)?;
        } else if let (Some((_, vendor)), Some(at)) = (on_esp, facts.esps.first().and_then(|e| e.at.as_deref())) {
            // grub2-editenv knows the one in /boot only, and the packages have it as a link.
            let up =
                if let Some(below) = at.strip_prefix("/boot/") { format!("../{below}") } else { format!("../..{at}") };
            tree.symlink("boot/grub2/grubenv", &format!("{up}/EFI/{vendor}/grubenv"))?;
        }
        let younger = storage::grub_defaults(tree, facts, system, cmdline)?;
        let line = format!("{cmdline}\n");
        if younger {
            tree.put("etc/kernel/cmdline", line.as_bytes(), 0o644)
        } else {
            tree.write("etc/kernel/cmdline", line.as_bytes()).map(drop)
        }
    }
}

/// Copies what the image keeps beside its ESP, where the ESP does not have it.
fn bring_payload(tree: &Tree, esp: &Tree, facts: &BootFacts) -> Result<()> {
    let unwanted = |to: &str| !facts.removable_fallback && to.eq_ignore_ascii_case("EFI/BOOT/BOOTX64.EFI");
    for payload in PAYLOADS {
        let (_, files) = tree.walk(payload);
        for file in files {
            // usr/lib/efi/shim/15.8-3/EFI/rocky/shimx64.efi
            let Some(at) = file.find("/EFI/") else { continue };
            let to = &file[at + 1..];
            if !unwanted(to)
                && !esp.exists(to)
                && let Some(bytes) = tree.read(&file)?
            {
                esp.write(to, &bytes)?;
            }
        }
    }
    Ok(())
}

/// The vendor's directory: where shim is; of several that of the system, else the first.
fn vendor(esp: &Tree, system: &System) -> Option<String> {
    let all = esp.list("EFI");
    let with_shim: Vec<&String> =
        all.iter().filter(|v| !v.eq_ignore_ascii_case("boot") && esp.exists(&format!("EFI/{v}/shimx64.efi"))).collect();
    let own = VENDORS.iter().find(|(id, _)| *id == system.id).map_or(system.id.as_str(), |(_, vendor)| *vendor);
    with_shim.iter().find(|v| v.as_str() == own).or_else(|| with_shim.first()).map(|v| (*v).clone())
}

fn no_content() -> Error {
    Error::unsupported("the image has nothing that belongs on an EFI system partition")
        .hint("it needs EFI/VENDOR with shimx64.efi and grubx64.efi in /boot/efi: capture it with its ESP mounted there, or reinstall shim-x64 and grub2-efi-x64")
        .fact("code", "E505")
}
