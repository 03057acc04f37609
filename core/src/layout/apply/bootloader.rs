//! GRUB for BIOS, out of the packages of the image that was installed.
//!
//! ```text
//! first sector: boot code ──> bios-boot partition: core ──> /boot/grub: modules, grub.cfg ──> kernel
//! ```
//!
//! `grub-mkimage` of the image builds the core, in a chroot. `grub-install` and `grub-mkconfig` are not used, although
//! they work on many machines: both ask the running kernel, `/dev` and `/sys` what lies under `/boot`. Where partitions
//! have no nodes of the usual name, or the kernel does not show them as partitions, they stop or build a core without
//! the module for GPT. What they would find out is in the plan: where the core goes, and what the two sectors that load
//! it must say. And the boot code can be written last, when everything else was read back.

mod config;

use super::super::plan::{Plan, PlannedBoot, PlannedDisk};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::device::{ReadAt, WriteAt};
use crate::layout::gate::Gate;
use crate::layout::spec::FsType;
use crate::sys::confined::{Links, Root};
use crate::sys::program::{Call, Program};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

/// Where the packages put GRUB for BIOS.
const PLATFORM: &str = "usr/lib/grub/i386-pc";
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

/// What has to be written outside of filesystems to start the system.
#[derive(Clone, Debug)]
pub struct BootSector {
    boot: Vec<u8>,
    core: Vec<u8>,
    /// The kernels that are offered, newest first.
    pub kernels: Vec<String>,
}

/// Writes GRUB's files into the target and builds its core.
///
/// # Errors
/// `Unsupported` when the image has no GRUB for BIOS or no kernel; `Io`.
pub fn install(plan: &Plan, planned: &PlannedBoot, target: &Path, stop: &dyn Fn() -> bool) -> Result<BootSector> {
    let root = Root::open(target).map_err(|e| Error::io("open", target.display(), e))?;
    let program = Program::GrubMkimage.find_in(target)?;
    // Enterprise Linux and SUSE call everything of it grub2.
    let name = if program.to_string_lossy().contains("grub2") { "grub2" } else { "grub" };
    let boot_fs = &plan.filesystems()[planned.boot];
    let own = boot_fs.mount.as_ref().is_some_and(|m| m.at == "/boot");
    let directory = format!("boot/{name}");
    let prefix = if own { format!("/{name}") } else { format!("/boot/{name}") };
    let boot = read(&root, &format!("{PLATFORM}/boot.img"))?;
    copy_modules(&root, &format!("{directory}/i386-pc"))?;
    let kernels = config::kernels(&root)?;
    let early = format!("search.fs_uuid {} root\nset prefix=($root){prefix}\n", boot_fs.uuid);
    write(&root, &format!("{directory}/i386-pc/load.cfg"), early.as_bytes())?;
    let text = config::grub_cfg(&root, planned, &boot_fs.uuid, if own { "" } else { "/boot" }, &kernels);
    write(&root, &format!("{directory}/grub.cfg"), text.as_bytes())?;
    config::write_defaults(&root, planned)?;
    let image = format!("/{directory}/i386-pc/core.img");
    let call = Call::new(Program::GrubMkimage)
        .args(["--directory", &format!("/{PLATFORM}"), "--prefix", &prefix, "--output", &image])
        .args(["--format", "i386-pc", "--compression", "auto"])
        .args(["--config", &format!("/{directory}/i386-pc/load.cfg")])
        .args(["biosdisk", "part_gpt", "search_fs_uuid", module(boot_fs.kind)])
        .limit(Duration::from_secs(120))
        .in_root(target);
    call.run(stop)?;
    let core = read(&root, &image[1..])?;
    if boot.len() != SECTOR || core.len() <= SECTOR {
        return Err(
            Error::new(ErrorKind::Unsupported, "the GRUB of the image is not one for BIOS").fact("code", "I302")
        );
    }
    Ok(BootSector { boot, core, kernels: kernels.into_iter().map(|k| k.version).collect() })
}

/// The module of GRUB that reads a filesystem.
const fn module(kind: FsType) -> &'static str {
    match kind {
        FsType::Ext4 | FsType::Swap => "ext2",
        FsType::Xfs => "xfs",
        FsType::Btrfs => "btrfs",
        FsType::Vfat => "fat",
    }
}

