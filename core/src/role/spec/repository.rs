//! More repositories than those of the distribution.

use super::Keyed;
use schemars::JsonSchema;
use serde::Serialize;

/// A repository, with the key that its packages are signed with.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// Its name.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
    pub name: String,
    /// Where it is: `https://`, `http://` or `file://`. `$releasever` and `$basearch` stand for the release and the
    /// architecture.
    pub url: String,
    /// The public key, armored; in documents also the name of a file beside the document.
    pub key: String,
    /// Of several that have a package the one with the lowest number is taken: 1 to 99, 99 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub priority: Option<u32>,
    /// Of Debian and Ubuntu: the suite, such as `bookworm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// Of Debian and Ubuntu: the components, such as `main`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
}

impl Keyed for Repository {
    fn id(&self) -> &str {
        &self.name
    }
}
