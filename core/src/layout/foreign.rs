//! What a document may hand on to mkfs, to mount and to crypttab: a fixed list, for a word too much would name another device or a
//! file of this machine, behind the back of the gate.

use super::spec::FsType;

/// Options of a mkfs program that take a value, then those that take none.
const fn options(kind: FsType) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        FsType::Ext4 => (&["-b", "-C", "-E", "-G", "-I", "-J", "-N", "-O", "-T", "-e", "-g", "-i", "-m"], &["-j"]),
        FsType::Xfs => (&["-b", "-d", "-i", "-l", "-m", "-n", "-s"], &["-K"]),
        FsType::Btrfs => (&["-d", "-m", "-n", "-s", "-O", "-R", "--csum"], &["-K", "-M"]),
        FsType::Vfat => (&["-F", "-R", "-f", "-r", "-s"], &["-a"]),
        FsType::Swap => (&["-p"], &[]),
    }
}

/// Parts of a value that name a device or a file, or an identity, which the plan gives.
const FOREIGN: [&str; 13] = [
    "device",
    "file",
    "name",
    "logdev",
    "rtdev",
    "uuid",
    "protofile",
    "config",
    "journal_dev",
    "journal_path",
    "usrjquota",
    "grpjquota",
    "root_owner",
];

/// The first word of a list of arguments that mkfs is not given.
#[must_use]
pub(super) fn foreign_argument(kind: FsType, arguments: &[String]) -> Option<&str> {
    let (valued, plain) = options(kind);
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if plain.contains(&word) {
            continue;
        }
        if !valued.contains(&word) {
            return Some(word);
        }
        match words.next() {
            Some(value) if is_value(value) => {}
            Some(value) => return Some(value),
            None => return Some(word),
        }
    }
    None
}

fn is_value(value: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "=,.:^_+%-".contains(c);
    !value.is_empty() && !value.starts_with('-') && value.chars().all(allowed) && !value.split(',').any(names_another)
}

/// Whether a mount option makes the kernel use another device or file, or mounts something else.
#[must_use]
pub(super) fn foreign_mount_option(option: &str) -> bool {
    names_another(option)
        || matches!(option, "bind" | "rbind" | "move" | "remount" | "loop")
        || option.starts_with("loop=")
}

/// Options of crypttab that a document may give, alone or with a value. Others change the device, its key or its format,
/// which the document says elsewhere.
const CRYPTTAB: [&str; 15] = [
    "discard",
    "no-read-workqueue",
    "no-write-workqueue",
    "same-cpu-crypt",
    "submit-from-crypt-cpus",
    "nofail",
    "noauto",
    "_netdev",
    "read-only",
    "readonly",
    "timeout",
    "token-timeout",
    "tries",
    "x-initrd.attach",
    "x-systemd.device-timeout",
];

/// Whether an option is none that `/etc/crypttab` is given.
#[must_use]
pub(super) fn foreign_crypttab_option(option: &str) -> bool {
    let (name, value) = option.split_once('=').unwrap_or((option, "0"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !CRYPTTAB.contains(&name) || value.is_empty() || !value.chars().all(plain)
}

fn names_another(part: &str) -> bool {
    FOREIGN.contains(&part.split('=').next().unwrap_or(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_another_place_is_found() {
        let first = |kind, words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&w| w.to_owned()).collect();
            foreign_argument(kind, &words).map(str::to_owned)
        };
        assert_eq!(first(FsType::Xfs, &["-i", "maxpct=5", "-K"]), None);
        assert_eq!(first(FsType::Ext4, &["-m", "0", "-E", "stride=4,stripe_width=8", "-O", "^has_journal"]), None);
        for (kind, words, bad) in [
            (FsType::Btrfs, &["/dev/sdb"][..], "/dev/sdb"),
            (FsType::Btrfs, &["--rootdir", "etc"], "--rootdir"),
            (FsType::Xfs, &["-l", "logdev=sdb,size=100m"], "logdev=sdb,size=100m"),
            (FsType::Xfs, &["-llogdev=sdb"], "-llogdev=sdb"),
            (FsType::Xfs, &["-d", "file,name=x"], "file,name=x"),
            (FsType::Ext4, &["-d", "/etc"], "-d"),
            (FsType::Ext4, &["-J", "device=sdb"], "device=sdb"),
            (FsType::Ext4, &["-m"], "-m"),
            (FsType::Ext4, &["-E", "-d"], "-d"),
            (FsType::Vfat, &["-C"], "-C"),
            (FsType::Swap, &["--file"], "--file"),
        ] {
            assert_eq!(first(kind, words).as_deref(), Some(bad));
        }
        assert!(foreign_mount_option("logdev=/dev/sdb") && foreign_mount_option("device=/dev/sdb"));
        assert!(foreign_crypttab_option("header=/dev/sdb") && foreign_crypttab_option("discard,tmp"));
        assert!(foreign_crypttab_option("plain") && foreign_crypttab_option("tries="));
        assert!(!foreign_crypttab_option("discard") && !foreign_crypttab_option("tries=3"));
        assert!(!foreign_mount_option("noatime") && !foreign_mount_option("x-systemd.device-timeout=60s"));
    }
}