impl BootSector {
    /// Puts the core into the disk's bios-boot partition; gives the boot code that loads it.
    ///
    /// # Errors
    /// `Limit` when it does not fit; `Io`.
    pub fn write_core(&self, gate: &Gate, disk: &PlannedDisk) -> Result<Vec<u8>> {
        let place = disk.partitions.iter().find(|p| p.kind.is("bios-boot"));
        let place = place.ok_or_else(|| Error::new(ErrorKind::Bug, "no bios-boot partition"))?;
        if self.core.len() as u64 > place.length {
            return Err(Error::limit(format!("GRUB needs {} bytes, {} is smaller", self.core.len(), place.key)));
        }
        let (boot, core) = embed(&self.boot, &self.core, place.start / SECTOR as u64)?;
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

/// Copies GRUB's modules to where it looks for them at start.
fn copy_modules(root: &Root, directory: &str) -> Result<()> {
    let names = list(root, PLATFORM)?;
    let wanted = names.iter().filter(|n| n.ends_with(".mod") || n.ends_with(".lst"));
    let mut copied = 0;
    for name in wanted {
        write(root, &format!("{directory}/{name}"), &read(root, &format!("{PLATFORM}/{name}"))?)?;
        copied += 1;
    }
    if copied == 0 { Err(no_grub()) } else { Ok(()) }
}

fn no_grub() -> Error {
    Error::unsupported("the image has no GRUB for BIOS")
        .hint("add the package grub-pc-bin (Debian, Ubuntu) or grub2-pc-modules (Enterprise Linux) to the image")
        .fact("code", "I302")
}

/// The names in a directory of the target; links lead as they would in the installed system.
fn list(root: &Root, path: &str) -> Result<Vec<String>> {
    let fd = root
        .open_at(path.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty(), Links::InRoot)
        .map_err(|e| if e == Errno::NOENT { no_grub() } else { Error::io("read", format!("/{path}"), e) })?;
    let entries = rustix::fs::Dir::read_from(&fd).map_err(|e| Error::io("read", format!("/{path}"), e))?;
    let mut names: Vec<String> =
        entries.flatten().filter_map(|e| e.file_name().to_str().ok().map(ToOwned::to_owned)).collect();
    names.sort();
    Ok(names)
}

fn read(root: &Root, path: &str) -> Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let fd = root
        .open_at(path.as_bytes(), flags, Mode::empty(), Links::InRoot)
        .map_err(|e| if e == Errno::NOENT { no_grub() } else { Error::io("read", format!("/{path}"), e) })?;
    let mut bytes = Vec::new();
    File::from(fd).take(32 << 20).read_to_end(&mut bytes).map_err(|e| Error::io("read", format!("/{path}"), e))?;
    Ok(bytes)
}

/// Writes a file of the target anew, with the directories that lead to it.
fn write(root: &Root, path: &str, bytes: &[u8]) -> Result<()> {
    let failed = |e: Errno| Error::io("write", format!("/{path}"), e);
    for (i, _) in path.match_indices('/') {
        let (dir, name) = root.parent(&path.as_bytes()[..i], Links::InRoot).map_err(failed)?;
        match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(failed(e)),
        }
    }
    let (dir, name) = root.parent(path.as_bytes(), Links::InRoot).map_err(failed)?;
    // Whatever was there, also a link, gives way.
    match rustix::fs::unlinkat(&dir, name, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(failed(e)),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(0o644)).map_err(failed)?;
    File::from(fd).write_all(bytes).map_err(|e| Error::io("write", format!("/{path}"), e))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_link_in_the_target_does_not_lead_out() {
        let tmp = tempfile::tempdir().unwrap();
        let (target, outside) = (tmp.path().join("target"), tmp.path().join("outside"));
        std::fs::create_dir_all(target.join("boot")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, target.join("boot/grub")).unwrap();
        std::fs::write(outside.join("grub.cfg"), "mine").unwrap();
        let root = Root::open(&target).unwrap();
        // Within the target the absolute link names a place that does not exist.
        assert!(write(&root, "boot/grub/grub.cfg", b"theirs").is_err());
        assert_eq!(std::fs::read(outside.join("grub.cfg")).unwrap(), b"mine");
        std::fs::remove_file(target.join("boot/grub")).unwrap();
        write(&root, "boot/grub/i386-pc/x", b"1").unwrap();
        write(&root, "boot/grub/i386-pc/x", b"2").unwrap();
        assert_eq!(std::fs::read(target.join("boot/grub/i386-pc/x")).unwrap(), b"2");
    }
}
