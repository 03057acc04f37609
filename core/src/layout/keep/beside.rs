//! What lies beside what is kept: partitions of others, which stay, and what the document keeps in another place than it
//! says, where it would be lost.

use super::find::Finder;
use crate::layout::MARKER;
use crate::layout::diagnostic::Diagnostic;
use crate::layout::observed::{Node, Partition};
use crate::layout::spec::Preserve;
use crate::layout::stack::Object;

impl Finder<'_> {
    /// Partitions that the document does not have: beside what is kept they stay. What the document makes anew, or what was
    /// left unfinished, does not.
    pub(super) fn others(&mut self, disk: usize) {
        let mut others: Vec<Partition> = Vec::new();
        if self.kept.is_on(disk) {
            let set = &self.members[disk].set;
            // A partition called like one that is kept is not the one that is made anew.
            let kept = &self.kept.partitions[disk];
            let own = self.spec.partitions.iter().filter(|(key, _)| key.set == *set && !kept.contains_key(*key));
            let names: Vec<&String> = own.map(|(key, p)| p.name.as_ref().unwrap_or(&key.name)).collect();
            let is_kept = |p: &Partition| self.kept.partitions[disk].values().any(|k| k.number == p.number);
            let table = self.observed.disks.get(disk).and_then(|d| d.table.as_ref());
            let stays = |p: &&Partition| !is_kept(p) && !p.name.ends_with(MARKER) && !names.contains(&&p.name);
            others = table.iter().flat_map(|t| &t.partitions).filter(stays).cloned().collect();
        }
        for p in &others {
            let text = format!(
                "partition {} \"{}\" of {} is not in the layout: it stays, because something beside it is kept",
                p.number, p.name, self.members[disk].name
            );
            let d = Diagnostic::warning("F235", format!("disks.{}", self.members[disk].set), text);
            self.kept.warnings.push(d.hint("delete it by hand when nobody needs it"));
        }
        self.kept.others.push(others);
    }

    /// What is kept where it is found, and was found nowhere, may lie where nothing stays: then it would be lost, and an
    /// empty one made in its place.
    pub(super) fn elsewhere(&mut self) {
        let same = |wanted: &str, is: &Option<String>| is.as_ref().is_some_and(|is| is.eq_ignore_ascii_case(wanted));
        let mut lost: Vec<(Object, Node)> = Vec::new();
        let filesystems =
            self.spec.filesystems.iter().filter(|(_, f)| f.preserve.keeps() && (f.label.is_some() || f.uuid.is_some()));
        for (name, wanted) in filesystems.filter(|(name, _)| !self.kept.filesystems.contains_key(*name)) {
            let is_it = |f: &&crate::layout::observed::Filesystem| {
                f.kind == wanted.kind.name()
                    && wanted.uuid.as_ref().is_none_or(|u| same(u, &f.uuid))
                    && (wanted.label.is_none() || wanted.label == f.label)
                    && self.is_lost(f.on)
            };
            let found = self.observed.filesystems.iter().find(is_it);
            lost.extend(found.map(|f| (Object::Filesystem(name.clone()), f.on)));
        }
        let crypts = self.spec.luks.iter().filter(|(_, l)| l.preserve.keeps() && l.label.is_some());
        for (name, wanted) in crypts.filter(|(name, _)| !self.kept.crypts.contains_key(*name)) {
            let found = self.observed.crypts.iter().find(|c| c.header.label == wanted.label && self.is_lost(c.on));
            lost.extend(found.map(|c| (Object::Luks(name.clone()), c.on)));
        }
        let partitions = self.spec.partitions.iter().filter(|(_, p)| p.preserve.keeps());
        for (key, uuid) in partitions.filter_map(|(key, p)| Some((key, p.uuid?))) {
            let is_kept = self.kept.partitions.iter().any(|p| p.contains_key(key));
            let found = self.observed.partitions().find(|(node, p)| !is_kept && p.uuid == uuid && self.is_lost(*node));
            lost.extend(found.map(|(node, _)| (Object::Partition(key.clone()), node)));
        }
        for (object, node) in lost {
            let path = object.path();
            let below = self.stack.foundation(&object);
            if self.found.iter().any(|d| d.path == path || below.iter().any(|o| o.path() == d.path)) {
                continue;
            }
            let on = self.observed.name(node);
            let text =
                format!("{path} is kept, and lies on {on}, where the document does not have it and nothing stays");
            self.refuse(
                "F227",
                path,
                text,
                "name its disk for its set, say in the document where it is, or erase it by hand",
            );
        }
    }

    /// Tells of disks that might hold what the document keeps where it is found: it was found nowhere on them, and other
    /// filesystems are there. A name that was misspelt looks like that.
    pub(super) fn nothing(&mut self) {
        let o = self.observed;
        let keeping = |set: &str| self.spec.disks.get(set).is_some_and(|d| d.preserve == Preserve::IfExists);
        let mut found = Vec::new();
        for (disk, member) in self.members.iter().enumerate().filter(|(_, m)| keeping(&m.set)) {
            let is_here = |node: Node| !self.is_unfinished(node) && o.foundation(node).contains(&Node::Disk(disk));
            if self.kept.is_on(disk) {
                continue;
            }
            let filesystems = o.filesystems.iter().filter(|f| f.kind != "swap").map(|f| (f.on, f.to_string()));
            let closed = o.crypts.iter().filter(|c| c.open.is_none()).map(|c| (c.on, "something encrypted".to_owned()));
            let there: Vec<String> = filesystems
                .chain(closed)
                .filter(|(on, _)| is_here(*on))
                .map(|(on, what)| format!("{what} on {}", o.name(on)))
                .collect();
            let Some((first, more)) = there.split_first() else { continue };
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            let text =
                format!("nothing that set {} keeps is on {}, and {first}{more} would be lost", member.set, member.name);
            let hint =
                "compare names, labels and UUIDs with those of the document; with preserve: require it is refused";
            found.push(Diagnostic::warning("F242", format!("disks.{}", member.set), text).hint(hint));
        }
        self.kept.warnings.extend(found);
    }

    /// Whether nothing of what a device stands on stays. What was left unfinished is nothing that anybody wants.
    fn is_lost(&self, node: Node) -> bool {
        let stays = |disk: usize, number: u32| {
            self.kept.partitions[disk].values().chain(&self.kept.others[disk]).any(|p| p.number == number)
        };
        let mut below = self.observed.foundation(node).into_iter();
        let is_on = below.any(|n| matches!(n, Node::Partition { disk, number } if stays(disk, number)));
        !is_on && !self.is_unfinished(node)
    }
}
