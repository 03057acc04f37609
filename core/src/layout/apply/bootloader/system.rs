//! What kind of system the target is, by what is in it and not only by its name.

use super::tree::Tree;
use crate::error::Result;
use crate::sys::program::Program;

/// How a distribution arranges its boot loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Debian, Ubuntu and theirs: a menu of entries in `/boot/grub/grub.cfg`.
    Debian,
    /// Red Hat Enterprise Linux, its rebuilds and Fedora: entries are BLS files.
    Enterprise(EspConfig),
    /// Any other: a menu of entries, as on Debian.
    Other,
}

/// What `grub.cfg` on the ESP of an Enterprise Linux is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EspConfig {
    /// All of it, beside `grubenv`, which holds the command line (8).
    Full,
    /// Three lines that lead to the one in `/boot/grub2` (9 and later).
    Stub,
}

/// What makes an initramfs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    Dracut,
    InitramfsTools,
    None,
}

/// What the target is.
#[derive(Clone, Debug)]
pub(super) struct System {
    pub(super) family: Family,
    pub(super) maker: Maker,
    /// `grub2` on Enterprise Linux and SUSE, else `grub`.
    pub(super) grub: &'static str,
    /// `ID` of os-release.
    pub(super) id: String,
    /// `VERSION` of os-release.
    pub(super) version: String,
    /// `NAME`, as it can be quoted in a script of GRUB.
    pub(super) name: String,
    /// `PRETTY_NAME`, as it can be quoted in a script of GRUB.
    pub(super) pretty: String,
}

impl System {
    /// Looks at the tree.
    pub(super) fn of(tree: &Tree) -> Result<Self> {
        let release = match tree.text("etc/os-release")? {
            Some(text) => text,
            None => tree.text("usr/lib/os-release")?.unwrap_or_default(),
        };
        let value = |key: &str| -> String {
            let lines = release.lines().filter_map(|l| l.trim().strip_prefix(key)?.strip_prefix('='));
            let text = lines.last().unwrap_or_default().trim_matches(['"', '\'']);
            text.chars().filter(quotable).take(60).collect::<String>().trim().to_owned()
        };
        let or_linux = |s: String| if s.is_empty() { "Linux".to_owned() } else { s };
        let grub2 = ["usr/bin/grub2-mkimage", "usr/sbin/grub2-mkconfig", "usr/bin/grub2-editenv", "boot/grub2"];
        let grub = if grub2.iter().any(|p| tree.exists(p)) { "grub2" } else { "grub" };
        let maker = if tree.exists("usr/share/initramfs-tools") || tree.exists("etc/initramfs-tools") {
            Maker::InitramfsTools
        } else if tree.exists("usr/lib/dracut") || Program::Dracut.find_in(tree.place()).is_ok() {
            Maker::Dracut
        } else {
            Maker::None
        };
        Ok(Self {
            family: family(tree, &value("VERSION_ID"))?,
            maker,
            grub,
            id: or_linux(value("ID")).to_lowercase(),
            version: value("VERSION"),
            name: or_linux(value("NAME")),
            pretty: or_linux(value("PRETTY_NAME")),
        })
    }
}

/// Characters that a script of GRUB can quote, whoever wrote os-release.
fn quotable(c: &char) -> bool {
    c.is_ascii_alphanumeric() || " ./()_-+".contains(*c)
}

fn family(tree: &Tree, version: &str) -> Result<Family> {
    if tree.exists("etc/debian_version") || tree.exists("var/lib/dpkg/status") {
        return Ok(Family::Debian);
    }
    let marks = ["etc/redhat-release", "usr/lib/kernel/install.d/20-grub.install", "etc/grub2-efi.cfg"];
    let known = marks.iter().any(|m| tree.exists(m) || tree.link(m).is_some());
    if known { Ok(Family::Enterprise(esp_config(tree, version)?)) } else { Ok(Family::Other) }
}

/// The link of the packages says it; else a file of the ESP; the version only where neither is there.
fn esp_config(tree: &Tree, version: &str) -> Result<EspConfig> {
    if let Some(target) = tree.link("etc/grub2-efi.cfg") {
        return Ok(if target.contains("/efi/") { EspConfig::Full } else { EspConfig::Stub });
    }
    for vendor in tree.list("boot/efi/EFI") {
        if let Some(text) = tree.text(&format!("boot/efi/EFI/{vendor}/grub.cfg"))? {
            let stub = text.lines().any(|l| l.trim_start().starts_with("configfile"));
            return Ok(if stub { EspConfig::Stub } else { EspConfig::Full });
        }
    }
    let stub = tree.exists("usr/bin/gen_grub_cfgstub") || tree.exists("usr/sbin/gen_grub_cfgstub");
    let eight = version.split('.').next() == Some("8");
    Ok(if eight && !stub { EspConfig::Full } else { EspConfig::Stub })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)], links: &[(&str, &str)]) -> (tempfile::TempDir, System) {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        for (path, text) in files {
            tree.write(path, text.as_bytes()).unwrap();
        }
        for (path, target) in links {
            tree.symlink(path, target).unwrap();
        }
        let system = System::of(&tree).unwrap();
        (dir, system)
    }

    #[test]
    fn the_content_says_what_it_is() {
        let family = |files: &[(&str, &str)], links: &[(&str, &str)]| tree(files, links).1.family;
        assert_eq!(family(&[("etc/debian_version", "12")], &[]), Family::Debian);
        assert_eq!(family(&[("etc/x", "")], &[]), Family::Other);
        let el = |v: &str| format!("ID=rocky\nVERSION_ID=\"{v}\"\n");
        // The version is not believed where the packages say otherwise.
        let efi8 = ("etc/grub2-efi.cfg", "../boot/efi/EFI/rocky/grub.cfg");
        let efi9 = ("etc/grub2-efi.cfg", "../boot/grub2/grub.cfg");
        assert_eq!(family(&[("etc/os-release", &el("9.4"))], &[efi8]), Family::Enterprise(EspConfig::Full));
        assert_eq!(family(&[("etc/os-release", &el("8.9"))], &[efi9]), Family::Enterprise(EspConfig::Stub));
        let release = ("etc/redhat-release", "");
        assert_eq!(family(&[release, ("etc/os-release", &el("8.9"))], &[]), Family::Enterprise(EspConfig::Full));
        let stub = ("boot/efi/EFI/rocky/grub.cfg", "set prefix=x\nconfigfile $prefix/grub.cfg\n");
        assert_eq!(family(&[release, ("etc/os-release", &el("8.9")), stub], &[]), Family::Enterprise(EspConfig::Stub));
    }

    #[test]
    fn a_hostile_name_is_only_letters() {
        let text = "NAME=\"x'; halt; '\"\nPRETTY_NAME='$(reboot)\\n}'\nID=\"../../x\"\n";
        let (_dir, system) = tree(&[("etc/os-release", text)], &[]);
        assert_eq!((system.name.as_str(), system.pretty.as_str()), ("x halt", "(reboot)n"));
        assert_eq!(system.grub, "grub");
    }
}
