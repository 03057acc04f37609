//! A repository of packages, as its own metadata describe it.
//!
//! ```text
//!  .treeinfo ── sha256 ──> repomd.xml ── sha256 ──> primary.xml ── size, sha256 ──> packages
//!                              ├───────────────────> comps.xml: groups, environments
//!                              └───────────────────> modules.yaml: streams
//! ```
//!
//! Each is checked before it is believed. Nothing tells that `repomd.xml` itself is right but `.treeinfo`, and nothing that
//! `.treeinfo` is: on media neither is signed. Packages are.

mod comps;
mod modules;
mod primary;
mod repomd;
mod unpack;
mod xml;

pub use comps::{Comps, Environment, Group, Wanted, parse as parse_comps};
pub use modules::{Module, parse as parse_modules};
pub use primary::{Package, parse as parse_primary};
pub use repomd::{Record, parse as parse_repomd};

use super::digest::Digest;
use super::files::{Files, join};
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
pub(super) use unpack::{STORED_LIMIT, Text};

/// Path of the document in a repository that leads to all others.
pub(super) const REPOMD: &str = "repodata/repomd.xml";

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// `BaseOS`.
    pub id: String,
    /// Path of the directory that holds `repodata` in the tree; empty for the tree itself.
    pub path: String,
    /// Its packages.
    pub packages: Vec<Package>,
    /// Its groups.
    pub groups: Vec<Group>,
    /// Its environments.
    pub environments: Vec<Environment>,
    /// Its modules.
    pub modules: Vec<Module>,
}

impl Repository {
    /// Path in the tree of a package's file.
    #[must_use]
    pub fn place_of(&self, package: &Package) -> String {
        join(&self.path, &package.location)
    }

    /// A component of a mirror, whose packages lie by their paths on it.
    pub(super) fn of_component(id: &str, packages: Vec<Package>) -> Self {
        let path = String::new();
        Self { id: id.to_owned(), path, packages, groups: Vec::new(), environments: Vec::new(), modules: Vec::new() }
    }

    /// Reads the metadata of the repository at `path`, all of which have to fit what names them; `expected` is what
    /// `repomd.xml` has to give.
    ///
    /// # Errors
    /// `Integrity` when metadata are missing or do not fit, with the path; `UnsafeInput` when they lead out of the repository;
    /// `Limit`; `Cancelled`.
    pub(super) fn read(
        files: &dyn Files,
        id: &str,
        path: &str,
        expected: Option<&Digest>,
        task: &Task,
    ) -> Result<Self> {
        let place = join(path, REPOMD);
        let missing = |e: Error| match e.kind() {
            ErrorKind::NotFound => Error::integrity(format!("repository {id}: {}", e.message())).fact("repository", id),
            _ => e,
        };
        let repomd = files.read(&place, repomd::LIMIT).map_err(missing)?;
        if expected.is_some_and(|d| !d.fits(&repomd)) {
            return Err(other(&place, id));
        }
        let records = parse_repomd(&repomd).map_err(|e| e.context(&place))?;
        let mut out = Self {
            id: id.to_owned(),
            path: path.to_owned(),
            packages: Vec::new(),
            groups: Vec::new(),
            environments: Vec::new(),
            modules: Vec::new(),
        };
        let (mut primary, mut group) = (false, false);
        for record in &records {
            task.check()?;
            let place = join(path, &record.location);
            if let (Some(size), Some(actual)) = (record.size, files.size(&place))
                && size != actual
            {
                return Err(other(&place, id));
            }
            let bytes = files.read(&place, STORED_LIMIT).map_err(missing)?;
            if !record.digest.fits(&bytes) {
                return Err(other(&place, id));
            }
            match record.kind.as_str() {
                "primary" => {
                    out.packages = parse_primary(&bytes).map_err(|e| e.context(&place))?;
                    primary = true;
                }
                // The same document plain, and compressed.
                kind if kind.starts_with("group") && !group => {
                    let comps = parse_comps(&bytes).map_err(|e| e.context(&place))?;
                    (out.groups, out.environments) = (comps.groups, comps.environments);
                    group = true;
                }
                "modules" => {
                    let text = Text::of(&bytes)?.all(modules::LIMIT)?;
                    out.modules = parse_modules(&text).map_err(|e| e.context(&place))?;
                }
                _ => {}
            }
        }
        if !primary {
            return Err(Error::integrity(format!("repository {id} has no list of packages")).fact("repository", id));
        }
        Ok(out)
    }
}

/// A metadata file that is another than the one that was meant.
fn other(place: &str, id: &str) -> Error {
    Error::integrity(format!("/{place} does not have the size and checksum that it has to have"))
        .fact("path", place)
        .fact("repository", id)
}

#[cfg(test)]
mod tests;
