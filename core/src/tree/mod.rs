//! A tree on a filesystem: walked, read, extracted, compared, updated.

pub mod compare;
pub mod diff;
pub mod entry;
mod examine;
pub mod extract;
mod history;
mod mounts;
pub mod pattern;
pub mod read;
pub mod report;
pub mod rules;
mod seen;
pub mod select;
pub mod update;
pub mod walk;

pub use entry::{Entry, Tree};

use crate::sys::confined::Root;

/// The work that was interrupted in a tree, if it holds parts only; in words that begin a sentence's second half.
#[must_use]
pub fn unfinished(root: &Root) -> Option<&'static str> {
    if extract::is_unfinished(root) {
        return Some("an extraction");
    }
    update::is_unfinished(root).then_some("an update")
}
