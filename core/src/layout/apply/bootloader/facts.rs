//! What a boot loader has to know of the disks: the one input of everything here.
//!
//! It knows neither document nor plan, so a plan can make it, and so can a test for a plain directory. Every text in it
//! goes into scripts and configuration of other programs; [`BootFacts::check`] refuses what could mean something else
//! there.

use crate::error::{Error, Result};
use crate::layout::ondisk::md::mdadm_uuid;
use crate::layout::spec::{Firmware, FsType, SecureBoot};
use std::path::PathBuf;
use uuid::Uuid;

/// The disks as a boot loader sees them.
#[derive(Clone, Debug)]
pub struct BootFacts {
    /// What must be able to start the system.
    pub firmwares: Vec<Firmware>,
    /// Which program starts it under UEFI.
    pub loader: UefiLoader,
    /// What the kernel is told: `UUID=…` or `/dev/mapper/vg-lv`.
    pub root: String,
    /// The filesystem that is mounted at `/`, for the check afterwards.
    pub root_uuid: String,
    /// The subvolume of it that is mounted there, such as `@`.
    pub root_subvolume: Option<String>,
    /// More words for the kernel's command line.
    pub words: Vec<String>,
    /// Where kernels lie.
    pub boot: BootPlace,
    /// MD arrays, all of the layout.
    pub arrays: Vec<Array>,
    /// LUKS volumes, all of the layout.
    pub luks: Vec<Luks>,
    /// Logical volumes that are needed early.
    pub volumes: Vec<Volume>,
    /// Where a hibernated system lies: `UUID=…` or a path.
    pub resume: Option<String>,
    /// EFI system partitions, the one that is mounted in the target first.
    pub esps: Vec<Esp>,
    /// Further members of an array that the ESP is: the firmware starts from each, and md keeps them alike.
    pub esp_members: Vec<Esp>,
    /// What is in front of the loader with UEFI.
    pub secure_boot: SecureBoot,
    /// Whether it is also installed where firmware looks without an entry.
    pub removable_fallback: bool,
    /// Whether the firmware's entries are kept right; the system's own tools are told.
    pub update_nvram: bool,
    /// Names in `/dev/disk/by-id` of the disks that BIOS starts from; none of image files.
    pub bios_disks: Vec<String>,
    /// The machine-id for an image that has none: 32 lower-case hex digits. BLS entries are named after it.
    pub machine_id: String,
}

/// Which program starts the system under UEFI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UefiLoader {
    /// GRUB where the image has it for UEFI, else systemd-boot.
    #[default]
    Auto,
    /// GRUB.
    Grub,
    /// systemd-boot.
    SystemdBoot,
}

/// The filesystem that `/boot` lies on.
#[derive(Clone, Debug)]
pub struct BootPlace {
    /// Its UUID.
    pub uuid: String,
    /// Its type.
    pub kind: FsType,
    /// What leads to the content of `/boot` on it: empty when it is mounted there, else `/boot`, or `/@/boot` in a
    /// subvolume.
    pub path: String,
}

/// What an object is needed for before the system runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needed {
    /// `/boot` lies on it: the boot loader has to read it.
    pub boot: bool,
    /// `/` or the place to resume from lies on it: the initramfs has to start it.
    pub root: bool,
}

/// An MD array.
#[derive(Clone, Debug)]
pub struct Array {
    /// Its name, as in `/dev/md/NAME`.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// Its metadata version, such as `1.2`.
    pub metadata: String,
    /// Its level.
    pub level: u8,
    /// What it is needed for.
    pub needed: Needed,
}

/// A LUKS volume.
#[derive(Clone, Debug)]
pub struct Luks {
    /// Its name, as in `/dev/mapper/NAME`.
    pub name: String,
    /// The UUID in its header.
    pub uuid: Uuid,
    /// Its version: 1 or 2.
    pub version: u8,
    /// How it is opened.
    pub unlock: Unlock,
    /// Options of `/etc/crypttab` that the document gives.
    pub options: Vec<String>,
    /// What it is needed for.
    pub needed: Needed,
}

