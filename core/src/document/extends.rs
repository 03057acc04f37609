//! Documents that build on others.
//!
//! ```text
//! first base ─ beside ─> next base ─ beside ─> … ─ over ─> the document that names them
//!              what these do is the form's own ([`Join`])
//! ```
//!
//! Every node keeps the place that it was written at, in whichever document. Whatever is merged counts against the
//! limits of one document, each time that it is read.
//!
//! Nothing is read from a disk here: the caller has a [`Find`] for that (`library.rs`).

use super::Form;
use super::diagnostic::{DIAGNOSTIC_LIMIT, Diagnostic, Position, Severity};
use super::node::{self, NODE_LIMIT, Node, TEXT_LIMIT, Value};
use std::path::{Path, PathBuf};

/// Documents may build on each other so many deep.
pub const DEPTH_LIMIT: usize = 8;

/// A document that was found by its name.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name in messages, such as its path; the same document has the same name each time.
    pub name: String,
    /// The directory that it lies in, where it comes from a file.
    pub directory: Option<PathBuf>,
    /// Its text.
    pub bytes: Vec<u8>,
}

/// Looks for a document by its name, first in the directory of the one that names it. Says why it could not be read.
pub type Find<'a> = dyn Fn(&str, Option<&Path>) -> Result<Option<Found>, String> + 'a;

/// Whether documents can have this name: that of a file without its ending, never a path.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// A document that is being read.
#[derive(Debug)]
// A layout asks for the document alone.
#[cfg_attr(not(feature = "build"), allow(dead_code))]
pub(crate) struct Opened<'a> {
    /// Its number in positions.
    pub(crate) number: u16,
    /// Its name in messages; the same document has the same name each time.
    pub(crate) name: &'a str,
    /// Whether it extends others.
    pub(crate) extends: bool,
    /// Where it lies.
    pub(crate) directory: Option<&'a Path>,
}

/// How documents of a form become one.
pub(crate) trait Join {
    /// What one document is, or several that are one already.
    type Part;

    /// What one document says, without its `extends`; `None` when nothing can be made of it.
    fn own(&mut self, node: Node, document: &Opened<'_>, found: &mut Vec<Diagnostic>) -> Option<Self::Part>;

    /// What several say that are named side by side, the second after the first.
    fn beside(&mut self, first: Self::Part, second: Self::Part) -> Self::Part;

    /// What a document says, over what it extends.
    fn over(&mut self, below: Self::Part, own: Self::Part, found: &mut Vec<Diagnostic>) -> Self::Part;
}

/// A document with what it extends, merged.
#[derive(Debug)]
pub(crate) struct Merged<P = Node> {
    /// The whole, unless something could not be read.
    pub root: Option<P>,
    /// The names of all documents, by their numbers in positions.
    pub documents: Vec<String>,
    /// What is wrong.
    pub found: Vec<Diagnostic>,
}

/// Reads a document and all that it extends.
pub(crate) fn read<J: Join>(
    form: &'static Form,
    join: &mut J,
    bytes: &[u8],
    name: &str,
    directory: Option<&Path>,
    find: &Find<'_>,
) -> Merged<J::Part> {
    let mut merger =
        Merger { form, join, find, documents: Vec::new(), found: Vec::new(), open: Vec::new(), bytes: 0, nodes: 0 };
    let root = merger.document(bytes, name.to_owned(), directory);
    let root = root.filter(|_| !merger.found.iter().any(|d| d.severity == Severity::Error));
    Merged { root, documents: merger.documents, found: merger.found }
}

struct Merger<'a, J> {
    form: &'static Form,
    join: &'a mut J,
    find: &'a Find<'a>,
    documents: Vec<String>,
    found: Vec<Diagnostic>,
    /// The documents that are being read, each named by the one before.
    open: Vec<String>,
    bytes: usize,
    nodes: usize,
}

