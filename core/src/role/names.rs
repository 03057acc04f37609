//! The names of a role beside those of a distribution: what is not there is told, with what is meant by it.
//!
//! Where the sets come from is not known here.

use super::said::{Layer, Section, Thing};
use super::selector::Selector;
use crate::document::diagnostic::{DIAGNOSTIC_LIMIT, Diagnostic, nearest};
use std::collections::{BTreeMap, BTreeSet};
use wildmatch::WildMatch;

/// What there is to install, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Packages.
    pub packages: BTreeSet<String>,
    /// What packages provide besides their own names, such as `webserver`, without versions.
    pub provides: BTreeSet<String>,
    /// Ids of groups.
    pub groups: BTreeMap<String, Group>,
    /// Ids of environments.
    pub environments: BTreeSet<String>,
    /// Modules, each with its streams, each with its profiles.
    pub modules: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

/// A group of packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The packages that it always brings.
    pub mandatory: BTreeSet<String>,
}

impl Names {
    /// What there is not of words as [`crate::build::Change::packages`] has them: packages, and groups, environments and
    /// streams with an `@` before them. Paths, patterns and tasks are for the package manager, and so is what follows a name.
    #[must_use]
    pub fn lacks<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Vec<Diagnostic> {
        let plain =
            words.into_iter().filter(|w| !w.contains(['/', '*', '?', '[', '=', '<', '>', ' ']) && !w.ends_with('^'));
        let found = plain.filter_map(|word| {
            let Some(id) = word.strip_prefix('@') else {
                return if self.begins_with_a_name(word) { None } else { package(word, self) };
            };
            // Kickstart writes environments so.
            let id = id.strip_prefix('^').unwrap_or(id);
            match id.split_once(':') {
                Some((module, of)) => stream(module, of, None, self),
                None if self.environments.contains(id) || self.modules.contains_key(id) => None,
                None => group(id, self, &[]),
            }
        });
        found.take(DIAGNOSTIC_LIMIT).collect()
    }

    /// Whether a word is the name of a package with a version, an architecture or a mark of apt behind it.
    fn begins_with_a_name(&self, word: &str) -> bool {
        let more = |(at, mark): (usize, &str)| {
            let (name, rest) = (&word[..at], &word[at + 1..]);
            (self.packages.contains(name) || self.provides.contains(name))
                && (mark != "-" || rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        word.match_indices(['-', '.', ':', '^', '+']).any(more)
    }
}

/// Endings that tell one package of several of a name.
const ARCHITECTURES: [&str; 8] = ["noarch", "x86_64", "i686", "aarch64", "ppc64le", "s390x", "amd64", "arm64"];

/// What the role names and is not there.
pub(super) fn unknown(layer: &Layer, system: Selector, names: &Names) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let excluded: Vec<WildMatch> = layer
        .view(system)
        .filter(|(key, said)| key.0 == Section::Exclude && said.what.is_some())
        .map(|(key, _)| WildMatch::new(&key.1))
        .collect();
    for (key, said) in layer.view(system) {
        if found.len() >= DIAGNOSTIC_LIMIT {
            break;
        }
        let Some(what) = &said.what else { continue };
        let d = match (key.0, what) {
            (Section::Packages, _) => package(&key.1, names),
            (Section::Groups, _) if !system.is_deb() => group(&key.1, names, &excluded),
            (Section::Environment, Thing::Text(id)) if !system.is_deb() => {
                let known = names.environments.iter().map(String::as_str);
                lacks(&names.environments, id, || not_there("R021", "environment", id, known))
            }
            (Section::Modules, Thing::Module(module)) if !system.is_deb() => {
                stream(&module.name, &module.stream, module.profile.as_deref(), names)
            }
            _ => None,
        };
        found.extend(d.map(|d| d.at(said.origin)));
    }
    found.sort_by_key(Diagnostic::order);
    found
}

fn lacks(known: &BTreeSet<String>, name: &str, d: impl FnOnce() -> Diagnostic) -> Option<Diagnostic> {
    (!known.contains(name)).then(d)
}

fn not_there<'a>(code: &'static str, what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Diagnostic {
    let path = match what {
        "package" => "packages",
        "group" => "groups",
        "environment" => "environment",
        _ => "modules",
    };
    let d = Diagnostic::error(code, path, format!("the distribution has no {what} \"{name}\""));
    match nearest(name, known) {
        Some(meant) => d.hint(format!("did you mean \"{meant}\"?")),
        None => d,
    }
}

fn package(name: &str, names: &Names) -> Option<Diagnostic> {
    // A name with a version or an architecture: what is before it has to be there.
    let mut stem = name;
    loop {
        if names.packages.contains(stem) || names.provides.contains(stem) {
            return None;
        }
        stem = match stem.rsplit_once(['-', '.', ':']) {
            Some((before, after)) if is_more(after) => before,
            _ => break,
        };
    }
    Some(not_there("R020", "package", name, names.packages.iter().map(String::as_str)))
}

/// Whether it can follow the name of a package.
fn is_more(text: &str) -> bool {
    ARCHITECTURES.contains(&text)
        || text.starts_with(|c: char| c.is_ascii_digit())
        || text.strip_prefix("el").is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
}

fn group(id: &str, names: &Names, excluded: &[WildMatch]) -> Option<Diagnostic> {
    let Some(group) = names.groups.get(id) else {
        let d = not_there("R021", "group", id, names.groups.keys().map(String::as_str));
        return Some(match names.environments.contains(id) {
            true => d.hint(format!("it is an environment: write environment: {id}")),
            false => d,
        });
    };
    let lost = group.mandatory.iter().find(|name| excluded.iter().any(|p| p.matches(name)))?;
    let text = format!("the group \"{id}\" always brings the package \"{lost}\", which is excluded");
    Some(
        Diagnostic::error("R023", "groups", text)
            .hint("leave out one of the two, or name packages instead of the group"),
    )
}

fn stream(name: &str, stream: &str, profile: Option<&str>, names: &Names) -> Option<Diagnostic> {
    let Some(streams) = names.modules.get(name) else {
        return Some(not_there("R022", "module", name, names.modules.keys().map(String::as_str)));
    };
    let listed = |all: &mut dyn Iterator<Item = &String>| all.take(20).cloned().collect::<Vec<_>>().join(", ");
    let Some(profiles) = streams.get(stream) else {
        let text = format!("the module \"{name}\" has no stream \"{stream}\"");
        return Some(
            Diagnostic::error("R022", "modules", text).hint(format!("it has {}", listed(&mut streams.keys()))),
        );
    };
    let profile = profile.filter(|p| !profiles.contains(*p))?;
    let text = format!("the stream {name}:{stream} has no profile \"{profile}\"");
    Some(Diagnostic::error("R022", "modules", text).hint(match profiles.is_empty() {
        true => "it has none".to_owned(),
        false => format!("it has {}", listed(&mut profiles.iter())),
    }))
}
