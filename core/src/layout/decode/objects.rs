//! The objects of the document, one after the other: which keys they have and what they mean.

use super::super::diagnostic::Diagnostic;
use super::super::document::{Node, Value};
use super::super::size::{Size, WEIGHT_LIMIT, parse_bytes};
use super::super::spec::{
    Attribute, Boot, DiskSet, Filesystem, Firmware, FsType, Loader, Mount, Partition, PartitionKey, PartitionType,
    SchemaId, Spec, Wipe,
};
use super::{Fields, Keys, Reader, join};
use crate::units::ByteSize;
use indexmap::IndexMap;
use uuid::Uuid;

const TOP: Keys = Keys {
    now: &["schema", "name", "description", "firmware", "disks", "partitions", "filesystems", "boot"],
    later: &["extends", "raid", "luks", "lvm", "policy"],
};
const DISK_SET: Keys = Keys {
    now: &["match", "count", "pick", "wipe", "sector"],
    later: &["exclude", "require", "preserve", "optional", "per-disk"],
};
const MATCH: Keys = Keys {
    now: &[
        "all",
        "any",
        "not",
        "first-of",
        "by-id",
        "by-path",
        "wwid",
        "serial",
        "model",
        "vendor",
        "nsid",
        "size",
        "rotational",
        "transport",
        "removable",
        "logical-sector",
        "slot",
        "has",
    ],
    later: &[],
};
const PARTITION: Keys = Keys {
    now: &["number", "type", "size", "name", "uuid", "attrs"],
    later: &["start", "at", "leave-free", "optional", "min", "preserve"],
};
const FLEX: Keys = Keys { now: &["min", "max", "weight"], later: &["percent-of", "percent"] };
const FILESYSTEM: Keys = Keys {
    now: &["on", "type", "label", "uuid", "mkfs", "mount"],
    later: &["profile", "mirror", "subvolumes", "preserve"],
};
const MOUNT: Keys = Keys { now: &["at", "options"], later: &[] };
const BOOT: Keys =
    Keys { now: &["loader", "install-on", "cmdline", "removable-fallback"], later: &["secure-boot", "nvram"] };

impl Reader {
    /// The whole document.
    pub(super) fn spec(&mut self, root: &Node) -> Option<Spec> {
        let top = self.fields(root, "", &TOP)?;
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
        let firmware = match top.get("firmware").map(|n| (n, &n.value)) {
            None => Vec::new(),
            Some((_, Value::List(items))) => items.iter().filter_map(|n| self.firmware(n)).collect(),
            Some((node, _)) => self.firmware(node).into_iter().collect(),
        };
        if self.required(&top, "disks").is_some_and(|n| matches!(&n.value, Value::Map(m) if m.is_empty())) {
            self.wrong("L004", "disks", top.place, "there is no set of disks");
        }
        let disks = self.map(&top, "disks", Self::disk_set);
        let partitions = self.map(&top, "partitions", Self::partition);
        let mut keyed = IndexMap::new();
        for (key, partition) in partitions {
            let path = join("partitions", &key);
            match key.split_once('/') {
                Some((set, name)) if !set.is_empty() && !name.is_empty() && !name.contains('/') => {
                    keyed.insert(PartitionKey { set: set.to_owned(), name: name.to_owned() }, partition);
                }
                _ => {
                    let place = self.positions.place(&path);
                    self.positions.holes.insert("partitions".to_owned());
                    let d = Diagnostic::error("L116", path, "the name of a partition is SET/NAME").at(place);
                    self.report(d.hint("write for example os/root for the partition root of the set os"));
                }
            }
        }
        let filesystems = self.map(&top, "filesystems", Self::filesystem);
        let boot = top.get("boot").and_then(|n| self.boot(n));
        Some(Spec { schema: schema?, name: name?, description, firmware, disks, partitions: keyed, filesystems, boot })
    }

    fn firmware(&mut self, node: &Node) -> Option<Firmware> {
        self.word(node, "firmware", &[("bios", Firmware::Bios), ("uefi", Firmware::Uefi)], &[])
    }

