//! Patterns that people give to choose entries of a tree, written as in `.gitignore`, from the root of the tree.

use crate::error::{Error, Result};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Compiles patterns; `what` is the option that gave them.
///
/// # Errors
/// `Invalid` for one that is none, or that takes something back.
pub fn compile(patterns: &[String], what: &str) -> Result<Gitignore> {
    let mut b = GitignoreBuilder::new("/");
    for p in patterns {
        let bad = |e: ignore::Error| {
            Error::invalid(format!("{what} \"{p}\" is not a pattern"))
                .cause(e)
                .hint("patterns are written as in .gitignore")
        };
        if p.trim().is_empty() || p.starts_with('!') {
            return Err(Error::invalid(format!("{what} \"{p}\" is not a pattern of its own"))
                .hint("use --keep to take something back"));
        }
        b.add_line(None, p).map_err(bad)?;
    }
    b.build().map_err(|e| Error::invalid(format!("the patterns of {what} cannot be combined")).cause(e))
}

/// Whether a pattern fits a file, or a directory above it. `path` is that of an image: without the leading slash.
#[must_use]
pub fn fits_or_beneath(patterns: &Gitignore, path: &[u8]) -> bool {
    if patterns.is_empty() {
        return false;
    }
    let mut absolute = Vec::with_capacity(path.len() + 1);
    absolute.push(b'/');
    absolute.extend_from_slice(path);
    patterns.matched_path_or_any_parents(Path::new(OsStr::from_bytes(&absolute)), false).is_ignore()
}
