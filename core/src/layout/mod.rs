//! Disk layouts: a document says what disks are to look like, a plan says what that means for these disks, and
//! applying the plan makes it so.
//!
//! ```text
//! text ─ document ─ extends ─ decode ─ validate ─> Layout   every mistake at once, with line and column
//! Layout + disks ─ select ─ solve ─────> Plan ─> text, JSON, picture, token   nothing is written
//! Plan + token ─ gate ─ apply ─────────> disks           the gate is the only place that opens them for writing
//! ```
//!
//! A layout never names an image. What is put on the disks comes from a [`Payload`], which a module above this one
//! implements. The normative text is `core/docs/layout-schema.md`.

pub mod apply;
mod canonical;
pub mod capture;
pub mod decode;
pub mod device;
mod extends;
mod foreign;
pub mod gate;
pub mod gpt;
pub mod inventory;
pub mod keep;
mod library;
pub mod observed;
pub mod ondisk;
pub mod place;
pub mod picture;
pub mod plan;
pub mod profile;
pub mod ranges;
pub mod render;
pub mod select;
pub mod signature;
pub mod size;
pub mod solve;
pub mod spec;
pub mod stack;
pub mod teardown;
pub mod token;
mod unchanged;
pub mod validate;

pub use crate::document::diagnostic;

pub use apply::{Applied, ApplyOptions, Backend, Confirm, Journal, Payload, Secrets};
pub use diagnostic::{Diagnostic, Severity, to_error};
pub use library::LayoutOptions;
pub use plan::{Plan, PlanOptions, PlannedImage};
pub use select::Disks;

use crate::document::extends::Merged;
use crate::document::library::read_document;
use crate::document::{Codes, Form};
use crate::error::{Error, Result};
use decode::Positions;
use inventory::Inventory;
use spec::Spec;
use std::path::Path;

/// What a layout is called, and under which codes its mistakes go.
pub(crate) static FORM: Form = Form {
    schema: "cv.layout/v1",
    example: "single-sata",
    places: "the directories of --layout-path",
    codes: Codes {
        text: "L001",
        twice: "L002",
        unknown: "L003",
        missing: "L004",
        schema: "L006",
        limit: "L007",
        value: "L101",
        name: "L116",
        base: "L008",
        circle: "L009",
    },
};
/// The end of a partition's name while its disk is being made.
pub const MARKER: &str = "~cv";
/// The tag of a volume while it is being made in a group that is kept.
pub const UNFINISHED: &str = "cv-unfinished";

/// A layout document that is right in itself.
#[derive(Clone, Debug)]
pub struct Layout {
    spec: Spec,
    positions: Positions,
    document: String,
}

