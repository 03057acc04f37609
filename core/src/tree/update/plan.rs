//! What has to be done: rows of the image beside entries of the tree become actions. No I/O.
//!
//! ```text
//!  row    + entry ──> create · replace · metadata · keep (the node's own) · nothing
//!  no row + entry ──> delete (an earlier image brought it, or --local delete) · keep
//! ```
//!
//! Hard links are decided here, too: of all names of a group the first decides, and an inode belongs to the first row
//! that stays with it.

use super::protect::{Keep, Protection};
use super::{Action, Listed, Local, What};
use crate::image::row::{DIRECTORY, Group, Row};
use crate::image::{Hash, path};
use crate::store::Field;
use crate::tree::Entry;
use crate::tree::entry::{LINKED, MOUNT, STORE};
use crate::tree::extract::plan::Make;
use crate::tree::history::History;
use crate::tree::seen::{Fields, Found, Seen};
use crate::tree::select::Selection;
use crate::tree::walk::Choice;
use std::collections::{HashMap, HashSet};

/// What is nobody's to change but the node's.
pub(super) struct Policy {
    pub(super) selection: Selection,
    pub(super) protection: Protection,
    pub(super) local: Local,
    /// The run before did not end: times of directories say nothing.
    pub(super) resumed: bool,
}

impl Policy {
    /// Why an entry is the node's own, if it is.
    fn own(&self, path: &[u8], mode: u32) -> Option<&'static str> {
        match self.protection.of(path, mode) {
            Some((Keep::Own, why)) => return Some(why),
            Some((Keep::Local, _)) | None => {}
        }
        // What lies in a place that a rule leaves out goes with the place.
        let ends = path.iter().enumerate().filter(|(_, c)| **c == b'/').map(|(i, _)| i);
        for end in ends {
            if let Some((Choice::Leave, why)) = self.selection.machine(&path[..end], DIRECTORY) {
                return Some(why);
            }
        }
        self.selection.machine(path, mode).map(|(_, why)| why)
    }
}

/// Why an entry that the image has not is kept, when it is local.
const LOCAL: &str = "local";
/// Why an entry is deleted.
const GONE: &str = "gone from the image";

/// Device and inode number.
type Inode = ((u32, u32), u64);

/// Takes rows, then the rest of the tree, and says what becomes of them.
pub(super) struct Planner<'a> {
    policy: &'a Policy,
    /// The inode of each group that stays; `None` when the group is made anew.
    groups: HashMap<Group, Option<Inode>>,
    /// The row, or its group, that an inode with several names belongs to.
    owners: HashMap<Inode, Group>,
    /// A row that is a directory and stands as something else that is kept.
    blocked: Option<Vec<u8>>,
    /// Directories that differ in time only.
    late: Vec<Vec<u8>>,
    /// Entries with inode flags.
    frozen: HashSet<Vec<u8>>,
    /// Directories in which something stays that is not the image's.
    own_in: HashSet<Vec<u8>>,
    /// Directories beneath which something stays that has no row.
    holds: HashSet<Vec<u8>>,
    out: Planned,
}

/// What is to be done.
#[derive(Default)]
pub(super) struct Planned {
    pub(super) actions: Vec<Action>,
    /// Directories that become something else, in path order.
    pub(super) cleared: Vec<Vec<u8>>,
    /// What is no directory and becomes one.
    pub(super) unlinked: Vec<Vec<u8>>,
    /// What goes, children before parents; true for directories.
    pub(super) deleted: Vec<(Vec<u8>, bool)>,
    /// Directories in which something changes.
    pub(super) touched: HashSet<Vec<u8>>,
    /// Directories whose time stays as it is.
    pub(super) undue: HashSet<Vec<u8>>,
    /// Entries whose inode flags are in the way.
    pub(super) frozen: Vec<Vec<u8>>,
    /// What keeps a directory from becoming something else.
    pub(super) in_the_way: Vec<Vec<u8>>,
    pub(super) kept: Listed,
    pub(super) local_kept: Listed,
    pub(super) local_deleted: Listed,
    /// Rows of which something was said.
    pub(super) rows: u64,
}

impl Planned {
    /// How many actions of one kind there are.
    pub(super) fn count(&self, what: What) -> u64 {
        self.actions.iter().filter(|a| a.what == what).count() as u64
    }

    /// Whether nothing is to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.actions.iter().all(|a| a.what == What::Keep)
    }
}

