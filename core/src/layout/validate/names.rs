//! Names: of objects in the document, and of what they become in `/dev`.

use super::Validator;
use crate::layout::diagnostic::Diagnostic;
use crate::layout::ondisk::lvm::mapper_name;
use crate::layout::spec::Ref;
use std::collections::HashMap;

/// Names of sets, partitions, arrays, encrypted devices, filesystems and layouts.
const NAME_LIMIT: usize = 64;
/// A superblock has 32 bytes for `HOST:NAME`, the last of them zero. The host is `any`.
const ARRAY_LIMIT: usize = 27;
/// The device mapper has 128 bytes for a name, the last of them zero (`DM_NAME_LEN`).
const MAPPER_LIMIT: usize = 127;
/// What volumes are called inside LVM (lvm(8)): at the begin of a name, and anywhere in it.
const RESERVED_BEGINS: [&str; 2] = ["snapshot", "pvmove"];
const RESERVED_PARTS: [&str; 17] = [
    "_cdata", "_cmeta", "_corig", "_cvol", "_imeta", "_iorig", "_mimage", "_mlog", "_pmspare", "_rimage", "_rmeta",
    "_tdata", "_tmeta", "_vdata", "_vmeta", "_vorigin", "_wcorig",
];

impl Validator<'_> {
    pub(super) fn names(&mut self) {
        let spec = self.spec;
        self.name("name".to_owned(), &spec.name);
        for name in spec.disks.keys() {
            self.name(format!("disks.{name}"), name);
            if Ref::RESERVED.contains(&name.as_str()) {
                let d = Diagnostic::error("L116", format!("disks.{name}"), format!("a set cannot be called {name}"));
                self.report(d.hint(format!("{name}/… in references means something else")));
            }
        }
        spec.partitions.keys().for_each(|k| self.name(format!("partitions.{k}"), &k.name));
        spec.luks.keys().for_each(|n| self.name(format!("luks.{n}"), n));
        spec.filesystems.keys().for_each(|n| self.name(format!("filesystems.{n}"), n));
        self.arrays();
        self.volumes();
        self.devices_have_names_of_their_own();
    }

    fn name(&mut self, path: String, name: &str) {
        let ok = name.len() <= NAME_LIMIT
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !ok {
            let d = Diagnostic::error("L116", path, "a name is 1 to 64 letters, digits and . _ - here");
            self.report(d.hint("it begins with a letter or a digit"));
        }
    }

    fn arrays(&mut self) {
        for (id, raid) in &self.spec.raid {
            let (path, name) = match &raid.name {
                Some(name) => (format!("raid.{id}.name"), name),
                None => (format!("raid.{id}"), id),
            };
            self.array_name(path, name);
            // References carry the id, whatever the name is.
            if raid.name.is_some() {
                self.name(format!("raid.{id}"), id);
            }
        }
    }

    fn array_name(&mut self, path: String, name: &str) {
        let ok = (1..=ARRAY_LIMIT).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !ok {
            let short: String = name.chars().take(60).collect();
            let text = format!("md name \"{short}\": use [A-Za-z0-9._-], at most {ARRAY_LIMIT} characters");
            self.wrong("L115", path, text);
        }
    }

    fn volumes(&mut self) {
        for (group, g) in &self.spec.lvm {
            self.volume_name("vg", format!("lvm.{group}"), group);
            for name in g.lvs.keys() {
                let path = format!("lvm.{group}.lvs.{name}");
                if !self.volume_name("lv", path.clone(), name) {
                    continue;
                }
                let word = RESERVED_BEGINS.iter().find(|w| name.starts_with(**w));
                let word = word.or_else(|| RESERVED_PARTS.iter().find(|w| name.contains(**w)));
                if let Some(word) = word {
                    let text = format!("lv name \"{name}\": LVM keeps names with \"{word}\" for itself");
                    self.wrong("L114", path, text);
                } else if mapper_name(group, name).len() > MAPPER_LIMIT {
                    let text = format!("the names {group} and {name} together are too long for /dev/mapper");
                    self.wrong("L114", path, text);
                }
            }
        }
    }

    fn volume_name(&mut self, what: &str, path: String, name: &str) -> bool {
        let ok = (1..=MAPPER_LIMIT).contains(&name.len())
            && !name.starts_with('-')
            && !matches!(name, "." | "..")
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "+_.-".contains(c));
        if !ok {
            let short: String = name.chars().take(60).collect();
            let text = format!("{what} name \"{short}\": use letters, digits and +_.- , not starting with -");
            self.wrong("L114", path, text);
        }
        ok
    }

    /// Arrays lie in `/dev/md`, encrypted devices and volumes both in `/dev/mapper`.
    fn devices_have_names_of_their_own(&mut self) {
        let spec = self.spec;
        let arrays = spec.raid.iter().map(|(id, raid)| {
            let name = raid.name.as_ref().unwrap_or(id);
            (format!("/dev/md/{name}"), format!("raid.{id}"))
        });
        let encrypted = spec.luks.keys().map(|id| (format!("/dev/mapper/{id}"), format!("luks.{id}")));
        let volumes = spec.lvm.iter().flat_map(|(group, g)| {
            g.lvs.keys().map(move |name| {
                (format!("/dev/mapper/{}", mapper_name(group, name)), format!("lvm.{group}.lvs.{name}"))
            })
        });
        let mut seen: HashMap<String, String> = HashMap::new();
        for (device, path) in arrays.chain(encrypted).chain(volumes) {
            match seen.get(&device) {
                Some(first) => self.wrong("L127", path, format!("{device} would be {first} already")),
                None => drop(seen.insert(device, path)),
            }
        }
    }
}
