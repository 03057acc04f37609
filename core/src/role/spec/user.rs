//! Users of an image.

use super::Keyed;
use schemars::JsonSchema;
use serde::Serialize;

/// A user, with the keys that open an account. A password stands in no role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name.
    #[schemars(regex(pattern = r"^[a-z_][a-z0-9_-]{0,31}$"))]
    pub name: String,
    /// The number; the next free one without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The number of the user's own group; that of the user without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// More groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The full name, or what the account is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The home directory; `/home/NAME` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// The shell; `/bin/bash` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// Whether it belongs to a service: a low number, no home directory is made.
    #[serde(default, skip_serializing_if = "super::words::is_false")]
    pub system: bool,
    /// Public keys of OpenSSH.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

impl Keyed for User {
    fn id(&self) -> &str {
        &self.name
    }
}
