//! What roles say, thing by thing, and how what several say becomes one.
//!
//! ```text
//! Layer   Key (section, name) ─> for whom ─> Said: what, or that there is none; where it stands; what it replaced
//!
//! beside  parents from left to right: all that either says. Two that disagree are a conflict (R012), unless one of them
//!         has replaced what the other one says
//! over    a document over its parents: what it says goes before whatever they say of the same systems, and ends conflicts
//! ```
//!
//! A name in a list is a thing of its own, as a time zone is. So there is one rule for all of them.

use super::selector::Selector;
use super::spec::{File, Module, Repository, Script, Selinux, UnitState, User};
use crate::document::{Diagnostic, Position};
use indexmap::IndexMap;
use std::collections::BTreeSet;

/// A part of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Section {
    Packages,
    Groups,
    Environment,
    Modules,
    Exclude,
    WeakDeps,
    Docs,
    Languages,
    Repositories,
    Files,
    Units,
    Users,
    KernelArgs,
    Selinux,
    Timezone,
    Locale,
    Scripts,
    Remove,
    Truncate,
    Epoch,
    AllowScriptletFailures,
}

impl Section {
    /// Where it stands in a document.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Packages => "packages",
            Self::Groups => "groups",
            Self::Environment => "environment",
            Self::Modules => "modules",
            Self::Exclude => "exclude",
            Self::WeakDeps => "weak_deps",
            Self::Docs => "docs",
            Self::Languages => "languages",
            Self::Repositories => "repositories",
            Self::Files => "files",
            Self::Units => "units",
            Self::Users => "users",
            Self::KernelArgs => "kernel_args",
            Self::Selinux => "selinux",
            Self::Timezone => "timezone",
            Self::Locale => "locale",
            Self::Scripts => "scripts",
            Self::Remove => "generalise.remove",
            Self::Truncate => "generalise.truncate",
            Self::Epoch => "epoch",
            Self::AllowScriptletFailures => "allow_scriptlet_failures",
        }
    }
}

/// What is said something of. The name is empty where there is one only.
pub(super) type Key = (Section, String);

/// A thing that a role has.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Thing {
    /// A name in a list.
    Name,
    Text(String),
    Flag(bool),
    Number(u64),
    Selinux(Selinux),
    Unit(UnitState),
    Module(Module),
    Repository(Repository),
    File(File),
    User(User),
    Script(Script),
}

/// Where something stands: the same for one document however often it is read.
pub(super) type Origin = Position;

/// What is said of one thing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    /// For whom.
    pub(super) selector: Selector,
    /// The thing, or that there is none.
    pub(super) what: Option<Thing>,
    /// Where it stands.
    pub(super) origin: Origin,
    /// What it stands in the place of.
    over: BTreeSet<(u16, u32, u32)>,
    /// Where a parent says otherwise.
    against: Option<Origin>,
    /// The order of all that is said: parents from left to right, then the document, each from its begin.
    rank: usize,
}

impl Said {
    pub(super) fn new(selector: Selector, what: Option<Thing>, origin: Origin) -> Self {
        Self { selector, what, origin, over: BTreeSet::new(), against: None, rank: 0 }
    }

    fn replaced(&self, other: &Self) -> bool {
        self.over.contains(&at(other.origin))
    }
}

fn at(p: Origin) -> (u16, u32, u32) {
    (p.document, p.line, p.column)
}

/// What a document says, or several.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Layer {
    pub(super) said: IndexMap<Key, Vec<Said>>,
    /// How many ranks are taken.
    ranks: usize,
}

impl Layer {
    /// Adds something; `Err` with the place of the first where the same is said already.
    pub(super) fn say(&mut self, key: Key, mut said: Said) -> Result<(), Origin> {
        said.rank = self.ranks;
        self.ranks += 1;
        let all = self.said.entry(key).or_default();
        match all.iter().find(|s| s.selector == said.selector) {
            Some(first) => Err(first.origin),
            None => {
                all.push(said);
                Ok(())
            }
        }
    }

    /// What is said of a thing by whoever says it of the fewest systems, to which the given ones belong.
    pub(super) fn of(&self, key: &Key, system: Selector) -> Option<&Said> {
        let all = self.said.get(key)?;
        let mut said = nearest(all, system)?;
        // Where it is said of more as well, that is where it has its place in the order.
        while let Some(above) = wider(all, said).filter(|above| above.what == said.what) {
            said = above;
        }
        Some(said)
    }

    /// All that is said of a system, in order: what is said of more systems first.
    pub(super) fn view(&self, system: Selector) -> impl Iterator<Item = (&Key, &Said)> {
        let mut all: Vec<(&Key, &Said)> =
            self.said.keys().filter_map(|key| Some((key, self.of(key, system)?))).collect();
        all.sort_by_key(|(_, said)| (said.selector.depth(), said.rank));
        all.into_iter()
    }

    /// All that is said, in order.
    pub(super) fn all(&self) -> Vec<(&Key, &Said)> {
        let mut all: Vec<_> = self.said.iter().flat_map(|(key, all)| all.iter().map(move |said| (key, said))).collect();
        all.sort_by_key(|(_, said)| said.rank);
        all
    }

