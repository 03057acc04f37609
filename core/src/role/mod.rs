//! Roles: a document says what is in an image, whatever distribution it is made from.
//!
//! ```text
//! text ─ decode ─> what it says ─┐
//! what it extends ─ decode ──────┴─ said: beside, over ─ assemble ─> Spec ─ validate ─> Role   every mistake at once
//! Role + system ─> Part ─ names, meaning ─> findings                          nothing is read from a distribution here
//! ```
//!
//! A role never names a distribution, and no disk. The normative text is `core/docs/role-schema.md`.

mod assemble;
mod canonical;
mod decode;
mod library;
mod meaning;
mod merge;
pub mod names;
mod said;
pub mod selector;
pub mod spec;
pub mod template;
#[cfg(test)]
mod tests;
mod together;
mod validate;

pub use crate::document::diagnostic::{Diagnostic, Severity, to_error};
pub use library::{RoleOptions, SHIPPED};
pub use names::Names;
pub use selector::{Selector, Systems};
pub use spec::{Part, Spec};

use crate::document::diagnostic::DIAGNOSTIC_LIMIT;
use crate::document::extends::Merged;
use crate::document::library::read_document;
use crate::document::{Codes, Form};
use crate::error::{Error, Result};
use said::Layer;
use std::path::Path;

/// What a role is called, and under which codes its mistakes go.
pub(crate) static FORM: Form = Form {
    schema: "cv.role/v1",
    example: "node",
    places: "the directories of --role-path, then among the roles that come with libcv",
    codes: Codes {
        unknown: "R001",
        text: "R002",
        twice: "R003",
        missing: "R004",
        value: "R005",
        schema: "R006",
        limit: "R007",
        name: "R008",
        base: "R010",
        circle: "R011",
    },
};

/// A role that is right in itself, with all that it extends.
#[derive(Clone, Debug)]
pub struct Role {
    spec: Spec,
    layer: Layer,
    document: String,
    documents: Vec<String>,
}

impl Role {
    /// Reads a document in YAML or JSON; `name` stands for it in messages. It may extend the roles that come with libcv.
    ///
    /// # Errors
    /// `Invalid` or `Limit` with all diagnostics in `detail.diagnostics`.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self> {
        Self::parse_with(bytes, name, &RoleOptions::default())
    }

    /// Reads a document that may extend others.
    ///
    /// # Errors
    /// As [`Role::parse`].
    pub fn parse_with(bytes: &[u8], name: &str, options: &RoleOptions) -> Result<Self> {
        Self::of(Examined::new(bytes, name, None, options), name)
    }

    /// Reads a document from a file. What it extends, and files that it names, lie beside it.
    ///
    /// # Errors
    /// As [`Role::parse`]; `NotFound` and `Io` from the file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(path, &RoleOptions::default())
    }

    /// Reads a document from a file. What it extends lies beside it, or where the options say.
    ///
    /// # Errors
    /// As [`Role::load`].
    pub fn load_with(path: impl AsRef<Path>, options: &RoleOptions) -> Result<Self> {
        let path = path.as_ref();
        Self::of(Examined::file(path, options)?, &path.display().to_string())
    }

    /// Reads a role by its name, or from a file where there is one of that path.
    ///
    /// A name is looked for as one that is extended: among the options' files and documents, in their directories, then among the
    /// roles that come with libcv. What has a `/` or an ending in it is a file.
    ///
    /// # Errors
    /// As [`Role::load`]; `NotFound` with the nearest names when there is no such role.
    pub fn find(name: &str, options: &RoleOptions) -> Result<Self> {
        if library::is_path(name) {
            return Self::load_with(name, options);
        }
        let found = options.named(name)?;
        Self::of(Examined::new(&found.bytes, &found.name, found.directory.as_deref(), options), &found.name)
    }

    fn of(examined: Examined, name: &str) -> Result<Self> {
        let Examined { merged, documents, found } = examined;
        match merged {
            Some((spec, layer)) if !has_errors(&found) => {
                Ok(Self { spec, layer, document: name.to_owned(), documents })
            }
            _ => Err(to_error(name, &found)),
        }
    }

    /// The name of the role.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The document as types, with all that it extends.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What it says of one system, such as [`Selector::parse`]`("el9")`: what is said of some systems only is in it, or
    /// not. No list of it takes anything away any more.
    #[must_use]
    pub fn part(&self, system: Selector) -> Part {
        assemble::part(&self.layer, system)
    }

    /// The document, with all that it extends, as JSON text in its only form, which [`Role::parse`] reads again.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.spec).unwrap_or_default()
    }

    /// The same as YAML, as a person would write it.
    ///
    /// # Errors
    /// `Failed`, which does not happen.
    pub fn to_yaml(&self) -> Result<String> {
        to_yaml(&self.spec)
    }

    /// What stands for the meaning of the document, 64 hex digits: the same however it is written, and over however many
    /// documents it is spread.
    #[must_use]
    pub fn digest(&self) -> String {
        canonical::digest(&self.spec)
    }

    /// The JSON Schema of the document.
    #[must_use]
    pub fn json_schema() -> serde_json::Value {
        spec::json_schema()
    }

    /// What of the role means nothing on this system: warnings.
    #[must_use]
    pub fn without_meaning(&self, system: Selector) -> Vec<Diagnostic> {
        self.name_all(meaning::warnings(&self.layer, system))
    }

    /// What the role names and a distribution does not have, with the nearest names: packages, groups, the environment,
    /// streams of modules. `names` is all that the distribution of this system and the role's own repositories have.
    #[must_use]
    pub fn unknown_names(&self, system: Selector, names: &Names) -> Vec<Diagnostic> {
        self.name_all(names::unknown(&self.layer, system, names))
    }

    /// An error out of findings about this role.
    #[must_use]
    pub fn error(&self, found: &[Diagnostic]) -> Error {
        to_error(&self.document, found)
    }

    fn name_all(&self, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
        found.into_iter().map(|d| d.within(&self.documents)).collect()
    }
}

