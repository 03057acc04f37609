//! Partitions: their names in the document, types, sizes and places.

use super::{Preserve, is_false, schema};
use crate::layout::size::{Size, bytes_schema};
use crate::units::ByteSize;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use uuid::Uuid;

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
    /// Where it begins, in bytes from the begin of the disk; without it where there is room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes_schema")]
    pub start: Option<ByteSize>,
    /// From which side of the disk it is placed.
    #[serde(default, skip_serializing_if = "Side::is_next")]
    pub at: Side,
    /// What stays free behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes_schema")]
    pub leave_free: Option<ByteSize>,
    /// Where there is no room for it, it is left out, and so is what depends on it alone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// The least that it must have, for sizes that are no fixed ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes_schema")]
    pub min: Option<ByteSize>,
    /// Whether one that is there already is kept.
    #[serde(default, skip_serializing_if = "Preserve::is_never")]
    #[schemars(schema_with = "schema::preserve")]
    pub preserve: Preserve,
}

/// A side of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Behind those before it in the document.
    #[default]
    Next,
    /// At the end of the disk.
    End,
}

impl Side {
    /// The words of a document.
    pub const WORDS: [(&str, Self); 2] = [("next", Self::Next), ("end", Self::End)];

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_next(&self) -> bool {
        *self == Self::Next
    }
}

/// An attribute of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
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
const TYPES: [(&str, Uuid); 13] = [
    ("esp", uuid::uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")),
    ("bios-boot", uuid::uuid!("21686148-6449-6e6f-744e-656564454649")),
    ("xbootldr", uuid::uuid!("bc13c2ff-59e6-4262-a352-b275fd6f7172")),
    ("linux", uuid::uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4")),
    ("linux-raid", uuid::uuid!("a19d880f-05fc-4d3b-a006-743f0f84911e")),
    ("linux-lvm", uuid::uuid!("e6d6d379-f507-44c2-a23c-238f2a3df928")),
    ("luks", uuid::uuid!("ca7d7ccb-63ed-4c53-861c-1742536059cc")),
    ("swap", uuid::uuid!("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f")),
    ("root", ROOT),
    ("home", uuid::uuid!("933ac7e1-2eb4-4f13-b844-0e14e2aef915")),
    ("srv", uuid::uuid!("3b8f8425-20e0-4f3b-907f-1a25a76f98e8")),
    ("var", uuid::uuid!("4d21b016-b534-45c2-a9fb-5c16e091fd2d")),
    ("tmp", uuid::uuid!("7ec6f557-3bc5-4aca-b293-16ef5df639d1")),
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
}
