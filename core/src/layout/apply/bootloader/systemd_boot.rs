//! systemd-boot, where the image has it: its program, `loader.conf`, and entries of type 1.
//!
//! ```text
//! EFI/systemd/systemd-bootx64.efi = EFI/BOOT/BOOTX64.EFI ──> loader/entries/ID-VERSION.conf ──> ID/VERSION/linux, initrd
//! ```
//!
//! The files are those that `bootctl --no-variables install` and `kernel-install` with the layout `bls` make, and later
//! find again. `bootctl` itself is not run: it wants the ESP of the machine that builds. systemd-boot reads FAT only, so
//! kernels are copied to the ESP, and an ESP must have room for them.

use super::bls::Entry;
use super::efi::fall_back;
use super::enterprise::machine_id;
use super::facts::BootFacts;
use super::initramfs::NODE;
use super::kernels::Kernel;
use super::script::HEAD;
use super::system::System;
use super::tree::Tree;
use crate::error::{Error, Result};

const PROGRAMS: [&str; 2] =
    ["usr/lib/systemd/boot/efi/systemd-bootx64.efi.signed", "usr/lib/systemd/boot/efi/systemd-bootx64.efi"];
/// Seconds that the menu waits.
const TIMEOUT: u32 = 3;

/// Whether the image has it.
pub(super) fn is_there(tree: &Tree) -> bool {
    PROGRAMS.iter().any(|p| tree.exists(p))
}

/// Installs it into an ESP with all kernels; gives the path that the firmware starts.
pub(super) fn install(
    tree: &Tree,
    esp: &Tree,
    facts: &BootFacts,
    system: &System,
    kernels: &[Kernel],
    cmdline: &str,
    node: bool,
) -> Result<()> {
    let program = PROGRAMS.iter().find_map(|p| tree.read(p).transpose()).transpose()?;
    let program = program.ok_or_else(|| {
        Error::unsupported("the image has no systemd-boot")
            .hint("add systemd-boot (Debian, Ubuntu) or systemd-boot-unsigned (Enterprise Linux) to the image")
            .fact("code", "I302")
    })?;
    let id = machine_id(tree, facts)?;
    tree.write("etc/kernel/install.conf", format!("{HEAD}layout=bls\n").as_bytes())?;
    tree.write("etc/kernel/entry-token", format!("{id}\n").as_bytes())?;
    tree.write("etc/kernel/cmdline", format!("{cmdline}\n").as_bytes())?;
    let names: Vec<String> = kernels.iter().map(|k| format!("{id}-{}.conf", k.version)).collect();
    for stale in esp.list("loader/entries").iter().filter(|n| n.ends_with(".conf") && !names.contains(n)) {
        esp.remove(&format!("loader/entries/{stale}"))?;
    }
    for (kernel, name) in kernels.iter().zip(&names) {
        let directory = format!("{id}/{}", kernel.version);
        let copy = |from: &str, to: &str| -> Result<Option<String>> {
            let Some(bytes) = tree.read(&format!("boot/{from}"))? else { return Ok(None) };
            esp.write(&format!("{directory}/{to}"), &bytes)?;
            Ok(Some(format!("/{directory}/{to}")))
        };
        let linux = copy(&kernel.image, "linux")?.unwrap_or_default();
        let mut initrd = Vec::new();
        if let Some(name) = &kernel.initrd {
            initrd.extend(copy(name, "initrd")?);
        }
        if node && !kernel.is_rescue() {
            initrd.extend(copy(NODE, NODE)?);
        }
        let entry = Entry {
            title: system.pretty.clone(),
            version: kernel.version.clone(),
            linux,
            initrd,
            options: cmdline.to_owned(),
            more: vec![("sort-key", system.id.clone()), ("machine-id", id.clone())],
        };
        esp.write(&format!("loader/entries/{name}"), entry.text().as_bytes())?;
    }
    // Kernels of another machine would fill the ESP.
    for version in esp.list(&id).iter().filter(|v| !kernels.iter().any(|k| k.version == **v)) {
        for file in esp.walk(&format!("{id}/{version}")).1 {
            esp.remove(&file)?;
        }
    }
    let newest = names.first().cloned().unwrap_or_default();
    esp.write("loader/loader.conf", format!("timeout {TIMEOUT}\ndefault {newest}\n").as_bytes())?;
    esp.write("loader/entries.srel", b"type1\n")?;
    esp.write("EFI/systemd/systemd-bootx64.efi", &program)?;
    fall_back(esp, facts, &[("BOOTX64.EFI", &program)])
}
