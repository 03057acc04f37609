//! Which partition, array, group is the one that the document means.

use super::{Kept, Member, Replaced};
use crate::layout::MARKER;
use crate::layout::apply::journal::JournalKept;
use crate::layout::diagnostic::{DIAGNOSTIC_LIMIT, Diagnostic};
use crate::layout::observed::{Array, Node, Observed, Partition, Volume};
use crate::layout::select::KeepFacts;
use crate::layout::spec::{Filesystem, PartitionKey, Preserve, Raid, Ref, Spec};
use crate::layout::stack::{Object, Stack};
use indexmap::IndexMap;
use std::collections::{BTreeSet, HashMap};

/// The search, object by object.
pub(super) struct Finder<'a> {
    pub(super) spec: &'a Spec,
    pub(super) stack: &'a Stack,
    pub(super) members: &'a [Member],
    pub(super) observed: &'a Observed,
    pub(super) kept: Kept,
    pub(super) found: Vec<Diagnostic>,
    /// What there is for each device of an object that stays: of a partition one on each disk of its set.
    nodes: HashMap<Object, Vec<Option<Node>>>,
    /// What an interrupted apply kept that is gone on with.
    then: Option<&'a JournalKept>,
    /// Partitions on which something was left unfinished, whatever their own names say: of disks that are finished one
    /// after the other.
    unfinished: BTreeSet<Node>,
    /// Partitions that are known by what stands on them.
    hints: HashMap<Node, PartitionKey>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(
        spec: &'a Spec,
        stack: &'a Stack,
        members: &'a [Member],
        observed: &'a Observed,
        then: Option<&'a JournalKept>,
    ) -> Self {
        let (kept, found, unfinished) = (Kept::default(), Vec::new(), BTreeSet::new());
        let (nodes, hints) = (HashMap::new(), HashMap::new());
        Self { spec, stack, members, observed, kept, found, nodes, then, unfinished, hints }
    }

    pub(super) fn run(&mut self) {
        let (spec, stack) = (self.spec, self.stack);
        self.unfinished();
        self.hints();
        for disk in 0..self.members.len() {
            self.partitions(disk);
        }
        for key in spec.partitions.keys() {
            let own = self.members.iter().enumerate().filter(|(_, m)| m.set == key.set).map(|(disk, _)| disk);
            let node = |disk: usize| {
                let number = self.kept.partitions[disk].get(key)?.number;
                Some(Node::Partition { disk, number })
            };
            let nodes = own.map(node).collect();
            self.nodes.insert(Object::Partition(key.clone()), nodes);
        }
        for object in stack.order().iter().filter(|o| o.preserve(spec).keeps()) {
            self.object(object);
        }
        (0..self.members.len()).for_each(|disk| self.others(disk));
        // What an interrupted run has made since is not what its document keeps.
        if self.then.is_none() {
            self.elsewhere();
            self.left();
            self.nothing();
        }
        self.found.truncate(DIAGNOSTIC_LIMIT);
    }

    pub(super) fn refuse(&mut self, code: &'static str, path: impl Into<String>, text: impl Into<String>, hint: &str) {
        self.found.push(Diagnostic::error(code, path, text).hint(hint.to_owned()));
    }

    /// Looks for what stands on partitions of which one was never finished.
    fn unfinished(&mut self) {
        let o = self.observed;
        let arrays = (0..o.arrays.len()).map(Node::Array);
        let groups = o.groups.iter().flat_map(|g| g.pvs.iter().filter_map(|p| p.on).collect::<Vec<_>>());
        // Of a group each of its devices, and with one of them all.
        let group_of = |node: Node| o.groups.iter().find(|g| g.pvs.iter().any(|p| p.on == Some(node)));
        let mut found = BTreeSet::new();
        for node in arrays.chain(groups).filter(|n| self.is_unfinished(*n)) {
            let beside = group_of(node).into_iter().flat_map(|g| g.pvs.iter().filter_map(|p| p.on));
            found.extend(beside.chain([node]).flat_map(|n| o.foundation(n)));
        }
        found.retain(|n| matches!(n, Node::Partition { .. }));
        self.unfinished = found;
    }

    /// The arrays that are the one of the document by their UUID or name.
    fn named_arrays(&self, name: &str, raid: &Raid) -> Vec<usize> {
        let Some(facts) = KeepFacts::of(self.spec, &Object::Raid(name.to_owned())) else { return Vec::new() };
        let arrays = self.observed.arrays.iter().enumerate();
        let fits = |(i, a): &(usize, &Array)| {
            let named = raid.preserve.keeps() && facts.is_array(&a.uuid.to_string(), &a.name);
            named && self.is_whole(*i)
        };
        arrays.filter(fits).map(|(i, _)| i).collect()
    }

    /// The groups of this name.
    fn named_groups(&self, name: &str) -> Vec<usize> {
        let is_it = |i: &usize| {
            let on = self.observed.groups[*i].pvs.iter().filter_map(|p| p.on);
            let kept = self.then.is_none_or(|t| t.groups.iter().any(|g| g == name));
            kept && self.observed.groups[*i].name == name && !on.into_iter().any(|n| self.is_unfinished(n))
        };
        (0..self.observed.groups.len()).filter(is_it).collect()
    }

    /// Whether an array was finished once.
    fn is_whole(&self, array: usize) -> bool {
        let uuid = &self.observed.arrays[array].uuid;
        self.then.is_none_or(|t| t.arrays.contains(uuid)) && !self.is_unfinished(Node::Array(array))
    }

    /// Whether a device stands on a partition that was never finished: then it holds nothing that anybody wants.
    pub(super) fn is_unfinished(&self, node: Node) -> bool {
        self.observed.foundation(node).into_iter().any(|n| match n {
            Node::Partition { disk, number } => {
                let own = self.observed.partition(disk, number);
                own.is_some_and(|p| p.name.ends_with(MARKER)) || self.unfinished.contains(&n)
            }
            _ => false,
        })
    }

    /// What arrays and groups say about the partitions that they stand on.
    fn hints(&mut self) {
        let mut hints: Vec<(Node, PartitionKey)> = Vec::new();
        for (name, raid) in &self.spec.raid {
            for array in self.named_arrays(name, raid) {
                let members = self.observed.arrays[array].members.iter();
                hints.extend(members.filter_map(|m| Some((m.on, self.hint(m.on, &raid.members)?))));
            }
        }
        for (name, group) in self.spec.lvm.iter().filter(|(_, g)| g.preserve.keeps()) {
            for is in self.named_groups(name) {
                let devices = self.observed.groups[is].pvs.iter().filter_map(|p| p.on);
                hints.extend(devices.filter_map(|on| Some((on, self.hint(on, &group.pvs)?))));
            }
        }
        self.hints.extend(hints);
    }

    /// The partition of the document that a device is, where only one can be it.
    fn hint(&self, node: Node, refs: &[Ref]) -> Option<PartitionKey> {
        let Node::Partition { disk, .. } = node else { return None };
        let set = &self.members.get(disk)?.set;
        let mut keys = refs.iter().filter_map(|r| match r {
            Ref::Partition(key) if key.set == *set => Some(key),
            _ => None,
        });
        keys.next().filter(|_| keys.next().is_none()).cloned()
    }

    /// The partitions of one disk that stay.
    fn partitions(&mut self, disk: usize) {
        let (spec, member) = (self.spec, &self.members[disk]);
        let mut kept = IndexMap::new();
        let own = spec.partitions.iter().filter(|(key, p)| key.set == member.set && p.preserve.keeps());
        for (key, _) in own {
            let path = format!("partitions.{key}");
            let mut fit = self.candidates(disk, key);
            fit.retain(|p| kept.values().all(|k: &Partition| k.number != p.number));
            match &fit[..] {
                [] if spec.partitions[key].preserve == Preserve::Require => {
                    let left = self.left_partition(disk, key).map(|p| p.number);
                    let (what, hint) = match (left, self.left_of(&Object::Partition(key.clone()))) {
                        (Some(number), Some(hint)) => (
                            format!("partition {number} of {} was left by an apply that did not finish", member.name),
                            hint,
                        ),
                        _ => (
                            format!("is not on {}", member.name),
                            "name the disk that has it, or let it be made where it is not: preserve: if-exists".into(),
                        ),
                    };
                    self.refuse("F226", path.clone(), format!("{path} has to be there, and {what}"), &hint);
                }
                [] => {}
                [one] => {
                    let one = (*one).clone();
                    self.compare_partition(&member.name, key, &one);
                    kept.insert(key.clone(), one);
                }
                several => {
                    let numbers: Vec<String> = several.iter().map(|p| p.number.to_string()).collect();
                    let numbers = numbers.join(", ");
                    let text = format!("several partitions of {} could be {key}: {numbers}", member.name);
                    self.refuse("F228", path, text, "say which: by number or uuid");
                }
            }
        }
        self.kept.partitions.push(kept);
    }

    /// The partitions of a disk that can be this one of the document. What was left unfinished is none of them.
    fn candidates(&self, disk: usize, key: &PartitionKey) -> Vec<&'a Partition> {
        let wanted = &self.spec.partitions[key];
        let table = self.observed.disks.get(disk).and_then(|d| d.table.as_ref());
        let node = |p: &Partition| Node::Partition { disk, number: p.number };
        let is_whole = |p: &&Partition| {
            !p.name.ends_with(MARKER)
                && !self.unfinished.contains(&node(p))
                && self.then.is_none_or(|t| t.partitions.contains(&p.uuid))
        };
        let all: Vec<&Partition> = table.iter().flat_map(|t| &t.partitions).filter(is_whole).collect();
        let hinted: Vec<&Partition> = all.iter().filter(|p| self.hints.get(&node(p)) == Some(key)).copied().collect();
        if !hinted.is_empty() {
            return hinted;
        }
        let free = |p: &&&Partition| self.hints.get(&node(p)).is_none_or(|k| k == key);
        if let Some(uuid) = wanted.uuid.filter(|_| self.members[disk].index == 0) {
            return all.iter().filter(|p| p.uuid == uuid).copied().collect();
        }
        let by_content: Vec<&Partition> =
            all.iter().filter(free).filter(|p| self.is_named_filesystem(key, node(p))).copied().collect();
        if !by_content.is_empty() {
            return by_content;
        }
        let name = wanted.name.as_ref().unwrap_or(&key.name);
        let mut fit: Vec<&Partition> = all.iter().filter(free).filter(|p| p.name == *name).copied().collect();
        if let Some(number) = wanted.number {
            // Made by another program, it may have no name.
            let is_it = |p: &&&Partition| p.number == number && p.kind == wanted.kind;
            let by_number: Vec<&Partition> = all.iter().filter(free).filter(is_it).copied().collect();
            if fit.len() != 1 && !by_number.is_empty() {
                fit = by_number;
            }
        }
        if fit.len() > 1 && fit.iter().any(|p| p.kind == wanted.kind) {
            fit.retain(|p| p.kind == wanted.kind);
        }
        fit
    }

    /// Whether the filesystem on a device is the one that the document keeps on this partition and names.
    fn is_named_filesystem(&self, key: &PartitionKey, node: Node) -> bool {
        let named = |f: &&Filesystem| f.preserve.keeps() && (f.label.is_some() || f.uuid.is_some());
        let on_it = |f: &&Filesystem| matches!(&f.on, Ref::Partition(k) if k == key);
        let mut wanted = self.spec.filesystems.values().filter(on_it).filter(named);
        let Some(is) = self.observed.filesystem_on(node) else { return false };
        let same = |a: &str, b: &Option<String>| b.as_ref().is_some_and(|b| b.eq_ignore_ascii_case(a));
        wanted.any(|f| {
            is.kind == f.kind.name()
                && f.uuid.as_ref().is_none_or(|u| same(u, &is.uuid))
                && (f.label.is_none() || f.label == is.label)
        })
    }

    /// The devices that are there for what an object stands on, in the order of the document.
    fn below(&self, object: &Object) -> Vec<Option<Node>> {
        self.stack.below(object).iter().flat_map(|o| self.nodes.get(o).cloned().unwrap_or_default()).collect()
    }

    /// One object that stays, if it is there.
    fn object(&mut self, object: &Object) {
        // What stands on something that was refused is no finding of its own.
        let foundation = self.stack.foundation(object);
        if foundation.into_iter().any(|o| self.found.iter().any(|d| d.path == o.path())) {
            return;
        }
        let below = self.below(object);
        let there: BTreeSet<Node> = below.iter().flatten().copied().collect();
        let node = match object {
            Object::Partition(_) => return,
            Object::Raid(name) => self.array(name, &below, &there),
            Object::Luks(name) => self.crypt(name, &there),
            Object::Group(name) => {
                self.group(name, &below, &there);
                return;
            }
            Object::Volume(group, name) => self.volume(group, name),
            Object::Filesystem(name) => {
                self.filesystem(name, &below);
                return;
            }
        };
        self.nodes.insert(object.clone(), vec![node]);
    }

    /// What the document keeps is not there: it is made where nothing is.
    pub(super) fn absent(&mut self, object: &Object, below: &[Option<Node>]) {
        let path = object.path();
        if object.preserve(self.spec) == Preserve::Require {
            if let Some(hint) = self.left_of(object) {
                let text =
                    format!("{path} has to be there, and what is there was left by an apply that did not finish");
                self.refuse("F226", path, text, &hint);
                return;
            }
            let text = format!("{path} has to be there, and is not");
            self.refuse("F226", path, text, "name the disks that have it, or write preserve: if-exists");
            return;
        }
        // What an interrupted apply began to make there is looked at when it is gone on with.
        for node in below.iter().flatten().copied().filter(|_| self.then.is_none()) {
            if let Some(content) = self.content(node) {
                let text = format!("{path} is kept where it is, but {} carries {content}", self.observed.name(node));
                self.refuse("F227", path, text, "say in the document what is there, or erase it by hand");
                return;
            }
        }
    }

    /// What a device carries, for people.
    fn content(&self, node: Node) -> Option<String> {
        let o = self.observed;
        let array = o.arrays.iter().find(|a| a.members.iter().any(|m| m.on == node));
        let group = o.groups.iter().find(|g| g.pvs.iter().any(|p| p.on == Some(node)));
        let crypt = o.crypts.iter().any(|c| c.on == node);
        let fs = o.filesystem_on(node).map(ToString::to_string);
        let odd = o.oddities.iter().find(|odd| odd.on == Some(node)).map(|odd| format!("something: {}", odd.text));
        array
            .map(|a| format!("the array \"{}\"", a.name))
            .or_else(|| group.map(|g| format!("the volume group \"{}\"", g.name)))
            .or_else(|| crypt.then(|| "an encrypted device".to_owned()))
            .or(fs)
            .or(odd)
    }

    fn array(&mut self, name: &str, below: &[Option<Node>], there: &BTreeSet<Node>) -> Option<Node> {
        let raid = &self.spec.raid[name];
        let object = Object::Raid(name.to_owned());
        let mut fit = self.named_arrays(name, raid);
        if fit.is_empty() && raid.adopt.is_none() {
            // By its members, whatever it is called.
            let own = |a: &Array| a.members.iter().any(|m| there.contains(&m.on));
            let is_it = |i: &usize| own(&self.observed.arrays[*i]) && self.is_whole(*i);
            fit = (0..self.observed.arrays.len()).filter(is_it).collect();
        }
        match fit[..] {
            [] => {
                self.absent(&object, below);
                None
            }
            [index] => {
                self.compare_array(name, index, below, there);
                self.kept.arrays.insert(name.to_owned(), index);
                Some(Node::Array(index))
            }
            _ => {
                let names =
                    fit.iter().map(|i| self.observed.arrays[*i].uuid.to_string()).collect::<Vec<_>>().join(", ");
                let text = format!("several arrays could be raid/{name}: {names}");
                self.refuse("F228", object.path(), text, "say which: adopt: {uuid: …}");
                None
            }
        }
    }

    fn crypt(&mut self, name: &str, there: &BTreeSet<Node>) -> Option<Node> {
        let object = Object::Luks(name.to_owned());
        let on = there.first().copied();
        let was_kept = |uuid: &str| {
            let uuid = uuid.parse().ok();
            self.then.is_none_or(|t| uuid.is_some_and(|u| t.encrypted.contains(&u)))
        };
        let is_it = |on| self.observed.crypts.iter().position(|c| c.on == on && was_kept(&c.header.uuid));
        let Some(index) = on.and_then(is_it) else {
            self.absent(&object, &[on]);
            return None;
        };
        self.compare_crypt(name, index);
        self.kept.crypts.insert(name.to_owned(), index);
        Some(Node::Crypt(index))
    }

    fn group(&mut self, name: &str, below: &[Option<Node>], there: &BTreeSet<Node>) {
        let object = Object::Group(name.to_owned());
        match self.named_groups(name)[..] {
            [] if self.is_closed(&object) => {}
            [] => self.absent(&object, below),
            [index] => {
                self.compare_group(name, index, below, there);
                self.kept.groups.insert(name.to_owned(), index);
                self.replaced(name, index);
            }
            _ => {
                let text = format!("several volume groups are called {name}");
                self.refuse("F228", object.path(), text, "rename the one that is not meant: vgrename UUID NAME");
            }
        }
    }

    /// What of a kept group the document makes anew.
    fn replaced(&mut self, name: &str, index: usize) {
        let mut replaced = Vec::new();
        for (volume, wanted) in &self.spec.lvm[name].lvs {
            let is = self.observed.groups[index].volumes.iter().find(|v| v.name == *volume);
            // What is kept and not there is made as well: of that it is said below.
            if wanted.preserve.keeps() && is.is_none_or(|v| self.is_whole_volume(name, v)) {
                continue;
            }
            self.compare_replaced(name, volume, wanted, is);
            replaced.extend(is.map(|is| Replaced { name: is.name.clone(), uuid: is.uuid.clone() }));
        }
        self.kept.replaced.insert(name.to_owned(), replaced);
    }

    /// Whether a volume of a kept group was finished once.
    fn is_whole_volume(&self, group: &str, is: &Volume) -> bool {
        !is.is_unfinished() && self.then.is_none_or(|t| t.has_volume(group, &is.name))
    }

    fn volume(&mut self, group: &str, name: &str) -> Option<Node> {
        let object = Object::Volume(group.to_owned(), name.to_owned());
        // Without the group there is a finding already, or all of it is made.
        let Some(index) = self.kept.groups.get(group).copied() else {
            if self.found.is_empty() {
                self.absent(&object, &[]);
            }
            return None;
        };
        let Some(place) = self.observed.groups[index].volumes.iter().position(|v| v.name == name) else {
            self.absent(&object, &[]);
            self.compare_made(group, name);
            return None;
        };
        if !self.is_whole_volume(group, &self.observed.groups[index].volumes[place]) {
            self.absent(&object, &[]);
            return None;
        }
        self.compare_volume(group, name, index, place);
        self.kept.volumes.insert((group.to_owned(), name.to_owned()), place);
        Some(Node::Volume { group: index, volume: place })
    }

    /// Whether an object lies in something encrypted that is kept and closed: it cannot be seen. Says so.
    fn is_closed(&mut self, object: &Object) -> bool {
        let closed = self.stack.foundation(object).into_iter().find_map(|o| {
            let Object::Luks(name) = o else { return None };
            let index = self.kept.crypts.get(name)?;
            self.observed.crypts[*index].open.is_none().then(|| name.clone())
        });
        let Some(name) = closed else { return false };
        let path = object.path();
        let text = format!("{path} is kept and cannot be seen: luks/{name} is not open");
        self.refuse("F228", path, text, "open it first, under any name: cryptsetup open DEVICE NAME");
        true
    }

    fn filesystem(&mut self, name: &str, below: &[Option<Node>]) {
        let object = Object::Filesystem(name.to_owned());
        let there: Vec<Node> = below.iter().flatten().copied().collect();
        let was_kept = self.then.is_none_or(|t| t.filesystems.iter().any(|f| f == name));
        let is = |node: &Node| was_kept && self.observed.filesystem_on(*node).is_some();
        if there.is_empty() || !there.iter().any(is) {
            // What is known by its UUID need not be seen.
            let wanted = &self.spec.filesystems[name];
            let known = wanted.uuid.is_some() && wanted.subvolumes.is_empty();
            let closed = matches!(there[..], [Node::Crypt(i)] if self.observed.crypts[i].open.is_none());
            if closed && known && was_kept {
                self.kept.filesystems.insert(name.to_owned(), there);
            } else if there.is_empty() && !self.found.is_empty() || self.is_closed(&object) {
                // Said already.
            } else {
                self.absent(&object, below);
            }
            return;
        }
        self.compare_filesystem(name, below);
        self.kept.filesystems.insert(name.to_owned(), there);
    }
}
