//! From the tree of a text to the typed document: every mistake with its place, not only the first.

use super::diagnostic::{DIAGNOSTIC_LIMIT, Diagnostic, Position, nearest};
use super::document::{Key, Node, Value};
use super::size::parse_bytes;
use super::spec::{Preserve, Ref, Spec};
use crate::units::ByteSize;
use indexmap::IndexMap;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;

mod devices;
mod disks;
mod filesystem;
mod partition;
mod top;

/// A GPT has room for so many.
pub const PARTITION_LIMIT: usize = 128;

/// What a reference looks like, for messages.
const REFERENCE: &str = "a reference: SET/NAME, raid/NAME, luks/NAME or lvm/GROUP/VOLUME";

/// The keys of one kind of object.
type Keys = &'static [&'static str];

/// Where each part of a document stands, and what is wrong with which parts.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    /// The names of the documents that positions are in.
    pub documents: Vec<String>,
    places: HashMap<String, Position>,
    holes: HashSet<String>,
    faults: BTreeSet<String>,
}

impl Positions {
    /// Whether the document has something at this path, readable or not.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    /// Whether an object of this section could not be read; what follows from its absence is no finding.
    #[must_use]
    pub fn has_hole(&self, section: &str) -> bool {
        self.holes.contains(section)
    }

    /// Whether something was wrong already at this path or below it: then what is missing there is no finding.
    #[must_use]
    pub fn is_faulty(&self, path: &str) -> bool {
        let below = format!("{path}.");
        self.faults.contains(path) || self.faults.range(below.clone()..).next().is_some_and(|p| p.starts_with(&below))
    }

    /// Whether exactly what stands at this path is wrong already.
    #[must_use]
    pub fn is_wrong(&self, path: &str) -> bool {
        self.faults.contains(path)
    }

    /// Gives findings the names of their documents.
    #[must_use]
    pub(super) fn name_all(&self, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
        found.into_iter().map(|d| d.within(&self.documents)).collect()
    }

    /// The place of `path`, or of the nearest thing around it.
    #[must_use]
    pub fn place(&self, path: &str) -> Position {
        let mut path = path;
        loop {
            if let Some(p) = self.places.get(path) {
                return *p;
            }
            path = match path.rfind('.') {
                Some(dot) => &path[..dot],
                None if path.is_empty() => return Position::default(),
                None => "",
            };
        }
    }
}

/// Makes the typed document.
///
/// What could not be read is left out of it; it is `None` when the rest makes no sense without that.
#[must_use]
pub fn decode(root: &Node) -> (Option<Spec>, Positions, Vec<Diagnostic>) {
    let mut reader = Reader { found: Vec::new(), positions: Positions::default() };
    let spec = reader.spec(root);
    (spec, reader.positions, reader.found)
}

struct Reader {
    found: Vec<Diagnostic>,
    positions: Positions,
}

/// An object whose keys have been looked at.
struct Fields<'n> {
    path: String,
    place: Position,
    entries: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(k, _)| k.name == name).map(|(_, v)| v)
    }

    fn path(&self, name: &str) -> String {
        join(&self.path, name)
    }
}