impl<'a> Planner<'a> {
    /// `left_out` are the directories in which the rules left something out of the walk.
    pub(super) fn new(policy: &'a Policy, left_out: HashSet<Vec<u8>>) -> Self {
        let mut holds = HashSet::new();
        left_out.iter().for_each(|d| hold(&mut holds, d));
        Self {
            policy,
            groups: HashMap::new(),
            owners: HashMap::new(),
            blocked: None,
            late: Vec::new(),
            frozen: HashSet::new(),
            own_in: left_out,
            holds,
            out: Planned::default(),
        }
    }

    /// The next row in path order; `first` says that it is no further name of a file.
    pub(super) fn row(&mut self, row: &Row, first: bool, seen: Seen) -> Make {
        if self.blocked.as_ref().is_some_and(|above| path::is_beneath(&row.path, above)) {
            return self.keep_row(row, "what is above it is kept");
        }
        let (entry, device) = match seen.found {
            Found::Foreign => return self.keep_row(row, "on a filesystem that is not the node's own"),
            Found::Nothing => {
                self.base(row, first, None);
                return self.make(row, What::Create, Fields::default());
            }
            Found::Entry(entry, device) => (entry, device),
        };
        if entry.has(MOUNT) {
            return Make::Nothing;
        }
        if entry.inode_flags() != 0 {
            self.frozen.insert(row.path.clone());
        }
        let inode = (device, entry.ino);
        let other_kind = seen.differs.has(Field::Kind);
        if !seen.differs.is_empty()
            && let Some(why) = self.policy.own(&row.path, row.mode)
        {
            if other_kind && row.is_directory() {
                self.blocked = Some(row.path.clone());
            }
            self.base(row, first, Some(inode));
            return self.keep_row(row, why);
        }
        if other_kind {
            match (entry.is_directory(), row.is_directory()) {
                (true, _) => self.out.cleared.push(row.path.clone()),
                (_, true) => self.out.unlinked.push(row.path.clone()),
                _ => {}
            }
            self.base(row, first, None);
            return self.make(row, What::Replace, seen.differs);
        }
        if row.is_directory() {
            return self.directory(row, seen.differs);
        }
        self.file(row, first, &entry, inode, seen.differs)
    }

    fn directory(&mut self, row: &Row, differs: Fields) -> Make {
        if differs.is_empty() {
            return Make::Nothing;
        }
        if differs.is_only(Field::Mtime) {
            // What stays in it decides, which is not known yet.
            self.late.push(row.path.clone());
            return Make::Metadata;
        }
        self.out.rows += 1;
        self.act(row.path.clone(), What::Metadata, differs, None);
        Make::Metadata
    }

    /// Anything that may have several names.
    fn file(&mut self, row: &Row, first: bool, entry: &Entry, inode: Inode, mut differs: Fields) -> Make {
        if !first {
            let base = row.group.and_then(|g| self.groups.get(&g).copied()).flatten();
            if base == Some(inode) {
                return Make::Nothing;
            }
            differs.add(Field::Links);
            return self.make(row, What::Replace, differs);
        }
        let owner = entry.has(LINKED).then(|| row.group.unwrap_or_else(|| Hash::of(&row.path).half()));
        let taken = owner.is_some_and(|owner| self.owners.get(&inode).is_some_and(|other| *other != owner));
        if taken {
            differs.add(Field::Links);
        }
        let anew = [Field::Content, Field::Size, Field::Target, Field::Device, Field::Links];
        if anew.into_iter().any(|f| differs.has(f)) {
            self.base(row, first, None);
            return self.make(row, What::Replace, differs);
        }
        self.base(row, first, Some(inode));
        if let Some(owner) = owner {
            self.owners.insert(inode, owner);
        }
        if differs.is_empty() {
            return Make::Nothing;
        }
        self.out.rows += 1;
        self.act(row.path.clone(), What::Metadata, differs, None);
        Make::Metadata
    }

    /// Remembers what the other names of a group shall be.
    fn base(&mut self, row: &Row, first: bool, inode: Option<Inode>) {
        if let Some(group) = row.group
            && first
        {
            self.groups.insert(group, inode);
        }
    }

    fn make(&mut self, row: &Row, what: What, differs: Fields) -> Make {
        self.out.rows += 1;
        self.act(row.path.clone(), what, differs, None);
        Make::New
    }

    fn keep_row(&mut self, row: &Row, why: &'static str) -> Make {
        self.own_in.insert(path::parent(&row.path).to_vec());
        self.out.rows += 1;
        self.out.kept.add(&row.path);
        self.act(row.path.clone(), What::Keep, Fields::default(), Some(why));
        Make::Nothing
    }

