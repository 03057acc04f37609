//! What an image says about itself: distribution, kernels, loaders, names of ids. Facts, never trusted input.

use crate::sys::confined::{Links, Root};
use rustix::fs::{Mode, OFlags, RawDir};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::io::Read;
use std::mem::MaybeUninit;

const TEXT_LIMIT: u64 = 1 << 20;

/// The facts of the tree beneath `root`.
pub(super) fn facts(root: &Root) -> Value {
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
    kernels.retain(|k| exists(root, format!("lib/modules/{k}/modules.dep").as_bytes()));
    let mut loaders = Vec::new();
    for (name, path) in [
        ("grub-bios", "usr/lib/grub/i386-pc/boot.img"),
        ("grub-efi", "usr/lib/grub/x86_64-efi/moddep.lst"),
        ("systemd-boot", "usr/lib/systemd/boot/efi/systemd-bootx64.efi"),
        ("shim", "usr/lib/shim/shimx64.efi.signed"),
    ] {
        if exists(root, path.as_bytes()) {
            loaders.push(name);
        }
    }
    let selinux = text(root, b"etc/selinux/config").unwrap_or_default();
    let selinux = selinux.lines().find_map(|l| l.strip_prefix("SELINUXTYPE=")).map(|s| s.trim().to_owned());
    json!({
        "architecture": architecture(root),
        "initramfs": if exists(root, b"usr/bin/dracut") { "dracut" }
            else if exists(root, b"usr/sbin/update-initramfs") { "initramfs-tools" } else { "none" },
        "kernels": kernels,
        "loaders": loaders,
        "os": os,
        "selinux": selinux,
    })
}

/// The machine of the tree's own shell or loader: from the header of an ELF file.
fn architecture(root: &Root) -> Option<&'static str> {
    for path in ["usr/bin/sh", "bin/sh", "usr/bin/env", "usr/lib/systemd/systemd", "sbin/init"] {
        let mut head = [0; 20];
        let Some(mut f) = open(root, path.as_bytes()) else { continue };
        if f.read_exact(&mut head).is_err() || &head[..4] != b"\x7fELF" {
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
pub(super) fn id_names(root: &Root, users: &BTreeSet<u32>, groups: &BTreeSet<u32>) -> Value {
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

fn open(root: &Root, path: &[u8]) -> Option<std::fs::File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    root.open_at(path, flags, Mode::empty(), Links::InRoot).ok().map(std::fs::File::from)
}

fn exists(root: &Root, path: &[u8]) -> bool {
    root.open_at(path, OFlags::PATH, Mode::empty(), Links::InRoot).is_ok()
}

fn text(root: &Root, path: &[u8]) -> Option<String> {
    let mut out = Vec::new();
    open(root, path)?.take(TEXT_LIMIT).read_to_end(&mut out).ok()?;
    Some(String::from_utf8_lossy(&out).into_owned())
}

fn names(root: &Root, path: &[u8]) -> Vec<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let Ok(fd) = root.open_at(path, flags, Mode::empty(), Links::InRoot) else { return Vec::new() };
    let mut buf = [const { MaybeUninit::<u8>::uninit() }; 4096];
    let mut dir = RawDir::new(&fd, &mut buf);
    let mut out = Vec::new();
    while let Some(Ok(e)) = dir.next() {
        if let Ok(name) = e.file_name().to_str()
            && !name.starts_with('.')
        {
            out.push(name.to_owned());
        }
    }
    out.sort();
    out
}
