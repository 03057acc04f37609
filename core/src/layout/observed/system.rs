//! What an installed system says about its disks: fstab, crypttab, command line, boot loader, and what is mounted now.
//!
//! The root may be `/` or any directory with a system in it; its files are read without ever leaving it. Lines that
//! nobody can read are left out, as the tools that use these files do.

use crate::layout::spec::Loader;
use crate::sys::confined::{Links, Root};
use crate::sys::sysfs::{DeviceNumber, Kernel};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A longer file is none of these.
const FILE_LIMIT: u64 = 1 << 20;

/// What an installed system says about its disks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Lines of `/etc/fstab`.
    pub fstab: Vec<FstabLine>,
    /// Lines of `/etc/crypttab`.
    pub crypttab: Vec<CryptLine>,
    /// The words of the kernel's command line, of the running kernel or as it is configured.
    pub cmdline: Vec<String>,
    /// The boot loader that is installed, where it can be told.
    pub loader: Option<Loader>,
    /// What is mounted now; nothing where the root is not that of the running system.
    pub mounted: Vec<Mounted>,
    /// The name of the machine.
    pub hostname: Option<String>,
}

/// A line of `/etc/fstab`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FstabLine {
    /// What is mounted, as it is named there.
    pub what: String,
    /// Where; `none` of swap.
    pub at: String,
    /// The type.
    pub kind: String,
    /// The options.
    pub options: Vec<String>,
}

/// A line of `/etc/crypttab`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CryptLine {
    /// The name of the open side.
    pub name: String,
    /// What is opened, as it is named there.
    pub what: String,
    /// The options.
    pub options: Vec<String>,
}

/// Something that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The device; the major is 0 of filesystems that number their own.
    pub device: DeviceNumber,
    /// The source, as it was named.
    pub source: String,
    /// Where.
    pub at: String,
    /// The type.
    pub kind: String,
}

impl System {
    /// Reads what the root at `root` says; what is not there is empty.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let runs = root == Path::new("/");
        let Ok(inside) = Root::open(root) else { return Self::default() };
        let text = |path: &str| text(&inside, path);
        let kernel = Kernel::default();
        let mounts = if runs { kernel.mounts() } else { Vec::new() };
        let mounted = mounts.into_iter().map(|m| Mounted {
            device: m.device,
            source: m.source.display().to_string(),
            at: m.target.display().to_string(),
            kind: m.fstype,
        });
        Self {
            fstab: fstab(&text("etc/fstab").unwrap_or_default()),
            crypttab: crypttab(&text("etc/crypttab").unwrap_or_default()),
            cmdline: if runs { words(&text("proc/cmdline").unwrap_or_default()) } else { configured(&text) },
            loader: loader(&inside),
            mounted: mounted.collect(),
            hostname: text("etc/hostname").map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()),
        }
    }
}

fn open(root: &Root, path: &str) -> Option<File> {
    // NONBLOCK: a FIFO would be waited for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    root.open_at(path.as_bytes(), flags, Mode::empty(), Links::InRoot).ok().map(File::from)
}

fn text(root: &Root, path: &str) -> Option<String> {
    let file = open(root, path)?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The fields of the lines that are neither empty nor a comment.
fn lines(text: &str) -> impl Iterator<Item = Vec<String>> {
    let fields = |line: &str| {
        let plain = |w: &str| crate::sys::sysfs::unescape(w).to_string_lossy().into_owned();
        line.split_whitespace().map(plain).collect::<Vec<_>>()
    };
    text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).map(fields)
}

fn options(field: Option<&String>) -> Vec<String> {
    let all = field.map(String::as_str).unwrap_or_default().split(',').map(str::trim);
    all.filter(|o| !o.is_empty()).map(str::to_owned).collect()
}

fn fstab(text: &str) -> Vec<FstabLine> {
    let read = |f: Vec<String>| {
        let [what, at, kind, ..] = &f[..] else { return None };
        let at = if at.len() > 1 { at.trim_end_matches('/') } else { at };
        Some(FstabLine { what: what.clone(), at: at.to_owned(), kind: kind.clone(), options: options(f.get(3)) })
    };
    lines(text).filter_map(read).collect()
}

fn crypttab(text: &str) -> Vec<CryptLine> {
    let read = |f: Vec<String>| {
        let [name, what, ..] = &f[..] else { return None };
        Some(CryptLine { name: name.clone(), what: what.clone(), options: options(f.get(3)) })
    };
    lines(text).filter_map(read).collect()
}

/// The command line that the next start will have, by the files of the common loaders.
fn configured(text: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    if let Some(line) = text("etc/kernel/cmdline") {
        return words(&line);
    }
    let mut found = Vec::new();
    // A later file counts more: the same variable is set anew there.
    for key in ["GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT"] {
        let files = ["etc/default/grub.d/50-libcv.cfg", "etc/default/grub"];
        let set = files.iter().find_map(|file| variable(&text(file)?, key));
        found.extend(words(&set.unwrap_or_default()));
    }
    found
}

/// The value of a shell variable that is set to a plain text.
fn variable(script: &str, key: &str) -> Option<String> {
    let lines = script.lines().rev().map(str::trim);
    lines.into_iter().find_map(|line| {
        let value = line.strip_prefix(key)?.strip_prefix('=')?.trim();
        let inner = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q)).unwrap_or(value);
        // What the shell would have to work out is not guessed.
        (!inner.contains(['$', '`'])).then(|| inner.to_owned())
    })
}

fn loader(root: &Root) -> Option<Loader> {
    let has = |path: &str| root.lstat(path.as_bytes(), Links::InRoot).is_ok();
    let systemd_boot = ["boot/efi/EFI/systemd", "efi/EFI/systemd", "boot/EFI/systemd"];
    let grub = ["boot/grub/grub.cfg", "boot/grub2/grub.cfg", "boot/grub", "boot/grub2"];
    match () {
        () if systemd_boot.iter().any(|p| has(p)) => Some(Loader::SystemdBoot),
        () if grub.iter().any(|p| has(p)) => Some(Loader::Grub2),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_system_are_read() {
        let tmp = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = tmp.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("etc/fstab", "# a comment\n\nUUID=1 / xfs defaults 0 0\nUUID=2 /a\\040b/ ext4 noatime,nofail\nbad\n");
        write("etc/crypttab", "home UUID=3 none luks,discard\n");
        write("etc/default/grub", "GRUB_CMDLINE_LINUX_DEFAULT='quiet splash'\nGRUB_CMDLINE_LINUX=\"$X\"\n");
        write("etc/default/grub.d/50-libcv.cfg", "GRUB_CMDLINE_LINUX=\"rd.md.uuid=1 console=ttyS0\"\n");
        write("boot/grub/x", "");
        write("etc/hostname", "node1\n");
        let system = System::read(tmp.path());
        assert_eq!(system.fstab.len(), 2);
        assert_eq!(
            (system.fstab[1].at.as_str(), &system.fstab[1].options[..]),
            ("/a b", &["noatime".to_owned(), "nofail".to_owned()][..])
        );
        assert_eq!(system.crypttab[0].options, ["luks", "discard"]);
        assert_eq!(system.cmdline, ["rd.md.uuid=1", "console=ttyS0", "quiet", "splash"]);
        assert_eq!((system.loader, system.hostname.as_deref()), (Some(Loader::Grub2), Some("node1")));
        assert!(system.mounted.is_empty());
        assert_eq!(System::read(&tmp.path().join("nowhere")), System::default());
    }
}