/// How a LUKS volume is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlock {
    /// Somebody is asked.
    Ask,
    /// The TPM gives the key; when it does not, somebody is asked.
    Tpm2,
}

/// A logical volume.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its group.
    pub group: String,
    /// Its name.
    pub name: String,
    /// What it is needed for.
    pub needed: Needed,
}

/// An EFI system partition.
#[derive(Clone, Debug)]
pub struct Esp {
    /// Where it is mounted now, as seen from this machine: in the target for the first one.
    pub directory: PathBuf,
    /// Where the installed system mounts it; the first one only.
    pub at: Option<String>,
    /// The UUID of the partition.
    pub partition: Uuid,
    /// The number of the partition.
    pub number: u32,
    /// The node of its disk, as seen from this machine: for the entry in the firmware.
    pub disk: PathBuf,
    /// The name of its disk in `/dev/disk/by-id`; none of an image file.
    pub by_id: Option<String>,
}

impl BootFacts {
    /// Whether this firmware must be able to start the system.
    #[must_use]
    pub fn serves(&self, firmware: Firmware) -> bool {
        self.firmwares.contains(&firmware)
    }

    /// Whether an initramfs has to start something before it finds the root.
    #[must_use]
    pub fn is_stacked(&self) -> bool {
        self.arrays.iter().any(|a| a.needed.root)
            || self.luks.iter().any(|l| l.needed.root)
            || self.volumes.iter().any(|v| v.needed.root)
    }

    /// Refuses what would mean something else in a script of GRUB, a BLS entry or a file of the system.
    ///
    /// # Errors
    /// `Invalid` naming the value.
    pub fn check(&self) -> Result<()> {
        let texts = [("root", &self.root), ("filesystem", &self.root_uuid), ("filesystem", &self.boot.uuid)];
        let places = [("place of /boot", &self.boot.path)].into_iter().filter(|(_, p)| !p.is_empty());
        let words = self.words.iter().map(|w| ("word of the command line", w));
        let names = self.arrays.iter().flat_map(|a| [("array", &a.name), ("metadata version", &a.metadata)]);
        let luks = self.luks.iter().flat_map(|l| {
            let options = l.options.iter().map(|o| ("option of crypttab", o));
            std::iter::once(("LUKS volume", &l.name)).chain(options)
        });
        let subvolume = self.root_subvolume.iter().map(|s| ("subvolume", s));
        let disks = self.bios_disks.iter().chain(self.esps.iter().filter_map(|e| e.by_id.as_ref()));
        let disks = disks.map(|d| ("name of a disk", d));
        let volumes = self.volumes.iter().flat_map(|v| [("volume group", &v.group), ("volume", &v.name)]);
        let resume = self.resume.iter().map(|r| ("device to resume from", r));
        let at = self.esps.iter().filter_map(|e| e.at.as_ref()).map(|a| ("mount point of the ESP", a));
        let all = texts.into_iter().chain(places).chain(words).chain(names).chain(luks);
        for (what, text) in all.chain(volumes).chain(resume).chain(at).chain(subvolume).chain(disks) {
            if !is_plain(text) {
                return Err(Error::invalid(format!(
                    "the {what} {text:?} cannot stand in a boot loader's configuration"
                ))
                .hint("use letters, digits and .,:=/@%+-_ only"));
            }
        }
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if self.machine_id.len() != 32 || !self.machine_id.chars().all(hex) {
            return Err(Error::invalid(format!("{:?} is no machine-id", self.machine_id)).hint("32 hex digits"));
        }
        if self.serves(Firmware::Uefi) && self.esps.is_empty() {
            return Err(Error::invalid("UEFI needs an EFI system partition").fact("code", "L120"));
        }
        Ok(())
    }
}

/// Whether a word means the same in a GRUB script, in a shell and in a list as it says.
#[must_use]
pub(super) fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_graphic() && !"'\"\\$;{}<>|&#`".contains(c))
}

impl Array {
    /// The UUID as mdadm writes it: four groups of eight digits.
    #[must_use]
    pub fn md_uuid(&self) -> String {
        mdadm_uuid(&self.uuid)
    }

