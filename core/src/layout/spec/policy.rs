//! What is not touched, whatever matches.

use super::{is_false, schema};
use schemars::JsonSchema;
use serde::Serialize;

/// What is not touched, whatever matches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Policy {
    /// Disks to which one of these applies belong to no set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more::<NeverTouch>")]
    pub never_touch: Vec<NeverTouch>,
    /// With a boot loader but without a filesystem at `/`: that is meant.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_root: bool,
}

impl Policy {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Disks that are not touched: every key that is given must hold. Texts are patterns with `*` and `?`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NeverTouch {
    /// Labels of filesystems, or names of partitions, on the disk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub label: Vec<String>,
    /// What is recognised on the disk, such as `gpfs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub signature: Vec<String>,
    /// Names in `/dev/disk/by-id`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub by_id: Vec<String>,
    /// Serial numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub serial: Vec<String>,
    /// Models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub model: Vec<String>,
}
