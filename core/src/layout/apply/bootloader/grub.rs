//! GRUB's core out of the packages of the image, for BIOS and for UEFI without a signed GRUB.
//!
//! ```text
//! BIOS   first sector: boot code ──> bios-boot partition: core ──> /boot/grub: modules, grub.cfg ──> kernel
//! UEFI   EFI/ID/grubx64.efi: core ──> /boot/grub: modules, grub.cfg ──> kernel
//! ```
//!
//! `grub-mkimage` of the image builds the core, in a chroot. `grub-install` is not used: it asks the running kernel,
//! `/dev` and `/sys` what lies under `/boot`. Where partitions have no nodes of the usual name, or the kernel does not
//! show them as partitions, it stops or builds a core without the module for GPT. What it would find out is known here.

use super::facts::BootFacts;
use super::script;
use super::system::System;
use super::tree::Tree;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::device::{ReadAt, WriteAt};
use crate::layout::gate::Gate;
use crate::layout::plan::PlannedDisk;
use crate::layout::spec::FsType;
use crate::sys::program::{Call, Program};
use std::time::Duration;

/// BIOS counts in these.
const SECTOR: usize = 512;
/// Where the boot code says at which sector the core begins (`GRUB_BOOT_MACHINE_KERNEL_SECTOR`).
const KERNEL_SECTOR: usize = 0x5c;
/// A jump in the boot code that trusts the drive number of the BIOS (`GRUB_BOOT_MACHINE_DRIVE_CHECK`).
const DRIVE_CHECK: usize = 0x66;
/// The boot code ends here; the rest of the sector belongs to the partition table.
const BOOT_CODE: usize = 440;
/// The list of blocks at the end of the first sector of the core: begin, count, segment.
const BLOCK_LIST: usize = SECTOR - 12;
/// Where the second sector of the core is loaded, as a segment.
const SEGMENT: u16 = 0x820;

/// What a core is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Platform {
    Bios,
    Efi,
}

impl Platform {
    /// The name that GRUB has for it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bios => "i386-pc",
            Self::Efi => "x86_64-efi",
        }
    }
}

/// What has to be written outside of filesystems to start the system with BIOS.
#[derive(Clone, Debug)]
pub struct BootSector {
    parts: Option<(Vec<u8>, Vec<u8>)>,
    /// The kernels that are offered, newest first.
    pub kernels: Vec<String>,
}

/// Copies GRUB's modules to where it looks for them; whether the image has any.
pub(super) fn copy_modules(tree: &Tree, system: &System, platform: Platform) -> Result<bool> {
    let from = format!("usr/lib/grub/{}", platform.name());
    let to = format!("boot/{}/{}", system.grub, platform.name());
    let mut copied = false;
    for name in tree.list(&from).iter().filter(|n| n.ends_with(".mod") || n.ends_with(".lst")) {
        if let Some(bytes) = tree.read(&format!("{from}/{name}"))? {
            tree.write(&format!("{to}/{name}"), &bytes)?;
            copied = true;
        }
    }
    Ok(copied)
}

