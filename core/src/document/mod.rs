//! Documents that people write: what layouts and roles have in common.
//!
//! ```text
//! text ─ node ─> Node, with places ─ extends ─> merged ─ reader ─> types       every mistake at once, with line and column
//!                 limits                what joins two is the form's own           diagnostic: code, path, place, hint
//! ```
//!
//! A [`Form`] says what one kind of document is called, and under which codes its mistakes go. What its keys are, it says
//! with an `impl Reader` of its own.

pub mod diagnostic;
pub mod extends;
pub mod library;
pub mod node;
pub mod reader;
pub(crate) mod schema;

pub use diagnostic::{Diagnostic, Position, Severity};
pub use node::{Key, Node, Value};
pub use reader::Positions;

/// A kind of document: its words in messages, and the codes of what can be wrong with any document.
#[derive(Debug)]
pub struct Form {
    /// The value of `schema`.
    pub schema: &'static str,
    /// The name of a document of this kind, for hints.
    pub example: &'static str,
    /// Where documents are looked for that another one extends, for hints.
    pub places: &'static str,
    /// The codes.
    pub codes: Codes,
}

/// Codes of what can be wrong with any document.
#[derive(Debug)]
pub struct Codes {
    /// The text is neither YAML nor JSON.
    pub text: &'static str,
    /// A key stands twice.
    pub twice: &'static str,
    /// A key is not known.
    pub unknown: &'static str,
    /// A key is missing.
    pub missing: &'static str,
    /// The schema is another one.
    pub schema: &'static str,
    /// It is over a limit.
    pub limit: &'static str,
    /// A value is not what belongs there.
    pub value: &'static str,
    /// A name has letters that it cannot have.
    pub name: &'static str,
    /// A document that is extended is not there.
    pub base: &'static str,
    /// Documents extend each other in a circle, or too deep.
    pub circle: &'static str,
}
