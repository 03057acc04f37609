//! What of a deployed tree is the node's own configuration, and why: the table.
//!
//! The identity of the machine, logs and caches stand in the rules of the capture ([`crate::tree::rules`]) and hold
//! here, too: what a capture leaves out, an update leaves alone. This table adds what a node got at its deployment or
//! from its administrator. Patterns are gitignore's.

use crate::error::Result;
use crate::image::row::{DIRECTORY, KIND_MASK};
use crate::tree::pattern::Patterns;

/// What a rule keeps an update from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// What is there is neither overwritten nor deleted; what is missing comes from the image.
    Own,
    /// What the image does not have is not deleted; what it has is updated.
    Local,
}

/// One rule.
pub struct Rule {
    /// gitignore pattern.
    pub pattern: &'static str,
    /// What it does.
    pub keep: Keep,
    /// Why, for the report.
    pub why: &'static str,
}

const fn own(pattern: &'static str, why: &'static str) -> Rule {
    Rule { pattern, keep: Keep::Own, why }
}

const fn local(pattern: &'static str, why: &'static str) -> Rule {
    Rule { pattern, keep: Keep::Local, why }
}

/// The rules; the first that fits decides.
pub const RULES: &[Rule] = &[
    // What `config` writes.
    own("/etc/hostname", "name of the node"),
    own("/etc/hosts", "name of the node"),
    own("/etc/fstab", "disks of the node"),
    own("/etc/shadow", "passwords of the node"),
    own("/etc/machine-info", "name of the node"),
    local("/etc/systemd/system/*.wants/*", "unit that was enabled on the node"),
    local("/etc/systemd/system/*.requires/*", "unit that was enabled on the node"),
    own("/etc/libcv/**", "what this node lets others ask"),
    own("/var/lib/libcv/**", "state of libcv on this node"),
    local("/usr/bin/cvctl-node", "the program that updates this node"),
    local("/usr/lib/systemd/system/cvctl-node.service", "the program that updates this node"),
    // Disks.
    own("/etc/crypttab", "disks of the node"),
    own("/etc/mdadm.conf", "disks of the node"),
    own("/etc/mdadm/mdadm.conf", "disks of the node"),
    own("/etc/initramfs-tools/conf.d/resume", "disks of the node"),
    // The boot loader names the disks of the node.
    own("/etc/default/grub", "boot loader of the node"),
    own("/etc/default/grub.d/*", "boot loader of the node"),
    own("/etc/kernel/cmdline", "boot loader of the node"),
    own("/etc/kernel/entry-token", "boot loader of the node"),
    own("/boot/grub/**", "boot loader of the node"),
    own("/boot/grub2/**", "boot loader of the node"),
    own("/boot/loader/**", "boot loader of the node"),
    own("/boot/efi/**", "boot loader of the node"),
    own("/efi/**", "boot loader of the node"),
    // Network.
    own("/etc/network/interfaces", "network of the node"),
    own("/etc/network/interfaces.d/*", "network of the node"),
    own("/etc/netplan/*", "network of the node"),
    own("/etc/sysconfig/network", "network of the node"),
    own("/etc/sysconfig/network-scripts/ifcfg-*", "network of the node"),
    own("/etc/sysconfig/network-scripts/route-*", "network of the node"),
    own("/etc/NetworkManager/system-connections/*", "network of the node"),
    own("/etc/systemd/network/*", "network of the node"),
    own("/etc/resolv.conf", "network of the node"),
    // Time.
    own("/etc/localtime", "time zone of the node"),
    own("/etc/timezone", "time zone of the node"),
];

/// The rules of one update.
pub(in crate::tree) struct Protection {
    table: Patterns,
    given: Patterns,
    /// The release of the kernel that runs on this tree: its modules are still loaded from there.
    kernel: Option<String>,
}

impl Protection {
    /// The table, unless `exact`, and patterns that somebody gave.
    ///
    /// # Errors
    /// `Invalid` for a pattern that is none.
    pub(in crate::tree) fn new(given: &[String], exact: bool, kernel: Option<String>) -> Result<Self> {
        // The last pattern that fits decides in a gitignore file, the first one in the table.
        let patterns: Vec<_> = RULES.iter().rev().filter(|_| !exact).map(|r| r.pattern).collect();
        Ok(Self { table: Patterns::new(&patterns, "rule")?, given: Patterns::new(given, "--protect")?, kernel })
    }

    /// What keeps an entry, and why.
    pub(in crate::tree) fn of(&self, path: &[u8], mode: u32) -> Option<(Keep, &'static str)> {
        let directory = mode & KIND_MASK == DIRECTORY;
        if self.given.fits_or_beneath(path, directory).is_some() {
            return Some((Keep::Own, "--protect"));
        }
        if self.kernel.as_ref().is_some_and(|release| belongs_to_kernel(path, release)) {
            return Some((Keep::Local, "of the kernel that runs"));
        }
        // A directory holds more than one thing; what is the node's own is in it.
        if directory {
            return None;
        }
        let pattern = self.table.fits(path, directory)?;
        RULES.iter().find(|r| r.pattern == pattern).map(|r| (r.keep, r.why))
    }
}

/// Modules of a kernel, and what lies in `/boot` for it.
fn belongs_to_kernel(path: &[u8], release: &str) -> bool {
    let path = path.strip_prefix(b"usr/").unwrap_or(path);
    let modules = path.strip_prefix(b"lib/modules/").and_then(|rest| rest.strip_prefix(release.as_bytes()));
    let boot = path.strip_prefix(b"boot/").is_some_and(|name| {
        !name.contains(&b'/') && name.windows(release.len()).any(|part| part == release.as_bytes())
    });
    boot || modules.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: u32 = 0o100_644;

    #[test]
    fn the_configuration_of_a_node_is_its_own() {
        let p = Protection::new(&["/opt/site/".to_owned()], false, Some("6.1.0-9".to_owned())).unwrap();
        let of = |path: &str| p.of(path.as_bytes(), FILE).map(|(keep, _)| keep);
        for path in
            ["etc/hostname", "etc/fstab", "boot/grub/grub.cfg", "boot/efi/EFI/debian/grubx64.efi", "opt/site/a/b"]
        {
            assert_eq!(of(path), Some(Keep::Own), "{path}");
        }
        for path in ["etc/systemd/system/multi-user.target.wants/x.service", "lib/modules/6.1.0-9/a.ko"] {
            assert_eq!(of(path), Some(Keep::Local), "{path}");
        }
        for path in ["usr/lib/modules/6.1.0-9", "boot/vmlinuz-6.1.0-9", "boot/initrd.img-6.1.0-9"] {
            assert_eq!(of(path), Some(Keep::Local), "{path}");
        }
        for path in
            ["etc/hostname.d/x", "etc/passwd", "boot/vmlinuz-6.1.0-10", "srv/etc/fstab", "lib/modules/6.1.0-90/a"]
        {
            assert_eq!(of(path), None, "{path}");
        }
        assert_eq!(p.of(b"etc/netplan", 0o040_755), None);
    }

    #[test]
    fn exact_protects_only_what_was_given() {
        let p = Protection::new(&["/a".to_owned()], true, None).unwrap();
        assert_eq!(p.of(b"etc/fstab", FILE), None);
        assert_eq!(p.of(b"a/b", FILE), Some((Keep::Own, "--protect")));
        assert!(Protection::new(&["!a".to_owned()], true, None).is_err());
    }

    #[test]
    fn every_rule_says_why() {
        assert!(RULES.iter().all(|rule| rule.pattern.starts_with('/') && !rule.why.is_empty()));
    }
}
