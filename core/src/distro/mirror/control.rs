//! Paragraphs of fields, as all files of dpkg and apt have them. An empty line ends one; a line that begins with a blank
//! continues the field before it.

use crate::error::{Error, Result};
use std::io::BufRead;

/// Most bytes of a line.
const LINE_LIMIT: u64 = 1 << 20;

/// Fields of a paragraph, of those that are wanted.
#[derive(Debug, Default)]
pub(super) struct Paragraph {
    /// The number of its first line; 0 of none.
    pub(super) line: u64,
    fields: Vec<(&'static str, String)>,
}

impl Paragraph {
    /// A field, without the blanks around it. Lines of it are kept apart.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str()).filter(|v| !v.is_empty())
    }
}

/// Reads paragraphs one after the other.
pub(super) struct Paragraphs<R> {
    input: R,
    wanted: &'static [&'static str],
    line: u64,
}

impl<R: BufRead> Paragraphs<R> {
    /// Begins; of each paragraph only the fields in `wanted` are kept.
    pub(super) fn new(input: R, wanted: &'static [&'static str]) -> Self {
        Self { input, wanted, line: 0 }
    }

    /// What is read from.
    pub(super) fn input(&mut self) -> &mut R {
        &mut self.input
    }

    /// The next paragraph; `None` at the end.
    ///
    /// # Errors
    /// `Integrity` when it cannot be read, or is no text of fields; `Limit` for a line over 1 MiB.
    pub(super) fn next(&mut self) -> Result<Option<Paragraph>> {
        let (mut out, mut line, mut field) = (Paragraph::default(), Vec::new(), None);
        loop {
            line.clear();
            let mut limited = std::io::Read::take(&mut self.input, LINE_LIMIT);
            let read = limited.read_until(b'\n', &mut line);
            let n = read.map_err(|e| Error::integrity("a list of fields cannot be read").cause(e))?;
            if n as u64 == LINE_LIMIT {
                return Err(Error::limit(format!("a list of fields has a line of over {LINE_LIMIT} bytes")));
            }
            self.line += 1;
            let text = line.trim_ascii_end();
            if text.is_empty() {
                if n > 0 && out.line == 0 {
                    continue;
                }
                return Ok((out.line > 0).then_some(out));
            }
            if out.line == 0 {
                out.line = self.line;
            }
            if matches!(text[0], b' ' | b'\t') {
                let known: Option<usize> = field;
                if let Some((_, value)) = known.and_then(|n| out.fields.get_mut(n)) {
                    value.push('\n');
                    value.push_str(String::from_utf8_lossy(text).trim());
                }
                continue;
            }
            let Some(colon) = memchr::memchr(b':', text) else {
                return Err(Error::integrity(format!("line {} of a list of fields is no field", self.line)));
            };
            let name = self.wanted.iter().find(|w| w.as_bytes().eq_ignore_ascii_case(&text[..colon]));
            field = name.filter(|name| out.fields.iter().all(|(n, _)| n != *name)).map(|name| {
                let value = String::from_utf8_lossy(&text[colon + 1..]).trim().to_owned();
                out.fields.push((name, value));
                out.fields.len() - 1
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_name_and_continued() {
        let text = "\nPackage: a\nOther: x\n y\nsha256:\n one\n two\nPackage: again\n\n\nPackage: b";
        let mut all = Paragraphs::new(text.as_bytes(), &["Package", "SHA256"]);
        let a = all.next().unwrap().unwrap();
        assert_eq!((a.line, a.get("Package"), a.get("SHA256")), (2, Some("a"), Some("\none\ntwo")));
        assert_eq!((a.get("Other"), all.next().unwrap().unwrap().get("Package")), (None, Some("b")));
        assert!(all.next().unwrap().is_none());
        assert!(Paragraphs::new(&b"nothing"[..], &[]).next().is_err());
    }
}
