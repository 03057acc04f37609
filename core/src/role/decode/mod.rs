//! From the tree of one document to what it says: every mistake with its place, not only the first.
//!
//! What a word alone can have wrong is found here, where it stands; what several things have wrong together by
//! [`super::validate`], when all is merged.

mod lists;
mod objects;
mod texts;

#[cfg(test)]
pub(super) use lists::{GENERALISE, UNITS};
#[cfg(test)]
pub(super) use objects::{FILE, REPOSITORY, SCRIPT, USER};

use super::FORM;
use super::said::{Key, Layer, Said, Section, Thing};
use super::selector::Selector;
use super::spec::Selinux;
use crate::document::diagnostic::{Diagnostic, Position, nearest};
use crate::document::extends::is_name;
use crate::document::reader::{Fields, Keys, Reader, join};
use crate::document::{Node, Value};

/// Reads a file beside the document by its name; says why it cannot be.
pub(super) type Source<'a> = dyn Fn(&str) -> Result<Vec<u8>, String> + 'a;

/// The keys of a document: first what is said of itself, then what is said of systems.
pub(super) const TOP: Keys = &[
    "schema",
    "name",
    "description",
    "extends",
    "for",
    "packages",
    "groups",
    "environment",
    "modules",
    "exclude",
    "weak_deps",
    "docs",
    "languages",
    "repositories",
    "files",
    "units",
    "users",
    "kernel_args",
    "selinux",
    "timezone",
    "locale",
    "scripts",
    "generalise",
    "epoch",
    "allow_scriptlet_failures",
];
/// The keys of `for.SELECTOR` are those of the document but for what is said of the document itself.
pub(super) const PART: Keys = TOP.split_at(5).1;

/// A role is looked at once for each kind of systems that it names.
const SELECTOR_LIMIT: usize = 32;

/// What one document says.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) layer: Layer,
}

/// Reads one document, which has this number in positions; `origin` is that of the first document of the same name.
pub(super) fn decode(root: &Node, origin: u16, source: &Source<'_>) -> (Option<Own>, Vec<Diagnostic>) {
    let mut decoder = Decoder { r: Reader::new(&FORM), layer: Layer::default(), origin, source };
    let own = decoder.document(root);
    (own, decoder.r.found)
}

struct Decoder<'a> {
    r: Reader,
    layer: Layer,
    origin: u16,
    source: &'a Source<'a>,
}

/// Where something is said: for whom, and under which keys.
struct At<'f, 'n> {
    fields: &'f Fields<'n>,
    selector: Selector,
}