impl<J: Join> Merger<'_, J> {
    /// One document with what it extends; `None` when nothing can be made of it.
    fn document(&mut self, bytes: &[u8], name: String, directory: Option<&Path>) -> Option<J::Part> {
        let number = u16::try_from(self.documents.len()).ok()?;
        self.documents.push(name.clone());
        self.bytes = self.bytes.saturating_add(bytes.len());
        let node = node::read_as(bytes, number, &self.form.codes).map_err(|d| self.found.push(d)).ok()?;
        self.nodes = self.nodes.saturating_add(node.count());
        if number > 0 && (self.bytes > TEXT_LIMIT || self.nodes > NODE_LIMIT) {
            let text = "with what it extends the document is over 1 MiB long, or has over 40,000 nodes";
            self.found.push(Diagnostic::error(self.form.codes.limit, "extends", text));
            return None;
        }
        let Node { value: Value::Map(mut entries), place } = node else {
            // Of the first document its reader says so. Another one would count for nothing without a word.
            if number > 0 {
                let text = format!("{} is not a map", node.value.describe());
                self.found.push(Diagnostic::error(self.form.codes.value, "", text).at(node.place));
            }
            let document = Opened { number, name: &name, extends: false, directory };
            return self.join.own(node, &document, &mut self.found);
        };
        let at = entries.iter().position(|(key, _)| key.name == "extends");
        let bases = at.map(|at| entries.remove(at).1);
        let node = Node { value: Value::Map(entries), place };
        let own =
            self.join.own(node, &Opened { number, name: &name, extends: bases.is_some(), directory }, &mut self.found);
        let Some(bases) = bases else { return own };
        self.open.push(name);
        let mut below: Option<J::Part> = None;
        for (base, place) in self.names(&bases) {
            if self.found.len() >= DIAGNOSTIC_LIMIT || self.is_over() {
                break;
            }
            let Some(base) = self.base(&base, place, directory) else { continue };
            below = Some(match below {
                Some(below) => self.join.beside(below, base),
                None => base,
            });
        }
        self.open.pop();
        let own = own?;
        Some(match below {
            Some(below) => self.join.over(below, own, &mut self.found),
            None => own,
        })
    }

    /// The names in `extends`.
    fn names(&mut self, node: &Node) -> Vec<(String, Position)> {
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut names = Vec::new();
        for item in items.iter().take(DIAGNOSTIC_LIMIT) {
            match &item.value {
                Value::Text(name) | Value::Number(name) if is_name(name) => names.push((name.clone(), item.place)),
                Value::Text(_) | Value::Number(_) => {
                    let text = format!("{} is not the name of a document", item.value.describe());
                    let d = Diagnostic::error(self.form.codes.name, "extends", text).at(item.place);
                    self.found.push(d.hint(format!(
                        "write the name of its file without folder and ending, such as {}",
                        self.form.example
                    )));
                }
                other => {
                    let d = Diagnostic::error(
                        self.form.codes.value,
                        "extends",
                        format!("{} is not a text", other.describe()),
                    );
                    self.found.push(d.at(item.place));
                }
            }
        }
        if let Some(item) = items.get(DIAGNOSTIC_LIMIT) {
            let text = format!("a document extends at most {DIAGNOSTIC_LIMIT} others");
            self.found.push(Diagnostic::error(self.form.codes.limit, "extends", text).at(item.place));
        }
        names
    }

    /// A document by its name.
    fn base(&mut self, name: &str, place: Position, beside: Option<&Path>) -> Option<J::Part> {
        if self.open.len() > DEPTH_LIMIT {
            let text = format!("documents extend each other more than {DEPTH_LIMIT} deep");
            self.found.push(Diagnostic::error(self.form.codes.circle, "extends", text).at(place));
            return None;
        }
        let base = match (self.find)(name, beside) {
            Ok(Some(base)) => base,
            Ok(None) => {
                let d = Diagnostic::error(self.form.codes.base, "extends", format!("there is no document \"{name}\""))
                    .at(place);
                self.found.push(d.hint(format!(
                    "it is looked for as NAME.yaml, NAME.yml and NAME.json beside the document, then in {}",
                    self.form.places
                )));
                return None;
            }
            Err(why) => {
                let text = format!("the document \"{name}\" cannot be read: {why}");
                self.found.push(Diagnostic::error(self.form.codes.base, "extends", text).at(place));
                return None;
            }
        };
        if let Some(first) = self.open.iter().position(|name| *name == base.name) {
            let circle: Vec<&str> = self.open[first..].iter().chain([&base.name]).map(String::as_str).collect();
            let text = format!("{}: documents extend each other in a circle", circle.join(" → "));
            self.found.push(Diagnostic::error(self.form.codes.circle, "extends", text).at(place));
            return None;
        }
        self.document(&base.bytes, base.name, base.directory.as_deref())
    }

    fn is_over(&self) -> bool {
        self.bytes > TEXT_LIMIT || self.nodes > NODE_LIMIT
    }
}
