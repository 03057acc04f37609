//! What the installed system has to know: its filesystems, arrays and encrypted devices, and the kernel its root.

use super::{Device, Plan, PlannedFilesystem, PlannedMount};
use crate::layout::apply::bootloader::{self, planned};
use crate::layout::spec::FsType;

impl Plan {
    /// The lines of `/etc/fstab`, without line ends.
    #[must_use]
    pub fn fstab_lines(&self) -> Vec<String> {
        let mounted = self.mounts().into_iter().map(|mounted| {
            let PlannedMount { filesystem: fs, mount, .. } = mounted;
            let pass = match (mount.at.as_str(), fs.kind) {
                (_, FsType::Xfs | FsType::Btrfs | FsType::Swap) => 0,
                ("/", _) => 1,
                _ => 2,
            };
            let options = self.mount_options(mounted).join(",");
            format!("UUID={} {} {} {options} 0 {pass}", fs.uuid, mount.at, fs.kind.name())
        });
        let swap = self.filesystems.iter().filter(|f| f.kind == FsType::Swap);
        mounted.chain(swap.map(|f| format!("UUID={} none swap sw 0 0", f.uuid))).collect()
    }

    fn mount_options(&self, mounted: PlannedMount<'_>) -> Vec<String> {
        let PlannedMount { filesystem: fs, mount, .. } = mounted;
        let mut options = mounted.options();
        if fs.kind == FsType::Vfat && options.is_empty() {
            // What an ESP carries is nobody's business but root's, and FAT keeps no modes.
            options.push("umask=0077".to_owned());
        }
        // Where a disk is missing these are late or, of the ESP, on the missing one: that keeps no machine from starting.
        let for_start = matches!(mount.at.as_str(), "/boot" | "/boot/efi" | "/efi" | "/boot/firmware");
        if for_start && self.is_replicated(fs) && !options.iter().any(|o| o == "nofail") {
            options.push("nofail".to_owned());
        }
        if options.is_empty() {
            options.push("defaults".to_owned());
        }
        options
    }

    /// Whether a filesystem survives the loss of a disk.
    fn is_replicated(&self, fs: &PlannedFilesystem) -> bool {
        let redundant = |device: &Device| match device {
            Device::Array(i) => self.arrays[*i].level.is_redundant() && self.arrays[*i].members.len() > 1,
            _ => false,
        };
        !fs.mirrors.is_empty() || self.foundation(fs.on).iter().any(redundant)
    }

    /// The kernel's command line; empty when no filesystem is mounted at `/`. Where dracut made the initramfs, the boot
    /// loader adds the arrays, volumes and encrypted devices that it has to start.
    #[must_use]
    pub fn boot_cmdline(&self) -> String {
        let Some(root) = self.mounted_at("/") else { return String::new() };
        let flags = root.subvolume_option().map(|option| format!("rootflags={option}"));
        let root = [format!("root={}", self.root_source(root.filesystem)), "ro".to_owned()].into_iter().chain(flags);
        let words = self.spec.boot.iter().flat_map(|b| b.cmdline.iter().cloned());
        root.chain(words).collect::<Vec<_>>().join(" ")
    }

    /// What the kernel is told of its root.
    pub(in crate::layout) fn root_source(&self, root: &PlannedFilesystem) -> String {
        match root.on {
            // Initramfs-tools starts the group of a root that is named as a volume, and of no other.
            Device::Volume { .. } => self.glance(root.on).path,
            _ => format!("UUID={}", root.uuid),
        }
    }

    /// The lines of `mdadm.conf`, without line ends; none without arrays.
    #[must_use]
    pub fn mdadm_lines(&self) -> Vec<String> {
        planned::arrays(self).iter().map(bootloader::Array::line).collect()
    }

    /// The lines of `/etc/crypttab`, without line ends; none without encrypted devices. Where initramfs-tools opens the
    /// root, its line says so too.
    #[must_use]
    pub fn crypttab_lines(&self) -> Vec<String> {
        planned::luks(self).iter().map(|l| l.line(false)).collect()
    }
}
