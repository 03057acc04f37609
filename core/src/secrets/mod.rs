//! Secrets in a tree: whoever has the image would have them. They are found while their bytes are in memory anyhow, and
//! named by path, rule and line; what they are is never kept.
//!
//! ```text
//!  a file's path ── place of a rule? ──────────┐
//!  its bytes ── text of at most 1 MiB? ── word of a rule in it? ── its pattern ──> Hit ──> Finding: warned of, or refused
//! ```
//!
//! The table is in `rules.rs`, for people in `core/docs/secrets.md`.

mod finding;
mod matcher;
mod rules;
mod scan;

pub use finding::{Finding, Findings, Policy, Wanted};
pub use matcher::edition;
pub use rules::{Class, RULES, Rule};
pub use scan::{CONTENT_LIMIT, Hit, Scan};
