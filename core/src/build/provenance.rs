//! Where an image comes from, in its manifest: a fact by the name of [`FACT`].
//!
//! ```text
//!  build  ── distribution, role ──────────────┐
//!  update ── distribution, role, parent ──────┼─ the packages that are installed, with the sums of their files
//!  edit   ── what the parent had, and parent ─┘
//! ```
//!
//! The role stands there as a whole: an update needs no file of the one who built.

use super::dnflog::Scriptlet;
use super::packages::Package;
use crate::error::{Error, Result};
use crate::image::Hash;
use crate::store::Image;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The fact of a manifest.
pub const FACT: &str = "build";
const SCHEMA: &str = "cv.provenance/v1";

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// `cv.provenance/v1`.
    pub schema: String,
    /// What made this version.
    pub how: How,
    /// The version of libcv.
    pub libcv: String,
    /// What its packages are from.
    pub distribution: Option<Origin>,
    /// The image whose tree was changed.
    pub base: Option<Hash>,
    /// The role, with all that it extends.
    pub role: Option<RoleOrigin>,
    /// Packages that were wanted besides those of the role.
    pub wanted: Vec<String>,
    /// Seconds since 1970; no file is younger. `None` after an edit.
    pub epoch: Option<i64>,
    /// All packages that are installed, sorted.
    pub packages: Vec<Entry>,
    /// Scriptlets that failed and were allowed to.
    pub failed: Vec<Failed>,
}

/// What made a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// It was built from a distribution, or a role was laid over an image.
    Build,
    /// An older version was updated.
    Update,
    /// Somebody ran a program in it.
    Edit,
}

/// A distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its name in the store.
    pub name: String,
    /// The image that its files are.
    pub image: Hash,
    /// `Rocky Linux 9.4`.
    pub title: String,
    /// SHA-256 of the medium, where it came from one.
    pub sha256: Option<String>,
    /// Fingerprints of the keys that its packages are signed with.
    pub keys: Vec<String>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoleOrigin {
    /// Its name.
    pub name: String,
    /// The digest of its meaning.
    pub digest: String,
    /// The document, with all that it extends.
    pub document: Value,
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// Epoch, version and release.
    pub version: String,
    /// The architecture.
    pub arch: String,
    /// The repository of the distribution that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Of its file, `sha256:…`, where the distribution has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// SHA-256 of its header as it is installed (rpm).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_sha256: Option<String>,
}

/// A scriptlet that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The name of the package.
    pub package: String,
    /// Which one, such as `post`.
    pub scriptlet: String,
    /// How it ended.
    pub how: String,
}

impl Provenance {
    /// One that says nothing yet.
    pub(super) fn new(how: How) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            how,
            libcv: env!("CARGO_PKG_VERSION").to_owned(),
            distribution: None,
            base: None,
            role: None,
            wanted: Vec::new(),
            epoch: None,
            packages: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// That of an image; `None` where nobody built it.
    ///
    /// # Errors
    /// `Unsupported` for one of a later version, `Integrity` when it cannot be read.
    pub fn of(image: &Image) -> Result<Option<Self>> {
        let Some(value) = image.manifest().facts.as_ref().and_then(|f| f.get(FACT)) else { return Ok(None) };
        if value["schema"] != SCHEMA {
            return Err(Error::unsupported(format!("the provenance of the image has the schema {}", value["schema"])));
        }
        let read = serde_json::from_value(value.clone());
        read.map(Some).map_err(|e| Error::integrity("the provenance of the image cannot be read").cause(e))
    }

    /// As a fact of a manifest.
    pub(super) fn fact(&self) -> (String, Value) {
        (FACT.to_owned(), serde_json::to_value(self).unwrap_or_default())
    }
}

impl Entry {
    pub(super) fn of(p: &Package) -> Self {
        Self {
            name: p.name.clone(),
            version: p.evr(),
            arch: p.arch.clone(),
            repository: None,
            digest: None,
            header_sha256: p.header_sha256.clone(),
        }
    }

    /// Whether it is of the same name, version and architecture.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.name, &self.version, &self.arch) == (&other.name, &other.version, &other.arch)
    }
}

impl From<&Scriptlet> for Failed {
    fn from(s: &Scriptlet) -> Self {
        Self { package: s.package.clone(), scriptlet: s.scriptlet.clone(), how: s.how.clone() }
    }
}
