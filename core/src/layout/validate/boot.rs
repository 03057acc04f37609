//! What the firmware, and after it GRUB, must find to start the system.

use super::{Validator, is_thin};
use crate::layout::diagnostic::Diagnostic;
use crate::layout::spec::{Boot, Firmware, FsType, Level, Loader, Metadata, Nvram, Profile, SecureBoot};
use crate::layout::stack::{Object, Stack};

impl Validator<'_> {
    pub(super) fn boot(&mut self, stack: &Stack) {
        self.esps(stack);
        let Some(boot) = &self.spec.boot else { return };
        if let Some(bad) = boot.cmdline.iter().find(|w| !command_line_word(w)) {
            let text = format!("\"{bad}\" cannot stand on a kernel command line");
            let hint = "write one word to an item, without spaces, quotes, $, \\, ; and braces";
            self.wrong_with_hint("L118", "boot.cmdline", text, hint);
        }
        self.loader(boot);
        self.starts(boot);
        self.early_subvolumes();
        if boot.loader == Loader::Grub2 {
            self.grub_reads(stack);
        }
    }

    /// What the firmware looks for on the disks of the boot set.
    fn starts(&mut self, boot: &Boot) {
        let spec = self.spec;
        let set = &boot.install_on;
        if !spec.disks.contains_key(set) || self.positions.is_faulty("firmware") {
            return;
        }
        let unread = self.positions.is_faulty("partitions");
        let has = |kind: &str| unread || spec.partitions.iter().any(|(k, p)| k.set == *set && p.kind.is(kind));
        let (esp, bios_boot) = (has("esp"), has("bios-boot"));
        if spec.firmware.is_empty() && !esp && !bios_boot {
            let text = format!("nothing can start it: set {set} has neither an \"esp\" nor a \"bios-boot\" partition");
            self.wrong_with_hint("L120", "boot.install-on", text, "say what it is for: firmware: [uefi] or [bios]");
        }
        if spec.firmware.contains(&Firmware::Uefi) {
            if !esp {
                let text = format!("firmware uefi needs an \"esp\" partition on the boot set {set}");
                self.wrong("L120", "firmware", text);
            } else if !unread && !self.positions.is_faulty("filesystems") && !self.has_esp_filesystem(set) {
                let text = format!("firmware uefi needs a vfat filesystem on the \"esp\" partition of set {set}");
                self.wrong("L120", "firmware", text);
            }
        }
        if spec.firmware.contains(&Firmware::Bios) && !bios_boot {
            let text = format!("firmware bios on GPT needs a \"bios-boot\" partition (1MiB) on every disk of {set}");
            self.wrong("L121", "firmware", text);
        }
    }

    /// Whether anything stands on an ESP of a set; what it may be is looked at elsewhere.
    fn has_esp_filesystem(&self, set: &str) -> bool {
        let spec = self.spec;
        let esp = |object: &Object| match object {
            Object::Partition(key) => key.set == set && spec.partitions.get(key).is_some_and(|p| p.kind.is("esp")),
            _ => false,
        };
        let used = |refs: &[crate::layout::spec::Ref]| refs.iter().any(|r| esp(&r.into()));
        spec.filesystems.values().any(|fs| esp(&(&fs.on).into())) || spec.raid.values().any(|r| used(&r.members))
    }

    fn loader(&mut self, boot: &Boot) {
        let spec = self.spec;
        let bios = spec.firmware.contains(&Firmware::Bios);
        if boot.loader == Loader::SystemdBoot && bios {
            let text = "systemd-boot starts with UEFI only, and firmware names bios";
            self.wrong_with_hint("L141", "boot.loader", text, "write loader: grub2, or firmware: [uefi]");
        }
        if boot.loader == Loader::SystemdBoot && boot.secure_boot == SecureBoot::Shim {
            self.means_nothing("boot.secure-boot".to_owned(), "systemd-boot is started without shim");
        }
        if !boot.removable_fallback && !boot.nvram.update && spec.firmware.contains(&Firmware::Uefi) {
            let text = "nothing would start it: it gets no entry in the firmware, and the fallback path has no loader";
            self.wrong_with_hint(
                "L142",
                "boot.removable-fallback",
                text,
                "leave one of removable-fallback and nvram.update",
            );
        }
        if spec.firmware == [Firmware::Bios] {
            if !boot.removable_fallback {
                self.means_nothing("boot.removable-fallback".to_owned(), "BIOS has no fallback path");
            }
            if boot.secure_boot == SecureBoot::Shim {
                self.means_nothing("boot.secure-boot".to_owned(), "there is no secure boot without UEFI");
            }
            if boot.nvram != Nvram::default() {
                self.means_nothing("boot.nvram".to_owned(), "BIOS has no boot entries");
            }
        }
    }

    /// Firmware reads FAT on a partition; a mirror with its superblock at the end reads like one.
    fn esps(&mut self, stack: &Stack) {
        let spec = self.spec;
        for (id, fs) in &spec.filesystems {
            let object = Object::Filesystem(id.clone());
            let below = stack.foundation(&object);
            let esp = below.iter().any(|o| match o {
                Object::Partition(key) => spec.partitions.get(key).is_some_and(|p| p.kind.is("esp")),
                _ => false,
            });
            let named = matches!(fs.mount.as_ref().map(|m| m.at.as_str()), Some("/boot/efi" | "/efi"));
            let meant = named && spec.firmware.contains(&Firmware::Uefi);
            if !esp && !meant {
                continue;
            }
            let path = format!("filesystems.{id}");
            let bad = below.iter().find(|o| match o {
                Object::Partition(_) => false,
                Object::Raid(name) => {
                    spec.raid.get(name).is_some_and(|r| r.level != Level::Raid1 || r.metadata != Metadata::V1_0)
                }
                _ => true,
            });
            if let Some(on) = bad {
                let text = format!(
                    "the ESP is on {on}: it cannot be on LVM, LUKS or RAID other than level 1 with metadata 1.0"
                );
                self.wrong_with_hint("L123", format!("{path}.on"), text, "use mirror: sync");
            } else if !esp && !below.is_empty() {
                let text = "the ESP must be a partition of type esp, which firmware looks for";
                self.wrong("L123", format!("{path}.on"), text);
            } else if fs.kind != FsType::Vfat {
                let text = format!("an ESP with {}: firmware reads vfat", fs.kind.name());
                self.wrong("L123", format!("{path}.type"), text);
            }
        }
    }

    /// What the subvolume of the root is called stands on the command line, and that of `/boot` in GRUB's menu.
    fn early_subvolumes(&mut self) {
        let spec = self.spec;
        let all = spec.filesystems.iter().flat_map(|(id, fs)| fs.subvolumes.iter().map(move |s| (id, s)));
        for (id, (name, subvolume)) in all {
            let early = subvolume.mount.as_ref().is_some_and(|m| matches!(m.at.as_str(), "/" | "/boot"));
            if early && !command_line_word(name) {
                let text = format!("the kernel's command line cannot name the subvolume \"{name}\"");
                let hint = "use letters, digits and .,:=/@%+-_ only";
                self.wrong_with_hint("L137", format!("filesystems.{id}.subvolumes.{name}"), text, hint);
            }
        }
    }

    /// GRUB reads the kernels from `/boot`, or from `/` where that is one filesystem with it.
    fn grub_reads(&mut self, stack: &Stack) {
        let spec = self.spec;
        let mounted = |at: &str| spec.filesystems.iter().find(|(_, fs)| fs.is_mounted_at(at));
        let (shown, (id, fs)) = match (mounted("/boot"), mounted("/")) {
            (Some(fs), _) => ("/boot", fs),
            (None, Some(fs)) => ("/, with /boot in it,", fs),
            (None, None) => return,
        };
        let path = format!("filesystems.{id}");
        for object in stack.foundation(&Object::Filesystem(id.clone())) {
            let (text, hint) = match object {
                Object::Raid(name) => match spec.raid.get(name).map(|r| r.level) {
                    None | Some(Level::Raid1) => continue,
                    Some(level) => (format!("{shown} on raid level {level}: grub needs level 1"), None),
                },
                Object::Luks(_) => (
                    format!("{shown} on {object}: grub cannot open LUKS 2 with argon2"),
                    Some("give /boot a filesystem of its own on a partition or a raid of level 1"),
                ),
                Object::Volume(group, name) => {
                    let stripes = spec.lvm.get(group).and_then(|g| g.lvs.get(name)).and_then(|v| v.stripes);
                    if is_thin(spec, object) {
                        (format!("{shown} on the thin volume {object}: grub cannot read it"), None)
                    } else if stripes.unwrap_or(1) > 1 {
                        (format!("{shown} on the striped volume {object}: grub needs a linear one"), None)
                    } else {
                        continue;
                    }
                }
                Object::Partition(_) | Object::Group(_) | Object::Filesystem(_) => continue,
            };
            let d = Diagnostic::error("L124", format!("{path}.on"), text);
            self.report(match hint {
                Some(hint) => d.hint(hint),
                None => d,
            });
        }
        if fs.kind == FsType::Xfs && fs.profile == Profile::Default {
            let text = format!("{shown} is xfs with profile \"default\": el8 grub cannot read nrext64");
            self.wrong_with_hint("L125", format!("{path}.profile"), text, "set profile: grub-el8 or use ext4");
        }
    }
}

/// Whether a word means the same in a GRUB script as it says.
pub(in crate::layout) fn command_line_word(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_graphic() && !"'\"\\$;{}<>|&#`".contains(c))
}
