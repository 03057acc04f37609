//! Sets of disks: which disks of a machine belong together, and what happens to what is on them.

use super::{Match, Preserve, is_false, schema};
use crate::layout::size::Percent;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::borrow::Cow;

/// A set of disks that are treated alike.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DiskSet {
    /// Which disks of a machine belong to it; `{}` for all that nothing speaks against. Without it they are named when
    /// the plan is made.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<Match>,
    /// How many disks.
    #[serde(default)]
    pub count: Count,
    /// Which to take when more disks match than are wanted.
    #[serde(default)]
    pub pick: Pick,
    /// Sets that choose before this one, wherever they stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
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
    #[schemars(schema_with = "schema::one_or_more::<Same>")]
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
