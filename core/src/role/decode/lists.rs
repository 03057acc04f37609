//! Lists of names: packages, groups, units, words for the kernel.

use super::super::said::{Section, Thing};
use super::super::spec::{Module, UnitState, words};
use super::{At, Decoder};
use crate::document::diagnostic::Diagnostic;
use crate::document::reader::{Keys, join};
use crate::document::{Node, Value};

pub(in crate::role) const UNITS: Keys = &["enable", "disable", "mask"];
pub(in crate::role) const GENERALISE: Keys = &["remove", "truncate"];

/// What the names of a list are made of.
pub(super) struct Names {
    /// What is said of one that is none.
    code: &'static str,
    what: &'static str,
    hint: &'static str,
    /// The name in its only form.
    read: fn(&str) -> Option<String>,
}

fn of(text: &str, is: fn(&str) -> bool) -> Option<String> {
    is(text).then(|| text.to_owned())
}

pub(super) const PACKAGE: Names = Names {
    code: "R045",
    what: "the name of a package",
    hint: "write one name to an item, such as openssh-server",
    read: |t| of(t, words::is_package),
};
pub(super) const EXCLUDE: Names = Names {
    code: "R045",
    what: "the name of packages",
    hint: "write one name to an item, with * and ? where any letters fit",
    read: |t| of(t, words::is_package_pattern),
};
pub(super) const GROUP: Names = Names {
    code: "R045",
    what: "the id of a group",
    hint: "write the id, such as core",
    // As dnf and kickstart files write it.
    read: |t| of(t.strip_prefix('@').unwrap_or(t), words::is_group),
};
pub(super) const LANGUAGE: Names = Names {
    code: "R039",
    what: "a language",
    hint: "write for example en_US or de",
    read: |t| of(t, words::is_language),
};
pub(super) const KERNEL_ARG: Names = Names {
    code: "R037",
    what: "one word for the kernel's command line",
    hint: "write one word to an item, without spaces, quotes, $, \\, ; and braces",
    read: |t| of(t, words::is_kernel_word),
};
const PATTERN: Names = Names {
    code: "R030",
    what: "a path in the new root",
    hint: "it begins with / and has no //, . and .. in it",
    read: |t| of(t, words::is_clean_path),
};

/// What a plan of disks says to the kernel, and no role can know.
const OF_THE_DISKS: [&str; 5] = ["root", "rootflags", "rootfstype", "initrd", "BOOT_IMAGE"];

