//! What is printed: data on stdout, errors and usage on stderr, as text or as JSON.

use super::Session;
use crate::error::{Error, Result};
use crate::shown;
use serde::Serialize;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};

/// What errors call stdout.
const OUTPUT: &str = "the output";

/// What `-o` can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// For people
    Text,
    /// One document, for programs
    Json,
    /// A picture; of `layout plan` only
    Svg,
}

impl Form {
    /// The form of all but the picture itself, such as errors.
    pub(super) fn format(self) -> Format {
        match self {
            Self::Text | Self::Svg => Format::Text,
            Self::Json => Format::Json,
        }
    }
}

/// Form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// For people
    Text,
    /// One document, for programs
    Json,
}

impl Session {
    /// Prints the result of a verb: `value` as JSON, or what `text` writes.
    pub(super) fn print(
        &self,
        value: &impl Serialize,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        match self.format {
            Format::Json => stdout(|w| {
                serde_json::to_writer(&mut *w, value)?;
                writeln!(w)
            }),
            Format::Text => stdout(text),
        }
    }
}

/// Writes to stdout, all of it or an error.
pub(super) fn stdout(f: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut w = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    f(&mut w).and_then(|()| w.flush()).map_err(|e| Error::io("write", OUTPUT, e))
}

/// Whether the error only says that nobody reads our output any more, as after `| head`.
pub(super) fn reader_left(e: &Error) -> bool {
    let facts = e.facts();
    facts.get("errno") == Some(&libc::EPIPE.into()) && facts.get("path") == Some(&OUTPUT.into())
}

/// Prints an error and gives the exit code.
pub(super) fn error(format: Format, e: &Error) -> u8 {
    let mut w = io::stderr().lock();
    // There is nobody to tell that stderr is closed.
    let _ = match format {
        Format::Json => writeln!(w, "{}", json!({ "error": e.to_json() })),
        Format::Text => error_text(&mut w, e),
    };
    u8::try_from(e.kind().code()).unwrap_or(1)
}

fn error_text(w: &mut dyn Write, e: &Error) -> io::Result<()> {
    writeln!(w, "cvctl: {e}")?;
    details(e).iter().try_for_each(|line| writeln!(w, "  {}", shown::text(line)))?;
    if let Some(undo) = e.failed_undo() {
        writeln!(w, "cvctl: and it could not be undone: {undo}")?;
    }
    match e.hint_text() {
        Some(hint) => writeln!(w, "hint: {}", shown::text(hint)),
        None => Ok(()),
    }
}

/// The findings among the facts, and what a program said last: the message names one of them or none.
fn details(e: &Error) -> Vec<String> {
    let mut out = Vec::new();
    for key in ["diagnostics", "losses", "differences", "stderr", "tail"] {
        match e.facts().get(key) {
            // A single diagnostic is the message itself.
            Some(Value::Array(found)) if key != "diagnostics" || found.len() > 1 => {
                out.extend(found.iter().map(finding));
            }
            Some(Value::String(text)) => out.extend(text.lines().map(str::to_owned)),
            _ => {}
        }
    }
    out
}

/// A line of text, a loss or a diagnostic.
fn finding(found: &Value) -> String {
    let text = |key: &str| found[key].as_str().unwrap_or_default();
    if let Some(line) = found.as_str() {
        return line.to_owned();
    }
    if found["feature"].is_string() {
        return format!("{}: {} entries, such as {}", text("feature"), found["count"], text("example"));
    }
    let place = match found["line"].as_u64() {
        None | Some(0) => String::new(),
        Some(line) => format!("{line}:{}: ", found["column"]),
    };
    let path = if text("path").is_empty() { String::new() } else { format!("{}: ", text("path")) };
    let hint = found["hint"].as_str().map(|h| format!(" ({h})")).unwrap_or_default();
    format!("{place}{} {path}{}{hint}", text("code"), text("message"))
}

/// A line of talk on stderr.
pub(super) fn talk(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", shown::text(line));
}

/// Prints what clap has to say: help on stdout, or a usage error.
pub(super) fn usage(args: &[OsString], e: &clap::Error) -> u8 {
    if e.use_stderr() && wants_json(args) {
        let text = e.render().to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        return error(Format::Json, &Error::invalid(first).hint("cvctl --help").fact("usage", text.trim_end()));
    }
    let _ = e.print();
    if e.use_stderr() { 2 } else { 0 }
}

/// Whether the arguments, which clap did not understand, ask for JSON.
fn wants_json(args: &[OsString]) -> bool {
    args.windows(2).any(|w| w[0] == "-o" && w[1] == "json") || args.iter().any(|a| a == "-ojson" || a == "-o=json")
}

/// Writes rows as columns that are as wide as they need to be.
pub(super) fn table<const N: usize>(w: &mut dyn Write, head: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let mut width = head.map(str::len);
    for row in rows {
        for (w, cell) in width.iter_mut().zip(row) {
            *w = (*w).max(cell.chars().count());
        }
    }
    let mut line = |cells: [&str; N]| {
        let text: Vec<String> = cells.iter().zip(width).map(|(c, n)| format!("{:<n$}", shown::line(c))).collect();
        writeln!(w, "{}", text.join("  ").trim_end())
    };
    line(head)?;
    rows.iter().try_for_each(|r| line(std::array::from_fn(|i| r[i].as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut out = Vec::new();
        let rows = [["a".to_owned(), "long one".to_owned()], ["längst".to_owned(), String::new()]];
        table(&mut out, ["N", "M"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "N       M\na       long one\nlängst\n");
    }

    #[test]
    fn only_our_output_counts_as_left() {
        let gone = || io::Error::from_raw_os_error(libc::EPIPE);
        assert!(reader_left(&Error::io("write", OUTPUT, gone())));
        assert!(!reader_left(&Error::io("write", "/x", gone())));
    }
}
