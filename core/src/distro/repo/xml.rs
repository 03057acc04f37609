//! XML as events with the text of each element, bounded in depth and size.

use super::unpack::Text;
use crate::error::{Error, Result};
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use std::io;

/// `primary.xml` has five levels.
const DEPTH_LIMIT: usize = 64;
/// Longest text of an element that is kept; what is longer, such as a description, is cut.
const TEXT_LIMIT: usize = 64 << 10;

/// An event.
pub(super) enum Step<'s> {
    /// An element begins.
    Open(&'s str, &'s Attributes<'s>),
    /// An element ends; its own text, trimmed.
    Close(&'s str, &'s str),
}

/// The attributes of an element.
pub(super) struct Attributes<'s>(&'s BytesStart<'s>);

impl Attributes<'_> {
    /// The value of one.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let attribute = self.0.try_get_attribute(name).ok()??;
        attribute.normalized_value(XmlVersion::Implicit1_0).ok().map(std::borrow::Cow::into_owned)
    }
}

/// Reads a whole document, telling `each` of its elements by their names without prefix.
///
/// # Errors
/// `Integrity` when it is not well-formed; `Limit` when it is too large or too deep; what `each` returns.
pub(super) fn read(what: &'static str, bytes: &[u8], mut each: impl FnMut(Step<'_>) -> Result<()>) -> Result<()> {
    let mut reader = Reader::from_reader(Text::of(bytes)?);
    let (mut buf, mut open) = (Vec::new(), Vec::<(String, String)>::new());
    let mut any = false;
    loop {
        buf.clear();
        reader.get_mut().event();
        let event = reader.read_event_into(&mut buf).map_err(|e| malformed(what, &e))?;
        match event {
            Event::Start(start) => {
                any = true;
                if open.len() == DEPTH_LIMIT {
                    return Err(Error::limit(format!("{what} is nested too deeply")));
                }
                let name = name(what, start.local_name().as_ref())?;
                each(Step::Open(&name, &Attributes(&start)))?;
                open.push((name, String::new()));
            }
            Event::Empty(start) => {
                any = true;
                let name = name(what, start.local_name().as_ref())?;
                each(Step::Open(&name, &Attributes(&start)))?;
                each(Step::Close(&name, ""))?;
            }
            Event::End(_) => {
                let (name, text) = open.pop().unwrap_or_default();
                each(Step::Close(&name, text.trim()))?;
            }
            Event::Text(text) => add(&mut open, &text.xml_content(XmlVersion::Implicit1_0).unwrap_or_default()),
            Event::CData(text) => add(&mut open, &text.xml_content(XmlVersion::Implicit1_0).unwrap_or_default()),
            Event::GeneralRef(reference) => {
                if let Ok(Some(c)) = reference.resolve_char_ref() {
                    add(&mut open, c.encode_utf8(&mut [0; 4]));
                } else if let Ok(entity) = std::str::from_utf8(&reference) {
                    // The five that XML knows; documents define none of their own.
                    add(&mut open, quick_xml::escape::resolve_predefined_entity(entity).unwrap_or_default());
                }
            }
            Event::Eof if open.is_empty() && any => return Ok(()),
            Event::Eof => return Err(Error::integrity(format!("{what} ends in the middle"))),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn add(open: &mut [(String, String)], more: &str) {
    if let Some((_, text)) = open.last_mut()
        && text.len() + more.len() <= TEXT_LIMIT
    {
        text.push_str(more);
    }
}

fn name(what: &'static str, name: &[u8]) -> Result<String> {
    let good = std::str::from_utf8(name).ok().filter(|n| n.len() <= 256);
    good.map(str::to_owned).ok_or_else(|| Error::integrity(format!("{what} has an element that cannot be read")))
}

fn malformed(what: &'static str, e: &quick_xml::Error) -> Error {
    match e {
        quick_xml::Error::Io(io) if io.kind() == io::ErrorKind::FileTooLarge => Error::limit(format!("{what}: {io}")),
        quick_xml::Error::Io(io) => Error::integrity(format!("{what} cannot be decompressed: {io}")),
        other => Error::integrity(format!("{what} is not well-formed: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use std::io::Write;

    fn steps(text: &str) -> Result<Vec<String>> {
        let mut out = Vec::new();
        read("it", text.as_bytes(), |step| {
            out.push(match step {
                Step::Open(name, a) => format!("<{name} {:?}", a.get("k")),
                Step::Close(name, text) => format!("{name}>{text}"),
            });
            Ok(())
        })?;
        Ok(out)
    }

    #[test]
    fn elements_come_with_their_text() {
        let out = steps("<?xml version=\"1.0\"?><a><r:b k='1&amp;2'/> x&lt;y&#33; <c>z</c></a>").unwrap();
        assert_eq!(out, ["<a None", "<b Some(\"1&2\")", "b>", "<c None", "c>z", "a>x<y!"]);
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for bad in ["", "x", "<a>", "<a></b>", "<a", "</a>", "<a><b></a>"] {
            assert_eq!(steps(bad).unwrap_err().kind(), ErrorKind::Integrity, "{bad}");
        }
        assert_eq!(steps(&"<a>".repeat(100)).unwrap_err().kind(), ErrorKind::Limit);
        // No entity of the document's own is expanded.
        let bomb = "<!DOCTYPE a [<!ENTITY l \"lol\">]><a>&l;</a>";
        assert_eq!(steps(bomb).unwrap(), ["<a None", "a>"]);
    }

    #[test]
    fn a_bomb_is_told_early() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gz.write_all(b"<a>").unwrap();
        for _ in 0..64 {
            gz.write_all(&vec![b' '; 1 << 20]).unwrap();
        }
        let bomb = gz.finish().unwrap();
        let e = read("it", &bomb, |_| Ok(())).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Limit, "{e}");
    }
}