    /// Whether what is said of more systems says the same already.
    pub(super) fn is_said_above(&self, key: &Key, said: &Said) -> bool {
        let above = self.said.get(key).and_then(|all| wider(all, said));
        above.and_then(|s| s.what.as_ref()) == said.what.as_ref()
    }

    /// What two parents say.
    pub(super) fn beside(mut self, other: Self) -> Self {
        for (key, theirs) in other.said {
            let ours = self.said.entry(key).or_default();
            let theirs: Vec<Said> = theirs.into_iter().map(|s| Said { rank: s.rank + self.ranks, ..s }).collect();
            *ours = join(ours, &theirs);
        }
        self.ranks += other.ranks;
        self
    }

    /// What a document says, over what its parents say; then nothing may be left in conflict.
    pub(super) fn over(mut self, own: Self, documents: &[String], found: &mut Vec<Diagnostic>) -> Self {
        for (key, all) in own.said {
            let below = self.said.entry(key.clone()).or_default();
            for said in &all {
                let there = below.iter().chain(&all).any(|s| s.what.is_some() && s.selector.overlaps(said.selector));
                if said.what.is_none() && !there {
                    found.push(nothing_to_take_away(&key, said));
                }
            }
            // It goes before all that its parents say of the same systems; what it says of some also before what it
            // says of more.
            let mut new = all.clone();
            for said in &mut new {
                said.rank += self.ranks;
                let wider = all.iter().filter(|s| s.selector != said.selector && s.selector.covers(said.selector));
                for under in below.iter().filter(|s| s.selector.overlaps(said.selector)).chain(wider) {
                    said.over.insert(at(under.origin));
                    said.over.extend(&under.over);
                }
            }
            below.retain(|s| !new.iter().any(|said| said.selector.covers(s.selector)));
            below.append(&mut new);
        }
        self.ranks += own.ranks;
        for (key, all) in &mut self.said {
            for said in all {
                if let Some(against) = said.against.take() {
                    found.push(conflict(key, said, against, documents));
                }
            }
        }
        self
    }
}

/// What is said of these systems by whoever says it of the fewest that they lie in.
fn nearest(all: &[Said], system: Selector) -> Option<&Said> {
    all.iter().filter(|s| s.selector.covers(system)).max_by_key(|s| s.selector.depth())
}

/// What would hold without this: what is said of the next larger group of systems.
fn wider<'a>(all: &'a [Said], said: &Said) -> Option<&'a Said> {
    let wider = all.iter().filter(|s| s.selector != said.selector && s.selector.covers(said.selector));
    wider.max_by_key(|s| s.selector.depth())
}

/// What two parents say of one thing, for whomever either says something of: from all systems to single ones.
fn join(ours: &[Said], theirs: &[Said]) -> Vec<Said> {
    let systems: BTreeSet<(usize, Selector)> =
        ours.iter().chain(theirs).map(|s| (s.selector.depth(), s.selector)).collect();
    let mut joined: Vec<Said> = Vec::with_capacity(systems.len());
    for (_, system) in systems {
        let is_own = |said: &&Said| said.selector == system;
        let (mine, other) = match (nearest(ours, system), nearest(theirs, system)) {
            (Some(mine), Some(other)) => (mine, other),
            (one, None) | (None, one) => {
                joined.extend(one.filter(is_own).cloned());
                continue;
            }
        };
        let (first, second) = if is_own(&mine) { (mine, other) } else { (other, mine) };
        let mut said = first.clone();
        if first.what == second.what {
            said.over.extend(&second.over);
            said.against = said.against.or(second.against);
        } else if second.replaced(first) {
            said = second.clone();
            said.against = said.against.filter(|_| is_own(&second));
        } else if !first.replaced(second) {
            said.against = Some(second.origin);
        }
        if said.selector != system && nearest(&joined, system).is_some_and(|above| above.what == said.what) {
            continue;
        }
        joined.push(Said { selector: system, ..said });
    }
    joined
}

fn path(key: &Key, selector: Selector) -> String {
    let before = if selector == Selector::ALL { String::new() } else { format!("for.{selector}.") };
    match key.1.is_empty() {
        true => format!("{before}{}", key.0.path()),
        false => format!("{before}{}.{}", key.0.path(), key.1),
    }
}

fn nothing_to_take_away(key: &Key, said: &Said) -> Diagnostic {
    let text = format!("nothing that it extends has \"{}\" here", key.1);
    Diagnostic::error("R013", path(key, said.selector), text)
        .hint("-NAME takes away what another role brings; look at it with cvctl role show")
        .at(said.origin)
}

const SAY_WHAT: &str = "say in the document what it is to be";
const SAY_WHAT_OR_NONE: &str = "say in the document what it is to be, or -NAME for none";

fn conflict(key: &Key, said: &Said, other: Origin, documents: &[String]) -> Diagnostic {
    let name = |at: Origin| {
        let document = documents.get(usize::from(at.document)).map_or("", String::as_str);
        format!("{document}:{}:{}", at.line, at.column)
    };
    let what = if key.1.is_empty() { key.0.path() } else { &key.1 };
    let text = format!("two roles that it extends disagree on \"{what}\": {} and {}", name(said.origin), name(other));
    Diagnostic::error("R012", path(key, said.selector), text)
        .hint(if key.1.is_empty() { SAY_WHAT } else { SAY_WHAT_OR_NONE })
        .at(said.origin)
}
