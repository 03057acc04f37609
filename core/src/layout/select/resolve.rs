//! Resolving the sets of a document, one after the other.

use super::explain::{self, Why};
use super::named;
use super::order::Order;
use super::protect::{self, Protection};
use super::rules::{misfit, settled};
use super::{Left, Options, Request, Selected, Selection, Taken, assign};
use crate::layout::MARKER;
use crate::layout::diagnostic::Diagnostic;
use crate::layout::inventory::Disk;
use crate::layout::spec::{DiskSet, Match, Pick, Wipe};
use std::path::PathBuf;

/// What a set says about a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It carries what the set keeps.
    Member(String),
    /// It can be taken.
    Fits,
    /// It would fit, and is not touched.
    Protected(Protection),
    /// It would fit, and carries what another set keeps: that set, and what.
    Reserved(String, String),
    /// It would fit, and another set has it.
    Taken(String),
    /// The rules do not fit.
    Rejected(String),
    /// It is no disk to install on.
    Out(String),
}

/// The work in progress.
pub(super) struct Resolver<'a> {
    pub(super) request: &'a Request<'a>,
    order: Order<'a>,
    /// The set that has each disk.
    pub(super) owner: Vec<Option<String>>,
    /// The set and the object that each disk is kept for.
    pub(super) reserved: Vec<Option<(String, String)>>,
    /// Whether that is known by a name alone.
    pub(super) by_name: Vec<bool>,
    /// What the sets said about each disk.
    said: Vec<Vec<String>>,
    pub(super) done: Vec<Selected>,
    removed: Vec<String>,
    pub(super) found: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
    /// Sets that have too few disks, with their verdicts.
    short: Vec<(String, Vec<Verdict>)>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(request: &'a Request<'a>) -> Self {
        let disks = &request.inventory.disks;
        Self {
            request,
            order: Order::new(disks),
            owner: vec![None; disks.len()],
            reserved: vec![None; disks.len()],
            by_name: vec![false; disks.len()],
            said: vec![Vec::new(); disks.len()],
            done: Vec::new(),
            removed: Vec::new(),
            found: Vec::new(),
            warnings: Vec::new(),
            short: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<Selection, Vec<Diagnostic>> {
        let spec = self.request.spec;
        self.found.extend(named::unknown_sets(spec, self.request.named));
        for set in spec.disks.keys() {
            self.take_named(set);
        }
        self.reserve();
        for set in self.sequence() {
            self.resolve(set);
        }
        self.explain_short();
        if !self.found.is_empty() {
            return Err(self.found);
        }
        self.done.sort_by_key(|s| spec.disks.get_index_of(&s.set));
        self.removed.sort_by_key(|s| spec.disks.get_index_of(s));
        let free = (0..self.owner.len()).filter(|d| self.owner[*d].is_none());
        let left = free.map(|disk| Left { disk, reason: explain::joined(&self.said[disk]) }).collect();
        Ok(Selection { sets: self.done, removed: self.removed, left, warnings: self.warnings })
    }

    pub(super) fn disks(&self) -> &'a [Disk] {
        &self.request.inventory.disks
    }

    pub(super) fn set(&self, name: &str) -> &'a DiskSet {
        &self.request.spec.disks[name]
    }

    fn is_named(&self, set: &str) -> bool {
        self.request.named.iter().any(|n| n.set == set)
    }

    /// The order of resolution: sets that name disks by who they are, then the others as they stand; and what a set
    /// excludes before it.
    fn sequence(&self) -> Vec<&'a str> {
        let spec = self.request.spec;
        let is_identity = |set: &DiskSet| set.matching.as_ref().is_some_and(Match::is_identity);
        let (first, then): (Vec<_>, Vec<_>) = spec.disks.iter().partition(|(_, set)| is_identity(set));
        let mut order: Vec<&'a str> = Vec::new();
        for (name, _) in first.into_iter().chain(then) {
            // Sets before sets before sets: each name is put down once, so circles end.
            let (mut todo, mut seen) = (vec![(name.as_str(), false)], Vec::new());
            while let Some((name, is_ready)) = todo.pop() {
                if is_ready {
                    if !order.contains(&name) {
                        order.push(name);
                    }
                } else if !seen.contains(&name) && !order.contains(&name) {
                    seen.push(name);
                    todo.push((name, true));
                    let before = spec.disks.get(name).map_or(&[][..], |s| &s.exclude);
                    todo.extend(
                        before.iter().rev().filter(|n| spec.disks.contains_key(*n)).map(|n| (n.as_str(), false)),
                    );
                }
            }
        }
        order.retain(|name| !self.is_named(name));
        order
    }

    fn resolve(&mut self, name: &'a str) {
        let set = self.set(name);
        let verdicts = self.verdicts(name);
        let which = |is: fn(&Verdict) -> bool| -> Vec<usize> {
            verdicts.iter().enumerate().filter(|(_, v)| is(v)).map(|(at, _)| at).collect()
        };
        let mut members = which(|v| matches!(v, Verdict::Member(_)));
        let mut named = which(|v| matches!(v, Verdict::Fits));
        named.retain(|at| self.is_own(name, *at));
        // By name they are not as sure: where they are too few, others make up the number.
        if members.is_empty() && named.len() >= usize::try_from(set.count.min).unwrap_or(usize::MAX) {
            members.clone_from(&named);
        }
        if set.matching.is_none() && members.is_empty() {
            return self.without_rules(name);
        }
        // What is kept is kept as it is: no disk joins it.
        let is_kept = !members.is_empty();
        let mut fits = if is_kept { members } else { which(|v| matches!(v, Verdict::Fits)) };
        let pick = if is_kept { Pick::All } else { set.pick };
        self.order.sort(pick, &mut fits);
        fits.sort_by_key(|at| !named.contains(at));
        let mut guarded: Vec<usize> = which(|v| matches!(v, Verdict::Protected(p) if !p.is_meant));
        if is_kept {
            guarded.retain(|at| self.reserved[*at].as_ref().is_some_and(|(s, _)| s == name));
        }
        for at in self.would_take(set, pick, &fits, &guarded) {
            if let Verdict::Protected(p) = &verdicts[at] {
                self.found.push(explain::protected(name, &self.disks()[at], p));
            }
        }
        let number = allowed(set, fits.len());
        if let Some(number) = number.filter(|n| is_kept && *n < fits.len()) {
            // To leave one out would be to lose it.
            let text = format!(
                "disk set {name}: {} carry what is kept, and {number} of them wanted: it takes {}",
                explain::disks(fits.len()),
                explain::count(set.count)
            );
            let d = Diagnostic::error("F202", format!("disks.{name}.count"), text);
            self.found.push(d.hint("let count be what is there"));
        } else if fits.is_empty() && guarded.is_empty() && set.optional {
            self.removed.push(name.to_owned());
        } else if number.is_none() {
            self.short.push((name.to_owned(), verdicts.clone()));
        } else if let Some(number) = number {
            self.take(name, pick, &fits, number, &verdicts);
        }
        self.remember(name, &verdicts);
    }

    /// A set without rules takes what somebody names: no disk is taken that nothing speaks for.
    fn without_rules(&mut self, name: &str) {
        if self.set(name).optional {
            self.removed.push(name.to_owned());
            return;
        }
        let text = format!("disk set {name}: {} wanted, none given", explain::disks_wanted(self.set(name).count));
        let d = Diagnostic::error("F201", format!("disks.{name}"), text);
        self.found.push(d.hint(format!("name the disk, as in --disk {name}=/dev/…, or say with match which it is")));
    }

    /// Protected disks that would be among the taken, were they not protected: nobody should get the next best silently.
    fn would_take(&self, set: &DiskSet, pick: Pick, fits: &[usize], guarded: &[usize]) -> Vec<usize> {
        let mut all: Vec<usize> = fits.iter().chain(guarded).copied().collect();
        self.order.sort(pick, &mut all);
        let number = if pick == Pick::Unique { all.len() } else { allowed(set, all.len()).unwrap_or(all.len()) };
        // One that is equal to the last would do as well.
        let last = number.checked_sub(1).and_then(|n| all.get(n)).copied();
        let is_in = |(at, d): (usize, &usize)| {
            at < number || last.is_some_and(|last| self.order.compare(pick, last, *d).is_eq())
        };
        let meant = all.iter().enumerate().filter(|(at, d)| is_in((*at, *d)) && guarded.contains(d));
        meant.map(|(_, d)| *d).collect()
    }

    fn take(&mut self, name: &'a str, pick: Pick, fits: &[usize], number: usize, verdicts: &[Verdict]) {
        let path = format!("disks.{name}");
        let (taken, rest) = fits.split_at(number);
        if pick == Pick::Unique && !rest.is_empty() {
            let list = explain::names(self.disks(), fits);
            let text = format!(
                "disk set {name}: {} match, {} wanted, and pick is not set",
                explain::disks(fits.len()),
                explain::count(self.set(name).count)
            );
            let d = Diagnostic::error("F202", path, format!("{text}. Candidates: {list}"));
            self.found.push(d.hint("say which (pick: smallest), narrow the rules, or name the disks"));
            return;
        }
        if let (Some(last), Some(next)) = (taken.last(), rest.first())
            && self.order.compare(pick, *last, *next).is_eq()
        {
            let is_equal = |d: &&usize| self.order.compare(pick, **d, *last).is_eq();
            let equal: Vec<usize> = fits.iter().filter(is_equal).copied().collect();
            let free = number - taken.iter().filter(|d| !equal.contains(d)).count();
            let text = format!(
                "disk set {name}: after pick: {}, {} are equal; {free} of them wanted",
                explain::pick(pick),
                explain::list(self.disks(), &equal)
            );
            let d = Diagnostic::error("F203", path, text);
            self.found.push(d.hint(format!("narrow the rules, or name the disks: --disk {name}=/dev/…")));
            return;
        }
        self.compare(name, taken);
        let mut disks = Vec::new();
        for at in taken {
            self.owner[*at] = Some(name.to_owned());
            let reason = match (&verdicts[*at], &self.reserved[*at]) {
                (Verdict::Member(object), _) | (_, Some((_, object))) => format!("carries {object}"),
                _ if rest.is_empty() => "matches".to_owned(),
                _ => format!("matches, pick: {}", explain::pick(pick)),
            };
            disks.push(Taken { disk: Some(*at), path: PathBuf::from(self.disks()[*at].node()), reason });
        }
        for at in rest {
            self.said[*at].push(format!("{name}: matches, not taken by pick: {}", explain::pick(pick)));
        }
        self.done.push(Selected { set: name.to_owned(), disks, passed_over: rest.to_vec() });
    }

    /// What the disks of a set must have in common.
    pub(super) fn compare(&mut self, name: &str, taken: &[usize]) {
        let disks: Vec<&Disk> = taken.iter().map(|at| &self.disks()[*at]).collect();
        self.found.extend(explain::differences(name, &self.set(name).require, &disks));
    }

    fn verdicts(&self, name: &str) -> Vec<Verdict> {
        let set = self.set(name);
        let none = Match::default();
        let rules = set.matching.as_ref().unwrap_or(&none);
        let is_free = |at: usize| {
            let kept = self.reserved[at].as_ref().is_some_and(|(s, _)| s != name);
            let is_out = protect::is_out(&self.disks()[at], rules).is_some();
            self.owner[at].is_none() && !kept && !is_out && self.protection(set, at, false).is_none()
        };
        let free: Vec<&Disk> = (0..self.disks().len()).filter(|at| is_free(*at)).map(|at| &self.disks()[at]).collect();
        let rules = settled(rules, &free);
        (0..self.disks().len()).map(|at| self.verdict(name, set, &rules, at)).collect()
    }

    fn verdict(&self, name: &str, set: &DiskSet, rules: &Match, at: usize) -> Verdict {
        let disk = &self.disks()[at];
        let own = self.is_own(name, at);
        if let Some((_, object)) = self.reserved[at].as_ref().filter(|_| own && !self.by_name[at]) {
            return match self.protection(set, at, true) {
                Some(p) => Verdict::Protected(p),
                None => Verdict::Member(object.clone()),
            };
        }
        if let Some(why) = protect::is_out(disk, rules) {
            return Verdict::Out(why);
        }
        if set.matching.is_none() {
            return Verdict::Rejected("the set has no rules".to_owned());
        }
        let wrong_sector = || {
            let wanted = set.sector.filter(|s| *s != disk.logical_sector);
            wanted.map(|w| format!("sectors of {} bytes, not {w}", disk.logical_sector))
        };
        if let Some(why) = misfit(rules, disk).or_else(wrong_sector) {
            return Verdict::Rejected(why);
        }
        if let Some(other) = &self.owner[at] {
            return Verdict::Taken(other.clone());
        }
        // It is no candidate, so what protects it is no matter here.
        if let Some((set, object)) = self.reserved[at].as_ref().filter(|_| !own) {
            return Verdict::Reserved(set.clone(), object.clone());
        }
        self.protection(set, at, own).map_or(Verdict::Fits, Verdict::Protected)
    }

    /// Whether a free disk carries what this set keeps.
    fn is_own(&self, set: &str, at: usize) -> bool {
        self.owner[at].is_none() && self.reserved[at].as_ref().is_some_and(|(s, _)| s == set)
    }

    /// Why a disk is not touched for this set. Where the set wipes all, and where a disk was left unfinished, it is taken out
    /// of what it is part of: the plan says so, and what it stops.
    pub(super) fn protection(&self, set: &DiskSet, at: usize, is_kept: bool) -> Option<Protection> {
        let disk = &self.disks()[at];
        let entries = disk.content.iter().filter_map(|c| c.table.as_ref()).flat_map(|t| &t.partitions);
        let is_unfinished = entries.into_iter().any(|e| e.name.ends_with(MARKER));
        let given = self.request.options;
        let allow_held = given.allow_held || set.wipe == Wipe::All || is_unfinished;
        protect::protection(disk, &self.request.spec.policy, Options { allow_held, ..given }, is_kept)
    }

    fn remember(&mut self, name: &str, verdicts: &[Verdict]) {
        for (at, verdict) in verdicts.iter().enumerate() {
            let why = match verdict {
                Verdict::Member(_) | Verdict::Taken(_) => continue,
                Verdict::Fits if self.owner[at].is_some() || !self.said[at].is_empty() => continue,
                Verdict::Fits => "matches".to_owned(),
                Verdict::Out(why) => why.clone(),
                Verdict::Rejected(why) => format!("{name}: {why}"),
                Verdict::Protected(p) => format!("{name}: {}", p.reason),
                Verdict::Reserved(set, object) => format!("{name}: carries {object}, which set {set} keeps"),
            };
            if !self.said[at].contains(&why) {
                self.said[at].push(why);
            }
        }
    }

    /// The messages for sets with too few disks; with the hint that another order would do, if one would.
    fn explain_short(&mut self) {
        for (name, verdicts) in std::mem::take(&mut self.short) {
            let other = self.another_way(&name, &verdicts);
            let why = Why { set: &name, spec: self.set(&name), disks: self.disks(), verdicts: &verdicts, other };
            let finding = why.too_few();
            self.found.push(finding);
        }
    }

    /// The sets that have disks which this one lacks, when all sets could have enough.
    fn another_way(&self, short: &str, verdicts: &[Verdict]) -> Vec<String> {
        let mut sets: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut involved: Vec<String> = Vec::new();
        for (name, set) in &self.request.spec.disks {
            if self.is_named(name) || self.removed.contains(name) || set.matching.is_none() {
                continue;
            }
            let is_free = |at: &usize| self.owner[*at].as_deref().is_none_or(|o| !self.is_named(o));
            let fits: Vec<usize> = match name == short {
                true => (0..verdicts.len()).filter(|at| could_fit(&verdicts[*at])).filter(is_free).collect(),
                false => {
                    let v = self.verdicts(name);
                    let mine = |at: &usize| self.owner[*at].as_deref() == Some(name) || could_fit(&v[*at]);
                    (0..v.len()).filter(mine).filter(is_free).collect()
                }
            };
            let least = usize::try_from(set.count.min).unwrap_or(usize::MAX).next_multiple_of(multiple(set));
            sets.push((least, fits));
        }
        for verdict in verdicts {
            if let Verdict::Taken(other) = verdict
                && !self.is_named(other)
                && !involved.contains(other)
            {
                involved.push(other.clone());
            }
        }
        if involved.is_empty() || !assign::is_possible(&sets, self.disks().len()) {
            return Vec::new();
        }
        involved.push(short.to_owned());
        involved.sort_by_key(|s| self.request.spec.disks.get_index_of(s));
        involved
    }
}

fn could_fit(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Member(_) | Verdict::Fits | Verdict::Taken(_))
}

pub(super) fn multiple(set: &DiskSet) -> usize {
    usize::try_from(set.count.multiple_of.max(1)).unwrap_or(usize::MAX)
}

/// How many of so many disks a set takes: as many as it may; none when they are too few.
fn allowed(set: &DiskSet, disks: usize) -> Option<usize> {
    let bound = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let most = set.count.max.map_or(disks, |m| disks.min(bound(m)));
    let number = most - most % multiple(set);
    (number >= bound(set.count.min) && number > 0).then_some(number)
}
