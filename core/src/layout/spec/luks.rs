//! Encrypted devices.

use super::{Preserve, Ref, schema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

/// A device that is encrypted with LUKS 2.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Luks {
    /// What is encrypted.
    pub on: Ref,
    /// The version of the header.
    #[serde(default = "version")]
    #[schemars(schema_with = "version_schema")]
    pub version: u32,
    /// What opens it, each for itself. References: no secret ever stands in a document.
    #[schemars(schema_with = "schema::one_or_more::<Key>")]
    pub keys: Vec<Key>,
    /// Options of `/etc/crypttab`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Its label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Whether one that is there already is kept.
    #[serde(default, skip_serializing_if = "Preserve::is_never")]
    #[schemars(schema_with = "schema::preserve")]
    pub preserve: Preserve,
}

/// What opens an encrypted device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// A secret that whoever applies the plan has under this name: `ref:NAME`.
    Secret(#[schemars(regex(pattern = r"^ref:[A-Za-z0-9._/-]+$"))] String),
    /// The TPM of the machine, which gives the key while these registers are as they were.
    Tpm2 {
        /// The numbers of the registers.
        #[schemars(schema_with = "schema::one_or_more::<u32>")]
        pcrs: Vec<u32>,
    },
}

impl Key {
    /// Whether it is the TPM that gives it.
    #[must_use]
    pub const fn is_tpm2(&self) -> bool {
        matches!(self, Self::Tpm2 { .. })
    }
}

fn version() -> u32 {
    2
}

fn version_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"const": 2})
}
