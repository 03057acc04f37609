//! What is settled before any rule is asked: disks that somebody named, and disks that carry what is kept.

use super::keep::{Keep, carries};
use super::named::Named;
use super::protect::is_out;
use super::resolve::{Resolver, multiple};
use super::rules::misfit;
use super::{Selected, Taken, explain};
use crate::layout::diagnostic::Diagnostic;
use crate::layout::inventory::Disk;

impl<'a> Resolver<'a> {
    /// Disks that somebody named win over rules. What protects a disk holds for them as well, but for what only keeps
    /// rules from taking what nobody meant.
    pub(super) fn take_named(&mut self, set: &'a str) {
        let path = format!("disks.{set}");
        let mine: Vec<&Named> = self.request.named.iter().filter(|n| n.set == set).collect();
        if mine.is_empty() {
            return;
        }
        let mut taken = Vec::new();
        for name in &mine {
            let node = name.path.to_string_lossy();
            let found = self.request.inventory.find_node(name.number, &node);
            let disk = found.and_then(|d| self.disks().iter().position(|x| std::ptr::eq(x, d)));
            let earlier = self.request.named.iter().take_while(|n| !std::ptr::eq(*n, *name)).find(|n| n.is(name));
            let other = earlier.map(|n| n.set.clone()).or_else(|| disk.and_then(|d| self.owner[d].clone()));
            if let Some(other) = other {
                let text = match other == set {
                    true => format!("{node} is given twice for {set}"),
                    false => format!("{node} is given for both {other} and {set}"),
                };
                self.found.push(Diagnostic::error("F209", &path, text));
                continue;
            }
            if let Some(at) = disk {
                // Whether what is kept on it can be taken is seen when the plan looks at it.
                let of = self.set(set);
                let against = self.protection(of, at, of.preserve.keeps());
                self.found.extend(against.map(|p| explain::protected(set, &self.disks()[at], &p)));
                let why = self.set(set).matching.as_ref().and_then(|rules| misfit(rules, &self.disks()[at]));
                self.warnings.extend(why.map(|why| {
                    let text = format!("{node} was named for {set}, and its rules do not fit: {why}");
                    Diagnostic::warning("F219", &path, text).hint("named disks win over rules; look twice")
                }));
                self.owner[at] = Some(set.to_owned());
            }
            // The node of the disk, not of the path to it that was named.
            let is_path = disk.is_some_and(|d| self.disks()[d].multipath.is_some());
            let path = disk.filter(|_| is_path).map_or_else(|| name.path.clone(), |d| self.disks()[d].node().into());
            taken.push(Taken { disk, path, reason: "named".to_owned() });
        }
        let count = self.set(set).count;
        let (has, least) = (taken.len(), usize::try_from(count.min).unwrap_or(usize::MAX));
        let most = count.max.map_or(usize::MAX, |m| usize::try_from(m).unwrap_or(usize::MAX));
        if mine.len() < least {
            let d = Diagnostic::error(
                "F201",
                &path,
                format!("disk set {set}: {} wanted, {} given", explain::disks(least), mine.len()),
            );
            self.found.push(d.hint(format!("name each, as in --disk {set}=/dev/…")));
        } else if mine.len() > most || !mine.len().is_multiple_of(multiple(self.set(set))) {
            let text = format!("disk set {set}: {} given, and it takes {}", explain::disks(has), explain::count(count));
            self.found.push(Diagnostic::error("F202", &path, text));
        }
        let indices: Vec<usize> = taken.iter().filter_map(|t| t.disk).collect();
        self.compare(set, &indices);
        self.done.push(Selected { set: set.to_owned(), disks: taken, passed_over: Vec::new() });
    }

    /// Disks that carry what is kept leave the candidates of every other set. What is known by a name alone counts where
    /// the rules of its set fit the disk, and nothing that says more stands against it.
    pub(super) fn reserve(&mut self) {
        let (names, identities): (Vec<&Keep>, Vec<&Keep>) = self.request.keep.iter().partition(|k| k.facts.is_name());
        for keep in identities.into_iter().chain(names) {
            let is_name = keep.facts.is_name();
            for (at, disk) in self.disks().iter().enumerate().filter(|(_, d)| carries(&keep.facts, d)) {
                if is_name && (self.reserved[at].is_some() || !self.could_be(&keep.set, disk)) {
                    continue;
                }
                let path = format!("disks.{}", keep.set);
                let name = &disk.name;
                match (&self.owner[at], &self.reserved[at]) {
                    (Some(set), _) if *set != keep.set => {
                        let text = format!(
                            "{name} is named for {set} and carries {}, which set {} keeps",
                            keep.object, keep.set
                        );
                        let d = Diagnostic::error("F208", format!("disks.{set}"), text);
                        self.found.push(d.hint("name another disk, or do not preserve what it carries"));
                    }
                    (None, Some((set, object))) if *set != keep.set => {
                        let text =
                            format!("{name} carries {object} of set {set} and {} of set {}", keep.object, keep.set);
                        let d = Diagnostic::error("F208", path, text);
                        self.found
                            .push(d.hint("a disk belongs to one set: keep one of them, or put both into one set"));
                    }
                    (None, None) => {
                        self.reserved[at] = Some((keep.set.clone(), keep.object.clone()));
                        self.by_name[at] = is_name;
                    }
                    _ => {}
                }
            }
        }
    }

    /// Whether nothing in the rules of a set speaks against a disk.
    fn could_be(&self, set: &str, disk: &Disk) -> bool {
        let rules = self.request.spec.disks.get(set).and_then(|s| s.matching.as_ref());
        rules.is_none_or(|rules| misfit(rules, disk).is_none() && is_out(disk, rules).is_none())
    }
}
