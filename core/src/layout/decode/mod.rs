//! From the tree of a text to the typed document: every mistake with its place, not only the first.

use super::diagnostic::Diagnostic;
use super::size::parse_bytes;
use super::spec::{Preserve, Ref, Spec};
pub use crate::document::reader::Positions;
use crate::document::reader::{Fields, Keys, Reader, items, join};
use crate::document::{Node, Value};
use crate::units::ByteSize;

mod devices;
mod disks;
mod filesystem;
mod partition;
mod top;

/// What a reference looks like, for messages.
const REFERENCE: &str = "a reference: SET/NAME, raid/NAME, luks/NAME or lvm/GROUP/VOLUME";

/// Makes the typed document.
///
/// What could not be read is left out of it; it is `None` when the rest makes no sense without that.
#[must_use]
pub fn decode(root: &Node) -> (Option<Spec>, Positions, Vec<Diagnostic>) {
    let mut reader = Reader::new(&super::FORM);
    let spec = reader.spec(root);
    (spec, reader.positions, reader.found)
}

impl Reader {
    /// A number of bytes.
    fn bytes(&mut self, fields: &Fields<'_>, name: &str) -> Option<ByteSize> {
        let node = fields.get(name)?;
        let path = fields.path(name);
        let text = self.text(node, &path)?;
        parse_bytes(&text).map_err(|(code, message)| self.wrong(code, &path, node.place, message)).ok()
    }

    /// A reference that must be there.
    fn reference(&mut self, fields: &Fields<'_>, name: &str) -> Option<Ref> {
        self.required(fields, name)?;
        self.parsed(fields, name, REFERENCE, Ref::parse)
    }

    /// A list of references that must be there.
    fn references(&mut self, fields: &Fields<'_>, name: &str) -> Option<Vec<Ref>> {
        let node = self.required(fields, name)?;
        let path = fields.path(name);
        let Value::List(list) = &node.value else {
            self.wrong("L101", &path, node.place, format!("{} is not a list", node.value.describe()));
            return None;
        };
        let read: Vec<Ref> = list.iter().filter_map(|n| self.parsed_item(n, &path, REFERENCE, Ref::parse)).collect();
        (read.len() == list.len()).then_some(read)
    }

    /// Whether something is kept.
    fn preserve(&mut self, fields: &Fields<'_>) -> Preserve {
        match fields.get("preserve").map(|n| (n, &n.value)) {
            None | Some((_, Value::Bool(false))) => Preserve::Never,
            Some((_, Value::Bool(true))) => Preserve::Require,
            Some((node, _)) => self.word(node, &fields.path("preserve"), &Preserve::WORDS).unwrap_or_default(),
        }
    }
}
