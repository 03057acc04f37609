//! Disk layouts: a document says what disks are to look like, a plan says what that means for these disks, and
//! applying the plan makes it so.
//!
//! ```text
//! text ─ document ─ decode ─ validate ─> Layout          every mistake at once, with line and column
//! Layout + disks ─ select ─ solve ─────> Plan ─> text, JSON, token        nothing is written
//! Plan + token ─ gate ─ apply ─────────> disks           the gate is the only place that opens them for writing
//! ```
//!
//! A layout never names an image. What is put on the disks comes from a [`Payload`], which a module above this one
//! implements. The normative text is `core/docs/layout-schema.md`.

pub mod apply;
pub mod capture;
pub mod decode;
pub mod device;
pub mod diagnostic;
pub mod document;
mod foreign;
pub mod gate;
pub mod gpt;
pub mod inventory;
pub mod observed;
pub mod ondisk;
pub mod place;
pub mod plan;
pub mod ranges;
pub mod render;
pub mod select;
pub mod signature;
pub mod size;
pub mod solve;
pub mod spec;
pub mod stack;
pub mod token;
mod unchanged;
pub mod validate;

pub use apply::{Applied, Confirm, Payload, Secrets};
pub use diagnostic::{Diagnostic, Severity};
pub use plan::{Plan, PlanOptions, PlannedImage};
pub use select::Disks;

use crate::error::{Error, Result};
use decode::Positions;
use spec::Spec;
use std::path::Path;

/// The end of a partition's name while its disk is being made.
pub const MARKER: &str = "~cv";

/// A layout document that is right in itself.
#[derive(Clone, Debug)]
pub struct Layout {
    spec: Spec,
    positions: Positions,
    document: String,
}

impl Layout {
    /// Reads a document in YAML or JSON; `name` stands for it in messages.
    ///
    /// # Errors
    /// `Invalid`, `Limit` or `Unsupported` with all diagnostics in `detail.diagnostics`.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self> {
        match examine(bytes) {
            (Some((spec, positions)), found) if !has_errors(&found) => {
                Ok(Self { spec, positions, document: name.to_owned() })
            }
            (_, found) => Err(diagnostic::to_error(name, &found)),
        }
    }

    /// Reads a document from a file.
    ///
    /// # Errors
    /// As [`Layout::parse`]; `NotFound` and `Io` from the file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        Self::parse(&read_document(path)?, &name)
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

    /// The document as JSON, which [`Layout::parse`] reads again.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(&self.spec).unwrap_or_default()
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
        Plan::make(self, disks, options)
    }

    /// An error out of findings about this document.
    pub(crate) fn error(&self, found: &[Diagnostic]) -> Error {
        diagnostic::to_error(&self.document, found)
    }

    pub(crate) fn positions(&self) -> &Positions {
        &self.positions
    }
}

/// Everything that is wrong with a document; empty when nothing is.
///
/// `name` would stand for the document in messages; places are all that they need now.
#[must_use]
pub fn check(bytes: &[u8], _name: &str) -> Vec<Diagnostic> {
    examine(bytes).1
}

fn examine(bytes: &[u8]) -> (Option<(Spec, Positions)>, Vec<Diagnostic>) {
    let root = match document::read(bytes) {
        Ok(root) => root,
        Err(found) => return (None, vec![found]),
    };
    let (spec, positions, mut found) = decode::decode(&root);
    if let Some(spec) = &spec {
        found.extend(validate::validate(spec, &positions));
    }
    found.sort_by_key(|d| (d.line, d.column));
    found.truncate(diagnostic::DIAGNOSTIC_LIMIT);
    (spec.map(|s| (s, positions)), found)
}

fn has_errors(found: &[Diagnostic]) -> bool {
    found.iter().any(|d| d.severity == Severity::Error)
}

/// A document file, of which no more than the limit is read.
pub(crate) fn read_document(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!("there is no layout at {}", path.display())),
        _ => Error::io("read", path.display(), e),
    };
    // NONBLOCK: a FIFO that nobody writes to would be waited for.
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    let fd = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(|e| failed(e.into()))?;
    let file = std::fs::File::from(fd);
    let mut bytes = Vec::new();
    file.take(document::TEXT_LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