    fn act(&mut self, path: Vec<u8>, what: What, differs: Fields, why: Option<&'static str>) {
        if !matches!(what, What::Keep | What::Metadata) && !path.is_empty() {
            self.out.touched.insert(path::parent(&path).to_vec());
        }
        self.out.actions.push(Action { path, what, fields: differs.list(), why });
    }

    /// An entry of the walk that has no row; children before their directory, after all rows.
    pub(super) fn extra(&mut self, path: &[u8], entry: &Entry, history: &History) {
        let directory = entry.is_directory();
        if entry.inode_flags() != 0 {
            self.frozen.insert(path.to_vec());
        }
        let cleared = self.is_cleared(path);
        let protected = self.policy.protection.of(path, entry.mode.into()).map(|(_, why)| why);
        // A rule that empties a file in an image says that the file is the machine's.
        let machine = || self.policy.selection.machine(path, entry.mode.into()).map(|(_, why)| why);
        let shut = if entry.has(MOUNT) {
            Some("a mount point")
        } else if entry.has(STORE) {
            Some("a store of images")
        } else {
            protected.or_else(machine)
        };
        if let Some(why) = shut {
            return self.keep_extra(path, Some(why), cleared);
        }
        let brought = history.brought(path, entry);
        if directory && self.holds.contains(path) {
            // It goes when it is empty; what is in it was told already.
            return self.keep_extra(path, if brought { Some("not empty") } else { None }, cleared);
        }
        if !brought && self.policy.local == Local::Keep {
            return self.keep_extra(path, None, cleared);
        }
        if !brought {
            self.out.local_deleted.add(path);
        }
        self.out.deleted.push((path.to_vec(), directory));
        self.act(path.to_vec(), What::Delete, Fields::default(), Some(if brought { GONE } else { LOCAL }));
    }

    /// `why` is `None` for what is local.
    fn keep_extra(&mut self, path: &[u8], why: Option<&'static str>, cleared: bool) {
        let parent = path::parent(path);
        self.own_in.insert(parent.to_vec());
        hold(&mut self.holds, parent);
        match why {
            Some(_) => self.out.kept.add(path),
            None => self.out.local_kept.add(path),
        }
        if cleared {
            self.out.in_the_way.push(path.to_vec());
        }
        self.act(path.to_vec(), What::Keep, Fields::default(), Some(why.unwrap_or(LOCAL)));
    }

    /// Whether a path lies in a directory that becomes something else; those stand in path order.
    fn is_cleared(&self, path: &[u8]) -> bool {
        let after = self.out.cleared.partition_point(|c| path::compare(c, path).is_lt());
        after.checked_sub(1).is_some_and(|i| path::is_beneath(path, &self.out.cleared[i]))
    }

    /// What came of it.
    pub(super) fn finish(mut self) -> Planned {
        for dir in std::mem::take(&mut self.late) {
            // What goes in and out of a directory on its own changes its time.
            let stays = self.own_in.contains(&dir) && !self.policy.resumed && !self.out.touched.contains(&dir);
            if stays {
                self.out.undue.insert(dir);
            } else if !self.out.touched.contains(&dir) {
                self.out.rows += 1;
                let mut differs = Fields::default();
                differs.add(Field::Mtime);
                self.act(dir, What::Metadata, differs, None);
            }
        }
        // What a rule left out of the walk may lie in a directory that is to become something else.
        for dir in self.out.cleared.iter().filter(|d| self.holds.contains(*d)) {
            if !self.out.in_the_way.iter().any(|p| path::is_beneath(p, dir)) {
                self.out.in_the_way.push(dir.clone());
            }
        }
        let acted: HashSet<&[u8]> =
            self.out.actions.iter().filter(|a| a.what != What::Keep).map(|a| a.path.as_slice()).collect();
        let in_the_way = |p: &&Vec<u8>| acted.contains(p.as_slice()) || self.out.touched.contains(*p);
        self.out.frozen = self.frozen.iter().filter(in_the_way).cloned().collect();
        self.out.frozen.sort_by(|a, b| path::compare(a, b));
        self.out.actions.sort_by(|a, b| path::compare(&a.path, &b.path));
        self.out
    }
}

/// Adds a directory and all above it.
fn hold(holds: &mut HashSet<Vec<u8>>, dir: &[u8]) {
    let mut at = dir;
    while holds.insert(at.to_vec()) && !at.is_empty() {
        at = path::parent(at);
    }
}

#[cfg(test)]
mod tests;
