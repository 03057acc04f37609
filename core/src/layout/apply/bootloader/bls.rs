//! Entries of the Boot Loader Specification, type 1: a file per kernel in `loader/entries`.
//!
//! The same format serves GRUB of Enterprise Linux, which runs the values as a script and takes several files on one
//! `initrd` line, and systemd-boot, which wants a line for each. Specification: uapi-group.org, "Boot Loader Spec".

use std::fmt::Write as _;

/// The keys of an entry that are looked at, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) title: String,
    pub(super) version: String,
    pub(super) linux: String,
    /// A line each; of GRUB several files may stand on one.
    pub(super) initrd: Vec<String>,
    pub(super) options: String,
    /// Keys that only some loaders know, such as `grub_class`.
    pub(super) more: Vec<(&'static str, String)>,
}

impl Entry {
    /// The file.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "title {}\nversion {}\nlinux {}", self.title, self.version, self.linux);
        self.initrd.iter().for_each(|i| {
            let _ = writeln!(out, "initrd {i}");
        });
        let _ = writeln!(out, "options {}", self.options);
        self.more.iter().for_each(|(key, value)| {
            let _ = writeln!(out, "{key} {value}");
        });
        out
    }

    /// What a file says; keys that are not looked at are left out.
    pub(super) fn parse(text: &str) -> Self {
        let mut entry = Self::default();
        for line in text.lines().map(str::trim).filter(|l| !l.starts_with('#')) {
            let (key, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let value = value.trim().to_owned();
            match key {
                "title" => entry.title = value,
                "version" => entry.version = value,
                "linux" => entry.linux = value,
                "initrd" => entry.initrd.push(value),
                "options" if entry.options.is_empty() => entry.options = value,
                // Several lines are one command line.
                "options" => entry.options = format!("{} {value}", entry.options),
                _ => {}
            }
        }
        entry
    }

    /// The files that it names, as paths from the filesystem that it lies on; variables of GRUB are none.
    pub(super) fn files(&self) -> Vec<String> {
        let all = self.initrd.iter().flat_map(|i| i.split_whitespace()).chain(self.linux.split_whitespace());
        all.filter(|f| !f.starts_with('$')).map(|f| f.trim_start_matches('/').to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_what_was_written() {
        let entry = Entry {
            title: "Rocky Linux (5.14) 9.4".into(),
            version: "5.14".into(),
            linux: "/vmlinuz-5.14".into(),
            initrd: vec!["/initramfs-5.14.img /libcv-node.cpio $tuned_initrd".into()],
            options: "root=UUID=x ro".into(),
            more: vec![],
        };
        assert_eq!(Entry::parse(&entry.text()), entry);
        assert_eq!(entry.files(), ["initramfs-5.14.img", "libcv-node.cpio", "vmlinuz-5.14"]);
        let odd = Entry::parse("# linux /x\n  linux\t/a \noptions b\noptions  c\ninitrd /d\ninitrd /e\nnothing\n");
        assert_eq!((odd.linux.as_str(), odd.options.as_str(), odd.initrd.len()), ("/a", "b c", 2));
    }
}