impl Layout {
    /// Reads a document in YAML or JSON; `name` stands for it in messages. It extends no other.
    ///
    /// # Errors
    /// `Invalid`, `Limit` or `Unsupported` with all diagnostics in `detail.diagnostics`.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self> {
        Self::parse_with(bytes, name, &LayoutOptions::default())
    }

    /// Reads a document that may extend others.
    ///
    /// # Errors
    /// As [`Layout::parse`].
    pub fn parse_with(bytes: &[u8], name: &str, options: &LayoutOptions) -> Result<Self> {
        Self::of(Examined::new(bytes, name, None, options), name)
    }

    /// Reads a document from a file. What it extends lies beside it.
    ///
    /// # Errors
    /// As [`Layout::parse`]; `NotFound` and `Io` from the file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(path, &LayoutOptions::default())
    }

    /// Reads a document from a file. What it extends lies beside it, or where the options say.
    ///
    /// # Errors
    /// As [`Layout::load`].
    pub fn load_with(path: impl AsRef<Path>, options: &LayoutOptions) -> Result<Self> {
        let path = path.as_ref();
        Self::of(Examined::file(path, options)?, &path.display().to_string())
    }

    fn of(examined: Examined, name: &str) -> Result<Self> {
        match examined.spec {
            Some((spec, positions)) if !has_errors(&examined.found) => {
                Ok(Self { spec, positions, document: name.to_owned() })
            }
            _ => Err(diagnostic::to_error(name, &examined.found)),
        }
    }

    /// The name of the layout.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The document as types.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The document, with all that it extends, as JSON text, which [`Layout::parse`] reads again.
    ///
    /// A text and no `Value`: the order of sets, partitions and volumes means something, and a `Value` would lose it.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.spec).unwrap_or_default()
    }

    /// What stands for the meaning of the document, 64 hex digits: the same however it is written.
    #[must_use]
    pub fn hash(&self) -> String {
        canonical::hash(&self.spec)
    }

    /// The JSON Schema of the document.
    #[must_use]
    pub fn json_schema() -> serde_json::Value {
        spec::json_schema()
    }

    /// Makes a plan for these disks, by set; they are opened for reading only.
    ///
    /// # Errors
    /// With all findings in `detail.diagnostics`: `Invalid` when a set has no disk, `Refused` when a disk is too small,
    /// in use, read-only or no disk; `NotFound` when there is nothing at its path.
    pub fn plan(&self, disks: &Disks, options: &PlanOptions) -> Result<Plan> {
        Plan::make(self, disks, options, None)
    }

    /// Makes a plan for another machine, from what was recorded there: no disk is opened, and none of this machine is
    /// looked at. Sets without disks in `disks` choose theirs by their rules; paths are those of that machine.
    ///
    /// With the same document, options and boot the plan that is made there has the same token.
    ///
    /// # Errors
    /// As [`Layout::plan`]; `NotFound` for a disk that the inventory does not have, `Invalid` where it does not say what
    /// a disk carries.
    pub fn plan_recorded(&self, inventory: &Inventory, disks: &Disks, options: &PlanOptions) -> Result<Plan> {
        Plan::make(self, disks, options, Some(inventory))
    }

    /// An error out of findings about this document.
    pub(crate) fn error(&self, found: &[Diagnostic]) -> Error {
        diagnostic::to_error(&self.document, &self.positions.name_all(found.to_vec()))
    }

    pub(crate) fn positions(&self) -> &Positions {
        &self.positions
    }
}

/// Everything that is wrong with a document that extends no other; empty when nothing is.
#[must_use]
pub fn check(bytes: &[u8], name: &str) -> Vec<Diagnostic> {
    check_with(bytes, name, &LayoutOptions::default())
}

/// Everything that is wrong with a document and with what it extends; empty when nothing is.
#[must_use]
pub fn check_with(bytes: &[u8], name: &str, options: &LayoutOptions) -> Vec<Diagnostic> {
    Examined::new(bytes, name, None, options).found
}

/// Everything that is wrong with a document in a file and with what it extends; empty when nothing is.
///
/// # Errors
/// `NotFound` and `Io` from the file.
pub fn check_file(path: impl AsRef<Path>, options: &LayoutOptions) -> Result<Vec<Diagnostic>> {
    Ok(Examined::file(path.as_ref(), options)?.found)
}

/// What came out of a document.
struct Examined {
    spec: Option<(Spec, Positions)>,
    found: Vec<Diagnostic>,
}

impl Examined {
    fn file(path: &Path, options: &LayoutOptions) -> Result<Self> {
        let bytes = read_document(path, "layout")?;
        Ok(Self::new(&bytes, &path.display().to_string(), path.parent(), options))
    }

    fn new(bytes: &[u8], name: &str, directory: Option<&Path>, options: &LayoutOptions) -> Self {
        let find = |name: &str, beside: Option<&Path>| options.find(name, beside);
        let Merged { root, documents, mut found } = extends::read(bytes, name, directory, &find);
        let mut spec = None;
        if let Some(root) = root {
            let (decoded, mut positions, wrong) = decode::decode(&root);
            found = wrong;
            positions.documents.clone_from(&documents);
            if let Some(decoded) = decoded {
                found.extend(validate::validate(&decoded, &positions));
                spec = Some((decoded, positions));
            }
        }
        found.sort_by_key(Diagnostic::order);
        found.truncate(diagnostic::DIAGNOSTIC_LIMIT);
        Self { spec, found: found.into_iter().map(|d| d.within(&documents)).collect() }
    }
}

fn has_errors(found: &[Diagnostic]) -> bool {
    found.iter().any(|d| d.severity == Severity::Error)
}
