//! What is wrong with a document or a machine: one struct with code, path, place, message and hint.
//!
//! A place is in the document that was asked for, or in one that it extends; then the finding names that one.
//!
//! Codes of layouts: `L0xx` the text itself, `L1xx` the meaning of the text, `F2xx` the text on this machine, `B5xx` the
//! boot loader, where `W5xx` is a warning and `E505` a lack of the image. Codes of roles: `R0xx`. They are part of the
//! interface: a code is never reused for something else. The tables stand in `core/docs/layout-schema.md` and
//! `role-schema.md`.

use crate::error::{Error, ErrorKind};
use crate::shown;
use serde::Serialize;
use std::fmt;

/// More than this many diagnostics are not collected: whoever sees a hundred knows enough.
pub const DIAGNOSTIC_LIMIT: usize = 100;

/// Whether the work can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing is done.
    Error,
    /// Somebody should read it; the work goes on.
    Warning,
}

/// A place in a text, counted from 1; 0 when there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Position {
    /// In which document: 0 is the one that was asked for, the others are those that it extends.
    pub document: u16,
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Its code, such as `L108`.
    pub code: &'static str,
    /// Whether the work can go on.
    pub severity: Severity,
    /// The document, where it is another one than was asked for: one that it extends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Box<str>>,
    #[serde(skip)]
    source: u16,
    /// Where in the document, as keys joined by dots, such as `partitions.os/root.size`.
    pub path: String,
    /// The line, from 1; 0 when it has none.
    pub line: u32,
    /// The column in characters, from 1; 0 when it has none.
    pub column: u32,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error at `path` without a place yet.
    pub fn error(code: &'static str, path: impl Into<String>, message: impl Into<String>) -> Self {
        let (path, message) = (path.into(), message.into());
        let (severity, document, source) = (Severity::Error, None, 0);
        Self { code, severity, document, source, path, line: 0, column: 0, message, hint: None }
    }

    /// A warning at `path` without a place yet.
    pub fn warning(code: &'static str, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, path, message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds where it is.
    #[must_use]
    pub fn at(mut self, place: Position) -> Self {
        (self.source, self.line, self.column) = (place.document, place.line, place.column);
        self
    }

    /// Gives the document its name, out of those of all documents.
    #[must_use]
    pub(crate) fn within(mut self, documents: &[String]) -> Self {
        if self.source > 0 {
            self.document = documents.get(usize::from(self.source)).map(|name| name.as_str().into());
        }
        self
    }

    /// Orders findings as somebody reads: document after document, from the top.
    pub(crate) fn order(&self) -> (u16, u32, u32) {
        (self.source, self.line, self.column)
    }

    /// The kind of error that this finding alone is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self.code {
            "L005" | "F230" | "E505" => ErrorKind::Unsupported,
            "L007" | "R007" => ErrorKind::Limit,
            "R020" | "R021" | "R022" => ErrorKind::NotFound,
            "F201" | "F202" | "F203" | "F209" => ErrorKind::Invalid,
            code if code.starts_with('F') => ErrorKind::Refused,
            code if code.starts_with('B') => ErrorKind::Integrity,
            _ => ErrorKind::Invalid,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        write!(f, "{} ", self.code)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", shown::line(&self.path))?;
        }
        // It may name what strangers named.
        f.write_str(&shown::text(&self.message))?;
        if let Some(hint) = &self.hint {
            write!(f, " ({})", shown::text(hint))?;
        }
        Ok(())
    }
}

/// All findings as one error: the first one speaks, all stand in `detail.diagnostics`.
///
/// Its kind is `Limit` when a limit was passed, `Unsupported` when nothing but unsupported things were found, and
/// else that of the first finding which is neither.
#[must_use]
pub fn to_error(name: &str, found: &[Diagnostic]) -> Error {
    let errors: Vec<&Diagnostic> = found.iter().filter(|d| d.severity == Severity::Error).collect();
    let speaks = errors
        .iter()
        .find(|d| d.kind() == ErrorKind::Limit)
        .or_else(|| errors.iter().find(|d| d.kind() != ErrorKind::Unsupported))
        .or_else(|| errors.first());
    let Some(first) = speaks else { return Error::new(ErrorKind::Failed, format!("{name}: nothing is wrong")) };
    let name = first.document.as_deref().unwrap_or(name);
    let place = if first.line > 0 { format!(":{}:{}", first.line, first.column) } else { String::new() };
    let path = if first.path.is_empty() { String::new() } else { format!("{}: ", first.path) };
    let more = match errors.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let mut error = Error::new(first.kind(), format!("{name}{place}: {path}{}{more}", first.message))
        .fact("code", first.code)
        .fact("document", name)
        .fact("diagnostics", serde_json::to_value(found).unwrap_or_default());
    if let Some(hint) = &first.hint {
        error = error.hint(hint.clone());
    }
    error
}

/// The known name that is nearest to `given`, when it is near enough to be what was meant.
#[must_use]
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Long names cannot be typing mistakes of the short ones that are known, and comparing them takes long.
    if given.len() > 64 {
        return None;
    }
    let scored = known.into_iter().map(|k| (distance(given, k), k));
    scored.filter(|(d, k)| *d <= 2.min(k.len() / 2)).min_by_key(|(d, _)| *d).map(|(_, k)| k)
}

/// How many letters have to be changed, added or removed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let changed = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_that_of_the_worst() {
        let later = Diagnostic::error("L005", "raid", "not yet");
        let wrong = Diagnostic::error("L108", "a", "no unit");
        let limit = Diagnostic::error("L007", "", "too many");
        assert_eq!(to_error("x", std::slice::from_ref(&later)).kind(), ErrorKind::Unsupported);
        assert_eq!(to_error("x", &[later.clone(), wrong.clone()]).kind(), ErrorKind::Invalid);
        let e = to_error("x", &[later, wrong, limit]);
        assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Limit, &"L007".into()));
        assert_eq!(e.facts()["diagnostics"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn near_names_are_found() {
        let known = ["filesystems", "partitions", "name"];
        assert_eq!(nearest("partition", known), Some("partitions"));
        assert_eq!(nearest("nmae", known), Some("name"));
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest(&"p".repeat(1 << 20), known), None);
    }
}
