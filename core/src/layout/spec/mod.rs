//! The document `cv.layout/v1` as types. Names and units are right already; [`super::decode`] makes them from a text.
//!
//! ```text
//! disks.SET ──< partitions.SET/NAME <── raid.ID <── luks.ID <── lvm.VG.lvs.LV <── filesystems.ID
//!     ^                      a device has one user; each user may stand on any device on its left
//!     └── boot.install-on
//! ```

#[cfg(test)]
pub mod arbitrary;
mod boot;
mod disks;
mod filesystem;
mod luks;
mod lvm;
mod matching;
mod partition;
mod policy;
mod raid;
mod reference;
mod schema;

pub use boot::{Boot, Loader, Nvram, SecureBoot};
pub use disks::{Count, DiskSet, End, Pick, Require, Same, Wipe};
pub use filesystem::{Filesystem, FsType, Mirror, Mount, Profile, Subvolume};
pub use luks::{Key, Luks};
pub use lvm::{Volume, VolumeGroup, VolumeKind};
pub use matching::{Has, Match, SizeRange, Transport};
pub use partition::{Attribute, Partition, PartitionKey, PartitionType, Side};
pub use policy::{NeverTouch, Policy};
pub use raid::{Adopt, Bitmap, Degraded, Level, Metadata, Raid, Raid10Layout, Resync};
pub use reference::Ref;
pub use schema::json_schema;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// A whole document. What it extends is merged into it already.
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
    /// Names of the documents that it builds on, each overlaid by the next and all by this one. Empty once they are
    /// merged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub extends: Vec<String>,
    /// The firmware that must be able to start it; empty to follow the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more::<Firmware>")]
    pub firmware: Vec<Firmware>,
    /// Sets of disks, by name.
    #[schemars(with = "BTreeMap<String, DiskSet>")]
    pub disks: IndexMap<String, DiskSet>,
    /// Partitions, by `SET/NAME`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Partition>")]
    pub partitions: IndexMap<PartitionKey, Partition>,
    /// Arrays, by name; `raid/NAME` in references.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Raid>")]
    pub raid: IndexMap<String, Raid>,
    /// Encrypted devices, by name; `luks/NAME` in references.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Luks>")]
    pub luks: IndexMap<String, Luks>,
    /// Volume groups, by name; `lvm/GROUP/VOLUME` in references.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "BTreeMap<String, VolumeGroup>")]
    pub lvm: IndexMap<String, VolumeGroup>,
    /// Filesystems and swap, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Filesystem>")]
    pub filesystems: IndexMap<String, Filesystem>,
    /// How it starts; without it nothing is installed to start it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Boot>,
    /// What is not touched, whatever matches.
    #[serde(default, skip_serializing_if = "Policy::is_default")]
    pub policy: Policy,
}

/// The version of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum SchemaId {
    /// The first version.
    #[serde(rename = "cv.layout/v1")]
    V1,
}

/// A firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// The BIOS of PCs.
    Bios,
    /// UEFI.
    Uefi,
}

impl Firmware {
    /// The words of a document.
    pub const WORDS: [(&str, Self); 2] = [("bios", Self::Bios), ("uefi", Self::Uefi)];

    /// The name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bios => "BIOS",
            Self::Uefi => "UEFI",
        }
    }
}

/// Whether something that is there already is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preserve {
    /// It is made anew.
    #[default]
    Never,
    /// It is kept where it is found, and made where it is not.
    IfExists,
    /// It is kept, and that it is not there is an error; `true` in documents means the same.
    Require,
}

impl Preserve {
    /// The words of a document, besides `true` and `false`.
    pub const WORDS: [(&str, Self); 3] =
        [("never", Self::Never), ("if-exists", Self::IfExists), ("require", Self::Require)];

    /// Whether it may be kept.
    #[must_use]
    pub fn keeps(self) -> bool {
        self != Self::Never
    }

    fn is_never(&self) -> bool {
        !self.keeps()
    }
}

/// For what is left out of a written document when it is as it would be without.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