/// Builds the core that finds `/boot` of these disks.
pub(super) fn build(
    tree: &Tree,
    facts: &BootFacts,
    system: &System,
    platform: Platform,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<u8>> {
    let directory = format!("boot/{}/{}", system.grub, platform.name());
    let load = format!("{directory}/load.cfg");
    tree.write(&load, script::early(facts, system).as_bytes())?;
    let image = format!("{directory}/core.{}", if platform == Platform::Bios { "img" } else { "efi" });
    let fresh = format!("{image}.cv-new");
    let compression: &[&str] = if platform == Platform::Bios { &["--compression", "auto"] } else { &[] };
    Call::new(Program::GrubMkimage)
        .args(["--directory", &format!("/usr/lib/grub/{}", platform.name())])
        .args(["--prefix", &script::prefix(facts, system), "--output", &format!("/{fresh}")])
        .args(["--format", platform.name()])
        .args(compression)
        .args(["--config", &format!("/{load}")])
        .args(modules(facts, platform))
        .limit(Duration::from_secs(120))
        .in_root(tree.place())
        .run(stop)?;
    let core = tree.take(&fresh)?.ok_or_else(|| no_grub(platform))?;
    tree.write(&image, &core)?;
    Ok(core)
}

/// Modules that reach `/boot`; the others are loaded from there.
pub(super) fn modules(facts: &BootFacts, platform: Platform) -> Vec<&'static str> {
    // GPT always: neither the builder nor its kernel is the target.
    let mut list = if platform == Platform::Bios { vec!["biosdisk"] } else { vec!["fat", "normal"] };
    list.extend(["part_gpt", "search_fs_uuid"]);
    let arrays = facts.arrays.iter().filter(|a| a.needed.boot);
    for array in arrays {
        list.push(if array.metadata.starts_with("0.") { "mdraid09" } else { "mdraid1x" });
        match array.level {
            4..=5 => list.push("raid5rec"),
            6 => list.extend(["raid5rec", "raid6rec"]),
            _ => {}
        }
    }
    if facts.volumes.iter().any(|v| v.needed.boot) {
        list.push("lvm");
    }
    for luks in facts.luks.iter().filter(|l| l.needed.boot) {
        list.push(if luks.version == 1 { "luks" } else { "luks2" });
        list.extend(["cryptodisk", "pbkdf2", "gcry_rijndael", "gcry_sha256", "gcry_sha512"]);
    }
    list.push(module(facts.boot.kind));
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|m| seen.insert(*m));
    list
}

/// The module of GRUB that reads a filesystem.
const fn module(kind: FsType) -> &'static str {
    match kind {
        FsType::Xfs => "xfs",
        FsType::Btrfs => "btrfs",
        FsType::Vfat => "fat",
        _ => "ext2",
    }
}

/// Installs GRUB for BIOS into the target; what has to be written into its disks comes back.
pub(super) fn install(tree: &Tree, facts: &BootFacts, system: &System, stop: &dyn Fn() -> bool) -> Result<BootSector> {
    let boot = tree.read("usr/lib/grub/i386-pc/boot.img")?.ok_or_else(|| no_grub(Platform::Bios))?;
    if !copy_modules(tree, system, Platform::Bios)? {
        return Err(no_grub(Platform::Bios));
    }
    let core = build(tree, facts, system, Platform::Bios, stop)?;
    if boot.len() != SECTOR || core.len() <= SECTOR {
        return Err(
            Error::new(ErrorKind::Unsupported, "the GRUB of the image is not one for BIOS").fact("code", "I302")
        );
    }
    Ok(BootSector { parts: Some((boot, core)), kernels: Vec::new() })
}

pub(super) fn no_grub(platform: Platform) -> Error {
    let (what, debian, el) = match platform {
        Platform::Bios => ("BIOS", "grub-pc-bin", "grub2-pc-modules"),
        Platform::Efi => ("UEFI", "shim-signed and grub-efi-amd64-signed", "shim-x64 and grub2-efi-x64"),
    };
    Error::unsupported(format!("the image has no GRUB for {what}"))
        .hint(format!("add {debian} (Debian, Ubuntu) or {el} (Enterprise Linux) to the image"))
        .fact("code", "I302")
}

impl BootSector {
    /// One of a system that only UEFI starts: nothing is written outside of filesystems.
    #[must_use]
    pub(super) fn none() -> Self {
        Self { parts: None, kernels: Vec::new() }
    }

    /// The core, when the system is to start with BIOS.
    #[must_use]
    pub fn core(&self) -> Option<&[u8]> {
        self.parts.as_ref().map(|(_, core)| &core[..])
    }

    /// Puts the core into the disk's bios-boot partition; gives the boot code that loads it, empty without BIOS.
    ///
    /// # Errors
    /// `Limit` when it does not fit; `Io`.
    pub fn write_core(&self, gate: &Gate, disk: &PlannedDisk) -> Result<Vec<u8>> {
        let Some((boot, core)) = &self.parts else { return Ok(Vec::new()) };
        let place = disk.partitions.iter().find(|p| p.kind.is("bios-boot"));
        let place = place.ok_or_else(|| Error::new(ErrorKind::Bug, "no bios-boot partition"))?;
        if core.len() as u64 > place.length {
            return Err(Error::limit(format!("GRUB needs {} bytes, {} is smaller", core.len(), place.key)));
        }
        let (boot, core) = embed(boot, core, place.start / SECTOR as u64)?;
        let failed = |e: std::io::Error| Error::io("write", gate.name(), e);
        gate.write_at(place.start, &core).map_err(failed)?;
        gate.sync().map_err(failed)?;
        let mut back = vec![0; core.len()];
        gate.read_at(place.start, &mut back).map_err(failed)?;
        if back != core {
            return Err(Error::integrity("the core of GRUB is not what was written").fact("code", "A405"));
        }
        Ok(boot)
    }

