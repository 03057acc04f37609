//! Volume groups of LVM, and their volumes.

use super::{Preserve, Ref, schema};
use crate::layout::size::{Percent, Size, bytes_schema};
use crate::units::ByteSize;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// A volume group.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VolumeGroup {
    /// What it is made of; a partition stands for all its replicas.
    pub pvs: Vec<Ref>,
    /// The unit of its volumes; a power of two from 1 MiB on.
    #[schemars(schema_with = "bytes_schema")]
    pub extent: ByteSize,
    /// What no volume gets, for snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve: Option<Percent>,
    /// Its volumes, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Volume>")]
    pub lvs: IndexMap<String, Volume>,
    /// Whether one that is there already is kept.
    #[serde(default, skip_serializing_if = "Preserve::is_never")]
    #[schemars(schema_with = "schema::preserve")]
    pub preserve: Preserve,
}

impl VolumeGroup {
    /// The unit of volumes where a document gives none.
    pub const EXTENT: ByteSize = ByteSize::new(4 << 20);
}

/// A logical volume.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Volume {
    /// What it is.
    #[serde(default)]
    pub kind: VolumeKind,
    /// Its size; a thin volume takes none from the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Over how many physical volumes a linear one is striped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 128))]
    pub stripes: Option<u32>,
    /// The bytes that follow each other on one of them; a power of two from 4 KiB on. 64 KiB without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes_schema")]
    pub stripe_size: Option<ByteSize>,
    /// The unit of a thin pool; a multiple of 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes_schema")]
    pub chunk: Option<ByteSize>,
    /// The pool of a thin volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// What a thin volume shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes_schema")]
    pub virtual_size: Option<ByteSize>,
    /// Where there is no room for it, it is left out, and so is what depends on it alone.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub optional: bool,
    /// Whether one that is there already is kept.
    #[serde(default, skip_serializing_if = "Preserve::is_never")]
    #[schemars(schema_with = "schema::preserve")]
    pub preserve: Preserve,
}

/// What a volume is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeKind {
    /// Extents one after the other, or striped.
    #[default]
    Linear,
    /// Room that thin volumes share.
    ThinPool,
    /// Takes room from its pool when it is written.
    Thin,
}

impl VolumeKind {
    /// The words of a document.
    pub const WORDS: [(&str, Self); 3] =
        [("linear", Self::Linear), ("thin-pool", Self::ThinPool), ("thin", Self::Thin)];

    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::WORDS.iter().find(|(_, k)| *k == self).map_or("", |(w, _)| w)
    }
}
