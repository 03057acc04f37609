//! From the tree of a text to the typed document: every mistake with its place, not only the first.
//!
//! A key that a later version will know is told apart (`L005`) from one that nobody knows (`L003`).

use super::diagnostic::{DIAGNOSTIC_LIMIT, Diagnostic, Position, nearest};
use super::document::{Key, Node, Value};
use super::spec::Spec;
use indexmap::IndexMap;
use std::collections::{HashMap, HashSet};

mod objects;

/// A GPT has room for so many.
pub const PARTITION_LIMIT: usize = 128;

/// Keys of one kind of object: those of this version, and those of later ones.
struct Keys {
    now: &'static [&'static str],
    later: &'static [&'static str],
}

/// Where each part of a document stands, and which parts could not be read.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    places: HashMap<String, Position>,
    holes: HashSet<String>,
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
    fn fields<'n>(&mut self, node: &'n Node, path: &str, keys: &Keys) -> Option<Fields<'n>> {
        let entries = self.entries(node, path)?;
        for (key, value) in entries {
            let at = join(path, &key.name);
            self.positions.places.insert(at.clone(), value.place);
            if keys.now.contains(&key.name.as_str()) {
                continue;
            }
            if keys.later.contains(&key.name.as_str()) {
                let d =
                    Diagnostic::error("L005", at, format!("this version of libcv does not do \"{}\" yet", key.name));
                self.report(d.hint("remove the key, or use a version that knows it").at(key.place));
                continue;
            }
            let short: String = key.name.chars().take(60).collect();
            let mut d = Diagnostic::error("L003", at, format!("the key \"{short}\" is not known here")).at(key.place);
            d = match nearest(&key.name, keys.now.iter().copied()) {
                Some(meant) => d.hint(format!("did you mean \"{meant}\"?")),
                None => d.hint(format!("known are: {}", keys.now.join(", "))),
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
    fn word<T>(&mut self, node: &Node, path: &str, words: &[(&'static str, T)], later: &[&str]) -> Option<T>
    where
        T: Copy,
    {
        let text = self.text(node, path)?;
        if let Some((_, value)) = words.iter().find(|(w, _)| *w == text) {
            return Some(*value);
        }
        let short: String = text.chars().take(60).collect();
        if later.contains(&text.as_str()) {
            let d = Diagnostic::error("L005", path, format!("this version of libcv does not do \"{short}\" yet"));
            self.report(d.at(node.place));
            return None;
        }
        let d = Diagnostic::error("L101", path, format!("\"{short}\" is not known here")).at(node.place);
        let known = words.iter().map(|(w, _)| *w);
        let hint = match nearest(&text, known.clone()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("known are: {}", known.collect::<Vec<_>>().join(", ")),
        };
        self.report(d.hint(hint));
        None
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
