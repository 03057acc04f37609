//! From the tree of a text to types: every mistake with its place, not only the first.
//!
//! What is general stands here. A form adds what its own objects are.

use super::Form;
use super::diagnostic::{DIAGNOSTIC_LIMIT, Diagnostic, Position, nearest};
use super::node::{Key, Node, Value};
use indexmap::IndexMap;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;

/// A section has at most so many entries.
pub const ENTRY_LIMIT: usize = 128;

/// The keys of one kind of object.
pub(crate) type Keys = &'static [&'static str];

/// Where each part of a document stands, and what is wrong with which parts.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    /// The names of the documents that positions are in.
    pub documents: Vec<String>,
    pub(crate) places: HashMap<String, Position>,
    pub(crate) holes: HashSet<String>,
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
    pub(crate) fn name_all(&self, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
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

/// Reads one document.
pub(crate) struct Reader {
    pub(crate) form: &'static Form,
    pub(crate) found: Vec<Diagnostic>,
    pub(crate) positions: Positions,
}

/// An object whose keys have been looked at.
pub(crate) struct Fields<'n> {
    pub(crate) path: String,
    pub(crate) place: Position,
    pub(crate) entries: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    pub(crate) fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(k, _)| k.name == name).map(|(_, v)| v)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        join(&self.path, name)
    }
}

