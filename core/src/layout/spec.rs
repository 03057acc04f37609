//! The document `cv.layout/v1` as types. Names and units are right already; [`super::decode`] makes them from a text.
//!
//! ```text
//! disks.SET ──< partitions.SET/NAME ──< filesystems.ID     boot ──> disks.SET
//! ```

use super::size::Size;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use uuid::Uuid;

/// A whole document.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "cv.layout/v1", description = "A disk layout of libcv")]
pub struct Spec {
    /// The version of the schema.
    pub schema: SchemaId,
    /// The name of the layout.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The firmware that must be able to start it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firmware: Vec<Firmware>,
    /// Sets of disks, by name.
    #[schemars(with = "BTreeMap<String, DiskSet>")]
    pub disks: IndexMap<String, DiskSet>,
    /// Partitions, by `SET/NAME`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Partition>")]
    pub partitions: IndexMap<PartitionKey, Partition>,
    /// Filesystems and swap, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Filesystem>")]
    pub filesystems: IndexMap<String, Filesystem>,
    /// How it starts; without it nothing is installed to start it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Boot>,
}

/// The version of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum SchemaId {
    /// The first version.
    #[serde(rename = "cv.layout/v1")]
    V1,
}

/// A firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// The BIOS of PCs.
    Bios,
    /// UEFI.
    Uefi,
}

/// A set of disks that are treated alike.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DiskSet {
    /// Which disks of a machine belong to it. Kept for later versions: now the disk is named when the plan is made.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    pub matching: Option<Value>,
    /// How many disks; this version fills a set with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count_schema")]
    pub count: Option<u32>,
    /// Which to take when more disks match. Kept for later versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pick_schema")]
    pub pick: Option<Value>,
    /// What is erased before the new table is written.
    #[serde(default)]
    pub wipe: Wipe,
    /// The size of a logical sector in bytes: of an image file what it gets, of a disk what it must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "sector_schema")]
    pub sector: Option<u32>,
}

/// What is erased before the new table is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wipe {
    /// Nothing: a disk that carries anything is refused.
    None,
    /// The partition table only.
    Table,
    /// What could be taken for a table, filesystem, array or volume, on the disk and at every old and new boundary.
    #[default]
    Signatures,
    /// The same, in this version.
    All,
    /// The whole disk is discarded first, where it can be.
    Discard,
}

/// The name of a partition: its set and its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionKey {
    /// The set of disks.
    pub set: String,
    /// The name within the set.
    pub name: String,
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.set, self.name)
    }
}

impl Serialize for PartitionKey {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// A partition on every disk of a set.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Partition {
    /// Its number in the table, from 1 to 128; without it the lowest free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 128))]
    pub number: Option<u32>,
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: PartitionType,
    /// How big it is.
    pub size: Size,
    /// Its name in the table, at most 36 UTF-16 units; without it the name in the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its UUID in the table; without it one is derived from the seed of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub uuid: Option<Uuid>,
    /// Its attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attrs: Vec<Attribute>,
}

/// An attribute of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Attribute {
    /// Bit 0: the machine needs it.
    Required,
    /// Bit 1: the firmware leaves it alone.
    NoBlockIo,
    /// Bit 2: old BIOSes start from it.
    LegacyBoot,
    /// Bit 59: its filesystem is grown when it is first mounted.
    GrowFs,
    /// Bit 60: it is mounted read-only.
    ReadOnly,
    /// Bit 63: it is not mounted by itself.
    NoAuto,
}

impl Attribute {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Required, Self::NoBlockIo, Self::LegacyBoot, Self::GrowFs, Self::ReadOnly, Self::NoAuto];

    /// The name in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::NoBlockIo => "no-block-io",
            Self::LegacyBoot => "legacy-boot",
            Self::GrowFs => "grow-fs",
            Self::ReadOnly => "read-only",
            Self::NoAuto => "no-auto",
        }
    }

    /// Its bit in the table.
    #[must_use]
    pub const fn bit(self) -> u64 {
        match self {
            Self::Required => 1,
            Self::NoBlockIo => 1 << 1,
            Self::LegacyBoot => 1 << 2,
            Self::GrowFs => 1 << 59,
            Self::ReadOnly => 1 << 60,
            Self::NoAuto => 1 << 63,
        }
    }
}

/// What a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionType {
    /// A type with a name, by its row in the table of names.
    Named(&'static str, Uuid),
    /// Any other, by its GUID.
    Guid(Uuid),
}

/// Names and GUIDs of the types. `root` is that of the architecture.
const TYPES: [(&str, Uuid); 11] = [
    ("esp", uuid::uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")),
    ("bios-boot", uuid::uuid!("21686148-6449-6e6f-744e-656564454649")),
    ("xbootldr", uuid::uuid!("bc13c2ff-59e6-4262-a352-b275fd6f7172")),
    ("linux", uuid::uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4")),
    ("linux-raid", uuid::uuid!("a19d880f-05fc-4d3b-a006-743f0f84911e")),
    ("linux-lvm", uuid::uuid!("e6d6d379-f507-44c2-a23c-238f2a3df928")),
    ("swap", uuid::uuid!("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f")),
    ("root", ROOT),
    ("home", uuid::uuid!("933ac7e1-2eb4-4f13-b844-0e14e2aef915")),
    ("srv", uuid::uuid!("3b8f8425-20e0-4f3b-907f-1a25a76f98e8")),
    ("var", uuid::uuid!("4d21b016-b534-45c2-a9fb-5c16e091fd2d")),
];
#[cfg(target_arch = "aarch64")]
const ROOT: Uuid = uuid::uuid!("b921b045-1df0-41c3-af44-4c6f280d3fae");
#[cfg(not(target_arch = "aarch64"))]
const ROOT: Uuid = uuid::uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709");

impl PartitionType {
    /// From a name or a GUID.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((name, guid)) = TYPES.iter().find(|(n, _)| *n == text) {
            return Some(Self::Named(name, *guid));
        }
        let guid = Uuid::try_parse(text).ok().filter(|u| text.len() == 36 && !u.is_nil())?;
        Some(Self::from_guid(guid))
    }

    /// From its GUID.
    #[must_use]
    pub fn from_guid(guid: Uuid) -> Self {
        TYPES.iter().find(|(_, g)| *g == guid).map_or(Self::Guid(guid), |(n, g)| Self::Named(n, *g))
    }

    /// The names that a document can use.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TYPES.iter().map(|(n, _)| *n)
    }

    /// Its GUID.
    #[must_use]
    pub const fn guid(self) -> Uuid {
        match self {
            Self::Named(_, guid) | Self::Guid(guid) => guid,
        }
    }

    /// Whether it has this name.
    #[must_use]
    pub fn is(self, name: &str) -> bool {
        matches!(self, Self::Named(n, _) if n == name)
    }
}

