//! Words that mean nothing on some systems: warnings, for a role may be for several.

use super::said::{Layer, Section};
use super::selector::{Selector, Systems};
use crate::document::diagnostic::Diagnostic;
use std::collections::BTreeSet;

/// What a section means nothing for, with its code, and what to do.
fn lack(section: Section, system: Selector) -> Option<(&'static str, &'static str, &'static str)> {
    let deb = system.is_deb();
    match section {
        Section::Groups | Section::Environment if deb => {
            Some(("R050", "Debian and Ubuntu have no groups of packages", "name packages under for.deb"))
        }
        Section::Modules if deb => Some(("R050", "Debian and Ubuntu have no modules", "name packages under for.deb")),
        Section::Selinux if deb => {
            Some(("R051", "Debian and Ubuntu are not prepared for SELinux", "say it under for.el"))
        }
        Section::AllowScriptletFailures if deb => {
            Some(("R052", "dpkg stops at a script that fails", "say it under for.el"))
        }
        _ => None,
    }
}

/// What means nothing on this system.
pub(super) fn warnings(layer: &Layer, system: Selector) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (key, said) in layer.view(system).filter(|(_, said)| said.what.is_some()) {
        // Once for a section: the first of its names speaks.
        if let Some((code, why, hint)) = lack(key.0, system)
            && seen.insert(key.0)
        {
            let before = if said.selector == Selector::ALL { String::new() } else { format!("for.{}.", said.selector) };
            let path = format!("{before}{}", key.0.path());
            let text = format!("this means nothing on {system}: {why}");
            found.push(Diagnostic::warning(code, path, text).hint(hint).at(said.origin));
        }
    }
    found
}

/// The same of what is said of some systems only, on none of which it means anything.
pub(super) fn of_parts(layer: &Layer) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (key, all) in &layer.said {
        for said in all.iter().filter(|s| s.selector.systems() != Systems::All && s.what.is_some()) {
            if let Some((code, why, hint)) = lack(key.0, said.selector)
                && seen.insert((key.0, said.selector))
            {
                let path = format!("for.{}.{}", said.selector, key.0.path());
                found.push(
                    Diagnostic::warning(code, path, format!("this means nothing: {why}")).hint(hint).at(said.origin),
                );
            }
        }
    }
    found
}
