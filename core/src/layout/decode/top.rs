//! The whole document, and how it starts.

use super::super::diagnostic::Diagnostic;
use super::super::spec::{
    Boot, Firmware, Loader, NeverTouch, Nvram, PartitionKey, Policy, Ref, SchemaId, SecureBoot, Spec,
};
use super::{Keys, Reader, join};
use crate::document::{Node, Value};

pub(super) const TOP: Keys = &[
    "schema",
    "name",
    "description",
    "extends",
    "firmware",
    "disks",
    "partitions",
    "raid",
    "luks",
    "lvm",
    "filesystems",
    "boot",
    "policy",
];
pub(super) const BOOT: Keys = &["loader", "install-on", "secure-boot", "nvram", "removable-fallback", "cmdline"];
pub(super) const NVRAM: Keys = &["update", "keep-pxe-first"];
pub(super) const POLICY: Keys = &["never-touch", "no-root"];
pub(super) const NEVER_TOUCH: Keys = &["label", "signature", "by-id", "serial", "model"];

impl Reader {
    /// The whole document.
    pub(super) fn spec(&mut self, root: &Node) -> Option<Spec> {
        let top = self.fields(root, "", TOP)?;
        let schema = self.required(&top, "schema").and_then(|n| {
            let text = self.text(n, "schema")?;
            if text == "cv.layout/v1" {
                return Some(SchemaId::V1);
            }
            let d = Diagnostic::error("L006", "schema", format!("\"{text}\" is not a schema that this version reads"));
            self.report(d.hint("write: schema: cv.layout/v1").at(n.place));
            None
        });
        let name = self.required(&top, "name").and_then(|n| self.text(n, "name"));
        let description = top.get("description").and_then(|n| match &n.value {
            Value::Text(t) => Some(t.clone()),
            _ => self.text(n, "description"),
        });
        let extends = self.one_or_more(&top, "extends");
        let firmware = self.choices(&top, "firmware", &Firmware::WORDS);
        if self.required(&top, "disks").is_some_and(|n| matches!(&n.value, Value::Map(m) if m.is_empty())) {
            self.wrong("L004", "disks", top.place, "there is no set of disks");
        }
        let disks = self.map(&top, "disks", Self::disk_set);
        let partitions = self.map(&top, "partitions", Self::partition);
        let partitions = partitions.into_iter().filter_map(|(key, p)| Some((self.partition_key(&key)?, p))).collect();
        let raid = self.map(&top, "raid", Self::raid);
        let luks = self.map(&top, "luks", Self::luks);
        let lvm = self.map(&top, "lvm", Self::volume_group);
        let filesystems = self.map(&top, "filesystems", Self::filesystem);
        let boot = top.get("boot").and_then(|n| self.boot(n));
        let policy = top.get("policy").and_then(|n| self.policy(n)).unwrap_or_default();
        Some(Spec {
            schema: schema?,
            name: name?,
            description,
            extends,
            firmware,
            disks,
            partitions,
            raid,
            luks,
            lvm,
            filesystems,
            boot,
            policy,
        })
    }

    fn partition_key(&mut self, key: &str) -> Option<PartitionKey> {
        if let Some(Ref::Partition(key)) = Ref::parse(key) {
            return Some(key);
        }
        let path = join("partitions", key);
        let place = self.positions.place(&path);
        self.positions.holes.insert("partitions".to_owned());
        let set = key.split('/').next().unwrap_or_default();
        if Ref::RESERVED.contains(&set) && self.positions.has(&join("disks", set)) {
            // That a set cannot be called so is said where it stands.
            return None;
        }
        let d = Diagnostic::error("L116", path, "the name of a partition is SET/NAME").at(place);
        self.report(d.hint("write for example os/root for the partition root of the set os"));
        None
    }

    fn boot(&mut self, node: &Node) -> Option<Boot> {
        let f = self.fields(node, "boot", BOOT)?;
        self.required(&f, "loader");
        let loader = self.choice(&f, "loader", &Loader::WORDS);
        let install_on = self.required(&f, "install-on").and_then(|n| self.text(n, "boot.install-on"));
        let secure_boot: SecureBoot = self.choice(&f, "secure-boot", &SecureBoot::WORDS).unwrap_or_default();
        let nvram = f.get("nvram").and_then(|n| {
            let f = self.fields(n, "boot.nvram", NVRAM)?;
            let keep_pxe_first = self.flag(&f, "keep-pxe-first");
            Some(Nvram { update: self.boolean(&f, "update").unwrap_or(true), keep_pxe_first })
        });
        let removable_fallback = self.boolean(&f, "removable-fallback").unwrap_or(true);
        let cmdline = self.texts(&f, "cmdline");
        let nvram = nvram.unwrap_or_default();
        Some(Boot { loader: loader?, install_on: install_on?, secure_boot, nvram, removable_fallback, cmdline })
    }

    fn policy(&mut self, node: &Node) -> Option<Policy> {
        let f = self.fields(node, "policy", POLICY)?;
        let path = f.path("never-touch");
        let never_touch =
            super::items(f.get("never-touch")).iter().filter_map(|n| self.never_touch(n, &path)).collect();
        Some(Policy { never_touch, no_root: self.flag(&f, "no-root") })
    }

    fn never_touch(&mut self, node: &Node, path: &str) -> Option<NeverTouch> {
        let f = self.fields(node, path, NEVER_TOUCH)?;
        let rule = NeverTouch {
            label: self.one_or_more(&f, "label"),
            signature: self.one_or_more(&f, "signature"),
            by_id: self.one_or_more(&f, "by-id"),
            serial: self.one_or_more(&f, "serial"),
            model: self.one_or_more(&f, "model"),
        };
        if rule == NeverTouch::default() {
            self.wrong("L004", path, node.place, "a rule without keys would apply to every disk");
        }
        Some(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{devices, disks, filesystem, partition};
    use super::*;

    /// The keys that are read are those of the schema: neither can change without the other.
    #[test]
    fn keys_are_those_of_the_schema() {
        let schema = super::super::super::spec::json_schema();
        let check = |name: &str, object: &serde_json::Value, keys: Keys| {
            let mut known: Vec<&str> = object["properties"].as_object().unwrap().keys().map(String::as_str).collect();
            known.sort_unstable();
            let mut read = keys.to_vec();
            read.sort_unstable();
            assert_eq!(known, read, "{name}");
        };
        check("Spec", &schema, TOP);
        for (name, keys) in [
            ("DiskSet", disks::DISK_SET),
            ("Match", disks::MATCH),
            ("SizeRange", disks::SIZE_RANGE),
            ("Has", disks::HAS),
            ("Require", disks::REQUIRE),
            ("Partition", partition::PARTITION),
            ("Raid", devices::RAID),
            ("Adopt", devices::ADOPT),
            ("Luks", devices::LUKS),
            ("VolumeGroup", devices::GROUP),
            ("Volume", devices::VOLUME),
            ("Filesystem", filesystem::FILESYSTEM),
            ("Mount", filesystem::MOUNT),
            ("Subvolume", filesystem::SUBVOLUME),
            ("Boot", BOOT),
            ("Nvram", NVRAM),
            ("Policy", POLICY),
            ("NeverTouch", NEVER_TOUCH),
        ] {
            check(name, &schema["$defs"][name], keys);
        }
    }
}
