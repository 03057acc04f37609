//! Arrays of the md driver.

use super::{Preserve, Ref, schema};
use crate::layout::size::bytes_schema;
use crate::units::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// An array.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Raid {
    /// Its level.
    pub level: Level,
    /// What it is made of; a partition stands for all its replicas.
    pub members: Vec<Ref>,
    /// How many of the members wait for another to fail.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spares: u32,
    /// The version of its superblock.
    #[serde(default)]
    pub metadata: Metadata,
    /// How a level 10 lays its copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Raid10Layout>,
    /// The bytes that follow each other on one member; a power of two from 4 KiB on. 512 KiB without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes_schema")]
    pub chunk: Option<ByteSize>,
    /// Whether it notes what is being written; without it where the level can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitmap: Option<Bitmap>,
    /// How its members become equal.
    #[serde(default)]
    pub sync: Resync,
    /// Its name in the superblock; without it the name in the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How one that is there already is recognised; without it by its members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<Adopt>,
    /// Whether one that is there already is kept.
    #[serde(default, skip_serializing_if = "Preserve::is_never")]
    #[schemars(schema_with = "schema::preserve")]
    pub preserve: Preserve,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// A level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Striping.
    Raid0,
    /// Mirrors.
    Raid1,
    /// One parity.
    Raid5,
    /// Two parities.
    Raid6,
    /// Striped mirrors.
    Raid10,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Raid0, Self::Raid1, Self::Raid5, Self::Raid6, Self::Raid10];

    /// The number in documents and for mdadm.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Raid0 => 0,
            Self::Raid1 => 1,
            Self::Raid5 => 5,
            Self::Raid6 => 6,
            Self::Raid10 => 10,
        }
    }

    /// The level of this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|l| l.number() == number)
    }

    /// The fewest members, without spares.
    #[must_use]
    pub const fn least_members(self) -> u32 {
        match self {
            // One member is a fine array: the second disk comes later, or a set has only one.
            Self::Raid0 | Self::Raid1 => 1,
            Self::Raid10 => 2,
            Self::Raid5 => 3,
            Self::Raid6 => 4,
        }
    }

    /// Whether it has chunks.
    #[must_use]
    pub const fn is_striped(self) -> bool {
        !matches!(self, Self::Raid1)
    }

    /// Whether it survives the loss of a member, and so has bitmaps and spares.
    #[must_use]
    pub const fn is_redundant(self) -> bool {
        !matches!(self, Self::Raid0)
    }

    /// Whether it has parity.
    #[must_use]
    pub const fn has_parity(self) -> bool {
        matches!(self, Self::Raid5 | Self::Raid6)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u32(self.number())
    }
}

impl JsonSchema for Level {
    fn schema_name() -> Cow<'static, str> {
        "Level".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": "A level.", "enum": Self::ALL.map(Self::number)})
    }
}

/// The version of a superblock: where it lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Metadata {
    /// At the end: each member of a mirror reads like a device of its own.
    #[serde(rename = "1.0")]
    V1_0,
    /// 4 KiB from the begin.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
}

impl Metadata {
    /// The words of a document, as mdadm has them.
    pub const WORDS: [(&str, Self); 2] = [("1.0", Self::V1_0), ("1.2", Self::V1_2)];

    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_2 => "1.2",
        }
    }
}

/// How a level 10 lays its copies, such as `n2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raid10Layout {
    /// `n` for near, `f` for far, `o` for offset.
    pub kind: char,
    /// How many copies there are, 2 to 9.
    pub copies: u32,
}

impl Raid10Layout {
    /// What mdadm takes by itself.
    pub const NEAR_2: Self = Self { kind: 'n', copies: 2 };

    /// Reads the form of mdadm.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, copies) = text.split_at_checked(1)?;
        let kind = kind.chars().next().filter(|k| matches!(k, 'n' | 'f' | 'o'))?;
        let copies = copies.parse().ok().filter(|c| (2..=9).contains(c))?;
        Some(Self { kind, copies })
    }
}

impl fmt::Display for Raid10Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, self.copies)
    }
}

impl Serialize for Raid10Layout {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl JsonSchema for Raid10Layout {
    fn schema_name() -> Cow<'static, str> {
        "Raid10Layout".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Near, far or offset, and the number of copies.",
            "type": "string",
            "pattern": "^[nfo][2-9]$"
        })
    }
}

/// Whether an array notes what is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Bitmap {
    /// Beside the superblock: after a crash only what was being written is compared.
    Internal,
    /// Nowhere: after a crash everything is.
    None,
}

impl Bitmap {
    /// The words of a document.
    pub const WORDS: [(&str, Self); 2] = [("internal", Self::Internal), ("none", Self::None)];
}

/// How the members of a new array become equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Resync {
    /// By copying, while it is used already.
    #[default]
    Background,
    /// All members are zeroed first, so that there is nothing to copy.
    Zero,
    /// By copying, from the first boot on.
    FrozenUntilBoot,
    /// Not at all: what was never written may differ. Never with parity.
    AssumeClean,
}

impl Resync {
    /// The words of a document.
    pub const WORDS: [(&str, Self); 4] = [
        ("background", Self::Background),
        ("zero", Self::Zero),
        ("frozen-until-boot", Self::FrozenUntilBoot),
        ("assume-clean", Self::AssumeClean),
    ];
}

/// How an array that is there already is recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Adopt {
    /// By its name in the superblock, such as `any:data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// By its UUID, as mdadm writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// What is done when members are missing.
    #[serde(default, skip_serializing_if = "Degraded::is_refuse")]
    pub degraded: Degraded,
}

/// What is done with an array whose members are not all there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Degraded {
    /// Nothing is planned.
    #[default]
    Refuse,
    /// It is kept as it is.
    Allow,
}

impl Degraded {
    /// The words of a document.
    pub const WORDS: [(&str, Self); 2] = [("refuse", Self::Refuse), ("allow", Self::Allow)];

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_refuse(&self) -> bool {
        *self == Self::Refuse
    }
}