fn join(path: &str, name: &str) -> String {
    // A key may be as long as the whole document, and the path of everything below it would repeat it.
    let name: String = name.chars().take(100).collect();
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

impl Reader {
    fn report(&mut self, d: Diagnostic) {
        self.positions.faults.insert(d.path.clone());
        if self.found.len() < DIAGNOSTIC_LIMIT {
            self.found.push(d);
        }
    }

    fn wrong(&mut self, code: &'static str, path: &str, place: Position, message: impl Into<String>) {
        self.report(Diagnostic::error(code, path, message).at(place));
    }

    /// The entries of a map, whatever its keys.
    fn entries<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n [(Key, Node)]> {
        self.positions.places.insert(path.to_owned(), node.place);
        match &node.value {
            Value::Map(entries) => Some(entries),
            other => {
                self.wrong("L101", path, node.place, format!("{} is not a map", other.describe()));
                None
            }
        }
    }

    /// The entries of an object with known keys.
    fn fields<'n>(&mut self, node: &'n Node, path: &str, keys: Keys) -> Option<Fields<'n>> {
        let entries = self.entries(node, path)?;
        for (key, value) in entries {
            let at = join(path, &key.name);
            self.positions.places.insert(at.clone(), value.place);
            if keys.contains(&key.name.as_str()) {
                continue;
            }
            let short: String = key.name.chars().take(60).collect();
            let mut d = Diagnostic::error("L003", at, format!("the key \"{short}\" is not known here")).at(key.place);
            d = match nearest(&key.name, keys.iter().copied()) {
                Some(meant) => d.hint(format!("did you mean \"{meant}\"?")),
                None => d.hint(format!("known are: {}", keys.join(", "))),
            };
            self.report(d);
        }
        Some(Fields { path: path.to_owned(), place: node.place, entries })
    }

    fn required<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<&'n Node> {
        let node = fields.get(name);
        if node.is_none() {
            self.wrong("L004", &fields.path(name), fields.place, format!("the key \"{name}\" is missing"));
        }
        node
    }

    fn text(&mut self, node: &Node, path: &str) -> Option<String> {
        match &node.value {
            Value::Text(t) if !t.contains(['\0', '\n']) => Some(t.clone()),
            // What YAML takes for a number or a truth is a text where a text is wanted: `label: 0755`.
            Value::Number(t) => Some(t.clone()),
            Value::Text(_) => {
                self.wrong("L101", path, node.place, "the text has a line break or a zero byte in it");
                None
            }
            other => {
                self.wrong("L101", path, node.place, format!("{} is not a text", other.describe()));
                None
            }
        }
    }

    fn optional_text(&mut self, fields: &Fields<'_>, name: &str) -> Option<String> {
        let node = fields.get(name)?;
        self.text(node, &fields.path(name))
    }

    fn texts(&mut self, fields: &Fields<'_>, name: &str) -> Vec<String> {
        let Some(node) = fields.get(name) else { return Vec::new() };
        let path = fields.path(name);
        match &node.value {
            Value::List(items) => items.iter().filter_map(|i| self.text(i, &path)).collect(),
            other => {
                self.wrong("L101", &path, node.place, format!("{} is not a list", other.describe()));
                Vec::new()
            }
        }
    }

    fn number(&mut self, fields: &Fields<'_>, name: &str) -> Option<u32> {
        let node = fields.get(name)?;
        if let Value::Number(text) = &node.value
            && let Ok(n) = text.parse()
        {
            return Some(n);
        }
        let what = node.value.describe();
        self.wrong("L101", &fields.path(name), node.place, format!("{what} is not a number here"));
        None
    }

    fn boolean(&mut self, fields: &Fields<'_>, name: &str) -> Option<bool> {
        let node = fields.get(name)?;
        if let Value::Bool(b) = node.value {
            return Some(b);
        }
        let what = node.value.describe();
        self.wrong("L101", &fields.path(name), node.place, format!("{what} is neither true nor false"));
        None
    }

    /// One of a few words.
    fn word<T: Copy>(&mut self, node: &Node, path: &str, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(node, path)?;
        if let Some((_, value)) = words.iter().find(|(w, _)| *w == text) {
            return Some(*value);
        }
        let short: String = text.chars().take(60).collect();
        let d = Diagnostic::error("L101", path, format!("\"{short}\" is not known here")).at(node.place);
        let known = words.iter().map(|(w, _)| *w);
        let hint = match nearest(&text, known.clone()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("known are: {}", known.collect::<Vec<_>>().join(", ")),
        };
        self.report(d.hint(hint));
        None
    }

    /// One of a few words, at a key.
    fn choice<T: Copy>(&mut self, fields: &Fields<'_>, name: &str, words: &[(&'static str, T)]) -> Option<T> {
        let node = fields.get(name)?;
        self.word(node, &fields.path(name), words)
    }

    /// One or more words, at a key.
    fn choices<T: Copy>(&mut self, fields: &Fields<'_>, name: &str, words: &[(&'static str, T)]) -> Vec<T> {
        let path = fields.path(name);
        items(fields.get(name)).iter().filter_map(|n| self.word(n, &path, words)).collect()
    }

    /// One or more texts, at a key.
    fn one_or_more(&mut self, fields: &Fields<'_>, name: &str) -> Vec<String> {
        let path = fields.path(name);
        items(fields.get(name)).iter().filter_map(|n| self.text(n, &path)).collect()
    }

    /// `true` or `false`; `false` where the key is missing.
    fn flag(&mut self, fields: &Fields<'_>, name: &str) -> bool {
        self.boolean(fields, name).unwrap_or_default()
    }

    /// A number within bounds.
    fn number_in(&mut self, fields: &Fields<'_>, name: &str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let n = self.number(fields, name)?;
        if bounds.contains(&n) {
            return Some(n);
        }
        let place = fields.get(name).map(|n| n.place).unwrap_or_default();
        let text = format!("{n} is not a number from {} to {}", bounds.start(), bounds.end());
        self.wrong("L101", &fields.path(name), place, text);
        None
    }

    /// A number of bytes.
    fn bytes(&mut self, fields: &Fields<'_>, name: &str) -> Option<ByteSize> {
        let node = fields.get(name)?;
        let path = fields.path(name);
        let text = self.text(node, &path)?;
        parse_bytes(&text).map_err(|(code, message)| self.wrong(code, &path, node.place, message)).ok()
    }

    /// What `read` makes of a text; `what` says what it is.
    fn parsed<T>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        what: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let node = fields.get(name)?;
        self.parsed_item(node, &fields.path(name), what, read)
    }

    fn parsed_item<T>(&mut self, node: &Node, path: &str, what: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(node, path)?;
        let value = read(&text);
        if value.is_none() {
            let short: String = text.chars().take(60).collect();
            self.wrong("L101", path, node.place, format!("\"{short}\" is not {what}"));
        }
        value
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

    /// A map of objects by name; an object that could not be read is left out.
    fn map<T>(
        &mut self,
        top: &Fields<'_>,
        name: &str,
        mut read: impl FnMut(&mut Self, &Node, &str) -> Option<T>,
    ) -> IndexMap<String, T> {
        let Some(node) = top.get(name) else { return IndexMap::new() };
        let path = top.path(name);
        let Some(entries) = self.entries(node, &path) else { return IndexMap::new() };
        // Before what is wrong with single entries, of which there may be more than are collected.
        if let Some((key, _)) = entries.get(PARTITION_LIMIT) {
            self.positions.holes.insert(name.to_owned());
            let text = format!("{} entries; at most {PARTITION_LIMIT} are allowed", entries.len());
            self.wrong("L007", &path, key.place, text);
        }
        let mut out = IndexMap::new();
        for (key, value) in entries.iter().take(PARTITION_LIMIT) {
            let at = join(&path, &key.name);
            match read(self, value, &at) {
                Some(object) => drop(out.insert(key.name.clone(), object)),
                None => drop(self.positions.holes.insert(name.to_owned())),
            }
        }
        out
    }
}

/// What stands in a list, or alone.
fn items(node: Option<&Node>) -> &[Node] {
    match node {
        None => &[],
        Some(Node { value: Value::List(items), .. }) => items,
        Some(one) => std::slice::from_ref(one),
    }
}
