//! What several things have wrong together, once all documents are one.
//!
//! It is looked at for each group of systems that the role knows: what `for.el` says may be wrong with what is said of
//! everything, and is found where one of the two stands.

use super::said::{Layer, Section, Thing};
use super::selector::Selector;
use crate::document::diagnostic::{Diagnostic, Position};
use std::collections::{BTreeMap, BTreeSet};
use wildmatch::WildMatch;

/// Everything that is wrong, and the words without meaning in what is said of some systems only.
pub(super) fn validate(layer: &Layer) -> Vec<Diagnostic> {
    let mut found = super::meaning::of_parts(layer);
    for system in systems(layer) {
        excluded(layer, system, &mut found);
        files(layer, system, &mut found);
        users(layer, system, &mut found);
    }
    found
}

/// Everything, and each group that something is said of.
fn systems(layer: &Layer) -> BTreeSet<Selector> {
    let named = layer.said.values().flatten().map(|said| said.selector);
    named.chain([Selector::ALL]).collect()
}

/// Packages that are wanted and left out.
fn excluded(layer: &Layer, system: Selector, found: &mut Vec<Diagnostic>) {
    let of = |section: Section| layer.view(system).filter(move |(key, said)| key.0 == section && said.what.is_some());
    // Few names have signs in them: looking at all of them for each package would take long.
    let (plain, patterns): (Vec<_>, Vec<_>) = of(Section::Exclude).partition(|(key, _)| !key.1.contains(['*', '?']));
    let plain: BTreeMap<&str, Position> = plain.iter().map(|(key, said)| (key.1.as_str(), said.origin)).collect();
    let patterns: Vec<(WildMatch, &str, Position)> =
        patterns.iter().map(|(key, said)| (WildMatch::new(&key.1), key.1.as_str(), said.origin)).collect();
    for (key, said) in of(Section::Packages) {
        let name = key.1.as_str();
        let by_pattern = || patterns.iter().find(|(p, ..)| p.matches(name)).map(|(_, text, at)| (*text, *at));
        let Some((pattern, at)) = plain.get(name).map(|at| (name, *at)).or_else(by_pattern) else { continue };
        let text = format!("the package \"{name}\" is excluded by \"{pattern}\" in line {}", at.line);
        let d = Diagnostic::error("R023", "packages", text).hint("leave out one of the two");
        found.push(d.at(said.origin));
    }
}

/// Files in what is a file itself.
fn files(layer: &Layer, system: Selector, found: &mut Vec<Diagnostic>) {
    let view = layer.view(system).filter(|(key, said)| key.0 == Section::Files && said.what.is_some());
    let places: BTreeMap<&str, Position> = view.map(|(key, said)| (key.1.as_str(), said.origin)).collect();
    for (path, at) in &places {
        let above = path.match_indices('/').skip(1).map(|(i, _)| &path[..i]);
        if let Some(parent) = above.into_iter().find(|p| places.contains_key(p)) {
            let text = format!("{parent} is a file, so that nothing can be in it");
            found.push(Diagnostic::error("R049", format!("files.{path}"), text).at(*at));
        }
    }
}

/// Users of one number.
fn users(layer: &Layer, system: Selector, found: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<u32, &str> = BTreeMap::new();
    for (key, said) in layer.view(system) {
        let Some(Thing::User(user)) = &said.what else { continue };
        let Some(uid) = user.uid else { continue };
        if let Some(other) = seen.insert(uid, &key.1) {
            let text = format!("{uid} is the number of {other} already");
            found.push(Diagnostic::error("R034", format!("users.{}.uid", key.1), text).at(said.origin));
        }
    }
}
