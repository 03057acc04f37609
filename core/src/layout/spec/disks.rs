//! Sets of disks: which disks of a machine belong together, and what happens to what is on them.

use super::{Preserve, is_false, schema};
use crate::layout::size::{Percent, bytes_schema};
use crate::units::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::borrow::Cow;

/// A set of disks that are treated alike.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DiskSet {
    /// Which disks of a machine belong to it; without it all that nothing speaks against.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<Match>,
    /// How many disks.
    #[serde(default)]
    pub count: Count,
    /// Which to take when more disks match than are wanted.
    #[serde(default)]
    pub pick: Pick,
    /// Sets whose rules must not fit its disks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// What its disks must have in common.
    #[serde(default, skip_serializing_if = "Require::is_default")]
    pub require: Require,
    /// What is erased before the new table is written.
    #[serde(default)]
    pub wipe: Wipe,
    /// Whether tables that are there already are kept.
    #[serde(default, skip_serializing_if = "Preserve::is_never")]
    #[schemars(schema_with = "schema::preserve")]
    pub preserve: Preserve,
    /// Without matching disks the set, and what depends on it alone, is left out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// Partitions grow on each disk for itself; otherwise all replicas have the size that the smallest disk allows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub per_disk: bool,
    /// The size of a logical sector in bytes: of an image file what it gets, of a disk what it must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::sector")]
    pub sector: Option<u32>,
}

/// Rules for disks: every key that is given must hold. Texts are patterns with `*` and `?`, one of which must fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Match {
    /// All of these hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all: Vec<Match>,
    /// One of these holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<Match>,
    /// This does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not: Option<Box<Match>>,
    /// The first of these that holds for any disk at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_of: Vec<Match>,
    /// Names in `/dev/disk/by-id`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub by_id: Vec<String>,
    /// Names in `/dev/disk/by-path`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub by_path: Vec<String>,
    /// World wide names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub wwid: Vec<String>,
    /// Serial numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub serial: Vec<String>,
    /// Models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub model: Vec<String>,
    /// Vendors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub vendor: Vec<String>,
    /// The number of an NVMe namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nsid: Option<u32>,
    /// Bounds of the size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<SizeRange>,
    /// Whether it turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotational: Option<bool>,
    /// How it is attached, one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "transport_schema")]
    pub transport: Vec<Transport>,
    /// Whether the medium can be taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removable: Option<bool>,
    /// The size of a logical sector in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::sector")]
    pub logical_sector: Option<u32>,
    /// The slot of the enclosure or of the bus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub slot: Vec<String>,
    /// What it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has: Option<Has>,
}

impl Match {
    /// Whether it names disks by who they are, and by nothing else: such sets choose first.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        let named = [&self.by_id, &self.wwid, &self.serial].iter().any(|l| !l.is_empty()) || self.has.is_some();
        let alternatives = self.any.iter().chain(&self.first_of);
        let branches = !self.any.is_empty() || !self.first_of.is_empty();
        named || self.all.iter().any(Self::is_identity) || (branches && alternatives.into_iter().all(Self::is_identity))
    }
}

/// Bounds of a size; each may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SizeRange {
    /// The least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes_schema")]
    pub min: Option<ByteSize>,
    /// The most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes_schema")]
    pub max: Option<ByteSize>,
}

/// What a disk carries already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Has {
    /// The label of a filesystem, as a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The UUID of a filesystem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs_uuid: Option<String>,
    /// The UUID of an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md_uuid: Option<String>,
    /// The GUID of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpt_guid: Option<String>,
}

/// How a disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// NVMe, over whatever fabric.
    Nvme,
    /// Serial or parallel ATA.
    Sata,
    /// Serial attached SCSI.
    Sas,
    /// Fibre channel.
    Fc,
    /// SCSI over IP.
    Iscsi,
    /// USB.
    Usb,
    /// Virtio, block or SCSI.
    Virtio,
    /// SD cards and eMMC.
    Mmc,
    /// Any other SCSI, such as volumes of a RAID controller.
    Scsi,
    /// Xen.
    Xen,
}