impl fmt::Display for PartitionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name, _) => f.write_str(name),
            Self::Guid(guid) => guid.fmt(f),
        }
    }
}

impl Serialize for PartitionType {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl JsonSchema for PartitionType {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PartitionType".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<&str> = Self::names().collect();
        schemars::json_schema!({
            "description": "A name, or the GUID of a type that has none here.",
            "anyOf": [{"enum": names}, {"type": "string", "format": "uuid"}]
        })
    }
}

/// A filesystem or swap space.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Filesystem {
    /// The partition that it is made on.
    pub on: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: FsType,
    /// Its label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its UUID; of vfat a volume id such as `1A2B-3C4D`. Without it one is derived from the seed of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// More arguments for the program that makes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mkfs: Vec<String>,
    /// Where it is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<Mount>,
}

/// The type of a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FsType {
    /// FAT, as firmware reads it.
    Vfat,
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// Btrfs on one device.
    Btrfs,
    /// Swap space.
    Swap,
}

impl FsType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Vfat, Self::Ext4, Self::Xfs, Self::Btrfs, Self::Swap];

    /// The name in documents, fstab and the kernel.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vfat => "vfat",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Swap => "swap",
        }
    }

    /// The longest label, in bytes of UTF-8.
    #[must_use]
    pub const fn label_limit(self) -> usize {
        match self {
            Self::Vfat => 11,
            Self::Xfs => 12,
            Self::Ext4 | Self::Swap => 16,
            Self::Btrfs => 255,
        }
    }

    /// The smallest device that its mkfs accepts with its defaults, in bytes.
    #[must_use]
    pub const fn minimum(self) -> u64 {
        match self {
            Self::Vfat | Self::Swap => 1 << 20,
            Self::Ext4 => 8 << 20,
            Self::Xfs => 300 << 20,
            Self::Btrfs => 114 << 20,
        }
    }
}

/// Where a filesystem is mounted.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mount {
    /// The absolute path in the installed system.
    #[schemars(regex(pattern = "^/"))]
    pub at: String,
    /// Options as in fstab.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// How the installed system starts.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Boot {
    /// The boot loader.
    pub loader: Loader,
    /// The set of disks that it is installed on.
    pub install_on: String,
    /// More words for the kernel's command line; `root=` is added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cmdline: Vec<String>,
    /// With UEFI: whether it is also installed where firmware looks without an entry of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removable_fallback: Option<bool>,
}

/// A boot loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Loader {
    /// GRUB 2.
    Grub2,
}

/// The JSON Schema of the document.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(Spec).to_value();
    without_null(&mut schema);
    schema["$id"] = "cv.layout/v1".into();
    schema
}

fn pick_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "anyOf": [
            {"enum": ["unique", "all", "smallest", "largest"]},
            {
                "type": "object",
                "properties": {"by-path": {"enum": ["first", "last"]}},
                "required": ["by-path"],
                "additionalProperties": false
            }
        ]
    })
}

fn count_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "anyOf": [
            {"const": 1},
            {
                "type": "object",
                "properties": {
                    "min": {"type": "integer", "minimum": 0, "maximum": 1},
                    "max": {"type": "integer", "minimum": 1},
                    "multiple-of": {"type": "integer", "minimum": 1}
                },
                "additionalProperties": false
            }
        ]
    })
}

/// A key may be missing, but nothing is no value: `Option` stands for the first only.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|t| t != "null");
                if let [only] = &types[..] {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = map.get_mut("anyOf") {
                choices.retain(|c| c["type"] != "null");
                if let [Value::Object(only)] = &choices[..] {
                    let only = only.clone();
                    map.remove("anyOf");
                    map.extend(only);
                }
            }
            map.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

fn sector_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"enum": [512, 4096]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_names_and_guids() {
        assert!(PartitionType::parse("esp").unwrap().is("esp"));
        let guid = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
        assert_eq!(PartitionType::parse(guid), PartitionType::parse("esp"));
        assert_eq!(PartitionType::parse("00000000-0000-0000-0000-000000000000"), None);
        assert_eq!(PartitionType::parse("nope"), None);
    }

    /// The schema in the repository is what the types say; `LIBCV_BLESS=1` writes it anew.
    #[test]
    fn the_schema_in_the_repository_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/cv.layout.v1.json");
        let now = format!("{:#}\n", json_schema());
        if std::env::var_os("LIBCV_BLESS").is_some() {
            std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
            std::fs::write(path, &now).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == now, "core/schemas/cv.layout.v1.json is out of date: run the tests with LIBCV_BLESS=1");
    }
}
