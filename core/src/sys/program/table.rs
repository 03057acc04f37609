//! The programs that libcv may run, where they are, and the packages that bring them.

use super::PATH;
use crate::error::{Error, Result};
use crate::sys::confined::{Links, Root};
use rustix::fs::{Mode, OFlags};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A program that libcv may run.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// Makes ext4.
    MkfsExt4,
    /// Makes xfs.
    MkfsXfs,
    /// Makes btrfs.
    MkfsBtrfs,
    /// Makes subvolumes of btrfs.
    Btrfs,
    /// Makes FAT.
    MkfsVfat,
    /// Makes swap space.
    Mkswap,
    /// Makes and stops arrays.
    Mdadm,
    /// Makes volume groups and volumes.
    Lvm,
    /// Takes volumes and encrypted devices out of the kernel.
    Dmsetup,
    /// Makes and opens encrypted devices.
    Cryptsetup,
    /// Lets the TPM open encrypted devices.
    SystemdCryptenroll,
    /// Answers the questions that packages of Debian and Ubuntu ask.
    DebconfSetSelections,
    /// Builds the core of GRUB.
    GrubMkimage,
    /// Copies files into FAT.
    Mcopy,
    /// Makes an initramfs on Enterprise Linux and others.
    Dracut,
    /// Makes an initramfs on Debian and Ubuntu.
    Mkinitramfs,
    /// Shows and changes the entries in UEFI firmware.
    Efibootmgr,
    /// Makes a squashfs of an archive.
    Tar2sqfs,
    /// Makes an archive of a squashfs.
    Sqfs2tar,
    /// Checks the signatures of packages.
    Rpmkeys,
    /// Installs packages into a new root.
    Dnf,
    /// Tells of packages; its library is what dnf installs them with.
    Rpm,
    /// Checks the signatures of suites of Debian and Ubuntu.
    Gpgv,
    /// Finds and fetches packages of Debian and Ubuntu.
    AptGet,
    /// Installs them into a new root.
    Dpkg,
}

struct Row {
    names: &'static [&'static str],
    debian: &'static str,
    el: &'static str,
}

impl Program {
    const fn row(self) -> Row {
        let (names, debian, el): (&[&str], _, _) = match self {
            Self::MkfsExt4 => (&["mkfs.ext4"], "e2fsprogs", "e2fsprogs"),
            Self::MkfsXfs => (&["mkfs.xfs"], "xfsprogs", "xfsprogs"),
            Self::MkfsBtrfs => (&["mkfs.btrfs"], "btrfs-progs", "btrfs-progs"),
            Self::Btrfs => (&["btrfs"], "btrfs-progs", "btrfs-progs"),
            Self::MkfsVfat => (&["mkfs.vfat"], "dosfstools", "dosfstools"),
            Self::Mkswap => (&["mkswap"], "util-linux", "util-linux"),
            Self::Mdadm => (&["mdadm"], "mdadm", "mdadm"),
            Self::Lvm => (&["lvm"], "lvm2", "lvm2"),
            Self::Dmsetup => (&["dmsetup"], "dmsetup", "device-mapper"),
            Self::Cryptsetup => (&["cryptsetup"], "cryptsetup-bin", "cryptsetup"),
            Self::SystemdCryptenroll => (&["systemd-cryptenroll"], "systemd", "systemd-udev"),
            Self::DebconfSetSelections => (&["debconf-set-selections"], "debconf", "debconf"),
            Self::GrubMkimage => (&["grub-mkimage", "grub2-mkimage"], "grub-common", "grub2-tools"),
            Self::Mcopy => (&["mcopy"], "mtools", "mtools"),
            Self::Dracut => (&["dracut"], "dracut", "dracut"),
            Self::Mkinitramfs => (&["mkinitramfs"], "initramfs-tools", "dracut"),
            Self::Efibootmgr => (&["efibootmgr"], "efibootmgr", "efibootmgr"),
            Self::Tar2sqfs => (&["tar2sqfs"], "squashfs-tools-ng", "squashfs-tools-ng"),
            Self::Sqfs2tar => (&["sqfs2tar"], "squashfs-tools-ng", "squashfs-tools-ng"),
            Self::Rpmkeys => (&["rpmkeys"], "rpm", "rpm"),
            Self::Dnf => (&["dnf"], "dnf", "dnf"),
            Self::Rpm => (&["rpm"], "rpm", "rpm"),
            Self::Gpgv => (&["gpgv", "gpgv2"], "gpgv", "gnupg2"),
            Self::AptGet => (&["apt-get"], "apt", "apt"),
            Self::Dpkg => (&["dpkg"], "dpkg", "dpkg"),
        };
        Row { names, debian, el }
    }

    /// The name that people know it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().names[0]
    }

    /// Where it is on this machine.
    ///
    /// # Errors
    /// `Unsupported` when it is not installed; the hint names the package.
    pub fn find(self) -> Result<PathBuf> {
        let names = self.row().names;
        let mut places = names.iter().flat_map(|n| PATH.iter().map(move |d| Path::new(d).join(n)));
        places.find(|p| p.is_file()).ok_or_else(|| self.missing("this machine"))
    }

    /// Where it is in another root, as a path from there.
    ///
    /// # Errors
    /// `Unsupported` when the root does not have it.
    pub fn find_in(self, root: &Path) -> Result<PathBuf> {
        let confined = Root::open(root).map_err(|e| Error::io("open", root.display(), e))?;
        let names = self.row().names;
        let mut places = names.iter().flat_map(|n| PATH.iter().map(move |d| Path::new(d).join(n)));
        let there = |p: &PathBuf| {
            let relative = &p.as_os_str().as_bytes()[1..];
            confined.open_at(relative, OFlags::PATH, Mode::empty(), Links::InRoot).is_ok()
        };
        places.find(there).ok_or_else(|| self.missing("the image"))
    }

    fn missing(self, place: &str) -> Error {
        let row = self.row();
        Error::unsupported(format!("{} is not installed in {place}", self.name()))
            .hint(format!("install the package {} (Debian, Ubuntu) or {} (Enterprise Linux)", row.debian, row.el))
            .fact("code", "F230")
            .fact("program", self.name())
    }
}
