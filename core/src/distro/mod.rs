//! Distributions: repositories of packages that images are made from, kept in the store.
//!
//! ```text
//!  ISO ── iso: paths, extents ─┐
//!  directory ──────────────────┴─> recognise: treeinfo, repo ──> add ──> an image under the name distro.NAME
//!  mirror ── mirror: signature, lists of packages ─────────────────┘       │
//!       role, build <── lay_out: files ── Distro ── verify: digests, signatures
//! ```
//!
//! A distribution is an image whose tree is what the medium holds, and whose manifest has a fact, [`Document`], that says what
//! it is. So everything that holds for images holds for it: what two releases share is stored once, and collections, checks,
//! copies, repairs and signatures know it. Its name stands among the names with `distro.` before it.
//!
//! The normative text is `core/docs/distro.md`.

mod add;
mod digest;
mod document;
mod files;
pub mod iso;
mod key;
mod lay_out;
mod md5;
mod mediasum;
pub mod mirror;
#[cfg(feature = "server")]
mod part;
mod recognise;
pub mod repo;
mod signature;
mod source;
mod stored;
mod sweep;
#[cfg(feature = "server")]
mod tree;
pub mod treeinfo;
mod verify;
mod web;

pub use add::{AddOptions, Added, add};
pub use digest::{Algorithm, Digest};
pub use document::{Document, Key, RepositoryInfo, Source};
pub use key::{KeyInfo, parse as parse_keys};
pub use lay_out::{LaidOut, Selection};
pub use mediasum::MediaSum;
#[cfg(feature = "server")]
pub(crate) use part::Part;
pub use repo::{Environment, Group, Module, Package, Repository};
#[cfg(feature = "server")]
pub(crate) use tree::Tree;
pub use verify::{Fault, Verified};

use crate::error::{Error, ErrorKind, Result};
use crate::image::Hash;
#[cfg(feature = "server")]
use crate::image::Manifest;
use crate::job::Task;
use crate::store::name::{check_name, nearest};
use crate::store::{DISTRO_PREFIX, Image, Store};
use serde::Serialize;

/// A distribution in a store.
#[derive(Clone)]
pub struct Distro {
    name: String,
    image: Image,
    document: Document,
}

/// What a list says of a distribution.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// When it was added.
    pub added: String,
    /// The image that its files are.
    pub image: Hash,
    /// Bytes of its files.
    pub size: u64,
    /// What is known of it.
    pub distribution: Document,
}

/// The name of the image that a distribution is.
fn reference(name: &str) -> Result<String> {
    check_name(name)?;
    let full = format!("{DISTRO_PREFIX}{name}");
    check_name(&full).map(str::to_owned).map_err(|_| Error::invalid(format!("the name {name} is too long")))
}

impl Distro {
    /// Opens a distribution.
    ///
    /// # Errors
    /// `NotFound` with the nearest names; as [`Store::image`].
    pub fn open(store: &Store, name: &str) -> Result<Self> {
        let image = store.image(&reference(name)?).map_err(|e| match e.kind() {
            ErrorKind::NotFound => missing(store, name),
            _ => e,
        })?;
        let document = Document::of(&image, name)?;
        Ok(Self { name: name.to_owned(), image, document })
    }

    /// All distributions of a store, by name.
    ///
    /// # Errors
    /// `Integrity` when one is damaged.
    pub fn list(store: &Store) -> Result<Vec<Listed>> {
        let open = |name: &String| match Self::open(store, name) {
            // Removed meanwhile, or an image that somebody gave such a name.
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            done => Some(done.map(|d| d.listed())),
        };
        names(store)?.iter().filter_map(open).collect()
    }

    /// Removes a distribution. What only it needs stays until it is collected.
    ///
    /// # Errors
    /// `NotFound` with the nearest names.
    pub fn remove(store: &Store, name: &str) -> Result<()> {
        store.remove(&reference(name)?).map_err(|e| match e.kind() {
            ErrorKind::NotFound => missing(store, name),
            _ => e,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The image that its files are.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// What is known of it without reading its metadata.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// What a list says of it.
    #[must_use]
    pub fn listed(&self) -> Listed {
        Listed {
            name: self.name.clone(),
            added: self.image.release().map_or_else(String::new, |r| r.created.clone()),
            image: self.image.id(),
            size: self.image.manifest().totals.size,
            distribution: self.document.clone(),
        }
    }

    /// Its repositories with their packages, groups and modules, from metadata that are checked.
    ///
    /// # Errors
    /// `Integrity` when they are damaged; `Cancelled`.
    pub fn repositories(&self, task: &Task) -> Result<Vec<Repository>> {
        let stored = stored::Stored::of(&self.image)?;
        if self.document.is_mirror() {
            return mirror::repositories(&stored, &self.document, task);
        }
        recognise::recognise(&stored, task).map(|r| r.repositories)
    }
}

/// Whether what somebody sent for the name `full` of a distribution is one: else nobody could list them any more.
///
/// # Errors
/// `Invalid` when it is none.
#[cfg(feature = "server")]
pub(crate) fn check_sent(full: &str, manifest: &[u8]) -> Result<()> {
    let Some(name) = full.strip_prefix(DISTRO_PREFIX) else { return Ok(()) };
    let document = Document::of_manifest(&Manifest::decode(manifest)?, name);
    document.map(drop).map_err(|e| Error::invalid(format!("what was sent is no distribution: {}", e.message())))
}

/// The names that have a distribution, sorted.
fn names(store: &Store) -> Result<Vec<String>> {
    let refs = store.refs();
    let mut out = Vec::new();
    for full in refs.names()? {
        let Some(name) = full.strip_prefix(DISTRO_PREFIX) else { continue };
        let Some(generation) = refs.head(&full)? else { continue };
        if refs.release(&full, generation)?.image.is_some() {
            out.push(name.to_owned());
        }
    }
    Ok(out)
}

fn missing(store: &Store, name: &str) -> Error {
    let e = Error::not_found(format!("there is no distribution \"{name}\""));
    let known = names(store).unwrap_or_default();
    match nearest(name, &known) {
        Some(hint) => e.hint(hint),
        None if known.is_empty() => e.hint("add one: cvctl distro add FILE.iso"),
        None => e.hint(format!("there are: {}", known.join(", "))),
    }
}