impl Decoder<'_> {
    fn document(&mut self, root: &Node) -> Option<Own> {
        let top = self.r.fields(root, "", TOP)?;
        self.schema(&top);
        let name = self.r.required(&top, "name").and_then(|n| self.r.text(n, "name").map(|t| (t, n.place)));
        if let Some((name, place)) = &name
            && !is_name(name)
        {
            let d = Diagnostic::error("R008", "name", "a name is 1 to 64 letters, digits and . _ - here").at(*place);
            self.r.report(d.hint("it begins with a letter or a digit"));
        }
        let description = top.get("description").and_then(|n| self.long_text(n, "description"));
        self.part(&At { fields: &top, selector: Selector::ALL });
        if let Some(node) = top.get("for") {
            self.special(node);
        }
        Some(Own { name: name?.0, description, layer: std::mem::take(&mut self.layer) })
    }

    fn schema(&mut self, top: &Fields<'_>) {
        let Some(node) = self.r.required(top, "schema") else { return };
        let Some(text) = self.r.text(node, "schema") else { return };
        if text != FORM.schema {
            let text: String = text.chars().take(60).collect();
            let d = Diagnostic::error("R006", "schema", format!("\"{text}\" is not a schema that this version reads"));
            self.r.report(d.hint(format!("write: schema: {}", FORM.schema)).at(node.place));
        }
    }

    /// What is said of some systems only.
    fn special(&mut self, node: &Node) {
        let Some(entries) = self.r.entries(node, "for") else { return };
        if let Some((key, _)) = entries.get(SELECTOR_LIMIT) {
            let text = format!("{} kinds of systems; at most {SELECTOR_LIMIT} are allowed", entries.len());
            self.r.wrong("R007", "for", key.place, text);
        }
        for (key, value) in entries.iter().take(SELECTOR_LIMIT) {
            let path = join("for", &key.name);
            let Some(selector) = Selector::parse(&key.name) else {
                let short: String = key.name.chars().take(60).collect();
                let text = format!("\"{short}\" is no kind of system");
                let d = Diagnostic::error("R048", path, text).at(key.place);
                let hint = match nearest(&key.name, Selector::WORDS) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => "known are el, el8, el9, el10, deb, debian, debian12, ubuntu, ubuntu24.04".to_owned(),
                };
                self.r.report(d.hint(hint));
                continue;
            };
            if let Some(fields) = self.r.fields(value, &path, PART) {
                self.part(&At { fields: &fields, selector });
            }
        }
    }

    fn part(&mut self, at: &At<'_, '_>) {
        self.names(at, "packages", Section::Packages, &lists::PACKAGE);
        self.names(at, "groups", Section::Groups, &lists::GROUP);
        self.environment(at);
        self.modules(at);
        self.names(at, "exclude", Section::Exclude, &lists::EXCLUDE);
        self.flag(at, "weak_deps", Section::WeakDeps);
        self.flag(at, "docs", Section::Docs);
        self.names(at, "languages", Section::Languages, &lists::LANGUAGE);
        self.objects(at, "repositories", Section::Repositories, Self::repository);
        self.objects(at, "files", Section::Files, Self::file);
        self.units(at);
        self.objects(at, "users", Section::Users, Self::user);
        self.names(at, "kernel_args", Section::KernelArgs, &lists::KERNEL_ARG);
        self.selinux(at);
        self.text(at, "timezone", Section::Timezone, &texts::TIMEZONE);
        self.text(at, "locale", Section::Locale, &texts::LOCALE);
        self.objects(at, "scripts", Section::Scripts, Self::script);
        self.generalise(at);
        self.epoch(at);
        self.names(at, "allow_scriptlet_failures", Section::AllowScriptletFailures, &lists::PACKAGE);
    }

    /// Notes what is said; what is said twice in one document is an error.
    fn say(&mut self, at: &At<'_, '_>, section: Section, name: &str, what: Option<Thing>, path: &str, place: Position) {
        let key: Key = (section, name.to_owned());
        let origin = Position { document: self.origin, ..place };
        if let Err(first) = self.layer.say(key, Said::new(at.selector, what, origin)) {
            let short: String = name.chars().take(100).collect();
            let text = format!("\"{short}\" stands here a second time, first in line {}", first.line);
            self.r.report(Diagnostic::error("R009", path, text).hint("remove one of them").at(place));
        }
    }

    fn flag(&mut self, at: &At<'_, '_>, name: &'static str, section: Section) {
        let Some(value) = self.r.boolean(at.fields, name) else { return };
        let place = at.fields.get(name).map(|n| n.place).unwrap_or_default();
        self.say(at, section, "", Some(Thing::Flag(value)), &at.fields.path(name), place);
    }

    fn selinux(&mut self, at: &At<'_, '_>) {
        let Some(node) = at.fields.get("selinux") else { return };
        let path = at.fields.path("selinux");
        let Some(text) = self.r.text(node, &path) else { return };
        match Selinux::WORDS.iter().find(|(word, _)| *word == text) {
            Some((_, mode)) => self.say(at, Section::Selinux, "", Some(Thing::Selinux(*mode)), &path, node.place),
            None => {
                let short: String = text.chars().take(60).collect();
                let known = Selinux::WORDS.map(|(word, _)| word);
                let hint = match nearest(&text, known) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => format!("known are: {}", known.join(", ")),
                };
                let d = Diagnostic::error("R041", path, format!("\"{short}\" is nothing that SELinux does"));
                self.r.report(d.hint(hint).at(node.place));
            }
        }
    }

    fn epoch(&mut self, at: &At<'_, '_>) {
        let Some(node) = at.fields.get("epoch") else { return };
        let path = at.fields.path("epoch");
        let seconds = match &node.value {
            Value::Number(n) => n.parse().ok(),
            Value::Text(t) => t.parse::<jiff::Timestamp>().ok().and_then(|t| u64::try_from(t.as_second()).ok()),
            _ => None,
        };
        // The end of what a header of tar, and rpm, can say.
        match seconds.filter(|s| *s < 1 << 32) {
            Some(seconds) => self.say(at, Section::Epoch, "", Some(Thing::Number(seconds)), &path, node.place),
            None => {
                let text = format!("{} is no time from 1970 to 2106", node.value.describe());
                let d = Diagnostic::error("R047", path, text).at(node.place);
                self.r.report(d.hint("write seconds since 1970, or a time such as 2025-01-31T00:00:00Z"));
            }
        }
    }
}
