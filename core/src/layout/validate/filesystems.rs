//! Filesystems and swap space: labels, identities, what mkfs is handed, subvolumes, mirrors.

use super::disks::{is_uuid, is_volume_id};
use super::{Validator, is_thin};
use crate::layout::diagnostic::Diagnostic;
use crate::layout::foreign;
use crate::layout::spec::{Filesystem, FsType, Profile, Ref};
use crate::layout::stack::{Object, Stack};
use std::collections::HashSet;

/// The longest name of a directory entry.
const ENTRY_LIMIT: usize = 255;

impl Validator<'_> {
    pub(super) fn filesystems(&mut self) {
        let spec = self.spec;
        let mut uuids: HashSet<String> = HashSet::new();
        for (id, fs) in &spec.filesystems {
            let path = format!("filesystems.{id}");
            self.mirror(&path, fs);
            self.label(&path, fs);
            self.profile(&path, fs);
            self.subvolumes(&path, fs);
            if let Some(bad) = foreign::foreign_argument(fs.kind, &fs.mkfs) {
                let text = format!("\"{bad}\" is not handed on to the program that makes {}", fs.kind.name());
                let hint = "options and values are words of their own; none may name a device, a file or a UUID";
                self.wrong_with_hint("L118", format!("{path}.mkfs"), text, hint);
            }
            self.uuid(&path, fs, &mut uuids);
        }
    }

    /// What depends on everything below a filesystem.
    pub(super) fn on_the_stack(&mut self, stack: &Stack) {
        let spec = self.spec;
        for (id, fs) in spec.filesystems.iter().filter(|(_, fs)| fs.kind == FsType::Swap) {
            let path = format!("filesystems.{id}");
            if fs.preserve.keeps() {
                self.wrong("L133", format!("{path}.preserve"), "swap is not preserved: there is nothing in it to keep");
            }
            let below = stack.foundation(&Object::Filesystem(id.clone()));
            if let Some(thin) = below.iter().find(|o| is_thin(spec, o)) {
                let text = format!("swap on a thin volume ({thin}) needs memory when there is none");
                self.wrong_with_hint("L133", format!("{path}.on"), text, "put it on a volume with kind: linear");
            }
        }
    }

    fn mirror(&mut self, path: &str, fs: &Filesystem) {
        let esp = match &fs.on {
            Ref::Partition(key) => match self.spec.partitions.get(key) {
                Some(p) => p.kind.is("esp"),
                None => return,
            },
            Ref::Raid(_) | Ref::Luks(_) | Ref::Volume(..) => false,
        };
        if fs.mirror.is_none() {
            let hint = if esp { "write mirror: sync" } else { "put an array or a volume group under it" };
            self.one_device(format!("{path}.on"), &fs.on, "a filesystem", hint);
        } else if !esp || fs.kind != FsType::Vfat {
            self.means_nothing(format!("{path}.mirror"), "only vfat on a partition of type esp is mirrored so");
        }
    }

    fn label(&mut self, path: &str, fs: &Filesystem) {
        let Some(label) = &fs.label else { return };
        let limit = fs.kind.label_limit();
        if label.len() > limit {
            let text = format!("label \"{label}\" is {} bytes long; {} allows {limit}", label.len(), fs.kind.name());
            self.wrong_with_hint("L113", format!("{path}.label"), text, "ext4 and swap allow 16, xfs 12, vfat 11");
        }
        let vfat_bad = |c: char| !c.is_ascii() || c.is_ascii_lowercase() || "*?./\\|,;:+=<>[]\"".contains(c);
        let bad = label.is_empty()
            || label.chars().any(|c| c.is_control() || c == '/' || c == '"')
            || (fs.kind == FsType::Vfat && label.chars().any(vfat_bad));
        if bad {
            let d = Diagnostic::error("L118", format!("{path}.label"), "the label has characters that are not allowed");
            let vfat = fs.kind == FsType::Vfat;
            self.report(if vfat { d.hint("vfat allows capitals, digits, - and _") } else { d });
        }
    }

    fn profile(&mut self, path: &str, fs: &Filesystem) {
        let fits = match fs.profile {
            Profile::Auto => true,
            Profile::Default => !matches!(fs.kind, FsType::Vfat | FsType::Swap),
            // Enterprise Linux does not have btrfs.
            Profile::El8 | Profile::El9 | Profile::GrubEl8 => matches!(fs.kind, FsType::Ext4 | FsType::Xfs),
        };
        if !fits {
            self.means_nothing(format!("{path}.profile"), format!("{} is not made with this profile", fs.kind.name()));
        }
    }

    fn subvolumes(&mut self, path: &str, fs: &Filesystem) {
        if fs.kind != FsType::Btrfs && !fs.subvolumes.is_empty() {
            let text = format!("{} has no subvolumes", fs.kind.name());
            self.means_nothing(format!("{path}.subvolumes"), text);
            return;
        }
        for name in fs.subvolumes.keys() {
            let entry = |p: &str| (1..=ENTRY_LIMIT).contains(&p.len()) && p != "." && p != "..";
            let plain = |c: char| !c.is_control() && !c.is_whitespace() && !",\\#\"".contains(c);
            if name.len() > 1000 || !name.split('/').all(entry) || !name.chars().all(plain) {
                let d = Diagnostic::error(
                    "L137",
                    format!("{path}.subvolumes.{name}"),
                    format!("\"{}\" cannot be the name of a subvolume", name.chars().take(60).collect::<String>()),
                );
                self.report(d.hint("a relative path without white space, commas, //, . and .."));
            }
        }
    }

    fn uuid(&mut self, path: &str, fs: &Filesystem, seen: &mut HashSet<String>) {
        let Some(text) = &fs.uuid else { return };
        let path = format!("{path}.uuid");
        let vfat = fs.kind == FsType::Vfat;
        if !(if vfat { is_volume_id(text) } else { is_uuid(text) }) {
            let what = if vfat { "a volume id such as 1A2B-3C4D" } else { "a UUID" };
            self.wrong("L101", path, format!("\"{text}\" is not {what}"));
        } else if !seen.insert(text.to_lowercase()) {
            self.wrong("L119", path, format!("the UUID {text} is used twice"));
        } else if fs.mirror.is_some() {
            let d = Diagnostic::error("L119", path, format!("every mirror would have the volume id {text}"));
            self.report(d.hint("without it each gets one of its own"));
        }
    }
}
