//! References: what they name exists, and nothing has two users or stands on itself.

use super::Validator;
use crate::layout::diagnostic::{Diagnostic, nearest};
use crate::layout::spec::{Ref, Spec, VolumeKind};
use crate::layout::stack::Object;
use std::collections::HashMap;

/// Among more names than this nobody's typing mistake is looked for.
const NEAR_LIMIT: usize = 1000;

/// A reference, and where it stands.
struct Use<'a> {
    owner: String,
    key: &'static str,
    on: &'a Ref,
}

impl Validator<'_> {
    pub(super) fn references(&mut self) {
        let spec = self.spec;
        for key in spec.partitions.keys() {
            self.set_exists(&format!("partitions.{key}"), &key.set, &format!(" in \"{key}\""));
        }
        for (name, set) in &spec.disks {
            set.exclude.iter().for_each(|other| self.set_exists(&format!("disks.{name}.exclude"), other, ""));
        }
        if let Some(boot) = &spec.boot {
            self.set_exists("boot.install-on", &boot.install_on, "");
        }
        let mut users: HashMap<&Ref, String> = HashMap::new();
        for Use { owner, key, on } in uses(spec) {
            let path = format!("{owner}.{key}");
            self.exists(&path, on);
            self.is_free(&path, on);
            match users.get(on) {
                None => drop(users.insert(on, owner)),
                Some(first) if *first == owner => self.wrong("L105", path, format!("\"{on}\" stands here twice")),
                Some(first) => {
                    let text = format!("\"{on}\" is used by both {first} and {owner}");
                    self.wrong_with_hint("L105", path, text, "a device can have one user");
                }
            }
        }
        self.pools();
    }

    fn set_exists(&mut self, path: &str, set: &str, inside: &str) {
        let spec = self.spec;
        if spec.disks.contains_key(set) || self.positions.has(&format!("disks.{set}")) {
            return;
        }
        let known: Vec<&str> = spec.disks.keys().map(String::as_str).collect();
        let d = Diagnostic::error("L102", path, format!("unknown disk set \"{set}\"{inside}"));
        self.report(d.hint(match nearest(set, known.iter().copied()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("known are: {}", known.join(", ")),
        }));
    }

    fn exists(&mut self, path: &str, on: &Ref) {
        let spec = self.spec;
        let there = match on {
            Ref::Partition(key) => spec.partitions.contains_key(key),
            Ref::Raid(name) => spec.raid.contains_key(name),
            Ref::Luks(name) => spec.luks.contains_key(name),
            Ref::Volume(group, name) => spec.lvm.get(group).is_some_and(|g| g.lvs.contains_key(name)),
        };
        // What could not be read is there all the same, and so is what it may have been meant to hold.
        let unread = match on {
            Ref::Volume(group, _) => !spec.lvm.contains_key(group) && self.positions.has(&format!("lvm.{group}")),
            Ref::Partition(_) | Ref::Raid(_) | Ref::Luks(_) => false,
        };
        if there || unread || self.positions.has(&on.path()) || self.is_full() {
            return;
        }
        let known: Vec<String> = match on {
            Ref::Volume(group, _) => spec
                .lvm
                .iter()
                .filter(|(g, _)| *g == group || !spec.lvm.contains_key(group))
                .flat_map(|(g, of)| of.lvs.keys().map(move |v| format!("lvm/{g}/{v}")))
                .take(NEAR_LIMIT)
                .collect(),
            Ref::Partition(_) | Ref::Raid(_) | Ref::Luks(_) => {
                let partitions = spec.partitions.keys().map(ToString::to_string);
                let arrays = spec.raid.keys().map(|n| format!("raid/{n}"));
                partitions.chain(arrays).chain(spec.luks.keys().map(|n| format!("luks/{n}"))).collect()
            }
        };
        let text = on.to_string();
        let d = Diagnostic::error("L103", path, format!("\"{text}\" does not exist"));
        self.report(match nearest(&text, known.iter().map(String::as_str)) {
            Some(meant) => d.hint(format!("did you mean \"{meant}\"?")),
            None => d.hint("write SET/NAME of a partition, raid/NAME, luks/NAME or lvm/GROUP/VOLUME"),
        });
    }

    /// Not everything that exists is there for others to use.
    fn is_free(&mut self, path: &str, on: &Ref) {
        let spec = self.spec;
        match on {
            Ref::Partition(key) if spec.partitions.get(key).is_some_and(|p| p.kind.is("bios-boot")) => {
                self.wrong("L105", path, format!("\"{on}\" belongs to the boot loader"));
            }
            Ref::Volume(group, name) => {
                let volume = spec.lvm.get(group).and_then(|g| g.lvs.get(name));
                if volume.is_some_and(|v| v.kind == VolumeKind::ThinPool) {
                    self.wrong("L105", path, format!("\"{on}\" is a pool: only thin volumes stand on it"));
                }
            }
            Ref::Partition(_) | Ref::Raid(_) | Ref::Luks(_) => {}
        }
    }

    fn pools(&mut self) {
        for (group, g) in &self.spec.lvm {
            for (name, volume) in &g.lvs {
                let Some(pool) = volume.pool.as_deref().filter(|_| volume.kind == VolumeKind::Thin) else { continue };
                let path = format!("lvm.{group}.lvs.{name}.pool");
                match g.lvs.get(pool) {
                    Some(found) if found.kind == VolumeKind::ThinPool => {}
                    Some(_) => self.wrong("L136", path, format!("\"{pool}\" is not a thin pool")),
                    None if self.positions.has(&format!("lvm.{group}.lvs.{pool}")) => {}
                    None => {
                        let d = Diagnostic::error("L103", path, format!("\"{pool}\" does not exist in group {group}"));
                        let pools = g.lvs.iter().filter(|(_, v)| v.kind == VolumeKind::ThinPool);
                        let pools: Vec<&str> = pools.map(|(n, _)| n.as_str()).collect();
                        self.report(match nearest(pool, pools.iter().copied()) {
                            Some(meant) => d.hint(format!("did you mean \"{meant}\"?")),
                            None => d.hint("write the name of a volume of this group with kind: thin-pool"),
                        });
                    }
                }
            }
        }
    }

    pub(super) fn circle(&mut self, circle: &[Object]) {
        let Some(first) = circle.first() else { return };
        let names: Vec<String> = circle.iter().map(ToString::to_string).collect();
        let text = format!("{}: objects depend on each other in a circle", names.join(" → "));
        self.wrong("L104", first.path(), text);
    }
}

/// All references to devices, in document order.
fn uses(spec: &Spec) -> Vec<Use<'_>> {
    let raid = spec.raid.iter().flat_map(|(id, raid)| {
        raid.members.iter().map(move |on| Use { owner: format!("raid.{id}"), key: "members", on })
    });
    let luks = spec.luks.iter().map(|(id, luks)| Use { owner: format!("luks.{id}"), key: "on", on: &luks.on });
    let groups = spec
        .lvm
        .iter()
        .flat_map(|(group, g)| g.pvs.iter().map(move |on| Use { owner: format!("lvm.{group}"), key: "pvs", on }));
    let filesystems =
        spec.filesystems.iter().map(|(id, fs)| Use { owner: format!("filesystems.{id}"), key: "on", on: &fs.on });
    raid.chain(luks).chain(groups).chain(filesystems).collect()
}
