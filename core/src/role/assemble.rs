//! From what is said to the document that says it all, in one order: names by the alphabet, but for words to the kernel and
//! scripts, whose order means something.

use super::said::{Key, Layer, Section, Thing};
use super::selector::Selector;
use super::spec::{Item, Keyed, List, Part, UnitState};
use std::collections::BTreeMap;

/// What is said of everything, and what of some.
pub(super) fn parts(layer: &Layer) -> (Part, BTreeMap<Selector, Part>) {
    let mut parts: BTreeMap<Selector, Part> = BTreeMap::new();
    for (key, said) in layer.all() {
        // What is said of more systems need not be said again; where it has nothing, nothing has to be taken away.
        if !layer.is_said_above(key, said) {
            put(parts.entry(said.selector).or_default(), key, said.what.as_ref());
        }
    }
    parts.values_mut().for_each(sort);
    (parts.remove(&Selector::ALL).unwrap_or_default(), parts)
}

/// What is said of one system, and that alone.
pub(super) fn part(layer: &Layer, system: Selector) -> Part {
    let mut part = Part::default();
    for (key, said) in layer.view(system).filter(|(_, said)| said.what.is_some()) {
        put(&mut part, key, said.what.as_ref());
    }
    sort(&mut part);
    part
}

fn put(part: &mut Part, (section, name): &Key, what: Option<&Thing>) {
    match section {
        Section::Packages => name_in(&mut part.packages, name, what),
        Section::Groups => name_in(&mut part.groups, name, what),
        Section::Exclude => name_in(&mut part.exclude, name, what),
        Section::Languages => name_in(&mut part.languages, name, what),
        Section::KernelArgs => name_in(&mut part.kernel_args, name, what),
        Section::Remove => name_in(&mut part.generalise.remove, name, what),
        Section::Truncate => name_in(&mut part.generalise.truncate, name, what),
        Section::AllowScriptletFailures => name_in(&mut part.allow_scriptlet_failures, name, what),
        Section::Units => match what {
            Some(Thing::Unit(UnitState::Disabled)) => part.units.disable.0.push(Item::Is(name.clone())),
            Some(Thing::Unit(UnitState::Masked)) => part.units.mask.0.push(Item::Is(name.clone())),
            Some(_) => part.units.enable.0.push(Item::Is(name.clone())),
            None => part.units.enable.0.push(Item::Not(name.clone())),
        },
        _ => put_thing(part, *section, name, what),
    }
}

fn name_in(list: &mut List<String>, name: &str, what: Option<&Thing>) {
    let name = name.to_owned();
    list.0.push(if what.is_some() { Item::Is(name) } else { Item::Not(name) });
}

fn put_thing(part: &mut Part, section: Section, name: &str, what: Option<&Thing>) {
    let away = || name.to_owned();
    match (section, what.cloned()) {
        (_, Some(Thing::Module(x))) => part.modules.0.push(Item::Is(x)),
        (_, Some(Thing::Repository(x))) => part.repositories.0.push(Item::Is(x)),
        (_, Some(Thing::File(x))) => part.files.0.push(Item::Is(x)),
        (_, Some(Thing::User(x))) => part.users.0.push(Item::Is(x)),
        (_, Some(Thing::Script(x))) => part.scripts.0.push(Item::Is(x)),
        (Section::Modules, None) => part.modules.0.push(Item::Not(away())),
        (Section::Repositories, None) => part.repositories.0.push(Item::Not(away())),
        (Section::Files, None) => part.files.0.push(Item::Not(away())),
        (Section::Users, None) => part.users.0.push(Item::Not(away())),
        (Section::Scripts, None) => part.scripts.0.push(Item::Not(away())),
        (Section::WeakDeps, Some(Thing::Flag(x))) => part.weak_deps = Some(x),
        (Section::Docs, Some(Thing::Flag(x))) => part.docs = Some(x),
        (Section::Environment, Some(Thing::Text(x))) => part.environment = Some(x),
        (Section::Timezone, Some(Thing::Text(x))) => part.timezone = Some(x),
        (Section::Locale, Some(Thing::Text(x))) => part.locale = Some(x),
        (Section::Selinux, Some(Thing::Selinux(x))) => part.selinux = Some(x),
        (Section::Epoch, Some(Thing::Number(x))) => part.epoch = Some(x),
        // Every section has its things, and no other ones.
        _ => {}
    }
}

fn sort(part: &mut Part) {
    fn by_name<T: Keyed>(lists: &mut [&mut List<T>]) {
        lists.iter_mut().for_each(|list| list.sort());
    }
    by_name(&mut [
        &mut part.packages,
        &mut part.groups,
        &mut part.exclude,
        &mut part.languages,
        &mut part.units.enable,
        &mut part.units.disable,
        &mut part.units.mask,
        &mut part.generalise.remove,
        &mut part.generalise.truncate,
        &mut part.allow_scriptlet_failures,
    ]);
    part.modules.sort();
    part.repositories.sort();
    part.files.sort();
    part.users.sort();
}