    /// The line of `mdadm.conf`. By its UUID: names of members and numbers of arrays change from boot to boot.
    #[must_use]
    pub fn line(&self) -> String {
        format!("ARRAY /dev/md/{} metadata={} UUID={}", self.name, self.metadata, self.md_uuid())
    }
}

impl Luks {
    /// The line of `/etc/crypttab`, as systemd and the scripts of Debian read it; `initramfs` where the latter open it early.
    #[must_use]
    pub fn line(&self, initramfs: bool) -> String {
        let own = self.options.iter().map(String::as_str);
        let tpm = (self.unlock == Unlock::Tpm2).then_some("tpm2-device=auto");
        // Debian's hook puts into the initramfs what it finds under the running root, and what says so.
        let initramfs = (initramfs && self.needed.root).then_some("initramfs");
        let options: Vec<&str> = ["luks"].into_iter().chain(own).chain(tpm).chain(initramfs).collect();
        format!("{} UUID={} none {}", self.name, self.uuid, options.join(","))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One disk with everything in one filesystem, BIOS.
    pub(in super::super) fn plain() -> BootFacts {
        let uuid = "11111111-2222-4333-8444-555555555555".to_owned();
        BootFacts {
            firmwares: vec![Firmware::Bios],
            loader: UefiLoader::Auto,
            root: format!("UUID={uuid}"),
            root_uuid: uuid.clone(),
            root_subvolume: None,
            words: vec!["console=ttyS0,115200n8".to_owned()],
            boot: BootPlace { uuid, kind: FsType::Ext4, path: "/boot".to_owned() },
            arrays: Vec::new(),
            luks: Vec::new(),
            volumes: Vec::new(),
            resume: None,
            esps: Vec::new(),
            esp_members: Vec::new(),
            secure_boot: SecureBoot::Auto,
            removable_fallback: true,
            update_nvram: true,
            bios_disks: Vec::new(),
            machine_id: "0123456789abcdef0123456789abcdef".to_owned(),
        }
    }

    #[test]
    fn hostile_values_are_refused() {
        assert!(plain().check().is_ok());
        for bad in ["a b", "x;halt", "$(x)", "a'b", "a\"b", "a\nb", "`x`", "a\\b", "größe", "{", "}"] {
            let word = BootFacts { words: vec![bad.to_owned()], ..plain() };
            let root = BootFacts { root: bad.to_owned(), ..plain() };
            let mut boot = plain();
            boot.boot.path = bad.to_owned();
            for facts in [word, root, boot] {
                assert_eq!(facts.check().unwrap_err().kind(), crate::ErrorKind::Invalid, "{bad:?}");
            }
        }
        let id = BootFacts { machine_id: "../../../../../../../../etc/passw".to_owned(), ..plain() };
        assert!(id.check().is_err());
        assert!(BootFacts { firmwares: vec![Firmware::Uefi], ..plain() }.check().is_err());
    }

    #[test]
    fn lines_of_crypttab() {
        let needed = Needed { boot: false, root: true };
        let options = ["discard", "tries=3"].map(String::from).to_vec();
        let luks = Luks { name: "c".into(), uuid: Uuid::nil(), version: 2, unlock: Unlock::Tpm2, options, needed };
        let start = format!("c UUID={} none luks,discard,tries=3,tpm2-device=auto", Uuid::nil());
        assert_eq!(luks.line(false), start);
        assert_eq!(luks.line(true), format!("{start},initramfs"));
        let asked = Luks { unlock: Unlock::Ask, options: Vec::new(), needed: Needed::default(), ..luks };
        assert_eq!(asked.line(true), format!("c UUID={} none luks", Uuid::nil()));
    }

    #[test]
    fn mdadm_has_its_own_way_to_write_a_uuid() {
        let uuid = Uuid::parse_str("7fe1895e-34dc-b6dc-d1bc-bb9cf3e05134").unwrap();
        let array = Array { name: "x".into(), uuid, metadata: "1.2".into(), level: 1, needed: Needed::default() };
        assert_eq!(array.md_uuid(), "7fe1895e:34dcb6dc:d1bcbb9c:f3e05134");
    }
}