    fn disk_set(&mut self, node: &Node, path: &str) -> Option<DiskSet> {
        let f = self.fields(node, path, &DISK_SET)?;
        let matching = f.get("match").map(|n| {
            self.matching(n, &f.path("match"));
            to_json(n)
        });
        let count = f.get("count").and_then(|n| {
            let at = f.path("count");
            let one = match &n.value {
                Value::Number(t) => t.parse::<u32>().ok(),
                // A range is fine where one disk satisfies it.
                Value::Map(_) => {
                    let range = self.fields(n, &at, &Keys { now: &["min", "max", "multiple-of"], later: &[] })?;
                    let min = self.number(&range, "min").unwrap_or(1);
                    Some(if min <= 1 { 1 } else { min })
                }
                _ => None,
            };
            match one {
                Some(1) => Some(1),
                Some(0) | None => {
                    self.wrong("L101", &at, n.place, format!("{} is not a number of disks", n.value.describe()));
                    None
                }
                Some(_) => {
                    let d = Diagnostic::error("L005", at, "this version of libcv fills a set with one disk");
                    self.report(d.at(n.place));
                    None
                }
            }
        });
        let pick = f.get("pick").and_then(|n| {
            let at = f.path("pick");
            if let Value::Map(_) = &n.value {
                let by = self.fields(n, &at, &Keys { now: &["by-path"], later: &[] })?;
                let end = self.required(&by, "by-path")?;
                self.word(end, &by.path("by-path"), &[("first", ()), ("last", ())], &[])?;
            } else {
                let words = [("unique", ()), ("all", ()), ("smallest", ()), ("largest", ())];
                self.word(n, &at, &words, &[])?;
            }
            Some(to_json(n))
        });
        let words = [
            ("none", Wipe::None),
            ("table", Wipe::Table),
            ("signatures", Wipe::Signatures),
            ("all", Wipe::All),
            ("discard", Wipe::Discard),
        ];
        let wipe = f.get("wipe").and_then(|n| self.word(n, &f.path("wipe"), &words, &["zero"])).unwrap_or_default();
        let sector = self.number(&f, "sector").and_then(|n| {
            if n == 512 || n == 4096 {
                return Some(n);
            }
            let place = f.get("sector").map(|n| n.place).unwrap_or_default();
            self.wrong("L101", &f.path("sector"), place, format!("{n} is not a sector size: 512 or 4096"));
            None
        });
        Some(DiskSet { matching, count, pick, wipe, sector })
    }

    /// Looks at the keys of a rule, which is kept as it is.
    fn matching(&mut self, node: &Node, path: &str) {
        let Some(f) = self.fields(node, path, &MATCH) else { return };
        for name in ["all", "any", "first-of"] {
            match f.get(name).map(|n| (n, &n.value)) {
                None => {}
                Some((_, Value::List(items))) => items.iter().for_each(|i| self.matching(i, &f.path(name))),
                Some((n, other)) => {
                    self.wrong("L101", &f.path(name), n.place, format!("{} is not a list", other.describe()));
                }
            }
        }
        if let Some(n) = f.get("not") {
            self.matching(n, &f.path("not"));
        }
        if let Some(n) = f.get("size")
            && let Some(range) = self.fields(n, &f.path("size"), &Keys { now: &["min", "max"], later: &[] })
        {
            let _ = (self.bytes(&range, "min"), self.bytes(&range, "max"));
        }
    }

    fn bytes(&mut self, fields: &Fields<'_>, name: &str) -> Option<ByteSize> {
        let node = fields.get(name)?;
        let path = fields.path(name);
        let text = self.text(node, &path)?;
        parse_bytes(&text).map_err(|(code, message)| self.wrong(code, &path, node.place, message)).ok()
    }

