//! What the store keeps of a distribution beside its files: a fact of the image that its tree is.

use super::iso::Volume;
use super::key::KeyInfo;
use super::mirror;
use super::repo::Repository;
use crate::error::{Error, Result};
use crate::image::{Manifest, path};
use crate::store::Image;
use serde::{Deserialize, Serialize};

/// The fact of a manifest under which the document stands.
pub(super) const FACT: &str = "distribution";
const SCHEMA: &str = "cv.distro/v1";

/// What is known of a distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// `cv.distro/v1`.
    pub schema: String,
    /// `rocky`, `rhel`, `almalinux`, `oracle`, `centos-stream`, or what it calls itself.
    pub id: String,
    /// `Rocky Linux`.
    pub title: String,
    /// `9.4`; of CentOS Stream `9`.
    pub version: String,
    /// `9`.
    pub major: u32,
    /// `bookworm`; of Debian and Ubuntu.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codename: Option<String>,
    /// `x86_64`.
    pub arch: String,
    /// What modules call it: `platform:el9`; empty where there are none.
    pub platform: String,
    /// When its tree, or its suite, was made, in seconds since 1970.
    pub timestamp: Option<i64>,
    /// Where it came from.
    pub source: Source,
    /// Its repositories.
    pub repositories: Vec<RepositoryInfo>,
    /// The keys that its packages have to be signed with.
    pub keys: Vec<Key>,
}

/// Where a distribution came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// `iso`, `directory` or `mirror`.
    pub kind: String,
    /// Bytes of the medium, or of all files of the directory.
    pub size: u64,
    /// Of the whole medium.
    pub sha256: Option<String>,
    /// Name of the medium's volume.
    pub volume: Option<String>,
    /// `undamaged` when the checksum that the medium carries fits, which says nothing of its origin, or the SHA-256 that was
    /// given; `none` without either.
    pub media: String,
    /// Where a mirror is, without the suite: `http://mirror.example/debian`; of what else was fetched, its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its suite: `bookworm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// The components that were taken: `main`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// What the suite called itself then: `Debian 12.15 Released 11 July 2026`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

impl Source {
    /// A medium whose bytes were read.
    pub(super) fn medium(volume: &Volume, size: u64, sha256: String, undamaged: bool) -> Self {
        let media = if undamaged { "undamaged" } else { "none" }.to_owned();
        Self {
            kind: "iso".into(),
            sha256: Some(sha256),
            volume: Some(volume.name.clone()),
            media,
            ..Self::directory(size)
        }
    }

    /// A directory with so many bytes.
    pub(super) fn directory(size: u64) -> Self {
        Self {
            kind: "directory".into(),
            size,
            sha256: None,
            volume: None,
            media: "none".into(),
            url: None,
            suite: None,
            components: Vec::new(),
            release: None,
        }
    }
}

/// What is known of a repository without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryInfo {
    /// `BaseOS`.
    pub id: String,
    /// Path in the tree.
    pub path: String,
    /// Number of packages.
    pub packages: u64,
    /// Bytes of their files.
    pub size: u64,
    /// Ids of its groups, sorted.
    pub groups: Vec<String>,
    /// Ids of its environments, sorted.
    pub environments: Vec<String>,
    /// Names of its modules, sorted.
    pub modules: Vec<String>,
}

impl RepositoryInfo {
    pub(super) fn of(r: &Repository) -> Self {
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        Self {
            id: r.id.clone(),
            path: r.path.clone(),
            packages: r.packages.len() as u64,
            size: r.packages.iter().map(|p| p.size).fold(0, u64::saturating_add),
            groups: sorted(r.groups.iter().map(|g| g.id.clone()).collect()),
            environments: sorted(r.environments.iter().map(|e| e.id.clone()).collect()),
            modules: sorted(r.modules.iter().map(|m| m.name.clone()).collect()),
        }
    }
}

/// A key of a distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Which it is.
    #[serde(flatten)]
    pub info: KeyInfo,
    /// Where it stands in the tree; `None` when only the operator gave it.
    pub file: Option<String>,
    /// Whether the operator said that it is the right one.
    pub pinned: bool,
    /// The file, as text.
    pub text: String,
}

impl Document {
    /// Whether it may stand for another of the same files: it says the same, from whatever source, and knows its keys.
    pub(super) fn is_as_good_as(&self, other: &Self) -> bool {
        let keys = |d: &Self| d.keys.iter().map(|k| (k.info.fingerprint.clone(), k.pinned)).collect::<Vec<_>>();
        let rest = |d: &Self| Self { keys: Vec::new(), source: Source::directory(0), ..d.clone() };
        rest(self) == rest(other) && keys(self) == keys(other)
    }

    /// Whether it is a suite of a mirror, whose packages are there and not here.
    #[must_use]
    pub fn is_mirror(&self) -> bool {
        self.source.kind == mirror::KIND
    }

    /// Whether it is the same suite as `old`, later.
    pub(super) fn continues(&self, old: &Self) -> bool {
        let of =
            |d: &Self| (d.id.clone(), d.version.clone(), d.codename.clone(), d.arch.clone(), d.source.suite.clone());
        self.is_mirror() && old.is_mirror() && of(self) == of(old)
    }

    /// What a role calls it, for its `Selector`: `el9`, `debian12`, `ubuntu24.04`; `None` of what is none of them.
    #[must_use]
    pub fn system(&self) -> Option<String> {
        match self.id.as_str() {
            "debian" => Some(format!("debian{}", self.major)),
            "ubuntu" => Some(format!("ubuntu{}", self.version.split('.').take(2).collect::<Vec<_>>().join("."))),
            _ => self.platform.strip_prefix("platform:").filter(|p| p.starts_with("el")).map(str::to_owned),
        }
    }

    /// The schema that this version writes.
    pub(super) fn schema() -> String {
        SCHEMA.to_owned()
    }

    /// The document of an image that is a distribution.
    ///
    /// # Errors
    /// `NotFound` when it is none; `Unsupported` for one of a later version; `Integrity`.
    pub(super) fn of(image: &Image, name: &str) -> Result<Self> {
        Self::of_manifest(image.manifest(), name)
    }

    /// As [`Document::of`], of the manifest of an image.
    pub(super) fn of_manifest(manifest: &Manifest, name: &str) -> Result<Self> {
        let none = || Error::not_found(format!("\"{name}\" is an image and not a distribution"));
        let value = manifest.facts.as_ref().and_then(|f| f.get(FACT)).ok_or_else(none)?;
        if value["schema"] != SCHEMA {
            return Err(Error::unsupported(format!("{name} has the schema {}", value["schema"])));
        }
        let document: Self = serde_json::from_value(value.clone())
            .map_err(|e| Error::integrity(format!("the document of {name} cannot be read")).cause(e))?;
        // They become parts of paths, and whoever wrote the image may have made them up.
        for r in &document.repositories {
            path::check(r.path.as_bytes())
                .map_err(|e| Error::from(e).context(format!("repository {} of {name}", crate::shown::line(&r.id))))?;
        }
        Ok(document)
    }

    /// The name that it gets when nobody gives another: `rocky-9.4`.
    pub(super) fn default_name(&self) -> String {
        let arch = if self.arch == "x86_64" { String::new() } else { format!("-{}", self.arch) };
        format!("{}-{}{arch}", self.id, self.version)
    }
}