    /// Writes the boot code into the first sector, beside the partition table: the last thing that makes a disk start.
    ///
    /// # Errors
    /// `Io`.
    pub fn commit(code: &[u8], gate: &Gate) -> Result<()> {
        if code.len() < BOOT_CODE {
            return Ok(());
        }
        let failed = |e: std::io::Error| Error::io("write", gate.name(), e);
        let mut first = vec![0; gate.sector() as usize];
        gate.read_at(0, &mut first).map_err(failed)?;
        first[..BOOT_CODE].copy_from_slice(&code[..BOOT_CODE]);
        gate.write_at(0, &first).map_err(failed)?;
        gate.sync().map_err(failed)
    }
}

/// Boot code and core that know where they lie: `start` is the first sector of the core.
fn embed(boot: &[u8], core: &[u8], start: u64) -> Result<(Vec<u8>, Vec<u8>)> {
    let (mut boot, mut core) = (boot.to_vec(), core.to_vec());
    boot[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&start.to_le_bytes());
    // Two no-operations instead of the jump: some BIOSes hand over a wrong drive number for a hard disk.
    boot[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
    core.resize(core.len().next_multiple_of(SECTOR), 0);
    let sectors =
        u16::try_from(core.len() / SECTOR - 1).map_err(|_| Error::limit("the core of GRUB is over 32 MiB"))?;
    core[BLOCK_LIST..BLOCK_LIST + 8].copy_from_slice(&(start + 1).to_le_bytes());
    core[BLOCK_LIST + 8..BLOCK_LIST + 10].copy_from_slice(&sectors.to_le_bytes());
    core[BLOCK_LIST + 10..].iter_mut().zip(SEGMENT.to_le_bytes()).for_each(|(to, from)| *to = from);
    Ok((boot, core))
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::plain;
    use super::super::facts::{Array, Luks, Needed, Unlock, Volume};
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_two_sectors_say_where_the_core_is() {
        let (boot, core) = embed(&[0u8; SECTOR], &[7u8; 1500], 2048).unwrap();
        assert_eq!(boot[KERNEL_SECTOR..KERNEL_SECTOR + 8], 2048u64.to_le_bytes());
        assert_eq!(core.len(), 1536);
        assert_eq!(core[500..508], 2049u64.to_le_bytes());
        assert_eq!(core[508..510], 2u16.to_le_bytes());
        assert_eq!(core[510..512], SEGMENT.to_le_bytes());
        assert_eq!((core[0], core[499], core[512], core[1499], core[1500]), (7, 7, 7, 7, 0));
    }

    #[test]
    fn the_core_reaches_boot_through_what_it_lies_on() {
        assert_eq!(modules(&plain(), Platform::Bios), ["biosdisk", "part_gpt", "search_fs_uuid", "ext2"]);
        let mut facts = plain();
        let needed = Needed { boot: true, root: true };
        let array = |metadata: &str, level| Array {
            name: "a".into(),
            uuid: Uuid::nil(),
            metadata: metadata.into(),
            level,
            needed,
        };
        facts.boot.kind = FsType::Vfat;
        facts.arrays = vec![array("1.0", 1), array("1.2", 6), array("0.90", 1)];
        facts.arrays.push(Array { needed: Needed::default(), ..array("1.2", 5) });
        facts.volumes = vec![Volume { group: "g".into(), name: "v".into(), needed }];
        facts.luks = vec![Luks {
            name: "l".into(),
            uuid: Uuid::nil(),
            version: 2,
            unlock: Unlock::Ask,
            options: Vec::new(),
            needed,
        }];
        let list = modules(&facts, Platform::Efi).join(" ");
        assert_eq!(
            list,
            "fat normal part_gpt search_fs_uuid mdraid1x raid5rec raid6rec mdraid09 lvm luks2 cryptodisk pbkdf2 \
             gcry_rijndael gcry_sha256 gcry_sha512"
        );
    }
}