pub(crate) fn join(path: &str, name: &str) -> String {
    // A key may be as long as the whole document, and the path of everything below it would repeat it.
    let name: String = name.chars().take(100).collect();
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

impl Reader {
    pub(crate) fn new(form: &'static Form) -> Self {
        Self { form, found: Vec::new(), positions: Positions::default() }
    }

    pub(crate) fn report(&mut self, d: Diagnostic) {
        self.positions.faults.insert(d.path.clone());
        if self.found.len() < DIAGNOSTIC_LIMIT {
            self.found.push(d);
        }
    }

    pub(crate) fn wrong(&mut self, code: &'static str, path: &str, place: Position, message: impl Into<String>) {
        self.report(Diagnostic::error(code, path, message).at(place));
    }

    /// The entries of a map, whatever its keys.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n [(Key, Node)]> {
        self.positions.places.insert(path.to_owned(), node.place);
        match &node.value {
            Value::Map(entries) => Some(entries),
            other => {
                self.wrong(self.form.codes.value, path, node.place, format!("{} is not a map", other.describe()));
                None
            }
        }
    }

    /// The entries of an object with known keys.
    pub(crate) fn fields<'n>(&mut self, node: &'n Node, path: &str, keys: Keys) -> Option<Fields<'n>> {
        let entries = self.entries(node, path)?;
        for (key, value) in entries {
            let at = join(path, &key.name);
            self.positions.places.insert(at.clone(), value.place);
            if keys.contains(&key.name.as_str()) {
                continue;
            }
            let short: String = key.name.chars().take(60).collect();
            let mut d =
                Diagnostic::error(self.form.codes.unknown, at, format!("the key \"{short}\" is not known here"))
                    .at(key.place);
            d = match nearest(&key.name, keys.iter().copied()) {
                Some(meant) => d.hint(format!("did you mean \"{meant}\"?")),
                None => d.hint(format!("known are: {}", keys.join(", "))),
            };
            self.report(d);
        }
        Some(Fields { path: path.to_owned(), place: node.place, entries })
    }

    pub(crate) fn required<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<&'n Node> {
        let node = fields.get(name);
        if node.is_none() {
            self.wrong(
                self.form.codes.missing,
                &fields.path(name),
                fields.place,
                format!("the key \"{name}\" is missing"),
            );
        }
        node
    }

    pub(crate) fn text(&mut self, node: &Node, path: &str) -> Option<String> {
        match &node.value {
            Value::Text(t) if !t.contains(['\0', '\n']) => Some(t.clone()),
            // What YAML takes for a number or a truth is a text where a text is wanted: `label: 0755`.
            Value::Number(t) => Some(t.clone()),
            Value::Text(_) => {
                self.wrong(self.form.codes.value, path, node.place, "the text has a line break or a zero byte in it");
                None
            }
            other => {
                self.wrong(self.form.codes.value, path, node.place, format!("{} is not a text", other.describe()));
                None
            }
        }
    }

    pub(crate) fn optional_text(&mut self, fields: &Fields<'_>, name: &str) -> Option<String> {
        let node = fields.get(name)?;
        self.text(node, &fields.path(name))
    }

    pub(crate) fn texts(&mut self, fields: &Fields<'_>, name: &str) -> Vec<String> {
        let Some(node) = fields.get(name) else { return Vec::new() };
        let path = fields.path(name);
        match &node.value {
            Value::List(items) => items.iter().filter_map(|i| self.text(i, &path)).collect(),
            other => {
                self.wrong(self.form.codes.value, &path, node.place, format!("{} is not a list", other.describe()));
                Vec::new()
            }
        }
    }

    pub(crate) fn number(&mut self, fields: &Fields<'_>, name: &str) -> Option<u32> {
        let node = fields.get(name)?;
        if let Value::Number(text) = &node.value
            && let Ok(n) = text.parse()
        {
            return Some(n);
        }
        let what = node.value.describe();
        self.wrong(self.form.codes.value, &fields.path(name), node.place, format!("{what} is not a number here"));
        None
    }

    pub(crate) fn boolean(&mut self, fields: &Fields<'_>, name: &str) -> Option<bool> {
        let node = fields.get(name)?;
        if let Value::Bool(b) = node.value {
            return Some(b);
        }
        let what = node.value.describe();
        self.wrong(self.form.codes.value, &fields.path(name), node.place, format!("{what} is neither true nor false"));
        None
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&mut self, node: &Node, path: &str, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(node, path)?;
        if let Some((_, value)) = words.iter().find(|(w, _)| *w == text) {
            return Some(*value);
        }
        let short: String = text.chars().take(60).collect();
        let d = Diagnostic::error(self.form.codes.value, path, format!("\"{short}\" is not known here")).at(node.place);
        let known = words.iter().map(|(w, _)| *w);
        let hint = match nearest(&text, known.clone()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("known are: {}", known.collect::<Vec<_>>().join(", ")),
        };
        self.report(d.hint(hint));
        None
    }

    /// One of a few words, at a key.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let node = fields.get(name)?;
        self.word(node, &fields.path(name), words)
    }

    /// One or more words, at a key.
    pub(crate) fn choices<T: Copy>(&mut self, fields: &Fields<'_>, name: &str, words: &[(&'static str, T)]) -> Vec<T> {
        let path = fields.path(name);
        items(fields.get(name)).iter().filter_map(|n| self.word(n, &path, words)).collect()
    }

    /// One or more texts, at a key.
    pub(crate) fn one_or_more(&mut self, fields: &Fields<'_>, name: &str) -> Vec<String> {
        let path = fields.path(name);
        items(fields.get(name)).iter().filter_map(|n| self.text(n, &path)).collect()
    }

    /// `true` or `false`; `false` where the key is missing.
    pub(crate) fn flag(&mut self, fields: &Fields<'_>, name: &str) -> bool {
        self.boolean(fields, name).unwrap_or_default()
    }

    /// A number within bounds.
    pub(crate) fn number_in(&mut self, fields: &Fields<'_>, name: &str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let n = self.number(fields, name)?;
        if bounds.contains(&n) {
            return Some(n);
        }
        let place = fields.get(name).map(|n| n.place).unwrap_or_default();
        let text = format!("{n} is not a number from {} to {}", bounds.start(), bounds.end());
        self.wrong(self.form.codes.value, &fields.path(name), place, text);
        None
    }

    /// What `read` makes of a text; `what` says what it is.
    pub(crate) fn parsed<T>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        what: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let node = fields.get(name)?;
        self.parsed_item(node, &fields.path(name), what, read)
    }

    pub(crate) fn parsed_item<T>(
        &mut self,
        node: &Node,
        path: &str,
        what: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(node, path)?;
        let value = read(&text);
        if value.is_none() {
            let short: String = text.chars().take(60).collect();
            self.wrong(self.form.codes.value, path, node.place, format!("\"{short}\" is not {what}"));
        }
        value
    }

    /// A map of objects by name; an object that could not be read is left out.
    pub(crate) fn map<T>(
        &mut self,
        top: &Fields<'_>,
        name: &str,
        mut read: impl FnMut(&mut Self, &Node, &str) -> Option<T>,
    ) -> IndexMap<String, T> {
        let Some(node) = top.get(name) else { return IndexMap::new() };
        let path = top.path(name);
        let Some(entries) = self.entries(node, &path) else { return IndexMap::new() };
        // Before what is wrong with single entries, of which there may be more than are collected.
        if let Some((key, _)) = entries.get(ENTRY_LIMIT) {
            self.positions.holes.insert(name.to_owned());
            let text = format!("{} entries; at most {ENTRY_LIMIT} are allowed", entries.len());
            self.wrong(self.form.codes.limit, &path, key.place, text);
        }
        let mut out = IndexMap::new();
        for (key, value) in entries.iter().take(ENTRY_LIMIT) {
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
pub(crate) fn items(node: Option<&Node>) -> &[Node] {
    match node {
        None => &[],
        Some(Node { value: Value::List(items), .. }) => items,
        Some(one) => std::slice::from_ref(one),
    }
}
