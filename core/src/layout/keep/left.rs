//! What an apply left unfinished where the document keeps. It is made anew, which has to be said: the mark comes off last,
//! so what carries it may be whole, and in use since.
//!
//! ```text
//! partition "data~cv" ─ array ─ ext4 "home"      F241  it is lost; how it stays: --resume, or the mark off by hand
//!                       preserve: require        F226  the same
//! ```

use super::Unfinished;
use super::find::Finder;
use crate::layout::diagnostic::Diagnostic;
use crate::layout::observed::{Filesystem, Node, Partition};
use crate::layout::spec::PartitionKey;
use crate::layout::stack::Object;
use crate::layout::{MARKER, UNFINISHED, spec};

impl<'a> Finder<'a> {
    /// Tells of all filesystems, and of what is encrypted and closed, that would be kept if it had been finished.
    pub(super) fn left(&mut self) {
        let (spec, o) = (self.spec, self.observed);
        let mut left: Vec<(Object, Node, String)> = Vec::new();
        let lost = spec
            .filesystems
            .iter()
            .filter(|(name, f)| f.preserve.keeps() && !self.kept.filesystems.contains_key(*name));
        for (name, wanted) in lost {
            let object = Object::Filesystem(name.clone());
            let is_it =
                |f: &&Filesystem| self.is_left(f.on) && (self.is_place_of(&object, f.on) || is_named(wanted, f));
            left.extend(o.filesystems.iter().filter(is_it).map(|f| (object.clone(), f.on, f.to_string())));
        }
        for name in spec
            .luks
            .iter()
            .filter(|(name, l)| l.preserve.keeps() && !self.kept.crypts.contains_key(*name))
            .map(|(name, _)| name)
        {
            let object = Object::Luks(name.clone());
            let closed = o.crypts.iter().filter(|c| c.open.is_none());
            let closed = closed.filter(|c| self.is_left(c.on) && self.is_place_of(&object, c.on));
            left.extend(closed.map(|c| (object.clone(), c.on, "an encrypted device, which is closed,".to_owned())));
        }
        let mut told: Vec<Node> = Vec::new();
        for (object, node, what) in left {
            if told.contains(&node) {
                continue;
            }
            told.push(node);
            let (path, what) = (object.path(), format!("{what} on {}", o.name(node)));
            let text = format!("{path} is kept, but {what} was left by an apply that did not finish: it is made anew");
            let hint = how_to_keep(&self.marks_below(node));
            self.kept.warnings.push(Diagnostic::warning("F241", path.clone(), text).hint(hint));
            self.kept.unfinished.push(Unfinished { path, what });
        }
    }

    /// What to say of something that has to be there, and is there unfinished: how its marks come off.
    pub(super) fn left_of(&self, object: &Object) -> Option<String> {
        let o = self.observed;
        let mut marks = Vec::new();
        for object in self.stack.foundation(object).into_iter().chain([object]) {
            match object {
                Object::Partition(key) => {
                    let disks = (0..self.members.len()).filter(|d| self.members[*d].set == key.set);
                    marks.extend(disks.filter_map(|disk| {
                        let p = self.left_partition(disk, key)?;
                        self.mark_of(disk, p)
                    }));
                }
                Object::Volume(group, name) => {
                    let volumes = o.groups.iter().filter(|g| g.name == *group).flat_map(|g| &g.volumes);
                    let left = volumes.filter(|v| v.name == *name && v.is_unfinished());
                    marks.extend(left.map(|v| untag(group, &v.name)));
                }
                _ => {}
            }
        }
        (!marks.is_empty()).then(|| how_to_keep(&marks))
    }

    /// The partition of a disk that would be this one of the document, had it been finished.
    pub(super) fn left_partition(&self, disk: usize, key: &PartitionKey) -> Option<&'a Partition> {
        let observed = self.observed;
        let mut partitions = observed.disks.get(disk)?.table.iter().flat_map(|t| &t.partitions);
        let node = |p: &Partition| Node::Partition { disk, number: p.number };
        partitions.find(|p| self.is_called(key, p) && self.is_unfinished(node(p)))
    }

    /// Whether a device carries the mark, or stands on something that does.
    fn is_left(&self, node: Node) -> bool {
        self.is_unfinished(node) || self.observed.foundation(node).into_iter().any(|n| self.tag_of(n).is_some())
    }

    /// Whether a device is where the document has an object: on partitions and volumes of the same names.
    fn is_place_of(&self, object: &Object, node: Node) -> bool {
        let o = self.observed;
        let below = self.stack.foundation(object);
        o.foundation(node).into_iter().all(|n| match n {
            Node::Partition { disk, number } => below.iter().any(|object| {
                let Object::Partition(key) = object else { return false };
                let own = self.members.get(disk).is_some_and(|m| m.set == key.set);
                own && o.partition(disk, number).is_some_and(|p| self.is_called(key, p))
            }),
            Node::Volume { group, volume } => {
                let group = &o.groups[group];
                below.contains(&Object::Volume(group.name.clone(), group.volumes[volume].name.clone()))
            }
            Node::Disk(_) | Node::Array(_) | Node::Crypt(_) => true,
        })
    }

    /// Whether a partition has the name of one of the document, with or without the mark.
    fn is_called(&self, key: &PartitionKey, p: &Partition) -> bool {
        let wanted = self.spec.partitions[key].name.as_ref().unwrap_or(&key.name);
        p.name.strip_suffix(MARKER).unwrap_or(&p.name) == wanted
    }

    /// How the marks come off of all that a device stands on.
    fn marks_below(&self, node: Node) -> Vec<String> {
        let marks = self.observed.foundation(node).into_iter().filter_map(|n| match n {
            Node::Partition { disk, number } => self.mark_of(disk, self.observed.partition(disk, number)?),
            _ => self.tag_of(n),
        });
        marks.collect()
    }

    /// How the mark comes off a partition. Of two disks one may have none any more.
    fn mark_of(&self, disk: usize, p: &Partition) -> Option<String> {
        let name = p.name.strip_suffix(MARKER)?;
        // A name for the shell, and no more than that.
        let is_plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        let name = if is_plain { name } else { "NAME" };
        Some(format!("sgdisk -c {}:{name} {}", p.number, self.members.get(disk)?.name))
    }

    fn tag_of(&self, node: Node) -> Option<String> {
        let Node::Volume { group, volume } = node else { return None };
        let group = &self.observed.groups[group];
        let volume = group.volumes.get(volume).filter(|v| v.is_unfinished())?;
        Some(untag(&group.name, &volume.name))
    }
}

fn untag(group: &str, volume: &str) -> String {
    format!("lvchange --deltag {UNFINISHED} {group}/{volume}")
}

fn how_to_keep(marks: &[String]) -> String {
    let marks = if marks.is_empty() { String::new() } else { format!(": {}", marks.join("; ")) };
    format!(
        "to keep it go on with that apply, with --resume and its journal; or, when you know that it is whole, take the mark \
         off by hand{marks}"
    )
}

/// Whether a filesystem is the one that the document means, wherever it is.
fn is_named(wanted: &spec::Filesystem, is: &Filesystem) -> bool {
    let same = |a: &String| is.uuid.as_ref().is_some_and(|b| b.eq_ignore_ascii_case(a));
    (wanted.label.is_some() || wanted.uuid.is_some())
        && is.kind == wanted.kind.name()
        && wanted.uuid.as_ref().is_none_or(same)
        && (wanted.label.is_none() || wanted.label == is.label)
}