    fn partition(&mut self, node: &Node, path: &str) -> Option<Partition> {
        let f = self.fields(node, path, &PARTITION)?;
        let number = self.number(&f, "number");
        let kind = self.required(&f, "type").and_then(|n| {
            let at = f.path("type");
            let text = self.text(n, &at)?;
            PartitionType::parse(&text).or_else(|| {
                let words: Vec<(&'static str, ())> = PartitionType::names().map(|w| (w, ())).collect();
                self.word(n, &at, &words, &["luks", "tmp"])?;
                None
            })
        });
        let size = self.required(&f, "size").and_then(|n| self.size(n, &f.path("size")));
        let name = self.optional_text(&f, "name");
        let uuid = f.get("uuid").and_then(|n| {
            let text = self.text(n, &f.path("uuid"))?;
            let uuid = Uuid::try_parse(&text).ok().filter(|u| !u.is_nil());
            if uuid.is_none() {
                self.wrong("L101", &f.path("uuid"), n.place, format!("\"{text}\" is not a UUID"));
            }
            uuid
        });
        let attrs = match f.get("attrs").map(|n| (n, &n.value)) {
            None => Vec::new(),
            Some((_, Value::List(items))) => {
                let words = Attribute::ALL.map(|a| (a.name(), a));
                items.iter().filter_map(|i| self.word(i, &f.path("attrs"), &words, &[])).collect()
            }
            Some((n, other)) => {
                self.wrong("L101", &f.path("attrs"), n.place, format!("{} is not a list", other.describe()));
                Vec::new()
            }
        };
        Some(Partition { number, kind: kind?, size: size?, name, uuid, attrs })
    }

    fn size(&mut self, node: &Node, path: &str) -> Option<Size> {
        if !matches!(node.value, Value::Map(_)) {
            let text = self.text(node, path)?;
            return Size::parse(&text).map_err(|(code, message)| self.wrong(code, path, node.place, message)).ok();
        }
        let f = self.fields(node, path, &FLEX)?;
        let min = self.bytes(&f, "min").unwrap_or_default();
        let max = self.bytes(&f, "max");
        let weight = self.number(&f, "weight").unwrap_or(1);
        if !(1..=WEIGHT_LIMIT).contains(&weight) {
            let text = format!("a weight is a number from 1 to {WEIGHT_LIMIT}");
            self.wrong("L101", &f.path("weight"), node.place, text);
            return None;
        }
        if max.is_some_and(|max| max < min) {
            self.wrong("L101", path, node.place, "max is less than min");
            return None;
        }
        Some(Size::Flex { min, max, weight })
    }

    fn filesystem(&mut self, node: &Node, path: &str) -> Option<Filesystem> {
        let f = self.fields(node, path, &FILESYSTEM)?;
        let on = self.required(&f, "on").and_then(|n| self.text(n, &f.path("on")));
        let words = FsType::ALL.map(|t| (t.name(), t));
        let kind = self.required(&f, "type").and_then(|n| self.word(n, &f.path("type"), &words, &[]));
        let label = self.optional_text(&f, "label");
        let uuid = self.optional_text(&f, "uuid");
        let mkfs = self.texts(&f, "mkfs");
        let mount = f.get("mount").and_then(|n| {
            let m = self.fields(n, &f.path("mount"), &MOUNT)?;
            let at = self.required(&m, "at").and_then(|n| self.text(n, &m.path("at")));
            let options = self.texts(&m, "options");
            Some(Mount { at: at?, options })
        });
        Some(Filesystem { on: on?, kind: kind?, label, uuid, mkfs, mount })
    }

    fn boot(&mut self, node: &Node) -> Option<Boot> {
        let f = self.fields(node, "boot", &BOOT)?;
        let words = [("grub2", Loader::Grub2)];
        let loader = self
            .required(&f, "loader")
            .and_then(|n| self.word(n, "boot.loader", &words, &["systemd-boot", "uki", "none"]));
        let install_on = self.required(&f, "install-on").and_then(|n| self.text(n, "boot.install-on"));
        let cmdline = self.texts(&f, "cmdline");
        let removable_fallback = self.boolean(&f, "removable-fallback");
        Some(Boot { loader: loader?, install_on: install_on?, cmdline, removable_fallback })
    }
}

/// A node as JSON; numbers that JSON does not have become texts.
fn to_json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Number(n) => n.parse::<u64>().map_or_else(|_| n.clone().into(), Into::into),
        Value::Text(t) => t.clone().into(),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(entries) => {
            serde_json::Value::Object(entries.iter().map(|(k, v)| (k.name.clone(), to_json(v))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that are read are those of the schema: neither can change without the other.
    #[test]
    fn keys_are_those_of_the_schema() {
        let schema = super::super::super::spec::json_schema();
        let of = |object: &serde_json::Value| {
            let mut keys: Vec<String> = object["properties"].as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        let check = |name: &str, object: &serde_json::Value, keys: &Keys| {
            let mut now: Vec<&str> = keys.now.to_vec();
            now.sort_unstable();
            assert_eq!(of(object), now, "{name}");
        };
        check("Spec", &schema, &TOP);
        for (name, keys) in [
            ("DiskSet", &DISK_SET),
            ("Partition", &PARTITION),
            ("Filesystem", &FILESYSTEM),
            ("Mount", &MOUNT),
            ("Boot", &BOOT),
        ] {
            check(name, &schema["$defs"][name], keys);
        }
    }
}