impl Decoder<'_> {
    /// The items of a list, and the path for what is wrong with them.
    pub(super) fn list<'n>(&mut self, at: &At<'_, 'n>, name: &str) -> (String, &'n [Node]) {
        let path = at.fields.path(name);
        let items = match at.fields.get(name).map(|n| (n, &n.value)) {
            None => &[][..],
            Some((_, Value::List(items))) => items,
            Some((node, other)) => {
                self.r.wrong("R005", &path, node.place, format!("{} is not a list", other.describe()));
                &[]
            }
        };
        (path, items)
    }

    /// A name of a list, and whether it is taken away.
    fn name(&mut self, node: &Node, path: &str, names: &Names) -> Option<(String, bool)> {
        let text = self.r.text(node, path)?;
        let (text, away) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text.as_str(), false),
        };
        let read = (names.read)(text.trim());
        if read.is_none() {
            let short: String = text.chars().take(60).collect();
            let d = Diagnostic::error(names.code, path, format!("\"{short}\" is not {}", names.what));
            self.r.report(d.hint(names.hint).at(node.place));
        }
        read.map(|name| (name, away))
    }

    pub(super) fn names(&mut self, at: &At<'_, '_>, key: &'static str, section: Section, names: &Names) {
        let (path, items) = self.list(at, key);
        for node in items {
            let Some((name, away)) = self.name(node, &path, names) else { continue };
            if section == Section::KernelArgs
                && !away
                && let Some(word) = OF_THE_DISKS.iter().find(|w| name.split('=').next() == Some(w))
            {
                let d = Diagnostic::error("R037", path.as_str(), format!("{word}= comes from the layout of the disks"));
                self.r.report(d.hint("leave it out").at(node.place));
                continue;
            }
            self.say(at, section, &name, (!away).then_some(Thing::Name), &path, node.place);
        }
    }

    pub(super) fn environment(&mut self, at: &At<'_, '_>) {
        let Some(node) = at.fields.get("environment") else { return };
        let path = at.fields.path("environment");
        let Some(text) = self.r.text(node, &path) else { return };
        // Kickstart files write @^minimal-environment.
        let id = text.trim_start_matches('@').trim_start_matches('^');
        if words::is_group(id) {
            self.say(at, Section::Environment, "", Some(Thing::Text(id.to_owned())), &path, node.place);
            return;
        }
        let short: String = text.chars().take(60).collect();
        let d = Diagnostic::error("R045", path, format!("\"{short}\" is not the id of an environment"));
        self.r.report(d.hint("write the id, such as minimal-environment").at(node.place));
    }

    pub(super) fn modules(&mut self, at: &At<'_, '_>) {
        let (path, items) = self.list(at, "modules");
        for node in items {
            let Some(text) = self.r.text(node, &path) else { continue };
            if let Some(name) = text.strip_prefix('-') {
                let name = name.split(':').next().unwrap_or_default();
                self.say(at, Section::Modules, name, None, &path, node.place);
            } else if let Some(module) = Module::parse(&text) {
                let name = module.name.clone();
                self.say(at, Section::Modules, &name, Some(Thing::Module(module)), &path, node.place);
            } else {
                let short: String = text.chars().take(60).collect();
                let d = Diagnostic::error("R045", path.as_str(), format!("\"{short}\" is not a stream of a module"));
                self.r.report(d.hint("write NAME:STREAM or NAME:STREAM/PROFILE, such as nodejs:20").at(node.place));
            }
        }
    }

    pub(super) fn units(&mut self, at: &At<'_, '_>) {
        const UNIT: Names = Names {
            code: "R043",
            what: "the name of a unit",
            hint: "write for example sshd.service; without an ending it is a service",
            read: words::unit,
        };
        let path = at.fields.path("units");
        let Some(fields) = at.fields.get("units").and_then(|n| self.r.fields(n, &path, UNITS)) else { return };
        let inner = At { fields: &fields, selector: at.selector };
        for (key, state) in UnitState::KEYS {
            let (path, items) = self.list(&inner, key);
            for node in items {
                let Some((name, away)) = self.name(node, &path, &UNIT) else { continue };
                let before = self.layer.said.get(&(Section::Units, name.clone()));
                let before = before.and_then(|all| all.iter().find(|s| s.selector == at.selector));
                if let Some(Thing::Unit(other)) = before.and_then(|s| s.what.clone())
                    && other != state
                {
                    let line = before.map_or(0, |s| s.origin.line);
                    let text = format!("{name} is {} here and {} in line {line}", state.name(), other.name());
                    let d = Diagnostic::error("R031", path.as_str(), text).at(node.place);
                    self.r.report(d.hint("a unit is one of enabled, disabled and masked"));
                    continue;
                }
                self.say(at, Section::Units, &name, (!away).then_some(Thing::Unit(state)), &path, node.place);
            }
        }
    }

    pub(super) fn generalise(&mut self, at: &At<'_, '_>) {
        let path = at.fields.path("generalise");
        let Some(fields) = at.fields.get("generalise").and_then(|n| self.r.fields(n, &path, GENERALISE)) else {
            return;
        };
        let inner = At { fields: &fields, selector: at.selector };
        for (key, section) in [("remove", Section::Remove), ("truncate", Section::Truncate)] {
            let at_key = join(&path, key);
            let (_, items) = self.list(&inner, key);
            for node in items {
                let Some((name, away)) = self.name(node, &at_key, &PATTERN) else { continue };
                // `/usr`, `/*` or `/etc/*` would leave nothing of the system.
                if !away && is_too_much(&name) {
                    let text = format!("\"{}\" is too much", name.chars().take(60).collect::<String>());
                    let d = Diagnostic::error("R046", at_key.as_str(), text).at(node.place);
                    self.r.report(d.hint("name what lies deeper, such as /var/lib/dhclient/*"));
                    continue;
                }
                self.say(at, section, &name, (!away).then_some(Thing::Name), &at_key, node.place);
            }
        }
    }
}

/// Whether a pattern means a whole folder of the root, or may mean several.
fn is_too_much(pattern: &str) -> bool {
    let mut parts = pattern.split('/').skip(1);
    let first = parts.next().unwrap_or_default();
    let second = parts.next().unwrap_or_default();
    first.contains(['*', '?']) || !second.contains(|c: char| c.is_ascii_alphanumeric())
}