/// Anything of a role as YAML.
///
/// # Errors
/// `Failed`, which does not happen.
pub fn to_yaml(value: &impl serde::Serialize) -> Result<String> {
    serde_saphyr::to_string(value).map_err(|e| Error::new(crate::ErrorKind::Failed, format!("no YAML: {e}")))
}

/// Everything that is wrong with a document; empty when nothing is.
#[must_use]
pub fn check(bytes: &[u8], name: &str) -> Vec<Diagnostic> {
    check_with(bytes, name, &RoleOptions::default())
}

/// Everything that is wrong with a document and with what it extends; empty when nothing is.
#[must_use]
pub fn check_with(bytes: &[u8], name: &str, options: &RoleOptions) -> Vec<Diagnostic> {
    Examined::new(bytes, name, None, options).found
}

/// Everything that is wrong with a document in a file and with what it extends; empty when nothing is.
///
/// # Errors
/// `NotFound` and `Io` from the file.
pub fn check_file(path: impl AsRef<Path>, options: &RoleOptions) -> Result<Vec<Diagnostic>> {
    Ok(Examined::file(path.as_ref(), options)?.found)
}

/// What came out of a document.
struct Examined {
    merged: Option<(Spec, Layer)>,
    documents: Vec<String>,
    found: Vec<Diagnostic>,
}

impl Examined {
    fn file(path: &Path, options: &RoleOptions) -> Result<Self> {
        let bytes = read_document(path, "role")?;
        Ok(Self::new(&bytes, &path.display().to_string(), path.parent(), options))
    }

    fn new(bytes: &[u8], name: &str, directory: Option<&Path>, options: &RoleOptions) -> Self {
        let find = |name: &str, beside: Option<&Path>| options.find(name, beside);
        let read = |directory: Option<&Path>, name: &str| options.source(directory, name);
        let Merged { root, documents, mut found } = merge::read(bytes, name, directory, &find, &read);
        let merged = root.map(|own| {
            found.extend(validate::validate(&own.layer));
            let (part, special) = assemble::parts(&own.layer);
            let decode::Own { name, description, layer } = own;
            let schema = spec::SchemaId::V1;
            (Spec { schema, name, description, extends: Vec::new(), part, special }, layer)
        });
        found.sort_by_key(Diagnostic::order);
        found.dedup();
        found.truncate(DIAGNOSTIC_LIMIT);
        let found = found.into_iter().map(|d| d.within(&documents)).collect();
        Self { merged, documents, found }
    }
}

fn has_errors(found: &[Diagnostic]) -> bool {
    found.iter().any(|d| d.severity == Severity::Error)
}
