//! What was found in documents, layouts or roles: all of it is printed, and the first document that is wrong is the error.

use super::Session;
use super::output::Format;
use crate::document::diagnostic::{Diagnostic, Severity, to_error};
use crate::error::{Error, Result};
use serde_json::json;

/// Whether anything that was found is more than a warning.
pub(super) fn is_wrong(found: &[Diagnostic]) -> bool {
    found.iter().any(|d| d.severity == Severity::Error)
}

/// Prints what was found in each document, by its name.
///
/// # Errors
/// What is wrong with the first document that is; `Io` from the output.
pub(super) fn print(seen: &[(String, Vec<Diagnostic>)], session: &Session) -> Result<()> {
    let listed: Vec<_> = seen.iter().map(|(name, found)| json!({ "file": name, "diagnostics": found })).collect();
    session.print(&json!({ "files": listed }), |w| {
        for (name, found) in seen {
            found.iter().try_for_each(|d| writeln!(w, "{}:{d}", d.document.as_deref().unwrap_or(name)))?;
            if found.is_empty() {
                writeln!(w, "{name}: good")?;
            }
        }
        Ok(())
    })?;
    let Some((name, found)) = seen.iter().find(|(_, found)| is_wrong(found)) else { return Ok(()) };
    let error = to_error(name, found);
    // What was found is printed already.
    Err(if session.format == Format::Text { Error::new(error.kind(), error.message()) } else { error })
}
