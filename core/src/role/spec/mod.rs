//! The document `cv.role/v1` as types, with all that it extends in it. [`super::decode`] makes them from texts.
//!
//! ```text
//! Spec ─┬─ name, description
//!       ├─ Part                     what is said of every system
//!       └─ for.SELECTOR: Part       what is said of some: `el`, `el9`, `debian` …; goes before the above
//! ```

#[cfg(test)]
pub mod arbitrary;
mod file;
mod list;
mod module;
mod repository;
mod schema;
mod script;
mod user;
pub(crate) mod words;

pub use file::{Body, File, Mode, Owner};
pub use list::{Item, Keyed, List};
pub use module::Module;
pub use repository::Repository;
pub use schema::json_schema;
pub use script::{Script, TimeLimit};
pub use user::User;
pub use words::{Selinux, UnitState};

use super::selector::Selector;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// A whole document. What it extends is merged into it already.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "cv.role/v1", description = "A role of libcv: what is in an image")]
pub struct Spec {
    /// The version of the schema.
    pub schema: SchemaId,
    /// The name of the role.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Names of the roles that it builds on. Empty once they are merged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub extends: Vec<String>,
    /// What is said of every system.
    #[serde(flatten)]
    pub part: Part,
    /// What is said of some systems only: `el`, `el9`, `deb`, `debian12`, `ubuntu24.04` and the like.
    #[serde(default, rename = "for", skip_serializing_if = "BTreeMap::is_empty")]
    pub special: BTreeMap<Selector, Part>,
}

/// The version of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum SchemaId {
    /// The first version.
    #[serde(rename = "cv.role/v1")]
    V1,
}

/// What is said of every system, or of some.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Part {
    /// Packages, by name.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub packages: List<String>,
    /// Groups of packages, by their ids, such as `core`.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub groups: List<String>,
    /// The environment of groups, by its id, such as `minimal-environment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Streams of modules: `NAME:STREAM` or `NAME:STREAM/PROFILE`.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub modules: List<Module>,
    /// Packages that are never installed; `*` and `?` stand for letters.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub exclude: List<String>,
    /// Whether what packages recommend is installed as well; `false` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weak_deps: Option<bool>,
    /// Whether documentation is installed; `true` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs: Option<bool>,
    /// Languages of messages and manuals that are installed, such as `en_US`; all without it.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub languages: List<String>,
    /// More repositories.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub repositories: List<Repository>,
    /// Files.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub files: List<File>,
    /// Units of systemd.
    #[serde(default, skip_serializing_if = "Units::is_empty")]
    pub units: Units,
    /// Users and their keys.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub users: List<User>,
    /// Words for the kernel's command line, in this order.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub kernel_args: List<String>,
    /// What SELinux does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux: Option<Selinux>,
    /// The time zone, such as `Europe/Berlin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The locale, such as `en_US.UTF-8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Scripts that run in the new root, in this order, after all else.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub scripts: List<Script>,
    /// What of packages is not to be in an image.
    #[serde(default, skip_serializing_if = "Generalise::is_empty")]
    pub generalise: Generalise,
    /// No file is younger than this, in seconds since 1970; without it the newest package says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::epoch")]
    pub epoch: Option<u64>,
    /// Packages whose scriptlets may fail.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub allow_scriptlet_failures: List<String>,
}

/// Units of systemd, by what becomes of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Units {
    /// They start with the system.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub enable: List<String>,
    /// They do not, unless something else starts them.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub disable: List<String>,
    /// Nothing starts them.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub mask: List<String>,
}

impl Units {
    fn is_empty(&self) -> bool {
        self.enable.is_empty() && self.disable.is_empty() && self.mask.is_empty()
    }
}

/// What is taken out of the tree at the end, besides what libcv takes out of every tree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Generalise {
    /// Files and directories that are removed; `*` and `?` stand for letters.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub remove: List<String>,
    /// Files that are emptied.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub truncate: List<String>,
}

impl Generalise {
    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.truncate.is_empty()
    }
}
