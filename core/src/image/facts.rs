//! What an image says about itself: distribution, kernels, loaders, names of ids. Facts, never trusted input.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// A tree that can be asked; links are followed as after `chroot` to its root.
pub trait Peek {
    /// The front of a file, at most `limit` bytes.
    fn read(&self, path: &[u8], limit: u64) -> Option<Vec<u8>>;
    /// The names in a directory.
    fn names(&self, path: &[u8]) -> Vec<Vec<u8>>;
    /// Whether something is there.
    fn exists(&self, path: &[u8]) -> bool;
}

/// Words for the kernel's command line that an image brings, one on each line: a boot loader is told of them.
pub const KERNEL_ARGS: &str = "usr/lib/libcv/kernel-args";

const TEXT_LIMIT: u64 = 1 << 20;

/// The facts of a tree.
#[must_use]
pub fn facts(root: &dyn Peek) -> Value {
    let release = text(root, b"etc/os-release").or_else(|| text(root, b"usr/lib/os-release")).unwrap_or_default();
    let mut os = Map::new();
    for line in release.lines() {
        if let Some((key, value)) = line.split_once('=')
            && key.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
        {
            os.insert(key.to_owned(), value.trim().trim_matches(['"', '\'']).into());
        }
    }
    let mut kernels = names(root, b"lib/modules");
    kernels.retain(|k| root.exists(format!("lib/modules/{k}/modules.dep").as_bytes()));
    let mut loaders = Vec::new();
    for (name, path) in [
        ("grub-bios", "usr/lib/grub/i386-pc/boot.img"),
        ("grub-efi", "usr/lib/grub/x86_64-efi/moddep.lst"),
        ("systemd-boot", "usr/lib/systemd/boot/efi/systemd-bootx64.efi"),
        ("shim", "usr/lib/shim/shimx64.efi.signed"),
    ] {
        if root.exists(path.as_bytes()) {
            loaders.push(name);
        }
    }
    let selinux = text(root, b"etc/selinux/config").unwrap_or_default();
    let selinux = selinux.lines().find_map(|l| l.strip_prefix("SELINUXTYPE=")).map(|s| s.trim().to_owned());
    json!({
        "architecture": architecture(root),
        "initramfs": if root.exists(b"usr/bin/dracut") { "dracut" }
            else if root.exists(b"usr/sbin/update-initramfs") { "initramfs-tools" } else { "none" },
        "kernels": kernels,
        "loaders": loaders,
        "os": os,
        "selinux": selinux,
    })
}

/// The machine of the tree's own shell or loader: from the header of an ELF file.
fn architecture(root: &dyn Peek) -> Option<&'static str> {
    for path in ["usr/bin/sh", "bin/sh", "usr/bin/env", "usr/lib/systemd/systemd", "sbin/init"] {
        let Some(head) = root.read(path.as_bytes(), 20) else { continue };
        if head.len() < 20 || !head.starts_with(b"\x7fELF") {
            continue;
        }
        return Some(match u16::from_le_bytes([head[18], head[19]]) {
            62 => "x86_64",
            183 => "aarch64",
            243 => "riscv64",
            21 => "ppc64le",
            22 => "s390x",
            _ => continue,
        });
    }
    None
}

/// The names of the ids that occur, from the tree's own files.
#[must_use]
pub fn id_names(root: &dyn Peek, users: &BTreeSet<u32>, groups: &BTreeSet<u32>) -> Value {
    let table = |file: &[u8], wanted: &BTreeSet<u32>| {
        let mut out = Map::new();
        for line in text(root, file).unwrap_or_default().lines() {
            let mut fields = line.split(':');
            let (name, id) = (fields.next(), fields.nth(1).and_then(|id| id.parse::<u32>().ok()));
            if let (Some(name), Some(id)) = (name, id)
                && wanted.contains(&id)
            {
                out.entry(id.to_string()).or_insert_with(|| name.into());
            }
        }
        out
    };
    json!({"groups": table(b"etc/group", groups), "users": table(b"etc/passwd", users)})
}

fn text(root: &dyn Peek, path: &[u8]) -> Option<String> {
    Some(String::from_utf8_lossy(&root.read(path, TEXT_LIMIT)?).into_owned())
}

fn names(root: &dyn Peek, path: &[u8]) -> Vec<String> {
    let names = root.names(path).into_iter().filter_map(|n| String::from_utf8(n).ok());
    let mut out: Vec<String> = names.filter(|n| !n.starts_with('.')).collect();
    out.sort();
    out
}
