//! The kernels of the target and their initramfs images.

use super::tree::Tree;
use crate::error::{Error, Result};
use std::cmp::Ordering;

/// A kernel in `/boot`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    pub(super) version: String,
    pub(super) image: String,
    pub(super) initrd: Option<String>,
}

impl Kernel {
    /// Whether it is the one that a distribution keeps for emergencies.
    pub(super) fn is_rescue(&self) -> bool {
        self.version.contains("rescue")
    }
}

/// The kernels in `/boot`, newest first, rescue kernels last.
///
/// Where there is none, those of `/lib/modules` are copied: packages of Enterprise Linux that were installed into a
/// container leave it to `kernel-install`, which did not run.
///
/// # Errors
/// `Unsupported` when the image has no kernel.
pub(super) fn kernels(tree: &Tree) -> Result<Vec<Kernel>> {
    let mut found = find(&tree.list("boot"));
    if found.is_empty() {
        for version in tree.list("lib/modules") {
            if let Some(image) = tree.read(&format!("lib/modules/{version}/vmlinuz"))? {
                tree.write_mode(&format!("boot/vmlinuz-{version}"), &image, 0o755)?;
            }
        }
        found = find(&tree.list("boot"));
    }
    if found.is_empty() {
        return Err(Error::unsupported("the image has no kernel in /boot")
            .hint("a layout with a boot loader needs an image with a kernel (vmlinuz-VERSION)")
            .fact("code", "I302"));
    }
    Ok(found)
}

fn find(names: &[String]) -> Vec<Kernel> {
    let mut found: Vec<Kernel> = names
        .iter()
        .filter_map(|image| {
            let version = image.strip_prefix("vmlinuz-")?;
            let plain = |c: char| c.is_ascii_alphanumeric() || "._+-~".contains(c);
            if version.is_empty() || !version.chars().all(plain) || version.ends_with(".hmac") {
                return None;
            }
            // Debian and Ubuntu, Enterprise Linux, SUSE and Arch.
            let names_of_initrd =
                [format!("initrd.img-{version}"), format!("initramfs-{version}.img"), format!("initrd-{version}")];
            let initrd = names_of_initrd.into_iter().find(|i| names.contains(i));
            Some(Kernel { version: version.to_owned(), image: image.clone(), initrd })
        })
        .collect();
    found.sort_by(|a, b| a.is_rescue().cmp(&b.is_rescue()).then_with(|| compare(&b.version, &a.version)));
    found
}

/// Versions as people order them: `6.10` is newer than `6.9`.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let text = |s: &str| s.find(|c: char| c.is_ascii_digit()).unwrap_or(s.len());
        let (ta, tb) = (text(a), text(b));
        let order = a[..ta].cmp(&b[..tb]);
        (a, b) = (&a[ta..], &b[tb..]);
        if order != Ordering::Equal || (a.is_empty() && b.is_empty()) {
            return order;
        }
        let digits = |s: &str| s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
        let (da, db) = (digits(a), digits(b));
        let (na, nb) = (a[..da].trim_start_matches('0'), b[..db].trim_start_matches('0'));
        let order = na.len().cmp(&nb.len()).then_with(|| na.cmp(nb));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (&a[da..], &b[db..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_first_and_rescue_last() {
        let names: Vec<String> = [
            "vmlinuz-6.9.1",
            "vmlinuz-6.10.0",
            "initrd.img-6.10.0",
            "vmlinuz-0-rescue-ab",
            "initramfs-6.9.1.img",
            "config-6.9.1",
            "vmlinuz-a b",
            "vmlinuz-",
            "vmlinuz-6.1.0-9",
            "vmlinuz-6.1.0-10",
            ".vmlinuz-6.9.1.hmac",
        ]
        .map(String::from)
        .into();
        let found = find(&names);
        let versions: Vec<&str> = found.iter().map(|k| k.version.as_str()).collect();
        assert_eq!(versions, ["6.10.0", "6.9.1", "6.1.0-10", "6.1.0-9", "0-rescue-ab"]);
        assert_eq!(found[0].initrd.as_deref(), Some("initrd.img-6.10.0"));
        assert_eq!(found[1].initrd.as_deref(), Some("initramfs-6.9.1.img"));
        assert_eq!(found[2].initrd, None);
    }
}