impl Transport {
    /// The words of a document.
    pub const WORDS: [(&str, Self); 10] = [
        ("nvme", Self::Nvme),
        ("sata", Self::Sata),
        ("sas", Self::Sas),
        ("fc", Self::Fc),
        ("iscsi", Self::Iscsi),
        ("usb", Self::Usb),
        ("virtio", Self::Virtio),
        ("mmc", Self::Mmc),
        ("scsi", Self::Scsi),
        ("xen", Self::Xen),
    ];
}

fn transport_schema(_: &mut SchemaGenerator) -> Schema {
    let words: Vec<&str> = Transport::WORDS.iter().map(|(w, _)| *w).collect();
    json_schema!({"anyOf": [{"enum": words.clone()}, {"type": "array", "items": {"enum": words}}]})
}

/// How many disks a set has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// At least so many.
    pub min: u32,
    /// At most so many; none for as many as there are.
    pub max: Option<u32>,
    /// A multiple of this number.
    pub multiple_of: u32,
}

impl Count {
    /// Exactly so many.
    #[must_use]
    pub const fn exactly(n: u32) -> Self {
        Self { min: n, max: Some(n), multiple_of: 1 }
    }
}

impl Default for Count {
    fn default() -> Self {
        Self::exactly(1)
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if *self == Self::exactly(self.min) {
            return s.serialize_u32(self.min);
        }
        let mut map = s.serialize_map(None)?;
        map.serialize_entry("min", &self.min)?;
        if let Some(max) = self.max {
            map.serialize_entry("max", &max)?;
        }
        if self.multiple_of != 1 {
            map.serialize_entry("multiple-of", &self.multiple_of)?;
        }
        map.end()
    }
}

impl JsonSchema for Count {
    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of disks, or bounds.",
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 1000},
                {
                    "type": "object",
                    "properties": {
                        "min": {"type": "integer", "minimum": 1, "maximum": 1000},
                        "max": {"type": "integer", "minimum": 1, "maximum": 1000},
                        "multiple-of": {"type": "integer", "minimum": 1, "maximum": 1000}
                    },
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// Which disks are taken when more match than are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pick {
    /// More than are wanted is an error.
    #[default]
    Unique,
    /// All of them, as many as the set may have.
    All,
    /// The smallest.
    Smallest,
    /// The largest.
    Largest,
    /// By the natural order of the places where they are attached.
    ByPath(End),
}

impl JsonSchema for Pick {
    fn schema_name() -> Cow<'static, str> {
        "Pick".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Which disks are taken when more match than are wanted.",
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
}

/// An end of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// From the begin.
    First,
    /// From the end.
    Last,
}

/// What the disks of a set must have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Require {
    /// Properties that are the same on all of them. That of a logical sector is always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub same: Vec<Same>,
    /// By how much the largest may exceed the smallest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_spread: Option<Percent>,
}

impl Require {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A property of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Same {
    /// The size of a logical sector.
    LogicalSector,
    /// The size of a physical sector.
    PhysicalSector,
    /// The model.
    Model,
    /// How it is attached.
    Transport,
    /// Whether it turns.
    Rotational,
}

impl Same {
    /// The words of a document.
    pub const WORDS: [(&str, Self); 5] = [
        ("logical-sector", Self::LogicalSector),
        ("physical-sector", Self::PhysicalSector),
        ("model", Self::Model),
        ("transport", Self::Transport),
        ("rotational", Self::Rotational),
    ];
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
    /// The same, and disks that belong to arrays and volume groups of others are taken out of them.
    All,
    /// The whole disk is discarded first, where it can be.
    Discard,
    /// The whole disk is overwritten with zeros first.
    Zero,
}

impl Wipe {
    /// The words of a document.
    pub const WORDS: [(&str, Self); 6] = [
        ("none", Self::None),
        ("table", Self::Table),
        ("signatures", Self::Signatures),
        ("all", Self::All),
        ("discard", Self::Discard),
        ("zero", Self::Zero),
    ];
}
