//! What an image is: structs, readers, writers and dumps of its formats, and no I/O.
//!
//! ```text
//!  row ─┐                        chunk ─┐
//!  row ─┼─> page ─┐                     ├─> block ─> pack
//!  row ─┘         ├─> manifest   chunk ─┘
//!          page ──┘
//! ```
//!
//! The normative text is `core/docs/image-format.md`; the words are its vocabulary. Every encoding is canonical: one
//! value has one sequence of bytes, and a reader refuses any other, because the hash of the bytes is the identity.

pub mod block;
pub mod chunker;
pub mod chunkset;
pub mod content;
pub mod dump;
pub mod facts;
pub mod hash;
pub mod leb;
pub mod loss;
pub mod manifest;
pub mod pack;
pub mod page;
pub mod path;
pub mod resolve;
pub mod row;
pub mod rules;

pub use block::Block;
pub use chunkset::ChunkSet;
pub use content::ContentBuilder;
pub use hash::Hash;
pub use loss::Loss;
pub use manifest::Manifest;
pub use row::{Content, Item, Kind, Row, Value, Xattrs};

use crate::error::{Error, ErrorKind};

/// What can be wrong with bytes that should be one of our formats.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes end too early.
    #[error("{0} is truncated")]
    Truncated(&'static str),
    /// The bytes are not what the format says, or not in the one canonical form.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// The object, such as `page`.
        what: &'static str,
        /// The rule that is broken.
        why: &'static str,
    },
    /// A checksum or hash does not fit.
    #[error("{what} has a wrong checksum: expected {expected}, found {actual}")]
    Checksum {
        /// The object.
        what: &'static str,
        /// What it should be, in hex.
        expected: String,
        /// What it is, in hex.
        actual: String,
    },
    /// A path, name or structure breaks a rule that protects the machine.
    #[error("unsafe entry {path}: {rule}")]
    Unsafe {
        /// The entry, printable.
        path: String,
        /// The rule.
        rule: &'static str,
    },
    /// A size or count is over a limit of the format.
    #[error("{what} is over the limit of {limit}")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A version or critical field that this libcv does not know.
    #[error("{what} has {feature}, which this version does not know")]
    Unknown {
        /// The object.
        what: &'static str,
        /// The version or field.
        feature: String,
    },
}

impl FormatError {
    pub(crate) const fn malformed(what: &'static str, why: &'static str) -> Self {
        Self::Malformed { what, why }
    }
}

impl From<FormatError> for Error {
    fn from(e: FormatError) -> Self {
        let kind = match &e {
            FormatError::Truncated(_) | FormatError::Malformed { .. } | FormatError::Checksum { .. } => {
                ErrorKind::Integrity
            }
            FormatError::Unsafe { .. } => ErrorKind::UnsafeInput,
            FormatError::Limit { .. } => ErrorKind::Limit,
            FormatError::Unknown { .. } => ErrorKind::Unsupported,
        };
        let mut out = Error::new(kind, e.to_string());
        match e {
            FormatError::Checksum { expected, actual, .. } => {
                out = out.fact("expected", expected).fact("actual", actual);
            }
            FormatError::Unsafe { path, rule } => out = out.fact("entry", path).fact("rule", rule),
            FormatError::Limit { limit, .. } => out = out.fact("limit", limit),
            _ => {}
        }
        out
    }
}
